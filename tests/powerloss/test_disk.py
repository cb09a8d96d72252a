"""The disk that loses power: what a flush promised is there, and all else may be there, or not, or torn."""

from __future__ import annotations

import random

import pytest
from powerloss.disk import KINDS, SECTOR, Before, Disk
from powerloss.recording import CREATE, FAILED, LANDED, LINK, MKDIR, RENAME, SYNC, TRUNCATE, WRITE, Entry

FOLDER, FILE = 1, 2
OLD, NEW = b"o" * 4 * SECTOR, b"n" * 4 * SECTOR
SEEDS = range(200)


def a_disk(kind: str, *entries: Entry) -> Disk:
    """A disk with one durable file, after some calls."""
    names = {(FOLDER, "file"): FILE}
    disk = Disk(Before(FOLDER, frozenset({FOLDER}), {FILE: OLD}, names), kind)
    for entry in entries:
        disk.do(entry)
    return disk


def contents(disk: Disk, path: str = "file") -> set[bytes | None]:
    """All that may be found at a path after a loss of power."""
    return {disk.image(random.Random(seed)).get(path) for seed in SEEDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_write_is_lost_kept_or_torn_until_it_is_flushed(kind) -> None:
    """Without a flush everything between nothing and all of it may be there; after one, it is."""
    written = Entry(WRITE, FILE, 0, NEW)
    found = contents(a_disk(kind, written))
    assert {OLD, NEW} < found
    assert all(each and all(each[at : at + SECTOR] in (OLD[:SECTOR], NEW[:SECTOR]) for at in range(0, len(OLD), SECTOR))
               for each in found)  # fmt: skip
    assert contents(a_disk(kind, written, Entry(SYNC, FILE, 0, b""))) == {NEW}


def test_a_later_write_may_be_kept_while_an_earlier_one_is_lost() -> None:
    """Pending writes have no order."""
    first, second = Entry(WRITE, FILE, 0, b"1" * SECTOR), Entry(WRITE, FILE, SECTOR, b"2" * SECTOR)
    found = contents(a_disk("ordered", first, second))
    assert OLD[:SECTOR] + b"2" * SECTOR + OLD[2 * SECTOR :] in found


def test_a_write_that_landed_is_there_though_others_are_not() -> None:
    """A write through the descriptor of a synchronous file is durable by itself."""
    entries = [
        Entry(WRITE, FILE, 0, NEW),
        Entry(WRITE, FILE, 8, b"landed"),
        Entry(LANDED, FILE, 8, b""),
        Entry(TRUNCATE, FILE, 20, b""),
    ]
    found = contents(a_disk("strict", *entries))
    assert len({len(each or b"") for each in found}) == 2
    assert {(each or b"")[8:14] for each in found} == {b"landed"}


def test_what_was_pending_when_a_flush_failed_may_never_come() -> None:
    """Nor does a later flush that succeeds bring it."""
    entries = [Entry(WRITE, FILE, at * SECTOR, b"x" * SECTOR) for at in range(4)]
    found = contents(a_disk("strict", *entries, Entry(FAILED, FILE, 0, b""), Entry(SYNC, FILE, 0, b"")))
    assert len(found) == 1
    assert found != {b"x" * 4 * SECTOR}


@pytest.mark.parametrize("kind", KINDS)
def test_a_name_lasts_when_its_folder_was_flushed(kind) -> None:
    """A rename may be lost until then, whatever is flushed of the file."""
    entries = [
        Entry(MKDIR, FOLDER, 3, b"inner"),
        Entry(CREATE, 3, 4, b"new"),
        Entry(WRITE, 4, 0, NEW),
        Entry(SYNC, 4, 0, b""),
        Entry(RENAME, 3, FOLDER, b"new/file"),
    ]
    assert contents(a_disk(kind, *entries)) == {OLD, NEW}
    assert contents(a_disk(kind, *entries, Entry(SYNC, FOLDER, 0, b""))) == {NEW}


def test_a_file_with_two_names_is_one_file() -> None:
    """What is pending of it is kept or lost under both."""
    entries = [Entry(LINK, FOLDER, FILE, b"other"), Entry(SYNC, FOLDER, 0, b""), Entry(WRITE, FILE, 0, NEW)]
    disk = a_disk("strict", *entries)
    for seed in SEEDS:
        image = disk.image(random.Random(seed))
        assert image["file"] == image["other"]
