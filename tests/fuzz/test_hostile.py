"""Logs that somebody made to do harm: right checksums over wrong contents. Reading them ends in typed errors only.

    make test    some dozens of logs
    make fuzz    as many as its share of WALGRAPH_FUZZ_SECONDS allows

A log is taken apart, something in it is changed, and all checksums are made to fit again. Then a child process, which
may take 1 GiB and no more, calls every verb of ``wal`` that reads. It must end by itself, without a traceback.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lmdb
import msgpack
import pytest
import xxhash
from fuzz.shares import seconds
from tools_helpers import fill, wal

from walgraph import Log, LogStore
from walgraph.wal.frame import FIELD_BYTES, HEADER_BYTES

SECONDS = seconds("hostile")
SEED = int(os.environ.get("WALGRAPH_FUZZ_SEED", "0")) or (int(time.time()) if SECONDS else 11)
LOGS = 8
"""How many logs are made when there is no time for more."""
TABLES = ("threads", "log", "snap", "blob", "item", "mail", "submit", "names", "meta", "due")
VERBS = (
    ["verify"],
    ["threads"],
    ["stats"],
    ["tail"],
    ["inspect"],
    ["inspect", "THREAD"],
    ["state", "THREAD"],
    ["signals"],
    ["store", "users"],
    ["effects"],
    ["compact"],
    ["export", "-o", "OUT"],
    ["repair"],
    ["doctor"],
)

READER = """
import contextlib, io, os, resource, sys, traceback
resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))
from walgraph.tools.cli import cli
held = set(sys.modules)
path, out, verbs = sys.argv[1], sys.argv[2], eval(sys.argv[3])
for number, verb in enumerate(verbs):
    words = [{"THREAD": "done", "OUT": f"{out}-{number}"}.get(word, word) for word in verb]
    words.insert(1, path)
    sink = io.StringIO()
    try:
        with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            cli.main(words)
    except SystemExit as ended:
        if ended.code not in (0, 1, 3, 4, 5, 7):
            print(words, ended.code, sink.getvalue()[-2000:])
    except BaseException:
        print(words, traceback.format_exc()[-3000:])
# A module that a recorded name asked for would be here.
assert "antigravity" not in sys.modules and "this" not in sys.modules
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with a bit of everything."""
    path = tmp_path_factory.mktemp("hostile") / "log"
    fill(path)
    with Log.open(path) as log:
        LogStore(log).put(("users",), "ada", {"born": 1815})
        log.signal("asking", "go", {"n": 1})
    assert wal("compact", path, "--apply", "--thread", "folded", "--thread", "done").exit_code == 0
    return path


def odd(dice: random.Random) -> Any:
    """Return something that does not belong there."""
    plain = [
        None,
        -1,
        1 << 63,
        (1 << 64) - 1,
        0,
        "",
        "x" * 70_000,
        b"",
        b"\xc1" * 9,
        [],
        {},
        1.5,
        True,
        ["a", [1]],
    ]
    address = msgpack.ExtType(13, b"\0" * 24)
    called = [
        msgpack.ExtType(44, msgpack.packb(["antigravity:fly", {}])),
        msgpack.ExtType(47, msgpack.packb(["this:that", [], {}, ""])),
    ]
    return dice.choice([*plain, address, *called, [[]] * 3000])


def changed(value: Any, dice: random.Random) -> Any:
    """Return a value with something in it replaced, removed or doubled."""
    if isinstance(value, list) and value and dice.random() < 0.8:
        place = dice.randrange(len(value))
        kind = dice.randrange(4)
        if kind == 0:
            return value[:place]
        if kind == 1:
            return [*value, odd(dice)]
        return [changed(each, dice) if number == place else each for number, each in enumerate(value)]
    if isinstance(value, dict) and value and dice.random() < 0.8:
        key = dice.choice(list(value))
        return {**value, key: changed(value[key], dice)}
    return odd(dice)


def repacked(data: bytes, dice: random.Random) -> bytes:
    """Return encoded data with something changed, as msgpack or byte by byte."""
    try:
        unpacker = msgpack.Unpacker(
            strict_map_key=False, unicode_errors="surrogatepass", max_buffer_size=1 << 30
        )
        unpacker.feed(data)
        values = list(unpacker)
        if dice.random() < 0.8 and values:
            place = dice.randrange(len(values))
            values[place] = changed(values[place], dice)
            return b"".join(msgpack.packb(each, unicode_errors="surrogatepass") for each in values)
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException):
        pass
    spoilt = bytearray(data or b"\0")
    for _ in range(dice.randrange(1, 4)):
        spoilt[dice.randrange(len(spoilt))] = dice.randrange(256)
    return bytes(spoilt[: dice.choice([len(spoilt), dice.randrange(len(spoilt) + 1)])])


def checked(body: bytes, seed: int) -> bytes:
    """Return a row with the checksum that fits it."""
    return xxhash.xxh3_64_digest(body, seed=seed) + body


def hash_of(key: bytes) -> int:
    """Return what most checksums of rows are seeded with."""
    return xxhash.xxh3_64_intdigest(key)


def spoil(path: Path, dice: random.Random) -> str:
    """Change something in a log, mend the checksums, and say what was changed."""
    with lmdb.open(str(path), max_dbs=16, map_size=1 << 26) as file:
        with file.begin() as txn:
            there = [name for name in TABLES if txn.get(name.encode()) is not None]
        name = dice.choice(there)
        table = file.open_db(name.encode(), create=False)
        with file.begin(write=True) as txn:
            entries = list(txn.cursor(table))
            if not entries:
                return "nothing"
            key, data = dice.choice(entries)
            if name == "threads":
                data = checked(repacked(data[8:], dice), int.from_bytes(key))
            elif name == "log":
                data = _frame(txn, file, key, data, dice)
            elif name in ("snap", "mail", "submit", "item"):
                data = checked(repacked(data[8:], dice), hash_of(key))
            else:
                data = repacked(data, dice)
            if dice.random() < 0.1:
                txn.delete(key, db=table)
                key = dice.choice([key[:-1], key + b"\0", b"\xff" * 8, key[::-1]]) or b"\0"
            txn.put(key, data, db=table)
    return f"{name} {key.hex()}"


def _frame(txn: Any, file: Any, key: bytes, data: bytes, dice: random.Random) -> bytes:
    """Change a frame, and make it fit its thread's row if it is the newest one there."""
    threads = file.open_db(b"threads", txn=txn, create=False)
    header, body = bytearray(data[:FIELD_BYTES]), repacked(data[HEADER_BYTES:], dice)
    if dice.random() < 0.3:
        place = dice.randrange(4, 72)
        header[place] = dice.randrange(256)
    header[72:80] = len(body).to_bytes(8)
    number = int.from_bytes(data[16:24])
    row_data = txn.get(number.to_bytes(8), db=threads)
    row = msgpack.unpackb(row_data[8:]) if row_data else None
    previous = txn.get(data[40:48], db=file.open_db(b"log", txn=txn, create=False))
    seed = int.from_bytes(previous[80:88]) if previous else hash_of(row[1].encode()) if row else 0
    sum_ = xxhash.xxh3_64_intdigest(bytes(header) + body, seed=seed)
    if row and row[8] == int.from_bytes(key):
        row[9], row[14] = sum_, row[14] + len(body) - (len(data) - HEADER_BYTES)
        txn.put(number.to_bytes(8), checked(msgpack.packb(row), number), db=threads)
    return bytes(header) + sum_.to_bytes(8) + body


def test_reading_a_hostile_log_ends_in_typed_errors(whole: Path, tmp_path: Path) -> None:
    """No traceback, no hang, no gigabytes, and nothing imported that a name in the log asks for."""
    end, number = time.monotonic() + SECONDS, 0
    wrong = []
    while number < LOGS or time.monotonic() < end:
        dice = random.Random(SEED + number)
        path = tmp_path / f"log{number}"
        path.mkdir()
        shutil.copy(whole / "data.mdb", path)
        what = [spoil(path, dice) for _ in range(dice.choice([1, 1, 3]))]
        command = [sys.executable, "-c", READER, str(path), str(tmp_path / f"out{number}"), repr(VERBS)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode or done.stdout:
            wrong.append(
                f"seed {SEED + number}, {what}: {done.returncode}\n{done.stdout}{done.stderr[-2000:]}"
            )
        shutil.rmtree(path)
        number += 1
    print(f"{number} hostile logs from seed {SEED}")
    assert not wrong, f"{len(wrong)} of {number}:\n" + "\n".join(wrong[:20])
