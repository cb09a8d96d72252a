"""What streams show, and to whom.

    loop ── events ──► Run.show ──► Sink of each consumer ──► stream() / astream()

    mode      payload
    values    the whole output after each superstep that changed it
    updates   {node: what it wrote}, as each task ends
    custom    whatever user code gave to the stream writer, at once

The shapes are LangGraph's (§2.18). Under ``sync`` the loop emits an event only after what it tells is durable.

It must not read state; the loop makes payloads.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..wal.record import Write

MODES = ("values", "updates", "custom")
"""The stream modes there are."""


class Event(NamedTuple):
    """What a stream shows: a namespace, a mode, and that mode's payload."""

    scope: str
    mode: str
    payload: Any


class Sink:
    """Collects what one consumer asked to see.

    Args:
        modes: The modes it wants.
        tagged: Whether chunks carry their mode, as they do when a list of modes was asked for.
        subgraphs: Whether it wants to see subgraphs' events too.
        scope: The scope of the run that it watches.
    """

    __slots__ = ("modes", "queue", "scope", "subgraphs", "tagged", "wake")

    def __init__(
        self, modes: Iterable[str], *, tagged: bool, subgraphs: bool = False, scope: str = ""
    ) -> None:
        self.modes = frozenset(modes)
        self.tagged = tagged
        self.subgraphs = subgraphs
        self.scope = scope
        self.queue: deque[Any] = deque()
        self.wake: Callable[[], None] | None = None
        """Called after each event, so that a driver that waits for tasks can hand it on."""

    @property
    def is_eager(self) -> bool:
        """Whether events can come while a task is running, so that tasks must not block the consumer."""
        return "custom" in self.modes or self.subgraphs

    def wants(self, scope: str, mode: str) -> bool:
        """Return whether an event of a scope and mode is to be shown."""
        return mode in self.modes and (self.subgraphs or scope == self.scope)

    def put(self, namespace: tuple[str, ...], mode: str, payload: Any) -> None:
        """Queue an event in the shape that the consumer asked for."""
        if self.subgraphs:
            chunk: Any = (namespace, mode, payload) if self.tagged else (namespace, payload)
        else:
            chunk = (mode, payload) if self.tagged else payload
        self.queue.append(chunk)
        if self.wake is not None:
            self.wake()


def checked_modes(mode: str | Sequence[str]) -> tuple[tuple[str, ...], bool]:
    """Return the modes asked for, and whether chunks are to be tagged with theirs.

    Raises:
        ValueError: A mode is not known.
    """
    modes = (mode,) if isinstance(mode, str) else tuple(mode)
    for name in modes:
        if name not in MODES:
            message = f"unknown stream mode {name!r}; there are {', '.join(MODES)}"
            raise ValueError(message)
    return modes, not isinstance(mode, str)


def update_of(writes: Sequence[Write], output: frozenset[str], *, is_root: bool) -> Any:
    """Return what the mode ``updates`` shows of one task's writes: None, a dict, or a list of dicts."""
    shown = [write for write in writes if write[0] in output]
    if not shown:
        return None
    if is_root:
        return shown[0][1]
    update = dict(shown)
    return update if len(update) == len(shown) else [{key: value} for key, value in shown]
