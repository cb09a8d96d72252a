"""Transcripts: a situation told as commands, with what each of them showed.

    # A comment says what the situation is.
    run {"trace": ["in"]} crash="before commit 3"
    ----
    killed

A file in ``scenarios`` is a sequence of such parts, separated by empty lines. The words of a command are a verb,
values in JSON or Python form, and options ``name=value``. ``WALGRAPH_REWRITE=1`` writes down what is shown now; commit
only what you understand.

It must not know what the commands do.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

RULE = "----"


class Step(NamedTuple):
    """One command with what it showed; ``before`` holds the comments above it."""

    before: list[str]
    command: str
    shown: list[str]


def steps_of(text: str) -> list[Step]:
    """Read a transcript."""
    steps: list[Step] = []
    for part in re.split(r"\n\s*\n", text.strip()):
        given = part.split("\n")
        comments = [line for line in given if line.startswith("#")]
        rest = given[len(comments) :]
        if not rest:
            steps.append(Step(comments, "", []))
            continue
        assert len(rest) > 1, f"{rest[0]!r} is not followed by {RULE!r}"
        assert rest[1] == RULE, f"{rest[0]!r} is not followed by {RULE!r}"
        steps.append(Step(comments, rest[0], rest[2:]))
    return steps


def text_of(steps: list[Step]) -> str:
    """Write a transcript."""
    parts = [
        "\n".join([*step.before, *([step.command, RULE, *step.shown] if step.command else [])])
        for step in steps
    ]
    return "\n\n".join(parts) + "\n"


def words_of(command: str) -> tuple[str, list[Any], dict[str, Any]]:
    """Return verb, values and options of a command; what is no Python value stands for itself."""
    words = re.findall(r"(?:[^\s\"'({\[]|\"[^\"]*\"|'[^']*'|\([^)]*\)|\{[^}]*\}|\[[^\]]*\])+", command)
    values: list[Any] = []
    options: dict[str, Any] = {}
    for word in words[1:]:
        named = re.fullmatch(r"([a-z_]+)=(.+)", word)
        if named:
            options[named[1]] = _value(named[2])
        else:
            values.append(_value(word))
    return words[0], values, options


def _value(word: str) -> Any:
    try:
        return ast.literal_eval(word)
    except (ValueError, SyntaxError):
        return word


def replay(path: Path, do: Callable[[str, list[Any], dict[str, Any]], list[str]]) -> None:
    """Carry out a transcript's commands, and compare, or write down, what they show."""
    steps = steps_of(path.read_text("utf-8"))
    now = [step._replace(shown=do(*words_of(step.command))) if step.command else step for step in steps]
    if os.environ.get("WALGRAPH_REWRITE"):
        path.write_text(text_of(now), "utf-8")
        return
    for before, after in zip(steps, now, strict=True):
        assert before.shown == after.shown, f"{path.name}: {before.command}"
    assert path.read_text("utf-8") == text_of(now), "the transcript is not in the form that is written"
