"""Floors and peers on PostgreSQL, and Sojourn there. Each has a connection that is kept, and tables of its own.

The floors run the statements with which Sojourn loads and commits, prepared, in autocommit, on tables that Sojourn made
(in a schema of their own), with the settings that Sojourn gives its connections, through psycopg 3. *Statements only*
reads the row and writes a body of the same size that was ready; *whole session* decodes the body, changes it and
encodes it, as one would write it. They know the version from before, hash no secret, and check nothing.

Django   `django.contrib.sessions.backends.db`: load, and save, which is a transaction of its own. By default Django
         opens a connection for each request; it is kept with CONN_MAX_AGE=None. Both are measured.
"""

from __future__ import annotations

import re
import secrets
import time
from typing import Any, ClassVar

import django
import psycopg
from django.db import connections

from sojourn import SessionManager
from sojourn.stores.statements import read_statements

from . import ours, peers
from .contender import IDLE_TIMEOUT, Contender
from .floors import decode, encode
from .payloads import Payload, Session
from .servers import PostgreSQL

django.setup()  # `peers` has configured it

from django.contrib.sessions.backends.db import SessionStore  # noqa: E402  (needs the apps)
from django.contrib.sessions.models import Session as DjangoSession  # noqa: E402

SYNCHRONOUS = {"power": "on", "process": "off"}
_SQL = {name: re.sub(r"(?<!:):([a-z_]+)", r"%(\1)s", text) for name, text in read_statements("postgres.sql").items()}
_LACKS = ("touch", "nested", "end", "miss")


class Statements(Contender):
    """The statements, and a body that was ready."""

    name = "psycopg 3, statements only"
    floor = True
    lacks = _LACKS
    schema: ClassVar[str] = "statements"

    def __init__(self, payload: Payload, server: PostgreSQL, level: str) -> None:
        super().__init__(payload, "change")
        with SessionManager(server.url(schema=self.schema)) as manager:  # which makes the tables
            handle = manager.create_session(data=payload.build(1)).partition(".")[0]
        [(size,)] = server.ask(f"SELECT length(body) FROM {self.schema}.session WHERE handle = %s", handle)
        self._size = int(str(size))
        self._end = len(encode(payload.value(1)))  # it never differs in size
        self._front = secrets.token_bytes(self._size - self._end)
        self._db = psycopg.connect(
            server.url(),
            autocommit=True,
            prepare_threshold=0,
            options=f"-c search_path={self.schema} -c synchronous_commit={SYNCHRONOUS[level]} -c jit=off "
            "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off",
        )
        self._cursor = self._db.cursor(binary=True)
        self._versions: dict[str, bytes] = {}
        self._number = 0

    def create(self, data: Session) -> str:
        handle = secrets.token_urlsafe(16)
        version = self._versions[handle] = secrets.token_bytes(8)
        self._cursor.execute(
            "INSERT INTO session (handle, version, generation, authenticated_at, accessed_at, idle_for, ends_at, fence,"
            " leased_until, body) VALUES (%s, %s, 1, %s, %s, %s, %s, 0, 0, %s)",
            (handle, version, time.time(), time.time(), IDLE_TIMEOUT, time.time() + 86_400, self._first(data)),
        )
        return handle

    def _first(self, data: Session) -> bytes:
        return self._next(data[self.change_key])

    def _next(self, value: Any) -> bytes:
        """A body of the size of Sojourn's that ends with the value."""
        return self._front + encode(value)

    def load(self, handle: str) -> Any:
        return {self.change_key: decode(self._body(handle)[-self._end :])}

    def change(self, handle: str, value: Any) -> None:
        assert len(self._body(handle)) == self._size
        self._write(handle, self._next(value))

    def _body(self, handle: str) -> bytes:
        row: Any = self._cursor.execute(_SQL["load"], {"handle": handle}).fetchone()
        return bytes(row[0])

    def _write(self, handle: str, body: bytes) -> None:
        self._number += 1
        version = self._number.to_bytes(8, "big")
        self._cursor.execute(
            _SQL["commit_fields"],
            {
                "version": version,
                "body": body,
                "handle": handle,
                "base_version": self._versions[handle],
                "base_generation": 1,
                "now": None,
            },
        )
        assert self._cursor.rowcount == 1
        self._versions[handle] = version

    def close(self) -> None:
        self._db.close()


class WholeSession(Statements):
    """The statements, and the session decoded and encoded."""

    name = "psycopg 3, whole session"
    schema = "whole"

    def _first(self, data: Session) -> bytes:
        return encode(data)

    def load(self, handle: str) -> Any:
        return decode(self._body(handle))

    def change(self, handle: str, value: Any) -> None:
        data = self.load(handle)
        data[self.change_key] = value
        self._write(handle, encode(data))


class DjangoDb(peers.Django):
    """Django's database sessions."""

    name = "Django db, connection kept"
    backend = SessionStore
    lacks = _LACKS

    def __init__(self, payload: Payload, server: PostgreSQL, level: str) -> None:
        super().__init__(payload, "change")
        _connect_django(server, level)
        connection = connections["default"]
        if DjangoSession._meta.db_table not in connection.introspection.table_names():
            with connection.schema_editor() as editor:
                editor.create_model(DjangoSession)

    def close(self) -> None:
        connections["default"].close()


class DjangoDefault(DjangoDb):
    """The same as Django is by default: a request ends with its connection."""

    name = "Django db, as by default"

    def change(self, sid: str, value: Any) -> None:
        super().change(sid, value)
        connections["default"].close()


def _connect_django(server: PostgreSQL, level: str) -> None:
    """Django's one database is that of the server."""
    parameters = psycopg.conninfo.conninfo_to_dict(server.url())
    found = {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": parameters["host"],
        "PORT": parameters["port"],
        "USER": parameters["user"],
        "NAME": parameters["dbname"],
        "CONN_MAX_AGE": None,
        "OPTIONS": {"options": f"-c synchronous_commit={SYNCHRONOUS[level]}"},
    }
    connections.settings = connections.configure_settings({"default": found})
    if hasattr(connections._connections, "default"):  # of an earlier world
        del connections["default"]


class Sojourn(ours.Sojourn):
    """Sojourn, blocking, on PostgreSQL."""

    lacks = _LACKS

    def __init__(self, payload: Payload, server: PostgreSQL, level: str) -> None:
        super().__init__(payload, "change", server.url(durability=level, schema="sojourn"))


CONTENDERS: tuple[Any, ...] = (Statements, WholeSession, DjangoDb, DjangoDefault, Sojourn)
