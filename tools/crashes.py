"""One program, killed before and after each of its records, and carried on each time: does it end the same?

    undisturbed ──► what it returns, its values, its outcomes, the outside world; n commits
    for each commit, before and after:   life ── killed ──► life, to the end ──► the same? ──► Difference

The kills are of the kind that ``mortal`` makes: within the process, at the log, so that what the test counts in its own
variables is the outside world, as it is. Under ``sync`` there is one commit for each append.

A task whose outcome was not recorded when the process died runs again: that is what a log can promise
(at least once). So a program is safe if its tasks may run again: ``crash_everywhere`` shows whether they may.

Invariants:
1. Every kill begins with an empty disk, and, if the test says how, with an outside world as it was.
2. Time is a fake clock's: who sleeps is woken at once.

It must not look into user code: it compares what came of it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ..engine import clock
from ..engine.control import Command
from ..wal.record import Forked, StateEdited, StepCommitted, TaskFinished
from .folding import Lens
from .mortal import Disk, Fate, Killed

if TYPE_CHECKING:
    from ..engine.control import Interrupt
    from ..engine.graph import CompiledGraph
    from ..replay.state import ThreadState
    from ..wal.log import Log

THREAD = "crash-test"
MOST_CALLS = 1000
SHOWN = 5

Answers: TypeAlias = Sequence[Any] | Callable[["Interrupt"], Any]


class Difference(NamedTuple):
    """One way in which a program that was killed did not end as the undisturbed one."""

    fate: Fate
    what: str


class CrashReport(NamedTuple):
    """What was tried: how often the program was killed, and which of its tasks ran again because of that."""

    kills: int
    ran_again: Mapping[str, int]


class CrashFound(AssertionError):
    """A program that was killed did not end as the undisturbed one.

    Args:
        differences: What differed, one for each kill after which something did.
        kills: How often it was killed.
    """

    def __init__(self, differences: Sequence[Difference], kills: int) -> None:
        self.differences = differences
        lines = [f"killed {when} commit {number}: {what}" for (number, when), what in differences[:SHOWN]]
        if len(differences) > SHOWN:
            lines.append(f"and {len(differences) - SHOWN} more")
        hint = (
            "What may have to run again must do the same again. Put what draws a random number, reads a clock or "
            "changes the world into a @task of its own, and let the world know it by idempotency_key(); or ask for "
            'effect="at_most_once".'
        )
        message = f"{len(differences)} of {kills} kills changed how the program ends"
        super().__init__("\n  ".join([message, *lines, f"help: {hint}"]))


class Ending(NamedTuple):
    """How one story ended."""

    result: Any
    values: Any
    outside: Any
    outcomes: Mapping[tuple[Any, ...], tuple[str, Any]]
    """Place of a task → its name, and what it wrote."""


def crash_everywhere(
    graph: CompiledGraph,
    input: Any,
    *,
    config: Mapping[str, Any] | None = None,
    answers: Answers = (),
    signals: Iterable[tuple[str, Any]] = (),
    outside: Callable[[], Any] | None = None,
    reset: Callable[[], Any] | None = None,
) -> CrashReport:
    """Kill a program before and after each of its records, resume it, and see that it ends as if undisturbed.

    Args:
        graph: A compiled graph or an entrypoint; its own log is left alone.
        input: What it is called with.
        config: The config; its thread is a thread of the test's own.
        answers: What is answered when it asks: one after another, or a function of the question.
        signals: Name and payload of each signal that it is sent, before it begins.
        outside: Returns what the outside world holds: that has to be the same at the end, too.
        reset: Makes the outside world what it was, before each story.

    Returns:
        How often it was killed, and which tasks ran again.

    Raises:
        CrashFound: It ended otherwise; the message names the tasks that ran again, or returned something else.
        ValueError: It asks more than is answered, or waits for a signal that nobody sends.
    """
    teller = _Teller(graph, input, dict(config or {}), answers, tuple(signals))

    def story(fate: Fate | None) -> tuple[Ending, list[str]]:
        if reset is not None:
            reset()
        with clock.using(clock.FakeClock()):
            result, disk, lost = teller.tell(fate)
            return teller.ending(disk, result, None if outside is None else outside()), lost

    expected, _ = story(None)
    commits, again = teller.commits, Counter[str]()
    differences: list[Difference] = []
    for number in range(1, commits + 1):
        for when in ("before", "after"):
            found, lost = story((number, when))
            again.update(lost)
            if (what := _difference(expected, found, lost)) is not None:
                differences.append(Difference((number, when), what))
    if differences:
        raise CrashFound(differences, 2 * commits)
    return CrashReport(2 * commits, dict(again))


class _Teller:
    """Runs the program, on one disk after another."""

    def __init__(
        self,
        graph: CompiledGraph,
        given: Any,
        config: dict[str, Any],
        answers: Answers,
        signals: tuple[tuple[str, Any], ...],
    ) -> None:
        self.graph = graph
        self.given = given
        configurable = {**config.get("configurable", {}), "thread_id": THREAD}
        self.config = {**config, "configurable": configurable}
        self.signals = signals
        self.commits = 0
        self._answers = answers
        self._answered: dict[str, Any] = {}
        self._is_async = any(
            node.callee is not None and node.callee.is_async for node in graph.program.nodes.values()
        )

    def tell(self, fate: Fate | None) -> tuple[Any, Disk, list[str]]:
        """Run the program to its end; return what came of it, its disk, and the tasks whose outcomes were lost."""
        disk = Disk()
        result, lost = None, []
        with suppress(Killed), disk.process(fate) as log:
            result = self._live(log)
        if fate is None:
            self.commits = disk.commits
            return result, disk, []
        group = disk.lost
        with disk.process() as log:
            if group is not None:
                decoder = log.decoder(self.graph.program.registry, lenient=True)
                state = Lens(log, self.graph).state_at(THREAD) if log.head(THREAD) else None
                records = [record for frame in group.frames for record in decoder.records(frame.body)]
                lost = [_name_of(record, state) for record in records if isinstance(record, TaskFinished)]
            result = self._live(log)
        return result, disk, lost

    def ending(self, disk: Disk, result: Any, outside: Any) -> Ending:
        """Return how a story ended."""
        with disk.process() as log:
            values = self.graph.copy({"checkpointer": log}).get_state(self.config).values
            return Ending(result, values, outside, dict(_outcomes(log, self.graph)))

    def _live(self, log: Log) -> Any:
        """Live until the program has ended; return its output, or what it raised."""
        graph = self.graph.copy({"checkpointer": log})
        given: Any = None
        for number, (name, payload) in enumerate(self.signals):
            log.signal(THREAD, name, payload, id=f"{THREAD}-{number}")
        if log.head(THREAD) is None:
            given = self.given
        for _ in range(MOST_CALLS):
            try:
                output = self._call(graph, given)
            except Exception as error:  # noqa: BLE001 - how it fails is how it ends
                return type(error), str(error)
            asked = output.get("__interrupt__") if isinstance(output, dict) else None
            waits = output.get("__suspended__") if isinstance(output, dict) else None
            if asked:
                given = Command(resume={each.id: self._answer(each) for each in asked})
            elif waits:
                self._wait(waits)
                given = None
            else:
                return output
        message = f"the program was called {MOST_CALLS} times, and has not ended"
        raise ValueError(message)

    def _call(self, graph: CompiledGraph, given: Any) -> Any:
        if self._is_async:
            return asyncio.run(graph.ainvoke(given, self.config, durability="sync"))
        return graph.invoke(given, self.config, durability="sync")

    def _answer(self, asked: Interrupt) -> Any:
        """Return the answer to a question: the same one each time that it is asked."""
        if asked.id not in self._answered:
            if callable(self._answers):
                self._answered[asked.id] = self._answers(asked)
            elif len(self._answered) < len(self._answers):
                self._answered[asked.id] = self._answers[len(self._answered)]
            else:
                message = f"the program asks {asked.value!r}, and only {len(self._answers)} answers are given"
                raise ValueError(message)
        return self._answered[asked.id]

    def _wait(self, waits: Sequence[Any]) -> None:
        """Let the time pass that the program sleeps."""
        times = [each.until for each in waits if each.until is not None]
        if not times:
            names = ", ".join(sorted(repr(each.name) for each in waits))
            message = f"the program waits for {names}, which nobody sends: give crash_everywhere its signals"
            raise ValueError(message)
        fake = clock.current
        assert isinstance(fake, clock.FakeClock), "stories have a clock of their own"
        fake.set(max(fake.now(), min(times)))


def _outcomes(log: Log, graph: CompiledGraph) -> Iterator[tuple[tuple[Any, ...], tuple[str, Any]]]:
    """Yield the place of each finished task with its name and its writes."""
    steps: Counter[str] = Counter()
    lens = Lens(log, graph)
    for _, record, state in lens.since(THREAD, cached=False)[1]:
        match record:
            case TaskFinished(scope, path, writes):
                yield (scope, steps[scope], path), (_name_of(record, state), writes)
            case StepCommitted(scope) | StateEdited(scope) | Forked(scope):
                steps[scope] += 1


def _name_of(record: TaskFinished, state: ThreadState | None) -> str:
    """Return what a user calls a task."""
    if record.call is not None:
        return record.call[0]
    first = record.path[0]
    if isinstance(first, str):
        return first
    graph = None if state is None else state.scopes.get(record.scope)
    if graph is not None and graph.sends:
        return f"{graph.node_of(record.path[:1])}[{first}]"
    return f"Send {first}"


def _difference(expected: Ending, found: Ending, lost: Sequence[str]) -> str | None:
    """Return how a story ended otherwise, or None."""
    again = f"{', '.join(lost)} ran again" if lost else "nothing ran again that is recorded"
    for place, (name, writes) in expected.outcomes.items():
        other = found.outcomes.get(place)
        if other is not None and other != (name, writes):
            return f"{again}; {name} first wrote {_shown(writes)}, then {_shown(other[1])}"
    if found.result != expected.result:
        return f"{again}; the output was {_shown(expected.result)}, and is {_shown(found.result)}"
    if found.values != expected.values:
        return f"{again}; the values were {_shown(expected.values)}, and are {_shown(found.values)}"
    if found.outside != expected.outside:
        return f"{again}; the outside world was {_shown(expected.outside)}, and is {_shown(found.outside)}"
    return None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"
