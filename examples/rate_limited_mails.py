"""Fan out over customers, through a queue that lets two mails be under way, and five begin in a quarter of a second.

Watch for: each mail is a run of its own, handed over before any is sent. Kill the process and run it again: handing
over the same runs changes nothing, mails that were sent are not sent again, and the limits hold over both lives. Run it
in two terminals at once on the same log, and they share the work and the limits.

    python examples/rate_limited_mails.py [LOG]
"""

from __future__ import annotations

import sys
import time
from typing import TypedDict

from walgraph import START, Log, StateGraph, Worker, define_queue, submit

CUSTOMERS = [f"customer-{number:02}" for number in range(12)]


class Mail(TypedDict, total=False):
    """One mail, and what the mail server said."""

    customer: str
    receipt: str


def send_mail(mail: Mail) -> Mail:
    """Stand for a mail server that bans whoever sends too fast."""
    print(f"· mailing {mail['customer']}\n", end="")  # one write, since two of these run at a time
    time.sleep(0.05)
    return {"receipt": f"accepted {mail['customer']}"}


with Log.open(sys.argv[1] if sys.argv[1:] else "build/rate_limited_mails.log") as log:
    graph = StateGraph(Mail).add_node(send_mail).add_edge(START, "send_mail").compile(log, name="mail")
    define_queue(log, "mail", concurrency=2, rate=(5, 0.25))
    runs = [
        submit(graph, {"customer": name}, name, run_id=f"june/{name}", queue="mail", durability="sync")
        for name in CUSTOMERS
    ]
    with Worker(log, graph):
        receipts = [run.result()["receipt"] for run in runs]
    print("result:", len(receipts), "mails")
    for receipt in receipts:
        print(receipt)
