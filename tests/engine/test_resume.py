"""What a call is: a resume or a new input; and what a resume finds (R-1, R-2, R-6, R-9, TT-9)."""

from __future__ import annotations

import pytest
from helpers import THREAD, asks, chain, drawn, leaves
from subgraph_helpers import Child, inner_node, nested_in, parent_of

from walgraph import Command, MemoryLog, interrupt
from walgraph.replay.plain import thread_from_plain, thread_to_plain
from walgraph.replay.recover import recover
from walgraph.wal.codec import GLOBAL


def asking(way, ran):
    """Return a subgraph of three nodes, the second of which asks."""
    two = inner_node(way, ran, "two", lambda _: interrupt("two?"))
    return chain(inner_node(way, ran, "one"), two, inner_node(way, ran, "three"), state=Child).compile()


def test_an_input_is_an_input_though_the_run_id_is_the_old_one(way, log) -> None:
    """R-1, R-2, mended: LangGraph takes it for a resume, and drops the input without a word."""
    graph = drawn(way, asks("ask", "q"), edges=">ask").compile(log)
    config = {**THREAD, "metadata": {"run_id": "same"}}
    way.invoke(graph, {"trail": ["first"]}, config)
    assert way.invoke(graph, {"trail": ["second"]}, config)["trail"] == ["first", "second"]
    assert way.invoke(graph, Command(resume="A"), config) == {"trail": ["first", "second", "A"]}


def test_a_resume_takes_subgraphs_up_where_they_were(way, log, ran, kind) -> None:
    """R-6: in the step that was open; in the next one they begin anew."""
    graph = parent_of(way, ran, log, nested_in(way, kind, asking(way, ran)))
    way.invoke(graph, {})
    way.invoke(graph, Command(resume="A"))
    assert ran.names == ["before", "one", "two", "two", "three", "after"]


@pytest.mark.parametrize("how", ["answered", "gone on with"])
def test_a_subgraph_can_be_mended_before_its_question_is_answered(way, log, ran, how) -> None:
    """U-8, U-10: as in LangGraph; the answer is for the question that the mended subgraph is about to ask."""
    graph = parent_of(way, ran, log, asking(way, ran))
    way.invoke(graph, {})
    graph.update_state(graph.get_state(THREAD).tasks[0].state, {"inner": ["mended"]})
    if how == "gone on with":
        assert [item.value for item in way.invoke(graph, None)["__interrupt__"]] == ["two?"]
    end = way.invoke(graph, Command(resume="A"))
    assert end["trail"] == ["before", "one", "mended", "two=A", "three", "after"]


def test_what_tasks_came_to_stays_with_its_branch(way, log) -> None:
    """TT-9: outcomes belong to the checkpoint on whose branch they were recorded, and to no other."""
    graph = drawn(way, asks("ask", "q"), leaves("b"), edges=">ask ask>b").compile(log)
    way.invoke(graph, {})
    asked = graph.get_state(THREAD).config
    way.invoke(graph, Command(resume="first"))
    way.invoke(graph, Command(resume="second"), asked)
    assert graph.get_state(asked).tasks[0].result == {"trail": ["first"]}
    forked = next(s for s in graph.get_state_history(THREAD) if s.metadata["source"] == "fork")
    assert forked.tasks[0].result == {"trail": ["second"]}
    assert forked.tasks[0].id != graph.get_state(asked).tasks[0].id


def test_a_state_of_an_earlier_version_is_read(way, ran) -> None:
    """R-9: what was added since has a meaning when it is missing."""
    with MemoryLog() as log:
        graph = parent_of(way, ran, log, asking(way, ran))
        way.invoke(graph, {})
        state = recover(log, "t", lambda _: None, GLOBAL).state
    plain = thread_to_plain(state)
    del plain["thread"]
    assert thread_from_plain(plain) == state._replace(thread="")
