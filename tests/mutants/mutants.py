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
    found_by: tuple[str, ...]
    """The tests that should find it, which are tried first."""


def mutant(name: str, file: str, *edits: tuple[str, str], found_by: str) -> Mutant:
    """Return a change that has a name; the tests below ``tests`` that should find it are parted by spaces."""
    return Mutant(name, file, edits, tuple(f"tests/{each}" for each in found_by.split()))


POWER = "powerloss/test_powerloss.py::test_what_was_acknowledged_is_there_after_a_loss_of_power"

MUTANTS = (
    mutant(
        "followers are told that they are safe when the commit begins",
        "wal/committer.py",
        ("        self._covered = self._ticket\n", "        self._covered = self._durable = self._ticket\n"),
        found_by="wal/test_company.py::test_a_failed_commit_is_told_to_the_whole_crew",
    ),
    mutant(
        "a commit that failed is taken for one that did not",
        "wal/committer.py",
        (
            "failure = error if isinstance(error, (LogFull, LogFailed, LogCorrupt)) else _failed(error)",
            "verdicts = [Committed(0) for _ in entries]",
        ),
        found_by="wal/test_failures.py::test_a_full_map_says_so_and_keeps_what_was_recorded",
    ),
    mutant(
        "a log goes on after a commit that failed",
        "wal/committer.py",
        ("                self.failure = failure\n", ""),
        found_by="wal/test_failures.py::test_a_failed_commit_poisons_the_log",
    ),
    mutant(
        "a writer is not told that it lost its thread",
        "wal/committer.py",
        ("                        entry.owner.failure = _stale(entry, verdict)\n", ""),
        found_by="wal/test_failures.py::test_a_conflict_is_the_losers_alone",
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
        found_by="wal/test_store_contract.py::test_a_lower_epoch_is_refused_and_a_higher_one_taken",
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
        found_by="wal/test_store_contract.py::test_a_frame_that_does_not_follow_the_head_conflicts_alone",
    ),
    mutant(
        "positions are handed out from memory, though another process may have written",
        "wal/table_store.py",
        ("if cached is not None and cached[0] == number - 1:", "if cached is not None:"),
        found_by="wal/test_processes.py::test_two_processes_append_to_one_log wal/test_compaction.py",
    ),
    mutant(
        "a thread is cut at a snapshot that is gone",
        "wal/truncating.py",
        (
            "if not lsns or base < row.base or txn.get(SNAPS, pair_key(row.number, base)) is None:",
            "if not lsns:",
        ),
        found_by="wal/test_cut_races.py::test_a_cut_whose_snapshot_was_replaced_does_nothing",
    ),
    mutant(
        "a sweep takes values that were named while it ran",
        "wal/compaction.py",
        ("spared = follow(marked, store.blob, live)", "spared = live"),
        found_by="wal/test_compaction.py::test_a_value_that_comes_back_during_a_sweep_survives",
    ),
    mutant(
        "commits are not flushed",
        "wal/flush.py",
        ('"full": {"sync": True, "metasync": True}', '"full": {"sync": False, "metasync": True}'),
        found_by=f"{POWER}[sync]",
    ),
    mutant(
        "the page that makes a commit count is not flushed",
        "wal/flush.py",
        ('"full": {"sync": True, "metasync": True}', '"full": {"sync": True, "metasync": False}'),
        found_by=f"{POWER}[group] {POWER}[company] {POWER}[sync] {POWER}[exit]",
    ),
    mutant(
        "the folder of a new log is not flushed",
        "wal/creation.py",
        ("        sync_directory(str(place.parent))\n", ""),
        found_by=f"{POWER}[creation]",
    ),
    mutant(
        "a new log is renamed to its place before it is filled",
        "wal/creation.py",
        (
            '            fill(fresh)\n            reach("creation: filled")\n            move(fresh, place)\n',
            "            move(fresh, place)\n            fill(place)\n",
        ),
        found_by="wal/test_environment.py::test_a_kill_during_creation_leaves_nothing_or_a_log",
    ),
    mutant(
        "the folder of a shrunken log is not flushed",
        "wal/compaction.py",
        ('        sync_directory(place)\n        reach("shrink: name flushed")\n', ""),
        found_by=f"{POWER}[shrink]",
    ),
    mutant(
        "a claim does not ask whether another process has the thread",
        "wal/claim.py",
        (
            "                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(thread))\n",
            "                pass\n",
        ),
        found_by="wal/test_processes.py::test_a_claim_keeps_other_processes_out_and_dies_with_its_owner",
    ),
    mutant(
        "a damaged frame is believed",
        "wal/frame.py",
        ("    if checksum != header.checksum:\n", "    if header.lsn == 0:\n"),
        found_by="wal/test_verify.py::test_a_damaged_frame_is_named_and_others_stay_readable",
    ),
    mutant(
        "recovery skips the first record after a snapshot",
        "wal/log_reading.py",
        (
            "decoder or self.decoder(), begin, upto))",
            "decoder or self.decoder(), begin + bool(begin), upto))",
        ),
        found_by="simulation/test_laws.py::test_the_laws_hold_with_a_snapshot_at_every_step",
    ),
    mutant(
        "a reader gives up where a compaction overtook it",
        "wal/steady.py",
        ("    for _ in range(TRIES - 1):\n", "    for _ in range(0):\n"),
        found_by="replay/test_overtaken.py",
    ),
    mutant(
        "a snapshot stands for one record less than it holds",
        "engine/recorder.py",
        (
            "log.put_snapshot(self.thread, state.seq, ",
            "log.put_snapshot(self.thread, state.seq - 1, ",
        ),
        found_by="simulation/test_laws.py::test_the_laws_hold_with_a_snapshot_at_every_step",
    ),
    mutant(
        "a snapshot is taken from a state that the log is ahead of",
        "engine/recorder.py",
        (
            "log.put_snapshot(self.thread, state.seq, ",
            "log.put_snapshot(self.thread, self.writer.seq, ",
        ),
        found_by="engine/test_recorder.py::test_no_snapshot_is_taken_while_another_hand_appends",
    ),
    mutant(
        "a snapshot of what is not in the log is kept",
        "wal/table_store.py",
        (
            "            if row is None or not max(row.horizon, row.base) <= snapshot.seq <= row.seq:\n",
            "            if row is None:\n",
        ),
        found_by="wal/test_store_contract.py::test_a_snapshot_beyond_the_head_or_of_nobody_is_not_taken",
    ),
    mutant(
        "state goes on before the disk has answered",
        "engine/recorder.py",
        (
            (
                "            self._flush()\n            with self._lock:\n"
                "                self._fold(folded, base if folded is records else None, draft)\n"
            ),
            (
                "            with self._lock:\n"
                "                self._fold(folded, base if folded is records else None, draft)\n"
                "            self._flush()\n"
            ),
        ),
        found_by="engine/test_recorder.py::test_a_log_that_fails_leaves_the_state_as_it_was",
    ),
    mutant(
        "a step does not wait for the disk",
        "engine/recorder.py",
        ("            self._flush()\n            with self._lock:\n", "            with self._lock:\n"),
        ("            await self._waits.flush_async()\n", ""),
        found_by="engine/test_recorder.py::test_under_sync_a_record_is_durable_when_the_call_returns",
    ),
    mutant(
        "those who were taken along do not wait for the disk",
        "engine/recorder.py",
        (
            "            folded = self._append_all(batches)\n            self._flush()\n",
            "            folded = self._append_all(batches)\n",
        ),
        found_by="engine/test_recorder.py::test_who_is_taken_along_waits_for_the_disk_too",
    ),
    mutant(
        "what a run did before an error is not flushed",
        "engine/session.py",
        ("                self.run.recorder.settle()\n", "                pass\n"),
        found_by="engine/test_durability.py::test_a_consumer_that_leaves_loses_nothing",
    ),
    mutant(
        "writes are applied in the order in which tasks ended",
        "replay/fold.py",
        (
            "done = [found(path) or NOTHING for path in _in_order(graph)]",
            "done = [outcome for _, outcome in graph.outcomes.items()]",
        ),
        found_by="simulation/test_planted_bugs.py::test_without_a_bug_nothing_is_caught",
    ),
    mutant(
        "an answer takes the place of those before it",
        "replay/fold.py",
        ("status=DUE, answers=before.answers + answers", "status=DUE, answers=answers or before.answers"),
        found_by="simulation/test_laws.py::test_the_laws_hold_in_memory",
    ),
    mutant(
        "a finished task of an open step runs again",
        "replay/plan.py",
        (
            "        if outcome is None or outcome.status in {DUE, UNROUTED}:\n",
            "        if outcome is None or outcome.status in {DUE, UNROUTED} or execute:\n",
        ),
        found_by="simulation/test_laws.py::test_the_laws_hold_in_memory",
    ),
    mutant(
        "attempts are counted anew after a crash",
        "replay/fold.py",
        ("retry = Retry(attempt, first_at, at, due_at)", "retry = Retry(0, first_at, at, due_at)"),
        found_by="simulation/test_failing.py::test_killed_at_each_commit_a_failing_graph_comes_to_the_same_end",
    ),
    mutant(
        "a resume begins subgraphs anew",
        "replay/fold.py",
        (
            "return without_children(begun, scope) if is_new else begun",
            "return without_children(begun, scope)",
        ),
        found_by="engine/test_crashes_while_asking.py",
    ),
    mutant(
        "an effect begins before its intent is durable",
        "engine/task.py",
        ("                    context.run.recorder.harden()\n", "                    pass\n"),
        ("                        await context.run.recorder.aharden()\n", "                        pass\n"),
        found_by="engine/test_effect_crashes.py",
    ),
    mutant(
        "a signal stays in the mailbox when it was received",
        "wal/table_store.py",
        (
            "                        self.mail.take(txn, frame.thread, frame.received)\n",
            "                        pass\n",
        ),
        found_by="wal/test_mail.py::test_a_message_goes_with_the_frame_that_received_it",
    ),
    mutant(
        "a large value is written, if at all, after the frame that names it",
        "wal/table_store.py",
        ("                    blobs += frame.blobs\n", "                    pass\n"),
        found_by="wal/test_store_contract.py::test_a_blob_is_stored_once_in_chunks_and_found_by_its_digest",
    ),
    mutant(
        "a commit that was interrupted is done once more",
        "wal/committer.py",
        (
            "if not any(row and row.frame == frame.id for row, frame in zip(rows, group.frames, strict=True)):",
            "if rows is not None:",
        ),
        found_by="wal/test_failures.py::test_an_interrupted_commit_is_finished_first",
    ),
    mutant(
        "who takes a thread over does not raise its epoch",
        "wal/table_store.py",
        ("row = row._replace(epoch=row.epoch + 2)", "row = row._replace(epoch=row.epoch)"),
        found_by="wal/test_processes.py::test_a_stolen_epoch_outlives_the_thief",
    ),
    mutant(
        "a backup is announced before it is written",
        "wal/backup.py",
        (
            "        chunks = [chunk for table in names for chunk in work.table(table)]\n",
            (
                "        place.write(manifest_name(manifest.generation), pack_manifest(manifest), new=True)\n"
                "        chunks = [chunk for table in names for chunk in work.table(table)]\n"
                "        place.delete(manifest_name(manifest.generation))\n"
            ),
        ),
        found_by="wal/test_backup.py::test_of_two_backups_at_once_one_counts",
    ),
)
"""All of them; a test sees that each still fits the code."""
