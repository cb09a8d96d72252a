"""How a node sees the state: channels → what its input schema says.

Invariants:
1. A key without a value is left out of a dict (P-10), unless its channel begins with one, as reduced lists do.
2. Reading never changes values; every reader is given a container of its own (LangGraph shares one: P-11).

It must not write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..replay.channel import MISSING, BaseChannel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from .schema import Schema

WIDE = 32
"""Above this many keys a dict is copied whole, in whatever order, rather than key by key in the schema's."""


class Reader:
    """Reads the channels of one schema.

    Args:
        channels: All channels of the graph.
        keys: Those to read, in order.
        managed: Name → function of the run that gives a managed value.
        build: From a dict of values to what the node is given; None for the dict itself.
        root: Whether the one channel ``__root__`` is the state itself.
        model: The schema, if its instances are made of the values where somebody asks for them (``modelled``).
    """

    __slots__ = ("build", "initials", "is_plain", "keys", "managed", "model", "others", "root", "whole")

    def __init__(
        self,
        channels: Mapping[str, BaseChannel],
        keys: Iterable[str],
        *,
        managed: Mapping[str, Callable[[Any], Any]] | None = None,
        build: Callable[[dict[str, Any]], Any] | None = None,
        root: bool = False,
        model: Schema | None = None,
    ) -> None:
        self.keys = tuple(keys)
        self.model = model if model is not None and model.kind in {"dataclass", "pydantic"} else None
        self.managed = dict(managed or {})
        self.build = build
        self.root = root
        self.initials = tuple(
            (key, channels[key]) for key in self.keys if channels[key].initial() is not MISSING
        )
        self.others = tuple(
            (key, channels[key])
            for key in self.keys
            if type(channels[key]).get is not BaseChannel.get
            or type(channels[key]).available is not BaseChannel.available
        )
        self.whole = len(self.keys) > WIDE and len(self.keys) == len(channels)
        self.is_plain = not (
            self.whole or self.initials or self.others or self.root or self.managed or build is not None
        )
        """Whether what is read is a dict of the values, as most are."""

    def values(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the readable values, key by key."""
        read = dict(values) if self.whole else {key: values[key] for key in self.keys if key in values}
        for key, channel in self.initials:
            if key not in read:
                read[key] = channel.initial()
        for key, channel in self.others:
            if key in read:
                if channel.available(read[key]):
                    read[key] = channel.get(read[key])
                else:
                    del read[key]
        return read

    def read(self, values: Mapping[str, Any], run: Any = None) -> Any:
        """Return what a node is given.

        Args:
            values: Channel → value.
            run: The run, which managed values are asked of.
        """
        if self.is_plain:
            return {key: values[key] for key in self.keys if key in values}
        read = self.values(values)
        if self.root:
            return read.get("__root__")
        if self.managed and run is not None:
            for key, managed in self.managed.items():
                read[key] = managed(run)
        return read if self.build is None else self.build(read)

    def modelled(self, values: Any) -> Any:
        """Return an instance of the schema made of values, where the schema is a class of that kind.

        Values that do not make one, since some are still missing, are returned as they are.
        """
        model = self.model
        if model is None or not isinstance(values, dict):
            return values
        try:
            return model.build({key: values[key] for key in model.channels if key in values})
        except (TypeError, ValueError):
            return values


def reader_of(channels: Mapping[str, BaseChannel], schema: Schema) -> Reader:
    """Return the reader of a schema over a graph's channels."""
    from .managed import MANAGED

    return Reader(
        channels,
        schema.channels,
        managed={key: MANAGED[kind] for key, kind in schema.managed.items()},
        build=None if schema.kind == "typeddict" else schema.build,
        root=schema.kind == "root",
    )
