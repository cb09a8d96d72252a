"""Mistakes that could be made in the code that keeps the promises, as changes of its text.

Each is one that somebody made before, here or in another library, or that a change in a hurry would make. What they
have in common: programs go on running, and all is well until a process is killed or power is lost.
"""

from __future__ import annotations

from typing import NamedTuple


class Mutant(NamedTuple):
    """A change: in a file, each of these texts becomes another."""

    name: str
    file: str
    edits: tuple[tuple[str, str], ...]


def mutant(name: str, file: str, *edits: tuple[str, str]) -> Mutant:
    """Return a change that has a name."""
    return Mutant(name, file, edits)


MUTANTS = (
    mutant(
        "followers are told that they are safe when the commit begins",
        "wal/committer.py",
        ("        self._covered = self._ticket\n", "        self._covered = self._durable = self._ticket\n"),
    ),
    mutant(
        "a commit that failed is taken for one that did not",
        "wal/committer.py",
        (
            "failure = error if isinstance(error, (LogFull, LogFailed, LogCorrupt)) else _failed(error)",
            "verdicts = [Committed(0) for _ in entries]",
        ),
    ),
    mutant(
        "a log goes on after a commit that failed",
        "wal/committer.py",
        ("                self.failure = failure\n", ""),
    ),
    mutant(
        "a writer is not told that it lost its thread",
        "wal/committer.py",
        ("                        entry.owner.failure = _stale(entry, verdict)\n", ""),
    ),
    mutant(
        "a writer that lost its thread is written all the same",
        "wal/table_store.py",
        (
            "elif row is None or row.seq != after or row.epoch > epoch:",
            "elif row is None or row.seq != after:",
        ),
        (
            "elif row is None or row.seq != frame.after or row.epoch > frame.epoch:",
            "elif row is None or row.seq != frame.after:",
        ),
    ),
    mutant(
        "frames need not follow each other",
        "wal/table_store.py",
        (
            "elif row is None or row.seq != after or row.epoch > epoch:",
            "elif row is None or row.epoch > epoch:",
        ),
        (
            "elif row is None or row.seq != frame.after or row.epoch > frame.epoch:",
            "elif row is None or row.epoch > frame.epoch:",
        ),
    ),
    mutant(
        "positions are handed out from memory, though another process may have written",
        "wal/table_store.py",
        ("if cached is not None and cached[0] == number - 1:", "if cached is not None:"),
    ),
    mutant(
        "a thread is cut at a snapshot that is gone",
        "wal/truncating.py",
        (
            "if not lsns or base < row.base or txn.get(SNAPS, pair_key(row.number, base)) is None:",
            "if not lsns:",
        ),
    ),
    mutant(
        "a sweep takes values that were named while it ran",
        "wal/compaction.py",
        ("spared = follow(marked, store.blob, live)", "spared = live"),
    ),
    mutant(
        "commits are not flushed",
        "wal/flush.py",
        ('"full": {"sync": True, "metasync": True}', '"full": {"sync": False, "metasync": True}'),
    ),
    mutant(
        "the page that makes a commit count is not flushed",
        "wal/flush.py",
        ('"full": {"sync": True, "metasync": True}', '"full": {"sync": True, "metasync": False}'),
    ),
    mutant(
        "the folder of a new log is not flushed",
        "wal/creation.py",
        ("        sync_directory(str(place.parent))\n", ""),
    ),
    mutant(
        "a new log is renamed to its place before it is filled",
        "wal/creation.py",
        (
            "            fill(fresh)\n            move(fresh, place)\n",
            "            move(fresh, place)\n            fill(place)\n",
        ),
    ),
    mutant(
        "the folder of a shrunken log is not flushed",
        "wal/compaction.py",
        ("        copy.replace(data)\n        sync_directory(place)\n", "        copy.replace(data)\n"),
    ),
    mutant(
        "a claim does not ask whether another process has the thread",
        "wal/claim.py",
        (
            "                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(thread))\n",
            "                pass\n",
        ),
    ),
    mutant(
        "a missing frame is not noticed",
        "wal/chain.py",
        ("    if expected != row.horizon:\n", "    if expected < row.horizon:\n"),
        ("is_next = header.last == expected and header.thread", "is_next = header.thread"),
    ),
    mutant(
        "recovery skips the first record after a snapshot",
        "replay/recover.py",
        (
            "in log.read(thread, state.seq, upto, decoder=decoder):",
            "in log.read(thread, state.seq + bool(state.seq), upto, decoder=decoder):",
        ),
    ),
    mutant(
        "a snapshot stands for one record less than it holds",
        "engine/recorder.py",
        (
            "self.log.put_snapshot(self.thread, state.seq, packed)",
            "self.log.put_snapshot(self.thread, state.seq - 1, packed)",
        ),
    ),
    mutant(
        "a snapshot is taken while another hand is appending",
        "engine/recorder.py",
        ("            if self._busy or state.seq != writer.seq:\n", "            if self._busy:\n"),
        (
            "self.log.put_snapshot(self.thread, state.seq, packed)",
            "self.log.put_snapshot(self.thread, writer.seq, packed)",
        ),
    ),
    mutant(
        "a step does not wait for the disk",
        "engine/recorder.py",
        ("            self._flush()\n            with self._lock:\n", "            with self._lock:\n"),
        ("            await self._waits.flush_async()\n", ""),
    ),
    mutant(
        "those who were taken along do not wait for the disk",
        "engine/recorder.py",
        (
            "            folded = self._append_all(batches)\n            self._flush()\n",
            "            folded = self._append_all(batches)\n",
        ),
    ),
    mutant(
        "what a run did before an error is not flushed",
        "engine/session.py",
        ("                self.run.recorder.settle()\n", "                pass\n"),
    ),
    mutant(
        "writes are applied in the order in which tasks ended",
        "replay/fold.py",
        (
            "done = [found(path) or NOTHING for path in _in_order(graph)]",
            "done = [outcome for _, outcome in graph.outcomes.items()]",
        ),
    ),
    mutant(
        "an answer takes the place of those before it",
        "replay/fold.py",
        ("status=DUE, answers=before.answers + answers", "status=DUE, answers=answers or before.answers"),
    ),
    mutant(
        "a finished task of an open step runs again",
        "replay/plan.py",
        (
            "        if outcome is None or outcome.status in {DUE, UNROUTED}:\n",
            "        if outcome is None or outcome.status in {DUE, UNROUTED} or execute:\n",
        ),
    ),
    mutant(
        "attempts are counted anew after a crash",
        "replay/fold.py",
        ("retry = Retry(attempt, first_at, at, due_at)", "retry = Retry(0, first_at, at, due_at)"),
    ),
    mutant(
        "subgraphs of a finished step are kept",
        "replay/fold.py",
        (
            "return without_children(after, within) if record.__class__ is StepCommitted else after",
            "return after",
        ),
    ),
)
"""All of them; a test sees that each still fits the code."""
