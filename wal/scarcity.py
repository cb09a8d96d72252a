"""When the system gives no more: file descriptors, processes, memory. Told as what it is, and not as damage.

    with plenty(path): …        an error of that kind within leaves as OutOfResources

Invariants:
1. No other error is changed.

This module must not know what was asked for.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator

import lmdb

from .errors import OutOfResources, WalgraphError

_LACKING = {
    errno.EMFILE: "this process has no file descriptor left",
    errno.ENFILE: "this machine has no file descriptor left",
    errno.ENOMEM: "there is no memory left",
    errno.EAGAIN: "no further process or thread may be started",
}
_HINT = "Close files, or raise the limit (`ulimit -n`, `ulimit -v`, `ulimit -u`); then try again."


def lacking(error: BaseException) -> str:
    """Return what was lacking, in words; empty if the error is another one."""
    if isinstance(error, MemoryError):
        return _LACKING[errno.ENOMEM]
    if isinstance(error, lmdb.Error):
        return next((words for number, words in _LACKING.items() if os.strerror(number) in str(error)), "")
    if isinstance(error, OSError) and not isinstance(error, WalgraphError):
        return _LACKING.get(error.errno or 0, "")
    return ""


def out_of_resources(what: str, path: str) -> OutOfResources:
    """Return the error for something that is lacking."""
    message = f"The log at {path} cannot be used: {what}. Nothing was changed."
    return OutOfResources(message, hint=_HINT, path=path)


@contextlib.contextmanager
def plenty(path: str) -> Iterator[None]:
    """Let errors for lack of resources leave as ``OutOfResources``."""
    try:
        yield
    except (OSError, MemoryError, lmdb.Error) as error:
        what = lacking(error)
        if not what:
            raise
        raise out_of_resources(what, path) from error
