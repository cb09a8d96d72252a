"""Move money through a bank in another process, die in the middle of a transfer, and move nothing twice.

Watch for: the first run kills itself when the bank has moved the money and before anybody wrote that down. The second
run finds that the transfer had begun, asks the bank what became of it, and goes on. Our own books are kept by
transactional tasks: the line and the fact that it was written are one commit.

    python examples/transfer_money.py [LOG]        # twice; then: wal effects LOG
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from pathlib import Path

from bank import Bank

from walgraph import (
    RUN_AGAIN,
    CompiledGraph,
    EffectCall,
    Log,
    entrypoint,
    idempotency_key,
    task,
    transactional,
)

ORDERS = [("ada", "bob", 20), ("bob", "eve", 30), ("eve", "ada", 40)]


def settling(log: Log, bank: Bank, books: Path, *, dies_at: int = 0) -> CompiledGraph:
    """Return an entrypoint that pays a list of orders and keeps books of it."""

    def ask_the_bank(key: str, call: EffectCall) -> object:
        """Say what became of a transfer that had begun in a life before."""
        receipt = bank.happened(key)
        print(f"· asking the bank about {call.name}{call.args}: it happened: {receipt is not None}")
        return RUN_AGAIN if receipt is None else receipt

    @task(effect="at_most_once", reconcile=ask_the_bank)
    def transfer(source: str, target: str, amount: int) -> str:
        """Tell the bank to pay."""
        print(f"· moving {amount} from {source} to {target}")
        receipt = bank.pay(idempotency_key(), source, target, amount)
        if amount == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return receipt

    @transactional(lambda: sqlite3.connect(books, timeout=30))
    def write_down(connection: sqlite3.Connection, receipt: str) -> int:
        """Add a line to our books."""
        connection.execute("CREATE TABLE IF NOT EXISTS lines (number INTEGER PRIMARY KEY, receipt TEXT)")
        number = connection.execute("INSERT INTO lines (receipt) VALUES (?)", (receipt,)).lastrowid
        print(f"· writing line {number}: {receipt}")
        return number or 0

    @entrypoint(log, name="settle")
    def settle(orders: list[tuple[str, str, int]]) -> list[str]:
        """Pay each order, and write it down."""
        lines = []
        for order in orders:
            receipt = transfer(*order).result()
            lines.append(f"{write_down(receipt).result()}: {receipt}")
        return lines

    return settle


def main(path: Path) -> None:
    """Settle the orders; die the first time."""
    with Log.open(path) as log:
        is_new = log.head("monday") is None
        bank = Bank(path.with_name(f"{path.name}.bank"))
        settle = settling(log, bank, path.with_name(f"{path.name}.books"), dies_at=30 if is_new else 0)
        lines = settle.invoke(ORDERS if is_new else None, {"configurable": {"thread_id": "monday"}})
        print("result:", *lines, sep="\n  ")
        balances = bank.balances()
        print("  the bank:", ", ".join(f"{name} {amount}" for name, amount in sorted(balances.items())))


if __name__ == "__main__":
    main(Path(sys.argv[1] if sys.argv[1:] else "build/transfer_money.log"))
