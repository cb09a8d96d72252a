"""A disk that is really full: a small file system of memory, mounted where no other process sees it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

MOUNT = 'mount -t tmpfs -o size=600k tmpfs "$1" || exit 97; shift; exec "$@"'
"""Mounts, then runs what follows; 97 says that this machine does not let us."""

RUN = """
import os, shutil, sys
from typing import TypedDict
from walgraph import END, START, Log, LogFull, StateGraph

class State(TypedDict):
    count: int
    text: str

def write(state):
    return {"count": state["count"] + 1, "text": os.urandom(3000).hex()}

path, durability = sys.argv[1] + "/log", sys.argv[2]
builder = StateGraph(State).add_node("write", write).add_edge(START, "write")
builder.add_conditional_edges("write", lambda state: "write" if state["count"] < 500 else END)
config = {"configurable": {"thread_id": "1"}, "recursion_limit": 1000}
log = Log.open(path)
graph = builder.compile(log)
graph.invoke({"count": 490, "text": ""}, config, durability="sync")
try:
    graph.invoke({"count": 0, "text": ""}, config, durability=durability)
except LogFull as error:
    print("full", error.code, "Everything recorded before is still there" in str(error))
try:
    log.close()
except LogFull:
    pass
with Log.open(path) as log:
    history = builder.compile(log).get_state_history(config)
    # How far the second run came depends on when the flusher woke, but the first one was acknowledged.
    print("kept", any(snapshot.values.get("count") == 500 for snapshot in history))
    print("threads", [head.thread_id for head in log.threads()])
"""


@pytest.mark.parametrize("durability", ["sync", "async"])
def test_a_full_disk_is_said_and_loses_nothing_that_was_recorded(durability: str, tmp_path: Path) -> None:
    """LMDB calls a write that found room for a part of it an input/output error; users are told what it is."""
    words = [sys.executable, "-c", RUN, str(tmp_path), durability]
    namespaces = ["unshare", "--user", "--map-root-user", "--mount"]
    try:
        done = subprocess.run(
            [*namespaces, "sh", "-c", MOUNT, "sh", str(tmp_path), *words],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare here to mount a small disk with")
    if done.returncode == 97 or done.stderr.startswith("unshare:"):
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()[-200:]}")
    assert done.stdout.splitlines() == ["full WAL-E104 True", "kept True", "threads ['1']"], done.stderr
