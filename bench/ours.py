"""Sojourn as a contender, blocking and async, in memory and on SQLite: the public API and nothing beneath it.

A touch is due at most once an interval, so its world has a clock that is moved by hand: far enough that each
session is due again when its turn comes round, and not so far that any expires.
"""

from __future__ import annotations

import time
from typing import Any

from sojourn import AsyncSessionManager, SessionConfig, SessionManager

from .contender import Contender
from .payloads import Payload, Session

LEVELS = {"power": "", "process": "?durability=process"}


class Clock:
    """A clock that moves a step at each touch; elsewhere the real one."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def _settings(clock: Clock, operation: str) -> dict[str, Any]:
    if operation != "touch":
        return {}
    return {"clock": clock, "config": SessionConfig(touch_interval=1.0, absolute_timeout=1e9)}


class _Sojourn(Contender):
    """What the colours have in common."""

    ours = True
    _other = SessionManager()

    def __init__(self, payload: Payload, operation: str = "read") -> None:
        super().__init__(payload, operation)
        self._clock = Clock()
        self._step = 1.5 / payload.population  # seconds; the touch interval is 1

    def unknown(self) -> str:
        return self._other.create_session()


class Sojourn(_Sojourn):
    """Blocking."""

    name = "Sojourn"

    def __init__(self, payload: Payload, operation: str = "read", url: str = "memory://") -> None:
        super().__init__(payload, operation)
        self._manager = SessionManager(url, **_settings(self._clock, operation))

    def create(self, data: Session) -> str:
        return self._manager.create_session(data=data)

    def load(self, sid: str) -> Session | None:
        return self._manager.get_session(sid)

    def read(self, sid: str) -> Any:
        with self._manager.session(sid) as session:
            return session[self.read_key]

    def change(self, sid: str, value: Any) -> None:
        with self._manager.session(sid) as session:
            session[self.change_key] = value

    def nested(self, sid: str, text: str) -> None:
        with self._manager.session(sid) as session:
            session[self.read_key][self.leaf] = text

    def touch(self, sid: str) -> None:
        self._clock.now += self._step
        with self._manager.session(sid):
            pass

    def end(self, sid: str) -> None:
        self._manager.end_session(sid)

    def miss(self, sid: str) -> None:
        assert self._manager.get_session(sid) is None

    def close(self) -> None:
        self._manager.close()


class AsyncSojourn(_Sojourn):
    """Async."""

    name = "Sojourn async"
    asynchronous = True

    def __init__(self, payload: Payload, operation: str = "read", url: str = "memory://") -> None:
        super().__init__(payload, operation)
        self._manager = AsyncSessionManager(url, **_settings(self._clock, operation))

    async def create(self, data: Session) -> str:
        return await self._manager.create_session(data=data)

    async def load(self, sid: str) -> Session | None:
        return await self._manager.get_session(sid)

    async def read(self, sid: str) -> Any:
        async with self._manager.session(sid) as session:
            return session[self.read_key]

    async def change(self, sid: str, value: Any) -> None:
        async with self._manager.session(sid) as session:
            session[self.change_key] = value

    async def nested(self, sid: str, text: str) -> None:
        async with self._manager.session(sid) as session:
            session[self.read_key][self.leaf] = text

    async def touch(self, sid: str) -> None:
        self._clock.now += self._step
        async with self._manager.session(sid):
            pass

    async def end(self, sid: str) -> None:
        await self._manager.end_session(sid)

    async def miss(self, sid: str) -> None:
        assert await self._manager.get_session(sid) is None

    async def close(self) -> None:
        await self._manager.close()


class SqliteSojourn(Sojourn):
    """Blocking, on SQLite."""

    lacks = ("touch", "nested", "end", "miss")

    def __init__(self, payload: Payload, path: str, level: str) -> None:
        super().__init__(payload, "change", f"sqlite:///{path}{LEVELS[level]}")


class SqliteAsyncSojourn(AsyncSojourn):
    """Async, on SQLite."""

    lacks = ("touch", "nested", "end", "miss")

    def __init__(self, payload: Payload, path: str, level: str) -> None:
        super().__init__(payload, "change", f"sqlite:///{path}{LEVELS[level]}")


MEMORY = (Sojourn, AsyncSojourn)
SQLITE = (SqliteSojourn, SqliteAsyncSojourn)
