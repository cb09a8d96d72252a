"""One run of one graph on one thread: what its loop, its tasks and its subgraphs share.

    Run ── program    what to run
        ── recorder   the way to the log, and the state; shared with the runs of subgraphs
        ── sinks      who is shown what
        ── config …   what the caller asked for

It must not decide what happens next (``loop``) nor carry out effects (drivers).
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from ..replay.identity import LEVEL_SEPARATOR
from .control import TAG_HIDDEN
from .slots import Slot
from .stream import Event
from .workers import Pool

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..replay.state import GraphState
    from ..wal.record import Path
    from .cache import BaseCache
    from .context import Chat, TaskContext, Watcher
    from .errors import NodeError
    from .program import Program
    from .recorder import Recorder
    from .run_control import Attendance, RunControl
    from .stream import Sink

DEFAULT_RECURSION_LIMIT = int(os.environ.get("LANGGRAPH_DEFAULT_RECURSION_LIMIT", "10007"))
"""LangGraph's (RL-1), and the variable by which its users set it."""


class Breakpoints:
    """Static breakpoints: nodes to stop before or after."""

    __slots__ = ("after", "before")

    def __init__(
        self,
        before: Sequence[str] | str | None,
        after: Sequence[str] | str | None,
        tags: Sequence[str] | None = None,
    ) -> None:
        is_hidden = bool(tags) and TAG_HIDDEN in (tags or ())
        self.before = () if before is None or (is_hidden and before == "*") else before
        self.after = () if after is None or (is_hidden and after == "*") else after

    @staticmethod
    def match(names: Sequence[str] | str, nodes: Sequence[str]) -> bool:
        """Return whether one of ``nodes`` is named, ``"*"`` naming all but the hidden START."""
        if names == "*":
            return any(not node.startswith("__") for node in nodes)
        return any(node in names for node in nodes)


class Run:
    """One run of one graph.

    Args:
        program: The graph.
        recorder: The way to the log.
        thread: The thread's id, or ``""`` without a log.
        scope: ``""`` for the root, else the subgraph's namespace.
        config: The caller's config.
    """

    def __init__(
        self, program: Program, recorder: Recorder, thread: str, scope: str, config: dict[str, Any]
    ) -> None:
        self.program = program
        self.shown = program.output
        """How what is streamed and returned is read; ``shown_key`` if it is one channel's bare value."""
        self.shown_key: str | None = None
        self.recorder = recorder
        self.thread = thread
        self.scope = scope
        self.above = ""
        """The scope of the graph whose task runs this one, if this is a subgraph."""
        self.config = config
        self.run_id = ""
        self.admission = ""
        """The id of the outermost run around this one, itself included."""
        self.context: Any = None
        self.store: Any = None
        self.control: RunControl | None = None
        self.attendance: Attendance | None = None
        """What tells this run, and those of its subgraphs, that they were cancelled; None without a log."""
        self.watch: Watcher | None = None
        """What watches the attempt that this run is part of, if its time is limited: each outcome is progress."""
        self.untracked: dict[str, Any] = {}
        self.node_errors: dict[Path, NodeError] = {}
        """What the error handlers of the open step are told, by their paths."""
        self.anchor: TaskContext[Run] | None = None
        """The task that called this graph, if nothing is kept of it: it keeps what tasks of this graph wait for."""
        self.deadline: int | None = None
        """When the run is to have ended, in nanoseconds since 1970."""
        self.answers: dict[str, Any] = {}
        """Answers to questions of a graph of which nothing is kept; the task that called it keeps them."""
        self.breakpoints = Breakpoints(None, None)
        self.resumed_at: int | None = None
        """The barrier at which this run was resumed: breakpoints there have been stopped at before."""
        self.cache: BaseCache[Any] | None = None
        """Where nodes and tasks that have a ``cache_policy`` look for results."""
        self.step_timeout: float | None = None
        """The seconds that a superstep may take."""
        self.stop = 0
        """The last superstep that the recursion limit allows."""
        self.step = 0
        """The superstep under way, for managed values."""
        self.sinks: Sequence[Sink] = ()
        self.modes: frozenset[str] = frozenset()
        """The stream modes in which somebody is to be shown what happens in this run; none for most runs."""
        self.is_hidden = False
        """Whether what its tasks do is not to be shown, though it may be looked for in ``debug``."""
        self.chat: Chat | None = None
        """What shows models' tokens and hands on the caller's callbacks; None for runs that need neither."""
        self.on_mismatch = "raise"
        """What is done about calls that are not the recorded ones; see ``determinism``."""
        self.is_replayed = False
        """Whether code is only checked against history, so that nothing is executed."""
        self.is_resumed = False
        """Whether the run took up what an earlier one had begun."""
        self._recorded_calls: dict[Path, tuple[int, frozenset[str]]] | None = None
        self.is_async = False
        """Whether the run is driven on an event loop."""
        self._pool: Pool | None = None
        self._places: asyncio.Semaphore | None = None
        self.max_concurrency: int | None = config.get("max_concurrency")

    @property
    def graph(self) -> GraphState:
        """The state of this run's graph."""
        return self.recorder.state.scopes[self.scope]

    def recorded_calls(self) -> dict[Path, tuple[int, frozenset[str]]]:
        """Return what of tasks' calls was in memory when this was first asked: last numbers, and keys."""
        if self._recorded_calls is None:
            from ..replay.settling import recorded_calls

            self._recorded_calls = recorded_calls(self.graph.outcomes)
        return self._recorded_calls

    def pool(self) -> Pool:
        """Return the pool that makes the calls of ``@task`` functions."""
        if self._pool is None:
            self._pool = Pool(self.max_concurrency, "walgraph-task")
        return self._pool

    def slot(self) -> Slot | None:
        """Return a place for a ``@task`` call on the event loop; None where their number is not limited."""
        if not self.max_concurrency:
            return None
        if self._places is None:
            self._places = asyncio.Semaphore(self.max_concurrency)
        return Slot(self._places)

    def now(self) -> int:
        """Return the time in nanoseconds, never earlier than the thread's last barrier."""
        return self.recorder.now()

    def close(self) -> None:
        """Let the pool's threads end."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    @property
    def previous(self) -> Any:
        """What the last run of an entrypoint saved."""
        return self.graph.values.get("__previous__")

    @property
    def namespace(self) -> tuple[str, ...]:
        """The scope as streams show it."""
        return tuple(self.scope.split(LEVEL_SEPARATOR)) if self.scope else ()

    def show_to(self, sinks: Sequence[Sink]) -> None:
        """Take those who watch this run, or a run around it, and look what is to be made for them."""
        self.sinks = sinks
        self.modes = frozenset(mode for sink in sinks for mode in sink.modes if sink.wants(self.scope, mode))
        if TAG_HIDDEN in (self.config.get("tags") or ()):
            self.is_hidden = True
            self.modes -= {"updates", "tasks"}

    def publish(self, events: Iterable[Event], *, is_live: bool = False) -> None:
        """Show events to those who want them.

        Args:
            events: The events.
            is_live: Whether messages are shown whether or not their ids were shown before.
        """
        shown = tuple(events)
        for sink in self.sinks:
            for event in shown:
                if sink.wants(event.scope, event.mode):
                    sink.put(self.namespace, event, is_live=is_live)

    def write_custom(self, payload: Any) -> None:
        """Show what user code wrote, at once."""
        if "custom" in self.modes:
            self.publish([Event(self.scope, "custom", payload)])

    def write_message(self, shown: tuple[Any, dict[str, Any]]) -> None:
        """Show a message, or a part of one, with what is known about it, at once."""
        if "messages" in self.modes:
            self.publish([Event(self.scope, "messages", shown)], is_live=True)
