"""Words for the tests of the command line: a log that is always the same, and ways to call ``wal``."""

from __future__ import annotations

import json
import operator
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, TypedDict

from click.testing import CliRunner, Result

from walgraph import START, Log, Send, StateGraph, interrupt
from walgraph.tools.cli import cli

HOSTILE = "[red]bold[/] [/] \x1b[31mred\x1b[0m \x9b31m \x07 a\nline \u202eturned\u2066 \udc80 ✓"
"""What must reach no terminal as it is: markup, escapes, control characters, newlines, turned text, a surrogate."""
FORBIDDEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that steer a terminal; a newline may only end a line of ours."""


class State(TypedDict, total=False):
    """A value that is replaced, a list that grows, and one whose reducer only this module has."""

    x: int
    names: Annotated[list[Any], operator.add]
    mine: Annotated[list[Any], lambda held, new: [*held, new]]


def one(state: State) -> dict[str, Any]:
    """Write to two channels."""
    return {"x": 1, "names": ["one"]}


def two(state: State) -> dict[str, Any]:
    """Count up what ``one`` wrote."""
    return {"x": state.get("x", 0) + 1, "names": ["two"]}


def ask(state: State) -> dict[str, Any]:
    """Ask, and note the answer."""
    return {"names": [interrupt("name?")]}


def boom(state: State) -> dict[str, Any]:
    """Fail."""
    raise ValueError("no luck")


def config(thread: str) -> dict[str, Any]:
    """Return the config of a thread."""
    return {"configurable": {"thread_id": thread}}


def chain(*nodes: Any) -> StateGraph:
    """Return a graph of nodes that follow one another."""
    return StateGraph(State).add_sequence(list(nodes)).add_edge(START, nodes[0].__name__)


def fill(path: Path) -> None:
    """Write the log that most tests look at: threads done, folded, asking, failed."""
    with Log.open(path) as log:
        graph = chain(one, two).compile(log, name="pair")
        graph.invoke({"x": 0}, config("done"), durability="sync")
        graph.invoke({"x": 0}, config("folded"), durability="exit")
        asking = StateGraph(State).add_node(ask).add_node(one).add_edge(START, "ask").add_edge(START, "one")
        asking.compile(log, name="asking").invoke({"x": 0}, config("asking"), durability="sync")
        try:
            chain(one, boom).compile(log, name="failing").invoke(
                {"x": 0}, config("failed"), durability="sync"
            )
        except ValueError:
            return


def fan(width: int) -> StateGraph:
    """Return a graph that sends to one node many times."""

    def spread(state: State) -> list[Send]:
        return [Send("note", {"x": number}) for number in range(width)]

    def note(state: State) -> dict[str, Any]:
        return {"names": [state["x"]]}

    return StateGraph(State).add_node(note).add_conditional_edges(START, spread, ["note"])


def wal(*words: object, env: dict[str, str] | None = None) -> Result:
    """Call ``wal`` within this process."""
    environment = {"WALGRAPH_LOG": None, **(env or {})}
    return CliRunner().invoke(cli, [str(word) for word in words], env=environment, prog_name="wal")


def told(*words: object, code: int = 0) -> dict[str, Any]:
    """Call ``wal … --json`` and return its object."""
    result = wal(*words, "--json")
    assert result.exit_code == code, result.output
    assert result.stdout.count("\n") == 1
    shape: dict[str, Any] = json.loads(result.stdout)
    assert shape["v"] == 1
    return shape


def process(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Call ``wal`` in a process of its own."""
    environment = {key: value for key, value in os.environ.items() if key != "WALGRAPH_LOG"}
    environment |= options.pop("env", {})
    command = [sys.executable, "-m", "walgraph", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, encoding="utf-8", env=environment, timeout=60, check=False, **options
    )


def steady(text: str) -> str:
    """Return an output with what differs from run to run replaced: times, ids, paths."""
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00", "TIME", text)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID", text)
    text = re.sub(r"\b\d\.\d{6}\b", "0.000000", text)
    text = re.sub(r"(?<=frame (?:id|at) )(\s*)\S+", r"\1…", text)
    return re.sub(r"[ ]+\n", "\n", text)
