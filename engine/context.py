"""What running user code can see of its run, through a context variable.

    get_config() get_runtime() get_store() get_stream_writer() interrupt() a @task call
                              │
                        current task ── TaskContext ── Run

Most nodes look at none of it, so a context makes its config and runtime only when asked.

Invariants:
1. The variable is set for the time of one task's body and routers, in whatever thread or coroutine they run.
2. A context counts its calls and interrupts from zero at every attempt, so that an attempt that is repeated finds
   what the earlier one recorded (LangGraph counts on, T-6).

It must not record anything.
"""

from __future__ import annotations

import itertools
from contextlib import suppress
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from ..replay.identity import LEVEL_SEPARATOR, TASK_SEPARATOR, checkpoint_id, child_scope, key_of, task_id
from ..wal.named import NamedTuple
from . import clock
from .errors import CannotPark, DeadlineExceeded, OutsideOfRun
from .metadata import noted, place_of
from .runtime import ExecutionInfo, Runtime

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..replay.state import Outcome
    from ..wal.record import Path, Question, Write
    from .errors import NodeError
    from .program import Program
    from .run_control import RunControl
    from .slots import Slot
    from .used_keys import UsedKeys

C = TypeVar("C")
OF_THE_RUN = frozenset({"run_id", "run_name"})
"""Keys of a config that name one run, so that what a node calls must not inherit them."""


class FailedCall(NamedTuple):
    """A call that failed: its path, and the very exception that its caller was given."""

    path: Path
    error: BaseException


class Chat(Protocol):
    """Puts callbacks where langchain's models look for them; see ``chat``."""

    def callbacks(self, context: TaskContext[Any], metadata: dict[str, Any]) -> Any:
        """Return the callbacks of one task, with what is known about it."""

    def enter(self, context: TaskContext[Any]) -> Any:
        """Let langchain find a task's config from here on."""

    def leave(self, token: Any) -> None:
        """Undo ``enter``, in the same context."""


class Surroundings(Protocol):
    """What a task sees of its run."""

    thread: str
    scope: str
    config: dict[str, Any]
    run_id: str
    admission: str
    context: Any
    store: Any
    control: RunControl | None
    deadline: int | None
    answers: dict[str, Any]
    program: Program
    chat: Chat | None
    node_errors: dict[Path, NodeError]

    def now(self) -> int:
        """Return the time in nanoseconds."""

    @property
    def previous(self) -> Any:
        """What the last run of an entrypoint saved."""

    def write_custom(self, payload: Any) -> None:
        """Show something in the stream mode ``custom``."""

    def write_message(self, shown: tuple[Any, dict[str, Any]]) -> None:
        """Show a message, or a part of one, with what is known about it."""


class Watcher(Protocol):
    """What limits the time of an attempt, as the code that runs in it sees it."""

    def heartbeat(self) -> None:
        """Note that the attempt says it is alive."""

    def progress(self) -> None:
        """Note that the attempt got on."""

    def calls(self) -> None:
        """Note that the attempt calls a task or a subgraph, or raise if its time is over."""

    def shows(self, write: Callable[[Any], None]) -> Callable[[Any], None]:
        """Return a stream writer whose chunks are progress, and are dropped when the attempt's time is over."""


RunT = TypeVar("RunT", bound=Surroundings)


class TaskContext(Generic[RunT]):
    """One attempt at one task.

    Args:
        run: The run of the task's own graph.
        path: The task's path.
        name: The node's or the task function's name.
        base: The seq of the barrier that the step follows.
        step: The superstep.
    """

    # Every task makes a context, and few use more of it than the name: what most leave alone is the class's.
    slot: Slot | None = None
    """This call's place among those that may run at once on the event loop, if they are limited."""
    answers: Mapping[str, Any] = MappingProxyType({})
    known: tuple[Question, ...] = ()
    entered: Any = None
    """What undoes that langchain finds this task's config, while it does."""
    attempt = 1
    first_at = 0
    questions = 0
    waits = 0
    subgraphs = 0
    asked: tuple[Question, ...] = ()
    pushed: tuple[Write, ...] = ()
    """What the body wrote by ``push_message``, to be recorded with what it returns."""
    key: str | None = None
    """What the outside world knew an earlier attempt by, if that is recorded."""
    _id: str | None = None
    keys: UsedKeys | None = None
    """The keys of the calls that were given one."""
    failing: tuple[FailedCall, ...] = ()
    """The calls that failed, and whose failures the body has not met yet."""
    failures: tuple[FailedCall, ...] = ()
    """The calls whose failures the body has met, and after which nothing is known to have followed yet."""
    kept: tuple[FailedCall, ...] = ()
    """The calls that failed, and after which this task went on."""
    token: object | None = None
    """What tells an attempt from those before it; None for the first."""
    noting: Any = None
    """What is being recorded of the body on the event loop; calls that it makes begin after that (see ``recorded``)."""

    def __init__(self, run: RunT, path: Path, name: str, base: int, step: int) -> None:
        self.run = run
        self.path = path
        self.name = name
        self.base = base
        self.step = step
        self.calls: Iterator[int] = itertools.count()
        self.children: list[Any] = []

    def _reset(self, attempt: int) -> None:
        self.attempt = attempt
        self.token = object()
        attempted.set(self.token)
        self.calls = itertools.count()
        self.children = []
        self.keys = None
        self.failing = self.failures = self.kept = ()
        self.questions = self.waits = 0
        self.subgraphs = 0
        self.asked = ()
        self.pushed = ()

    def begin(self, attempt: int, outcome: Outcome | None) -> None:
        """Start an attempt: count from zero, with the answers that are recorded by now."""
        if attempt > 1:
            self._reset(attempt)
        if outcome is not None:
            self.answers = dict(outcome.answers)
            self.known = outcome.questions
        if self.run.answers:
            self.answers = {**self.answers, **self.run.answers}
        if self.run.chat is not None and self.entered is None:
            self.entered = self.run.chat.enter(self)

    def leave(self) -> None:
        """Let langchain find what it found before the first attempt, in the same context."""
        entered, self.entered = self.entered, None
        if self.run.chat is not None:
            self.run.chat.leave(entered)

    @property
    def id(self) -> str:
        """The task's id; the same on every attempt, in every process."""
        if self._id is None:
            self._id = task_id(self.run.thread, self.run.scope, self.base, self.path)
        return self._id

    @property
    def idempotency_key(self) -> str:
        """What the outside world is to know the task by: the same on every attempt, in every process."""
        if self.key is None:
            # Without a log nothing tells the tasks of two runs apart but what the runs were called.
            self.key = self.id if self.run.thread else key_of(self.run.admission, self.id)
        return self.key

    def ensure_may_park(self, asked: str) -> None:
        """See that the task may be stopped here and begin again later.

        Raises:
            CannotPark: It is done at most once, or part of what is.
        """

    def stop_if_asked(self) -> None:
        """Let user code go no further if the run is to stop, unless it is part of what is done at most once.

        Raises:
            GraphDrained: It is to stop, and may go on later.
            GraphCancelled: It was cancelled.
            DeadlineExceeded: Its deadline has passed.
        """
        control = self.run.control
        deadline = self.run.deadline
        if deadline is not None and clock.now() >= deadline:
            with suppress(CannotPark):
                self.ensure_may_park("a task")
                raise DeadlineExceeded.of(self.run.thread, deadline)
        if control is not None and control.drain_reason is not None:
            with suppress(CannotPark):
                self.ensure_may_park("a task")
                raise control.stopped()

    @property
    def config(self) -> dict[str, Any]:
        """What LangGraph calls the RunnableConfig of the task."""
        given = {key: value for key, value in self.run.config.items() if key not in OF_THE_RUN}
        ns = self.scope_of_task
        configurable = {**given.get("configurable", {}), "checkpoint_ns": ns, "thread_id": self.run.thread}
        config = {**given, "configurable": configurable, "metadata": self.metadata}
        if self.run.chat is not None:
            config["callbacks"] = self.run.chat.callbacks(self, config["metadata"])
        return config

    @property
    def metadata(self) -> dict[str, Any]:
        """What is known about the task besides its input, for its config and for the messages that it streams."""
        run = self.run
        thread = run.thread or run.config.get("configurable", {}).get("thread_id")
        return {
            **noted(run.program, run.config, self.path, self.name),
            **({"thread_id": thread} if thread else {}),
            # As in LangGraph: the outermost task around a subgraph's task.
            **({"checkpoint_ns": run.scope.partition(LEVEL_SEPARATOR)[0]} if run.scope else {}),
            **place_of(run.program, self.path, self.name, self.step, self.scope_of_task),
        }

    @property
    def scope_of_task(self) -> str:
        """The namespace of the task itself, below that of its graph."""
        return child_scope(self.run.scope, f"{self.name}{TASK_SEPARATOR}{self.id}")

    @property
    def runtime(self) -> Runtime[Any]:
        """What the run offers."""
        run = self.run
        watch = watching.get()
        beat = {} if watch is None else {"heartbeat": watch.heartbeat}
        if not self.first_at:
            # Nodes without retries look at the clock only when they ask for it.
            self.first_at = run.now()
        info = ExecutionInfo(
            checkpoint_id=checkpoint_id(self.base),
            checkpoint_ns=self.scope_of_task,
            task_id=self.id,
            thread_id=run.thread or None,
            run_id=run.run_id,
            node_attempt=self.attempt,
            node_first_attempt_time=self.first_at / 1e9,
        )
        return Runtime(
            context=run.context,
            store=run.store,
            stream_writer=self.writer,
            previous=run.previous,
            execution_info=info,
            control=run.control,
            **beat,
        )

    @property
    def error(self) -> NodeError | None:
        """What an error handler is to handle; None for every other task."""
        return self.run.node_errors.get(self.path)

    @property
    def writer(self) -> Callable[[Any], None]:
        """A function that shows its argument in the stream mode ``custom``."""
        return watched(self.run.write_custom)

    @property
    def message_writer(self) -> Callable[[Any], None]:
        """A function that shows a pair of message and metadata in the stream mode ``messages``."""
        return watched(self.run.write_message)

    @property
    def store(self) -> Any:
        """The store that the graph was compiled with."""
        return self.run.store

    @property
    def previous(self) -> Any:
        """What the last run of the entrypoint saved."""
        return self.run.previous


class CallContext(TaskContext[RunT]):
    """One attempt at one ``@task`` call.

    Args:
        caller: The task that makes the call.
        path: The call's path.
        name: The task function's name.
    """

    drops = False
    """Whether what is recorded of another call in this place is to be dropped first."""

    def __init__(self, caller: TaskContext[RunT], path: Path, name: str) -> None:
        super().__init__(caller.run, path, name, caller.base, caller.step)
        self.caller = caller
        self.follows = caller.failures
        """The calls whose failures the caller had met when it made this one: it went on."""
        self.is_once = False
        """Whether the call is made at most once, so that its body cannot begin again."""

    def ensure_may_park(self, asked: str) -> None:
        """See that the call may be stopped here and begin again later.

        Raises:
            CannotPark: It is made at most once, or part of a call that is.
        """
        if self.is_once:
            message = (
                f"{asked} was called in task {self.name!r} of thread {self.run.thread!r}, which is done at most once; "
                "to go on after it the body would have to begin again"
            )
            raise CannotPark(message, hint=f"Call {asked} before the task, in what calls it.", task=self.name)
        self.caller.ensure_may_park(asked)

    @property
    def scope_of_task(self) -> str:
        """The namespace of the call, below that of the task that makes it."""
        return child_scope(self.caller.scope_of_task, f"{self.name}{TASK_SEPARATOR}{self.id}")


class _Over:
    """Stands for a task's calls once its body has ended: whoever still makes one does so behind its back."""

    def __next__(self) -> int:
        message = "called a task on behalf of one whose body has ended already"
        raise OutsideOfRun(
            message,
            hint="Wait for threads and coroutines that call tasks before the function that started them returns.",
        )

    def __iter__(self) -> _Over:
        return self


attempted: ContextVar[object | None] = ContextVar("walgraph_attempt", default=None)
"""The token of the attempt that this code belongs to; None in a first one."""

OVER = _Over()
"""What ``calls`` of a context is once its body has ended."""

current: ContextVar[TaskContext[Any] | None] = ContextVar("walgraph_task", default=None)
"""The task whose code is running."""

watching: ContextVar[Watcher | None] = ContextVar("walgraph_watch", default=None)
"""What watches the attempt whose code is running, if its time is limited."""


def watched(write: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return a writer whose chunks are progress of the attempt whose code is running, if its time is limited."""
    watch = watching.get()
    return write if watch is None else watch.shows(write)


def here(asked: str = "get_config") -> TaskContext[Any]:
    """Return the running task's context.

    Raises:
        OutsideOfRun: No task is running.
    """
    context = current.get()
    if context is None:
        message = f"Called {asked} outside of a runnable context"
        raise OutsideOfRun(message, hint="Call it from a node, a task or a function that one of them calls.")
    if context.token is not None and attempted.get() is not context.token:
        # What an earlier attempt left running would else take the numbers of this one's calls.
        next(OVER)
    return context


def get_config() -> dict[str, Any]:
    """Return the running task's config.

    Raises:
        OutsideOfRun: No task is running.
    """
    return here().config


def get_runtime(context_schema: type[C] | None = None) -> Runtime[C]:  # noqa: ARG001 - it only types the result
    """Return the running task's runtime.

    Args:
        context_schema: The type of the context, for type checkers.

    Raises:
        OutsideOfRun: No task is running.
    """
    return here("get_runtime").runtime


def get_store() -> Any:
    """Return the store that the graph was compiled with.

    Raises:
        OutsideOfRun: No task is running.
    """
    return here("get_store").store


def get_stream_writer() -> Callable[[Any], None]:
    """Return a function that shows its argument in the stream mode ``custom``.

    Raises:
        OutsideOfRun: No task is running.
    """
    return here("get_stream_writer").writer


def idempotency_key() -> str:
    """Return a key for the outside world: the same for every attempt at this task, different for every other task.

    It has 36 characters, hexadecimal digits and hyphens. It is made of the thread's id and the place of the task in its
    history; not of what the task is given, nor of the log: another log's thread of the same id has the same keys. In a
    copy of a thread and on a branch tasks have keys of their own, but for at-most-once calls that had begun before.

    Raises:
        OutsideOfRun: No task is running.
    """
    return here("idempotency_key").idempotency_key
