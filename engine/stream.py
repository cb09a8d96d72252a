"""Who is shown what, and in which shape.

    loop ── events ──► Run.publish ──► Sink of each consumer ──► stream() / astream()
                                   └─► Printer               ──► the terminal (print_mode, debug)

    asked for                        a chunk is
    one mode                         the payload
    a list of modes                  (mode, payload)
    subgraphs=True                   (namespace, payload), (namespace, mode, payload)
    version="v2"                     {"type": mode, "ns": namespace, "data": payload}, and "interrupts" with values

The shapes are LangGraph's (§2.18). Under ``sync`` the loop emits an event only after what it tells is durable; what
user code itself streams, by the writer and token by token, is shown at once.

It must not make payloads; ``show`` does.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from ..wal.named import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from ..replay.state import GraphState
    from .control import Interrupt
    from .program import Program

MODES = ("values", "updates", "checkpoints", "tasks", "debug", "messages", "custom")
"""The stream modes there are."""
VERSIONS = ("v1", "v2")
"""The shapes of chunks there are."""
LIVE = frozenset(("custom", "messages"))
"""The modes whose events come while a task is running."""
BY_TASKS = frozenset(("updates", "tasks", "debug"))
"""The modes that show calls of ``@task`` functions, which end while the task that makes them is running."""


class Event(NamedTuple):
    """What a stream shows: a namespace, a mode, and that mode's payload."""

    scope: str
    mode: str
    payload: Any
    interrupts: tuple[Interrupt, ...] = ()
    """With ``values``: the questions that are open at this moment."""


class Known(NamedTuple):
    """In the place of a message: the ids of messages that nobody is to be shown any more."""

    ids: frozenset[str]


class Drafted(NamedTuple):
    """Events that name a checkpoint which is not appended yet: what others append meanwhile moves it in the log."""

    graph: GraphState
    show: Callable[[GraphState], Iterable[Event]]


def settled(events: Iterable[Event | Drafted], since: int, moved: int) -> Iterator[Event]:
    """Yield events as they are to be shown once the log holds what they tell of.

    Args:
        events: The events.
        since: The seq that the log had reached when they were drafted.
        moved: How much further back in the log the checkpoints lie which were drafted then.
    """
    for event in events:
        if isinstance(event, Drafted):
            yield from event.show(_moved(event.graph, since, moved))
        else:
            yield event


def _moved(graph: GraphState, since: int, moved: int) -> GraphState:
    parent = graph.parent
    if parent is not None and parent > since:
        parent += moved
    return graph._replace(base=graph.base + moved if graph.base > since else graph.base, parent=parent)


class Wanted(NamedTuple):
    """What a caller asked to be shown.

    ``tagged`` says whether chunks carry their mode, as they do when a list of modes was asked for; ``printed`` names
    the modes that go to the terminal instead.
    """

    modes: tuple[str, ...]
    tagged: bool = False
    subgraphs: bool = False
    version: str = "v1"
    printed: tuple[str, ...] = ()


class Sink:
    """Collects what one consumer asked to see.

    Args:
        wanted: What that is.
        scope: The scope of the run that it watches.
        program: The graph of that run, whose schemas chunks of version 2 are made of.
        is_bare: Whether values are those of one channel, and so no state.
    """

    def __init__(self, wanted: Wanted, scope: str, program: Program, *, is_bare: bool = False) -> None:
        self.modes = frozenset(wanted.modes)
        self.tagged = wanted.tagged
        self.subgraphs = wanted.subgraphs
        self.version = wanted.version
        self.scope = scope
        self.program = program
        self.is_bare = is_bare
        self.queue: deque[Any] = deque()
        self.wake: Callable[[], None] | None = None
        """Called after each event, so that a driver that waits for tasks can hand it on."""
        self.is_eager = (
            self.subgraphs
            or not self.modes.isdisjoint(LIVE)
            or (program.is_entrypoint and not self.modes.isdisjoint(BY_TASKS))
        )
        """Whether events can come while a task is running, so that tasks must not block the consumer."""
        self._told: set[str] = set()

    def wants(self, scope: str, mode: str) -> bool:
        """Return whether an event of a scope and mode is to be shown."""
        return mode in self.modes and (self.subgraphs or scope == self.scope)

    def put(self, namespace: tuple[str, ...], event: Event, *, is_live: bool = False) -> None:
        """Queue an event in the shape that the consumer asked for.

        Args:
            namespace: The namespace that the chunk shows.
            event: The event.
            is_live: Whether a message is shown whether or not its id was shown before, as the parts of one are.
        """
        if event.mode == "messages" and not self._is_news(event.payload) and not is_live:
            return
        self.deliver(namespace, event)
        if self.wake is not None:
            self.wake()

    def deliver(self, namespace: tuple[str, ...], event: Event) -> None:
        """Hand an event on."""
        self.queue.append(
            self._part(namespace, event) if self.version == "v2" else self._chunk(namespace, event)
        )

    def _is_news(self, payload: Any) -> bool:
        if isinstance(payload, Known):
            self._told |= payload.ids
            return False
        message = payload[0]
        key = message.get("id") if isinstance(message, dict) else message.id
        if key is None:
            return True
        if key in self._told:
            return False
        self._told.add(key)
        return True

    def _chunk(self, namespace: tuple[str, ...], event: Event) -> Any:
        payload = plain(event)
        if self.subgraphs:
            return (namespace, event.mode, payload) if self.tagged else (namespace, payload)
        return (event.mode, payload) if self.tagged else payload

    def _part(self, namespace: tuple[str, ...], event: Event) -> dict[str, Any]:
        mode, payload = event.mode, event.payload
        # Only the graph that is watched is known here; what its subgraphs show stays as it is.
        is_own = event.scope == self.scope
        part: dict[str, Any] = {"type": mode, "ns": namespace, "data": payload}
        if mode == "values":
            part["interrupts"] = event.interrupts
            if is_own and not self.is_bare:
                part["data"] = self.program.output.modelled(payload)
        elif mode == "checkpoints" and is_own:
            part["data"] = self._modelled(payload)
        elif mode == "debug" and payload["type"] == "checkpoint" and is_own:
            part["data"] = {**payload, "payload": self._modelled(payload["payload"])}
        return part

    def _modelled(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        if checkpoint["next"] == [self.program.entry]:
            # The input is not in the channels yet, so there is no whole state to make an instance of.
            return checkpoint
        return {**checkpoint, "values": self.program.reader.modelled(checkpoint["values"])}


class Printer(Sink):
    """Prints what one caller asked to see on the terminal (``print_mode``)."""

    def deliver(self, namespace: tuple[str, ...], event: Event) -> None:
        """Print an event."""
        place = f"\033[1;30;33m[graph={namespace}]\033[0m " if self.subgraphs and namespace else ""
        print(f"\033[1m[{event.mode}]\033[0m {place}{plain(event)!r}")  # noqa: T201 - it is what was asked for


def plain(event: Event) -> Any:
    """Return the payload of an event as version 1 shows it: questions are a key of the values."""
    if not event.interrupts:
        return event.payload
    whole = event.payload if isinstance(event.payload, dict) else {}
    return {**whole, "__interrupt__": event.interrupts}


def wanted(
    mode: str | Sequence[str],
    print_mode: str | Sequence[str] = (),
    version: str = "v1",
    *,
    subgraphs: bool = False,
    debug: bool | None = None,
) -> Wanted:
    """Return what a caller asked to be shown.

    Args:
        mode: A mode, or a list of modes.
        print_mode: A mode or modes to print.
        version: The shape of chunks: ``"v1"`` or ``"v2"``.
        subgraphs: Whether subgraphs' events are wanted.
        debug: Whether to print updates and values.

    Raises:
        ValueError: A mode or the version is not known.
    """
    if version not in VERSIONS:
        message = f"unknown version {version!r}; there are {', '.join(VERSIONS)}"
        raise ValueError(message)
    printed = ("updates", "values") if debug else _checked(print_mode)
    return Wanted(_checked(mode), not isinstance(mode, str), subgraphs, version, printed)


def _checked(mode: str | Sequence[str]) -> tuple[str, ...]:
    modes = (mode,) if isinstance(mode, str) else tuple(mode)
    for name in modes:
        if name not in MODES:
            message = f"unknown stream mode {name!r}; there are {', '.join(MODES)}"
            raise ValueError(message)
    return modes
