"""What users of LangGraph know by heart: the messages of §3.1 to §3.3, word for word, and the classes they catch.

Ours may say more behind them (``hint``), and their classes are ours besides; links are left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Any, TypedDict

import pytest
from helpers import THREAD, Trail, leaves

from walgraph import (
    END,
    START,
    Command,
    EmptyInputError,
    ErrorCode,
    GraphRecursionError,
    InvalidUpdateError,
    IsLastStep,
    MemoryLog,
    Overwrite,
    RetryPolicy,
    Send,
    StateGraph,
    TimeoutPolicy,
    create_error_message,
    entrypoint,
    get_config,
    task,
)


class In(TypedDict):
    """An input schema with a managed value."""

    x: IsLastStep


class Odd(TypedDict):
    """A schema with a reducer of one parameter."""

    x: Annotated[list[Any], lambda a: a]


def drawn() -> StateGraph:
    """Return a builder with a node ``n`` that no edge leads to."""
    return StateGraph(Trail).add_node("n", leaves("n"))


def made(**options: Any) -> Any:
    """Return a graph of one node."""
    return drawn().add_edge(START, "n").compile(**options)


def of(body: Any, **options: Any) -> Any:
    """Return a graph of one node with a body."""
    return StateGraph(Trail).add_node("n", body, **options).add_edge(START, "n").compile()


def routed(answer: Any) -> Any:
    """Return a graph whose router answers so."""
    return drawn().add_edge(START, "n").add_conditional_edges("n", lambda _: answer).compile()


async def waits(state: Any) -> None:
    """Be a coroutine function."""
    await asyncio.sleep(0)


def yields(given: Any) -> Any:
    """Be a generator."""
    yield given


@task
async def called() -> int:
    """Be an asynchronous task."""
    return 1


def waits_for_a_task(given: Any) -> Any:
    """Call a coroutine function from synchronous code."""
    return called().result()


def raises() -> Any:
    """Fail as no default policy retries."""
    raise KeyError("no")


def two_writes(*writes: Any) -> Any:
    """Return a graph of two nodes that write one key in one step."""
    builder = StateGraph(Trail)
    for number, write in enumerate(writes):
        builder.add_node(str(number), lambda _, write=write: write).add_edge(START, str(number))
    return builder.compile()


Row = tuple[Callable[[], Any], type[Exception], str]

BUILDING: dict[str, Row] = {
    "no entry": (
        lambda: drawn().compile(),
        ValueError,
        "Graph must have an entrypoint: add at least one edge from START to another node",
    ),
    "edge to nowhere": (
        lambda: drawn().add_edge(START, "n").add_edge("n", "zz").compile(),
        ValueError,
        "Found edge ending at unknown node `zz`",
    ),
    "edge from nowhere": (
        lambda: drawn().add_edge(START, "n").add_edge("zz", "n").compile(),
        ValueError,
        "Found edge starting at unknown node 'zz'",
    ),
    "join of nobody": (lambda: drawn().add_edge(["q"], "n"), ValueError, "Need to add_node `q` first"),
    "join to nowhere": (lambda: drawn().add_edge(["n"], "q"), ValueError, "Need to add_node `q` first"),
    "from END": (lambda: drawn().add_edge(END, "n"), ValueError, "END cannot be a start node"),
    "to START": (lambda: drawn().add_edge("n", START), ValueError, "START cannot be an end node"),
    "twice": (lambda: drawn().add_node("n", leaves("n")), ValueError, "Node `n` already present."),
    "reserved": (lambda: drawn().add_node(START, leaves("n")), ValueError, "Node `__start__` is reserved."),
    "colon": (
        lambda: drawn().add_node("a:b", leaves("n")),
        ValueError,
        "':' is a reserved character and is not allowed in the node names.",
    ),
    "bar": (
        lambda: drawn().add_node("a|b", leaves("n")),
        ValueError,
        "'|' is a reserved character and is not allowed in the node names.",
    ),
    "no action": (lambda: drawn().add_node("m"), RuntimeError, "node 'm' has no action"),
    "no callable": (
        lambda: drawn().add_node("m", 5),
        TypeError,
        "Expected a Runnable, callable or dict. Instead got an unsupported type: <class 'int'>",
    ),
    "no name": (
        lambda: drawn().add_node(5),
        ValueError,
        "Node name must be provided if action is not a function",
    ),
    "empty sequence": (
        lambda: drawn().add_sequence([]),
        ValueError,
        "Sequence requires at least one node.",
    ),
    "branch twice": (
        lambda: drawn().add_conditional_edges("n", leaves("n")).add_conditional_edges("n", leaves("n")),
        ValueError,
        "Branch with name `n` already exists for node `n`",
    ),
    "branch to nowhere": (
        lambda: drawn().add_edge(START, "n").add_conditional_edges("n", lambda _: "q", {"q": "q"}).compile(),
        ValueError,
        "At 'n' node, 'condition' branch found unknown target 'q'",
    ),
    "breakpoint nowhere": (
        lambda: made(interrupt_before=["zz"]),
        ValueError,
        "Interrupt node `zz` not found",
    ),
    "reducer": (
        lambda: StateGraph(Odd),
        ValueError,
        "Invalid reducer signature. Expected (a, b) -> c. Got (a)",
    ),
    "managed input": (
        lambda: StateGraph(Trail, input_schema=In),
        ValueError,
        "Invalid managed channels detected in In: x. Managed channels are not permitted in Input/Output schema.",
    ),
    "handler's name": (
        lambda: (
            StateGraph(Trail)
            .add_node("__error_handler__n", leaves("n"))
            .add_node("n", leaves("n"), error_handler=leaves("h"))
        ),
        ValueError,
        "Auto-generated error handler node `__error_handler__n` already exists.",
    ),
    "time-out of a thread": (
        lambda: of(leaves("n"), timeout=1),
        ValueError,
        (
            "Node timeouts are only supported for async nodes because sync Python execution cannot be safely cancelled "
            "in-process. Node 'n' is sync."
        ),
    ),
    "no time": (lambda: of(waits, timeout=0), ValueError, "run_timeout must be greater than 0"),
    "refresh": (
        lambda: of(waits, timeout=TimeoutPolicy(run_timeout=1, refresh_on="x")),  # type: ignore[arg-type]
        ValueError,
        "refresh_on must be 'auto' or 'heartbeat'",
    ),
    "no parameter": (
        lambda: entrypoint()(lambda: 1),
        ValueError,
        "Entrypoint function must have at least one parameter",
    ),
    "generator": (
        lambda: entrypoint()(yields),
        NotImplementedError,
        "Generators are not supported in the Functional API.",
    ),
}

CALLING: dict[str, Row] = {
    "nothing to do": (
        lambda: made(checkpointer=MemoryLog()).invoke(None, THREAD),
        EmptyInputError,
        "Received no input for __start__",
    ),
    "limit below one": (
        lambda: made().invoke({}, {"recursion_limit": 0}),
        ValueError,
        "recursion_limit must be at least 1",
    ),
    "limit reached": (
        lambda: drawn().add_edge(START, "n").add_edge("n", "n").compile().invoke({}, {"recursion_limit": 3}),
        GraphRecursionError,
        (
            "Recursion limit of 3 reached without hitting a stop condition. You can increase the limit by setting the "
            "`recursion_limit` config key."
        ),
    ),
    "unknown output": (lambda: made().invoke({}, output_keys=["zz"]), ValueError, "Key zz not in channels"),
    "no thread": (
        lambda: made(checkpointer=MemoryLog()).invoke({}),
        ValueError,
        (
            "Checkpointer requires one or more of the following 'configurable' keys: thread_id, checkpoint_ns, "
            "checkpoint_id"
        ),
    ),
    "no log": (lambda: made().get_state(THREAD), ValueError, "No checkpointer set"),
    "True at the root": (
        lambda: made(checkpointer=True).invoke({}, THREAD),
        RuntimeError,
        "checkpointer=True cannot be used for root graphs.",
    ),
    "answer without a log": (
        lambda: made().invoke(Command(resume=1)),
        RuntimeError,
        "Cannot use Command(resume=...) without checkpointer",
    ),
    "a command to nobody": (
        lambda: made(checkpointer=MemoryLog()).invoke(
            Command(graph=Command.PARENT, update={"trail": ["x"]}), THREAD
        ),
        InvalidUpdateError,
        "There is no parent graph",
    ),
    "outside": (get_config, RuntimeError, "Called get_config outside of a runnable context"),
    "async task in sync code": (
        lambda: entrypoint()(waits_for_a_task).invoke(1),
        RuntimeError,
        "In an sync context async tasks cannot be called",
    ),
}

RUNNING: dict[str, Row] = {
    "no dict": (lambda: of(lambda _: 5).invoke({}), InvalidUpdateError, "Expected dict, got 5"),
    "no dicts": (lambda: of(lambda _: [1, 2]).invoke({}), InvalidUpdateError, "Expected dict, got [1, 2]"),
    "no input dict": (lambda: made().invoke(5), InvalidUpdateError, "Expected dict, got 5"),
    "routed to nothing": (
        lambda: routed(None).invoke({}),
        ValueError,
        "Branch did not return a valid destination",
    ),
    "routed to START": (
        lambda: routed(START).invoke({}),
        ValueError,
        "Branch did not return a valid destination",
    ),
    "sent to END": (
        lambda: routed(Send(END, 1)).invoke({}),
        InvalidUpdateError,
        "Cannot send a packet to the END node",
    ),
    "goto a number": (
        lambda: made(checkpointer=MemoryLog()).invoke(Command(goto=5), THREAD),  # type: ignore[arg-type]
        TypeError,
        "In Command.goto, expected Send/str, got int",
    ),
    "two writes": (
        lambda: two_writes({"x": 1}, {"x": 2}).invoke({}),
        InvalidUpdateError,
        "At key 'x': Can receive only one value per step. Use an Annotated key to handle multiple values.",
    ),
    "two overwrites": (
        lambda: two_writes({"trail": Overwrite(["a"])}, {"trail": Overwrite(["b"])}).invoke({}),
        InvalidUpdateError,
        "Can receive only one Overwrite value per super-step.",
    ),
}


@pytest.mark.parametrize("name", [*BUILDING, *CALLING, *RUNNING])
def test_a_mistake_is_told_in_known_words(name: str) -> None:
    """The class that LangGraph's users catch, and the sentence that they look up."""
    mistake, kind, message = {**BUILDING, **CALLING, **RUNNING}[name]
    with pytest.raises(kind) as raised:
        mistake()
    assert raised.value.args[0] == message


def test_a_useless_policy_is_told_in_known_words() -> None:
    """At the first failure, and what it is instead is said behind it."""
    with pytest.raises(TypeError) as raised:
        of(lambda _: raises(), retry_policy=RetryPolicy(retry_on="x")).invoke({})  # type: ignore[arg-type]
    known = "retry_on must be an Exception class, a list or tuple of Exception classes, or a callable"
    assert raised.value.args[0].startswith(known)


def test_a_program_that_words_its_own_errors_ports() -> None:
    """The codes are there, and a message is the text before LangGraph's link (§1.5)."""
    code = ErrorCode.GRAPH_RECURSION_LIMIT
    assert create_error_message(message="too far", error_code=code) == "too far"
    assert [each.value for each in ErrorCode] == [each.name for each in ErrorCode]
