"""Programs of LangGraph itself show the same on WalSaver as on its own saver in memory, event by event."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from parity.differences import differs
from parity.porting import PROGRAMS, Call, Recorder, loaded
from saver.stories import STORIES

from walgraph import Log, MemoryLog
from walgraph.tools.langgraph_saver import WalSaver

ASYNCHRONOUS = pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
DURABILITY = pytest.mark.parametrize("durability", ["sync", "async", "exit"])


class Noted(Recorder):
    """A recorder that also keeps what a story says."""

    def note(self, value: Any) -> None:
        """Write something down."""
        self.calls.append(Call(value, [], None, []))


def told(story: Callable[[Any, Any], None], saver: Any, **how: Any) -> list[Call]:
    """Run a story; return what its calls showed."""
    recorders: list[Noted] = []

    def recorded(graph: Any) -> Noted:
        recorders.append(Noted(graph, **how))
        return recorders[-1]

    story(saver, recorded)
    return [call for recorder in recorders for call in recorder.calls]


def of_program(name: str) -> Callable[[Any, Any], None]:
    """Return a program of the porting guide as a story."""

    def story(saver: Any, recorded: Any) -> None:
        module = loaded(name, "langgraph")
        module.run(recorded(module.compiled(saver)))

    return story


EVERYTHING = {**STORIES, **{path.stem: of_program(path.stem) for path in sorted(PROGRAMS.glob("*.py"))}}


TRIES = 6
"""LangGraph itself tells some stories in more than one way: which of two tasks asked first, when an id was given."""


def differs_always(name: str, make: Callable[[], AbstractContextManager[Any]], **how: Any) -> Any:
    """Return how a story differs on the two savers each time that it is told; None if it was told alike once."""
    difference: Any = None
    for _ in range(TRIES):
        theirs = told(EVERYTHING[name], InMemorySaver(), **how)
        with make() as saver:
            ours = told(EVERYTHING[name], saver, **how)
        assert any(call.history for call in ours)
        difference = differs(theirs, ours)
        if difference is None:
            break
    return difference


@ASYNCHRONOUS
@DURABILITY
@pytest.mark.parametrize("name", EVERYTHING)
def test_a_program_shows_the_same_as_on_the_saver_in_memory(
    name: str, durability: str, *, asynchronous: bool
) -> None:
    """Outputs, streams in all modes, states with subgraphs, and histories are equal."""
    # An entrypoint shows values that are no dicts, which the recorder's order is not made for.
    how = {"durability": durability, "streamed": name != "functions", "asynchronous": asynchronous}
    assert differs_always(name, lambda: WalSaver(MemoryLog()), **how) is None


class Forgetful(WalSaver):
    """Reads the thread anew from the log each time, so that nothing but what is in it counts."""

    def get_tuple(self, config: Any) -> Any:
        """Forget, then read."""
        self.flush()
        lane = self._lane(config["configurable"]["thread_id"])
        with lane.lock:
            lane.begin_anew(self.log.store.row(lane.thread))
        return super().get_tuple(config)


@ASYNCHRONOUS
@pytest.mark.parametrize("name", STORIES)
def test_a_program_shows_the_same_from_the_disk(name: str, tmp_path: Path, *, asynchronous: bool) -> None:
    """With a log on disk that is read again for each call."""
    logs = (Log.open(tmp_path / f"log {number}", fsync="off") for number in range(TRIES))

    @contextmanager
    def make() -> Iterator[WalSaver]:
        with next(logs) as log, Forgetful(log) as saver:
            yield saver

    assert differs_always(name, make, asynchronous=asynchronous) is None
