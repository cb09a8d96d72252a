"""The modes that show what a run is made of: ``tasks``, ``checkpoints`` and ``debug``.

The literals are what LangGraph 1.2.22 streams of the same graphs.
"""

from __future__ import annotations

import operator
from datetime import datetime
from typing import Annotated, TypedDict

import pytest
from helpers import THREAD, Trail, chain, killed, leaves
from pydantic import BaseModel
from stream_helpers import Names, checkpoint, due, ended, first, started

from walgraph import END, START, Command, Log, Send, StateGraph, entrypoint, interrupt, task

DETAILS = ["values", "updates", "tasks", "checkpoints"]
QUESTION = {"value": "?", "id": "question 1", "response_schema": None}


def shown(way, graph, given, mode, names=None, config=THREAD, **options):
    """Return what a run streams, with names for ids."""
    names = names or Names()
    return [names.of(chunk) for chunk in way.stream(graph, given, config, stream_mode=mode, **options)]


def asks(state):
    """Ask, and leave the answer."""
    return {"trail": [interrupt("?")]}


def test_each_step_is_shown_from_its_tasks_to_its_checkpoint(way, log) -> None:
    """Input, then for each step: its tasks start, end with their update, and the step's values and checkpoint."""
    graph = chain(way.node(leaves("one")), way.node(leaves("two", x=2))).compile(log)
    assert shown(way, graph, {"trail": []}, DETAILS) == [
        ("checkpoints", first(1, {"trail": []}, due(1, "__start__"))),
        ("values", {"trail": []}),
        ("checkpoints", checkpoint(2, 1, {"trail": []}, 0, due(2, "one"))),
        ("tasks", started(2, "one", {"trail": []})),
        ("updates", {"one": {"trail": ["one"]}}),
        ("tasks", ended(2, "one", {"trail": ["one"]})),
        ("values", {"trail": ["one"]}),
        ("checkpoints", checkpoint(3, 2, {"trail": ["one"]}, 1, due(3, "two"))),
        ("tasks", started(3, "two", {"trail": ["one"]})),
        ("updates", {"two": {"trail": ["two"], "x": 2}}),
        ("tasks", ended(3, "two", {"trail": ["two"], "x": 2})),
        ("values", {"trail": ["one", "two"], "x": 2}),
        ("checkpoints", checkpoint(4, 3, {"trail": ["one", "two"], "x": 2}, 2)),
    ]


def test_without_a_log_there_are_no_checkpoints(way) -> None:
    """Neither as themselves nor in debug; tasks are shown all the same."""
    graph = chain(way.node(leaves("one"))).compile()
    assert shown(way, graph, {"trail": []}, "checkpoints") == []
    assert shown(way, graph, {"trail": []}, "tasks") == [
        started(1, "one", {"trail": []}),
        ended(1, "one", {"trail": ["one"]}),
    ]
    assert [chunk["type"] for chunk in way.stream(graph, {"trail": []}, stream_mode="debug")] == [
        "task",
        "task_result",
    ]


def test_debug_shows_tasks_and_checkpoints_with_step_and_time(way, log) -> None:
    """The same payloads in the same order, each in a wrapper."""
    graph = chain(way.node(leaves("one")), way.node(leaves("two"))).compile(log)
    chunks = way.stream(graph, {"trail": []}, stream_mode=["tasks", "checkpoints", "debug"])
    plain = [payload for mode, payload in chunks if mode != "debug"]
    debug = [payload for mode, payload in chunks if mode == "debug"]
    assert [wrapped["payload"] for wrapped in debug] == plain
    assert [(wrapped["type"], wrapped["step"]) for wrapped in debug] == [
        ("checkpoint", -1),
        ("checkpoint", 0),
        ("task", 1),
        ("task_result", 1),
        ("checkpoint", 1),
        ("task", 2),
        ("task_result", 2),
        ("checkpoint", 2),
    ]
    assert all(datetime.fromisoformat(wrapped["timestamp"]).utcoffset() is not None for wrapped in debug)


def test_a_checkpoint_that_is_shown_can_be_looked_up(way, log) -> None:
    """Its config addresses it, and what is found there is what was shown."""
    graph = chain(way.node(leaves("one")), way.node(leaves("two"))).compile(log)
    chunks = way.stream(graph, {"trail": []}, stream_mode="checkpoints")
    assert len(chunks) == 4
    for chunk in chunks:
        found = graph.get_state(chunk["config"])
        assert (found.values, list(found.next), found.metadata, found.parent_config) == (
            chunk["values"],
            chunk["next"],
            chunk["metadata"],
            chunk["parent_config"],
        )
        assert [task.id for task in found.tasks] == [task["id"] for task in chunk["tasks"]]


def test_under_exit_checkpoints_are_shown_though_only_the_last_is_kept(way, log) -> None:
    """K-1: so none of them has a parent."""
    graph = chain(way.node(leaves("one")), way.node(leaves("two"))).compile(log)
    chunks = way.stream(graph, {"trail": []}, stream_mode="checkpoints", durability="exit")
    assert [(chunk["metadata"]["step"], chunk["next"], chunk["parent_config"]) for chunk in chunks] == [
        (-1, ["__start__"], None),
        (0, ["one"], None),
        (1, ["two"], None),
        (2, [], None),
    ]
    assert graph.get_state(THREAD).config == chunks[-1]["config"]
    assert len(list(graph.get_state_history(THREAD))) == 1


def test_a_task_that_asks_has_a_result_with_its_question(way, log) -> None:
    """And one of the node's own notes in its start."""
    builder = StateGraph(Trail).add_node("ask", way.node(asks), metadata={"about": "asking"})
    graph = builder.add_edge(START, "ask").compile(log)
    assert shown(way, graph, {"trail": []}, "tasks") == [
        started(1, "ask", {"trail": []}, metadata={"about": "asking"}),
        ended(1, "ask", {}, asked=("?",)),
    ]


def test_subgraphs_that_begin_together_show_the_ids_that_the_log_has(way, log) -> None:
    """Each drafts its checkpoints as if it wrote alone; what was shown once named places that others had taken.

    So a task began with one id and ended with another, and checkpoints were shown that could not be looked up.
    """
    inner = chain(way.node(leaves("one")), way.node(leaves("two"))).compile(checkpointer=True)
    builder = StateGraph(Trail)
    for name in ("a", "b", "c"):
        builder.add_node(name, inner).add_edge(START, name)
    graph = builder.compile(log)
    how = {"stream_mode": ["tasks", "checkpoints"], "subgraphs": True, "durability": "sync"}
    chunks = way.stream(graph, {"trail": []}, THREAD, **how)
    tasks = [(payload["id"], "result" in payload) for _, mode, payload in chunks if mode == "tasks"]
    assert {task for task, is_end in tasks if is_end} == {task for task, is_end in tasks if not is_end}
    shown = {}
    for namespace, mode, payload in chunks:
        if mode == "checkpoints":
            shown.setdefault(namespace, []).append(payload["config"])
    assert len(shown) == 4
    for namespace, configs in shown.items():
        scope = {"configurable": {**THREAD["configurable"], "checkpoint_ns": "|".join(namespace)}}
        held = [found.config["configurable"]["checkpoint_id"] for found in graph.get_state_history(scope)]
        assert [config["configurable"]["checkpoint_id"] for config in reversed(configs)] == held


def test_output_keys_do_not_narrow_results(way, log) -> None:
    """A result is all that a task wrote; it once lacked what the graph, or the call, does not give out."""
    graph = chain(way.node(leaves("one", x=1))).compile(log)
    chunks = way.stream(graph, {"trail": []}, stream_mode=["updates", "tasks"], output_keys=["x"])
    assert [
        chunk.get("one") or chunk["result"] for _, chunk in chunks if "one" in chunk or "result" in chunk
    ] == [
        {"x": 1},
        {"trail": ["one"], "x": 1},
    ]


def test_a_resume_shows_its_checkpoint_and_all_tasks_of_the_step(way, log) -> None:
    """A task that had finished shows a start and its update, marked as cached, but no result (R-3)."""
    builder = StateGraph(Trail).add_node("ask", way.node(asks)).add_node("other", way.node(leaves("other")))
    graph = builder.add_edge(START, "ask").add_edge(START, "other").compile(log)
    way.invoke(graph, {"trail": []})
    done = {"id": "task 2", "name": "other", "result": {"trail": ["other"]}, "interrupts": (), "state": None}
    assert shown(way, graph, Command(resume="!"), DETAILS) == [
        ("values", {"trail": []}),
        ("checkpoints", checkpoint(1, 2, {"trail": []}, 0, due(1, "ask", interrupts=(QUESTION,)), done)),
        ("tasks", started(1, "ask", {"trail": []})),
        ("tasks", started(2, "other", {"trail": []})),
        ("updates", {"other": {"trail": ["other"]}, "__metadata__": {"cached": True}}),
        ("updates", {"ask": {"trail": ["!"]}}),
        ("tasks", ended(1, "ask", {"trail": ["!"]})),
        ("values", {"trail": ["!", "other"]}),
        ("checkpoints", checkpoint(3, 1, {"trail": ["!", "other"]}, 1)),
    ]
    names = Names()
    assert shown(way, graph, None, DETAILS, names) == [
        ("values", {"trail": ["!", "other"]}),
        ("checkpoints", checkpoint(1, 2, {"trail": ["!", "other"]}, 1)),
    ], "a run with nothing left to do"


def test_a_failure_is_a_result_and_is_shown_again_on_resume(way, log) -> None:
    """The exception itself where it happens, its text in the checkpoint that the next run takes up."""
    fails = [True]

    def shaky(state):
        if fails.pop():
            raise ValueError("bad")
        return {"trail": ["shaky"]}

    graph = chain(way.node(shaky)).compile(log)
    chunks: list = []
    with pytest.raises(ValueError, match="bad"):
        way.stream_to(chunks, graph, {"trail": []}, stream_mode="tasks")
    assert isinstance(chunks[-1]["error"], ValueError)
    assert Names().of(chunks) == [
        started(1, "shaky", {"trail": []}),
        ended(1, "shaky", {}, error="ValueError('bad')"),
    ]
    fails.append(False)
    failed = {"id": "task 1", "name": "shaky", "error": "ValueError('bad')", "state": None}
    assert shown(way, graph, None, ["tasks", "checkpoints"]) == [
        ("checkpoints", checkpoint(1, 2, {"trail": []}, 0, failed)),
        ("tasks", started(1, "shaky", {"trail": []})),
        ("tasks", ended(1, "shaky", {"trail": ["shaky"]})),
        ("checkpoints", checkpoint(3, 1, {"trail": ["shaky"]}, 1)),
    ]


def test_what_cannot_be_recorded_is_shown_as_a_failure_and_its_siblings_update_is_not_lost(way, log) -> None:
    """The update of a task that is refused was never true, so it is not shown; the others' is."""

    def bad(state):
        return {"x": object()}

    builder = StateGraph(Trail).add_node("bad", way.node(bad)).add_node("good", way.node(leaves("good")))
    graph = builder.add_edge(START, "bad").add_edge(START, "good").compile(log)
    chunks: list = []
    with pytest.raises(TypeError):
        way.stream_to(chunks, graph, {"trail": []}, stream_mode=["updates", "tasks"])
    assert [payload for mode, payload in chunks if mode == "updates"] == [{"good": {"trail": ["good"]}}]
    results = {p["name"]: p["error"] for mode, p in chunks if mode == "tasks" and "error" in p}
    assert set(results) == {"bad", "good"}
    assert results["good"] is None
    assert isinstance(results["bad"], TypeError)


def test_a_send_is_triggered_by_its_sender_and_writes_of_one_channel_are_listed(way, log) -> None:
    """``$writes`` holds the values in the order in which they were written."""

    def each(state):
        return {"trail": [state["n"]]}

    def twice(state):
        return [Command(update={"trail": ["a"]}), {"trail": ["b"], "x": 1}]

    builder = StateGraph(Trail).add_node("each", way.node(each)).add_node("twice", way.node(twice))
    builder.add_conditional_edges(START, lambda _: [Send("each", {"n": "a"})], ["each"]).add_edge(
        "each", "twice"
    )
    assert shown(way, builder.compile(log), {"trail": []}, "tasks") == [
        started(1, "each", {"n": "a"}, "__pregel_push"),
        ended(1, "each", {"trail": ["a"]}),
        started(2, "twice", {"trail": ["a"]}),
        ended(2, "twice", {"trail": {"$writes": [["a"], ["b"]]}, "x": 1}),
    ]


def test_triggers_name_the_edges_and_joins_that_lead_to_a_node(way, maybe_log) -> None:
    """All of them, whichever of them it was this time, as in LangGraph."""
    builder = StateGraph(Trail)
    for name in "abc":
        builder.add_node(name, way.node(leaves(name)))
    builder.add_edge(START, "a").add_edge(START, "b").add_edge(["a", "b"], "c")
    starts = way.stream(builder.compile(maybe_log), {"trail": []}, stream_mode="tasks")
    assert [(chunk["name"], chunk["triggers"]) for chunk in starts if "triggers" in chunk] == [
        ("a", ("branch:to:a",)),
        ("b", ("branch:to:b",)),
        ("c", ("branch:to:c", "join:a+b:c")),
    ]


def test_a_start_shows_metadata_and_tags_of_the_call(way, maybe_log) -> None:
    """Beside those of the node, and without what the engine put there."""
    builder = StateGraph(Trail).add_node(
        "one", way.node(leaves("one")), metadata={"about": "one", "who": "node"}
    )
    graph = builder.add_edge(START, "one").compile(maybe_log)
    config = {**THREAD, "metadata": {"who": "call", "why": 1}, "tags": ["tag"]}
    start, _ = way.stream(graph, {"trail": []}, config, stream_mode="tasks")
    assert start["metadata"] == {"about": "one", "who": "node", "why": 1, "tags": ["tag"]}


def test_subgraphs_show_their_tasks_and_checkpoints_under_their_namespace(way, log) -> None:
    """The task that runs one says beforehand where its state will be."""
    inner = chain(way.node(leaves("one"))).compile()
    graph = StateGraph(Trail).add_node("sub", inner).add_edge(START, "sub").compile(log)
    own = "sub:task 2"
    place = {"configurable": {"thread_id": "t", "checkpoint_ns": own}}
    chunks = shown(way, graph, {"trail": []}, ["tasks", "checkpoints"], subgraphs=True)

    def inside(payload):
        """Return the payload of a checkpoint of the subgraph, which names the one of the graph above."""
        for config in filter(None, (payload["config"], payload["parent_config"])):
            number = config["configurable"]["checkpoint_id"]
            config["configurable"] |= {
                "checkpoint_ns": own,
                "checkpoint_map": {"": "checkpoint 2", own: number},
            }
        payload["metadata"]["parents"] = {"": "checkpoint 2"}
        return payload

    assert chunks == [
        ((), "checkpoints", first(1, {"trail": []}, due(1, "__start__"))),
        ((), "checkpoints", checkpoint(2, 1, {"trail": []}, 0, due(2, "sub", state=place))),
        ((), "tasks", started(2, "sub", {"trail": []})),
        ((own,), "checkpoints", inside(first(3, {"trail": []}, due(3, "__start__")))),
        ((own,), "checkpoints", inside(checkpoint(4, 3, {"trail": []}, 0, due(4, "one")))),
        ((own,), "tasks", started(4, "one", {"trail": []})),
        ((own,), "tasks", ended(4, "one", {"trail": ["one"]})),
        ((own,), "checkpoints", inside(checkpoint(5, 4, {"trail": ["one"]}, 1))),
        ((), "tasks", ended(2, "sub", {"trail": ["one"]})),
        ((), "checkpoints", checkpoint(6, 2, {"trail": ["one"]}, 1)),
    ]
    assert {len(chunk) for chunk in way.stream(graph, {"trail": []}, stream_mode=DETAILS)} == {2}


def test_a_command_for_the_graph_above_is_shown_there(way, log) -> None:
    """G-3: the subgraph's node shows no end of its own."""

    def up(state):
        return Command(graph=Command.PARENT, update={"trail": ["up"]}, goto="after")

    inner = chain(way.node(up)).compile()
    builder = StateGraph(Trail).add_node("sub", inner).add_node("after", way.node(leaves("after")))
    graph = builder.add_edge(START, "sub").compile(log)
    chunks = shown(way, graph, {"trail": []}, ["updates", "tasks"], subgraphs=True)
    assert chunks == [
        ((), "tasks", started(1, "sub", {"trail": []})),
        (("sub:task 1",), "tasks", started(2, "up", {"trail": []})),
        ((), "updates", {"sub": {"trail": ["up"]}}),
        ((), "tasks", ended(1, "sub", {"trail": ["up"]})),
        ((), "tasks", started(3, "after", {"trail": ["up"]})),
        ((), "updates", {"after": {"trail": ["after"]}}),
        ((), "tasks", ended(3, "after", {"trail": ["after"]})),
    ]


def test_functions_show_their_arguments_and_what_they_returned(way, log) -> None:
    """ST-1; on resume a recorded call shows a start, and neither update nor result."""

    @task
    @way.node
    def double(x):
        return 2 * x

    @entrypoint(log)
    @way.flow
    def workflow(x):
        return [(yield double(x)), interrupt("?")]

    names, modes = Names(), ["tasks", "updates", "checkpoints"]
    called = started(2, "double", ((1,), {}), "__pregel_push")
    assert shown(way, workflow, 1, modes, names) == [
        ("checkpoints", first(1, None, due(1, "workflow"))),
        ("tasks", started(1, "workflow", 1, "__start__")),
        ("tasks", called),
        ("updates", {"double": 2}),
        ("tasks", ended(2, "double", {"__return__": 2})),
        ("updates", {"__interrupt__": ("Interrupt('?')",)}),
        ("tasks", ended(1, "workflow", {}, asked=("?",))),
    ]
    assert shown(way, workflow, Command(resume="!"), modes, names) == [
        ("checkpoints", first(1, None, due(1, "workflow", interrupts=(QUESTION,)))),
        ("tasks", started(1, "workflow", 1, "__start__")),
        ("tasks", called),
        ("updates", {"workflow": [2, "!"]}),
        ("tasks", ended(1, "workflow", {"__end__": [2, "!"]})),
        ("checkpoints", checkpoint(2, 1, [2, "!"], 0)),
    ]


def test_a_task_function_that_fails_shows_its_exception(way, maybe_log) -> None:
    """Whether or not its caller catches it."""

    @task
    @way.node
    def bad():
        raise ValueError("bad")

    @entrypoint(maybe_log)
    @way.flow
    def workflow(x):
        try:
            yield bad()
        except ValueError:
            return "caught"

    chunks = shown(way, workflow, 1, ["tasks", "updates"])
    assert [payload for mode, payload in chunks if mode == "updates"] == [{"workflow": "caught"}]
    assert ("tasks", ended(2, "bad", {}, error="ValueError('bad')")) in chunks


@pytest.mark.parametrize("way_name", ["sync", "async"])
def test_a_resume_in_another_process_shows_the_tasks_that_survived(tmp_path, way_name) -> None:
    """After a kill in the middle of a step, the finished sibling is shown as restored, the other one as run."""
    program = """
        import os, sys, threading
        from helpers import THREAD, Trail, leaves
        from walgraph import START, Log, StateGraph

        there = threading.Event()

        def dies(state):
            there.wait(20)
            os.kill(os.getpid(), 9)

        builder = StateGraph(Trail).add_node(leaves("kept")).add_node("dies", dies)
        graph = builder.add_edge(START, "kept").add_edge(START, "dies").compile(Log.open(sys.argv[1]))
        for mode, chunk in graph.stream({"trail": []}, THREAD, stream_mode=["tasks", "updates"], durability="sync"):
            print(mode, chunk["name"] if mode == "tasks" else list(chunk), flush=True)
            if mode == "updates":
                there.set()
    """
    path = tmp_path / "log.wal"
    assert "updates ['kept']" in killed(program, path).splitlines()
    from helpers import Way

    way = Way(way_name)
    with Log.open(path) as log:
        builder = StateGraph(Trail).add_node(leaves("kept")).add_node("dies", leaves("lives"))
        graph = builder.add_edge(START, "kept").add_edge(START, "dies").compile(log)
        assert shown(way, graph, None, ["updates", "tasks"]) == [
            ("tasks", started(1, "dies", {"trail": []})),
            ("tasks", started(2, "kept", {"trail": []})),
            ("updates", {"kept": {"trail": ["kept"]}, "__metadata__": {"cached": True}}),
            ("updates", {"dies": {"trail": ["lives"]}}),
            ("tasks", ended(1, "dies", {"trail": ["lives"]})),
        ]


def test_an_input_that_cannot_be_made_is_shown_as_the_values_it_is_made_of(way, maybe_log) -> None:
    """The task fails with the schema's error, and whoever watches sees why."""

    class Strict(BaseModel):
        trail: int

    def strict(state: Strict):
        raise AssertionError

    class Loose(TypedDict):
        trail: Annotated[list, operator.add]

    builder = StateGraph(Loose).add_node("strict", way.node(strict), input_schema=Strict)
    graph = builder.add_edge(START, "strict").compile(maybe_log)
    chunks: list = []
    with pytest.raises(ValueError, match="trail"):
        way.stream_to(chunks, graph, {"trail": ["no number"]}, stream_mode="tasks")
    assert chunks[0]["input"] == {"trail": ["no number"]}
    assert isinstance(chunks[1]["error"], ValueError)


def test_nothing_of_a_step_is_shown_under_sync_before_it_is_durable(log) -> None:
    """ST-2 differs: a start, a result and a checkpoint are shown only when the log holds what they tell."""
    graph = chain(leaves("one"), leaves("two")).compile(log)
    modes = ["tasks", "checkpoints"]
    for mode, payload in graph.stream({"trail": []}, THREAD, stream_mode=modes, durability="sync"):
        held = [stored.record for stored in log.read("t")]
        kinds = [type(record).__name__ for record in held]
        if mode == "checkpoints":
            assert graph.get_state(payload["config"]).values == payload["values"]
        elif "result" in payload:
            assert any(getattr(record, "path", None) == (payload["name"],) for record in held)
        else:
            assert "StepStarted" in kinds


def test_a_task_whose_routing_alone_was_repeated_shows_its_update(way, log) -> None:
    """Its body is not called again, so nothing else would tell the consumer of what it wrote (C-4)."""
    answers = [ZeroDivisionError("the router fails"), END]
    calls = []

    def body(state):
        calls.append("body")
        return {"trail": ["body"]}

    def router(state):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    builder = StateGraph(Trail).add_node("body", way.node(body)).add_edge(START, "body")
    graph = builder.add_conditional_edges("body", router).compile(log)
    with pytest.raises(ZeroDivisionError):
        way.invoke(graph, {"trail": []})
    chunks = shown(way, graph, None, ["updates", "tasks"])
    assert [payload for mode, payload in chunks if mode == "updates"] == [{"body": {"trail": ["body"]}}]
    assert chunks[-1] == ("tasks", ended(1, "body", {"trail": ["body"]}))
    assert calls == ["body"]
