"""What ``compile`` and ``@entrypoint`` were told, besides the graph itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from ..wal.log import Log
from ..wal.named import NamedTuple
from .config import merged
from .control import DURABILITIES
from .errors import InvalidGraph
from .policy import seconds_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .program import Program


Checkpointer: TypeAlias = Log | bool | None
"""What may stand where LangGraph takes a checkpointer."""


class Settings(NamedTuple):
    """How a graph runs unless a call says otherwise.

    ``log`` is a ``Log``; None for none, or, in a subgraph, for the log of the graph above; True, in a subgraph, for a
    history that goes on from run to run; False, in a subgraph, for no record at all.
    """

    log: Log | bool | None = None
    store: Any = None
    interrupt_before: Sequence[str] | str = ()
    interrupt_after: Sequence[str] | str = ()
    durability: str | None = None
    stream_mode: str = "updates"
    context_schema: type | None = None
    debug: bool = False
    step_timeout: float | None = None
    cache: Any = None
    on_mismatch: str | None = None
    """What is done about calls that are not the recorded ones; None for what the graph above says, or ``raise``."""
    on_change: Any = None
    """What is done about a thread that needs what the graph lost; see ``changing``."""
    config: dict[str, Any] | None = None
    """What ``with_config`` was given: below the config of every call."""


MISMATCHES = ("raise", "rerun", "accept")
"""What may be done about calls that are not the recorded ones."""

FREE = frozenset({"config", "context_schema", "store", "stream_mode"})
"""What may be changed to anything."""
CHECKED = frozenset(
    {
        "cache",
        "checkpointer",
        "durability",
        "interrupt_after_nodes",
        "interrupt_before_nodes",
        "name",
        "step_timeout",
    }
)
"""What may be changed to what ``compile`` accepts."""


class Compiled(NamedTuple):
    """A compiled graph without its public face: what runs and readings need of it."""

    program: Program
    settings: Settings

    def under(self, config: dict[str, Any]) -> dict[str, Any]:
        """Return a call's config with the graph's own below it."""
        return config if self.settings.config is None else merged(self.settings.config, config)

    def changed(self, update: Mapping[str, Any]) -> Compiled:
        """Return the graph with some of what ``compile`` was told said otherwise.

        Args:
            update: Attribute of a compiled graph → its new value; names are LangGraph's.

        Raises:
            ValueError: A name is not known.
        """
        program, settings = self
        nodes = list(program.nodes)
        for key, value in update.items():
            match key:
                case "name":
                    program = program.renamed(value)
                case "checkpointer":
                    settings = settings._replace(log=ensure_valid_checkpointer(value))
                case "cache":
                    settings = settings._replace(cache=checked_cache(value))
                case "durability":
                    settings = settings._replace(durability=checked_durability(value))
                case "interrupt_before_nodes":
                    settings = settings._replace(interrupt_before=checked_breakpoints(value, nodes))
                case "interrupt_after_nodes":
                    settings = settings._replace(interrupt_after=checked_breakpoints(value, nodes))
                case "step_timeout":
                    settings = settings._replace(step_timeout=seconds_of(key, value))
                case _ if key in FREE:
                    settings = settings._replace(**{key: value})
                case _:
                    known = sorted(CHECKED | FREE)
                    message = f"a compiled graph has no {key!r} to change; it has {', '.join(known)}"
                    raise ValueError(message)
        return Compiled(program, settings)


def ensure_valid_checkpointer(log: Any) -> Checkpointer:
    """Return what may stand as ``checkpointer``.

    Raises:
        TypeError: It is neither a log nor one of None, True and False.
    """
    if log is None or isinstance(log, bool | Log):
        return log
    message = (
        "Invalid checkpointer provided. Expected an instance of `Log`, `True`, `False`, or `None`. "
        f"Received {type(log).__name__}. Pass a proper log (e.g., Log.open(path), MemoryLog())."
    )
    raise TypeError(message)


def checked_cache(cache: Any) -> Any:
    """Return what may stand as ``cache``: anything with the methods of a ``BaseCache``, or None.

    Raises:
        TypeError: It has not.
    """
    if cache is None or all(
        hasattr(cache, name) for name in ("get", "set", "clear", "aget", "aset", "aclear")
    ):
        return cache
    message = f"Invalid cache provided. Expected an instance of `BaseCache` or `None`. Received {type(cache).__name__}."
    raise TypeError(message)


def checked_durability(durability: str | None) -> str | None:
    """Return a durability mode that exists, or None.

    Raises:
        ValueError: There is no such mode.
    """
    if durability is not None and durability not in DURABILITIES:
        message = f"unknown durability {durability!r}; there are {', '.join(DURABILITIES)}"
        raise ValueError(message)
    return durability


def checked_on_mismatch(what: str | None) -> str | None:
    """Return what may be done about calls that are not the recorded ones, or None.

    Raises:
        ValueError: There is no such thing to do.
    """
    if what is not None and what not in MISMATCHES:
        message = f"unknown on_mismatch {what!r}; there are {', '.join(MISMATCHES)}"
        raise ValueError(message)
    return what


def checked_options(function: str, known: Any, given: Mapping[str, Any]) -> None:
    """Refuse what a function was told by names that it does not know.

    Args:
        function: Who was told.
        known: The ``TypedDict`` of its options.
        given: What it was told.

    Raises:
        TypeError: There is no option of such a name.
    """
    names = known.__optional_keys__
    for name in given:
        if name not in names:
            message = f"{function} got an unexpected option {name!r}; there are {', '.join(sorted(names))}"
            raise TypeError(message)


def checked_on_change(how: Any) -> Any:
    """Return what may be done about a graph that changed.

    Raises:
        ValueError: It is neither ``"drop"``, nor a function, nor a graph.
    """
    if how is None or how == "drop" or hasattr(how, "parts") or callable(how):
        return how
    message = (
        f"unknown on_change {how!r}; there are 'drop', a function of values and difference, and the old graph"
    )
    raise ValueError(message)


def checked_breakpoints(names: Sequence[str] | str | None, nodes: Sequence[str]) -> Sequence[str] | str:
    """Return the names of nodes to stop at.

    Raises:
        InvalidGraph: One of them is no node.
    """
    if names is None:
        return ()
    if names == "*":
        return "*"
    listed = (names,) if isinstance(names, str) else tuple(names)
    for name in listed:
        if name not in nodes:
            message = f"Interrupt node `{name}` not found"
            raise InvalidGraph(message, hint=f"The graph's nodes are {', '.join(map(repr, nodes))}.")
    return listed


def coerced(context: Any, schema: type | None) -> Any:
    """Return the context as an instance of its schema, if it came as a dict (LC-2)."""
    if (
        schema is None
        or not isinstance(context, dict)
        or not (hasattr(schema, "__dataclass_fields__") or hasattr(schema, "model_fields"))
    ):
        return context
    return schema(**context)


def checked_keys(graph: Compiled, keys: Sequence[str] | str | None) -> Sequence[str] | str | None:
    """Return the channels that a caller asks for.

    Raises:
        ValueError: The graph has no channel of that name.
    """
    for key in () if keys is None else (keys,) if isinstance(keys, str) else keys:
        if key not in graph.program.blueprint.channels:
            message = f"Key {key} not in channels"
            raise ValueError(message)
    return keys
