"""Time travel: runs that begin at an older checkpoint (TT of the map)."""

from __future__ import annotations

import itertools

import pytest
from helpers import THREAD, asks, drawn, leaves, on, past

from walgraph import AnswerError, CheckpointNotFound, Command, Log


def counted(way, log, **options):
    """Return a graph a → n → z, where n counts how often it ran."""
    numbers = itertools.count(1)

    def n(state):
        return {"trail": [f"n{next(numbers)}"]}

    return drawn(way, leaves("a"), n, leaves("z"), edges=">a a>n n>z").compile(log, **options)


def before(graph, node, config=THREAD):
    """Return the newest checkpoint after which a node is due."""
    return next(shown for shown in graph.get_state_history(config) if node in shown.next)


def test_an_old_checkpoint_is_run_again_from_there(way, log) -> None:
    """TT-1, TT-8: as a fork of its own, one step later, and side effects happen again."""
    graph = counted(way, log)
    way.invoke(graph, {})
    old, kept = before(graph, "n"), past(graph)
    assert way.invoke(graph, None, old.config) == {"trail": ["a", "n2", "z"]}
    assert past(graph)[: len(kept)] == kept
    assert past(graph)[len(kept) :] == [("fork", 2, ("n",)), ("loop", 3, ("z",)), ("loop", 4, ())]
    fork = list(graph.get_state_history(THREAD))[2]
    assert fork.parent_config == old.config
    assert fork.values == old.values


def test_a_replay_streams_the_values_it_begins_with(way, log) -> None:
    """TT-1, R-3: as every resume does; it once did not."""
    graph = counted(way, log)
    way.invoke(graph, {})
    old = before(graph, "n")
    assert way.stream(graph, None, old.config, stream_mode="values") == [
        {"trail": ["a"]},
        {"trail": ["a", "n2"]},
        {"trail": ["a", "n2", "z"]},
    ]


def test_the_new_branch_is_the_latest(way, log) -> None:
    """TT-1: latest is the end of the log; the old branch remains to be looked at."""
    graph = counted(way, log)
    way.invoke(graph, {})
    end = graph.get_state(THREAD)
    way.invoke(graph, None, before(graph, "n").config)
    assert graph.get_state(THREAD).values["trail"] == ["a", "n2", "z"]
    assert graph.get_state(end.config).values["trail"] == ["a", "n1", "z"]


def test_addressing_the_head_is_an_ordinary_resume(way, log) -> None:
    """TT-2, TT-3: no fork, and nothing that is recorded runs again."""
    graph = counted(way, log, interrupt_before=["z"])
    way.invoke(graph, {})
    head = graph.get_state(THREAD)
    assert way.invoke(graph, None, head.config) == {"trail": ["a", "n1", "z"]}
    assert "fork" not in [source for source, _, _ in past(graph)]


def test_an_old_checkpoint_with_a_new_input_branches_off(way, log) -> None:
    """TT-5: the input's checkpoint follows the addressed one; no other is added."""
    graph = counted(way, log)
    way.invoke(graph, {})
    old, kept = before(graph, "n"), past(graph)
    assert way.invoke(graph, {"trail": ["new"]}, old.config) == {"trail": ["a", "new", "a", "n2", "z"]}
    assert past(graph)[len(kept) :] == [
        ("input", 2, ("__start__",)),
        ("loop", 3, ("a",)),
        ("loop", 4, ("n",)),
        ("loop", 5, ("z",)),
        ("loop", 6, ()),
    ]
    entry = list(graph.get_state_history(THREAD))[4]
    assert entry.parent_config == old.config


@pytest.mark.parametrize("given", [None, {"trail": ["in"]}])
def test_under_exit_a_branch_follows_the_checkpoint_it_began_at(way, log, given) -> None:
    """K-1, TT-1, TT-5: its parent is that checkpoint; once it was the newest of the branch before."""
    graph = counted(way, log)
    for value in ({}, {}, {}):
        way.invoke(graph, value, durability="exit")
    old = list(graph.get_state_history(THREAD))[-1]
    way.invoke(graph, given, old.config, durability="exit", interrupt_before=["z"])
    assert graph.get_state(THREAD).parent_config == old.config


def test_what_a_command_added_belongs_to_its_checkpoint(way, log, durability) -> None:
    """N-4, TT-1: history shows it there, and a branch that begins there has it."""
    graph = counted(way, log)
    goto = () if durability == "exit" else "z"
    way.invoke(graph, {}, durability=durability)
    way.invoke(graph, Command(update={"trail": ["c"]}, goto=goto), durability=durability)
    old = next(shown for shown in graph.get_state_history(THREAD) if shown.values["trail"][-1] == "c")
    assert (old.values["trail"], old.next) == (["a", "n1", "z", "c"], ("z",) if goto else ())
    way.invoke(graph, {}, durability=durability)
    again = way.invoke(graph, None, old.config, durability=durability)
    assert again["trail"] == ["a", "n1", "z", "c", *goto]


@pytest.mark.parametrize("text", ["nonsense", "00000000-0000-0000-0000-000000000000", "9" * 20, ""])
def test_an_unknown_checkpoint_is_refused(way, log, text) -> None:
    """TT-6: by name, and nothing is recorded; reading it shows nothing."""
    graph = counted(way, log)
    way.invoke(graph, {})
    seq = log.head("t").seq
    config = on("t", checkpoint_id=text)
    for given in (None, {}, Command(goto="a")):
        with pytest.raises(CheckpointNotFound, match="has no checkpoint"):
            way.invoke(graph, given, config)
    assert graph.get_state(config).values == {}
    assert log.head("t").seq == seq


def test_a_question_can_be_answered_differently(way, log) -> None:
    """TT-4, I-10c, mended: LangGraph returns the first answer again."""
    graph = drawn(way, asks("ask", "q"), leaves("b"), edges=">ask ask>b").compile(log)
    question = way.invoke(graph, {})["__interrupt__"][0]
    asked = graph.get_state(THREAD)
    assert way.invoke(graph, Command(resume="first")) == {"trail": ["first", "b"]}
    assert way.invoke(graph, Command(resume="second"), asked.config) == {"trail": ["second", "b"]}
    assert way.invoke(graph, Command(resume={question.id: "third"}), asked.config) == {
        "trail": ["third", "b"]
    }


def test_each_question_of_a_task_can_be_answered_anew(way, log) -> None:
    """GS-2, TT-4: history shows all that a task asked, and a branch begins before the one that is answered."""
    graph = drawn(way, asks("n", "first?", "second?"), edges=">n").compile(log)
    for given in ({}, Command(resume="A"), Command(resume="A")):
        way.invoke(graph, given)
    asked = before(graph, "n")
    first, second = asked.tasks[0].interrupts
    assert (first.value, second.value) == ("first?", "second?")
    assert way.invoke(graph, Command(resume={second.id: "B"}), asked.config) == {"trail": ["A", "B"]}
    way.invoke(graph, Command(resume={first.id: "C"}), asked.config)
    assert [item.value for item in graph.get_state(THREAD).interrupts] == ["second?"]
    assert way.invoke(graph, Command(resume="D")) == {"trail": ["C", "D"]}


def test_replaying_a_question_asks_it_again(way, log) -> None:
    """TT-1: the old answer is not used for it."""
    graph = drawn(way, asks("ask", "q"), edges=">ask").compile(log)
    way.invoke(graph, {})
    asked = graph.get_state(THREAD)
    way.invoke(graph, Command(resume="first"))
    assert [item.value for item in way.invoke(graph, None, asked.config)["__interrupt__"]] == ["q"]
    assert way.invoke(graph, Command(resume="second")) == {"trail": ["second"]}


def test_a_checkpoint_without_a_question_takes_no_answer(way, log) -> None:
    """TT-4: nothing is recorded."""
    graph = counted(way, log)
    way.invoke(graph, {})
    seq = log.head("t").seq
    with pytest.raises(AnswerError, match="has no open question"):
        way.invoke(graph, Command(resume="v"), before(graph, "n").config)
    assert log.head("t").seq == seq


def test_a_branch_of_a_branch(way, log) -> None:
    """TT-1: any checkpoint can be gone back to, of whatever branch."""
    graph = counted(way, log)
    way.invoke(graph, {})
    first = before(graph, "n")
    way.invoke(graph, {"trail": ["x"]}, first.config)
    second = before(graph, "z")
    way.invoke(graph, None, first.config)
    assert way.invoke(graph, None, second.config) == {"trail": ["a", "x", "a", "n2", "z"]}
    assert way.invoke(graph, None, first.config) == {"trail": ["a", "n4", "z"]}


def test_a_fork_runs_all_tasks_of_its_step_again(way, log) -> None:
    """TT-1: those with stored outcomes too."""
    ran = []

    def p(state):
        ran.append("p")
        return {"trail": ["p"]}

    def q(state):
        ran.append("q")
        return {"trail": ["q"]}

    graph = drawn(way, p, q, leaves("r"), edges=">p,q p+q>r").compile(log)
    way.invoke(graph, {})
    assert way.invoke(graph, None, before(graph, "p").config) == {"trail": ["p", "q", "r"]}
    assert sorted(ran) == ["p", "p", "q", "q"]


def test_a_half_seen_join_is_what_it_was_at_the_checkpoint(way, log) -> None:
    """TT-1, A-9: the state of a branch is the whole state."""
    graph = drawn(way, *map(leaves, ["a", "b", "b2", "c"]), edges=">a,b b>b2 a+b2>c").compile(log)
    way.invoke(graph, {})
    old = before(graph, "b2")
    assert way.invoke(graph, None, old.config) == {"trail": ["a", "b", "b2", "c"]}


def test_time_travel_works_in_every_mode(way, log, durability) -> None:
    """TT-1: with what history a mode keeps."""
    graph = counted(way, log)
    way.invoke(graph, {}, durability="sync")
    old = before(graph, "n")
    assert way.invoke(graph, None, old.config, durability=durability)["trail"] == ["a", "n2", "z"]
    assert graph.get_state(THREAD).values["trail"] == ["a", "n2", "z"]


def test_another_process_can_go_back(way, tmp_path) -> None:
    """TT-1: a branch carries the state it starts from."""
    path = tmp_path / "log.wal"
    with Log.open(path, strict=True) as log:
        graph = counted(way, log)
        way.invoke(graph, {"x": 1})
        config = before(graph, "n").config
        way.invoke(graph, {"x": 2}, config)
    with Log.open(path, strict=True) as log:
        graph = counted(way, log)
        assert graph.get_state(THREAD).values["x"] == 2
        assert way.invoke(graph, None, config)["x"] == 1
