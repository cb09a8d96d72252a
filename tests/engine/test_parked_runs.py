"""Runs that end their process again and again: parked with the reason, and released by a person."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from helpers import THREAD, chain, killed, leaves
from worker_helpers import (
    KILLS_ITSELF,
    life,
    named_dies,
)

from walgraph import (
    Log,
    RunHandle,
    RunParked,
    recover,
    submit,
)

POISON = """
import os, signal, sys
from helpers import chain, leaves
from walgraph import Log, Worker

def dies(state):
    os.kill(os.getpid(), signal.SIGKILL)

with Log.open(sys.argv[1]) as log:
    graph = chain(leaves("a"), dies).compile(log, name="chain")
    worker = Worker(log, graph, attempts=2, durability=sys.argv[2], on_end=lambda carried: worker.stop())
    worker.run()
"""


def test_a_run_that_keeps_killing_its_process_is_parked(tmp_path: Path, durability: str) -> None:
    """After two lives that got nowhere a third worker parks it and says why; a person can release it, in every mode."""
    path = tmp_path / "log.wal"
    with Log.open(path) as log:
        graph = chain(leaves("a"), named_dies(leaves("mended"))).compile(log, name="chain")
        handle = submit(graph, {"trail": []}, "t")
    deaths = 0
    while life(POISON, path, durability) == -signal.SIGKILL:
        deaths += 1
        assert deaths < 8
    # The first start, and two times that it was taken over; in ``sync`` and ``async`` the first life may get on.
    assert 3 <= deaths <= 4
    with Log.open(path) as log:
        handle = RunHandle(log, handle.run_id)
        assert handle.status() == "parked"
        with pytest.raises(RunParked, match="taken over 2 times"):
            handle.result()
        if (head := log.head("t")) is not None:
            assert head.status == "parked"
        assert recover(log, graph) == []
        graph = chain(leaves("a"), named_dies(leaves("mended"))).compile(log, name="chain")
        (carried,) = recover(log, graph, threads=["t"])
        assert carried.how == "done"
        assert handle.result(0) == {"trail": ["a", "mended"]}


def test_a_thread_of_invoke_that_keeps_killing_is_parked_too(tmp_path: Path) -> None:
    """What nobody handed over is counted in the same way, and ``invoke(None)`` releases it."""
    path = tmp_path / "log.wal"
    killed(KILLS_ITSELF, path)
    program = """
    import os, signal, sys
    from helpers import chain, leaves
    from walgraph import Log, recover

    def dies(state):
        os.kill(os.getpid(), signal.SIGKILL)

    with Log.open(sys.argv[1]) as log:
        told = recover(log, chain(leaves("a"), dies, leaves("b")).compile(log, name="chain"), attempts=2)
        assert [(each.how, each.thread_id) for each in told] == [("parked", "t")], told
        assert "taken over 2 times" in told[0].reason
    """
    assert [life(program, path) for _ in range(3)] == [-signal.SIGKILL, -signal.SIGKILL, 0]
    with Log.open(path) as log:
        assert [head.thread_id for head in log.threads(status="parked")] == ["t"]
        graph = chain(leaves("a"), named_dies(leaves("dies")), leaves("b")).compile(log, name="chain")
        assert graph.invoke(None, THREAD) == {"trail": ["a", "dies", "b"]}


def test_a_run_that_gets_on_is_never_parked(tmp_path: Path) -> None:
    """A run that dies at each of its steps, but gets one step further each time, comes to its end."""
    path = tmp_path / "log.wal"
    program = """
    import os, signal, sys, pathlib
    from helpers import chain, leaves
    from walgraph import Log, Worker

    def once(name):
        def node(state):
            mark = pathlib.Path(sys.argv[1] + name)
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return {"trail": [name]}
        node.__name__ = name
        return node

    with Log.open(sys.argv[1]) as log:
        graph = chain(*map(once, "abc")).compile(log, name="chain")
        worker = Worker(log, graph, attempts=1, durability="sync", on_end=lambda carried: worker.stop())
        worker.run()
    """
    with Log.open(path) as log:
        handle = submit(chain(*map(leaves, "abc")).compile(log, name="chain"), {"trail": []}, "t")
    lives = [life(program, path) for _ in range(4)]
    assert lives == [-signal.SIGKILL] * 3 + [0]
    with Log.open(path) as log:
        assert RunHandle(log, handle.run_id).result(0) == {"trail": list("abc")}
