"""Messages that LangGraph shows otherwise, or shows besides: made equal before they are compared; see ``evened``.

Invariants:
1. What is evened out is no more than what the function's docstring says.
"""

from __future__ import annotations

from typing import Any

from langchain_core.messages import convert_to_messages
from parity.looking import repeated
from parity.showing import Chunk, Started
from parity.watching import Seen


def messages_are_made_at_once(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """A message gets its class and id before it is recorded, so streams and results show it as the state will.

    So one that a node returns as a dict is shown in the mode ``messages`` there and then; LangGraph may show it later,
    where a graph above returns it.
    """
    theirs, ours = (seen._replace(chunks=tuple(filter(_was_made, seen.chunks))) for seen in (theirs, ours))
    return _with_messages(theirs), ours


def _was_made(chunk: Chunk) -> bool:
    """Say whether a part of a stream is not a message that nodes return as a dict: with us those are the user's."""
    return chunk.mode != "messages" or chunk.shown[0][0] != "HumanMessage"


def metadata_are_the_tasks_own(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """Metadata of LangGraph's messages name a tracing service, and in those of a task that runs a subgraph, itself.

    There is no tracing here, and only tasks within a subgraph have a task around them. Nor do ours repeat which
    checkpoint the caller addressed.
    """
    addressed = ("checkpoint_id", "checkpoint_map", "checkpoint_ns")
    unlike = addressed if theirs.did.startswith(("travel", "branch")) else ()

    def evened(chunk: Chunk) -> Chunk:
        if chunk.mode != "messages":
            return chunk
        message, metadata = chunk.shown
        kept = {key: item for key, item in metadata.items() if (key, item) != ("ls_integration", "langgraph")}
        if kept.get("checkpoint_ns") == kept["langgraph_checkpoint_ns"]:
            del kept["checkpoint_ns"]
        return chunk._replace(shown=(message, {key: kept[key] for key in kept if key not in unlike}))

    theirs, ours = (seen._replace(chunks=tuple(map(evened, seen.chunks))) for seen in (theirs, ours))
    return theirs, ours


def _with_messages(value: Any) -> Any:
    match value:
        case dict():
            return {
                key: _messages(held) if key == "messages" else _with_messages(held)
                for key, held in value.items()
            }
        case tuple() if hasattr(value, "_fields"):
            return type(value)(*(_with_messages(item) for item in value))
        case list() | tuple():
            return type(value)(_with_messages(item) for item in value)
    return value


def _messages(held: Any) -> Any:
    """Return what a key of messages holds, or the several writes to it."""
    if isinstance(held, dict):
        return {key: [_messages(write) for write in writes] for key, writes in held.items()}
    return [_message(item) for item in held] if isinstance(held, list) else held


def _message(value: Any) -> Any:
    if isinstance(value, dict):
        message = convert_to_messages([value])[0]
        return (type(message).__name__, dict(sorted(message.model_dump().items())))
    return value


def messages_in_pairs_are_messages(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """A message that a command writes by pairs of key and value is shown in ``messages``; LangGraph overlooks it."""

    def is_overlooked(chunk: Chunk) -> bool:
        return chunk.mode == "messages" and chunk.shown[1]["langgraph_node"] in ours.pairing

    theirs, ours = (
        seen._replace(chunks=tuple(chunk for chunk in seen.chunks if not is_overlooked(chunk)))
        for seen in (theirs, ours)
    )
    return theirs, ours


def what_tasks_were_given_is_not_shown_again(theirs: Seen, ours: Seen) -> tuple[Seen, Seen]:
    """A message that a task was given is no news in ``messages``, nor in what its siblings return.

    In LangGraph it is news to a task that ends before the one that was given it has begun.
    """
    given = [
        (chunk.namespace, chunk.about["step"], repr(chunk.shown.input))
        for chunk in ours.chunks
        if chunk.mode == "debug" and isinstance(chunk.shown, Started)
    ]
    more = repeated(theirs.chunks) - repeated(ours.chunks)

    def is_news(chunk: Chunk) -> bool:
        if chunk.mode != "messages" or more[repr(chunk)] <= 0:
            return True
        message, about = chunk.shown
        step = (chunk.namespace, about["langgraph_step"])
        return not any(
            f"'id': {message[1]['id']!r}" in held for *where, held in given if tuple(where) == step
        )

    return theirs._replace(chunks=tuple(filter(is_news, theirs.chunks))), ours
