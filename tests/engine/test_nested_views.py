"""What ``get_state`` and ``get_state_history`` show of subgraphs (GS-3, GS-4, SG-5, K-6)."""

from __future__ import annotations

import pytest
from helpers import THREAD, Trail, asks, chain, drawn, leaves, noting_reads, on, past
from subgraph_helpers import Child, inner_node, nested_in, parent_of, three_levels

from walgraph import START, Command, StateGraph, interrupt


def asking(way, ran, **options):
    """Return a subgraph of two nodes, the second of which asks."""
    two = inner_node(way, ran, "two", lambda _: interrupt("two?"))
    return chain(inner_node(way, ran, "one"), two, state=Child).compile(**options)


def id_of(config):
    """Return the checkpoint id of a config."""
    return config["configurable"]["checkpoint_id"]


def test_a_snapshot_of_a_subgraph_says_where_it_stands(way, log, ran, kind) -> None:
    """GS-3, GS-4, SG-5: config with the map of checkpoints around, parents in the metadata; however it is called."""
    graph = parent_of(way, ran, log, nested_in(way, kind, asking(way, ran)))
    way.invoke(graph, {})
    shown = graph.get_state(THREAD, subgraphs=True)
    [task] = shown.tasks
    inner = task.state
    scope = graph.get_state(THREAD).tasks[0].state["configurable"]["checkpoint_ns"]
    assert scope.startswith(f"sub:{task.id}")
    outer = {"": id_of(shown.config)}
    own = id_of(inner.config)
    assert inner.config["configurable"] == {
        "thread_id": "t", "checkpoint_ns": scope, "checkpoint_id": own, "checkpoint_map": {**outer, scope: own},
    }  # fmt: skip
    before = id_of(inner.parent_config)
    assert inner.parent_config["configurable"]["checkpoint_map"] == {**outer, scope: before}
    assert inner.metadata == {"source": "loop", "step": 1, "parents": outer}
    assert (inner.values["inner"], inner.next) == (["one"], ("two",))
    assert [item.value for item in inner.interrupts] == [item.value for item in shown.interrupts] == ["two?"]
    assert graph.get_state(inner.config) == inner._replace(tasks=inner.tasks)
    assert graph.get_state(on("t", checkpoint_ns=scope)) == inner


def test_the_history_of_a_subgraph(way, log, ran, kind) -> None:
    """GS-7: by its namespace, also when it is over; each checkpoint names those around it."""
    graph = parent_of(way, ran, log, nested_in(way, kind, asking(way, ran)))
    way.invoke(graph, {})
    where = graph.get_state(THREAD).tasks[0].state
    way.invoke(graph, Command(resume="A"))
    assert past(graph, where) == [
        ("input", -1, ("__start__",)),
        ("loop", 0, ("one",)),
        ("loop", 1, ("two",)),
        ("loop", 2, ()),
    ]
    history = list(graph.get_state_history(where))
    root = next(shown for shown in graph.get_state_history(THREAD) if shown.next == ("sub",))
    assert {shown.metadata["parents"][""] for shown in history} == {id_of(root.config)}
    assert [task.result for task in history[1].tasks] == [{"inner": ["two=A"], "trail": ["one", "two=A"]}]
    assert [item.value for item in history[1].interrupts] == ["two?"]
    last = graph.get_state(where)
    assert (last.values["inner"], last.next, last.config) == (["one", "two=A"], (), history[0].config)
    assert (
        list(graph.get_state_history(where, filter={"parents": {"": id_of(root.config)}}, limit=1))
        == history[:1]
    )


def test_a_checkpoint_of_the_parent_shows_what_became_of_its_subgraph(way, log, ran, kind) -> None:
    """GS-2: with the question that was asked in it, though it was answered."""
    graph = parent_of(way, ran, log, nested_in(way, kind, asking(way, ran)))
    way.invoke(graph, {})
    config = graph.get_state(THREAD).config
    way.invoke(graph, Command(resume="A"))
    shown = graph.get_state(config, subgraphs=True)
    assert [item.value for item in shown.interrupts] == ["two?"]
    assert shown.tasks[0].result == {"trail": ["one", "two=A"]}
    assert shown.tasks[0].state.values["inner"] == ["one", "two=A"]
    assert shown.tasks[0].state.next == ()


def test_history_shows_what_was_asked_at_any_depth(way, log, ran, durability) -> None:
    """GS-2: with the task around it, though the subgraphs between the two are over by now."""
    graph = three_levels(way, ran, log, way.node(asks("bottom", "q")))
    way.invoke(graph, {}, durability=durability)
    way.invoke(graph, Command(resume="A"), durability=durability)
    [asked] = [shown for shown in graph.get_state_history(THREAD) if shown.interrupts]
    assert [item.value for item in asked.tasks[0].interrupts] == ["q"]
    assert asked.next == (asked.tasks[0].name,)


@pytest.mark.parametrize("is_below", [False, True])
def test_what_a_handler_asks_is_streamed_and_kept(way, log, durability, is_below) -> None:
    """GS-2: by itself or in a subgraph that it calls; streams and history once failed to find the task around it."""
    inner = StateGraph(Trail).add_node("ask", lambda _: {"trail": [interrupt("what now?")]})
    below = inner.add_edge(START, "ask").compile()

    def handles(state):
        return below.invoke({"trail": []}) if is_below else {"trail": [interrupt("what now?")]}

    def body(state):
        raise KeyError("boom")

    builder = StateGraph(Trail).add_node("f", way.node(body), error_handler=way.node(handles))
    graph = builder.add_edge(START, "f").compile(log)
    for given, shown in (({"trail": []}, ["what now?"]), (Command(resume="go on"), [])):
        chunks = way.stream(graph, given, stream_mode="updates", durability=durability)
        values = [item.value for chunk in chunks for item in chunk.get("__interrupt__", ())]
        assert values == shown
    kept = [[item.value for item in shown.interrupts] for shown in graph.get_state_history(THREAD)]
    assert ["what now?"] in kept


def test_a_subgraph_that_has_not_begun_is_empty(way, log, ran) -> None:
    """GS-3: its task says where it will be."""
    graph = parent_of(way, ran, log, asking(way, ran), interrupt_before=["sub"])
    way.invoke(graph, {})
    [task] = graph.get_state(THREAD).tasks
    assert task.state == on("t", checkpoint_ns=f"sub:{task.id}")
    assert graph.get_state(task.state).values == {}
    assert graph.get_state(THREAD, subgraphs=True).tasks[0].state.values == {}
    assert list(graph.get_state_history(task.state)) == []


def test_a_subgraph_of_which_nothing_is_kept_has_no_state(way, log, ran, kind) -> None:
    """With ``checkpointer=False`` there is no namespace to look into, before it began and while it asks (GS-3)."""
    inner = chain(ran.node(way, "inner", lambda _: interrupt("sure?"))).compile(False)
    graph = parent_of(way, ran, log, nested_in(way, kind, inner))
    way.invoke(graph, {"trail": []}, interrupt_before=["sub"])
    assert [task.state for task in graph.get_state(THREAD).tasks] == [None]
    way.invoke(graph, None)
    for subgraphs in (False, True):
        [found] = graph.get_state(THREAD, subgraphs=subgraphs).tasks
        assert found.state is None
        assert [asked.value for asked in found.interrupts] == ["sure?"]


def test_every_level_names_those_above(way, log, ran) -> None:
    """SG-5, K-6: three levels."""
    graph = three_levels(way, ran, log, way.node(asks("bottom", "q")))
    way.invoke(graph, {})
    shown = graph.get_state(THREAD, subgraphs=True)
    middle = shown.tasks[0].state
    leaf = middle.tasks[0].state
    parents = {"": id_of(shown.config), middle.config["configurable"]["checkpoint_ns"]: id_of(middle.config)}
    assert leaf.metadata["parents"] == parents
    scope = leaf.config["configurable"]["checkpoint_ns"]
    assert leaf.config["configurable"]["checkpoint_map"] == {**parents, scope: id_of(leaf.config)}
    assert [item.value for item in shown.interrupts] == ["q"]


def test_a_persistent_subgraph_is_found_under_either_name(way, log, ran) -> None:
    """§2.11: with the task's id in it, as its task shows it, and without, as its records are kept."""
    counted = chain(inner_node(way, ran, "one"), state=Child).compile(checkpointer=True)
    graph = parent_of(way, ran, log, counted)
    for _ in range(2):
        way.invoke(graph, {})
    root = next(shown for shown in graph.get_state_history(THREAD) if shown.next == ("sub",))
    where = root.tasks[0].state
    assert where["configurable"]["checkpoint_ns"] == f"sub:{root.tasks[0].id}"
    assert graph.get_state(where).values["inner"] == ["one", "one"]
    assert past(graph, where) == past(graph, on("t", checkpoint_ns="sub"))
    steps = [shown.metadata["step"] for shown in graph.get_state_history(where)]
    assert steps == [4, 3, 2, 1, 0, -1]


def test_a_persistent_subgraph_of_a_subgraph_is_found(way, log, ran, kind) -> None:
    """GS-3, §2.11: by the namespace that its task shows, in which each level has the id of a task."""
    leaf = chain(inner_node(way, ran, "two", lambda _: interrupt("two?")), state=Child)
    middle = parent_of(way, ran, None, nested_in(way, kind, leaf.compile(checkpointer=True)))
    graph = StateGraph(Trail).add_node("middle", middle).add_edge(START, "middle").compile(log)
    way.invoke(graph, {})
    task = graph.get_state(THREAD, subgraphs=True).tasks[0].state.tasks[0]
    assert (task.name, task.state.next) == ("sub", ("two",))
    assert graph.get_state(task.state.config).next == ("two",)


def test_what_is_not_there_is_empty(way, log, ran) -> None:
    """TT-6, U-8: reading shows nothing; only an edit says that there is no such subgraph."""
    graph = parent_of(way, ran, log, asking(way, ran))
    way.invoke(graph, {})
    for scope in ("zz:1", "sub:1", "zz", "sub:1|one:2"):
        config = on("t", checkpoint_ns=scope)
        assert graph.get_state(config) == ({}, (), config, None, None, None, (), ())
        assert list(graph.get_state_history(config)) == []
        with pytest.raises(ValueError, match=r"Subgraph .* not found"):
            graph.update_state(config, {})


def test_a_subgraph_that_is_over_can_be_edited(way, log, ran) -> None:
    """U-8: a branch begins at its newest checkpoint, and its parent's step is open there again."""
    graph = parent_of(way, ran, log, asking(way, ran))
    way.invoke(graph, {})
    where = graph.get_state(THREAD).tasks[0].state
    way.invoke(graph, Command(resume="A"))
    ran.names.clear()
    config = graph.update_state(where, {"trail": ["edited"]})
    assert graph.get_state(THREAD).next == ("sub",)
    assert way.invoke(graph, None, config) == {"trail": ["before", "edited", "after"]}
    assert ran.names == ["after"]


def test_history_of_one_checkpoint(way, log) -> None:
    """GS-7: a config that names a checkpoint lists that one, as in LangGraph."""
    graph = drawn(way, *map(leaves, "abc"), edges=">a a>b b>c").compile(log)
    way.invoke(graph, {})
    history = list(graph.get_state_history(THREAD))
    assert list(graph.get_state_history(history[2].config)) == [history[2]]
    assert list(graph.get_state_history(THREAD, limit=0)) == []
    assert list(graph.get_state_history(THREAD, before=THREAD)) == history
    assert list(graph.get_state_history(THREAD, filter={"unknown": None})) == []


def test_history_is_the_same_with_snapshots_in_between(way, log, monkeypatch) -> None:
    """GS-7: it is read a stretch at a time, newest first; where the stretches meet nothing is doubled or lost."""
    monkeypatch.setattr("walgraph.engine.recorder.SNAPSHOT_RECORDS", 7)
    monkeypatch.setattr("walgraph.engine.recorder.SNAPSHOT_GROWTH", 0)
    graph = drawn(way, *map(leaves, "abc"), edges=">a a>b b>c").compile(log)
    for number in range(4):
        way.invoke(graph, {"x": number}, durability="sync")
    snapshot = log.snapshot("t")
    assert snapshot is not None
    assert 0 < snapshot[0] < log.head("t").seq
    history = list(graph.get_state_history(THREAD))
    assert [shown.metadata["step"] for shown in history] == list(range(18, -2, -1))
    assert [shown.parent_config for shown in history] == [*(shown.config for shown in history[1:]), None]
    assert [task.result for shown in history for task in shown.tasks if task.name == "b"] == [
        {"trail": ["b"]}
    ] * 4
    assert all(graph.get_state(shown.config) == shown for shown in history)


def test_what_was_asked_before_a_snapshot_within_its_step_is_shown(way, log, monkeypatch) -> None:
    """GS-2: history is read from snapshots, which know nothing of subgraphs of the step that are over."""
    monkeypatch.setattr("walgraph.engine.recorder.SNAPSHOT_RECORDS", 7)
    monkeypatch.setattr("walgraph.engine.recorder.SNAPSHOT_GROWTH", 0)
    short = drawn(way, asks("short", "short?"), leaves("a"), edges=">short short>a").compile(name="one")
    long = drawn(way, asks("long", "long?"), *map(leaves, "abcd"), edges=">long long>a a>b b>c c>d")
    builder = StateGraph(Trail).add_node("one", short).add_node("two", long.compile(name="two"))
    graph = builder.add_edge(START, "one").add_edge(START, "two").compile(log)
    asked = {item.value: item.id for item in way.invoke(graph, {}, durability="sync")["__interrupt__"]}
    for question in ("short?", "long?"):
        way.invoke(graph, Command(resume={asked[question]: "A"}), durability="sync")
    step = next(shown for shown in graph.get_state_history(THREAD) if shown.next == ("one", "two"))
    assert [item.value for task in step.tasks for item in task.interrupts] == ["short?", "long?"]


def test_a_kept_subgraph_is_answered_after_a_snapshot(way, log, ran, kind, monkeypatch) -> None:
    """I-10: a snapshot holds what a kept subgraph was, and what came of it since waits unread for its graph.

    Of the two the snapshot's was believed, in which its caller had gone on long ago: so the question that
    ``get_state`` showed was answered by ``AnswerError``, for ever.
    """
    monkeypatch.setattr("walgraph.engine.recorder.SNAPSHOT_RECORDS", 20)
    monkeypatch.setattr("walgraph.engine.recorder.SNAPSHOT_GROWTH", 0)
    graph = parent_of(way, ran, log, nested_in(way, kind, asking(way, ran, checkpointer=True)))
    for turn in range(6):
        way.invoke(graph, {}, durability="sync")
        [asked] = graph.get_state(THREAD).interrupts
        assert "__interrupt__" not in way.invoke(graph, Command(resume={asked.id: turn}), durability="sync")
    assert log.snapshot("t") is not None


def test_the_newest_checkpoints_are_read_without_the_old_ones(way, log, monkeypatch) -> None:
    """GS-7: what lies before the newest snapshot is not decoded for them."""
    monkeypatch.setattr("walgraph.engine.recorder.SNAPSHOT_RECORDS", 100)
    monkeypatch.setattr("walgraph.engine.recorder.SNAPSHOT_GROWTH", 0)
    graph = drawn(way, leaves("a"), edges=">a").compile(log)
    for _ in range(40):
        way.invoke(graph, {}, durability="sync")
    with noting_reads() as read:
        assert len(list(graph.get_state_history(THREAD, limit=3))) == 3
    assert 0 < len(read) < 110
