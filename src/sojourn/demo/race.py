"""The other way, for comparison: a session that is loaded whole and saved whole, the last writer winning.

Each parallel request of the demo also does its work here, with the same timing: it takes a copy when it begins and
puts its copy back when it is done. What is left at the end is what such a store would have kept. In memory, bounded.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

__all__ = ["WholeSaves"]

_RUNS: Final = 100  # runs that are remembered
_REQUESTS: Final = 50  # entries in each


class WholeSaves:
    """What is kept of each run."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, list[int]] = OrderedDict()

    def load(self, run: str) -> list[int]:
        """A copy of the whole, as a session library hands it out."""
        return list(self._runs.get(run, ()))

    def save(self, run: str, whole: list[int]) -> None:
        """Put the whole back: whatever was saved in between is overwritten."""
        self._runs[run] = whole[-_REQUESTS:]
        self._runs.move_to_end(run)
        while len(self._runs) > _RUNS:
            self._runs.popitem(last=False)
