"""What a graph takes and gives, as types, pydantic models and JSON schemas: for forms, tools and servers.

    TypedDict, dataclass ──► a model with a field for each key, managed values left out
    pydantic model       ──► itself
    any other type       ──► a model whose ``root`` it is

pydantic makes the models, and is imported here only; nothing else needs it.

It must not run anything.
"""

from __future__ import annotations

import dataclasses
import inspect
import typing
from typing import TYPE_CHECKING, Any, NotRequired, Required, get_args, get_origin, is_typeddict

from .control import Final
from .errors import NotAvailable
from .node import INJECTED
from .schema import ROOT, read_schema, resolved
from .schema_classes import is_model

if TYPE_CHECKING:
    from types import ModuleType

    from .settings import Compiled


def input_type(graph: Compiled, builder: Any) -> Any:
    """Return the type of what a graph takes; for an entrypoint, what its first parameter is annotated with."""
    if not graph.program.is_entrypoint:
        return builder.input_schema
    hints = _hints(builder)
    names = [name for name in inspect.signature(builder).parameters if name not in INJECTED]
    return hints.get(names[0], Any) if names else Any


def output_type(graph: Compiled, builder: Any) -> Any:
    """Return the type of what a graph returns; of an entrypoint that saves something else, what it returns."""
    if not graph.program.is_entrypoint:
        return builder.output_schema
    hint = _hints(builder).get("return", Any)
    if get_origin(hint) is Final:
        return get_args(hint)[0]
    return Any if hint is Final else hint


def model_of(schema: Any, name: str) -> Any:
    """Return a pydantic model of a type.

    Args:
        schema: The type.
        name: What to call a model that has to be made.

    Raises:
        NotAvailable: pydantic is not installed.
    """
    pydantic = _pydantic()
    if is_model(schema):
        return schema
    read = read_schema(schema) if schema is not Any else None
    if read is None or read.kind == "root":
        kind = Any if read is None else read.channels[ROOT].typ
        return pydantic.create_model(name, __base__=pydantic.RootModel[kind])
    optional = _defaults(schema)
    fields: Any = {}
    for key, channel in read.channels.items():
        default = optional.get(key, ...)
        fields[key] = (channel.typ if default is not None else channel.typ | None, default)
    config = pydantic.ConfigDict(arbitrary_types_allowed=True)
    return pydantic.create_model(name, __config__=config, __doc__=_described(schema), **fields)


def config_model(context_schema: Any, name: str) -> Any:
    """Return a pydantic model of the config that a graph takes: its context, as ``configurable``.

    Raises:
        NotAvailable: pydantic is not installed.
    """
    pydantic = _pydantic()
    if context_schema is None:
        return pydantic.create_model(name)
    field: Any = (model_of(context_schema, _named(context_schema)), None)
    return pydantic.create_model(name, configurable=field)


def context_json_schema(context_schema: Any) -> dict[str, Any] | None:
    """Return the JSON schema of a context; None if the graph has none.

    Raises:
        NotAvailable: pydantic is not installed.
    """
    if context_schema is None:
        return None
    schema: dict[str, Any] = model_of(context_schema, _named(context_schema)).model_json_schema()
    return schema


def _described(schema: Any) -> str | None:
    """Return what the author of a type wrote about it; dataclasses write their signature where nobody did."""
    text = vars(schema).get("__doc__")
    return None if text is None or text.startswith(f"{schema.__name__}(") else inspect.cleandoc(text)


def _named(schema: Any) -> str:
    return str(getattr(schema, "__name__", "Context"))


def _hints(function: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError):
        # Annotations that cannot be resolved tell nothing.
        return {}


def _defaults(schema: Any) -> dict[str, Any]:
    """Return the keys that need not be there, with what stands for them."""
    if is_typeddict(schema):
        # The words in annotations count, also where text annotations hid them from the class.
        words = {key: get_origin(hint) for key, hint in resolved(schema).items()}
        optional = set(schema.__optional_keys__) | {key for key, word in words.items() if word is NotRequired}
        return {key: None for key in optional if words.get(key) is not Required}
    if dataclasses.is_dataclass(schema):
        given: dict[str, Any] = {}
        for field in dataclasses.fields(schema):
            if field.default is not dataclasses.MISSING:
                given[field.name] = field.default
            elif field.default_factory is not dataclasses.MISSING:
                given[field.name] = _pydantic().Field(default_factory=field.default_factory)
        return given
    return {key: getattr(schema, key) for key in resolved(schema) if hasattr(schema, key)}


def _pydantic() -> ModuleType:
    try:
        import pydantic
    except ImportError:
        message = "models and JSON schemas of a graph are made by pydantic, which is not installed"
        raise NotAvailable(message, hint="pip install pydantic") from None
    return pydantic
