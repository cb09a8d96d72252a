"""What an answer must look like: ``interrupt(..., response_schema=…)``.

    a JSON schema (dict)                    shown as it is; answers are not looked at
    a pydantic model, dataclass, TypedDict  shown as JSON schema; an answer becomes an instance of it, or is refused
    any other annotation                    the same: ``int``, ``Literal["yes", "no"]``, ``list[str]``

A refused answer is as if it had not been given: the task that asked raises pydantic's ``ValidationError``, waits on,
and the question can be answered again. The error carries the question (``refuse``), so that whoever records the
task's outcome knows that it did not fail.

Invariants:
1. pydantic is imported only when a schema needs it.

It must not record.
"""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, NotRequired, get_type_hints, is_typeddict

from .errors import NotAvailable

if TYPE_CHECKING:
    from ..wal.record import Question

REFUSED = "_walgraph_refused"
"""The attribute of an error that holds the id of the task that asked, and its question."""


def shown_schema(schema: Any) -> Any:
    """Return a response schema as it is shown with a question: as JSON schema, or None."""
    return schema if schema is None or isinstance(schema, dict) else _json_schema_of(_key(schema))


def checked_answer(schema: Any, answer: Any) -> Any:
    """Return an answer as its schema says.

    Raises:
        pydantic.ValidationError: It does not fit.
    """
    if schema is None or isinstance(schema, dict):
        return answer
    return _adapter_of(_key(schema)).validate_python(answer)


def refuse(error: BaseException, task: str, question: Question) -> None:
    """Mark an error as an answer's, not the task's."""
    setattr(error, REFUSED, (task, question))
    error.add_note(
        f"the answer to question {question.id} does not fit its response_schema, so it was not used; the question is "
        "open and can be answered again"
    )


def refused_question(error: BaseException) -> tuple[str, Question] | None:
    """Return the task and the question whose answer an error refused, or None for any other error."""
    found: tuple[str, Question] | None = getattr(error, REFUSED, None)
    return found


def is_invalid_resume(error: BaseException) -> bool:
    """Return whether an error says that an answer did not fit the ``response_schema`` of its question."""
    return refused_question(error) is not None


class _Key:
    """A schema as a key: by identity where it cannot be hashed."""

    __slots__ = ("schema",)

    def __init__(self, schema: Any) -> None:
        self.schema = schema

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and (self.schema is other.schema or self.schema == other.schema)

    def __hash__(self) -> int:
        try:
            return hash(self.schema)
        except TypeError:
            return id(self.schema)


def _key(schema: Any) -> _Key:
    return _Key(schema)


@functools.lru_cache(maxsize=256)
def _adapter_of(key: _Key) -> Any:
    try:
        from pydantic import TypeAdapter
    except ImportError as error:
        message = f"response_schema={key.schema!r} needs pydantic, which is not installed"
        raise NotAvailable(
            message, hint="Install pydantic, or give a JSON schema as a dict and look at the answer yourself."
        ) from error
    return TypeAdapter(_readable(key.schema))


@functools.lru_cache(maxsize=256)
def _json_schema_of(key: _Key) -> Any:
    return _adapter_of(key).json_schema()


def _readable(schema: Any) -> Any:
    """Return a schema that pydantic can read: before Python 3.12 it refuses the standard library's TypedDict."""
    if sys.version_info >= (3, 12) or not is_typeddict(schema) or type(schema).__module__ != "typing":
        return schema
    from typing_extensions import TypedDict

    hints = get_type_hints(schema, include_extras=True)
    fields = {
        key: NotRequired[hint] if key in schema.__optional_keys__ else hint for key, hint in hints.items()
    }
    made: Any = TypedDict(schema.__name__, fields)  # type: ignore[misc]  # the functional form, with computed fields
    made.__doc__ = schema.__doc__
    return made
