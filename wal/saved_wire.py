"""Records of LangGraph's threads as msgpack arrays, and back.

    [31, "", "1f0c…", "8b2e…", "~__pregel_pull, node", [[0, "messages", ["msgpack", <bytes>]]]]
     │   │    │        │        │                         │   │           │
     │   │    │        task     path                      │   channel     a payload: its tag, then its pieces
     │   │    checkpoint                                  index
     │   namespace
     kind number (``saved_record.SAVED_KINDS``)

Invariants:
1. ``read(write(record)) == record`` for every record whose fields have the declared types.
2. A record written before a trailing field existed is read with that field's default.

This module must not know how metadata is encoded, nor what payloads hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .record import Reference
from .saved_record import CheckpointPut, CheckpointsDropped, Copied, Kept, Payload, WritesPut

_DIGITS = 32
_PLAIN = frozenset({type(None), bool, int, float, str})
"""Classes of metadata that the encoder need not look into; which is all of it, mostly."""

# ── writing ──


def _version(version: Any) -> Any:
    if type(version) is str and len(version) == _DIGITS and version.isascii() and version.isdecimal():
        number = int(version)
        # A number that msgpack cannot hold stays text.
        return [number] if number < 1 << 64 else version
    return version


def _versions(versions: Any) -> list[Any]:
    return [[name, _version(version)] for name, version in versions]


def write_kept(kept: Kept | None) -> Any:
    """Return a payload, the number of one, or nothing, as plain data."""
    if type(kept) is Payload:
        return [kept.type, *[[*piece] if type(piece) is Copied else piece for piece in kept.pieces]]
    return kept


def _checkpoint_put(record: Any, values: list[Any]) -> list[Any]:
    ns, own, parent, base, v, ts, versions, seen, updated, kept, metadata, rest = record
    if not all(value.__class__ in _PLAIN or value == {} for value in metadata.values()):
        values.append(metadata)
    array = [
        30,
        ns,
        own,
        parent,
        True if base is not None and base == parent else base,
        v,
        ts,
        _versions(versions),
        [[node, _versions(pairs)] for node, pairs in seen],
        [*updated] if type(updated) is tuple else updated,
        [[channel, write_kept(value)] for channel, value in kept],
        metadata,
    ]
    return array if rest is None else [*array, write_kept(rest)]


def _writes_put(record: Any, _values: list[Any]) -> list[Any]:
    ns, checkpoint, task, path, writes = record
    return [
        31,
        ns,
        checkpoint,
        task,
        path,
        [[index, channel, write_kept(kept)] for index, channel, kept in writes],
    ]


def _checkpoints_dropped(record: Any, _values: list[Any]) -> list[Any]:
    return [32, record.ns, [*record.ids]]


SAVED_TO_WIRE: dict[type, Callable[[Any, list[Any]], list[Any]]] = {
    CheckpointPut: _checkpoint_put,
    WritesPut: _writes_put,
    CheckpointsDropped: _checkpoints_dropped,
}
"""Record class → what makes its array, and collects the user values in it."""

# ── reading ──


def _read_versions(pairs: list[Any]) -> tuple[Any, ...]:
    return tuple(
        [(name, f"{version[0]:032}" if type(version) is list else version) for name, version in pairs]
    )


def read_kept(kept: Any) -> Kept | None:
    """Return what ``write_kept`` wrote."""
    if type(kept) is list:
        pieces: list[Any] = [Copied(*piece) if type(piece) is list else piece for piece in kept[1:]]
        if not all(type(piece) in (bytes, Reference, Copied) for piece in pieces):
            raise ValueError("a payload consists of bytes, of addresses and of stretches of earlier payloads")
        return Payload(kept[0], tuple(pieces))
    if kept is not None and type(kept) is not int:
        raise ValueError(f"a payload cannot be a {type(kept).__name__}")
    return kept


def _read_checkpoint_put(
    ns: str,
    id: str,
    parent: str | None,
    base: Any,
    *rest: Any,
) -> CheckpointPut:
    v, ts, versions, seen, updated, kept, metadata, *more = rest
    return CheckpointPut(
        ns,
        id,
        parent,
        parent if base is True else base,
        v,
        ts,
        _read_versions(versions),
        tuple([(node, _read_versions(pairs)) for node, pairs in seen]),
        tuple(updated) if type(updated) is list else updated,
        tuple([(channel, read_kept(value)) for channel, value in kept]),
        metadata,
        *[read_kept(value) for value in more],
    )


def _read_writes_put(ns: str, checkpoint: str, task: str, path: str, writes: list[Any]) -> WritesPut:
    kept = [(index, channel, _some(read_kept(value))) for index, channel, value in writes]
    return WritesPut(ns, checkpoint, task, path, tuple(kept))


def _some(kept: Kept | None) -> Kept:
    if kept is None:
        raise ValueError("a write has a payload")
    return kept


def _read_checkpoints_dropped(ns: str, ids: list[str]) -> CheckpointsDropped:
    return CheckpointsDropped(ns, tuple(ids))


SAVED_FROM_WIRE: dict[int, Callable[..., Any]] = {
    30: _read_checkpoint_put,
    31: _read_writes_put,
    32: _read_checkpoints_dropped,
}
"""Kind number → what rebuilds the record from the rest of its array."""
