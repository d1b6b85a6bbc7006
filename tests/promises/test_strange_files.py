"""Promise 7, where the whole file is not what it should be: not ours, or of another version of Sojourn."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from stored import Stored, load, open_file, problems

from sojourn import StoreDamaged, StoreError, StoreUnavailable
from sojourn.stores.sqlite import _UPGRADES
from sojourn.stores.sqlite_file import SQLiteFile
from sojourn.stores.statements import read_statements

SCHEMA = read_statements("sqlite.sql")["schema"]


# --- Not our database ------------------------------------------------------------------------------------------------


def _other_application(path: Path, *, log: bool = False) -> None:
    with closing(sqlite3.connect(path)) as connection:
        if log:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript("CREATE TABLE session (handle TEXT); INSERT INTO session VALUES ('theirs');")


def _with_schema(number: int) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA user_version = {number}")
        for log in path.parent.glob("sessions.db-*"):
            log.unlink()

    return make


NOT_OURS: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "a byte": lambda path: path.write_bytes(b"x"),
    "text": lambda path: path.write_text("not a database, but a note of some length. " * 30),
    "garbage": lambda path: path.write_bytes(Random(1).randbytes(100_000)),
    "a header and garbage": lambda path: path.write_bytes(b"SQLite format 3\0" + Random(2).randbytes(20_000)),
    "zeros": lambda path: path.write_bytes(bytes(20_000)),
    "another application's": _other_application,
    "another application's, with a log": lambda path: _other_application(path, log=True),
    "of a newer schema": _with_schema(99),
    "of no schema": _with_schema(0),
    "of an impossible schema": _with_schema(-3),
}


@pytest.mark.parametrize("what", NOT_OURS)
def test_what_is_not_our_database(tmp_path: Path, stored: Stored, what: str) -> None:
    """A file that is empty, garbage, another application's or of a newer schema is refused, and not a byte of it is
    changed."""
    path = tmp_path / "sessions.db"
    if "schema" not in what:
        path.unlink()
    NOT_OURS[what](path)
    before = path.read_bytes()
    for _ in range(2):
        with pytest.raises(StoreDamaged, match=r"sessions\.db"):
            open_file(path)
    assert path.read_bytes() == before
    assert {file.name for file in tmp_path.glob("sessions.db-*")} <= {"sessions.db-door", "sessions.db-turn"}


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """A database in a folder that is not there, or that is a folder, is refused."""
    for path in (tmp_path / "nowhere" / "sessions.db", tmp_path):
        with pytest.raises((StoreUnavailable, StoreDamaged)):
            open_file(path)


# --- Upgrades --------------------------------------------------------------------------------------------------------

UPGRADES = (
    "ALTER TABLE session ADD COLUMN colour TEXT; UPDATE session SET colour = 'a; b';",
    "CREATE TABLE note (n INT); CREATE TRIGGER noted AFTER DELETE ON session BEGIN INSERT INTO note VALUES (1); END;",
)


def _file(path: Path, *upgrades: str, schema: str = SCHEMA) -> SQLiteFile:
    return SQLiteFile(path, schema, (*_UPGRADES, *upgrades), deadline=5)


def _ask(file: SQLiteFile, question: str) -> list[tuple[object, ...]]:
    with closing(file):
        return file.read(lambda connection: connection.execute(question).fetchall())


def test_an_older_schema_is_upgraded_in_place(tmp_path: Path, stored: Stored) -> None:
    """A database of an older schema is brought to the newest, step by step, with what is in it; once, however many open
    it, and an older version refuses it from then on."""
    path = tmp_path / "sessions.db"
    count = "SELECT count(*), count(colour), min(colour) FROM session"
    assert _ask(_file(path, UPGRADES[0]), count) == [(40, 40, "a; b")]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: _ask(_file(path, *UPGRADES), count), range(8))) == [[(40, 40, "a; b")]] * 8
    assert _ask(_file(path, *UPGRADES), "PRAGMA user_version") == [(len(_UPGRADES) + 3,)]
    assert _ask(_file(path, *UPGRADES), "SELECT count(*) FROM sqlite_schema WHERE name = 'noted'") == [(1,)]
    with pytest.raises(StoreDamaged, match="upgrade Sojourn"):
        open_file(path)
    assert _ask(_file(path, *UPGRADES), count) == [(40, 40, "a; b")]


def test_an_upgrade_that_fails_changes_nothing(tmp_path: Path, stored: Stored) -> None:
    """An upgrade is made as a whole or not at all."""
    path = tmp_path / "sessions.db"
    with pytest.raises(StoreError):
        _file(path, *UPGRADES, "CREATE TABLE note (n INT)")
    with open_file(path) as sessions:
        assert problems(sessions) == []
        assert [load(sessions, handle) for handle in stored] == [records[-1] for records in stored.values()]
