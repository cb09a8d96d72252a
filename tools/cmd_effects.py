"""``wal effects``: what was done at most once, and what of it is in doubt.

    LOG                          the calls of all threads
    LOG THREAD                   those of one thread
    --in-doubt                   only those of which nobody knows whether they took effect; exit code 1 if there are any
    LOG THREAD --resolve KEY     tell the log how one ended: --value JSON, or --run-again

Invariants:
1. Nothing is changed without ``--apply``.
2. The user's code is not needed.

It must not decide what is in doubt: ``replay.intents`` does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import click

from ..replay.intents import DOUBTFUL, Effect, effects
from ..wal.codec import GLOBAL
from ..wal.head import moment
from ..wal.log import Log
from .cli import PROBLEM
from .options import as_json, opened, placed, words
from .render import Column, Page
from .words import path_text, plain, preview, scope_text, shortened

COLUMNS = (
    Column("thread"),
    Column("task"),
    Column("call"),
    Column("attempt", right=True),
    Column("stands"),
    Column("since"),
    Column("key"),
    Column("came to"),
)


class Placed(NamedTuple):
    """A call, and the thread that it belongs to."""

    thread: str
    effect: Effect


@click.command("effects")
@words("[LOG [THREAD]]")
@click.option(
    "--in-doubt", "only_doubt", is_flag=True, help="Only what is in doubt; exit code 1 if anything is."
)
@click.option("--resolve", "key", metavar="KEY", help="Tell the log how the call with this key ended.")
@click.option("--value", metavar="JSON", help="It took effect, and this is what it is to return.")
@click.option("--run-again", is_flag=True, help="It did not take effect, and is to begin again.")
@click.option("--apply", "as_apply", is_flag=True, help="Do it; without, it is only said what would be done.")
@as_json
def command(
    words: tuple[str, ...],
    key: str | None,
    value: str | None,
    *,
    only_doubt: bool,
    run_again: bool,
    as_apply: bool,
    as_json: bool,
) -> int:
    """List what was done at most once: each call with its key, its last attempt, and how that ended."""
    path, (thread,) = placed(words, ("THREAD",))
    page = Page(as_json=as_json)
    if key is not None:
        if thread is None or (value is None) == (not run_again):
            raise click.UsageError("--resolve takes LOG THREAD, and one of --value and --run-again.")
        _resolve(page, path, Answer(thread, key, value, run_again), apply=as_apply)
        return 0
    if value is not None or run_again or as_apply:
        raise click.UsageError("--value, --run-again and --apply belong to --resolve.")
    with opened(path) as log:
        found = [
            placed for placed in _effects(log, thread) if not only_doubt or placed.effect.standing in DOUBTFUL
        ]
        if as_json:
            page.emit("effects", effects=[_plain(placed) for placed in found])
        else:
            page.table(COLUMNS, [_row(page, placed) for placed in found])
            _say(page, found)
    return PROBLEM if only_doubt and found else 0


class Answer(NamedTuple):
    """What a person says of a call."""

    thread: str
    key: str
    value: str | None
    run_again: bool


def _effects(log: Log, thread: str | None) -> Iterator[Placed]:
    decoder = log.decoder(GLOBAL, lenient=True)
    threads = [thread] if thread is not None else [head.thread_id for head in log.threads()]
    for each in threads:
        for effect in effects(log, each, decoder):
            yield Placed(each, effect)


def _resolve(page: Page, path: str, answer: Answer, *, apply: bool) -> None:
    from ..engine.control import RUN_AGAIN
    from ..engine.resolve import in_doubt, resolve_effect

    outcome: Any = RUN_AGAIN
    if answer.value is not None:
        try:
            outcome = json.loads(answer.value)
        except ValueError as error:
            message = f"--value is not JSON ({error}); a text is written '\"paid\"'."
            raise click.UsageError(message) from error
    with opened(path, write=apply) as log:
        effect = in_doubt(log, answer.thread, answer.key)
        if apply:
            resolve_effect(log, answer.thread, answer.key, outcome)
    if page.as_json:
        resolved = {"run_again": answer.run_again, "returns": None if answer.run_again else outcome}
        page.emit("resolve", applied=apply, **_plain(Placed(answer.thread, effect)), **resolved)
        return
    called = f"{effect.call[0]}{effect.call[2]}"
    then = "begins again" if answer.run_again else f"returns {preview(outcome)}"
    page.line(f"{called}, attempt {effect.attempt}, {then} when thread {answer.thread} is resumed")
    if not apply:
        page.talk("Nothing was changed: add --apply.")


def _row(page: Page, placed: Placed) -> tuple[str, ...]:
    thread, effect = placed
    if effect.standing == "done":
        came_to = preview(effect.value, 40)
    elif effect.failure is not None:
        came_to = shortened(effect.failure.text, 40)
    else:
        came_to = "-"
    where = path_text(effect.path)
    return (
        thread,
        f"{scope_text(effect.scope)}|{where}" if effect.scope else where,
        shortened(f"{effect.call[0]}{effect.call[2]}", 40),
        str(effect.attempt),
        effect.standing,
        page.moment(moment(effect.at)),
        effect.key,
        came_to,
    )


def _say(page: Page, found: list[Placed]) -> None:
    """Say what can be done about what is in doubt."""
    asking = [placed for placed in found if placed.effect.standing in {"in doubt", "asked"}]
    if asking:
        page.talk(
            "Resume what is in doubt, so that reconcile is asked; or find out yourself and say so: "
            "wal effects LOG THREAD --resolve KEY --value JSON | --run-again"
        )


def _plain(placed: Placed) -> dict[str, Any]:
    thread, effect = placed
    failure = effect.failure
    return {
        "thread": thread,
        "scope": effect.scope,
        "path": list(effect.path),
        "task": effect.call[0],
        "call": effect.call[2],
        "key": effect.key,
        "attempt": effect.attempt,
        "since": moment(effect.at).isoformat(),
        "seq": effect.seq,
        "standing": effect.standing,
        "in_doubt": effect.standing in DOUBTFUL,
        "question": effect.question,
        "value": plain(effect.value) if effect.standing == "done" else None,
        "failure": None if failure is None else {"type": failure.type, "text": failure.text},
    }
