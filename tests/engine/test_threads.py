"""One writer a thread: runs that meet (CC-1, G7) and what the log says of them."""

from __future__ import annotations

import threading

import pytest
from helpers import THREAD, Trail, Way, asks, chain, drawn, leaves, on
from subgraph_helpers import Child, inner_node, nested_in, parent_of

from walgraph import START, Command, StaleWriter, StateGraph, ThreadBusy, interrupt
from walgraph.tools.mortal import deaths
from walgraph.wal.record import ThreadCreated


class Held:
    """A graph whose node waits until it is let go, and a run of it in another thread."""

    def __init__(self, log, name="t"):
        self.inside, self.go = threading.Event(), threading.Event()
        self.graph = StateGraph(Trail).add_node("a", self.body).add_edge(START, "a").compile(log)
        self.outcome = []
        self.runner = threading.Thread(target=self.run, args=(name,))
        self.runner.start()
        assert self.inside.wait(5)

    def body(self, state):
        """Wait to be let go."""
        self.inside.set()
        assert self.go.wait(5)
        return {"trail": ["held"]}

    def run(self, name):
        """Run the graph, and keep what came of it."""
        try:
            self.outcome.append(self.graph.invoke({"x": 1}, on(name), durability="sync"))
        except BaseException as error:
            self.outcome.append(error)

    def finish(self):
        """Let the run end, and return what it returned or raised."""
        self.go.set()
        self.runner.join(5)
        return self.outcome[0]


@pytest.fixture
def held(log):
    """A run under way on thread ``t``."""
    run = Held(log)
    yield run
    run.finish()


def test_a_second_run_is_refused_and_leaves_no_trace(way, log, held) -> None:
    """CC-1, mended: LangGraph lets both succeed, and loses one."""
    graph = drawn(way, leaves("b"), edges=">b").compile(log)
    seq = log.head("t").seq
    with pytest.raises(ThreadBusy, match="'t'") as caught:
        way.invoke(graph, {})
    assert caught.value.hint
    assert log.head("t").seq == seq
    assert log.head("t").status == "running"
    assert held.finish() == {"trail": ["held"], "x": 1}


def test_a_second_run_can_wait(way, log, held) -> None:
    """CC-1: and goes on with what the first left."""
    graph = drawn(way, leaves("b"), edges=">b").compile(log)
    timer = threading.Timer(0.05, held.go.set)
    timer.start()
    assert way.invoke(graph, {"x": 2}, if_busy="wait") == {"trail": ["held", "b"], "x": 2}
    timer.join()


def test_a_second_run_can_steal(way, log, held) -> None:
    """G7: the first one's next append is refused; nothing of it is recorded."""
    graph = drawn(way, leaves("b"), edges=">b").compile(log)
    assert way.invoke(graph, {"x": 2}, if_busy="steal") == {"trail": ["b"], "x": 2}
    assert isinstance(held.finish(), StaleWriter)
    assert graph.get_state(THREAD).values == {"trail": ["b"], "x": 2}


def test_other_threads_are_not_in_the_way(way, log, held) -> None:
    """CC-1: a claim is one thread's."""
    graph = drawn(way, leaves("b"), edges=">b").compile(log)
    assert way.invoke(graph, {}, on("another")) == {"trail": ["b"]}


def test_a_stream_claims_when_it_is_begun_and_frees_when_it_ends(log) -> None:
    """CC-1: a generator that nobody has asked yet owns nothing."""
    graph = StateGraph(Trail).add_node(leaves("a")).add_node(leaves("b"))
    graph = graph.add_edge(START, "a").add_edge("a", "b").compile(log)
    idle, stream = graph.stream({}, THREAD), graph.stream({}, THREAD)
    next(stream)
    with pytest.raises(ThreadBusy):
        next(idle)
    stream.close()
    assert graph.invoke(None, THREAD) == {"trail": ["a", "b"]}


def test_a_run_cannot_call_its_own_thread(way, log) -> None:
    """CC-1: an update from within is refused, not a deadlock."""
    seen = []

    def a(state):
        with pytest.raises(ThreadBusy):
            graph.update_state(THREAD, {"x": 1}, as_node="a")
        seen.append("refused")

    graph = drawn(way, a, edges=">a").compile(log)
    way.invoke(graph, {})
    assert seen == ["refused"]


def test_the_log_lists_threads_by_status(way, log) -> None:
    """R-7, mended: what is unfinished can be found."""
    done = drawn(way, leaves("a"), edges=">a").compile(log, name="tidy")
    asking = drawn(way, asks("ask", "q"), edges=">ask").compile(log)

    def bad(state):
        raise ValueError("x")

    failing = drawn(way, bad, edges=">bad").compile(log)
    way.invoke(done, {}, on("d"))
    way.invoke(asking, {}, on("i"))
    way.invoke(done, {}, on("p"), interrupt_before=["a"])
    with pytest.raises(ValueError, match="x"):
        way.invoke(failing, {}, on("f"))
    found = {head.thread_id: (head.status, head.next) for head in log.threads()}
    assert found == {
        "d": ("done", ()),
        "i": ("interrupted", ("ask",)),
        "p": ("parked", ("a",)),
        "f": ("failed", ("bad",)),
    }
    assert [head.thread_id for head in log.threads(status="interrupted")] == ["i"]
    assert log.head("d").graph == "tidy"


def test_a_deleted_thread_begins_anew(way, log) -> None:
    """§4: nothing of it is left."""
    graph = drawn(way, leaves("a"), edges=">a").compile(log)
    way.invoke(graph, {"x": 1})
    log.delete_thread("t")
    assert graph.get_state(THREAD).values == {}
    assert way.invoke(graph, {}) == {"trail": ["a"]}


def test_a_copied_thread_goes_its_own_way(way, log) -> None:
    """§4: open questions come along."""
    graph = drawn(way, asks("ask", "q"), edges=">ask").compile(log)
    way.invoke(graph, {})
    log.copy_thread("t", "u")
    assert way.invoke(graph, Command(resume="for t")) == {"trail": ["for t"]}
    assert way.invoke(graph, Command(resume="for u"), on("u")) == {"trail": ["for u"]}


def test_many_threads_at_once(log) -> None:
    """CC-1: one graph object serves them all."""
    graph = StateGraph(Trail).add_node(leaves("a")).add_edge(START, "a").compile(log)
    results = {}

    def run(name):
        results[name] = graph.invoke({"x": name}, on(name))

    runners = [threading.Thread(target=run, args=(str(i),)) for i in range(16)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join(10)
    assert results == {str(i): {"trail": ["a"], "x": str(i)} for i in range(16)}
    assert len(list(log.threads(status="done"))) == 16


@pytest.mark.parametrize("kind", ["node", "function", "task"])
def test_a_copied_thread_goes_on_in_its_subgraph(way, log, ran, kind) -> None:
    """§4: what the subgraph had done comes along too; it once was begun anew, since names are made of thread ids.

    The copy takes names of its own with its first record, so the two threads never share an id.
    """
    two = inner_node(way, ran, "two", lambda _: interrupt("two?"))
    inner = chain(inner_node(way, ran, "one"), two, inner_node(way, ran, "three"), state=Child).compile()
    graph = parent_of(way, ran, log, nested_in(way, kind, inner))
    way.invoke(graph, {})
    log.copy_thread("t", "u")
    ran.names.clear()
    shown, copied = graph.get_state(THREAD, subgraphs=True), graph.get_state(on("u"), subgraphs=True)
    assert copied.tasks[0].state.values == shown.tasks[0].state.values
    assert copied.interrupts == shown.interrupts
    [question] = copied.interrupts
    assert way.invoke(graph, Command(resume={question.id: "U"}), on("u"))["trail"][2] == "two=U"
    assert way.invoke(graph, Command(resume="T"))["trail"][2] == "two=T"
    assert ran.names == ["two", "three", "after"] * 2
    ids = [
        {task.id for shown in graph.get_state_history(on(thread), limit=2) for task in shown.tasks}
        for thread in "tu"
    ]
    assert ids[0].isdisjoint(ids[1])


def test_a_copied_thread_can_be_gone_back_in(way, log, ran) -> None:
    """TT-7: to checkpoints from before the copying, too; and edited, and copied again."""
    two = inner_node(way, ran, "two", lambda _: interrupt("two?"))
    inner = chain(inner_node(way, ran, "one"), two, state=Child).compile()
    graph = parent_of(way, ran, log, inner)
    way.invoke(graph, {})
    asked = graph.get_state(THREAD, subgraphs=True).tasks[0].state.config
    way.invoke(graph, Command(resume="T"))
    log.copy_thread("t", "u")
    log.copy_thread("u", "v")
    ran.names.clear()
    for thread in "uv":
        config = {"configurable": {**asked["configurable"], "thread_id": thread}}
        assert way.invoke(graph, Command(resume=thread), config)["trail"][2] == f"two={thread}"
        changed = graph.update_state(config, {"trail": ["edited"]}, as_node="two")
        assert way.invoke(graph, None, changed)["trail"] == ["before", "edited", "after"]
    assert ran.names == ["two", "after", "after"] * 2


def test_a_copied_thread_goes_on_in_every_mode(way, log, ran, durability) -> None:
    """§4: under ``exit`` it takes its own names with the state that the run leaves."""
    two = inner_node(way, ran, "two", lambda _: interrupt("two?"))
    inner = chain(inner_node(way, ran, "one"), two, state=Child).compile()
    graph = parent_of(way, ran, log, nested_in(way, "function", inner))
    way.invoke(graph, {}, durability=durability)
    log.copy_thread("t", "u")
    assert way.invoke(graph, Command(resume="U"), on("u"), durability=durability)["trail"][2] == "two=U"
    assert way.invoke(graph, {}, on("u"), durability=durability)["__interrupt__"]
    assert way.invoke(graph, Command(resume="V"), on("u"), durability=durability)["trail"][-2] == "two=V"


def test_a_copy_takes_its_names_once_however_often_it_dies(ran) -> None:
    """§4: killed before and after each append of its first run."""
    way = Way("sync")

    def build(log):
        two = inner_node(way, ran, "two", lambda _: interrupt("two?"))
        inner = chain(inner_node(way, ran, "one"), two, inner_node(way, ran, "three"), state=Child).compile()
        return parent_of(way, ran, log, nested_in(way, "function", inner))

    def prepare(log):
        graph = build(log)
        graph.invoke({}, THREAD, durability="sync")
        log.copy_thread("t", "u")
        ran.names.clear()
        return graph.get_state(on("u")).interrupts[0].id

    def act(log, question):
        build(log).invoke(Command(resume={question: "U"}), on("u"), durability="sync")

    for disk, question, fate in deaths(prepare, act):
        with disk.process() as log:
            graph = build(log)
            if graph.get_state(on("u")).interrupts:
                act(log, question)
            else:
                graph.invoke(None, on("u"), durability="sync")
            assert graph.get_state(on("u")).values["trail"] == ["before", "one", "two=U", "three", "after"], (
                fate
            )
            names = [
                stored.record.thread for stored in log.read("u") if isinstance(stored.record, ThreadCreated)
            ]
            assert names == ["t", "u"], fate
        assert "one" not in ran.names, fate
