"""A compiled graph: what users call.

    invoke ainvoke stream astream        run it
    get_state get_state_history          look at its thread
    update_state bulk_update_state       change its state from outside
    with_config copy                     another one of it
    batch abatch …                       run it for several inputs: batch.Batched
    get_graph get_subgraphs …            what it is: describe.Described

Each pair of a method and its ``a…`` twin differs in what waits; everything else is written once.

What many programs never call (looking at threads, editing them, event loops) is loaded by the first call of it.

It must not decide what a run does (``loop``, ``opening``) nor how (drivers).
"""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, Unpack, overload

from .batch import Batched
from .config import merged
from .control import StateUpdate
from .describe import Described
from .drive_sync import drive, unseen
from .errors import InvalidGraph
from .policy import seconds_of
from .session import Session
from .settings import Compiled
from .stream import wanted
from .typed import ContextT, InputT, OutputT, Parametrised, StateT

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterable, Iterator, Sequence

    from ..wal.log import IfBusy
    from .cache import BaseCache, Namespace
    from .control import Command, Durability, StateSnapshot, Version
    from .loop import End
    from .parts import GraphOutput
    from .policy import Timeout
    from .program import Program
    from .reading import Reading
    from .run_control import RunControl
    from .settings import Settings
    from .stream import Wanted
    from .typed import CallOptions


class CompiledGraph(Described, Batched, Parametrised, Generic[StateT, ContextT, InputT, OutputT]):
    """A graph that can be run.

    Args:
        program: What to run.
        settings: What ``compile`` was told.
        builder: The ``StateGraph`` it was compiled from, or the function of an entrypoint.
    """

    def __init__(self, program: Program, settings: Settings, builder: Any = None) -> None:
        self.parts = Compiled(program, settings)
        self.program = program
        self.settings = settings
        self.builder = builder
        self.name = program.name
        self.nodes = program.nodes

    def __repr__(self) -> str:
        """Return name and nodes."""
        return f"<{type(self).__name__} {self.name!r}: {', '.join(self.nodes)}>"

    @property
    def step_timeout(self) -> float | None:
        """The seconds that a superstep may take before the run stops with a ``TimeoutError``; None for no limit."""
        return self.settings.step_timeout

    @step_timeout.setter
    def step_timeout(self, seconds: Timeout) -> None:
        self.settings = self.settings._replace(step_timeout=seconds_of("step_timeout", seconds))
        self.parts = Compiled(self.program, self.settings)

    def with_config(self, config: dict[str, Any] | None = None, **options: Any) -> Self:
        """Return the same graph with a config of its own, over which the config of each call is laid.

        Args:
            config: Tags and callbacks are added up, metadata and configurable are merged by key.
            options: Keys of the config, such as ``tags=["nightly"]``.
        """
        return self.copy({"config": merged(self.settings.config, config, options)})

    def copy(self, update: dict[str, Any] | None = None) -> Self:
        """Return the same graph with some of what ``compile`` was told said otherwise.

        Args:
            update: Attribute → new value: ``name``, ``checkpointer``, ``config``, ``interrupt_before_nodes`` and so on.

        Raises:
            ValueError: There is no such attribute.
        """
        return type(self)(*self.parts.changed(update or {}), self.builder)

    @overload
    def invoke(
        self,
        input: InputT | Command[Any] | None,
        config: dict[str, Any] | None = None,
        *,
        stream_mode: Literal["values"] = "values",
        version: Literal["v2"],
        **options: Unpack[CallOptions[ContextT]],
    ) -> GraphOutput[OutputT]: ...

    @overload
    def invoke(
        self,
        input: InputT | Command[Any] | None,
        config: dict[str, Any] | None = None,
        *,
        stream_mode: str | Sequence[str] = "values",
        version: Version = "v1",
        **options: Unpack[CallOptions[ContextT]],
    ) -> dict[str, Any] | Any: ...

    def invoke(
        self,
        input: InputT | Command[Any] | None,
        config: dict[str, Any] | None = None,
        *,
        context: ContextT | None = None,
        stream_mode: str | Sequence[str] = "values",
        print_mode: str | Sequence[str] = (),
        output_keys: str | Sequence[str] | None = None,
        interrupt_before: Sequence[str] | str | None = None,
        interrupt_after: Sequence[str] | str | None = None,
        durability: Durability | None = None,
        control: RunControl | None = None,
        subgraphs: bool = False,
        debug: bool | None = None,
        version: Version = "v1",
        if_busy: IfBusy = "raise",
    ) -> dict[str, Any] | Any:
        """Run the graph and return its output.

        Args:
            input: What the graph's input schema says; None to resume; a ``Command`` to answer or steer.
            config: ``{"configurable": {"thread_id": ...}, "recursion_limit": ..., "max_concurrency": ...}``.
            context: What nodes find as ``runtime.context``; not recorded.
            stream_mode: ``"values"`` for the output itself; any other mode for a list of what it would stream.
            print_mode: A mode or modes to show on the terminal.
            output_keys: The channels to return; None for those of the output schema.
            interrupt_before: Nodes to stop before.
            interrupt_after: Nodes to stop after.
            durability: ``"sync"``, ``"async"`` or ``"exit"``; None for the graph's default.
            control: To ask the run to stop, from elsewhere.
            subgraphs: Whether what is streamed and printed includes subgraphs' events.
            debug: Whether to show updates and values on the terminal.
            version: ``"v2"`` for a ``GraphOutput``, and for chunks that are dicts.
            if_busy: What to do if another run owns the thread: ``"raise"``, ``"wait"`` or ``"steal"``.

        Returns:
            The output, with a key ``"__interrupt__"`` if the run stopped to ask; or a ``GraphOutput``.

        Raises:
            MissingThreadId: The graph has a log and the config no thread id.
            ThreadBusy: Another run owns the thread.
            EmptyInputError: There is nothing to run.
            AnswerError: Answers and open questions do not match.
            GraphRecursionError: The run took as many steps as it may.
            NotSerializable: A value cannot be recorded.
            Exception: What user code raised, with notes.
        """
        session = Session(self.parts, config, context, output_keys, durability, control)
        session.stop_at(interrupt_before, interrupt_after)
        shown = wanted(stream_mode, print_mode, version, subgraphs=subgraphs, debug=self._debug(debug))
        if stream_mode != "values":
            return list(self._stream(session, input, shown, if_busy))
        session.prints(shown)
        session.claim(if_busy)
        with session.begun(input) as loop:
            if loop is None:
                return session.output()
            end = unseen(drive(session.run, loop, None))
            return session.finish(end)

    def stream(
        self,
        input: InputT | Command[Any] | None,
        config: dict[str, Any] | None = None,
        *,
        context: ContextT | None = None,
        stream_mode: str | Sequence[str] | None = None,
        print_mode: str | Sequence[str] = (),
        output_keys: str | Sequence[str] | None = None,
        interrupt_before: Sequence[str] | str | None = None,
        interrupt_after: Sequence[str] | str | None = None,
        durability: Durability | None = None,
        control: RunControl | None = None,
        subgraphs: bool = False,
        debug: bool | None = None,
        version: Version = "v1",
        if_busy: IfBusy = "raise",
    ) -> Iterator[Any]:
        """Run the graph and yield what happens, as it happens.

        Args:
            input: As for ``invoke``; so are ``config`` to ``control``, and ``if_busy``.
            config: See ``invoke``.
            context: See ``invoke``.
            stream_mode: A mode, whose payloads are yielded, or a list of modes, which yields pairs of mode and payload.
            print_mode: See ``invoke``.
            output_keys: See ``invoke``.
            interrupt_before: See ``invoke``.
            interrupt_after: See ``invoke``.
            durability: See ``invoke``.
            control: See ``invoke``.
            subgraphs: Whether to yield subgraphs' events too; then each chunk begins with its namespace.
            debug: See ``invoke``.
            version: ``"v2"`` for chunks ``{"type": mode, "ns": namespace, "data": payload}``.
            if_busy: See ``invoke``.

        Raises:
            ValueError: A mode, the version or the durability is not known.
        """
        session = Session(self.parts, config, context, output_keys, durability, control)
        session.stop_at(interrupt_before, interrupt_after)
        session.show_all()
        mode = stream_mode or self.settings.stream_mode
        shown = wanted(mode, print_mode, version, subgraphs=subgraphs, debug=self._debug(debug))
        return self._stream(session, input, shown, if_busy)

    def _debug(self, debug: bool | None) -> bool:  # noqa: FBT001 - the one thing that it is about
        return self.settings.debug if debug is None else debug

    def _stream(
        self, session: Session, given: Any, shown: Wanted, if_busy: IfBusy
    ) -> Generator[Any, None, None]:
        sink = session.watch(shown)
        session.claim(if_busy)
        with session.begun(given) as loop:
            if loop is None:
                yield from session.standing(sink)
                return
            end = yield from drive(session.run, loop, sink)
            session.finish(end)

    @overload
    async def ainvoke(
        self,
        input: InputT | Command[Any] | None,
        config: dict[str, Any] | None = None,
        *,
        stream_mode: Literal["values"] = "values",
        version: Literal["v2"],
        **options: Unpack[CallOptions[ContextT]],
    ) -> GraphOutput[OutputT]: ...

    @overload
    async def ainvoke(
        self,
        input: InputT | Command[Any] | None,
        config: dict[str, Any] | None = None,
        *,
        stream_mode: str | Sequence[str] = "values",
        version: Version = "v1",
        **options: Unpack[CallOptions[ContextT]],
    ) -> dict[str, Any] | Any: ...

    async def ainvoke(
        self,
        input: InputT | Command[Any] | None,
        config: dict[str, Any] | None = None,
        *,
        context: ContextT | None = None,
        stream_mode: str | Sequence[str] = "values",
        print_mode: str | Sequence[str] = (),
        output_keys: str | Sequence[str] | None = None,
        interrupt_before: Sequence[str] | str | None = None,
        interrupt_after: Sequence[str] | str | None = None,
        durability: Durability | None = None,
        control: RunControl | None = None,
        subgraphs: bool = False,
        debug: bool | None = None,
        version: Version = "v1",
        if_busy: IfBusy = "raise",
    ) -> dict[str, Any] | Any:
        """Run the graph on the event loop and return its output; see ``invoke``."""
        session = Session(self.parts, config, context, output_keys, durability, control)
        session.stop_at(interrupt_before, interrupt_after)
        shown = wanted(stream_mode, print_mode, version, subgraphs=subgraphs, debug=self._debug(debug))
        if stream_mode != "values":
            return [chunk async for chunk in self._astream(session, input, shown, if_busy)]
        session.prints(shown)
        await session.aclaim(if_busy)
        with session.begun(input) as loop:
            if loop is None:
                return session.output()
            from .drive_async import adrive

            ends: list[End] = []
            async for _ in adrive(session.run, loop, None, ends):
                pass
            return await session.afinish(ends[0])

    async def astream(
        self,
        input: InputT | Command[Any] | None,
        config: dict[str, Any] | None = None,
        *,
        context: ContextT | None = None,
        stream_mode: str | Sequence[str] | None = None,
        print_mode: str | Sequence[str] = (),
        output_keys: str | Sequence[str] | None = None,
        interrupt_before: Sequence[str] | str | None = None,
        interrupt_after: Sequence[str] | str | None = None,
        durability: Durability | None = None,
        control: RunControl | None = None,
        subgraphs: bool = False,
        debug: bool | None = None,
        version: Version = "v1",
        if_busy: IfBusy = "raise",
    ) -> AsyncIterator[Any]:
        """Run the graph on the event loop and yield what happens; see ``stream``."""
        session = Session(self.parts, config, context, output_keys, durability, control)
        session.stop_at(interrupt_before, interrupt_after)
        session.show_all()
        mode = stream_mode or self.settings.stream_mode
        shown = wanted(mode, print_mode, version, subgraphs=subgraphs, debug=self._debug(debug))
        # An ``async for`` that is left does not close what it iterates over; the claim must not wait for that.
        inner = self._astream(session, input, shown, if_busy)
        async with aclosing(inner) as chunks:
            async for chunk in chunks:
                yield chunk

    async def _astream(
        self, session: Session, given: Any, shown: Wanted, if_busy: IfBusy
    ) -> AsyncGenerator[Any, None]:
        sink = session.watch(shown)
        await session.aclaim(if_busy)
        with session.begun(given) as loop:
            if loop is None:
                for chunk in session.standing(sink):
                    yield chunk
                return
            from .drive_async import adrive

            ends: list[End] = []
            async with aclosing(adrive(session.run, loop, sink, ends)) as chunks:
                async for chunk in chunks:
                    yield chunk
            await session.afinish(ends[0])

    def get_state(self, config: dict[str, Any], *, subgraphs: bool = False) -> StateSnapshot:
        """Return the thread's state, or that of the checkpoint that the config names.

        Args:
            config: With ``thread_id``, ``checkpoint_id`` for an older checkpoint, ``checkpoint_ns`` for a subgraph.
            subgraphs: Whether tasks show their subgraphs' state instead of where it is.

        Raises:
            NoLog: The graph has no log.
            MissingThreadId: The config has no thread id.
        """
        return self._reading(config).state(subgraphs=subgraphs)

    def get_state_history(
        self,
        config: dict[str, Any],
        *,
        filter: dict[str, Any] | None = None,
        before: dict[str, Any] | None = None,
        limit: int | None = None,
    ) -> Iterator[StateSnapshot]:
        """Yield the thread's checkpoints, newest first.

        Args:
            config: With ``thread_id``; ``checkpoint_ns`` for a subgraph; ``checkpoint_id`` for just one of them.
            filter: Metadata that a checkpoint must have.
            before: The config of a checkpoint; only older ones are yielded.
            limit: How many at most.

        Raises:
            NoLog: The graph has no log.
        """
        return self._reading(config).history(filter, before, limit)

    def update_state(
        self, config: dict[str, Any], values: Any, as_node: str | None = None, task_id: str | None = None
    ) -> dict[str, Any]:
        """Change the thread's state as if a node had returned ``values``; its edges and routers follow.

        Args:
            config: With ``thread_id``, and ``checkpoint_id`` to branch off from an older checkpoint.
            values: What the node would have returned; a list of pairs of values and node with ``"__copy__"``.
            as_node: The node; None for the one that ran last, if there is just one. ``END`` without values clears what
                is due, ``"__input__"`` gives the graph an input, ``"__copy__"`` copies the checkpoint.
            task_id: The pending task whose place the edit takes, for history to show; None for the first of the node.

        Returns:
            The config of the new checkpoint.

        Raises:
            InvalidUpdateError: It is not clear which node is meant, or the values do not fit.
            ThreadBusy: A run owns the thread.
        """
        return self.bulk_update_state(config, [[StateUpdate(values, as_node, task_id)]])

    def bulk_update_state(
        self, config: dict[str, Any], supersteps: Sequence[Sequence[StateUpdate]]
    ) -> dict[str, Any]:
        """Change the thread's state several times; all changes are recorded together, or none of them.

        Args:
            config: With ``thread_id``, and ``checkpoint_id`` to branch off from an older checkpoint.
            supersteps: Each is a step with a checkpoint of its own, made of one or more updates.

        Returns:
            The config of the last checkpoint.

        Raises:
            ValueError: There are no supersteps, or one is empty.
            InvalidUpdateError: It is not clear which node is meant, or the values do not fit.
            ThreadBusy: A run owns the thread.
        """
        from .edit import update

        return update(self.parts, self.parts.under(config), supersteps)

    def _reading(self, config: dict[str, Any]) -> Reading:
        from .reading import Reading

        return Reading(self.parts, self.parts.under(config))

    async def aget_state(self, config: dict[str, Any], *, subgraphs: bool = False) -> StateSnapshot:
        """Return the thread's state; see ``get_state``."""
        return self.get_state(config, subgraphs=subgraphs)

    async def aget_state_history(
        self,
        config: dict[str, Any],
        *,
        filter: dict[str, Any] | None = None,
        before: dict[str, Any] | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[StateSnapshot]:
        """Yield the thread's checkpoints; see ``get_state_history``."""
        for snapshot in self.get_state_history(config, filter=filter, before=before, limit=limit):
            yield snapshot

    async def aupdate_state(
        self, config: dict[str, Any], values: Any, as_node: str | None = None, task_id: str | None = None
    ) -> dict[str, Any]:
        """Change the thread's state; see ``update_state``."""
        return self.update_state(config, values, as_node, task_id)

    async def abulk_update_state(
        self, config: dict[str, Any], supersteps: Sequence[Sequence[StateUpdate]]
    ) -> dict[str, Any]:
        """Change the thread's state several times; see ``bulk_update_state``."""
        return self.bulk_update_state(config, supersteps)

    def clear_cache(self, nodes: Iterable[str] | None = None) -> None:
        """Forget results that the graph's cache holds; those of tasks are forgotten by ``task.clear_cache``.

        Args:
            nodes: The nodes whose results are meant; None for all.

        Raises:
            InvalidGraph: The graph has no cache, or there is no such node.
        """
        cache, namespaces = self._cached(nodes)
        cache.clear(namespaces)

    async def aclear_cache(self, nodes: Iterable[str] | None = None) -> None:
        """Forget results that the graph's cache holds; see ``clear_cache``."""
        cache, namespaces = self._cached(nodes)
        await cache.aclear(namespaces)

    def _cached(self, nodes: Iterable[str] | None) -> tuple[BaseCache[Any], list[Namespace]]:
        from .caching import namespaces_of

        if self.cache is None:
            message = "No cache is set for this graph. Cannot clear cache."
            raise InvalidGraph(message, hint="Pass one to compile(cache=...) or @entrypoint(cache=...).")
        return self.cache, namespaces_of(self.nodes, nodes)


CompiledStateGraph = CompiledGraph
"""LangGraph's name."""
