"""Does cost grow as the work, and no faster? Exponents of time and bytes, up to 10⁵ steps and threads.

Nodes go up to 2,000 and channels to 1,000. What is measured, and how, is said in `scaling.py`, which prints the points;
here the exponents become rows. Nothing is a floor of this: the target is that the straight line is flat.
"""

from __future__ import annotations

from typing import Any

from scaling import COSTS, EXPERIMENTS, TARGET, exponent, measured


def test_growth(race: Any, table: Any, tools: Any) -> None:
    """Run each experiment once; its own rounds are within."""

    def all_of_them() -> dict[str, Any]:
        return {name: measured(experiment, full) for name, (experiment, _, full) in EXPERIMENTS.items()}

    found = race({"growth": tools.bare(all_of_them)}, 1, 1)["growth"].answers[0]
    for name, points in found.items():
        first, last = points[0], points[-1]
        for what, cost in COSTS.items():
            slope = exponent(points, cost)
            unit = "µs" if what == "time" else "bytes"
            note = f"{first.size:,}: {cost(first):.1f} {unit}, {last.size:,}: {cost(last):.1f} {unit} a step"
            table.figure(
                f"growth: {name}", what, f"{slope:+.3f}", tools.at_most(TARGET, slope, goal="S15"), note
            )
        if name == "steps of a thread":
            memory = f"own memory at {first.size:,}: {tools.human(first.memory)}, at {last.size:,}"
            table.figure(f"growth: {name}", "memory", tools.human(last.memory), None, memory)
