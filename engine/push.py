"""``push_message``: a node shows a message at once, and leaves it in the state when it returns.

    push_message(m) ──► Event "messages", now
                   └──► a write of the task, recorded with what the node returns

An attempt that fails takes its writes with it; what was shown stays shown.

It must not record: the task's outcome does.
"""

from __future__ import annotations

from typing import Any

from .context import here
from .errors import InvalidUpdateError
from .messages import identified


def push_message(message: Any, *, state_key: str | None = "messages") -> Any:
    """Show a message in the stream mode ``messages`` at once, and write it to the state.

    Args:
        message: A message with an id: one of langchain's, or a dict with role, content and id.
        state_key: The channel to write it to when the node returns; None for none. An entrypoint has no state.

    Returns:
        The message.

    Raises:
        OutsideOfRun: No node is running.
        InvalidMessage: It is no message, or has no id.
        InvalidUpdateError: There is no such channel, or a ``@task`` is running, which writes nothing to the state.
    """
    context = here("push_message")
    program = context.run.program
    shown, kept = identified(message)
    if state_key is not None and not program.is_entrypoint:
        if len(context.path) > 1:
            raise InvalidUpdateError(
                f"push_message in task {context.name!r} would write to the state, and only nodes do",
                hint="Return the message from the task and let the node return it, or say state_key=None.",
                task=context.name,
            )
        if state_key not in program.writable:
            raise InvalidUpdateError(
                f"push_message to {state_key!r}, but graph {program.name!r} has no channel of that name",
                hint=f"Its channels are {', '.join(map(repr, sorted(program.writable)))}.",
                channel=state_key,
            )
        prepare = program.prepare.get(state_key)
        context.pushed = (*context.pushed, (state_key, kept if prepare is None else prepare(kept)))
    context.message_writer((shown, context.metadata))
    return shown
