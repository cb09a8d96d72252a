"""Go back to an earlier checkpoint, change what was decided there, and tell the story again from that point.

Watch for: the beginning is told once. The second telling branches off behind it, with another door; the first telling
stays in the log as it was, and both endings are in the thread's history. Kill it anywhere and run it again: the state
itself says which telling was under way.

    python examples/travel_back.py [LOG]            # then: wal inspect LOG story
"""

from __future__ import annotations

import sys
import time
from typing import TypedDict

from walgraph import START, Log, StateGraph


class Story(TypedDict, total=False):
    """What the nodes share."""

    hero: str
    door: str
    ending: str


ENDINGS = {"left": "finds a library", "right": "finds the sea"}


def wake_up(story: Story) -> Story:
    """Begin."""
    print("·", story["hero"], "wakes up in front of two doors")
    time.sleep(0.1)
    return {"door": "left"}


def walk(story: Story) -> Story:
    """Go through the door."""
    print("·", story["hero"], "takes the", story["door"], "door")
    time.sleep(0.1)
    return {"ending": f"{story['hero']} {ENDINGS[story['door']]}"}


with Log.open(sys.argv[1] if sys.argv[1:] else "build/travel_back.log") as log:
    graph = StateGraph(Story).add_sequence([wake_up, walk]).add_edge(START, "wake_up").compile(log)
    config = {"configurable": {"thread_id": "story"}}

    # The first telling, to its end: an input begins it, None carries on, and on a finished run does nothing.
    graph.invoke({"hero": "Ada"} if log.head("story") is None else None, config, durability="sync")

    if graph.get_state(config).values["door"] == "left":
        # The newest comes first in a history, so the last one found is that of the first telling.
        *_, before = (shown for shown in graph.get_state_history(config) if shown.next == ("walk",))
        print("back to checkpoint", before.config["configurable"]["checkpoint_id"], "to take the other door")
        branch = graph.update_state(before.config, {"door": "right"})
        graph.invoke(None, branch, durability="sync")

    endings = [shown.values["ending"] for shown in graph.get_state_history(config) if not shown.next]
    print("result:", "; in another telling ".join(reversed(endings)))
