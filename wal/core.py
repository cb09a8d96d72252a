"""What all log objects of one path share within a process: store, committer, claims.

    Log ─┐
    Log ─┼──► Core: Store, Committer, Claims        LMDB must not be open twice in a process, and POSIX locks are
    Log ─┘                                          lost when any descriptor of their file is closed; so it is shared

LIFE    opened by the first log object, closed by the last, by ``atexit``, or, in a forked child, at once.

Invariants:
1. One core per directory and process, counted by ``references``.
2. A poisoned core is never handed out again: opening the path closes it and makes a new one.
3. In a forked child every inherited core is dead; its queue is the parent's to write.

This module must not know what a log object does with it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .claim import Claims
from .codec import Encoder
from .committer import Committer
from .environment import Environment, open_environment
from .errors import KeyMissing, LogClosed, LogInUse, WalgraphError
from .flush import Fsync
from .forking import forget_others, others
from .lmdb_store import LmdbStore
from .memory_store import MemoryStore
from .named import NamedTuple
from .store import Store

if TYPE_CHECKING:
    from .keys import KeyRing
    from .vault import Vault
    from .watch import Watch

_registry_lock = threading.RLock()
_open: dict[str, Core] = {}
_all: weakref.WeakSet[Core] = weakref.WeakSet()


class Options(NamedTuple):
    """How a log is opened; each is explained at ``Log.open``."""

    create: bool = True
    fsync: Fsync = "full"
    map_size: int = 64 << 30
    strict: bool = False
    force: bool = False
    flush_interval: float = 0.02
    flush_bytes: int = 4 << 20
    readonly: bool = False
    keys: KeyRing | None = None


class Mortal(Protocol):
    """A writer, as far as the core cares: it can be told that it is dead."""

    failure: WalgraphError | None


class Keeper(Protocol):
    """What looks after a log while it is open."""

    def close(self) -> None:
        """End; nothing of the log is touched afterwards."""


class Policy(Protocol):
    """What a log keeps, said by a layer above."""

    def begin(self, log: Any) -> Keeper:
        """Look after a log from now on."""


class Core:
    """The shared part of the log objects of one path."""

    def __init__(self, store: Store, claims: Claims, *, interval: float, flush_bytes: int, name: str) -> None:
        self.store = store
        self.claims = claims
        self.encoder = Encoder()
        self.committer = Committer(store, interval=interval, flush_bytes=flush_bytes)
        self.vault: Vault | None = None
        self.is_encrypted = False
        self._watch: Watch | None = None
        self.name = name
        self.fsync = "off"
        self.references = 1
        self.closed = False
        self.forked = False
        self.writers: weakref.WeakSet[Mortal] = weakref.WeakSet()
        _all.add(self)

    @property
    def watch(self) -> Watch:
        """Who tells the runs of this process that they are to stop; made by the first of them."""
        if self._watch is None:
            from .watch import Watch

            with _registry_lock:
                if self._watch is None:
                    self._watch = Watch(self.store, is_shared=bool(self.name))
        return self._watch

    def use_keys(self, keys: KeyRing | None, environment: Environment) -> None:
        """Encrypt what is written from now on, and open what is read.

        Raises:
            KeyMissing: The log is encrypted, it is to be written, and no keys were given.
            NotAvailable: The package ``cryptography`` is not installed.
        """
        self.is_encrypted = environment.encrypted or keys is not None
        if keys is None:
            if environment.encrypted and not environment.readonly:
                message = (
                    f"The log at {self.name} is encrypted, and was to be opened for writing without keys."
                )
                hint = "Open it with keys=KeyRing({...}), call wal with --keys FILE, or open it with readonly=True."
                raise KeyMissing(message, hint=hint, path=self.name)
            return
        from .vault import Vault

        self.vault = self.committer.vault = Vault(keys, self.store)
        if not environment.readonly:
            environment.mark_encrypted()

    def close(self) -> None:
        """Flush and let go of everything, whoever still refers to it; idempotent.

        Raises:
            LogFailed: What was queued could not be written.
        """
        with _registry_lock:
            if self.closed:
                return
            self.closed = True
            if _open.get(self.name) is self:
                del _open[self.name]
        try:
            if self._watch is not None:
                self._watch.close()
            self.committer.close()
        finally:
            self.claims.close()
            self.store.close()

    def release(self) -> None:
        """Count one log object less; the last one closes."""
        with _registry_lock:
            self.references -= 1
            last = self.references <= 0
        if last:
            self.close()


def open_core(path: str, options: Options) -> Core:
    """Return the core of a path, shared if this process has it open already.

    Raises:
        LogInUse: It is open here with another ``fsync``.
    """
    from .scarcity import plenty  # whoever opens no log need not load it

    with _registry_lock:
        name = os.path.realpath(path)
        core = _open.get(name)
        if core is not None and core.committer.failure is not None:
            with contextlib.suppress(WalgraphError):
                core.close()
            core = None
        if core is not None and core.store.readonly and not options.readonly:
            message = f"The log at {path} is open in this process for reading only."
            raise LogInUse(message, hint="Close that log object first.", path=path)
        if core is not None:
            if core.fsync != options.fsync and not options.readonly:
                message = f"The log at {path} is open in this process with fsync={core.fsync!r}, not {options.fsync!r}."
                raise LogInUse(message, hint="Use the log object that is open, or close it first.", path=path)
            if options.keys is not None and (core.vault is None or core.vault.ring != options.keys):
                message = f"The log at {path} is open in this process with other keys, or without any."
                raise LogInUse(message, hint="Use the log object that is open, or close it first.", path=path)
            core.references += 1
            return core
        with plenty(path):
            environment = open_environment(
                name,
                create=options.create,
                fsync=options.fsync,
                map_size=options.map_size,
                readonly=options.readonly,
                force=options.force,
            )
        try:
            store = LmdbStore(environment)
            store.check_complete()
            core = Core(
                store,
                Claims(str(Path(name, "CLAIMS"))),
                interval=options.flush_interval,
                flush_bytes=options.flush_bytes,
                name=name,
            )
        except BaseException:
            environment.close()
            raise
        core.fsync = options.fsync
        try:
            core.use_keys(options.keys, environment)
        except BaseException:
            core.close()
            raise
        _open[name] = core
        return core


def memory_core() -> Core:
    """Return a core of its own over memory."""
    core = Core(MemoryStore(), Claims(), interval=0.02, flush_bytes=4 << 20, name="")
    # Nobody misses a log in memory that is no longer referred to, so its flusher ends with it.
    weakref.finalize(core, core.committer.flusher.release).atexit = False
    return core


def is_open(path: str) -> bool:
    """Tell whether this process has the log at ``path`` open."""
    with _registry_lock:
        return os.path.realpath(path) in _open


def _close_all() -> None:
    for core in list(_all):
        # At the end of the process nobody is left to be told; the log itself says what it holds.
        with contextlib.suppress(WalgraphError):
            core.close()


def _after_fork_in_child() -> None:
    global _registry_lock  # noqa: PLW0603 - another thread of the parent may have held it.
    _registry_lock = threading.RLock()
    _open.clear()
    for core in list(_all):
        if core.closed:
            continue
        message = "The log was inherited through a fork, which LMDB does not survive."
        dead = LogClosed(message, hint="Open the log, and claim the thread, in the child process.")
        core.forked = True
        for writer in list(core.writers):
            writer.failure = dead
        core.committer.reset()
        core.claims.forget()
        core._watch = None  # noqa: SLF001 - the looking thread was the parent's
        if isinstance(core.store, MemoryStore):
            core.store.renew_locks()
        else:
            core.closed = True
            core.committer.failure = dead
            if not others():
                core.store.close()
            # Else it is left open: to close it would wait for a thread that only the parent has.
    forget_others()


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
