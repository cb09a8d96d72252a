"""Forks beside threads that are inside LMDB."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from walgraph import Log
from walgraph.wal import forking


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
def test_a_fork_does_not_happen_while_another_thread_is_inside_lmdb(tmp_path) -> None:
    """A child that was forked during a call of another thread waited for it for ever when it closed its environment.

    The thread was the parent's, so the child waited for nobody. It struck whoever forked beside a worker, whose threads
    look at the log again and again.
    """
    over = threading.Event()
    with Log.open(tmp_path / "log") as log:

        def look() -> None:
            while not over.is_set():
                log.head("t")
                log.signal("t", "name", None)

        threads = [threading.Thread(target=look) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(40):
                child = os.fork()
                if not child:
                    signal.alarm(20)
                    log.head("t")
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
        finally:
            over.set()
            for thread in threads:
                thread.join()
    assert not forking.inside


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
def test_a_fork_does_not_wait_for_its_own_transaction(tmp_path, monkeypatch) -> None:
    """Nor, for longer than is said, for one that does not end; the child can do without that log."""
    monkeypatch.setattr(forking, "LONGEST_SECONDS", 0.05)
    with Log.open(tmp_path / "log") as log, Log.open(tmp_path / "other") as other:
        stays, leaves = threading.Event(), threading.Event()

        def stay() -> None:
            with log.store._tables.read():
                stays.set()
                leaves.wait()

        thread = threading.Thread(target=stay)
        thread.start()
        stays.wait()
        with other.store._tables.read():
            child = os.fork()
            if not child:
                signal.alarm(20)
                os._exit(bool(forking.others()))
        leaves.set()
        thread.join()
        assert os.waitpid(child, 0)[1] == 0
