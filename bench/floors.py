"""The floors: the least that does the job, written with nothing but the standard library and msgspec.

In memory: a dict of MessagePack blobs, decoded and encoded whole (isolated: two loads share nothing), and
for context a dict of dicts, which is not isolated: every caller holds the same object, and "commit" means
nothing.

On SQLite (WAL, one table, one row a session): *naive*, select, decode, change, encode, update, each
statement by itself, so that a writer in between is lost; *correct*, the same within BEGIN IMMEDIATE; and
*blob only*, which writes a blob that was ready: the driver's own floor. None of them keeps a deadline with
what it writes, hashes a secret or checks what it read.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from typing import Any

import msgspec

from .contender import IDLE_TIMEOUT, Contender
from .payloads import Payload, Session

encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder().decode

SYNCHRONOUS = {"power": "FULL", "process": "NORMAL"}


class Blobs(Contender):
    """dict of MessagePack blobs."""

    name = "floor: dict of blobs"
    floor = True

    def __init__(self, payload: Payload, operation: str = "read") -> None:
        super().__init__(payload, operation)
        self._blobs: dict[str, bytes] = {}
        self._deadlines: dict[str, float] = {}

    def create(self, data: Session) -> str:
        sid = secrets.token_urlsafe(32)
        self._blobs[sid] = encode(data)
        return sid

    def read(self, sid: str) -> Any:
        return decode(self._blobs[sid])[self.read_key]

    def change(self, sid: str, value: Any) -> None:
        data = decode(self._blobs[sid])
        data[self.change_key] = value
        self._blobs[sid] = encode(data)

    def nested(self, sid: str, text: str) -> None:
        data = decode(self._blobs[sid])
        data[self.read_key][self.leaf] = text
        self._blobs[sid] = encode(data)

    def touch(self, sid: str) -> None:
        decode(self._blobs[sid])
        self._deadlines[sid] = time.time() + IDLE_TIMEOUT

    def end(self, sid: str) -> None:
        self._blobs.pop(sid, None)

    def miss(self, sid: str) -> None:
        assert self._blobs.get(sid) is None

    def load(self, sid: str) -> Any:
        return decode(self._blobs[sid])

    def unknown(self) -> str:
        return secrets.token_urlsafe(32)


class SharedDicts(Contender):
    """dict of dicts: everybody gets the same object."""

    name = "dict of dicts"

    def __init__(self, payload: Payload, operation: str = "read") -> None:
        super().__init__(payload, operation)
        self._sessions: dict[str, Session] = {}
        self._deadlines: dict[str, float] = {}

    def create(self, data: Session) -> str:
        sid = secrets.token_urlsafe(32)
        self._sessions[sid] = dict(data)
        return sid

    def read(self, sid: str) -> Any:
        return self._sessions[sid][self.read_key]

    def change(self, sid: str, value: Any) -> None:
        self._sessions[sid][self.change_key] = value

    def nested(self, sid: str, text: str) -> None:
        self._sessions[sid][self.read_key][self.leaf] = text

    def touch(self, sid: str) -> None:
        if sid in self._sessions:
            self._deadlines[sid] = time.time() + IDLE_TIMEOUT

    def end(self, sid: str) -> None:
        self._sessions.pop(sid, None)

    def miss(self, sid: str) -> None:
        assert self._sessions.get(sid) is None

    def load(self, sid: str) -> Session:
        return self._sessions[sid]

    def unknown(self) -> str:
        return secrets.token_urlsafe(32)


def connect(path: str, level: str) -> sqlite3.Connection:
    """A connection in autocommit, WAL, at this durability, with a busy wait of 30 s; the table exists."""
    connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={SYNCHRONOUS[level]}")
    connection.execute("CREATE TABLE IF NOT EXISTS sessions (id TEXT PRIMARY KEY, data BLOB NOT NULL)")
    return connection


class RawSqlite(Contender):
    """What the three have in common."""

    floor = True
    lacks = ("touch", "nested", "end", "miss")

    def __init__(self, payload: Payload, path: str, level: str) -> None:
        super().__init__(payload, "change")
        self._db = connect(path, level)

    def create(self, data: Session) -> str:
        sid = secrets.token_urlsafe(32)
        self._db.execute("INSERT INTO sessions VALUES (?, ?)", (sid, encode(data)))
        return sid

    def load(self, sid: str) -> Any:
        return decode(self._db.execute("SELECT data FROM sessions WHERE id = ?", (sid,)).fetchone()[0])

    def read(self, sid: str) -> Any:
        return self.load(sid)[self.read_key]

    def close(self) -> None:
        self._db.close()


class NaiveSqlite(RawSqlite):
    """Two statements, each by itself: loses updates."""

    name = "raw sqlite3, naive"

    def change(self, sid: str, value: Any) -> None:
        data = self.load(sid)
        data[self.change_key] = value
        self._db.execute("UPDATE sessions SET data = ? WHERE id = ?", (encode(data), sid))


class CorrectSqlite(RawSqlite):
    """One transaction that takes the write lock before it reads."""

    name = "raw sqlite3, correct"

    def change(self, sid: str, value: Any) -> None:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        data = self.load(sid)
        data[self.change_key] = value
        db.execute("UPDATE sessions SET data = ? WHERE id = ?", (encode(data), sid))
        db.execute("COMMIT")


class BlobSqlite(RawSqlite):
    """Writes a blob that was ready: nothing is loaded, decoded or merged."""

    name = "raw sqlite3, blob only"

    def __init__(self, payload: Payload, path: str, level: str) -> None:
        super().__init__(payload, path, level)
        # The changed value goes last, so that the blob is a constant followed by it.
        session = payload.build(1)
        last = session.pop(payload.change)
        session[payload.change] = last
        self._front = encode(session)[: -len(encode(last))]

    def change(self, sid: str, value: Any) -> None:
        blob = self._front + encode(value)
        self._db.execute("UPDATE sessions SET data = ? WHERE id = ?", (blob, sid))
