"""``wal store``: what graphs remember across threads.

    wal store LOG                     the namespaces, one line each
    wal store LOG users ada           the items of all namespaces that begin so, one line each
    wal store LOG users ada --key x   one item, its whole value

A label cannot hold a period, so ``users.ada`` is the same as ``users ada``.

Invariants:
1. Nothing is changed: not even the time of an item begins anew because it was looked at.
2. Values are shown without the user's code; a class that is not known is shown by its name and content.

It must not look at what caches keep, which nobody misses.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any, NamedTuple

import click

from ..wal.head import moment
from ..wal.items import Item, Namespace
from ..wal.log import Log
from .errors import ItemNotFound
from .options import as_json, opened, placed, words
from .render import Column, Page
from .words import plain, preview

SPACES = (Column("namespace"), Column("items", right=True), Column("bytes", right=True), Column("last write"))
ITEMS = (
    Column("namespace"),
    Column("key"),
    Column("value"),
    Column("bytes", right=True),
    Column("last write"),
    Column("until"),
)
WHOLE = 1_000_000
"""How many characters of a value are its whole, for people."""


class Space(NamedTuple):
    """What a namespace holds."""

    namespace: Namespace
    items: int
    bytes: int
    updated_at: int


@click.command("store")
@words("[LOG] [LABEL]...")
@click.option("--key", help="Only the item of that key in exactly this namespace, with its whole value.")
@click.option("--limit", type=click.IntRange(min=0), help="At most so many.")
@click.option("--expired", is_flag=True, help="Also items whose time is over and that are not swept yet.")
@as_json
def command(
    words: tuple[str, ...], key: str | None, limit: int | None, *, expired: bool, as_json: bool
) -> None:
    """List namespaces, or the items below one, or show an item."""
    path, rest = placed(words, ("LABEL",) * len(words))
    namespace = tuple(label for word in rest if word is not None for label in word.split(".") if label)
    page = Page(as_json=as_json)
    with opened(path) as log:
        if key is not None:
            _show_item(page, log, namespace, key)
        elif namespace:
            _list_items(page, log, namespace, limit, expired=expired)
        else:
            _list_spaces(page, log, limit, expired=expired)


def _list_spaces(page: Page, log: Log, limit: int | None, *, expired: bool) -> None:
    with log.items().view() as view:
        by_space = itertools.groupby(view.scan(expired=expired), lambda item: item.namespace)
        spaces = [_add_up(namespace, list(items)) for namespace, items in itertools.islice(by_space, limit)]
    if page.as_json:
        shown = [
            {**space._asdict(), "namespace": list(space.namespace), "updated_at": _iso(space.updated_at)}
            for space in spaces
        ]
        page.emit("store", namespaces=shown)
        return
    rows = [
        (
            ".".join(space.namespace),
            str(space.items),
            page.size(space.bytes),
            page.moment(moment(space.updated_at)),
        )
        for space in spaces
    ]
    page.table(SPACES, rows)


def _add_up(namespace: Namespace, items: list[Item]) -> Space:
    size = sum(len(item.value) + len(item.vectors) for item in items)
    return Space(namespace, len(items), size, max(item.updated_at for item in items))


def _list_items(page: Page, log: Log, namespace: Namespace, limit: int | None, *, expired: bool) -> None:
    with log.items().view() as view:
        items = list(itertools.islice(view.scan(namespace, expired=expired), limit))
    if page.as_json:
        page.emit("store", items=[_as_plain(log, item) for item in items])
        return
    rows = [
        (
            ".".join(item.namespace),
            item.key,
            preview(_value(log, item)),
            page.size(len(item.value) + len(item.vectors)),
            page.moment(moment(item.updated_at)),
            _until(page, item),
        )
        for item in items
    ]
    page.table(ITEMS, rows)


def _show_item(page: Page, log: Log, namespace: Namespace, key: str) -> None:
    with log.items().view() as view:
        item = view.get(namespace, key, expired=True)
    if item is None:
        message = f"The store holds no item {key!r} in namespace {'.'.join(namespace) or '()'}."
        raise ItemNotFound(message, hint="wal store LOG LABEL… lists those it holds.", key=key)
    if page.as_json:
        page.emit("store", items=[_as_plain(log, item)])
        return
    page.line(f"item {key} · namespace {'.'.join(item.namespace)}")
    page.line(
        f"created {_iso(item.created_at)} · updated {_iso(item.updated_at)} · until {_until(page, item)}"
    )
    value = _value(log, item)
    if isinstance(value, dict):
        page.table(
            (Column("field"), Column("value")),
            [(str(name), preview(part, WHOLE)) for name, part in value.items()],
        )
    else:
        page.line(preview(value, WHOLE))


def _value(log: Log, item: Item) -> Any:
    return log.decoder(lenient=True).value(item.value)


def _as_plain(log: Log, item: Item) -> dict[str, Any]:
    return {
        "namespace": list(item.namespace),
        "key": item.key,
        "value": plain(_value(log, item)),
        "bytes": len(item.value) + len(item.vectors),
        "created_at": _iso(item.created_at),
        "updated_at": _iso(item.updated_at),
        "until": _iso(item.expires_at) if item.expires_at else None,
    }


def _iso(nanoseconds: int) -> str:
    return moment(nanoseconds).isoformat()


def _until(page: Page, item: Item) -> str:
    if not item.expires_at:
        return "-"
    ends = moment(item.expires_at)
    left = (ends - datetime.now(UTC)).total_seconds()
    return page.moment(ends) if left < 0 or not page.terminal else f"in {page.span(left)}"
