"""What the promises are shown on: sessions in memory and in SQLite, looked at through one manager or several."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import worlds

from sojourn import open_store
from sojourn.blocking import run
from sojourn.store import Store
from sojourn.stores.memory import MemoryStore


class Place:
    """Where sessions live. Each manager stands for a process: in SQLite it has connections and locks of its own."""

    def __init__(self, name: str, folder: Path, world: worlds.World) -> None:
        self.name = name
        self.world = world
        self.path = folder / "sessions.db"
        self.url = f"sqlite:///{self.path}" + ("?durability=process" if name == "process" else "")
        self._memory = MemoryStore() if name == "memory" else None
        self._stores: list[Store] = []

    def store(self) -> Store:
        """The store in memory, or another way into the file."""
        if self._memory is not None:
            return self._memory
        self._stores.append(open_store(self.url, world=self.world.name))
        return self._stores[-1]

    def sessions(self, **settings: Any) -> worlds.Sessions:
        """One more manager of the same sessions."""
        return self.world.sessions(self.store(), **settings)

    def close(self) -> None:
        for store in self._stores:
            run(store.close())


@pytest.fixture(params=["memory", "power"])
def place(request: pytest.FixtureRequest, tmp_path: Path, world: worlds.World) -> Iterator[Place]:
    """Sessions in memory, and in a file as they are by default."""
    place = Place(request.param, tmp_path, world)
    yield place
    place.close()
