"""Bytes that survive: the log, and nothing about graphs.

    record     what can happen to a thread                    frame        records of one atomic step, as bytes
    codec      records and values as bytes, and back          store        the contract for what keeps frames
    log        what the engine and the user hold              writer       the one owner of one thread
    committer  group commit, leader and followers             claim        who may write a thread
    compaction what may go, and making the file smaller       verify       every broken invariant, found

``compaction`` and ``verify`` are imported by whoever needs them, since most programs never do.

Reading order: ``record``, ``frame``, ``store``, ``table_store``, ``committer``, ``writer``, ``log``.

Invariants:
1. This package imports nothing of the layers above it.
2. What an append acknowledged is found again, or an error says that it is not.

This package must not know what a graph is.
"""

from __future__ import annotations

from .codec import GLOBAL, Decoder, Encoder, Opaque, Packed, Registry, register_type
from .errors import (
    BackupDamaged,
    BackupMismatch,
    BackupNotFound,
    FormatTooNew,
    FormatTooOld,
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
    NotAvailable,
    NotSerializable,
    OutOfResources,
    RecordsCompacted,
    RemoteDisk,
    StaleWriter,
    ThreadBusy,
    ThreadDeleted,
    ThreadNotFound,
    ThreadProblem,
    UnknownType,
    ValueProblem,
    WalgraphError,
    WriterStopped,
)
from .frame import Header, Summary
from .head import ThreadHead
from .log import Log, MemoryLog, open_log
from .log_reading import Signal, Stored
from .store import Durability
from .writer import Writer

__all__ = [
    "GLOBAL",
    "BackupDamaged",
    "BackupMismatch",
    "BackupNotFound",
    "Decoder",
    "Durability",
    "Encoder",
    "FormatTooNew",
    "FormatTooOld",
    "Header",
    "Log",
    "LogClosed",
    "LogCorrupt",
    "LogError",
    "LogExists",
    "LogFailed",
    "LogFull",
    "LogInUse",
    "LogNotFound",
    "LogReadOnly",
    "MemoryLog",
    "NotALog",
    "NotAvailable",
    "NotSerializable",
    "Opaque",
    "OutOfResources",
    "Packed",
    "RecordsCompacted",
    "Registry",
    "RemoteDisk",
    "Signal",
    "StaleWriter",
    "Stored",
    "Summary",
    "ThreadBusy",
    "ThreadDeleted",
    "ThreadHead",
    "ThreadNotFound",
    "ThreadProblem",
    "UnknownType",
    "ValueProblem",
    "WalgraphError",
    "Writer",
    "WriterStopped",
    "open_log",
    "register_type",
]
