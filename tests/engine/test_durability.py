"""What each durability keeps, seen from a graph (G1, G4, G8; D of the map)."""

from __future__ import annotations

import pytest
from helpers import THREAD, Way, drawn, killed, leaves, on, steps_of

from walgraph import Log, MemoryLog

MODES = ["sync", "async", "exit"]

PROGRAM = """
    import os, signal
    from helpers import *
    from walgraph import *

    def b(state):
        print(log.head("t").seq if log.head("t") else 0, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

    log = Log.open({path!r}, flush_interval=60)
    drawn(Way({way!r}), leaves("a"), b, edges=">a a>b").compile(log).invoke({{"x": 1}}, THREAD, durability={mode!r})
"""


def survivor(path):
    """Return the log that a killed process left, and the graph with nodes that work."""
    log = Log.open(path, strict=True)
    return log, drawn(Way("sync"), leaves("a"), leaves("b"), edges=">a a>b").compile(log)


def test_sync_has_recorded_everything_before_the_next_node_runs(tmp_path) -> None:
    """G1, G4, G8: killed in the second node, the first is not run again."""
    path = str(tmp_path / "log.wal")
    killed(PROGRAM.format(path=path, way="sync", mode="sync"))
    log, graph = survivor(path)
    with log:
        assert log.head("t").status == "crashed"
        assert graph.get_state(THREAD).next == ("b",)
        assert graph.get_state(THREAD).values == {"trail": ["a"], "x": 1}
        assert graph.invoke(None, THREAD) == {"trail": ["a", "b"], "x": 1}


def test_exit_has_recorded_nothing_when_it_is_killed(tmp_path) -> None:
    """G8, D-13: the thread is not known."""
    path = str(tmp_path / "log.wal")
    killed(PROGRAM.format(path=path, way="sync", mode="exit"))
    log, graph = survivor(path)
    with log:
        assert log.head("t") is None
        assert graph.get_state(THREAD).values == {}


def test_async_loses_no_more_than_its_window(tmp_path) -> None:
    """G8: what the flusher had not written is lost, and what is there is a beginning of the run."""
    path = str(tmp_path / "log.wal")
    killed(PROGRAM.format(path=path, way="sync", mode="async"))
    log, graph = survivor(path)
    with log:
        shown = graph.get_state(THREAD)
        assert shown.next in {(), ("__start__",), ("a",), ("b",)}
        assert graph.invoke({"trail": ["again"]}, THREAD)["trail"][-2:] == ["a", "b"]


@pytest.mark.parametrize("mode", MODES)
def test_a_call_that_returns_has_flushed(way, tmp_path, mode) -> None:
    """Decided: whatever the mode, after the call everything is on disk."""
    path = tmp_path / "log.wal"
    with Log.open(path, strict=True, flush_interval=60) as log:
        way.invoke(drawn(way, leaves("a"), edges=">a").compile(log), {}, durability=mode)
        assert log.durable_lsn >= 1
        assert log.head("t").status == "done"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("ending", ["failed", "parked", "done"])
def test_state_is_the_same_in_every_mode(way, tmp_path, mode, ending) -> None:
    """G8: an exception or a stop loses nothing, ``exit`` included."""

    def b(state):
        if ending == "failed":
            raise ValueError(ending)
        return {"trail": ["b"]}

    stop = ["b"] if ending == "parked" else None
    with Log.open(tmp_path / "log.wal", strict=True) as log:
        graph = drawn(way, leaves("a"), b, leaves("s"), edges=">a a>b,s").compile(log, interrupt_before=stop)
        if ending == "failed":
            with pytest.raises(ValueError, match=ending):
                way.invoke(graph, {"x": 1}, durability=mode)
        else:
            way.invoke(graph, {"x": 1}, durability=mode)
        shown = graph.get_state(THREAD)
    expected = {
        "failed": ({"trail": ["a", "s"], "x": 1}, ("b",)),
        "parked": ({"trail": ["a"], "x": 1}, ("b", "s")),
        "done": ({"trail": ["a", "b", "s"], "x": 1}, ()),
    }
    assert (shown.values, shown.next) == expected[ending]


def test_exit_writes_in_one_frame(way) -> None:
    """G8: nothing until the run ends, then one commit."""
    log = MemoryLog(strict=True)
    seen = []

    def look(state):
        seen.append(log.head("t"))

    way.invoke(drawn(way, leaves("a"), look, edges=">a a>look").compile(log), {}, durability="exit")
    assert seen == [None]
    assert "StateFolded" in steps_of(log)


def test_a_compiled_durability_is_the_default_of_calls(way, log) -> None:
    """§6: and a call's own counts more."""
    graph = drawn(way, leaves("a"), edges=">a").compile(log, durability="exit")
    way.invoke(graph, {}, on("one"))
    way.invoke(graph, {}, on("two"), durability="sync")
    assert len(list(graph.get_state_history(on("one")))) == 1
    assert len(list(graph.get_state_history(on("two")))) == 3


def test_an_unknown_durability_is_refused(way, log) -> None:
    """§6: LangGraph takes any word for async."""
    builder = drawn(way, leaves("a"), edges=">a")
    with pytest.raises(ValueError, match="unknown durability 'zzz'; there are sync, async, exit"):
        builder.compile(log, durability="zzz")
    with pytest.raises(ValueError, match="unknown durability 'zzz'"):
        way.invoke(builder.compile(log), {}, durability="zzz")
    assert log.head("t") is None


def test_durability_without_a_log_is_harmless(way) -> None:
    """K-2: there is nothing to keep."""
    assert way.invoke(drawn(way, leaves("a"), edges=">a").compile(), {}, durability="sync") == {
        "trail": ["a"]
    }


@pytest.mark.parametrize("mode", MODES)
def test_a_consumer_that_leaves_loses_nothing(tmp_path, mode) -> None:
    """D-7: what was done before it left is kept, and the thread can be taken up."""
    with Log.open(tmp_path / "log.wal", strict=True) as log:
        graph = drawn(Way("sync"), leaves("a"), leaves("b"), edges=">a a>b").compile(log)
        stream = graph.stream({}, THREAD, durability=mode)
        assert next(stream) == {"a": {"trail": ["a"]}}
        stream.close()
        assert graph.get_state(THREAD).values == {"trail": ["a"]}
        assert graph.invoke(None, THREAD) == {"trail": ["a", "b"]}


def test_under_sync_an_update_is_shown_once_it_is_durable(tmp_path) -> None:
    """Decided: what a consumer saw is never taken back."""
    with Log.open(tmp_path / "log.wal", flush_interval=60) as log:
        graph = drawn(Way("sync"), leaves("a"), leaves("b"), edges=">a a>b").compile(log)
        for _ in graph.stream({}, THREAD, durability="sync"):
            assert log.durable_lsn >= len(list(log.frames("t")))
