"""The contract between the log and what keeps its bytes.

    Log (codec, committer)  ──Group──►  Store.commit  ──►  a verdict per frame
                            ◄─frames──  Store.frames

A store keeps frames, the directory of threads, snapshots, blobs and mail, and changes them in atomic, durable groups.

Invariants:
1. A group holds at most one frame per thread. A frame whose thread's head is not at ``after``, or has a higher
   epoch, is answered ``Conflict`` and leaves no trace; the others of the group are written.
2. Frame, directory row, blobs and snapshots of a group become visible together; what it received waits no more.
3. When ``commit`` returns, the group is as durable as ``durability`` says. When it raises, nothing is promised:
   the commit is in doubt, and ``landed`` tells after reopening.
4. Reading holds no transaction between two values that it yields.

This module must not know which storage is used, nor what records mean.
"""

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

from .blob import Blob
from .frame import Header, Summary
from .named import NamedTuple

if TYPE_CHECKING:
    from .items import Items
    from .mail import Mail
    from .schedules import Schedules
    from .submissions import Submissions


class Durability(enum.IntEnum):
    """What an acknowledged commit survives."""

    PROCESS = 0
    """Nothing but an exception: the bytes are in this process."""
    OS = 1
    """The death of the process."""
    DISK = 2
    """Loss of power."""


class Frame(NamedTuple):
    """What one thread appends in one atomic step, before it has a position."""

    thread: str
    after: int
    last: int
    records: int
    epoch: int
    id: bytes
    body: bytes
    summary: Summary
    blobs: tuple[Blob, ...] = ()
    received: tuple[tuple[str, int], ...] = ()
    """Names and numbers of the signals that its records say were received: they wait no more."""


class Snapshot(NamedTuple):
    """A state of a thread at ``seq``, encoded."""

    thread: str
    seq: int
    data: bytes
    blobs: tuple[Blob, ...] = ()


class Group(NamedTuple):
    """What one commit writes. ``blobs`` are shared values that belong to no single frame."""

    frames: tuple[Frame, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    blobs: tuple[Blob, ...] = ()


class Committed(NamedTuple):
    """The frame was written at this position."""

    lsn: int


class Conflict(NamedTuple):
    """The thread's head was elsewhere: this is where it is, and whose epoch it carries."""

    seq: int
    epoch: int


Verdict: TypeAlias = Committed | Conflict
Mover: TypeAlias = Callable[[bytes, tuple[int, ...]], bytes]
"""Is given data, and where it stands in its thread: after and last seq of a frame, or the seq of a snapshot."""


class Row(NamedTuple):
    """What the directory holds about one thread.

    ``horizon`` is the seq of the last record that was cut off, ``anchor`` the checksum and ``anchor_lsn`` the position
    of the frame that held it, and ``base`` the seq of the snapshot that stands for what was cut. Times are nanoseconds.
    """

    number: int
    thread: str
    status: str
    graph: str
    step: int
    next: tuple[str, ...]
    due_at: int | None
    seq: int
    lsn: int
    checksum: int
    epoch: int
    frame: bytes
    created_at: int
    updated_at: int
    size: int
    frames: int
    records: int
    snapshot_seq: int
    since_bytes: int
    horizon: int
    anchor: int
    anchor_lsn: int
    base: int


class Position(NamedTuple):
    """Where the whole log stands: its last lsn, what it holds, and whether unused blobs are being swept."""

    lsn: int = 0
    frames: int = 0
    size: int = 0
    threads: int = 0
    time: int = 0
    sweep: bytes = b""


class Store(ABC):
    """Keeps a log's bytes; one instance serves all threads of a process."""

    durability: Durability
    readonly: bool = False

    @property
    @abstractmethod
    def items(self) -> "Items":
        """What stores keep beside the records."""

    @property
    @abstractmethod
    def cached(self) -> "Items":
        """What caches keep beside the records."""

    @abstractmethod
    def has_submissions(self) -> bool:
        """Tell whether a run was ever handed over."""

    @property
    @abstractmethod
    def submissions(self) -> "Submissions":
        """The runs that were handed over."""

    @property
    @abstractmethod
    def schedules(self) -> "Schedules":
        """What is to be handed over again and again."""

    @property
    @abstractmethod
    def mail(self) -> "Mail":
        """The signals that wait for threads."""

    @abstractmethod
    def due(self, before: int) -> Iterator[Row]:
        """Yield the rows of the threads that are due at or before a time, the longest overdue first."""

    @abstractmethod
    def check_due(self) -> list[str]:
        """Say where the index of what is due is not what the directory says."""

    @abstractmethod
    def commit(self, group: Group) -> list[Verdict]:
        """Write a group durably and atomically; one verdict per frame, in order."""

    @abstractmethod
    def position(self) -> Position:
        """Return where the log stands."""

    @abstractmethod
    def row(self, thread: str) -> Row | None:
        """Return the directory's row of a thread."""

    @abstractmethod
    def rows(self) -> Iterator[Row]:
        """Yield the rows of all threads in the order of their creation."""

    @abstractmethod
    def frames(
        self, thread: str, after: int = 0, upto: int | None = None, *, whole: bool = False
    ) -> Iterator[tuple[Header, bytes]]:
        """Yield checked frames that hold records with after < seq ≤ upto, oldest first.

        Args:
            thread: The thread.
            after: The last seq that is not wanted.
            upto: The last seq that is wanted; None for all.
            whole: None of these records may have been cut off; otherwise what is left of them is read.

        Raises:
            ThreadNotFound: There is no such thread.
            RecordsCompacted: They were cut off while they were read, or before, if ``whole``.
            LogCorrupt: A frame is missing or damaged.
        """

    @abstractmethod
    def since(
        self, thread: str, at: int | None = None, upto: int | None = None
    ) -> tuple[tuple[int, bytes] | None, Iterator[tuple[Header, bytes]]]:
        """Return the newest snapshot at or before ``at``, and the frames after it up to ``upto``, of one moment.

        Raises:
            ThreadNotFound: There is no such thread.
            RecordsCompacted: What lies there was cut off.
            LogCorrupt: A frame is missing or damaged, or the snapshot is that stands for what was cut off.
        """

    @abstractmethod
    def tail(self, after_lsn: int = 0) -> Iterator[tuple[Header, bytes]]:
        """Yield the frames of all threads with a greater lsn, in order, their chains unchecked."""

    @abstractmethod
    def snapshot(self, thread: str, at: int | None = None) -> tuple[int, bytes] | None:
        """Return seq and encoded state of the newest snapshot at or before ``at``."""

    @abstractmethod
    def snapshots(self, thread: str) -> list[int]:
        """Return the seqs of a thread's snapshots, oldest first."""

    @abstractmethod
    def blob(self, digest: bytes) -> bytes | None:
        """Return a blob's bytes as they lie there, unchecked."""

    @abstractmethod
    def digests(self) -> list[bytes]:
        """Return the digests of all blobs."""

    @abstractmethod
    def fence(self, thread: str) -> Row | None:
        """Raise a thread's epoch above that of any owner, durably; return the new row."""

    @abstractmethod
    def delete(self, thread: str) -> bool:
        """Remove a thread with its frames, snapshots and mail; its blobs stay until they are swept."""

    @abstractmethod
    def copy(self, source: str, target: str, change: Mover | None = None) -> Row:
        """Write a thread's frames and snapshots again under a new id, chained anew.

        Args:
            source: The thread.
            target: The new id.
            change: Makes of each encrypted body or state what it is under that id.
        """

    @abstractmethod
    def truncate(
        self, thread: str, upto: int, *, batch: int | None = None, pace: Callable[[int], None] | None = None
    ) -> int:
        """Cut off the frames whose records all lie at or before the newest snapshot ≤ ``upto``; return how many.

        Args:
            thread: The thread.
            upto: The greatest seq that may go.
            batch: How many frames one transaction removes at most, while which writers wait.
            pace: Called with that number between two transactions; may wait there.
        """

    @abstractmethod
    def begin_sweep(self) -> bytes:
        """From now on, every commit leaves a mark on the blobs that it refers to; return the sweep's token."""

    @abstractmethod
    def sweep(self, token: bytes, choose: Callable[[set[bytes]], Iterable[bytes]]) -> int:
        """Remove blobs in one transaction; ``choose`` gets the digests marked since the beginning and picks.

        Raises:
            LogInUse: Another sweep has begun since.
        """

    @abstractmethod
    def end_sweep(self, token: bytes) -> None:
        """Drop the marks."""

    @abstractmethod
    def facts(self) -> Mapping[str, object]:
        """Return what is known of the storage: sizes, format, free space."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the storage; idempotent."""
