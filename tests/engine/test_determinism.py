"""Guarantee G9: a run that asks for another call than the log holds is stopped, with both sides shown."""

from __future__ import annotations

import pytest
from helpers import chain

from walgraph import NonDeterminism, RetryPolicy, entrypoint, interrupt, task


class Play:
    """A workflow whose calls can be changed between its runs.

    Args:
        way: How graphs are called.
        log: The log.
    """

    def __init__(self, way, log) -> None:
        self.ran: list[object] = []
        self.script: list[tuple[str, tuple[object, ...], dict[str, object]]] = []
        self.broken = True

        def recorded(name):
            @task(name=name)
            @way.node
            def call(*args, **kwargs):
                self.ran.append(name)
                return name

            return call

        tasks = {name: recorded(name) for name in ("buy", "sell", "hold")}

        @entrypoint(log)
        @way.flow
        def workflow(x):
            found = []
            for name, args, kwargs in self.script:
                found.append((yield tasks[name](*args, **kwargs)))
            if self.broken:
                raise ConnectionError
            return found

        self.workflow = workflow
        self.way = way

    def first(self, *calls) -> None:
        """Run a script, recording its calls, and fail at its end."""
        self.script = [self.full(*call) for call in calls]
        with pytest.raises(ConnectionError):
            self.way.invoke(self.workflow, 0)
        self.ran.clear()
        self.broken = False

    def again(self, *calls):
        """Resume with another script."""
        self.script = [self.full(*call) for call in calls]
        return self.way.invoke(self.workflow, None)

    @staticmethod
    def full(name, *args, **kwargs):
        """Return a call with keyword arguments, if any."""
        return name, args, kwargs


@pytest.fixture
def play(way, log) -> Play:
    """A workflow that can be changed."""
    return Play(way, log)


def test_the_same_calls_are_found(play) -> None:
    """Nothing runs, everything is there."""
    play.first(("buy", 1), ("sell", "two", [3]))
    assert play.again(("buy", 1), ("sell", "two", [3])) == ["buy", "sell"]
    assert play.ran == []


def test_more_calls_may_follow(play) -> None:
    """The log holds a prefix; what comes after it is new."""
    play.first(("buy", 1))
    assert play.again(("buy", 1), ("sell", 2)) == ["buy", "sell"]
    assert play.ran == ["sell"]


def test_another_argument_is_refused(play) -> None:
    """LangGraph returns the old result silently (T-3)."""
    play.first(("buy", 1))
    with pytest.raises(NonDeterminism) as caught:
        play.again(("buy", 2))
    assert "the log holds a call of buy(1) here, this run calls buy(2); nothing was executed" in str(
        caught.value
    )
    assert play.ran == []


def test_another_task_is_refused(play) -> None:
    """The same place, the same argument, another name."""
    play.first(("buy", 1))
    with pytest.raises(NonDeterminism) as caught:
        play.again(("sell", 1))
    assert "the log holds a call of buy(1) here, this run calls sell(1)" in str(caught.value)
    assert play.ran == []


def test_an_inserted_call_is_refused(play) -> None:
    """LangGraph shifts all results by one place."""
    play.first(("buy", 1), ("sell", 2))
    with pytest.raises(NonDeterminism, match=r"holds a call of buy\(1\) here, this run calls hold\(\)"):
        play.again(("hold",), ("buy", 1), ("sell", 2))
    assert play.ran == []


def test_a_left_out_call_is_refused(play) -> None:
    """The next call stands where the one that was left out is recorded."""
    play.first(("buy", 1), ("sell", 2))
    with pytest.raises(NonDeterminism, match=r"holds a call of buy\(1\) here, this run calls sell\(2\)"):
        play.again(("sell", 2))
    assert play.ran == []


def test_swapped_calls_are_refused(play) -> None:
    """Order is part of a call's place."""
    play.first(("buy", 1), ("sell", 1))
    with pytest.raises(NonDeterminism):
        play.again(("sell", 1), ("buy", 1))
    assert play.ran == []


@pytest.mark.parametrize(
    ("recorded", "attempted"),
    [(1, 1.0), (1, True), ("1", 1), (b"a", "a"), ((1, 2), [1, 2]), ({"a": 1}, {"a": 2}), (None, 0)],
    ids=repr,
)
def test_arguments_are_compared_with_their_types(play, recorded, attempted) -> None:
    """Values that Python calls equal, or that look alike, are not the same call."""
    play.first(("buy", recorded))
    with pytest.raises(NonDeterminism):
        play.again(("buy", attempted))


def test_keyword_arguments_are_compared_too(way, log) -> None:
    """Passing a value by another name is another call."""
    names = iter(["a", "b"])

    @task
    @way.node
    def call(**kwargs):
        return kwargs

    @entrypoint(log)
    @way.flow
    def workflow(x):
        yield call(**{next(names): 1})
        raise ConnectionError

    with pytest.raises(ConnectionError):
        way.invoke(workflow, 0)
    with pytest.raises(NonDeterminism, match=r"call\(a=1\) here, this run calls call\(b=1\)"):
        way.invoke(workflow, None)


def test_the_order_of_keys_is_not_an_argument(way, log) -> None:
    """Keyword arguments have no order."""
    orders = iter([("a", "b"), ("b", "a")])
    fail = [True]

    @task
    @way.node
    def call(**kwargs):
        return sorted(kwargs)

    @entrypoint(log)
    @way.flow
    def workflow(x):
        found = yield call(**dict.fromkeys(next(orders), 1))
        if fail:
            fail.clear()
            raise ConnectionError
        return found

    with pytest.raises(ConnectionError):
        way.invoke(workflow, 0)
    assert way.invoke(workflow, None) == ["a", "b"]


def test_long_arguments_are_shown_by_their_size(play) -> None:
    """A message must be readable."""
    play.first(("buy", "x" * 1000))
    with pytest.raises(NonDeterminism, match=r"buy\(… \d+ bytes\) here, this run calls buy\(1\)"):
        play.again(("buy", 1))


def test_of_arguments_that_cannot_be_encoded_the_class_counts(way, log) -> None:
    """A function or a client has no digest; the other arguments are compared all the same."""
    fail, others = [True], [1]

    @task
    @way.node
    def call(function, other):
        return function()

    @entrypoint(log)
    @way.flow
    def workflow(x):
        found = yield call(lambda: 5, others[0])
        if fail:
            fail.clear()
            raise ConnectionError
        return found

    with pytest.raises(ConnectionError):
        way.invoke(workflow, 0)
    others[0] = 2
    with pytest.raises(NonDeterminism, match=r"call\(<builtins.function>, 1\) here, this run calls"):
        way.invoke(workflow, None)
    others[0] = 1
    assert way.invoke(workflow, None) == 5


def test_a_refused_run_can_be_resumed_with_the_old_code(play) -> None:
    """What the log holds is not touched by the attempt."""
    play.first(("buy", 1), ("sell", 2))
    with pytest.raises(NonDeterminism):
        play.again(("hold", 3))
    assert play.again(("buy", 1), ("sell", 2)) == ["buy", "sell"]
    assert play.ran == []


def test_a_new_input_begins_with_a_clean_slate(play) -> None:
    """The way out that the hint names: the recorded calls belong to the run that was given up."""
    play.first(("buy", 1))
    with pytest.raises(NonDeterminism) as caught:
        play.again(("buy", 2))
    assert "anew" in (caught.value.hint or "")
    assert play.way.invoke(play.workflow, 0) == ["buy"]
    assert play.ran == ["buy"]


def test_a_call_whose_task_asked_is_compared_as_well(way, log) -> None:
    """A question belongs to the call that asked it; LangGraph hands the answer to whoever stands there."""
    arguments = iter([1, 2])

    @task
    @way.node
    def ask(x):
        return interrupt(x)

    @entrypoint(log)
    @way.flow
    def workflow(x):
        return (yield ask(next(arguments)))

    way.invoke(workflow, 0)
    with pytest.raises(NonDeterminism, match=r"ask\(1\) here, this run calls ask\(2\)"):
        way.invoke(workflow, None)


def test_calls_in_the_nodes_of_a_graph_are_compared(way, log) -> None:
    """A node's calls are its own: the other node's stay valid."""
    arguments = iter([1, 2])

    @task
    @way.node
    def call(x):
        return str(x)

    @way.flow
    def node(state):
        yield call(next(arguments))
        raise ConnectionError

    graph = chain(node).compile(log)
    with pytest.raises(ConnectionError):
        way.invoke(graph, {"trail": []})
    with pytest.raises(NonDeterminism, match=r"task node/0 in step 1 of thread 't'"):
        way.invoke(graph, None)


def test_a_retry_in_the_same_run_is_checked_too(way, maybe_log) -> None:
    """An attempt that asks for other calls than the attempt before it is stopped, and not tried again."""
    arguments = iter(range(10))

    @task
    @way.node
    def call(x):
        return x

    @entrypoint(maybe_log, retry_policy=RetryPolicy(0, 1, 0, 3, jitter=False, retry_on=ValueError))
    @way.flow
    def workflow(x):
        yield call(next(arguments))
        raise ValueError

    with pytest.raises(NonDeterminism):
        way.invoke(workflow, 0)
    assert next(arguments) == 2
