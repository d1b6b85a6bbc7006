"""Where the promises are shown: sessions in memory, in SQLite, in Valkey, in PostgreSQL, looked at through one manager
or several."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import worlds
from sojourn import SessionConfig, open_store
from sojourn.store import Store
from sojourn.stores.memory import MemoryStore
from sojourn.waiting import TaskWaiting, ThreadWaiting

T = TypeVar("T")

EMBEDDED, SHARED = ("memory", "power"), ("valkey", "postgres")
"""The places by name. "power" is SQLite as it is by default, and "process" is SQLite at that durability."""


class Place:
    """Where sessions live. Each manager stands for a process: it has connections and locks of its own.

    `url` is empty for sessions in memory. A store that several machines share goes by its own clock; where a test sets
    the time by hand, it goes by the test's.
    """

    def __init__(self, name: str, world: worlds.World, url: str = "") -> None:
        self.name = name
        self.world = world
        self.url = url
        self._memory = MemoryStore() if name == "memory" else None
        self._stores: list[Store] = []
        self._sessions: list[worlds.Sessions] = []

    @classmethod
    def in_a_file(cls, name: str, world: worlds.World, folder: Path) -> Place:
        """In a SQLite file: "power" or "process"."""
        return cls(name, world, f"sqlite:///{folder / 'sessions.db'}?durability={name}")

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return Path(self.url.removeprefix("sqlite:///").partition("?")[0])

    def store(self, config: SessionConfig | None = None, *, by_hand: bool = False) -> Store:
        """The store in memory, or another way into the one that is shared. `by_hand`: the test sets the time."""
        if self._memory is not None:
            return self._memory
        url = (
            f"{self.url}{'&' if '?' in self.url else '?'}clock=caller" if by_hand and self.name in SHARED else self.url
        )
        self._stores.append(open_store(url, config or worlds.PATIENT, world=self.world.name))
        return self._stores[-1]

    def sessions(self, **settings: Any) -> worlds.Sessions:
        """One more manager of the same sessions."""
        store = self.store(settings.get("config"), by_hand="clock" in settings)
        self._sessions.append(self.world.sessions(store, **settings))
        return self._sessions[-1]

    async def pause(self, seconds: float) -> None:
        """Let the others go on."""
        await (TaskWaiting() if self.world is worlds.ASYNC else ThreadWaiting()).sleep(seconds)

    async def leave(self) -> None:
        """The end of a test, in its world: close what it opened."""
        for sessions in self._sessions:
            await sessions.close()
        for store in self._stores:
            await store.close()


class Opened:
    """Opens managers of one world by URL, and closes them at the end of a test, in its world, however it ends."""

    def __init__(self, world: worlds.World) -> None:
        self.world = world
        self._all: list[worlds.Sessions] = []

    def __call__(self, url: str, **settings: Any) -> worlds.Sessions:
        self._all.append(self.world.sessions(url, **settings))
        return self._all[-1]

    async def leave(self) -> None:
        for sessions in self._all:
            await sessions.close()


class Meeting:
    """A point where so many callers of one world wait for each other, as often as they like."""

    def __init__(self, world: worlds.World, parties: int) -> None:
        self._threads = threading.Barrier(parties) if world is worlds.BLOCKING else None
        self._tasks = asyncio.Barrier(parties) if world is worlds.ASYNC else None

    async def __call__(self) -> None:
        if self._threads is not None:
            self._threads.wait(10)
        if self._tasks is not None:
            await asyncio.wait_for(self._tasks.wait(), 10)


Caller = Callable[[int], Coroutine[Any, Any, T]]


async def at_once(
    world: worlds.World, count: int, caller: Caller[T], *, expected: type[Exception] | tuple[type[Exception], ...] = ()
) -> list[T]:
    """What so many callers return who run at the same time. Raises what one of them raises, but for what is expected:
    that is left out."""
    results = await world.together([lambda number=number: caller(number) for number in range(count)])
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, expected):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]
