"""The keys of a caller's calls: each is taken once, however many there are."""

from __future__ import annotations

import threading

import pytest

from walgraph.engine.used_keys import FEW, UsedKeys


@pytest.mark.parametrize("count", [0, 1, FEW - 1, FEW, FEW + 1, 20_000])
def test_each_key_is_taken_once(count) -> None:
    """Few are kept as they are, many as hashes; what was not used is not said to have been."""
    used = UsedKeys()
    assert all(used.take(f"key {n}") for n in range(count))
    assert not any(used.take(f"key {n}") for n in range(count))
    assert all(f"key {n}" in used for n in range(count))
    assert not any(f"other {n}" in used for n in range(1000))
    assert 5 not in used
    assert used.take("\udc80")


def test_of_two_threads_that_use_a_key_one_gets_it() -> None:
    """Calls may come from several threads, also while the keys become many."""
    used, taken = UsedKeys(), []

    def take() -> None:
        taken.append(sum(used.take(f"key {n}") for n in range(3 * FEW)))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 3 * FEW
