"""Messages: merged by id, and with ids that are settled before the log.

Each claim that holds with and without langchain_core is tested both ways; ``plain`` makes it impossible to import.
"""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, RemoveMessage

from walgraph.engine import messages as module
from walgraph.engine.messages import (
    REMOVE_ALL_MESSAGES,
    InvalidMessage,
    MessagesState,
    add_messages,
    remove_message,
)
from walgraph.engine.schema import read_schema
from walgraph.replay.channel import MISSING, BinaryOperatorAggregate, Overwrite, describe, from_description

CHANNEL = read_schema(MessagesState).channels["messages"]

FORMS = [
    "hi",
    ("user", "hi"),
    {"role": "user", "content": "hi"},
    ["hi"],
    [("user", "hi")],
    [{"role": "user", "content": "hi"}],
]


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Make langchain_core impossible to import."""
    monkeypatch.setitem(sys.modules, "langchain_core", None)
    module._langchain.cache_clear()
    yield
    monkeypatch.undo()
    module._langchain.cache_clear()


@pytest.fixture(params=["langchain", "plain"])
def either(request: pytest.FixtureRequest) -> str:
    """Run the test with langchain_core and without it."""
    if request.param == "plain":
        request.getfixturevalue("plain")
    return str(request.param)


def said(key: str, text: str) -> dict[str, str]:
    """Return a message with an id."""
    return {"role": "user", "content": text, "id": key}


def told(merged: list[Any]) -> list[tuple[str, str]]:
    """Return id and content of each message."""
    pairs = [message if isinstance(message, dict) else vars(message) for message in merged]
    return [(pair["id"], pair["content"]) for pair in pairs]


@pytest.mark.parametrize("form", FORMS, ids=range(len(FORMS)))
def test_whatever_is_a_message_becomes_one(either: str, form: Any) -> None:
    """Texts, pairs and dicts, alone or in a list, become messages that have an id."""
    [message] = add_messages([], form)
    [(key, content)] = told([message])
    assert content == "hi"
    assert len(key) == 36
    assert isinstance(message, HumanMessage if either == "langchain" else dict)


MERGES = [
    ([], [said("a", "1")], [("a", "1")]),
    ([said("a", "1")], [said("b", "2")], [("a", "1"), ("b", "2")]),
    ([said("a", "1"), said("b", "2")], [said("a", "3")], [("a", "3"), ("b", "2")]),
    ([said("a", "1")], [said("b", "2"), said("b", "3")], [("a", "1"), ("b", "3")]),
    ([said("a", "1"), said("b", "2")], [remove_message("a")], [("b", "2")]),
    ([said("a", "1")], [remove_message("a"), said("a", "2")], [("a", "2")]),
    ([said("a", "1")], [said("b", "2"), remove_message("b")], [("a", "1")]),
    ([said("a", "1")], {"role": "remove", "content": "", "id": "a"}, []),
    ([said("a", "1")], [remove_message(REMOVE_ALL_MESSAGES)], []),
    ([said("a", "1")], [said("b", "2"), remove_message(REMOVE_ALL_MESSAGES), said("c", "3")], [("c", "3")]),
    ([said("a", "1")], [remove_message("gone"), remove_message(REMOVE_ALL_MESSAGES)], []),
    (said("a", "1"), said("b", "2"), [("a", "1"), ("b", "2")]),
]
"""Left, right, and id and content of what comes out."""


@pytest.mark.parametrize(("left", "right", "merged"), MERGES, ids=range(len(MERGES)))
def test_messages_are_merged_by_id(either: str, left: Any, right: Any, merged: list[tuple[str, str]]) -> None:
    """The same id replaces in place, another is appended, a removal removes."""
    kept = copy.deepcopy((left, right))
    assert merged == told(add_messages(left, right))
    assert kept == (left, right)


def test_removing_what_is_not_there_is_an_error(either: str) -> None:
    """In LangGraph's words, and as the ValueError that its users may catch."""
    with pytest.raises(InvalidMessage) as refused:
        add_messages([said("a", "1")], remove_message("b"))
    assert refused.value.message == "Attempting to delete a message with an ID that doesn't exist ('b')"
    assert isinstance(refused.value, ValueError)


@pytest.mark.parametrize("write", [5, [5], [None], ("user", "a", "b"), {"type": "remove"}, {}], ids=repr)
def test_what_is_no_message_is_refused_before_the_log(write: Any) -> None:
    """``prepare`` runs before anything is recorded, so the thread stays sound."""
    assert CHANNEL.prepare is not None
    with pytest.raises(InvalidMessage):
        CHANNEL.prepare(write)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("write", [5, [None], {"type": "remove"}], ids=repr)
def test_what_is_no_plain_message_is_refused_before_the_log(write: Any) -> None:
    """Without langchain_core as well."""
    assert CHANNEL.prepare is not None
    with pytest.raises(InvalidMessage):
        CHANNEL.prepare(write)


def test_half_a_call_is_an_error() -> None:
    """A node that writes None to the messages learns it from the error."""
    with pytest.raises(InvalidMessage, match="Only received: 'left'"):
        add_messages([], None)


def test_prepared_writes_fold_to_the_same_state_each_time(either: str) -> None:
    """After ``prepare`` nothing is left to invent, so refolding a log gives the same ids."""
    assert CHANNEL.prepare is not None
    writes = [CHANNEL.prepare(form) for form in FORMS]
    first, second = (CHANNEL.fold(MISSING, copy.deepcopy(writes)) for _ in range(2))
    assert told(first) == told(second)
    assert len(first) == len(FORMS)


def test_prepare_keeps_the_shape_of_a_write(either: str) -> None:
    """A single message stays single, and what needs no change is the same object."""
    assert CHANNEL.prepare is not None
    [message] = listed = CHANNEL.prepare([said("a", "1")])
    assert CHANNEL.prepare(message) is message
    assert CHANNEL.prepare(listed)[0] is message
    assert not isinstance(CHANNEL.prepare("hi"), list)


def test_an_overwrite_is_prepared_within() -> None:
    """Messages that replace the whole list have ids too."""
    assert CHANNEL.prepare is not None
    write = CHANNEL.prepare(Overwrite(["hi"]))
    [message] = CHANNEL.fold([], [write])
    assert message.id
    assert CHANNEL.fold(CHANNEL.fold([], [write]), [[message]]) == [message]


def test_a_message_object_gets_its_id_in_place() -> None:
    """So that returning the same object again replaces it, as LangGraph's users expect."""
    message = HumanMessage("hi")
    merged = add_messages([], message)
    assert merged[0] is message
    assert add_messages(merged, message) == [message]


def test_a_chunk_becomes_a_whole_message() -> None:
    """What is streamed in parts is stored as one message of the full class."""
    [message] = add_messages([], AIMessageChunk("hi", id="a"))
    assert type(message) is AIMessage
    assert add_messages([message], [AIMessageChunk("ho", id="a")])[0].content == "ho"


def test_langchain_removals_work() -> None:
    """The class that LangGraph's users import."""
    left = [HumanMessage("1", id="a"), HumanMessage("2", id="b")]
    assert add_messages(left, [RemoveMessage(id="a")]) == left[1:]
    assert add_messages(left, RemoveMessage(id=REMOVE_ALL_MESSAGES)) == []


def test_openai_format_keeps_ids() -> None:
    """Content gets OpenAI's shape; ids stay, since a fold must not invent new ones."""
    reducer = add_messages(format="langchain-openai")
    image = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/jpeg", "data": "1234"},
    }
    merged = reducer([], [HumanMessage([{"type": "text", "text": "see"}, image], id="a")])
    assert merged[0].content[1] == {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,1234"}}
    assert merged[0].id == "a"
    channel = BinaryOperatorAggregate(list, reducer)
    assert channel.prepare is not None
    assert channel.fold(MISSING, [channel.prepare("hi")])[0].content == "hi"


def test_one_message_that_becomes_several_gives_them_ids_of_its_own() -> None:
    """Tool results inside a message become messages, with ids that follow from its id."""
    result = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "r"}]}
    message = HumanMessage([{"type": "text", "text": "see"}, result], id="a")
    first, second = (add_messages([], message, format="langchain-openai") for _ in range(2))
    assert len(first) > 1
    assert [part.id for part in first] == [part.id for part in second]
    assert len({part.id for part in first}) == len(first)


@pytest.mark.usefixtures("plain")
def test_openai_format_needs_langchain() -> None:
    """And says so at once, not at the first message."""
    with pytest.raises(ValueError, match="langchain_core, which is not installed"):
        add_messages(format="langchain-openai")


def test_an_unknown_format_is_refused() -> None:
    """In LangGraph's words."""
    with pytest.raises(ValueError, match="Unrecognized format='other'"):
        add_messages([], [], format="other")


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 90), st.booleans()), min_size=1, max_size=40),
        max_size=12,
    ),
    st.integers(0, 80),
)
def test_the_index_of_long_lists_is_only_a_cache(steps: list[list[tuple[int, bool]]], already: int) -> None:
    """Whatever is written, also on top of an older list, the merge is that of a plain dict."""
    model = {str(number): "old" for number in range(already)}
    lists = [add_messages([], [said(key, text) for key, text in model.items()])]
    models = [model]
    for step, writes in enumerate(steps):
        # Every third step goes back and continues from an older list, as a second reader of it would.
        origin = -1 if step % 3 else step // 2
        before = models[origin]
        after = dict(before)
        right: list[Any] = []
        removed: set[str] = set()
        for number, removing in writes:
            key = str(number)
            if removing and key in after:
                right.append(remove_message(key))
                removed.add(key)
            elif not removing:
                right.append(said(key, f"{step}"))
                after[key] = f"{step}"
                removed.discard(key)
        models.append({key: text for key, text in after.items() if key not in removed})
        lists.append(add_messages(lists[origin], right))
    assert [told(merged) for merged in lists] == [list(model.items()) for model in models]


def test_a_list_that_a_node_changed_in_place_is_indexed_anew() -> None:
    """The remembered index does not fit it any more, and is not trusted."""
    merged = add_messages([], [said(str(number), "x") for number in range(100)])
    merged.append(HumanMessage("smuggled", id="extra"))
    assert add_messages(merged, said("extra", "y"))[-1].content == "y"
    assert len(add_messages(merged, said("extra", "y"))) == 101


def test_appending_does_not_look_at_every_message() -> None:
    """The ids of the messages so far are looked up in the index, not read again."""

    class Counting(HumanMessage):
        def __getattribute__(self, name: str) -> Any:
            if name == "id":
                reads.append(name)
            return super().__getattribute__(name)

    reads: list[str] = []
    merged = add_messages([], [Counting("x", id=str(number)) for number in range(500)])
    reads.clear()
    for number in range(20):
        merged = add_messages(merged, HumanMessage("y", id=f"new {number}"))
    assert len(merged) == 520
    assert reads == []


def test_messages_state_is_one_channel_that_everybody_can_fold() -> None:
    """Tools without the user's code fold it by its description."""
    assert BinaryOperatorAggregate(list, add_messages) == CHANNEL
    assert describe(CHANNEL)["reducer"] == "walgraph.engine.messages:add_messages"
    assert from_description(describe(CHANNEL)) == CHANNEL


def test_langchain_is_imported_with_the_first_message_only() -> None:
    """Importing the reducer, and a graph's schema with it, costs nothing."""
    script = (
        "import sys\n"
        "from walgraph.engine.messages import MessagesState, add_messages\n"
        "from walgraph.engine.schema import read_schema\n"
        "read_schema(MessagesState)\n"
        "assert 'langchain_core' not in sys.modules\n"
        "add_messages([], 'hi')\n"
        "assert 'langchain_core' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.lists(st.integers(0, 90), min_size=1, max_size=4)), max_size=40)
)
def test_lists_that_grow_from_one_another_share_an_index_and_stay_right(
    steps: list[tuple[int, list[int]]],
) -> None:
    """Drafts, forks and routers' trials merge into the same list again and again, in any order.

    The index of the ids was once taken away by the first of them, so every step of a long chat made it anew.
    """
    base = [{"id": f"base{number}", "role": "user", "content": ""} for number in range(64)]
    lists = [add_messages([], base)]
    for choice, numbers in steps:
        left = lists[choice % len(lists)]
        news = [{"id": f"m{number}", "role": "user", "content": str(choice)} for number in numbers]
        expected = {message_id(item): item for item in left}
        expected.update({message["id"]: message for message in news})
        merged = add_messages(left, news)
        assert [message_id(item) for item in merged] == list(expected)
        lists.append(merged)
    assert all(len(set(map(message_id, each))) == len(each) for each in lists)


def message_id(message: Any) -> str:
    """Return a message's id, whatever it is."""
    found: str = message["id"] if isinstance(message, dict) else message.id
    return found
