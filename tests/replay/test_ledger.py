"""The persistent mapping of outcomes: old versions never change, whoever puts."""

from __future__ import annotations

import threading

from hypothesis import given
from hypothesis import strategies as st

from walgraph.replay.ledger import Ledger

PATHS = st.tuples(st.sampled_from("abc"))


@given(st.lists(st.tuples(st.integers(0, 9), PATHS, st.integers(1, 99)), max_size=30))
def test_every_version_shows_what_a_copied_dict_would(puts: list[tuple[int, tuple[str], int]]) -> None:
    """Puts to any earlier version, as drafts and forks make them, leave all versions as they were."""
    versions: list[tuple[Ledger[int], dict[tuple[str], int]]] = [(Ledger(), {})]
    for choice, path, value in puts:
        ledger, model = versions[choice % len(versions)]
        versions.append((ledger.put(path, value), {**model, path: value}))
    for ledger, model in versions:
        assert dict(ledger.items()) == model
        assert len(ledger) == len(model)
        assert all(ledger.get((name,)) == model.get((name,)) for name in "abc")


def test_the_empty_ledger_is_never_put_to_in_place() -> None:
    """It is the default of every new state, so an entry left in it would show up in other threads' states."""
    empty: Ledger[int] = Ledger()
    empty.put(("a",), 1)
    empty.put(("b",), 2)
    assert dict(empty.items()) == {}
    assert empty.get(("a",)) is None


def test_two_threads_that_put_to_one_version_do_not_see_each_other() -> None:
    """A loop drafts an outcome while a child of another task is recorded from the same state.

    Both once found themselves the newest version and shared a number, so a draft that was thrown away
    could show in the state.
    """
    base: Ledger[int] = Ledger[int]().put(("base",), 0)
    versions: list[tuple[str, Ledger[int]]] = []

    def grow(name: str) -> None:
        ledger = base
        for index in range(200):
            ledger = ledger.put((name, index), index)
        versions.append((name, ledger))

    threads = [threading.Thread(target=grow, args=(name,)) for name in ("left", "right")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, ledger in versions:
        assert {path for path, _ in ledger.items()} == {("base",), *((name, index) for index in range(200))}
