"""langchain's models in nodes: their tokens in the mode ``messages``, and the callbacks that the caller gave.

    a node calls model.invoke(...) ──► langchain looks for callbacks: in the config that the node hands on,
                                       or in its own context variable
                                                │
    Callbacks puts them there, for the time of one task: the caller's, and a Listener if messages are wanted
                                                │
    Listener: on_llm_new_token ──► Event "messages" (part of a message, metadata) ──► Run.publish

This module imports langchain_core, so it is imported only by a run that was asked for messages or was given
callbacks, and only where langchain_core is installed.

Invariants:
1. A model's tokens are shown once, in the namespace of the graph whose node called it: a subgraph's nodes see the
   listener of their own run, or none.
2. A model with the tag ``nostream`` shows no tokens.

It must not record anything.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager, CallbackManager
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk
from langchain_core.runnables.config import var_child_runnable_config

from .context import watched
from .control import TAG_NOSTREAM
from .metadata import tags_of
from .stream import Event

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextvars import Token
    from uuid import UUID

    from .context import TaskContext
    from .run import Run


class Listener(BaseCallbackHandler):
    """Shows the tokens of the models that a run's nodes call.

    Args:
        run: The run.
    """

    run_inline = True
    """Tokens are handed on in the order in which they come, so not by a pool of threads."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._calls: dict[UUID, dict[str, Any]] = {}

    def tap_output_iter(self, run_id: UUID, output: Iterator[Any]) -> Iterator[Any]:
        """Tell models, by being here, that somebody waits for tokens even if they are asked for a whole message."""
        return output

    def tap_output_aiter(self, run_id: UUID, output: AsyncIterator[Any]) -> AsyncIterator[Any]:
        """Do what ``tap_output_iter`` does."""
        return output

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[Any]],
        *,
        run_id: UUID,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Keep what is known about a call, unless its tokens are not to be shown."""
        if metadata and TAG_NOSTREAM not in (tags or ()):
            shown = tags_of({"tags": tags})
            self._calls[run_id] = {**metadata, "tags": shown} if shown else metadata

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: UUID, **_: Any) -> None:
        """Show a part of a message."""
        if run_id in self._calls and isinstance(chunk, ChatGenerationChunk):
            watched(self._run.write_message)((chunk.message, self._calls[run_id]))

    def on_llm_end(self, response: Any, *, run_id: UUID, **_: Any) -> None:
        """Show the whole message of a model that does not stream."""
        metadata = self._calls.pop(run_id, None)
        if metadata is None or not response.generations or not response.generations[0]:
            return
        generation = response.generations[0][0]
        if isinstance(generation, ChatGeneration):
            run = self._run
            run.publish([Event(run.scope, "messages", (generation.message, metadata))])

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **_: Any) -> None:
        """Forget a call."""
        self._calls.pop(run_id, None)


class Callbacks:
    """Puts callbacks where langchain looks for them.

    Args:
        run: The run whose nodes are to find them.
    """

    def __init__(self, run: Run) -> None:
        given: Any = run.config.get("callbacks")
        is_manager = isinstance(given, BaseCallbackManager)
        handlers = given.inheritable_handlers if is_manager else given or ()
        # Of a run around this one only the caller's own handlers are meant for its subgraphs.
        self._handlers: list[Any] = [handler for handler in handlers if not isinstance(handler, Listener)]
        self._parent = given.parent_run_id if is_manager else None
        if "messages" in run.modes:
            self._handlers.append(Listener(run))

    def callbacks(self, context: TaskContext[Any], metadata: dict[str, Any]) -> CallbackManager:
        """Return the callbacks of one task, with what is known about it."""
        tags = tags_of(context.run.config)
        return CallbackManager(
            handlers=list(self._handlers),
            inheritable_handlers=list(self._handlers),
            parent_run_id=self._parent,
            tags=list(tags),
            inheritable_tags=list(tags),
            metadata=dict(metadata),
            inheritable_metadata=dict(metadata),
        )

    def enter(self, context: TaskContext[Any]) -> Token[Any]:
        """Let langchain find a task's config from here on."""
        config: Any = context.config
        return var_child_runnable_config.set(config)

    def leave(self, token: Token[Any]) -> None:
        """Undo ``enter``, in the same context."""
        var_child_runnable_config.reset(token)
