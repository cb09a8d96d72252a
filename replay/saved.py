"""What the log of one of LangGraph's threads adds up to: its checkpoints, and what its tasks wrote.

    CheckpointPut ───────┐                 ┌─► spaces: namespace → checkpoints in the order in which they came
    WritesPut ───────────┼──► apply ───────┤             each: parent, and a change to the one that it is based on
    CheckpointsDropped ──┘                 └─► payloads: number → value (``replay.payloads``)

    snapshot ◄── to_plain ── SavedThread ── resolved(ns, id) ──► versions, what was seen, values: all of them

It is the fold of such a thread, in place, since a thread may have many thousand checkpoints and each record touches
one: the same function live and in recovery, without a clock, chance or I/O.

Invariants:
1. The state equals the fold of the records that it was made of; with a snapshot in between or without.
2. The newest checkpoint of a namespace is the one that the log holds last, whatever its id says of time.
3. Dropping a checkpoint changes nothing of what the others are.
4. What a snapshot holds stays encoded until it is asked for, and is written again as it is.

This module must not know LangGraph, nor decode what its serialiser made.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from ..wal.codec import Decoder, Encoder, Packed
from ..wal.errors import LogCorrupt
from ..wal.record import Record
from ..wal.saved_record import (
    CheckpointPut,
    CheckpointsDropped,
    SavedRecord,
    Version,
    WritesPut,
)
from ..wal.wire import FROM_WIRE, TO_WIRE
from .errors import SAVED_FORM, OtherThread
from .payloads import Payloads

DEEPEST = 64
"""How many checkpoints, at most, are based on one another before one says all of itself again."""
_REMEMBERED = 8
_ENCODER = Encoder()


class Resolved(NamedTuple):
    """All that one checkpoint says, with what it takes over from those below it. Not to be changed."""

    record: CheckpointPut
    versions: dict[str, Version]
    seen: dict[str, dict[str, Version]]
    values: dict[str, int]
    """Channel → number of its payload, for those that have a value."""
    depth: int


class Write(NamedTuple):
    """One value that a task wrote: where the task stands, the channel, and the number of the payload."""

    path: str
    channel: str
    number: int


class Entry:
    """One checkpoint as it is kept; its record holds numbers where it brought payloads."""

    __slots__ = ("parent", "record", "seq")

    def __init__(self, seq: int, parent: str | None, record: CheckpointPut | bytes) -> None:
        self.seq = seq
        self.parent = parent
        self.record = record


class Space:
    """The checkpoints of one namespace, oldest first, and the writes of their tasks."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.parents: set[str] = set()
        # Rows of a snapshot stay lists until they are asked for.
        self._writes: dict[str, dict[tuple[str, int], Write] | list[Any]] = {}

    @property
    def newest(self) -> str | None:
        """The id of the checkpoint that came last."""
        return next(reversed(self.entries), None)

    def writes(self, checkpoint: str) -> dict[tuple[str, int], Write]:
        """Return task and index → write, of one checkpoint."""
        found = self._writes.get(checkpoint)
        if isinstance(found, dict):
            return found
        if found is None:
            return {}
        rows = zip(found[0::5], found[1::5], found[2::5], found[3::5], found[4::5], strict=True)
        kept = {(task, index): Write(path, channel, number) for task, index, path, channel, number in rows}
        self._writes[checkpoint] = kept
        return kept

    def write(self, checkpoint: str, task: str, index: int, write: Write) -> None:
        """Keep a write; one at an index of zero or more is never replaced."""
        kept = self.writes(checkpoint)
        if not kept:
            kept = self._writes.setdefault(checkpoint, kept)  # type: ignore[assignment]
        if index < 0 or (task, index) not in kept:
            kept[task, index] = write

    def forget(self, ids: Iterable[str]) -> None:
        """Drop checkpoints and their writes."""
        for each in ids:
            self.entries.pop(each, None)
            self._writes.pop(each, None)
        self.parents = {entry.parent for entry in self.entries.values() if entry.parent is not None}

    def written(self) -> Iterator[str]:
        """Yield the ids of the checkpoints that have writes, those included that were never put."""
        return iter(self._writes)

    def numbers(self) -> Iterator[int]:
        """Yield the number of each payload that was written."""
        for checkpoint in self._writes:
            for write in self.writes(checkpoint).values():
                yield write.number

    def to_plain(self, ns: str) -> list[Any]:
        """Return the namespace as plain data; what is added later comes at the end of a list."""
        entries: list[Any] = []
        for own, entry in self.entries.items():
            if not isinstance(entry.record, bytes):
                entry.record = _packed(entry.record)
            entries += (own, entry.parent, entry.seq, entry.record)
        writes: list[Any] = []
        for checkpoint, kept in self._writes.items():
            rows = (
                kept
                if type(kept) is list
                else [
                    field
                    for (task, index), write in kept.items()  # type: ignore[union-attr]
                    for field in (task, index, *write)
                ]
            )
            writes += (checkpoint, rows)
        return [ns, entries, writes]

    @classmethod
    def from_plain(cls, entries: list[Any], writes: list[Any]) -> Space:
        """Return a namespace from plain data."""
        space = cls()
        columns = zip(entries[0::4], entries[1::4], entries[2::4], entries[3::4], strict=True)
        space.entries = {own: Entry(seq, parent, record) for own, parent, seq, record in columns}
        space.parents = {parent for parent in entries[1::4] if parent is not None}
        space._writes = dict(zip(writes[0::2], writes[1::2], strict=True))
        return space


class SavedThread:
    """One of LangGraph's threads, folded up to ``seq``.

    Args:
        decoder: Decodes the metadata of checkpoints.
    """

    def __init__(self, decoder: Decoder) -> None:
        self.seq = 0
        self.spaces: dict[str, Space] = {}
        self.payloads = Payloads()
        self._decoder = decoder
        self._remembered: dict[tuple[str, str], Resolved] = {}

    # Folding

    def apply(self, seq: int, record: SavedRecord | Record) -> None:
        """Take in one record.

        Raises:
            OtherThread: It is none of LangGraph's.
            LogCorrupt: It leans on what is not there.
        """
        if isinstance(record, CheckpointPut):
            self._put(seq, record)
        elif isinstance(record, WritesPut):
            self._write(record)
        elif isinstance(record, CheckpointsDropped):
            self._drop(record)
        else:
            raise other_thread(type(record).__name__)
        self.seq = seq

    def _put(self, seq: int, record: CheckpointPut) -> None:
        space = self.spaces.get(record.ns)
        if space is None:
            space = self.spaces[record.ns] = Space()
        if record.base is not None and record.base not in space.entries:
            message = f"Checkpoint {record.id!r} is based on {record.base!r}, which is not there."
            raise LogCorrupt(message, hint="Run `wal verify`.", checkpoint=record.id)
        if record.id in space.entries:
            self._stand_alone(record.ns, {record.id})
            self._remembered.pop((record.ns, record.id), None)
        number = self.payloads.number
        values = [(channel, None if kept is None else number(kept)) for channel, kept in record.values]
        rest = None if record.rest is None else number(record.rest)
        kept = record._replace(values=tuple(values), rest=rest)
        entry = space.entries.get(record.id)
        if entry is None:
            space.entries[record.id] = Entry(seq, record.parent, kept)
        else:
            entry.seq, entry.parent, entry.record = seq, record.parent, kept
            space.parents = {each.parent for each in space.entries.values() if each.parent is not None}
        if record.parent is not None:
            space.parents.add(record.parent)

    def _write(self, record: WritesPut) -> None:
        space = self.spaces.get(record.ns)
        if space is None:
            space = self.spaces[record.ns] = Space()
        for index, channel, kept in record.writes:
            write = Write(record.path, channel, self.payloads.number(kept))
            space.write(record.checkpoint, record.task, index, write)

    def _drop(self, record: CheckpointsDropped) -> None:
        space = self.spaces.get(record.ns)
        if space is None:
            return
        ids = set(record.ids)
        self._stand_alone(record.ns, ids)
        for each in ids:
            self._remembered.pop((record.ns, each), None)
        space.forget(record.ids)
        if not space.entries and not any(True for _ in space.written()):
            del self.spaces[record.ns]
        self.payloads.retain(self._numbers())

    def _stand_alone(self, ns: str, ids: set[str]) -> None:
        """Let the checkpoints that are based on these say all of themselves."""
        space = self.spaces[ns]
        for own, entry in space.entries.items():
            record = self._record(entry)
            if record.base in ids and own not in ids:
                found = self.resolved(ns, own)
                entry.record = record._replace(
                    base=None,
                    versions=tuple(found.versions.items()),
                    seen=tuple([(node, tuple(pairs.items())) for node, pairs in found.seen.items()]),
                    values=tuple(found.values.items()),
                )
                self._remembered.pop((ns, own), None)

    def _numbers(self) -> Iterator[int]:
        """Yield the number of each payload that something leads to."""
        for space in self.spaces.values():
            for entry in space.entries.values():
                record = self._record(entry)
                for kept in chain((record.rest,), [kept for _, kept in record.values]):
                    if type(kept) is int:
                        yield kept
            yield from space.numbers()

    # Reading

    def _record(self, entry: Entry) -> CheckpointPut:
        record = entry.record
        if type(record) is bytes:
            number, *fields = self._decoder.value(record)
            found = FROM_WIRE[number](*fields)
            assert isinstance(found, CheckpointPut), "an entry is of a checkpoint"
            return found
        assert type(record) is CheckpointPut, "an entry is of a checkpoint"
        return record

    def record(self, ns: str, id: str) -> CheckpointPut | None:
        """Return the record of a checkpoint, with numbers where it brought payloads; None if there is none."""
        space = self.spaces.get(ns)
        entry = None if space is None else space.entries.get(id)
        return None if entry is None else self._record(entry)

    def resolved(self, ns: str, id: str) -> Resolved:
        """Return all that a checkpoint says.

        Raises:
            KeyError: There is no such checkpoint.
        """
        known = self._remembered.get((ns, id))
        if known is not None:
            return known
        entries = self.spaces[ns].entries
        above = [self._record(entries[id])]
        found: Resolved | None = None
        while (base := above[-1].base) is not None:
            found = self._remembered.get((ns, base))
            if found is not None:
                break
            above.append(self._record(entries[base]))
        while above:
            found = _changed(found, above.pop())
        assert found is not None, "it has a record at least"
        while len(self._remembered) >= _REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[ns, id] = found
        return found

    def writes(self, ns: str, id: str) -> dict[tuple[str, int], Write]:
        """Return task and index → what was written, of one checkpoint."""
        space = self.spaces.get(ns)
        return {} if space is None else space.writes(id)

    def lineage(self, ns: str, id: str) -> Iterator[str]:
        """Yield the ids of a checkpoint's ancestors, as far as they are there, nearest first."""
        space = self.spaces.get(ns)
        seen = {id}
        current = id
        while space is not None and current in space.entries:
            parent = space.entries[current].parent
            if parent is None or parent in seen or parent not in space.entries:
                return
            seen.add(parent)
            current = parent
            yield current

    # Snapshots

    def to_plain(self) -> dict[str, Any]:
        """Return everything as plain data."""
        spaces = [space.to_plain(ns) for ns, space in self.spaces.items()]
        return {
            SAVED_FORM: 1,
            "next": self.payloads.next,
            "payloads": self.payloads.to_plain(),
            "spaces": spaces,
        }

    def packed(self) -> Packed:
        """Return everything as a snapshot."""
        return _ENCODER.value(self.to_plain())

    @classmethod
    def from_plain(cls, plain: Any, seq: int, decoder: Decoder) -> SavedThread:
        """Return a thread from plain data.

        Raises:
            OtherThread: It is the state of a thread that walgraph runs.
        """
        if not is_saved(plain):
            raise other_thread("a snapshot")
        thread = cls(decoder)
        thread.seq = seq
        thread.payloads = Payloads.from_plain(plain["payloads"], plain["next"])
        thread.spaces = {ns: Space.from_plain(entries, writes) for ns, entries, writes in plain["spaces"]}
        return thread


def is_saved(plain: Any) -> bool:
    """Return whether plain data is the state of a thread that LangGraph runs."""
    return isinstance(plain, dict) and SAVED_FORM in plain


def other_thread(what: str) -> OtherThread:
    """Return the error for a thread that walgraph runs, met where one of LangGraph's is due."""
    return OtherThread(
        f"This thread is run by walgraph, not by LangGraph: it holds {what}.",
        hint="Choose another thread_id; one thread is run by one of the two.",
    )


def _changed(below: Resolved | None, record: CheckpointPut) -> Resolved:
    """Return what a record says, given what the checkpoint says that it is based on."""
    if below is None:
        seen = {node: dict(pairs) for node, pairs in record.seen}
        values = {channel: kept for channel, kept in record.values if type(kept) is int}
        return Resolved(record, dict(record.versions), seen, values, 0)
    versions = {**below.versions, **dict(record.versions)} if record.versions else below.versions
    seen = {**below.seen, **{node: dict(pairs) for node, pairs in record.seen}} if record.seen else below.seen
    if record.values:
        values = dict(below.values)
        for channel, kept in record.values:
            if type(kept) is int:
                values[channel] = kept
            else:
                values.pop(channel, None)
    else:
        values = below.values
    return Resolved(record, versions, seen, values, below.depth + 1)


def _packed(record: CheckpointPut) -> bytes:
    return _ENCODER.value(TO_WIRE[CheckpointPut](record, []), whole=True).data
