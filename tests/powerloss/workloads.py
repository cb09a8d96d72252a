"""Programs whose disk is recorded, and what they say had been acknowledged.

    python -m powerloss.workloads NAME FOLDER FSYNC [FAULT]

Each drives one graph that counts, on real threads of real logs below FOLDER. Whenever the library has promised that
something will be found again, the program puts a mark into the trace:

    made LOG             the log had been made
    step LOG THREAD N    the thread had got as far as N
    leave LOG THREAD     from here on the thread may be gone, since it is being deleted
    gone LOG THREAD      the thread had been deleted
    item LOG KEY N       the store held N at KEY

Everything a thread holds follows from how far it got, so ``examine`` can tell a wrong state from an old one.

FAULT is one of PLANTED: a mistake that was made in such code before, by others. With it, the tests must fail.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypedDict

from powerloss.recording import SYNC, WRITE

from walgraph import END, START, CompiledGraph, Log, LogError, LogStore, StateGraph
from walgraph.tools.cmd_compact import command as wal_compact
from walgraph.wal import compaction as compaction_module
from walgraph.wal import creation as creation_module
from walgraph.wal import environment
from walgraph.wal.compaction import compact, shrink

STEPS = 12
"""How far a thread counts."""
LARGE = 40_000
"""Bytes of a value that lies out of line."""


class State(TypedDict, total=False):
    """How far it got, the sum of what it counted, and a value that is large now and then."""

    n: int
    sum: int
    load: bytes


def load_of(n: int) -> bytes:
    """The load of a thread that got as far as ``n``."""
    return bytes([n]) * (LARGE if n % 4 == 3 else 50)


def values_of(n: int) -> dict[str, Any]:
    """The values of a thread that got as far as ``n``."""
    return {"n": n, "sum": n * (n + 1) // 2, "load": load_of(n)}


def mark(*words: object) -> None:
    """Put a mark into the trace, if there is one."""
    text = " ".join(map(str, words)).encode()
    function = getattr(ctypes.CDLL(None), "powerloss_mark", None)
    if function is not None:
        function(text)


def fail(kind: int, after: int, error: int) -> None:
    """Let one call of a kind fail, after so many others; kind 0: let none fail."""
    ctypes.CDLL(None).powerloss_fail(kind, ctypes.c_long(after), error, 0)


def counter(log: Log | None, told: Callable[[str, int], None] = lambda *_: None) -> CompiledGraph:
    """The graph that counts to STEPS, and tells how far it has got before each step."""

    def count(state: State, config: dict[str, Any]) -> State:
        n = state.get("n", 0)
        if n:
            told(config["configurable"]["thread_id"], n)
        return {"n": n + 1, "sum": state.get("sum", 0) + n + 1, "load": load_of(n + 1)}

    def whither(state: State) -> str:
        return END if state["n"] == STEPS else "count"

    builder = StateGraph(State)
    builder.add_node("count", count)
    builder.add_edge(START, "count").add_conditional_edges("count", whither, ["count", END])
    return builder.compile(checkpointer=log, name="counter")


def config_of(thread: str) -> dict[str, Any]:
    """The config of a thread."""
    return {"configurable": {"thread_id": thread}, "recursion_limit": 1000}


def finish(graph: CompiledGraph, thread: str, durability: str = "sync") -> dict[str, Any]:
    """Bring a thread to its end, wherever it stands, and return its values."""
    config = config_of(thread)
    state = graph.get_state(config)
    return graph.invoke({} if not state.values and not state.next else None, config, durability=durability)


def count_to_end(path: Path, threads: Sequence[str], durability: str, fsync: str) -> None:
    """Bring threads to their ends at once, and say how far they have got when that is a promise."""
    with Log.open(path, fsync=fsync) as log:
        mark("made", path.name)

        def told(thread: str, n: int) -> None:
            if durability == "async" and n % 5 == 0:
                log.flush()
                mark("step", path.name, thread, n - 1)
            if durability == "sync":
                mark("step", path.name, thread, n)

        graph = counter(log, told)

        def run(thread: str) -> None:
            finish(graph, thread, durability)
            mark("step", path.name, thread, STEPS)

        with ThreadPoolExecutor(len(threads)) as pool:
            list(pool.map(run, threads))


def creation(folder: Path, fsync: str) -> None:
    """Logs are made, one after another."""
    for number in range(5):
        path = folder / f"log-{number}"
        with Log.open(path, fsync=fsync) as log:
            mark("made", path.name)
            counter(log).update_state(config_of("t"), {"n": 1, "sum": 1, "load": load_of(1)}, as_node="count")
            mark("step", path.name, "t", 1)


def one_thread(durability: str) -> Callable[[Path, str], None]:
    """Two threads, one after the other, in one mode."""

    def workload(folder: Path, fsync: str) -> None:
        for thread in ("t0", "t1"):
            count_to_end(folder / "log", [thread], durability, fsync)

    return workload


def group(folder: Path, fsync: str) -> None:
    """Six threads at once, which share commits."""
    count_to_end(folder / "log", [f"t{number}" for number in range(6)], "sync", fsync)


def company(folder: Path, fsync: str) -> None:
    """Two processes make one log, and write to it in two modes."""
    child = os.fork()
    count_to_end(folder / "log", ["c0", "c1"] if child else ["p0", "p1"], "sync" if child else "async", fsync)
    if not child:
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0


def compaction(folder: Path, fsync: str) -> None:
    """History is cut off, online while a run is going on, and the file made smaller."""
    path = folder / "log"
    count_to_end(path, ["t0", "t1"], "sync", fsync)
    with Log.open(path, fsync=fsync) as log:
        store = LogStore(log)
        pool = ThreadPoolExecutor(1)
        running = pool.submit(count_to_end, path, ["t2"], "sync", fsync)
        for number in range(8):
            store.put(("a",), "k", {"n": number})
            mark("item", path.name, "k", number)
        wal_compact.main([str(path), "--apply", "--app", "powerloss.workloads:APP"], standalone_mode=False)
        running.result()
        pool.shutdown()
        log.copy_thread("t1", "copy")
        mark("step", path.name, "copy", STEPS)
        mark("leave", path.name, "t0")
        log.delete_thread("t0")
        mark("gone", path.name, "t0")
        compact(log)
    shrink(path)
    count_to_end(path, ["t3"], "sync", fsync)


APP = counter(None)
"""The graph, for the command line."""


def recovery(folder: Path, fsync: str) -> None:
    """Threads are carried on from whatever a crash left, and one more is begun."""
    for path in sorted(folder.iterdir()):
        if ".new-" not in path.name:
            with Log.open(path, fsync=fsync) as log:
                threads = [head.thread_id for head in log.threads()]
            if threads:
                count_to_end(path, threads[:2], "sync", fsync)
    count_to_end(folder / "log", ["late"], "async", fsync)


def failing(folder: Path, fsync: str) -> None:
    """Flushes and writes fail, one after another; each time the log is opened again and the thread carried on."""
    path = folder / "log"
    Log.open(path, fsync=fsync).close()
    mark("made", path.name)
    faults = [(SYNC, errno.EIO), (WRITE, errno.EIO), (WRITE, errno.ENOSPC)]
    for number, (kind, error) in enumerate(faults * 4):
        thread = f"t{number}"
        fail(kind, number, error)
        try:
            count_to_end(path, [thread], "sync", fsync)
            raise AssertionError(f"fault {number} was not met")
        except LogError:
            fail(0, 0, 0)
        count_to_end(path, [thread], "sync", fsync)


WORKLOADS: dict[str, Callable[[Path, str], None]] = {
    "creation": creation,
    "sync": one_thread("sync"),
    "async": one_thread("async"),
    "exit": one_thread("exit"),
    "group": group,
    "company": company,
    "compaction": compaction,
    "failing": failing,
    "recovery": recovery,
}


def in_place() -> None:
    """Make logs where they are to be, not beside it."""

    def create(path: str) -> None:
        Path(path).mkdir(parents=True, exist_ok=True)
        Path(path, "LOCK").touch()
        creation_module._fill(Path(path))

    environment.create_log = create


def unflushed_folders() -> None:
    """Forget that a rename lasts only when its folder was flushed."""
    creation_module.sync_directory = compaction_module.sync_directory = lambda _: None


PLANTED: dict[str, Callable[[], None]] = {
    "in place": in_place,
    "unflushed folders": unflushed_folders,
}

if __name__ == "__main__":
    for fault in sys.argv[4:]:
        PLANTED[fault]()
    WORKLOADS[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
