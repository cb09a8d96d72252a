"""Schemas at work: TypedDict, dataclass, pydantic; what comes in, what goes out, what is private (§1.1, P-10, N-3)."""

from __future__ import annotations

import dataclasses
import operator
from typing import Annotated, Any, TypedDict

import pydantic
import pytest
from helpers import THREAD, Trail, Way, drawn, leaves
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage

from walgraph import (
    REMOVE_ALL_MESSAGES,
    START,
    InvalidGraph,
    Log,
    MessagesState,
    Runtime,
    StateGraph,
    add_messages,
    get_runtime,
)


@dataclasses.dataclass
class Data:
    """A state with defaults."""

    a: int = 1
    trail: Annotated[list[str], operator.add] = dataclasses.field(default_factory=list)


class Model(pydantic.BaseModel):
    """A state that is validated."""

    a: int = 1
    trail: Annotated[list[str], operator.add] = []


class Question(TypedDict):
    """What is asked."""

    question: str


class Answer(TypedDict):
    """What is answered."""

    answer: str


class Both(Question, Answer):
    """The state."""


class Talk(TypedDict, total=False):
    """A state whose messages are under a key of its own."""

    said: Annotated[list, add_messages]
    x: int


class Same(TypedDict, total=False):
    """A trail without its reducer."""

    trail: list


class Other(TypedDict, total=False):
    """A trail with another reducer."""

    trail: Annotated[list, operator.or_]


class Private(TypedDict):
    """What one node leaves for another."""

    thought: str


@pytest.mark.parametrize("schema", [Data, Model])
def test_a_class_is_what_nodes_are_given_and_may_return(way, maybe_log, schema) -> None:
    """P-10, G-1: with its defaults; the caller gets a dict."""
    seen: list[Any] = []

    def a(state):
        seen.append(state)
        return schema(a=state.a + 1, trail=["a"])

    graph = drawn(way, a, edges=">a", state=schema).compile(maybe_log)
    assert way.invoke(graph, {}) == {"a": 2, "trail": ["a"]}
    assert seen == [schema()]
    if maybe_log is not None:
        assert graph.get_state(THREAD).values == {"a": 2, "trail": ["a"]}


@pytest.mark.parametrize("schema", [Data, Model])
def test_an_instance_is_an_input(way, maybe_log, schema) -> None:
    """N-3: as good as its dict."""
    graph = drawn(way, leaves("n"), edges=">n", state=schema).compile(maybe_log)
    assert way.invoke(graph, schema(a=5, trail=["in"])) == {"a": 5, "trail": ["in", "n"]}


def test_a_model_coerces_what_nodes_are_given(way, log) -> None:
    """P-10: validation happens where state becomes an instance."""
    seen: list[Any] = []

    def a(state):
        seen.append(state.a)

    graph = drawn(way, a, edges=">a", state=Model).compile(log)
    way.invoke(graph, {"a": "3"})
    assert seen == [3]


def test_a_model_refuses_what_does_not_fit(way, log) -> None:
    """P-10: pydantic's own error, of the node that was to be given it; the thread can be read."""
    graph = drawn(way, leaves("n"), edges=">n", state=Model).compile(log)
    with pytest.raises(pydantic.ValidationError):
        way.invoke(graph, {"a": "no number"})
    assert graph.get_state(THREAD).values["a"] == "no number"
    assert graph.get_state(THREAD).next == ("n",)
    graph.update_state(THREAD, {"a": 4}, as_node=START)
    assert way.invoke(graph, None) == {"a": 4, "trail": ["n"]}


def test_input_and_output_schemas_are_the_doors(way, log) -> None:
    """§1.1: other keys do not come in, and do not come out; the state has them all."""
    seen: list[Any] = []

    def think(state: Question) -> Private:
        seen.append(dict(state))
        return {"thought": state["question"] + "!"}

    def answer(state: Private) -> Answer:
        seen.append(dict(state))
        return {"answer": state["thought"] + "?"}

    builder = StateGraph(Both, input_schema=Question, output_schema=Answer)
    builder.add_node("think", way.node(think)).add_node("answer", way.node(answer))
    graph = builder.add_edge(START, "think").add_edge("think", "answer").compile(log)
    assert way.invoke(graph, {"question": "why", "answer": "refused"}) == {"answer": "why!?"}
    assert seen == [{"question": "why"}, {"thought": "why!"}]
    assert graph.get_state(THREAD).values == {"question": "why", "thought": "why!", "answer": "why!?"}


def test_a_stream_shows_all_keys_whatever_the_output_schema(way, log) -> None:
    """§2.18: private ones too, as in LangGraph; it once showed an empty update for the node that wrote them."""

    def think(state: Question) -> Private:
        return {"thought": "hm"}

    def read(state: Private) -> None:
        return None

    builder = StateGraph(Both, input_schema=Question, output_schema=Answer).add_node("think", way.node(think))
    graph = builder.add_node("read", read).add_edge(START, "think").add_edge("think", "read").compile(log)
    assert way.stream(graph, {"question": "why"}) == [{"think": {"thought": "hm"}}, {"read": None}]
    values = way.stream(
        graph, {"question": "why"}, {"configurable": {"thread_id": "u"}}, stream_mode="values"
    )
    assert values == [{"question": "why"}, {"question": "why", "thought": "hm"}]


def test_output_keys_choose_what_is_shown(way, log) -> None:
    """§1.9: one key is its bare value, several a dict; in streams too, where they once had no effect."""
    graph = drawn(way, leaves("n", x=1), edges=">n").compile(log)
    assert way.invoke(graph, {}, output_keys="x") == 1
    assert way.invoke(graph, {}, output_keys=["x"]) == {"x": 1}
    assert way.stream(graph, {}, output_keys=["x"]) == [{"n": {"x": 1}}]
    assert way.stream(graph, {}, output_keys="x", stream_mode=["updates", "values"])[-2:] == [
        ("updates", {"n": 1}),
        ("values", 1),
    ]


def test_unknown_output_keys_are_refused(way, maybe_log) -> None:
    """§3.2."""
    graph = drawn(way, leaves("n"), edges=">n").compile(maybe_log)
    with pytest.raises(ValueError, match="Key zz not in channels"):
        way.invoke(graph, {}, output_keys="zz")


def test_a_state_can_be_one_value(way, log) -> None:
    """§1.1: any type, with or without a reducer."""
    graph = (
        StateGraph(list).add_node("n", way.node(lambda state: [*state, 1])).add_edge(START, "n").compile(log)
    )
    assert way.invoke(graph, [0]) == [0, 1]
    assert graph.get_state(THREAD).values == [0, 1]
    assert way.stream(graph, [5], {"configurable": {"thread_id": "u"}}) == [{"n": [5, 1]}]
    summed = StateGraph(Annotated[list, operator.add]).add_node("n", way.node(lambda state: [len(state)]))
    summed = summed.add_edge(START, "n").compile(log)
    config = {"configurable": {"thread_id": "v"}}
    assert [way.invoke(summed, [0], config) for _ in range(2)] == [[0, 1], [0, 1, 0, 3]]


@dataclasses.dataclass
class User:
    """A context."""

    name: str


def test_a_context_reaches_nodes_and_is_made_of_a_dict(way, maybe_log) -> None:
    """§1.1: by parameter and by ``get_runtime``; it is not logged."""
    seen: list[Any] = []

    def a(state, runtime: Runtime[User]):
        seen.append((runtime.context, get_runtime().context))

    builder = drawn(way, a, edges=">a", context_schema=User)
    graph = builder.compile(maybe_log)
    for given in (User("ada"), {"name": "ada"}):
        way.invoke(graph, {}, context=given)
    assert seen == [(User("ada"), User("ada"))] * 2


def test_parameters_are_injected_by_name(way, log) -> None:
    """§1.3: config, runtime, store, writer, in any order after the first."""
    seen: dict[str, Any] = {}

    def a(state, *, writer, store, config, runtime):
        writer("event")
        seen.update(
            store=store, thread=config["configurable"]["thread_id"], run=runtime.execution_info.thread_id
        )

    builder = drawn(way, a, edges=">a")
    graph = builder.compile(log, store="a store")
    assert way.stream(graph, {}, stream_mode="custom") == ["event"]
    assert seen == {"store": "a store", "thread": "t", "run": "t"}


def test_messages_come_back_as_they_went_in(way, log) -> None:
    """§1.2: of langchain, with ids that are settled before they are recorded."""

    def reply(state):
        return {"messages": AIMessage(f"you said {state['messages'][-1].content}")}

    graph = drawn(way, reply, edges=">reply", state=MessagesState).compile(log)
    way.invoke(graph, {"messages": [HumanMessage("hello")]})
    way.invoke(graph, {"messages": ("user", "again")})
    messages = graph.get_state(THREAD).values["messages"]
    assert [(type(message), message.content) for message in messages] == [
        (HumanMessage, "hello"),
        (AIMessage, "you said hello"),
        (HumanMessage, "again"),
        (AIMessage, "you said again"),
    ]
    ids = [message.id for message in messages]
    assert len(set(ids)) == 4
    assert [message.id for message in graph.get_state(THREAD).values["messages"]] == ids
    graph.update_state(THREAD, {"messages": [RemoveMessage(id=ids[0])]}, as_node="reply")
    assert [message.id for message in graph.get_state(THREAD).values["messages"]] == ids[1:]
    graph.update_state(THREAD, {"messages": [RemoveMessage(id=REMOVE_ALL_MESSAGES)]}, as_node="reply")
    assert graph.get_state(THREAD).values["messages"] == []


def test_ids_of_messages_are_the_same_in_another_process(tmp_path) -> None:
    """Fold invents nothing: what a reducer would make up is in the record."""
    ids = []
    for i in range(2):
        with Log.open(tmp_path / "log.wal") as log:
            graph = StateGraph(MessagesState).add_node("n", lambda _: {"messages": "hi"}).add_edge(START, "n")
            compiled = graph.compile(log)
            if i == 0:
                compiled.invoke({"messages": ["hello"]}, THREAD)
            ids.append([message.id for message in compiled.get_state(THREAD).values["messages"]])
    assert ids[0] == ids[1]
    assert all(ids[0])


def test_a_schema_can_add_messages_to_other_keys(way, log) -> None:
    """§1.2: the reducer is what counts, not the name of the key."""
    graph = drawn(way, leaves("n", x=1), edges=">n", state=Talk).compile(log)
    assert [message.content for message in way.invoke(graph, {"said": "hello"})["said"]] == ["hello"]


@pytest.mark.parametrize("value", [(1, (2,)), {1, 2}, {(1, 2): "tuple"}, b"x", 10**30, 1 + 2j, range(3)])
def test_values_come_back_as_they_went_in(way, log, value) -> None:
    """§4.2, mended: LangGraph turns tuples into lists; strict logs hand out decoded values at once."""
    seen: list[Any] = []
    graph = drawn(way, leaves("n", x=value), lambda_(seen), edges=">n n>look").compile(log)
    assert way.invoke(graph, {})["x"] == value
    assert seen == [value]
    assert type(seen[0]) is type(value)


def lambda_(seen):
    """Return a node that looks at ``x``."""

    def look(state):
        seen.append(state["x"])

    return look


def test_the_annotation_of_the_first_parameter_is_the_input_schema() -> None:
    """§1.1: and an explicit one counts more."""
    seen: list[Any] = []

    def a(state: Private):
        seen.append(dict(state))

    for schema in (None, Trail):
        graph = StateGraph(Trail).add_node("a", a, input_schema=schema).add_edge(START, "a").compile()
        Way("sync").invoke(graph, {"x": 1})
    assert seen == [{}, {"trail": [], "x": 1}]


def test_two_schemas_may_not_disagree_about_a_key() -> None:
    """§3.1: the first channel wins over a plain redeclaration, and nothing over another reducer."""
    StateGraph(Trail, output_schema=Same)
    with pytest.raises(InvalidGraph, match="Channel 'trail' already exists with a different type"):
        StateGraph(Trail, output_schema=Other)
