"""Questions and answers: ``interrupt`` and ``Command(resume=...)`` in graphs (I of the map; ours: I-9 to I-11)."""

from __future__ import annotations

import threading

import pytest
from helpers import THREAD, Trail, Way, asks, drawn, leaves, on

from walgraph import (
    START,
    AnswerError,
    Command,
    GraphBubbleUp,
    GraphInterrupt,
    Interrupt,
    Log,
    MemoryLog,
    OutsideOfRun,
    Send,
    StateGraph,
    UnknownInterruptError,
    interrupt,
)

UNKNOWN = "0" * 32


def open_ids(graph, config=THREAD):
    """Return value → id of the thread's open questions."""
    return {asked.value: asked.id for asked in graph.get_state(config).interrupts}


def test_a_question_stops_the_run_and_its_answer_goes_on(way, log, durability) -> None:
    """I-1, I-18: the output has the question; the node runs again from its top, with the answer."""
    ran: list[str] = []

    def ask(state):
        ran.append("top")
        return {"trail": [interrupt("who?")]}

    graph = drawn(way, ask, leaves("b"), edges=">ask ask>b").compile(log)
    result = way.invoke(graph, {"trail": ["in"]}, durability=durability)
    assert result == {"trail": ["in"], "__interrupt__": [Interrupt("who?", open_ids(graph)["who?"])]}
    assert log.head("t").status == "interrupted"
    assert graph.get_state(THREAD).next == ("ask",)
    answered = way.invoke(graph, Command(resume="Ada"), durability=durability)
    assert answered == {"trail": ["in", "Ada", "b"]}
    assert ran == ["top", "top"]


def test_an_id_is_32_hex_digits_and_stays_the_same(way, log) -> None:
    """I-4: as often as the question is shown."""
    graph = drawn(way, asks("ask", "who?"), edges=">ask").compile(log)
    first = way.invoke(graph, {})["__interrupt__"][0].id
    assert len(first) == 32
    assert int(first, 16) >= 0
    assert way.invoke(graph, None)["__interrupt__"][0].id == first
    assert open_ids(graph) == {"who?": first}


@pytest.mark.parametrize("answer", [None, 0, "", False, [], {}, {"a": 1}])
def test_anything_is_an_answer(way, log, answer) -> None:
    """I-9, mended: None too, and an empty dict is a value, not a map of answers."""
    graph = drawn(way, asks("ask", "q"), edges=">ask").compile(log)
    way.invoke(graph, {})
    assert way.invoke(graph, Command(resume=answer)) == {"trail": [answer]}


def test_questions_of_one_node_are_asked_one_after_another(way, log) -> None:
    """I-2: each answer is for its own question; answers so far stay."""
    graph = drawn(way, asks("ask", "one", "two", "three"), edges=">ask").compile(log)
    assert [item.value for item in way.invoke(graph, {})["__interrupt__"]] == ["one"]
    assert [item.value for item in way.invoke(graph, Command(resume=1))["__interrupt__"]] == ["two"]
    assert [item.value for item in way.invoke(graph, Command(resume=2))["__interrupt__"]] == ["three"]
    assert way.invoke(graph, Command(resume=3)) == {"trail": [1, 2, 3]}


def test_resuming_without_an_answer_answers_nothing(way, log) -> None:
    """I-10b, mended: LangGraph answers the second question with the first answer."""
    graph = drawn(way, asks("ask", "one", "two"), edges=">ask").compile(log)
    way.invoke(graph, {})
    way.invoke(graph, Command(resume=1))
    assert [item.value for item in way.invoke(graph, None)["__interrupt__"]] == ["two"]
    assert way.invoke(graph, Command(resume=2)) == {"trail": [1, 2]}


def test_questions_of_siblings_are_all_shown(way, log) -> None:
    """C-3: interrupts stop no sibling, and come together."""
    graph = drawn(way, asks("p", "P?"), asks("q", "Q?"), leaves("r"), edges=">p,q,r").compile(log)
    assert [item.value for item in way.invoke(graph, {})["__interrupt__"]] == ["P?", "Q?"]
    assert graph.get_state(THREAD).next == ("p", "q")
    assert graph.get_state(THREAD).values == {"trail": ["r"]}


@pytest.mark.parametrize("first", ["p", "q"])
def test_questions_are_listed_in_the_order_of_the_step(way, log, first) -> None:
    """A stream shows what each task asks once it has ended; a result lists the step's tasks in order."""
    others_wait = threading.Event()

    def asking(name):
        def node(state):
            if name == first:
                others_wait.set()
            else:
                others_wait.wait(5)
            interrupt(name)

        node.__name__ = name
        return node

    graph = drawn(Way("sync"), asking("q"), asking("p"), edges=">q,p").compile(log)
    chunks = way.stream(graph, {}, stream_mode="updates")
    assert sorted(item.value for chunk in chunks for item in chunk["__interrupt__"]) == ["p", "q"]
    assert [item.value for item in way.invoke(graph, None)["__interrupt__"]] == ["p", "q"]


def test_one_answer_for_several_questions_is_ambiguous(way, log) -> None:
    """I-7: nothing is recorded, and the open ids are named."""
    graph = drawn(way, asks("p", "P?"), asks("q", "Q?"), edges=">p,q").compile(log)
    way.invoke(graph, {})
    before = log.head("t").seq
    with pytest.raises(
        AnswerError, match="multiple pending interrupts, you must specify the interrupt id"
    ) as caught:
        way.invoke(graph, Command(resume="v"))
    assert all(key in caught.value.hint for key in open_ids(graph).values())
    assert isinstance(caught.value, RuntimeError)
    assert log.head("t").seq == before


def test_answers_by_id_may_come_together_or_one_by_one(way, log) -> None:
    """I-5, I-6: a partial map wakes only whom it answers."""
    ran: list[str] = []

    def noisy(name):
        inner = asks(name, f"{name}?")

        def node(state):
            ran.append(name)
            return inner(state)

        node.__name__ = name
        return node

    graph = drawn(way, noisy("p"), noisy("q"), edges=">p,q").compile(log)
    for thread in "ab":
        way.invoke(graph, {}, on(thread))
    ids = open_ids(graph, on("a"))
    both = Command(resume={ids["p?"]: "P", ids["q?"]: "Q"})
    assert way.invoke(graph, both, on("a")) == {"trail": ["P", "Q"]}
    ran.clear()
    ids = open_ids(graph, on("b"))
    left = way.invoke(graph, Command(resume={ids["q?"]: "Q"}), on("b"))
    assert [item.value for item in left["__interrupt__"]] == ["p?"]
    assert ran == ["q"]
    assert way.invoke(graph, Command(resume="P"), on("b")) == {"trail": ["P", "Q"]}


def test_an_unknown_id_is_refused(way, log) -> None:
    """I-6, mended: LangGraph ignores it and runs everything again."""
    graph = drawn(way, asks("p", "P?"), edges=">p").compile(log)
    way.invoke(graph, {})
    before = log.head("t").seq
    with pytest.raises(AnswerError, match=f"Unknown or already-consumed interrupt: {UNKNOWN}"):
        way.invoke(graph, Command(resume={UNKNOWN: 1}))
    assert log.head("t").seq == before


def test_an_answer_is_used_once(way, log) -> None:
    """I-10: the id of an answered question is unknown from then on."""
    graph = drawn(way, asks("p", "one", "two"), edges=">p").compile(log)
    first = way.invoke(graph, {})["__interrupt__"][0].id
    way.invoke(graph, Command(resume={first: 1}))
    with pytest.raises(AnswerError, match="Unknown or already-consumed interrupt"):
        way.invoke(graph, Command(resume={first: "again"}))


@pytest.mark.parametrize("given", ["stale", None])
def test_an_answer_without_a_question_is_refused(way, log, given) -> None:
    """I-10a, mended: it does not lie in wait for the next run's first question."""
    graph = drawn(way, asks("p", "P?"), edges=">p").compile(log)
    way.invoke(graph, {})
    way.invoke(graph, Command(resume="fresh"))
    with pytest.raises(AnswerError, match="has no open question"):
        way.invoke(graph, Command(resume=given))
    assert "__interrupt__" in way.invoke(graph, {})


def test_an_answer_to_a_thread_that_never_ran_is_refused(way, log) -> None:
    """I-10: and leaves no trace."""
    graph = drawn(way, asks("p", "P?"), edges=">p").compile(log)
    with pytest.raises(AnswerError, match="has asked nothing"):
        way.invoke(graph, Command(resume="v"))
    assert log.head("t") is None


def test_without_a_log_a_question_is_shown_but_cannot_be_answered(way) -> None:
    """I-8: in LangGraph's words."""
    graph = drawn(way, asks("p", "P?"), edges=">p").compile()
    assert [item.value for item in way.invoke(graph, {})["__interrupt__"]] == ["P?"]
    with pytest.raises(RuntimeError, match=r"Cannot use Command\(resume=\.\.\.\) without checkpointer"):
        way.invoke(graph, Command(resume="v"))


def test_a_broad_except_does_not_swallow_a_question(way, log) -> None:
    """I-11, mended: what parks a run is no ``Exception``."""

    def careful(state):
        try:
            answer = interrupt("q")
        except Exception:
            answer = "swallowed"
        return {"trail": [answer]}

    graph = drawn(way, careful, edges=">careful").compile(log)
    assert "__interrupt__" in way.invoke(graph, {})
    assert way.invoke(graph, Command(resume="heard")) == {"trail": ["heard"]}


def test_a_finished_sibling_is_not_run_again_by_an_answer(way, log, durability) -> None:
    """R-3, G2: recorded is recorded."""
    ran: list[str] = []

    def sibling(state):
        ran.append("sibling")
        return {"trail": ["sibling"]}

    graph = drawn(way, asks("p", "P?"), sibling, edges=">p,sibling").compile(log)
    way.invoke(graph, {}, durability=durability)
    assert way.invoke(graph, Command(resume="P"), durability=durability) == {"trail": ["P", "sibling"]}
    assert ran == ["sibling"]


def test_a_nodes_failure_outweighs_its_siblings_question(way, log) -> None:
    """C-3: the error is raised, and the question stays open."""
    fails = [True]

    def bad(state):
        if fails:
            raise ValueError(fails.pop())
        return {"trail": ["mended"]}

    graph = drawn(way, asks("ask", "q"), bad, edges=">ask,bad").compile(log)
    with pytest.raises(ValueError, match="True"):
        way.invoke(graph, {})
    assert open_ids(graph).keys() == {"q"}
    assert [item.value for item in way.invoke(graph, None)["__interrupt__"]] == ["q"]
    assert way.invoke(graph, Command(resume="A")) == {"trail": ["A", "mended"]}


def test_sends_to_one_node_ask_separately(way, log) -> None:
    """I-4: each has an id of its own."""

    def w(given):
        return {"trail": [f"{given}={interrupt(given)}"]}

    builder = StateGraph(Trail).add_node("w", way.node(w))
    builder.add_conditional_edges(START, lambda _: [Send("w", "a"), Send("w", "b")])
    graph = builder.compile(log)
    asked = way.invoke(graph, {})["__interrupt__"]
    assert len({item.id for item in asked}) == 2
    answers = {item.id: item.value.upper() for item in asked}
    assert way.invoke(graph, Command(resume=answers)) == {"trail": ["a=A", "b=B"]}


def test_the_stream_shows_a_question_in_updates_and_values(way, log) -> None:
    """§2.18: a tuple each, at last the values with what siblings wrote; a resume shows what is restored (R-3)."""
    graph = drawn(way, asks("ask", "q"), leaves("sib"), edges=">ask,sib").compile(log)
    modes = ["values", "updates"]
    asked = way.stream(graph, {"trail": ["in"]}, stream_mode=modes)
    shown = (Interrupt("q", open_ids(graph)["q"]),)
    asked.remove(("updates", {"sib": {"trail": ["sib"]}}))  # It may end before, between and after these.
    assert asked == [
        ("values", {"trail": ["in"]}),
        ("updates", {"__interrupt__": shown}),
        ("values", {"trail": ["in"], "__interrupt__": shown}),
        ("values", {"trail": ["in", "sib"]}),
    ]
    assert way.stream(graph, Command(resume="A"), stream_mode=modes) == [
        ("values", {"trail": ["in"]}),
        ("updates", {"sib": {"trail": ["sib"]}, "__metadata__": {"cached": True}}),
        ("updates", {"ask": {"trail": ["A"]}}),
        ("values", {"trail": ["in", "A", "sib"]}),
    ]


def test_a_response_schema_is_shown_with_the_question(way, log) -> None:
    """I-12: a dict is shown as it is."""

    def ask(state):
        return {"x": interrupt("q", response_schema={"type": "integer"})}

    graph = drawn(way, ask, edges=">ask").compile(log)
    assert way.invoke(graph, {})["__interrupt__"][0].response_schema == {"type": "integer"}
    assert graph.get_state(THREAD).interrupts[0].response_schema == {"type": "integer"}


def test_an_answer_and_an_update_can_come_together(way, log) -> None:
    """N-4: the update is there when the node runs again."""

    def ask(state):
        return {"trail": [interrupt("q"), state.get("x")]}

    graph = drawn(way, ask, edges=">ask").compile(log)
    way.invoke(graph, {})
    assert way.invoke(graph, Command(resume="A", update={"x": 5})) == {"trail": ["A", 5], "x": 5}


def test_a_question_outside_of_a_run_is_refused() -> None:
    """§3.2."""
    with pytest.raises(OutsideOfRun, match="interrupt"):
        interrupt("q")


def test_another_process_can_answer(way, tmp_path) -> None:
    """I-1: all that is needed is in the log."""
    for given in ({}, Command(resume="later")):
        with Log.open(tmp_path / "log.wal", strict=True) as log:
            result = way.invoke(drawn(way, asks("ask", "q"), edges=">ask").compile(log), given)
    assert result == {"trail": ["later"]}


def test_a_subgraphs_question_is_answered_through_the_parent(way, log) -> None:
    """§2.11: it comes up to the root, and the answer finds its way down."""
    sub = drawn(way, leaves("s"), asks("ask", "below"), edges=">s s>ask", state=Trail).compile()
    graph = StateGraph(Trail).add_node("sub", sub).add_edge(START, "sub").compile(log)
    asked = way.invoke(graph, {})["__interrupt__"]
    assert [item.value for item in asked] == ["below"]
    assert way.invoke(graph, Command(resume={asked[0].id: "A"}))["trail"] == ["s", "A"]


def test_threads_do_not_share_questions(way) -> None:
    """I-4: an id is of its thread."""
    graph = drawn(way, asks("ask", "q"), edges=">ask").compile(MemoryLog(strict=True))
    first, second = (way.invoke(graph, {}, on(name))["__interrupt__"][0].id for name in "ab")
    assert first != second
    with pytest.raises(AnswerError, match="Unknown or already-consumed interrupt"):
        way.invoke(graph, Command(resume={first: 1}), on("b"))


def test_a_refused_answer_says_why_as_data(way, log) -> None:
    """I-14: what strict resumes of LangGraph say, under its name too; nothing is recorded."""
    graph = drawn(way, asks("p", "P?"), asks("q", "Q?"), edges=">p,q").compile(log)
    way.invoke(graph, {})
    pending, before = tuple(open_ids(graph).values()), log.head("t").seq
    for given, reason, ids, said in (
        ({}, "empty_map", (), "The resume map names no interrupt"),
        ({UNKNOWN: 1, pending[0]: 2}, "not_pending", (UNKNOWN,), f"interrupt: {UNKNOWN}"),
        ("v", "ambiguous", (), "When there are multiple pending interrupts"),
    ):
        with pytest.raises(UnknownInterruptError, match=said) as caught:
            way.invoke(graph, Command(resume=given))
        refused = caught.value
        assert (refused.reason, refused.interrupt_ids, refused.pending_ids) == (reason, ids, pending)
    assert log.head("t").seq == before


def test_what_finished_beside_a_question_is_in_the_result(way, log) -> None:
    """I-18: the output is what ``get_state`` shows, so it has the writes of the step's finished tasks."""
    graph = drawn(way, asks("ask", "q"), leaves("a", x=1), edges=">a,ask").compile(log)
    for given in ({"trail": ["in"]}, None):
        found = way.invoke(graph, given)
        assert {key: found[key] for key in ("trail", "x")} == {"trail": ["in", "a"], "x": 1}
        assert found["__interrupt__"] == list(graph.get_state(THREAD).interrupts)
    assert way.invoke(graph, Command(resume="A")) == {"trail": ["in", "a", "A"], "x": 1}


@pytest.mark.parametrize("checkpointer", [None, False])
def test_what_parks_a_run_passes_by_handlers_of_exceptions(way, log, checkpointer) -> None:
    """I-11: in a node, in a task, around a subgraph; what parks is LangGraph's GraphBubbleUp."""
    assert issubclass(GraphInterrupt, GraphBubbleUp)
    assert not issubclass(GraphBubbleUp, Exception)

    def ask(state):
        try:
            return {"trail": [interrupt("q")]}
        except Exception as error:
            return {"trail": [repr(error)]}

    inner = drawn(way, ask, edges=">ask").compile(checkpointer)

    def call(state):
        try:
            return {"trail": inner.invoke({})["trail"]}
        except Exception as error:
            return {"trail": [repr(error)]}

    async def acall(state):
        try:
            return {"trail": (await inner.ainvoke({}))["trail"]}
        except Exception as error:
            return {"trail": [repr(error)]}

    builder = StateGraph(Trail).add_node("call", acall if way.is_async else call).add_edge(START, "call")
    graph = builder.compile(log)
    way.invoke(graph, {})
    assert way.invoke(graph, Command(resume="A")) == {"trail": ["A"]}


def test_a_stream_shows_what_each_task_asks(way, log) -> None:
    """§2.18: one event for each task, as consumers expect that look at the first of its questions only."""
    graph = drawn(way, asks("p", "P?"), asks("q", "Q?"), edges=">p,q").compile(log)
    chunks = way.stream(graph, {"trail": ["in"]}, stream_mode=["values", "updates"])
    p, q = graph.get_state(THREAD).interrupts
    assert chunks == [
        ("values", {"trail": ["in"]}),
        ("updates", {"__interrupt__": (p,)}),
        ("values", {"trail": ["in"], "__interrupt__": (p,)}),
        ("updates", {"__interrupt__": (q,)}),
        ("values", {"trail": ["in"], "__interrupt__": (q,)}),
    ]
