"""Values and records in words: for people on one line, for programs as JSON.

    visible(text)     text without anything that could steer a terminal
    preview(value)    a value on one line, at most so long
    plain(value)      a value as JSON has it; what JSON lacks becomes {"$type": …, "value": …}
    line_of(record)   who a record is about, and what it says

Invariants:
1. Nothing that a log holds reaches a terminal unescaped: control characters, escapes and characters that turn the
   direction of writing are shown by their codes.
2. A value that cannot be shown is named by its class; showing never fails.
3. The work is bounded by what is shown, not by what is there (``preview``).

This module must not print, and must not know the log.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, assert_never

from ..wal.codec import Opaque
from ..wal.head import moment
from ..wal.record import (
    AttemptFailed,
    CallsSettled,
    Forked,
    Path,
    Record,
    RunEnded,
    RunResumed,
    RunStarted,
    SignalReceived,
    StateEdited,
    StateFolded,
    StepCommitted,
    StepStarted,
    Target,
    TaskAnswered,
    TaskFailed,
    TaskFinished,
    TaskInterrupted,
    TaskRouted,
    TaskStarted,
    ThreadCreated,
    TimerFired,
    TimerSet,
    Write,
)
from ..wal.saved_record import SAVED, CheckpointPut, CheckpointsDropped, Kept, Payload, WritesPut
from .gathered import Gathered

LINE = 72
"""How long a value may be in a table."""
DEEPEST = 24
"""How deep a preview looks."""
LARGEST_INTEGER = 1 << 64
"""Integers beyond are text in JSON, since few readers have them."""


def visible(text: str) -> str:
    """Return the text with every character that is not printable shown by its code."""
    if text.isprintable():
        return text
    return "".join([each if each.isprintable() else _code(each) for each in text])


def preview(value: Any, limit: int = LINE) -> str:
    """Return a value on one line of at most ``limit`` characters."""
    pieces: list[str] = []
    length = 0
    for piece in _pieces(value, limit, 0):
        shown = visible(piece)
        pieces.append(shown)
        length += len(shown)
        if length > limit:
            return "".join(pieces)[: max(0, limit - 1)] + "…"
    return "".join(pieces)


def shortened(text: str, limit: int = LINE) -> str:
    """Return a text of ours or of the user's on one line of at most ``limit`` characters."""
    shown = visible(text[: limit + 1])
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def plain(value: Any) -> Any:
    """Return a value as JSON has it."""
    match value:
        case None | bool() | str() if type(value) in {type(None), bool, str}:
            return value
        case int() if type(value) is int:
            fits = -LARGEST_INTEGER < value < LARGEST_INTEGER
            return value if fits else {"$type": "int", "value": hex(value)}
        case float() if type(value) is float:
            return value if math.isfinite(value) else {"$type": "float", "value": repr(value)}
        case list() if type(value) is list:
            return _all_plain(value)
        case dict() if type(value) is dict:
            return _plain_dict(value)
        case tuple() | set() | frozenset() if type(value) in {tuple, set, frozenset}:
            return {"$type": type(value).__name__, "value": _all_plain(value)}
        case bytes() | bytearray():
            return {"$type": type(value).__name__, "value": base64.b64encode(value).decode()}
        case Opaque():
            return {"$type": value.name, "value": plain(value.content)}
        case Gathered():
            return {"$type": "unfolded", "value": plain_unfolded(value)}
        case _:
            return {"$type": _class_name(value), "value": visible(_shown(value))}


def plain_unfolded(value: Gathered) -> dict[str, Any]:
    """Return the last value that is known, and what was written since."""
    shown: dict[str, Any] = {"writes": _all_plain(value.writes())}
    if not value.is_bare():
        shown["base"] = plain(value.base)
    return shown


class Line(NamedTuple):
    """One record in words: the task or node that it is about, and what it says."""

    task: str
    what: str


def line_of(record: Record) -> Line:
    """Return a record in words."""
    if type(record) in SAVED:
        return _line_of_saved(record)
    match record:
        case ThreadCreated(_, _, origin):
            return Line("", "" if origin is None else f"copied from {shortened(origin)}")
        case RunStarted():
            return Line("", f"{_run(record.durability, record.epoch)}input {preview(record.input)}")
        case RunResumed():
            return Line("", _run(record.durability, record.epoch).rstrip(" ·"))
        case StepStarted(_, _, nodes, sends):
            due = [*map(visible, nodes), *([f"{sends} sends"] if sends else [])]
            return Line("", f"due: {', '.join(due)}")
        case TaskFinished(_, path, writes, goto, call):
            called = "" if call is None else f"{visible(call[0])}{shortened(call[2], 26)} "
            after = " · routers have not run" if goto is None else targets_text(goto)
            return Line(path_text(path), f"{called}{writes_text(writes)}{after}".strip())
        case TaskRouted(_, path, goto):
            return Line(path_text(path), targets_text(goto).strip())
        case TaskFailed(_, path, failure, attempts, handler):
            tries = f" · {attempts} attempts" if attempts > 1 else ""
            then = "" if handler is None else f" · {visible(handler)} takes over"
            return Line(path_text(path), f"{visible(failure.type)}: {shortened(failure.text)}{tries}{then}")
        case AttemptFailed(_, path, failure, attempt, _, at, due_at):
            then = f" · attempt {attempt}, the next after {(due_at - at) / 1e9:.3g} s"
            return Line(path_text(path), f"{visible(failure.type)}: {shortened(failure.text)}{then}")
        case TaskStarted(_, path, call, key, attempt):
            tries = f" · attempt {attempt}" if attempt > 1 else ""
            called = f"{visible(call[0])}{shortened(call[2], 26)}"
            return Line(path_text(path), f"{called} begins, at most once · key {visible(key)}{tries}")
        case CallsSettled(_, paths, how):
            said = {
                "kept": "failed, and its caller went on",
                "open": "ended its caller after all",
                "dropped": "dropped: its caller calls something else in its place",
            }
            return Line(", ".join(map(path_text, paths)), said.get(how, visible(how)))
        case TaskInterrupted(_, path, questions, _, refused):
            asked = ", ".join(preview(question.value) for question in questions)
            why = "" if refused is None else f" again, an answer was refused: {visible(refused)}"
            return Line(path_text(path), (f"asks {asked}" if questions else "waits for what it runs") + why)
        case TaskAnswered(_, path, answers):
            given = "answer " + ", ".join(preview(answer) for _, answer in answers)
            return Line(path_text(path), given if answers else "woken by an answer below")
        case TimerSet(_, path, _, _, name, _, due_at):
            until = "" if due_at is None else f" until {moment(due_at):%Y-%m-%d %H:%M:%S} UTC"
            return Line(path_text(path), ("sleeps" if name is None else f"waits for {visible(name)}") + until)
        case TimerFired(_, path):
            return Line(path_text(path), "its time has come")
        case SignalReceived(_, path, _, _, name, number, _, payload):
            return Line(path_text(path), f"receives {visible(name)} (no. {number}): {preview(payload)}")
        case StepCommitted():
            return Line("", "checkpoint")
        case RunEnded(_, _, how, reason):
            return Line("", visible(how) + (f": {shortened(reason)}" if reason else ""))
        case StateEdited(_, _, how, edits):
            authors = ", ".join(visible(edit.as_node) for edit in edits if edit.as_node)
            edited = [write for edit in edits for write in edit.writes]
            return Line(authors, f"{visible(how)} {writes_text(edited)}".strip())
        case Forked(_, _, origin, how):
            return Line("", f"{visible(how)} of the checkpoint at {origin}")
        case StateFolded(seq, _):
            return Line("", f"the state at {seq}, in place of its records")
        case _:
            assert_never(record)


def scope_text(scope: str) -> str:
    """Return a namespace with its task ids cut to what people compare."""
    segments = [segment.partition(":") for segment in scope.split("|")]
    return "|".join([visible(f"{node}{mark}{task[:8]}") for node, mark, task in segments])


def path_text(path: Path) -> str:
    """Return a task's path: a node's name, ``#3`` for the fourth send, and the calls within."""
    head, *calls = path
    first = f"#{head}" if isinstance(head, int) else visible(head)
    return "/".join([first, *(visible(str(call)) for call in calls)])


def writes_text(writes: Iterable[Write]) -> str:
    """Return writes as ``channel ← value``."""
    return ", ".join(f"{visible(channel)} ← {preview(value, 40)}" for channel, value in writes)


def targets_text(targets: tuple[Target, ...]) -> str:
    """Return where control goes, as `` → a, b``; empty for the end."""
    names = [visible(target) if isinstance(target, str) else _target(target) for target in targets]
    return f" → {', '.join(names)}" if names else ""


def _target(target: tuple[Any, ...]) -> str:
    match target:
        case ("send", node, argument, *_):
            return f"{visible(str(node))}({preview(argument, 24)})"
        case ("join", _, end, *_):
            return f"join of {visible(str(end))}"
        case ("defer", node):
            return f"{visible(str(node))} (deferred)"
        case _:
            return preview(target, 24)


def _run(durability: str, epoch: int) -> str:
    return f"{visible(durability)}, epoch {epoch} · " if durability else ""


def _code(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _pieces(value: Any, limit: int, depth: int) -> Iterator[str]:
    """Yield a value's text piece by piece, so that whoever has enough can stop."""
    if depth > DEEPEST:
        yield "…"
        return
    match value:
        case str() | bytes() | bytearray() if type(value) in {str, bytes, bytearray}:
            yield repr(value[: limit + 1])
        case int() if type(value) is int and not -LARGEST_INTEGER < value < LARGEST_INTEGER:
            yield hex(value)
        case list() | tuple() | set() | frozenset() if type(value) in {list, tuple, set, frozenset}:
            yield from _joined(_BRACKETS[type(value)], value, limit, depth)
        case dict() if type(value) is dict:
            start = "{"
            for key, held in value.items():
                yield start
                yield from _pieces(key, limit, depth + 1)
                yield ": "
                yield from _pieces(held, limit, depth + 1)
                start = ", "
            yield "}" if value else "{}"
        case Opaque():
            yield f"{value.name}("
            yield from _pieces(value.content, limit, depth + 1)
            yield ")"
        case Gathered():
            if not value.is_bare():
                yield from _pieces(value.base, limit, depth + 1)
                yield " + "
            yield "writes "
            yield from _pieces(value.writes(), limit, depth + 1)
        case _:
            yield _shown(value)


_BRACKETS: dict[type, tuple[str, str]] = {
    list: ("[", "]"),
    tuple: ("(", ")"),
    set: ("{", "}"),
    frozenset: ("frozenset({", "})"),
}


def _joined(brackets: tuple[str, str], items: Any, limit: int, depth: int) -> Iterator[str]:
    yield brackets[0]
    for index, item in enumerate(items):
        if index:
            yield ", "
        yield from _pieces(item, limit, depth + 1)
    yield brackets[1]


def _all_plain(values: Any) -> list[Any]:
    # A loop and no comprehension: each is a call less on the stack, and values may be 512 levels deep.
    shown = []
    for value in values:
        shown.append(plain(value))  # noqa: PERF401 - see above
    return shown


def _plain_dict(value: dict[Any, Any]) -> dict[str, Any]:
    if all(type(key) is str for key in value) and "$type" not in value:
        shown = {}
        for key, held in value.items():
            shown[key] = plain(held)
        return shown
    return {"$type": "dict", "value": [[plain(key), plain(held)] for key, held in value.items()]}


def _class_name(value: Any) -> str:
    return f"{type(value).__module__}:{type(value).__qualname__}"


def _shown(value: Any) -> str:
    """Return what a value says of itself, or its class if it cannot."""
    say: Callable[[Any], str] = (
        str if _class_name(value).startswith(("datetime:", "uuid:", "decimal:")) else repr
    )
    try:
        return say(value)
    except Exception:  # noqa: BLE001 - a class's own repr may do anything
        return f"<{_class_name(value)}>"


def _line_of_saved(record: Any) -> Line:
    """Return a record of LangGraph's in words."""
    match record:
        case CheckpointPut():
            channels = ", ".join([visible(channel) for channel, _ in record.values])
            said = f"{record.metadata.get('source', '?')} {record.metadata.get('step', '?')}"
            return Line("", f"{visible(record.id)} · {visible(said)} · {channels or 'no new values'}")
        case WritesPut(_, _, task, _, writes):
            written = ", ".join([f"{visible(channel)}={_kept_text(kept)}" for _, channel, kept in writes])
            return Line(visible(task[:8]), written)
        case CheckpointsDropped(_, ids):
            return Line("", f"{len(ids)} checkpoints dropped")
        case _:
            raise TypeError(type(record).__name__)


def _kept_text(kept: Kept) -> str:
    if not isinstance(kept, Payload):
        return f"payload {kept}"
    pieces = len(kept.pieces)
    return f"{visible(kept.type)} in {pieces} pieces" if pieces > 1 else visible(kept.type)
