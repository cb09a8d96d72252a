"""Programs that reach the fault points, what they say had been acknowledged, and what must hold at any time.

prepare(folder)      what is there before the first life
live(folder)         goes on from wherever it stands, and comes to the end; notes in ``ledger`` what was acknowledged
check(folder)        whatever life ended where: what was acknowledged is there, and all of it is whole
finish(folder)       the same, after a life that came to the end
"""

from __future__ import annotations

import contextlib
import operator
import os
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypedDict
from unittest import mock

from backup_helpers import filled
from helpers import THREAD, chain
from schedule_helpers import MINUTE, anything, at, made, runs_of
from timer_helpers import NOON
from wal_helpers import a_step, write_steps

from walgraph import (
    KeyRing,
    Log,
    LogInUse,
    LogStore,
    Retention,
    StaleWriter,
    interrupt,
    schedules,
    sleep,
    wait_for,
)
from walgraph.engine import clock, recorder
from walgraph.engine.firing import Clockwork
from walgraph.replay.recover import recover
from walgraph.tools.retention import Keeper
from walgraph.wal import Encoder, Summary
from walgraph.wal.backup import manifests
from walgraph.wal.backup_target import open_target
from walgraph.wal.codec import GLOBAL
from walgraph.wal.compaction import compact, shrink
from walgraph.wal.keyspace import number_key
from walgraph.wal.mending import examined, replace
from walgraph.wal.record import TaskFinished
from walgraph.wal.rekeying import rewrite_rows, rewrite_snapshots, uses
from walgraph.wal.restore import check as check_backups
from walgraph.wal.restore import restore
from walgraph.wal.tables import LOG
from walgraph.wal.verify import verify


class State(TypedDict, total=False):
    """What the nodes left."""

    trail: Annotated[list[Any], operator.add]


def note(folder: Path, *words: object) -> None:
    """Write a line outside, which no kill undoes."""
    with (folder / "ledger").open("a") as file:
        file.write(" ".join(map(str, words)) + "\n")


def noted(folder: Path, word: str) -> list[list[str]]:
    """Return the lines that begin so, without their first word."""
    path = folder / "ledger"
    lines = path.read_text().splitlines() if path.exists() else []
    return [line.split()[1:] for line in lines if line.startswith(f"{word} ")]


class Workload:
    """One program; the log is ``log`` in its folder."""

    def prepare(self, folder: Path) -> None:
        """Make what is there before the first life."""

    def live(self, folder: Path) -> None:
        """Go on, and come to the end."""
        raise NotImplementedError

    def check(self, folder: Path) -> None:
        """See what must hold at any time."""
        raise NotImplementedError

    def finish(self, folder: Path) -> None:
        """See what must hold in the end."""
        self.check(folder)


def whole(folder: Path, name: str = "log") -> bool:
    """See that a log is whole if it is there, and is nobody's alone right now; tell whether it was looked at."""
    if not (folder / name).exists():
        return False
    try:
        with Log.open(folder / name, create=False, readonly=True) as log:
            report = verify(log, structure=False)
    except LogInUse:
        return False
    assert report.ok, report.problems
    return True


class Running(Workload):
    """A graph that sleeps, takes a signal and is snapshot; then a thread is taken over from its owner."""

    def live(self, folder: Path) -> None:
        """Go on."""

        def body(name: str, does: Any) -> Any:
            def node(state: State) -> State:
                note(folder, "did", name, os.getpid())
                return {"trail": [name, does()]}

            node.__name__ = name
            return node

        with (
            mock.patch.object(recorder, "SNAPSHOT_RECORDS", 2),
            mock.patch.object(recorder, "SNAPSHOT_GROWTH", 0),
            Log.open(folder / "log", fsync="off", strict=True) as log,
        ):
            for number in range(2):
                log.signal("t", "go", number, id=f"signal {number}")
                note(folder, "sent", number)
            nodes = [
                body("naps", lambda: sleep(0.001)),
                body("first", lambda: wait_for("go")),
                body("second", lambda: wait_for("go")),
            ]
            graph = chain(*nodes, state=State).compile(log, durability="sync")
            note(
                folder,
                "told",
                graph.invoke({"trail": []} if log.head("t") is None else None, THREAD)["trail"],
            )
            self._take_over(folder, log)

    @staticmethod
    def _take_over(folder: Path, log: Log) -> None:
        owner = log.writer("u")
        owner.append(a_step(1), Summary(), awaited=True)
        owner.flush()
        note(folder, "u", owner.seq)
        with log.writer("u", if_busy="steal") as heir:
            write_steps(heir, 2, 3)
            heir.flush()
            note(folder, "u", heir.seq)
        try:
            owner.append(a_step(3), Summary(), awaited=True)
            owner.flush()
        except StaleWriter:
            return
        raise AssertionError("who lost its thread was not told")

    def check(self, folder: Path) -> None:
        """What was recorded is there, and was not done again; signals that were sent are there or received."""
        if not whole(folder):
            return
        with Log.open(folder / "log", create=False, readonly=True) as log:
            head = log.head("u")
            acknowledged = max([int(seq) for (seq,) in noted(folder, "u")], default=0)
            assert (0 if head is None else head.seq) >= acknowledged, f"seq {acknowledged} of u is missing"
            records = list(log.read("t")) if log.head("t") else []
            waiting = [signal.payload for signal in log.mailbox("t")]
        received = [each.record.payload for each in records if type(each.record).__name__ == "SignalReceived"]
        sent = [int(number) for (number,) in noted(folder, "sent")]
        # A signal that nobody was told of may be there as well.
        assert sorted(received + waiting) in (sorted(set(sent)), list(range(len(set(sent)) + 1)))
        recorded = {each.record.path[0] for each in records if isinstance(each.record, TaskFinished)}
        done = Counter(name for name, _ in noted(folder, "did"))
        assert recorded <= {*done, "__start__"}
        kept = folder / "recorded"
        for name, pid in noted(folder, "did")[self._lines(kept) :]:
            assert name not in self._names(kept), f"{name} ran again in {pid}, though it was recorded"
        kept.write_text(" ".join([str(len(noted(folder, "did"))), *sorted(recorded)]))

    @staticmethod
    def _lines(kept: Path) -> int:
        return int(kept.read_text().split()[0]) if kept.exists() else 0

    @staticmethod
    def _names(kept: Path) -> list[str]:
        return kept.read_text().split()[1:] if kept.exists() else []

    def finish(self, folder: Path) -> None:
        """The trail is that of a calm life."""
        self.check(folder)
        assert noted(folder, "told")[-1] == ["['naps',", "None,", "'first',", "0,", "'second',", "1]"]
        with Log.open(folder / "log", create=False, readonly=True) as log:
            assert log.snapshot("t") is not None
            assert recover(log, "t", lambda _: None, GLOBAL).state.seq == log.head("t").seq


class Smaller(Workload):
    """A log is compacted, then shrunk."""

    def prepare(self, folder: Path) -> None:
        """Make a log with a beginning that may go, and large values of nobody."""
        with Log.open(folder / "log", fsync="off") as log:
            for thread, load in (("gone", "x" * 50_000), ("t", None)):
                with log.writer(thread) as writer:
                    for number in range(6):
                        writer.append(a_step(number, load and f"{number}{load}"), Summary(), awaited=True)
                        writer.flush()
                        if number == 3:
                            log.put_snapshot(thread, writer.seq, Encoder().value({"step": number}))
            log.flush()
            log.delete_thread("gone")

    def live(self, folder: Path) -> None:
        """Go on."""
        with Log.open(folder / "log", fsync="off") as log:
            compact(log, {"t": 12})
            note(folder, "compacted", log.head("t").horizon)
            with log.writer("t") as writer:
                writer.append(a_step(writer.seq), Summary())
            note(folder, "seq", log.head("t").seq)
        shrink(folder / "log")
        note(folder, "shrunk", (folder / "log" / "data.mdb").stat().st_size)

    def check(self, folder: Path) -> None:
        """Nothing after the snapshot is missing."""
        if not whole(folder):
            return
        with Log.open(folder / "log", create=False, readonly=True) as log:
            head = log.head("t")
            assert head.seq >= max([18, *(int(seq) for (seq,) in noted(folder, "seq"))])
            assert head.horizon == 12 if noted(folder, "compacted") else head.horizon in {0, 12}
            assert [each.seq for each in log.read("t", head.horizon)] == list(
                range(head.horizon + 1, head.seq + 1)
            )
            assert log.snapshot("t")[0] == 12
            if noted(folder, "compacted"):
                assert not log.store.digests()


class Rekeying(Workload):
    """What lies under an old key beside the frames is written anew."""

    old = KeyRing({"old": b"o" * 32})
    both = KeyRing({"old": b"o" * 32, "new": b"n" * 32})

    def prepare(self, folder: Path) -> None:
        """Make a log with a snapshot, a large value, items, and a signal."""
        with Log.open(folder / "log", fsync="off", keys=self.old) as log:
            with log.writer("t") as writer:
                writer.append(a_step(0, "x" * 50_000), Summary(), awaited=True)
                log.put_snapshot("t", writer.seq, Encoder().value({"large": "x" * 50_000}))
            log.signal("t", "go", "on")
            store = LogStore(log)
            for number in range(70):
                store.put(("users",), str(number), {"n": number})

    def live(self, folder: Path) -> None:
        """Go on."""
        with Log.open(folder / "log", fsync="off", keys=self.both) as log:
            rewrite_snapshots(log, "t", "old")
            rewrite_rows(log, "old")
            note(folder, "rewritten")

    def check(self, folder: Path) -> None:
        """All is there, under the one key or the other; at the end only the frame is under the old one."""
        with Log.open(folder / "log", create=False, readonly=True, keys=self.both) as log:
            report = verify(log)
            assert report.ok, report.problems
            assert report.closed == 0
            assert (report.items, report.signals, report.snapshots) == (70, 1, 1)
            if noted(folder, "rewritten"):
                left = uses(log).counts["old"]
                assert not left["items"] + left["signals"] + left["snapshots"]


class Copying(Workload):
    """A log is backed up twice, of which the newest stays, and restored."""

    def prepare(self, folder: Path) -> None:
        """Make a log with a large value."""
        with filled(folder / "log"):
            pass

    def live(self, folder: Path) -> None:
        """Go on."""
        with Log.open(folder / "log", fsync="off") as log:
            for _ in range(2):
                note(folder, "backed", log.backup(folder / "backups", keep=1).lsn)
                with log.writer("t") as writer:
                    writer.append(a_step(writer.seq), Summary())
        if not (folder / "again").exists():
            restore(folder / "backups", folder / "again")
        note(folder, "restored")

    def check(self, folder: Path) -> None:
        """The newest backup is whole, and the restored log is that, or nothing."""
        assert whole(folder)
        backed = max([int(lsn) for (lsn,) in noted(folder, "backed")], default=0)
        newest = max([each.lsn for each in manifests(open_target(folder / "backups"))], default=0)
        assert newest >= backed
        if newest:
            check_backups(folder / "backups")
        is_there = whole(folder, "again")
        assert is_there or not noted(folder, "restored")
        if is_there:
            with Log.open(folder / "again", create=False, readonly=True) as log:
                assert backed >= log.store.position().lsn > 0

    def finish(self, folder: Path) -> None:
        """One backup stayed."""
        self.check(folder)
        assert len(manifests(open_target(folder / "backups"))) == 1


class Repairing(Workload):
    """A damaged log is repaired."""

    def prepare(self, folder: Path) -> None:
        """Damage a frame of one of two threads."""
        with filled(folder / "log") as log, log.store.all_tables.write() as txn:
            frame = txn.get(LOG, number_key(9))
            txn.put(LOG, number_key(9), frame[:-1] + bytes([frame[-1] ^ 1]))
        (folder / "damaged").write_bytes((folder / "log" / "data.mdb").read_bytes())

    def live(self, folder: Path) -> None:
        """Go on."""
        with examined(str(folder / "log")) as (pages, plan):
            if plan.is_damaged:
                replace(pages, plan, str(folder / "log"))

    def check(self, folder: Path) -> None:
        """The log is the damaged one, or whole; the damaged one is never lost."""
        damaged = (folder / "damaged").read_bytes()
        held = [folder / "log", *folder.glob("log.damaged-*")]
        assert damaged in [(each / "data.mdb").read_bytes() for each in held if (each / "data.mdb").exists()]
        if (folder / "log" / "data.mdb").read_bytes() != damaged:
            whole(folder)

    def finish(self, folder: Path) -> None:
        """It is whole, and the other thread has all that it had."""
        self.check(folder)
        assert whole(folder)
        with Log.open(folder / "log", create=False, readonly=True) as log:
            assert [head.seq for head in log.threads() if head.thread_id == "t"] == [18]


class Firing(Workload):
    """A schedule whose last times nobody was there to see; a worker looks at it, and again a minute later."""

    def live(self, folder: Path) -> None:
        """Go on."""
        with (
            Log.open(folder / "log", fsync="off") as log,
            clock.using(clock.FakeClock(NOON)) as fake,
        ):
            if not schedules(log):
                made(log, missed="all", overlap="allow_all")
            looker = Clockwork(log, anything)
            for minute in (3, 4):
                fake.set(NOON + minute * MINUTE)
                looker.tick()
                note(folder, "looked", minute)

    def check(self, folder: Path) -> None:
        """Each time was handed over once, together with what the row says of it; none is missing after a look."""
        if not whole(folder):
            return
        with Log.open(folder / "log", create=False, readonly=True) as log:
            runs = runs_of(log)
            rows = list(log.schedules().all())
        assert runs in [[at(minute) for minute in range(1, upto)] for upto in (1, 4, 5)]
        assert [row.fires for row in rows] in ([], [len(runs)])
        assert len(runs) >= max([int(minute) for (minute,) in noted(folder, "looked")], default=0)

    def finish(self, folder: Path) -> None:
        """All four are there."""
        self.check(folder)
        with Log.open(folder / "log", create=False, readonly=True) as log:
            assert len(runs_of(log)) == 4


class Keeping(Workload):
    """A policy looks after a log, under a budget of a few records, two frames in each transaction."""

    def prepare(self, folder: Path) -> None:
        """Make a thread with a history, and one whose question is open."""
        with Log.open(folder / "log", fsync="off") as log:
            graph = self._graph(log)
            for number in range(4):
                graph.invoke({"trail": [number]}, THREAD, durability="sync")
            asking = {"configurable": {"thread_id": "asks"}}
            chain(self._one, self._asks, state=State).compile(log).invoke({"trail": []}, asking)

    @staticmethod
    def _one(_: State) -> State:
        return {"trail": ["one"]}

    @staticmethod
    def _asks(_: State) -> State:
        return {"trail": [interrupt("sure?")]}

    def _graph(self, log: Log) -> Any:
        return chain(self._one, state=State).compile(log)

    def live(self, folder: Path) -> None:
        """Go on."""
        policy = Retention(every=timedelta(milliseconds=1), records=3, batch=2)
        with Log.open(folder / "log", fsync="off") as log:
            keeper = Keeper(policy, log)
            keeper.look_after()
            assert not keeper.done.problems
            note(folder, "kept", log.head("t").horizon)

    def check(self, folder: Path) -> None:
        """The state is what it was, and the question is open."""
        assert whole(folder)
        with Log.open(folder / "log", create=False, readonly=True) as log:
            found = self._graph(log).get_state(THREAD)
            assert found.values["trail"] == [item for number in range(4) for item in (number, "one")]
            graph = chain(self._one, self._asks, state=State).compile(log)
            assert graph.get_state({"configurable": {"thread_id": "asks"}}).interrupts[0].value == "sure?"
            assert log.head("t").horizon >= max([int(each) for (each,) in noted(folder, "kept")], default=0)

    def finish(self, folder: Path) -> None:
        """Nothing but the newest checkpoint is left."""
        self.check(folder)
        with Log.open(folder / "log", create=False, readonly=True) as log:
            assert log.head("t").horizon
            assert len(list(self._graph(log).get_state_history(THREAD))) == 1


class Named(NamedTuple):
    """A workload and its name."""

    name: str
    workload: Workload


WORKLOADS = (
    Named("running", Running()),
    Named("compacting and shrinking", Smaller()),
    Named("rekeying", Rekeying()),
    Named("backing up and restoring", Copying()),
    Named("repairing", Repairing()),
    Named("firing schedules", Firing()),
    Named("retention", Keeping()),
)
"""All of them; together they reach every point."""


def undisturbed(workload: Workload, folder: Path) -> None:
    """Do all of it in this process."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    workload.prepare(folder)
    workload.live(folder)
    workload.finish(folder)
