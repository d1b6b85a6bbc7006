"""Session stores for tests: in memory and in a file, with a hand-set clock, and stopped when the test is over."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sojourn import SessionStore, SessionStoreConfig
from sojourn.testing import Clock


class Opener:
    """Opens stores of one kind. Those in a file are all on the same file, as in several processes."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.path = folder / "sessions.db"
        self.clock = Clock()
        self._opened: list[SessionStore] = []

    def __call__(self, **settings: Any) -> SessionStore:
        """A store with these settings. No thread of its own comes in between, unless the settings say so."""
        config: dict[str, Any] = {"cleanup_interval": None, "backup_interval": None}
        if self.kind == "file":
            config |= {"persistence_path": self.path, "durability": "process"}
        store = SessionStore(SessionStoreConfig(**(config | settings)), clock=self.clock)
        self._opened.append(store)
        return store

    def tend(self, store: SessionStore) -> None:
        """What the store's thread does now and then."""
        store._shelf.tend()

    def stop(self) -> None:
        for store in self._opened:
            store.stop()


def opener(kind: str, folder: Path) -> Iterator[Opener]:
    """For a fixture."""
    made = Opener(kind, folder)
    yield made
    made.stop()
