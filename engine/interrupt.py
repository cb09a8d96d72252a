"""``interrupt``: a task asks, the run stops, and the task runs again with the answer.

Matching is by question, not by luck: a question's id is made of the task's id and its position among the task's
interrupts, an answer is recorded with that id, and it is used for nothing else.

It must not record: what was asked leaves the task as ``GraphInterrupt`` and is recorded with the task's outcome.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..replay.identity import question_id
from ..wal.record import Question
from .context import here
from .control import Interrupt
from .errors import GraphInterrupt
from .response import checked_answer, refuse, shown_schema

if TYPE_CHECKING:
    from collections.abc import Iterable


def interrupt(value: Any, *, response_schema: Any = None) -> Any:
    """Ask a question and return the answer; without one, the run stops here until it is resumed with it.

    The task's code runs again from its beginning when the answer is there, so code before the call is repeated,
    unless it is in a ``@task``.

    Args:
        value: What to show to whoever answers.
        response_schema: What the answer must look like. A dict is taken for a JSON schema and only shown along; a
            pydantic model, a dataclass, a TypedDict or another type is shown as JSON schema, and the answer is
            checked against it.

    Returns:
        What ``Command(resume=...)`` carried for this question, as ``response_schema`` says; None is an answer like any
        other.

    Raises:
        GraphInterrupt: There is no answer yet. Do not catch it.
        pydantic.ValidationError: The answer does not fit; the question stays open (``is_invalid_resume``).
        NotAvailable: ``response_schema`` is a type, and pydantic is not installed.
        OutsideOfRun: No task is running.
        CannotPark: The task that is running is done at most once, so that it cannot begin again with the answer.
    """
    context = here("interrupt")
    context.ensure_may_park("interrupt()")
    position = context.questions
    context.questions += 1
    # A question keeps the id it was asked under, even in a copy of the thread, where the task has another id.
    known = [question.id for question in context.known if question.position == position]
    key = known[0] if known else question_id(context.id, position)
    schema = shown_schema(response_schema)
    if key in context.answers:
        try:
            return checked_answer(response_schema, context.answers[key])
        except Exception as error:
            refuse(error, context.id, Question(key, position, value, schema))
            raise
    context.asked = (*context.asked, Question(key, position, value, schema))
    raise GraphInterrupt((Interrupt(value, key, response_schema=schema),))


def shown(questions: Iterable[Question]) -> tuple[Interrupt, ...]:
    """Return questions as users see them, each once."""
    seen: dict[str, Interrupt] = {}
    for question in questions:
        seen.setdefault(question.id, Interrupt(question.value, question.id, response_schema=question.schema))
    return tuple(seen.values())
