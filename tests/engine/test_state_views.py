"""``get_state`` and ``get_state_history``: what users are shown of a thread (GS, K, R-4)."""

from __future__ import annotations

import asyncio
import datetime

import pytest
from helpers import THREAD, Trail, Way, asks, drawn, killed, leaves, on, past

from walgraph import (
    START,
    Command,
    Log,
    MissingThreadId,
    NoLog,
    PregelTask,
    Send,
    StateSnapshot,
    UnknownType,
)


def test_an_unknown_thread_is_empty(log) -> None:
    """GS-4."""
    graph = drawn_ab(log)
    config = on("nobody")
    assert graph.get_state(config) == StateSnapshot({}, (), config, None, None, None, (), ())
    assert list(graph.get_state_history(config)) == []


def drawn_ab(log, **options):
    """Return a compiled chain of two synchronous nodes."""
    return drawn(Way("sync"), leaves("a"), leaves("b"), edges=">a a>b").compile(log, **options)


def test_a_finished_thread_shows_its_values(way, log, durability) -> None:
    """GS-1, GS-4: nothing is next, no task, no interrupt."""
    graph = drawn(way, leaves("a"), edges=">a").compile(log)
    way.invoke(graph, {"x": 1}, durability=durability)
    shown = graph.get_state(THREAD)
    assert (shown.values, shown.next, shown.tasks, shown.interrupts) == ({"trail": ["a"], "x": 1}, (), (), ())
    assert shown.metadata == {"source": "loop", "step": 1, "parents": {}}
    assert set(shown.config["configurable"]) == {"thread_id", "checkpoint_ns", "checkpoint_id"}
    assert shown.config["configurable"]["checkpoint_ns"] == ""
    assert datetime.datetime.fromisoformat(shown.created_at).tzinfo is not None


def test_a_failed_step_shows_finished_siblings_and_what_is_left(way, log, durability) -> None:
    """GS-1, GS-3: values with the sibling's write, next without it; the error as text."""

    def bad(state):
        raise KeyError("boom")

    graph = drawn(way, bad, leaves("ok"), edges=">bad,ok").compile(log)
    with pytest.raises(KeyError):
        way.invoke(graph, {"trail": ["in"]}, durability=durability)
    shown = graph.get_state(THREAD)
    assert shown.values == {"trail": ["in", "ok"]}
    assert shown.next == ("bad",)
    bad_task, ok_task = shown.tasks
    assert bad_task == PregelTask(bad_task.id, "bad", ("__pregel_pull", "bad"), "KeyError('boom')")
    assert ok_task == PregelTask(ok_task.id, "ok", ("__pregel_pull", "ok"), result={"trail": ["ok"]})
    assert bad_task.id != ok_task.id


def test_a_checkpoint_by_id_shows_how_its_step_began(way, log) -> None:
    """GS-2: values at the start of the step, all its tasks, questions even if answered."""
    graph = drawn(way, asks("ask", "q"), leaves("sib"), edges=">ask,sib").compile(log)
    way.invoke(graph, {"trail": ["in"]})
    live = graph.get_state(THREAD)
    assert (live.values["trail"], live.next) == (["in", "sib"], ("ask",))
    way.invoke(graph, Command(resume="A"))
    record = graph.get_state(live.config)
    assert (record.values["trail"], record.next) == (["in"], ("ask", "sib"))
    assert [item.value for item in record.interrupts] == ["q"]
    assert [task.result for task in record.tasks] == [{"trail": ["A"]}, {"trail": ["sib"]}]


def test_history_is_newest_first_and_linked(way, log) -> None:
    """GS-4: each checkpoint names its parent, and ids sort as they came."""
    graph = drawn(way, leaves("a"), leaves("b"), edges=">a a>b").compile(log)
    way.invoke(graph, {"trail": ["in"]})
    history = list(graph.get_state_history(THREAD))
    ids = [shown.config["configurable"]["checkpoint_id"] for shown in history]
    assert ids == sorted(ids, reverse=True)
    assert [shown.parent_config for shown in history] == [*(s.config for s in history[1:]), None]
    assert [shown.values["trail"] for shown in history] == [["in", "a", "b"], ["in", "a"], ["in"], []]
    assert history[0] == graph.get_state(THREAD)


def test_history_can_be_filtered_and_cut(log) -> None:
    """GS-7: by metadata, before a checkpoint, and at most so many."""
    graph = drawn_ab(log)
    for _ in range(2):
        graph.invoke({}, THREAD)
    steps = [shown.metadata["step"] for shown in graph.get_state_history(THREAD, filter={"source": "input"})]
    assert steps == [3, -1]
    assert [shown.metadata["step"] for shown in graph.get_state_history(THREAD, limit=2)] == [6, 5]
    border = next(shown for shown in graph.get_state_history(THREAD) if shown.metadata["step"] == 1)
    assert [s.metadata["step"] for s in graph.get_state_history(THREAD, before=border.config)] == [0, -1]
    assert list(graph.get_state_history(THREAD, filter={"step": 99})) == []


def test_scalars_of_the_config_become_metadata(way, log) -> None:
    """K-5: of ``metadata`` and of ``configurable``, to be filtered by."""
    graph = drawn(way, leaves("a"), edges=">a").compile(log)
    config = {"configurable": {"thread_id": "t", "user": "ada", "deep": {}}, "metadata": {"run": 7, "no": []}}
    way.invoke(graph, {}, config)
    assert graph.get_state(THREAD).metadata == {
        "source": "loop", "step": 1, "parents": {}, "user": "ada", "run": 7,
    }  # fmt: skip
    assert len(list(graph.get_state_history(THREAD, filter={"user": "ada", "run": 7}))) == 3


def test_resuming_a_finished_thread_returns_its_values(way, log) -> None:
    """R-4: nothing runs and nothing is written; a stream shows the values once.

    It once showed nothing at all.
    """
    graph = drawn(way, leaves("a"), edges=">a").compile(log)
    way.invoke(graph, {})
    before = log.head("t").seq
    assert way.invoke(graph, None) == {"trail": ["a"]}
    assert way.stream(graph, None, stream_mode="values") == [{"trail": ["a"]}]
    assert way.stream(graph, None, stream_mode="updates") == []
    assert log.head("t").seq == before


def test_next_is_never_empty_while_work_remains(way, log) -> None:
    """Decided: whatever a node sees of its own thread while it runs."""
    seen = []

    def looks(name):
        def node(state):
            seen.append(graph.get_state(THREAD).next)

        node.__name__ = name
        return node

    graph = drawn(way, looks("a"), looks("b"), edges=">a a>b").compile(log, durability="sync")
    way.invoke(graph, {})
    assert seen == [("a",), ("b",)]
    assert graph.get_state(THREAD).next == ()


def test_reading_does_not_write(log) -> None:
    """GS-6: and needs no claim."""
    graph = drawn_ab(log, interrupt_before=["b"])
    graph.invoke({}, THREAD)
    before = log.head("t")
    with log.writer("t"):
        graph.get_state(THREAD)
        list(graph.get_state_history(THREAD))
    assert log.head("t").seq == before.seq


def test_state_is_the_same_to_another_process(way, tmp_path) -> None:
    """G6: a view is a view of the log, not of what this process remembers."""
    shown = []
    for i in range(2):
        with Log.open(tmp_path / "log.wal", strict=True) as log:
            graph = drawn(way, leaves("a"), leaves("b"), edges=">a a>b").compile(log, interrupt_before=["b"])
            if i == 0:
                way.invoke(graph, {"x": (1, {2})})
            shown.append((graph.get_state(THREAD), list(graph.get_state_history(THREAD))))
    assert shown[0] == shown[1]


def test_async_twins_show_the_same(log) -> None:
    """§1.9: aget_state, aget_state_history, aupdate_state."""
    graph = drawn_ab(log)

    async def both():
        await graph.ainvoke({}, THREAD)
        await graph.aupdate_state(THREAD, {"x": 1}, as_node="b")
        return await graph.aget_state(THREAD), [s async for s in graph.aget_state_history(THREAD, limit=2)]

    assert asyncio.run(both()) == (graph.get_state(THREAD), list(graph.get_state_history(THREAD, limit=2)))


@pytest.mark.parametrize("method", ["get_state", "get_state_history", "update_state"])
def test_a_graph_without_a_log_has_no_state(method) -> None:
    """§3.2: in LangGraph's words."""
    graph = drawn_ab(None)
    with pytest.raises(NoLog, match="No checkpointer set"):
        list(getattr(graph, method)(THREAD, *([{}] if method == "update_state" else [])) or [])


@pytest.mark.parametrize("config", [{}, {"configurable": {}}, {"configurable": {"thread_id": None}}])
def test_a_graph_with_a_log_needs_a_thread_id(way, log, config) -> None:
    """§3.2: one message for all cases, where LangGraph has a KeyError or one shared history."""
    graph = drawn(way, leaves("a"), edges=">a").compile(log)
    for call in (lambda: way.invoke(graph, {}, config), lambda: graph.get_state(config)):
        with pytest.raises(MissingThreadId, match="thread_id") as caught:
            call()
        assert isinstance(caught.value, ValueError)
    assert list(log.threads()) == []


def test_thread_ids_may_be_numbers(way, log) -> None:
    """§3.2: they are the same as their text."""
    graph = drawn(way, leaves("a"), edges=">a").compile(log)
    way.invoke(graph, {}, {"configurable": {"thread_id": 7}})
    assert graph.get_state(on("7")).values == {"trail": ["a"]}


def test_a_view_is_a_copy(log) -> None:
    """P-11: what users do to it does not reach the state."""
    graph = drawn_ab(log)
    graph.invoke({}, THREAD)
    graph.get_state(THREAD).values["trail"].append("mine")
    assert graph.get_state(THREAD).values == {"trail": ["a", "b"]}
    assert graph.invoke({}, THREAD)["trail"] == ["a", "b"] * 2


def test_a_value_of_an_unknown_class_fails_closed(tmp_path) -> None:
    """§4: another process that does not know the class is told its name, and nothing is guessed."""
    killed(
        f"""
        import dataclasses, os, signal
        from helpers import *
        @dataclasses.dataclass
        class Hidden:
            a: int
        with Log.open({str(tmp_path / "log.wal")!r}) as log:
            chain(leaves("a", x=Hidden(1))).compile(log).invoke({{}}, THREAD)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    with Log.open(tmp_path / "log.wal") as log, pytest.raises(UnknownType, match="Hidden"):
        drawn_ab(log).get_state(THREAD)


def test_history_of_an_open_step_ends_with_it(way, log) -> None:
    """GS-2: the newest entry is the checkpoint that the step follows."""
    graph = drawn(way, leaves("a"), leaves("b"), edges=">a a>b", state=Trail).compile(
        log, interrupt_before=["b"]
    )
    way.invoke(graph, {})
    assert past(graph)[-1] == ("loop", 1, ("b",))


def test_next_lists_nodes_as_they_were_added(way, log) -> None:
    """P-3: sends first, then nodes in the order of the drawing, though they run in the order of their names."""
    builder = drawn(way, leaves("z"), leaves("m"), leaves("a"), edges=">z,m,a")
    builder.add_conditional_edges(START, lambda _: [Send("m", {}), Send("a", {})])
    graph = builder.compile(log, interrupt_before="*")
    way.invoke(graph, {"trail": []})
    names = ("m", "a", "z", "m", "a")
    state, (newest, *_) = graph.get_state(THREAD), graph.get_state_history(THREAD)
    assert (state.next, newest.next) == (names, names)
    assert [task.name for task in state.tasks] == [task.name for task in newest.tasks] == list(names)
