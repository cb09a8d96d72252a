"""What keeping a large log costs: verify, compact, backup, restore, export and import of a log of N records.

    python bench/large_log.py 1_000_000 /somewhere/with/room

A graph with a list that grows runs once; what it recorded becomes N records: threads of 102 records each, and the last
of them made of a hundred such runs. Each verb is a process of its own, whose time on the processor, time on the wall
and peak memory are told; the memory of the file that LMDB maps is shared with the system and not counted.
"""

from __future__ import annotations

import json
import operator
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Annotated, TypedDict

from walgraph import START, Log, MemoryLog, StateGraph
from walgraph.wal.frame import Summary
from walgraph.wal.store import Frame, Group

STEPS = 32
GROUP = 2_000
PAUSE_SECONDS = 0.05


class State(TypedDict):
    """A number, and a list that grows."""

    n: int
    trail: Annotated[list[str], operator.add]


def more(state: State) -> dict:
    """Write to both channels, and go round."""
    return {"n": state["n"] + 1, "trail": [f"step {state['n']} of a run that is as long as it is"]}


def template() -> tuple[list[Frame], tuple]:
    """Run the graph once; return its frames and the large values that they name."""
    log = MemoryLog()
    graph = StateGraph(State).add_node(more).add_edge(START, "more")
    graph.add_conditional_edges("more", lambda state: "more" if state["n"] < STEPS else "__end__")
    config = {"configurable": {"thread_id": "template"}, "recursion_limit": STEPS + 5}
    graph.compile(log, name="large").invoke({"n": 0}, config, durability="sync")
    head = log.head("template")
    frames = [
        Frame(
            "", header.after, header.last, header.records, 1, b"", body, Summary("done", "large", head.step)
        )
        for header, body in log.frames("template")
    ]
    return frames, tuple((digest, log.store.blob(digest)) for digest in log.store.digests())


def fill(path: Path, records: int) -> None:
    """Write the log."""
    from walgraph.wal.blob import Blob

    frames, blobs = template()
    each = sum(frame.records for frame in frames)
    with Log.open(path, fsync="off") as log:
        log.store.commit(Group(blobs=tuple(Blob(*blob) for blob in blobs)))
        written = number = 0
        while written < records:
            threads = [f"run-{number + count:08d}" for count in range(GROUP)]
            threads = threads[: -(-(records - written) // each)]
            for frame in frames:
                group = [frame._replace(thread=thread, id=os.urandom(8)) for thread in threads]
                log.store.commit(Group(tuple(group)))
            number += len(threads)
            written += each * len(threads)


def measured(name: str, *words: object) -> dict:
    """Run ``wal`` and return what it cost."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "walgraph", *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    peak = [0]
    watch = threading.Thread(target=_watch, args=(process, peak))
    watch.start()
    said = process.stdout.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    watch.join()
    assert process.returncode == 0, said[-2000:]
    return {
        "verb": name,
        "cpu": round(usage.ru_utime + usage.ru_stime, 1),
        "wall": round(time.perf_counter() - begin, 1),
        "peak_mib": peak[0] >> 10,
    }


def _watch(process: subprocess.Popen, peak: list[int]) -> None:
    """Note the most memory of its own that a process has; pages of mapped files belong to the system."""
    while process.returncode is None:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text("ascii").splitlines()
        except OSError:
            return
        held = [int(line.split()[1]) for line in lines if line.startswith("RssAnon:")]
        peak[0] = max(peak[0], *held, 0)
        if not held:
            return
        time.sleep(PAUSE_SECONDS)


def main() -> None:
    """Make the log, run the verbs, print a table."""
    records, place = int(sys.argv[1]), Path(sys.argv[2])
    place.mkdir(parents=True)
    log = place / "log"
    begin = time.perf_counter()
    fill(log, records)
    size = (log / "data.mdb").stat().st_size
    print(f"{records} records, {size >> 20} MiB, made in {time.perf_counter() - begin:.0f} s", flush=True)
    verbs = [
        ("stats", "stats", log, "--json"),
        ("verify", "verify", log),
        ("backup, first", "backup", log, place / "backups"),
        ("backup, again", "backup", log, place / "backups"),
        ("restore", "restore", place / "backups", place / "restored"),
        ("export", "export", log, "-o", place / "log.jsonl"),
        ("import", "import", place / "imported", "--from", place / "log.jsonl"),
        ("compact, plan", "compact", log, "--json"),
        ("compact", "compact", log, "--apply", "--json"),
        ("compact --shrink", "compact", log, "--shrink", "--apply"),
        ("verify, compacted", "verify", log),
    ]
    for verb in verbs:
        print(json.dumps(measured(*verb)), flush=True)
        for spent in ("restored", "imported"):
            shutil.rmtree(place / spent, ignore_errors=True)
    shutil.rmtree(place)


if __name__ == "__main__":
    main()
