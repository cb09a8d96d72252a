"""``wal effects``: the ledger of what is done at most once, as a person uses it."""

from __future__ import annotations

from pathlib import Path

import pytest
from effect_helpers import MODES, QUICKLY, Killed, World, says
from helpers import THREAD, Way, on
from tools_helpers import steady, told, wal

from walgraph import (
    RUN_AGAIN,
    START,
    AnswerError,
    Log,
    MemoryLog,
    OutcomeUnknown,
    StateGraph,
    ThreadBusy,
    ThreadNotFound,
    entrypoint,
    resolve_effect,
    task,
)
from walgraph.replay.intents import effects
from walgraph.wal.codec import GLOBAL

SYNC = Way("sync")


def standings(log, thread="t"):
    """Return how the calls of a thread stand."""
    return [(each.standing, each.attempt) for each in effects(log, thread, log.decoder(GLOBAL))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log with a payment that is done, one that failed, one in doubt, and one that a person was asked about."""
    place = tmp_path / "log.wal"
    with Log.open(place) as log:
        world = World(SYNC, log)
        world.flow.invoke(1, on("done"))
        world.fates.append(ValueError("no such account"))
        with pytest.raises(ValueError, match="no such"):
            world.flow.invoke(2, on("failed"))
        world.fates.append(Killed())
        with pytest.raises(Killed):
            world.flow.invoke(3, on("lost"), durability="sync")
        asking = World(SYNC, log, on_unknown="interrupt")
        asking.fates.append(Killed())
        with pytest.raises(Killed):
            asking.flow.invoke(4, on("asked"), durability="sync")
        asking.flow.invoke(None, on("asked"))
    return place


def test_calls_are_listed_with_how_they_stand(path: Path) -> None:
    """Each with its thread, its key, its attempt, since when, and what it came to."""
    result = wal("effects", path)
    assert result.exit_code == 0
    lines = [line.split() for line in steady(result.stdout).splitlines()]
    assert lines[0] == ["thread", "task", "call", "attempt", "stands", "since", "key", "came", "to"]
    assert lines[1:] == [
        ["done", "flow/0", "pay('bob',", "1)", "1", "done", "TIME", "ID", "'1", "to", "bob'"],
        [
            "failed",
            "flow/0",
            "pay('bob',",
            "2)",
            "1",
            "failed",
            "TIME",
            "ID",
            "ValueError('no",
            "such",
            "account')",
        ],
        ["lost", "flow/0", "pay('bob',", "3)", "1", "in", "doubt", "TIME", "ID", "-"],
        ["asked", "flow/0", "pay('bob',", "4)", "1", "asked", "TIME", "ID", "-"],
    ]
    assert "--resolve KEY" in result.stderr
    shown = told("effects", path, "done")["effects"]
    assert len(shown) == 1
    assert (shown[0]["value"], shown[0]["in_doubt"], shown[0]["path"]) == ("1 to bob", False, ["flow", 0])


def test_only_what_is_in_doubt_and_the_exit_code_says_so(path: Path) -> None:
    """For a script that watches a log; nothing in doubt is exit code 0."""
    assert wal("effects", path, "--in-doubt").exit_code == 1
    found = told("effects", path, "--in-doubt", code=1)["effects"]
    assert [(each["thread"], each["standing"]) for each in found] == [
        ("lost", "in doubt"),
        ("asked", "asked"),
    ]
    assert wal("effects", path, "done", "--in-doubt").exit_code == 0
    assert wal("effects", path, "nobody").exit_code == 3


def test_a_person_says_that_it_took_effect(path: Path) -> None:
    """A dry run first; then the run goes on with the value, and the body is not begun."""
    (lost,) = told("effects", path, "lost")["effects"]
    resolve = ("effects", path, "lost", "--resolve", lost["key"], "--value", '"it arrived"')
    dry = wal(*resolve)
    assert dry.stdout == "pay('bob', 3), attempt 1, returns 'it arrived' when thread lost is resumed\n"
    assert "add --apply" in dry.stderr
    assert told("effects", path, "lost")["effects"] == [lost]
    assert told(*resolve, "--apply")["applied"]
    assert told("effects", path, "lost")["effects"][0]["standing"] == "done"
    assert wal("verify", path).exit_code == 0
    with Log.open(path, strict=True) as log:
        assert log.head("lost").status == "crashed"
        world = World(SYNC, log)
        assert world.flow.invoke(None, on("lost")) == "it arrived"
        assert world.keys == []


@pytest.mark.parametrize("thread", ["lost", "asked"])
def test_a_person_says_that_it_did_not(path: Path, thread: str) -> None:
    """Then the body begins again when the run is resumed, under the same key; nobody is asked any more."""
    (lost,) = told("effects", path, thread)["effects"]
    result = wal("effects", path, thread, "--resolve", lost["key"], "--run-again", "--apply")
    assert result.exit_code == 0, result.stderr
    with Log.open(path, strict=True) as log:
        world = World(SYNC, log, on_unknown="interrupt")
        assert world.flow.invoke(None, on(thread)) == f"{3 if thread == 'lost' else 4} to bob"
        assert world.keys == [lost["key"]]
        assert standings(log, thread) == [("done", 2)]
    assert wal("verify", path).exit_code == 0


def test_what_was_asked_can_be_resolved_instead_of_answered(path: Path) -> None:
    """The question is closed with it."""
    with Log.open(path, strict=True) as log:
        world = World(SYNC, log, on_unknown="interrupt")
        (asked,) = effects(log, "asked", log.decoder(GLOBAL))
        resolve_effect(log, "asked", asked.key, {"receipt": 4})
        assert world.flow.get_state(on("asked")).interrupts == ()
        assert world.flow.invoke(None, on("asked")) == {"receipt": 4}


def test_what_cannot_be_resolved_is_refused(path: Path) -> None:
    """Unknown keys, what is not in doubt, threads that run or are not there, and words that say nothing."""
    (done,) = told("effects", path, "done")["effects"]
    for thread, key in (("done", done["key"]), ("lost", "no-such-key")):
        refused = wal("effects", path, thread, "--resolve", key, "--run-again", "--apply")
        assert refused.exit_code == 1
        assert "error[WAL-E206]: nothing with the key" in refused.stderr
    for words in (["--value", "1"], ["--resolve", "k"], ["lost", "--resolve", "k"], ["--apply"]):
        assert wal("effects", path, *words).exit_code == 2
    assert wal("effects", path, "lost", "--resolve", "k", "--value", "paid").exit_code == 2
    with Log.open(path) as log:
        with pytest.raises(ThreadNotFound):
            resolve_effect(log, "nobody", "k", 1)
        assert log.head("nobody") is None
        (lost,) = effects(log, "lost", log.decoder(GLOBAL))
        with log.writer("lost"), pytest.raises(ThreadBusy):
            resolve_effect(log, "lost", lost.key, 1)
        with pytest.raises(AnswerError) as caught:
            resolve_effect(log, "lost", "k", 1)
        assert caught.value.pending_ids == (lost.key,)


@pytest.mark.parametrize("durability", MODES)
def test_attempts_of_one_call_are_one_line(durability) -> None:
    """With the number of the last, and its failure for as long as it is the last."""
    log = MemoryLog(strict=True)
    world = World(SYNC, log, retry_policy=QUICKLY, reconcile=says(RUN_AGAIN))
    world.fates += [ConnectionError()]
    world.lose(durability=durability)
    assert standings(log) == [("in doubt", 2)]
    assert world.invoke(durability=durability) == "5 to bob"
    assert standings(log) == [("done", 3)]


@pytest.mark.parametrize("durability", MODES)
def test_what_a_run_went_on_without_knowing_is_left_in_every_mode(durability) -> None:
    """Under ``exit`` the step of the call is over by the next state that is written, and it once was ``over``."""
    log = MemoryLog(strict=True)
    world = World(SYNC, log)
    world.lose(durability=durability)

    @entrypoint(log, name="flow")
    def flow(_):
        try:
            return world.pay("bob", 5).result()
        except OutcomeUnknown:
            return "nobody knows"

    assert standings(log)[0][0] == "in doubt"
    assert flow.invoke(None, THREAD, durability=durability) == "nobody knows"
    assert [standing for standing, _ in standings(log)] == ["left"]


def test_what_nobody_will_ask_about_any_more_is_still_in_doubt() -> None:
    """A run that went on without knowing, and one that was given up for a new input."""
    log = MemoryLog(strict=True)

    @task(effect="at_most_once")
    def pay():
        raise Killed

    @entrypoint(log)
    def flow(x):
        try:
            return pay().result()
        except OutcomeUnknown:
            return "never mind"

    with pytest.raises(Killed):
        flow.invoke(1, THREAD)
    assert flow.invoke(None, THREAD) == "never mind"
    assert standings(log) == [("left", 1)]
    with pytest.raises(Killed):
        flow.invoke(2, THREAD)
    with pytest.raises(Killed):
        flow.invoke(3, THREAD)
    assert standings(log) == [("left", 1), ("left", 1), ("in doubt", 1)]


def test_calls_in_subgraphs_and_copies_are_found(tmp_path: Path) -> None:
    """Also in those whose graph the reader does not know, and behind a compaction."""
    path = tmp_path / "log.wal"
    with Log.open(path) as log:
        world = World(SYNC, log)
        world.fates.append(Killed())

        def node(state):
            world.pay("eve", 7).result()

        inner = StateGraph(dict).add_node("node", node).add_edge(START, "node").compile()
        outer = StateGraph(dict).add_node("inner", inner).add_edge(START, "inner").compile(log)
        with pytest.raises(Killed):
            outer.invoke({}, THREAD, durability="sync")
        log.copy_thread("t", "copy")
    for thread in ("t", "copy"):
        (lost,) = told("effects", path, thread)["effects"]
        assert (lost["standing"], lost["call"]) == ("in doubt", "('eve', 7)")
        assert wal("effects", path, thread).stdout.count("inner:") == 1
    assert wal("compact", path, "--apply").exit_code == 0
    assert [each["standing"] for each in told("effects", path)["effects"]] == ["in doubt"] * 2
    with Log.open(path, strict=True) as log:
        outer = StateGraph(dict).add_node("inner", inner).add_edge(START, "inner").compile(log)
        resolve_effect(log, "copy", lost["key"], "paid")
        outer.invoke(None, on("copy"))
        with pytest.raises(OutcomeUnknown):
            outer.invoke(None, on("t"))
        assert len(world.keys) == 1


def test_while_the_run_is_alive_nothing_is_in_doubt() -> None:
    """It is running, which the claim on the thread tells."""
    log = MemoryLog()
    seen = []

    @task(effect="at_most_once")
    def pay():
        seen.extend(standings(log))

    @entrypoint(log)
    def flow(x):
        pay().result()

    flow.invoke(1, THREAD)
    assert seen == [("running", 1)]
    assert standings(log) == [("done", 1)]
