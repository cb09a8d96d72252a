"""Outcomes in pages of the log: what a ledger shows does not depend on where its values lie."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from walgraph.replay import page, pages, paging
from walgraph.replay.ledger import Ledger
from walgraph.replay.page import Page, write
from walgraph.replay.pages import KEPT_PAGES, Pages
from walgraph.replay.paging import adopted, paged
from walgraph.replay.plain import thread_from_plain, thread_to_plain
from walgraph.replay.plain_outcome import outcome_to_plain
from walgraph.replay.state import DUE, FINISHED, NEW_GRAPH, Outcome, ThreadState
from walgraph.wal.codec import Decoder, Encoder
from walgraph.wal.record import Path

PARTS = st.integers(0, 40) | st.sampled_from(["a", "b", "0"])
PATHS = st.tuples(st.just("f"), PARTS) | st.tuples(st.just("f"), PARTS, PARTS)


def came_to(value: Any, status: str = FINISHED) -> Outcome:
    """What a call came to."""
    return Outcome(status, (("__return__", value),), call=("step", b"12345678", "()"), returned=True)


class Shelf:
    """Stores blobs, and counts how often one is fetched."""

    def __init__(self) -> None:
        self.blobs: dict[bytes, bytes] = {}
        self.fetched = 0
        self.decoder = Decoder(fetch=self.fetch)

    def fetch(self, digest: bytes) -> bytes:
        """Return a blob."""
        self.fetched += 1
        return self.blobs[digest]

    def paged(self, state: ThreadState) -> ThreadState:
        """Return the state with pages, whose blobs are stored; live, and as a snapshot gives it back."""
        done = paged(state, self.decoder)
        self.blobs.update(done.blobs)
        assert adopted(state, done) == state == done.state
        packed = Encoder().value(thread_to_plain(done.state, in_pages=True))
        self.blobs.update(packed.blobs)
        back = thread_from_plain(self.decoder.value(packed.data), self.decoder)
        assert back == state
        return back


def state_of(outcomes: Ledger[Outcome]) -> ThreadState:
    """A thread whose one graph has these outcomes."""
    return ThreadState(scopes={"": NEW_GRAPH._replace(outcomes=outcomes)})


def ledger_of(state: ThreadState) -> Ledger[Outcome]:
    """The outcomes of its one graph."""
    return state.scopes[""].outcomes


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), PATHS, st.integers(0, 99), st.booleans(), st.booleans()), max_size=60
    )
)
def test_a_ledger_with_pages_shows_what_a_dict_would(puts: list[Any]) -> None:
    """Whatever is put to whichever version, in any order of paths, and whenever pages are made."""
    with mock.patch.multiple(paging, PAGE_OUTCOMES=4, RUN_LENGTH=3):
        shelf = Shelf()
        versions: list[tuple[Ledger[Outcome], dict[Path, Outcome]]] = [(Ledger(), {})]
        for choice, path, value, is_final, is_paged in puts:
            ledger, model = versions[-1 - choice % min(2, len(versions))]
            outcome = came_to(value, FINISHED if is_final else DUE)
            ledger, model = ledger.put(path, outcome), {**model, path: outcome}
            versions.append((ledger, model))
            if is_paged:
                versions.append((ledger_of(shelf.paged(state_of(ledger))), model))
        for ledger, model in versions:
            assert dict(ledger.items()) == model
            assert len(ledger) == len(model)
            assert all(ledger.get(path) == model.get(path) for _, path, *_ in puts)
            recent = dict(ledger.recent())
            assert all(model[path] == outcome for path, outcome in recent.items())
            assert {path for path in model if model[path].status == DUE} <= set(recent)


@settings(deadline=None)
@given(st.sets(PATHS, max_size=60), st.integers(0, 20), st.sets(st.sampled_from("ab")))
def test_calls_that_were_not_asked_for_are_found_in_pages(held: set[Path], made: int, keys: set[str]) -> None:
    """Numbers that were not reached, and keys that were not used, each of the caller and not of those below it."""
    with mock.patch.multiple(paging, PAGE_OUTCOMES=3, RUN_LENGTH=3):
        shelf = Shelf()
        ledger: Ledger[Outcome] = Ledger()
        for path in sorted(held, key=repr):
            ledger = ledger.put(path, came_to(1))
        outcomes = ledger_of(shelf.paged(state_of(ledger)))
        recent = {path for path, _ in outcomes.recent()}
        for caller in {path[:-1] for path in held}:
            left = {
                path[-1]
                for path in held - recent
                if path[:-1] == caller
                and (path[-1] >= made if isinstance(path[-1], int) else path[-1] not in keys)
            }
            assert set(outcomes.calls_left(caller, made, keys)) == left


def test_what_is_asked_for_in_order_reads_each_page_once() -> None:
    """And no more than a few of them stay in memory."""
    ledger: Ledger[Outcome] = Ledger()
    for number in range(20_000):
        ledger = ledger.put(("f", number), came_to(number))
    shelf = Shelf()
    outcomes = ledger_of(shelf.paged(state_of(ledger)))
    assert len(outcomes.pages.leaves) == 20_000 // paging.PAGE_OUTCOMES
    assert len(dict(outcomes.recent())) == 20_000 % paging.PAGE_OUTCOMES
    shelf.fetched = 0
    assert all(outcomes.get(("f", number)) == came_to(number) for number in range(20_000))
    assert outcomes.get(("f", 20_000)) is None
    assert shelf.fetched == len(outcomes.pages.leaves)
    assert len(outcomes.pages._directory._kept) <= KEPT_PAGES


def test_paths_that_share_a_fingerprint_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Paths are compared whole, so a fingerprint that two of them share costs time and nothing else."""
    for module in (page, pages):
        monkeypatch.setattr(module, "fingerprint", lambda path: 7 << 40 | len(path))
    monkeypatch.setattr(paging, "PAGE_OUTCOMES", 4)
    ledger: Ledger[Outcome] = Ledger()
    for number in range(16):
        ledger = ledger.put(("f", f"key {number}"), came_to(number))
    outcomes = ledger_of(Shelf().paged(state_of(ledger)))
    assert not dict(outcomes.recent())
    assert [outcomes.get(("f", f"key {number}")) for number in range(17)] == [
        *(came_to(number) for number in range(16)),
        None,
    ]


def test_equal_entries_make_equal_pages() -> None:
    """A page that is made a second time, by another process, is stored once."""
    entries = [
        (("f", n), Encoder().value([["f", n], outcome_to_plain(came_to({n, n + 1}))]).data) for n in range(9)
    ]
    one, other = write(entries, []), write(entries, [])
    assert one == other
    assert [path for path, _ in Page(one.data, Decoder()).items()] == [path for path, _ in entries]


def test_who_adds_to_an_old_version_disturbs_nobody() -> None:
    """Two branches of one step make pages of their own."""
    shelf = Shelf()
    ledger: Ledger[Outcome] = Ledger()
    for number in range(600):
        ledger = ledger.put(("f", number), came_to(number))
    base = ledger_of(shelf.paged(state_of(ledger)))
    branches = []
    for value in ("left", "right"):
        grown = base
        for number in range(600, 1_200):
            grown = grown.put(("f", number), came_to(value))
        branches.append(ledger_of(shelf.paged(state_of(grown))))
    for value, grown in zip(("left", "right"), branches, strict=True):
        assert {grown.get(("f", number)) == came_to(value) for number in range(600, 1_200)} == {True}
    assert base.get(("f", 700)) is None


def test_pages_of_a_version_are_those_it_was_made_with() -> None:
    """A page that came later is not looked into for an older version."""
    shelf = Shelf()
    first = Pages(shelf.decoder)
    blob = write([(("f", 1), Encoder().value([["f", 1], outcome_to_plain(came_to(1))]).data)], [("f",)])
    shelf.blobs[blob.digest] = blob.data
    leaf = pages.Leaf(page_reference(blob), 1, 1, ())
    second = first.adding([(leaf, blob.data)])
    assert (first.get(("f", 1)), second.get(("f", 1))) == (None, came_to(1))
    assert (list(first.items()), len(first), len(second)) == ([], 0, 1)


def page_reference(blob: Any) -> Any:
    """Where a blob lies."""
    from walgraph.wal.record import Reference

    return Reference(blob.digest, len(blob.data))


def test_a_page_that_is_not_stored_yet_is_no_hindrance() -> None:
    """A thread that looks for a new call, while another has made a page and not stored it yet, does not fetch it.

    Both once shared where paths are, and the first looked into the page of the second, which nobody had.
    """
    shelf = Shelf()
    ledger: Ledger[Outcome] = Ledger()
    for number in range(600):
        ledger = ledger.put(("f", f"key {number}"), came_to(number))
    now = ledger_of(shelf.paged(state_of(ledger)))
    live = adopted(state_of(now), paged(state_of(now), shelf.decoder)).scopes[""].outcomes
    for number in range(600, 1_200):
        live = live.put(("f", f"key {number}"), came_to(number))
    paged(state_of(live), shelf.decoder)
    assert live.get(("f", "another")) is None
    assert live.get(("f", "key 3")) == came_to(3)
