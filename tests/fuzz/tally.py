"""What the searches of ``make fuzz`` came to, all together; pytest prints it in the end."""

from __future__ import annotations

from collections import Counter

COUNTED: Counter[str] = Counter()


def tally(**counts: int) -> None:
    """Add to what is printed in the end.

    Args:
        counts: ``lives``, ``killed``, ``stopped``, ``faults`` (signals that a process sent itself at an instant that
            was chosen before) and ``acknowledged`` (what was said to be done, and looked for afterwards).
    """
    COUNTED.update(counts)
