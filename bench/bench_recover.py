"""How long until a long thread goes on? A thread is killed in its 10,001st step; a fresh process takes it up.

That process opens the log, reads the thread's state, runs the step that was under way, and ends. Its time is counted
from the end of its imports, so it holds the opening, the making of the graph and the last flush. The floor is a
fresh process that opens a raw LMDB store of the same bytes and commits one record.
"""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

from libraries import LIBRARIES, Library, config, looped

STEPS = 10_000
ROUNDS = 7
BUDGET_MS = 5


class State(TypedDict):
    """One number."""

    x: int


def graph(library: Library, saver: Any, *, dies: bool) -> Any:
    """Return a graph that counts until it is one step beyond the limit."""

    def count(state: State) -> dict[str, int]:
        if dies and state["x"] == STEPS:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"x": state["x"] + 1}

    return looped(library, saver, State, count, lambda state: state["x"] <= STEPS)


def die(library: Library, path: str) -> None:
    """Run until the kill."""
    with library.opened(Path(path)) as saver:
        graph(library, saver, dies=True).invoke({"x": 0}, config(), durability="sync")


def recover(library: Library, path: str) -> None:
    """Take the thread up, and print the seconds that it took."""
    start = time.perf_counter()
    with library.opened(Path(path)) as saver:
        compiled = graph(library, saver, dies=False)
        state = compiled.get_state(config())
        assert state.values == {"x": STEPS}
        assert state.next == ("node",)
        assert compiled.invoke(None, config(), durability="sync") == {"x": STEPS + 1}
        print(time.perf_counter() - start)


def floor(_: Library, path: str) -> None:
    """Open the same file with plain py-lmdb, commit one record, and print the seconds that it took."""
    import lmdb

    start = time.perf_counter()
    with lmdb.open(str(Path(path) / "log" / "data.mdb"), subdir=False, map_size=1 << 32, max_dbs=16) as env:
        database = env.open_db(b"floor")
        with env.begin(write=True, db=database) as transaction:
            transaction.put(b"key", b"value")
        print(time.perf_counter() - start)


def test_recover(race: Any, table: Any, tools: Any, place: Path) -> None:
    """Take up a killed thread of 10,000 steps in a fresh process."""
    program, killed = Path(__file__), place / "killed"
    tools.life(program, "die", "walgraph", str(killed), dies=True)

    def child(what: str) -> Any:
        @contextmanager
        def contender(copy: Path) -> Any:
            shutil.copytree(killed, copy)
            yield lambda: tools.Seconds(tools.life(program, what, "walgraph", str(copy)))

        return contender

    results = race({"recover": child("recover"), "floor": child("floor")}, ROUNDS, 1)
    took, least = (statistics.median(results[name].samples) * 1000 for name in ("recover", "floor"))
    title = "thread of 10,000 steps, killed"
    table.figure(
        title,
        "open + state + one step",
        f"{took:.1f} ms",
        tools.at_most(BUDGET_MS, took, " ms", goal="S10"),
        f"open a raw LMDB, one commit {least:.1f} ms",
    )


if __name__ == "__main__":
    what, name, place = sys.argv[1:]
    {"die": die, "recover": recover, "floor": floor}[what](LIBRARIES[name](), place)
