"""What a fold produces: everything that planning, reading and resuming need to know about a thread.

    ThreadState                       one thread at one seq
    ├── run, epoch, durability …      the run that wrote last
    └── scopes ── GraphState          one graph of the thread: ``""`` the root, else a subgraph's namespace
                  ├── values          channel → value, as of the last barrier
                  ├── due, sends …    what the next superstep consists of
                  └── outcomes        what the open superstep's tasks have come to: path → Outcome

Invariants:
1. Everything here is frozen. Folding makes new tuples and shares what it did not touch.
2. ``values`` holds no channel that has no value, and none that is untracked.
3. ``due``, ``sends``, ``joins`` and ``deferred`` are as of the last barrier; they change only at barriers and by a
   ``Command`` given as input.
4. An outcome whose status is ``finished`` is never replaced (guarantee G2).

This module must not decide anything: fold gives the meaning, plan says what is due.
"""

from typing import Any, Self, TypeAlias

from ..wal.named import NamedTuple, new
from ..wal.record import HANDLER, Failure, Path, Question, Reference, Target, Write
from .ledger import Ledger

JoinKey: TypeAlias = tuple[tuple[str, ...], str, bool]
"""A barrier of edges: its members, sorted; the node behind it; whether that node is deferred."""

SendKept: TypeAlias = tuple[Any, ...]
"""A ``Send``: node and argument, and behind them its time-out as plain data if it brings one."""

FINISHED, UNROUTED, DUE, WAITING, FAILED = "finished", "unrouted", "due", "waiting", "failed"
CAUGHT, KEPT = "caught", "kept"
"""Statuses of an outcome. UNROUTED: the body returned, its routers have not. DUE: to be run again. CAUGHT: it failed
for good, and an error handler runs in its place, whose outcome stands at the path that ``acting`` gives. KEPT: a call
failed and its caller went on, so the failure is what it came to, and is raised again on replay."""

GOTO_WRITE = "__goto__"
"""The write under which a body's own targets are kept while its routers have not succeeded; no channel's."""


class Retry(NamedTuple):
    """The attempts that failed so far of a task that is being retried: how many, and their times in nanoseconds."""

    attempts: int
    first_at: int
    at: int
    due_at: int


class Caught(NamedTuple):
    """Which node handles a failure (None: a `@task`'s caller may), and the exception as ``wal.codec`` wrote it."""

    handler: str | None
    error: bytes


class Intent(NamedTuple):
    """An attempt at an at-most-once task that began, and of which nobody recorded how it ended."""

    key: str
    attempt: int
    at: int


class Wait(NamedTuple):
    """A sleep of a task, or its wait for a signal: its place among the task's, and how it ended.

    ``kind`` and times are those of ``TimerSet``; ``ended`` is ``fired``, ``received``, or empty while it lasts.
    """

    position: int
    kind: str
    name: str | None
    at: int
    due_at: int | None
    ended: str = ""
    payload: Any = None


class Outcome(NamedTuple):
    """What one task has come to so far."""

    status: str
    writes: tuple[Write, ...] = ()
    goto: tuple[Target, ...] = ()
    call: tuple[str, bytes, str] | None = None
    failure: Failure | None = None
    attempts: int = 0
    questions: tuple[Question, ...] = ()
    answers: tuple[tuple[str, Any], ...] = ()
    returned: bool = False
    """Whether the body returned, so that at most its routers are left to run."""
    retry: Retry | None = None
    caught: Caught | None = None
    intent: Intent | None = None
    waits: tuple[Wait, ...] = ()
    refused: str | None = None
    """The error by which the last answer was refused, until there is another one."""

    def asleep(self) -> tuple[Wait, ...]:
        """Return what the task is parked for: sleeps and waits that have not ended."""
        if self.status != WAITING or not self.waits:
            return ()
        return tuple(wait for wait in self.waits if not wait.ended)

    def asking(self, questions: tuple[Question, ...]) -> Self:
        """Return the outcome of a task that waits; what is asked again has lost its answer, which was refused."""
        if not questions:
            return self._replace(status=WAITING)
        again = {question.id for question in questions}
        known = tuple(question for question in self.questions if question.id not in again)
        answers = tuple(answer for answer in self.answers if answer[0] not in again)
        return self._replace(status=WAITING, questions=known + questions, answers=answers)

    def pending(self) -> tuple[Question, ...]:
        """Return the questions that have no answer yet."""
        if self.status == FINISHED or not self.questions:
            return ()
        answered = {key for key, _ in self.answers}
        return tuple(question for question in self.questions if question.id not in answered)


class NoInput:
    """The type of ``NO_INPUT``: there is no input to map, which None could not say."""

    def __repr__(self) -> str:
        """Return its name."""
        return "NO_INPUT"


NO_INPUT = NoInput()


class GraphState(NamedTuple):
    """One graph of a thread, as of its last barrier, and the superstep that is open after it."""

    values: dict[str, Any]
    step: int
    base: int
    """The seq of the last barrier: the identity of the checkpoint that this state is."""
    at: int
    source: str
    parent: int | None
    """The seq of the barrier before, on the same branch."""
    due: tuple[str, ...]
    sends: tuple[SendKept, ...]
    joins: dict[JoinKey, frozenset[str]]
    deferred: frozenset[str]
    ran: tuple[str, ...]
    """The nodes of the last superstep, which ``update_state`` takes for the author of an edit."""
    input: Any = NO_INPUT
    opened: bool = False
    outcomes: Ledger[Outcome] = Ledger()
    ended: str | None = None
    reason: str | None = None
    metadata: dict[str, Any] = {}  # noqa: RUF012 - a NamedTuple default; never changed in place
    caller: Path | None = None
    run: str = ""
    """The run that was admitted last; for a subgraph, the call of its parent's task that runs it."""
    above: str | None = None
    """For a subgraph: the scope of the graph whose task runs it; None where the scope's own text says it."""
    notes: dict[str, Any] | None = None
    """The metadata of the checkpoints to come, if whoever took the run up noted something; None for the same."""

    @property
    def noted(self) -> dict[str, Any]:
        """The metadata of the next checkpoint."""
        return self.metadata if self.notes is None else self.notes

    def paths(self) -> list[Path]:
        """Return the paths of the step's tasks: sends first, then nodes, as LangGraph lists them (P-3)."""
        due, sends = self.due, self.sends
        if len(due) == 1 and not sends:
            # What most steps are: the names of the nodes that are due are the path of the one task.
            return [due]
        paths: list[Path] = [(index,) for index in range(len(sends))]
        paths.extend((name,) for name in due)
        return paths

    def node_of(self, path: Path) -> str:
        """Return the name of the node that runs at ``path``."""
        head = path[0]
        if len(path) > 1 and path[1] == HANDLER:
            failed = self.outcomes.get(path[:1])
            if failed is not None and failed.caught is not None and failed.caught.handler is not None:
                return failed.caught.handler
        return self.sends[head][0] if isinstance(head, int) else head

    def acting(self, path: Path) -> Path:
        """Return the path of what runs for a task of the step: its own, or that of its error handler."""
        outcome = self.outcomes.get(path)
        return path if outcome is None or outcome.caught is None else (*path, HANDLER)

    def standing(self, path: Path) -> Outcome | None:
        """Return what counts for a task of the step: its outcome, and once it has failed for good, its handler's.

        What its body returned before its routers failed comes first among the writes.
        """
        outcome = self.outcomes.get(path)
        if outcome is None or outcome.caught is None:
            return outcome
        handling = self.outcomes.get((*path, HANDLER)) or Outcome(DUE)
        return handling._replace(writes=outcome.writes + handling.writes, goto=outcome.goto + handling.goto)

    def has_intents(self) -> bool:
        """Return whether an attempt at an at-most-once task began of which nobody recorded how it ended."""
        return any(outcome.intent is not None for _, outcome in self.outcomes.recent())

    def questions(self, *, answered: bool = False) -> list[tuple[Path, Question]]:
        """Return the unanswered questions of the open step with the path that asked each; or also the answered ones."""
        return [
            (path, question)
            for path, outcome in self.outcomes.recent()
            for question in (outcome.questions if answered else outcome.pending())
        ]


NEW_GRAPH = GraphState({}, -2, 0, 0, "", None, (), (), {}, frozenset(), ())
"""A graph before its first record."""

OUTCOMES, OPENED = GraphState._fields.index("outcomes"), GraphState._fields.index("opened")
"""Positions of the fields that change within a step."""


def with_field(graph: GraphState, position: int, value: Any) -> GraphState:
    """Return the state with another value at a position.

    Every task that ends and every step that starts make one, and ``_replace``, which looks up each of twenty names,
    takes five times as long.
    """
    return new(GraphState, (*graph[:position], value, *graph[position + 1 :]))


class Unread(NamedTuple):
    """Records of a subgraph that cannot be folded before its graph is known: newest first, linked."""

    older: "Unread | None"
    seq: int
    record: Any


def listed(unread: "Unread | None") -> list[Unread]:
    """Return what was kept unread of a graph, oldest first."""
    held: list[Unread] = []
    while unread is not None:
        held.append(unread)
        unread = unread.older
    return held[::-1]


class ThreadState(NamedTuple):
    """One thread at one seq."""

    seq: int = 0
    scopes: dict[str, GraphState] = {}  # noqa: RUF012 - a NamedTuple default; never changed in place
    unread: dict[str, Unread] = {}  # noqa: RUF012 - as above
    run: str = ""
    epoch: int = 0
    durability: str = ""
    graph: Reference | None = None
    at: int = 0
    """The time of the thread's newest barrier, so that time never runs backwards in a log."""
    thread: str = ""
    """The id that the names of tasks are made of; in a copy that nobody wrote to yet it is the other thread's."""
    deadline: int | None = None
    """When the run is to have ended, in nanoseconds since 1970."""

    def with_graph(self, scope: str, seq: int, graph: GraphState) -> "ThreadState":
        """Return the state after a record that changed one graph; as ``_replace``, for the path every step takes."""
        _, scopes, unread, run, epoch, durability, reference, at, thread, deadline = self
        scopes = {scope: graph} if len(scopes) == 1 and scope in scopes else {**scopes, scope: graph}
        at = max(at, graph.at)
        return new(
            ThreadState, (seq, scopes, unread, run, epoch, durability, reference, at, thread, deadline)
        )

    def root(self) -> GraphState | None:
        """Return the state of the graph that the user runs, or None before its first run."""
        return self.scopes.get("")
