"""The feed of a store in this process: what is said is put into a queue for each follower."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

from ..errors import StoreUnavailable
from ..store import Hint
from ..waiting import Signal, Waiting

__all__ = ["MemoryFeed"]

_MOST: Final = 10_000
"""Hints that are kept for who does not come for them; then they become one, to look at everything."""


class MemoryFeed:
    """Tells of all sessions. `say` is the store's, from any thread."""

    def __init__(
        self, waiting: Waiting, join: Callable[[MemoryFeed], None], part: Callable[[MemoryFeed], None]
    ) -> None:
        self._waiting = waiting
        self._join = join
        self._part = part
        self._lock = threading.Lock()
        self._said: deque[Hint] = deque()
        self._signal: Signal | None = None
        self._closed = False

    def say(self, hint: Hint) -> None:
        """Something was written."""
        with self._lock:
            if len(self._said) == _MOST:
                self._said.clear()
                hint = Hint("")
            self._said.append(hint)
            self._wake()

    async def open(self) -> None:
        self._join(self)

    async def follow(self, handles: Iterable[str], *, everything: bool = False) -> bool:
        return True  # it tells of all anyway

    async def forget(self, handles: Iterable[str]) -> None:
        """It tells of all anyway."""

    async def hints(self, timeout: float) -> list[Hint]:
        with self._lock:
            if not self._said and not self._closed:
                self._signal = signal = self._waiting.signal()
            else:
                signal = None
        if signal is not None:
            await signal.wait(timeout)
        with self._lock:
            self._signal = None
            if self._closed:
                raise StoreUnavailable("the feed was closed")
            said, self._said = list(self._said), deque()
        return said

    async def close(self) -> None:
        with self._lock:
            self._closed = True
            self._wake()
        self._part(self)

    def _wake(self) -> None:
        if self._signal is not None:
            self._signal.set()
            self._signal = None
