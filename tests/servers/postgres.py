"""A real PostgreSQL for the tests: one server for all of them, a database for each test, gone when they are over.

It refuses to run as root; there it runs as the system's user for it, or as nobody.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from typing import Self

import psycopg

from .process import LOOPBACK, Process, until

__all__ = ["Database", "PostgreSQL", "Standby", "fresh", "shared"]

_numbers = count(1)


def _programs() -> Path:
    """The folder of the newest server that is installed."""
    found = shutil.which("postgres")
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    if not found and not folders:
        raise AssertionError("there is no PostgreSQL server: apt-get install postgresql")
    return folders[-1] if folders else Path(str(found)).parent


def _user() -> pwd.struct_passwd | None:
    """Whom the server runs as, if not as ourselves."""
    if os.geteuid():
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


class PostgreSQL(Process):
    """One server. ``settings`` are those of its configuration; by default it does not wait for its disk."""

    def __init__(self, **settings: object) -> None:
        super().__init__()
        self.data = self.folder / "data"
        self.settings: dict[str, object] = {"fsync": "off", "max_connections": 100} | settings

    def url(self, database: str = "postgres", **options: object) -> str:
        """The address of a database, for Sojourn or psycopg."""
        query = "&".join(f"{name}={value}" for name, value in options.items())
        return f"postgresql://sojourn@{LOOPBACK}:{self.port}/{database}" + (f"?{query}" if query else "")

    def command(self) -> list[str]:
        if not self.data.exists():
            self._lay_out()
        settings = {
            "port": self.port,
            "listen_addresses": LOOPBACK,
            "unix_socket_directories": self.folder,
            "shared_buffers": "32MB",
            "jit": "off",
            **self.settings,
        }
        given = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [*self._as_user(), str(_programs() / "postgres"), "-D", str(self.data), *given]

    def answers(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        """Shut down without waiting for clients."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """As a power cut does: none of its processes says good-bye."""
        if self.running:
            super().hang()
            until(self._stands_still, "the halt of the server")  # it starts no other process now, whoever may ask
            others = self.backends()[1:]
            super().kill()
            for pid in others:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in others), "the end of its processes")

    @property
    def running(self) -> bool:
        return self._process is not None

    def ask(self, statement: str, *values: object, database: str = "postgres") -> list[tuple[object, ...]]:
        """What a client of the tests' own is answered."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement, values)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def backends(self) -> list[int]:
        """The pids of everything that the server runs, itself first."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return [self.pid, *map(int, children)]

    def hang(self) -> None:
        """Nothing in the server does anything any more; the system still accepts connections for it."""
        super().hang()
        until(self._stands_still, "the halt of the server")  # as long as it stands, none of its children can vanish
        for pid in self.backends()[1:]:
            os.kill(pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """After `hang`, also after half of one. Once more is nothing more."""
        for pid in self.backends()[1:]:
            with suppress(ProcessLookupError):  # it has ended by now, if the server goes on already
                os.kill(pid, signal.SIGCONT)
        super().go_on()

    def _stands_still(self) -> bool:
        """Whether it does nothing: it was stopped, or it has ended by itself."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] in "TZ"

    def database(self) -> Database:
        """A new database."""
        name = f"test{next(_numbers)}_{os.getpid()}"
        self.ask(f"CREATE DATABASE {name}")
        return Database(self, name)

    def _as_user(self) -> list[str]:
        user = _user()
        if user is None:
            return []
        return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--"]

    def _lay_out(self) -> None:
        user = _user()
        if user is not None:
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        subprocess.run(
            [
                *self._as_user(), str(_programs() / "initdb"), "-D", str(self.data), "-U", "sojourn", "-A", "trust",
                "-E", "UTF8", "--locale=C", "--no-sync",
            ],
            check=True,
            capture_output=True,
            cwd=self.folder,
        )  # fmt: skip


class Standby(PostgreSQL):
    """A server that follows another one, which waits for it in each commit that asks for that."""

    def __init__(self, primary: PostgreSQL) -> None:
        super().__init__(fsync="on")
        self.primary = primary

    def start(self, *, wait: bool = True) -> Self:
        super().start(wait=wait)
        until(lambda: self.primary.ask("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'"), "replication")
        self.primary.ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.primary.ask("SELECT pg_reload_conf()")
        until(
            lambda: self.primary.ask("SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'"),
            "a synchronous standby",
        )
        return self

    def promote(self) -> None:
        """The other one is lost: this one takes its place."""
        self.ask("SELECT pg_promote()")
        self.ask("ALTER SYSTEM SET synchronous_standby_names = ''")
        self.ask("SELECT pg_reload_conf()")

    def _lay_out(self) -> None:
        user = _user()
        if user is not None:
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        source = f"host={LOOPBACK} port={self.primary.port} user=sojourn"
        subprocess.run(
            [
                *self._as_user(), str(_programs() / "pg_basebackup"), "-D", str(self.data), "-R", "-c", "fast",
                "--no-sync", "-d", source,
            ],
            check=True,
            capture_output=True,
            cwd=self.folder,
        )  # fmt: skip


class Database:
    """A database of a server, for one test."""

    def __init__(self, server: PostgreSQL, name: str) -> None:
        self.server = server
        self.name = name

    def url(self, **options: object) -> str:
        return self.server.url(self.name, **options)

    def ask(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        return self.server.ask(statement, *values, database=self.name)

    def drop(self) -> None:
        self.server.ask(f"DROP DATABASE {self.name} WITH (FORCE)")


@cache
def shared() -> PostgreSQL:
    """The server that all tests share which do no harm to it."""
    return PostgreSQL().start()


@contextmanager
def fresh() -> Iterator[Database]:
    """A database of the shared server, while it is needed."""
    database = shared().database()
    try:
        yield database
    finally:
        database.drop()
