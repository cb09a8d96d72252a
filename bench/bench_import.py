"""What does ``import walgraph`` cost beyond the standard library? The budget is 40 ms of CPU.

Each figure is the whole life of a fresh interpreter, in CPU time of the child, so that waiting for a busy machine
does not count. One child imports walgraph; the other imports exactly those modules of the standard library that the
first one ended up with. The difference of the two medians is what walgraph and its dependencies add.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from typing import Any

BUDGET_MS = 40
ROUNDS = 15

NAMES = (
    "import sys, walgraph; print(*(m for m in sys.modules if m.partition('.')[0] in sys.stdlib_module_names))"
)


def children_cpu() -> float:
    """Return the seconds of CPU that finished child processes have used."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_import(race: Any, table: Any, tools: Any) -> None:
    """Start interpreters that import nothing, the standard modules alone, or walgraph (CPU of the child)."""
    environment = tools.environment()

    def output(program: str) -> str:
        command = [sys.executable, "-c", program]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout

    def life(program: str) -> Any:
        before = children_cpu()
        output(program)
        return tools.Seconds(children_cpu() - before)

    # The first life compiles what is not compiled yet, so it is not counted.
    standard = "\n".join(f"import {name}" for name in output(NAMES).split() if name != "__main__")
    programs = {"python": "pass", "standard": standard, "walgraph": "import walgraph"}
    contenders = {
        name: tools.bare(lambda program=program: life(program)) for name, program in programs.items()
    }
    spent = {name: each.micros / 1000 for name, each in race(contenders, ROUNDS, 1).items()}
    added = spent["walgraph"] - spent["standard"]
    note = f"after the standard modules {spent['standard']:.0f} ms, of which Python {spent['python']:.0f} ms"
    table.figure("import walgraph", "CPU", f"{added:.1f} ms", tools.at_most(BUDGET_MS, added, " ms"), note)
