"""Makes the golden log of the present format: ``python tests/golden_logs/make.py``. It never overwrites one.

A golden log is the file of a log as a walgraph of that format wrote it, and beside it what was seen in it then. It is
never made again: each later walgraph must open it and see the same.
"""

from __future__ import annotations

import contextlib
import datetime
import gzip
import json
import operator
import sys
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, TypedDict

from click.testing import CliRunner

from walgraph import START, Log, LogStore, Send, StateGraph, entrypoint, interrupt, task
from walgraph.tools.cli import cli
from walgraph.wal.creation import FORMAT

HERE = Path(__file__).parent
THREADS = ("done", "folded", "asking", "failed", "branch", "compacted", "tasks", "nested")


class State(TypedDict, total=False):
    """A value, a list that grows, and anything."""

    x: int
    names: Annotated[list[Any], operator.add]
    any: Any


def one(state: State) -> dict:
    """Write to all channels; a large value too, if told."""
    odd = (Decimal("1.10"), datetime.date(2026, 1, 2), {1, 2}, {(1, 2): b"\x00"}, 2**70)
    return {"x": 1, "names": ["one"], "any": {"odd": odd, "large": "large " * 8000 * (state["x"] == 7)}}


def two(state: State) -> dict:
    """Count up."""
    return {"x": state["x"] + 1, "names": ["two"]}


def ask(state: State) -> dict:
    """Ask, and note the answer."""
    return {"names": [interrupt({"question": "name?"})]}


def boom(state: State) -> dict:
    """Fail."""
    raise ValueError("no luck")


def spread(state: State) -> list[Send]:
    """Send to one node three times."""
    return [Send("note", {"x": number}) for number in range(3)]


def note(state: State) -> dict:
    """Note what was sent."""
    return {"names": [state["x"]]}


def config(thread: str) -> dict:
    """Return the config of a thread."""
    return {"configurable": {"thread_id": thread}}


def chain(*nodes: Any) -> StateGraph:
    """Return a graph of nodes that follow one another."""
    return StateGraph(State).add_sequence(list(nodes)).add_edge(START, nodes[0].__name__)


def fill(path: Path) -> None:
    """Write a log with a bit of everything."""
    with Log.open(path) as log:
        pair = chain(one, two).compile(log, name="pair")
        pair.invoke({"x": 7}, config("done"), durability="sync")
        pair.invoke({"x": 0}, config("folded"), durability="exit")
        chain(one, ask, two).compile(log, name="asking").invoke({"x": 0}, config("asking"))
        with contextlib.suppress(ValueError):
            chain(one, boom).compile(log, name="failing").invoke({"x": 0}, config("failed"))
        pair.invoke({"x": 0}, config("branch"))
        past = list(pair.get_state_history(config("branch")))[1]
        pair.update_state(past.config, {"names": ["edited"]})
        fan = StateGraph(State).add_node(note).add_conditional_edges(START, spread, ["note"])
        fan.compile(log, name="fan").invoke({"x": 0}, config("compacted"))
        outer = chain(one).add_node("inner", chain(two, ask).compile()).add_edge("one", "inner")
        outer.compile(log, name="outer").invoke({"x": 0}, config("nested"))

        @task
        def double(number: int) -> int:
            return number * 2

        @entrypoint(log)
        def tasks(number: int) -> int:
            return sum(double(each).result() for each in range(number))

        tasks.invoke(4, config("tasks"))
        store = LogStore(log)
        store.put(("users", "ada"), "born", {"year": 1815})
        store.put(("users", "bob"), "born", {"year": 1916})
        log.signal("asking", "paid", {"amount": 3})
    wal("compact", path, "--thread", "compacted", "--apply")


def wal(*words: Any) -> dict:
    """Call ``wal … --json``."""
    result = CliRunner().invoke(cli, [*map(str, words), "--json"], env={"WALGRAPH_LOG": None})
    assert result.exit_code == 0, result.output
    shape: dict = json.loads(result.stdout)
    return shape


def seen(path: Path) -> dict:
    """Return what is seen in a log: threads, what they add up to, records, items."""
    return {
        "threads": wal("threads", path)["threads"],
        "states": {thread: wal("state", path, thread) for thread in THREADS},
        "records": {
            thread: [
                {name: record[name] for name in ("seq", "kind", "scope", "step", "task", "what")}
                for record in wal("inspect", path, thread)["records"]
            ]
            for thread in THREADS
        },
        "items": wal("store", path, "users")["items"],
    }


def main() -> None:
    """Make the golden log of the present format, unless it is there."""
    place = HERE / str(FORMAT)
    if place.exists():
        sys.exit(f"{place} is there, and is kept as it is.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "log")
        fill(path)
        wal("compact", path, "--shrink", "--apply")
        place.mkdir()
        (place / "data.mdb.gz").write_bytes(gzip.compress((path / "data.mdb").read_bytes(), mtime=0))
        (place / "seen.json").write_text(json.dumps(seen(path), indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
