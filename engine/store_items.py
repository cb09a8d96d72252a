"""A store over items, in memory or in a log: one implementation of what LangGraph's stores do.

    batch(ops) ──► looked over, values encoded ──► texts embedded ──► one view: reads ──► one commit: touches, puts
                        (nothing was read or           (user code)
                         changed if this fails)

Invariants:
1. The puts of one batch become visible together, or not at all; of two for one key the later stands.
2. What comes back is decoded anew each time: nobody who changes it changes what the store keeps.
3. No user code runs while a transaction is open, but for what ``register_type`` was given.
4. Reading an item with a time to live begins that time anew, at most a hundredth of it late.

It must not know how items are kept.
"""

from __future__ import annotations

import asyncio
import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

import msgpack

from ..wal.codec import GLOBAL, Decoder, Encoder
from ..wal.head import moment
from ..wal.items import Change, Delete, Items, ItemView, Put, Touch
from ..wal.items import Item as Kept
from .embedding import Embedder, cosine, ranked
from .store import (
    BaseStore,
    GetOp,
    IndexConfig,
    Item,
    ListNamespacesOp,
    Op,
    PutOp,
    SearchItem,
    SearchOp,
    TTLConfig,
    checked_labels,
)
from .store_query import check_conditions, check_filter, check_page, holds, select_namespaces
from .store_text import WHOLE, get_text_at_path, tokenize_path

if TYPE_CHECKING:
    from concurrent.futures import Future

    from .store_sweeper import Sweeper

_ENCODER, _DECODER = Encoder(), Decoder(GLOBAL)
_MINUTE = 60_000_000_000
_LONGEST = 1 << 62
"""Nanoseconds that an item lives at most, about 146 years."""


class ItemStore(BaseStore):
    """What ``InMemoryStore`` and ``LogStore`` share.

    Args:
        index: How items are made findable by what they mean; not at all if None.
        ttl: How long items live unless a call says otherwise; for ever if None.
    """

    supports_ttl = True
    _waits_for_disk = False

    def __init__(self, *, index: IndexConfig | None = None, ttl: TTLConfig | None = None) -> None:
        self.index_config = index
        self.ttl_config = ttl
        self.embedder = None if index is None else Embedder(index.get("embed"))
        self.fields = [] if index is None else list(index.get("fields") or [WHOLE])
        self.omits_expired = ttl.get("omit_expired", True) if ttl else True
        self._sweeper: Sweeper | None = None

    @abstractmethod
    def items(self, *, write: bool) -> Items:
        """Return where the items are.

        Raises:
            LogReadOnly: They are to be changed, and must not be.
        """

    @property
    def is_readonly(self) -> bool:
        """Whether nothing can be changed, so that no item's time begins anew when it is read."""
        return False

    def batch(self, ops: Iterable[Op]) -> list[Any]:
        """Carry out operations; return one result for each, in order.

        Raises:
            InvalidNamespaceError: One names a namespace that cannot be.
            ValueError: A filter, a limit or a time to live cannot be meant.
            NotSerializable: A value would not come back the same.
            LogCorrupt: An item that is read is damaged.
        """
        work = _Batch(self, ops)
        vectors = queries = None
        if self.embedder is not None:
            vectors, queries = self.embedder.documents(work.texts), self.embedder.queries(work.queries)
        return work.carry_out(vectors, queries)

    async def abatch(self, ops: Iterable[Op]) -> list[Any]:
        """Carry out operations without blocking the event loop; see ``batch``."""
        work = _Batch(self, ops)
        vectors = queries = None
        if self.embedder is not None:
            vectors = await self.embedder.adocuments(work.texts)
            queries = await self.embedder.aqueries(work.queries)
        if self._waits_for_disk:
            return await asyncio.to_thread(work.carry_out, vectors, queries)
        return work.carry_out(vectors, queries)

    def sweep_ttl(self) -> int:
        """Remove the items whose time is over; return how many."""
        return self.items(write=True).sweep()

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> Future[None]:
        """Sweep now and then in a thread, until ``stop_ttl_sweeper`` or the end of the process.

        Args:
            sweep_interval_minutes: Minutes between two sweeps; as the store was configured if None, else 5.

        Returns:
            A future that is done when the sweeper has stopped, with the error that stopped it if there was one.
        """
        from .store_sweeper import Sweeper

        if self._sweeper is None or self._sweeper.future.done():
            configured = self.ttl_config.get("sweep_interval_minutes") if self.ttl_config else None
            self._sweeper = Sweeper(self.sweep_ttl, sweep_interval_minutes or configured or 5)
        return self._sweeper.future

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Stop sweeping, and wait for a sweep that is under way.

        Args:
            timeout: Seconds to wait at most; None for as long as it takes.

        Returns:
            Whether nothing sweeps any more.
        """
        return self._sweeper is None or self._sweeper.stop(timeout)


class _Placed(NamedTuple):
    """A put, ready to be carried out, and the texts by which it is to be found."""

    put: PutOp
    value: bytes
    ttl: int
    texts: list[tuple[str, str]]


class _Batch:
    """The operations of one call, looked over."""

    def __init__(self, store: ItemStore, ops: Iterable[Op]) -> None:
        self._store = store
        self._ops = list(ops)
        self._puts: dict[tuple[tuple[str, ...], str], _Placed | None] = {}
        texts: dict[str, None] = {}
        queries: dict[str, None] = {}
        for op in self._ops:
            self._look_over(op)
            if isinstance(op, SearchOp) and op.query:
                queries[op.query] = None
        for placed in self._puts.values():
            texts.update({text: None for _, text in placed.texts} if placed is not None else {})
        self.texts = list(texts)
        self.queries = list(queries)

    def _look_over(self, op: Op) -> None:
        """Refuse what cannot be meant, and encode what is put."""
        if isinstance(op, PutOp):
            place = checked_labels(op.namespace), str(op.key)
            self._puts[place] = None if op.value is None else self._place(op)
        elif isinstance(op, GetOp):
            checked_labels(op.namespace)
        elif isinstance(op, SearchOp):
            checked_labels(op.namespace_prefix)
            check_filter(op.filter or {})
            check_page(op.limit, op.offset)
        elif isinstance(op, ListNamespacesOp):
            check_conditions(op.match_conditions or ())
            check_page(op.limit, op.offset)
        else:
            message = f"Unknown operation type: {type(op)}"
            raise ValueError(message)  # noqa: TRY004 - LangGraph's class

    def _place(self, op: PutOp) -> _Placed:
        if not isinstance(op.value, Mapping):
            message = f"A store keeps mappings; the value for {op.key!r} is a {type(op.value).__name__}."
            raise TypeError(message)
        value = dict(op.value)
        data = _ENCODER.value(value, whole=True).data
        return _Placed(op, data, _as_nanoseconds(op.ttl), self._texts_of(op, value))

    def _texts_of(self, op: PutOp, value: dict[str, Any]) -> list[tuple[str, str]]:
        """Return path and text of all that an item is to be found by."""
        if self._store.embedder is None or op.index is False:
            return []
        if op.index is not None and not isinstance(op.index, list | tuple):
            message = f"index must be None, False or a list of fields, not {op.index!r}."
            raise TypeError(message)
        found = []
        for path in self._store.fields if op.index is None else op.index:
            texts = get_text_at_path(value, path if path == WHOLE else tokenize_path(path))
            found += [(path, text) for text in texts]
        return found

    def carry_out(self, vectors: list[bytes] | None, queries: list[bytes] | None) -> list[Any]:
        """Read, then change; return one result for each operation."""
        store = self._store
        asked = dict(zip(self.queries, queries or (), strict=queries is not None))
        touched: dict[tuple[tuple[str, ...], str], Change] = {}
        results: list[Any] = [None] * len(self._ops)
        if any(not isinstance(op, PutOp) for op in self._ops):
            with store.items(write=False).view() as view:
                reading = _Reading(store, view, asked, touched)
                results = [reading.result(op) for op in self._ops]
        changes: list[Change] = list(touched.values()) if not store.is_readonly else []
        changes += self._changes(dict(zip(self.texts, vectors or (), strict=vectors is not None)))
        if changes:
            store.items(write=True).change(changes)
        return results

    def _changes(self, vectors: dict[str, bytes]) -> Iterator[Change]:
        for (namespace, key), placed in self._puts.items():
            if placed is None:
                yield Delete(namespace, key)
                continue
            found = [(path, vectors[text]) for path, text in placed.texts]
            packed = msgpack.packb(found) if found else b""
            yield Put(namespace, key, placed.value, packed, placed.ttl)


class _Reading:
    """The reads of one batch, in one view.

    Args:
        store: The store.
        view: The state that is read.
        asked: Text of a query → its vector.
        touched: Where to note whose time begins anew.
    """

    def __init__(
        self,
        store: ItemStore,
        view: ItemView,
        asked: dict[str, bytes],
        touched: dict[tuple[tuple[str, ...], str], Change],
    ) -> None:
        self._decode = _DECODER.value
        self._expired = not store.omits_expired
        self._view = view
        self._asked = asked
        self._touched = touched

    def result(self, op: Op) -> Any:
        """Return what an operation reads; None for a put."""
        if isinstance(op, GetOp):
            return self._get(op)
        if isinstance(op, SearchOp):
            return self._search(op)
        if isinstance(op, ListNamespacesOp):
            spaces = self._view.spaces(expired=self._expired)
            found = select_namespaces(spaces, op.match_conditions or (), op.max_depth)
            return found[op.offset : op.offset + op.limit]
        return None

    def _get(self, op: GetOp) -> Item | None:
        kept = self._view.get(tuple(op.namespace), str(op.key), expired=self._expired)
        if kept is None:
            return None
        self._note(kept, refresh=op.refresh_ttl)
        return Item(
            value=self._decode(kept.value),
            key=kept.key,
            namespace=kept.namespace,
            created_at=moment(kept.created_at),
            updated_at=moment(kept.updated_at),
        )

    def _search(self, op: SearchOp) -> list[SearchItem]:
        scanned = self._view.scan(tuple(op.namespace_prefix), expired=self._expired)
        matching = (kept for kept in scanned if not op.filter or holds(self._decode(kept.value), op.filter))
        query = self._asked.get(op.query) if op.query else None
        found: Iterable[tuple[Kept, float | None]]
        found = ((kept, None) for kept in matching) if query is None else _by_nearness(list(matching), query)
        page = list(islice(found, op.offset, op.offset + op.limit))
        for kept, _ in page:
            self._note(kept, refresh=op.refresh_ttl)
        return [self._search_item(kept, score) for kept, score in page]

    def _search_item(self, kept: Kept, score: float | None) -> SearchItem:
        created, updated = moment(kept.created_at), moment(kept.updated_at)
        return SearchItem(kept.namespace, kept.key, self._decode(kept.value), created, updated, score)

    def _note(self, kept: Kept, *, refresh: bool) -> None:
        if refresh and self._view.is_worn(kept):
            self._touched[kept.namespace, kept.key] = Touch(kept.namespace, kept.key)


def _by_nearness(candidates: list[Kept], query: bytes) -> Iterator[tuple[Kept, float | None]]:
    """Yield the candidates with the nearest first; an item counts with its nearest vector, and none comes last."""
    owners: list[int] = []
    vectors: list[bytes] = []
    for place, kept in enumerate(candidates):
        for _, vector in msgpack.unpackb(kept.vectors) if kept.vectors else ():
            owners.append(place)
            vectors.append(vector)
    scores = cosine(query, vectors)
    seen: set[int] = set()
    for each in ranked(scores):
        if owners[each] not in seen:
            seen.add(owners[each])
            yield candidates[owners[each]], scores[each]
    for place, kept in enumerate(candidates):
        if place not in seen:
            yield kept, None


def _as_nanoseconds(minutes: Any) -> int:
    """Return a time to live; 0 for none.

    Raises:
        ValueError: It is not a number.
    """
    if minutes is None:
        return 0
    if not isinstance(minutes, (int, float)) or math.isnan(minutes):
        message = f"ttl must be a number of minutes, not {minutes!r}."
        raise ValueError(message)
    # What lives for no time at all is over as soon as it is put.
    return _LONGEST if minutes >= _LONGEST / _MINUTE else max(1, int(minutes * _MINUTE))
