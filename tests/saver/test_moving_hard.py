"""Imports that are killed, and sources that are encrypted."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.base import CipherProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.sqlite import SqliteSaver
from saver.putting import Putter, config
from saver.stories import STORIES
from saver.test_moving import everything
from saver.test_programs import Noted
from tools_helpers import wal as call

from walgraph import Log, MemoryLog
from walgraph.tools.errors import SourceLocked
from walgraph.tools.langgraph_saver import WalSaver
from walgraph.tools.moving import move
from walgraph.tools.moving_sources import SaverSource, source_of
from walgraph.wal.progress import say_nothing
from walgraph.wal.verify import verify

KEY = "0123456789abcdef"


def filled(path: Path, serde: Any = None) -> SqliteSaver:
    """A database with a chat and a thread of many checkpoints."""
    connection = sqlite3.connect(path, check_same_thread=False)
    connection.execute("PRAGMA synchronous=OFF")
    saver = SqliteSaver(connection, serde=serde)
    STORIES["chat"](saver, Noted)
    return saver


def test_an_import_killed_at_any_instant_ends_equal(tmp_path: Path) -> None:
    """SIGKILL strikes ``wal import`` while it puts and while it compares; run again, it carries on to the same end."""
    saver = filled(tmp_path / "old.db")
    putter = Putter(saver, config("long"))
    for step in range(1500):
        putter.put({"n": step, "said": ["x" * 60] * (step % 50)}, step=step)
        saver.put_writes(putter.config, [("n", step)], f"task {step}", "~path")
    log = tmp_path / "log"
    command = [
        sys.executable,
        "-m",
        "walgraph",
        "import",
        str(log),
        "--from",
        f"sqlite:{tmp_path / 'old.db'}",
    ]
    killed = 0
    for life in range(4):
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # From when the log is there: before that, a death proves nothing. Then a little later each time.
        while running.poll() is None and not (log / "data.mdb").exists():
            time.sleep(0.005)
        try:
            running.wait(0.05 + 0.15 * life)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGKILL)
            killed += running.wait(30) == -signal.SIGKILL
    assert killed
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "1521 checkpoints" in done.stdout
    with Log.open(log, create=False) as opened:
        assert verify(opened).ok
        assert everything(WalSaver(opened)) == everything(saver)
    saver.conn.close()


def test_an_encrypted_database_is_imported_and_stays_encrypted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the key, checkpoints are equal; a second import finds all of them; nothing lies open in the log."""
    monkeypatch.setenv("LANGGRAPH_AES_KEY", KEY)
    serde = EncryptedSerializer.from_pycryptodome_aes()
    saver = filled(tmp_path / "old.db", serde)
    arguments = ["import", str(tmp_path / "log"), "--from", f"sqlite:{tmp_path / 'old.db'}"]
    done = call(*arguments)
    assert done.exit_code == 0, done.output
    assert "imported 0 of 21" in call(*arguments).stdout
    with Log.open(tmp_path / "log", create=False) as log:
        assert everything(WalSaver(log, serde=serde)) == everything(saver)
        assert not any(b"turn" in body for _, body in log.frames("t"))
    saver.conn.close()


@pytest.mark.parametrize("key", [None, "another key 4567", "short"])
def test_an_encrypted_database_without_its_key_is_refused(
    key: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key, a wrong one, and one that cannot be one: the error says what to set, and no checkpoint comes."""
    monkeypatch.setenv("LANGGRAPH_AES_KEY", KEY)
    filled(tmp_path / "old.db", EncryptedSerializer.from_pycryptodome_aes()).conn.close()
    monkeypatch.delenv("LANGGRAPH_AES_KEY")
    if key is not None:
        monkeypatch.setenv("LANGGRAPH_AES_KEY", key)
    done = call("import", str(tmp_path / "log"), "--from", f"sqlite:{tmp_path / 'old.db'}")
    assert done.exit_code not in {0, 2}
    assert "WAL-E534" in done.output
    assert "LANGGRAPH_AES_KEY" in done.output
    with Log.open(tmp_path / "log") as log:
        assert not list(log.threads())


class Rot(CipherProtocol):
    """A cipher of a user's own, whose bytes are never the same twice."""

    def __init__(self) -> None:
        self.used = 0

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        """Turn each byte by a number that stands first."""
        self.used = (self.used + 1) % 256
        return "rot", bytes([self.used, *((byte + self.used) % 256 for byte in plaintext)])

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        """Turn them back."""
        assert ciphername == "rot"
        return bytes([(byte - ciphertext[0]) % 256 for byte in ciphertext[1:]])


def test_a_cipher_of_ones_own_comes_through_its_saver(tmp_path: Path) -> None:
    """As a database it is refused, with the way that works; through the saver, checkpoints are equal."""
    serde = EncryptedSerializer(Rot())
    filled(tmp_path / "old.db", serde).conn.close()
    with MemoryLog() as log:
        source = source_of(f"sqlite:{tmp_path / 'old.db'}")
        assert source is not None
        with pytest.raises(SourceLocked, match=r"rot"):
            move(source, log, say_nothing)
        source.close()
    theirs = InMemorySaver(serde=serde)
    STORIES["chat"](theirs, Noted)
    with MemoryLog() as log:
        assert move(SaverSource(theirs), log, say_nothing).added == 21
        assert move(SaverSource(theirs), log, say_nothing).added == 0
        ours = everything(WalSaver(log, serde=serde))
        assert {place: each[:3] for place, each in ours.items()} == {
            place: each[:3] for place, each in everything(theirs).items()
        }
