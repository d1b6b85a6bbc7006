"""The SQLite store keeps the contract, in both worlds and at both durabilities."""

from __future__ import annotations

from pathlib import Path

import pytest

from sojourn import open_store
from sojourn.store import Durability, Store, World
from sojourn.testing import DurableStoreContract


class SQLiteContract(DurableStoreContract):
    durability: Durability

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "sessions.db"

    def open(self) -> Store:
        return open_store(f"sqlite:///{self.path}?durability={self.durability}&deadline=10", world=self.world)


class TestBlockingProcess(SQLiteContract):
    world: World = "blocking"
    durability: Durability = "process"


class TestBlockingPower(SQLiteContract):
    world: World = "blocking"
    durability: Durability = "power"


class TestAsyncProcess(SQLiteContract):
    world: World = "async"
    durability: Durability = "process"


class TestAsyncPower(SQLiteContract):
    world: World = "async"
    durability: Durability = "power"
