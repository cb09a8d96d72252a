"""What the verbs share: where the log is, how it is opened, and the user's graph.

    wal VERB [LOG] [THREAD] …      LOG may be left out where $WALGRAPH_LOG names it

With $WALGRAPH_LOG set, the first word is taken for LOG only if a log lies there, or if there is a word too many.

Invariants:
1. A log is opened for reading only, unless the verb was told to change it; none is ever created.
2. The user's graph is imported before the log is opened, since its module may open the same log for writing.

This module must not fold or show anything.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from ..wal.keys import FILE, INLINE, LANGGRAPH, KeyRing
from ..wal.log import Log
from .words import visible

if TYPE_CHECKING:
    from ..engine.graph import CompiledGraph

VARIABLE = "WALGRAPH_LOG"
KEYS = "keys_file"
Function = TypeVar("Function", bound=Callable[..., Any])


def as_json(function: Function) -> Function:
    """Add ``--json``."""
    return click.option(
        "--json", "as_json", is_flag=True, help="One JSON object, with its shape's version in v."
    )(function)


def app_option(function: Function) -> Function:
    """Add ``--app``."""
    text = "Import the graph that wrote the log, for its reducers and classes."
    return click.option("--app", metavar="MODULE:GRAPH", help=text)(function)


def apps_option(*, required: bool = False) -> Callable[[Function], Function]:
    """Add ``--app`` for verbs that run graphs, as many as are given."""
    return click.option(
        "--app",
        "apps",
        multiple=True,
        required=required,
        metavar="MODULE:GRAPH",
        help="The code of a graph; may be given again.",
    )


def attempts_option(function: Function) -> Function:
    """Add ``--attempts``."""
    return click.option(
        "--attempts",
        type=click.IntRange(min=1),
        default=5,
        show_default=True,
        help="How often a thread may be taken over without getting on, before it is parked.",
    )(function)


def words(metavar: str) -> Callable[[Function], Function]:
    """Add the words that ``placed`` takes apart."""

    def add(function: Function) -> Function:
        return click.argument("words", nargs=-1, metavar=metavar)(function)

    return add


def placed(given: Sequence[str], names: Sequence[str] = (), least: int = 0) -> tuple[str, list[str | None]]:
    """Return the log's path, and the other words in the order of ``names``, None for those left out.

    Args:
        given: What stands on the command line.
        names: What may follow the log.
        least: How many of them must be there.

    Raises:
        UsageError: Too few or too many words.
    """
    path = os.environ.get(VARIABLE, "")
    rest = list(given)
    if rest and (not path or len(rest) > len(names) or Path(rest[0], "data.mdb").exists()):
        path, rest = rest[0], rest[1:]
    if not path:
        message = f"Missing argument 'LOG'. Give the log's directory, or set {VARIABLE}."
        raise click.UsageError(message)
    if len(rest) > len(names):
        raise click.UsageError(f"Got unexpected extra argument ({visible(rest[len(names)])})")
    if len(rest) < least:
        raise click.UsageError(f"Missing argument '{names[len(rest)]}'.")
    return path, [*map(named, rest), *[None] * (len(names) - len(rest))]


def named(word: str) -> str:
    """Return a word that can name something in a log.

    Raises:
        UsageError: It is empty, or is not text.
    """
    try:
        word.encode()
    except UnicodeEncodeError:
        raise click.UsageError(f"{visible(word)} is not valid UTF-8, and every name in a log is.") from None
    if not word:
        raise click.UsageError("An empty word names nothing.")
    return word


def keys_option() -> click.Option:
    """Return ``--keys``, which every verb that opens a log gets; what was given is kept for ``opened``."""

    def keep(context: click.Context, _: click.Parameter, path: str | None) -> None:
        if path is not None:
            context.meta[KEYS] = path

    return click.Option(
        ["--keys", KEYS],
        metavar="FILE",
        expose_value=False,
        callback=keep,
        help="The keys of an encrypted log; $WALGRAPH_KEYS_FILE stands in for it.",
    )


def key_ring(*, follow: bool = True) -> KeyRing | None:
    """Return the keys that were given, or those that the environment names.

    Args:
        follow: A thread goes on with the key that it has, unless the file says otherwise.

    Raises:
        UsageError: What was given is no ring of keys.
    """
    context = click.get_current_context(silent=True)
    path = None if context is None else context.meta.get(KEYS)
    if path is None and not any(map(os.environ.get, (FILE, INLINE, LANGGRAPH))):
        return None

    try:
        ring = KeyRing.from_environment() if path is None else KeyRing.load(path)
    except (OSError, ValueError) as error:
        raise click.UsageError(f"--keys: {error}") from error
    # What is written here is written with the key that its thread had, unless the file says otherwise.
    return ring.following() if ring is not None and follow else ring


def opened(path: str, *, write: bool = False, follow: bool = True) -> Log:
    """Open an existing log, with the keys that were given."""
    return Log.open(path, create=False, readonly=not write, keys=key_ring(follow=follow))


def graph_of(app: str | None) -> CompiledGraph | None:
    """Import the user's graph.

    Raises:
        UsageError: There is no such module or graph. What the module itself raises comes through.
    """
    if app is None:
        return None
    from ..engine.builder import StateGraph
    from ..engine.graph import CompiledGraph

    module_name, _, name = app.partition(":")
    if not module_name or not name:
        raise click.UsageError(f"--app {app!r}: write MODULE:GRAPH, for example shop.checkout:graph.")
    if "" not in sys.path:
        # A console script, unlike python -m, does not look where it is called.
        sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise click.UsageError(f"--app {app!r}: there is no module {error.name!r}.") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise click.UsageError(f"--app {app!r}: {module_name!r} has no {name!r}.")
        found = getattr(found, part)
    if isinstance(found, StateGraph):
        found = found.compile()
    if not isinstance(found, CompiledGraph):
        raise click.UsageError(f"--app {app!r}: {name!r} is a {type(found).__name__}, not a graph.")
    return found
