"""Where a subgraph's state lies: namespaces are LangGraph's, text for text, and outlive resumes (P-8, §2.11)."""

from __future__ import annotations

import re

import pytest
from helpers import THREAD, Trail, chain, killed, leaves, on
from subgraph_helpers import Child, inner_node, nested_in, parent_of

from walgraph import (
    END,
    START,
    Command,
    InvalidUpdateError,
    Log,
    Send,
    StateGraph,
    entrypoint,
    get_config,
    interrupt,
    task,
)


def here():
    """Return the namespace of the running task, with ``*`` for ids."""
    return re.sub(
        r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "*", get_config()["configurable"]["checkpoint_ns"]
    )


def tells_where(way, seen):
    """Return a node ``i`` that notes its namespace."""

    def i(state):
        seen.append(here())
        return {"trail": ["i"]}

    return way.node(i)


def calls(way, *graphs):
    """Return a node that calls graphs one after another."""

    def several(state):
        return {"x": [graph.invoke({"trail": []})["trail"] for graph in graphs]}

    async def aseveral(state):
        return {"x": [(await graph.ainvoke({"trail": []}))["trail"] for graph in graphs]}

    return aseveral if way.is_async else several


def test_each_call_in_a_node_has_a_namespace(way, maybe_log) -> None:
    """§2.11: the first has the task's own, the n-th the number n-1 behind it; True leaves out the ids."""
    seen: list[str] = []
    fresh = chain(tells_where(way, seen)).compile()
    lasting = chain(tells_where(way, seen)).compile(True)
    graph = StateGraph(Trail).add_node("n", calls(way, fresh, fresh, lasting, fresh)).add_edge(START, "n")
    way.invoke(graph.compile(maybe_log), {})
    assert seen == ["n:*|i:*", "n:*|1|i:*", "n|2|i:*", "n:*|3|i:*"]


def test_a_task_is_a_level_of_the_namespace(way, maybe_log) -> None:
    """T-13, P-8: what a ``@task`` runs lies below the task, and the task below its caller."""
    seen: list[str] = []
    inner = chain(tells_where(way, seen)).compile()
    lasting = chain(tells_where(way, seen)).compile(True)
    inside = calls(way, inner, lasting)

    @task
    @way.node
    def note():
        seen.append(here())

    if way.is_async:

        @task
        async def call():
            await note()
            return await inside({})
    else:

        @task
        def call():
            note().result()
            return inside({})

    @entrypoint(maybe_log)
    @way.flow
    def flow(given):
        seen.append(here())
        yield call()

    way.invoke(flow, 1)
    assert seen == ["flow:*", "flow:*|call:*|note:*", "flow:*|call:*|i:*", "flow|call|1|i:*"]


def test_streams_show_the_parts_of_a_namespace(way, maybe_log) -> None:
    """§2.18: what follows a ``|`` is a part of its own, the number of a call too."""
    inner = chain(leaves("i")).compile()
    graph = StateGraph(Trail).add_node("n", calls(way, inner, inner)).add_edge(START, "n").compile(maybe_log)
    chunks = way.stream(graph, {}, subgraphs=True, stream_mode="updates")
    assert [tuple(re.sub(":.*", ":*", part) for part in chunk[0]) for chunk in chunks] == [
        ("n:*",),
        ("n:*", "1"),
        (),
    ]


def test_a_lasting_subgraph_below_a_fresh_one_remembers(way, log, ran, kind) -> None:
    """§2.11: True leaves out the ids of all levels, so the history goes on though what is between begins anew."""
    inner = chain(inner_node(way, ran, "one"), state=Child).compile(True)
    middle = chain(way.node(leaves("m")), state=Child).add_node("sub", nested_in(way, kind, inner))
    middle = middle.add_edge("m", "sub").compile()
    graph = StateGraph(Trail).add_node("mid", middle).add_edge(START, "mid").compile(log)
    assert [way.invoke(graph, {}, on(name))["trail"] for name in "aab"] == [
        ["one"],
        ["one", "one", "one"],
        ["one"],
    ]


def test_the_second_call_of_a_lasting_subgraph_has_a_history_too(way, log, ran, durability) -> None:
    """It was dropped with the step of its caller: its name was taken for that of a task's subgraph."""
    inner = chain(inner_node(way, ran, "one"), state=Child).compile(True)
    graph = StateGraph(Trail).add_node("n", calls(way, inner, inner)).add_edge(START, "n").compile(log)
    found = [way.invoke(graph, {}, durability=durability)["x"] for _ in range(3)]
    assert found == [[["one"] * n, ["one"] * n] for n in (1, 2, 3)]


def test_a_lasting_subgraph_goes_on_in_a_loop_and_from_task_to_task(way, log, ran) -> None:
    """One after another, each call finds what the one before left."""
    inner = chain(inner_node(way, ran, "one"), state=Child).compile(True)
    builder = StateGraph(Trail).add_node("n", calls(way, inner)).add_edge(START, "n")
    builder.add_conditional_edges("n", lambda state: END if len(state["x"][0]) % 3 == 0 else "n")
    graph = builder.compile(log)
    assert [way.invoke(graph, {})["x"] for _ in range(2)] == [[["one"] * 3], [["one"] * 6]]

    inside = calls(way, inner)

    @task
    async def acall():
        return await inside({})

    @task
    def call():
        return inside({})

    called = acall if way.is_async else call

    @entrypoint(log)
    @way.flow
    def flow(given):
        first = yield called()
        second = yield called()
        return [first["x"], second["x"]]

    assert way.invoke(flow, 1, on("tasks")) == [[["one"]], [["one", "one"]]]
    assert way.invoke(flow, 1, on("tasks")) == [[["one"] * 3], [["one"] * 4]]


def test_a_question_below_a_task_finds_its_answer(way, log, ran, durability) -> None:
    """The graph above the subgraph is the one around the task, whatever the namespace's text looks like."""
    asking = inner_node(way, ran, "ask", lambda _: interrupt("?"))
    inner = chain(inner_node(way, ran, "one"), asking, state=Child).compile(True)
    middle = StateGraph(Trail).add_node("m", nested_in(way, "task", inner)).add_edge(START, "m").compile()
    graph = parent_of(way, ran, log, nested_in(way, "task", middle))
    (asked,) = way.invoke(graph, {"trail": []}, durability=durability)["__interrupt__"]
    assert graph.get_state(THREAD).interrupts == (asked,)
    found = way.invoke(graph, Command(resume={asked.id: "!"}), durability=durability)
    assert found["trail"] == ["before", "before", "one", "ask=!", "after"]
    assert ran.names == ["before", "one", "ask", "ask", "after"]


def test_two_tasks_of_a_step_cannot_share_a_lasting_subgraph_that_waits(way, log, ran) -> None:
    """The second would begin anew what the first is to go on with, so it is refused; LangGraph mixes them up."""
    inner = chain(inner_node(way, ran, "ask", lambda _: interrupt("?")), state=Child).compile(True)
    inside = calls(way, inner)

    @task
    async def acall():
        return await inside({})

    @task
    def call():
        return inside({})

    called = acall if way.is_async else call

    @entrypoint(log)
    @way.flow
    def flow(given):
        try:
            yield called()
        except BaseException:  # It catches the question, which code must not.
            yield called()

    with pytest.raises(InvalidUpdateError, match="two tasks of one step run it at once"):
        way.invoke(flow, 1)


def test_parallel_sends_to_a_lasting_subgraph_are_refused(way, log, ran) -> None:
    """§2.11: they would share one history; the error says which subgraph it is."""
    inner = chain(inner_node(way, ran, "ask", lambda _: interrupt("?")), state=Child).compile(True)
    builder = StateGraph(Trail).add_node("sub", inner)
    builder.add_conditional_edges(START, lambda _: [Send("sub", {}), Send("sub", {})], ["sub"])
    with pytest.raises(InvalidUpdateError, match="subgraph 'sub' of thread 't' keeps its state"):
        way.invoke(builder.compile(log), {})


def test_a_breakpoint_inside_gives_no_empty_list_of_questions(way, log) -> None:
    """I-18: ``__interrupt__`` is there when something was asked; a stop inside of a subgraph asks nothing."""
    inner = chain(*map(leaves, "ij")).compile(interrupt_before=["j"])
    graph = chain(leaves("a")).add_node("sub", inner).add_edge("a", "sub").compile(log)
    assert way.invoke(graph, {"trail": []}) == {"trail": ["a"]}
    assert way.invoke(graph, None) == {"trail": ["a", "a", "i", "j"]}


def test_questions_are_listed_as_tasks_are(way, log) -> None:
    """P-3: sends by index, then nodes by name, each before what it runs; ids, which look random, decide nothing."""

    def ask(state):
        return {"trail": [interrupt(state["x"])]}

    inner = chain(way.node(ask)).compile()
    builder = StateGraph(Trail).add_node("sub", inner).add_node("b", way.node(ask)).add_node("a", inner)
    sends = [Send("sub", {"x": n, "trail": []}) for n in range(5)]
    builder.add_conditional_edges(START, lambda _: [*sends, "a", "b"], ["sub", "a", "b"])
    graph = builder.compile(log)
    asked = way.invoke(graph, {"x": "own"})["__interrupt__"]
    assert [item.value for item in asked] == [0, 1, 2, 3, 4, "own", "own"]
    # The state lists nodes as they were added.
    assert graph.get_state(THREAD).interrupts == (*asked[:5], asked[6], asked[5])


def test_a_namespace_is_the_same_in_another_process(tmp_path) -> None:
    """A subgraph's call below a task that a killed process had begun goes on where it was, by its name."""
    program = """
        import os, signal, sys
        from walgraph import Log, entrypoint, task
        from helpers import THREAD, chain, leaves

        def die(state):
            os.kill(os.getpid(), signal.SIGKILL)

        inner = chain(leaves("one"), die).compile(name="inner")

        @task
        def call():
            return [inner.invoke({"trail": [n]})["trail"] for n in "a"]

        @entrypoint(Log.open(sys.argv[1]))
        def flow(given):
            return call().result()

        flow.invoke(1, THREAD, durability="sync")
        """
    killed(program, tmp_path / "log.wal")
    ran: list[str] = []

    def one(state):
        ran.append("one")

    def die(state):
        return {"trail": ["lives"]}

    inner = chain(one, die).compile(name="inner")

    @task
    def call():
        return [inner.invoke({"trail": [n]})["trail"] for n in "a"]

    with Log.open(tmp_path / "log.wal") as log:

        @entrypoint(log)
        def flow(given):
            return call().result()

        assert flow.invoke(None, THREAD) == [["a", "one", "lives"]]
    assert ran == []
