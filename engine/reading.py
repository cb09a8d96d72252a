"""Looking at a thread from outside of a run: ``get_state`` and ``get_state_history``.

    config                              shows
    thread_id                           the graph as it is now: the live view
    … checkpoint_id                     one of its checkpoints: the record view
    … checkpoint_ns                     the same of a subgraph, also one that is over

Invariants:
1. Nothing is written, no claim is needed, and no user code but reducers runs.
2. A thread, a namespace or a checkpoint that is not there is empty (TT-6).
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from ..replay.history import Checkpoint, backwards, checkpoint_at
from ..replay.identity import checkpoint_seq
from ..replay.recover import recover
from ..wal.log import Log
from ..wal.log_reading import as_thread_id
from . import view
from .control import StateSnapshot
from .errors import MissingThreadId, NoLog
from .nested import blueprints_of, find_program, lasting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..replay.state import ThreadState
    from .settings import Compiled


class Reading:
    """Looks at one thread through one graph.

    Args:
        graph: The graph, which says what the records mean.
        config: With ``thread_id``; ``checkpoint_id`` and ``checkpoint_ns`` where they matter.

    Raises:
        NoLog: The graph has no log.
        MissingThreadId: The config has no thread id.
    """

    def __init__(self, graph: Compiled, config: dict[str, Any]) -> None:
        self.whole = graph
        self.root = graph.program
        self.config = config
        self.log = log_of(graph)
        self.thread = thread_of(config.get("configurable", {}))
        self.scope, self.text = addressed(config.get("configurable", {}))
        self.scope = lasting(self.root, self.scope)
        self.program = find_program(self.root, self.scope)
        self.blueprint = blueprints_of(self.root)

    def state(self, *, subgraphs: bool = False) -> StateSnapshot:
        """Return the view of the head, or of the checkpoint that the config names."""
        if self.program is None or self.log.head(self.thread) is None:
            return view.empty(self.config)
        registry = self.root.registry
        if self.text is not None:
            seq = checkpoint_seq(self.text)
            found = None
            if seq is not None:
                found = checkpoint_at(self.log, self.thread, self.blueprint, registry, seq, self.scope)
            is_live = False
        elif self.scope:
            # A subgraph that is over, or was left behind by its caller, is no part of the state any more.
            found = next(backwards(self.log, self.thread, self.blueprint, registry, self.scope), None)
            is_live = True
        else:
            state = recover(self.log, self.thread, self.blueprint, registry).state
            root = state.root()
            found = None if root is None else Checkpoint(root, state, state)
            is_live = True
        if found is None:
            return view.empty(self.config)
        return self._view(found, live=is_live, subgraphs=subgraphs)

    def history(
        self, filter_: dict[str, Any] | None, before: dict[str, Any] | None, limit: int | None
    ) -> Iterator[StateSnapshot]:
        """Yield views of the checkpoints, newest first; of the one that the config names, if it names one."""
        if self.program is None or self.log.head(self.thread) is None:
            return iter(())
        return islice(self._chosen(filter_, before), limit)

    def _chosen(
        self, filter_: dict[str, Any] | None, before: dict[str, Any] | None
    ) -> Iterator[StateSnapshot]:
        text = (before or {}).get("configurable", {}).get("checkpoint_id")
        border = None if text is None else checkpoint_seq(text)
        registry = self.root.registry
        for found in backwards(self.log, self.thread, self.blueprint, registry, self.scope):
            graph = found.graph
            if border is not None and graph.base >= border:
                continue
            if self.text is not None and graph.base != checkpoint_seq(self.text):
                continue
            metadata = view.metadata_of(found.begun, self.scope, graph) if filter_ else {}
            if all(key in metadata and metadata[key] == value for key, value in (filter_ or {}).items()):
                yield self._view(found, live=False, subgraphs=False)

    def _view(self, found: Checkpoint, *, live: bool, subgraphs: bool) -> StateSnapshot:
        assert self.program is not None
        shown = view.snapshot(self.program, self.thread, self.scope, found, live=live)
        if not subgraphs:
            return shown
        tasks = (
            task
            if task.state is None
            else task._replace(state=self._inner(task.state, found.thread, live=live) or task.state)
            for task in shown.tasks
        )
        return shown._replace(tasks=tuple(tasks))

    def _inner(self, config: dict[str, Any], state: ThreadState, *, live: bool) -> StateSnapshot | None:
        """Return the view of a subgraph of the checkpoint's step; None if its graph cannot be known here."""
        inner = Reading(self.whole, config)
        if inner.program is None:
            return None
        graph = state.scopes.get(inner.scope)
        if graph is None:
            return view.empty(config)
        return inner._view(Checkpoint(graph, state, state), live=live, subgraphs=True)


def addressed(configurable: dict[str, Any]) -> tuple[str, str | None]:
    """Return the namespace and the checkpoint id that a config addresses; None for the head."""
    scope = str(configurable.get("checkpoint_ns") or "")
    text = configurable.get("checkpoint_id")
    if text is None:
        text = (configurable.get("checkpoint_map") or {}).get(scope)
    return scope, text


def log_of(graph: Compiled) -> Log:
    """Return the graph's log.

    Raises:
        NoLog: It was compiled without one.
    """
    log = graph.settings.log
    if not isinstance(log, Log):
        message = "No checkpointer set"
        raise NoLog(message, hint="compile(checkpointer=Log.open(path)) gives the graph a log.")
    return log


def thread_of(configurable: dict[str, Any]) -> str:
    """Return the thread id of a config's ``configurable``.

    Raises:
        MissingThreadId: It has none.
    """
    thread = configurable.get("thread_id")
    if thread is None:
        message = "the config has no thread_id, so there is no thread to look at"
        raise MissingThreadId(message, hint='Pass {"configurable": {"thread_id": "any-name"}}.')
    return as_thread_id(thread)
