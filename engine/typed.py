"""Type variables of the public classes, and the types of what users hand in, for type checkers.

    StateGraph[State, Context, Input, Output] ── compile ──► CompiledGraph[State, Context, Input, Output]
    Context defaults to anything, Input and Output to State

Defaults of type variables came with Python 3.13. Before it they are known to type checkers only, so the classes take
any number of arguments while a program runs: ``StateGraph[State]`` is right in every version.

It must not hold anything that runs.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Protocol, TypeAlias, TypedDict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import TypeVar

    from ..wal.log import IfBusy
    from .control import Durability
    from .run_control import RunControl

    StateT = TypeVar("StateT", default=Any)
    ContextT = TypeVar("ContextT", default=Any)
    InputT = TypeVar("InputT", default=StateT)
    OutputT = TypeVar("OutputT", default=StateT)

    class CallOptions(TypedDict, Generic[ContextT], total=False):
        """What ``invoke`` and ``ainvoke`` can be told besides input, config and what says which type they return."""

        context: ContextT | None
        print_mode: str | Sequence[str]
        output_keys: str | Sequence[str] | None
        interrupt_before: Sequence[str] | str | None
        interrupt_after: Sequence[str] | str | None
        durability: Durability | None
        control: RunControl | None
        subgraphs: bool
        debug: bool | None
        if_busy: IfBusy

else:
    from typing import TypeVar

    StateT, ContextT = TypeVar("StateT"), TypeVar("ContextT")
    InputT, OutputT = TypeVar("InputT"), TypeVar("OutputT")

NodeInputT = TypeVar("NodeInputT")


class Parametrised:
    """A class that takes type arguments, as many as are given."""

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(types.GenericAlias)


class Invokable(Protocol):
    """What can be a node besides a function: a compiled graph, or a runnable of langchain."""

    def invoke(self, input: Any, /) -> Any:
        """Answer the input."""


StateNode: TypeAlias = Callable[Concatenate[NodeInputT, ...], Any] | Callable[[], Any] | Invokable
"""What ``add_node`` takes: called with the node's input, and with what its other parameters ask for by name."""
