"""The reducer for chat messages, and the state made of them.

    what a node returns            ──► assign_ids ──►  the log  ──► add_messages ──► the list in the state
    message, dict, (role, text),       messages with            merged by id:
    text, or a list of these           ids                      replace, append, remove

Where ``langchain_core`` can be imported, messages are its classes, and all else is turned into them. Where it
cannot, messages are dicts with an id: ``{"role": "user", "content": "hi", "id": "…"}``.

    removes one    RemoveMessage(id=…), {"type": "remove", "id": …} or {"role": "remove", "id": …}
    removes all    the same with REMOVE_ALL_MESSAGES as id; what follows it in the write is what remains

Invariants:
1. Within the fold nothing is invented: ids are assigned by ``add_messages.prepare``, before the log.
2. Neither argument of ``add_messages`` is changed, except that messages of langchain_core get a missing id
   in place, as LangGraph's users expect.
3. ``langchain_core`` is imported with the first message that needs it, never with walgraph.
4. Appending costs one copy of the list: the index of the last few long lists is kept, and is only a cache.

This module must not know channels, graphs or logs.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import uuid
from collections import OrderedDict
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypedDict, overload

from ..replay.channel import publish_reducer
from ..replay.errors import InvalidUpdateError

if TYPE_CHECKING:
    from collections.abc import Callable

REMOVE_ALL_MESSAGES = "__remove_all__"
"""The id of a removal that removes every message before it."""

_INDEXED_FROM = 64
"""Shorter lists are indexed anew each time, which takes a few microseconds."""

_INDEXES_KEPT = 32
"""How many long lists are remembered; each is held in memory until as many others came."""


class InvalidMessage(InvalidUpdateError, ValueError):
    """A write holds something that is no message, or removes a message that is not there."""


class _Langchain(NamedTuple):
    """What is used of langchain_core, once it is imported."""

    message: type
    chunk: type
    remove: type
    convert: Callable[[list[Any]], list[Any]]
    finish_chunk: Callable[[Any], Any]
    openai: Callable[..., Any]


_settled: set[type] = set()
"""Message classes of langchain_core met so far that are stored as they are; chunks never are."""

_recent: OrderedDict[int, tuple[list[Any], dict[Any, int], int]] = OrderedDict()
"""Identity of a list → the list, held so that no other list gets its identity, id → position, and its length."""


@overload
def add_messages(
    left: None = None, right: None = None, *, format: Literal["langchain-openai"] | None = None
) -> Callable[[Any, Any], list[Any]]: ...


@overload
def add_messages(
    left: Any, right: Any, *, format: Literal["langchain-openai"] | None = None
) -> list[Any]: ...


def add_messages(
    left: Any = None,
    right: Any = None,
    *,
    format: str | None = None,
) -> Any:
    """Merge two lists of messages: those of ``right`` replace the ones with the same id, or are appended.

    Args:
        left: The messages so far; a single one counts as a list of it.
        right: New messages, or removals.
        format: ``"langchain-openai"`` gives every message of the result OpenAI's shape of content.

    Returns:
        A new list; or, called without messages, a reducer that has ``format`` set.

    Raises:
        InvalidMessage: Something is no message, or a removal names a message that is not there.
    """
    if format is not None and (format != "langchain-openai" or _langchain() is None):
        problem = (
            "format='langchain-openai' needs langchain_core, which is not installed."
            if format == "langchain-openai"
            else f"Unrecognized format={format!r}. Expected one of 'langchain-openai', None."
        )
        raise ValueError(problem)
    if left is None and right is None:
        return _formatting(format)
    if left is None or right is None:
        given = "right" if left is None else "left"
        message = f"Must specify non-null arguments for both 'left' and 'right'. Only received: '{given}'."
        raise InvalidMessage(message, hint="Leave the key out to write no messages, or write a list.")
    merged = _merge(left, right)
    return merged if format is None else _as_openai(merged)


def assign_ids(write: Any) -> Any:
    """Return a write to a list of messages in the form that is logged: proper messages, each with an id.

    A list stays a list and a single message a single one; an item that needs no change is kept.

    Raises:
        InvalidMessage: Something in the write is no message.
    """
    if not isinstance(write, list):
        return _message(write)
    for message in write:
        kind: type = message.__class__
        if kind not in _settled or message.id is None:
            return [_message(message) for message in write]
    return write


add_messages.prepare = assign_ids  # type: ignore[attr-defined]


class MessagesState(TypedDict):
    """State that is a conversation; extend it with keys of your own."""

    messages: Annotated[list[Any], add_messages]


def remove_message(message_id: str) -> dict[str, str]:
    """Return a write that removes one message, without langchain_core."""
    return {"type": "remove", "id": message_id}


def _formatting(format: str | None) -> Any:
    reducer: Any = functools.partial(add_messages, format=format)
    reducer.prepare = assign_ids
    return reducer


def _merge(left: Any, right: Any) -> list[Any]:
    news = assign_ids(right)
    if not isinstance(news, list):
        news = [news]
    if (remaining := _after_removal_of_all(news)) is not None:
        return remaining
    positions = _recall(left)
    if positions is None:
        left = assign_ids(left if isinstance(left, list) else [left])
        positions = _indexed(left)
    merged: list[Any] = list(left)
    removed: set[Any] = set()
    for message in news:
        key = _id(message)
        position = positions.get(key)
        if position is not None and position >= len(merged):
            # Only a list that grew longer from the same one has the id. It cannot stand further up here as well: an id
            # gets another place in the index only here, and that place is never behind the one it had.
            position = None
        elif position is not None and _id(merged[position]) != key:
            # Another list that grew from the same one has the id there; this one goes its own way.
            positions = _indexed(merged)
            position = positions.get(key)
        if _is_removal(message):
            if position is None:
                raise _unknown(key, len(merged))
            removed.add(key)
        elif position is None:
            positions[key] = len(merged)
            merged.append(message)
        else:
            merged[position] = message
            removed.discard(key)
    if removed:
        return [message for message in merged if _id(message) not in removed]
    _remember(merged, positions)
    return merged


def _indexed(messages: list[Any]) -> dict[Any, int]:
    return {_id(message): position for position, message in enumerate(messages)}


def _recall(messages: Any) -> dict[Any, int] | None:
    """Return the positions of the ids in a list that was made here, or None.

    The lists that grew from one another share one index, so it may know ids that this list does not have, and a place
    in it counts only if the list has the id there. An id that the index does not know is in none of them.
    """
    entry = _recent.get(id(messages))
    if entry is None:
        return None
    remembered, positions, count = entry
    # A list that a node changed in place has, as a rule, another length by now.
    return positions if remembered is messages and count == len(messages) else None


def _remember(messages: list[Any], positions: dict[Any, int]) -> None:
    if len(messages) < _INDEXED_FROM:
        return
    _recent[id(messages)] = (messages, positions, len(messages))
    if len(_recent) > _INDEXES_KEPT:
        # Other workers do the same at this moment; whose entry is dropped does not matter.
        _recent.popitem(last=False)


def _after_removal_of_all(news: list[Any]) -> list[Any] | None:
    for number in range(len(news) - 1, -1, -1):
        if _id(news[number]) == REMOVE_ALL_MESSAGES and _is_removal(news[number]):
            return news[number + 1 :]
    return None


def _id(message: Any) -> Any:
    return message["id"] if message.__class__ is dict else message.id


def _is_removal(message: Any) -> bool:
    if isinstance(message, dict):
        return message.get("role") == "remove" or message.get("type") == "remove"
    return bool(message.type == "remove")


def _message(item: Any) -> Any:
    """Return one item of a write as a message that has an id."""
    langchain = _langchain()
    if langchain is None:
        return _plain_message(item)
    if isinstance(item, langchain.chunk):
        message = langchain.finish_chunk(item)
    elif isinstance(item, langchain.message):
        message = item
    elif isinstance(item, dict) and _is_removal(item) and "id" in item:
        message = langchain.remove(id=item["id"])
    else:
        try:
            message = langchain.convert([item])[0]
        except (NotImplementedError, ValueError, TypeError) as error:
            raise _no_message(item, str(error)) from error
    if message.id is None:
        message.id = str(uuid.uuid4())
    _settled.add(type(message))
    return message


def identified(item: Any) -> tuple[Any, Any]:
    """Return an item that must have an id as the message to show, which may be a part of one, and the one to keep.

    Raises:
        InvalidMessage: It is no message, or has no id.
    """
    given = item.get("id") if isinstance(item, dict) else getattr(item, "id", None)
    if given is None:
        raise InvalidMessage(
            "Message ID is required",
            hint="Give it one that is the same when the node runs again, so that it replaces itself in the state.",
            type=type(item).__qualname__,
        )
    kept = _message(item)
    langchain = _langchain()
    return (item if langchain is not None and isinstance(item, langchain.message) else kept), kept


def _plain_message(item: Any) -> dict[str, Any]:
    match item:
        case {"id": str()} if item.__class__ is dict:
            return item
        case {"role": "remove"} | {"type": "remove"}:
            raise _no_message(item, "A removal needs the id of the message to remove.")
        case dict():
            return {**item, "id": str(uuid.uuid4()) if item.get("id") is None else item["id"]}
        case str():
            return {"role": "user", "content": item, "id": str(uuid.uuid4())}
        case (str(role), content):
            return {"role": role, "content": content, "id": str(uuid.uuid4())}
    raise _no_message(item, f"Unsupported message type: {type(item)}")


def _as_openai(messages: list[Any]) -> list[Any]:
    """Return the messages with OpenAI's content. One may become several, whose ids derive from its own."""
    langchain = _langchain()
    assert langchain is not None, "checked by add_messages"
    formatted: list[Any] = []
    for message in messages:
        parts = langchain.convert(langchain.openai([message], include_id=True))
        for number, part in enumerate(parts):
            if part.id is None:
                part.id = message.id if len(parts) == 1 else f"{message.id}-{number}"
        formatted.extend(parts)
    return formatted


def _no_message(item: Any, reason: str) -> InvalidMessage:
    return InvalidMessage(
        reason,
        hint="Write a message, a dict with role and content, a pair of these, a text, or a list of such.",
        type=type(item).__qualname__,
    )


def _unknown(key: Any, count: int) -> InvalidMessage:
    return InvalidMessage(
        f"Attempting to delete a message with an ID that doesn't exist ('{key}')",
        hint=f"Remove one of the {count} messages in the state, by the id that it has there.",
        id=key,
    )


@functools.cache
def _langchain() -> _Langchain | None:
    """Import langchain_core if there is one, once."""
    if importlib.util.find_spec("langchain_core") is None:
        return None
    messages = importlib.import_module("langchain_core.messages")
    return _Langchain(
        messages.BaseMessage,
        messages.BaseMessageChunk,
        messages.RemoveMessage,
        messages.convert_to_messages,
        messages.message_chunk_to_message,
        messages.convert_to_openai_messages,
    )


publish_reducer(add_messages)
