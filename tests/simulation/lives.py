"""A user who does not give up: starts a graph, answers its questions, and after each crash carries on.

    look at the thread ──► nothing there, or this turn's input is not: invoke(input)
                       ──► questions are open: invoke(Command(resume=...)), for some of them or all
                       ──► something is left: invoke(None)
                       ──► the first of several turns is over: update_state, once
                       ──► nothing is left: the turn is over

It must not know what is checked meanwhile.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import ValidationError
from simulation.by_hand import Killed, World
from simulation.graphs import Flaky, Outside, Shape, answer_to, build, build_function, start_of

from walgraph import Command, LogFailed, LogFull, NotSerializable, is_invalid_resume

CONFIG: dict[str, Any] = {"configurable": {"thread_id": "thread"}, "recursion_limit": 60}
EDITED = "edited"
WRONG = {"no": "text"}
"""An answer that does not fit where a text is wanted."""
LIVES = 400
"""No world is so bad that it takes more."""
EXPECTED = (Killed, LogFull, LogFailed, NotSerializable, Flaky, KeyboardInterrupt)

Make = Callable[[Shape, Outside, Any, str], Any]


class Next(NamedTuple):
    """What the user does next: ``start``, ``answer``, ``resume``, ``edit``, or ``rest`` when the turn is over."""

    do: str
    given: Any = None
    asked: tuple[str, ...] = ()
    """The ids of the questions that are open."""
    answered: tuple[str, ...] = ()
    """The ids of those that this answers."""


class Story(NamedTuple):
    """How it ended: the final values, and the number of lives that it took."""

    values: dict[str, Any]
    lives: int


def a_graph(shape: Shape, outside: Outside, log: Any, mode: str) -> Any:
    """Make the graph of a shape."""
    return build(shape, outside).compile(log, durability=mode)  # type: ignore[arg-type]


def a_function(shape: Shape, outside: Outside, log: Any, mode: str) -> Any:
    """Make an entrypoint that calls what the shape's nodes stand for."""
    return build_function(shape, outside, log, mode)


def next_of(
    graph: Any, shape: Shape, turn: int, chance: random.Random, *, alone: bool = True, wrong: float = 0
) -> Next:
    """Look at the thread, and say what to do next.

    Args:
        graph: The graph.
        shape: Its shape.
        turn: The turn that is to be over.
        chance: Decides how questions are answered.
        alone: Whether nobody else answers meanwhile, so that an answer may do without its question's id.
        wrong: How likely an answer does not fit, to a question that says what is to fit.
    """
    state = graph.get_state(CONFIG)
    asked = [
        (item.id, WRONG if item.response_schema and chance.random() < wrong else answer_to(item.value))
        for item in state.interrupts
    ]
    ids = tuple(key for key, _ in asked)
    if (state.metadata or {}).get("turn") != turn:
        return Next("start", start_of(turn))
    if asked:
        if alone and len(asked) == 1 and chance.random() < 0.5:
            return Next("answer", Command(resume=asked[0][1]), ids, ids)
        answers = dict(asked[: chance.randint(1, len(asked))])
        return Next("answer", Command(resume=answers), ids, tuple(answers))
    if state.next:
        return Next("resume")
    if turn < shape.turns - 1 and EDITED not in state.values["trace"]:
        return Next("edit", {**state.values, "trace": [EDITED]})
    return Next("rest", dict(state.values))


def edit(graph: Any, values: dict[str, Any]) -> None:
    """Change the thread's state from outside, as if its first node had."""
    graph.update_state(
        CONFIG, values, as_node=next(name for name in graph.nodes if not name.startswith("__"))
    )


def live_through(world: World, shape: Shape, mode: str, make: Make = a_graph) -> Story:
    """Carry a graph through all its turns, however many lives that takes."""
    values: dict[str, Any] = {}
    lives = 0
    for turn in range(shape.turns):
        while True:
            lives += 1
            assert lives < LIVES, f"{lives} lives and no end: {world.effects}"
            found = one_life(world, make, shape, mode, turn)
            if found is not None:
                values = found
                break
    return Story(values, lives)


def one_life(world: World, make: Make, shape: Shape, mode: str, turn: int) -> dict[str, Any] | None:
    """Live once; return the turn's final values if it is over."""
    with world.life(faulty=False) as log:
        graph = make(shape, world, log, mode)
        act = next_of(graph, shape, turn, world.random, wrong=0.3)
        if act.do == "rest":
            values: dict[str, Any] = act.given
            return values
        world.faulty = True
        stopped = False
        try:
            if act.do == "edit":
                edit(graph, act.given)
            else:
                _call(world, graph, act.given, turn)
        except EXPECTED as error:
            stopped = isinstance(error, Killed | LogFull | LogFailed)
        except ValidationError as error:
            if not is_invalid_resume(error):
                raise
        world.faulty = False
        laws = world.laws
        if laws.broken is not None:
            raise laws.broken
        if not stopped and not world.dead and laws.watching is not None:
            laws.watching.finished()
    return None


def _call(world: World, graph: Any, given: Any, turn: int) -> None:
    """Call the graph in one of the ways there are."""
    config = {**CONFIG, "metadata": {"turn": turn}}
    if world.chance(0.6):
        graph.invoke(given, config)
        return
    chunks = graph.stream(given, config, stream_mode=["updates", "values"], subgraphs=world.chance(0.5))
    patience = world.random.choice([1, 3, 1000])
    for number, _ in enumerate(chunks):
        if number >= patience:
            # The consumer loses interest, and the generator is closed.
            chunks.close()
            return
