"""The SQLite store keeps the contract, in both worlds and at both durabilities."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sql_contract import SQLContract

from sojourn import open_store
from sojourn.record import Committed, Record
from sojourn.store import HISTORY_AGE, Durability, Store, World
from sojourn.stores import sqlite
from sojourn.stores.sealing import seal
from sojourn.stores.sql import columns
from sojourn.stores.statements import read_statements
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
        store = open_store(f"sqlite:///{path}?deadline=10")
        assert await store.load(record.handle) == record
        later = successor(record)
        assert isinstance(await store.commit(record, later, NOW), Committed)
        assert await store.verify() == []
        assert [change.handle for change in await store.end_matching(NOW)] == [record.handle]
        await store.close()

    BLOCKING.run(body())


def test_an_upgraded_file_is_as_a_new_one(tmp_path: Path) -> None:
    """A file of the first schema, upgraded, has the tables, columns, indexes and triggers of a new one."""
    paths = tmp_path / "old.db", tmp_path / "new.db"
    with closing(sqlite3.connect(paths[0])) as connection:
        connection.executescript(_FIRST_SCHEMA)
    found = []
    for path in paths:
        BLOCKING.run(open_store(f"sqlite:///{path}").close())
        with closing(sqlite3.connect(path)) as connection:
            names = connection.execute("SELECT type, name, tbl_name FROM sqlite_schema ORDER BY 1, 2").fetchall()
            columns = [connection.execute(f"PRAGMA table_xinfo({name})").fetchall() for _, name, _ in names]
            triggers = connection.execute(
                "SELECT sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY sql"
            ).fetchall()
            found.append((names, columns, triggers, connection.execute("PRAGMA user_version").fetchone()))
    assert found[0] == found[1]


def test_a_line_ends_with_its_session(tmp_path: Path) -> None:
    """Nothing is left of who waited for a session that ended, nor, after a purge, of who did not come again."""
    path = tmp_path / "sessions.db"
    ask = "SELECT count(*) FROM line"

    async def body() -> None:
        store = open_store(f"sqlite:///{path}?deadline=10")
        records = [new_record(), new_record()]
        for record in records:
            await store.create(record, NOW)
            for name in ("one", "two", "three"):
                await store.lease(record.handle, 0, 5.0, NOW, name=name, patience=5.0)
        await store.end([records[0].handle], "ended", NOW)
        left = [store._file.read(lambda connection: connection.execute(ask).fetchone()[0])]
        await store.purge_expired(NOW + 6, 10)
        left.append(store._file.read(lambda connection: connection.execute(ask).fetchone()[0]))
        assert left == [3, 0]
        await store.close()

    BLOCKING.run(body())


def test_history_leaves_in_steps(tmp_path: Path) -> None:
    """A purge after a long time removes what is too old some at a time, and then has nothing to write."""
    path = tmp_path / "sessions.db"

    async def body() -> None:
        store = open_store(f"sqlite:///{path}?deadline=10")
        await store.create(new_record(), NOW)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(
                "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2500) "
                "INSERT INTO change (id, kind, at, handle) SELECT n, 'rotated', n, n FROM n"
            )
            connection.commit()
            kept = []
            for _ in range(4):
                await store.purge_expired(NOW + 2 * HISTORY_AGE, 0)
                kept += connection.execute("SELECT count(*) FROM change").fetchall()
            assert kept == [(1501,), (501,), (1,), (1,)]
        assert await store.position() == 2501
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


@pytest.mark.parametrize("name", ["load", "walk", "summaries", "summaries_of_user", "user_oldest_first"])
def test_no_list_reads_all_sessions(tmp_path: Path, name: str) -> None:
    """A page of a list is found by its index, in its order, and one user's sessions by the user's: also in a file of
    which SQLite has no statistics."""
    BLOCKING.run(open_store(f"sqlite:///{tmp_path}/sessions.db").close())
    statement = read_statements("sqlite.sql")[name]
    with closing(sqlite3.connect(tmp_path / "sessions.db")) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {statement}", [None] * statement.count("?")).fetchall()
    plan = "\n".join(row[3] for row in rows)
    of_user = "user" in name
    assert ("session_by_user" if of_user else "sqlite_autoindex_session_1") in plan
    assert of_user or "TEMP B-TREE" not in plan


@pytest.mark.parametrize("name", ["by_activity_descending", "by_activity_ascending"])
def test_the_last_activity_is_an_index(tmp_path: Path, name: str) -> None:
    """A page of sessions by their last activity begins where it is asked to, and only those of one moment are sorted:
    also in a file of which SQLite has no statistics."""
    BLOCKING.run(open_store(f"sqlite:///{tmp_path}/sessions.db").close())
    values = {"accessed_at": NOW, "handle": "", "now": NOW, "limit": 50}
    with closing(sqlite3.connect(tmp_path / "sessions.db")) as connection:
        rows = connection.execute(f"EXPLAIN QUERY PLAN {read_statements('sqlite.sql')[name]}", values).fetchall()
    plan = "\n".join(row[3] for row in rows)
    assert re.search(r"SEARCH session USING INDEX session_by_access \(accessed_at[<>]", plan)
    assert re.search(r"TEMP B-TREE FOR (RIGHT PART|LAST TERM) OF ORDER BY", plan)
