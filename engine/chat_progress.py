"""What langchain does in an attempt with an ``idle_timeout`` is progress: a model that answers, a tool that returns.

    timed attempt ── hears() ──► a context variable that langchain asks for callbacks
                                       │
    a model, tool, chain … in its body ──► Progress.on_…  ──► Watcher.progress

This module imports langchain_core, so it is imported only by a timed attempt of a process that has imported it.

Invariants:
1. It is heard whatever callbacks the caller gave, and with none; outside of timed attempts langchain finds nothing.

It must not show anything: that is what ``chat`` is for.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tracers.context import register_configure_hook

from .context import watching

if TYPE_CHECKING:
    from contextvars import Token

EVENTS = (
    "on_llm_start", "on_chat_model_start", "on_llm_new_token", "on_llm_end", "on_llm_error", "on_chain_start",
    "on_chain_end", "on_chain_error", "on_tool_start", "on_tool_end", "on_tool_error", "on_retriever_start",
    "on_retriever_end", "on_retriever_error", "on_text", "on_retry", "on_agent_action", "on_agent_finish",
    "on_custom_event",
)  # fmt: skip


def _note(_: Any, *__: Any, **___: Any) -> None:
    watch = watching.get()
    if watch is not None:
        watch.progress()


Progress = type(
    "Progress",
    (BaseCallbackHandler,),
    {"__doc__": "Tells the attempt whose code is running that it got on.", "run_inline": True}
    | dict.fromkeys(EVENTS, _note),
)

_hearing: ContextVar[Any] = ContextVar("walgraph_hearing", default=None)
register_configure_hook(_hearing, inheritable=True)
_PROGRESS = Progress()


def hears() -> Token[Any]:
    """Let langchain find what notes progress, from here on in this context."""
    return _hearing.set(_PROGRESS)


def hears_no_more(token: Token[Any]) -> None:
    """Undo ``hears``."""
    _hearing.reset(token)
