"""Worker processes that carry random programs out, killed and stopped at random instants, and what they must leave.

    storm = Storm(folder, seed=1)
    storm.rage(programs=12, seconds=2)    hand programs over, signal, answer; meanwhile workers die and are stopped
    storm.settle()                        one last worker of this process finishes what is left
    storm.check()                         every run ended as it should; what happened outside is what was promised

Workers are forked by a nursery, which never opened the log. Some kill themselves at an append, some at an effect. The
programs are in ``storms``.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from effect_lives import Fate, kill_at
from fuzz.storms import EFFECTS, PARK_AFTER, Fatal, Outside, Tree, a_tree, ending, programs

from walgraph import RUN_AGAIN, Command, DeadlineExceeded, Log, RecordedError, RunHandle, Worker, submit
from walgraph.replay.intents import DOUBTFUL, effects
from walgraph.wal.codec import GLOBAL
from walgraph.wal.record import TaskFinished

MODES = ("sync", "async", "exit")
PATIENCE = 60.0
"""Seconds after which a run that has not ended counts as vanished."""


class Nursery:
    """A process that forks workers when it is told to, and reaps them.

    Args:
        live: What a worker does, given its number.
    """

    def __init__(self, live: Callable[[int], None]) -> None:
        told, self._tell = os.pipe()
        self._hear, says = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self._tell)
            os.close(self._hear)
            try:
                self._nurse(live, told, says)
            finally:
                os._exit(0)
        os.close(told)
        os.close(says)

    def _nurse(self, live: Callable[[int], None], told: int, says: int) -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        number = 0
        while os.read(told, 1):
            number += 1
            pid = os.fork()
            if pid == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.close(told)
                os.close(says)
                try:
                    live(number)
                except BaseException:
                    traceback.print_exc(file=sys.__stderr__)
                    os._exit(1)
                os._exit(0)
            os.write(says, pid.to_bytes(8, "big"))

    def worker(self) -> int:
        """Let a worker be born, and return its id."""
        os.write(self._tell, b"+")
        return int.from_bytes(os.read(self._hear, 8), "big")

    def close(self) -> None:
        """End it; its workers are no concern of it."""
        os.close(self._tell)
        os.close(self._hear)
        os.waitpid(self.pid, 0)


def is_alive(pid: int) -> bool:
    """Tell whether a process is there."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


class Storm:
    """Programs in a folder of their own, and workers that come and go.

    Args:
        folder: Where log and world are.
        seed: What programs and instants are drawn from.
        workers: How many processes there are at a time.
    """

    def __init__(self, folder: Path, *, seed: int, workers: int = 3) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.outside, self.seed = folder / "log.wal", Outside(folder), seed
        self.chance = random.Random(seed)
        self.counts: Counter[str] = Counter()
        self.trees: dict[str, Tree] = {}
        self.endings: dict[str, str] = {}
        self.cancelled: dict[str, str] = {}
        """The threads of which somebody was told that they are cancelled → whether the thread, or its last run."""
        self.last: dict[str, RunHandle] = {}
        """Thread → the run that was last handed over to it."""
        self.answers: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        self.nursery = Nursery(self._live)
        self.errors = folder / "errors"
        self.pids = [self.nursery.worker() for _ in range(workers)]
        self.log = Log.open(self.path)
        self.graphs = programs(self.log, self.outside)

    def _live(self, number: int) -> None:
        chance = random.Random(self.seed * 1000 + number)
        self.outside.death = lambda: chance.random() < 0.02
        if chance.random() < 0.4:
            kill_at(Fate(chance.randint(1, 100), chance.choice(["before", "after"])))
        try:
            with Log.open(self.path, strict=True) as log:
                Worker(log, programs(log, self.outside), concurrency=4, attempts=10**6).run()
        except BaseException:
            with self.errors.open("a") as file:
                traceback.print_exc(file=file)
            raise

    # The weather

    def rage(self, programs: int, seconds: float) -> None:
        """Hand programs over and tend them, while workers are killed and stopped."""
        over = threading.Event()
        weather = threading.Thread(target=self._strike, args=(over,))
        weather.start()
        try:
            begun, handed = time.monotonic(), 0
            while (share := (time.monotonic() - begun) / seconds) < 1:
                while handed < programs * min(1, share * 2):
                    self._hand_over(handed)
                    handed += 1
                self._tend()
                time.sleep(0.01)
        finally:
            over.set()
            weather.join()

    def _strike(self, over: threading.Event) -> None:
        """Kill and stop workers; who is stopped goes on or dies a while later, and the dead are followed by others."""
        chance, stopped = random.Random(self.seed + 1), {}
        while not over.wait(chance.uniform(0.005, 0.08)):
            now = time.monotonic()
            for pid, (end, number) in list(stopped.items()):
                if now > end:
                    del stopped[pid]
                    self._send(pid, number)
            for place, pid in enumerate(self.pids):
                if not is_alive(pid):
                    self.counts["died"] += 1
                    self.pids[place] = self.nursery.worker()
            pid = chance.choice(self.pids)
            if pid in stopped:
                continue
            match chance.choice(["kill", "stop", "stop", "end", "nothing", "nothing"]):
                case "kill":
                    self._send(pid, signal.SIGKILL)
                case "stop":
                    self._send(pid, signal.SIGSTOP)
                    stopped[pid] = (
                        now + chance.uniform(0, 0.3),
                        chance.choice([signal.SIGCONT, signal.SIGKILL]),
                    )
                case "end":
                    self._send(pid, signal.SIGTERM)
        for pid in stopped:
            self._send(pid, signal.SIGCONT)

    def _send(self, pid: int, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            self.counts[number.name] += 1

    # The people

    def _hand_over(self, number: int) -> None:
        thread = f"t{number}"
        seed = self.seed * 1000 + number
        self.trees[thread], self.endings[thread] = a_tree(seed, thread), ending(seed)
        graph = self.graphs[self.chance.choice(["storm", "astorm"])]
        seconds = self.chance.uniform(0.05, 0.8) if self.endings[thread] in {"late", "expired"} else None
        self.last[thread] = self._submit(graph, (seed, thread), thread, thread, seconds)

    def _submit(
        self, graph: Any, given: Any, thread: str, run: str, seconds: float | None = None
    ) -> RunHandle:
        config = {"park_after": PARK_AFTER} | ({} if seconds is None else {"deadline": seconds})
        return submit(graph, given, thread, run_id=run, durability=self._mode(thread), config=config)

    def _go_on(self, thread: str, given: Any, seconds: float | None = None) -> None:
        """Hand another run over to a thread whose last one asked or failed."""
        self.answers[thread] += 1
        row = self.log.submissions().get(self.last[thread].run_id)
        run = f"{thread}.{self.answers[thread]}"
        self.last[thread] = self._submit(self.graphs[row.graph], given, thread, run, seconds)

    def _mode(self, thread: str) -> str:
        return MODES[(self.seed + int(thread[1:])) % 3]

    def _tend(self) -> None:
        """Send signals, some of them twice, answer what is asked, cancel, and carry on what failed."""
        for thread, tree in self.trees.items():
            sent = self.sent[thread]
            if sent < len(tree.of("signalled")) and self.chance.random() < 0.2:
                for _ in range(self.chance.choice([1, 2])):
                    self.log.signal(thread, "go", sent, id=f"signal {sent}")
                self.sent[thread] += 1
            if self.endings[thread] == "cancelled" and thread not in self.cancelled:
                self._maybe_cancel(thread)
            handle = self.last[thread]
            status = handle.status()
            if status == "failed":
                self._take_failure(thread, self._error(thread))
            if status == "cancelled" and thread in self.cancelled:
                self._take_cancellation(thread)
            if status == "interrupted" and thread not in self.cancelled:
                asked = handle.result(0)["__interrupt__"]
                given = {question.id: self._answer(question.value) for question in asked}
                if len(given) > 1 and self.chance.random() < 0.5:
                    given.popitem()
                self._go_on(thread, Command(resume=given))

    def _maybe_cancel(self, thread: str) -> None:
        """Cancel a run at some moment; if it failed or asked just then by itself, there is nothing to cancel."""
        if self.chance.random() < 0.04:
            what = self.chance.choice(["run", "thread"])
            if self.last[thread].cancel() if what == "run" else self.log.cancel(thread):
                self.cancelled[thread] = what
                self.counts["cancelled"] += 1

    def _take_cancellation(self, thread: str) -> None:
        """See whether it was the thread that was cancelled; if not, people will cancel that."""
        head = self.log.head(thread)
        status = None if head is None else head.status
        if status == "failed":
            # It had failed by itself, which only its row did not tell yet.
            del self.cancelled[thread]
            self._go_on(thread, None)
        elif status == "interrupted" and self.cancelled[thread] == "run":
            # It was an answer, and not what it was to answer.
            del self.cancelled[thread]

    def _error(self, thread: str) -> Exception | None:
        try:
            self.last[thread].result(0)
        except Exception as error:
            return error
        return None

    def _take_failure(self, thread: str, error: Exception | None) -> None:
        """Carry on what failed and may be done yet, or note that it may not."""
        how = self.endings[thread]
        # Of a run whose process died after it had failed only the text of the failure is left.
        if isinstance(error, Fatal) or (isinstance(error, RecordedError) and str(error).startswith("Fatal(")):
            self.counts["failed"] += 1
            # It may have failed before it heard that it was cancelled.
            self.cancelled.pop(thread, None)
            self._go_on(thread, None)
        elif isinstance(error, DeadlineExceeded) and how == "late":
            self.counts["late"] += 1
            self._go_on(thread, None, 86400.0)
        else:
            is_expired = isinstance(error, DeadlineExceeded) and how == "expired"
            assert is_expired, f"{thread} failed and should not ({how}): {error!r}"

    def _answer(self, asked: Any) -> Any:
        """Answer as a person who can look: an ordinary question, or what became of an attempt."""
        if isinstance(asked, str):
            return f"answer to {asked}"
        return "seen" if self.outside.knows(asked["key"]) else RUN_AGAIN

    # The end

    def settle(self, patience: float = PATIENCE) -> None:
        """Kill whoever is left, and let a worker of this process finish.

        Raises:
            AssertionError: A run does not end.
        """
        self._kill_all()
        end = time.monotonic() + patience
        with Worker(self.log, self.graphs, attempts=10**6):
            while stands := {
                thread: status
                for thread, handle in self.last.items()
                if not self._is_over(thread, status := handle.status())
            }:
                wrong = {
                    thread: status
                    for thread, status in stands.items()
                    if status in {"done", "parked", "superseded"}
                    or (status == "cancelled" and self.endings[thread] != "cancelled")
                }
                assert not wrong, f"not as it should end: {wrong}: {[self._why(each) for each in wrong]}"
                assert time.monotonic() < end, f"vanished: {stands}"
                self._tend()
                time.sleep(0.005)

    def _is_over(self, thread: str, status: str) -> bool:
        """Tell whether a run has ended as it should."""
        match self.endings[thread]:
            case "cancelled":
                head = self.log.head(thread)
                # What was cancelled before it began has no records.
                return status == "cancelled" if head is None else head.status == "cancelled"
            case "expired":
                return status == "failed" and isinstance(self._error(thread), DeadlineExceeded)
            case _:
                return status == "done"

    def _why(self, thread: str) -> Any:
        row = self.log.submissions().get(self.last[thread].run_id)
        return None if row is None else row.reason

    def check(self) -> None:
        """See that what was promised was kept.

        Raises:
            AssertionError: It was not.
        """
        assert not self.errors.exists(), self.errors.read_text("utf-8")
        assert list(self.log.submissions().unfinished()) == []
        lines, sales = self.outside.lines(), self.outside.sales()
        happened = Counter((kind, path) for kind, path, _ in lines)
        assert not [line for line in lines if line[0] == "late"], "cancelled runs go on"
        for thread, tree in self.trees.items():
            self.counts[f"ended {self.endings[thread]}"] += 1
            if self.endings[thread] in {"cancelled", "expired"}:
                self._check_partial(thread, tree, happened, sales)
                continue
            told = self.last[thread].result(0)
            assert set(told) == {leaf.path for leaf in tree.leaves()}
            for leaf in tree.leaves():
                count = sales[leaf.path] if leaf.kind == "sold" else happened[leaf.kind, leaf.path]
                self._check_leaf(leaf, told[leaf.path], count)
            signals = sorted(told[path] for path in tree.of("signalled"))
            assert signals == list(range(len(signals))), f"{thread} received {signals}"
            self._check_doubts(thread, {path for path in tree.of("blind") if told[path] == "unknown"})
        keys: dict[str, set[str]] = {}
        for _, path, key in lines:
            keys.setdefault(path, set()).add(key)
        assert all(len(held) == 1 for held in keys.values()), f"keys that change: {keys}"
        assert len({key for held in keys.values() for key in held}) == len(keys), "calls share a key"

    def _check_partial(
        self, thread: str, tree: Tree, happened: Counter[tuple[str, str]], sales: Counter[str]
    ) -> None:
        """See that a run that was stopped is listed as such, did nothing twice, and all that it says it did."""
        status = {"cancelled": "cancelled", "expired": "failed"}[self.endings[thread]]
        if self.log.head(thread) is None:
            assert not [path for _, path in happened if path.split("/")[0] == thread]
            return
        assert thread in {head.thread_id for head in self.log.threads(status=status)}, (thread, status)
        finished = {
            stored.record.writes[0][1]
            for stored in self.log.records(thread)
            if isinstance(stored.record, TaskFinished)
            and stored.record.writes
            and isinstance(stored.record.writes[0][1], str)
        }
        known = [effect.call[2] for effect in effects(self.log, thread, self.log.decoder(GLOBAL))]
        for leaf in tree.leaves():
            if leaf.kind not in EFFECTS:
                continue
            count = sales[leaf.path] if leaf.kind == "sold" else happened[leaf.kind, leaf.path]
            said = f"{leaf.kind} {leaf.path}: {count} times in a run that was stopped"
            assert count <= 1 or leaf.kind == "plain", said
            assert count >= 1 or leaf.path not in finished, said
            if leaf.kind in {"looked", "judged", "blind"} and count:
                assert any(repr(leaf.path) in call for call in known), f"{said}, and the ledger lists it not"

    def _check_leaf(self, leaf: Tree, answer: Any, count: int) -> None:
        kind, path = leaf.kind, leaf.path
        if kind in EFFECTS:
            self.counts[kind] += count
            self.counts[f"{kind} calls"] += 1
            said = f"{kind} {path}: {count} times, and it returned {answer!r}"
            if kind == "plain":
                assert count >= 1, said
            elif kind == "blind":
                assert count == 1 or (count == 0 and answer == "unknown"), said
            else:
                assert count == 1, said
            allowed = {"blind": {path, "unknown"}, "judged": {path, "seen"}}.get(kind, {path})
            assert answer in allowed, said
        elif kind != "signalled":
            expected = {"nap": None, "asked": f"answer to {path}", "caught": "caught", "fatal": path}
            assert answer == expected[kind], (leaf, answer)

    def _check_doubts(self, thread: str, unknown: set[str]) -> None:
        """See that the ledger lists what is in doubt, and nothing else.

        In ``exit`` what a run did is folded when it ends, so the ledger can then only tell that the call had begun.
        """
        head = self.log.head(thread)
        assert head is not None
        assert head.status == "done", (thread, head.status)
        ledger = effects(self.log, thread, self.log.decoder(GLOBAL))
        listed = [effect.call[2] for effect in ledger if effect.standing in DOUBTFUL]
        if self._mode(thread) == "exit":
            assert len(listed) <= len(unknown), (thread, listed, unknown)
            listed += [effect.call[2] for effect in ledger if effect.standing == "over"]
        else:
            assert len(listed) == len(unknown), (thread, listed, unknown)
        assert all(any(repr(path) in call for call in listed) for path in unknown), (thread, listed, unknown)
        self.counts["doubts"] += len(unknown)

    def _kill_all(self) -> None:
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while any(map(is_alive, self.pids)):
            time.sleep(0.001)

    def close(self) -> None:
        """Let nothing be left behind."""
        self._kill_all()
        self.nursery.close()
        self.log.close()
