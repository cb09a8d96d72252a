"""Encrypting what a log keeps, and decrypting it: one ring of keys, at work.

    commit   frames, snapshots, blobs ──► close ──► envelopes ──► store        the store sees no value
    read     store ──► envelopes ──► open ──► bodies, states, blobs            what has no key here stays closed

What is not encrypted comes through as it is, so a log may hold both, and a reader need not know.

Invariants:
1. Nothing is sealed twice with one key and one nonce: keys are derived for each thread, and nonces are random.
2. What cannot be opened for want of its key is handed on closed; whoever decodes it raises ``KeyMissing``.
3. A key that is not the one which wrote raises ``WrongKey``; anything else that does not fit raises ``Tampered``.
4. A large value is looked for under the keys that were used last first, since who read a frame then reads its values.

This module must not know how records or values are encoded, but for the digests that they name.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import msgpack

from .blob import Blob
from .codec import references
from .envelope import (
    CHECK_BYTES,
    NAME_BYTES,
    NONCE_BYTES,
    begin,
    is_sealed,
    parse,
    with_checksum,
    without_checksum,
)
from .errors import KeyMissing, NotAvailable, Tampered, WrongKey
from .store import Group

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from .keys import KeyRing
    from .store import Frame, Mover, Snapshot, Store

_CIPHERS = 4096
"""For how many threads the derived keys are remembered."""
_HELD_BYTES = 32 << 20
"""How many bytes of sealed large values are remembered, so that one that comes again is not sealed again."""


class Vault:
    """A ring of keys at work on one log.

    Args:
        ring: The keys.
        store: What keeps the log; asked which key a thread has, if the ring wants it to go on with that.

    Raises:
        NotAvailable: The package ``cryptography`` is not installed.
    """

    def __init__(self, ring: KeyRing, store: Store) -> None:
        try:
            from cryptography.exceptions import InvalidTag
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        except ImportError as error:
            message = "Encrypted logs need the package cryptography, which is not installed."
            raise NotAvailable(message, hint="pip install 'walgraph[encryption]'") from error
        self.ring = ring
        self._store = store
        self._cipher_class = AESGCM
        self._bad_tag = InvalidTag
        self._lock = threading.Lock()
        self._checks = {name: self._derive(name, b"check")[:CHECK_BYTES] for name in ring.names()}
        self._name_keys: dict[str, bytes] = {}
        self._recent: OrderedDict[str, None] = OrderedDict()
        self._ciphers: OrderedDict[tuple[str, str, str], AESGCM] = OrderedDict()
        self._held: OrderedDict[bytes, bytes] = OrderedDict()
        self._held_bytes = 0

    # Closing

    def close(self, group: Group, store: Store) -> Group:
        """Return a group of which everything that a user gave is encrypted."""
        # A value that travels with one thread, or with none, may be named by another that has another key.
        known = {blob.digest: blob for blob in group.blobs}
        for frame in group.frames:
            known |= {blob.digest: blob for blob in frame.blobs}
        for snapshot in group.snapshots:
            known |= {blob.digest: blob for blob in snapshot.blobs}
        frames = tuple([self._close_frame(frame, known, store) for frame in group.frames])
        snapshots = tuple([self._close_snapshot(snapshot, known, store) for snapshot in group.snapshots])
        newest = self.ring.newest
        blobs = tuple([self._close_blob(newest, blob) for blob in group.blobs])
        return Group(frames, snapshots, blobs)

    def seal(self, key: str, data: bytes, what: tuple[Any, ...], digests: Iterable[bytes] = ()) -> bytes:
        """Encrypt data with a key.

        Args:
            key: The key's id.
            data: The data.
            what: What it is: the array of ``wal.envelope``.
            digests: Those of the large values that it names.

        Raises:
            KeyMissing: The ring has no such key.
        """
        if key not in self._checks:
            raise missing(key, what)
        names = tuple(sorted([self.name(key, digest) for digest in digests]))
        opened = begin(key, self._checks[key], names)
        nonce = os.urandom(NONCE_BYTES)
        cipher = self._cipher(key, what)
        return b"".join([opened, nonce, cipher.encrypt(nonce, data, opened + msgpack.packb(what))])

    def seal_for(self, thread: str, data: bytes, what: tuple[Any, ...]) -> bytes:
        """Encrypt what belongs to a thread, and names no large values."""
        return self.seal(self.key_of(thread), data, what)

    def check(self, thread: str) -> None:
        """See that a thread can be written.

        Raises:
            KeyMissing: The ring has no key for it.
        """
        key = self.key_of(thread)
        if key not in self._checks:
            raise missing(key, ("frame", thread))

    def _close_frame(self, frame: Frame, known: dict[bytes, Blob], store: Store) -> Frame:
        key = self.key_of(frame.thread)
        digests = references(frame.body)
        what = ("frame", frame.thread, frame.after, frame.last)
        body = self.seal(key, frame.body, what, digests)
        return frame._replace(body=body, blobs=self._close_blobs(key, known, digests, store))

    def _close_snapshot(self, snapshot: Snapshot, known: dict[bytes, Blob], store: Store) -> Snapshot:
        key = self.key_of(snapshot.thread)
        digests = references(snapshot.data)
        data = self.seal(key, snapshot.data, ("snapshot", snapshot.thread, snapshot.seq), digests)
        return snapshot._replace(data=data, blobs=self._close_blobs(key, known, digests, store))

    def _close_blobs(
        self, key: str, known: dict[bytes, Blob], named: set[bytes], store: Store
    ) -> tuple[Blob, ...]:
        """Seal the large values that are named, directly or by others, and do not lie under that key so far.

        Args:
            key: The key's id.
            known: Those that are at hand, by their digests.
            named: The digests of those that are named.
            store: Where the others lie, under whatever key.
        """
        closed: dict[bytes, Blob] = {}
        waiting = set(named)
        while waiting:
            digest = waiting.pop()
            blob = known.get(digest)
            if digest in closed or (blob is None and store.blob(self.name(key, digest)) is not None):
                continue
            data = self.blob(store, digest) if blob is None else blob.data
            # One that is nowhere is missed by whoever reads it, as in a log without keys.
            if data is not None:
                closed[digest] = self._close_blob(key, Blob(digest, data))
                waiting |= references(data)
        return tuple(closed.values())

    def _close_blob(self, key: str, blob: Blob) -> Blob:
        name = self.name(key, blob.digest)
        with self._lock:
            held = self._held.get(name)
            if held is not None:
                self._held.move_to_end(name)
                return Blob(name, held)
        data = with_checksum(name, self.seal(key, blob.data, ("blob", name), references(blob.data)))
        with self._lock:
            if name not in self._held and len(data) <= _HELD_BYTES:
                self._held[name] = data
                self._held_bytes += len(data)
            while self._held_bytes > _HELD_BYTES:
                self._held_bytes -= len(self._held.popitem(last=False)[1])
        return Blob(name, data)

    def moved(self, source: str, target: str, store: Store) -> Mover:
        """Return what encrypts a thread's frames and snapshots for the thread that they are copied to.

        Its large values are written again, at once, if the copy has another key.
        """

        def move(data: bytes, where: tuple[int, ...]) -> bytes:
            kind = "frame" if len(where) > 1 else "snapshot"
            plain = self.open(data, (kind, source, *where))
            if is_sealed(plain):
                raise missing(parse(plain).key, (kind, source, *where))
            return self.seal(self.key_of(target), plain, (kind, target, *where), references(plain))

        if self.key_of(source) != self.key_of(target):
            self._copy_blobs(source, self.key_of(target), store)
        return move

    def _copy_blobs(self, thread: str, key: str, store: Store) -> None:
        """Write the large values that a thread names under another key."""
        for header, body in store.frames(thread):
            plain = self.open(body, ("frame", thread, header.after, header.last))
            named = set() if is_sealed(plain) else references(plain)
            if named:
                store.commit(Group(blobs=self._close_blobs(key, {}, named, store)))
        for seq in store.snapshots(thread):
            found = store.snapshot(thread, seq)
            plain = b"" if found is None else self.open(found[1], ("snapshot", thread, seq))
            named = set() if is_sealed(plain) else references(plain)
            if named:
                store.commit(Group(blobs=self._close_blobs(key, {}, named, store)))

    # Opening

    def open(self, data: bytes, what: tuple[Any, ...]) -> bytes:
        """Decrypt data; what is not encrypted, or has no key here, comes back as it is.

        Raises:
            WrongKey: The key of that id is not the one which wrote.
            Tampered: The data was changed, or belongs elsewhere.
            LogCorrupt: It is no encrypted data that this walgraph knows.
        """
        if not is_sealed(data):
            return data
        envelope = parse(data)
        key = envelope.key
        if key not in self._checks:
            return data
        if not hmac.compare_digest(envelope.check, self._checks[key]):
            message = f"The key {key!r} is not the one that {_words(what)} was written with."
            raise WrongKey(message, hint="Open the log with the right key under that id.", key=key)
        if next(reversed(self._recent), None) != key:
            with self._lock:
                self._recent[key] = None
                self._recent.move_to_end(key)
        try:
            return self._cipher(key, what).decrypt(
                envelope.nonce, envelope.sealed, envelope.open + msgpack.packb(what)
            )
        except self._bad_tag:
            message = (
                f"What lies in the place of {_words(what)} was changed, or was written for another place."
            )
            raise Tampered(message, hint="Run `wal verify`; restore from a backup.", key=key) from None

    def blob(self, store: Store, digest: bytes) -> bytes | None:
        """Return a large value by the digest of its bytes, whatever key it lies under; None if there is none."""
        recent = list(reversed(self._recent))
        for key in [*recent, *[name for name in self.ring.names() if name not in self._recent]]:
            name = self.name(key, digest)
            data = store.blob(name)
            if data is not None:
                return self.open(without_checksum(name, data), ("blob", name))
        return store.blob(digest)

    def open_blob(self, name: bytes, data: bytes) -> bytes:
        """Return a large value by the name under which it lies; one that has no key here stays closed.

        Raises:
            LogCorrupt: It is damaged.
        """
        return self.open(without_checksum(name, data), ("blob", name)) if is_sealed(data) else data

    # Keys

    def key_of(self, thread: str) -> str:
        """Return the id of the key that a thread is written with."""
        if self.ring.follows:
            key = newest_key(self._store, thread)
            if key is not None:
                return key
        return self.ring.of_thread(thread)

    def name(self, key: str, digest: bytes) -> bytes:
        """Return the name under which a large value lies."""
        name_key = self._name_keys.get(key)
        if name_key is None:
            name_key = self._name_keys[key] = self._derive(key, b"name")
        return hmac.digest(name_key, digest, hashlib.sha256)[:NAME_BYTES]

    def _cipher(self, key: str, what: tuple[Any, ...]) -> AESGCM:
        kind = what[0]
        scope = what[1] if kind in {"frame", "snapshot", "signal", "run"} else ""
        place = (key, kind, scope)
        with self._lock:
            cipher = self._ciphers.get(place)
            if cipher is not None:
                self._ciphers.move_to_end(place)
                return cipher
        label = kind.encode() + (b"\x00" + scope.encode() if scope else b"")
        cipher = self._cipher_class(self._derive(key, label))
        with self._lock:
            self._ciphers[place] = cipher
            if len(self._ciphers) > _CIPHERS:
                self._ciphers.popitem(last=False)
        return cipher

    def _derive(self, key: str, label: bytes) -> bytes:
        secret = self.ring.get(key)
        assert secret is not None, "only keys of the ring are derived from"
        return hmac.digest(secret, b"walgraph " + label, hashlib.sha256)


def newest_key(store: Store, thread: str) -> str | None:
    """Return the id of the key that a thread was written with last, or None if that was not encrypted."""
    row = store.row(thread)
    if row is None:
        return None
    # Where all that it had was cut off, a snapshot stands for it.
    found = next(store.frames(thread, row.seq - 1)) if row.frames else store.snapshot(thread)
    data = b"" if found is None else found[1]
    return parse(data).key if is_sealed(data) else None


def missing(key: str, what: tuple[Any, ...] = ()) -> KeyMissing:
    """Return the error for what was written with a key that is not here."""
    subject = _words(what) if what else "what was to be read"
    message = f"There is no key {key!r} here, with which {subject} is written."
    hint = (
        "Open the log with keys=KeyRing({...}), or call wal with --keys FILE. "
        "If the key was forgotten on purpose, the data is gone for good."
    )
    return KeyMissing(message, hint=hint, key=key, thread=what[1] if what[:1] and len(what) > 1 else "")


def _words(what: tuple[Any, ...]) -> str:
    match what:
        case ("frame", thread, after, last):
            return f"the frame of thread {thread!r} after seq {after}, up to {last},"
        case ("frame", thread):
            return f"thread {thread!r}"
        case ("snapshot", thread, seq):
            return f"the snapshot of thread {thread!r} at seq {seq}"
        case ("blob", name):
            return f"the large value {name.hex()}"
        case ("signal", thread, name, *_):
            return f"the signal {name!r} to thread {thread!r}"
        case ("run", thread, run, *_):
            return f"run {run!r} of thread {thread!r}"
        case ("schedule", name, *_):
            return f"schedule {name!r}"
        case ("item", shelf, labels, key, *_):
            return f"the item {key!r} of {tuple(labels)!r} in the {shelf}"
        case _:
            return "this"
