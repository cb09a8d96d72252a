"""Time travel inside subgraphs: a branch begins as the whole thread was at the checkpoint (TT-1, TT-4, TT-7)."""

from __future__ import annotations

import pytest
from helpers import THREAD, Way, chain, drawn, on, past
from subgraph_helpers import Child, Leaf, inner_node, nested_in, parent_of

from walgraph import CheckpointNotFound, Command, Log, entrypoint, interrupt, task
from walgraph.tools.mortal import deaths


def asking(way, ran, **options):
    """Return a subgraph of three nodes, the second of which asks."""
    return chain(
        inner_node(way, ran, "one"),
        inner_node(way, ran, "two", lambda _: interrupt("two?")),
        inner_node(way, ran, "three"),
        state=Child,
    ).compile(**options)


def told(graph, way, ran, log, kind="node"):
    """Return a graph around the given one that ran to its end, was answered with A, and ran nothing since."""
    made = parent_of(way, ran, log, nested_in(way, kind, graph))
    way.invoke(made, {})
    inner = made.get_state(THREAD).tasks[0].state
    assert way.invoke(made, Command(resume="A")) == {"trail": ["before", "one", "two=A", "three", "after"]}
    ran.names.clear()
    return made, inner


def at(graph, inner, node):
    """Return the config of the newest checkpoint of a subgraph at which a node is due."""
    return next(shown.config for shown in graph.get_state_history(inner) if node in shown.next)


def test_a_subgraph_goes_on_from_its_own_checkpoint(way, log, ran, kind) -> None:
    """TT-7, mended: LangGraph begins the subgraph anew, since the fork gives the parent's task a new id."""
    graph, inner = told(asking(way, ran), way, ran, log, kind)
    assert way.invoke(graph, None, at(graph, inner, "three")) == {
        "trail": ["before", "one", "two=A", "three", "after"]
    }
    assert ran.names == ["three", "after"]


def test_a_question_of_a_subgraph_is_asked_again_at_its_checkpoint(way, log, ran, kind) -> None:
    """TT-1, TT-7: what is before it is not repeated, and the old answer is not used."""
    graph, inner = told(asking(way, ran), way, ran, log, kind)
    old = at(graph, inner, "two")
    assert [item.value for item in way.invoke(graph, None, old)["__interrupt__"]] == ["two?"]
    assert ran.names == ["two"]
    assert way.invoke(graph, Command(resume="B"))["trail"][2] == "two=B"
    assert ran.names == ["two", "two", "three", "after"]


@pytest.mark.parametrize("by_id", [False, True])
@pytest.mark.parametrize("where", ["the root", "the subgraph"])
def test_a_question_of_a_subgraph_can_be_answered_anew(way, log, ran, kind, where, by_id) -> None:
    """TT-4, I-10c: at the checkpoint of either graph; what had ended when it was asked is kept."""
    graph, inner = told(asking(way, ran), way, ran, log, kind)
    root = next(shown for shown in graph.get_state_history(THREAD) if "sub" in shown.next)
    [question] = root.interrupts
    config = root.config if where == "the root" else at(graph, inner, "two")
    answer = {question.id: "B"} if by_id else "B"
    assert way.invoke(graph, Command(resume=answer), config)["trail"][2] == "two=B"
    assert ran.names == ["two", "three", "after"]


def test_a_replay_of_the_parent_begins_the_subgraph_anew(way, log, ran, kind) -> None:
    """TT-1: the parent's checkpoint is before all that the subgraph did."""
    graph, _ = told(asking(way, ran), way, ran, log, kind)
    old = next(shown for shown in graph.get_state_history(THREAD) if "sub" in shown.next)
    assert "__interrupt__" in way.invoke(graph, None, old.config)
    assert ran.names == ["one", "two"]


def test_a_subgraph_can_be_edited_at_its_checkpoint(way, log, ran, kind) -> None:
    """U-8, U-9: the edit forks the graphs around, and the config it returns is gone on from without another fork."""
    graph, inner = told(asking(way, ran), way, ran, log, kind)
    config = graph.update_state(at(graph, inner, "three"), {"inner": ["edited"]})
    length = len(past(graph))
    shown = graph.get_state(config)
    assert shown.config == config
    assert (shown.metadata["source"], shown.next) == ("update", ("three",))
    assert way.invoke(graph, None, config)["trail"] == [
        "before", "one", "two=A", "edited", "three", "after",
    ]  # fmt: skip
    assert ran.names == ["three", "after"]
    assert [source for source, _, _ in past(graph)[length - 1 :]] == ["fork", "loop", "loop"]


def test_checkpoint_ids_move_on_after_time_travel(way, log, ran) -> None:
    """TT-1: of the graph and of its subgraph; in LangGraph they did not (an issue of 2025)."""
    graph, inner = told(asking(way, ran), way, ran, log)
    ends = [graph.get_state(THREAD).config]
    for _ in range(2):
        way.invoke(graph, None, at(graph, inner, "two"))
        asked = graph.get_state(THREAD, subgraphs=True)
        ends += [asked.config, asked.tasks[0].state.config]
    ids = [config["configurable"]["checkpoint_id"] for config in ends]
    assert ids == sorted(set(ids))


def test_the_subgraph_has_a_namespace_of_its_own_on_each_branch(way, log, ran) -> None:
    """GS-4: it names the parent's task there; the old namespace still shows the old branch."""
    graph, inner = told(asking(way, ran), way, ran, log)
    before = list(graph.get_state_history(inner))
    way.invoke(graph, None, at(graph, inner, "two"))
    moved = graph.get_state(THREAD).tasks[0]
    assert moved.state["configurable"]["checkpoint_ns"] == f"sub:{moved.id}"
    assert past(graph, moved.state) == [("fork", 2, ("two",))]
    assert list(graph.get_state_history(inner)) == before
    assert graph.get_state(inner).values["inner"] == ["one", "two=A", "three"]


def test_a_branch_can_begin_at_any_depth(way, log, ran) -> None:
    """TT-7: three levels down; all that the levels above had done is kept."""
    leaf = chain(inner_node(way, ran, "leaf"), inner_node(way, ran, "last"), state=Leaf).compile()
    middle = chain(inner_node(way, ran, "middle"), state=Child).add_node("deep", leaf)
    middle = middle.add_edge("middle", "deep").compile(interrupt_after=["deep"])
    graph = parent_of(way, ran, log, middle)
    way.invoke(graph, {})
    shown = graph.get_state(THREAD, subgraphs=True)
    before = list(
        graph.get_state_history(
            shown.tasks[0].state.config
            | {
                "configurable": {
                    **shown.tasks[0].state.config["configurable"],
                    "checkpoint_id": None,
                    "checkpoint_map": None,
                }
            }
        )
    )
    deep = next(task.state for each in before for task in each.tasks if task.name == "deep")
    ran.names.clear()
    config = at(graph, deep, "last")
    assert set(config["configurable"]["checkpoint_map"]) == {
        "", shown.tasks[0].state.config["configurable"]["checkpoint_ns"], deep["configurable"]["checkpoint_ns"],
    }  # fmt: skip
    way.invoke(graph, None, config)
    assert ran.names == ["last"]
    way.invoke(graph, None)
    assert ran.names == ["last", "after"]
    assert graph.get_state(THREAD).values["trail"] == ["before", "middle", "leaf", "last", "after"]


def test_what_a_task_had_done_before_it_called_the_subgraph_is_kept(way, log, ran) -> None:
    """G2: a branch in the second of two calls repeats neither the first nor the @task before."""
    made = []

    @task
    def count():
        made.append(1)
        return len(made)

    inner = asking(way, ran)

    def steps(state):
        yield count()
        first = yield count()
        return first

    if way.is_async:

        async def sub(state):
            number = await count()
            first = await inner.ainvoke({})
            second = await inner.ainvoke({})
            return {"trail": [str(number), *first["trail"], *second["trail"]]}
    else:

        def sub(state):
            number = count().result()
            return {"trail": [str(number), *inner.invoke({})["trail"], *inner.invoke({})["trail"]]}

    graph = parent_of(way, ran, log, sub)
    way.invoke(graph, {})
    way.invoke(graph, Command(resume="A"))
    second = f"{graph.get_state(THREAD).tasks[0].state['configurable']['checkpoint_ns']}|1"
    end = way.invoke(graph, Command(resume="B"))
    ran.names.clear()
    config = at(graph, on("t", checkpoint_ns=second), "three")
    assert way.invoke(graph, None, config) == end
    assert ran.names == ["three", "after"]
    assert made == [1]


def test_a_sibling_that_had_ended_is_not_run_again(way, log, ran) -> None:
    """G2: it ended before the checkpoint of the subgraph; had it ended later, it would run again."""
    done = []

    def sibling(state):
        done.append(1)
        return {"trail": ["sibling"]}

    inner = asking(way, ran)
    builder = drawn(way, sibling, edges=">sibling").add_node("sub", inner).add_edge("__start__", "sub")
    graph = builder.compile(log)
    way.invoke(graph, {})
    where = next(task.state for task in graph.get_state(THREAD).tasks if task.name == "sub")
    end = way.invoke(graph, Command(resume="A"))
    assert way.invoke(graph, None, at(graph, where, "three")) == end
    assert done == [1]


def test_a_persistent_subgraph_is_what_it_was_then(way, log, ran) -> None:
    """TT-7: a replay finds the history that the subgraph had at the parent's checkpoint, and not a later one."""
    counted = chain(inner_node(way, ran, "one"), state=Child).compile(checkpointer=True)
    graph = parent_of(way, ran, log, counted)
    for _ in range(3):
        way.invoke(graph, {})
    second = [shown for shown in graph.get_state_history(THREAD) if shown.next == ("sub",)][1]
    way.invoke(graph, None, second.config)
    assert graph.get_state(on("t", checkpoint_ns="sub")).values["inner"] == ["one", "one"]
    assert [source for source, _, _ in past(graph, on("t", checkpoint_ns="sub"))].count("fork") == 1
    way.invoke(graph, {}, next(s.config for s in graph.get_state_history(THREAD) if s.metadata["step"] == 0))
    assert graph.get_state(on("t", checkpoint_ns="sub")).values["inner"] == ["one"]


def test_a_persistent_subgraph_goes_on_from_its_own_checkpoint(way, log, ran) -> None:
    """TT-7: as in LangGraph, which gets this one right."""
    graph, inner = told(asking(way, ran, checkpointer=True), way, ran, log)
    assert way.invoke(graph, None, at(graph, inner, "three"))["trail"][-2:] == ["three", "after"]
    assert ran.names == ["three", "after"]


def test_time_travel_in_subgraphs_works_in_every_mode(way, log, ran, durability) -> None:
    """TT-7: with what history a mode keeps."""
    graph, inner = told(asking(way, ran), way, ran, log)
    config = at(graph, inner, "three")
    assert way.invoke(graph, None, config, durability=durability)["trail"][-1] == "after"
    assert ran.names == ["three", "after"]


def test_what_exit_keeps_of_a_subgraph_can_be_gone_back_to(way, log, ran) -> None:
    """TT-7, K-1: its newest checkpoint, without what the open step had come to."""
    graph = parent_of(way, ran, log, asking(way, ran))
    way.invoke(graph, {}, durability="exit")
    asked = graph.get_state(THREAD, subgraphs=True).tasks[0].state
    way.invoke(graph, Command(resume="A"), durability="exit")
    ran.names.clear()
    assert "__interrupt__" in way.invoke(graph, None, asked.config)
    assert way.invoke(graph, Command(resume="B"), asked.config)["trail"][2] == "two=B"
    assert ran.names == ["two", "two", "three", "after"]


@pytest.mark.parametrize("hidden", [False, True])
def test_another_process_can_go_back_into_a_subgraph(way, tmp_path, ran, hidden) -> None:
    """TT-7: also where the graph cannot be found before the function has called it; its records then come along."""
    registry = {}

    def built(log):
        registry["inner"] = inner = asking(way, ran)
        if not hidden:
            return parent_of(way, ran, log, nested_in(way, "function", inner))
        # What is looked up when the function runs cannot be seen in its code.
        if way.is_async:

            async def sub(state):
                return await registry["inner"].ainvoke(state)
        else:

            def sub(state):
                return registry["inner"].invoke(state)

        return parent_of(way, ran, log, sub)

    path = tmp_path / "log.wal"
    with Log.open(path, strict=True) as log:
        graph = built(log)
        way.invoke(graph, {})
        inner = graph.get_state(THREAD).tasks[0].state
        way.invoke(graph, Command(resume="A"))
        config, ask = at(graph, inner, "three"), at(graph, inner, "two")
    ran.names.clear()
    with Log.open(path, strict=True) as log:
        assert way.invoke(built(log), None, config)["trail"] == ["before", "one", "two=A", "three", "after"]
        assert ran.names == ["three", "after"]
    with Log.open(path, strict=True) as log:
        assert way.invoke(built(log), Command(resume="C"), ask)["trail"][2] == "two=C"
        assert ran.names == ["three", "after", "two", "three", "after"]


def test_an_unknown_checkpoint_of_a_subgraph_is_refused(way, log, ran) -> None:
    """TT-6: by name, and nothing is recorded."""
    graph, inner = told(asking(way, ran), way, ran, log)
    seq = log.head("t").seq
    config = {"configurable": {**inner["configurable"], "checkpoint_id": f"{2:020d}"}}
    for given in (None, {}, Command(resume="x")):
        with pytest.raises(CheckpointNotFound):
            way.invoke(graph, given, config)
    with pytest.raises(CheckpointNotFound):
        graph.update_state(config, {})
    assert log.head("t").seq == seq


def test_a_new_input_at_a_subgraphs_checkpoint_begins_the_graph_anew(way, log, ran) -> None:
    """TT-5: with the values that the parent had then."""
    graph, inner = told(asking(way, ran), way, ran, log)
    way.invoke(graph, {"trail": ["new"]}, at(graph, inner, "three"))
    assert graph.get_state(THREAD).values["trail"] == ["before", "new", "before"]
    assert ran.names == ["before", "one", "two"]


def test_a_function_is_gone_back_into_like_a_graph(way, log) -> None:
    """TT-1, TT-4: an entrypoint's question can be answered anew, and its tasks are not repeated for it."""
    done = []

    @task
    def work():
        done.append(1)
        return len(done)

    @way.flow
    def body(given):
        number = yield work()
        return number, interrupt("q")

    body.__name__ = "body"
    graph = entrypoint(checkpointer=log)(body)
    way.invoke(graph, 1)
    asked = graph.get_state(THREAD).config
    assert way.invoke(graph, Command(resume="A")) == (1, "A")
    assert way.invoke(graph, Command(resume="B"), asked) == (1, "B")
    assert "__interrupt__" in way.invoke(graph, None, asked)
    assert done == [1, 1]


@pytest.mark.parametrize("act", ["go back", "answer anew", "edit"])
def test_a_branch_is_made_whole_or_not_at_all(ran, act) -> None:
    """TT-7: killed before and after each append, and taken up by the next process, it ends the same."""
    way = Way("sync")

    def build(log):
        return parent_of(way, ran, log, nested_in(way, "function", asking(way, ran)))

    def prepare(log):
        graph = build(log)
        way.invoke(graph, {}, durability="sync")
        inner = graph.get_state(THREAD).tasks[0].state
        way.invoke(graph, Command(resume="A"), durability="sync")
        ran.names.clear()
        return {name: at(graph, inner, name) for name in ("two", "three")}

    def act_on(log, known):
        graph = build(log)
        if act == "go back":
            way.invoke(graph, None, known["three"], durability="sync")
        elif act == "answer anew":
            way.invoke(graph, Command(resume="B"), known["two"], durability="sync")
        else:
            way.invoke(graph, None, graph.update_state(known["three"], {"inner": ["x"]}), durability="sync")

    wanted = {
        "go back": ["one", "two=A", "three"],
        "answer anew": ["one", "two=B", "three"],
        "edit": ["one", "two=A", "x", "three"],
    }[act]
    for disk, known, fate in deaths(prepare, act_on):
        with disk.process() as log:
            graph = build(log)
            if not graph.get_state(THREAD).next and len(past(graph)) == 5:
                act_on(log, known)
            else:
                way.invoke(graph, None, durability="sync")
            assert graph.get_state(THREAD).values["trail"] == ["before", *wanted, "after"], fate
        assert "one" not in ran.names, fate
