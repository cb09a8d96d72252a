"""Die in the middle of a graph, and carry on.

Watch for: the first run kills its own process when the customer is about to be charged. The second run finds two nodes
in the log and does not run them again; it begins with the node that had no result. Its idempotency key is the one that
the first life had, so that a payment service could tell a second attempt from a second payment.

    python examples/crash_and_resume.py [LOG]       # twice; then: wal inspect LOG order-1042
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import TypedDict

from walgraph import START, Log, StateGraph, idempotency_key


class Order(TypedDict, total=False):
    """What the nodes share."""

    item: str
    price: float
    shelf: str
    receipt: str


def look_up_price(order: Order) -> Order:
    """Stand for a slow service."""
    print("· looking up the price of a", order["item"])
    time.sleep(0.1)
    return {"price": 41.90}


def reserve(order: Order) -> Order:
    """Stand for something that must not happen twice."""
    print("· reserving a", order["item"])
    time.sleep(0.1)
    return {"shelf": "B 12"}


def charge(order: Order) -> Order:
    """Die, the first time."""
    print("· charging", order["price"], "with the key", idempotency_key()[:8])
    if is_new:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.1)
    return {"receipt": f"{order['item']} from {order['shelf']}: {order['price']:.2f} paid"}


with Log.open(sys.argv[1] if sys.argv[1:] else "build/crash_and_resume.log") as log:
    graph = (
        StateGraph(Order)
        .add_sequence([look_up_price, reserve, charge])
        .add_edge(START, "look_up_price")
        .compile(log)
    )
    config = {"configurable": {"thread_id": "order-1042"}}
    is_new = log.head("order-1042") is None
    # An input begins a run; None carries on with the one that is there.
    done = graph.invoke({"item": "lamp"} if is_new else None, config, durability="sync")
    print("result:", done["receipt"])
