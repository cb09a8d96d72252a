"""The ways out when a graph lost what an unfinished thread needs: pin, migrate, drop."""

from __future__ import annotations

from typing import Any

import pytest
from helpers import THREAD, Trail, chain, leaves
from simulation.by_hand import Killed, World
from simulation.doomed import Doomed

from walgraph import START, Command, GraphChanged, LogFailed, Send, StateGraph, interrupt


def ask(state):
    """Ask for a name."""
    return {"trail": [interrupt("name?")]}


def ask_again(state):
    """Ask in other words."""
    return {"trail": [f"new {interrupt('first name?')}"]}


def old_graph(log) -> Any:
    """A node that writes, one that asks, one at the end."""
    return chain(leaves("first"), ask, leaves("last")).compile(log)


def new_builder() -> StateGraph:
    """The same with the asking node under another name."""
    return chain(leaves("first"), ask_again, leaves("last"))


def test_a_pinned_thread_goes_on_with_the_old_graph(way, log, durability) -> None:
    """Till its run ends; the next run is the new graph's."""
    way.invoke(old_graph(log), {"trail": []}, durability=durability)
    new = new_builder().compile(log, on_change=old_graph(None))
    assert way.invoke(new, Command(resume="ada"), durability=durability)["trail"] == ["first", "ada", "last"]
    way.invoke(new, {"trail": []}, durability=durability)
    done = way.invoke(new, Command(resume="bob"), durability=durability)
    assert done["trail"][3:] == ["first", "new bob", "last"]


def test_a_migration_says_what_changes_and_where_to_go_on(way, log, durability) -> None:
    """It is given the values and what is missing; the thread is the new graph's from then on."""
    way.invoke(old_graph(log), {"trail": []}, durability=durability)
    told = []

    def migrate(values, changed):
        told.append((values, changed.details["nodes"], changed.details["changes"]))
        return Command(update={"x": "migrated"}, goto="ask_again")

    new = new_builder().compile(log, on_change=migrate)
    asked = way.invoke(new, None, durability=durability)
    assert asked["x"] == "migrated"
    assert [each.value for each in asked["__interrupt__"]] == ["first name?"]
    [(values, nodes, changes)] = told
    assert (values, nodes) == ({"trail": ["first"]}, ["ask"])
    assert any("ask" in change for change in changes)
    done = way.invoke(new, Command(resume="ada"), durability=durability)
    assert done["trail"] == ["first", "new ada", "last"]
    assert len(told) == 1


def test_values_alone_go_on_with_what_is_left(way, log) -> None:
    """Beside the node that is gone one failed that is still there: that runs again."""

    def fails(state):
        if broken:
            raise ConnectionError
        return {"trail": ["mended"]}

    broken = [True]

    def drawn(name, body):
        builder = StateGraph(Trail).add_node("fails", way.node(fails)).add_node(name, body)
        builder.add_node("done", leaves("done")).add_edge(START, "done")
        return builder.add_edge(START, "fails").add_edge(START, name)

    with pytest.raises(ConnectionError):
        way.invoke(drawn("gone", ask).compile(log), {"trail": []})
    broken.clear()
    new = drawn("other", ask_again).compile(log, on_change=lambda *_: {"x": 7})
    assert way.invoke(new, None) == {"trail": ["done", "mended"], "x": 7}


def test_drop_gives_up_what_is_gone(way, log) -> None:
    """What finished beside it counts, and so do the Sends whose node is there."""
    spread = [Send("here", {"x": 1}), Send("gone", {"x": 2}), "done"]

    def here(state):
        return {"trail": [f"here {interrupt(state['x'])}"]}

    def drawn(*names):
        builder = StateGraph(Trail).add_node("done", leaves("done"))
        for name in names:
            builder.add_node(name, here)
        return builder.add_conditional_edges(START, lambda _: spread, ["done", *names])

    way.invoke(drawn("here", "gone").compile(log), {"trail": []})
    new = drawn("here").compile(log, on_change="drop")
    asked = way.invoke(new, None)
    assert [each.value for each in asked["__interrupt__"]] == [1]
    assert way.invoke(new, Command(resume="yes"))["trail"] == ["done", "here yes"]


def test_a_graph_that_fits_is_not_migrated(way, log) -> None:
    """Only what is due and gone is a change."""
    way.invoke(old_graph(log), {"trail": []})
    new = chain(ask, leaves("last")).compile(log, on_change=lambda *_: pytest.fail("it fits"))
    assert way.invoke(new, Command(resume="ada"))["trail"] == ["first", "ada", "last"]


def test_a_migration_that_fails_changes_nothing(way, log) -> None:
    """The thread is as it was, and the old graph goes on with it."""
    way.invoke(old_graph(log), {"trail": []})
    head = log.head("t").seq

    def migrate(values, changed):
        raise LookupError("no way")

    with pytest.raises(LookupError):
        way.invoke(new_builder().compile(log, on_change=migrate), None)
    assert log.head("t").seq == head
    assert way.invoke(old_graph(log), Command(resume="ada"))["trail"] == ["first", "ada", "last"]


def test_an_answer_to_what_is_gone_is_refused(way, log) -> None:
    """It would be lost: whoever asked does not exist any more."""
    way.invoke(old_graph(log), {"trail": []})
    head = log.head("t").seq
    with pytest.raises(GraphChanged) as caught:
        way.invoke(new_builder().compile(log, on_change="drop"), Command(resume="ada"))
    assert "carries the thread over" in caught.value.__notes__[0]
    assert log.head("t").seq == head


def test_an_unknown_way_is_refused() -> None:
    """When the graph is compiled."""
    with pytest.raises(ValueError, match="unknown on_change 'ignore'"):
        new_builder().compile(on_change="ignore")


@pytest.mark.parametrize("mode", ["sync", "async", "exit"])
def test_a_kill_around_any_commit_of_a_migration_changes_nothing(mode) -> None:
    """Either the thread is the old one, or it has been carried over, once."""

    def carried(world: World) -> list[str]:
        while True:
            with world.life() as log:
                try:
                    old = old_graph(log)
                    if old.get_state(THREAD).created_at is None:
                        old.invoke({"trail": []}, THREAD, durability=mode)
                    new = new_builder().compile(
                        log, on_change=lambda *_: Command(update={"trail": ["moved"]}, goto="ask_again")
                    )
                    while (state := new.get_state(THREAD)).next:
                        asked = [each for each in state.interrupts if each.value == "first name?"]
                        given = Command(resume="ada") if asked else None
                        new.invoke(given, THREAD, durability=mode)
                    trail: list[str] = state.values["trail"]
                    return trail
                except (Killed, LogFailed):
                    continue

    world = Doomed(0)
    assert carried(world) == ["first", "moved", "new ada", "last"]
    for fatal in range(1, world.moments + 1):
        trail = carried(Doomed(fatal))
        # Killed before the old graph had asked, nothing that is gone is due.
        assert trail in (["first", "moved", "new ada", "last"], ["first", "new ada", "last"]), (
            f"moment {fatal}"
        )
