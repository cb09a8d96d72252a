"""The same calls on LangGraph's ``InMemoryStore`` and on ours: the same answers.

What differs on purpose is kept out of the way: LangGraph lists namespaces without items, keeps the vectors of an item
that is put again, and shows items without a score on each page; ours compares what LangGraph cannot.
"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import walgraph

base = pytest.importorskip("langgraph.store.base", reason="LangGraph is not installed")
memory = pytest.importorskip("langgraph.store.memory")

LABELS = st.sampled_from(["a", "b", "c"])
NAMESPACES = st.lists(LABELS, min_size=1, max_size=3).map(tuple)
PREFIXES = st.lists(LABELS, max_size=2).map(tuple)
KEYS = st.sampled_from(["x", "y", "z"])
NUMBERS = st.integers(0, 4)
SCALARS = NUMBERS | st.sampled_from(["x", "2", 1.5, True])
VALUES = st.fixed_dictionaries(
    {
        "n": NUMBERS,
        "s": SCALARS,
        "l": st.lists(SCALARS, max_size=2),
        "d": st.fixed_dictionaries({"e": NUMBERS}),
    }
)
ORDERS = st.sampled_from(["$gt", "$gte", "$lt", "$lte"])
EQUALITIES = st.sampled_from(["$eq", "$ne"])
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "n": NUMBERS | st.dictionaries(ORDERS, NUMBERS, min_size=1, max_size=2),
        "s": SCALARS | st.dictionaries(EQUALITIES, SCALARS, min_size=1, max_size=1),
        "l": st.lists(SCALARS, max_size=2),
        "d": st.fixed_dictionaries({"e": NUMBERS | st.dictionaries(ORDERS, NUMBERS, min_size=1, max_size=1)}),
        "missing": st.none(),
    },
)
PATHS = st.lists(LABELS | st.just("*"), min_size=1, max_size=2).map(tuple)

PUTS = st.tuples(st.just("put"), NAMESPACES, KEYS, VALUES)
READS = (
    st.tuples(st.just("get"), NAMESPACES, KEYS)
    | st.tuples(st.just("search"), PREFIXES, st.none() | FILTERS, st.integers(0, 4), st.integers(0, 3))
    | st.tuples(st.just("list"), st.none() | PATHS, st.none() | PATHS, st.none() | st.integers(1, 3), NUMBERS)
)


def carry_out(store: Any, call: tuple[Any, ...]) -> Any:
    """Carry out a call; return its answer as plain data, without times."""
    match call:
        case ("put", namespace, key, value):
            return store.put(namespace, key, value)
        case ("get", namespace, key):
            item = store.get(namespace, key)
            return None if item is None else (item.namespace, item.key, item.value)
        case ("search", prefix, wanted, limit, offset):
            found = store.search(prefix, filter=wanted, limit=limit, offset=offset)
            return [(item.namespace, item.key, item.value, item.score) for item in found]
        case ("list", prefix, suffix, max_depth, offset):
            return store.list_namespaces(prefix=prefix, suffix=suffix, max_depth=max_depth, offset=offset)
    raise AssertionError(call)


@given(st.lists(PUTS, min_size=1, max_size=12), st.lists(READS, max_size=12))
@settings(deadline=None)
def test_the_same_calls_have_the_same_answers(puts: list[Any], reads: list[Any]) -> None:
    """Getting, searching with filters and pages, and listing, in the same order."""
    theirs, ours = memory.InMemoryStore(), walgraph.InMemoryStore()
    held = {call[1] for call in puts}
    # LangGraph lists a namespace that was only asked for.
    reads = [call for call in reads if call[0] != "get" or call[1] in held]
    for call in [*puts, *reads]:
        assert carry_out(ours, call) == carry_out(theirs, call), call


def embed(texts: Any) -> list[list[float]]:
    """Count letters."""
    return [[float(text.count(letter)) for letter in "abcx"] for text in texts]


@given(
    st.dictionaries(KEYS, st.text("abcx", min_size=1, max_size=5), min_size=1),
    st.text("abcx", min_size=1, max_size=4),
    st.sampled_from([["t"], ["$"], None]),
)
@settings(deadline=None)
def test_the_same_searches_have_the_same_scores(texts: dict[str, str], query: str, fields: Any) -> None:
    """Items that are equally near may stand in another order, since scores differ in the last digits."""
    index = {"dims": 4, "embed": embed, "fields": fields}
    theirs, ours = memory.InMemoryStore(index=index), walgraph.InMemoryStore(index=index)
    answers = []
    for store in (theirs, ours):
        for key, text in texts.items():
            store.put(("a",), key, {"t": text})
        found = store.search((), query=query)
        answers.append({item.key: item.score for item in found})
        scores = [round(item.score, 9) for item in found]
        assert scores == sorted(scores, reverse=True)
    assert answers[1] == pytest.approx(answers[0])


@given(st.text("ab.[]{}*0,-1", max_size=12))
@settings(deadline=None, max_examples=300)
def test_the_same_paths_lead_to_the_same_texts(path: str) -> None:
    """Whatever a path looks like."""
    from walgraph.engine.store_text import get_text_at_path, tokenize_path

    value = {
        "a": [{"b": 1, "a": ["x", "y"]}, {"b": None}, "z"],
        "b": {"a": {"b": "deep"}, "b": 0.5},
        "0": True,
    }
    assert tokenize_path(path) == base.tokenize_path(path)
    assert get_text_at_path(value, path) == base.get_text_at_path(value, path)
