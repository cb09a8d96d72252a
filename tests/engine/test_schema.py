"""Schemas: what annotations mean, what nodes are given and what instances write (§1.7, P-10, G-1)."""

from __future__ import annotations

import dataclasses
import operator
import subprocess
import sys
from collections.abc import Sequence
from enum import Enum
from typing import (
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    NotRequired,
    Required,
    TypedDict,
    TypeVar,
)

import pydantic
import pytest

from walgraph.engine.errors import InvalidGraph
from walgraph.engine.managed import (
    MANAGED,
    IsLastStep,
    IsLastStepManager,
    RemainingSteps,
    RemainingStepsManager,
)
from walgraph.engine.schema import classes_in, read_schema
from walgraph.replay.channel import BinaryOperatorAggregate, EphemeralValue, LastValue, Topic, UntrackedValue
from walgraph.replay.errors import InvalidUpdateError

T = TypeVar("T")


class Mode(Enum):
    """An enum that is only mentioned in a Literal."""

    FAST = "fast"


class Point(NamedTuple):
    """A named tuple that mentions a class itself."""

    x: int
    mode: Literal[Mode.FAST]


@dataclasses.dataclass
class Line:
    """A dataclass that mentions itself."""

    start: Point
    rest: Line | None = None


class Color(pydantic.BaseModel):
    """A model."""

    name: str = "red"


class Inner(TypedDict):
    """A TypedDict, whose values are plain dicts."""

    color: Color


class Connection:
    """Not data, although a schema may mention it."""

    inner: Inner


class Base(TypedDict, total=False):
    """The part of a schema that is inherited."""

    notes: Required[Annotated[list[str], operator.add]]


class State(Base):
    """A schema with one key of each sort."""

    question: str
    draft: Annotated[NotRequired[str], EphemeralValue]
    items: NotRequired[Annotated[Sequence[int], "described", Topic(int, accumulate=True), operator.add]]
    connection: Annotated[Connection, UntrackedValue(Connection, guard=False)]
    described: Annotated[list[int], operator.add, "the last item decides, and text is no reducer"]
    last: IsLastStep
    left: NotRequired[RemainingSteps]


@dataclasses.dataclass
class Record:
    """A dataclass as state."""

    shared: ClassVar[int] = 1
    name: str
    notes: Annotated[list[str], operator.add] = dataclasses.field(default_factory=list)
    left: RemainingSteps = 0


class Model(pydantic.BaseModel):
    """A pydantic model as state."""

    shared: ClassVar[int] = 1
    name: str
    nick: str | None = None
    age: int = pydantic.Field(default=3, alias="years")
    notes: Annotated[list[str], operator.add] = []
    _private: int = 4


def test_annotations_become_channels() -> None:
    """Each sort of annotation gives its channel, named by its key, in the order of the class."""
    schema = read_schema(State)
    assert schema.kind == "typeddict"
    assert schema.channels == {
        "notes": BinaryOperatorAggregate(list[str], operator.add),
        "question": LastValue(str),
        "draft": EphemeralValue(str),
        "items": Topic(int, accumulate=True),
        "connection": UntrackedValue(Connection, guard=False),
        "described": LastValue(list[int]),
    }
    assert list(schema.channels) == ["notes", "question", "draft", "items", "connection", "described"]
    assert all(channel.key == key for key, channel in schema.channels.items())


def test_managed_values_are_no_channels() -> None:
    """They are listed apart, with the manager that supplies them."""
    assert read_schema(State).managed == {"last": IsLastStepManager, "left": RemainingStepsManager}


def test_managed_values_follow_from_the_step() -> None:
    """The last step is the one before ``stop``."""

    class Run:
        step = 3
        stop = 5

    assert MANAGED[RemainingStepsManager](Run) == 2
    assert MANAGED[IsLastStepManager](Run) is False
    Run.step = 4
    assert MANAGED[IsLastStepManager](Run) is True


def test_a_class_is_read_once() -> None:
    """The second reading costs a look into a cache."""
    assert read_schema(State) is read_schema(State)


def test_a_channel_instance_in_a_schema_is_not_changed() -> None:
    """One description may serve several keys of several schemas."""
    shared = Topic(int)

    class Two(TypedDict):
        one: Annotated[list, shared]
        two: Annotated[list, shared]

    Two.__annotations__ = {"one": Annotated[list, shared], "two": Annotated[list, shared]}
    assert [channel.key for channel in read_schema(Two).channels.values()] == ["one", "two"]
    assert shared.key == ""


@pytest.mark.parametrize(
    "schema", [int, list, list[int], dict, Annotated[str, "noted"], int | str, Any], ids=str
)
def test_any_other_type_is_one_root_channel(schema: Any) -> None:
    """A state that is a single value lives in ``__root__``."""
    read = read_schema(schema)
    assert read.kind == "root"
    assert read.channels == {"__root__": LastValue(schema)}
    assert read.build({"__root__": 5}) == 5
    assert read.build({}) is None
    assert read.writes([1]) == [("__root__", [1])]
    assert read.writes(None) == []


def test_a_root_channel_may_have_a_reducer() -> None:
    """The annotation of a single value is read like that of a key."""
    channels = read_schema(Annotated[list, operator.add]).channels
    assert channels == {"__root__": BinaryOperatorAggregate(list, operator.add)}


@pytest.mark.parametrize(
    ("reducer", "signature"),
    [
        (lambda a: a, "(a)"),
        (lambda a, b, c: (a, b, c), "(a, b, c)"),
        (lambda *many: many, "(*many)"),
        (dict, "()"),
    ],
    ids=["one", "three", "many", "class"],
)
def test_a_reducer_takes_two_arguments(reducer: Any, signature: str) -> None:
    """Anything else is refused when the schema is read, in LangGraph's words."""
    with pytest.raises(InvalidGraph) as refused:
        read_schema(Annotated[list, reducer])
    assert refused.value.message == f"Invalid reducer signature. Expected (a, b) -> c. Got {signature}"
    assert isinstance(refused.value, ValueError)


@pytest.mark.parametrize(
    "reducer", [max, operator.or_, lambda a, b, *, more=0: (a, b, more)], ids=["max", "or", "lambda"]
)
def test_builtins_and_keyword_options_are_fine(reducer: Any) -> None:
    """Keyword-only parameters do not count, and builtins that hide their signature are trusted."""
    assert isinstance(read_schema(Annotated[int, reducer]).channels["__root__"], BinaryOperatorAggregate)


def test_a_managed_value_cannot_be_the_state() -> None:
    """There would be nothing to write."""
    with pytest.raises(InvalidGraph, match="not allowed in this position"):
        read_schema(RemainingSteps)


def test_a_name_that_cannot_be_found_is_explained() -> None:
    """A class that is local to a function cannot be named by an annotation that is text."""

    class Local:
        pass

    class Lost(TypedDict):
        key: Local

    with pytest.raises(NameError) as lost:
        read_schema(Lost)
    assert "Lost" in lost.value.__notes__[0]
    assert "top of that module" in lost.value.__notes__[0]


def test_a_node_of_a_typed_dict_is_given_the_dict() -> None:
    """Nothing is copied or checked."""
    values = {"question": 3}
    assert read_schema(State).build(values) is values


def test_a_node_of_a_dataclass_is_given_an_instance() -> None:
    """Defaults fill what no channel has; what is required and missing is the class's own error."""
    schema = read_schema(Record)
    assert schema.kind == "dataclass"
    assert list(schema.channels) == ["name", "notes"]
    assert schema.build({"name": "a", "left": 2}) == Record("a", [], 2)
    with pytest.raises(TypeError, match="name"):
        schema.build({})


def test_a_node_of_a_model_is_given_a_validated_instance() -> None:
    """Values are coerced, under the keys of the state even where a field has an alias."""
    schema = read_schema(Model)
    assert schema.kind == "pydantic"
    assert list(schema.channels) == ["name", "nick", "age", "notes"]
    assert schema.channels["notes"] == BinaryOperatorAggregate(list, operator.add)
    assert schema.build({"name": "a", "age": "7"}).age == 7
    with pytest.raises(pydantic.ValidationError):
        schema.build({"name": 3})


def test_a_model_inside_a_function_is_read_from_its_fields() -> None:
    """Pydantic knows the names that its annotations could not be resolved with later."""

    class Local(pydantic.BaseModel):
        pass

    class Outer(pydantic.BaseModel):
        local: Local
        notes: Annotated[list[str], operator.add]

    channels = read_schema(Outer).channels
    assert channels["local"].typ is Local
    assert channels["notes"] == BinaryOperatorAggregate(list, operator.add)


def test_a_dict_writes_the_keys_that_are_channels() -> None:
    """In the order of the dict; the others are left out, as in LangGraph."""
    assert read_schema(State).writes({"question": 1, "unknown": 2, "notes": None, "left": 3}) == [
        ("question", 1),
        ("notes", None),
    ]


def test_a_dataclass_instance_writes_every_field() -> None:
    """Its defaults and None included."""
    assert read_schema(Record).writes(Record("a")) == [("name", "a"), ("notes", [])]


def test_a_model_instance_leaves_out_what_is_none_and_was_not_set() -> None:
    """So that returning a partly filled model does not erase state."""
    schema = read_schema(Model)
    assert schema.writes(Model(name="a")) == [("name", "a"), ("age", 3), ("notes", [])]
    assert ("nick", None) in schema.writes(Model(name="a", nick=None))


def test_an_instance_of_another_class_writes_the_keys_it_shares() -> None:
    """A node may return an instance of its own output schema."""
    assert read_schema(State).writes(Record("a", ["n"])) == [("notes", ["n"])]


@pytest.mark.parametrize("value", [5, "text", [1, 2]], ids=repr)
def test_what_is_no_update_is_refused(value: Any) -> None:
    """In LangGraph's words."""
    with pytest.raises(InvalidUpdateError) as refused:
        read_schema(State).writes(value)
    assert refused.value.message == f"Expected dict, got {value!r}"


def test_every_class_of_data_is_found() -> None:
    """Through containers, unions, literals, channels, and the fields of the classes themselves."""

    class Box(pydantic.BaseModel, Generic[T]):
        content: T

    class Whole(TypedDict):
        lines: dict[str, list[Line | None]]
        boxes: Annotated[list[Any], Topic(Box[Color])]
        call: Any

    Whole.__annotations__ = {
        "lines": dict[str, list[Line | None]],
        "boxes": Annotated[list[Any], Topic(Box[Color])],
        "connection": Connection,
    }
    assert classes_in(Whole) == {Line, Point, Mode, Box[Color], Color}
    assert classes_in(Record) == {Record}
    assert classes_in(list[Inner]) == {Color}
    assert classes_in(int) == set()
    assert Connection not in classes_in(State)


def test_a_name_that_is_lost_hides_only_what_lies_behind_it() -> None:
    """Looking for classes never fails."""

    class Local:
        pass

    @dataclasses.dataclass
    class Lost:
        local: Local

    assert classes_in(Lost) == {Lost}


def test_reading_a_schema_does_not_import_pydantic() -> None:
    """It is paid for by those who use it."""
    script = (
        "import sys, typing, operator\n"
        "from walgraph.engine.schema import classes_in, read_schema\n"
        "State = typing.TypedDict('State', {'x': typing.Annotated[list, operator.add]})\n"
        "read_schema(State), classes_in(State)\n"
        "sys.exit('pydantic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
