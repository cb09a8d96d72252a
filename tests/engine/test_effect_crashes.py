"""Effects through kills at every append (G2, G3): counted outside, in every mode, and the bugs that this must find."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import sys

import pytest
from effect_helpers import MODES
from effect_lives import Fate, Programme, carried_on

from walgraph.engine import transactional
from walgraph.engine.once import Attempted
from walgraph.engine.outcome_sqlalchemy import Alchemy
from walgraph.engine.outcome_table import Sqlite
from walgraph.engine.recorder import Recorder
from walgraph.replay.state import Intent
from walgraph.wal.record import TaskStarted

LIVES = [(mode, way) for way in ("sync", "async", "aiosqlite") for mode in MODES] + [
    ("sync", "async session")
]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="lives are forked")


def every_fate(folder, mode, way, when):
    """Kill a first life at each append there is, one after another; the lives after it must set everything right."""
    for append in range(1, 100):
        programme = Programme(folder / str(append), mode, way)
        fate = Fate(append, when)
        if not programme.live(fate):
            return append - 1
        carried_on(programme, [])
    raise AssertionError("it appends without end")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("mode", "way"), LIVES)
def test_effects_are_counted_outside_after_a_kill_at_every_append(tmp_path, mode, way, when) -> None:
    """Once if transactional or reconciled, at most once and reported if in doubt, at least once if plain."""
    appends = every_fate(tmp_path, mode, way, when)
    # Under exit an intent is written with the state, so there is an append for each, for the sale, and for the end.
    assert appends >= (4 if mode == "exit" else 7)


@pytest.mark.parametrize("mode", MODES)
def test_a_run_that_is_killed_at_each_of_its_appends_in_turn_ends_all_the_same(tmp_path, mode) -> None:
    """Life after life of one run, each a little longer than the last."""
    fates = [Fate(append, when) for append in (2, 3, 4) for when in ("after", "before")]
    carried_on(Programme(tmp_path / "run", mode), fates)


# The bugs that these tests are for. Each is planted in the parent, and so in all its children.


def begins_without_intent(self):
    """Begin the body before the intent is recorded."""
    self._context.begin(self._attempts.next(), self._outcome)
    return Intent(self._context.idempotency_key, self._context.attempt, 0)
    yield


def dies_after_the_commit(monkeypatch):
    """Kill the first life between the commit of the sale and its record, and forget what was committed."""
    tried = transactional._tried

    def deadly(*arguments):
        found = yield from tried(*arguments)
        if found is not None and os.environ.get("DEADLY"):
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    monkeypatch.setattr(transactional, "_tried", deadly)


@pytest.mark.parametrize("mode", ["async", "exit"])
def test_an_intent_that_is_not_flushed_is_found_out(tmp_path, monkeypatch, mode) -> None:
    """Planted: the body begins while its intent waits in the queue."""
    monkeypatch.setattr(Recorder, "harden", lambda _: None)
    with pytest.raises(AssertionError):
        every_fate(tmp_path, mode, "sync", "before")


@pytest.mark.parametrize("mode", MODES)
def test_a_body_that_begins_before_its_intent_is_found_out(tmp_path, monkeypatch, mode) -> None:
    """Planted: nothing is recorded before the body."""
    monkeypatch.setattr(Attempted, "_begun", begins_without_intent)
    with pytest.raises(AssertionError):
        every_fate(tmp_path, mode, "sync", "before")


def test_an_attempt_that_is_begun_again_without_asking_is_found_out(tmp_path, monkeypatch) -> None:
    """Planted: what is in doubt is taken for what did not happen."""

    def found_out(self, intent, cause):
        from walgraph import RUN_AGAIN

        return RUN_AGAIN
        yield

    monkeypatch.setattr(Attempted, "_found_out", found_out)
    with pytest.raises(AssertionError):
        every_fate(tmp_path, "sync", "sync", "before")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", ["sync", "aiosqlite", "async session"])
@pytest.mark.parametrize("is_planted", [False, True], ids=["as it is", "outcome not looked for"])
def test_a_kill_between_the_two_commits_of_a_sale(tmp_path, monkeypatch, mode, way, is_planted) -> None:
    """The one instant at which only the outcome table knows; planted: the next life does not look there."""
    dies_after_the_commit(monkeypatch)
    programme = Programme(tmp_path / "run", mode, way)
    monkeypatch.setenv("DEADLY", "1")
    assert programme.live(Fate())
    monkeypatch.delenv("DEADLY")
    if not is_planted:
        carried_on(programme, [])
        return
    monkeypatch.setattr(
        "walgraph.engine.context.TaskContext.idempotency_key",
        property(lambda self: f"{self.id} {os.getpid()}"),
    )
    with pytest.raises(AssertionError, match="sold 2 times"):
        carried_on(programme, [])


@pytest.mark.parametrize("way", ["sync", "aiosqlite", "async session"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["begin", "hold", "keep", "commit"])
def test_a_kill_at_each_step_of_the_transaction(tmp_path, monkeypatch, way, when, step) -> None:
    """Before the commit nothing has happened, and after it all has; the next life tells which."""
    database = Alchemy if way == "async session" else Sqlite
    made = getattr(database, step)

    def deadly(self, *arguments):
        if when == "before" and os.environ.get("DEADLY"):
            os.kill(os.getpid(), signal.SIGKILL)
        made(self, *arguments)
        if os.environ.get("DEADLY"):
            os.kill(os.getpid(), signal.SIGKILL)

    programme = Programme(tmp_path / "run", "sync", way)
    # The table is there, so that the first commit is that of the sale.
    with contextlib.closing(sqlite3.connect(programme.database)) as plain:
        Sqlite(plain).create()
    monkeypatch.setattr(database, step, deadly)
    monkeypatch.setenv("DEADLY", "1")
    assert programme.live(Fate())
    assert programme.sales() == ((step, when) == ("commit", "after"))
    monkeypatch.delenv("DEADLY")
    carried_on(programme, [])


def test_a_lost_intent_is_what_the_log_holds_of_the_body(tmp_path) -> None:
    """Killed after the append of the intent: it is in the log, and no outcome is."""
    from walgraph import Log

    programme = Programme(tmp_path / "run", "async")
    for append in range(1, 20):
        programme = Programme(tmp_path / str(append), "async")
        assert programme.live(Fate(append, "after"))
        with Log.open(programme.log) as log:
            kinds = [type(stored.record) for stored in log.read("t")]
        if kinds[-1] is TaskStarted:
            assert programme.happened("looked") == 0
            return
    raise AssertionError("no life ended there")
