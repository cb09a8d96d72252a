"""A bank in a process of its own, with its own books: the outside world of ``transfer_money.py``.

Watch for: it does what it is told, and twice if it is told twice. It writes down the key that comes with each payment,
and can be asked later whether the payment with that key happened; more it does for nobody.

    python examples/bank.py FOLDER       serves until nobody has called for five seconds
"""

from __future__ import annotations

import json
import socket
import socketserver
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ACCOUNTS = {"ada": 500, "bob": 500, "eve": 500}
IDLE_SECONDS = 5.0


class Bank:
    """The bank as its customers see it; it is opened for them if it is closed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def pay(self, key: str, source: str, target: str, amount: int) -> str:
        """Move money, and return a receipt."""
        return self._ask("pay", key, source, target, amount)

    def happened(self, key: str) -> str | None:
        """Return the receipt of the payment with this key, or None if there was none; there will be none later."""
        return self._ask("happened", key)

    def balances(self) -> dict[str, int]:
        """Return what is in all accounts."""
        return self._ask("balances")

    def payments(self) -> list[tuple[str, str, str, int]]:
        """Return key, source, target and amount of all payments."""
        return [tuple(payment) for payment in self._ask("payments")]

    def _ask(self, *request: Any) -> Any:
        with self._connected() as connection, connection.makefile("rw", encoding="utf-8") as line:
            line.write(json.dumps(request) + "\n")
            line.flush()
            answer = line.readline()
        if not answer:
            raise ConnectionError("the bank hung up")
        return json.loads(answer)

    def _connected(self) -> socket.socket:
        for attempt in range(500):
            try:
                return socket.create_connection(("127.0.0.1", int((self.folder / "port").read_text())), 10)
            except (OSError, ValueError):
                if attempt == 0:
                    command = [sys.executable, __file__, str(self.folder)]
                    subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
                time.sleep(0.02)
        raise ConnectionError("the bank does not open")


class Counter(socketserver.StreamRequestHandler):
    """Serves one request; the next customer waits."""

    def handle(self) -> None:
        """Do what is asked, in one transaction."""
        line = self.rfile.readline()
        if line:
            what, *given = json.loads(line)
            answer = getattr(Books, what)(*given)
            self.wfile.write(json.dumps(answer).encode() + b"\n")


class Books:
    """What the bank knows."""

    database = sqlite3.connect(":memory:")

    @classmethod
    def opened(cls, folder: Path) -> None:
        """Open the books, or begin them."""
        cls.database = sqlite3.connect(folder / "bank.db", isolation_level=None)
        with cls.database:
            cls.database.execute(
                "CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, amount INTEGER)"
            )
            cls.database.execute("CREATE TABLE IF NOT EXISTS payments (key, source, target, amount)")
            cls.database.executemany("INSERT OR IGNORE INTO accounts VALUES (?, ?)", ACCOUNTS.items())

    @classmethod
    def pay(cls, key: str, source: str, target: str, amount: int) -> str:
        """Move money."""
        cls.database.execute("BEGIN")
        for name, change in ((source, -amount), (target, amount)):
            cls.database.execute("UPDATE accounts SET amount = amount + ? WHERE name = ?", (change, name))
        cls.database.execute("INSERT INTO payments VALUES (?, ?, ?, ?)", (key, source, target, amount))
        cls.database.execute("COMMIT")
        return f"{amount} from {source} to {target}"

    @classmethod
    def happened(cls, key: str) -> str | None:
        """Look a payment up by its key."""
        found = cls.database.execute(
            "SELECT amount, source, target FROM payments WHERE key = ?", (key,)
        ).fetchone()
        return None if found is None else "{} from {} to {}".format(*found)

    @classmethod
    def balances(cls) -> dict[str, int]:
        """Read all accounts."""
        return dict(cls.database.execute("SELECT name, amount FROM accounts"))

    @classmethod
    def payments(cls) -> list[Any]:
        """Read all payments."""
        return cls.database.execute("SELECT key, source, target, amount FROM payments").fetchall()


def serve(folder: Path) -> None:
    """Serve one customer after another, in the order in which they came, until nobody comes any more."""
    folder.mkdir(parents=True, exist_ok=True)
    Books.opened(folder)
    with socketserver.TCPServer(("127.0.0.1", 0), Counter) as server:
        (folder / "port.new").write_text(str(server.server_address[1]))
        (folder / "port.new").replace(folder / "port")
        server.request_queue_size, server.timeout = 64, IDLE_SECONDS
        last = time.monotonic()
        while time.monotonic() - last < IDLE_SECONDS:
            before = time.monotonic()
            server.handle_request()
            if time.monotonic() - before < IDLE_SECONDS:
                last = time.monotonic()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
