"""What a backup consists of: chunks, which hold entries of tables, and a manifest, which names the chunks.

    TARGET/manifests/0000000007.json      one backup; the number is its generation
    TARGET/chunks/0000000007/<sha256>     what that backup had to add; later ones name it again

MANIFEST   Two lines: a JSON object, and the SHA-256 of the first line in hexadecimal. Fields:

    v           1
    kind        "walgraph-backup"
    generation  counts up from 1 within a target
    store       the log's own id (table meta, key "store"), hexadecimal
    format      the log's format (table meta, key "format")
    made_at     when the backup was made, nanoseconds since 1970
    lsn, time   where the log stood: its last lsn, and its newest time in nanoseconds
    threads, frames, size     as in the log's position
    chunks      in the order of tables and keys, each: table (its name), name, entries, bytes, first and last key
                (hexadecimal), keys (XXH3-128 of all keys joined), and, of the table log, tip (the checksum of the
                last frame), of the table blob, digests (those of its blobs joined, hexadecimal)

CHUNK      b"WGCK", the number 1 (u32), then for each entry: length of the key (u32), length of the value (u64), key,
           value. Numbers are big-endian. The name of a chunk is its generation and the SHA-256 of its bytes.

RESTORING  A log is the union of the entries of all chunks of one manifest, put into the tables that they name.

Invariants:
1. A chunk is written before the manifest that names it, and never changed. A backup exists when its manifest does.
2. Chunks of a backup that was killed are named by no manifest; pruning removes them.

This module must not know where chunks are kept, nor what entries mean.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import xxhash

from .errors import BackupDamaged, FormatTooNew

VERSION = 1
KIND = "walgraph-backup"
MANIFESTS, CHUNKS = "manifests/", "chunks/"
_MAGIC = b"WGCK"
_HEAD = struct.Struct(">4sI")
_ENTRY = struct.Struct(">IQ")
HINT = "Use another generation (wal restore SOURCE lists them), and make a new backup."

Entries = Sequence[tuple[bytes, bytes]]


class Chunk(NamedTuple):
    """What a manifest says of one chunk."""

    table: str
    name: str
    entries: int
    bytes: int
    first: str
    last: str
    keys: str
    tip: str = ""
    digests: str = ""


class Manifest(NamedTuple):
    """One backup."""

    generation: int
    store: str
    format: int
    made_at: int
    lsn: int
    time: int
    threads: int
    frames: int
    size: int
    chunks: tuple[Chunk, ...]

    @property
    def bytes(self) -> int:
        """How many bytes its chunks have, those that earlier backups wrote included."""
        return sum(chunk.bytes for chunk in self.chunks)


def manifest_name(generation: int) -> str:
    """Return where a generation's manifest lies."""
    return f"{MANIFESTS}{generation:010d}.json"


def generation_of(name: str) -> int | None:
    """Return the generation whose manifest has that name; None if it is none's."""
    number = name.removeprefix(MANIFESTS).removesuffix(".json")
    is_one = name == f"{MANIFESTS}{number}.json" and len(number) == 10 and number.isdecimal()
    return int(number) if is_one else None


def pack_manifest(manifest: Manifest) -> bytes:
    """Encode a manifest."""
    chunks = [
        {name: value for name, value in chunk._asdict().items() if value != ""} for chunk in manifest.chunks
    ]
    shape = {"v": VERSION, "kind": KIND, **manifest._asdict(), "chunks": chunks}
    line = json.dumps(shape, ensure_ascii=True).encode()
    return line + b"\n" + hashlib.sha256(line).hexdigest().encode() + b"\n"


def unpack_manifest(data: bytes, name: str) -> Manifest:
    """Decode a manifest.

    Raises:
        BackupDamaged: It is not what was written.
        FormatTooNew: A newer walgraph made the backup.
    """
    line, _, rest = data.partition(b"\n")
    if hashlib.sha256(line).hexdigest().encode() != rest.strip():
        raise BackupDamaged(f"The manifest {name} is damaged.", hint=HINT, name=name)
    shape: dict[str, Any] = json.loads(line)
    version = shape["v"]
    if version > VERSION:
        message = f"The backup {name} has version {version}; this walgraph reads version {VERSION}."
        raise FormatTooNew(message, hint="Upgrade walgraph.", format=version)
    chunks = tuple(Chunk(**_known(chunk, Chunk._fields)) for chunk in shape.pop("chunks"))
    return Manifest(chunks=chunks, **_known(shape, Manifest._fields))


def _known(shape: dict[str, Any], fields: tuple[str, ...]) -> dict[str, Any]:
    """Leave out what a later walgraph added."""
    return {name: value for name, value in shape.items() if name in fields}


def pack_chunk(entries: Entries) -> bytes:
    """Encode entries."""
    parts = [_HEAD.pack(_MAGIC, VERSION)]
    for key, value in entries:
        parts += (_ENTRY.pack(len(key), len(value)), key, value)
    return b"".join(parts)


def unpack_chunk(data: bytes, chunk: Chunk) -> list[tuple[bytes, bytes]]:
    """Check a chunk against its manifest and decode it.

    Raises:
        BackupDamaged: It is not what was written.
    """
    if not is_whole(data, chunk) or data[:8] != _HEAD.pack(_MAGIC, VERSION):
        message = (
            f"The chunk {chunk.name} of the backup is damaged: its hash does not match its {len(data)} bytes."
        )
        raise BackupDamaged(message, hint=HINT, name=chunk.name)
    entries = []
    place = _HEAD.size
    while place < len(data):
        key, value = _ENTRY.unpack_from(data, place)
        place += _ENTRY.size
        entries.append((data[place : place + key], data[place + key : place + key + value]))
        place += key + value
    return entries


def is_whole(data: bytes, chunk: Chunk) -> bool:
    """Tell whether a chunk's bytes are those that its name was made of."""
    return chunk.name.rpartition("/")[2] == hashlib.sha256(data).hexdigest()


def name_chunk(generation: int, data: bytes) -> str:
    """Return where a chunk that a generation adds lies."""
    return f"{CHUNKS}{generation:010d}/{hashlib.sha256(data).hexdigest()}"


def hash_keys(keys: Iterable[bytes]) -> str:
    """Return the hash of keys, one after the other."""
    state = xxhash.xxh3_128()
    for key in keys:
        state.update(key)
    return state.hexdigest()
