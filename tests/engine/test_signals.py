"""Signals that drain runs: the first asks, the second falls through, and afterwards all is as before (DR-1)."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import pytest
from helpers import THREAD, chain, drawn, leaves, on

from walgraph import GraphDrained, Log, MemoryLog, RunControl, drain_on_signals


def signalled(number: int = signal.SIGTERM) -> Any:
    """Return a node that sends a signal to its own process."""

    def one(state: Any) -> Any:
        os.kill(os.getpid(), number)
        return {"trail": ["one"]}

    return one


@pytest.fixture(autouse=True)
def same_handlers():
    """See that no test leaves a handler behind."""
    watched = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in watched]
    yield
    assert [signal.getsignal(number) for number in watched] == before


def test_a_signal_drains_the_runs_that_have_the_control(way, log, durability) -> None:
    """Running tasks finish, the step is kept, and the run goes on where it stopped."""
    graph = drawn(way, signalled(), leaves("two"), edges=">one one>two").compile(log)
    with drain_on_signals() as control:
        with pytest.raises(GraphDrained, match="Graph drained: sigterm"):
            way.invoke(graph, {"trail": []}, control=control, durability=durability)
        assert control.drain_requested
    assert graph.get_state(THREAD).next == ("two",)
    assert way.invoke(graph, None) == {"trail": ["one", "two"]}


def test_a_drain_reaches_subgraphs(way, log) -> None:
    """They share the control, and go on where they stopped (DR-2)."""
    inner = drawn(way, signalled(), leaves("two"), edges=">one one>two").compile()
    builder = drawn(way, leaves("after"), edges="").add_node("inner", inner).add_edge("__start__", "inner")
    graph = builder.add_edge("inner", "after").compile(log)
    with drain_on_signals() as control, pytest.raises(GraphDrained):
        way.invoke(graph, {"trail": []}, control=control)
    assert graph.get_state(THREAD).next == ("inner",)
    assert way.invoke(graph, None) == {"trail": ["one", "two", "after"]}


def test_the_second_signal_falls_through_to_the_handler_before(way) -> None:
    """Whoever was there before is called, and the drain stays asked for."""
    heard: list[int] = []
    outer = signal.signal(signal.SIGUSR1, lambda number, _: heard.append(number))
    try:
        with drain_on_signals(RunControl(), (signal.SIGUSR1,)) as control:
            os.kill(os.getpid(), signal.SIGUSR1)
            assert (control.drain_reason, heard) == ("sigusr1", [])
            os.kill(os.getpid(), signal.SIGUSR1)
            assert heard == [signal.SIGUSR1]
        os.kill(os.getpid(), signal.SIGUSR1)
        assert heard == [signal.SIGUSR1] * 2
    finally:
        signal.signal(signal.SIGUSR1, outer)


def test_a_second_ctrl_c_interrupts() -> None:
    """Python's own handler raises KeyboardInterrupt."""
    with drain_on_signals(signals=(signal.SIGINT, signal.SIGTERM)) as control:
        os.kill(os.getpid(), signal.SIGTERM)
        assert control.drain_reason == "sigterm"
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_an_ignored_signal_is_ignored_again() -> None:
    """The second one does what it would have done."""
    outer = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with drain_on_signals(signals=(signal.SIGUSR1,)):
            os.kill(os.getpid(), signal.SIGUSR1)
            os.kill(os.getpid(), signal.SIGUSR1)
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, outer)


def test_whoever_sets_a_handler_within_keeps_it() -> None:
    """What is not ours any more is not taken back."""
    outer = signal.getsignal(signal.SIGUSR1)

    def theirs(number: int, frame: Any) -> None:
        """Hear it."""

    try:
        with drain_on_signals(signals=(signal.SIGUSR1,)):
            signal.signal(signal.SIGUSR1, theirs)
        assert signal.getsignal(signal.SIGUSR1) is theirs
    finally:
        signal.signal(signal.SIGUSR1, outer)


def test_what_was_set_is_taken_back_when_one_cannot_be_set() -> None:
    """SIGKILL has no handlers; SIGUSR1, set before it, gets its own back."""
    with pytest.raises(OSError), drain_on_signals(signals=(signal.SIGUSR1, signal.SIGKILL)):
        pass


def test_elsewhere_than_in_the_main_thread_it_is_refused() -> None:
    """Python sets handlers there alone, and says so."""
    raised: list[BaseException] = []

    def enter() -> None:
        try:
            with drain_on_signals():
                pass
        except ValueError as error:
            raised.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert len(raised) == 1


def test_one_control_drains_many_runs_of_an_event_loop() -> None:
    """A server's runs all stop at their next step, while the loop waits for them."""
    log = MemoryLog()

    async def main() -> list[Any]:
        told = asyncio.Event()

        async def one(state: Any) -> Any:
            await told.wait()
            return {"trail": ["one"]}

        def tell() -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            told.set()

        graph = chain(one, leaves("two")).compile(log)
        with drain_on_signals() as control:
            runs = [
                asyncio.create_task(graph.ainvoke({"trail": []}, on(str(number)), control=control))
                for number in range(3)
            ]
            asyncio.get_running_loop().call_later(0.01, tell)
            return await asyncio.gather(*runs, return_exceptions=True)

    ended = asyncio.run(main())
    assert {type(error) for error in ended} == {GraphDrained}
    assert sorted(head.status for head in log.threads()) == ["drained"] * 3


PROGRAM = """
import os, signal, sys, time
from helpers import Trail, THREAD, chain
from walgraph import GraphDrained, Log, drain_on_signals

def one(state):
    print("one", flush=True)
    sys.stdin.readline()
    return {"trail": ["one"]}

def two(state):
    return {"trail": ["two"]}

with Log.open(sys.argv[1]) as log, drain_on_signals() as control:
    try:
        chain(one, two).compile(log).invoke({"trail": []}, THREAD, control=control, durability="sync")
    except GraphDrained as drained:
        print(drained, flush=True)
"""


@pytest.mark.parametrize("signals", [1, 2])
def test_a_process_that_is_told_to_end_drains_or_ends(tmp_path, signals) -> None:
    """SIGTERM once: it finishes its task and leaves in order. Twice: it ends at once, and its task runs again."""
    tests = Path(__file__).parent.parent
    source = f"import sys; sys.path.insert(0, {str(tests)!r})\n{textwrap.dedent(PROGRAM)}"
    path = tmp_path / "log.wal"
    with subprocess.Popen(
        [sys.executable, "-c", source, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "one\n"
        process.send_signal(signal.SIGTERM)
        if signals == 1:
            said, _ = process.communicate("go on\n", timeout=60)
            assert said == "Graph drained: sigterm\n"
            assert process.returncode == 0
        else:
            while process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(0.05)
                except subprocess.TimeoutExpired:
                    continue
            assert process.returncode == -signal.SIGTERM
    with Log.open(path) as log:
        expected = "drained" if signals == 1 else "crashed"
        assert [head.status for head in log.threads()] == [expected]
        assert log.head("t").next == (("two",) if signals == 1 else ("one",))
