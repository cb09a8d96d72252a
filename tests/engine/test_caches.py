"""Caches: what is kept, for how long, and that nobody shares it."""

from __future__ import annotations

import datetime
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from helpers import Way
from store_helpers import Called

from walgraph import (
    BaseCache,
    InMemoryCache,
    Log,
    LogCache,
    LogCorrupt,
    LogReadOnly,
    LogStore,
    MemoryLog,
    NotSerializable,
)
from walgraph.engine import cache as cache_module
from walgraph.engine import cache_log
from walgraph.wal.registry import GLOBAL
from walgraph.wal.tables import CACHED

A, B = ("a",), ("a", "b")


@dataclass
class Found:
    """What a search gave."""

    hits: list[int]
    at: datetime.date


@pytest.fixture(params=["memory", "memory log", "lmdb"])
def cache(request: pytest.FixtureRequest, tmp_path: Path, way: Way) -> Iterator[Called]:
    """A cache of each kind, called in each way."""
    if request.param == "memory":
        yield Called(InMemoryCache[Any](), way)
        return
    kind: str = request.param
    with MemoryLog() if kind == "memory log" else Log.open(tmp_path / "log") as log:
        yield Called(LogCache[Any](log), way)


def test_what_was_set_comes_back(cache: Called) -> None:
    """``get`` gives the values of those keys that are there, of any type that the log can hold."""
    found = Found([1, 2], datetime.date(2024, 2, 29))
    cache.set({(A, "x"): (found, None), (B, "x"): ({1, 2}, 60)})
    assert cache.get([(A, "x"), (B, "x"), (B, "y")]) == {(A, "x"): found, (B, "x"): {1, 2}}
    assert cache.get([]) == {}


def test_none_is_a_value(cache: Called) -> None:
    """That a result was None is as good a result as any."""
    cache.set({(A, "x"): (None, None)})
    assert cache.get([(A, "x")]) == {(A, "x"): None}


def test_nobody_shares_what_is_cached(cache: Called) -> None:
    """Neither changing what was put in, nor what was taken out, changes what the next one gets."""
    value = {"list": [1]}
    cache.set({(A, "x"): (value, None)})
    value["list"].append(2)
    cache.get([(A, "x")])[A, "x"]["list"].append(3)
    assert cache.get([(A, "x")]) == {(A, "x"): {"list": [1]}}


def test_a_value_whose_time_is_over_is_gone(cache: Called) -> None:
    """The time to live is in seconds; what has none stays."""
    cache.set({(A, "short"): (1, 0.02), (A, "none"): (2, 0), (A, "long"): (3, 60), (A, "ever"): (4, None)})
    time.sleep(0.03)
    keys = [(A, name) for name in ("short", "none", "long", "ever")]
    assert cache.get(keys) == {(A, "long"): 3, (A, "ever"): 4}


def test_setting_again_replaces_value_and_time(cache: Called) -> None:
    """The last value counts, from when it was set."""
    cache.set({(A, "x"): (1, 0)})
    cache.set({(A, "x"): (2, None)})
    assert cache.get([(A, "x")]) == {(A, "x"): 2}


def test_clear_forgets_exactly_the_namespaces_that_it_names(cache: Called) -> None:
    """A namespace below another is another; without any name, everything goes."""
    cache.set({(A, "x"): (1, None), (B, "x"): (2, None)})
    cache.clear([A, ("unknown",)])
    assert cache.get([(A, "x"), (B, "x")]) == {(B, "x"): 2}
    cache.clear()
    assert cache.get([(A, "x"), (B, "x")]) == {}


def test_a_namespace_may_come_as_a_list(cache: Called) -> None:
    """Callers that keep namespaces in lists get their values, under tuples."""
    cache.set({(A, "x"): (1, None)})
    assert cache.get([(["a"], "x")]) == {(A, "x"): 1}


def test_what_cannot_be_encoded_is_refused_and_nothing_is_kept(cache: Called) -> None:
    """All values of one call are kept, or none."""
    with pytest.raises(NotSerializable):
        cache.set({(A, "x"): (1, None), (A, "y"): (threading.Lock(), None)})
    assert cache.get([(A, "x"), (A, "y")]) == {}


def test_values_that_nobody_asks_for_again_do_not_stay_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a cache grows, what is over is removed, so that its size follows what counts."""
    monkeypatch.setattr(cache_module, "_SWEEP_AT", 10)
    cache = InMemoryCache[int]()
    cache.set({(A, "stays"): (1, None)})
    for number in range(100):
        cache.set({(A, str(number)): (number, 0)})
    assert len(cache._kept) < 20
    assert cache.get([(A, "stays")]) == {(A, "stays"): 1}


class Upside(BaseCache[Any]):
    """A user's cache that says nothing of asyncio."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[Any, tuple[str, bytes]] = {}

    def get(self, keys: Any) -> dict[Any, Any]:
        """Return what is there."""
        return {key: self.serde.loads_typed(self.kept[key]) for key in keys if key in self.kept}

    def set(self, pairs: Any) -> None:
        """Keep all, for ever."""
        self.kept |= {key: self.serde.dumps_typed(value) for key, (value, _) in pairs.items()}

    def clear(self, namespaces: Any = None) -> None:
        """Forget all, whatever the namespaces."""
        self.kept.clear()


def test_a_users_cache_needs_only_three_methods(way: Way) -> None:
    """The twins for asyncio and a serialiser come with the base class."""
    cache = Called(Upside(), way)
    cache.set({(A, "x"): ((1, 2), None)})
    assert cache.get([(A, "x")]) == {(A, "x"): (1, 2)}
    cache.clear()
    assert cache.get([(A, "x")]) == {}


@pytest.mark.parametrize("kind", ["memory", "log"])
def test_a_serialiser_of_the_users_is_used(kind: str) -> None:
    """``serde`` takes the place of our codec, in LangGraph's shape."""

    class Words:
        def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
            return "words", repr(obj).encode()

        def loads_typed(self, data: tuple[str, bytes]) -> Any:
            return data[0], data[1].decode()

    cache: BaseCache[Any] = (
        InMemoryCache(serde=Words()) if kind == "memory" else LogCache(MemoryLog(), serde=Words())
    )
    cache.set({(A, "x"): (1, None)})
    assert cache.get([(A, "x")]) == {(A, "x"): ("words", "1")}


# Caches in logs


def test_a_cache_in_a_log_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    """What was computed need not be computed again after a restart; stores do not see it."""
    with Log.open(tmp_path / "log") as log:
        LogCache[Any](log).set({(A, "x"): (1, 60), (A, "over"): (2, 0)})
    with Log.open(tmp_path / "log", readonly=True) as log:
        assert LogCache[Any](log).get([(A, "x"), (A, "over")]) == {(A, "x"): 1}
        assert LogStore(log).search(()) == []
        with pytest.raises(LogReadOnly):
            LogCache[Any](log).set({(A, "x"): (2, None)})


def test_values_whose_time_is_over_are_removed_as_the_cache_is_used(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So the file does not grow with what nobody asks for again."""
    monkeypatch.setattr(cache_log, "_SWEEP_AT", 10)
    log = MemoryLog()
    cache = LogCache[Any](log)
    for number in range(40):
        cache.set({(A, str(number)): (number, 0 if number else None)})
    with log.items(cached=True).view() as view:
        assert [item.key for item in view.scan(expired=True)] == ["0"]


def test_a_value_of_a_class_that_is_not_known_here_is_as_good_as_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A cache may forget: the caller computes it again."""
    cache = LogCache[Any](MemoryLog())
    cache.set({(A, "x"): (Found([], datetime.date(2024, 1, 1)), None), (A, "y"): (1, None)})
    known = {name: cls for name, cls in GLOBAL._classes.items() if cls is not Found}
    monkeypatch.setattr(GLOBAL, "_classes", known)
    assert cache.get([(A, "x"), (A, "y")]) == {(A, "y"): 1}


def test_a_damaged_value_is_reported_and_never_handed_out() -> None:
    """Computing it again would hide that the disk fails; setting or clearing it mends it."""
    log = MemoryLog()
    cache = LogCache[Any](log)
    cache.set({(A, "x"): ("right", None)})
    with log.store._tables.write() as txn:
        key, value = txn.at_or_before(CACHED, b"\xff")
        txn.put(CACHED, key, value.replace(b"right", b"wrong"))
    with pytest.raises(LogCorrupt):
        cache.get([(A, "x")])
    cache.set({(A, "x"): ("again", None)})
    assert cache.get([(A, "x")]) == {(A, "x"): "again"}


def test_a_log_cache_takes_logs_only() -> None:
    """A path is not opened behind one's back."""
    with pytest.raises(TypeError, match="LogCache needs a Log, not a str"):
        LogCache("some.wal")  # type: ignore[arg-type]
