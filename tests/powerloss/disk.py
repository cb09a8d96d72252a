"""A disk whose power may be lost: what it was asked to do, and what may be found on it afterwards.

    entry ──► Disk.do ──► what is durable   +   what is pending, in order
                                │                       │
                                └──────── image ◄───────┘   lost, kept or torn, as the random generator says

What a flush promised is there. Of everything else, each part may be there or not: a pending write may be lost while
a later one is kept, and may be torn at any sector of 512 bytes. After a flush that failed, a kernel may take what was
pending for written and never write it, so some of it is gone for good. For names there are two kinds of disk:

``ordered``   names change in the order of the calls, as in journals of ext4 and XFS: a prefix of the pending changes
              is kept, and flushing a file also flushes every change of names before it
``strict``    POSIX and no more: a change of names lasts only when its directory was flushed, and pending changes are
              lost one by one

Invariants:
1. An image never lacks what a flush that returned before the crash had promised.
2. Images depend on nothing but the entries, the position, and the seed.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

from powerloss.recording import (
    CREATE,
    FAILED,
    LANDED,
    LINK,
    MARK,
    MKDIR,
    RENAME,
    SYNC,
    TRUNCATE,
    UNLINK,
    WRITE,
    Entry,
)

SECTOR = 512
KINDS = ("ordered", "strict")


class Change(NamedTuple):
    """A change of a file that no flush has settled: bytes at an offset, or, without bytes, a new size."""

    offset: int
    data: bytes | None
    has_landed: bool = False
    """Whether it is durable by itself; what is pending around it may still be lost."""


class Naming(NamedTuple):
    """A pending change of names: an inode gets a name, loses one, or both."""

    old: tuple[int, str] | None
    new: tuple[int, str] | None
    inode: int
    is_folder: bool


class Before(NamedTuple):
    """A folder as it was before the first entry; all of it is durable."""

    root: int
    folders: frozenset[int]
    files: dict[int, bytes]
    names: dict[tuple[int, str], int]

    @classmethod
    def of(cls, root: Path) -> Self:
        """Read a folder."""
        paths = sorted(root.rglob("*"))
        inode = {path: path.stat().st_ino for path in [root, *paths]}
        return cls(
            inode[root],
            frozenset(inode[path] for path in inode if path.is_dir()),
            {inode[path]: path.read_bytes() for path in paths if path.is_file()},
            {(inode[path.parent], path.name): inode[path] for path in paths},
        )


class File:
    """One file: what is durable of it, and what is pending."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.pending: list[Change] = []

    def flush(self) -> None:
        """Make everything durable."""
        for change in self.pending:
            apply(self.data, change)
        self.pending.clear()

    def land(self, offset: int) -> None:
        """Make the last write, which was at ``offset``, durable by itself."""
        at = max(at for at, change in enumerate(self.pending) if change.offset == offset and change.data)
        self.pending[at] = self.pending[at]._replace(has_landed=True)

    def after(self, chance: random.Random, mood: float) -> bytes:
        """Return the file as it may be found; ``mood`` is how likely a pending change is kept."""
        data = bytearray(self.data)
        for change in self.pending:
            if change.has_landed:
                apply(data, change)
            elif change.data is not None and len(change.data) > SECTOR and chance.random() < 0.3:
                for at in range(0, len(change.data), SECTOR):
                    if chance.random() < mood:
                        apply(data, Change(change.offset + at, change.data[at : at + SECTOR]))
            elif chance.random() < mood:
                apply(data, change)
        return bytes(data)


def apply(data: bytearray, change: Change) -> None:
    """Change the content of a file."""
    if change.data is None:
        if change.offset < len(data):
            del data[change.offset :]
        else:
            data.extend(bytes(change.offset - len(data)))
        return
    if change.offset > len(data):
        data.extend(bytes(change.offset - len(data)))
    data[change.offset : change.offset + len(change.data)] = change.data


class Disk:
    """The files below one folder.

    Args:
        before: What was there at the beginning.
        kind: ``ordered`` or ``strict``.
    """

    def __init__(self, before: Before, kind: str) -> None:
        assert kind in KINDS
        self.is_ordered = kind == "ordered"
        self.root = before.root
        self.files = {inode: File(data) for inode, data in before.files.items()}
        self.folders = set(before.folders)
        self.names = dict(before.names)
        """What each name leads to, by what is durable."""
        self.now = dict(before.names)
        """What each name leads to while power is there."""
        self.pending: list[Naming] = []

    def do(self, entry: Entry) -> None:
        """Take one call."""
        kind, first, second, payload = entry
        if kind == WRITE:
            self.files[first].pending.append(Change(second, payload))
        elif kind == TRUNCATE:
            self.files[first].pending.append(Change(second, None))
        elif kind == LANDED:
            self.files[first].land(second)
        elif kind == SYNC:
            self._flush(first)
        elif kind == FAILED:
            chance = random.Random(second + len(self.files[first].data))
            pending = self.files[first].pending
            pending[:] = [change for change in pending if change.has_landed or chance.random() < 0.5]
        elif kind in {CREATE, MKDIR}:
            if kind == CREATE:
                self.files[second] = File()
            else:
                self.folders.add(second)
            self._name(Naming(None, (first, payload.decode()), second, kind == MKDIR))
        elif kind == LINK:
            self._name(Naming(None, (first, payload.decode()), second, is_folder=False))
        elif kind == RENAME:
            old, new = payload.decode().split("/")
            inode = self.now[first, old]
            self._name(Naming((first, old), (second, new), inode, inode in self.folders))
        elif kind == UNLINK:
            inode = self.now[first, payload.decode()]
            self._name(Naming((first, payload.decode()), None, inode, inode in self.folders))
        else:
            assert kind == MARK

    def image(self, chance: random.Random) -> dict[str, bytes | None]:
        """Return what may be found if power is lost now: path → content, or None for a folder."""
        mood = chance.choice([0.0, 0.15, 0.5, 0.85, 1.0])
        names = dict(self.names)
        if self.is_ordered:
            kept = self.pending[: chance.choice([0, len(self.pending), chance.randint(0, len(self.pending))])]
        else:
            kept = [change for change in self.pending if chance.random() < mood]
        for change in kept:
            rename(names, change)
        found: dict[str, bytes | None] = {}
        read: dict[int, bytes] = {}

        def content(inode: int) -> bytes:
            # A file with two names is one file, whatever became of what was written to it.
            if inode not in read:
                read[inode] = self.files[inode].after(chance, mood)
            return read[inode]

        self._walk(names, self.root, "", found, content)
        return found

    def _walk(
        self,
        names: dict[tuple[int, str], int],
        folder: int,
        prefix: str,
        found: dict[str, bytes | None],
        content: Callable[[int], bytes],
    ) -> None:
        for (parent, name), inode in sorted(names.items()):
            if parent != folder:
                continue
            path = prefix + name
            if inode in self.folders:
                found[path] = None
                self._walk(names, inode, f"{path}/", found, content)
            else:
                found[path] = content(inode)

    def _name(self, change: Naming) -> None:
        rename(self.now, change)
        self.pending.append(change)

    def _flush(self, inode: int) -> None:
        if inode in self.files:
            self.files[inode].flush()
            if not self.is_ordered:
                return
            settled = list(self.pending)
        elif self.is_ordered:
            settled = list(self.pending)
        else:
            settled = [
                change
                for change in self.pending
                if any(place is not None and place[0] == inode for place in (change.old, change.new))
            ]
        for change in settled:
            rename(self.names, change)
        self.pending = [change for change in self.pending if change not in settled]


def rename(names: dict[tuple[int, str], int], change: Naming) -> None:
    """Change names; what had the new name has it no longer."""
    if change.old is not None:
        names.pop(change.old, None)
    if change.new is not None:
        names[change.new] = change.inode


def write(image: dict[str, bytes | None], folder: Path) -> None:
    """Lay an image out in an empty folder."""
    folder.mkdir(parents=True)
    for path, data in image.items():
        place = folder / path
        if data is None:
            place.mkdir()
        else:
            place.write_bytes(data)
