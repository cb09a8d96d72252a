"""A compiled graph: the blueprint, which fold and plan read, and beside it everything that calls user code.

    Blueprint   data: channels, entry, node names           written to the log as the graph's fingerprint
    Program     nodes with callables, readers, routers      lives in this process only

It must not hold state or runs: one program serves many threads at once.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from ..replay.blueprint import Blueprint
from ..replay.identity import START
from ..wal.codec import GLOBAL, Registry
from .policy import NO_POLICIES
from .schema import writes_of_instance

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..wal.log import Log
    from ..wal.record import Reference
    from .node import Node
    from .reader import Reader
    from .schema import Schema


class Program:
    """Everything that is needed to run one graph.

    Args:
        blueprint: The graph as data.
        nodes: Name → node, with the entry among them.
        schemas: The schemas of the state, whose instances nodes may return.
        reader: How the whole state is read (for routers of edits and for snapshots).
        output: How what the caller is given is read.
        classes: The classes that the schemas name, which the log may rebuild.
        input_keys: The channels that an input may write; None for all.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        nodes: dict[str, Node],
        schemas: Mapping[type, Schema],
        reader: Reader,
        output: Reader,
        classes: set[type],
        input_keys: Iterable[str] | None = None,
    ) -> None:
        self.blueprint = blueprint
        self.name = blueprint.name
        self.entry = blueprint.entry
        self.nodes = nodes
        self.schemas = dict(schemas)
        self.reader = reader
        self.output = output
        self.root = "__root__" in blueprint.channels
        self.is_entrypoint = self.entry != START
        self.writable = frozenset(blueprint.channels)
        self.input_keys = self.writable if input_keys is None else frozenset(input_keys)
        self.prepare: dict[str, Callable[[Any], Any]] = {
            key: channel.prepare for key, channel in blueprint.channels.items() if channel.prepare is not None
        }
        self.is_plain = not (self.root or self.is_entrypoint or self.prepare or blueprint.untracked)
        """Whether a dict that a node returns is recorded as it is, but for keys that are no channels."""
        self.task_policies = NO_POLICIES
        """What holds for tasks that were told nothing of the kind."""
        self.registry = Registry(GLOBAL)
        for cls in classes:
            self.registry.register(cls)
            # A subgraph that is called by name is not known to the graph that reads its records.
            GLOBAL.register(cls)
        self.description = blueprint.describe()
        self._triggers: dict[str, list[str]] | None = None
        self.called: dict[str, Any] = {}
        """The graphs that functions of nodes and tasks were seen to call here, by the names of those."""
        self._references: WeakKeyDictionary[Log, Reference] = WeakKeyDictionary()

    def renamed(self, name: str) -> Program:
        """Return the same graph under another name."""
        program = copy.copy(self)
        program.name = name
        program.blueprint = Blueprint(name, self.entry, self.blueprint.channels, self.blueprint.nodes)
        program.description = program.blueprint.describe()
        program._references = WeakKeyDictionary()  # noqa: SLF001 - a program, too
        return program

    def reference(self, log: Log) -> Reference:
        """Return where a log keeps the graph's description, putting it there the first time."""
        found = self._references.get(log)
        if found is None:
            found = self._references[log] = log.put_shared(self.description)
        return found

    def triggers(self, name: str) -> tuple[str, ...]:
        """Return what can make a node due, in LangGraph's words: an edge, and the joins that lead to it."""
        if self._triggers is None:
            self._triggers = {node: [f"branch:to:{node}"] for node in self.nodes}
            if self.is_entrypoint:
                self._triggers[self.entry] = [START]
            for node in self.nodes.values():
                for target in node.targets:
                    if isinstance(target, tuple) and target[0] == "join":
                        join = f"join:{'+'.join(target[1])}:{target[2]}"
                        if join not in self._triggers[target[2]]:
                            self._triggers[target[2]].append(join)
        return tuple(self._triggers[name])

    def is_called(self, graph: str | None) -> bool:
        """Return whether ``Command(graph=...)`` means this graph by its name."""
        return graph == self.name

    def writes_of_instance(self, value: Any) -> list[tuple[str, Any]] | None:
        """Return what an instance of an annotated class writes, or None for any other value."""
        return writes_of_instance(value, self.blueprint.channels)

    def tracked_only(self, argument: Any) -> Any:
        """Return a Send's argument without the keys of untracked channels, which must not be stored."""
        untracked = self.blueprint.untracked
        if untracked and isinstance(argument, dict) and not untracked.isdisjoint(argument):
            return {key: value for key, value in argument.items() if key not in untracked}
        return argument
