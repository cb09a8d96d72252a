"""LangGraph's checkpointer on our log: ``pip install 'walgraph[langgraph]'``.

    WalSaver(log) ──► serde: bytes ──► saved_draft: records ──► saved_lane: append, flush ──► the log
                  ◄── serde: values ◄── replay.saved: the index of a thread ◄─────────────────┘

A thread of LangGraph's is a thread of the log under the same id, made of the three records of ``wal.saved_record``.
One class serves threads and asyncio, and any number of processes.

WHAT IS DURABLE   ``put`` returns when the checkpoint is, and with it everything that was put before. Under LangGraph's
                  ``async`` one that its run goes on from waits a few milliseconds for a task of the next step to
                  write: then the run has gone on, and whatever it does last is waited for. So flushes are shared by
                  as many steps as fit. Under ``sync`` that is so for the input's checkpoint. ``put_writes`` queues
                  ordinary writes: they are durable with the next checkpoint, or after the log's flush interval, which
                  comes first. LangGraph does not wait for them in any mode, so a flush of their own would only delay
                  the one that it waits for. Questions, answers and errors are waited for, since no checkpoint follows
                  them. ``durable_writes=True`` waits for all.

ORDER             A checkpoint is appended behind the writes that led to it. LangGraph hands both to a pool of threads,
                  so a write may be overtaken on the way here; which tasks must have written is known from what the
                  checkpoint has seen, and for those ``put`` waits a moment.

TWO WRITERS       Nobody claims a thread, for LangGraph does not say when a run ends. Who puts a checkpoint on a parent
                  that was handed out here as the newest, and that meanwhile has another child, hears
                  ``CheckpointSuperseded``, in this process or another one. Asking for a checkpoint by its id is how
                  LangGraph travels in time: then a second child is what is wanted. ``on_superseded="fork"`` allows all.

Invariants:
1. What ``put`` returned from is in the log, with the writes that led to it.
2. Values are bytes with a tag here; only ``serde`` makes and reads them, whatever it does to them.
3. Sync and async differ in how they wait, and in nothing else.

It must not know how the index is kept.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ..engine.errors import NotAvailable
from ..wal.log import Log
from ..wal.log_reading import as_thread_id

try:
    from langgraph.checkpoint.base import BaseCheckpointSaver, CheckpointTuple
except ImportError as error:
    message = f"WalSaver needs langgraph, which cannot be imported: {error}."
    raise NotAvailable(message, hint="pip install 'walgraph[langgraph]'") from error

from ..wal.saved_thread import GRAPH
from .langgraph_store import OnLog, WalCache, WalStore
from .saved_draft import Typed
from .saved_drop import all_but, drop, of_runs
from .saved_lane import Lane, Make
from .saved_lanes import lanes_of
from .saved_put import TASKS, await_writes, goes_on, putting, writing
from .saved_view import Place, View, config_of, selected

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig
    from langgraph.checkpoint.base import (
        ChannelVersions,
        Checkpoint,
        CheckpointMetadata,
        DeltaChannelHistory,
    )
    from langgraph.checkpoint.serde.base import SerializerProtocol

__all__ = ["WalCache", "WalSaver", "WalStore"]

V = TypeVar("V")
OnSuperseded = Literal["raise", "fork"]


class WalSaver(OnLog, BaseCheckpointSaver[str]):
    """A checkpointer in a log, for threads and asyncio alike.

    Args:
        log: The log, or the directory of one, which is made if it is not there and closed with the saver.
        serde: LangGraph's serialiser; its own if omitted. Encrypting ones are fine.
        on_superseded: What to do when a parent has got another child since it was handed out as the newest: ``raise``
            ``CheckpointSuperseded``, or let the thread ``fork``.
        durable_writes: Whether ``put_writes`` waits until all writes are durable.
    """

    def __init__(
        self,
        log: Log | str | os.PathLike[str],
        *,
        serde: SerializerProtocol | None = None,
        on_superseded: OnSuperseded = "raise",
        durable_writes: bool = False,
    ) -> None:
        if on_superseded not in ("raise", "fork"):
            message = f"on_superseded must be 'raise' or 'fork', not {on_superseded!r}."
            raise ValueError(message)
        super().__init__(log, serde=serde)
        self.on_superseded = on_superseded
        self.durable_writes = durable_writes

    def flush(self) -> None:
        """Return when everything that was put is durable."""
        lanes_of(self.log).flush()

    def close(self) -> None:
        """Flush, and close the log if this saver opened it; idempotent."""
        if not self.log.closed:
            self.flush()
        super().close()

    # Reading

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a checkpoint: the one that the config names, or the newest of its namespace; None if there is none."""
        thread, ns, asked = _place(config)
        lane = self._lane(thread)

        def look() -> View | None:
            state = lane.current()
            wanted = asked
            if wanted is None:
                space = state.spaces.get(ns)
                wanted = None if space is None else space.newest
            lane.hand_out(ns, wanted, as_newest=asked is None)
            if wanted is None or state.record(ns, wanted) is None:
                return None
            return View.of(lane, ns, wanted)

        view = lane.looked(look)
        return None if view is None else self._tuple(lane, view)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Yield checkpoints, newest first.

        Args:
            config: The thread, and, if they are to be fixed, the namespace and the id; None for all threads.
            filter: Keys and values that the metadata must have.
            before: Only checkpoints before this one.
            limit: How many at most.
        """
        threads = self._saved_threads() if config is None else [_thread(config)]
        conf: dict[str, Any] = {} if config is None else config["configurable"]
        only = conf.get("checkpoint_ns"), conf.get("checkpoint_id")
        until = None if before is None else before["configurable"].get("checkpoint_id")
        left = -1 if limit is None else limit
        for place in selected(self._lane, threads, (*only, until), filter):
            if not left:
                return
            lane = self._lane(place.thread)

            def look(lane: Lane = lane, place: Place = place) -> View | None:
                # It may have been dropped while the caller looked at those before.
                if lane.current().record(place.ns, place.id) is None:
                    return None
                lane.hand_out(place.ns, place.id, as_newest=False)
                return View.of(lane, place.ns, place.id)

            view = lane.looked(look)
            if view is not None:
                left -= 1
                yield self._tuple(lane, view)

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return, for each channel, what its ancestors wrote, oldest first, and the value that this began with."""
        thread, ns, asked = _place(config)
        lane = self._lane(thread)
        found: dict[str, Any] = {channel: {"writes": []} for channel in channels}
        with lane.lock:
            state = lane.current()
            space = state.spaces.get(ns)
            start = asked if asked is not None or space is None else space.newest
            if start is None or state.record(ns, start) is None:
                return found
            raw: dict[str, list[tuple[str, str, Typed]]] = {channel: [] for channel in found}
            seeds: dict[str, Typed] = {}
            open_ones = set(found)
            for ancestor in state.lineage(ns, start):
                if not open_ones:
                    break
                view = View.of(lane, ns, ancestor, channels=open_ones)
                for write in reversed(view.writes):
                    if write[1] in open_ones:
                        raw[write[1]].append(write)
                seeds.update(view.values)
                open_ones -= view.values.keys()
        loads = self.serde.loads_typed
        for channel, history in found.items():
            written = [(task, name, loads(value)) for task, name, value in reversed(raw[channel])]
            history["writes"] = written
            if channel in seeds:
                history["seed"] = loads(seeds[channel])
        return found

    def _tuple(self, lane: Lane, view: View) -> CheckpointTuple:
        loads = self.serde.loads_typed
        record = view.record
        checkpoint: dict[str, Any] = {
            "v": record.v,
            "id": record.id,
            "ts": record.ts,
            "channel_values": {channel: loads(value) for channel, value in view.values.items()},
            "channel_versions": dict(view.versions),
            "versions_seen": {node: dict(seen) for node, seen in view.seen.items()},
        }
        if record.updated is not False:
            checkpoint["updated_channels"] = None if record.updated is None else [*record.updated]
        if view.rest is not None:
            checkpoint.update(loads(view.rest))
        sends = checkpoint["channel_values"].get(TASKS)
        if sends:
            lane.note_sends(record.ns, record.id, len(sends))
        return CheckpointTuple(
            config_of(lane.thread, record.ns, record.id),  # type: ignore[arg-type]
            checkpoint,  # type: ignore[arg-type]
            dict(record.metadata),  # type: ignore[arg-type]
            None if record.parent is None else config_of(lane.thread, record.ns, record.parent),  # type: ignore[arg-type]
            [(task, channel, loads(value)) for task, channel, value in view.writes],
        )

    # Writing

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Put a checkpoint, and return its config when it is durable.

        Raises:
            CheckpointSuperseded: Its parent has got another child meanwhile.
            NotSerializable: The metadata cannot be written.
            OtherThread: Walgraph runs the thread.
        """
        lane, parent = self._lane(_thread(config)), config["configurable"].get("checkpoint_id")
        if parent is not None and metadata.get("source") == "loop":
            await_writes(lane, config, checkpoint)
        make = self._putting(config, checkpoint, metadata, new_versions)
        lane.change(make, goes_on=goes_on(config, checkpoint, metadata))
        return config_of(lane.thread, config["configurable"].get("checkpoint_ns", ""), checkpoint["id"])  # type: ignore[return-value]

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Put what a task wrote; those that LangGraph will not follow by a checkpoint are durable on return."""
        lane = self._lane(_thread(config))
        make, at_once = writing(self.serde, config, writes, task_id, task_path)
        durable = at_once or self.durable_writes
        lane.change(make, durable=durable)

    def delete_thread(self, thread_id: str) -> None:
        """Remove a thread: checkpoints, writes, and the bytes that they take in the log."""
        lane = self._lane(as_thread_id(thread_id))
        with lane.lock:
            if lane.current().seq:
                self.log.delete_thread(lane.thread)
                lane.begin_anew(None)

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Remove the checkpoints of runs, by the ``run_id`` in their metadata, with their writes, in all threads."""
        wanted = set(run_ids)
        for thread in self._saved_threads() if wanted else ():
            lane = self._lane(thread)
            drop(lane, lambda state: of_runs(state, wanted))
            with lane.lock:
                emptied = lane.current().seq and not any(
                    space.entries for space in lane.state.spaces.values()
                )
            if emptied:
                self.delete_thread(thread)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy all of a thread to a new one; a source that does not exist is no error.

        Raises:
            ThreadBusy: The target exists.
        """
        source, target = as_thread_id(source_thread_id), as_thread_id(target_thread_id)
        lane = self._lane(source)
        with lane.lock:
            if not lane.current().seq:
                return
            self.log.copy_thread(source, target)

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Drop what is old of threads, and cut the log where nothing needs it any more.

        Args:
            thread_ids: The threads; those that do not exist are no error.
            strategy: ``keep_latest``: of each namespace the newest checkpoint stays, and, of its ancestors, those that
                its delta channels still need; ``delete``: nothing stays.
        """
        if strategy not in ("keep_latest", "delete"):
            message = f"strategy must be 'keep_latest' or 'delete', not {strategy!r}."
            raise ValueError(message)
        for thread in dict.fromkeys(map(as_thread_id, thread_ids)):
            if strategy == "delete":
                self.delete_thread(thread)
                continue
            lane = self._lane(thread)
            if drop(lane, lambda state: all_but(state, 1)):
                lane.cut()

    # The same for asyncio

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a checkpoint; see ``get_tuple``."""
        return await self._aside(_thread(config), lambda: self.get_tuple(config))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yield checkpoints, newest first; see ``list``."""
        found = self.list(config, filter=filter, before=before, limit=limit)
        while (checkpoint := await asyncio.to_thread(next, found, None)) is not None:
            yield checkpoint

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Put a checkpoint; see ``put``. An event loop begins coroutines in order, so no write is overtaken."""
        lane = self._lane(_thread(config))
        make = self._putting(config, checkpoint, metadata, new_versions)
        await lane.achange(make, goes_on=goes_on(config, checkpoint, metadata))
        return config_of(lane.thread, config["configurable"].get("checkpoint_ns", ""), checkpoint["id"])  # type: ignore[return-value]

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Put what a task wrote; see ``put_writes``."""
        lane = self._lane(_thread(config))
        make, at_once = writing(self.serde, config, writes, task_id, task_path)
        durable = at_once or self.durable_writes
        await lane.achange(make, durable=durable)

    async def adelete_thread(self, thread_id: str) -> None:
        """Remove a thread; see ``delete_thread``."""
        await asyncio.to_thread(self.delete_thread, thread_id)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Remove the checkpoints of runs; see ``delete_for_runs``."""
        await asyncio.to_thread(self.delete_for_runs, run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread; see ``copy_thread``."""
        await asyncio.to_thread(self.copy_thread, source_thread_id, target_thread_id)

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Drop what is old; see ``prune``."""
        await asyncio.to_thread(lambda: self.prune(thread_ids, strategy=strategy))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """Return what ancestors wrote; see ``get_delta_channel_history``."""
        return await self._aside(
            _thread(config), lambda: self.get_delta_channel_history(config=config, channels=channels)
        )

    # Versions

    def get_next_version(self, current: str | float | None, channel: None) -> str:
        """Return the version after ``current``: 32 digits, which sort behind the versions of LangGraph's savers."""
        if current is None:
            return f"{1:032}"
        number = current.partition(".")[0] if isinstance(current, str) else current
        return f"{int(number) + 1:032}"

    # Within

    def _lane(self, thread: str) -> Lane:
        return lanes_of(self.log).lane(self.log, thread)

    async def _aside(self, thread: str, function: Callable[[], V]) -> V:
        """Call in a thread what may take long: the index is not in memory, or something must be flushed first."""
        if self._lane(thread).is_at_hand:
            return function()
        return await asyncio.to_thread(function)

    def _putting(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> Make:
        fork = self.on_superseded == "fork"
        return putting(self.serde, config, checkpoint, metadata, new_versions, fork=fork)

    def _saved_threads(self) -> Sequence[str]:
        return [head.thread_id for head in self.log.threads() if head.graph == GRAPH]


def _thread(config: RunnableConfig) -> str:
    return as_thread_id(config["configurable"]["thread_id"])


def _place(config: RunnableConfig) -> tuple[str, str, str | None]:
    conf = config["configurable"]
    return _thread(config), conf.get("checkpoint_ns", ""), conf.get("checkpoint_id") or None
