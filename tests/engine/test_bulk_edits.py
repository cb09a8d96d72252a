"""``bulk_update_state``, copies, inputs and places of edits, as real LangGraph does them (U-4 to U-7, §3.2)."""

from __future__ import annotations

import asyncio

import pytest
from helpers import THREAD, Way, asks, drawn, leaves, on, past

from walgraph import (
    END,
    START,
    CheckpointNotFound,
    Command,
    InvalidUpdateError,
    NotSerializable,
    Send,
    StateUpdate,
    ThreadBusy,
    entrypoint,
)
from walgraph.tools.mortal import deaths


def abc(way, log, **options):
    """Return a compiled chain of three."""
    return drawn(way, *map(leaves, "abc"), edges=">a a>b b>c").compile(log, **options)


def results(graph, config=THREAD):
    """Return step, and name and result of each task, of all checkpoints, oldest first."""
    shown = [s for s in graph.get_state_history(config) if s.metadata]
    return [(s.metadata["step"], [(t.name, t.result) for t in s.tasks]) for s in reversed(shown)]


@pytest.mark.parametrize(
    ("supersteps", "error", "message"),
    [
        ([], ValueError, "No supersteps provided"),
        ([[]], ValueError, "No updates provided"),
        ([[StateUpdate({"x": 1}, "a")], []], ValueError, "No updates provided"),
        (
            [[StateUpdate({"x": 1}, "a"), StateUpdate({"x": 1})]],
            InvalidUpdateError,
            "as_node is required when",
        ),
        (
            [[StateUpdate(None, END), StateUpdate({"x": 1}, "a")]],
            InvalidUpdateError,
            "Cannot apply multiple updates when clearing",
        ),
        (
            [[StateUpdate({}, "a"), StateUpdate(None, END)]],
            InvalidUpdateError,
            "Cannot apply multiple updates when clearing",
        ),
        (
            [[StateUpdate({}, "__input__"), StateUpdate({}, "a")]],
            InvalidUpdateError,
            "Cannot apply multiple updates when updating",
        ),
        (
            [[StateUpdate(None, "__copy__"), StateUpdate({}, "a")]],
            InvalidUpdateError,
            "Cannot copy checkpoint with",
        ),
        ([[StateUpdate(None, "__copy__")]], InvalidUpdateError, "Cannot copy a non-existent checkpoint"),
        ([[StateUpdate(None, "__input__")]], InvalidUpdateError, "Received no input writes for __start__"),
        ([[StateUpdate({"x": 1}, END)]], InvalidUpdateError, "Node __end__ does not exist"),
        ([[StateUpdate({}, "a")], [StateUpdate({}, "zz")]], InvalidUpdateError, "Node zz does not exist"),
        ([[StateUpdate({}, "a")], [StateUpdate({"x": print}, "a")]], NotSerializable, "x"),
        ([[5]], InvalidUpdateError, "Invalid update item: 5"),
    ],
)
def test_what_cannot_be_applied_leaves_no_trace(log, supersteps, error, message) -> None:
    """§3.2: in LangGraph's words; what came before it in the same call is not recorded either."""
    graph = abc(Way("sync"), log)
    with pytest.raises(error, match=message):
        graph.bulk_update_state(THREAD, supersteps)
    assert log.head("t") is None
    with pytest.raises(error, match=message):
        asyncio.run(graph.abulk_update_state(THREAD, supersteps))


def test_each_superstep_is_a_checkpoint(way, log) -> None:
    """U-6: and the config that is returned addresses the last."""
    graph = abc(way, log)
    config = graph.bulk_update_state(
        THREAD,
        [
            [StateUpdate({"trail": ["in"]}, "__input__")],
            [StateUpdate({"trail": ["in"]}, START)],
            [StateUpdate({"trail": ["A"]}, "a")],
        ],
    )
    assert past(graph) == [("input", -1, (START,)), ("update", 0, ("a",)), ("update", 1, ("b",))]
    assert graph.get_state(THREAD).config == config
    assert results(graph)[:2] == [(-1, [(START, {"trail": ["in"]})]), (0, [("a", {"trail": ["A"]})])]
    assert way.invoke(graph, None, config) == {"trail": ["in", "A", "b", "c"]}


def test_several_updates_of_one_superstep_keep_both_branches(way, log) -> None:
    """U-6, A-9: as if both nodes had run in one step, so that a join of them is complete."""
    graph = drawn(way, *map(leaves, "abcd"), edges=">a,b a+b>c c>d").compile(log)
    graph.bulk_update_state(
        THREAD,
        [
            [StateUpdate({"trail": ["in"]}, START)],
            [StateUpdate({"trail": ["B"]}, "b"), StateUpdate({"trail": ["A"]}, "a")],
            [StateUpdate({"trail": ["C"]}, "c")],
        ],
    )
    assert past(graph) == [("update", 0, ("a", "b")), ("update", 1, ("c",)), ("update", 2, ("d",))]
    assert way.invoke(graph, None) == {"trail": ["in", "B", "A", "C", "d"]}


def test_the_last_superstep_may_clear(log) -> None:
    """U-4, U-6: so that a thread can be rebuilt that is over."""
    graph = drawn(Way("sync"), *map(leaves, "ab"), edges=">a a>b").compile(log)
    graph.bulk_update_state(THREAD, [[StateUpdate({"x": 1}, START)], [StateUpdate(None, END)]])
    assert past(graph) == [("update", 0, ("a",)), ("update", 1, ())]
    graph.update_state(on("fresh"), None, END)
    assert past(graph, on("fresh")) == [("update", 0, ())]


def test_a_bulk_is_recorded_whole_or_not_at_all() -> None:
    """U-6: killed before and after its append."""
    way = Way("sync")

    def act(log, _):
        abc(way, log).bulk_update_state(
            THREAD, [[StateUpdate({"trail": ["A"]}, "a")], [StateUpdate({"trail": ["B"]}, "b")]]
        )

    seen = []
    for disk, _, fate in deaths(lambda log: abc(way, log).invoke({}, THREAD, durability="sync"), act):
        with disk.process() as log:
            graph = abc(way, log)
            seen.append((fate, len(past(graph)), log.head("t").status))
            assert way.invoke(graph, None)["trail"] in (["a", "b", "c"], ["a", "b", "c", "A", "B", "c"])
    assert seen == [((1, "before"), 5, "done"), ((1, "after"), 7, "parked")]


def test_a_bulk_is_refused_while_a_run_owns_the_thread(log) -> None:
    """U-12, mended."""
    graph = abc(Way("sync"), log)
    with log.writer("t"), pytest.raises(ThreadBusy):
        graph.bulk_update_state(THREAD, [[StateUpdate({}, "a")]])


def test_a_copy_stands_beside_its_checkpoint(way, log) -> None:
    """U-5: source fork, one step later, with the parent of the one that was copied."""
    graph = abc(way, log, interrupt_before=["b"])
    way.invoke(graph, {"x": 0})
    origin = graph.get_state(THREAD)
    config = graph.update_state(THREAD, None, "__copy__")
    copied = graph.get_state(THREAD)
    assert (copied.config, copied.parent_config) == (config, origin.parent_config)
    assert (copied.values, copied.next) == (origin.values, origin.next)
    assert past(graph)[-2:] == [("loop", 1, ("b",)), ("fork", 2, ("b",))]
    assert log.head("t").status == "parked"
    assert way.invoke(graph, None, config) == {"trail": ["a", "b", "c"], "x": 0}


def test_a_copy_may_be_changed_as_it_is_made(way, log) -> None:
    """U-5: the items are one superstep on top of the copy."""
    graph = abc(way, log, interrupt_before=["b"])
    way.invoke(graph, {"x": 0})
    graph.update_state(THREAD, [({"x": 6}, "b"), ({"trail": ["A"]}, "a")], "__copy__")
    assert past(graph)[-2:] == [("fork", 2, ("b",)), ("update", 3, ("b", "c"))]
    assert results(graph)[-2] == (2, [("b", {"x": 6})])


def test_an_old_checkpoint_can_be_copied(way, log) -> None:
    """U-5, TT-1: the copy is the head, and has the old one's parent."""
    graph = abc(way, log)
    way.invoke(graph, {})
    old = next(shown for shown in graph.get_state_history(THREAD) if shown.next == ("b",))
    graph.update_state(old.config, None, "__copy__")
    copied = graph.get_state(THREAD)
    assert (copied.parent_config, copied.next, copied.values) == (old.parent_config, old.next, old.values)
    assert way.invoke(graph, None) == {"trail": ["a", "b", "c"]}


@pytest.mark.parametrize("values", [{"x": 5}, 5, [5], [("a",)], [({"x": 1}, "a", None, 4)]])
def test_what_a_copy_cannot_be_changed_by(log, values) -> None:
    """§3.2: LangGraph drops a dict without a word, and leaves the bare copy behind when an item is bad."""
    graph = abc(Way("sync"), log)
    graph.invoke({}, THREAD)
    seq = log.head("t").seq
    with pytest.raises(InvalidUpdateError, match=r"Invalid update item: .* when copying checkpoint"):
        graph.update_state(THREAD, values, "__copy__")
    assert log.head("t").seq == seq


def test_a_copy_may_follow_other_supersteps(way, log) -> None:
    """U-6: it copies the checkpoint that they made."""
    graph = abc(way, log)
    graph.bulk_update_state(THREAD, [[StateUpdate({"x": 1}, "a")], [StateUpdate(None, "__copy__")]])
    assert past(graph) == [("update", 0, ("b",)), ("fork", 1, ("b",))]
    assert way.invoke(graph, None) == {"x": 1, "trail": ["b", "c"]}


def test_an_input_by_hand_is_an_input(way, log) -> None:
    """U-5, N-2: its checkpoint is the one that an input has; what was pending is given up, where LangGraph keeps it."""
    graph = abc(way, log, interrupt_before=["b"])
    graph.update_state(THREAD, {"x": 1, "unknown": 3}, "__input__")
    assert past(graph) == [("input", -1, (START,))]
    assert graph.get_state(THREAD).values == {"trail": []}
    assert way.invoke(graph, None) == {"trail": ["a"], "x": 1}
    graph.update_state(THREAD, {"x": 2}, "__input__")
    assert past(graph)[-1] == ("input", 2, (START,))
    assert way.invoke(graph, None) == {"trail": ["a", "a"], "x": 2}


def test_an_edit_shows_as_the_result_of_the_task_whose_place_it_took(way, log) -> None:
    """U-7: the first of the node's tasks, or the one whose id is given."""
    builder = drawn(way, *map(leaves, "awz"), edges=">a w>z")
    builder.add_conditional_edges("a", lambda _: [Send("w", i) for i in range(3)])
    graph = builder.compile(log, interrupt_before=["w"])
    for thread, place in (("first", 0), ("given", 2)):
        way.invoke(graph, {}, on(thread))
        task = graph.get_state(on(thread)).tasks[place].id if place else None
        graph.update_state(on(thread), {"trail": ["W"]}, "w", task)
        shown = [None, None, None]
        shown[place] = {"trail": ["W"]}
        assert results(graph, on(thread))[-2] == (1, [("w", result) for result in shown])
    graph.update_state(on("given"), {"trail": ["Z"]}, "z", task_id="of no task")
    assert results(graph, on("given"))[-2] == (2, [("z", None)])


def test_after_clearing_the_cleared_nodes_are_the_authors(way, log) -> None:
    """U-2, U-4: as in LangGraph, to whom they count as seen."""
    graph = abc(way, log, interrupt_before=["b"])
    way.invoke(graph, {})
    graph.update_state(THREAD, None, END)
    graph.update_state(THREAD, {"x": 1})
    assert past(graph)[-2:] == [("update", 2, ()), ("update", 3, ("c",))]


def test_no_values_are_an_update_too(way, log) -> None:
    """U-1: the node's edges are followed."""
    graph = abc(way, log)
    graph.update_state(THREAD, None)
    assert past(graph) == [("update", 0, ("a",))]
    graph.update_state(THREAD, None, "a")
    assert past(graph)[-1] == ("update", 1, ("b",))


def test_a_bulk_can_begin_at_an_old_checkpoint(way, log) -> None:
    """U-6, TT-5: one branch for all of its supersteps."""
    graph = abc(way, log)
    way.invoke(graph, {})
    old = next(shown for shown in graph.get_state_history(THREAD) if shown.next == ("b",))
    length = len(past(graph))
    graph.bulk_update_state(old.config, [[StateUpdate({"trail": ["B"]}, "b")], [StateUpdate({"x": 1}, "c")]])
    assert past(graph)[length:] == [("update", 2, ("c",)), ("update", 3, ())]
    assert graph.get_state(THREAD).values == {"trail": ["a", "B"], "x": 1}
    unknown = on("t", checkpoint_id=f"{3:020d}")
    with pytest.raises(CheckpointNotFound):
        graph.bulk_update_state(unknown, [[StateUpdate(None, "__copy__")]])


def test_the_state_can_be_mended_before_a_question_is_answered(way, log) -> None:
    """U-10: the answer is for the question that is about to be asked again, as in LangGraph.

    The thread once had no open question then, and the answer was refused.
    """
    graph = drawn(way, leaves("a"), asks("ask", "q", "r"), edges=">a a>ask").compile(log)
    way.invoke(graph, {})
    graph.update_state(THREAD, {"x": 1})
    assert graph.get_state(THREAD).interrupts == ()
    second = way.invoke(graph, Command(resume="R"))["__interrupt__"]
    assert [item.value for item in second] == ["r"]
    assert way.invoke(graph, Command(resume="S")) == {"trail": ["a", "R", "S"], "x": 1}


def test_an_entrypoint_can_be_edited(way, log) -> None:
    """U-1, U-5, GS-5: its value and what it saved; an input, and an end."""

    @entrypoint(checkpointer=log)
    def body(given, *, previous=None):
        return given, previous

    assert body.invoke(1, THREAD) == (1, None)
    body.update_state(THREAD, {"y": 9})
    assert body.get_state(THREAD).values == {"y": 9}
    body.update_state(THREAD, 7, "__input__")
    assert [(s.metadata["source"], s.metadata["step"], s.next) for s in body.get_state_history(THREAD, limit=1)] == [
        ("input", 2, ("body",))
    ]  # fmt: skip
    assert body.invoke(None, THREAD) == (7, {"y": 9})
    body.update_state(THREAD, 8, "__input__")
    body.update_state(THREAD, None, END)
    assert body.get_state(THREAD).next == ()
