"""What a thread's log is made of.

A record is one thing that happened to a thread, in the past tense. Records are appended, never changed,
and are the only truth: state is a fold of them (``replay.fold``).

IDENTITY   A record is known by (thread, seq). Seqs count up by one from 1 within a thread and are assigned by
           the thread's one owner before anything is written, so they are known at once in every mode. The one
           exception is ``StateFolded``, which carries the seq it stands for and so may jump ahead.

WIRE       A record is one msgpack array: its kind number, then its fields in the order declared here. Paths,
           writes and targets are arrays; user values are encoded by ``wal.codec``.

SCOPE      The graph that a record is about: ``""`` for the graph that the user runs, else the namespace of a
           subgraph: ``node:task_id`` for each task around it, joined by ``|``, and the number of the call if it is
           not the task's first; without task ids if its history goes on from run to run. A subgraph's records lie in
           the log of the thread that called it, so that parent and child commit together.

PATH       The task within its scope and step: ``("fetch",)`` for a node, ``(3,)`` for the fourth ``Send``, the caller's
           path with the position (int) or the key (str) of the call for a nested ``@task``, and the path of the task
           that failed with ``HANDLER`` for its error handler.

TARGET     Where a finished task sends control: the name of a node; ``("send", node, arg)``, with ``[run, idle,
           refresh_on]`` behind it if the ``Send`` brings a time-out; ``("join", members, end, deferred, arrived)`` when
           ``arrived``, one of the members, reaches a barrier of edges; ``("defer", node)`` for a node that waits for
           quiescence.

CHANGE     New kinds and new trailing fields (with a default) may be added. Nothing is removed or renumbered. A reader
           refuses a kind that it does not know, since skipping one would fold to a wrong state.

Invariants:
1. The union ``Record`` is closed: every ``match`` over it ends in ``assert_never``.
2. ``KINDS`` numbers are part of the on-disk format; golden bytes in ``tests/wal/golden`` pin each of them.
3. Time is in the barriers (``at``, nanoseconds since 1970, never smaller than the thread's last), and, as the clock
   showed it, in ``AttemptFailed``, ``TaskStarted`` and what is recorded of timers and signals; nowhere else.

This module must not know what records mean, nor how they are stored.
"""

from typing import Any, TypeAlias

from .named import NamedTuple

Path: TypeAlias = tuple[str | int, ...]
Write: TypeAlias = tuple[str, Any]
Target: TypeAlias = str | tuple[Any, ...]


HANDLER = "__error_handler__"
"""What follows the path of a task that failed in the path of the error handler that runs in its place."""


class Reference(NamedTuple):
    """The address of a value that lies in the log's blobs and is fetched only when asked for."""

    digest: bytes
    size: int


class Question(NamedTuple):
    """One ``interrupt()`` of a task: its id, its position among the task's interrupts, and what it asks."""

    id: str
    position: int
    value: Any
    schema: Any


class Failure(NamedTuple):
    """How user code failed, as text: exceptions themselves are not stored."""

    type: str
    text: str
    traceback: str
    notes: tuple[str, ...]


class Edit(NamedTuple):
    """What one ``update_state`` or ``Command`` changes, as if ``as_node`` had returned it."""

    as_node: str | None
    writes: tuple[Write, ...]
    goto: tuple[Target, ...]
    path: Path | None = None
    """The task whose place it takes, if one of ``as_node`` was due: history shows the edit as that task's result."""


class ThreadCreated(NamedTuple):
    """The thread came into being; of a copy, it took its own id, and ``origin`` names the thread it was copied from."""

    at: int
    thread: str
    origin: str | None


class RunStarted(NamedTuple):
    """A run was admitted with an input; what was unfinished before is given up (LangGraph rule N-2)."""

    scope: str
    at: int
    run: str
    input: Any
    graph: Reference | None
    durability: str
    epoch: int
    metadata: dict[str, Any]
    caller: Path | None = None
    """For a subgraph: the path, in the scope above, of the task that runs it."""
    above: str | None = None
    """For a subgraph: the scope of the graph whose task runs it; None for the one that its own scope's text names."""
    deadline: int | None = None
    """When the run is to have ended, in nanoseconds; None if whenever."""


class RunResumed(NamedTuple):
    """A run took up what an earlier one left unfinished; failed tasks become due again."""

    scope: str
    at: int
    run: str
    graph: Reference | None
    durability: str
    epoch: int
    metadata: dict[str, Any] | None = None
    """What the call noted that is not noted yet: shown by the checkpoints from the next one on."""
    deadline: int | None = None
    """When the run is to have ended from now on; None for what it was admitted with."""


class StepStarted(NamedTuple):
    """A superstep began: the nodes due, in order, and how many ``Send`` tasks stand beside them."""

    scope: str
    step: int
    nodes: tuple[str, ...]
    sends: int


class TaskFinished(NamedTuple):
    """A task's body returned. ``goto`` is None when its routers have not run yet."""

    scope: str
    path: Path
    writes: tuple[Write, ...]
    goto: tuple[Target, ...] | None
    call: tuple[str, bytes, str] | None = None
    """For a nested ``@task``: its name, a digest of its arguments, and a preview of them."""


class TaskRouted(NamedTuple):
    """The routers of a finished task ran, after an earlier attempt at them had failed."""

    scope: str
    path: Path
    goto: tuple[Target, ...]


class TaskFailed(NamedTuple):
    """A task's body or routers raised, after all attempts that its retry policy allows."""

    scope: str
    path: Path
    failure: Failure
    attempts: int
    handler: str | None = None
    """The node that runs in the task's place now; the task itself is not run again."""
    error: bytes = b""
    """For the handler, or the caller: the exception as ``wal.codec`` writes it; empty if it cannot be written."""
    call: tuple[str, bytes, str] | None = None
    """For a nested ``@task``: what was called, as in ``TaskFinished``."""


class AttemptFailed(NamedTuple):
    """A task's body or routers raised and are to be tried again; times in nanoseconds, as in barriers.

    ``first_at`` is when the first attempt began, ``at`` when this one failed, ``due_at`` when the next is to begin.
    """

    scope: str
    path: Path
    failure: Failure
    attempt: int
    first_at: int
    at: int
    due_at: int


class TaskStarted(NamedTuple):
    """The body of an at-most-once ``@task`` is about to begin; durable before it does, in every mode.

    Until ``TaskFinished`` or ``AttemptFailed`` says how it ended nobody knows whether it took effect.
    """

    scope: str
    path: Path
    call: tuple[str, bytes, str]
    """What was called, as in ``TaskFinished``."""
    key: str
    """What the outside world knows the call by: the same for all its attempts."""
    attempt: int
    at: int


class TaskInterrupted(NamedTuple):
    """A task asked and cannot go on without answers; what it asked before has lost its answer, which did not fit."""

    scope: str
    path: Path
    questions: tuple[Question, ...]
    call: tuple[str, bytes, str] | None = None
    """For a nested ``@task``: what was called, as in ``TaskFinished``."""
    refused: str | None = None
    """The error by which an answer was refused, to this task or to one that it waits for."""


class TaskAnswered(NamedTuple):
    """Questions of one task were answered: pairs of question id and answer."""

    scope: str
    path: Path
    answers: tuple[tuple[str, Any], ...]


class TimerSet(NamedTuple):
    """A task began to sleep or to wait; it comes again if the clock was put back behind ``at``, and replaces itself.

    ``kind`` is ``sleep`` (for a time), ``until`` (a moment), or ``wait`` (for a signal); ``due_at`` is when it is over
    at the latest, None for a wait without end.
    """

    scope: str
    path: Path
    position: int
    kind: str
    name: str | None
    at: int
    due_at: int | None


class TimerFired(NamedTuple):
    """A sleep is over, or a wait has lasted as long as it may."""

    scope: str
    path: Path
    position: int
    at: int


class SignalReceived(NamedTuple):
    """A task received the signal that it waits for: the message of that name and number waits no more."""

    scope: str
    path: Path
    position: int
    at: int
    name: str
    number: int
    id: str | None
    payload: Any


class StepCommitted(NamedTuple):
    """A superstep's outcomes became the state. Its seq is the identity of the new checkpoint."""

    scope: str
    at: int
    step: int


class RunEnded(NamedTuple):
    """The run stopped.

    ``how`` is ``done``, ``interrupted``, ``parked`` (a breakpoint), ``sleeping``, ``waiting`` (for a signal),
    ``failed`` or ``drained``.
    """

    scope: str
    at: int
    how: str
    reason: str | None


class StateEdited(NamedTuple):
    """State was changed from outside a run.

    ``how`` is ``update``; ``command``, which joins the present step; ``clear``, after which nothing is due; or
    ``input``, whose one edit writes what a run would have been given to ``__input__``.
    """

    scope: str
    at: int
    how: str
    edits: tuple[Edit, ...]
    metadata: dict[str, Any] | None = None
    """What the call noted that is not noted yet."""


class Forked(NamedTuple):
    """A branch began at an older checkpoint (``origin``, a seq); ``state`` is what it starts from.

    ``how`` is ``fork`` or ``copy`` for a checkpoint of its own, or ``branch`` where an input or edit in the same frame
    makes one. A copy stands beside its origin, a fork follows it.
    """

    scope: str
    at: int
    origin: int
    how: str
    state: Any
    whole: bool = False
    """Whether it begins the whole thread anew: of subgraphs only those go on that further records of the frame tell."""


class CallsSettled(NamedTuple):
    """What ``@task`` calls came to for their caller, once that was seen.

    ``how`` is ``kept`` if they failed and it caught that and went on, so that they are raised again wherever they are
    replayed; ``open`` if they ended it after all, so that they are made again with it; or ``dropped`` if it calls
    something else in their place, so that nothing is left of them and of what they called.
    """

    scope: str
    paths: tuple[Path, ...]
    how: str


class StateFolded(NamedTuple):
    """All records up to ``seq`` as one state; what durability ``exit`` writes instead of them."""

    seq: int
    state: Any


Record: TypeAlias = (
    ThreadCreated
    | RunStarted
    | RunResumed
    | StepStarted
    | TaskFinished
    | TaskRouted
    | TaskFailed
    | AttemptFailed
    | CallsSettled
    | TaskInterrupted
    | TaskAnswered
    | TimerSet
    | TimerFired
    | SignalReceived
    | StepCommitted
    | RunEnded
    | StateEdited
    | Forked
    | StateFolded
    | TaskStarted
)

KINDS: dict[int, type[Record]] = {
    1: ThreadCreated,
    2: RunStarted,
    3: RunResumed,
    4: StepStarted,
    5: TaskFinished,
    6: TaskRouted,
    7: TaskFailed,
    8: TaskInterrupted,
    9: TaskAnswered,
    10: StepCommitted,
    11: RunEnded,
    12: StateEdited,
    13: Forked,
    14: StateFolded,
    15: AttemptFailed,
    16: TaskStarted,
    17: TimerSet,
    18: TimerFired,
    19: SignalReceived,
    21: CallsSettled,
}
"""Kind number on disk → record class."""

NUMBERS: dict[type[Record], int] = {kind: number for number, kind in KINDS.items()}
"""Record class → kind number on disk."""
