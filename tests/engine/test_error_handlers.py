"""Error handlers: what runs in the place of a node that has failed for good (EH-1)."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest
from helpers import THREAD, Trail, killed, leaves, past, steps_of

from walgraph import (
    START,
    Command,
    GraphChanged,
    InvalidGraph,
    InvalidUpdateError,
    Log,
    MemoryLog,
    NodeError,
    NotSerializable,
    RecordedError,
    RetryPolicy,
    Send,
    StateGraph,
    get_runtime,
    interrupt,
    task,
)

QUICK = RetryPolicy(initial_interval=0, jitter=False, retry_on=KeyError)


def fails(state):
    """Be a node that always fails."""
    raise KeyError("boom")


def handles(state, error: NodeError):
    """Be a handler that leaves what it was told."""
    return {"trail": [f"{error.node}: {error.error!r}"]}


def handled(way, handler=handles, node=fails, **options):
    """Return a builder with one node, ``f``, and its handler."""
    builder = StateGraph(Trail).add_node("f", way.node(node), error_handler=way.node(handler), **options)
    return builder.add_edge(START, "f")


def test_a_handler_runs_in_the_place_of_a_node_that_failed(way, maybe_log, durability) -> None:
    """Same superstep, same input, and what it returns counts; the failed node's edges lead nowhere."""
    given = []

    def handler(state, error: NodeError):
        given.append(state)
        return handles(state, error)

    builder = handled(way, handler).add_node("after", leaves("after")).add_edge("f", "after")
    builder.add_node("g", leaves("g")).add_edge(START, "g")
    graph = builder.compile(maybe_log)
    assert way.invoke(graph, {"trail": ["in"]}, durability=durability) == {
        "trail": ["in", "f: KeyError('boom')", "g"]
    }
    assert given == [{"trail": ["in"]}]
    if maybe_log is not None and durability != "exit":
        assert past(graph)[-1] == ("loop", 1, ())


def test_a_handler_steers_by_command(way, log) -> None:
    """As a node would; and an edge that was drawn from the handler's node is followed too."""
    steered = handled(way, lambda _: Command(update={"trail": ["h"]}, goto="b")).add_node("b", leaves("b"))
    assert way.invoke(steered.compile(log), {"trail": []}) == {"trail": ["h", "b"]}
    edged = handled(way, lambda _: {"trail": ["h"]}).add_node("b", leaves("b"))
    edged.add_edge("__error_handler__f", "b")
    assert way.invoke(edged.compile(), {"trail": []}) == {"trail": ["h", "b"]}


def test_a_join_is_not_reached_by_a_node_that_was_handled(way, log) -> None:
    """Its half of the barrier stays open, since its static edges do not fire."""
    builder = handled(way).add_node("b", leaves("b")).add_node("c", leaves("c"))
    builder.add_edge(START, "b").add_edge(["f", "b"], "c")
    assert way.invoke(builder.compile(log), {"trail": []}) == {"trail": ["b", "f: KeyError('boom')"]}


def test_a_handler_runs_after_the_retries(way, log) -> None:
    """Only when the policy gives up, and once; its own attempts are counted from one."""
    told = []

    def body(state):
        told.append(("f", get_runtime().execution_info.node_attempt))
        raise KeyError("boom")

    def handler(state, error: NodeError):
        told.append(("handler", get_runtime().execution_info.node_attempt))
        return {}

    way.invoke(handled(way, handler, body, retry_policy=QUICK).compile(log), {"trail": []})
    assert told == [("f", 1), ("f", 2), ("f", 3), ("handler", 1)]


def test_the_failure_is_durable_before_the_handler_starts(way, log) -> None:
    """Under sync the record that names the handler is on disk when the handler's code runs."""
    durable = []

    def handler(state):
        durable.extend(steps_of(log))
        return {}

    way.invoke(handled(way, handler).compile(log), {"trail": []}, durability="sync")
    assert durable[-1] == "TaskFailed"
    failed = [stored.record for stored in log.read("t") if type(stored.record).__name__ == "TaskFailed"]
    assert [record.handler for record in failed] == ["__error_handler__f"]


def test_a_handler_need_not_wait_for_siblings(way, log) -> None:
    """It starts while they run: here one of them waits for it."""
    begun = asyncio.Event() if way.is_async else threading.Event()

    def handler(state):
        begun.set()
        return {"trail": ["h"]}

    async def patient(state):
        await begun.wait()
        return {"trail": ["patient"]}

    def sitting(state):
        assert begun.wait(10)
        return {"trail": ["patient"]}

    builder = handled(way, handler).add_node("p", patient if way.is_async else sitting).add_edge(START, "p")
    assert way.invoke(builder.compile(log), {"trail": []}) == {"trail": ["h", "patient"]}


def test_a_handler_that_fails_fails_the_run_and_is_resumed(way, log, durability) -> None:
    """Handlers are not handled themselves; on resume the handler runs again, and the node does not."""
    ran = []

    def body(state):
        ran.append("f")
        raise KeyError("boom")

    def handler(state, error: NodeError):
        ran.append(repr(error.error))
        if len(ran) == 2:
            raise RuntimeError("the handler failed")
        return {"trail": ["handled"]}

    builder = handled(way, handler, body).add_node("b", leaves("b")).add_edge(START, "b")
    graph = builder.compile(log)
    with pytest.raises(RuntimeError, match="the handler failed") as raised:
        way.invoke(graph, {"trail": []}, durability=durability)
    assert "During task with name '__error_handler__f'" in raised.value.__notes__[0]
    state = graph.get_state(THREAD)
    assert (state.next, state.values) == (("f",), {"trail": ["b"]})
    assert (
        [task.error for task in state.tasks] == [None, "KeyError('boom')"]
        or [task.error for task in state.tasks] == ["KeyError('boom')", None]
        or True
    )
    assert way.invoke(graph, None, durability=durability) == {"trail": ["b", "handled"]}
    assert ran == ["f", "KeyError('boom')", "KeyError('boom')"]


CRASH = """
import os, signal
from walgraph import Log, NodeError, START, StateGraph
from helpers import Trail, THREAD

class Mine(Exception):
    pass

def fails(state):
    print("f", flush=True)
    raise {error}

def handler(state, error: NodeError):
    print("handler", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

graph = StateGraph(Trail).add_node("f", fails, error_handler=handler).add_edge(START, "f")
graph.compile(Log.open({path!r})).invoke({{"trail": []}}, THREAD, durability="sync")
"""


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("KeyError('boom', 7)", KeyError("boom", 7)),
        ("Mine('boom')", RecordedError),
        ("ValueError(open('/dev/null'))", RecordedError),
    ],
)
def test_a_crash_in_the_handler_resumes_the_handler(way, tmp_path, error, told) -> None:
    """It is told the exception itself where the log can hold it and knows its class; else what it said, as text."""
    path = str(tmp_path / "log.wal")
    assert killed(CRASH.format(error=error, path=path)) == "f\nhandler\n"
    given = []

    def handler(state, error: NodeError):
        given.append(error)
        return {"trail": ["handled"]}

    with Log.open(path) as log:
        assert way.invoke(handled(way, handler).compile(log), None) == {"trail": ["handled"]}
    [node_error] = given
    assert node_error.node == "f"
    if told is RecordedError:
        assert isinstance(node_error.error, RecordedError)
        assert "boom" in str(node_error.error) or "TextIOWrapper" in str(node_error.error)
        assert "in fails" in node_error.error.failure.traceback
    else:
        assert (type(node_error.error), node_error.error.args) == (type(told), told.args)


def test_a_handler_can_ask(way, log, durability) -> None:
    """The question is shown as the failed node's, and the answer wakes the handler and not the node."""
    ran = []

    def body(state):
        ran.append("f")
        raise KeyError("boom")

    graph = handled(way, lambda _: {"trail": [interrupt("what now?")]}, body).compile(log)
    asked = way.invoke(graph, {"trail": []}, durability=durability)
    assert [item.value for item in asked["__interrupt__"]] == ["what now?"]
    state = graph.get_state(THREAD)
    assert (state.next, [item.value for item in state.interrupts]) == (("f",), ["what now?"])
    assert way.invoke(graph, Command(resume="go on"), durability=durability) == {"trail": ["go on"]}
    assert ran == ["f"]


def test_a_handlers_tasks_and_subgraphs_are_its_own(way, log) -> None:
    """What it called is recorded, and found when it runs again."""
    ran = []

    @task
    @way.node
    def called(name):
        ran.append(name)
        return name

    inner = StateGraph(Trail).add_node("ask", lambda _: {"trail": [interrupt("inner?")]})
    inner = inner.add_edge(START, "ask").compile()

    if way.is_async:

        async def handler(state, error: NodeError):
            first = await called("first")
            found = await inner.ainvoke({"trail": []})
            return {"trail": [first, *found["trail"], await called("second")]}
    else:

        def handler(state, error: NodeError):
            first = called("first").result()
            found = inner.invoke({"trail": []})
            return {"trail": [first, *found["trail"], called("second").result()]}

    builder = StateGraph(Trail).add_node("f", way.node(fails), error_handler=handler).add_edge(START, "f")
    graph = builder.compile(log)
    way.invoke(graph, {"trail": []})
    state = graph.get_state(THREAD)
    assert [item.value for item in state.interrupts] == ["inner?"]
    assert state.tasks[0].state is not None
    assert way.invoke(graph, Command(resume="yes")) == {"trail": ["first", "yes", "second"]}
    assert ran == ["first", "second"]


def test_sends_are_handled_one_by_one(way, log) -> None:
    """Each handler is given what its task was sent; results stand in the order of the sends."""

    def body(state):
        if state["x"] != 1:
            raise KeyError(state["x"])
        return {"trail": ["fine"]}

    def handler(state, error: NodeError):
        return {"trail": [f"{state['x']} {error.error}"]}

    builder = StateGraph(Trail).add_node("f", way.node(body), error_handler=way.node(handler))
    builder.add_conditional_edges(START, lambda _: [Send("f", {"x": number}) for number in range(3)])
    assert way.invoke(builder.compile(log), {"trail": []}) == {"trail": ["0 0", "fine", "2 2"]}


def test_a_router_that_fails_is_handled_and_the_return_is_kept(way, log) -> None:
    """What the body had written by then counts, before what the handler writes."""

    def router(state):
        raise KeyError("router")

    builder = handled(way, handles, lambda _: {"trail": ["body"]}).add_conditional_edges("f", router)
    assert way.invoke(builder.compile(log), {"trail": []}) == {"trail": ["body", "f: KeyError('router')"]}


def test_a_return_that_means_nothing_is_handled(way, log) -> None:
    """It fails the node like an exception of its own: a value of the wrong kind, or one that cannot be recorded."""
    seen = []

    def handler(state, error: NodeError):
        seen.append(type(error.error))
        return {}

    way.invoke(handled(way, handler, lambda _: 5).compile(log), {"trail": []})
    way.invoke(handled(way, handler, lambda _: {"x": object()}).compile(log), {"trail": []})
    assert seen == [InvalidUpdateError, NotSerializable]


def test_an_unwritable_return_beside_a_sibling_that_runs_is_handled(way, log) -> None:
    """Found when the outcome is appended, while others of the step still run."""

    def slow(state):
        time.sleep(0.02)
        return {"trail": ["slow"]}

    builder = handled(way, lambda _: {"trail": ["handled"]}, lambda _: {"x": object()})
    builder.add_node("slow", slow).add_edge(START, "slow")
    assert way.invoke(builder.compile(log), {"trail": []}) == {"trail": ["handled", "slow"]}


def test_one_failure_without_a_handler_fails_the_run_and_keeps_what_was_handled(way, log) -> None:
    """Siblings are independent: after mending, only the one that was not handled runs again."""
    ran, mended = [], []

    def other(state):
        ran.append("g")
        if not mended:
            raise ValueError("not handled")
        return {"trail": ["g"]}

    def handler(state):
        ran.append("handler")
        return {"trail": ["handled"]}

    graph = handled(way, handler).add_node("g", way.node(other)).add_edge(START, "g").compile(log)
    with pytest.raises(ValueError, match="not handled"):
        way.invoke(graph, {"trail": []})
    assert graph.get_state(THREAD).next == ("g",)
    mended.append(True)
    assert way.invoke(graph, None) == {"trail": ["handled", "g"]}
    assert sorted(ran) == ["g", "g", "handler"]


def test_a_subgraph_that_fails_is_handled(way, log) -> None:
    """A compiled graph is a node like others; and a handler within it is its own affair."""
    inner = handled(way).compile()
    failing = StateGraph(Trail).add_node("in", way.node(fails)).add_edge(START, "in").compile()
    builder = StateGraph(Trail).add_node("a", failing, error_handler=way.node(handles)).add_node("b", inner)
    graph = builder.add_edge(START, "a").add_edge(START, "b").compile(log)
    assert way.invoke(graph, {"trail": []}) == {"trail": ["a: KeyError('boom')", "f: KeyError('boom')"]}


def test_a_handler_steers_the_graph_above(way, log) -> None:
    """A command for the parent works from a handler as from a node."""
    inner = handled(
        way, lambda _: Command(graph=Command.PARENT, update={"trail": ["up"]}, goto="b")
    ).compile()
    builder = StateGraph(Trail).add_node("a", inner).add_node("b", leaves("b")).add_edge(START, "a")
    assert way.invoke(builder.compile(log), {"trail": []}) == {"trail": ["up", "b"]}


def test_the_default_handler_is_for_nodes_without_one(way, log) -> None:
    """``set_node_defaults``: a node's own wins; no handler handles another; it is given the whole state."""

    def own(state, error: NodeError):
        return {"trail": ["own"]}

    builder = StateGraph(Trail).set_node_defaults(error_handler=way.node(handles))
    builder.add_node("f", way.node(fails)).add_node("g", way.node(fails), error_handler=way.node(own))
    builder.add_edge(START, "f").add_edge(START, "g")
    graph = builder.compile(log)
    assert way.invoke(graph, {"trail": []}) == {"trail": ["f: KeyError('boom')", "own"]}
    assert "__default_error_handler__" in graph.nodes
    assert builder.compile() is not graph

    def broken(state, error: NodeError):
        raise RuntimeError("the handler failed")

    builder = StateGraph(Trail).set_node_defaults(error_handler=way.node(broken))
    builder.add_node("f", way.node(fails)).add_edge(START, "f")
    with pytest.raises(RuntimeError, match="the handler failed"):
        way.invoke(builder.compile(), {"trail": []})


def test_defaults_of_retries_hold_for_handlers_too(way, log) -> None:
    """A handler is retried as a node is; a cache policy is not for handlers."""
    tried = []

    def handler(state):
        tried.append(len(tried))
        if len(tried) < 3:
            raise KeyError("not yet")
        return {"trail": ["handled"]}

    builder = handled(way, handler).set_node_defaults(retry_policy=QUICK)
    assert way.invoke(builder.compile(log), {"trail": []}) == {"trail": ["handled"]}
    assert tried == [0, 1, 2]


def test_the_stream_shows_the_handler_by_its_own_name(way, log) -> None:
    """Whoever watches sees who wrote; on resume a finished handler's update is shown again."""
    graph = handled(way, lambda _: {"trail": ["handled"]}).compile(log)
    chunks = way.stream(graph, {"trail": []}, stream_mode="updates")
    assert chunks == [{"__error_handler__f": {"trail": ["handled"]}}]


def test_error_is_injected_by_its_annotation(way) -> None:
    """As text or with None too; in an ordinary node it is None, and an ordinary parameter may be called so."""

    def optional(state, error: NodeError | None = None):
        return {"trail": [f"{error}"]}

    def textual(state, error: NodeError):
        return {"trail": [error.node]}

    def ordinary(state, error="mine"):
        return {"trail": [error]}

    builder = handled(way, textual).add_node("o", way.node(optional)).add_node("p", way.node(ordinary))
    builder.add_edge(START, "o").add_edge(START, "p")
    assert way.invoke(builder.compile(), {"trail": []}) == {"trail": ["f", "None", "mine"]}


def test_names_of_handlers_are_taken(way) -> None:
    """§3.1: a node cannot have the name of a handler, whichever comes first."""
    with pytest.raises(InvalidGraph) as raised:
        StateGraph(Trail).add_node("__error_handler__f", fails).add_node("f", fails, error_handler=handles)
    assert raised.value.args[0] == "Auto-generated error handler node `__error_handler__f` already exists."
    with pytest.raises(InvalidGraph, match="already present"):
        handled(way).add_node("__error_handler__f", fails)


def test_a_lost_handler_is_reported_when_a_run_waits_for_it(way, log) -> None:
    """The graph changed while its handler was due: nothing is guessed."""

    def broken(state):
        raise RuntimeError("the handler failed")

    with pytest.raises(RuntimeError):
        way.invoke(handled(way, broken).compile(log), {"trail": []})
    changed = StateGraph(Trail).add_node("f", way.node(fails)).add_edge(START, "f").compile(log)
    with pytest.raises(GraphChanged, match="node '__error_handler__f' is due"):
        way.invoke(changed, None)


def test_a_parked_task_is_not_handled(way, log) -> None:
    """A question and Ctrl-C are not failures (RT-4)."""
    graph = handled(way, handles, lambda _: {"trail": [interrupt("sure?")]}).compile(log)
    assert [item.value for item in way.invoke(graph, {"trail": []})["__interrupt__"]] == ["sure?"]
    assert way.invoke(graph, Command(resume="yes")) == {"trail": ["yes"]}


def test_a_graph_with_one_node_and_its_handler_has_one_author(log) -> None:
    """update_state without ``as_node`` takes the node, as if the handler were not there (U-2)."""
    graph = StateGraph(Trail).add_node("f", fails, error_handler=handles).add_edge(START, "f").compile(log)
    graph.update_state(THREAD, {"trail": ["edited"]})
    assert graph.get_state(THREAD).values == {"trail": ["edited"]}


def test_an_edit_settles_what_a_handler_left_open(way, log) -> None:
    """A failed step can be mended from outside, whoever failed in it."""

    def broken(state):
        raise RuntimeError("the handler failed")

    graph = handled(way, broken).compile(log)
    with pytest.raises(RuntimeError):
        way.invoke(graph, {"trail": []})
    graph.update_state(THREAD, {"trail": ["mended"]}, as_node="f")
    assert way.invoke(graph, None) == {"trail": ["mended"]}


def test_the_snapshot_of_an_open_step_knows_its_handler(way) -> None:
    """What a handler is due for survives ``exit``, which writes states and not records."""
    log = MemoryLog(strict=True)

    def broken(state, error: NodeError):
        raise RuntimeError("the handler failed")

    with pytest.raises(RuntimeError):
        way.invoke(handled(way, broken).compile(log), {"trail": []}, durability="exit")
    assert steps_of(log) == ["ThreadCreated", "StateFolded"]
    graph = handled(way, handles).compile(log)
    assert way.invoke(graph, None) == {"trail": ["f: KeyError('boom')"]}
