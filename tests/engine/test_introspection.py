"""What a graph tells of what it takes, gives and is made of (LangGraph §1.9)."""

from __future__ import annotations

import operator
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Annotated, Any, NotRequired, TypedDict

import pydantic
import pytest

from walgraph import START, IsLastStep, MemoryLog, StateGraph, entrypoint


class State(TypedDict):
    """What is known."""

    notes: Annotated[list[str], operator.add]
    count: int
    hint: NotRequired[str]
    last: IsLastStep


class Given(TypedDict):
    """What is given."""

    count: int


@dataclass
class Context:
    """Who asks."""

    user: str
    limit: int = 3
    tags: list[str] = field(default_factory=list)


class Model(pydantic.BaseModel):
    """A model of the user's."""

    x: int
    y: str | None = None


def compiled(*args: Any, **schemas: Any) -> Any:
    """Return a graph of one node with these schemas."""
    builder = StateGraph(*args, **schemas).add_node("n", lambda _: None).add_edge(START, "n")
    return builder.compile(name="G")


def test_schemas_become_models() -> None:
    """A TypedDict's keys are fields; managed values are none; what need not be there is optional."""
    graph = compiled(State, input_schema=Given)
    assert graph.get_input_jsonschema() == {
        "properties": {"count": {"title": "Count", "type": "integer"}},
        "description": "What is given.",
        "required": ["count"],
        "title": "GInput",
        "type": "object",
    }
    schema = graph.get_output_jsonschema()
    assert (schema["title"], schema["description"]) == ("GOutput", "What is known.")
    assert set(schema["properties"]) == {"notes", "count", "hint"}
    assert schema["required"] == ["notes", "count"]
    assert graph.get_input_schema()(count=1).count == 1
    with pytest.raises(pydantic.ValidationError):
        graph.input_schema(count="many")
    assert (graph.InputType, graph.OutputType) == (Given, State)


def test_models_of_users_are_their_own_schemas() -> None:
    """Nothing is made where a model is there."""
    graph = compiled(Model)
    assert graph.get_input_schema() is graph.output_schema is Model


def test_other_types_are_the_root_of_a_model() -> None:
    """A state that is one value is described as that value."""
    graph = compiled(Annotated[list[int], operator.add])
    assert graph.get_input_jsonschema() == {"items": {"type": "integer"}, "title": "GInput", "type": "array"}
    assert (graph.stream_channels, graph.stream_channels_list) == ("__root__", ["__root__"])
    assert graph.output_channels == "__root__"


def test_contexts_are_described() -> None:
    """The context has a JSON schema, and stands as ``configurable`` in that of the config."""
    graph = compiled(State, Context)
    context = {
        "properties": {
            "user": {"title": "User", "type": "string"},
            "limit": {"default": 3, "title": "Limit", "type": "integer"},
            "tags": {"items": {"type": "string"}, "title": "Tags", "type": "array"},
        },
        "required": ["user"],
        "description": "Who asks.",
        "title": "Context",
        "type": "object",
    }
    assert graph.get_context_jsonschema() == context
    assert graph.get_config_jsonschema()["$defs"] == {"Context": context}
    assert graph.context_schema is Context
    assert compiled(State).get_context_jsonschema() is None
    assert compiled(State).get_config_jsonschema() == {"properties": {}, "title": "GConfig", "type": "object"}


def test_entrypoints_are_described_by_their_annotations() -> None:
    """The first parameter, and what is returned; of ``entrypoint.final`` the value."""

    @entrypoint(MemoryLog(), context_schema=Context)
    def flow(number: int, *, previous: Any = None) -> entrypoint.final[str, int]:
        return entrypoint.final(value=str(number), save=number)

    @entrypoint()
    def plain(x):  # type: ignore[no-untyped-def]  # what is not annotated may be anything
        return x

    assert (flow.InputType, flow.OutputType) == (int, str)
    assert flow.get_input_jsonschema() == {"title": "flowInput", "type": "integer"}
    assert flow.get_output_jsonschema() == {"title": "flowOutput", "type": "string"}
    assert (plain.InputType, plain.get_output_jsonschema()) == (Any, {"title": "plainOutput"})
    assert flow.stream_channels == flow.output_channels == "__end__"


def test_a_graph_tells_what_it_is_made_of() -> None:
    """Channels, what streams show, breakpoints and modes, under LangGraph's names."""
    builder = StateGraph(State, output_schema=Given).add_node("n", lambda _: None).add_edge(START, "n")
    graph = builder.compile(interrupt_before=["n"], interrupt_after="*")
    assert set(graph.channels) == {"notes", "count", "hint"}
    assert graph.stream_channels == graph.stream_channels_asis == graph.stream_channels_list
    assert graph.stream_channels_list == ["notes", "count", "hint"]
    assert (graph.input_channels, graph.output_channels, graph.stream_mode) == (
        "__start__",
        ["count"],
        "updates",
    )
    assert (graph.interrupt_before_nodes, graph.interrupt_after_nodes) == (("n",), "*")
    assert graph.validate() is graph


def test_without_pydantic_the_error_says_what_to_install() -> None:
    """Schemas need pydantic; nothing else does."""
    program = (
        "import sys; sys.modules['pydantic'] = None\n"
        "from walgraph import START, NotAvailable, StateGraph\n"
        "graph = StateGraph(dict).add_node('n', lambda s: s).add_edge(START, 'n').compile()\n"
        "assert graph.invoke({'a': 1}) == {'a': 1}\n"
        "try:\n    graph.get_input_schema()\n"
        "except NotAvailable as error:\n    print(error.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "pip install pydantic\n"
