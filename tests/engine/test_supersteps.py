"""Supersteps: what runs when, what it is given, and in which order its writes count (P, A, K and RL of the map)."""

from __future__ import annotations

import functools
import operator
import threading
from typing import Annotated, Any, TypedDict

import pytest
from helpers import THREAD, Trail, drawn, leaves, on, past

from walgraph import (
    END,
    START,
    AnyValue,
    EphemeralValue,
    GraphRecursionError,
    InvalidGraph,
    InvalidUpdateError,
    IsLastStep,
    MemoryLog,
    Overwrite,
    RemainingSteps,
    Send,
    StateGraph,
    Topic,
    UntrackedValue,
)


def test_a_chain_runs_one_node_a_step(way, maybe_log, durability) -> None:
    """P-1: each node sees what the one before it wrote, whatever the log and the durability."""
    graph = drawn(way, leaves("a"), leaves("b"), edges=">a a>b b>").compile(maybe_log)
    assert way.invoke(graph, {"trail": ["in"]}, durability=durability) == {"trail": ["in", "a", "b"]}


def test_the_input_is_step_minus_one_and_start_is_step_zero(way, log) -> None:
    """P-2, P-6, K-1: the input, START's step, and one checkpoint a node: four for two nodes."""
    graph = drawn(way, leaves("a"), leaves("b"), edges=">a a>b").compile(log)
    way.invoke(graph, {"trail": []})
    assert past(graph) == [
        ("input", -1, ("__start__",)),
        ("loop", 0, ("a",)),
        ("loop", 1, ("b",)),
        ("loop", 2, ()),
    ]


def test_exit_keeps_one_checkpoint(way, log) -> None:
    """K-1: under ``exit`` only the last checkpoint of a run is there, and the first has no parent."""
    graph = drawn(way, leaves("a"), leaves("b"), edges=">a a>b").compile(log)
    way.invoke(graph, {"trail": []}, durability="exit")
    assert past(graph) == [("loop", 2, ())]
    assert graph.get_state(THREAD).parent_config is None


def test_a_step_of_several_nodes_lists_them_as_they_were_added(way, log) -> None:
    """P-3: where a thread is looked at, what is due is in the order of the drawing."""
    graph = drawn(way, leaves("b"), leaves("a"), leaves("c"), edges=">c,a,b").compile(log)
    way.invoke(graph, {})
    assert past(graph)[1] == ("loop", 0, ("b", "a", "c"))


def test_writes_are_applied_in_order_of_names_whoever_ends_first(way) -> None:
    """A-1: a reducer sees the nodes' writes alphabetically, not in order of drawing or of ending."""
    last = threading.Event()

    def alpha(state):
        last.wait(5)
        return {"trail": ["alpha"]}

    def zeta(state):
        last.set()
        return {"trail": ["zeta"]}

    graph = StateGraph(Trail).add_node(zeta).add_node(alpha).add_edge(START, "zeta").add_edge(START, "alpha")
    assert way.invoke(graph.compile(), {"trail": ["in"]}) == {"trail": ["in", "alpha", "zeta"]}


def test_sends_are_applied_after_nodes_by_index(way, log) -> None:
    """A-1, G-5: pulled nodes first, then twelve sends by number, and no 10 before 2."""

    def fan(state):
        return [*(Send("w", {"i": i}) for i in range(12)), "z"]

    def w(state):
        return {"trail": [f"w{state['i']}"]}

    builder = drawn(way, leaves("a"), leaves("z"), edges=">a")
    builder.add_node("w", way.node(w)).add_conditional_edges("a", way.node(fan))
    graph = builder.compile(log)
    assert way.invoke(graph, {}) == {"trail": ["a", "z", *(f"w{i}" for i in range(12))]}
    paths = [task.path for task in list(graph.get_state_history(THREAD))[1].tasks]
    assert paths == [*(("__pregel_push", i, False) for i in range(12)), ("__pregel_pull", "z")]


def test_a_send_is_given_its_argument_as_it_is(way) -> None:
    """P-10: no state, no schema: just what was sent."""
    seen: list[Any] = []
    builder = StateGraph(Trail).add_node("w", way.node(lambda given: seen.append(given) or {}))
    builder.add_conditional_edges(START, lambda _: [Send("w", (1, "two")), Send("w", None)])
    way.invoke(builder.compile(), {"x": 1})
    assert sorted(seen, key=repr) == [(1, "two"), None]


def test_keys_without_a_value_are_left_out_of_a_nodes_input(way, maybe_log) -> None:
    """P-10: a dict holds what there is; reduced lists begin empty."""
    seen: list[Any] = []
    builder = StateGraph(Trail).add_node("look", way.node(lambda state: seen.append(dict(state))))
    graph = builder.add_edge(START, "look").compile(maybe_log)
    way.invoke(graph, {})
    assert seen == [{"trail": []}]


def test_a_write_is_seen_in_the_next_step_only(way) -> None:
    """A-1: siblings do not see each other's writes."""
    seen: dict[str, Any] = {}

    def looks(name):
        def node(state):
            seen[name] = list(state["trail"])
            return {"trail": [name]}

        node.__name__ = name
        return node

    graph = drawn(way, looks("a"), looks("b"), looks("c"), edges=">a,b a>c b>c").compile()
    way.invoke(graph, {"trail": ["in"]})
    assert seen == {"a": ["in"], "b": ["in"], "c": ["in", "a", "b"]}


def test_changing_the_given_state_in_place_writes_nothing_to_siblings_containers(way) -> None:
    """P-11, mended: each node is given a dict of its own, and what it does to that dict is nobody else's."""
    seen: list[Any] = []

    def a(state):
        state["x"] = "changed"

    def b(state):
        seen.append(state["x"])

    graph = drawn(way, a, b, edges=">a a>b").compile()
    assert way.invoke(graph, {"x": 1})["x"] == 1
    assert seen == [1]


def test_two_edges_of_equal_depth_run_a_node_once(way) -> None:
    """A-8: a diamond's end runs once."""
    graph = drawn(way, leaves("a"), leaves("b"), leaves("c"), edges=">a,b a>c b>c").compile()
    assert way.invoke(graph, {}) == {"trail": ["a", "b", "c"]}


def test_two_edges_of_unequal_depth_run_a_node_twice(way) -> None:
    """A-8: without a join, whoever arrives triggers."""
    graph = drawn(
        way, leaves("a"), leaves("b"), leaves("b2"), leaves("c"), edges=">a,b b>b2 a>c b2>c"
    ).compile()
    assert way.invoke(graph, {}) == {"trail": ["a", "b", "b2", "c", "c"]}


def test_a_single_task_runs_in_the_callers_thread() -> None:
    """P-14: with nobody watching there is no other thread to deadlock with."""
    seen: list[int] = []
    graph = StateGraph(Trail)
    graph.add_node("a", lambda _: seen.append(threading.get_ident())).add_edge(START, "a")
    graph.compile(MemoryLog(strict=True)).invoke({}, THREAD)
    assert seen == [threading.get_ident()]


def test_siblings_run_at_the_same_time(way) -> None:
    """P-13: both are under way before either ends."""
    if way.is_async:
        pytest.skip("the barrier below is one of threads")
    meeting = threading.Barrier(2, timeout=5)
    graph = StateGraph(Trail)
    for name in "ab":
        graph.add_node(name, lambda _: {"trail": [str(meeting.wait() >= 0)]}).add_edge(START, name)
    assert way.invoke(graph.compile(), {}) == {"trail": ["True", "True"]}


def test_max_concurrency_holds_siblings_back(way) -> None:
    """P-13: at most so many at once."""
    lock, running, most = threading.Lock(), [0], [0]

    def busy(state):
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        threading.Event().wait(0.002)
        with lock:
            running[0] -= 1

    graph = StateGraph(Trail)
    for name in "abcdef":
        graph.add_node(name, busy).add_edge(START, name)
    way.invoke(graph.compile(), {}, {"max_concurrency": 2})
    assert most[0] <= 2


@pytest.mark.parametrize("kind", ["function", "lambda", "partial", "method", "callable", "graph"])
def test_a_node_can_be_anything_that_can_be_called(way, log, kind) -> None:
    """§1.1: function, lambda, partial, bound method, callable object, compiled graph."""

    class Leaver:
        def leave(self, state):
            return {"trail": ["left"]}

        def __call__(self, state):
            return self.leave(state)

    def plain(state, who="left"):
        return {"trail": [who]}

    action: Any = {
        "function": way.node(plain),
        "lambda": lambda _: {"trail": ["left"]},
        "partial": functools.partial(way.node(plain), who="left"),
        "method": Leaver().leave,
        "callable": Leaver(),
        "graph": StateGraph(Trail).add_node("n", lambda _: {"x": "left"}).add_edge(START, "n").compile(),
    }[kind]
    graph = StateGraph(Trail).add_node("n", action).add_edge(START, "n").compile(log)
    result = way.invoke(graph, {})
    assert result == ({"trail": [], "x": "left"} if kind == "graph" else {"trail": ["left"]})


def test_a_coroutine_function_cannot_be_a_node_of_a_synchronous_run() -> None:
    """It says which node, and what to call instead."""

    async def a(state):
        return None

    graph = StateGraph(Trail).add_node(a).add_edge(START, "a").compile()
    with pytest.raises(TypeError, match='No synchronous function provided to "a"'):
        graph.invoke({})


def test_a_step_with_conflicting_writes_names_who_wrote(way, maybe_log) -> None:
    """A-11, §3.3: one write a step to a plain key; ours names both nodes."""
    graph = drawn(way, leaves("p", x=1), leaves("q", x=2), edges=">p,q").compile(maybe_log)
    with pytest.raises(InvalidUpdateError) as caught:
        way.invoke(graph, {})
    assert caught.value.message == (
        "At key 'x': Can receive only one value per step. Use an Annotated key to handle multiple values."
    )
    assert "written by: p, q" in caught.value.__notes__
    assert caught.value.details["channel"] == "x"


@pytest.mark.parametrize("reducer", ["conflict", "raising"])
def test_a_step_that_cannot_be_closed_does_not_poison_the_thread(way, log, reducer) -> None:
    """A-11, A-12, mended: ``get_state`` works and shows the key as it was, nothing runs twice, and an edit mends it.

    The view once applied each node's writes for themselves, so that the last one showed, and said that nothing was
    left to do.
    """

    def choosy(old, new):
        raise RuntimeError("cannot be added")

    kind: Any = Annotated[int, choosy] if reducer == "raising" else int
    odd: Any = TypedDict("odd", {"trail": Annotated[list[str], operator.add], "x": kind}, total=False)
    ran: list[str] = []

    def writes(name):
        def node(state):
            ran.append(name)
            return {"x": len(ran), "trail": [name]}

        node.__name__ = name
        return node

    graph = drawn(way, writes("p"), writes("q"), leaves("r"), edges=">p,q p>r q>r", state=odd).compile(log)
    start = {"trail": ["in"]} if reducer == "raising" else {"trail": ["in"], "x": 0}
    error = RuntimeError if reducer == "raising" else InvalidUpdateError
    for given in (start, None):
        with pytest.raises(error):
            way.invoke(graph, given)
    assert sorted(ran) == ["p", "q"]
    shown = graph.get_state(THREAD)
    assert shown.values == {**start, **({"x": 0} if reducer == "raising" else {}), "trail": ["in", "p", "q"]}
    assert shown.next == ("p", "q")
    assert log.head("t").status == "failed"
    assert log.head("t").next == ("p", "q")
    if reducer == "conflict":
        graph.update_state(THREAD, {"x": 7}, as_node="p")
        assert way.invoke(graph, None) == {"trail": ["in", "r"], "x": 7}


def test_a_new_input_mends_a_poisoned_thread(way, log) -> None:
    """A-11: the conflicting step is given up."""

    def p(state):
        return {"x": 1}

    def q(state):
        return {"x": 2} if state["trail"] == [] else None

    graph = drawn(way, p, q, edges=">p,q").compile(log)
    with pytest.raises(InvalidUpdateError):
        way.invoke(graph, {})
    assert way.invoke(graph, {"trail": ["more"]}) == {"trail": ["more"], "x": 1}


def test_an_overwrite_sets_aside_the_other_writes_of_the_step(way, maybe_log) -> None:
    """A-13."""

    def a(state):
        return {"trail": Overwrite(["only"])}

    graph = drawn(way, a, leaves("b"), edges=">a,b").compile(maybe_log)
    assert way.invoke(graph, {"trail": ["in"]}) == {"trail": ["only"]}


def test_two_overwrites_in_a_step_are_refused(way) -> None:
    """A-13, §3.3."""
    graph = StateGraph(Trail)
    for name in "ab":
        graph.add_node(name, way.node(lambda _: {"trail": Overwrite([])})).add_edge(START, name)
    with pytest.raises(InvalidUpdateError, match="Can receive only one Overwrite value per super-step"):
        way.invoke(graph.compile(), {})


class Kinds(TypedDict, total=False):
    """A key of every kind of channel."""

    last: int
    any: Annotated[int, AnyValue]
    brief: Annotated[int, EphemeralValue]
    secret: Annotated[Any, UntrackedValue]
    topic: Annotated[list[int], Topic]
    heap: Annotated[list[int], Topic(int, accumulate=True)]
    seen: Annotated[set[int], operator.or_]
    sum: Annotated[int, operator.add]


def test_every_kind_of_channel_keeps_its_promise(way, maybe_log) -> None:
    """§1.7: what a node sees one and two steps after everything was written."""
    seen: list[Any] = []

    def writes(state):
        return {
            "last": 1,
            "any": 1,
            "brief": 1,
            "secret": 1,
            "topic": 1,
            "heap": [1, 2],
            "seen": {1},
            "sum": 1,
        }

    def one_later(state):
        seen.append(dict(state))
        return {"heap": 3, "sum": 2}

    def two_later(state):
        seen.append(dict(state))

    builder = drawn(
        way, writes, one_later, two_later, edges=">writes writes>one_later one_later>two_later", state=Kinds
    )
    way.invoke(builder.compile(maybe_log), {"sum": 10})
    assert seen == [
        {"last": 1, "any": 1, "brief": 1, "secret": 1, "topic": [1], "heap": [1, 2], "seen": {1}, "sum": 11},
        {"last": 1, "secret": 1, "heap": [1, 2, 3], "seen": {1}, "sum": 13},
    ]


def test_an_untracked_value_is_shown_but_never_stored(way, log) -> None:
    """§1.7: it is in the update that is streamed, in the output of its run, and in no record.

    The update once left it out, since it was made from what is recorded.
    """
    graph = (
        StateGraph(Kinds)
        .add_node("a", way.node(lambda _: {"secret": "sesame"}))
        .add_edge(START, "a")
        .compile(log)
    )
    assert way.stream(graph, {}) == [{"a": {"secret": "sesame"}}]
    assert "secret" not in graph.get_state(THREAD).values
    assert "sesame" not in repr([stored.record for stored in log.read("t")])
    assert way.invoke(graph, {}, on("other"))["secret"] == "sesame"


def test_an_untracked_key_is_taken_out_of_a_sends_argument(way, log) -> None:
    """§1.7: at the top of a dict it is not stored either."""
    seen: list[Any] = []
    builder = StateGraph(Kinds).add_node("w", way.node(lambda given: seen.append(given) or {}))
    builder.add_conditional_edges(START, lambda _: Send("w", {"secret": "sesame", "last": 1}))
    way.invoke(builder.compile(log), {})
    assert seen == [{"last": 1}]


@pytest.mark.parametrize("kind", [EphemeralValue, UntrackedValue])
def test_a_guarded_key_takes_one_write_a_step(way, kind) -> None:
    """§3.3: and says how to take more."""
    graph = StateGraph(TypedDict("Guarded", {"v": Annotated[int, kind]}, total=False))
    for name in "ab":
        graph.add_node(name, way.node(lambda _: {"v": 1})).add_edge(START, name)
    expected = (
        rf"At key 'v': {kind.__name__}\(guard=True\) can receive only one value per step\. Use guard=False"
    )
    with pytest.raises(InvalidUpdateError, match=expected):
        way.invoke(graph.compile(), {})


def test_a_run_takes_as_many_steps_as_its_limit(way, log) -> None:
    """RL-1: START is free; the state is kept, and a resume has a fresh budget."""
    graph = drawn(way, leaves("a"), edges=">a a>a").compile(log)
    with pytest.raises(
        GraphRecursionError, match="Recursion limit of 3 reached without hitting a stop condition"
    ):
        way.invoke(graph, {}, {**THREAD, "recursion_limit": 3})
    assert graph.get_state(THREAD).values == {"trail": ["a"] * 3}
    assert graph.get_state(THREAD).next == ("a",)
    with pytest.raises(RecursionError):
        way.invoke(graph, None, {**THREAD, "recursion_limit": 2})
    assert len(graph.get_state(THREAD).values["trail"]) > 3


def test_a_subgraph_counts_its_own_steps(way, maybe_log) -> None:
    """RL-2: with the limit that it inherits; START is free in each graph."""
    inner = drawn(way, leaves("a"), leaves("b"), leaves("c"), edges=">a a>b b>c").compile()
    builder = drawn(way, leaves("x"), edges=">x").add_node("inner", inner).add_edge("x", "inner")
    limit = {**THREAD, "recursion_limit": 3}
    assert way.invoke(builder.compile(maybe_log), {}, limit)["trail"] == ["x", "x", "a", "b", "c"]
    with pytest.raises(GraphRecursionError, match="Recursion limit of 2 reached"):
        way.invoke(builder.compile(maybe_log), {}, {**on("u"), "recursion_limit": 2})


def test_a_graph_that_ends_at_its_limit_is_done(way, maybe_log) -> None:
    """RL-1: it is an error only if work remains."""
    graph = drawn(way, leaves("a"), leaves("b"), edges=">a a>b").compile(maybe_log)
    assert way.invoke(graph, {}, {**THREAD, "recursion_limit": 2}) == {"trail": ["a", "b"]}


def test_a_limit_below_one_is_refused(way) -> None:
    """RL-2."""
    graph = drawn(way, leaves("a"), edges=">a").compile()
    with pytest.raises(ValueError, match="recursion_limit must be at least 1"):
        way.invoke(graph, {}, {"recursion_limit": 0})


def test_a_branch_has_the_budget_of_the_checkpoint_it_begins_at(way, log) -> None:
    """RL-1: a run on an old checkpoint once counted from the head, and could take as many steps more."""
    graph = drawn(way, leaves("a"), edges=">a a>a").compile(log)
    with pytest.raises(GraphRecursionError):
        way.invoke(graph, {}, {**THREAD, "recursion_limit": 20})
    old = next(s for s in graph.get_state_history(THREAD) if s.metadata["step"] == 1)
    with pytest.raises(GraphRecursionError):
        way.invoke(graph, {"trail": ["new"]}, {**old.config, "recursion_limit": 3})
    assert graph.get_state(THREAD).values == {"trail": ["a", "new", "a", "a", "a"]}


def test_managed_values_count_the_steps_down(way) -> None:
    """§1.6: a node can stop on its last step, and no error comes."""
    seen: list[Any] = []

    class Managed(TypedDict, total=False):
        trail: Annotated[list[str], operator.add]
        is_last: IsLastStep
        left: RemainingSteps

    def a(state):
        seen.append((state["is_last"], state["left"]))
        return {"trail": ["a"]}

    builder = drawn(way, a, edges=">a", state=Managed)
    builder.add_conditional_edges("a", lambda state: END if state["is_last"] else "a")
    assert way.invoke(builder.compile(), {}, {"recursion_limit": 4}) == {"trail": ["a"] * len(seen)}
    assert [last for last, _ in seen] == [False] * (len(seen) - 1) + [True]
    assert [left for _, left in seen] == list(range(seen[0][1], 0, -1))


def test_a_router_sees_its_own_nodes_writes_but_not_the_siblings(way, log) -> None:
    """§1.1: fresh state is the state with the node's own writes."""
    seen: list[Any] = []

    def route(state):
        seen.append(list(state["trail"]))
        return END

    builder = drawn(way, leaves("a"), leaves("b"), edges=">a,b")
    way.invoke(builder.add_conditional_edges("a", way.node(route)).compile(log), {"trail": ["in"]})
    assert seen == [["in", "a"]]


def test_an_unknown_target_is_an_error_where_the_routing_happens(way, maybe_log) -> None:
    """P-12, A-10: LangGraph warns and drops it, and the run ends as if it were done."""
    builder = drawn(way, leaves("a"), edges=">a").add_conditional_edges("a", lambda _: "nowhere")
    with pytest.raises(
        InvalidGraph, match="goes to 'nowhere', but graph 'LangGraph' has no node of that name"
    ):
        way.invoke(builder.compile(maybe_log), {})
