"""Names for things that are known before they happen: same place in the same history, same id.

    checkpoint id   the seq of the barrier, as 20 digits, so that text sorts as numbers do
    task id         thread, scope, the barrier the step follows, path        → a UUID-shaped string
    question id     task id, position among the task's interrupts            → 32 hex digits
    namespace       ``node:task_id`` of each task around, joined by ``|``; the number of a call that is not the first

Invariants:
1. No clock, no randomness, no input values: a task that is run again has the id it had.
2. Two tasks of one log never share an id: the barrier's seq and the path tell them apart.

It must not read state; callers pass what identifies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import xxhash

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..wal.record import Path

START = "__start__"
"""The hidden node whose superstep maps the input to the channels (LangGraph rule P-6)."""
END = "__end__"
"""Where a graph ends; never a node."""
LEVEL_SEPARATOR = "|"
"""Between the levels of a namespace."""
TASK_SEPARATOR = ":"
"""Between a node and its task id in a namespace."""


def checkpoint_id(seq: int) -> str:
    """Return the public id of the checkpoint at ``seq``."""
    return f"{seq:020d}"


def checkpoint_seq(text: str) -> int | None:
    """Return the seq that a public checkpoint id stands for, or None if it is not one of ours."""
    return int(text) if text.isascii() and text.isdigit() else None


def task_id(thread: str, scope: str, base: int, path: Path) -> str:
    """Return the id of a task.

    Args:
        thread: The thread's id.
        scope: The namespace of the graph that the task belongs to.
        base: The seq of the barrier that the task's step follows.
        path: The task's path within the step.
    """
    raw = xxhash.xxh3_128_hexdigest(f"{thread}\0{scope}\0{base}\0{path!r}".encode("utf-8", "surrogatepass"))
    return _uuid(raw)


def _uuid(raw: str) -> str:
    return f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"


def key_of(run: str, task: str) -> str:
    """Return an idempotency key of a task of a run that no log knows, in the form that task ids have."""
    return _uuid(xxhash.xxh3_128_hexdigest(f"{run}|{task}".encode("utf-8", "surrogatepass")))


def question_id(task: str, index: int) -> str:
    """Return the id of the question that a task's ``index``-th interrupt asks."""
    return xxhash.xxh3_128_hexdigest(f"{task}|{index}".encode())


def namespace_id(scope: str) -> str:
    """Return 32 hex digits that stand for a namespace."""
    return xxhash.xxh3_128_hexdigest(scope.encode("utf-8", "surrogatepass"))


def child_scope(scope: str, segment: str) -> str:
    """Return the namespace one level below ``scope``."""
    return f"{scope}{LEVEL_SEPARATOR}{segment}" if scope else segment


def lasting_scope(scope: str) -> str:
    """Return a namespace without what belongs to one step: task ids, and the numbers of calls."""
    parts = (part.partition(TASK_SEPARATOR)[0] for part in scope.split(LEVEL_SEPARATOR))
    return LEVEL_SEPARATOR.join(part for part in parts if not part.isdigit())


def shorter_scope(scope: str) -> str:
    """Return a namespace without its last part, which names the graph above where nothing else was recorded."""
    return scope.rpartition(LEVEL_SEPARATOR)[0]


def numbered_scope(scope: str, number: int) -> str:
    """Return the namespace of a task's call of a subgraph; the first call's is the task's own."""
    return f"{scope}{LEVEL_SEPARATOR}{number}" if number else scope


def lives_one_step(scope: str) -> bool:
    """Return whether a namespace belongs to one task, and so ends with that task's step."""
    return TASK_SEPARATOR in scope


def ends_with_step(scope: str, of: str, above: Callable[[str], str]) -> bool:
    """Return whether a namespace belongs to a task of ``of``, at any depth, and so ends with that task's step.

    Args:
        scope: The namespace.
        of: The namespace of the graph whose step ends.
        above: Gives the namespace of the graph that runs a subgraph.
    """
    while lives_one_step(scope):
        scope = above(scope)
        if scope == of:
            return True
    return False
