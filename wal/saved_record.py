"""What the log of a thread is made of that LangGraph itself runs.

    CheckpointPut        put: what a checkpoint is, as a change to the one that it is based on
    WritesPut            put_writes: what a task wrote, kept until its step is a checkpoint
    CheckpointsDropped   prune, delete_for_runs: checkpoints of one namespace that are no more

Such a thread holds no other records, and no other thread holds these: a thread is run by LangGraph or by walgraph.

PAYLOAD    A value as LangGraph's serialiser made it: the serialiser's tag, and bytes that mean nothing here. It is one
           piece or several, joined: bytes; the address of a large value among the log's blobs; or a stretch of an
           earlier payload, ``[number, start, stop]``. So a list that grows is written as what is new of it.

NUMBER     Payloads are numbered from 1 in the order in which the records of a thread hold them, those of a
           ``CheckpointPut`` before its ``rest``. Where a payload is due, a number stands for that earlier payload: each
           version of a channel is written once, and a write that became a channel's value is not written again.

BASE       The checkpoint of the same namespace that versions, what was seen, and values are a change to; None if the
           record says all of it. A channel whose payload is None has no value.

VERSION    On the wire a version of 32 digits, which is what ``WalSaver`` gives, is an array of one number.

This module must not know how the records are written, nor what they add up to.
"""

from typing import Any, Literal, TypeAlias

from .named import NamedTuple
from .record import Reference

Version: TypeAlias = str | int | float
Versions: TypeAlias = tuple[tuple[str, Version], ...]


class Copied(NamedTuple):
    """A stretch of an earlier payload's bytes."""

    number: int
    start: int
    stop: int


Piece: TypeAlias = bytes | Reference | Copied


class Payload(NamedTuple):
    """A value as the serialiser made it: its tag, and the pieces of its bytes."""

    type: str
    pieces: tuple[Piece, ...]


Kept: TypeAlias = Payload | int
"""A payload, or the number of an earlier one."""


class CheckpointPut(NamedTuple):
    """A checkpoint was put; one that was there under this id is replaced."""

    ns: str
    id: str
    parent: str | None
    base: str | None
    v: int
    ts: str
    versions: Versions
    seen: tuple[tuple[str, Versions], ...]
    updated: tuple[str, ...] | Literal[False] | None
    """False if the checkpoint does not say which channels were updated."""
    values: tuple[tuple[str, Kept | None], ...]
    metadata: dict[str, Any]
    rest: Kept | None = None
    """A dict of the checkpoint's keys that are not known here."""


class WritesPut(NamedTuple):
    """A task's writes were put: index, channel and value of each; one at an index below zero replaces the former."""

    ns: str
    checkpoint: str
    task: str
    path: str
    writes: tuple[tuple[int, str, Kept], ...]


class CheckpointsDropped(NamedTuple):
    """Checkpoints were dropped, with the writes that belong to them; what others lean on stays readable."""

    ns: str
    ids: tuple[str, ...]


SavedRecord: TypeAlias = CheckpointPut | WritesPut | CheckpointsDropped


SAVED_KINDS: dict[int, type[SavedRecord]] = {30: CheckpointPut, 31: WritesPut, 32: CheckpointsDropped}
"""Kind number on disk → record class; those below 30 are the kinds of ``wal.record``."""

SAVED: frozenset[type] = frozenset(SAVED_KINDS.values())
"""The classes of these records."""
