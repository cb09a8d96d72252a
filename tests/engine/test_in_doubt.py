"""What is in doubt (G3): an attempt of which nobody knows how it ended, and who decides about it."""

from __future__ import annotations

import asyncio
import datetime

import pytest
from effect_helpers import QUICKLY, Killed, World, says
from helpers import THREAD, on, steps_of

from walgraph import (
    RUN_AGAIN,
    Command,
    EffectCall,
    InvalidGraph,
    MemoryLog,
    NodeTimeoutError,
    NonDeterminism,
    OutcomeUnknown,
    entrypoint,
    idempotency_key,
    task,
)


def test_reconcile_says_what_the_call_came_to(way, log, durability) -> None:
    """It is given the key and the call, and what it returns is recorded as the result."""
    asked: list[tuple[str, EffectCall]] = []
    world = World(way, log, reconcile=says("paid", asked=asked))
    world.lose(durability=durability)
    assert world.invoke(durability=durability) == "paid"
    ((key, call),) = asked
    assert key == world.keys[0]
    assert call[:4] == ("pay", ("bob", 5), {}, 1)
    assert abs((datetime.datetime.now(datetime.UTC) - call.begun_at).total_seconds()) < 60
    assert len(world.keys) == 1


def test_reconcile_may_say_run_again(way, log, durability) -> None:
    """Then the body begins again, under the same key, with a new intent that can be lost in turn."""
    asked: list[tuple[str, EffectCall]] = []
    world = World(way, log, reconcile=says(RUN_AGAIN, RUN_AGAIN, asked=asked))
    world.lose(durability=durability)
    world.lose(None, durability=durability)
    assert world.invoke(durability=durability) == "5 to bob"
    assert [call.attempt for _, call in asked] == [1, 2]
    assert len(world.keys) == 3
    assert len(set(world.keys)) == 1


def test_when_reconcile_raises_the_doubt_stays(way, log, durability) -> None:
    """A bank that does not answer now is asked again later."""
    world = World(
        way, log, reconcile=says(ConnectionError("no answer"), ConnectionError("still none"), "paid")
    )
    world.lose(durability=durability)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            world.invoke(durability=durability)
    assert world.invoke(durability=durability) == "paid"
    assert len(world.keys) == 1


def test_a_coroutine_function_may_reconcile(log) -> None:
    """In a run on an event loop; in a synchronous one it is refused before anything begins."""

    async def reconcile(key, call):
        await asyncio.sleep(0)
        return f"looked for {call.name}"

    @task(effect="at_most_once", reconcile=reconcile)
    def pay():
        raise fates.pop()

    @entrypoint(log)
    async def flow(x):
        return await pay()

    @entrypoint(log)
    def plain(x):
        return pay().result()

    fates = [Killed()]
    with pytest.raises(Killed):
        asyncio.run(flow.ainvoke(1, THREAD))
    assert asyncio.run(flow.ainvoke(None, THREAD)) == "looked for pay"
    with pytest.raises(InvalidGraph, match="coroutine function"):
        plain.invoke(1, on("plain"))
    assert "TaskStarted" not in steps_of(log, "plain")


def test_a_person_is_asked_and_gives_a_value(way, log, durability) -> None:
    """``on_unknown="interrupt"``: the question says what is in doubt; the answer is the call's result."""
    world = World(way, log, on_unknown="interrupt")
    world.lose(durability=durability)
    (asked,) = world.invoke(durability=durability)["__interrupt__"]
    assert asked.value["unknown"] == "pay"
    assert asked.value["call"] == "('bob', 5)"
    assert asked.value["key"] == world.keys[0]
    assert world.invoke(Command(resume="it arrived"), durability=durability) == "it arrived"
    assert len(world.keys) == 1


def test_a_person_may_answer_run_again_and_is_asked_anew_about_the_next_attempt(way, log, durability) -> None:
    """An answer concerns one attempt, as a question does."""
    world = World(way, log, on_unknown="interrupt")
    world.lose(durability=durability)
    (first,) = world.invoke(durability=durability)["__interrupt__"]
    world.lose(Command(resume=RUN_AGAIN), durability=durability)
    (second,) = world.invoke(durability=durability)["__interrupt__"]
    assert (first.value["attempt"], second.value["attempt"]) == (1, 2)
    assert first.id != second.id
    assert world.invoke(Command(resume={second.id: RUN_AGAIN}), durability=durability) == "5 to bob"
    assert len(world.keys) == 3
    assert len(set(world.keys)) == 1


def test_a_reconcile_that_cannot_tell_leaves_it_to_a_person(way, log) -> None:
    """It raises ``OutcomeUnknown``; ``on_unknown`` then says what follows."""
    world = World(
        way, log, reconcile=says(OutcomeUnknown("the bank has no such list")), on_unknown="interrupt"
    )
    world.lose()
    assert "__interrupt__" in world.invoke()
    assert world.invoke(Command(resume="paid")) == "paid"
    other = World(way, log, reconcile=says(OutcomeUnknown("the bank has no such list")))
    other.fates.append(Killed())
    with pytest.raises(Killed):
        way.invoke(other.flow, 1, on("other"))
    with pytest.raises(OutcomeUnknown, match="no such list"):
        way.invoke(other.flow, None, on("other"))


def test_a_caller_may_go_on_without_knowing(way, log) -> None:
    """``OutcomeUnknown`` is an exception like others, and can be caught."""
    keys = []

    @task(effect="at_most_once")
    @way.node
    def pay():
        keys.append(idempotency_key())
        raise Killed

    @entrypoint(log)
    @way.flow
    def flow(x):
        try:
            yield pay()
        except OutcomeUnknown as error:
            return f"look for {error.details['key']}"

    with pytest.raises(Killed):
        way.invoke(flow, 1)
    assert way.invoke(flow, None) == f"look for {keys[0]}"


def test_a_body_says_itself_that_it_does_not_know(way, log) -> None:
    """Where its exception leaves open what happened it raises ``OutcomeUnknown``, and is reconciled at once."""
    world = World(way, log, reconcile=says("arrived"))
    world.fates.append(OutcomeUnknown("no answer within 10 s"))
    assert world.invoke(5) == "arrived"
    doubtful = World(way, MemoryLog())
    doubtful.fates.append(OutcomeUnknown("no answer within 10 s"))
    with pytest.raises(OutcomeUnknown):
        doubtful.invoke(5)
    with pytest.raises(OutcomeUnknown):
        doubtful.invoke()
    assert len(doubtful.keys) == 1


@pytest.mark.parametrize("retries", [False, True])
def test_a_time_out_leaves_it_in_doubt(log, retries) -> None:
    """The body was stopped somewhere: ``reconcile`` is asked, and only if it says so the retry policy is."""
    bodies: list[int] = []
    policy = QUICKLY._replace(retry_on=NodeTimeoutError) if retries else None
    reconcile = says(RUN_AGAIN, "arrived")

    @task(effect="at_most_once", timeout=0.02, retry_policy=policy, reconcile=reconcile)
    async def pay():
        bodies.append(1)
        await asyncio.sleep(60)

    @task(effect="at_most_once", timeout=0.02, retry_policy=policy)
    async def blind():
        bodies.append(2)
        await asyncio.sleep(60)

    @entrypoint(log)
    async def flow(x):
        return await (pay() if x else blind())

    if retries:
        assert asyncio.run(flow.ainvoke(1, THREAD)) == "arrived"
        assert bodies == [1, 1]
    else:
        with pytest.raises(NodeTimeoutError):
            asyncio.run(flow.ainvoke(1, THREAD))
        assert bodies == [1]
    with pytest.raises(OutcomeUnknown) as caught:
        asyncio.run(flow.ainvoke(0, on("blind")))
    assert isinstance(caught.value.__cause__, NodeTimeoutError)
    with pytest.raises(OutcomeUnknown):
        asyncio.run(flow.ainvoke(None, on("blind")))
    assert bodies.count(2) == 1


def test_a_cancelled_run_leaves_it_in_doubt(log, durability) -> None:
    """Where the body was stopped nobody knows, so it is not begun again."""
    begun = []

    @task(effect="at_most_once")
    async def pay():
        begun.append(1)
        started.set()
        await asyncio.sleep(60)

    @entrypoint(log)
    async def flow(x):
        await pay()

    async def main():
        run = asyncio.create_task(flow.ainvoke(1, THREAD, durability=durability))
        await started.wait()
        run.cancel()
        await asyncio.wait([run])

    started = asyncio.Event()
    asyncio.run(main())
    with pytest.raises(OutcomeUnknown):
        asyncio.run(flow.ainvoke(None, THREAD))
    assert begun == [1]


@pytest.mark.parametrize("what", ["raise", "rerun", "accept"])
def test_what_is_in_doubt_is_compared_before_anybody_is_asked(way, log, what) -> None:
    """G9 holds for intents: other arguments in the place of a lost attempt stop the run, whatever is set."""
    asked: list = []
    world = World(way, log, reconcile=says("paid", asked=asked))
    world.lose()

    @entrypoint(log, name="flow", on_mismatch=what)
    @way.flow
    def changed(amount):
        return (yield world.pay("eve", amount))

    for _ in range(2):
        with pytest.raises(NonDeterminism, match="eve"):
            way.invoke(changed, None)
    assert asked == []
    assert world.invoke() == "paid"


def test_a_copy_shares_what_had_begun_before(way, log) -> None:
    """The same transfer is in doubt in both, so both ask about the same key; later calls have keys of their own."""
    asked: list = []
    world = World(way, log, reconcile=says(RUN_AGAIN, "paid", asked=asked))
    world.lose()
    log.copy_thread("t", "copy")
    assert way.invoke(world.flow, None, on("copy")) == "5 to bob"
    assert world.invoke() == "paid"
    assert [key for key, _ in asked] == [world.keys[0]] * 2
    assert len(set(world.keys)) == 1
    way.invoke(world.flow, 6, on("copy"))
    way.invoke(world.flow, 6)
    assert len(set(world.keys)) == 3
