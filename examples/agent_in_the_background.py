"""An agent that works in the background: its runs are handed over, and whichever worker lives carries them on.

Watch for: the first process hands the question over and works on it; kill it (kill -9), and run it again: the run is
taken over behind the last call that was recorded. Run it in two terminals at once and kill one of them: the other goes
on within a few hundredths of a second, since the kernel tells at once that the owner is gone.

    python examples/agent_in_the_background.py [LOG]
"""

from __future__ import annotations

import sys
import time
from typing import Any

from walgraph import Log, Worker, entrypoint, submit, task

PRICES = {"lamp": 40, "desk": 260, "chair": 110}
ORDER = ["lamp", "chair", "desk"]


@task
def ask_model(seen: list[tuple[str, Any]]) -> tuple[str, Any]:
    """Stand for a model: it asks for the price of one thing after another, then for the sum."""
    print("· asking the model, with", len(seen), "results")
    time.sleep(0.1)
    if len(seen) < len(ORDER):
        return "look_up", ORDER[len(seen)]
    if len(seen) == len(ORDER):
        return "add", [result for _, result in seen]
    return "answer", f"That is {seen[-1][1]} altogether."


@task
def use_tool(name: str, argument: Any) -> Any:
    """Use one tool."""
    print("· using", name, argument)
    time.sleep(0.1)
    return PRICES[argument] if name == "look_up" else sum(argument)


with Log.open(sys.argv[1] if sys.argv[1:] else "build/agent_in_the_background.log") as log:

    @entrypoint(log)
    def agent(question: str) -> str:
        """Ask the model, do what it wants, and again, until it answers."""
        seen: list[tuple[str, Any]] = []
        while True:
            name, argument = ask_model(seen).result()
            if name == "answer":
                return str(argument)
            seen.append((name, use_tool(name, argument).result()))

    question = f"What do {', '.join(ORDER)} cost?"
    run = submit(agent, question, "office", run_id="office/1", durability="sync")
    with Worker(log, agent):
        answer = run.result()
    print("result:", question, answer)
