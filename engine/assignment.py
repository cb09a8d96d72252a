"""One thread that is carried on: claimed, with all that is known of what is to be done on it.

    claimed ──► carry_out, or acarry_out ──► Carried: what became of it
                     │
                     └── before the claim is given back: the handed-over run's row says the same

Invariants:
1. The thread is claimed before an assignment is made, and its row is changed while it still is: nobody else can have
   gone on with the thread in between.
2. What is raised by the user's code is told, not raised. What is wrong with the log itself is raised.

It must not look for work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..replay.errors import GraphChanged
from ..wal.codec import Encoder
from ..wal.errors import LogError, NotSerializable, StaleWriter, UnknownType
from ..wal.named import NamedTuple
from . import clock
from .drive_sync import drive, unseen
from .errors import RecordedError
from .failure import failure_of, packed
from .run_control import RunControl
from .session import Session

if TYPE_CHECKING:
    from ..wal.log import Log
    from ..wal.submission_layout import Submission
    from ..wal.writer import Writer
    from .loop import End
    from .program import Program
    from .settings import Compiled

SUSPENDED = frozenset({"sleeping", "waiting"})
LEFT = "left alone"


class Carried(NamedTuple):
    """What became of one thread that was, or could not be, carried on.

    ``how`` is how its run ended (``done``, ``failed``, ``interrupted``, ``parked``, ``drained``, ``cancelled``,
    ``sleeping``, ``waiting``, ``superseded``), ``crashed`` if it was stopped like a killed one, or ``left alone``;
    ``reason`` says why, where there is something to say.
    """

    thread_id: str
    graph: str
    how: str
    run_id: str = ""
    reason: str = ""
    output: Any = None
    error: BaseException | None = None


class How(NamedTuple):
    """How runs are called that do not say so themselves: what ``invoke`` would be given."""

    config: dict[str, Any] | None = None
    context: Any = None
    durability: str | None = None


class Assignment:
    """One claimed thread, and what is to be done on it.

    Args:
        log: The log.
        graph: The graph, with this log as its own.
        writer: The claim.
        submission: The handed-over run, if it is one.
        given: The input; None to go on.
        how: How the run is called.
    """

    def __init__(
        self,
        log: Log,
        graph: Compiled,
        writer: Writer,
        submission: Submission | None,
        given: Any,
        how: How,
    ) -> None:
        self.log = log
        self.graph = graph
        self.thread = writer.thread_id
        self.submission = submission
        self.given = given
        self.control = RunControl()
        self._writer = writer
        self._how = how
        if submission is not None:
            # Nothing may be on record of a run that died; who wished it to stop since it was started means it still.
            writer.claimed_at = min(writer.claimed_at, submission.started_at)

    def __repr__(self) -> str:
        """Return thread and graph."""
        return f"<Assignment: thread {self.thread!r}, graph {self.graph.program.name!r}>"

    @property
    def run_id(self) -> str:
        """The id of the handed-over run, if it is one."""
        return "" if self.submission is None else self.submission.run

    def carry_out(self) -> Carried:
        """Run the thread until its run stops, and say what became of it.

        Raises:
            LogError: The log cannot be written.
        """
        if needs_loop(self.graph.program):
            from asyncio import run

            return run(self.acarry_out())
        session = self._session()
        carried = None
        try:
            with session.begun(self.given) as loop:
                try:
                    if loop is None:
                        output = session.output()
                    else:
                        output = session.finish(unseen(drive(session.run, loop, None)))
                except BaseException as error:
                    carried = self._ended(session, error=error)
                else:
                    carried = self._ended(session, output)
                self._note(carried)
        except BaseException as error:
            return self._refused(carried, error)
        return carried

    async def acarry_out(self) -> Carried:
        """Do what ``carry_out`` does, on the event loop."""
        from asyncio import CancelledError, shield, to_thread

        from .drive_async import adrive

        session = self._session()
        carried = None
        try:
            with session.begun(self.given) as loop:
                try:
                    if loop is None:
                        output = session.output()
                    else:
                        ends: list[End] = []
                        async for _ in adrive(session.run, loop, None, ends):
                            pass
                        output = await session.afinish(ends[0])
                except CancelledError:
                    raise
                except BaseException as error:
                    carried = self._ended(session, error=error)
                else:
                    carried = self._ended(session, output)
                await shield(to_thread(self._note, carried))
        except BaseException as error:
            return self._refused(carried, error)
        return carried

    def goes_on(self) -> None:
        """Let the run go on with what it recorded: its input is on record, and its deadline counts from then."""
        self.given = None
        config = {key: value for key, value in (self._how.config or {}).items() if key != "deadline"}
        self._how = self._how._replace(config=config)

    def give_back(self) -> None:
        """Give the claim back without having done anything."""
        self._writer.abandon()

    def _session(self) -> Session:
        how, config = self._how, dict(self._how.config or {})
        config["configurable"] = {**config.get("configurable", {}), "thread_id": self.thread}
        if self.submission is not None:
            config["run_id"] = self.submission.run
        session = Session(self.graph, config, how.context, None, how.durability, self.control)
        session.adopt(self._writer)
        return session

    def _ended(self, session: Session, output: Any = None, error: BaseException | None = None) -> Carried:
        root = session.run.recorder.state.root()
        how = "crashed" if root is None or root.ended is None else root.ended
        reason = "" if error is None else repr(error)
        error = error if how == "failed" or isinstance(error, LogError | StaleWriter) else None
        return self._carried(how, reason=reason, output=output, error=error)

    def _refused(self, carried: Carried | None, error: BaseException) -> Carried:
        """Say what became of a run that could not begin, or whose end could not be kept."""
        if isinstance(error, LogError) or not isinstance(error, Exception):
            raise error
        if isinstance(error, StaleWriter):
            return self._carried("superseded", reason=error.message)
        if carried is not None:
            # Its row still says that it is under way, which whoever takes it over puts right.
            raise error
        if isinstance(error, GraphChanged | UnknownType):
            # Other code may know what to do with it.
            self._leave()
            return self._carried(LEFT, reason=str(error), error=error)
        carried = self._carried("failed", reason=repr(error), error=error)
        self._note(carried)
        return carried

    def _leave(self) -> None:
        if self.submission is not None:
            self.log.submissions(write=True).requeue(self.submission.run)

    def _carried(self, how: str, *, reason: str = "", output: Any = None, error: Any = None) -> Carried:
        return Carried(self.thread, self.graph.program.name, how, self.run_id, reason, output, error)

    def _note(self, carried: Carried) -> None:
        """Let the run's row say what became of it, and forget how often the thread was taken over."""
        how = carried.how
        if isinstance(carried.error, LogError | StaleWriter) or how == "crashed":
            return
        submissions = self.log.submissions(write=True)
        if submissions.tried(self.thread).times:
            submissions.note_try(self.thread, 0, 0)
        if self.submission is None:
            return
        if how in SUSPENDED:
            submissions.suspend(self.run_id)
        elif how == "drained":
            submissions.requeue(self.run_id)
        else:
            result, problem = result_of(carried)
            reason = carried.reason or problem
            submissions.end(self.run_id, how, reason=reason, result=result, now=clock.now())


def needs_loop(program: Program) -> bool:
    """Tell whether a graph, or one of its subgraphs, has coroutine functions, which only an event loop can run."""
    for node in program.nodes.values():
        if node.callee is not None and (node.callee.is_async or any(b.call.is_async for b in node.branches)):
            return True
        inner = getattr(node.subgraph, "program", None)
        if inner is not None and needs_loop(inner):
            return True
    return False


def result_of(carried: Carried) -> tuple[bytes, str]:
    """Return what a handle is to find, as bytes; or nothing, and why it cannot be written."""
    if carried.how == "failed":
        assert carried.error is not None, "a failure is one of something"
        error = carried.error
        # What is only known by its text is told as that text, not as an error about it.
        told = (
            (b"", error.failure) if isinstance(error, RecordedError) else (packed(error), failure_of(error))
        )
        return Encoder().value([told[0], list(told[1])], whole=True).data, ""
    try:
        return Encoder().value(carried.output, whole=True).data, ""
    except NotSerializable as error:
        return b"", error.message
