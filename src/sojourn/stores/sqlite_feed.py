"""The feed of the SQLite store. Nobody can push from one process to another through a file, so it looks, often: whether
anything was written costs two microseconds to ask (`PRAGMA data_version`), and only then is it asked what.

What commits write is in `news`, as long as `watching` says that somebody watches; what happened in the life of sessions
is in the history. If either was trimmed before it was read, or nobody was known to watch for a while, the feed says
that one should look at everything.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Iterable
from sqlite3 import Connection
from typing import Final

from ..errors import StoreError, StoreUnavailable
from ..store import Hint
from ..waiting import Background, Waiting
from .sql import WATCH_AGAIN, WATCHED_FOR, names_in
from .sqlite_file import SQLiteFile
from .statements import read_statements

__all__ = ["SQLiteFeed"]

_SQL: Final = read_statements("sqlite.sql")
_PAUSE: Final = 0.005  # seconds between two looks
_MOST: Final = 1000  # hints of a kind at once; more become one, to look at everything
_ALL: Final = Hint("")

_feeds: weakref.WeakSet[SQLiteFeed] = weakref.WeakSet()


class SQLiteFeed:
    """Tells of all sessions of a file."""

    def __init__(self, file: SQLiteFile, waiting: Waiting) -> None:
        self._file = file
        self._waiting = waiting
        self._problem = "the feed is not open"
        self._watched_until = 0.0
        self._renewing = False
        self._renewal: Background | None = None  # a task that nobody holds may vanish
        self._lapsed = False
        self._connection: Connection | None = None  # the one that was last looked at
        self._seen = (0, 0)  # the newest place in the news and in the history
        self._data_version = 0
        _feeds.add(self)

    async def open(self) -> None:
        if self._problem == _CLOSED:
            raise StoreUnavailable(_CLOSED)
        await self._watch()
        self._seen = self._file.read(_newest, self)
        if self._problem == _CLOSED:  # meanwhile
            self._check()
        self._lapsed, self._problem = False, ""

    async def follow(self, handles: Iterable[str], *, everything: bool = False) -> bool:
        """It tells of all anyway."""
        self._check()
        return True

    async def forget(self, handles: Iterable[str]) -> None:
        """It tells of all anyway."""
        self._check()

    async def hints(self, timeout: float) -> list[Hint]:
        until = time.monotonic() + timeout
        while True:
            self._check()
            if not self._renewing and time.time() > self._watched_until - WATCH_AGAIN:
                self._renewing = True
                self._renewal = self._waiting.start(self._renew, "sojourn-watch")
            try:
                said = self._file.read(self._look, self)
            except StoreError as error:
                self._fail(str(error))
                raise StoreUnavailable(self._problem) from error
            left = until - time.monotonic()
            if said or left <= 0:
                return said
            await self._waiting.sleep(min(_PAUSE, left))

    async def close(self) -> None:
        self._problem = _CLOSED
        self._file.part(self)

    # --- Parts ---------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        if self._problem:
            self._file.part(self)
            raise StoreUnavailable(self._problem)

    def _fail(self, problem: str) -> None:
        """From here on it says nothing more."""
        self._problem = self._problem or problem
        self._file.part(self)  # (or the one who looks just now parts with it, as soon as it sees that)

    def forked(self) -> None:
        """In the child of a fork: it is the parent's, and so is who says just now that somebody watches."""
        self._problem, self._renewing = "the feed is the parent's", False

    def _look(self, connection: Connection) -> list[Hint]:
        """What there is to say, if anything was written since the last look."""
        lapsed, self._lapsed = self._lapsed, False
        (data_version,) = connection.execute("PRAGMA data_version").fetchone()
        if connection is self._connection and data_version == self._data_version:
            return [_ALL] if lapsed else []
        # Both lists as of one moment. What is written from here on is met at the next look.
        self._connection, self._data_version = connection, data_version
        connection.execute("BEGIN")
        news = connection.execute(_SQL["news"], (self._seen[0], _MOST)).fetchall()
        told = connection.execute(_SQL["fact_news"], (self._seen[1], _MOST)).fetchall()
        newest = _newest(connection)
        connection.execute("COMMIT")
        whole = all(
            (rows[-1][0] if rows else seen) == last and (not rows or rows[0][0] == seen + 1)
            for rows, seen, last in zip((news, told), self._seen, newest, strict=True)
        )
        self._seen = newest
        if lapsed or not whole:
            return [_ALL]
        return _hints(news, told)

    async def _renew(self) -> None:
        """In the background, so that whoever waits for hints does not wait for a writer."""
        try:
            await self._watch()
        except StoreError as error:
            self._fail(str(error))
        finally:
            self._renewing = False

    async def _watch(self) -> None:
        """Say that somebody watches, unless another has said so just now."""

        def act(connection: Connection) -> tuple[float, bool]:
            now = time.time()
            row = connection.execute(_SQL["watched"]).fetchone()
            until = row[0] if row else 0.0
            lapsed = until <= now
            if until < now + WATCH_AGAIN + 1:  # (a little earlier than it is asked, which is the usual case)
                until = now + WATCHED_FOR
                connection.execute(_SQL["watch"], (until,))
            return until, lapsed

        self._watched_until, lapsed = await self._file.write(act)
        self._lapsed |= lapsed


_CLOSED: Final = "the feed was closed"


def _newest(connection: Connection) -> tuple[int, int]:
    place, position = connection.execute(_SQL["newest"]).fetchone()
    return place or 0, position or 0


def _hints(
    news: list[tuple[int, str, str | None, bytes, bytes | None]], told: list[tuple[int, str, str, str | None]]
) -> list[Hint]:
    """What was committed, and what happened to sessions. A fact that a commit has brought is told with it, or with a
    later one of the session."""
    lives = [
        Hint(handle, user_id, facts=True, ended=kind == "ended")
        for _, kind, handle, user_id in told
        if kind in ("created", "ended")
    ]
    brought = {handle: user_id for _, kind, handle, user_id in told if kind not in ("created", "ended")}
    said = []
    for _, handle, user_id, version, names in reversed(news):
        said.append(Hint(handle, user_id, version, names_in(names), handle in brought))
        brought.pop(handle, None)
    lives += [Hint(handle, user_id, facts=True) for handle, user_id in brought.items()]
    return [*reversed(said), *lives]


def _after_fork() -> None:
    for feed in list(_feeds):
        feed.forked()


os.register_at_fork(after_in_child=_after_fork)
