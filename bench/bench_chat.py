"""Does a step cost more as the state grows? A conversation that grows to 2,000 messages of 300 bytes, one a step.

The last tenth of the steps is compared with the first, within one run; the bytes on the disk with the payload. A
library that writes its whole state at every step fails both: it writes 600 MB here.

Floors: the same function and reducer in a bare loop, and one raw LMDB full-sync commit per step of the bytes that
walgraph records.
"""

from __future__ import annotations

import operator
import statistics
import time
from functools import partial
from typing import Annotated, Any, TypedDict

from libraries import Library, config, looped, merging, walgraph

MESSAGES = 2000
ROUNDS = 5
TEXT = "x" * 300
TENTH = MESSAGES // 10


class State(TypedDict):
    """A conversation that is appended to."""

    messages: Annotated[list, operator.add]


def speak(state: dict[str, Any]) -> dict[str, Any]:
    """Say something."""
    number = len(state["messages"])
    return {"messages": [{"role": "user", "content": TEXT, "id": str(number)}]}


def has_more(state: dict[str, Any]) -> bool:
    """Go on until there are enough messages."""
    return len(state["messages"]) < MESSAGES


def bare() -> None:
    """Append in a loop."""
    state: dict[str, Any] = {"messages": []}
    while True:
        update = speak(state)
        state = {**state, "messages": state["messages"] + update["messages"]}
        if not has_more(state):
            return


def run(library: Library, mode: str | None, saver: Any, *, merged: bool = False) -> Any:
    """Return a call that runs the conversation and returns when each message was said; ``merged``: by their ids."""
    times: list[float] = []

    def speak_at(state: dict[str, Any]) -> dict[str, Any]:
        times.append(time.perf_counter())
        return speak(state)

    schema: Any = merging(library) if merged else State
    graph = looped(library, saver, schema, speak_at, has_more)

    def call() -> list[float]:
        graph.invoke({"messages": []}, config(), durability=mode)
        return times

    return call


def last_against_first(runs: list[list[float]]) -> float:
    """Return how much longer the last tenth of the steps took than the first, as a median over runs."""
    return statistics.median((times[-1] - times[-1 - TENTH]) / (times[TENTH] - times[0]) for times in runs)


def test_chat(race: Any, table: Any, tools: Any) -> None:
    """Run the conversation in each mode, and once with merging by id."""
    ours = partial(run, walgraph())
    bodies = tools.bodies_of(partial(ours, "sync"))
    results = race(
        {
            "bare loop": tools.bare(bare),
            "LMDB commit": tools.raw_lmdb(bodies),
            **{mode: tools.logged(partial(ours, mode)) for mode in ("sync", "async", "exit")},
            "add_messages": tools.logged(partial(ours, "sync", merged=True)),
        },
        ROUNDS,
        MESSAGES,
    )
    loop, commit = (("bare loop", results["bare loop"]), ("LMDB commit", results["LMDB commit"]))
    payload = MESSAGES * len(TEXT)
    title = "chat, 2,000 messages of 300 B"
    for mode, floor in (("sync", commit), ("async", loop), ("exit", loop), ("add_messages", commit)):
        shown = "sync, add_messages" if mode == "add_messages" else mode
        table.row(title, shown, results[mode], floor, payload=payload)
        goal = "" if mode == "add_messages" else "S4"
        growth = last_against_first(results[mode].answers)
        table.figure(
            title,
            shown,
            f"{growth:.2f} ×",
            tools.at_most(1.15, growth, " ×", goal=goal),
            "last tenth against first",
        )
        weight = results[mode].bytes_on_disk / payload
        table.figure(
            title,
            shown,
            f"{weight:.2f} ×",
            tools.at_most(1.6, weight, " ×", goal=goal),
            "disk against payload",
        )
