"""``wal signal``: sends a signal to a thread, from a shell.

It must not wait until the signal is received.
"""

from __future__ import annotations

import json

import click

from .options import as_json, opened, placed, words
from .render import Page
from .words import visible


@click.command("signal")
@words("[LOG] THREAD NAME [JSON]")
@click.option("--id", "signal_id", help="Names this very signal: sent again, it changes nothing.")
@as_json
def command(words: tuple[str, ...], signal_id: str | None, *, as_json: bool) -> None:
    """Send a signal to a thread: what `wait_for(NAME)` there returns is the JSON, null if there is none."""
    path, (thread, name, text) = placed(words, ("THREAD", "NAME", "JSON"), 2)
    assert thread is not None, "two words are there at least"
    assert name is not None, "as above"
    try:
        payload = None if text is None else json.loads(text)
    except ValueError as error:
        message = f"The payload is no JSON ({error}); text is written in quotes: '\"{visible(text or '')}\"'."
        raise click.UsageError(message) from None
    if signal_id == "":
        raise click.UsageError("--id must not be empty.")
    page = Page(as_json=as_json)
    with opened(path, write=True) as log:
        is_new = log.signal(thread, name, payload, id=signal_id)
    if as_json:
        page.emit("signal", thread=thread, name=name, id=signal_id, sent=is_new)
    elif is_new:
        page.line(f"sent {visible(name)} to thread {visible(thread)}")
    else:
        page.line(f"a signal with id {visible(signal_id or '')} was sent to thread {visible(thread)} before")
