"""``decide``: what a task's body and routers returned → the writes and targets that are recorded.

    returned                      writes                              targets
    None, a dict, an instance     its keys that are channels          the node's edges
    Command(update, goto)         the update's                        goto, then the node's edges (G-2)
    a list with commands in it    each in order                       each in order
    a Send                        –                                   itself, then the node's edges
    a router's answer             –                                   what it stands for

Here, before the append, everything is settled that a fold must not invent: ids of messages, the names behind
answers, which targets exist.

Invariants:
1. An unknown node as goto, Send or router's answer is an error here, where the routing happens (LangGraph drops it).
2. Untracked writes are split off: they are never recorded.

It must not call user code; ``task`` does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..replay.errors import InvalidUpdateError
from ..replay.identity import END, START
from .control import Command, Final, Send
from .errors import InvalidGraph, ParentCommand
from .node import check_stoppable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..wal.record import Target, Write
    from .node import Branch
    from .program import Program


def writes_of(program: Program, name: str, value: Any) -> tuple[list[Write], list[Target]]:
    """Return what a node's return value writes, and where its commands go.

    Args:
        program: The graph.
        name: The node, for messages.
        value: What its body returned.

    Raises:
        InvalidUpdateError: The value is of a kind that cannot be an update.
        ParentCommand: It is a command for a graph above.
    """
    if program.is_entrypoint:
        value, save = (value.value, value.save) if isinstance(value, Final) else (value, value)
        return [("__end__", value), ("__previous__", save)], []
    if value.__class__ is dict and not program.root:
        # What nearly every node returns.
        channels = program.input_keys if name == START else program.writable
        written = [(key, update) for key, update in value.items() if key in channels]
        return prepared(program, written) if program.prepare else written, []
    writes: list[Write] = []
    targets: list[Target] = []
    for item in _items(value):
        if isinstance(item, Command):
            if item.graph not in {None, name} and not program.is_called(item.graph):
                raise ParentCommand(item)
            if item.update is not None:
                pairs = _pairs(program, item.update)
                writes.extend(_updates(program, name, item.update) if pairs is None else pairs)
            targets.extend(
                target_of(program, goto, f"Command(goto=...) of node {name!r}") for goto in _goto(item)
            )
        elif isinstance(item, Send):
            targets.append(target_of(program, item, f"a Send of node {name!r}"))
        elif item is not None:
            writes.extend(_updates(program, name, item))
    return prepared(program, writes), [target for target in targets if target != END]


def prepared(program: Program, writes: list[Write]) -> list[Write]:
    """Settle in the writes what their reducers would invent: ids of messages."""
    if not program.prepare:
        return writes
    return [
        (key, program.prepare[key](value)) if key in program.prepare else (key, value)
        for key, value in writes
    ]


def targets_of(program: Program, branch: Branch, answer: Any) -> list[Target]:
    """Return what a router's answer stands for.

    Raises:
        ValueError: The router returned nothing, or START.
        InvalidGraph: It names a node that does not exist.
    """
    targets: list[Target] = []
    where = f"the router {branch.name!r}"
    for item in answer if isinstance(answer, list | tuple) else [answer]:
        if item is None or item == START:
            message = "Branch did not return a valid destination"
            raise ValueError(message)
        if isinstance(item, Send):
            targets.append(target_of(program, item, where))
            continue
        name = branch.ends.get(item, item if item == END else None) if branch.ends is not None else item
        if name is None:
            known = sorted(map(str, branch.ends or ()))
            message = f"{where} answered {item!r}, which its path_map does not have; it has {known}"
            raise InvalidGraph(message, hint="Add the answer to path_map, or return one of its keys.")
        target = target_of(program, name, where)
        if target != END:
            targets.append(target)
    return targets


def target_of(program: Program, goto: Any, where: str) -> Target:
    """Return the target that a node's name or a ``Send`` stands for; END stands for itself.

    Raises:
        TypeError: It is neither.
        InvalidGraph: There is no such node, or it is synchronous and the ``Send`` gives it a time-out.
        InvalidUpdateError: It is a ``Send`` to END.
    """
    if isinstance(goto, Send):
        if goto.node == END:
            message = "Cannot send a packet to the END node"
            raise InvalidUpdateError(message, hint="Return END, or no Send at all, to end the graph.")
        _known(program, goto.node, where)
        argument = program.tracked_only(goto.arg)
        if goto.timeout is None:
            return ("send", goto.node, argument)
        callee = program.nodes[goto.node].callee
        assert callee is not None, "only START calls nothing, and nothing goes there"
        check_stoppable(callee, goto.timeout, "Node", goto.node)
        return ("send", goto.node, argument, goto.timeout.plain())
    if not isinstance(goto, str):
        message = f"In Command.goto, expected Send/str, got {type(goto).__name__}"
        raise TypeError(message)
    if goto == END:
        return END
    _known(program, goto, where)
    return ("defer", goto) if program.nodes[goto].deferred else goto


def _known(program: Program, name: str, where: str) -> None:
    if name not in program.nodes or name == START:
        message = f"{where} goes to {name!r}, but graph {program.name!r} has no node of that name"
        names = ", ".join(repr(known) for known in program.nodes if known != START)
        raise InvalidGraph(message, hint=f"Its nodes are {names}.", node=name)


def split_untracked(program: Program, writes: Sequence[Write]) -> tuple[tuple[Write, ...], tuple[Write, ...]]:
    """Return the writes that are recorded and those that must not be."""
    untracked = program.blueprint.untracked
    if not untracked:
        return tuple(writes), ()
    kept = tuple(write for write in writes if write[0] not in untracked)
    return kept, tuple(write for write in writes if write[0] in untracked)


def _items(value: Any) -> Iterable[Any]:
    """Return the parts of what a node returned: itself, or the items of a list with commands in it."""
    if isinstance(value, list | tuple) and any(isinstance(item, Command) for item in value):
        return value
    return (value,)


def _goto(command: Command[Any]) -> Iterable[Any]:
    goto = command.goto
    return goto if isinstance(goto, list | tuple) else (goto,)


def _updates(program: Program, name: str, update: Any) -> list[Write]:
    """Return one update as writes; keys that are no channels are left out, as in LangGraph."""
    channels = program.input_keys if name == START else program.writable
    if program.root:
        return [("__root__", update)]
    if isinstance(update, dict):
        return [(key, value) for key, value in update.items() if key in channels]
    if (pairs := program.writes_of_instance(update)) is not None:
        return [(key, value) for key, value in pairs if key in channels]
    message = f"Expected dict, got {update}"
    raise InvalidUpdateError(
        message,
        hint=f"Let node {name!r} return a dict of the state's keys, None, a Command, or a schema instance.",
    )


def _pairs(program: Program, update: Any) -> list[Write] | None:
    """Return the update of a command that is given as pairs, of which several may have the same key; else None."""
    if program.root or not isinstance(update, list | tuple) or not all(_is_pair(item) for item in update):
        return None
    return [(key, value) for key, value in update if key in program.writable]


def _is_pair(item: Any) -> bool:
    return isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str)
