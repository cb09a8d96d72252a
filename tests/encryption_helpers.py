"""Words for the tests of encrypted logs: keys, a graph that writes secrets, and a log that is full of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tools_helpers import chain, config, one

from walgraph import CompiledGraph, KeyRing, Log, LogCache, LogStore, Worker, schedule, submit

SECRET = "Montana Wildhack "
OLD, NEW, ACME = b"o" * 32, b"n" * 32, b"a" * 16
RING = KeyRing({"acme": ACME, "old": OLD}, threads={"acme/*": "acme"})
LARGE = SECRET * 2000


def say(state: Any) -> dict[str, Any]:
    """Write a secret, small and large."""
    return {"names": [SECRET, LARGE]}


def graph_on(log: Log) -> CompiledGraph:
    """Return the graph that writes secrets."""
    return chain(one, say).compile(log, name="pair")


def fill(path: Path, ring: KeyRing = RING, **options: Any) -> None:
    """Write everything that a log can hold, for two tenants."""
    with Log.open(path, keys=ring, strict=True, **options) as log:
        graph = graph_on(log)
        for thread in ("acme/1", "other"):
            for _ in range(3):
                graph.invoke({"x": 1}, config(thread), durability="sync")
            log.signal(thread, SECRET[:3] + "go", {"text": SECRET})
        store = LogStore(log)
        store.put(("users",), "ada", {"text": SECRET})
        LogCache(log).set({(("node", "x"), "key"): ({"text": SECRET}, None)})
        with Worker(log, graph):
            submit(graph, {"x": 1, "names": [SECRET]}, "acme/run", run_id="r").result(20)
        submit(graph, {"x": 1, "names": [SECRET]}, "acme/waits", run_id="w")
        schedule("0 4 1 1 *", graph, {"x": 1, "names": [SECRET]}, name="yearly", thread_id="acme/yearly")


def values(log: Log, thread: str) -> Any:
    """Return what a thread adds up to."""
    return graph_on(log).get_state(config(thread)).values
