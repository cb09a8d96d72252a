"""Configs, one over the other, and the thread that one names.

    that of the task around a call ◄── the graph's own (with_config) ◄── the caller's

    tags, lists of callbacks       all of them, in this order
    metadata, configurable         by key, the later one wins
    anything else                  the later one wins

It must not know runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..wal.log_reading import as_thread_id
from .errors import MissingThreadId

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BY_KEY = ("configurable", "metadata")
"""The parts of a config whose keys are merged one by one."""


def merged(*configs: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return configs as one, the later ones over the earlier; always with ``configurable`` and ``metadata``."""
    whole: dict[str, Any] = {}
    parts: dict[str, dict[str, Any]] = {part: {} for part in BY_KEY}
    for config in configs:
        for key, value in (config or {}).items():
            if key in parts:
                parts[key].update(value or {})
            elif key == "tags":
                before = whole.get(key) or []
                whole[key] = [*before, *(tag for tag in value or () if tag not in before)]
            elif key == "callbacks" and isinstance(value, list) and isinstance(whole.get(key), list):
                whole[key] = [*whole[key], *(handler for handler in value if handler not in whole[key])]
            elif value is not None or key not in whole:
                whole[key] = value
    return {**whole, **parts}


def for_each(
    config: dict[str, Any] | Sequence[dict[str, Any]] | None, count: int
) -> list[dict[str, Any] | None]:
    """Return one config for each of several inputs.

    Args:
        config: One for all, or a list with one for each.
        count: How many inputs there are.

    Raises:
        ValueError: The list has another length.
    """
    if config is None:
        return [None] * count
    if isinstance(config, dict):
        first = config
    elif len(config) == count:
        return [dict(one) for one in config]
    else:
        message = "config must be a list of the same length as inputs"
        message = f"{message}, but got {len(config)} configs for {count} inputs"
        raise ValueError(message)
    # An id names one run, so it goes to the first.
    others = {key: value for key, value in first.items() if key != "run_id"}
    return [dict(first if number == 0 else others) for number in range(count)]


def thread_of(config: dict[str, Any]) -> str:
    """Return the thread id of a config.

    Raises:
        MissingThreadId: It has none.
    """
    thread = config.get("configurable", {}).get("thread_id")
    if thread is None:
        message = (
            "Checkpointer requires one or more of the following 'configurable' keys: thread_id, checkpoint_ns, "
            "checkpoint_id"
        )
        raise MissingThreadId(
            message, hint='graph.invoke(input, {"configurable": {"thread_id": "any-name"}})'
        )
    return as_thread_id(thread)
