"""A fair lock between processes, with a deadline, on two small files.

Whoever wants the turn first takes the door, then the turn, then opens the door again. A process that has just had its
turn must queue at the door like everybody else, and who holds the door is next: so nobody is passed by again and again,
as happens with SQLite's own busy wait. ``flock`` is used because the kernel releases it when a process dies; it is
polled because it cannot wait with a deadline.
"""

from __future__ import annotations

import os
import random
import time
from fcntl import LOCK_EX, LOCK_NB, LOCK_UN, flock
from pathlib import Path
from typing import Final

from ..errors import StoreUnavailable

__all__ = ["Turnstile"]

_HOW: Final = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
_TAKE: Final = LOCK_EX | LOCK_NB
_AT_TURN: Final = 0.00005  # seconds between looks for the one who is next: short, as the turn lies idle meanwhile
_AT_DOOR: Final = 0.0005  # and for those behind


class Turnstile:
    """The lock. One holder in a process at a time: threads must agree among themselves first. The turn is given to
    whoever is next by ``flock(turnstile.turn, LOCK_UN)``: no function stands before it in which a signal handler could
    raise."""

    def __init__(self, path: Path) -> None:
        self._paths = (Path(f"{path}-door"), Path(f"{path}-turn"))
        self._door = self.turn = -1

    def acquire(self, until: float) -> None:
        """Take the turn; `StoreUnavailable` if it cannot be had until then (monotonic seconds)."""
        if self.turn < 0:
            self._open()
        try:
            _take(self._door, _AT_DOOR, until)
            _take(self.turn, _AT_TURN, until)
        finally:
            flock(self._door, LOCK_UN)  # where it is not held, nothing happens

    def close(self) -> None:
        """Close the files; the next `acquire` opens them again. In a forked child this parts it from its parent's
        locks, which it would share otherwise."""
        handles, self._door, self.turn = (self._door, self.turn), -1, -1  # so that nobody closes them twice
        for handle in handles:
            if handle >= 0:
                os.close(handle)

    def _open(self) -> None:
        try:
            self._door = os.open(self._paths[0], _HOW, 0o600)
            self.turn = os.open(self._paths[1], _HOW, 0o600)
        except OSError as error:
            self.close()  # there may be one, and not the other
            raise StoreUnavailable(f"the lock files beside the database cannot be opened: {error}") from error


def _take(handle: int, pause: float, until: float) -> None:
    while True:
        try:
            flock(handle, _TAKE)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise StoreUnavailable("other processes kept the database to themselves past the deadline") from None
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
        else:
            return
