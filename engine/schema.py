"""A state schema → channels, and between its instances and dicts of values.

    class State(TypedDict):                       channels, managed
        question: str                             LastValue(str)
        notes: Annotated[list, operator.add]      BinaryOperatorAggregate(list, operator.add)
        draft: Annotated[str, EphemeralValue]     EphemeralValue(str)
        left: RemainingSteps                      managed: RemainingStepsManager

    kind        the schema is                          a node is given      a node may return
    typeddict   a TypedDict, or an annotated class     a dict               a dict
    dataclass   a dataclass                            an instance          a dict or an instance
    pydantic    a pydantic model                       a validated one      a dict or an instance
    root        anything else, such as ``list``        the value itself     the value itself

What an annotation means: a channel, or its class, anywhere in ``Annotated`` wins. Else the last item of
the metadata is the reducer, if it can be called. Else the last value stays. ``Required``, ``NotRequired`` and
``ReadOnly`` say nothing here.

Invariants:
1. One class is read once; its channels are shared, since they are immutable descriptions.
2. pydantic is not imported: a schema can only be a model if somebody imported it before.

This module must not know nodes or graphs.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from ..replay.channel import MISSING, BaseChannel, BinaryOperatorAggregate, LastValue
from ..replay.errors import InvalidUpdateError
from .errors import InvalidGraph
from .managed import ManagedValue, manager_in
from .schema_classes import classes_in, is_model

__all__ = ["ROOT", "Schema", "channel_of", "classes_in", "is_model", "read_schema", "resolved"]

ROOT = "__root__"
"""The channel of a schema that is not a structure of keys."""

Kind = Literal["typeddict", "dataclass", "pydantic", "root"]

_REDUCER_PARAMETERS = 2


class Schema:
    """One schema, read.

    Args:
        schema: The type it was read from.
        kind: What the type is.
        channels: Key → channel, in the order of the annotations.
        managed: Key → the manager that supplies it.
    """

    __slots__ = ("_aliases", "channels", "kind", "managed", "schema")

    def __init__(
        self,
        schema: Any,
        kind: Kind,
        channels: dict[str, BaseChannel],
        managed: dict[str, type[ManagedValue]],
    ) -> None:
        self.schema = schema
        self.kind: Kind = kind
        self.channels = channels
        self.managed = managed
        self._aliases = _aliases(schema) if kind == "pydantic" else {}

    def build(self, values: dict[str, Any]) -> Any:
        """Return what a node is given for the values of the available channels: a dict or an instance.

        Raises:
            Exception: What the class raises for values that it does not accept, or misses.
        """
        if self.kind == "typeddict":
            return values
        if self.kind == "root":
            return values.get(ROOT)
        if self._aliases:
            values = {self._aliases.get(key, key): value for key, value in values.items()}
        return self.schema(**values)

    def writes(self, value: Any) -> list[tuple[str, Any]]:
        """Return what a node writes that returned ``value``; keys that are no channels are left out.

        An instance writes each of its attributes, except that a pydantic model leaves out the fields that
        nobody set and whose default is None.

        Raises:
            InvalidUpdateError: The value is neither None, a dict nor an instance of an annotated class.
        """
        if value is None:
            return []
        if self.kind == "root":
            return [(ROOT, value)]
        channels = self.channels
        if isinstance(value, dict):
            return [(key, item) for key, item in value.items() if key in channels]
        if (pairs := writes_of_instance(value, channels)) is not None:
            return pairs
        raise InvalidUpdateError(
            f"Expected dict, got {value!r}",
            hint="Return a dict of the state's keys, None, or an instance of the schema.",
            type=type(value).__qualname__,
        )


def writes_of_instance(value: Any, channels: Iterable[str]) -> list[tuple[str, Any]] | None:
    """Return what an instance of any annotated class writes to the channels, or None for any other value.

    It need not be one of the graph's schemas: a subgraph is given its caller's state as it is.
    """
    cls: Any = type(value)
    if not _keys_of(cls):
        return None
    silent = _unset_nones(value)
    return [
        (key, item)
        for key in channels
        if key not in silent and (item := getattr(value, key, MISSING)) is not MISSING
    ]


def read_schema(schema: Any) -> Schema:
    """Return the channels of a schema; a class is read once.

    Raises:
        InvalidGraph: A reducer or a managed value stands where it cannot.
        NameError: An annotation names something that cannot be found from the schema's module.
    """
    return _read_class(schema) if isinstance(schema, type) else _read(schema)


def channel_of(key: str, annotation: Any) -> BaseChannel:
    """Return the channel that an annotation asks for.

    Raises:
        InvalidGraph: The reducer does not take two arguments.
    """
    annotation = _bare(annotation)
    metadata = getattr(annotation, "__metadata__", ())
    for item in metadata:
        if isinstance(item, BaseChannel):
            return item.named(key)
        if isinstance(item, type) and issubclass(item, BaseChannel):
            return item(annotation.__origin__).named(key)
    if metadata and callable(metadata[-1]):
        _check_reducer(key, metadata[-1])
        return BinaryOperatorAggregate(annotation, metadata[-1]).named(key)
    return LastValue(annotation, key)


def _read(schema: Any) -> Schema:
    hints = _hints(schema)
    if hints is None:
        if manager_in(schema) is not None:
            message = f"This {schema} not allowed in this position"
            raise InvalidGraph(message, hint="Use a managed value as one key of a TypedDict.")
        return Schema(schema, "root", {ROOT: channel_of(ROOT, schema)}, {})
    channels: dict[str, BaseChannel] = {}
    managed: dict[str, type[ManagedValue]] = {}
    for key, annotation in hints.items():
        manager = manager_in(_bare(annotation))
        if manager is not None:
            managed[key] = manager
        else:
            channels[key] = channel_of(key, annotation)
    kind: Kind = (
        "pydantic" if is_model(schema) else "dataclass" if dataclasses.is_dataclass(schema) else "typeddict"
    )
    return Schema(schema, kind, channels, managed)


_read_class: Callable[[Any], Schema] = functools.lru_cache(maxsize=256)(_read)
"""``_read`` for what can be a key: other types, such as an ``Annotated`` list, are read each time."""


def _hints(schema: Any) -> dict[str, Any] | None:
    """Return key → annotation of a structured schema, or None for one that is a single value."""
    if not isinstance(schema, type):
        return None
    if is_model(schema):
        return _model_hints(schema)
    if not is_typeddict(schema) and not _keys_of(schema):
        return None
    hints = resolved(schema)
    if dataclasses.is_dataclass(schema):
        return {field.name: hints[field.name] for field in dataclasses.fields(schema)}
    return {key: annotation for key, annotation in hints.items() if key != "__slots__"}


def resolved(schema: type) -> dict[str, Any]:
    """Return the annotations of a class and its bases, with names looked up in their modules.

    Raises:
        NameError: A name cannot be found; a note says what to do.
    """
    try:
        return get_type_hints(schema, include_extras=True)
    except NameError as error:
        error.add_note(
            f"while reading the annotations of {schema.__module__}:{schema.__qualname__}\n"
            "  help: define what they name at the top of that module; text annotations are looked up there."
        )
        raise


def _model_hints(schema: Any) -> dict[str, Any]:
    try:
        hints = get_type_hints(schema, include_extras=True)
    except NameError:
        # A model inside a function: pydantic found the names when it was made, but split the annotations.
        hints = {}
    return {
        key: hints[key]
        if key in hints
        else functools.reduce(lambda base, item: Annotated[base, item], field.metadata, field.annotation)
        for key, field in schema.model_fields.items()
    }


def _bare(annotation: Any) -> Any:
    """Return the annotation without the words that say whether a key must be there."""
    while (origin := get_origin(annotation)) is not None:
        if origin not in (Required, NotRequired) and getattr(origin, "_name", None) != "ReadOnly":
            break
        annotation = get_args(annotation)[0]
    return annotation


def _check_reducer(key: str, reducer: Callable[..., Any]) -> None:
    try:
        signature = inspect.signature(reducer)
    except ValueError:
        if inspect.isbuiltin(reducer):
            # Some builtins, such as max, tell nothing about their parameters. Calling them is the only test.
            return
        signature = inspect.Signature()
    positional = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if len(positional) != _REDUCER_PARAMETERS:
        raise InvalidGraph(
            f"Invalid reducer signature. Expected (a, b) -> c. Got {signature}",
            hint=f"The reducer of {key!r} is called with the value so far and one write.",
            key=key,
        )


@functools.lru_cache(maxsize=1024)
def _keys_of(schema: type) -> frozenset[str]:
    """Return the annotated names of a class and its bases."""
    keys: set[str] = set()
    for base in schema.__mro__:
        keys.update(inspect.get_annotations(base))
    keys.update(getattr(schema, "model_fields", {}) if is_model(schema) else ())
    return frozenset(keys)


def _unset_nones(value: Any) -> set[str]:
    """Return the fields of a model that are None because nobody set them: they are no writes."""
    if not is_model(type(value)):
        return set()
    given = value.model_fields_set
    return {
        key
        for key, field in type(value).model_fields.items()
        if field.default is None and key not in given and getattr(value, key) is None
    }


def _aliases(schema: Any) -> dict[str, str]:
    """Return key → name under which a model wants it, where that is another one."""
    config = schema.model_config
    if config.get("populate_by_name") or config.get("validate_by_name"):
        return {}
    aliases = {key: field.validation_alias or field.alias for key, field in schema.model_fields.items()}
    return {key: alias for key, alias in aliases.items() if isinstance(alias, str)}
