"""Stores: what graphs remember across threads. The interface, under LangGraph's names.

    put(namespace, key, value)     get(namespace, key)     search(prefix, query=…, filter=…)     list_namespaces(…)
                 └───────────────────────────┴──────────────┬─────────────┴────────────────────────────┘
                                                  batch([PutOp, GetOp, …])

An item is known by its namespace, a tuple of labels that works like a folder, and its key. A store writes two methods,
``batch`` and ``abatch``; the others are made of them here, so that every store validates alike.

Invariants:
1. A batch reads what was there before it: its puts become visible after its reads.
2. A namespace that is put to is not empty, and its labels are not empty, hold no period and no NUL.
3. Times to live are in minutes.

It must not know where items are kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias, TypedDict

from .errors import InvalidNamespaceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Namespace: TypeAlias = tuple[str, ...]
Value: TypeAlias = dict[str, Any]
NamespacePath: TypeAlias = tuple[str, ...]
NamespaceMatchType: TypeAlias = Literal["prefix", "suffix"]
RESERVED = "langgraph"
"""The root label that nobody may put to."""


class NotProvided:
    """The type of ``NOT_PROVIDED``."""

    def __bool__(self) -> bool:
        """Nothing was given."""
        return False

    def __repr__(self) -> str:
        """Return the name."""
        return "NOT_PROVIDED"


NOT_PROVIDED = NotProvided()
"""Stands for a time to live that was not given, since None means that an item stays."""


class Item:
    """What was put under a namespace and key, and when.

    Args:
        value: The value.
        key: The key within the namespace.
        namespace: The namespace.
        created_at: When the item was put first; an ISO 8601 text is read.
        updated_at: When it was put last; likewise.
    """

    __slots__ = ("created_at", "key", "namespace", "updated_at", "value")

    def __init__(
        self,
        *,
        value: Value,
        key: str,
        namespace: Sequence[str],
        created_at: datetime | str,
        updated_at: datetime | str,
    ) -> None:
        self.value = value
        self.key = key
        self.namespace = tuple(namespace)
        self.created_at = _moment(created_at)
        self.updated_at = _moment(updated_at)

    def __eq__(self, other: object) -> bool:
        """Compare everything but the score."""
        if not isinstance(other, Item):
            return False
        return self._parts() == other._parts()

    def __hash__(self) -> int:
        """Hash by place, since values may be unhashable."""
        return hash((self.namespace, self.key))

    def __repr__(self) -> str:
        """Show all parts."""
        parts = ", ".join(f"{name}={part!r}" for name, part in self.dict().items())
        return f"{type(self).__name__}({parts})"

    def dict(self) -> Value:
        """Return the item as plain data: the namespace as a list, times in ISO 8601."""
        return {
            "namespace": list(self.namespace),
            "key": self.key,
            "value": self.value,
            "created_at": self.created_at.isoformat(),
            "updated_at": self.updated_at.isoformat(),
        }

    def _parts(self) -> tuple[Any, ...]:
        return self.namespace, self.key, self.value, self.created_at, self.updated_at


class SearchItem(Item):
    """An item that a search found.

    Args:
        namespace: The namespace.
        key: The key within the namespace.
        value: The value.
        created_at: When the item was put first.
        updated_at: When it was put last.
        score: How near it is to the query, 1.0 for the same direction; None if it was not ranked.
    """

    __slots__ = ("score",)

    def __init__(
        self,
        namespace: Sequence[str],
        key: str,
        value: Value,
        created_at: datetime | str,
        updated_at: datetime | str,
        score: float | None = None,
    ) -> None:
        super().__init__(
            value=value, key=key, namespace=namespace, created_at=created_at, updated_at=updated_at
        )
        self.score = score

    def dict(self) -> Value:
        """Return the item as plain data, with its score."""
        return {**super().dict(), "score": self.score}


class GetOp(NamedTuple):
    """Read one item."""

    namespace: Namespace
    key: str
    refresh_ttl: bool = True


class SearchOp(NamedTuple):
    """Find items below a prefix: by filter, and in the order of their nearness to a query if there is one."""

    namespace_prefix: Namespace
    filter: dict[str, Any] | None = None
    limit: int = 10
    offset: int = 0
    query: str | None = None
    refresh_ttl: bool = True


class MatchCondition(NamedTuple):
    """What a namespace must begin or end with; ``"*"`` stands for any label."""

    match_type: NamespaceMatchType
    path: NamespacePath


class ListNamespacesOp(NamedTuple):
    """List namespaces; those deeper than ``max_depth`` are cut there."""

    match_conditions: tuple[MatchCondition, ...] | None = None
    max_depth: int | None = None
    limit: int = 100
    offset: int = 0


class PutOp(NamedTuple):
    """Keep a value, or delete the item if it is None. ``ttl`` is in minutes; None for one that stays.

    ``index`` names the fields to search by; None for those of the store, False for none.
    """

    namespace: Namespace
    key: str
    value: Mapping[str, Any] | None
    index: Literal[False] | list[str] | None = None  # type: ignore[assignment]  # LangGraph's name hides the method
    ttl: float | None = None


Op: TypeAlias = GetOp | SearchOp | PutOp | ListNamespacesOp
Result: TypeAlias = Item | list[Item] | list[SearchItem] | list[Namespace] | None


class TTLConfig(TypedDict, total=False):
    """How long items live unless a call says otherwise."""

    refresh_on_read: bool
    """Whether reading an item begins its time anew; by default it does."""
    omit_expired: bool
    """Whether an item whose time is over is gone at once, instead of at the next sweep; by default it is."""
    default_ttl: float | None
    """Minutes that a new item lives; None, and it stays."""
    sweep_interval_minutes: int | None
    """Minutes between two sweeps of ``start_ttl_sweeper``."""


class IndexConfig(TypedDict, total=False):
    """How items are made findable by what they mean."""

    dims: int
    """How many numbers a vector has."""
    embed: Any
    """Texts → vectors: a function, a coroutine function, an object with ``embed_documents`` and ``embed_query``, or the
    name of a model for ``langchain.embeddings.init_embeddings``."""
    fields: list[str] | None
    """Which parts of a value are embedded, such as ``"title"`` or ``"parts[*].text"``; the whole if omitted."""


class BaseStore(ABC):
    """What a store is: a subclass writes ``batch`` and ``abatch``."""

    supports_ttl: bool = False
    ttl_config: TTLConfig | None = None

    @abstractmethod
    def batch(self, ops: Iterable[Op]) -> list[Any]:
        """Carry out operations; return one result for each, in order."""

    @abstractmethod
    async def abatch(self, ops: Iterable[Op]) -> list[Any]:
        """Carry out operations without blocking the event loop; return one result for each, in order."""

    def get(self, namespace: Namespace, key: str, *, refresh_ttl: bool | None = None) -> Item | None:
        """Return an item, or None if it is not there.

        Args:
            namespace: Where it is.
            key: Its key there.
            refresh_ttl: Whether its time begins anew; as the store was configured if None.

        Raises:
            InvalidNamespaceError: No namespace is called so.
        """
        found: Item | None = self.batch([self._get_op(namespace, key, refresh=refresh_ttl)])[0]
        return found

    def search(
        self,
        namespace_prefix: Namespace,
        /,
        *,
        query: str | None = None,
        filter: dict[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> list[SearchItem]:
        """Return the items of all namespaces that begin so.

        Args:
            namespace_prefix: What the namespaces begin with; ``()`` for all of them.
            query: Sort by nearness to this text, if the store has an index.
            filter: Field → value, or → ``{"$gt": 3}`` and the like ($eq, $ne, $gt, $gte, $lt, $lte); all must hold.
            limit: How many at most.
            offset: How many to leave out at the beginning.
            refresh_ttl: Whether their time begins anew; as the store was configured if None.

        Raises:
            InvalidNamespaceError: No namespace begins so.
            ValueError: The filter, the limit or the offset cannot be meant.
        """
        page = (filter, limit, offset)
        found: list[SearchItem] = self.batch(
            [self._search_op(namespace_prefix, query, page, refresh=refresh_ttl)]
        )[0]
        return found

    def put(
        self,
        namespace: Namespace,
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> None:
        """Keep a value in the place of the one that is there.

        Args:
            namespace: Where to keep it.
            key: Its key there.
            value: The value, a mapping.
            index: The fields to search it by; those of the store if None, none if False.
            ttl: Minutes that it lives, None for ever; as the store was configured if omitted.

        Raises:
            InvalidNamespaceError: Nothing can be put there.
            NotImplementedError: The store does not support ``ttl``.
            NotSerializable: The value would not come back the same.
        """
        self.batch([self._put_op(namespace, key, value, index, ttl)])

    def delete(self, namespace: Namespace, key: str) -> None:
        """Remove an item; one that is not there is no error.

        Raises:
            InvalidNamespaceError: No namespace is called so.
        """
        self.batch([self._delete_op(namespace, key)])

    def list_namespaces(
        self,
        *,
        prefix: NamespacePath | None = None,
        suffix: NamespacePath | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Namespace]:
        """Return the namespaces that hold items, sorted.

        Args:
            prefix: What they begin with; ``"*"`` stands for any label.
            suffix: What they end with; likewise.
            max_depth: After how many labels they are cut; what is the same then is listed once.
            limit: How many at most.
            offset: How many to leave out at the beginning.

        Raises:
            InvalidNamespaceError: No namespace begins or ends so.
        """
        op = self._list_op(prefix, suffix, max_depth, (limit, offset))
        found: list[Namespace] = self.batch([op])[0]
        return found

    # The same for event loops

    async def aget(self, namespace: Namespace, key: str, *, refresh_ttl: bool | None = None) -> Item | None:
        """Return an item, or None if it is not there; see ``get``."""
        found: Item | None = (await self.abatch([self._get_op(namespace, key, refresh=refresh_ttl)]))[0]
        return found

    async def asearch(
        self,
        namespace_prefix: Namespace,
        /,
        *,
        query: str | None = None,
        filter: dict[str, Any] | None = None,
        limit: int = 10,
        offset: int = 0,
        refresh_ttl: bool | None = None,
    ) -> list[SearchItem]:
        """Return the items of all namespaces that begin so; see ``search``."""
        op = self._search_op(namespace_prefix, query, (filter, limit, offset), refresh=refresh_ttl)
        found: list[SearchItem] = (await self.abatch([op]))[0]
        return found

    async def aput(
        self,
        namespace: Namespace,
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> None:
        """Keep a value in the place of the one that is there; see ``put``."""
        await self.abatch([self._put_op(namespace, key, value, index, ttl)])

    async def adelete(self, namespace: Namespace, key: str) -> None:
        """Remove an item; see ``delete``."""
        await self.abatch([self._delete_op(namespace, key)])

    async def alist_namespaces(
        self,
        *,
        prefix: NamespacePath | None = None,
        suffix: NamespacePath | None = None,
        max_depth: int | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[Namespace]:
        """Return the namespaces that hold items, sorted; see ``list_namespaces``."""
        op = self._list_op(prefix, suffix, max_depth, (limit, offset))
        found: list[Namespace] = (await self.abatch([op]))[0]
        return found

    # Calls as operations

    def _get_op(self, namespace: Namespace, key: str, *, refresh: bool | None) -> GetOp:
        return GetOp(checked_labels(namespace), str(key), self._refreshes(refresh=refresh))

    def _search_op(
        self,
        prefix: Namespace,
        query: str | None,
        page: tuple[dict[str, Any] | None, int, int],
        *,
        refresh: bool | None,
    ) -> SearchOp:
        return SearchOp(checked_labels(prefix), *page, query, self._refreshes(refresh=refresh))

    def _put_op(
        self,
        namespace: Namespace,
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None,
        ttl: float | NotProvided | None,
    ) -> PutOp:
        namespace = checked_namespace(namespace)
        if isinstance(ttl, NotProvided):
            ttl = self.ttl_config.get("default_ttl") if self.ttl_config else None
        elif ttl is not None and not self.supports_ttl:
            message = (
                f"TTL is not supported by {type(self).__name__}. "
                "Use a store implementation that supports TTL or set ttl=None."
            )
            raise NotImplementedError(message)
        return PutOp(namespace, str(key), value, index, ttl)

    def _delete_op(self, namespace: Namespace, key: str) -> PutOp:
        return PutOp(checked_labels(namespace), str(key), None)

    def _list_op(
        self,
        prefix: NamespacePath | None,
        suffix: NamespacePath | None,
        max_depth: int | None,
        page: tuple[int, int],
    ) -> ListNamespacesOp:
        conditions = []
        if prefix:
            conditions.append(MatchCondition("prefix", checked_labels(prefix)))
        if suffix:
            conditions.append(MatchCondition("suffix", checked_labels(suffix)))
        return ListNamespacesOp(tuple(conditions), max_depth, *page)

    def _refreshes(self, *, refresh: bool | None) -> bool:
        if refresh is not None:
            return refresh
        return self.ttl_config.get("refresh_on_read", True) if self.ttl_config else True


def checked_namespace(namespace: Sequence[str]) -> Namespace:
    """Return a namespace that can be put to.

    Raises:
        InvalidNamespaceError: It is empty, reserved, or one of its labels is no label.
    """
    labels = checked_labels(namespace)
    if not labels:
        raise InvalidNamespaceError("Namespace cannot be empty.", hint='Name at least one label: ("users",).')
    if labels[0] == RESERVED:
        message = f'Root label for namespace cannot be "{RESERVED}". Got: {labels}'
        raise InvalidNamespaceError(message, hint="Choose another root label.")
    return labels


def checked_labels(namespace: Sequence[str]) -> Namespace:
    """Return labels that a namespace can consist of.

    Raises:
        InvalidNamespaceError: One of them is no label, or it is a text instead of a tuple of texts.
    """
    if isinstance(namespace, str):
        message = f"Namespace must be a tuple of strings, but got the string {namespace!r}."
        raise InvalidNamespaceError(message, hint=f"Write ({namespace!r},).")
    labels = tuple(namespace)
    for label in labels:
        problem = _problem_with(label)
        if problem is not None:
            raise InvalidNamespaceError(
                f"Invalid namespace label '{label}' found in {labels}. {problem}", hint="Rename the label."
            )
        if not label:
            message = f"Namespace labels cannot be empty strings. Got {label} in {labels}"
            raise InvalidNamespaceError(message, hint="Leave the label out, or name it.")
    return labels


def _problem_with(label: object) -> str | None:
    if not isinstance(label, str):
        return f"Namespace labels must be strings, but got {type(label).__name__}."
    if "." in label:
        return "Namespace labels cannot contain periods ('.')."
    if "\x00" in label:
        return "Namespace labels cannot contain NUL bytes ('\\x00')."
    return None


def _moment(given: datetime | str) -> datetime:
    return datetime.fromisoformat(given) if isinstance(given, str) else given
