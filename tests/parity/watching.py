"""Runs a story with one library, and writes down all that a user of it could see, as plain data.

    watch(library, story) ──► [Seen, …]      one for each call: what was done, what came of it, the thread after it

Ids and times differ from library to library, so they are left out.

Invariants:
1. What is done next depends only on what this library shows of the thread.
2. What ends at the same time may end in any order: updates within a superstep are sorted.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from parity.building import World, compiled
from parity.shapes import Act, Story, keeps_state, pairing, unsaved
from parity.showing import Chunk, first_line, ordered, plain, snapshot

CONFIG: dict[str, Any] = {"configurable": {"thread_id": "1"}}
CARRIED_ON = 6
"""How often a thread is carried on after an act, at most."""


class Seen(NamedTuple):
    """One call, and the thread after it.

    Args:
        did: What was done.
        outcome: What the call returned or raised: ``("returned", value)`` or ``("raised", type, message)``.
        chunks: What it streamed.
        ran: Which bodies ran, with what, in any order.
        state: The thread's state.
        history: Its checkpoints, newest first.
        has_misrouted: Whether a router has failed so far.
        lasting: The nodes that joins lead to, and those that are deferred.
        durability: The mode of the story's runs.
        keeps_state: Whether the graph has subgraphs that keep their state.
        unsaved: The nodes whose subgraphs save nothing.
        pairing: The nodes that return commands whose updates are pairs.
        wavering: The tasks that a program lets fail, and that work when they are called again.
        repeated: The tasks below one that has a retry policy and fails by a call.
    """

    did: str
    outcome: tuple[Any, ...]
    chunks: tuple[Chunk, ...]
    ran: tuple[str, ...]
    state: Any
    history: Any
    has_misrouted: bool = False
    lasting: frozenset[str] = frozenset()
    durability: str = "sync"
    keeps_state: bool = False
    unsaved: frozenset[str] = frozenset()
    pairing: frozenset[str] = frozenset()
    wavering: frozenset[str] = frozenset()
    repeated: frozenset[str] = frozenset()


class Watch:
    """One thread of one story.

    Args:
        library: Which library it is run with.
        story: The story.
    """

    def __init__(self, library: Any, story: Any) -> None:
        self.library = library
        self.story = story
        self.world = World(asynchronous=story.asynchronous)
        self.saver = library.saver()
        self.facts: dict[str, Any] = {"durability": story.durability}
        """What recognisers of differences are told of the story."""
        self.nodes: tuple[str, ...] = ()
        """The nodes that edits are made as, and gotos lead to."""
        self.is_flat = False
        """Whether nothing but the graph's own nodes can ask."""
        self.graph = self.built()

    def built(self) -> Any:
        """Build the story's graph, and look at it."""
        graph = self.story.graph
        joined = {edge.ends[0].name for edge in graph.edges if edge.kind == "join"}
        self.facts |= {
            "lasting": frozenset(joined.union(node.name for node in graph.nodes if node.deferred)),
            "keeps_state": keeps_state(graph),
            "unsaved": unsaved(graph),
            "pairing": pairing(graph),
        }
        self.nodes = tuple(node.name for node in graph.nodes)
        self.is_flat = not any(node.inner for node in graph.nodes)
        return compiled(self.library, graph, self.world, self.saver, name="root", is_inner=False)

    def events(self) -> Iterable[Seen]:
        """Do all that the story says, and yield what is seen."""
        for act in self.story.acts:
            yield self.act(act)
            for _ in range(CARRIED_ON):
                following = self.carrying_on(act.number)
                if following is None:
                    break
                yield following

    def act(self, act: Act) -> Seen:
        """Do one thing."""
        number = act.number
        node = self.nodes[number % len(self.nodes)]
        match act.kind:
            case "input":
                return self.run(f"input {number}", self.given(number))
            case "goto":
                return self.run(
                    f"goto {node}", self.library.Command(goto=node, update={"trace": ["steered"]})
                )
            case "update":
                return self.run("update", self.library.Command(update={"trace": ["updated"], "total": 2}))
            case "none":
                return self.run("none", None)
            case "edit":
                return self.edit(f"edit as {node}", CONFIG, node)
        configs = self.configs()
        if not configs:
            return self.run("none", None)
        where = number % len(configs)
        match act.kind:
            case "travel":
                return self.run(f"travel {where}", None, configs[where])
            case "branch":
                return self.run(f"branch {where}", self.given(number), configs[where])
            case _:
                return self.edit(f"rewrite {where} as {node}", configs[where], node)

    def given(self, number: int) -> Any:
        """Return an input."""
        given: dict[str, Any] = {"trace": [f"input {number}"], "x": f"in{number}", "total": number % 3}
        if self.story.graph.narrow:
            given.pop("total")
        return given

    def carrying_on(self, number: int) -> Seen | None:
        """Answer what is asked, or resume what is unfinished; None if the thread rests."""
        try:
            state = self.graph.get_state(CONFIG)
        except Exception:
            return None
        if state.interrupts:
            answers = {
                asked.id: f"answer to {asked.value}"
                for asked in sorted(state.interrupts, key=lambda i: str(i.value))
            }
            # In LangGraph an answer without an id may stay behind in a subgraph and answer what is asked next, or be
            # taken by a sibling that asks first; ours is the open question's (I-10).
            if len(answers) == 1 and number % 2 and self.is_flat and len(state.next) == 1:
                return self.run("answer", self.library.Command(resume=next(iter(answers.values()))))
            return self.run(f"answer {len(answers)}", self.library.Command(resume=answers))
        if state.next:
            return self.run("resume", None)
        return None

    def configs(self) -> list[Any]:
        """Return the configs of all checkpoints, newest first; none where looking raises, as was noted before."""
        try:
            return [snapshot.config for snapshot in self.graph.get_state_history(CONFIG)]
        except Exception:
            return []

    def run(self, did: str, given: Any, config: Any = CONFIG) -> Seen:
        """Run the graph."""
        config = {**config, "recursion_limit": self.story.limit}
        return self.noted(did, lambda chunks: self._run(chunks, given, config))

    def _run(self, chunks: list[Any], given: Any, config: Any) -> Any:
        options: dict[str, Any] = {"durability": self.story.durability}
        if not self.story.modes:
            if self.story.asynchronous:
                return asyncio.run(self.graph.ainvoke(given, config, **options))
            return self.graph.invoke(given, config, **options)
        options["stream_mode"] = list(self.story.modes)
        options["subgraphs"] = self.story.subgraphs
        if self.story.asynchronous:

            async def collect() -> None:
                async for chunk in self.graph.astream(given, config, **options):
                    chunks.append(chunk)  # noqa: PERF401 - what came before an error is wanted too

            return asyncio.run(collect())
        chunks.extend(self.graph.stream(given, config, **options))
        return None

    def edit(self, did: str, config: Any, node: str) -> Seen:
        """Change the thread's state from outside."""
        update = {"trace": ["edited"], "x": "edited"}

        def change(chunks: list[Any]) -> None:
            if self.story.asynchronous:
                asyncio.run(self.graph.aupdate_state(config, update, as_node=node))
            else:
                self.graph.update_state(config, update, as_node=node)

        return self.noted(did, change)

    def noted(self, did: str, call: Callable[[list[Any]], Any]) -> Seen:
        """Call, and write down what is seen."""
        self.world.ran.clear()
        chunks: list[Any] = []
        try:
            outcome: tuple[Any, ...] = ("returned", plain(self.library, call(chunks)))
        except BaseException as error:
            outcome = ("raised", type(error).__name__, first_line(error))
        ran = tuple(sorted(self.world.ran.elements()))
        has_misrouted = any(name.startswith("router") for name in self.world.failed)
        return Seen(
            did,
            outcome,
            ordered(self.library, chunks),
            ran,
            self.state(),
            self.history(),
            has_misrouted,
            **self.facts,
        )

    def state(self) -> Any:
        """Return the thread's state, with that of its subgraphs."""
        try:
            return snapshot(self.library, self.graph.get_state(CONFIG, subgraphs=True))
        except Exception as error:
            return ("raised", type(error).__name__, first_line(error))

    def history(self) -> Any:
        """Return the thread's checkpoints."""
        try:
            found = list(self.graph.get_state_history(CONFIG))
        except Exception as error:
            return ("raised", type(error).__name__, first_line(error))
        places = {
            each.config["configurable"]["checkpoint_id"]: len(found) - number
            for number, each in enumerate(found)
        }
        return tuple(snapshot(self.library, each, places) for each in found)


def watch(library: Any, story: Story) -> list[Seen]:
    """Return what is seen of a story with one library."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(Watch(library, story).events())
