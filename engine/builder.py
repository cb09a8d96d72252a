"""``StateGraph``: collects a drawing, checks it, compiles it.

    StateGraph(State).add_node(…).add_edge(…)  ── drawing: what was said, in the order it was said
                     .compile(…)               ── checked, and made into a Program and its CompiledGraph

Names, signatures and messages are LangGraph's (§1.1, §3.1), so that graphs port by changing an import.

It must not run anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeAlias

from ..replay.blueprint import Blueprint
from ..replay.channel import BaseChannel, LastValue
from ..replay.identity import END, LEVEL_SEPARATOR, START, TASK_SEPARATOR
from .errors import InvalidGraph
from .graph import CompiledGraph
from .node import Branch, Callee, InvalidAction, Node, check_stoppable, name_of, node_name_of
from .policy import NO_POLICIES, Policies
from .program import Program
from .reader import Reader, reader_of
from .schema import Schema, classes_in, read_schema
from .settings import (
    Settings,
    checked_breakpoints,
    checked_cache,
    checked_durability,
    checked_on_change,
    checked_on_mismatch,
    ensure_valid_checkpointer,
)
from .spec import BranchSpec, NodeSpec, annotated_answers, annotated_ends, annotated_input
from .typed import ContextT, InputT, NodeInputT, OutputT, Parametrised, StateNode, StateT

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from ..replay.errors import GraphChanged
    from ..wal.log import Log
    from ..wal.record import Target
    from .cache import BaseCache
    from .control import Durability, OnMismatch
    from .policy import CachePolicy, Timeout, TimeoutPolicy
    from .retry import RetryPolicy

    OnChange: TypeAlias = (
        Callable[[dict[str, Any], GraphChanged], Any]
        | CompiledGraph[Any, Any, Any, Any]
        | Literal["drop"]
        | None
    )


DEFAULT_HANDLER = "__default_error_handler__"
"""The node that ``set_node_defaults(error_handler=...)`` makes."""


class StateGraph(Parametrised, Generic[StateT, ContextT, InputT, OutputT]):
    """A graph whose nodes read and write a shared state.

    Args:
        state_schema: A TypedDict, dataclass or pydantic model; annotations say how writes are combined.
        context_schema: The type of ``runtime.context``.
        input_schema: What ``invoke`` takes; the state schema if None.
        output_schema: What ``invoke`` returns; the state schema if None.

    Raises:
        InvalidGraph: The schemas contradict each other.
    """

    def __init__(
        self,
        state_schema: type[StateT],
        context_schema: type[ContextT] | None = None,
        *,
        input_schema: type[InputT] | None = None,
        output_schema: type[OutputT] | None = None,
    ) -> None:
        self.state_schema: Any = state_schema
        self.context_schema = context_schema
        self.input_schema: Any = input_schema or state_schema
        self.output_schema: Any = output_schema or state_schema
        self.nodes: dict[str, NodeSpec] = {}
        self.edges: set[tuple[str, str]] = set()
        self.waiting_edges: set[tuple[tuple[str, ...], str]] = set()
        self.branches: dict[str, dict[str, BranchSpec]] = {}
        self.channels: dict[str, BaseChannel] = {}
        self.managed: dict[str, type] = {}
        self.schemas: dict[Any, Schema] = {}
        self.compiled = False
        self._defaults = NO_POLICIES
        self._default_handler: Callee | None = None
        self._add_schema(state_schema)
        self._add_schema(self.input_schema, boundary=True)
        self._add_schema(self.output_schema, boundary=True)

    def set_node_defaults(
        self,
        *,
        retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
        cache_policy: CachePolicy | None = None,
        error_handler: Callable[..., Any] | None = None,
        timeout: Timeout | TimeoutPolicy = None,
    ) -> Self:
        """Say what holds for every node that is not told otherwise; what subgraphs are told is their own affair.

        Args:
            retry_policy: When and how often to try again; also for error handlers.
            cache_policy: How results are kept to be used again.
            error_handler: What runs in place of a node that has failed.
            timeout: How long an attempt may take; also for error handlers.

        Raises:
            InvalidGraph: A time-out makes no sense.
        """
        self._defaults = Policies.of(retry_policy, cache_policy, timeout).over(self._defaults)
        if error_handler is not None:
            self._default_handler = Callee(error_handler)
        return self

    def add_node(
        self,
        node: str | StateNode[NodeInputT],
        action: StateNode[NodeInputT] | None = None,
        *,
        defer: bool = False,
        metadata: dict[str, Any] | None = None,
        input_schema: type[NodeInputT] | None = None,
        retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
        cache_policy: CachePolicy | None = None,
        error_handler: Callable[..., Any] | None = None,
        destinations: dict[str, str] | tuple[str, ...] | None = None,
        timeout: Timeout | TimeoutPolicy = None,
    ) -> Self:
        """Add a node.

        Args:
            node: The node's name, or what it calls, whose name it then takes.
            action: A function, coroutine function, callable, partial, method or compiled graph.
            defer: Whether to wait until nothing else is due.
            metadata: Notes of yours about the node.
            input_schema: What the node is given; None for the annotation of its first parameter, or the state.
            retry_policy: When and how often to try again if it raises; of several the first that matches the error.
            cache_policy: How its results are kept, to be used again for equal input.
            error_handler: What runs in its place, with its input, when it has failed for good. A parameter annotated
                ``error: NodeError`` is told of the failure; what it returns counts as if a node had returned it.
            destinations: Where it may go by ``Command``, for drawings only; a dict gives the edges labels.
            timeout: Seconds or timedelta that an attempt may take, or a ``TimeoutPolicy``; for coroutine functions.

        Raises:
            InvalidGraph: The name is taken, reserved or not to be found, or a time-out makes no sense.
        """
        policies = Policies.of(retry_policy, cache_policy, timeout)
        if not isinstance(node, str):
            action = node
            node = node_name_of(node)
        elif action is None:
            message = f"node {node!r} has no action"
            raise InvalidAction(message, hint="Call add_node(name, function), or add_node(function).")
        self._check_name(node)
        callee = Callee(action)
        schema = input_schema or annotated_input(action) or self.state_schema
        handler = None if error_handler is None else Callee(error_handler)
        handler_name = None if handler is None else f"__error_handler__{node}"
        if handler_name in self.nodes:
            message = f"Auto-generated error handler node `{handler_name}` already exists."
            raise InvalidGraph(message, hint="Rename the node that has this name.")
        self._add_schema(schema)
        if handler is not None and handler_name is not None:
            self.nodes[handler_name] = NodeSpec(handler, schema, is_error_handler=True)
        self.nodes[node] = NodeSpec(
            callee, schema, policies, defer, metadata, handler_name,
            destinations=destinations, ends=annotated_ends(action),
        )  # fmt: skip
        return self

    def add_edge(self, start_key: str | list[str], end_key: str) -> Self:
        """Go from a node to another; from several, once all of them have finished.

        Args:
            start_key: A node's name or START; or a list of nodes.
            end_key: A node's name or END.

        Raises:
            InvalidGraph: A node is not there, or the edge begins at END or ends at START.
        """
        if isinstance(start_key, str):
            if start_key == END:
                message = "END cannot be a start node"
                raise InvalidGraph(message)
            if end_key == START:
                message = "START cannot be an end node"
                raise InvalidGraph(message)
            self.edges.add((start_key, end_key))
            return self
        for name in start_key:
            if name == END:
                message = "END cannot be a start node"
                raise InvalidGraph(message)
            if name not in self.nodes:
                message = f"Need to add_node `{name}` first"
                raise InvalidGraph(message)
        if end_key == START:
            message = "START cannot be an end node"
            raise InvalidGraph(message)
        if end_key != END and end_key not in self.nodes:
            message = f"Need to add_node `{end_key}` first"
            raise InvalidGraph(message)
        # The barrier is the same whatever the order in which its members are listed.
        self.waiting_edges.add((tuple(sorted(set(start_key))), end_key))
        return self

    def add_conditional_edges(
        self, source: str, path: Any, path_map: dict[Hashable, str] | list[str] | None = None
    ) -> Self:
        """Let a function say where to go after a node.

        Args:
            source: The node's name, or START.
            path: From state to a node's name, a ``Send``, END, or a list of them.
            path_map: What the answers stand for: answer → node, or the names of the nodes; None for what the
                function's annotation ``-> Literal["a", "b"]`` names, or for any node.

        Raises:
            InvalidGraph: The node has a router of that name.
        """
        name = name_of(path) if not _is_lambda(path) else "condition"
        if path_map is None:
            path_map = list(annotated_answers(path)) or None
        ends: dict[Any, str] | None = (
            {item: item for item in path_map} if isinstance(path_map, list) else path_map
        )
        branches = self.branches.setdefault(source, {})
        if name in branches:
            message = f"Branch with name `{name}` already exists for node `{source}`"
            raise InvalidGraph(message)
        schema = annotated_input(path)
        if schema is not None:
            self._add_schema(schema)
        branches[name] = BranchSpec(path, ends, schema)
        return self

    def add_sequence(self, nodes: Sequence[StateNode[Any] | tuple[str, StateNode[Any]]]) -> Self:
        """Add nodes that run one after the other.

        Args:
            nodes: Functions, or pairs of name and function.

        Raises:
            InvalidGraph: There are none, or a name comes twice.
        """
        if not nodes:
            message = "Sequence requires at least one node."
            raise InvalidGraph(message)
        before: str | None = None
        for item in nodes:
            name, action = item if isinstance(item, tuple) else (node_name_of(item), item)
            if name in self.nodes:
                message = f"Node names must be unique: node with the name '{name}' already exists."
                raise InvalidGraph(message, hint="Give pairs of a name of your own and the function.")
            self.add_node(name, action)
            if before is not None:
                self.add_edge(before, name)
            before = name
        return self

    def set_entry_point(self, key: str) -> Self:
        """Begin at a node."""
        return self.add_edge(START, key)

    def set_conditional_entry_point(
        self, path: Any, path_map: dict[Hashable, str] | list[str] | None = None
    ) -> Self:
        """Begin where a function says."""
        return self.add_conditional_edges(START, path, path_map)

    def set_finish_point(self, key: str) -> Self:
        """End after a node."""
        return self.add_edge(key, END)

    def validate(self, interrupt: Iterable[str] | None = None) -> Self:
        """Check that the drawing makes sense.

        Raises:
            InvalidGraph: It does not; the message says where.
        """
        sources = {start for start, _ in self.edges} | set(self.branches)
        sources |= {name for names, _ in self.waiting_edges for name in names}
        for name in sorted(sources):
            if name not in self.nodes and name != START:
                message = f"Found edge starting at unknown node '{name}'"
                raise InvalidGraph(message)
        if START not in sources:
            message = "Graph must have an entrypoint: add at least one edge from START to another node"
            raise InvalidGraph(message)
        for _, end in sorted(self.edges):
            if end not in self.nodes and end != END:
                message = f"Found edge ending at unknown node `{end}`"
                raise InvalidGraph(message)
        for source, branches in self.branches.items():
            for name, branch in branches.items():
                for end in (branch.ends or {}).values():
                    if end not in self.nodes and end != END:
                        message = f"At '{source}' node, '{name}' branch found unknown target '{end}'"
                        raise InvalidGraph(message)
        for name in interrupt or ():
            checked_breakpoints([name], list(self.nodes))
        return self

    def compile(
        self,
        checkpointer: Log | bool | None = None,  # noqa: FBT001 - LangGraph's signature
        *,
        cache: BaseCache[Any] | None = None,
        store: Any = None,
        interrupt_before: Sequence[str] | str | None = None,
        interrupt_after: Sequence[str] | str | None = None,
        debug: bool = False,
        name: str | None = None,
        durability: Durability | None = None,
        on_mismatch: OnMismatch | None = None,
        on_change: OnChange = None,
    ) -> CompiledGraph[StateT, ContextT, InputT, OutputT]:
        """Check the drawing and make a graph that can be run.

        Args:
            checkpointer: The log; None for none, or for the log of the graph around it.
            cache: Where nodes that have a ``cache_policy`` look for results; None for that of the graph around it.
            store: Handed to nodes as ``runtime.store``.
            interrupt_before: Nodes to stop before, or ``"*"``.
            interrupt_after: Nodes to stop after, or ``"*"``.
            debug: Whether calls that do not say show updates and values on the terminal.
            name: The graph's name in logs and errors.
            durability: The mode for calls that name none.
            on_mismatch: What is done about ``@task`` calls that are not the recorded ones: ``raise`` NonDeterminism,
                ``rerun`` them, or ``accept`` what is recorded; None for ``raise``, or what the graph around it says.
            on_change: What is done about a thread whose unfinished step needs what this graph has not. The graph that
                it had before: that carries it on. A function of its values and the ``GraphChanged``: it returns the
                values that change, or a ``Command`` that also says where to go on. ``drop``: what is gone is given up.
                None: ``GraphChanged`` is raised.

        Raises:
            InvalidGraph: The drawing does not make sense.
            TypeError: The checkpointer or the cache is none.
        """
        self.validate()
        nodes = list(self.nodes)
        settings = Settings(
            log=ensure_valid_checkpointer(checkpointer),
            cache=checked_cache(cache),
            store=store,
            interrupt_before=checked_breakpoints(interrupt_before, nodes),
            interrupt_after=checked_breakpoints(interrupt_after, nodes),
            durability=checked_durability(durability),
            context_schema=self.context_schema,
            debug=debug,
            on_mismatch=checked_on_mismatch(on_mismatch),
            on_change=checked_on_change(on_change),
        )
        self.compiled = True
        return CompiledGraph(self._program(name or "LangGraph"), settings, self)

    def _program(self, name: str) -> Program:
        channels = dict(self.channels)
        nodes: dict[str, Node] = {START: Node(START, None, Reader(channels, ()))}
        specs = self._specs()
        for key, spec in specs.items():
            reader = reader_of(channels, self.schemas[spec.schema])
            node = Node(
                key, spec.callee, reader, policies=spec.policies, deferred=spec.defer, metadata=spec.metadata
            )
            check_stoppable(spec.callee, node.timeout, "Node", key)
            node.handler, node.is_error_handler = spec.error_handler, spec.is_error_handler
            nodes[key] = node
        ends: dict[str, list[str]] = {key: [] for key in nodes}
        joins: dict[str, list[tuple[tuple[str, ...], str]]] = {key: [] for key in nodes}
        for start, end in sorted(self.edges):
            ends[start].append(end)
        for members, end in sorted(self.waiting_edges):
            for member in members:
                joins[member].append((members, end))
        for key, node in nodes.items():
            node.targets = self._targets(key, ends[key], joins[key])
            for branch, drawn in self.branches.get(key, {}).items():
                # A router that does not say what it reads is given what its node is given.
                given_schema = specs[key].schema if key in specs else self.state_schema
                schema = self.schemas[drawn.schema or given_schema]
                node.branches.append(Branch(branch, drawn.path, drawn.ends, reader_of(channels, schema)))
        drawn_nodes = {key: self._drawn(node, ends[key], joins[key]) for key, node in nodes.items()}
        blueprint = Blueprint(name, START, channels, drawn_nodes)
        output, given = self.schemas[self.output_schema], self.schemas[self.input_schema]
        return Program(
            blueprint,
            nodes,
            self.schemas,
            Reader(channels, channels, root="__root__" in channels, model=self.schemas[self.state_schema]),
            Reader(channels, output.channels, root=output.kind == "root", model=output),
            {cls for schema in (*self.schemas, self.context_schema) if schema for cls in classes_in(schema)},
            given.channels,
        )

    def _specs(self) -> dict[str, NodeSpec]:
        """Return the nodes with the defaults that hold for those that were not told otherwise."""
        specs = dict(self.nodes)
        if self._default_handler is not None:
            if DEFAULT_HANDLER in specs:
                message = f"Auto-generated default error handler node `{DEFAULT_HANDLER}` already exists."
                raise InvalidGraph(message, hint="Rename the node that has this name.")
            specs[DEFAULT_HANDLER] = NodeSpec(self._default_handler, self.state_schema, is_error_handler=True)
        # A handler's input may differ from one failure to the next though the key is the same, so none is cached.
        for_handlers = self._defaults._replace(cache=None)
        for key, spec in specs.items():
            if spec.is_error_handler:
                specs[key] = spec._replace(policies=spec.policies.over(for_handlers))
            else:
                handler = DEFAULT_HANDLER if self._default_handler is not None else None
                specs[key] = spec._replace(
                    policies=spec.policies.over(self._defaults), error_handler=spec.error_handler or handler
                )
        return specs

    def _drawn(self, node: Node, ends: list[str], joins: list[tuple[tuple[str, ...], str]]) -> dict[str, Any]:
        """Return what a log keeps of a node; what is empty is left out, since a graph may have thousands."""
        drawn = {
            "to": ends,
            "joins": [end for _, end in joins],
            "routers": sorted(self.branches.get(node.name, {})),
            "deferred": node.deferred,
            "error_handler": node.handler,
        }
        return {part: value for part, value in drawn.items() if value}

    def _targets(
        self, key: str, ends: list[str], joins: list[tuple[tuple[str, ...], str]]
    ) -> tuple[Target, ...]:
        """Return where a node's plain edges lead, in a fixed order."""
        plain = [end for end in ends if end != END]
        targets: list[Target] = [("defer", end) if self.nodes[end].defer else end for end in plain]
        for members, end in joins:
            if end != END:
                targets.append(("join", list(members), end, self.nodes[end].defer, key))
        return tuple(targets)

    def _check_name(self, name: str) -> None:
        if name in self.nodes:
            message = f"Node `{name}` already present."
            raise InvalidGraph(message)
        if name in {START, END}:
            message = f"Node `{name}` is reserved."
            raise InvalidGraph(message)
        for character in (TASK_SEPARATOR, LEVEL_SEPARATOR):
            if character in name:
                message = f"'{character}' is a reserved character and is not allowed in the node names."
                raise InvalidGraph(message)

    def _add_schema(self, given: Any, *, boundary: bool = False) -> None:
        """Take a schema's channels into the graph's."""
        if given in self.schemas:
            if not boundary:
                return
            schema = self.schemas[given]
        else:
            schema = self.schemas[given] = read_schema(given)
        if boundary and given is not self.state_schema and schema.managed:
            name = getattr(given, "__name__", str(given))
            message = (
                f"Invalid managed channels detected in {name}: {', '.join(schema.managed)}. "
                "Managed channels are not permitted in Input/Output schema."
            )
            raise InvalidGraph(message)
        for key, channel in schema.channels.items():
            held = self.channels.get(key)
            if held is None:
                self.channels[key] = channel
            elif held != channel and not isinstance(channel, LastValue):
                message = f"Channel '{key}' already exists with a different type"
                raise InvalidGraph(message)
        for key, manager in schema.managed.items():
            if self.managed.setdefault(key, manager) is not manager:
                message = f"Managed value '{key}' already exists with a different type"
                raise InvalidGraph(message)


def _is_lambda(function: Any) -> bool:
    return getattr(function, "__name__", "") == "<lambda>"
