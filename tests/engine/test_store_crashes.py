"""Stores in logs whose processes are killed: each batch is there or is not, and each that was acknowledged is.

Real processes, real files, SIGKILL at random instants, many lives of one log.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from walgraph import Log, LogStore, SearchOp
from walgraph.wal.verify import verify

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")

LIVES = 12
WIDTH = 4
"""How many items each batch puts."""

LIFE = textwrap.dedent(
    """
    import sys, threading
    from walgraph import Log, LogStore, PutOp
    path, life, width = sys.argv[1], sys.argv[2], int(sys.argv[3])
    log = Log.open(path)
    store = LogStore(log)
    lock = threading.Lock()
    def work(name):
        for number in range(100000):
            batch = f"{life}-{name}-{number}"
            ops = [PutOp(("batches", str(part)), batch, {"batch": batch, "part": part}) for part in range(width)]
            # Each batch also removes the one before it but for every tenth, and changes one item that all share.
            if number % 10 != 1 and number:
                ops += [PutOp(("batches", str(part)), f"{life}-{name}-{number - 1}", None) for part in range(width)]
            ops.append(PutOp(("last",), name, {"life": life, "number": number}))
            store.batch(ops)
            with lock:
                print(name, number, flush=True)
    threads = [threading.Thread(target=work, args=(name,), daemon=True) for name in ("p", "q")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    """
)


def live(path: Path, life: int, seconds: float) -> dict[str, int]:
    """Let a process put batches and kill it; return the last number that each of its threads was acknowledged."""
    process = subprocess.Popen(
        [sys.executable, "-c", LIFE, os.fspath(path), str(life), str(WIDTH)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    acknowledged: dict[str, int] = {}
    try:
        name, number = process.stdout.readline().split()
        acknowledged[name] = int(number)
        time.sleep(seconds)
    finally:
        process.kill()
    for line in process.communicate()[0].splitlines(keepends=True):
        # The kill may fall into the middle of a line; half of one acknowledges nothing.
        if line.endswith("\n"):
            name, number = line.split()
            acknowledged[name] = int(number)
    return acknowledged


def test_a_batch_is_all_or_nothing_and_what_was_acknowledged_is_there(tmp_path: Path) -> None:
    """After each of many kills, in a log that is whole."""
    path = tmp_path / "log"
    randomness = random.Random(7)
    for life in range(LIVES):
        acknowledged = live(path, life, randomness.uniform(0, 0.15))
        with Log.open(path) as log:
            report = verify(log)
            assert report.ok, report.problems
            store = LogStore(log)
            parts = store.batch([SearchOp(("batches", str(part)), limit=10**6) for part in range(WIDTH)])
            batches = [[item.key for item in items] for items in parts]
            assert all(keys == batches[0] for keys in batches), "the parts of each batch are there together"
            for name, number in acknowledged.items():
                last = store.get(("last",), name)
                assert last is not None
                assert last.value["life"] == str(life)
                # One more may have been written and not been acknowledged.
                assert last.value["number"] in (number, number + 1)
                assert f"{life}-{name}-{last.value['number']}" in batches[0]
