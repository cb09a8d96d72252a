"""What can go wrong below the engine, and who must act.

    WalgraphError                     every error of this package; carries code, hint and details
    ├── LogError                      the log as a whole
    │   ├── LogNotFound     WAL-E002  you: the path is wrong, or creation was not asked for
    │   ├── LogClosed       WAL-E003  you: the log object was closed, or belongs to another process
    │   ├── NotALog         WAL-E101  you: something else lies at that path
    │   ├── LogCorrupt      WAL-E102  the disk: bytes are not what was written
    │   ├── FormatTooNew    WAL-E103  you: a newer walgraph wrote it
    │   ├── LogFull         WAL-E104  the disk: no room; everything recorded is still there
    │   ├── LogFailed       WAL-E105  the disk: a flush failed; reopen to learn what is durable
    │   ├── LogReadOnly     WAL-E106  you: no permission to write there
    │   ├── RemoteDisk      WAL-E107  you: LMDB must not live on a network file system
    │   ├── LogInUse        WAL-E108  you: another process, or this one, holds the log
    │   ├── LogExists       WAL-E109  you: a log was to be made where something is
    │   ├── BackupMismatch  WAL-E110  you: the target holds backups of another log, or of a later state of this one
    │   ├── BackupDamaged   WAL-E111  the disk: a part of a backup is missing, or not what was written
    │   ├── BackupNotFound  WAL-E112  you: there is no such backup
    │   ├── FormatTooOld    WAL-E113  you: the log has an older format, and must be upgraded first
    │   ├── WriterStopped   WAL-E114  you: a process was stopped while it wrote, and keeps others from writing
    │   ├── OutOfResources  WAL-E115  you: the system gives no more files, memory or processes
    │   ├── RecordsCompacted WAL-E116 you: a compaction cut off what was to be read; read again from what is left
    │   ├── KeyMissing      WAL-E120  you: it is encrypted, and its key is not here
    │   ├── WrongKey        WAL-E121  you: it is encrypted with another key of that id
    │   └── Tampered        WAL-E122  somebody: encrypted bytes were changed, or moved (a LogCorrupt)
    ├── NotAvailable        WAL-E220  you: this needs something that is not here
    ├── ValueProblem                  one value
    │   ├── NotSerializable WAL-E301  you: a value cannot be written, named by its path
    │   └── UnknownType     WAL-E302  you: a recorded value's class is not known here
    └── ThreadProblem                 one thread
        ├── ThreadBusy      WAL-E401  you: another run owns the thread
        ├── StaleWriter     WAL-E402  you: another run took the thread over
        ├── ThreadNotFound  WAL-E404  you: no thread of that name
        ├── ThreadDeleted   WAL-E403  you: the thread that was meant is gone
        ├── RunConflict     WAL-E411  you: another run was handed over under that id
        ├── RunNotFound     WAL-E412  you: no run of that id was handed over
        ├── QueueProblem    WAL-E413  you: a queue cannot be like that
        ├── ScheduleProblem WAL-E414  you: a schedule cannot be like that
        ├── ScheduleConflict WAL-E415 you: there is another schedule of that name
        └── ScheduleNotFound WAL-E416 you: no schedule of that name

The layers above own further errors (``replay.errors``, ``engine.errors``) under the same base.

A message says what happened, where, what was recorded and what was attempted, and what to do next. The
last part is ``hint``; ``str(error)`` ends with it, since that is where eyes stop.
"""

from __future__ import annotations

from typing import Any, ClassVar


class WalgraphError(Exception):
    """Base of every error raised by walgraph.

    Args:
        message: What happened and where, as one or more sentences.
        hint: What to do next; shown on a line of its own.
        details: The facts of the message as data, for programs.
    """

    code: ClassVar[str] = "WAL-E000"

    def __init__(self, message: str, *, hint: str = "", **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def __str__(self) -> str:
        """Return ``CODE: message`` and, on the next line, the way out."""
        text = f"{self.code}: {self.message}"
        return f"{text}\n  help: {self.hint}" if self.hint else text

    def to_dict(self) -> dict[str, Any]:
        """Return code, message, hint and details as plain data."""
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "details": {key: str(value) for key, value in self.details.items()},
        }


class NotAvailable(WalgraphError, ImportError):
    """What was asked for needs a package or a service that is not here; the hint says what to use instead."""

    code = "WAL-E220"


class LogError(WalgraphError):
    """The log as a whole cannot be used as asked."""


class LogNotFound(LogError, FileNotFoundError):
    """There is no log at the path, and none was to be created."""

    code = "WAL-E002"


class LogClosed(LogError):
    """The log object was closed before, or was inherited through a fork."""

    code = "WAL-E003"


class NotALog(LogError, ValueError):
    """Something that is not a walgraph log lies at the path; it is left untouched."""

    code = "WAL-E101"


class LogCorrupt(LogError):
    """Bytes in the log are not what was written; the message names the place."""

    code = "WAL-E102"


class FormatTooNew(LogError):
    """The log was written by a newer walgraph; nothing was read or changed."""

    code = "WAL-E103"


class LogFull(LogError, OSError):
    """The disk or the map has no room left; everything recorded is still there."""

    code = "WAL-E104"


class LogFailed(LogError, OSError):
    """A flush failed, so this log object refuses further work."""

    code = "WAL-E105"


class LogReadOnly(LogError, PermissionError):
    """The log lies where this process must not write."""

    code = "WAL-E106"


class RemoteDisk(LogError, ValueError):
    """The path lies on a network file system, where LMDB loses data."""

    code = "WAL-E107"


class LogInUse(LogError):
    """The log is held by another process or by another object of this one."""

    code = "WAL-E108"


class LogExists(LogError, FileExistsError):
    """A log was to be made where something is already; it is left untouched."""

    code = "WAL-E109"


class BackupMismatch(LogError, ValueError):
    """The target holds backups of another log, or of a later state of this one; nothing was written."""

    code = "WAL-E110"


class BackupDamaged(LogError):
    """A part of a backup is missing, or is not what was written."""

    code = "WAL-E111"


class BackupNotFound(LogError, LookupError):
    """The target holds no backup, or none of that moment."""

    code = "WAL-E112"


class FormatTooOld(LogError):
    """The log has an older format; it is as it was, and can be upgraded."""

    code = "WAL-E113"


class WriterStopped(LogInUse, LogFailed):
    """A process that was stopped in the middle of a write keeps all others from writing; nothing was recorded."""

    code = "WAL-E114"


class OutOfResources(LogError, OSError):
    """The system has no file descriptors, memory or processes left; nothing was changed."""

    code = "WAL-E115"


class RecordsCompacted(LogError):
    """A compaction cut off the records that were to be read, before or while they were; nothing is damaged."""

    code = "WAL-E116"


class KeyMissing(LogError):
    """It is encrypted with a key that is not here; with the key it can be read, and without it by nobody."""

    code = "WAL-E120"


class WrongKey(LogError):
    """It is encrypted, and the key of that id is not the one that it was encrypted with."""

    code = "WAL-E121"


class Tampered(LogCorrupt):
    """Encrypted bytes were changed, or lie where they were not written."""

    code = "WAL-E122"


class ValueProblem(WalgraphError):
    """One value cannot be written or read back."""


class NotSerializable(ValueProblem, TypeError):
    """A value cannot be written to the log; nothing of that append was recorded."""

    code = "WAL-E301"


class UnknownType(ValueProblem, TypeError):
    """A recorded value is of a class that this process does not know."""

    code = "WAL-E302"


class ThreadProblem(WalgraphError):
    """One thread cannot be used as asked."""


class ThreadBusy(ThreadProblem):
    """Another run owns the thread; this one left no trace."""

    code = "WAL-E401"


class StaleWriter(ThreadProblem):
    """Another run took the thread over; nothing of this append was recorded."""

    code = "WAL-E402"


class ThreadNotFound(ThreadProblem, KeyError):
    """The log holds no thread of that name."""

    code = "WAL-E404"

    __str__ = WalgraphError.__str__


class RunConflict(ThreadProblem, ValueError):
    """Another run was handed over under the same id; nothing was changed."""

    code = "WAL-E411"


class RunNotFound(ThreadProblem, KeyError):
    """No run of that id was handed over to the log, or it was forgotten."""

    code = "WAL-E412"

    __str__ = WalgraphError.__str__


class QueueProblem(ThreadProblem, ValueError):
    """What was said of a queue makes no sense; nothing was changed."""

    code = "WAL-E413"


class ScheduleProblem(ThreadProblem, ValueError):
    """What was said of a schedule makes no sense, or it would never fire; nothing was changed."""

    code = "WAL-E414"


class ScheduleConflict(ThreadProblem, ValueError):
    """There is a schedule of that name that says something else; nothing was changed."""

    code = "WAL-E415"


class ScheduleNotFound(ThreadProblem, KeyError):
    """The log has no schedule of that name."""

    code = "WAL-E416"

    __str__ = WalgraphError.__str__


class ThreadDeleted(ThreadProblem):
    """A signal was sent to a thread that was deleted; nothing was recorded."""

    code = "WAL-E403"
