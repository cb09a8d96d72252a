"""The page of the format is enough to write a reader: here is one, made from it, that imports nothing of walgraph.

``Reader`` knows LMDB, msgpack and xxHash, and what ``docs/format.md`` says. What it reads of the golden logs is
compared with what walgraph reads.
"""

from __future__ import annotations

import gzip
import hmac
import json
import re
import struct
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import pytest
import xxhash

from walgraph import KeyRing, Log
from walgraph.wal.codec import Opaque

ROOT = Path(__file__).parent.parent.parent
GOLDEN = ROOT / "tests" / "golden_logs"
HEADER = struct.Struct(">2sBBIQQQQQQ8sQQQ")
KEYS = {"acme": b"a" * 16, "old": b"o" * 32}


def listed(name: str) -> dict[str, list[str]]:
    """Return a list of the page: what each line names, and its fields."""
    page = (ROOT / "docs" / "format.md").read_text("utf-8")
    part = re.search(rf"<!-- generated: {name} -->\n(.*?)<!-- end -->", page, re.DOTALL)
    assert part is not None
    return {line[1]: line[2].split(", ") for line in re.finditer(r"^- (.*?): (.*)$", part[1], re.MULTILINE)}


class Reader:
    """Reads a log as the page says that it is written.

    Args:
        path: The log's directory.
        keys: Id → key of an encrypted log.
    """

    def __init__(self, path: Path, keys: dict[str, bytes]) -> None:
        self.keys = keys
        self.file = lmdb.open(str(path), readonly=True, lock=False, max_dbs=16)
        self.tables = {
            name: self.file.open_db(name.encode(), create=False)
            for name in ("meta", "threads", "names", "log", "snap", "blob")
        }
        self.kinds = {
            int(name.split()[0]): (name.split("`")[1], fields) for name, fields in listed("kinds").items()
        }
        self.row_fields = listed("rows")["`Row`"]
        assert self.get("meta", b"format") == b"1"

    def get(self, table: str, key: bytes) -> bytes | None:
        """Return an entry of a table."""
        with self.file.begin() as txn:
            found: bytes | None = txn.get(key, db=self.tables[table])
            return found

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of all threads."""
        with self.file.begin() as txn:
            for key, value in txn.cursor(self.tables["threads"]):
                number = int.from_bytes(key)
                assert value[:8] == xxhash.xxh3_64_digest(value[8:], seed=number)
                if number:
                    yield dict(zip(self.row_fields, msgpack.unpackb(value[8:]), strict=True))

    def threads(self) -> dict[str, dict[str, Any]]:
        """Return the rows by the threads' ids, each found by its name."""
        found = {row["thread"]: row for row in self.rows()}
        for thread, row in found.items():
            assert self.get("names", b"\x00" + thread.encode()) == row["number"].to_bytes(8)
        return found

    def records(self, thread: str) -> list[tuple[int, str, dict[str, Any]]]:
        """Return seq, kind and fields of a thread's records, oldest first, each frame's checksum checked."""
        row = self.threads()[thread]
        held = []
        lsn = row["lsn"]
        while lsn > row["anchor_lsn"]:
            data = self.get("log", lsn.to_bytes(8))
            assert data is not None
            held.append(data)
            lsn = HEADER.unpack_from(data)[8]
        seed = row["anchor"] if row["anchor_lsn"] else xxhash.xxh3_64_intdigest(thread.encode())
        found = []
        for data in reversed(held):
            magic, version, flags, records, _, number, after, last, *_, length, checksum = HEADER.unpack_from(
                data
            )
            body = data[88:]
            assert (magic, version, number, length) == (b"WG", 1, row["number"], len(body))
            assert checksum == xxhash.xxh3_64_intdigest(data[:80] + body, seed=seed)
            seed = checksum
            if flags == 1:
                body = self.unsealed(body, ["frame", thread, after, last])
            arrays = list(self.values(body))
            assert len(arrays) == records
            seq = after
            for kind, *fields in arrays:
                name, names = self.kinds[kind]
                held_fields = dict(zip(names, fields, strict=False))
                seq = held_fields["seq"] if name == "StateFolded" else seq + 1
                if seq > row["base"]:
                    found.append((seq, name, held_fields))
            assert seq == last
        return found

    def snapshots(self, thread: str) -> dict[int, Any]:
        """Return the states in a thread's snapshots by their seqs."""
        number = self.threads()[thread]["number"]
        found = {}
        with self.file.begin() as txn:
            entries = list(txn.cursor(self.tables["snap"]))
        for key, value in entries:
            if key[:8] == number.to_bytes(8):
                seq, data = int.from_bytes(key[8:]), value[8:]
                assert value[:8] == xxhash.xxh3_64_digest(data, seed=xxhash.xxh3_64_intdigest(key))
                (found[seq],) = self.values(self.unsealed(data, ["snapshot", thread, seq]))
        return found

    def blob(self, digest: bytes) -> bytes:
        """Return a large value by its digest."""
        data = self.pieces(digest)
        for key in self.keys.values():
            if not data:
                label = hmac.digest(key, b"walgraph name", "sha256")
                name = hmac.digest(label, digest, "sha256")[:16]
                data = self.pieces(name)
                if data:
                    assert data[-8:] == xxhash.xxh3_64_digest(data[:-8], seed=xxhash.xxh3_64_intdigest(name))
                    data = self.unsealed(data[:-8], ["blob", name])
        assert xxhash.xxh3_128_digest(data) == digest
        return data

    def pieces(self, name: bytes) -> bytes:
        """Return what lies under a name, joined."""
        data, number = b"", 0
        while (piece := self.get("blob", name + number.to_bytes(4))) is not None:
            data, number = data + piece, number + 1
        return data

    def unsealed(self, data: bytes, what: list[Any]) -> bytes:
        """Return encrypted data in the clear."""
        if data[:1] != b"\xc1":
            return data
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        end = 3 + data[2]
        key = self.keys[data[3:end].decode()]
        assert data[1] == 1
        assert data[end : end + 8] == hmac.digest(key, b"walgraph check", "sha256")[:8]
        nonce = end + 12 + 16 * int.from_bytes(data[end + 8 : end + 12])
        label = f"walgraph {what[0]}".encode()
        if what[0] in ("frame", "snapshot"):
            label += b"\x00" + what[1].encode()
        cipher = AESGCM(hmac.digest(key, label, "sha256"))
        return cipher.decrypt(
            data[nonce : nonce + 12], data[nonce + 12 :], data[:nonce] + msgpack.packb(what)
        )

    def values(self, data: bytes) -> Iterator[Any]:
        """Yield the values that data is a concatenation of."""
        unpacker = msgpack.Unpacker(
            ext_hook=self.extension,
            strict_map_key=False,
            unicode_errors="surrogatepass",
            max_buffer_size=1 << 30,
        )
        unpacker.feed(data)
        yield from unpacker

    def extension(self, code: int, data: bytes) -> Any:
        """Return the value of an extension, or its code and what it holds."""
        match code:
            case 1:
                return bytearray(data)
            case 2:
                return int.from_bytes(data, "big", signed=True)
            case 3:
                return Decimal(data.decode())
            case 6:
                return ("date", *struct.unpack(">HBB", data))
            case 13:
                (value,) = self.values(self.blob(data[:16]))
                return value
            case 14:
                return ("reference", data[:16])
            case 32 | 33 | 34:
                (items,) = self.values(data)
                return {32: tuple, 33: set, 34: frozenset}[code](items)
            case 35:
                (pair,) = self.values(data)
                return Fraction(*pair)
            case 51:
                (lists,) = self.values(data)
                return [item for part in lists for item in part]
            case 52:
                (dicts,) = self.values(data)
                return {key: value for part in dicts for key, value in part.items()}
            case _ if code < 32:
                return (code, data)
            case _:
                (held,) = self.values(data)
                return (code, held)


def plain(value: Any) -> Any:
    """Return what walgraph read in the form in which the reader has it."""
    import datetime

    from walgraph.wal.record import Reference

    if isinstance(value, Reference):
        return ("reference", value.digest)
    if isinstance(value, datetime.date):
        return ("date", value.year, value.month, value.day)
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, tuple):
        return tuple(plain(item) for item in value)
    return value


def same(ours: Any, theirs: Any) -> bool:
    """Tell whether both read the same; the reader rebuilds no classes, and makes no tuples of what records declare."""
    if isinstance(theirs, Opaque):
        return True
    if isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple)):
        if type(ours) is tuple and type(theirs) is not tuple:
            return False
        # Fields that came later have their defaults.
        return len(ours) <= len(theirs) and all(map(same, ours, theirs))
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in ours)
    return bool(ours == theirs)


@pytest.mark.parametrize("name", ["1", "encrypted"])
def test_a_reader_made_from_the_page_reads_what_walgraph_reads(name: str, tmp_path: Path) -> None:
    """Threads, records, values, large values and snapshots of the golden logs."""
    path = tmp_path / "log"
    path.mkdir()
    (path / "data.mdb").write_bytes(gzip.decompress((GOLDEN / name / "data.mdb.gz").read_bytes()))
    keys = KEYS if name == "encrypted" else {}
    reader = Reader(path, keys)
    seen: dict[str, Any] = {
        thread: (reader.records(thread), reader.snapshots(thread)) for thread in reader.threads()
    }
    reader.file.close()
    with Log.open(path, keys=KeyRing(KEYS) if keys else None, readonly=True) as log:
        assert list(seen) == [head.thread_id for head in log.threads()]
        for thread, (records, snapshots) in seen.items():
            real = list(log.records(thread))
            base = log.head(thread).horizon  # type: ignore[union-attr]
            real = [each for each in real if each.seq > base]
            assert [(seq, kind) for seq, kind, _ in records] == [
                (each.seq, type(each.record).__name__) for each in real
            ]
            for (_, _, fields), each in zip(records, real, strict=True):
                theirs = plain(each.record._asdict())
                assert same(fields, {field: theirs[field] for field in fields}), (fields, theirs)
            assert list(snapshots) == log.store.snapshots(thread)
    if name == "1":
        then = json.loads((GOLDEN / "1" / "seen.json").read_text())
        folded = {kind: fields for _, kind, fields in seen["folded"][0]}["StateFolded"]["state"]
        values = then["states"]["folded"]["values"]
        assert folded["scopes"][""]["values"]["names"] == values["names"]
        assert any("large " * 8000 in repr(fields) for _, _, fields in seen["done"][0])
    else:
        written = {kind: fields for _, kind, fields in seen["other"][0]}["TaskFinished"]["writes"]
        assert any("Montana Wildhack " * 2000 in str(value) for _, value in written)
