"""What the verbs print: the same log gives the same text, hostile values stay text, JSON keeps its shape."""

from __future__ import annotations

import json
import operator
import os
import pty
import subprocess
import sys
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest
from tools_helpers import FORBIDDEN, HOSTILE, chain, config, fill, one, process, steady, told, two, wal

from walgraph import START, Command, Log, StateGraph, interrupt
from walgraph.tools.words import plain, preview, visible


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log that most tests look at."""
    place = tmp_path_factory.mktemp("output") / "log.wal"
    fill(place)
    return place


STATE = """\
thread asking · seq 9 · checkpoint 00000000000000000005
step 0 · source loop · TIME · next ask
channel  value
x        1
names    ['one']

task  status    id                                    what
ask   waiting   ID
one   finished  ID  x ← 1, names ← ['one']

question                          task  asks
"""


def test_threads_are_a_table(path: Path) -> None:
    """One line each, aligned, with exact numbers and times when it is no terminal."""
    sizes = {each["thread"]: each["bytes"] for each in told("threads", path)["threads"]}
    shown = steady(wal("threads", path).stdout)
    lines = [line.split() for line in shown.splitlines()]
    assert lines[0] == [
        "thread",
        "status",
        "graph",
        "step",
        "next",
        "seq",
        "records",
        "bytes",
        "last",
        "write",
        "due",
    ]
    assert lines[1:] == [
        ["done", "done", "pair", "2", "-", "12", "12", str(sizes["done"]), "TIME", "-"],
        ["folded", "done", "pair", "2", "-", "12", "2", str(sizes["folded"]), "TIME", "-"],
        ["asking", "interrupted", "asking", "0", "ask", "9", "9", str(sizes["asking"]), "TIME", "-"],
        ["failed", "failed", "failing", "1", "boom", "11", "11", str(sizes["failed"]), "TIME", "-"],
    ]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (["--status", "done"], ["done", "folded"]),
        (["--status", "crashed"], []),
        (["--prefix", "fo"], ["folded"]),
        (["--limit", "2"], ["done", "folded"]),
        (["--limit", "0"], []),
        (["--status", "done", "--limit", "1"], ["done"]),
    ],
)
def test_threads_can_be_chosen(path: Path, words: list[str], names: list[str]) -> None:
    """By status, by the beginning of the id, and by number."""
    assert [each["thread"] for each in told("threads", path, *words)["threads"]] == names


def test_a_thread_is_its_records_in_order(path: Path) -> None:
    """The timeline reads as it happened; what a resume would do is said beside it."""
    result = wal("inspect", path, "asking")
    kinds = [line.split()[2] for line in result.stdout.splitlines()[2:]]
    before = ["ThreadCreated", "RunStarted", "StepStarted", "TaskFinished", "StepCommitted", "StepStarted"]
    assert (kinds[:6], kinds[8:]) == (before, ["RunEnded"])
    # The two tasks of a step end in any order.
    assert sorted(kinds[6:8]) == ["TaskFinished", "TaskInterrupted"]
    assert "asks 'name?'" in result.stdout
    assert result.stderr == "interrupted in step 1: ask unfinished; one recorded, not run again.\n"


def test_the_newest_records_alone_can_be_asked_for(path: Path) -> None:
    """--limit shows the end of a long thread."""
    assert [each["seq"] for each in told("inspect", path, "done", "--limit", 3)["records"]] == [10, 11, 12]


def test_a_record_is_shown_with_its_frame_and_bytes(path: Path) -> None:
    """Where it lies, each field by its name, and with --hex the bytes as they are in the file."""
    shown = wal("inspect", path, "done", 7, "--hex")
    assert "seq 7 of thread done · TaskFinished (kind 5)" in shown.stdout
    assert "(('x', 1), ('names', ['one']))" in shown.stdout
    shape = told("inspect", path, "done", 7, "--hex")
    assert shape["record"]["kind"] == "TaskFinished"
    assert shape["record"]["number"] == 5
    assert set(shape["record"]["fields"]) == {"scope", "path", "writes", "goto", "call"}
    data = bytes.fromhex(shape["record"]["hex"])
    assert len(data) == shape["record"]["bytes"]
    assert data in (path / "data.mdb").read_bytes()
    assert f"00000000  {data[:16].hex(' ')}" in shown.stdout


def test_a_state_is_its_values_tasks_and_questions(path: Path) -> None:
    """With what a finished sibling wrote, and the question that waits."""
    assert steady(wal("state", path, "asking").stdout).startswith(STATE)
    shape = told("state", path, "asking")
    assert shape["values"] == {"x": 1, "names": ["one"]}
    assert shape["next"] == ["ask"]
    assert [question["value"] for question in shape["questions"]] == ["name?"]
    assert {task["task"]: task["status"] for task in shape["tasks"]} == {"ask": "waiting", "one": "finished"}


@pytest.mark.parametrize(
    ("at", "values"),
    [
        ("12", {"x": 2, "names": ["one", "two"]}),
        ("7", {"x": 1, "names": ["one"]}),
        ("6", {"x": 0, "names": []}),
        ("00000000000000000005", {"x": 0, "names": []}),
        ("step:1", {"x": 1, "names": ["one"]}),
        ("step:-1", {"names": []}),
        ("seq:12", {"x": 2, "names": ["one", "two"]}),
    ],
)
def test_a_state_can_be_of_an_earlier_moment(path: Path, at: str, values: dict[str, Any]) -> None:
    """By seq, by checkpoint id, and by step."""
    assert told("state", path, "done", "--at", at)["values"] == values


def test_the_state_is_what_the_graph_says(path: Path) -> None:
    """The tool and get_state agree, for every thread, without the user's code."""
    with Log.open(path) as log:
        for thread in ("done", "folded"):
            values = chain(one, two).compile(log).get_state(config(thread)).values
            assert told("state", path, thread)["values"] == {k: v for k, v in values.items() if k != "mine"}


def test_a_reducer_that_is_not_here_is_said_to_be_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last known value and the writes since are shown; with --app the value itself."""
    (tmp_path / "shop.py").write_text(
        "from tools_helpers import chain, one, mine\ngraph = chain(one, mine)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import tools_helpers

    monkeypatch.setattr(tools_helpers, "mine", _mine, raising=False)
    with Log.open(tmp_path / "log") as log:
        chain(one, _mine).compile(log).invoke({"x": 0, "mine": "first"}, config("t"))
    shown = told("state", tmp_path / "log", "t")
    assert shown["unfolded"] == ["mine"]
    assert shown["values"]["mine"] == {"$type": "unfolded", "value": {"writes": ["first", 1]}}
    assert "only your code has the reducer" in wal("state", tmp_path / "log", "t").stderr
    exact = told("state", tmp_path / "log", "t", "--app", "shop:graph")
    assert (exact["unfolded"], exact["values"]["mine"]) == ([], ["first", 1])


def _mine(state: Any) -> dict[str, Any]:
    return {"mine": state["x"]}


class Dirty(TypedDict, total=False):
    """A state for hostile values."""

    bad: Any
    many: Annotated[list[Any], operator.add]


def _hostile(path: Path) -> None:
    """Write hostile text wherever a user can put text."""

    def node(state: Dirty) -> Any:
        return Command(update={"bad": {HOSTILE: [HOSTILE]}, "many": [HOSTILE]})

    def asking(state: Dirty) -> Any:
        return {"bad": interrupt({HOSTILE: HOSTILE})}

    def failing(state: Dirty) -> Any:
        raise ValueError(HOSTILE)

    name = HOSTILE.replace("\udc80", "").replace("|", "").replace(":", "")
    with Log.open(path) as log:
        graph = StateGraph(Dirty).add_node(name, node).add_node("asking", asking)
        graph = graph.add_edge(START, name).add_edge(name, "asking")
        graph.compile(log, name=name).invoke({"bad": HOSTILE}, config(name), durability="sync")
        broken = StateGraph(Dirty).add_node(name, failing).add_edge(START, name).compile(log, name=name)
        with pytest.raises(ValueError, match="bold"):
            broken.invoke({"bad": HOSTILE}, config(f"{name}2"), durability="sync")


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    """Markup, escapes, control characters, newlines and turned text reach no terminal, whatever the verb."""
    path = tmp_path / "log"
    _hostile(path)
    names = [each["thread"] for each in told("threads", path)["threads"]]
    assert len(names) == 2
    calls: list[list[Any]] = [["threads", path], ["inspect", path], ["verify", path], ["compact", path]]
    calls += [["inspect", path, HOSTILE], ["state", path, HOSTILE], ["compact", path, "--thread", HOSTILE]]
    calls += [["errors", HOSTILE], ["threads", HOSTILE], ["state", path, names[0], "--scope", HOSTILE]]
    for thread in names:
        records = told("inspect", path, thread)["records"]
        calls += [["inspect", path, thread], ["state", path, thread]]
        calls += [["inspect", path, thread, each["seq"], "--hex"] for each in records]
    for words in calls:
        for extra in ([], ["--json"]):
            result = wal(*words, *extra)
            assert result.exit_code in {0, 2, 3}, (words, result.output)
            if result.exit_code != 2:
                assert not FORBIDDEN.search(result.stdout + result.stderr), words
    assert "[red]bold[/]" in wal("state", path, names[0]).stdout


def test_hostile_text_is_no_markup_on_a_terminal(tmp_path: Path) -> None:
    """What looks like markup is printed as it is, and breaks no table."""
    path = tmp_path / "log"
    _hostile(path)
    thread = told("threads", path)["threads"][0]["thread"]
    for words in (["inspect", path], ["inspect", path, thread], ["state", path, thread], ["threads", path]):
        master, slave = pty.openpty()
        command = [sys.executable, "-m", "walgraph", *map(str, words)]
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "400", "NO_COLOR": "1"}
        with subprocess.Popen(command, stdout=slave, stderr=subprocess.PIPE, env=environment) as running:
            os.close(slave)
            shown = b""
            while True:
                try:
                    shown += os.read(master, 65536)
                except OSError:
                    break
        os.close(master)
        assert running.returncode == 0
        text = shown.decode().replace("\r\n", "\n")
        assert "[red]bold[/] [/] \\x1b[31mred" in text
        assert "\x1b[31m" not in text
        assert "\u202e" not in text


@dataclass
class Point:
    """A class that the tool does not have."""

    x: int


def test_unknown_classes_are_named(tmp_path: Path) -> None:
    """A value whose class is only in the user's code is shown by its name and content."""
    path = tmp_path / "log"
    with Log.open(path) as log:
        chain(one).compile(log).invoke({"names": [Point(3)], "x": 0}, config("t"))
    done = process("state", path, "t")
    assert ":Point(" in done.stdout
    assert "{'x': 3}" in done.stdout
    shape = json.loads(process("state", path, "t", "--json").stdout)
    assert shape["values"]["names"][0]["$type"].endswith(":Point")
    assert process("inspect", path, "t").returncode == 0
    assert process("verify", path).returncode == 0
    compacted = json.loads(process("compact", path, "--json").stdout)
    assert compacted["threads"][0]["seq"] == 0


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (None, None),
        (True, True),
        (1 << 62, 1 << 62),
        (1 << 70, {"$type": "int", "value": hex(1 << 70)}),
        (float("nan"), {"$type": "float", "value": "nan"}),
        ((1, [2]), {"$type": "tuple", "value": [1, [2]]}),
        ({1}, {"$type": "set", "value": [1]}),
        (b"\x00\xff", {"$type": "bytes", "value": "AP8="}),
        ({"a": {"b": 1}}, {"a": {"b": 1}}),
        ({1: 2}, {"$type": "dict", "value": [[1, 2]]}),
        ({"$type": "x"}, {"$type": "dict", "value": [["$type", "x"]]}),
        (
            datetime(2026, 1, 2, tzinfo=UTC),
            {"$type": "datetime:datetime", "value": "2026-01-02 00:00:00+00:00"},
        ),
        (uuid.UUID(int=1), {"$type": "uuid:UUID", "value": str(uuid.UUID(int=1))}),
    ],
    ids=repr,
)
def test_json_keeps_what_a_value_is(value: Any, shape: Any) -> None:
    """What JSON has stays as it is; everything else says its type."""
    assert plain(value) == shape
    json.dumps(plain(value), allow_nan=False)


def test_a_preview_is_bounded_in_length_and_work() -> None:
    """A value of any size, depth or temper fits the line."""

    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    for value in (
        "x" * 10_000_000,
        list(range(10_000_000)),
        {i: i for i in range(1_000_000)},
        deep,
        1 << 100_000,
    ):
        assert len(preview(value, 50)) <= 50
    assert preview(Rude()).startswith("<")
    assert preview({"a": (1, b"b"), "c": set()}, 50) == "{'a': (1, b'b'), 'c': {}}"
    assert visible("a\tb\x1b[0m") == "a\\tb\\x1b[0m"


@pytest.mark.parametrize(
    ("words", "kind", "fields"),
    [
        (["inspect"], "overview", {"log", "threads", "totals"}),
        (["inspect", "done"], "thread", {"thread", "snapshots", "records", "whole"}),
        (["inspect", "done", "3"], "record", {"thread", "seq", "frame", "record"}),
        (["threads"], "threads", {"threads"}),
        (
            ["state", "done"],
            "state",
            {
                "thread", "scope", "seq", "checkpoint", "parent", "step", "source", "at", "next", "run", "epoch",
                "durability", "ended", "reason", "metadata", "values", "unfolded", "tasks", "questions", "subgraphs",
            },
        ),
        (["schedules"], "schedules", {"schedules"}),
        (["verify"], "verify", {"ok", "path", "counts", "problems", "notes"}),
        (["compact"], "compact", {"applied", "threads", "blobs", "freed", "runs", "items"}),
        (["compact", "--shrink"], "shrink", {"applied", "before", "after"}),
    ],
)  # fmt: skip
def test_json_has_the_shape_that_was_promised(
    path: Path, words: list[str], kind: str, fields: set[str]
) -> None:
    """Version 1 of each shape; a field may be added, none may go."""
    shape = told(words[0], path, *words[1:])
    assert shape.pop("v") == 1
    assert shape.pop("kind") == kind
    assert set(shape) == fields


def test_a_head_has_the_fields_that_were_promised(path: Path) -> None:
    """The same fields wherever a thread is listed."""
    fields = {
        "thread", "status", "graph", "step", "next", "seq", "records", "frames", "bytes", "created_at", "updated_at",
        "due_at", "epoch", "snapshot_seq", "horizon",
    }  # fmt: skip
    assert {frozenset(each) for each in told("threads", path)["threads"]} == {frozenset(fields)}
    assert set(told("inspect", path, "done")["thread"]) == fields
