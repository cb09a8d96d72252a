"""Readers beside a compaction: it comes before each of a reader's transactions in turn, and takes all that it may.

What is read is what was there before, or what is there after; nothing has a hole, and nothing is called damaged.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from helpers import THREAD, chain
from tools_helpers import wal

from walgraph import CheckpointNotFound, Log, LogCorrupt, RecordsCompacted, replay_thread
from walgraph.engine import recorder
from walgraph.replay.intents import effects
from walgraph.tools.folding import Lens
from walgraph.wal import chain as walking
from walgraph.wal.compaction import compact
from walgraph.wal.lmdb_store import LmdbTables
from walgraph.wal.steady import TRIES, steady
from walgraph.wal.tables import BLOBS

LARGE = 40_000
"""Characters of a value that is stored apart, and goes when nothing names it any more."""


class State(TypedDict, total=False):
    """What the nodes left, and a large value that each takes the place of."""

    trail: Annotated[list[str], operator.add]
    load: str


def node(name: str) -> Callable[[State], State]:
    """Return a node that leaves its name."""

    def body(state: State) -> State:
        count = len(state["trail"])
        return {"trail": [f"{name}{count}"], "load": f"{count}" * LARGE}

    body.__name__ = name
    return body


class Overtaking:
    """A log, and somebody who goes on with a thread and compacts it before the n-th transaction of a reader."""

    def __init__(self, folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = str(folder / "log")
        self.log = Log.open(self.path, fsync="off")
        self.graph = chain(node("a"), node("b"), state=State).compile(self.log)
        self.left = 0
        read = LmdbTables.read

        def reading(tables: LmdbTables) -> Any:
            self.left -= 1
            if not self.left:
                self.go_on()
                compact(self.log, {"t": self.log.head("t").seq})
            return read(tables)

        monkeypatch.setattr(LmdbTables, "read", reading)

    def go_on(self) -> list[str]:
        """Let the thread go through another run; return its trail."""
        self.left = 0
        return self.graph.invoke({"trail": ["in"]}, THREAD)["trail"]

    def each(self, read: Callable[[], Any]) -> list[tuple[list[str], Any]]:
        """Overtake a reader before its first transaction, its second, and so on; return each time trail and result."""
        found = []
        for number in range(1, 1000):
            trail = self.go_on()
            self.left = number
            try:
                found.append((trail, read()))
            except (CheckpointNotFound, RecordsCompacted) as error:
                found.append((trail, error))
            if self.left > 0:
                # It needed fewer.
                assert number > 2
                return found
        raise AssertionError("it does not end")


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """A thread with a snapshot at every barrier, of which no walk keeps a frame in memory."""
    monkeypatch.setattr(recorder, "SNAPSHOT_RECORDS", 1)
    monkeypatch.setattr(recorder, "SNAPSHOT_GROWTH", 0)
    monkeypatch.setattr(walking, "HELD_BYTES", 0)
    found = Overtaking(tmp_path, monkeypatch)
    with found.log:
        yield found


def is_one(trail: list[str], found: list[str]) -> bool:
    """Tell whether a trail is that of before, or of after the run that came between."""
    return found[: len(trail)] == trail and len(found) in {len(trail), len(trail) + 3}


def test_the_state_is_that_of_before_or_after(beside) -> None:
    """A cut between the snapshot that was read and the records after it made a gap, over which the fold went on.

    A siege found it: a thread was taken over while another process compacted, and signals that it had received were
    gone from its state.
    """
    for trail, found in beside.each(lambda: beside.graph.get_state(THREAD).values):
        assert is_one(trail, found["trail"])
        assert len(found["load"]) >= LARGE


def test_history_ends_early_and_has_no_hole(beside) -> None:
    """What was compacted away while it was listed is not listed; what is listed follows one on another."""
    for trail, found in beside.each(lambda: list(beside.graph.get_state_history(THREAD))):
        assert is_one(trail, found[0].values["trail"])
        assert all(len(each.values.get("load", "x" * LARGE)) >= LARGE for each in found)
        for newer, older in itertools.pairwise(found):
            assert newer.parent_config == older.config


def test_history_that_is_cut_while_it_is_shown_has_no_hole(beside) -> None:
    """A caller takes its time between two checkpoints, and a compaction comes in between."""
    for wait in range(1, 6):
        beside.go_on()
        history = beside.graph.get_state_history(THREAD)
        found = [next(history) for _ in range(wait)]
        beside.go_on()
        compact(beside.log, {"t": beside.log.head("t").seq})
        found += history
        for newer, older in itertools.pairwise(found):
            assert newer.parent_config == older.config


def test_a_checkpoint_is_there_or_gone(beside) -> None:
    """It is found as it was, or said not to be there; never called damaged."""
    for _ in range(2):
        config = None

        def read() -> Any:
            nonlocal config
            config = config or beside.graph.get_state(THREAD).config
            return beside.graph.get_state(config).values

        for trail, found in beside.each(read):
            assert not found or is_one(trail, found["trail"]) or config is not None
            config = None


def test_a_branch_begins_where_it_was_to_or_is_refused(beside) -> None:
    """The checkpoint that a run is to begin from may go just before it begins."""

    def read() -> Any:
        config = next(each for each in beside.graph.get_state_history(THREAD) if each.next == ("b",)).config
        left, beside.left = beside.left, 0
        other = beside.graph.update_state(config, {"trail": ["edit"]}, as_node="a")
        beside.left = left
        return other

    assert beside.each(read)


def test_effects_are_told_from_the_oldest_state_on(beside) -> None:
    """What was done at most once is told as far back as there are records; nothing is called damaged."""
    decoder = beside.log.decoder(lenient=True)
    assert all(found == [] for _, found in beside.each(lambda: effects(beside.log, "t", decoder)))


def test_a_replay_agrees(beside) -> None:
    """History and code agree, whatever goes while they are compared."""
    for _, found in beside.each(lambda: replay_thread(beside.log, beside.graph, "t", nodes=["a", "b"])):
        assert found.divergence is None, found


def test_records_follow_one_another_or_are_said_to_be_gone(beside) -> None:
    """Who reads the records of a thread gets them from one on, or is told that they went."""
    for _, found in beside.each(lambda: [each.seq for each in beside.log.records("t")]):
        if not isinstance(found, RecordsCompacted):
            assert found == list(range(found[0], found[-1] + 1)) if found else True


def test_a_fold_without_code_is_that_of_before_or_after(beside) -> None:
    """``wal state`` and ``wal diff`` look at it so; also at the newest checkpoint of a step."""
    lens = Lens(beside.log, beside.graph)
    for trail, found in beside.each(lambda: lens.state_at("t").root().values["trail"]):
        assert is_one(trail[:-1], found) or is_one(trail, found)


@pytest.mark.parametrize(
    "words",
    [
        ("state", "t"),
        ("state", "t", "--at", "step:0"),
        ("inspect", "t"),
        ("tail", "t", "-n", "50"),
        ("effects", "t"),
        ("signals", "t"),
        ("verify",),
        ("export",),
        ("stats",),
    ],
    ids=" ".join,
)
def test_commands_call_nothing_damaged(beside, words: tuple[str, ...]) -> None:
    """A command beside a compaction shows what there is, or that what it was asked for is gone."""
    verb, *rest = words

    def read() -> Any:
        return wal(verb, beside.path, *rest)

    for _, found in beside.each(read):
        assert "WAL-E102" not in found.output + found.stderr, found.stderr
        assert found.exit_code == 0 or "WAL-E503" in found.stderr or "WAL-E116" in found.stderr, found.stderr


def test_damage_is_told_as_damage(beside) -> None:
    """A large value that is gone, though nothing was cut, is not looked for again and again."""
    beside.go_on()
    with beside.log.store.all_tables.write() as txn:
        for key in txn.keys(BLOBS, b"\x00", 1000):
            txn.delete(BLOBS, key)
    with pytest.raises(LogCorrupt, match="is missing"):
        beside.graph.get_state(THREAD)


def test_reading_again_ends(beside) -> None:
    """Beside somebody who makes snapshots all the time, damage is told all the same."""
    tried = []

    def read() -> None:
        tried.append(beside.go_on())
        raise LogCorrupt("It is.")

    with pytest.raises(LogCorrupt, match=r"It is\."):
        steady(beside.log, "t", read)
    assert len(tried) == TRIES
