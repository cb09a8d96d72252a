"""Questions that say what their answer must look like: ``interrupt(..., response_schema=…)`` (I-12)."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Literal, NotRequired, TypedDict

import pytest
from helpers import THREAD, Trail, asks, drawn, leaves, on
from pydantic import BaseModel, Field, ValidationError
from subgraph_helpers import nested_in

from walgraph import (
    START,
    Command,
    Interrupt,
    Log,
    NotAvailable,
    RetryPolicy,
    StateGraph,
    entrypoint,
    interrupt,
    is_invalid_resume,
    task,
)


class Model(BaseModel):
    """A pydantic model."""

    ok: bool
    n: int = Field(gt=0, default=1)


@dataclass
class Data:
    """A dataclass."""

    ok: bool
    n: int = 1


class Dict(TypedDict):
    """A TypedDict."""

    ok: bool
    n: NotRequired[int]


def wants(schema):
    """Return a node ``ask`` whose question's answer is to look so."""

    def ask(state):
        return {"x": interrupt("q", response_schema=schema)}

    return ask


def asking(name, ran):
    """Return a node that notes that it runs, and asks for a number."""

    def ask(state):
        ran.append(name)
        return {"trail": [interrupt(name, response_schema=int)]}

    ask.__name__ = name
    return ask


SHOWN = {
    Model: {
        "description": "A pydantic model.",
        "properties": {
            "ok": {"title": "Ok", "type": "boolean"},
            "n": {"default": 1, "exclusiveMinimum": 0, "title": "N", "type": "integer"},
        },
        "required": ["ok"],
        "title": "Model",
        "type": "object",
    },
    Data: {
        "description": "A dataclass.",
        "properties": {
            "ok": {"title": "Ok", "type": "boolean"},
            "n": {"default": 1, "title": "N", "type": "integer"},
        },
        "required": ["ok"],
        "title": "Data",
        "type": "object",
    },
    Dict: {
        "description": "A TypedDict.",
        "properties": {"ok": {"title": "Ok", "type": "boolean"}, "n": {"title": "N", "type": "integer"}},
        "required": ["ok"],
        "title": "Dict",
        "type": "object",
    },
    int: {"type": "integer"},
    Literal["a", "b"]: {"enum": ["a", "b"], "type": "string"},
}


@pytest.mark.parametrize("schema", SHOWN, ids=repr)
def test_a_type_is_shown_as_a_json_schema(way, maybe_log, schema) -> None:
    """Whoever answers needs no Python to know what is wanted."""
    graph = drawn(way, wants(schema), edges=">ask").compile(maybe_log)
    (asked,) = way.invoke(graph, {})["__interrupt__"]
    assert asked.response_schema == SHOWN[schema]
    if maybe_log is not None:
        assert graph.get_state(THREAD).interrupts == (asked,)


def test_an_answer_becomes_what_the_schema_says(way, log, durability) -> None:
    """As pydantic reads it: defaults are filled in, texts become numbers."""
    for schema, expected in (
        (Model, Model(ok=True, n=5)),
        (Data, Data(True, 5)),
        (Dict, {"ok": True, "n": 5}),
    ):
        graph = drawn(way, wants(schema), edges=">ask").compile(log)
        way.invoke(graph, {}, durability=durability)
        found = way.invoke(graph, Command(resume={"ok": "true", "n": "5"}), durability=durability)
        assert found["x"] == expected
        assert type(found["x"]) is type(expected)


def test_a_dict_is_shown_and_not_enforced(way, log) -> None:
    """A JSON schema is for whoever asks the user, as in LangGraph."""
    graph = drawn(way, wants({"type": "integer"}), edges=">ask").compile(log)
    assert way.invoke(graph, {})["__interrupt__"][0].response_schema == {"type": "integer"}
    assert way.invoke(graph, Command(resume="text"))["x"] == "text"


def test_an_answer_that_does_not_fit_can_be_given_again(way, log, durability) -> None:
    """The error of pydantic reaches the caller, marked; the question is open as before, under the same id."""
    graph = drawn(way, wants(Model), leaves("b"), edges=">ask ask>b").compile(log)
    (asked,) = way.invoke(graph, {}, durability=durability)["__interrupt__"]
    for wrong in ({"ok": "maybe"}, {}, None, {"ok": True, "n": 0}):
        with pytest.raises(ValidationError, match="validation error") as caught:
            way.invoke(graph, Command(resume={asked.id: wrong}), durability=durability)
        assert is_invalid_resume(caught.value)
        assert any("can be answered again" in note for note in caught.value.__notes__)
        assert graph.get_state(THREAD).interrupts == (asked,)
        assert [head.status for head in log.threads()] == ["interrupted"]
    assert way.invoke(graph, None, durability=durability)["__interrupt__"] == [asked]
    assert way.invoke(graph, Command(resume={"ok": True}), durability=durability) == {
        "trail": ["b"],
        "x": Model(ok=True),
    }
    assert not is_invalid_resume(ValueError())


def test_siblings_take_their_answers_all_the_same(way, log, durability) -> None:
    """What fits is used, once; only who got a wrong answer asks again."""
    ran: list[str] = []
    graph = drawn(way, asking("a", ran), asking("b", ran), leaves("s"), edges=">a,b,s").compile(log)
    a, b = way.invoke(graph, {}, durability=durability)["__interrupt__"]
    with pytest.raises(ValidationError):
        way.invoke(graph, Command(resume={a.id: "x", b.id: 2}), durability=durability)
    state = graph.get_state(THREAD)
    assert state.values == {"trail": [2, "s"]}
    assert (state.next, state.interrupts) == (("a",), (a,))
    assert way.invoke(graph, Command(resume=1), durability=durability) == {"trail": [1, 2, "s"]}
    assert sorted(ran) == ["a", "a", "a", "b", "b"]


@pytest.mark.parametrize("checkpointer", [None, True, False])
def test_a_wrong_answer_to_a_subgraph_leaves_it_waiting(way, log, kind, durability, checkpointer) -> None:
    """The error comes up through all levels, and the answer after it goes down again."""
    inner = drawn(way, leaves("s"), wants(int), edges=">s s>ask").compile(checkpointer)
    graph = StateGraph(Trail).add_node("sub", nested_in(way, kind, inner)).add_edge(START, "sub").compile(log)
    (asked,) = way.invoke(graph, {}, durability=durability)["__interrupt__"]
    for _ in range(2):
        with pytest.raises(ValidationError) as caught:
            way.invoke(graph, Command(resume="text"), durability=durability)
        assert is_invalid_resume(caught.value)
        assert graph.get_state(THREAD).interrupts == (asked,)
    assert way.invoke(graph, Command(resume=3), durability=durability) == {"trail": ["s"], "x": 3}


def test_a_wrong_answer_to_a_task_leaves_it_waiting(way, log, durability) -> None:
    """The task and its caller wait on, and what the caller had called before is not called again."""
    ran: list[str] = []

    @task
    @way.node
    def before():
        ran.append("before")
        return 1

    @task
    @way.node
    def ask(what):
        return interrupt(what, response_schema=int)

    @entrypoint(log)
    @way.flow
    def flow(given):
        return [(yield before()), *(yield [ask("a"), ask("b")])]

    a, b = way.invoke(flow, 0, durability=durability)["__interrupt__"]
    with pytest.raises(ValidationError):
        way.invoke(flow, Command(resume={a.id: 2, b.id: "x"}), durability=durability)
    assert flow.get_state(THREAD).interrupts == (b,)
    assert way.invoke(flow, Command(resume=3), durability=durability) == [1, 2, 3]
    assert ran == ["before"]


def test_the_second_question_of_a_node_can_be_the_one_that_is_refused(way, log) -> None:
    """The answer to the first is kept."""

    def ask(state):
        return {"trail": [interrupt("a", response_schema=int), interrupt("b", response_schema=int)]}

    graph = drawn(way, ask, edges=">ask").compile(log)
    way.invoke(graph, {})
    way.invoke(graph, Command(resume=1))
    with pytest.raises(ValidationError):
        way.invoke(graph, Command(resume="x"))
    assert [item.value for item in graph.get_state(THREAD).interrupts] == ["b"]
    assert way.invoke(graph, Command(resume=2)) == {"trail": [1, 2]}


def test_a_node_may_catch_the_error_and_ask_on(way, log) -> None:
    """Then the answer has been used, and the next question is another one."""

    def ask(state):
        while True:
            try:
                return {"trail": [interrupt("number?", response_schema=int)]}
            except ValueError:
                continue

    graph = drawn(way, ask, edges=">ask").compile(log)
    (first,) = way.invoke(graph, {})["__interrupt__"]
    (second,) = way.invoke(graph, Command(resume="x"))["__interrupt__"]
    assert first.id != second.id
    assert way.invoke(graph, Command(resume=4)) == {"trail": [4]}


def test_a_wrong_answer_is_no_reason_to_retry(way, log) -> None:
    """Another attempt would be given the same answer."""
    ran: list[int] = []

    def ask(state):
        ran.append(1)
        return {"x": interrupt("q", response_schema=int)}

    always = RetryPolicy(0, 1, 0, 5, jitter=False, retry_on=Exception)
    graph = (
        StateGraph(Trail)
        .add_node("ask", way.node(ask), retry_policy=always)
        .add_edge(START, "ask")
        .compile(log)
    )
    way.invoke(graph, {})
    with pytest.raises(ValidationError):
        way.invoke(graph, Command(resume="x"))
    assert len(ran) == 2
    assert way.invoke(graph, Command(resume=1))["x"] == 1


def test_a_wrong_answer_is_not_for_an_error_handler(way, log) -> None:
    """The node has not failed; LangGraph's handler takes it, and the question is gone."""
    handled: list[object] = []
    builder = StateGraph(Trail)
    builder.add_node("ask", way.node(wants(int)), error_handler=way.node(handled.append)).add_edge(
        START, "ask"
    )
    graph = builder.compile(log)
    way.invoke(graph, {})
    with pytest.raises(ValidationError):
        way.invoke(graph, Command(resume="x"))
    assert way.invoke(graph, Command(resume=1))["x"] == 1
    assert handled == []


def test_another_process_knows_what_was_refused(way, tmp_path) -> None:
    """The log says that the answer was taken back, also to a process that does not know the schema."""
    with Log.open(tmp_path / "log.wal", strict=True) as log:
        graph = drawn(way, wants(Model), edges=">ask").compile(log)
        way.invoke(graph, {})
        with pytest.raises(ValidationError):
            way.invoke(graph, Command(resume={"ok": "maybe"}))
    with Log.open(tmp_path / "log.wal", strict=True) as log:
        graph = drawn(way, asks("ask", "q"), edges=">ask").compile(log)
        assert [item.value for item in graph.get_state(THREAD).interrupts] == ["q"]
        assert way.invoke(graph, Command(resume="anything")) == {"trail": ["anything"]}


def test_the_state_says_why_an_answer_was_refused(way, log, kind) -> None:
    """The task that waits on shows the error, at each level, until somebody answers again (I-12)."""
    inner = drawn(way, wants(int), edges=">ask").compile()
    graph = StateGraph(Trail).add_node("sub", nested_in(way, kind, inner)).add_edge(START, "sub").compile(log)
    way.invoke(graph, {})
    assert [found.error for found in graph.get_state(THREAD).tasks] == [None]
    with pytest.raises(ValidationError) as refused:
        way.invoke(graph, Command(resume="no"))
    [found] = graph.get_state(THREAD, subgraphs=True).tasks
    assert found.error == repr(refused.value)
    assert [task.error for task in found.state.tasks] == [repr(refused.value)]
    way.invoke(graph, Command(resume=1))
    assert graph.get_state(THREAD).tasks == ()


def test_of_several_that_wait_each_shows_what_was_refused(way, log, durability) -> None:
    """A task shows the error of its own last answer until there is another one, as in LangGraph (I-12)."""
    ran: list[str] = []
    graph = drawn(way, *(asking(name, ran) for name in "abc"), edges=">a,b,c").compile(log)
    ids = {asked.value: asked.id for asked in way.invoke(graph, {}, durability=durability)["__interrupt__"]}

    def shown(**answers):
        ran.clear()
        given = Command(resume={ids[name]: answer for name, answer in answers.items()})
        if any(isinstance(answer, str) for answer in answers.values()):
            with pytest.raises(ValidationError):
                way.invoke(graph, given, durability=durability)
        else:
            way.invoke(graph, given, durability=durability)
        assert set(ran) == set(answers)
        errors = {found.name: found.error for found in graph.get_state(THREAD).tasks}
        assert all("valid integer" in error for error in errors.values() if error)
        return {name for name, error in errors.items() if error}

    assert shown(a="no") == {"a"}
    assert shown(b="no") == {"a", "b"}
    assert shown(c=3) == {"a", "b"}
    assert way.invoke(graph, None, durability=durability)["__interrupt__"]
    assert {found.name for found in graph.get_state(THREAD).tasks if found.error} == {"a", "b"}
    assert shown(b=2, a="nono") == {"a"}
    assert shown(a=1) == set()


def test_what_was_refused_is_known_to_another_process(way, tmp_path) -> None:
    """It is on record, also in a snapshot and on a branch."""
    with Log.open(tmp_path / "log.wal", strict=True) as log:
        graph = drawn(way, wants(int), edges=">ask").compile(log)
        way.invoke(graph, {}, durability="sync")
        with pytest.raises(ValidationError):
            way.invoke(graph, Command(resume="no"), durability="sync")
        [task_] = graph.get_state(THREAD).tasks
        log.copy_thread(THREAD["configurable"]["thread_id"], "copy")
    with Log.open(tmp_path / "log.wal", strict=True) as log:
        graph = drawn(way, wants(int), edges=">ask").compile(log)
        for thread in (THREAD, on("copy")):
            assert [found.error for found in graph.get_state(thread).tasks] == [task_.error] != [None]
            assert way.invoke(graph, Command(resume=1), thread)["x"] == 1


def test_streams_raise_it_too(way, log) -> None:
    """And show what was open again before."""
    graph = drawn(way, wants(int), edges=">ask").compile(log)
    (asked,) = way.invoke(graph, {})["__interrupt__"]
    chunks: list[object] = []
    with pytest.raises(ValidationError):
        way.stream_to(chunks, graph, Command(resume="x"), stream_mode="updates")
    assert chunks == [{"__interrupt__": (asked,)}]


def test_a_type_needs_pydantic(way, log, monkeypatch) -> None:
    """Without it a clear error says what to use instead."""
    monkeypatch.setitem(sys.modules, "pydantic", None)

    def ask(state):
        class Unseen:
            pass

        return {"x": interrupt("q", response_schema=Unseen)}

    with pytest.raises(NotAvailable, match="needs pydantic, which is not installed"):
        way.invoke(drawn(way, ask, edges=">ask").compile(log), {})


def test_an_interrupt_can_be_made_of_a_namespace() -> None:
    """§1.4: equal namespaces give equal ids, of 32 hexadecimal digits; the old name of the id is there."""
    made = Interrupt.from_ns("v", "a:1|b:2", response_schema={"type": "string"})
    assert made == Interrupt("v", made.id, response_schema={"type": "string"})
    assert made.id == Interrupt.from_ns("other", "a:1|b:2").id != Interrupt.from_ns("v", "a:1").id
    assert len(made.id) == 32
    assert made.interrupt_id == made.id
