"""Channels: how the writes of a step become one value.

The table at the top of ``replay/channel.py`` is the specification; each of its rows is tested here, as are the
five invariants below it.
"""

from __future__ import annotations

import collections
import copy
import functools
import operator
import typing
from typing import Annotated, Any, NotRequired

import pytest
from hypothesis import given
from hypothesis import strategies as st

from walgraph.replay.channel import (
    MISSING,
    AnyValue,
    BaseChannel,
    BinaryOperatorAggregate,
    EphemeralValue,
    LastValue,
    LastValueAfterFinish,
    NamedBarrierValue,
    NamedBarrierValueAfterFinish,
    Overwrite,
    Topic,
    UntrackedValue,
    describe,
    from_description,
)
from walgraph.replay.errors import EmptyChannelError, InvalidUpdateError
from walgraph.replay.naming import callable_name, type_name

SUM = BinaryOperatorAggregate(int, operator.add)
LIST = BinaryOperatorAggregate(list, operator.add)
NAMES = NamedBarrierValue(str, {"a", "b"})
LATE_NAMES = NamedBarrierValueAfterFinish(str, {"a", "b"})
LATE = LastValueAfterFinish(str)

KINDS: list[BaseChannel] = [
    LastValue(int),
    AnyValue(int),
    EphemeralValue(int),
    EphemeralValue(int, guard=False),
    UntrackedValue(int),
    UntrackedValue(int, guard=False),
    SUM,
    LIST,
    BinaryOperatorAggregate(Any, operator.add),
    Topic(int),
    Topic(int, accumulate=True),
    NAMES,
    LATE_NAMES,
    LATE,
]

FOLDS = [
    (LastValue(int), MISSING, [1], 1),
    (LastValue(int), 1, [None], None),
    (LastValue(int), 1, [], 1),
    (LastValue(int), 1, [Overwrite(2)], 2),
    (AnyValue(int), 1, [2, 3], 3),
    (AnyValue(int), 1, [], MISSING),
    (EphemeralValue(int), MISSING, [1], 1),
    (EphemeralValue(int), 1, [], MISSING),
    (EphemeralValue(int, guard=False), 1, [2, 3], 3),
    (UntrackedValue(int), MISSING, [1], 1),
    (UntrackedValue(int), 1, [], 1),
    (UntrackedValue(int, guard=False), 1, [2, 3], 3),
    (SUM, MISSING, [1, 2], 3),
    (SUM, 3, [], 3),
    (LIST, ["a"], [["b"], ["c"]], ["a", "b", "c"]),
    (BinaryOperatorAggregate(Any, operator.add), MISSING, [1], 1),
    (BinaryOperatorAggregate(Any, operator.add), MISSING, [1, 2], 3),
    (Topic(int), [1], [2, [3, 4]], [2, 3, 4]),
    (Topic(int), [1], [], []),
    (Topic(int, accumulate=True), [1], [2, [3]], [1, 2, 3]),
    (Topic(int, accumulate=True), [1], [], [1]),
    (NAMES, frozenset(), ["a"], frozenset("a")),
    (NAMES, frozenset("a"), ["b", "a"], frozenset("ab")),
    (LATE_NAMES, (frozenset("a"), False), ["b"], (frozenset("ab"), False)),
    (LATE, MISSING, ["x", "y"], ("y", False)),
    (LATE, ("x", True), ["y"], ("y", False)),
    (LATE, ("x", True), [], ("x", True)),
]
"""Channel, value before, writes of a step, value after."""

GUARDED = (
    "At key 'x': {kind}(guard=True) can receive only one value per step. "
    "Use guard=False if you want to store any one of multiple values."
)

REFUSALS = [
    (
        LastValue(int, "x"),
        [1, 2],
        "At key 'x': Can receive only one value per step. Use an Annotated key to handle multiple values.",
    ),
    (
        EphemeralValue(int).named("x"),
        [1, 2],
        GUARDED.format(kind="EphemeralValue"),
    ),
    (
        UntrackedValue(int).named("x"),
        [1, 2],
        GUARDED.format(kind="UntrackedValue"),
    ),
    (SUM.named("x"), [Overwrite(1), Overwrite(1)], "Can receive only one Overwrite value per super-step."),
    (NamedBarrierValue(str, {"a"}).named("x"), ["z"], "At key 'x': Value z not in {'a'}"),
    (NamedBarrierValueAfterFinish(str, {"a"}).named("x"), ["z"], "At key 'x': Value z not in {'a'}"),
]
"""Channel, writes that it cannot take, and LangGraph's words for it."""


def ids_of(channels: list[BaseChannel]) -> list[str]:
    """Return a name for each test of one channel."""
    return [" ".join(str(part) for part in describe(channel).values()) for channel in channels]


def a_write_to(channel: BaseChannel) -> Any:
    """Return something that the channel can take."""
    return "a" if isinstance(channel, NamedBarrierValue) else [1] if channel.typ is list else 1


@pytest.mark.parametrize(("channel", "before", "writes", "after"), FOLDS)
def test_writes_become_a_value(channel: BaseChannel, before: Any, writes: list[Any], after: Any) -> None:
    """Each kind folds writes as the table says, and leaves its arguments as they were."""
    kept = copy.deepcopy((before, writes))
    folded = channel.fold(before, writes)
    assert after == folded
    assert type(after) is type(folded)
    assert kept == (before, writes)


@pytest.mark.parametrize(("channel", "writes", "message"), REFUSALS)
def test_writes_that_cannot_be_are_refused_by_name(
    channel: BaseChannel, writes: list[Any], message: str
) -> None:
    """The error has LangGraph's words, and the key as data so that a caller can add who wrote."""
    with pytest.raises(InvalidUpdateError) as refused:
        channel.fold(channel.initial(), writes)
    assert message == refused.value.message
    assert refused.value.details["channel"] == "x"
    assert refused.value.code == "WAL-E203"
    assert refused.value.hint


@pytest.mark.parametrize("channel", KINDS, ids=ids_of(KINDS))
def test_a_step_without_a_write_changes_only_what_forgets(channel: BaseChannel) -> None:
    """Unless a channel forgets, the very same object comes back."""
    value = channel.fold(channel.initial(), [a_write_to(channel)])
    assert (channel.fold(value, ()) is not value) == channel.forgets


@pytest.mark.parametrize("channel", KINDS, ids=ids_of(KINDS))
def test_missing_and_the_initial_value_fold_alike(channel: BaseChannel) -> None:
    """A value that was never stored is the one that the channel starts with."""
    write = a_write_to(channel)
    assert channel.fold(channel.initial(), [write]) == channel.fold(MISSING, [write])


@pytest.mark.parametrize("channel", KINDS, ids=ids_of(KINDS))
def test_what_is_unavailable_cannot_be_read(channel: BaseChannel) -> None:
    """``get`` returns exactly when ``available`` says so."""
    for value in (MISSING, channel.initial()):
        if channel.available(value):
            assert channel.get(value) == value
        else:
            with pytest.raises(EmptyChannelError) as empty:
                channel.get(value)
            assert empty.value.code == "WAL-E204"


def test_falsy_values_are_values() -> None:
    """None, 0 and empty collections are read like any other; only MISSING means that nothing is there."""
    for value in (None, 0, "", [], {}):
        assert LastValue(Any).available(value)
        assert LastValue(Any).get(value) is value
        assert EphemeralValue(Any).fold(MISSING, [value]) is value


def test_missing_is_one_object() -> None:
    """Copies of MISSING are MISSING, so that it may be compared by identity."""
    assert copy.copy(MISSING) is MISSING
    assert copy.deepcopy({"x": MISSING})["x"] is MISSING
    assert type(MISSING)() is MISSING
    assert str(MISSING) == "MISSING"
    assert not MISSING


@pytest.mark.parametrize(
    ("typ", "start"),
    [
        (list, []),
        (list[int], []),
        (typing.Sequence[int], []),
        (collections.abc.MutableSequence, []),
        (collections.abc.Set, set()),
        (typing.Mapping[str, int], {}),
        (Annotated[NotRequired[dict[str, int]], operator.or_], {}),
        (NotRequired[Annotated[str, "a note"]], ""),
        (int, 0),
        (Any, MISSING),
        (list | None, MISSING),
        (collections.abc.Iterable, MISSING),
    ],
)
def test_an_aggregate_starts_with_what_its_type_makes(typ: Any, start: Any) -> None:
    """An abstract collection stands for the usual concrete one; what cannot be called starts with nothing."""
    channel = BinaryOperatorAggregate(typ, operator.add)
    assert start == channel.initial()
    assert not isinstance(start, list | set | dict) or channel.initial() is not channel.initial()


OVERWRITES = [Overwrite([9]), {"__overwrite__": [9]}, {"value": [9], "type": "__overwrite__"}]


@pytest.mark.parametrize("overwrite", OVERWRITES, ids=["object", "marked", "plain"])
@pytest.mark.parametrize("others", [([[1]], []), ([], [[2]]), ([[1]], [[2]]), ([], [])])
def test_an_overwrite_settles_the_step(overwrite: Any, others: tuple[list[Any], list[Any]]) -> None:
    """Writes before and after it have no effect, in each of its three forms."""
    before, after = others
    assert LIST.fold([0], [*before, overwrite, *after]) == [9]


@pytest.mark.parametrize("overwrite", OVERWRITES, ids=["object", "marked", "plain"])
def test_an_overwrite_of_what_is_missing_gives_its_value(overwrite: Any) -> None:
    """LangGraph stores the wrapper itself when it is the first write to an aggregate without a start."""
    assert BinaryOperatorAggregate(Any, operator.add).fold(MISSING, [overwrite]) == [9]


def test_a_dict_that_is_no_overwrite_is_folded() -> None:
    """Only the exact shapes count, whatever else the keys hold."""
    merge = BinaryOperatorAggregate(dict, operator.or_)
    for write in ({"type": "__overwrite__"}, {"value": 1, "type": "other"}, {"__overwrite__": 1, "more": 2}):
        assert merge.fold({"kept": 0}, [write]) == {"kept": 0, **write}


def test_a_last_value_keeps_a_dict_that_looks_like_an_overwrite() -> None:
    """Without a reducer there is nothing to bypass, so the dict is data."""
    assert LastValue(dict).fold(MISSING, [{"__overwrite__": 1}]) == {"__overwrite__": 1}


@given(st.lists(st.lists(st.integers(), max_size=3), max_size=8), st.integers(0, 8))
def test_a_reducer_folds_left_to_right_however_steps_are_cut(writes: list[list[int]], cut: int) -> None:
    """One step of many writes equals many steps of few, so that only their order matters."""
    whole = LIST.fold(MISSING, writes)
    assert LIST.fold(LIST.fold(MISSING, writes[:cut]), writes[cut:]) == whole
    assert whole == [item for write in writes for item in write]


def test_a_barrier_opens_when_every_name_was_seen_and_fills_again() -> None:
    """It is available once complete, and empty after it was consumed; before that ``consume`` does nothing."""
    half = NAMES.fold(MISSING, ["a"])
    assert not NAMES.available(half)
    assert NAMES.consume(half) is half
    full = NAMES.fold(half, ["b"])
    assert NAMES.available(full)
    assert NAMES.get(full) is None
    assert NAMES.consume(full) == NAMES.initial()


def test_a_late_barrier_opens_only_after_finish() -> None:
    """Completeness alone does not open it, nor does ``finish`` while a name is missing."""
    half = LATE_NAMES.fold(MISSING, ["a"])
    assert LATE_NAMES.finish(half) is half
    full = LATE_NAMES.fold(half, ["b"])
    assert not LATE_NAMES.available(full)
    assert LATE_NAMES.consume(full) is full
    finished = LATE_NAMES.finish(full)
    assert LATE_NAMES.available(finished)
    assert LATE_NAMES.finish(finished) is finished
    assert LATE_NAMES.consume(finished) == LATE_NAMES.initial()


def test_a_late_value_waits_for_finish_after_each_write() -> None:
    """A new write takes it back to waiting, so that its node runs once per quiescence."""
    written = LATE.fold(MISSING, ["x"])
    assert not LATE.available(written)
    finished = LATE.finish(written)
    assert LATE.get(finished) == "x"
    again = LATE.fold(finished, ["y"])
    assert not LATE.available(again)
    assert LATE.get(LATE.finish(again)) == "y"
    assert LATE.consume(finished) is MISSING
    assert LATE.finish(MISSING) is MISSING


def test_a_topic_hands_out_a_list_of_the_readers_own() -> None:
    """A reader that changes it does not change the value."""
    value = Topic(int).fold(MISSING, [1])
    Topic(int).get(value).append(2)
    assert value == [1]


def test_only_untracked_values_are_kept_out_of_the_log() -> None:
    """``tracked`` tells which values may be stored."""
    assert [channel for channel in KINDS if not channel.tracked] == [
        UntrackedValue(int),
        UntrackedValue(int, guard=False),
    ]


def test_a_named_channel_is_a_twin() -> None:
    """Naming leaves the original alone, so that one description can serve several keys."""
    twin = SUM.named("total")
    assert (twin.key, SUM.key) == ("total", "")
    assert twin == SUM
    assert twin.operator is SUM.operator


def test_channels_are_equal_when_they_behave_alike() -> None:
    """Type and key do not matter; kind, guard, reducer and names do. Lambdas are given the benefit of doubt."""
    assert LastValue(int, "x") == LastValue(str, "y")
    assert LastValue(int) != AnyValue(int)
    assert EphemeralValue(int) != EphemeralValue(int, guard=False)
    assert Topic(int) != Topic(int, accumulate=True)
    assert BinaryOperatorAggregate(int, operator.add) != BinaryOperatorAggregate(int, operator.mul)
    assert BinaryOperatorAggregate(int, operator.add) == BinaryOperatorAggregate(int, lambda a, b: a + b)
    assert NamedBarrierValue(str, {"a"}) != NAMES
    assert len({LastValue(int), LastValue(str)}) == 1


def test_a_reducers_prepare_reaches_through_an_overwrite() -> None:
    """What a reducer settles before the log is settled within an Overwrite as well."""

    def keep(left: Any, right: Any) -> Any:
        return right or left

    keep.prepare = lambda write: f"<{write}>"  # type: ignore[attr-defined]
    prepare = BinaryOperatorAggregate(str, keep).prepare
    assert prepare is not None
    assert prepare("a") == "<a>"
    assert prepare(Overwrite("a")) == Overwrite("<a>")
    assert prepare({"__overwrite__": "a"}) == Overwrite("<a>")
    assert SUM.prepare is None


@pytest.mark.parametrize("channel", KINDS, ids=ids_of(KINDS))
def test_a_description_is_enough_to_fold_without_the_users_code(channel: BaseChannel) -> None:
    """Channels with reducers that everybody has come back from their plain data and fold alike."""
    rebuilt = from_description(describe(channel))
    assert rebuilt == channel
    assert rebuilt is not None
    assert describe(rebuilt)["kind"] == describe(channel)["kind"]
    assert rebuilt.initial() == channel.initial()


def test_a_description_is_plain_and_stable() -> None:
    """It names kind, type, reducer and start, in words that the next process would use too."""
    assert describe(BinaryOperatorAggregate(Annotated[list[int], operator.add], operator.add)) == {
        "kind": "BinaryOperatorAggregate",
        "type": "list[int]",
        "reducer": "operator:add",
        "start": "list",
    }
    assert describe(NAMES) == {"kind": "NamedBarrierValue", "type": "str", "names": ["a", "b"]}


def _own_reducer(left: Any, right: Any) -> Any:
    return right or left


class _OwnChannel(LastValue):
    """A kind that only this test knows."""


@pytest.mark.parametrize(
    "data",
    [
        describe(BinaryOperatorAggregate(int, _own_reducer)),
        describe(BinaryOperatorAggregate(collections.Counter, operator.add)),
        describe(_OwnChannel(int)),
        {},
        {"kind": "Topic"},
        {"kind": "EphemeralValue", "guard": "yes"},
    ],
    ids=["reducer", "start", "kind", "empty", "short", "wrong"],
)
def test_a_description_that_needs_users_code_gives_none(data: dict[str, Any]) -> None:
    """Nothing is guessed and nothing imported when the code behind a name is not everybody's."""
    assert from_description(data) is None


@pytest.mark.parametrize(
    ("annotation", "name"),
    [
        (int, "int"),
        (None, "None"),
        (int | None, "int | None"),
        (typing.Union[int, str], "int | str"),  # noqa: UP007 - the old spelling must read like the new one
        (dict[str, list[int]], "dict[str, list[int]]"),
        (Annotated[list, lambda a, b: (a, b)], "list"),
        (typing.Literal["a", 1], "Literal['a', 1]"),
        (typing.Callable[[int], str], "collections.abc:Callable[[int], str]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (collections.OrderedDict, "collections:OrderedDict"),
        (Any, "Any"),
        ("Later", "Later"),
        (typing.TypeVar("T"), "T"),
    ],
)
def test_a_type_has_a_readable_name(annotation: Any, name: str) -> None:
    """Names hold no addresses, so that a fingerprint is the same in every process."""
    assert name == type_name(annotation)


def test_a_callable_has_a_readable_name() -> None:
    """Functions, partials and callable objects are named by where they are defined."""
    module = __name__
    assert callable_name(_own_reducer) == f"{module}:_own_reducer"
    assert callable_name(functools.partial(_own_reducer)) == f"functools:partial({module}:_own_reducer)"
    assert callable_name(max) == "builtins:max"
    assert callable_name(operator.itemgetter(0)) == "operator:itemgetter"
