"""Two people are asked at once, and what they say is brought together.

Watch for: the travel request is answered by one person after the other, the purchase by both in one call. Whoever has
answered is not asked again, and a process that is killed in between finds the questions that are still open.

    python examples/ported/two_approvals.py [LOG]
"""

from __future__ import annotations

import operator
import sys
from typing import Annotated, Any, TypedDict

from walgraph import END, START, Command, Log, StateGraph, interrupt

REQUESTS = {
    "travel": {"what": "Three days in Ghent", "amount": 840},
    "purchase": {"what": "A second espresso machine", "amount": 1300},
}


class Request(TypedDict, total=False):
    """What is asked for, who said what, and what came of it."""

    what: str
    amount: int
    question: str
    answers: Annotated[dict[str, str], operator.or_]
    outcome: str


def prepare(request: Request) -> Request:
    """Word the question."""
    return {"question": f"{request['what']} for {request['amount']}?"}


def manager(request: Request) -> Request:
    """Ask whether it is needed."""
    return {"answers": {"manager": interrupt({"to": "manager", "question": request["question"]})}}


def finance(request: Request) -> Request:
    """Ask whether there is money for it."""
    return {"answers": {"finance": interrupt({"to": "finance", "question": request["question"]})}}


def decide(request: Request) -> Request:
    """Join: runs once, when both have answered."""
    is_granted = all(answer == "yes" for answer in request["answers"].values())
    return {"outcome": "granted" if is_granted else "refused"}


def compiled(saver: Any) -> Any:
    """Return the graph."""
    return (
        StateGraph(Request)
        .add_node(prepare)
        .add_node(manager)
        .add_node(finance)
        .add_node(decide)
        .add_edge(START, "prepare")
        .add_edge("prepare", "manager")
        .add_edge("prepare", "finance")
        .add_edge(["manager", "finance"], "decide")
        .add_edge("decide", END)
        .compile(checkpointer=saver)
    )


def answer(asked: Any) -> str:
    """Say what a person says."""
    return "no" if asked.value["to"] == "finance" and "machine" in asked.value["question"] else "yes"


def run(graph: Any) -> dict[str, Any]:
    """Carry both requests to their end, from wherever they are."""
    outcomes = {}
    for thread, request in REQUESTS.items():
        config = {"configurable": {"thread_id": thread}}
        state = graph.get_state(config)
        if state.created_at is None:
            graph.invoke(request, config, durability="sync")
        elif state.next and not state.interrupts:
            graph.invoke(None, config, durability="sync")
        while asked := graph.get_state(config).interrupts:
            one_by_one = {asked[0].id: answer(asked[0])} if len(asked) > 1 else answer(asked[0])
            together = {item.id: answer(item) for item in asked}
            resume = one_by_one if thread == "travel" else together
            graph.invoke(Command(resume=resume), config, durability="sync")
        outcomes[thread] = graph.get_state(config).values
    return outcomes


if __name__ == "__main__":
    with Log.open(sys.argv[1] if sys.argv[1:] else "build/two_approvals.log") as log:
        for name, request in run(compiled(log)).items():
            print(f"{name}: {request['outcome']}, {request['answers']}")
