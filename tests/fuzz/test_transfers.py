"""The bank of ``examples/transfer_money.py`` killed at any instant: nothing is paid twice, nothing is lost.

    make test    some dozens of kills
    make fuzz    as many as its share of WALGRAPH_FUZZ_SECONDS allows, and at least WALGRAPH_FUZZ_KILLS

The bank does what it is told, twice if it is told twice. So what it holds in the end was kept right by the log alone.
Where there is time, each processor has a teller of its own, with a bank, a log and books of its own.
"""

from __future__ import annotations

import io
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import traceback
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

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
KILLS = int(os.environ.get("WALGRAPH_FUZZ_KILLS", "0")) or 30
"""How many lives are killed at least."""
TELLERS = (os.cpu_count() or 1) if SECONDS else 1
ORDERS = 24
"""How many transfers one run makes at most: most of its lives are killed, and few end it."""
MODES = ("sync", "async", "exit")
NAMES = ("ada", "bob", "eve")
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"

pytestmark = pytest.mark.skipif(
    not hasattr(os, "fork") or sys.platform == "win32", reason="lives are forked and killed by signals"
)


class Tally(NamedTuple):
    """What happened so far."""

    lists: int = 0
    lives: int = 0
    kills: int = 0
    transfers: int = 0
    in_doubt: int = 0
    reconciled: int = 0

    def plus(self, other):
        """Return both together."""
        return Tally(*map(sum, zip(self, other, strict=True)))


@pytest.fixture
def examples(monkeypatch):
    """The examples as modules."""
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import bank
    import transfer_money

    return bank, transfer_money


@contextmanager
def opened_bank(examples, folder):
    """Open a bank, and yield it as a customer sees it who notes what he asks."""
    (folder / "bank").mkdir(parents=True)

    class Noting(examples[0].Bank):
        def happened(self, key):
            note(folder, b"?")
            receipt = super().happened(key)
            note(folder, b"n" if receipt is None else b"y")
            return receipt

    with subprocess.Popen([sys.executable, str(EXAMPLES / "bank.py"), str(folder / "bank")]) as opened:
        while not (folder / "bank" / "port").exists():
            time.sleep(0.01)
        try:
            yield Noting(folder / "bank")
        finally:
            opened.kill()


def note(folder, what):
    """Leave a mark that outlives this process."""
    handle = os.open(folder / "asked", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, what)
    os.close(handle)


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


def settled(examples, bank, folder, number, chance):
    """Settle one list of orders, however many lives it takes; return what happened."""
    bank_module, example = examples
    orders = [(*chance.sample(NAMES, 2), number * 100 + place) for place in range(chance.randint(1, ORDERS))]
    mode, thread = chance.choice(MODES), f"round {number}"
    lives = kills = 0
    before = len(bank.payments())
    while True:
        lives += 1
        # Every fortieth life is let be, so that there is an end.
        instant, append = chance.uniform(0.002, 0.12), chance.choice([0, 0, *range(1, 14)])
        fate = (instant, append) if lives % 40 else (60.0, 0)
        killed = life(
            lambda log: example.settling(log, bank, folder / "books.db"), folder, thread, (orders, mode), fate
        )
        kills += killed
        assert sum(bank.balances().values()) == sum(bank_module.ACCOUNTS.values())
        if not killed and is_done(folder, thread):
            break
    paid = [payment[1:] for payment in bank.payments()[before:]]
    assert len(paid) == len(set(paid)), f"paid twice: {paid}"
    assert paid == orders
    with closing(sqlite3.connect(folder / "books.db")) as books:
        lines = [receipt for (receipt,) in books.execute("SELECT receipt FROM lines ORDER BY number")]
    assert lines[before:] == [f"{amount} from {source} to {target}" for source, target, amount in orders]
    return Tally(1, lives, kills, len(orders))


def told(examples, folder, seed, kills, seconds):
    """Be a teller: settle lists of orders until there were so many kills and the time is over."""
    chance, end = random.Random(seed), time.monotonic() + seconds
    tally = Tally()
    with opened_bank(examples, folder) as bank:
        while tally.kills < kills or time.monotonic() < end:
            try:
                tally = tally.plus(settled(examples, bank, folder, tally.lists + 1, chance))
            except AssertionError as error:
                error.add_note(f"seed {seed}, list {tally.lists + 1}")
                raise
    asked = (folder / "asked").read_bytes() if (folder / "asked").exists() else b""
    # Who was killed while it asked is asked again, so a doubt may be noted more than once.
    return tally._replace(in_doubt=asked.count(b"?"), reconciled=asked.count(b"y") + asked.count(b"n"))


def teller(*arguments):
    """Begin a teller in a process of its own; return the process, and where it says what happened."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, json.dumps(told(*arguments)).encode())
            os._exit(0)
        except BaseException:
            traceback.print_exc(file=sys.__stderr__)
            os._exit(1)
    os.close(writing)
    return pid, reading


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
    share = -(-KILLS // TELLERS)
    if TELLERS == 1:
        counts = told(examples, tmp_path / "teller", SEED, share, SECONDS)
    else:
        tellers = [
            teller(examples, tmp_path / str(number), SEED + number, share, SECONDS)
            for number in range(TELLERS)
        ]
        counts = Tally()
        for pid, reading in tellers:
            with os.fdopen(reading, "rb") as said:
                what = said.read()
            assert os.waitpid(pid, 0)[1] == 0, (
                f"WALGRAPH_FUZZ_SEED={SEED}: a teller failed; what it says is above"
            )
            counts = counts.plus(Tally(*json.loads(what)))
    assert counts.kills >= KILLS
    tally(lives=counts.lives, killed=counts.kills, acknowledged=counts.lists)
    if SECONDS:
        with capfd.disabled():
            print(f"\n{', '.join(f'{name} {count}' for name, count in counts._asdict().items())}")


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
            settled(examples, bank, tmp_path, number, chance)

    with opened_bank(examples, tmp_path) as bank, pytest.raises(AssertionError, match="paid twice"):
        play()
