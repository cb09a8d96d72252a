"""Searching a store by meaning: which texts are embedded, with what, and how near is near.

The embedding of the tests counts letters, so that scores can be computed by hand.
"""

from __future__ import annotations

import asyncio
import datetime
import functools
import math
import types
from typing import Any

import pytest
from helpers import Way
from hypothesis import given
from hypothesis import strategies as st
from store_helpers import Called

from walgraph import InMemoryStore, Log, LogStore, PutOp
from walgraph.engine import embedding
from walgraph.engine.embedding import cosine, ranked
from walgraph.engine.store_text import get_text_at_path, tokenize_path

D = ("d",)


def count(texts: Any) -> list[list[float]]:
    """Embed texts as how often each letter from a to g is in them."""
    return [[float(text.count(letter)) for letter in "abcdefg"] for text in texts]


async def acount(texts: Any) -> list[list[float]]:
    """Do the same on an event loop."""
    await asyncio.sleep(0)
    return count(texts)


def a_store(embed: Any = count, **options: Any) -> InMemoryStore:
    """A store with an index."""
    return InMemoryStore(index={"dims": 7, "embed": embed, **options})


def scores(items: Any) -> list[tuple[str, float | None]]:
    """Key and rounded score of what was found."""
    return [(item.key, None if item.score is None else round(item.score, 6)) for item in items]


@pytest.fixture
def filled(way: Way) -> Called:
    """A store with six items, one of which is not indexed, and one by the parts of a list."""
    store = Called(a_store(), way)
    for key, text in (("1", "aab"), ("2", "bbb"), ("3", "gfe"), ("4", "a")):
        store.put(D, key, {"text": text})
    store.put(D, "5", {"text": "aaa"}, index=False)
    store.put(("e",), "6", {"text": "aaa", "o": ["b", "c"]}, index=["o[*]"])
    return store


def test_a_query_sorts_by_nearness_as_langgraph_does(filled: Called) -> None:
    """The whole value is embedded by default; what has no vector comes last, unranked."""
    # The texts are {"text": "aab"} and so on, so that each holds an e of its key.
    found = filled.search((), query="a")
    assert scores(found) == [
        ("1", 0.816497),
        ("4", 0.707107),
        ("2", 0.0),
        ("3", 0.0),
        ("6", 0.0),
        ("5", None),
    ]
    assert scores(filled.search((), query="bc", limit=3)) == [
        ("6", 0.707107),
        ("2", 0.67082),
        ("1", 0.288675),
    ]


def test_an_item_counts_with_its_nearest_part(filled: Called) -> None:
    """Each element of ``o[*]`` has its own vector."""
    assert scores(filled.search(("e",), query="b")) == [("6", 1.0)]
    assert scores(filled.search(("e",), query="c")) == [("6", 1.0)]


def test_pages_follow_one_another(filled: Called) -> None:
    """What is not ranked comes after what is, once (LangGraph shows it on each page)."""
    whole = scores(filled.search((), query="a", limit=10))
    paged = [
        each for offset in range(0, 8, 2) for each in filled.search((), query="a", limit=2, offset=offset)
    ]
    assert scores(paged) == whole


def test_a_filter_narrows_what_is_ranked(filled: Called) -> None:
    """Both hold at once."""
    found = filled.search(D, query="a", filter={"text": {"$ne": "a"}})
    assert [item.key for item in found] == ["1", "2", "3", "5"]


def test_without_an_index_or_a_query_nothing_is_ranked(filled: Called, way: Way) -> None:
    """The order is that in which items came."""
    assert scores(filled.search(D, query="")) == [(key, None) for key in "12345"]
    plain = Called(InMemoryStore(), way)
    plain.put(D, "x", {"text": "b"}, index=["text"])
    plain.put(D, "y", {"text": "a"})
    assert scores(plain.search(D, query="a")) == [("x", None), ("y", None)]


def test_fields_of_the_store_and_of_a_put_say_what_is_embedded(way: Way) -> None:
    """Those of a put take the place of those of the store; putting again forgets the old vectors."""
    store = Called(a_store(fields=["title", "tags[*]"]), way)
    store.put(D, "x", {"title": "a", "tags": ["b", "c"], "note": "g"})
    for query, score in (("a", 1.0), ("b", 1.0), ("c", 1.0), ("g", 0.0)):
        assert scores(store.search(D, query=query)) == [("x", score)]
    store.put(D, "x", {"title": "a", "note": "g"}, index=["note"])
    assert scores(store.search(D, query="a")) == [("x", 0.0)]
    assert scores(store.search(D, query="g")) == [("x", 1.0)]
    store.put(D, "x", {"title": "a"}, index=["missing"])
    store.put(D, "y", {"title": "a"}, index=[])
    assert scores(store.search(D, query="a")) == [("x", None), ("y", None)]
    with pytest.raises(TypeError, match="index must be None, False or a list of fields, not True"):
        store.put(D, "x", {}, index=True)


def test_equal_texts_are_embedded_once(way: Way) -> None:
    """Two items of one batch may say the same (LangGraph refuses them)."""
    seen: list[str] = []

    def embed(texts: list[str]) -> list[list[float]]:
        seen.extend(texts)
        return count(texts)

    store = Called(a_store(way.node(embed), fields=["t"]), way)
    store.batch([PutOp(D, "x", {"t": "a"}), PutOp(D, "y", {"t": "a"}), PutOp(D, "z", {"t": "b"})])
    assert sorted(seen) == ["a", "b"]
    assert scores(store.search(D, query="a")) == [("x", 1.0), ("y", 1.0), ("z", 0.0)]


def test_vectors_are_kept_in_a_log(tmp_path: Any, way: Way) -> None:
    """They are computed once, and scores are the same after opening the log again, and as in memory."""
    index: Any = {"dims": 7, "embed": count, "fields": ["t"]}
    texts = ["abc", "aab", "gg", "cab", "dead"]
    with Log.open(tmp_path / "log") as log:
        store = Called(LogStore(log, index=index), way)
        for text in texts:
            store.put(D, text, {"t": text})
    memory = Called(InMemoryStore(index=index), way)
    for text in texts:
        memory.put(D, text, {"t": text})
    with Log.open(tmp_path / "log", readonly=True) as log:
        store = Called(LogStore(log, index={**index, "embed": way.node(count)}), way)
        found = [(item.key, item.score) for item in store.search(D, query="ad")]
    assert found == [(item.key, item.score) for item in memory.search(D, query="ad")]
    assert [key for key, _ in found] == ["dead", "aab", "abc", "cab", "gg"]


# Functions that embed


class Model:
    """An object with LangChain's methods; questions are embedded in another way than answers."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed answers."""
        return count(texts)

    def embed_query(self, text: str) -> list[float]:
        """Embed a question: turned round."""
        return count([text])[0][::-1]


class AsyncModel(Model):
    """The same, with methods for event loops."""

    def __init__(self) -> None:
        self.waited = 0

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed answers."""
        self.waited += 1
        return count(texts)

    async def aembed_query(self, text: str) -> list[float]:
        """Embed a question."""
        self.waited += 1
        return self.embed_query(text)


class Callable:
    """An object that is called."""

    def __call__(self, texts: Any) -> list[list[float]]:
        """Embed."""
        return count(texts)


@pytest.mark.parametrize(
    ("embed", "query"),
    [
        (count, "a"),
        (Callable(), "a"),
        (functools.partial(count), "a"),
        (lambda texts: tuple(tuple(vector) for vector in count(texts)), "a"),
        (Model(), "g"),
        (AsyncModel(), "g"),
    ],
)
def test_whatever_embeds_is_called_in_its_own_way(way: Way, embed: Any, query: str) -> None:
    """Functions and objects, from both kinds of code."""
    store = Called(a_store(embed, fields=["t"]), way)
    store.put(D, "x", {"t": "a"})
    assert scores(store.search(D, query=query)) == [("x", 1.0)]
    if isinstance(embed, AsyncModel):
        assert embed.waited == (2 if way.is_async else 0)


def hidden(texts: Any) -> Any:
    """Return a coroutine without being a coroutine function."""
    return acount(texts)


@pytest.mark.parametrize("embed", [acount, functools.partial(acount), hidden])
def test_a_coroutine_function_embeds_on_an_event_loop(embed: Any) -> None:
    """Of synchronous calls it cannot be asked, and they say so."""
    store = a_store(embed, fields=["t"])

    async def use() -> Any:
        await store.aput(D, "x", {"t": "a"})
        return await store.asearch(D, query="a")

    assert scores(asyncio.run(use())) == [("x", 1.0)]
    with pytest.raises(ValueError, match="needs an event loop: use aput, asearch and abatch"):
        store.put(D, "x", {"t": "a"})


def test_numbers_of_numpy_are_vectors() -> None:
    """What a model returns as an array is kept all the same."""
    numpy = pytest.importorskip("numpy")
    store = a_store(lambda texts: numpy.array(count(texts), dtype="float32"), fields=["t"])
    store.put(D, "x", {"t": "a"})
    assert scores(store.search(D, query="a")) == [("x", 1.0)]


def test_an_index_needs_something_that_embeds() -> None:
    """Nothing, something that cannot be called, and a model's name without langchain are refused at once."""
    with pytest.raises(ValueError, match="embed must be provided"):
        InMemoryStore(index={"dims": 7})
    with pytest.raises(
        TypeError, match="embed must be a function, or have embed_documents and embed_query; int is"
    ):
        a_store(5)


def test_a_models_name_is_looked_up_by_langchain(monkeypatch: pytest.MonkeyPatch) -> None:
    """``provider:model`` is its way to name one; without it, the error says what to install."""
    module = types.ModuleType("langchain.embeddings")
    module.init_embeddings = lambda name: Model() if name == "ours:letters" else None  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "langchain", types.ModuleType("langchain"))
    monkeypatch.setitem(__import__("sys").modules, "langchain.embeddings", module)
    store = a_store("ours:letters", fields=["t"])
    store.put(D, "x", {"t": "a"})
    assert scores(store.search(D, query="g")) == [("x", 1.0)]
    monkeypatch.setitem(__import__("sys").modules, "langchain.embeddings", None)
    with pytest.raises(ValueError, match="Could not load embeddings from string 'ours:letters'"):
        a_store("ours:letters")


def test_what_fails_to_embed_keeps_nothing(way: Way) -> None:
    """The error is the user's own; a batch is all or nothing."""

    def embed(texts: Any) -> Any:
        raise ConnectionError(texts[0])

    store = Called(a_store(embed, fields=["t"]), way)
    with pytest.raises(ConnectionError, match="a"):
        store.put(D, "x", {"t": "a"})
    few = Called(a_store(lambda texts: texts[1:], fields=["t"]), way)
    with pytest.raises(ValueError, match="returned 0 vectors for 1 texts"):
        few.put(D, "x", {"t": "a"})
    assert store.search(()) == few.search(()) == []


def test_vectors_of_another_length_are_never_compared() -> None:
    """A changed model is noticed instead of giving nonsense."""
    length = 3
    store = a_store(lambda texts: [[1.0] * length for _ in texts], fields=["t"])
    store.put(D, "x", {"t": "a"})
    length = 4
    with pytest.raises(ValueError, match="The query's vector has 4 numbers, a stored one has 3"):
        store.search(D, query="a")
    store.put(D, "x", {"t": "a"})
    assert scores(store.search(D, query="a")) == [("x", 1.0)]


# Nearness

FLOATS = st.floats(-100, 100, allow_nan=False, width=32)
VECTORS = st.integers(1, 6).flatmap(
    lambda length: st.lists(st.lists(FLOATS, min_size=length, max_size=length), min_size=2, max_size=8)
)


@given(VECTORS)
def test_scores_are_the_same_with_and_without_numpy(vectors: list[list[float]]) -> None:
    """Numpy makes it faster and changes nothing but the last digits."""
    numpy = pytest.importorskip("numpy")
    query, *others = embedding._packed(vectors, len(vectors))
    plain = embedding._cosine_plain(query, others)
    assert embedding._cosine_numpy(numpy, query, others) == pytest.approx(plain, abs=1e-9)
    assert all(-1.0000001 <= score <= 1.0000001 for score in plain)


def test_a_vector_without_a_direction_has_nothing_in_common() -> None:
    """Zero is near to nothing, in both ways to compute it."""
    zero, one = embedding._packed([[0.0, 0.0], [1.0, 0.0]], 2)
    assert cosine(zero, [zero, one]) == cosine(one, [zero, zero]) == [0.0, 0.0]
    assert embedding._cosine_plain(zero, [zero, one]) == [0.0, 0.0]
    assert cosine(one, []) == []


def test_without_numpy_the_plain_way_is_taken(monkeypatch: pytest.MonkeyPatch, filled: Called) -> None:
    """The same search finds the same."""
    with_numpy = scores(filled.search((), query="ab"))
    embedding._numpy.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "numpy", None)
    try:
        assert embedding._numpy() is None
        assert scores(filled.search((), query="ab")) == with_numpy
    finally:
        embedding._numpy.cache_clear()


def test_equal_scores_keep_the_order_of_their_items() -> None:
    """Rounding in the last digits does not decide."""
    assert ranked([0.5, 0.7, 0.5 + 1e-15, 0.7 - 1e-15, -1.0]) == [1, 3, 0, 2, 4]
    third = math.fsum([0.1] * 3)
    assert ranked([third, 0.1 + 0.1 + 0.1]) == [0, 1]


# Paths


@pytest.mark.parametrize(
    ("path", "tokens"),
    [
        ("", []),
        ("a", ["a"]),
        ("a.b", ["a", "b"]),
        ("a..b.", ["a", "b"]),
        ("a[0].b", ["a", "[0]", "b"]),
        ("a[*][-1]", ["a", "[*]", "[-1]"]),
        ("{a.b,c}", ["{a.b,c}"]),
        ("x{a[0],{b}}.y", ["x", "{a[0],{b}}", "y"]),
        ("a[[0]]b", ["a", "[[0]]", "b"]),
        ("a[0", ["a", "[0"]),
        ("a].b", ["a]", "b"]),
        ("*.x", ["*", "x"]),
        ("$", ["$"]),
    ],
)
def test_a_path_is_split_as_langgraph_splits_it(path: str, tokens: list[str]) -> None:
    """Names, brackets and braces; what is not closed goes on to the end."""
    assert tokenize_path(path) == tokens


NESTED: dict[str, Any] = {
    "t": "text",
    "n": 5,
    "f": 1.5,
    "b": True,
    "none": None,
    "l": ["x", 2, None, {"k": "v"}],
    "d": {"e": {"g": "deep"}, "h": "flat", "ä": "ö"},
    "p": [{"s": [{"text": "1"}, {"text": "2"}]}, {"s": [{"text": "3"}]}, {"q": 1}],
}


@pytest.mark.parametrize(
    ("path", "texts"),
    [
        ("t", ["text"]),
        ("n", ["5"]),
        ("f", ["1.5"]),
        ("b", ["True"]),
        ("none", []),
        ("missing", []),
        ("t.x", []),
        ("d.e.g", ["deep"]),
        ("d.e", ['{"g": "deep"}']),
        ("d", ['{"e": {"g": "deep"}, "h": "flat", "ä": "ö"}']),
        ("l", ['["x", 2, null, {"k": "v"}]']),
        ("l[0]", ["x"]),
        ("l[-1]", ['{"k": "v"}']),
        ("l[-1].k", ["v"]),
        ("l[-4]", ["x"]),
        ("l[4]", []),
        ("l[-5]", []),
        ("l[x]", []),
        ("d[0]", []),
        ("l[*]", ["x", "2", '{"k": "v"}']),
        ("p[*].s[*].text", ["1", "2", "3"]),
        ("p[0].s[-1].text", ["2"]),
        ("d.*", ['{"g": "deep"}', "flat", "ö"]),
        ("l.*", ["x", "2", '{"k": "v"}']),
        ("t.*", []),
        ("{t,n,none,missing}", ["text", "5"]),
        ("{d.e.g, t}", ["deep", "text"]),
        ("d.{h,e}", ["flat", '{"g": "deep"}']),
        ("l.{t}", []),
        ("{}", []),
        ("{l[0]}", []),
    ],
)
def test_a_path_leads_where_langgraphs_leads(path: str, texts: list[str]) -> None:
    """The literals are what LangGraph's ``get_text_at_path`` gives."""
    assert get_text_at_path(NESTED, path) == texts
    assert get_text_at_path(types.MappingProxyType(NESTED), path) == texts


def test_the_whole_is_its_json_with_sorted_keys() -> None:
    """What JSON does not know, such as a date, is its text."""
    assert get_text_at_path({"b": 1, "a": "ä"}, "$") == ['{"a": "ä", "b": 1}']
    assert get_text_at_path(types.MappingProxyType({"a": 1}), "") == ['{"a": 1}']
    assert get_text_at_path({"d": datetime.date(2024, 2, 29)}, []) == ['{"d": "2024-02-29"}']
