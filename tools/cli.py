"""``wal``: the command line. It parses and dispatches; the verbs live in ``cmd_*``, one module each.

    wal VERB …  ──►  tools.cmd_VERB.command  (imported only now)
                          │
                          ├── returns an exit code
                          └── raises WalgraphError  ──►  error[CODE]: …   = help: …   on stderr

EXIT CODES   0  ok                                    4    busy: somebody else has it
             1  a problem was found                   5    unreadable: damaged, too new, or not a log
             2  wrong usage                           7    refused: it would not be safe
             3  no such log, thread or record         130  interrupted

Invariants:
1. ``wal --help`` imports no verb.
2. A reader that has seen enough (a closed pipe) is no error.
3. Errors that are not ours keep their traceback: they are bugs, or come from the user's own code.

This module must not know what the verbs do.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from ..wal.errors import (
    BackupDamaged,
    BackupMismatch,
    BackupNotFound,
    FormatTooNew,
    FormatTooOld,
    KeyMissing,
    LogCorrupt,
    LogExists,
    LogFailed,
    LogFull,
    LogInUse,
    LogNotFound,
    LogReadOnly,
    NotALog,
    RemoteDisk,
    ScheduleNotFound,
    StaleWriter,
    ThreadBusy,
    ThreadDeleted,
    ThreadNotFound,
    UnknownType,
    WalgraphError,
    WrongKey,
)
from .options import KEYS, keys_option
from .words import visible

VERBS: dict[str, str] = {
    "inspect": "Look at a log, at one thread, or at one record.",
    "threads": "List the threads of a log.",
    "state": "Show what a thread's records add up to.",
    "effects": "Show what was done at most once, and what is in doubt.",
    "signals": "Show what waits in mailboxes, and what was received.",
    "signal": "Send a signal to a thread.",
    "schedules": "Show what is handed over again and again; pause, resume, delete.",
    "store": "Show what graphs remember across threads.",
    "diff": "Compare two moments, two threads, or a thread in two logs.",
    "tail": "Show the newest records, and those that come.",
    "stats": "Count what takes how much room.",
    "doctor": "Examine what the log stands on: disk, file system, readers, clock.",
    "replay": "Check today's code against what is recorded.",
    "recover": "Carry on what crashed, was drained, or is due.",
    "worker": "Carry out what is handed over, until SIGTERM.",
    "verify": "Look for damage, and for broken promises.",
    "backup": "Add a backup to a folder or an object store.",
    "restore": "Make a log from a backup, or list backups.",
    "export": "Write a log as lines of JSON, or as a SQLite file.",
    "import": "Make a log of what export wrote.",
    "repair": "Make a whole log of what is left of a damaged one.",
    "upgrade": "Bring a log of an older format to the newest.",
    "compact": "Cut off history that nobody needs any more.",
    "keys": "Show what is encrypted with which key, and which can be dropped.",
    "errors": "Explain an error code.",
}
"""Verb → what its line in the help says; the module is ``cmd_VERB``."""

PROBLEM, USAGE, NOT_FOUND, BUSY, UNREADABLE, REFUSED, INTERRUPTED = 1, 2, 3, 4, 5, 7, 130

CODES: tuple[tuple[tuple[type[WalgraphError | LookupError], ...], int], ...] = (
    ((LogNotFound, ThreadNotFound, ThreadDeleted, ScheduleNotFound, BackupNotFound, LookupError), NOT_FOUND),
    ((ThreadBusy, StaleWriter, LogInUse), BUSY),
    ((RemoteDisk, LogReadOnly, LogExists, BackupMismatch), REFUSED),
    (
        (
            LogCorrupt,
            BackupDamaged,
            FormatTooNew,
            FormatTooOld,
            KeyMissing,
            NotALog,
            UnknownType,
            LogFull,
            LogFailed,
            WrongKey,
        ),
        UNREADABLE,
    ),
)
"""Which error ends the program with which exit code; any other of ours is a problem found."""


class Verbs(click.Group):
    """The group of verbs, each imported when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs in the order of the help."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the module of a verb and return its command."""
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"{__package__}.cmd_{cmd_name}")
        command: click.Command = module.command
        if cmd_name != "errors" and not any(each.name == KEYS for each in command.params):
            command.params.append(keys_option())
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of verbs without importing them."""
        with formatter.section("Verbs"):
            formatter.write_dl(list(VERBS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Call the verb; a reader that closed the pipe has seen what it wanted."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # What is still buffered must not fail again when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        return result

    def main(  # type: ignore[override]  # it never returns, whatever standalone_mode says
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> NoReturn:
        """Run the command line and end the program with the code of what happened."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError):
                stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        extra["standalone_mode"] = False
        try:
            code = super().main(args, prog_name, **extra)
        except click.Abort:
            sys.stderr.write("interrupted\n")
            code = INTERRUPTED
        except click.ClickException as error:
            error.show()
            code = error.exit_code
        except WalgraphError as error:
            sys.stderr.write(report(error))
            code = exit_code(error)
        sys.exit(code or 0)


def report(error: WalgraphError) -> str:
    """Return what stderr says about an error."""
    lines = [f"error[{error.code}]: {visible(error.message)}"]
    lines.extend(f"   = note: {visible(note)}" for note in getattr(error, "__notes__", ()))
    if error.hint:
        lines.append(f"   = help: {visible(error.hint)}")
    lines.append(f"   = help: wal errors {error.code}")
    return "\n".join(lines) + "\n"


def exit_code(error: WalgraphError) -> int:
    """Return the exit code that an error stands for."""
    return next((code for kinds, code in CODES if isinstance(error, kinds)), PROBLEM)


@click.command(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="LOG is the log's directory; $WALGRAPH_LOG stands in for it. Data goes to stdout, talk to stderr.",
)
@click.version_option(package_name="walgraph", prog_name="wal")
def cli() -> None:
    """Look into a walgraph log, check it, and keep it small."""


def main() -> NoReturn:
    """Run ``wal``."""
    cli.main(prog_name="wal")
