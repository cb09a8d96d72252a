"""Names of LangGraph for mistakes, for programs that name them; walgraph's own are the ``WAL-E...`` of its errors.

    ErrorCode.GRAPH_RECURSION_LIMIT               GraphRecursionError   WAL-E205
    ErrorCode.INVALID_CONCURRENT_GRAPH_UPDATE     InvalidUpdateError    WAL-E203
    ErrorCode.INVALID_GRAPH_NODE_RETURN_VALUE     InvalidUpdateError    WAL-E203
    ErrorCode.MULTIPLE_SUBGRAPHS                  nothing: there may be several
    ErrorCode.INVALID_CHAT_HISTORY                nothing: there are no prebuilt agents
    TaskNotFound                                  nothing: tasks run where they are planned

Nothing here is raised or looked at by walgraph.
"""

from __future__ import annotations

from enum import Enum


class ErrorCode(Enum):
    """Which mistake a message is about."""

    GRAPH_RECURSION_LIMIT = "GRAPH_RECURSION_LIMIT"
    INVALID_CONCURRENT_GRAPH_UPDATE = "INVALID_CONCURRENT_GRAPH_UPDATE"
    INVALID_GRAPH_NODE_RETURN_VALUE = "INVALID_GRAPH_NODE_RETURN_VALUE"
    MULTIPLE_SUBGRAPHS = "MULTIPLE_SUBGRAPHS"
    INVALID_CHAT_HISTORY = "INVALID_CHAT_HISTORY"


def create_error_message(*, message: str, error_code: ErrorCode) -> str:  # noqa: ARG001 - LangGraph's signature
    """Return a message as walgraph words it: the message, where LangGraph adds a link.

    Args:
        message: What happened.
        error_code: Which mistake it is.
    """
    return message


class TaskNotFound(Exception):
    """What LangGraph raises where tasks are run by another machine; walgraph has none and never raises it."""
