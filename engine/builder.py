"""``StateGraph``: collects a drawing, checks it, compiles it.

    StateGraph(State).add_node(…).add_edge(…)  ── drawing: what was said, in the order it was said
                     .compile(…)               ── checked, and made into a Program and its CompiledGraph

Names, signatures and messages are LangGraph's (§1.1, §3.1), so that graphs port by changing an import.

It must not run anything.
"""

from __future__ import annotations

import inspect
import typing
from typing import TYPE_CHECKING, Any, Self

from ..replay.blueprint import Blueprint
from ..replay.channel import BaseChannel, LastValue
from ..replay.identity import END, LEVEL_SEPARATOR, START, TASK_SEPARATOR
from .errors import InvalidGraph
from .graph import CompiledGraph
from .node import Branch, Callee, Node, name_of
from .program import Program
from .reader import Reader, reader_of
from .retry import policies_of
from .schema import Schema, classes_in, read_schema
from .settings import Settings, checked_breakpoints, checked_durability, checked_log

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence

    from ..wal.log import Log
    from ..wal.record import Target
    from .control import Durability
    from .retry import RetryPolicy


class NodeSpec(typing.NamedTuple):
    """A node as it was added."""

    callee: Callee
    schema: Any
    retry: tuple[RetryPolicy, ...]
    defer: bool
    metadata: dict[str, Any]


class BranchSpec(typing.NamedTuple):
    """A conditional edge as it was added."""

    path: Any
    ends: dict[Any, str] | None
    schema: Any


class StateGraph:
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
        state_schema: Any,
        context_schema: type | None = None,
        *,
        input_schema: Any = None,
        output_schema: Any = None,
    ) -> None:
        self.state_schema = state_schema
        self.context_schema = context_schema
        self.input_schema = input_schema or state_schema
        self.output_schema = output_schema or state_schema
        self.nodes: dict[str, NodeSpec] = {}
        self.edges: set[tuple[str, str]] = set()
        self.waiting_edges: set[tuple[tuple[str, ...], str]] = set()
        self.branches: dict[str, dict[str, BranchSpec]] = {}
        self.channels: dict[str, BaseChannel] = {}
        self.managed: dict[str, type] = {}
        self.schemas: dict[Any, Schema] = {}
        self.compiled = False
        self._add_schema(state_schema)
        self._add_schema(self.input_schema, boundary=True)
        self._add_schema(self.output_schema, boundary=True)

    def add_node(
        self,
        node: str | Callable[..., Any],
        action: Any = None,
        *,
        defer: bool = False,
        metadata: dict[str, Any] | None = None,
        input_schema: Any = None,
        retry_policy: RetryPolicy | Sequence[RetryPolicy] | None = None,
    ) -> Self:
        """Add a node.

        Args:
            node: The node's name, or what it calls, whose name it then takes.
            action: A function, coroutine function, callable, partial, method or compiled graph.
            defer: Whether to wait until nothing else is due.
            metadata: Notes of yours about the node.
            input_schema: What the node is given; None for the annotation of its first parameter, or the state.
            retry_policy: When and how often to try again if it raises.

        Raises:
            InvalidGraph: The name is taken, reserved or not to be found.
        """
        if not isinstance(node, str):
            node, action = name_of(node), node
        elif action is None:
            message = f"node {node!r} has no action"
            raise InvalidGraph(message, hint="Call add_node(name, function), or add_node(function).")
        self._check_name(node)
        callee = Callee(action)
        schema = input_schema or _annotated_input(action) or self.state_schema
        self._add_schema(schema)
        self.nodes[node] = NodeSpec(callee, schema, policies_of(retry_policy), defer, metadata or {})
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
            path_map: What the answers stand for: answer → node, or the names of the nodes.

        Raises:
            InvalidGraph: The node has a router of that name.
        """
        name = name_of(path) if not _is_lambda(path) else "condition"
        ends: dict[Any, str] | None = (
            {item: item for item in path_map} if isinstance(path_map, list) else path_map
        )
        branches = self.branches.setdefault(source, {})
        if name in branches:
            message = f"Branch with name `{name}` already exists for node `{source}`"
            raise InvalidGraph(message)
        schema = _annotated_input(path)
        if schema is not None:
            self._add_schema(schema)
        branches[name] = BranchSpec(path, ends, schema)
        return self

    def add_sequence(self, nodes: Sequence[Any]) -> Self:
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
            name, action = item if isinstance(item, tuple) else (name_of(item), item)
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
        store: Any = None,
        interrupt_before: Sequence[str] | str | None = None,
        interrupt_after: Sequence[str] | str | None = None,
        name: str | None = None,
        durability: Durability | None = None,
    ) -> CompiledGraph:
        """Check the drawing and make a graph that can be run.

        Args:
            checkpointer: The log; None for none, or for the log of the graph around it.
            store: Handed to nodes as ``runtime.store``.
            interrupt_before: Nodes to stop before, or ``"*"``.
            interrupt_after: Nodes to stop after, or ``"*"``.
            name: The graph's name in logs and errors.
            durability: The mode for calls that name none.

        Raises:
            InvalidGraph: The drawing does not make sense.
            TypeError: The checkpointer is none.
        """
        self.validate()
        nodes = list(self.nodes)
        settings = Settings(
            log=checked_log(checkpointer),
            store=store,
            interrupt_before=checked_breakpoints(interrupt_before, nodes),
            interrupt_after=checked_breakpoints(interrupt_after, nodes),
            durability=checked_durability(durability),
            context_schema=self.context_schema,
        )
        self.compiled = True
        return CompiledGraph(self._program(name or "LangGraph"), settings, self)

    def _program(self, name: str) -> Program:
        channels = dict(self.channels)
        nodes: dict[str, Node] = {START: Node(START, None, Reader(channels, ()))}
        for key, spec in self.nodes.items():
            reader = reader_of(channels, self.schemas[spec.schema])
            nodes[key] = Node(
                key, spec.callee, reader, retry=spec.retry, deferred=spec.defer, metadata=spec.metadata
            )
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
                schema = self.schemas[drawn.schema or self.state_schema]
                node.branches.append(Branch(branch, drawn.path, drawn.ends, reader_of(channels, schema)))
        drawn_nodes = {key: self._drawn(node, ends[key], joins[key]) for key, node in nodes.items()}
        blueprint = Blueprint(name, START, channels, drawn_nodes)
        output, given = self.schemas[self.output_schema], self.schemas[self.input_schema]
        return Program(
            blueprint,
            nodes,
            self.schemas,
            Reader(channels, channels, root="__root__" in channels),
            Reader(channels, output.channels, root=output.kind == "root"),
            {cls for schema in (*self.schemas, self.context_schema) if schema for cls in classes_in(schema)},
            given.channels,
        )

    def _drawn(self, node: Node, ends: list[str], joins: list[tuple[tuple[str, ...], str]]) -> dict[str, Any]:
        """Return what a log keeps of a node; what is empty is left out, since a graph may have thousands."""
        drawn = {
            "to": ends,
            "joins": [end for _, end in joins],
            "routers": sorted(self.branches.get(node.name, {})),
            "deferred": node.deferred,
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


def _annotated_input(function: Any) -> Any:
    """Return the schema that a function's first parameter is annotated with, if it has fields."""
    target = function if inspect.isroutine(function) else getattr(function, "__call__", None)  # noqa: B004 - its annotations
    if target is None or hasattr(function, "invoke"):
        return None
    try:
        hints = typing.get_type_hints(target, include_extras=True)
        parameters = list(inspect.signature(function).parameters)
    except (NameError, TypeError, ValueError):
        # An annotation that cannot be resolved says nothing; the node then reads the whole state.
        return None
    if not parameters:
        return None
    hint = hints.get(parameters[0])
    return hint if isinstance(hint, type) and getattr(hint, "__annotations__", None) else None
