"""Where backups lie: a folder, or an object store. A few names, each written once and whole.

    open_target("/mnt/backups/orders")     a folder; also file:///mnt/…
    open_target("s3://bucket/orders")      an object store: s3, gs, az, https, memory (package obstore, loaded only now)

Invariants:
1. What ``write`` has returned for is durable; a kill before that leaves nothing, or all of it, under the name.
2. What ``delete`` has returned for stays gone: no manifest comes back whose chunks were removed after it.
3. ``write(…, new=True)`` of a name that is there is refused, also if somebody else writes it at the same time.

This module must not know what is written.
"""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from .directory import sync_directory
from .errors import BackupDamaged, LogFailed, NotAvailable

_PARTIAL = ".partial-"


class Target(ABC):
    """A flat set of named contents; names have slashes in them."""

    @abstractmethod
    def names(self, prefix: str) -> list[str]:
        """Return the names that begin so, sorted."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return a content.

        Raises:
            BackupDamaged: It is not there.
        """

    @abstractmethod
    def write(self, name: str, data: bytes, *, new: bool = False) -> None:
        """Write a content durably; ``new``: only if there is none of that name.

        Raises:
            FileExistsError: There is one, and it was to be new.
        """

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove a content, durably; one that is not there is no error."""


class Folder(Target):
    """A folder of files."""

    def __init__(self, path: str) -> None:
        self._root = Path(path)
        self._settled: set[Path] = set()
        """Folders of which this object knows that they last."""

    def __str__(self) -> str:
        """Return the path."""
        return str(self._root)

    def names(self, prefix: str) -> list[str]:
        """Return the names that begin so, sorted."""
        found = (each for each in (self._root / prefix).rglob("*") if _PARTIAL not in each.name)
        return sorted(each.relative_to(self._root).as_posix() for each in found if each.is_file())

    def read(self, name: str) -> bytes:
        """Return a file's bytes."""
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            raise _missing(name) from None

    def write(self, name: str, data: bytes, *, new: bool = False) -> None:
        """Write a file beside its name, flush it, and put it in its place."""
        place = self._root / name
        self._make(place.parent)
        partial = place.with_name(f"{place.name}{_PARTIAL}{os.urandom(6).hex()}")
        try:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if new:
                _link(partial, place)
            else:
                partial.replace(place)
        finally:
            partial.unlink(missing_ok=True)
        sync_directory(str(place.parent))

    def delete(self, name: str) -> None:
        """Remove a file, and its folder if nothing else is in it."""
        place = self._root / name
        with contextlib.suppress(FileNotFoundError):
            place.unlink()
            sync_directory(str(place.parent))
        with contextlib.suppress(OSError):
            place.parent.rmdir()
            self._settled.discard(place.parent)

    def _make(self, folder: Path) -> None:
        """Make a folder, durably."""
        if folder in self._settled:
            return
        # Below the root one that is there may have been made by somebody who was killed before its name lasted.
        is_ours = folder != self._root and folder.is_relative_to(self._root)
        if is_ours or not folder.is_dir():
            self._make(folder.parent)
            folder.mkdir(exist_ok=True)
            sync_directory(str(folder.parent))
        self._settled.add(folder)


class ObjectStore(Target):
    """A prefix in an object store."""

    def __init__(self, url: str) -> None:
        try:
            import obstore
            from obstore.store import from_url
        except ImportError:
            message = f"Backups to {url} need the package obstore, which is not installed."
            raise NotAvailable(message, hint="pip install 'walgraph[objectstore]'") from None
        self._url = url
        self._library: Any = obstore
        self._store: Any = from_url(url)

    def __str__(self) -> str:
        """Return the address."""
        return self._url

    def names(self, prefix: str) -> list[str]:
        """Return the names that begin so, sorted."""
        return sorted(each["path"] for page in self._library.list(self._store, prefix) for each in page)

    def read(self, name: str) -> bytes:
        """Return an object's bytes."""
        try:
            return bytes(self._library.get(self._store, name).bytes())
        except FileNotFoundError:
            raise _missing(name) from None
        except self._library.exceptions.BaseError as error:
            raise self._failed(error) from error

    def write(self, name: str, data: bytes, *, new: bool = False) -> None:
        """Write an object; a store acknowledges it when it is durable."""
        try:
            self._library.put(self._store, name, data, mode="create" if new else "overwrite")
        except self._library.exceptions.AlreadyExistsError as error:
            raise FileExistsError(name) from error
        except self._library.exceptions.BaseError as error:
            raise self._failed(error) from error

    def delete(self, name: str) -> None:
        """Remove an object."""
        with contextlib.suppress(FileNotFoundError):
            self._library.delete(self._store, name)

    def _failed(self, error: Exception) -> LogFailed:
        message = f"The object store at {self._url} failed: {type(error).__name__}: {error}."
        return LogFailed(message, hint="Former backups are as they were. Try again.", url=self._url)


def open_target(target: str | os.PathLike[str] | Target) -> Target:
    """Return the target at a path or address.

    Raises:
        NotAvailable: It is an object store, and the package for it is not installed.
    """
    if isinstance(target, Target):
        return target
    text = os.fspath(target)
    if text.startswith("file://"):
        return Folder(text.removeprefix("file://"))
    return ObjectStore(text) if "://" in text else Folder(text)


def _link(partial: Path, place: Path) -> None:
    """Put a file in its place unless something is there: unlike a rename, a link is refused then."""
    try:
        place.hardlink_to(partial)
    except FileExistsError:
        raise
    except OSError:
        # Some file systems have no links; there, two who write the same name at the same instant are not told apart.
        if place.exists():
            raise FileExistsError(str(place)) from None
        partial.replace(place)


def _missing(name: str) -> BackupDamaged:
    return BackupDamaged(f"The backup lacks {name}.", hint="Use another generation.", name=name)
