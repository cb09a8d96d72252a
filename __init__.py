"""walgraph: graphs and functions that survive crashes; everything that happened is in one log.

    from typing import TypedDict
    from walgraph import END, START, Log, StateGraph

    class State(TypedDict):
        name: str
        greeting: str

    def greet(state: State) -> dict[str, str]:
        return {"greeting": f"Hello, {state['name']}!"}

    with Log.open("greetings.wal") as log:
        graph = StateGraph(State).add_node(greet).add_edge(START, "greet").add_edge("greet", END).compile(log)
        print(graph.invoke({"name": "Ada"}, {"configurable": {"thread_id": "1"}}, durability="sync"))

The names are LangGraph's; ``Log`` takes the place of a checkpointer. Kill the process at any instruction and run it
again with ``None`` as input: what was recorded is not done again.
"""

from __future__ import annotations

import importlib
import typing

from .engine.builder import StateGraph
from .engine.context import (
    get_config,
    get_runtime,
    get_store,
    get_stream_writer,
    idempotency_key,
)
from .engine.control import (
    RUN_AGAIN,
    TAG_HIDDEN,
    TAG_NOSTREAM,
    All,
    Command,
    Durability,
    Interrupt,
    PregelTask,
    Send,
    StateSnapshot,
    StateUpdate,
    StreamMode,
    StreamWriter,
)
from .engine.errors import (
    AnswerError,
    AttemptsLost,
    CannotPark,
    DeadlineExceeded,
    EmptyInputError,
    GraphBubbleUp,
    GraphDrained,
    GraphInterrupt,
    GraphRecursionError,
    InvalidCallKey,
    InvalidGraph,
    InvalidNamespaceError,
    MissingThreadId,
    NodeCancelledError,
    NodeError,
    NodeTimeoutError,
    NoLog,
    NotAvailable,
    OutcomeTableError,
    OutcomeUnknown,
    OutsideOfRun,
    ParentCommand,
    RecordedError,
    RunCancelled,
    RunParked,
    SignalTimeout,
    StepTimeout,
    TransactionEnded,
    UnknownInterruptError,
)
from .engine.graph import CompiledGraph, CompiledStateGraph
from .engine.interrupt import interrupt
from .engine.managed import IsLastStep, RemainingSteps
from .engine.policy import CachePolicy, TimeoutPolicy
from .engine.response import is_invalid_resume
from .engine.retry import RetryPolicy
from .engine.run_control import RunControl
from .engine.runtime import ExecutionInfo, Runtime
from .engine.settings import Checkpointer, ensure_valid_checkpointer
from .engine.suspend import GraphSuspended, Suspension
from .replay.channel import (
    MISSING,
    AnyValue,
    BinaryOperatorAggregate,
    EphemeralValue,
    LastValue,
    LastValueAfterFinish,
    NamedBarrierValue,
    NamedBarrierValueAfterFinish,
    Overwrite,
    Topic,
    UntrackedValue,
)
from .replay.errors import (
    CheckpointNotFound,
    EmptyChannelError,
    GraphChanged,
    InvalidUpdateError,
    NonDeterminism,
)
from .replay.identity import END, START
from .wal.codec import register_type
from .wal.errors import (
    BackupDamaged,
    BackupMismatch,
    BackupNotFound,
    FormatTooNew,
    FormatTooOld,
    KeyMissing,
    LogClosed,
    LogCorrupt,
    LogError,
    LogExists,
    LogFailed,
    LogFull,
    LogInUse,
    LogNotFound,
    LogReadOnly,
    NotALog,
    NotSerializable,
    OutOfResources,
    QueueProblem,
    RecordsCompacted,
    RemoteDisk,
    RunConflict,
    RunNotFound,
    ScheduleConflict,
    ScheduleNotFound,
    ScheduleProblem,
    StaleWriter,
    Tampered,
    ThreadBusy,
    ThreadDeleted,
    ThreadNotFound,
    UnknownType,
    WalgraphError,
    WriterStopped,
    WrongKey,
)
from .wal.head import ThreadHead
from .wal.log import Log, MemoryLog, open_log

if typing.TYPE_CHECKING:
    from .engine.assignment import Carried
    from .engine.cache import BaseCache, InMemoryCache
    from .engine.cache_log import LogCache
    from .engine.drawable import NodeStyles
    from .engine.drawing import CurveStyle
    from .engine.error_code import ErrorCode, TaskNotFound, create_error_message
    from .engine.functional import entrypoint, task
    from .engine.messages import REMOVE_ALL_MESSAGES, MessagesState, add_messages
    from .engine.once import EffectCall
    from .engine.parts import (
        CheckpointPayload,
        CheckpointStreamPart,
        CheckpointTask,
        CustomStreamPart,
        DebugPayload,
        DebugStreamPart,
        GraphOutput,
        MessagesStreamPart,
        StreamPart,
        TaskPayload,
        TaskResultPayload,
        TasksStreamPart,
        UpdatesStreamPart,
        ValuesStreamPart,
    )
    from .engine.push import push_message
    from .engine.recorded import now, random, uuid4
    from .engine.recovering import arecover, recover
    from .engine.replaying import Divergence, Replay, replay_thread
    from .engine.resolve import resolve_effect
    from .engine.schedule import ScheduleHandle, ScheduleInfo, aschedule, schedule, schedules
    from .engine.signals import drain_on_signals
    from .engine.store import (
        BaseStore,
        GetOp,
        IndexConfig,
        Item,
        ListNamespacesOp,
        MatchCondition,
        PutOp,
        SearchItem,
        SearchOp,
        TTLConfig,
    )
    from .engine.stores import InMemoryStore, LogStore
    from .engine.submit import RunHandle, asubmit, define_queue, forget_runs, submit
    from .engine.timer import sleep, sleep_until, wait_for
    from .engine.transactional import apurge_outcomes, purge_outcomes, transactional
    from .engine.worker import Worker
    from .tools.restoring import restore
    from .tools.retention import Retention
    from .wal.backup import Backup
    from .wal.keys import KeyRing

__version__ = "0.1.0"

_ON_DEMAND = {
    "Divergence": ".engine.replaying",
    "Replay": ".engine.replaying",
    "Retention": ".tools.retention",
    "Backup": ".wal.backup",
    "BaseCache": ".engine.cache",
    "BaseStore": ".engine.store",
    "Carried": ".engine.assignment",
    "CheckpointPayload": ".engine.parts",
    "CheckpointStreamPart": ".engine.parts",
    "CheckpointTask": ".engine.parts",
    "CurveStyle": ".engine.drawing",
    "CustomStreamPart": ".engine.parts",
    "DebugPayload": ".engine.parts",
    "DebugStreamPart": ".engine.parts",
    "EffectCall": ".engine.once",
    "ErrorCode": ".engine.error_code",
    "GetOp": ".engine.store",
    "GraphOutput": ".engine.parts",
    "KeyRing": ".wal.keys",
    "InMemoryCache": ".engine.cache",
    "InMemoryStore": ".engine.stores",
    "IndexConfig": ".engine.store",
    "Item": ".engine.store",
    "ListNamespacesOp": ".engine.store",
    "LogCache": ".engine.cache_log",
    "LogStore": ".engine.stores",
    "MatchCondition": ".engine.store",
    "MessagesState": ".engine.messages",
    "MessagesStreamPart": ".engine.parts",
    "NodeStyles": ".engine.drawable",
    "PutOp": ".engine.store",
    "REMOVE_ALL_MESSAGES": ".engine.messages",
    "RunHandle": ".engine.submit",
    "SearchItem": ".engine.store",
    "SearchOp": ".engine.store",
    "StreamPart": ".engine.parts",
    "TTLConfig": ".engine.store",
    "TaskNotFound": ".engine.error_code",
    "TaskPayload": ".engine.parts",
    "TaskResultPayload": ".engine.parts",
    "TasksStreamPart": ".engine.parts",
    "UpdatesStreamPart": ".engine.parts",
    "ValuesStreamPart": ".engine.parts",
    "Worker": ".engine.worker",
    "add_messages": ".engine.messages",
    "apurge_outcomes": ".engine.transactional",
    "arecover": ".engine.recovering",
    "asubmit": ".engine.submit",
    "create_error_message": ".engine.error_code",
    "define_queue": ".engine.submit",
    "drain_on_signals": ".engine.signals",
    "forget_runs": ".engine.submit",
    "entrypoint": ".engine.functional",
    "now": ".engine.recorded",
    "purge_outcomes": ".engine.transactional",
    "push_message": ".engine.push",
    "random": ".engine.recorded",
    "recover": ".engine.recovering",
    "replay_thread": ".engine.replaying",
    "resolve_effect": ".engine.resolve",
    "restore": ".tools.restoring",
    "sleep": ".engine.timer",
    "sleep_until": ".engine.timer",
    "submit": ".engine.submit",
    "ScheduleHandle": ".engine.schedule",
    "ScheduleInfo": ".engine.schedule",
    "aschedule": ".engine.schedule",
    "schedule": ".engine.schedule",
    "schedules": ".engine.schedule",
    "task": ".engine.functional",
    "transactional": ".engine.transactional",
    "uuid4": ".engine.recorded",
    "wait_for": ".engine.timer",
}
"""Public names that many programs never use, and the modules that are loaded when one does."""


def __getattr__(name: str) -> typing.Any:
    """Load a public name at its first use."""
    module = _ON_DEMAND.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(module, __name__), name)
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted({*globals(), *__all__})


__all__ = [
    "END",
    "MISSING",
    "REMOVE_ALL_MESSAGES",
    "RUN_AGAIN",
    "START",
    "TAG_HIDDEN",
    "TAG_NOSTREAM",
    "All",
    "AnswerError",
    "AnyValue",
    "AttemptsLost",
    "Backup",
    "BackupDamaged",
    "BackupMismatch",
    "BackupNotFound",
    "BaseCache",
    "BaseStore",
    "BinaryOperatorAggregate",
    "CachePolicy",
    "CannotPark",
    "Carried",
    "CheckpointNotFound",
    "CheckpointPayload",
    "CheckpointStreamPart",
    "CheckpointTask",
    "Checkpointer",
    "Command",
    "CompiledGraph",
    "CompiledStateGraph",
    "CurveStyle",
    "CustomStreamPart",
    "DeadlineExceeded",
    "DebugPayload",
    "DebugStreamPart",
    "Divergence",
    "Durability",
    "EffectCall",
    "EmptyChannelError",
    "EmptyInputError",
    "EphemeralValue",
    "ErrorCode",
    "ExecutionInfo",
    "FormatTooNew",
    "FormatTooOld",
    "GetOp",
    "GraphBubbleUp",
    "GraphChanged",
    "GraphDrained",
    "GraphInterrupt",
    "GraphOutput",
    "GraphRecursionError",
    "GraphSuspended",
    "InMemoryCache",
    "InMemoryStore",
    "IndexConfig",
    "Interrupt",
    "InvalidCallKey",
    "InvalidGraph",
    "InvalidNamespaceError",
    "InvalidUpdateError",
    "IsLastStep",
    "Item",
    "KeyMissing",
    "KeyRing",
    "LastValue",
    "LastValueAfterFinish",
    "ListNamespacesOp",
    "Log",
    "LogCache",
    "LogClosed",
    "LogCorrupt",
    "LogError",
    "LogExists",
    "LogFailed",
    "LogFull",
    "LogInUse",
    "LogNotFound",
    "LogReadOnly",
    "LogStore",
    "MatchCondition",
    "MemoryLog",
    "MessagesState",
    "MessagesStreamPart",
    "MissingThreadId",
    "NamedBarrierValue",
    "NamedBarrierValueAfterFinish",
    "NoLog",
    "NodeCancelledError",
    "NodeError",
    "NodeStyles",
    "NodeTimeoutError",
    "NonDeterminism",
    "NotALog",
    "NotAvailable",
    "NotSerializable",
    "OutOfResources",
    "OutcomeTableError",
    "OutcomeUnknown",
    "OutsideOfRun",
    "Overwrite",
    "ParentCommand",
    "PregelTask",
    "PutOp",
    "QueueProblem",
    "RecordedError",
    "RecordsCompacted",
    "RemainingSteps",
    "RemoteDisk",
    "Replay",
    "Retention",
    "RetryPolicy",
    "RunCancelled",
    "RunConflict",
    "RunControl",
    "RunHandle",
    "RunNotFound",
    "RunParked",
    "Runtime",
    "ScheduleConflict",
    "ScheduleHandle",
    "ScheduleInfo",
    "ScheduleNotFound",
    "ScheduleProblem",
    "SearchItem",
    "SearchOp",
    "Send",
    "SignalTimeout",
    "StaleWriter",
    "StateGraph",
    "StateSnapshot",
    "StateUpdate",
    "StepTimeout",
    "StreamMode",
    "StreamPart",
    "StreamWriter",
    "Suspension",
    "TTLConfig",
    "Tampered",
    "TaskNotFound",
    "TaskPayload",
    "TaskResultPayload",
    "TasksStreamPart",
    "ThreadBusy",
    "ThreadDeleted",
    "ThreadHead",
    "ThreadNotFound",
    "TimeoutPolicy",
    "Topic",
    "TransactionEnded",
    "UnknownInterruptError",
    "UnknownType",
    "UntrackedValue",
    "UpdatesStreamPart",
    "ValuesStreamPart",
    "WalgraphError",
    "Worker",
    "WriterStopped",
    "WrongKey",
    "add_messages",
    "apurge_outcomes",
    "arecover",
    "aschedule",
    "asubmit",
    "create_error_message",
    "define_queue",
    "drain_on_signals",
    "ensure_valid_checkpointer",
    "entrypoint",
    "forget_runs",
    "get_config",
    "get_runtime",
    "get_store",
    "get_stream_writer",
    "idempotency_key",
    "interrupt",
    "is_invalid_resume",
    "now",
    "open_log",
    "purge_outcomes",
    "push_message",
    "random",
    "recover",
    "register_type",
    "replay_thread",
    "resolve_effect",
    "restore",
    "schedule",
    "schedules",
    "sleep",
    "sleep_until",
    "submit",
    "task",
    "transactional",
    "uuid4",
    "wait_for",
]
