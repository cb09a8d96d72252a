"""The five laws, and how they are seen to hold.

    1. nothing is folded before it is logged
    2. a failed append changes nothing
    3. live state equals the fold of the log, each scope
    4. a recorded task is never run again
    5. an answered question is never asked again

What is "logged" is a model of its own, made from below: the frames that the store holds, then the bodies that wait in
the committer's queue. Under ``exit``, where nothing is queued before the end, it is the bytes that the recorder has
encoded. The fold of these is compared with the recorder's state after every effect, step by step; at the end of
a life it is made anew from the first record, with all graphs known from the beginning.

It must not use what it judges: recorded tasks, questions and answers are counted here from the records alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from walgraph.replay.fold import attach, fold
from walgraph.replay.identity import task_id
from walgraph.replay.state import CAUGHT, DUE, FAILED, FINISHED, KEPT, ThreadState
from walgraph.wal.codec import Decoder
from walgraph.wal.record import (
    AttemptFailed,
    CallsSettled,
    Forked,
    RunStarted,
    StateEdited,
    StateFolded,
    StepCommitted,
    TaskAnswered,
    TaskFailed,
    TaskFinished,
    TaskInterrupted,
    TaskStarted,
)
from walgraph.wal.wire import FROM_WIRE

if TYPE_CHECKING:
    from walgraph import Log
    from walgraph.engine.job import Job
    from walgraph.engine.loop import End, Loop
    from walgraph.engine.run import Run
    from walgraph.wal.store import Store


class LawBroken(BaseException):
    """A law does not hold. Nothing between here and the test may take it for an error of user code."""

    def __init__(self, law: int, text: str) -> None:
        super().__init__(f"law {law}: {text}")
        self.law = law


class Known:
    """What a thread's records say of tasks and questions, counted as they come."""

    def __init__(self, thread: str) -> None:
        self.thread = thread
        self.seq = 0
        self.bases: dict[str, int] = {}
        self.recorded: set[str] = set()
        self.reopened: set[str] = set()
        """Calls whose failure was final once, and is so no longer."""
        self.answered: set[str] = set()
        self.attempts: dict[str, int] = {}

    def take(self, seq: int, record: Any) -> None:
        """Count one record.

        Raises:
            LawBroken: A task is recorded twice, or asks what was answered.
        """
        self.seq = seq
        match record:
            case RunStarted() | StepCommitted() | Forked() | StateEdited(how="update" | "clear"):
                self.bases[record.scope] = seq
            case TaskFinished():
                self._finished(record.scope, record.path)
            case TaskFailed():
                key = self._key(record)
                self.attempts.pop(key, None)
                if record.handler is not None:
                    # From here on the handler runs, and never the task again.
                    self.recorded.add(key)
            case AttemptFailed():
                key = self._key(record)
                if record.attempt != self.attempts.get(key, 0) + 1:
                    raise LawBroken(
                        4, f"attempt {record.attempt} of {record.path} follows {self.attempts.get(key)}"
                    )
                self.attempts[key] = record.attempt
            case TaskStarted():
                key = self._key(record)
                if key in self.recorded or record.attempt <= self.attempts.get(key, 0):
                    raise LawBroken(4, f"attempt {record.attempt} of {record.path} begins again")
                # An attempt that was lost leaves no other trace.
                self.attempts[key] = record.attempt - 1
            case CallsSettled():
                # A caller went on after a failure, so it is as final as a return; until it turns out to end the caller,
                # or calls something else in that place.
                for path in record.paths:
                    key = self._key(record, path)
                    is_kept = record.how == "kept"
                    (self.recorded if is_kept else self.reopened).add(key)
                    (self.reopened if is_kept else self.recorded).discard(key)
            case TaskInterrupted():
                for question in record.questions:
                    # An answer that its schema refuses is none.
                    if question.id in self.answered and question.schema is None:
                        raise LawBroken(5, f"{record.path} in {record.scope!r} asks {question.value!r} again")
                    self.answered.discard(question.id)
            case TaskAnswered():
                self.answered.update(key for key, _ in record.answers)
            case StateFolded():
                self._folded(record.state)
            case _:
                pass

    def _key(self, record: Any, path: Any = None) -> str:
        return task_id(self.thread, record.scope, self.bases.get(record.scope, 0), path or record.path)

    def _finished(self, scope: str, path: Sequence[Any]) -> None:
        key = task_id(self.thread, scope, self.bases.get(scope, 0), tuple(path))
        if key in self.recorded:
            raise LawBroken(4, f"{tuple(path)} in {scope!r} is recorded again")
        self.recorded.add(key)

    def _folded(self, plain: dict[str, Any]) -> None:
        """Count what a folded state holds, as if its records had come."""
        for scope, graph in plain["scopes"].items():
            self.bases[scope] = graph["base"]
            for path, outcome in graph["outcomes"]:
                key = task_id(self.thread, scope, graph["base"], tuple(path))
                if outcome[0] in {FINISHED, CAUGHT, KEPT} or outcome[8]:
                    self.recorded.add(key)
                elif len(path) > 1 and outcome[0] in {FAILED, DUE}:
                    self.reopened.add(key)
                    self.recorded.discard(key)
                if len(outcome) > 9 and outcome[9] is not None:
                    self.attempts[key] = outcome[9][0]
                if len(outcome) > 11 and outcome[11] is not None:
                    self.attempts[key] = outcome[11][1] - 1
                self.answered.update(answer[0] for answer in outcome[7])
        for held in plain["unread"].values():
            for seq, number, fields in held:
                record: Any = FROM_WIRE[number](*fields)
                key = task_id(
                    self.thread, record.scope, self.bases.get(record.scope, 0), getattr(record, "path", ())
                )
                if key not in self.recorded:
                    self.take(seq, record)
        self.seq = plain["seq"]


class Written(NamedTuple):
    """One frame's worth of records."""

    after: int
    body: bytes


class Laws:
    """The laws over all lives of one world, which is about one thread.

    Args:
        store: The world's store, if it is in memory.
        judging: Whether the laws are looked at; without it a world is merely single-threaded.
    """

    def __init__(self, store: Store | None, *, judging: bool = True) -> None:
        self.judging = judging
        self.log: Log
        self.store = store
        self.given: set[str] = set()
        self.recorded: set[str] = set()
        self.watching: Watch | None = None
        self.acknowledged = 0
        self.broken: LawBroken | None = None

    def begin(self, log: Log, store: Store) -> None:
        """Begin a life: what is durable now must hold all that was, and all that was acknowledged."""
        self.log = log
        self.store = store
        self.watching = None
        self.broken = None

    def fail(self, law: int, text: str) -> LawBroken:
        """Return the error, and keep it in case somebody swallows it."""
        self.broken = self.broken or LawBroken(law, text)
        return self.broken

    def watch(self, run: Run) -> Watch:
        """Return what watches the run's recorder."""
        if run.recorder.writer is None or not self.judging:
            return Unwatched()
        if self.watching is None or self.watching.recorder is not run.recorder:
            self.watching = Watch(self, run)
        return self.watching

    def task_runs(self, key: str, name: str, *, is_router: bool) -> None:
        """See law 4: this task's body is about to act."""
        watch = self.watching
        if watch is None or is_router:
            return
        watch.read()
        if key in watch.known.recorded or key in self.recorded - watch.known.reopened:
            raise self.fail(4, f"{name} runs again, though it is recorded")


class Watch:
    """Watches one run of the thread, its subgraphs included."""

    def __init__(self, laws: Laws, run: Run) -> None:
        self.laws = laws
        self.recorder = recorder = run.recorder
        self.thread = recorder.thread
        self.mode = recorder.durability
        self.known = Known(self.thread)
        self.state = ThreadState()
        self.shadow: list[Written] = []
        self.records: list[tuple[int, Any]] = []
        assert recorder.writer is not None
        self.began_at = recorder.writer.seq
        append = recorder.writer.append

        def watched_append(*arguments: Any, **keywords: Any) -> Any:
            self.before_append()
            return append(*arguments, **keywords)

        recorder.writer.append = watched_append  # type: ignore[method-assign]
        if recorder._encoder is not None:
            recorder._encoder = _Shadowing(recorder._encoder, self)  # type: ignore[assignment]
        self.read()
        if self.known.seq < laws.acknowledged:
            raise laws.fail(1, f"the log ends at seq {self.known.seq}, {laws.acknowledged} was acknowledged")
        if recorder.state.seq != self.state.seq or not self.same(recorder.state, self.seen()):
            raise laws.fail(3, f"recovery says {recorder.state}, the log says {self.state}")
        self.check_life()

    # What the log holds

    def durable(self) -> int:
        """Return the seq up to which the store holds the thread."""
        assert self.laws.store is not None
        row = self.laws.store.row(self.thread)
        return 0 if row is None else row.seq

    def written(self) -> Iterator[Written]:
        """Yield what the log holds beyond what was read: durable frames, then the queue, then the shadow."""
        assert self.laws.store is not None
        if self.durable() > self.known.seq:
            for header, body in self.laws.store.frames(self.thread, self.known.seq):
                yield Written(header.after, body)
        entry = self.laws.log._core.committer._queue.get(self.thread)
        if entry is not None:
            yield Written(entry.after, b"".join(entry.bodies))
        if self.mode == "exit" and self.durable() <= self.began_at:
            yield from self.shadow

    def read(self) -> None:
        """Fold what the log holds beyond what was read."""
        decoder = Decoder(self.recorder.registry, self._fetch)
        blueprints = self.recorder.blueprints.get
        self.seen()
        for after, body in self.written():
            seq = after
            for record in decoder.records(body):
                seq = record.seq if isinstance(record, StateFolded) else seq + 1
                if seq <= self.known.seq:
                    continue
                try:
                    self.known.take(seq, record)
                except LawBroken as broken:
                    raise self.laws.fail(broken.law, str(broken)) from None
                self.records.append((seq, record))
                self.state = fold(blueprints, self.state, seq, record)

    def _fetch(self, digest: bytes) -> bytes:
        entry = self.laws.log._core.committer._queue.get(self.thread)
        waiting = {blob.digest: blob.data for blob in entry.blobs} if entry is not None else {}
        assert self.laws.store is not None
        data = waiting.get(digest) or self.laws.store.blob(digest)
        if data is None and self.recorder._encoder is not None:
            data = self.recorder._encoder.blobs.get(digest)  # type: ignore[attr-defined]
        assert data is not None, f"the large value {digest.hex()} is nowhere"
        return data

    def seen(self) -> ThreadState:
        """Return the fold of the log, as far as this run's graphs are known by now."""
        for scope in [scope for scope in self.state.unread if scope in self.recorder.blueprints]:
            self.state = attach(self.recorder.blueprints.get, self.state, scope)
        return self.state

    def same(self, first: ThreadState, second: ThreadState) -> bool:
        """Compare states, but for subgraphs that are not known yet: part of those may be folded, part unread."""
        scopes = self.recorder.blueprints
        first, second = (
            state._replace(
                scopes={scope: graph for scope, graph in state.scopes.items() if scope in scopes}, unread={}
            )
            for state in (first, second)
        )
        return first == second

    # The laws

    def check(self) -> None:
        """See laws 1 and 3, after an effect."""
        if self.laws.broken is not None:
            raise self.laws.broken
        self.read()
        live = self.recorder.state
        if live.seq > self.known.seq:
            raise self.laws.fail(1, f"state is at seq {live.seq}, the log at {self.known.seq}")
        if self.mode == "sync" and live.seq > self.durable():
            raise self.laws.fail(1, f"state is at seq {live.seq}, only {self.durable()} is durable")
        if live.seq == self.known.seq and not self.same(live, self.seen()):
            raise self.laws.fail(3, f"live state is {live}\nthe fold of the log is {self.state}")
        if self.mode == "sync":
            self.laws.acknowledged = live.seq

    def check_life(self) -> None:
        """See law 3 anew, from the first record, with all graphs known from the beginning."""
        state = ThreadState()
        for seq, record in self.records:
            state = fold(self.recorder.blueprints.get, state, seq, record)
        if not self.same(state, self.seen()):
            raise self.laws.fail(3, f"step by step the fold is {self.state}\nin one go it is {state}")

    def before_append(self) -> None:
        """See law 1 when records are handed to the log: what was folded before is in it."""
        assert self.recorder.writer is not None
        folded, logged = self.recorder.state.seq, self.recorder.writer.seq
        if self.mode != "exit" and folded > logged:
            raise self.laws.fail(1, f"state is at seq {folded} before the log is beyond {logged}")

    @contextlib.contextmanager
    def appending(self) -> Iterator[None]:
        """See law 2: if the append fails, state is what it was."""
        before = self.recorder.state
        try:
            yield
        except Exception as error:
            if self.recorder.state is not before and self.recorder.state != before:
                raise self.laws.fail(2, f"the append failed ({error!r}) and state went on") from None
            raise

    def performing(self, loop: Loop, jobs: Sequence[Job]) -> None:
        """See law 1 before user code runs: all that was drafted is appended."""
        if jobs and loop.draft.records:
            raise self.laws.fail(
                1, f"{len(loop.draft.records)} records are not appended when user code is to run"
            )
        self.check()
        for job in jobs:
            if job.context.id in self.known.recorded and not (
                job.outcome is not None and job.outcome.returned
            ):
                raise self.laws.fail(4, f"{job.path} is to be performed again")

    def publishing(self, loop: Loop) -> None:
        """See law 1 before anything is shown: it was appended."""
        if loop.draft.records:
            raise self.laws.fail(
                1, f"{len(loop.draft.records)} records are not appended when they are to be shown"
            )
        self.check()

    def ended(self, end: End) -> None:
        """See law 5 when a run stops to ask."""
        self.check()
        for question in end.interrupts:
            given = question.id in self.laws.given and question.response_schema is None
            if question.id in self.known.answered or given:
                raise self.laws.fail(5, f"{question.value!r} is asked again")

    def finished(self) -> None:
        """See, when a call has returned or raised, that all it did is durable and the laws hold anew."""
        if self.laws.broken is not None:
            raise self.laws.broken
        if self.recorder.state.seq != self.durable():
            raise self.laws.fail(
                1, f"the call is over at {self.recorder.state.seq}, durable is {self.durable()}"
            )
        self.laws.given |= self.known.answered
        self.laws.recorded -= self.known.reopened
        self.laws.recorded |= self.known.recorded
        if self.mode == "exit":
            # The steps on the way were never written, so the fold is made of what was.
            self.shadow.clear()
            self.records.clear()
            self.known, self.state = Known(self.thread), ThreadState()
        self.check()
        self.check_life()
        self.laws.acknowledged = self.known.seq


class Unwatched(Watch):
    """Watches nothing: a run without a log."""

    def __init__(self) -> None:
        """Need nothing."""

    def check(self) -> None:
        """See nothing."""

    @contextlib.contextmanager
    def appending(self) -> Iterator[None]:
        """See nothing."""
        yield

    def performing(self, loop: Loop, jobs: Sequence[Job]) -> None:
        """See nothing."""

    def publishing(self, loop: Loop) -> None:
        """See nothing."""

    def ended(self, end: End) -> None:
        """See nothing."""


class _Shadowing:
    """Stands where a recorder's encoder stands under ``exit``, and keeps what it encoded."""

    def __init__(self, encoder: Any, watch: Watch) -> None:
        self._encoder = encoder
        self._watch = watch
        self.blobs: dict[bytes, bytes] = {}

    def records(self, records: Sequence[Any]) -> Any:
        """Encode records, and keep the bytes."""
        packed = self._encoder.records(records)
        self.blobs.update({blob.digest: blob.data for blob in packed.blobs})
        shadow = self._watch.shadow
        self._watch.read()
        shadow.clear()
        shadow.append(Written(self._watch.known.seq, packed.data))
        return packed
