"""A fork in the middle of something: no child finds a lock that nobody will release."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Final, Protocol

__all__ = ["note"]


class Forks(Protocol):
    """What has a lock, or none that is to be taken."""

    @property
    def lock(self) -> threading.Lock | None:
        """Held over the fork, so that nothing is half done in the child. None where whoever holds it may be waiting for
        the store, which waits for the fork: then `forked` begins anew."""

    def forked(self) -> None:
        """In the child: part with what is the parent's."""


_noted: Final[weakref.WeakSet[Forks]] = weakref.WeakSet()
_held: Final[list[tuple[Forks, threading.Lock | None]]] = []


def note(one: Forks) -> None:
    """See to it from now on. Holds it weakly."""
    _noted.add(one)


def _before() -> None:
    for one in list(_noted):
        lock = one.lock
        if lock is not None:
            lock.acquire()
        _held.append((one, lock))


def _after_in_parent() -> None:
    while _held:
        _, lock = _held.pop()
        if lock is not None:
            lock.release()


def _after_in_child() -> None:
    while _held:
        one, lock = _held.pop()
        one.forked()
        if lock is not None:
            lock.release()


os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
