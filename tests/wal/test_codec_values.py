"""Values come back exactly, or are refused by name and place before anything is written."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import socket
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import msgpack
import pytest

from walgraph.wal.codec import Decoder, Encoder, Opaque, Registry
from walgraph.wal.errors import LogCorrupt, NotSerializable, UnknownType
from walgraph.wal.record import Forked, TaskFinished


def there_and_back(value: Any) -> Any:
    """Encode and decode a value."""
    packed = Encoder().value(value)
    contents = {blob.digest: blob.data for blob in packed.blobs}
    return Decoder(fetch=contents.__getitem__).value(packed.data)


def refusal(value: Any) -> NotSerializable:
    """Return the error that a value in a channel is refused with."""
    with pytest.raises(NotSerializable) as caught:
        Encoder().records([TaskFinished("", ("node",), (("fine", 1), ("client", value)), ())])
    assert caught.value.details["channel"] == "client"
    return caught.value


class Level(enum.IntEnum):
    """An enum of numbers."""

    LOW = 1
    HIGH = 2


class Name(enum.StrEnum):
    """An enum of texts."""

    ADA = "ada"


class Rights(enum.IntFlag):
    """A flag of numbers."""

    READ = 1
    WRITE = 2


class Kept(enum.Flag, boundary=enum.KEEP):
    """A flag that keeps unknown bits."""

    ONE = 1


class Pair(NamedTuple):
    """Two values."""

    left: Any
    right: Any = 2


class Text(str):
    """A subclass that nobody registered."""

    __slots__ = ()


class Order(TypedDict):
    """A structured value with a number."""

    number: int


@dataclass(frozen=True, slots=True)
class Frozen:
    """A frozen dataclass with slots."""

    value: Any
    secret: str = field(default="s", repr=False)

    def __post_init__(self) -> None:
        if self.value == "forbidden after the fact":
            raise AssertionError("no constructor runs on reading")


@dataclass
class Cached:
    """A dataclass that holds more than its fields."""

    number: int
    made: int = field(init=False)

    def __post_init__(self) -> None:
        self.made = self.number + 1
        self.aside = [self.number]

    @functools.cached_property
    def square(self) -> int:
        """Return what is computed once and kept beside the fields."""
        return self.number**2


class Trouble(Exception):
    """An exception with an attribute and a constructor of its own."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


VALUES = [
    Level.HIGH,
    Name.ADA,
    Rights.READ | Rights.WRITE,
    Rights(0),
    Rights(9),
    Kept(6),
    Pair([1], (2,)),
    Frozen({"a": (1,)}),
    {Frozen(1): 1, Pair(1, 2): 2, frozenset({(1,)}): 3, Level.LOW: 4},
    {"list": [], "dict": {}, "tuple": ((),)},
    Path("a/b"),
    OrderedDict([("z", 1), ("a", 2)]),
    Counter({"a": 1.5}),
    deque([[1]], maxlen=3),
    defaultdict(None, {1: 2}),
    datetime.timezone(datetime.timedelta(minutes=-90), ""),
    bytearray(),
    [bytearray(b"a"), {"b": bytearray(b"b")}, (bytearray(b"c"),), Frozen([bytearray(b"d")])],
    "\udcff",
    range(5, 0, -2),
    Order(number=1),
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_equal_and_of_its_own_class(value: Any) -> None:
    """Equal, of the same class, and printed the same, which shows the classes inside."""
    back = there_and_back(value)
    assert back == value
    assert type(back) is type(value)
    assert repr(back) == repr(value)


def test_a_dict_keeps_its_order() -> None:
    """Insertion order is part of a dict."""
    assert list(there_and_back({"b": 1, "a": 2, 3: 3})) == ["b", "a", 3]


def test_a_fold_and_a_zone_survive() -> None:
    """The second 02:30 of the night is still the second one, in its named zone."""
    zoneinfo = pytest.importorskip("zoneinfo")
    moment = datetime.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    back = there_and_back(moment)
    assert (back.fold, back.tzinfo, back.utcoffset()) == (1, moment.tzinfo, datetime.timedelta(hours=1))


def test_a_dataclass_is_rebuilt_without_its_constructor_and_with_all_it_holds() -> None:
    """Fields, attributes beside the fields and cached properties are what they were; __post_init__ does not run."""
    value = Cached(3)
    assert value.square == 9
    value.made = 100
    back = there_and_back(value)
    assert vars(back) == vars(value)
    assert there_and_back(dataclasses.replace(Frozen(1), value=2)) == Frozen(2)
    forbidden = object.__new__(Frozen)
    object.__setattr__(forbidden, "value", "forbidden after the fact")
    object.__setattr__(forbidden, "secret", "x")
    assert there_and_back(forbidden) == forbidden


def test_a_local_class_works_within_its_process() -> None:
    """What this process wrote, it can read, wherever the class was defined."""

    @dataclass
    class Local:
        a: int

    assert there_and_back(Local(1)) == Local(1)


def test_an_exception_keeps_class_arguments_attributes_notes_and_the_text_of_its_traceback() -> None:
    """Whatever a later reader may ask about a failure."""
    try:
        raise Trouble("no", status=503)  # noqa: TRY301 - its own line is looked for in the traceback
    except Trouble as caught:
        caught.add_note("while fetching")
        back = there_and_back(caught)
    assert type(back) is Trouble
    assert (back.args, back.status) == (("no",), 503)
    assert back.__notes__[0] == "while fetching"
    assert 'raise Trouble("no", status=503)' in back.__notes__[1]
    again = there_and_back(back)
    assert again.__notes__ == back.__notes__
    missing = there_and_back(FileNotFoundError(2, "gone", "x.txt"))
    assert (missing.errno, missing.filename) == (2, "x.txt")
    group = there_and_back(ExceptionGroup("two", [ValueError(1), KeyError("k")]))
    assert [type(part) for part in group.exceptions] == [ValueError, KeyError]


def test_a_pydantic_model_comes_back_without_validation_and_with_private_parts() -> None:
    """Fields, extra values, the set of given fields and private attributes, and no validator is called."""
    pydantic = pytest.importorskip("pydantic")

    class Model(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(extra="allow")
        a: int
        b: tuple[int, ...] = (1,)
        _private: Any = pydantic.PrivateAttr(default=None)

        @pydantic.field_validator("a")
        @classmethod
        def positive(cls, value: int) -> int:
            """Refuse what the test sets later."""
            assert value > 0
            return value

    model = Model(a=1, other={"x": 1})
    model.a = -5
    model._private = {1}
    back = there_and_back(model)
    assert back == model
    assert back.model_fields_set == {"a", "other"}
    assert back.__pydantic_private__ == {"_private": {1}}
    assert back.model_extra == {"other": {"x": 1}}


def test_langchain_messages_are_found_without_registration() -> None:
    """A process that never saw a message class reads it, since that one package is known by name."""
    messages = pytest.importorskip("langchain_core.messages")
    written = [
        messages.HumanMessage("hi", id="1"),
        messages.AIMessage(
            "hello",
            tool_calls=[{"name": "t", "args": {"q": (1, 2)}, "id": "c"}],
            usage_metadata={"input_tokens": 1, "output_tokens": 2, "total_tokens": 3},
        ),
        messages.ToolMessage("done", tool_call_id="c", artifact={"set": {1}}),
        messages.RemoveMessage(id="1"),
    ]
    packed = Encoder().value(written)
    assert Decoder(Registry()).value(packed.data) == written
    assert Registry().find("langchain_core.messages.ai:os") is None
    assert Registry().find("langchain_core.messages_evil:AIMessage") is None


def test_numpy_arrays_come_back_writable_with_dtype_shape_and_order() -> None:
    """Arrays and scalars are the same bits, and belong to whoever reads them."""
    numpy = pytest.importorskip("numpy")
    arrays = [
        numpy.arange(6, dtype="<i2").reshape(2, 3),
        numpy.asfortranarray(numpy.ones((2, 3))),
        numpy.zeros((0, 4)),
        numpy.array(5),
        numpy.array([(1, 2.5)], dtype=[("a", "<i4"), ("b", "<f8")]),
        numpy.array(["2024-01-01"], dtype="datetime64[D]"),
    ]
    for array in arrays:
        back = there_and_back(array)
        assert (back.dtype, back.shape, back.flags.f_contiguous) == (
            array.dtype,
            array.shape,
            array.flags.f_contiguous,
        )
        assert back.flags.writeable
        assert (back == array).all()
    for scalar in (numpy.float32(0.1), numpy.int64(3), numpy.bool_(True), numpy.str_("x"), numpy.float64(2)):
        assert there_and_back(scalar) == scalar
        assert type(there_and_back(scalar)) is type(scalar)
    assert "use a list" in str(refusal(numpy.array([object()])))


REFUSED = {
    "a lock": (threading.Lock(), "nothing says how to rebuild it"),
    "a function": (test_a_dict_keeps_its_order, "are code"),
    "a class": (Frozen, "are code"),
    "a str subclass": (Text("x"), "subclass of str"),
    "a memoryview": (memoryview(b"x"), "bytes(value)"),
    "a memoryview as key": ({memoryview(b"x"): 1}, "bytes(value)"),
    "a msgpack extension": (msgpack.ExtType(1, b"x"), "own extensions"),
    "a msgpack timestamp": (msgpack.Timestamp(1), "datetime"),
    "a generator": ((n for n in ()), "nothing says how to rebuild it"),
    "a factory": (defaultdict(lambda: 1), "factory"),
    "what lenient reading gave": (Opaque("x", 1), "nothing says how to rebuild it"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_not_come_back_is_refused(case: str) -> None:
    """Refused at the top, inside a list, inside a tuple and inside an object alike."""
    value, reason = REFUSED[case]
    for wrapped in (value, [1, value], (value,), {"a": {"b": [value]}}, Frozen([value])):
        assert reason in str(refusal(wrapped))


def test_a_refusal_names_the_channel_the_path_and_the_class() -> None:
    """The user can go straight to the value that is to blame."""
    with socket.socket() as connection:
        error = refusal({"a": [0, 1, 2, Pair(1, {"k": Frozen((connection,))})]})
    assert "channel 'client', path ['a'][3].right['k'].value[0]" in error.message
    assert error.details["type"] == "socket:socket"
    assert "register_type" in error.hint


def test_other_places_than_channels_are_named_too() -> None:
    """A branch's state, for one."""
    with pytest.raises(NotSerializable, match=r"the state, path \['x'\]"):
        Encoder().records([Forked("", 1, 1, "update", {"x": threading.Lock()})])


def nested(depth: int, wrap: Any) -> Any:
    """Wrap a value many times."""
    value: Any = 0
    for _ in range(depth):
        value = wrap(value)
    return value


WRAPS = {
    "list": lambda value: [value],
    "dict": lambda value: {"a": value},
    "tuple": lambda value: (value,),
    "dataclass": Frozen,
    "list in tuple": lambda value: ([value],),
}


@pytest.mark.parametrize("kind", WRAPS)
def test_deep_values_come_back_and_deeper_ones_are_refused(kind: str) -> None:
    """The limit holds across lists, tuples and objects, and no recursion error comes through."""
    step = 2 if kind in ("list in tuple", "dataclass") else 1
    deep = nested(480 // (step + 1), WRAPS[kind])
    packed = Encoder().value(deep)
    again = Encoder().value(Decoder().value(packed.data))
    assert again == packed
    assert "deeper than 512 levels" in str(refusal(nested(600, WRAPS[kind])))


def test_a_value_that_contains_itself_is_refused() -> None:
    """Lists, dicts and objects in a circle, wherever the circle passes."""
    items: list[Any] = []
    items.append(items)
    table: dict[str, Any] = {}
    table["a"] = [(table,)]
    cached = Cached(1)
    cached.number = [cached]  # type: ignore[assignment]
    for circle in (items, table, cached, {"x": items}):
        assert "contains itself" in str(refusal(circle))


def test_an_unknown_class_is_refused_on_reading_with_its_name_and_the_remedy() -> None:
    """Never a silent dict."""
    packed = Encoder().value({"a": Frozen(1)})
    with pytest.raises(UnknownType, match="Frozen") as caught:
        Decoder(Registry()).value(packed.data)
    assert "register_type" in caught.value.hint
    registry = Registry()
    registry.register(Frozen)
    assert Decoder(registry).value(packed.data) == {"a": Frozen(1)}


def test_lenient_reading_shows_the_name_and_content_of_unknown_classes() -> None:
    """Tools can look at anything."""
    packed = Encoder().value({Level.LOW: [Pair(1, Frozen("v"))]})
    back = Decoder(Registry(), lenient=True).value(packed.data)
    [(key, [pair])] = back.items()
    assert key.content == "LOW"
    assert pair.name.endswith(":Pair")
    assert pair.content[0]["right"].content[0] == {"value": "v", "secret": "s"}


def test_sets_are_written_in_one_order() -> None:
    """Equal sets give equal bytes whatever their history, so that they are one blob."""
    forward = set(map(str, range(100)))
    backward = set(map(str, reversed(range(100))))
    assert Encoder().value(forward) == Encoder().value(backward)


def test_one_encoder_serves_many_threads() -> None:
    """Packers are never shared between two encodings at work."""
    encoder, problems = Encoder(), []

    def work(number: int) -> None:
        value = {"n": number, "t": tuple(range(number)), "d": [Frozen((number,))] * 20}
        wanted = Encoder().value(value)
        for _ in range(200):
            same = encoder.value(value) == wanted and Decoder().value(wanted.data) == value
            problems.extend([] if same else [number])

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert problems == []


def test_an_encoder_works_on_after_a_refusal() -> None:
    """A failed encoding leaves nothing behind."""
    encoder = Encoder()
    for _ in range(3):
        with pytest.raises(NotSerializable):
            encoder.value(((threading.Lock(),),))
        assert Decoder().value(encoder.value((1,)).data) == (1,)


def test_bytes_after_a_value_are_corruption() -> None:
    """A value is all of the data or the data is damaged."""
    with pytest.raises(LogCorrupt):
        Decoder().value(Encoder().value(1).data + b"\x00")
