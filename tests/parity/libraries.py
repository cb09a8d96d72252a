"""The two libraries, by the names that both have.

Nothing else differs between the two runs of a story: whoever builds and runs graphs is given one of these.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import walgraph

NAMES = {
    "langgraph.graph": ("END", "START", "StateGraph", "MessagesState", "add_messages"),
    "langgraph.types": ("Command", "Interrupt", "Overwrite", "RetryPolicy", "Send", "interrupt"),
    "langgraph.channels": ("AnyValue", "EphemeralValue", "LastValue", "Topic", "UntrackedValue"),
    "langgraph.errors": ("EmptyInputError", "GraphRecursionError", "InvalidUpdateError"),
    "langgraph.config": ("get_stream_writer",),
    "langgraph.func": ("entrypoint", "task"),
}


def _theirs() -> Any:
    from importlib import import_module

    from langgraph.checkpoint.memory import InMemorySaver

    found = {name: getattr(import_module(module), name) for module, names in NAMES.items() for name in names}
    return SimpleNamespace(name="langgraph", saver=InMemorySaver, **found)


def _ours() -> Any:
    found = {name: getattr(walgraph, name) for names in NAMES.values() for name in names}
    return SimpleNamespace(name="walgraph", saver=lambda: walgraph.MemoryLog(strict=True), **found)


THEIRS = _theirs()
OURS = _ours()
