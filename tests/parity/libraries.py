"""The two libraries, by the names that both have.

Nothing else differs between the two runs of a story: whoever builds and runs graphs is given one of these.
"""

from __future__ import annotations

import copy
from importlib import import_module
from types import SimpleNamespace
from typing import Any

from langgraph.channels import Topic
from langgraph.channels.named_barrier_value import NamedBarrierValue, NamedBarrierValueAfterFinish
from langgraph.checkpoint.memory import InMemorySaver

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
    _mend_channels()
    found = {name: getattr(import_module(module), name) for module, names in NAMES.items() for name in names}
    return SimpleNamespace(name="langgraph", saver=InMemorySaver, **found)


def _mend_channels() -> None:
    """Let LangGraph's joins and topics hand out copies to what stores them in the background.

    They go on changing the very set or list that they handed out, so under ``async`` and ``exit`` what is stored of
    them depends on who is faster, and a story would not be told the same way twice.
    """
    for channel in (NamedBarrierValue, NamedBarrierValueAfterFinish, Topic):
        channel.checkpoint = lambda self, given=channel.checkpoint: copy.copy(given(self))


def _ours() -> Any:
    found = {name: getattr(walgraph, name) for names in NAMES.values() for name in names}
    return SimpleNamespace(name="walgraph", saver=lambda: walgraph.MemoryLog(strict=True), **found)


THEIRS = _theirs()
OURS = _ours()
