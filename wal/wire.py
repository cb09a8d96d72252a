"""Records as msgpack arrays, and back.

    [5, "", ["fetch"], [["messages", <value>]], ["parse", ["send", "grade", <value>]], nil]
     │   │      │        │                        │                                    └ call
     │   │      │        writes                   goto
     │   │      path
     │   scope
     kind number (``record.KINDS``)

Tuples that a record *declares* are arrays here and tuples again after reading. What the user put in, marked
``<value>``, is encoded by its own class, so a user's tuple stays a tuple and a user's list a list.

Invariants:
1. ``from_wire(to_wire(record)) == record`` for every record whose fields have the declared types.
2. A record written before a trailing field existed is read with that field's default.
3. An unknown kind, or more fields than this version knows, is refused: skipping one would fold to a wrong state.

This module must not know how values are encoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from .record import (
    NUMBERS,
    AttemptFailed,
    CallsSettled,
    Edit,
    Failure,
    Forked,
    Question,
    Record,
    RunEnded,
    RunResumed,
    RunStarted,
    SignalReceived,
    StateEdited,
    StateFolded,
    StepCommitted,
    StepStarted,
    TaskAnswered,
    TaskFailed,
    TaskFinished,
    TaskInterrupted,
    TaskRouted,
    TaskStarted,
    ThreadCreated,
    TimerFired,
    TimerSet,
)

ATOMS = frozenset({type(None), bool, int, float, str, bytes})
"""Classes that msgpack writes exactly as they are and that contain nothing."""


class _ToWire(dict[type, Any]):
    """The kinds of a thread that LangGraph runs, which few programs meet, are looked up when one comes."""

    def __missing__(self, kind: type) -> Any:
        from .saved_wire import SAVED_TO_WIRE

        return SAVED_TO_WIRE[kind]


class _FromWire(dict[int, Any]):
    """The same, by their numbers."""

    def __missing__(self, number: int) -> Any:
        from .saved_wire import SAVED_FROM_WIRE

        return SAVED_FROM_WIRE[number]


Values: TypeAlias = list[Any]
"""Collects the user values of a batch that are not atoms, for the encoder to look into."""

# ── writing: hot, so each kind is one flat function ──


def _thread_created(record: Any, _values: Values) -> list[Any]:
    return [1, *record]


def _run_started(record: Any, values: Values) -> list[Any]:
    values += (record.input, record.metadata)
    if record.deadline is not None:
        return [2, *record]
    return [2, *record[:-1]] if record.above is not None else [2, *record[:-2]]


def _run_resumed(record: Any, values: Values) -> list[Any]:
    if record.metadata is not None:
        values.append(record.metadata)
    elif record.deadline is None:
        return [3, *record[:-2]]
    return [3, *record] if record.deadline is not None else [3, *record[:-1]]


def _step_started(record: Any, _values: Values) -> list[Any]:
    scope, step, nodes, sends = record
    return [4, scope, step, [*nodes], sends]


def _writes(writes: Any, values: Values) -> list[Any]:
    pairs = []
    for channel, value in writes:
        if value.__class__ not in ATOMS:
            values.append(value)
        pairs.append([channel, value])
    return pairs


def _targets(goto: Any, values: Values) -> list[Any]:
    targets = [*goto]
    for position, target in enumerate(targets):
        if target.__class__ is not str:
            values += target
            targets[position] = [*target]
    return targets


def _task_finished(record: Any, values: Values) -> list[Any]:
    scope, path, writes, goto, call = record
    return [
        5,
        scope,
        [*path],
        _writes(writes, values) if writes else [],
        None if goto is None else _targets(goto, values),
        None if call is None else [*call],
    ]


def _task_routed(record: Any, values: Values) -> list[Any]:
    scope, path, goto = record
    return [6, scope, [*path], _targets(goto, values)]


def _failure(failure: Failure) -> list[Any]:
    kind, text, traceback, notes = failure
    return [kind, text, traceback, [*notes]]


def _task_failed(record: Any, _values: Values) -> list[Any]:
    scope, path, failure, attempts, handler, error, call = record
    array = [7, scope, [*path], _failure(failure), attempts]
    if call is not None:
        return [*array, handler, error, [*call]]
    return array if handler is None else [*array, handler, error]


def _task_interrupted(record: Any, values: Values) -> list[Any]:
    scope, path, questions, call, refused = record
    for question in questions:
        values += (question.value, question.schema)
    array = [8, scope, [*path], [[*question] for question in questions]]
    if refused is not None:
        return [*array, None if call is None else [*call], refused]
    return array if call is None else [*array, [*call]]


def _task_answered(record: Any, values: Values) -> list[Any]:
    scope, path, answers = record
    return [9, scope, [*path], _writes(answers, values)]


def _step_committed(record: Any, _values: Values) -> list[Any]:
    return [10, *record]


def _run_ended(record: Any, _values: Values) -> list[Any]:
    return [11, *record]


def _state_edited(record: Any, values: Values) -> list[Any]:
    scope, at, how, edits, metadata = record
    arrays: list[list[Any]] = []
    for as_node, writes, goto, path in edits:
        array = [as_node, _writes(writes, values), _targets(goto, values)]
        arrays.append(array if path is None else [*array, [*path]])
    if metadata is None:
        return [12, scope, at, how, arrays]
    values.append(metadata)
    return [12, scope, at, how, arrays, metadata]


def _forked(record: Any, values: Values) -> list[Any]:
    values.append(record.state)
    return [13, *record] if record.whole else [13, *record[:-1]]


def _state_folded(record: Any, values: Values) -> list[Any]:
    values.append(record.state)
    return [14, *record]


def _attempt_failed(record: Any, _values: Values) -> list[Any]:
    scope, path, failure, *rest = record
    return [15, scope, [*path], _failure(failure), *rest]


def _task_started(record: Any, _values: Values) -> list[Any]:
    scope, path, call, *rest = record
    return [16, scope, [*path], [*call], *rest]


def _timer_set(record: Any, _values: Values) -> list[Any]:
    scope, path, *rest = record
    return [17, scope, [*path], *rest]


def _timer_fired(record: Any, _values: Values) -> list[Any]:
    scope, path, *rest = record
    return [18, scope, [*path], *rest]


def _signal_received(record: Any, values: Values) -> list[Any]:
    scope, path, *rest = record
    values.append(record.payload)
    return [19, scope, [*path], *rest]


def _calls_settled(record: Any, _values: Values) -> list[Any]:
    scope, paths, how = record
    return [21, scope, [[*path] for path in paths], how]


TO_WIRE: dict[type, Callable[[Any, Values], list[Any]]] = _ToWire(
    {
        ThreadCreated: _thread_created,
        RunStarted: _run_started,
        RunResumed: _run_resumed,
        StepStarted: _step_started,
        TaskFinished: _task_finished,
        TaskRouted: _task_routed,
        TaskFailed: _task_failed,
        TaskInterrupted: _task_interrupted,
        TaskAnswered: _task_answered,
        StepCommitted: _step_committed,
        RunEnded: _run_ended,
        StateEdited: _state_edited,
        Forked: _forked,
        StateFolded: _state_folded,
        AttemptFailed: _attempt_failed,
        TaskStarted: _task_started,
        TimerSet: _timer_set,
        TimerFired: _timer_fired,
        SignalReceived: _signal_received,
        CallsSettled: _calls_settled,
    }
)
"""Record class → what makes its array and collects its user values."""

assert TO_WIRE.keys() == NUMBERS.keys()

# ── reading ──


def _read_targets(goto: list[Any]) -> tuple[Any, ...]:
    return tuple([target if type(target) is str else tuple(target) for target in goto])


def _read_task_finished(
    scope: str, path: list[Any], writes: list[Any], goto: Any, call: Any = None
) -> TaskFinished:
    return TaskFinished(
        scope,
        tuple(path),
        tuple([(channel, value) for channel, value in writes]),
        None if goto is None else _read_targets(goto),
        None if call is None else tuple(call),
    )


def _read_step_started(scope: str, step: int, nodes: list[str], sends: int) -> StepStarted:
    return StepStarted(scope, step, tuple(nodes), sends)


def _read_task_routed(scope: str, path: list[Any], goto: list[Any]) -> TaskRouted:
    return TaskRouted(scope, tuple(path), _read_targets(goto))


def _read_failure(failure: list[Any]) -> Failure:
    kind, text, traceback, notes = failure
    return Failure(kind, text, traceback, tuple(notes))


def _read_task_failed(
    scope: str,
    path: list[Any],
    failure: list[Any],
    attempts: int,
    handler: str | None = None,
    error: bytes = b"",
    call: Any = None,
) -> TaskFailed:
    called = None if call is None else tuple(call)
    return TaskFailed(scope, tuple(path), _read_failure(failure), attempts, handler, error, called)


def _read_attempt_failed(scope: str, path: list[Any], failure: list[Any], *rest: Any) -> AttemptFailed:
    return AttemptFailed(scope, tuple(path), _read_failure(failure), *rest)


def _read_task_started(scope: str, path: list[Any], call: list[Any], *rest: Any) -> TaskStarted:
    name, digest, preview = call
    return TaskStarted(scope, tuple(path), (name, digest, preview), *rest)


def _read_timer_set(scope: str, path: list[Any], *rest: Any) -> TimerSet:
    return TimerSet(scope, tuple(path), *rest)


def _read_timer_fired(scope: str, path: list[Any], *rest: Any) -> TimerFired:
    return TimerFired(scope, tuple(path), *rest)


def _read_signal_received(scope: str, path: list[Any], *rest: Any) -> SignalReceived:
    return SignalReceived(scope, tuple(path), *rest)


def _read_calls_settled(scope: str, paths: list[list[Any]], how: str) -> CallsSettled:
    return CallsSettled(scope, tuple([tuple(path) for path in paths]), how)


def _read_task_interrupted(
    scope: str, path: list[Any], questions: list[Any], call: Any = None, refused: str | None = None
) -> TaskInterrupted:
    asked = tuple([Question(*question) for question in questions])
    return TaskInterrupted(scope, tuple(path), asked, None if call is None else tuple(call), refused)


def _read_task_answered(scope: str, path: list[Any], answers: list[Any]) -> TaskAnswered:
    return TaskAnswered(scope, tuple(path), tuple([(question, answer) for question, answer in answers]))


def _read_edit(as_node: str | None, writes: list[Any], goto: list[Any], path: Any = None) -> Edit:
    pairs = tuple([(channel, value) for channel, value in writes])
    return Edit(as_node, pairs, _read_targets(goto), None if path is None else tuple(path))


def _read_state_edited(scope: str, at: int, how: str, edits: list[Any], metadata: Any = None) -> StateEdited:
    return StateEdited(scope, at, how, tuple([_read_edit(*edit) for edit in edits]), metadata)


FROM_WIRE: dict[int, Callable[..., Record]] = _FromWire(
    {
        1: ThreadCreated,
        2: RunStarted,
        3: RunResumed,
        4: _read_step_started,
        5: _read_task_finished,
        6: _read_task_routed,
        7: _read_task_failed,
        8: _read_task_interrupted,
        9: _read_task_answered,
        10: StepCommitted,
        11: RunEnded,
        12: _read_state_edited,
        13: Forked,
        14: StateFolded,
        15: _read_attempt_failed,
        16: _read_task_started,
        17: _read_timer_set,
        18: _read_timer_fired,
        19: _read_signal_received,
        21: _read_calls_settled,
    }
)
"""Kind number → what rebuilds the record from the rest of its array."""

assert FROM_WIRE.keys() == set(NUMBERS.values())

# ── user values by place: for spilling and for error messages, not hot ──


def map_values(record: Record, change: Callable[[Any], Any]) -> Record:
    """Return the record with each user value replaced by ``change(value)``."""

    def writes(pairs: Any) -> tuple[tuple[str, Any], ...]:
        return tuple((channel, change(value)) for channel, value in pairs)

    def targets(goto: Any) -> Any:
        return None if goto is None else tuple(t if isinstance(t, str) else (*map(change, t),) for t in goto)

    match record:
        case RunStarted():
            return record._replace(input=change(record.input), metadata=change(record.metadata))
        case TaskFinished():
            return record._replace(writes=writes(record.writes), goto=targets(record.goto))
        case TaskRouted():
            return record._replace(goto=targets(record.goto))
        case TaskInterrupted():
            questions = (q._replace(value=change(q.value), schema=change(q.schema)) for q in record.questions)
            return record._replace(questions=tuple(questions))
        case TaskAnswered():
            return record._replace(answers=writes(record.answers))
        case StateEdited():
            edits = (e._replace(writes=writes(e.writes), goto=targets(e.goto)) for e in record.edits)
            return record._replace(edits=tuple(edits))
        case SignalReceived():
            return record._replace(payload=change(record.payload))
        case Forked() | StateFolded():
            return record._replace(state=change(record.state))
        case _:
            return record


def named_values(record: Record) -> Iterator[tuple[str, str | None, Any]]:
    """Yield each user value with words for its place, and the channel if it is a write."""
    match record:
        case RunStarted():
            yield "the run's input", None, record.input
            yield "the run's metadata", None, record.metadata
        case TaskFinished():
            yield from _named_writes(record.writes)
            yield from _named_targets(record.goto or ())
        case TaskRouted():
            yield from _named_targets(record.goto)
        case TaskInterrupted():
            for question in record.questions:
                yield f"question {question.position} of interrupt()", None, question.value
                yield f"the schema of question {question.position} of interrupt()", None, question.schema
        case TaskAnswered():
            for question_id, answer in record.answers:
                yield f"the answer to question {question_id!r}", None, answer
        case StateEdited():
            for edit in record.edits:
                yield from _named_writes(edit.writes)
                yield from _named_targets(edit.goto)
        case SignalReceived():
            yield f"the payload of signal {record.name!r}", None, record.payload
        case Forked() | StateFolded():
            yield "the state", None, record.state
        case _:
            return


def _named_writes(writes: Any) -> Iterator[tuple[str, str | None, Any]]:
    for channel, value in writes:
        yield f"channel {channel!r}", channel, value


def _named_targets(goto: Any) -> Iterator[tuple[str, str | None, Any]]:
    for target in goto:
        if not isinstance(target, str):
            for part in target[1:]:
                yield f"the argument of {target[0]!r} to {target[1]!r}", None, part
