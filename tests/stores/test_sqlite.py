"""The SQLite store keeps the contract, in both worlds and at both durabilities."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sql_contract import SQLContract

from sojourn import open_store
from sojourn.record import Committed, Record
from sojourn.store import Durability, Store, World
from sojourn.stores import sqlite
from sojourn.stores.sealing import seal
from sojourn.stores.sql import columns
from sojourn.testing import NOW, new_record, successor
from worlds import BLOCKING


class SQLiteContract(SQLContract):
    module = sqlite
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


def test_an_older_file_is_upgraded(tmp_path: Path) -> None:
    """A database of the first schema is brought up to date when it is opened, and holds what it held; and all of it can
    end at once."""
    path, record = tmp_path / "sessions.db", new_record(user_id="ada")
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(_FIRST_SCHEMA)
        connection.execute(f"INSERT INTO session VALUES ({','.join('?' * 11)})", _first_row(record))
        connection.commit()

    async def body() -> None:
        store = open_store(f"sqlite:///{path}")
        assert await store.load(record.handle) == record
        later = successor(record)
        assert isinstance(await store.commit(record, later, NOW), Committed)
        assert await store.verify() == []
        assert [change.handle for change in await store.end_matching(NOW)] == [record.handle]
        await store.close()

    BLOCKING.run(body())


def _first_row(record: Record) -> tuple[object, ...]:
    return (record.handle, *columns(record), seal(record))


_FIRST_SCHEMA = """
CREATE TABLE session (
    handle TEXT NOT NULL PRIMARY KEY, version BLOB NOT NULL, generation INTEGER NOT NULL, user_id TEXT,
    authenticated_at REAL NOT NULL, accessed_at REAL NOT NULL, idle_for REAL NOT NULL, ends_at REAL NOT NULL,
    expires_at REAL GENERATED ALWAYS AS (min(accessed_at + idle_for, ends_at)) VIRTUAL,
    fence INTEGER NOT NULL, leased_until REAL NOT NULL, body BLOB NOT NULL
);
CREATE INDEX session_by_deadline ON session (expires_at);
CREATE INDEX session_by_access ON session (accessed_at);
CREATE INDEX session_by_user ON session (user_id) WHERE user_id IS NOT NULL;
CREATE TABLE change (
    position INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL, kind TEXT NOT NULL, at REAL NOT NULL,
    handle TEXT NOT NULL, user_id TEXT, reason TEXT
);
CREATE TABLE held (sessions INTEGER NOT NULL);
INSERT INTO held VALUES (0);
CREATE TRIGGER session_added AFTER INSERT ON session BEGIN UPDATE held SET sessions = sessions + 1; END;
CREATE TRIGGER session_removed AFTER DELETE ON session BEGIN UPDATE held SET sessions = sessions - 1; END;
PRAGMA application_id = 1399810670;
PRAGMA user_version = 1;
"""
