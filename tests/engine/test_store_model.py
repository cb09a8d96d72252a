"""Stores against a model: whatever is done to them, they hold what a dict would, in the same order.

The model is a dict of namespaces, each a dict of keys; a namespace that a
batch leaves empty goes. Times to live are for ever or over
at once, so that the clock plays no part.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from walgraph import GetOp, InMemoryStore, ListNamespacesOp, Log, LogStore, PutOp, SearchOp
from walgraph.wal.verify import verify

LABELS = st.sampled_from(["a", "b", "ab", "ä", "long" * 120, "long" * 120 + "er"])
NAMESPACES = st.lists(LABELS, min_size=1, max_size=3).map(tuple)
KEYS = st.sampled_from(["", "x", "y", "a.b", "k" * 500, "k" * 501])
VALUES = st.dictionaries(st.sampled_from(["n", "m"]), st.integers(0, 3), max_size=2)
PUTS = st.builds(
    PutOp, NAMESPACES, KEYS, st.none() | VALUES, st.none(), st.sampled_from([None, None, None, 0, 60])
)

Namespace = tuple[str, ...]


class Model:
    """What a store should hold."""

    def __init__(self) -> None:
        self.spaces: dict[Namespace, dict[str, tuple[Any, bool]]] = {}

    def put(self, ops: list[PutOp]) -> None:
        """Carry puts out; what is over keeps its place until it is swept."""
        for op in ops:
            if op.value is not None:
                self.spaces.setdefault(op.namespace, {})[op.key] = op.value, op.ttl == 0
            elif op.namespace in self.spaces:
                self.spaces[op.namespace].pop(op.key, None)
        self.spaces = {namespace: items for namespace, items in self.spaces.items() if items}

    def sweep(self) -> int:
        """Remove what is over."""
        over = [(n, k) for n, items in self.spaces.items() for k, (_, is_over) in items.items() if is_over]
        self.put([PutOp(namespace, key, None) for namespace, key in over])
        return len(over)

    def items(self, prefix: Namespace = ()) -> list[tuple[Namespace, str, Any]]:
        """What a search finds."""
        return [
            (namespace, key, value)
            for namespace, items in self.spaces.items()
            if namespace[: len(prefix)] == prefix
            for key, (value, is_over) in items.items()
            if not is_over
        ]

    def namespaces(self) -> list[Namespace]:
        """The namespaces that hold anything, sorted."""
        return sorted({namespace for namespace, _, _ in self.items()})


class Stores(RuleBasedStateMachine):
    """A store in memory and one in a log beside the model."""

    @initialize()
    def begin(self) -> None:
        """Make new ones."""
        self.place = Path(tempfile.mkdtemp())
        self.memory = InMemoryStore()
        self.open()
        self.model = Model()

    def open(self) -> None:
        """Open the log."""
        self.log = Log.open(self.place / "log", fsync="off")
        self.store = LogStore(self.log)

    @rule(ops=st.lists(PUTS, min_size=1, max_size=6))
    def put(self, ops: list[PutOp]) -> None:
        """Put a batch: of two puts for one key the later counts, in the place of the first."""
        self.memory.batch(ops)
        self.store.batch(ops)
        self.model.put(list({(op.namespace, op.key): op for op in ops}.values()))

    @rule(namespace=NAMESPACES, key=KEYS)
    def get(self, namespace: Namespace, key: str) -> None:
        """Get an item."""
        expected = self.model.spaces.get(namespace, {}).get(key, (None, True))
        for store in (self.memory, self.store):
            item = store.get(namespace, key)
            assert (item.value if item is not None else None) == (None if expected[1] else expected[0])

    @rule(prefix=st.lists(LABELS, max_size=2).map(tuple), limit=st.integers(0, 5), offset=st.integers(0, 3))
    def search(self, prefix: Namespace, limit: int, offset: int) -> None:
        """Search a page, with and without a filter."""
        found = self.model.items(prefix)
        odd = [each for each in found if each[2].get("n") == 1]
        for wanted, expected in ((None, found), ({"n": 1}, odd)):
            for store in (self.memory, self.store):
                items = store.search(prefix, filter=wanted, limit=limit, offset=offset)
                parts = [(item.namespace, item.key, item.value) for item in items]
                assert parts == expected[offset : offset + limit]

    @rule()
    def sweep(self) -> None:
        """Sweep what is over."""
        swept = self.model.sweep()
        assert [self.memory.sweep_ttl(), self.store.sweep_ttl()] == [swept, swept]

    @rule()
    def reopen(self) -> None:
        """Close the log and open it again."""
        self.log.close()
        self.open()

    @invariant()
    def all_hold_the_same(self) -> None:
        """All items in order, all namespaces, and a log without a problem."""
        if not hasattr(self, "model"):
            return
        for store in (self.memory, self.store):
            items, namespaces = store.batch([SearchOp((), limit=1000), ListNamespacesOp(limit=1000)])
            assert [(item.namespace, item.key, item.value) for item in items] == self.model.items()
            assert namespaces == self.model.namespaces()
            ops = [GetOp(namespace, key) for namespace, key, _ in self.model.items()]
            assert [item.value for item in store.batch(ops)] == [value for _, _, value in self.model.items()]
        report = verify(self.log, structure=False)
        assert report.ok, report.problems
        assert report.items == sum(map(len, self.model.spaces.values()))

    def teardown(self) -> None:
        """Remove the log."""
        if hasattr(self, "place"):
            self.log.close()
            shutil.rmtree(self.place)


TestStores = Stores.TestCase
TestStores.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
