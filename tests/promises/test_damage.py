"""Promise 7: damage is noticed and reported, and never served as data; the other sessions live."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from random import Random

import pytest
from stored import Stored, killed, load, open_file, problems, remove
from writing import add_one

from sojourn import DamagedRecord, Handle, SessionManager, SessionNotFound, StoreDamaged, StoreError
from sojourn.record import Record, replace

FLIPS, FLIPS_QUICK = 3000, 150


# --- A flipped bit ---------------------------------------------------------------------------------------------------


def _flip(path: Path, whole: bytes, random: Random) -> None:
    data = bytearray(whole)
    data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    path.write_bytes(data)


def _look(sessions: SessionManager, stored: Stored) -> Counter[str]:
    """Look at every session, and count what was found. Fails if one is served that is not as it was stored, or if
    something is wrong and `verify` does not say so."""
    seen: Counter[str] = Counter()
    for handle, (*_, record) in stored.items():
        try:
            found = load(sessions, handle)
        except StoreError:
            seen["refused"] += 1
        else:
            seen["missing" if found is None else "served"] += 1
            assert found is None or _as_stored(found, record)
    seen["reported"] = bool(problems(sessions))
    assert seen["reported"] or not (seen["refused"] or seen["missing"])
    return seen


def _as_stored(found: Record, record: Record) -> bool:
    """One thing stands outside of the body, and so of its check: the time of the last activity. Damaged, it can only be
    later, and the session then lives until the end of its absolute timeout at most."""
    return found.accessed_at >= record.accessed_at and replace(found, accessed_at=record.accessed_at) == record


def _use(sessions: SessionManager, handle: Handle) -> None:
    """What one does with sessions, damaged or not, is done or refused in the words of this library."""
    for operation in (
        lambda: sessions.update(handle, "number", add_one),
        lambda: sessions.list_sessions("ada"),
        lambda: sessions.end_session(handle),
        lambda: sessions.create_session("eve"),
        sessions.purge_expired,
        sessions.end_sessions,
    ):
        with suppress(StoreError, SessionNotFound):
            operation()


def _flip_and_look(tmp_path: Path, stored: Stored, flips: int) -> None:
    path = tmp_path / "sessions.db"
    whole = path.read_bytes()
    seen: Counter[str] = Counter()
    for seed in range(flips):
        random = Random(seed)
        remove(path)
        _flip(path, whole, random)
        try:
            with open_file(path) as sessions:
                seen += _look(sessions, stored)
                _use(sessions, Handle(random.choice(list(stored))))
        except StoreDamaged:
            seen["not opened"] += 1
    print(dict(seen))
    assert seen["reported"] > flips / 4
    assert seen["served"] > flips * 40 * 0.9


def test_a_flipped_bit(tmp_path: Path, stored: Stored) -> None:
    """A bit is flipped anywhere in a database: each session is served exactly as it was stored, or refused; one that
    cannot be found is reported; the others live."""
    _flip_and_look(tmp_path, stored, FLIPS_QUICK)


@pytest.mark.battery
@pytest.mark.soak
def test_a_flipped_bit_thousands_of_times(tmp_path: Path, stored: Stored) -> None:
    """The same, 3,000 times."""
    _flip_and_look(tmp_path, stored, FLIPS)


@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_a_damaged_log(tmp_path: Path, stored: Stored, damage: str) -> None:
    """The log that a killed process left is damaged: each session is as one of its commits left it, whole. (What came
    after the damage is lost: SQLite cannot tell it from a write that was never finished.)"""
    path, log = killed(tmp_path / "sessions.db"), Path(f"{killed(tmp_path / 'sessions.db')}-wal")
    database, whole = path.read_bytes(), log.read_bytes()
    for seed in range(60):
        random = Random(seed)
        remove(path)
        path.write_bytes(database)
        if damage == "flipped":
            _flip(log, whole, random)
        else:
            log.write_bytes(whole[: random.randrange(len(whole))])
        with open_file(path) as sessions:
            assert problems(sessions) == []
            later = True
            for handle, records in stored.items():
                found = load(sessions, handle)
                assert found is None or found in records
                assert later or found is None, "of two sessions the later one was kept"
                later = found is not None and found == records[-1]
            sessions.create_session("eve")
    remove(path)
    path.write_bytes(database)
    log.write_bytes(whole)
    with open_file(path) as sessions:
        assert [load(sessions, handle) for handle in stored] == [records[-1] for records in stored.values()]


def test_a_truncated_database(tmp_path: Path, stored: Stored) -> None:
    """A database that ends too early is refused at the opening, or the sessions on what is left are served and the
    others refused."""
    path = tmp_path / "sessions.db"
    whole = path.read_bytes()
    seen: Counter[str] = Counter()
    for seed in range(60):
        remove(path)
        path.write_bytes(whole[: Random(seed).randrange(len(whole))])
        try:
            with open_file(path) as sessions:
                seen += _look(sessions, stored)
                _use(sessions, Handle(next(iter(stored))))
        except StoreDamaged:
            seen["not opened"] += 1
    assert seen["not opened"]
    assert seen["served"]


# --- One damaged record ----------------------------------------------------------------------------------------------

_OTHER_BYTE = "iif(substr(body, 41, 1) = x'ff', x'00', x'ff')"
IN_THE_BODY = {  # what is put together of parts would be text, which is refused as such
    "another byte": f"CAST(substr(body, 1, 40) || {_OTHER_BYTE} || substr(body, 42) AS BLOB)",
    "cut": "substr(body, 1, 30)",
    "empty": "x''",
    "of another format": "CAST(x'07' || substr(body, 2) AS BLOB)",
    "text": "CAST('no bytes' AS TEXT)",
    "another session's": "(SELECT body FROM session AS other ORDER BY accessed_at LIMIT 1)",
}
IN_A_COLUMN = {
    "version": "x'0102030405060708'",
    "generation": "generation + 1",
    "ends_at": "1.0",
    "idle_for": "'soon'",
    "user_id": "'mallory'",
    "accessed_at": "accessed_at - 1",
    "fence": "7",
}


def _damage(path: Path, handle: str, column: str, value: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"UPDATE session SET {column} = {value} WHERE handle = ?", (handle,))


@pytest.mark.parametrize(
    "column_and_value", [("body", value) for value in IN_THE_BODY.values()], ids=IN_THE_BODY.keys()
)
def test_a_damaged_record(tmp_path: Path, stored: Stored, column_and_value: tuple[str, str]) -> None:
    """A damaged record is refused to everybody who asks for it, and reported; it is missing in lists, which show the
    others; it can be ended by its handle, and then all is well."""
    path, handle = tmp_path / "sessions.db", Handle(list(stored)[-1])
    with open_file(path) as sessions:
        _damage(path, handle, *column_and_value)
        for operation in (
            lambda: sessions.get_session(handle),
            lambda: sessions.is_session_active(handle),
            lambda: sessions.update(handle, "number", add_one),
            lambda: sessions.session(handle).__enter__(),
        ):
            with pytest.raises(DamagedRecord) as caught:
                operation()
            assert caught.value.handle == handle
        assert [problem for problem in problems(sessions) if handle in problem]
        assert {session.handle for session in sessions.list_sessions()} == stored.keys() - {handle}
        sessions.end_session(handle)
        assert sessions.get_session(handle) is None
        assert problems(sessions) == []
        assert _look(sessions, {other: stored[other] for other in stored if other != handle})["served"] == 39


@pytest.mark.parametrize("column", IN_A_COLUMN)
def test_columns_that_disagree_with_the_body(tmp_path: Path, stored: Stored, column: str) -> None:
    """What stands beside the body, so that it can be searched and compared, is checked against it; such a record, too,
    can be ended."""
    path, handle = tmp_path / "sessions.db", Handle(next(iter(stored)))
    with open_file(path) as sessions:
        _damage(path, handle, column, IN_A_COLUMN[column])
        assert [problem for problem in problems(sessions) if handle in problem]
        if column not in ("user_id", "fence", "idle_for"):  # a commit compares these
            with pytest.raises(DamagedRecord):
                sessions.update(handle, "number", add_one)
        sessions.end_session(handle)
        assert problems(sessions) == []
        assert sessions.get_session(handle) is None


def test_a_record_that_is_damaged_while_it_is_worked_on(tmp_path: Path, stored: Stored) -> None:
    """Damage between load and commit: the writer hears of it, and nothing is written."""
    path, handle = tmp_path / "sessions.db", Handle(next(iter(stored)))
    with open_file(path) as sessions:
        block = sessions.session(handle)
        block.__enter__()["number"] = 7
        _damage(path, handle, "version", IN_A_COLUMN["version"])
        _damage(path, handle, "body", IN_THE_BODY["cut"])
        with pytest.raises(DamagedRecord):
            block.__exit__(None, None, None)
        with pytest.raises(DamagedRecord):
            sessions.get_session(handle)


def test_an_index_that_disagrees_with_its_table(tmp_path: Path, stored: Stored) -> None:
    """A row that an index does not know could not be removed, and would stop every sweep: the index is built anew."""
    path, handle = tmp_path / "sessions.db", Handle(next(iter(stored)))
    for statement in ("DROP", "CREATE"):  # SQLite is told for a while that there is no such index
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            if statement == "DROP":
                index = connection.execute("SELECT * FROM sqlite_schema WHERE name = 'session_by_user'").fetchone()
                connection.execute("DELETE FROM sqlite_schema WHERE name = 'session_by_user'")
            else:
                connection.execute("UPDATE session SET user_id = 'mallory' WHERE handle = ?", (handle,))
                connection.execute("INSERT INTO sqlite_schema VALUES (?, ?, ?, ?, ?)", index)
    with open_file(path) as sessions:
        assert problems(sessions)
        sessions.end_session(handle)
        assert problems(sessions) == []
        assert sessions.end_sessions() == 39
