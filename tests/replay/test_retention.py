"""Where a thread may be cut: the pure choice, without a log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from walgraph.replay.plain import thread_to_plain
from walgraph.replay.retention import Choice, Entry, Station, choose, survey
from walgraph.replay.state import GraphState, ThreadState
from walgraph.wal.record import (
    Forked,
    RunEnded,
    RunStarted,
    StateEdited,
    StateFolded,
    StepCommitted,
    StepStarted,
    TaskFinished,
    ThreadCreated,
)


def stations(*bases: int, origins: dict[int, int] | None = None) -> list[Station]:
    """Return stations at these barriers, each with its frame ending one record later."""
    return [Station(base, base, base + 1, (origins or {}).get(base)) for base in bases]


def chosen(held: list[Station], keep_last: int = 1, *, unfinished: bool = False, horizon: int = 0) -> Choice:
    """Choose."""
    return choose(held, keep_last=keep_last, unfinished=unfinished, horizon=horizon)


def graph(base: int, source: str = "loop") -> GraphState:
    """Return a graph's state at a checkpoint."""
    return GraphState({}, 0, base, 0, source, None, (), (), {}, frozenset(), ())


def test_a_finished_thread_is_cut_where_its_newest_checkpoint_ends() -> None:
    """The end of a frame frees the whole frame."""
    assert chosen(stations(2, 5, 8)) == Choice(9, 1, "")


def test_an_unfinished_thread_is_cut_at_its_last_barrier() -> None:
    """Everything of the open step stays."""
    assert chosen(stations(2, 5, 8), unfinished=True) == Choice(8, 1, "unfinished: its open step stays")


def test_older_checkpoints_of_an_unfinished_thread_can_be_cut_behind() -> None:
    """With more checkpoints kept the open step is safe anyway."""
    assert chosen(stations(2, 5, 8), 2, unfinished=True).seq == 6


@pytest.mark.parametrize(("keep_last", "seq"), [(1, 9), (2, 6), (3, 3), (4, 3), (99, 3)])
def test_as_many_checkpoints_stay_as_are_asked_for(keep_last: int, seq: int) -> None:
    """Fewer than there are, or all."""
    assert chosen(stations(2, 5, 8), keep_last).seq == seq


def test_nothing_is_cut_before_the_horizon() -> None:
    """What is gone already needs no second cut."""
    assert chosen(stations(2, 5, 8), 3, horizon=3).seq == 0
    assert chosen([]) == Choice(0, 0, "no checkpoint yet")


def test_at_least_one_checkpoint_stays() -> None:
    """Keeping none would lose the state."""
    with pytest.raises(ValueError, match="at least 1"):
        chosen(stations(2), 0)


def test_what_is_too_young_to_go_stays_however_much_it_is() -> None:
    """Of two rules, how many and how old, the one counts that keeps more; clocks that went back cut nothing young."""
    held = [
        Station(base, base, base + 1, None, at) for base, at in ((10, 100), (20, 300), (30, 200), (40, 400))
    ]
    assert choose(held, keep_last=1, unfinished=False, horizon=0, young=500).seq == 41
    assert choose(held, keep_last=1, unfinished=False, horizon=0, young=300) == (
        21,
        3,
        "kept: not old enough",
    )
    assert choose(held, keep_last=2, unfinished=False, horizon=0, young=400).seq == 31
    assert choose(held, keep_last=1, unfinished=False, horizon=0, young=50).kept == 4


@pytest.mark.parametrize(
    ("limit", "seq"), [(50, 41), (41, 41), (40, 40), (39, 31), (30, 30), (12, 11), (9, 0)]
)
def test_nothing_is_cut_behind_what_somebody_needs(limit: int, seq: int) -> None:
    """The cut moves back to the last place where a state can be had and nobody lacks a record."""
    choice = choose(stations(10, 20, 30, 40), keep_last=1, unfinished=False, horizon=0, limit=limit)
    assert choice.seq == seq
    assert ("needs" in choice.why) == (limit < 41)


def test_origins_of_kept_branches_stay() -> None:
    """A branch that stays keeps its origin, and a branch that stays for that reason keeps its own."""
    held = stations(2, 5, 8, 11, 14, origins={14: 8, 11: 2, 8: 2})
    assert chosen(held, 1).seq == 15
    assert chosen(held, 2) == Choice(3, 5, "kept: a branch began there")
    assert chosen(stations(2, 5, 8, 11, 14, origins={14: 8}), 2) == Choice(9, 3, "kept: a branch began there")


def test_the_oldest_kept_checkpoint_needs_no_origin() -> None:
    """Its snapshot stands for all that it began with."""
    assert chosen(stations(2, 5, 8, 11, origins={8: 2}), 2).seq == 9


def test_an_origin_that_is_gone_holds_nothing_back() -> None:
    """What an earlier compaction cut off cannot be kept."""
    assert chosen(stations(5, 8, 11, origins={11: 2}), 2).seq == 9


@given(
    count=some.integers(1, 12),
    keep_last=some.integers(1, 14),
    unfinished=some.booleans(),
    data=some.data(),
)
def test_no_kept_branch_loses_its_origin(
    count: int, keep_last: int, unfinished: bool, data: some.DataObject
) -> None:
    """Whatever branched where: the kept ones are enough, and every kept branch finds its origin among them."""
    bases = [3 * number + 2 for number in range(count)]
    origins = {
        base: data.draw(some.sampled_from(bases[:place]))
        for place, base in enumerate(bases)
        if place and data.draw(some.booleans())
    }
    choice = chosen(stations(*bases, origins=origins), keep_last, unfinished=unfinished)
    kept = bases[len(bases) - choice.kept :]
    assert len(kept) >= min(keep_last, count)
    assert all(origins[base] in kept for base in kept[1:] if base in origins)
    assert kept[0] <= choice.seq <= kept[0] + 1
    assert not (unfinished and choice.kept == 1) or choice.seq == kept[0]


def test_a_survey_finds_the_root_graphs_barriers() -> None:
    """Steps, inputs, edits and branches are checkpoints; commands, and what subgraphs do, are not."""
    records = [
        (ThreadCreated(1, "t", None), False),
        (RunStarted("", 1, "r", {}, None, "sync", 1, {}), False),
        (StepStarted("", 0, ("a",), 0), True),
        (RunStarted("a:1", 1, "r", {}, None, "", 0, {}), False),
        (StepCommitted("a:1", 1, 0), True),
        (TaskFinished("", ("a",), (), ()), False),
        (StepCommitted("", 1, 0), False),
        (RunEnded("", 1, "done", None), True),
        (StateEdited("", 1, "command", ()), True),
        (StateEdited("", 1, "update", ()), True),
        (Forked("", 1, 7, "fork", {}), True),
        (Forked("", 1, 2, "branch", {}), False),
        (StateEdited("", 1, "update", ()), True),
    ]
    found = survey([Entry(seq, record, ends) for seq, (record, ends) in enumerate(records, 1)], ThreadState())
    assert found == [
        Station(2, 2, 5, None, 1),
        Station(7, 7, 9, None, 1),
        Station(10, 10, 10, None, 1),
        Station(11, 11, 11, 7, 1),
        Station(13, 13, 13, 2, 1),
    ]


def test_a_folded_state_is_a_checkpoint_where_it_can_be_had() -> None:
    """Its barrier lies within the records that it stands for; a state can be had only at their end."""
    state = ThreadState(20, {"": graph(18)})
    entries = [
        Entry(1, ThreadCreated(1, "t", None), False),
        Entry(20, StateFolded(20, thread_to_plain(state)), True),
    ]
    assert survey(entries, ThreadState()) == [Station(18, 20, 20)]


def test_a_survey_begins_with_what_the_log_begins_with() -> None:
    """After a compaction the oldest checkpoint is the one at the horizon."""
    begin = ThreadState(9, {"": graph(8)})
    assert survey([Entry(10, StepCommitted("", 1, 1), True)], begin) == [
        Station(8, 9, 9),
        Station(10, 10, 10, None, 1),
    ]
