"""The bank of ``examples/transfer_money.py`` killed at any instant: nothing is paid twice, nothing is lost.

    make test    some dozens of kills
    make fuzz    as many as its share of WALGRAPH_FUZZ_SECONDS allows

The bank does what it is told, twice if it is told twice. So what it holds in the end was kept right by the log alone.
"""

from __future__ import annotations

import io
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
from contextlib import closing
from pathlib import Path

import pytest
from effect_lives import Fate, kill_at
from fuzz.shares import seconds
from fuzz.tally import tally

from walgraph import Log
from walgraph.engine.once import Attempted
from walgraph.replay.intents import DOUBTFUL, effects
from walgraph.wal.codec import GLOBAL

SECONDS = seconds("transfers")
SEED = int(os.environ.get("WALGRAPH_FUZZ_SEED", "0")) or (int(time.time()) if SECONDS else 7)
KILLS = 30
"""How many lives are killed when there is no time for more."""
MODES = ("sync", "async", "exit")
NAMES = ("ada", "bob", "eve")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork") or sys.platform == "win32", reason="lives are forked and killed by signals"
)


@pytest.fixture
def examples(monkeypatch, tmp_path):
    """The examples as modules, with a bank that is open."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import bank
    import transfer_money

    folder = tmp_path / "bank"
    with subprocess.Popen([sys.executable, str(EXAMPLES / "bank.py"), str(folder)]) as opened:
        while not (folder / "port").exists():
            time.sleep(0.01)
        yield bank, transfer_money
        opened.kill()


def life(make, folder, thread, asked, fate):
    """Settle orders in a process of its own, which dies some day; return whether it was killed.

    Args:
        make: Makes the entrypoint for a log.
        folder: Where the log is.
        thread: The thread.
        asked: The orders, and the mode.
        fate: The seconds after which it is killed, and the append at which it is, 0 for none.
    """
    (orders, mode), (seconds, append) = asked, fate
    pid = os.fork()
    if pid == 0:
        try:
            sys.stdout = io.StringIO()
            kill_at(Fate(append, "before" if append % 2 else "after"))
            with Log.open(folder / "log.wal", strict=True) as log:
                given = orders if log.head(thread) is None else None
                make(log).invoke(given, {"configurable": {"thread_id": thread}}, durability=mode)
            os._exit(0)
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
            os._exit(1)
    end = time.monotonic() + (60 if append else seconds)
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)
    assert os.WIFSIGNALED(ended[1]) or os.WEXITSTATUS(ended[1]) == 0
    return os.WIFSIGNALED(ended[1])


def settled(examples, folder, number, chance):
    """Settle one list of orders, however many lives it takes; return the lives, and how many were killed."""
    bank_module, example = examples
    bank = bank_module.Bank(folder / "bank")
    orders = [(*chance.sample(NAMES, 2), number * 100 + place) for place in range(chance.randint(1, 6))]
    mode, thread = chance.choice(MODES), f"round {number}"
    lives = kills = 0
    before = len(bank.payments())
    while True:
        lives += 1
        # Every tenth life is let be, so that there is an end.
        instant, append = chance.uniform(0.002, 0.12), chance.choice([0, 0, *range(1, 14)])
        fate = (instant, append) if lives % 10 else (60.0, 0)
        killed = life(
            lambda log: example.settling(log, bank, folder / "books.db"), folder, thread, (orders, mode), fate
        )
        kills += killed
        assert sum(bank.balances().values()) == sum(bank_module.ACCOUNTS.values())
        paid = [payment[1:] for payment in bank.payments()[before:]]
        assert len(paid) == len(set(paid)), f"paid twice: {paid}"
        if not killed and is_done(folder, thread):
            break
    assert paid == orders
    with closing(sqlite3.connect(folder / "books.db")) as books:
        lines = [receipt for (receipt,) in books.execute("SELECT receipt FROM lines ORDER BY number")]
    assert lines[before:] == [f"{amount} from {source} to {target}" for source, target, amount in orders]
    return lives, kills


def is_done(folder, thread):
    """Return whether the run is done, and nothing of it is in doubt."""
    with Log.open(folder / "log.wal") as log:
        head = log.head(thread)
        if head is None or head.status != "done":
            return False
        assert not [e for e in effects(log, thread, log.decoder(GLOBAL)) if e.standing in DOUBTFUL]
        return True


@pytest.mark.timeout(0 if SECONDS else 300)
def test_the_sum_never_changes_and_no_transfer_is_doubled(tmp_path, examples, capfd) -> None:
    """Killed at random instants and appends, in all modes; the bank is asked what is in doubt, and our books agree."""
    chance, end = random.Random(SEED), time.monotonic() + SECONDS
    lives = kills = number = 0
    while kills < KILLS or time.monotonic() < end:
        number += 1
        try:
            lived, killed = settled(examples, tmp_path, number, chance)
        except AssertionError as error:
            error.add_note(f"WALGRAPH_FUZZ_SEED={SEED}, round {number}")
            raise
        lives, kills = lives + lived, kills + killed
    tally(lives=lives, killed=kills, acknowledged=number)
    if SECONDS:
        with capfd.disabled():
            print(f"\n{number} lists of orders, {lives} lives, {kills} killed")


def test_a_transfer_that_is_begun_again_unasked_is_found_out(tmp_path, examples, monkeypatch) -> None:
    """Planted: what is in doubt is taken for what did not happen, and somebody is paid twice within some rounds."""

    def found_out(self, intent, cause):
        from walgraph import RUN_AGAIN

        return RUN_AGAIN
        yield

    monkeypatch.setattr(Attempted, "_found_out", found_out)
    chance = random.Random(1)

    def play():
        for number in range(1, 30):
            settled(examples, tmp_path, number, chance)

    with pytest.raises(AssertionError, match="paid twice"):
        play()
