"""Plain functions that survive: an entrypoint, its tasks, and a person who approves.

Watch for: the entrypoint runs again from its top after every kill and after every answer, and each task that is in the
log returns at once what it returned then. So the receipts are checked once, and the money is moved once. Where nobody
can type, the answer is "yes".

    python examples/approve_an_expense.py [LOG]
"""

from __future__ import annotations

import sys
import time
from typing import Any

from walgraph import Command, Log, entrypoint, idempotency_key, interrupt, task

RECEIPTS = [("train", 84.0), ("hotel", 230.0), ("lunch", 18.5), ("minibar", -1.0)]


@task
def check(what: str, amount: float) -> float:
    """Check one receipt; what is not in order counts for nothing."""
    print(f"· checking the receipt: {what}\n", end="")  # one write, since these run at the same time
    time.sleep(0.1)
    return max(amount, 0.0)


@task
def transfer(amount: float) -> str:
    """Move the money; the key is the same on every attempt, so that a bank could refuse the second."""
    print(f"· moving {amount:.2f} with the key", idempotency_key()[:8])
    time.sleep(0.1)
    return f"{amount:.2f} were paid"


with Log.open(sys.argv[1] if sys.argv[1:] else "build/approve_an_expense.log") as log:

    @entrypoint(log, durability="sync")
    def expense(receipts: list[tuple[str, float]]) -> str:
        """Check what was handed in, ask if it is much, and pay."""
        checks = [check(what, amount) for what, amount in receipts]
        total = sum(future.result() for future in checks)
        if total > 100 and interrupt(f"Pay {total:.2f}? (yes or no) ") != "yes":
            return "nothing was paid"
        return transfer(total).result()

    config: dict[str, Any] = {"configurable": {"thread_id": "expense-7"}}
    outcome = expense.invoke(RECEIPTS if log.head("expense-7") is None else None, config)
    while isinstance(outcome, dict) and "__interrupt__" in outcome:
        question = outcome["__interrupt__"][0].value
        reply = input(question) if sys.stdin.isatty() else "yes"
        outcome = expense.invoke(Command(resume=reply), config)
    print("result:", outcome)
