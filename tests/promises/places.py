"""Where the promises are shown: sessions in memory and in SQLite, looked at through one manager or several."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import worlds
from sojourn import SessionConfig, open_store
from sojourn.blocking import run
from sojourn.store import Store
from sojourn.stores.memory import MemoryStore
from sojourn.waiting import TaskWaiting, ThreadWaiting

T = TypeVar("T")


class Place:
    """Where sessions live. Each manager stands for a process: in SQLite it has connections and locks of its own."""

    def __init__(self, name: str, folder: Path, world: worlds.World) -> None:
        self.name = name
        self.world = world
        self.path = folder / "sessions.db"
        self.url = f"sqlite:///{self.path}" + ("?durability=process" if name == "process" else "")
        self._memory = MemoryStore() if name == "memory" else None
        self._stores: list[Store] = []

    def store(self, config: SessionConfig | None = None) -> Store:
        """The store in memory, or another way into the file."""
        if self._memory is not None:
            return self._memory
        self._stores.append(open_store(self.url, config, world=self.world.name))
        return self._stores[-1]

    def sessions(self, **settings: Any) -> worlds.Sessions:
        """One more manager of the same sessions."""
        return self.world.sessions(self.store(settings.get("config")), **settings)

    async def pause(self, seconds: float) -> None:
        """Let the others go on."""
        await (TaskWaiting() if self.world is worlds.ASYNC else ThreadWaiting()).sleep(seconds)

    def close(self) -> None:
        for store in self._stores:
            run(store.close())


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
