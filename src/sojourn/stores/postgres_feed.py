"""The feed of the PostgreSQL store: a connection of its own that listens.

While it is open it says, again and again, that somebody watches; by the same question it finds out whether the server
still answers. Who began to write before anybody was known to watch may tell nobody, and is waited for.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from ..errors import StoreUnavailable
from ..store import Hint
from ..waiting import Waiting
from .postgres_listener import Listener
from .postgres_schema import quoted
from .postgres_steps import step
from .postgres_telling import hints_in
from .postgres_wire import Failed, Refusal
from .sql import WATCH_AGAIN, WATCHED_FOR

__all__ = ["PostgresFeed"]

_BEAT: Final = 3.0  # seconds between two questions to the server
_ANSWERS: Final = 5.0  # seconds within which it answers at the latest
_PAUSE: Final = 0.002  # seconds between two looks whether those are done who began to write before
_LEAST: Final = 1.0  # seconds that the server has for an answer, if the deadline is shorter
_CLOSED: Final = "the feed was closed"
_ALL: Final = Hint("")

_feeds: weakref.WeakSet[PostgresFeed] = weakref.WeakSet()
_inherited: list[Listener] = []  # of the parent: not touched here, not even by the garbage collector


class PostgresFeed:
    """Tells of all sessions of a schema. ``connect`` makes a connection, within the deadline; it raises as an operation
    of the store."""

    def __init__(
        self, connect: Callable[[], Awaitable[Listener]], channel: str, deadline: float, waiting: Waiting
    ) -> None:
        self._waiting = waiting
        self._connect = connect
        self._channel = channel
        self._deadline = deadline
        self._wire: Listener | None = None
        self._problem = "the feed is not open"
        self._lock = threading.Lock()
        self._inside = False
        self._beat_at = 0.0
        self._answer_by = 0.0  # 0: nothing was asked
        self._looks: list[float] = []
        _feeds.add(self)

    async def open(self) -> None:
        if self._problem == _CLOSED:
            raise StoreUnavailable(_CLOSED)
        wire = await self._connect()
        try:
            until = time.monotonic() + self._deadline
            await wire.execute(f"LISTEN {quoted(self._channel)}", until)
            await wire.run([step("watch", hold=WATCHED_FOR)], until)
            self._looks = await self._see_out(wire, until)
            await wire.execute(_SETTINGS, until)
        except BaseException as error:
            wire.close()
            if isinstance(error, (Failed, Refusal)):
                raise StoreUnavailable(f"{error}: it cannot be listened to") from error
            raise
        with self._lock:
            if self._problem == _CLOSED:
                wire.close()
                raise StoreUnavailable(_CLOSED)
            self._wire, self._problem = wire, ""
        self._beat_at = time.monotonic() + _BEAT

    async def follow(self, handles: Iterable[str], *, everything: bool = False) -> bool:
        """It tells of all anyway."""
        self._check()
        return True

    async def forget(self, handles: Iterable[str]) -> None:
        """It tells of all anyway."""
        self._check()

    async def hints(self, timeout: float) -> list[Hint]:
        until = time.monotonic() + timeout
        with self._lock:
            wire = self._check()
            self._inside = True
        try:
            return await self._wait(wire, until)
        except (Failed, Refusal) as error:
            self._problem = self._problem or f"{error}: the feed is over"
            raise StoreUnavailable(self._problem) from error
        finally:
            with self._lock:
                self._inside = False
                if self._problem:
                    wire.close()

    async def close(self) -> None:
        with self._lock:
            self._problem = _CLOSED
            wire, self._wire = self._wire, None
            if wire is None:
                return
            if self._inside:
                wire.wake()  # whoever is inside closes it
            else:
                wire.close()

    # --- Parts ---------------------------------------------------------------------------------------------------

    def _check(self) -> Listener:
        if self._wire is None or self._problem:
            raise StoreUnavailable(self._problem)
        return self._wire

    async def _see_out(self, wire: Listener, until: float) -> list[float]:
        """Wait for those who began to write before. If that takes long, nothing may be missed of them either: returns
        when to look at everything. (It may be no writer at all, but a backup, which takes hours.)"""
        early: set[str] | None = None
        while True:
            (rows,) = await wire.run([step("not_aware")], until)
            now = {transaction for (transaction,) in rows}
            early = now if early is None else early & now
            if not early:
                return []
            if time.monotonic() + self._deadline / 2 > until:
                return [until + after * self._deadline for after in (0.0, 1.0, 10.0)]
            await self._waiting.sleep(_PAUSE)

    async def _wait(self, wire: Listener, until: float) -> list[Hint]:
        while True:
            if not self._answer_by and time.monotonic() >= self._beat_at:
                wire.ask(step("watch_again", hold=WATCHED_FOR, patience=WATCH_AGAIN))
                self._answer_by = time.monotonic() + min(max(self._deadline, _LEAST), _ANSWERS)
            said = await wire.heard(min(until, self._answer_by or self._beat_at, *self._looks))
            hints = [hint for payload in said for hint in hints_in(payload)]
            if self._problem:
                raise StoreUnavailable(self._problem)
            now = time.monotonic()
            if self._answer_by and wire.answer is not None:
                hints += [_ALL for (over,) in wire.answer if over]  # nobody was known to watch for a while
                self._answer_by, self._beat_at = 0.0, now + _BEAT
            elif self._answer_by and now >= self._answer_by:
                raise Failed("the server gave no answer", sent=False)
            if self._looks and now >= self._looks[0]:
                self._looks.pop(0)
                hints.append(_ALL)
            if hints or now >= until:
                return hints

    def forked(self) -> None:
        """In the child of a fork: the connection is the parent's."""
        self._lock = threading.Lock()
        wire, self._wire = self._wire, None
        self._problem = "the feed is the parent's"
        if wire is not None:
            _inherited.append(wire)
            if not wire.broken:
                wire.abandon()


_SETTINGS: Final = (
    "SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0; "
    "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"
)


def _after_fork() -> None:
    for feed in list(_feeds):
        feed.forked()


os.register_at_fork(after_in_child=_after_fork)
