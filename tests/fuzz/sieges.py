"""One log under siege: several processes with several threads each work on it, while everything happens to them.

    worker ×3    two threads each; graphs that count and take signals, in each mode; threads are shared, and stolen
    keeper       compacts, and backs up, all the while
    sender       sends signals

    Siege(folder, seed).round(seconds)    they live, are killed, stopped and continued, at random instants and at fault
                                          points, and are followed by others; in the end all are killed
    Siege.check()                         the log and the newest backup are compared with the ledger
    Siege.settle()                        one undisturbed life brings every thread to its end

    did THREAD N     a body began that counts to N            back THREAD N    a call came back that had counted so far
    saw THREAD N     sync: a body saw N in its state          sent THREAD ID   a signal was sent
    backed LSN       a backup was made                        cut              a compaction was done
    struck POINT S   a process sends itself a signal

What must hold: what was acknowledged is there, in every mode and with every setting of ``fsync``, since only processes
die; what was recorded when a round began is not done again in it; the log is whole; the newest backup can be restored;
of the signals that were sent each was received once or waits.
"""

from __future__ import annotations

import contextlib
import json
import operator
import os
import random
import shutil
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypedDict
from unittest import mock

from fault_points.arming import born, ended
from helpers import on

from walgraph import END, START, Log, LogInUse, SignalTimeout, StaleWriter, StateGraph, ThreadBusy, wait_for
from walgraph.engine import recorder
from walgraph.wal.compaction import compact
from walgraph.wal.restore import restore
from walgraph.wal.verify import verify

MODES = ("sync", "async", "exit")
FSYNC = ("full", "data", "off")
WORKERS, THREADS = 3, 6
LAP = 3
"""How far one call counts."""
LONGEST_SECONDS = 60.0
"""What takes longer hangs."""


class State(TypedDict, total=False):
    """How far a thread has counted, and the signals that it got."""

    n: int
    got: Annotated[list[str], operator.add]


def names() -> list[str]:
    """Return the threads of the log."""
    return [f"t{number}" for number in range(THREADS)]


def mode_of(thread: str) -> str:
    """Return the mode in which a thread is run."""
    return MODES[int(thread[1:]) % 3]


class Ledger:
    """What happened outside; one write to a line, which outlives whoever wrote it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "ledger"
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def write(self, *words: object) -> None:
        """Write a line."""
        os.write(self._descriptor, (" ".join(map(str, words)) + "\n").encode())

    def lines(self) -> list[list[str]]:
        """Return all whole lines, as words."""
        return [line.split(" ") for line in self.path.read_text().split("\n")[:-1]]


def counting(log: Log, ledger: Ledger, thread: str) -> Any:
    """Return the graph of a thread."""

    def count(state: State) -> State:
        n = state.get("n", 0)
        if mode_of(thread) == "sync":
            ledger.write("saw", thread, n)
        ledger.write("did", thread, n + 1)
        return {"n": n + 1}

    def listen(state: State) -> State:
        try:
            return {"got": [wait_for("go", timeout=0.002)]}
        except SignalTimeout:
            return {"got": []}

    builder = StateGraph(State)
    builder.add_node("count", count).add_node("listen", listen)
    builder.add_edge(START, "count").add_edge("count", "listen")
    builder.add_conditional_edges("listen", lambda state: "count" if state["n"] % LAP else END)
    return builder.compile(log, durability=mode_of(thread), name="counting")  # type: ignore[arg-type]


class Siege:
    """A log, and all who work on it.

    Args:
        folder: Where everything is.
        seed: What instants and settings are drawn from.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.chance = folder, random.Random(seed)
        self.ledger, self.errors = Ledger(folder), folder / "errors"
        self.fsync = FSYNC[seed % 3]
        self.counts: Counter[str] = Counter()
        self.floor = dict.fromkeys(names(), 0)
        """Thread → how far it had counted when the round began."""
        self._read = 0
        self._parent = os.getpid()
        self._born = 0
        self._children: dict[int, Callable[[Log], None]] = {}

    def _open(self) -> Log:
        return Log.open(self.folder / "log", fsync=self.fsync, map_size=1 << 28)  # type: ignore[arg-type]

    def _is_on(self) -> bool:
        """Tell whether whoever lays the siege is there: nothing of it outlives that process."""
        return os.getppid() == self._parent

    # Who works

    def _worker(self, slot: int) -> Callable[[Log], None]:
        def work(log: Log) -> None:
            mine = names()[slot::WORKERS]
            # Besides its own, which only it begins anew, it carries on one of its neighbour's.
            shared = names()[(slot + 1) % WORKERS]
            hands = [threading.Thread(target=self._carry, args=(log, mine, True))]
            hands.append(threading.Thread(target=self._carry, args=(log, [shared], False)))
            for hand in hands:
                hand.start()
            for hand in hands:
                hand.join()

        return work

    def _carry(self, log: Log, threads: list[str], is_owner: bool) -> None:
        """Run threads in turn, until this process dies."""
        chance = random.Random()
        graphs = {thread: counting(log, self.ledger, thread) for thread in threads}
        try:
            while self._is_on():
                thread = chance.choice(threads)
                head = log.head(thread)
                is_over = head is None or head.status == "done"
                if is_over and not is_owner:
                    time.sleep(0.002)
                    continue
                if_busy = chance.choice(["raise", "raise", "wait", "steal"])
                try:
                    told = graphs[thread].invoke(
                        {"got": []} if is_over else None, on(thread), if_busy=if_busy
                    )
                except (ThreadBusy, StaleWriter):
                    time.sleep(0.002)
                    continue
                self.ledger.write("back", thread, told["n"])
        except BaseException:
            # An error in a thread ends the whole process, so that it is heard of.
            import traceback

            self.errors.write_text(traceback.format_exc())
            os._exit(1)

    def _keep(self, log: Log) -> None:
        """Compact and back up, until this process dies."""
        while self._is_on():
            heads = {head.thread_id: head.seq for head in log.threads()}
            with contextlib.suppress(LogInUse):
                compact(log, heads)
                self.ledger.write("cut")
            self.ledger.write("backed", log.backup(self.folder / "backups", keep=2).lsn)
            time.sleep(0.01)

    def _send(self, log: Log) -> None:
        """Send signals, until this process dies."""
        while self._is_on():
            for thread in names():
                name = os.urandom(6).hex()
                log.signal(thread, "go", name, id=name)
                self.ledger.write("sent", thread, name)
            time.sleep(0.02)

    # What happens to them

    def round(self, seconds: float) -> None:
        """Let all live for a while; in the end they are killed.

        Raises:
            AssertionError: One of them raised what it should not.
        """
        for does in [*(self._worker(slot) for slot in range(WORKERS)), self._keep, self._send]:
            self._bear(does)
        end, stopped = time.monotonic() + seconds, dict[int, float]()
        try:
            while time.monotonic() < end:
                time.sleep(self.chance.uniform(0.002, 0.03))
                self._look(stopped)
                self._strike(stopped)
        finally:
            for child in self._children:
                os.kill(child, signal.SIGKILL)
            for child in self._children:
                os.waitpid(child, 0)
            self._children.clear()
        assert not self.errors.exists(), self.errors.read_text()

    def _bear(self, does: Callable[[Log], None]) -> None:
        """Let one be born, perhaps with a fate: a signal that it sends itself at some fault point."""
        number = self.chance.choice([signal.SIGKILL, signal.SIGSTOP, None])
        left = self.chance.randint(1, 200)
        self._born += 1
        self.counts["lives"] += 1

        def hook(name: str) -> None:
            nonlocal left
            left -= 1
            if left == 0 and number is not None:
                self.ledger.write("struck", name.replace(" ", "_"), number.name)
                os.kill(os.getpid(), number)

        def life() -> None:
            with (
                mock.patch.object(recorder, "SNAPSHOT_RECORDS", 8),
                mock.patch.object(recorder, "SNAPSHOT_GROWTH", 0),
                self._open() as log,
            ):
                does(log)

        self._children[born(life, hook, self.errors)] = does

    def _look(self, stopped: dict[int, float]) -> None:
        """See who died, and let others follow; let those go on who stood still for long enough."""
        for child, does in list(self._children.items()):
            found, status = os.waitpid(child, os.WNOHANG | os.WUNTRACED)
            if found and os.WIFSTOPPED(status):
                stopped[child] = time.monotonic() + self.chance.uniform(0, 0.2)
                self.counts["stopped"] += 1
            elif found:
                del self._children[child]
                assert os.WIFSIGNALED(status), self.errors.read_text()
                self.counts["killed"] += 1
                stopped.pop(child, None)
                self._bear(does)
        for child, until in list(stopped.items()):
            if time.monotonic() > until:
                del stopped[child]
                os.kill(child, self.chance.choice([signal.SIGCONT, signal.SIGCONT, signal.SIGKILL]))

    def _strike(self, stopped: dict[int, float]) -> None:
        child = self.chance.choice(sorted(self._children))
        number = self.chance.choice([signal.SIGKILL, signal.SIGSTOP, None, None, None])
        if child not in stopped and number is not None:
            os.kill(child, number)

    # What must hold

    def check(self) -> None:
        """Compare the log with the ledger, in a child.

        Raises:
            AssertionError: Something that was acknowledged is missing, or something was done again.
        """
        self._told(self._compare)
        self.floor = json.loads((self.folder / "floor").read_text())
        lines = self.ledger.lines()
        fresh, self._read = lines[self._read :], len(lines)
        for words in fresh:
            self.counts[words[0]] += 1
            if words[0] == "struck":
                self.counts[f"at {words[1]}"] += 1

    def _told(self, body: Callable[[], None]) -> None:
        """Do something in a child, which must not hang."""
        child = born(body, None, self.errors)
        timer = threading.Timer(LONGEST_SECONDS, os.kill, (child, signal.SIGKILL))
        timer.start()
        try:
            assert ended(child, self.errors) == 0, "it hangs"
        finally:
            timer.cancel()
            timer.join()

    def _compare(self) -> None:
        lines = self.ledger.lines()
        for words in lines[self._read :]:
            match words:
                case ["did", thread, n] if int(n) <= self.floor[thread]:
                    raise AssertionError(
                        f"{thread} counted to {n} again, though {self.floor[thread]} was recorded"
                    )
        acknowledged = dict.fromkeys(names(), 0)
        for words in lines:
            if words[0] in {"back", "saw"}:
                acknowledged[words[1]] = max(acknowledged[words[1]], int(words[2]))
        if (self.folder / "log").exists():
            with Log.open(self.folder / "log", create=False, readonly=True) as log:
                report = verify(log, structure=False)
                assert report.ok, report.problems
                for thread, wanted in acknowledged.items():
                    found = counting(log, self.ledger, thread).get_state(on(thread)).values.get("n", 0)
                    assert found >= wanted, f"{thread} had counted to {wanted}, and {found} is there"
                    assert found >= self.floor[thread], (
                        f"{thread} was at {self.floor[thread]}, and is at {found}"
                    )
                    self.floor[thread] = found
        backed = max([int(words[1]) for words in lines if words[0] == "backed"], default=0)
        if backed:
            again = self.folder / "again"
            shutil.rmtree(again, ignore_errors=True)
            lsn = restore(self.folder / "backups", again).lsn
            assert lsn >= backed, f"a backup up to lsn {backed} was made, and the newest ends at {lsn}"
        (self.folder / "floor").write_text(json.dumps(self.floor))

    def settle(self) -> None:
        """Bring every thread to its end, and see what became of the signals.

        Raises:
            AssertionError: One does not come to its end; a signal was lost or received twice.
        """
        self._told(self._finish)

    def _finish(self) -> None:
        sent: dict[str, set[str]] = {thread: set() for thread in names()}
        for words in self.ledger.lines():
            if words[0] == "sent":
                sent[words[1]].add(words[2])
        with self._open() as log:
            for thread in names():
                graph = counting(log, self.ledger, thread)
                head = log.head(thread)
                if head is not None and head.status != "done":
                    graph.invoke(None, on(thread))
                values = graph.get_state(on(thread)).values
                assert values.get("n", 0) % LAP == 0
                got = values.get("got", [])
                waits = [each.payload for each in log.mailbox(thread)]
                twice = [name for name, count in Counter([*got, *waits]).items() if count > 1]
                assert not twice, f"{thread} received twice: {twice}"
                lost = sent[thread] - {*got, *waits}
                assert not lost, f"{thread} lost signals: {lost}"
