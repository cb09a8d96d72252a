"""A world in which one commit is fatal: killed before it or after it, and nothing else fails.

    for fatal in range(1, moments + 1): a world whose process dies at that moment, and is started again

It must not know graphs.
"""

from __future__ import annotations

from simulation.by_hand import Killed, World


class Doomed(World):
    """A world in which one commit is fatal, and nothing else fails.

    Args:
        fatal: Which moment around a commit is the last of its process, counted from 1: odd numbers are before a commit,
            even ones after it.
    """

    def __init__(self, fatal: int) -> None:
        super().__init__(seed=7)
        self.fatal = fatal
        self.moments = 0

    def maybe_killed(self, where: str) -> None:
        """Let the process die at the one moment."""
        if where not in {"before a commit", "after a commit"} or self.dead:
            return
        self.moments += 1
        if self.moments == self.fatal:
            self.dead = True
            raise Killed(where)
