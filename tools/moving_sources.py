"""The tables of LangGraph's savers, read: SqliteSaver's, PostgresSaver's, and those of any other through its methods.

    sqlite:PATH               the whole state lies in each row; it is taken apart without being decoded
    postgres:DSN              values lie in a table of their own, by channel and version; small ones in the row
    langgraph:MODULE:NAME     a saver object, asked through LangGraph's interface; its values are decoded and made anew

Invariants:
1. Nothing is changed in the source.
2. Checkpoints come oldest first, by their ids, as LangGraph orders them.

This module must not know what is done with what it reads.
"""

from __future__ import annotations

import importlib
import json
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgpack

from ..engine.errors import NotAvailable
from .errors import SourceLocked, SourceNotFound
from .moving import Foreign, ForeignWrite, Source
from .saved_draft import Incoming, Typed

_PLAIN = ("v", "id", "ts", "channel_versions", "versions_seen", "updated_channels")
_TASKS = "__pregel_tasks"


def source_of(text: str) -> Source | None:
    """Return the source that ``--from`` names; None if it names none of these.

    Raises:
        SourceNotFound: There is nothing of that kind.
        NotAvailable: What reads it is not installed.
    """
    scheme, _, rest = text.partition(":")
    if scheme == "sqlite" and rest:
        return SqliteSource(rest)
    if scheme == "langgraph" and ":" in rest:
        return SaverSource(_object(rest))
    if scheme in {"postgres", "postgresql"} and rest:
        return PostgresSource(text if rest.startswith("//") else rest)
    return None


class Serialised:
    """Values that lie in a serialised state, taken apart; decoded only if their format is not msgpack."""

    def __init__(self) -> None:
        self._serde: Any = None

    def state(self, kind: str, data: bytes) -> tuple[dict[str, Any], dict[str, Typed], Typed | None]:
        """Return the plain fields of a serialised checkpoint, its values, and what else is in it.

        Raises:
            SourceLocked: It is encrypted, and the key is not at hand.
        """
        if kind == "msgpack":
            fields = _split(data)
            plain = {key: _unpacked(fields.pop(key)) for key in _PLAIN if key in fields}
            values = _split(fields.pop("channel_values", b"\x80"))
            typed = {channel: Typed("msgpack", value) for channel, value in values.items()}
            return plain, typed, Typed("msgpack", _joined(fields)) if fields else None
        inner, _, cipher = kind.partition("+")
        if not cipher:
            serde = self._plain()
            whole = dict(serde.loads_typed((kind, data)))
            plain = {key: whole.pop(key) for key in _PLAIN if key in whole}
            typed = {
                key: _typed(serde.dumps_typed(value)) for key, value in whole.pop("channel_values").items()
            }
            return plain, typed, _typed(serde.dumps_typed(whole)) if whole else None
        # Taken apart, each value is locked again on its own: nothing of it lies open in the log.
        lock = self._aes(kind).cipher.encrypt
        plain, typed, rest = self.state(inner, self.opened(Typed(kind, data)).data)
        locked = {channel: _locked(lock, value) for channel, value in typed.items()}
        return plain, locked, None if rest is None else _locked(lock, rest)

    def opened(self, value: Typed) -> Typed:
        """Return a value without its cipher."""
        return _opened(value, None if "+" not in value.type else self._aes(value.type))

    def _plain(self) -> Any:
        if self._serde is None:
            try:
                from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
            except ImportError as error:
                raise _needs("Values that are not in msgpack", "walgraph[langgraph]", error) from error
            self._serde = JsonPlusSerializer()
        return self._serde

    def _aes(self, kind: str) -> Any:
        """Return LangGraph's own encrypting serialiser, whose key is LANGGRAPH_AES_KEY."""
        if not kind.endswith("+aes"):
            raise _locked_source(f"{kind!r} is not a cipher of LangGraph's own")
        if self._serde is None:
            try:
                from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

                self._serde = EncryptedSerializer.from_pycryptodome_aes()
            except ImportError as error:
                raise _needs("An encrypted source", "walgraph[langgraph] pycryptodome", error) from error
            except ValueError as error:
                raise _locked_source(str(error)) from error
        return self._serde


def _opened(value: Typed, serde: Any) -> Typed:
    """Return a value without the cipher that an encrypting serialiser put around it."""
    inner, _, cipher = value.type.partition("+")
    if not cipher:
        return value
    try:
        return Typed(inner, bytes(serde.cipher.decrypt(cipher, value.data)))
    except Exception as error:
        # Ciphers are anybody's, and so is what they raise.
        raise _locked_source(f"{type(error).__name__}: {error}") from error


def _locked(lock: Any, value: Typed) -> Typed:
    cipher, data = lock(value.data)
    return Typed(f"{value.type}+{cipher}", bytes(data))


def _locked_source(why: str) -> SourceLocked:
    message = (
        f"The source is encrypted and cannot be read: {why}. Nothing that could not be read was imported."
    )
    hint = (
        "Set LANGGRAPH_AES_KEY to the key that it was written with; for a cipher of your own, write "
        "--from langgraph:MODULE:NAME with the saver that uses it."
    )
    return SourceLocked(message, hint=hint)


class DatabaseSource:
    """The tables that the savers for databases share."""

    _connection: Any
    _serialised: Serialised
    _mark: str
    """What stands for an argument in a query."""

    def _rows(self, query: str, *arguments: Any) -> list[Any]:
        return list(self._connection.execute(query, arguments).fetchall())

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()

    def opened(self, value: Typed) -> Typed:
        """Return a value without its cipher."""
        return self._serialised.opened(value)

    def count(self) -> int:
        """Return how many checkpoints there are."""
        return int(self._rows("SELECT count(*) FROM checkpoints")[0][0])

    def threads(self) -> Sequence[str]:
        """Return the ids of the threads."""
        query = "SELECT thread_id FROM checkpoints GROUP BY thread_id ORDER BY min(checkpoint_id)"
        return [thread for (thread,) in self._rows(query)]

    def ids(self, thread: str) -> set[tuple[str, str]]:
        """Return namespace and id of each checkpoint of a thread."""
        query = f"SELECT checkpoint_ns, checkpoint_id FROM checkpoints WHERE thread_id = {self._mark}"  # noqa: S608 - a constant
        return set(self._rows(query, thread))


class SqliteSource(DatabaseSource):
    """A database of SqliteSaver or AsyncSqliteSaver."""

    _mark = "?"

    def __init__(self, path: str) -> None:
        if not Path(path).is_file():
            raise SourceNotFound(f"There is no file {path}.", hint="Check the path after sqlite:.", path=path)
        self._connection = sqlite3.connect(f"{Path(path).absolute().as_uri()}?mode=ro", uri=True)
        self._serialised = Serialised()
        try:
            columns = self._rows("SELECT name FROM pragma_table_info('writes')")
            self._rows("SELECT 1 FROM checkpoints LIMIT 1")
        except sqlite3.DatabaseError as error:
            message = f"{path} holds no checkpoints of SqliteSaver: {error}."
            raise SourceNotFound(message, hint="Check the path after sqlite:.", path=path) from error
        # Databases from before this column existed have none.
        self._path = "task_path" if ("task_path",) in columns else "''"

    def checkpoints(self, thread: str) -> Iterator[Foreign]:
        """Yield a thread's checkpoints, oldest first."""
        query = (
            "SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata "
            "FROM checkpoints WHERE thread_id = ? ORDER BY checkpoint_id, checkpoint_ns"
        )
        for ns, own, parent, kind, data, metadata in self._connection.execute(query, (thread,)):
            plain, values, rest = self._serialised.state(kind, bytes(data))
            noted = json.loads(metadata) if metadata else {}
            yield Foreign(
                _incoming((ns, own, parent), plain, values, noted, rest), self._writes(thread, ns, own)
            )

    def _writes(self, thread: str, ns: str, own: str) -> tuple[ForeignWrite, ...]:
        query = (
            f"SELECT task_id, {self._path}, idx, channel, type, value FROM writes "  # noqa: S608 - a constant.
            "WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ? ORDER BY task_id, idx"
        )
        rows = self._connection.execute(query, (thread, ns, own))
        return tuple([_write(row) for row in rows])


class PostgresSource(DatabaseSource):
    """A database of PostgresSaver or AsyncPostgresSaver."""

    _mark = "%s"

    def __init__(self, dsn: str) -> None:
        try:
            import psycopg
        except ImportError as error:
            raise _needs("Reading a Postgres database", "psycopg[binary]", error) from error
        self._serialised = Serialised()
        try:
            self._connection = psycopg.connect(dsn, autocommit=True)
            self._connection.read_only = True
            self.count()
        except psycopg.Error as error:
            message = f"There are no checkpoints of PostgresSaver: {str(error).strip()}"
            raise SourceNotFound(message, hint="Check the address after postgres:.") from error

    def checkpoints(self, thread: str) -> Iterator[Foreign]:
        """Yield a thread's checkpoints, oldest first."""
        query = (
            "SELECT checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint, metadata "
            "FROM checkpoints WHERE thread_id = %s ORDER BY checkpoint_id, checkpoint_ns"
        )
        for ns, own, parent, state, metadata in self._rows(query, thread):
            plain = {key: state.pop(key) for key in _PLAIN if key in state}
            values = {
                channel: Typed("msgpack", msgpack.packb(value))
                for channel, value in (state.pop("channel_values", None) or {}).items()
            }
            values |= self._blobs(thread, ns, plain["channel_versions"])
            if plain["v"] < 4 and parent is not None:
                self._bring_sends(thread, ns, parent, plain, values)
            rest = Typed("msgpack", msgpack.packb(state)) if state else None
            yield Foreign(
                _incoming((ns, own, parent), plain, values, metadata or {}, rest),
                self._writes(thread, ns, own),
            )

    def _blobs(self, thread: str, ns: str, versions: Mapping[str, Any]) -> dict[str, Typed]:
        query = (
            "SELECT b.channel, b.type, b.blob FROM unnest(%s::text[], %s::text[]) AS wanted(channel, version) "
            "JOIN checkpoint_blobs b ON b.channel = wanted.channel AND b.version = wanted.version "
            "WHERE b.thread_id = %s AND b.checkpoint_ns = %s AND b.type <> 'empty'"
        )
        wanted = [*versions], [str(version) for version in versions.values()]
        rows = self._rows(query, *wanted, thread, ns)
        return {channel: Typed(kind, bytes(data or b"")) for channel, kind, data in rows}

    def _bring_sends(
        self, thread: str, ns: str, parent: str, plain: dict[str, Any], values: dict[str, Typed]
    ) -> None:
        """Put what was sent where later versions of LangGraph look for it: states of before kept it with the writes."""
        query = (
            "SELECT blob FROM checkpoint_writes WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = %s "
            "AND channel = %s AND type = 'msgpack' ORDER BY task_path, task_id, idx"
        )
        sends = [bytes(data) for (data,) in self._rows(query, thread, ns, parent, _TASKS)]
        if sends:
            header = msgpack.Packer().pack_array_header(len(sends))
            values[_TASKS] = Typed("msgpack", b"".join([header, *sends]))
            plain["channel_versions"][_TASKS] = max(plain["channel_versions"].values(), default=f"{1:032}")

    def _writes(self, thread: str, ns: str, own: str) -> tuple[ForeignWrite, ...]:
        query = (
            "SELECT task_id, task_path, idx, channel, type, blob FROM checkpoint_writes "
            "WHERE thread_id = %s AND checkpoint_ns = %s AND checkpoint_id = %s ORDER BY task_id, idx"
        )
        rows = self._rows(query, thread, ns, own)
        return tuple([_write(row) for row in rows])


class SaverSource:
    """Any checkpointer of LangGraph's, through its own methods, which do not tell the paths of tasks."""

    def __init__(self, saver: Any) -> None:
        from langgraph.checkpoint.base import WRITES_IDX_MAP

        self._saver = saver
        self._special = WRITES_IDX_MAP
        self._configs: dict[str, list[Any]] = {}
        for found in saver.list(None):
            conf = found.config["configurable"]
            self._configs.setdefault(str(conf["thread_id"]), []).append(found.config)
        for configs in self._configs.values():
            configs.sort(key=lambda config: (config["configurable"]["checkpoint_id"], _ns(config)))

    def close(self) -> None:
        """Do nothing: the saver is its owner's."""

    def opened(self, value: Typed) -> Typed:
        """Return a value without its cipher."""
        return _opened(value, self._saver.serde)

    def count(self) -> int:
        """Return how many checkpoints there are."""
        return sum(map(len, self._configs.values()))

    def threads(self) -> Sequence[str]:
        """Return the ids of the threads."""
        return [*self._configs]

    def ids(self, thread: str) -> set[tuple[str, str]]:
        """Return namespace and id of each checkpoint of a thread."""
        return {(_ns(config), config["configurable"]["checkpoint_id"]) for config in self._configs[thread]}

    def checkpoints(self, thread: str) -> Iterator[Foreign]:
        """Yield a thread's checkpoints, oldest first."""
        dumps = self._saver.serde.dumps_typed
        for config in self._configs[thread]:
            found = self._saver.get_tuple(config)
            if found is None:
                continue
            state = dict(found.checkpoint)
            plain = {key: state.pop(key) for key in _PLAIN if key in state}
            values = {key: _typed(dumps(value)) for key, value in state.pop("channel_values").items()}
            rest = _typed(dumps(state)) if state else None
            parent = found.parent_config and found.parent_config["configurable"]["checkpoint_id"]
            place = (_ns(config), plain["id"], parent)
            metadata = dict(found.metadata)
            yield Foreign(_incoming(place, plain, values, metadata, rest), self._writes(found, dumps))

    def _writes(self, found: Any, dumps: Any) -> tuple[ForeignWrite, ...]:
        counted: dict[str, int] = {}
        writes = []
        for task, channel, value in found.pending_writes or ():
            index = self._special.get(channel)
            if index is None:
                index = counted[task] = counted.get(task, -1) + 1
            writes.append(ForeignWrite(task, "", index, channel, _typed(dumps(value))))
        return tuple(writes)


def _ns(config: Any) -> str:
    ns: str = config["configurable"].get("checkpoint_ns", "")
    return ns


def _incoming(
    place: tuple[str, str, str | None],
    plain: dict[str, Any],
    values: Mapping[str, Typed],
    metadata: dict[str, Any],
    rest: Typed | None,
) -> Incoming:
    ns, own, parent = place
    return Incoming(
        ns,
        own,
        parent or None,
        plain["v"],
        plain["ts"],
        plain["channel_versions"],
        plain["versions_seen"],
        plain.get("updated_channels", False),
        values,
        metadata,
        rest,
    )


def _write(row: Sequence[Any]) -> ForeignWrite:
    task, path, position, channel, kind, data = row
    return ForeignWrite(task, path, position, channel, Typed(kind or "", bytes(data or b"")))


def _typed(pair: tuple[str, Any]) -> Typed:
    return Typed(pair[0], bytes(pair[1]))


def _split(data: bytes) -> dict[str, bytes]:
    """Return the encoded values of an encoded map, by their keys, without decoding them."""
    unpacker = msgpack.Unpacker(raw=False, strict_map_key=False, max_buffer_size=max(len(data), 1))
    unpacker.feed(data)
    found: dict[str, bytes] = {}
    for _ in range(unpacker.read_map_header()):
        key = unpacker.unpack()
        start = unpacker.tell()
        unpacker.skip()
        found[key] = data[start : unpacker.tell()]
    return found


def _joined(fields: Mapping[str, bytes]) -> bytes:
    """Return the encoded map of encoded values."""
    parts = [msgpack.Packer().pack_map_header(len(fields))]
    for key, value in fields.items():
        parts += (msgpack.packb(key), value)
    return b"".join(parts)


def _unpacked(data: bytes) -> Any:
    return msgpack.unpackb(data, strict_map_key=False)


def _object(text: str) -> Any:
    module, _, name = text.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        message = f"There is no saver {name!r} in a module {module!r}: {error}."
        raise SourceNotFound(
            message, hint="Write langgraph:MODULE:NAME, and be where the module is."
        ) from error


def _needs(what: str, package: str, error: ImportError) -> NotAvailable:
    message = f"{what} needs what cannot be imported: {error}."
    return NotAvailable(message, hint=f"pip install '{package}'")
