"""Interrupts in ``@task`` calls: one, several, in parallel; each question is asked of one call, and answered to it."""

from __future__ import annotations

from helpers import THREAD

from walgraph import (
    Command,
    entrypoint,
    interrupt,
    task,
)


class Counter:
    """Counts what was called, from any thread."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def __call__(self, what: object) -> int:
        """Note a call and return how many there were of the same."""
        self.calls.append(what)
        return self.calls.count(what)


def test_an_interrupt_in_a_task_asks_and_the_answer_comes_back_to_it(way, log, durability) -> None:
    """The task and its caller run again, the tasks before it do not."""
    count = Counter()

    @task
    @way.node
    def before():
        return count("before")

    @task
    @way.node
    def ask(what):
        return f"{what}: {interrupt(what)}"

    @entrypoint(log)
    @way.flow
    def workflow(x):
        return [(yield before()), (yield ask("name")), (yield ask("age"))]

    asked = way.invoke(workflow, 0, durability=durability)["__interrupt__"]
    assert [item.value for item in asked] == ["name"]
    assert workflow.get_state(THREAD).interrupts == tuple(asked)
    asked = way.invoke(workflow, Command(resume="Ada"), durability=durability)["__interrupt__"]
    assert [item.value for item in asked] == ["age"]
    assert way.invoke(workflow, Command(resume=36), durability=durability) == [1, "name: Ada", "age: 36"]


def test_several_interrupts_in_one_task_are_asked_one_after_another(way, log) -> None:
    """Each answer is found by its question when the task runs again."""

    @task
    @way.node
    def ask():
        return [interrupt("one"), interrupt("two"), interrupt("three")]

    @entrypoint(log)
    @way.flow
    def workflow(x):
        return (yield ask())

    seen = [way.invoke(workflow, 0)["__interrupt__"][0].value]
    seen += [way.invoke(workflow, Command(resume=n))["__interrupt__"][0].value for n in (1, None)]
    assert seen == ["one", "two", "three"]
    assert way.invoke(workflow, Command(resume=False)) == [1, None, False]


def test_interrupts_of_parallel_tasks_are_all_shown_and_answered_by_id(way, log, durability) -> None:
    """LangGraph shows the first and waits for both (I-13); here both are seen, and one map answers them."""

    @task
    @way.node
    def ask(what):
        return f"{what}: {interrupt(what)}"

    @entrypoint(log)
    @way.flow
    def workflow(x):
        return (yield [ask("name"), ask("age")])

    asked = way.invoke(workflow, 0, durability=durability)["__interrupt__"]
    assert [item.value for item in asked] == ["name", "age"]
    assert workflow.get_state(THREAD).interrupts == tuple(asked)
    answers = {item.id: f"<{item.value}>" for item in asked}
    found = way.invoke(workflow, Command(resume=answers), durability=durability)
    assert found == ["name: <name>", "age: <age>"]


def test_parallel_questions_can_be_answered_one_at_a_time(way, log) -> None:
    """An answer to one leaves the other asked; who was answered does not run a third time."""
    count = Counter()

    @task
    @way.node
    def ask(what):
        count(what)
        return f"{what}: {interrupt(what)}"

    @entrypoint(log)
    @way.flow
    def workflow(x):
        return (yield [ask("name"), ask("age")])

    name, age = way.invoke(workflow, 0)["__interrupt__"]
    left = way.invoke(workflow, Command(resume={age.id: 36}))["__interrupt__"]
    assert left == [name]
    assert way.invoke(workflow, Command(resume={name.id: "Ada"})) == ["name: Ada", "age: 36"]
    assert sorted(count.calls) == ["age", "age", "name", "name"]
