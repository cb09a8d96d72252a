"""Records folded on trial: what the state of one graph will be if they are appended.

    base ── add(record) ──► graph ── add(record) ──► graph … ── state() ──► ThreadState
                               │                                                │
                               └ what the loop plans on                         └ adopted when the append succeeded

A step adds a handful of records before it appends them together. Only the graph that they concern is folded with each;
the state of the whole thread around it is made once, when it is asked for.

Invariants:
1. ``state()`` equals ``fold`` of the records over the base, one by one.
2. The base is not changed.
3. A record that cannot be folded raises and leaves the draft as it was.

It must not decide what is recorded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..wal.record import StepCommitted
from .fold import EVERY_STEP, fold, without_children
from .state import NEW_GRAPH

if TYPE_CHECKING:
    from ..wal.record import Record
    from .fold import Blueprints
    from .state import GraphState, ThreadState


class Draft:
    """The state of a thread after records that are not appended yet, seen from one of its graphs.

    Args:
        blueprints: Gives the blueprint of a scope, or None where it is not known.
        base: The state that the log holds.
        scope: The graph that is looked at.
    """

    __slots__ = (
        "_blueprint",
        "_blueprints",
        "_closed",
        "_scope",
        "_whole",
        "base",
        "graph",
        "records",
        "seq",
    )

    def __init__(self, blueprints: Blueprints, base: ThreadState, scope: str) -> None:
        blueprint = blueprints(scope)
        assert blueprint is not None, "whoever drafts for a graph knows it"
        self._blueprints = blueprints
        self._blueprint = blueprint
        self._scope = scope
        self.begin(base)

    def begin(self, base: ThreadState) -> None:
        """Forget what was drafted, and begin again at what the log holds."""
        self.base = self._whole = base
        self.seq = base.seq
        self.graph: GraphState = base.scopes.get(self._scope, NEW_GRAPH)
        """The state of the scope's graph."""
        self.records: list[Record] = []
        self._closed = False

    def rest(self) -> None:
        """Begin again at what was drafted, which the log holds now."""
        self.base = self._whole
        self.records = []

    def add(self, record: Record) -> None:
        """Fold a record.

        Raises:
            InvalidUpdateError: A barrier's writes conflict; the message names the tasks.
        """
        kind, seq = record.__class__, self.seq + 1
        arm = EVERY_STEP.get(kind)
        if arm is not None and record[0] == self._scope:  # the first field of each of these
            self.graph = arm(self._blueprint, self.graph, seq, record)
            if kind is StepCommitted:
                self._closed = True
        else:
            whole = self._whole = fold(self._blueprints, self.state(), seq, record)
            self.graph = whole.scopes.get(self._scope, NEW_GRAPH)
        self.seq = seq
        self.records.append(record)

    def state(self) -> ThreadState:
        """Return the state of the thread after the records."""
        whole = self._whole
        if whole.seq != self.seq:
            whole = whole.with_graph(self._scope, self.seq, self.graph)
            if self._closed and (len(whole.scopes) > 1 or whole.unread):
                whole = without_children(whole, self._scope)
            self._whole = whole
            self._closed = False
        return whole
