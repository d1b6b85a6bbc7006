"""The connections of this process to one SQLite file: taken, given back, and all closed before a fork.

Why before a fork: SQLite notes in the process's memory which locks it holds on a file. A child would inherit the note
and not the locks, even for connections of its own: it would take part unseen, and whoever then closes the file last, as
he believes, folds in and removes the log into which the child goes on writing. With every connection closed there is
nothing to inherit.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
import weakref
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from typing import Final

from ..store import Durability

__all__ = ["Pool"]

_LOOK: Final = 0.0005  # seconds between two looks whether all connections are back

_decode: Final = partial(str, encoding="utf-8", errors="replace")  # a damaged name must not hide the others
_pools: weakref.WeakSet[Pool] = weakref.WeakSet()
_forking = threading.Lock()  # held while this process forks: nobody uses a connection then
_inherited: list[Connection] = []  # of the parent, had one been in use for too long: never closed here, as SQLite asks


class Pool:
    """Connections for any number of threads. ``deadline`` bounds how long SQLite waits for a lock, in seconds."""

    def __init__(self, path: Path, durability: Durability, deadline: float) -> None:
        self.path = path
        self._durability = durability
        self._deadline = deadline
        self._idle: list[Connection] = []
        self._own: dict[object, Connection] = {}  # idle, too, but kept for one user
        self._in_use: list[None] = []  # an entry for each connection in use: a counter whose steps are atomic
        self._closed = False
        _pools.add(self)

    def take(self, user: object = None) -> Connection:
        """An idle connection, the one used last first, as its cache is warm; a new one if all are in use. A ``user``
        that is named has one of its own, the same each time unless it had to be closed meanwhile. Raises
        `sqlite3.Error`."""
        self._in_use.append(None)
        while _forking.locked():
            self._in_use.pop()
            with _forking:
                pass  # it has forked
            self._in_use.append(None)
        try:
            return self._idle.pop() if user is None else self._own.pop(user)
        except LookupError:
            pass
        try:
            return self.connect(self.path)
        except BaseException:  # whatever kept it from opening, it is not in use
            self._in_use.pop()
            raise

    def give_back(self, connection: Connection, user: object = None) -> None:
        """It is in order, and in no transaction."""
        if user is None:
            self._idle.append(connection)
        else:
            self._own[user] = connection
        self._in_use.pop()
        if self._closed:
            self._close_idle()

    def part(self, user: object) -> None:
        """Close the connection of a user's own, unless it is in use."""
        connection = self._own.pop(user, None)
        if connection is not None:
            connection.close()

    def discard(self, connection: Connection) -> None:
        """It is not to be used again."""
        connection.close()
        self._in_use.pop()

    def connect(self, path: Path) -> Connection:
        """A connection that is nobody else's, to this file or another. Raises `sqlite3.Error`."""
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode=rw", uri=True, timeout=self._deadline, isolation_level=None, check_same_thread=False
        )
        try:
            synchronous = "FULL" if self._durability == "power" else "NORMAL"
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            if sys.platform == "darwin" and self._durability == "power":
                connection.execute("PRAGMA fullfsync = ON")  # there, fsync alone does not reach the disk
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            connection.text_factory = _decode
        except BaseException:  # whatever kept it from being ready, it is not left open
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Close what is idle now, and the others when they come back. The last one of the last process folds the log
        in."""
        self._closed = True
        self._close_idle()

    def rest(self) -> None:
        """Close every connection, so that this process can fork. One in use is waited for, as long as it may take."""
        give_up = time.monotonic() + 2 * self._deadline
        while self._in_use and time.monotonic() < give_up:
            time.sleep(_LOOK)
        self._close_idle()

    def forked(self) -> None:
        """In the child: begin anew."""
        _inherited.extend((*self._idle, *self._own.values()))
        self._idle, self._own = [], {}
        self._in_use = []

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()
        for user in list(self._own):
            self.part(user)


def _before_fork() -> None:
    _forking.acquire()
    for pool in list(_pools):
        pool.rest()


def _after_fork_in_child() -> None:
    for pool in list(_pools):
        pool.forked()
    _forking.release()


os.register_at_fork(before=_before_fork, after_in_parent=_forking.release, after_in_child=_after_fork_in_child)
