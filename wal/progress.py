"""How far something long is: what is called with it.

It must not show anything.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told what is being done, how much of it is done, and how much there is."""


def say_nothing(_what: str, _done: int, _whole: int, /) -> None:
    """Tell nobody how far it is."""
