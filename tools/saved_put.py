"""What LangGraph hands to ``put`` and ``put_writes``, made ready for the log.

    a checkpoint ──► values that are new, serialised ──► Make: what makes its draft from the thread as it then stands
    writes       ──► serialised, with their indexes ───► Make

A draft may be made twice, if another process is faster; values are serialised once, before any lock is taken.

Invariants:
1. A value is serialised only if it is new, or if what its parent holds under that version cannot be known here.

This module must not append anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from langgraph.checkpoint.base import WRITES_IDX_MAP, get_checkpoint_metadata

from .saved_draft import AT_ONCE, BRANCH, Draft, Incoming, Typed, draft_checkpoint, draft_writes
from .saved_lane import Lane, Make
from .saved_view import check_superseded

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
    from langgraph.checkpoint.serde.base import SerializerProtocol

_KNOWN = frozenset(
    {"v", "id", "ts", "channel_values", "channel_versions", "versions_seen", "updated_channels"}
)
TASKS = "__pregel_tasks"
_DURABILITY = "__pregel_durability"
_START = "__start__"
_BEGINNINGS = frozenset({"__input__", "__interrupt__"})


def putting(
    serde: SerializerProtocol,
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    new_versions: ChannelVersions,
    *,
    fork: bool,
) -> Make:
    """Return what makes the draft of a checkpoint; ``fork``: also where its parent has got another child meanwhile."""
    ns, parent = config["configurable"].get("checkpoint_ns", ""), config["configurable"].get("checkpoint_id")
    dumps = serde.dumps_typed
    given, versions = checkpoint["channel_values"], checkpoint["channel_versions"]
    typed = {channel: _typed(dumps(given[channel])) for channel in new_versions if channel in given}
    rest = {key: value for key, value in checkpoint.items() if key not in _KNOWN}
    incoming = Incoming(
        ns,
        checkpoint["id"],
        parent,
        checkpoint["v"],
        checkpoint["ts"],
        dict(versions),
        # LangGraph hands over a copy, of a thousand nodes maybe: it is not copied again.
        checkpoint["versions_seen"],
        checkpoint.get("updated_channels", False),
        typed,
        dict(get_checkpoint_metadata(config, metadata)),
        _typed(dumps(rest)) if rest else None,
    )
    attempts: list[int] = []

    def make(lane: Lane) -> Draft:
        state = lane.state
        if attempts and state.record(ns, incoming.id) is not None:
            # It was written before the conflict that we heard of.
            return Draft((), (), lane.summary)
        attempts.append(1)
        if not fork:
            check_superseded(lane, ns, parent, incoming.id)
        known = state.record(ns, parent) if parent is not None else None
        below = None if known is None or parent is None else state.resolved(ns, parent)
        values: dict[str, Any] = {}
        for channel, value in given.items():
            taken = None if channel in typed or below is None else below.values.get(channel)
            if (
                taken is not None
                and below is not None
                and below.versions.get(channel) == versions.get(channel)
            ):
                values[channel] = taken
                continue
            if channel not in typed:
                typed[channel] = _typed(dumps(value))
            values[channel] = typed[channel]
        draft = draft_checkpoint(state, incoming._replace(values=values), lane.read, lane.summary)
        # A run that goes on from what it put itself must be the only one to do so, too.
        lane.hand_out(ns, incoming.id, as_newest=True)
        lane.note_sends(ns, incoming.id, len(given.get(TASKS, ())))
        return draft

    return make


def writing(
    serde: SerializerProtocol,
    config: RunnableConfig,
    writes: Sequence[tuple[str, Any]],
    task_id: str,
    task_path: str,
) -> tuple[Make, bool]:
    """Return what makes the draft of a task's writes, and whether they are waited for."""
    conf = config["configurable"]
    place = (conf.get("checkpoint_ns", ""), conf["checkpoint_id"], task_id, task_path)
    at_once = any(channel in AT_ONCE for channel, _ in writes)
    dumps = serde.dumps_typed
    typed = [
        (WRITES_IDX_MAP.get(channel, index), channel, _typed(dumps(value)))
        for index, (channel, value) in enumerate(writes)
    ]

    def make(lane: Lane) -> Draft:
        draft = draft_writes(lane.state, place, typed, lane.read, lane.summary)
        if not draft.records:
            lane.note_empty(place[0], place[1], task_path)
        lane.gone_on(place[:2], well=not at_once)
        return draft

    return make, at_once


def await_writes(lane: Lane, config: RunnableConfig, checkpoint: Checkpoint) -> None:
    """Wait for the writes that led to a checkpoint, if some are still on their way from LangGraph's threads."""
    conf = config["configurable"]
    ns, parent = conf.get("checkpoint_ns", ""), conf["checkpoint_id"]
    if conf.get(_DURABILITY) == "exit":
        return
    with lane.lock:
        state = lane.state
        if state.record(ns, parent) is None:
            return
        before = state.resolved(ns, parent).seen
        pulled = [
            f"~__pregel_pull, {node}"
            for node, seen in checkpoint["versions_seen"].items()
            if seen != before.get(node) and node not in _BEGINNINGS and _was_triggered(before.get(node), seen)
        ]
        pushed = lane.sends.get((ns, parent), 0)
    if pulled or pushed:
        lane.wait_for(lambda: lane.has_arrived(ns, parent, pulled, pushed))


def goes_on(
    config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata
) -> tuple[str, str] | None:
    """Return the place of a checkpoint if its run goes on from it, and LangGraph does not wait for it meanwhile.

    Under ``async``, the default, it waits for none before the run ends; under ``sync`` for all but that of the input.
    What is due says whether the run goes on: a node that an edge or a ``Send`` leads to, or its beginning.
    """
    durability = config["configurable"].get(_DURABILITY, "async")
    if durability != "async" and (durability != "sync" or metadata.get("source") != "input"):
        return None
    given = checkpoint["channel_values"]
    if _START in given or given.get(TASKS) or any(channel.startswith(BRANCH) for channel in given):
        return config["configurable"].get("checkpoint_ns", ""), checkpoint["id"]
    return None


def _was_triggered(before: Mapping[str, Any] | None, seen: Mapping[str, Any]) -> bool:
    """Return whether a node ran for its edges; one that ran for a ``Send`` has only seen the channel of tasks."""
    return any(
        channel != TASKS and version != (before or {}).get(channel) for channel, version in seen.items()
    )


def _typed(pair: tuple[str, Any]) -> Typed:
    kind, data = pair
    return Typed(kind, data if type(data) is bytes else bytes(data))
