"""``wal errors``: what a code means and who must act, without a network.

    docstrings of the error classes ──► what happened           module headers ──► who must act

Invariants:
1. There is no second list of errors: classes, docstrings and headers are it.

It must not open a log.
"""

from __future__ import annotations

import inspect
import re
import sys
from typing import NamedTuple

import click

from ..engine import errors as engine_errors
from ..replay import errors as replay_errors
from ..wal import errors as wal_errors
from ..wal.errors import WalgraphError
from . import errors as tools_errors
from .cli import exit_code
from .errors import UnknownCode
from .options import as_json
from .render import Column, Page

COLUMNS = (Column("code"), Column("error"), Column("what"))
MODULES = (wal_errors, replay_errors, engine_errors, tools_errors)
"""Where our errors are defined."""
HEADER = re.compile(r"(\w+)\s+WAL-E\d{3}\s+(\S.*)")


class Entry(NamedTuple):
    """One error: its class, and what the header of its module says about who must act."""

    code: str
    kind: type[WalgraphError]
    act: str

    @property
    def what(self) -> str:
        """What happened, in a sentence."""
        return (inspect.getdoc(self.kind) or "").partition("\n\n")[0].replace("\n", " ")

    def parents(self) -> list[str]:
        """Return the classes by which it can be caught, the nearest first."""
        return [each.__name__ for each in self.kind.__mro__[1:] if issubclass(each, Exception)]


@click.command("errors")
@click.argument("code", required=False)
@as_json
def command(code: str | None, *, as_json: bool) -> None:
    """Explain CODE (WAL-E102, E102 or 102), or list all codes."""
    page = Page(as_json=as_json)
    known = catalogue()
    if code is not None:
        number = re.fullmatch(r"(?:(?:WAL-)?E)?(\d{1,3})", code.upper())
        wanted = f"WAL-E{int(number[1]):03d}" if number else code
        known = [entry for entry in known if entry.code == wanted]
        if not known:
            raise UnknownCode(
                f"there is no error with the code {code!r}", hint="wal errors lists all.", code=code
            )
    if as_json:
        page.emit("errors", errors=[entry_to_plain(entry) for entry in known])
    elif code is None:
        page.table(COLUMNS, [(entry.code, entry.kind.__name__, entry.what) for entry in known])
    else:
        for entry in known:
            _explain(page, entry)


def catalogue() -> list[Entry]:
    """Return all errors that have a code of their own, in the order of the codes."""
    found = [
        Entry(kind.code, kind, _who_acts(kind))
        for module in MODULES
        for name, kind in vars(module).items()
        if isinstance(kind, type) and issubclass(kind, WalgraphError) and kind.__module__ == module.__name__
        if "code" in vars(kind) and kind is not WalgraphError and kind.__name__ == name
    ]
    return sorted(found, key=lambda entry: (entry.code, entry.kind.__name__))


def entry_to_plain(entry: Entry) -> dict[str, object]:
    """Return an error as JSON has it."""
    return {
        "code": entry.code,
        "error": entry.kind.__name__,
        "what": entry.what,
        "act": entry.act,
        "caught_as": entry.parents(),
        "exit_code": exit_code_of(entry.kind),
    }


def exit_code_of(kind: type[WalgraphError]) -> int:
    """Return the exit code with which ``wal`` ends on such an error."""
    return exit_code(kind(""))


def _explain(page: Page, entry: Entry) -> None:
    page.line(f"{entry.code}  {entry.kind.__name__}")
    page.line()
    for line in (inspect.getdoc(entry.kind) or "").splitlines():
        page.line(f"  {line}")
    page.line()
    if entry.act:
        page.line(f"  who acts    {entry.act}")
    page.line(f"  caught as   {', '.join([entry.kind.__name__, *entry.parents()])}")
    page.line(f"  wal exits   {exit_code_of(entry.kind)}")


def _who_acts(kind: type[WalgraphError]) -> str:
    """Return what the map in the header of the class's module says behind its code."""
    header = sys.modules[kind.__module__].__doc__ or ""
    return next((act.strip() for name, act in HEADER.findall(header) if name == kind.__name__), "")
