"""The one thread of a store: it holds the shelf weakly, and ends with it. There is none before the first `set`."""

from __future__ import annotations

import threading
import weakref
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from . import forking

if TYPE_CHECKING:
    from .shelf import Shelf

__all__ = ["Upkeep"]


class Upkeep:
    """Has a shelf tended every ``interval`` seconds. None: never, and there is no thread."""

    def __init__(self, shelf: Shelf, interval: float | None) -> None:
        self.lock: None = None
        """None is held over a fork: whoever starts the thread may hold that of the shelf."""
        self._interval = interval
        self._stopped = False
        self._prepare(shelf)
        forking.note(self)

    def _prepare(self, shelf: Shelf | None) -> None:
        """State that belongs to this process alone."""
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.idle = self._interval is not None
        """Whether it should be started. After a fork it should be again: no thread comes along."""
        # A queue, as the collector may put something into it at any moment, in whatever thread: an Event has a lock
        # that this thread might be holding.
        self._over = over = SimpleQueue[None]()
        self._shelf = None if shelf is None else weakref.ref(shelf, lambda _: over.put(None))

    def start(self) -> None:
        """Begin. Starting twice is once, and after `stop` nothing is started."""
        with self._lock:
            if self.idle and not self._stopped:
                arguments = (self._shelf, self._over, self._interval)
                self._thread = threading.Thread(target=_tend, args=arguments, name="sojourn-dictstore", daemon=True)
                self._thread.start()
            self.idle = False

    def stop(self) -> None:
        """End, and wait until it has. Nothing happens if it does not run."""
        with self._lock:
            self._stopped = True
            thread, self._thread = self._thread, None
        self._over.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def forked(self) -> None:
        """In the child of a fork."""
        self._prepare(None if self._shelf is None else self._shelf())


def _tend(shelf: weakref.ref[Shelf], over: SimpleQueue[None], interval: float) -> None:
    while True:
        try:
            over.get(timeout=interval)
        except Empty:
            found = shelf()
            if found is None:
                return
            found.tend()
            del found  # or it would live for as long as this waits
        else:
            return
