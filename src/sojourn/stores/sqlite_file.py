"""A SQLite database file: opened and checked, its connections, one transaction at a time, and what its errors mean.

Rules: many processes may have the file open. Writers queue at the turnstile, within a process in the writer. Readers
never wait for writers (write-ahead log). Checkpoints run in a thread of their own, off the commit path. After a fork
the child starts with nothing of its parent's. A file that vanished, or was replaced, is noticed before a write is
acknowledged into it.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Final, TypeVar

from ..errors import ConfigurationError, OutcomeUnknown, SojournError, StoreDamaged, StoreError, StoreUnavailable
from ..store import Durability, World
from .grouping import InlineWriter, ThreadWriter, Work, Writer
from .turnstile import Turnstile

__all__ = ["SQLiteFile"]

log = logging.getLogger("sojourn")

T = TypeVar("T")
_APPLICATION_ID: Final = 0x536F6A6E  # "Sojn", so that `file` can tell and we can, too
_CHECKPOINT_AFTER: Final = 4 * 1024 * 1024  # bytes written by this process between two checkpoints
_PATIENCE: Final = 10.0  # seconds for which a checkpoint waits for its turn
_PAGE: Final = 4096
_NEEDED: Final = (3, 35, 0)  # RETURNING

_files: weakref.WeakSet[SQLiteFile] = weakref.WeakSet()
_inherited: list[Any] = []  # connections of a parent process: never closed in the child, as SQLite asks


class SQLiteFile:
    """One database file, for callers of one world. ``deadline`` bounds each operation, in seconds."""

    def __init__(
        self,
        path: Path,
        schema: str,
        upgrades: tuple[str, ...] = (),
        *,
        durability: Durability = "power",
        deadline: float = 1.0,
        world: World = "blocking",
    ) -> None:
        if sqlite3.sqlite_version_info < _NEEDED:
            raise ConfigurationError(f"SQLite {sqlite3.sqlite_version} is too old: Sojourn needs 3.35 or newer")
        self.path = path.absolute()
        self.deadline = deadline
        self._schema = schema
        self._upgrades = upgrades
        self._durability = durability
        self._world = world
        self._closed = False
        self._prepare()
        _files.add(self)
        if not self.path.exists():
            self._make()
        elif self.path.stat().st_size == 0:
            raise StoreDamaged(
                f"{self.path} is empty: a database that was truncated, not a new one. Restore it from a backup, or remove "
                "the file to begin anew"
            )
        self._identity = _identity(self.path)
        self._check()

    def _prepare(self) -> None:
        """State that belongs to this process alone."""
        self._idle: list[Connection] = []
        self._turnstile = Turnstile(self.path)
        self._writer: Writer = ThreadWriter(self._execute) if self._world == "async" else InlineWriter(self._execute)
        self._written = 0
        self._checkpointing = threading.Lock()

    # --- Reading and writing -------------------------------------------------------------------------------------

    def read(self, act: Callable[[Connection], T]) -> T:
        """Run a read. Raises `StoreUnavailable` and `StoreDamaged`."""
        connection = self._take()
        try:
            result = act(connection)
        except sqlite3.Error as error:
            connection.close()
            raise self._meaning(error, writing=False) from error
        except BaseException:
            self._idle.append(connection)
            raise
        self._idle.append(connection)
        return result

    async def write(self, act: Callable[[Connection], T], *, single: bool = False, size: int = 0) -> T:
        """Do a piece of work in a transaction, alone or with others. ``single``: it is one statement. ``size``: about how
        many bytes it writes, beside a page."""
        if self._closed:
            raise StoreUnavailable("the store was closed")
        work = Work(act, single, time.monotonic() + self.deadline, _PAGE + size)
        result: T = await self._writer.write(work)
        return result

    def _execute(self, batch: list[Work]) -> None:
        """Run a batch in one transaction, when it is this process's turn."""
        try:
            connection = self._take()
            try:
                self._turnstile.acquire(min(work.until for work in batch))
            except BaseException:
                self._idle.append(connection)
                raise
        except SojournError as error:
            for work in batch:
                work.error = error
            return
        try:
            self._run(connection, batch)
        finally:
            self._turnstile.release()
        if self._written > _CHECKPOINT_AFTER:
            self._checkpoint_soon()

    def _run(self, connection: Connection, batch: list[Work]) -> None:
        alone = len(batch) == 1
        try:
            self._check_identity()
            if not (alone and batch[0].single):
                connection.execute("BEGIN IMMEDIATE")
            for work in batch:
                try:
                    work.result = work.act(connection)
                except SojournError as error:
                    work.error = error
            if connection.in_transaction:
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            if self._abandon(connection, error) and not alone:
                for work in batch:  # one of them is to blame: each for itself, so that only that one fails
                    self._run(self._take(), [work])
                return
            for work in batch:
                work.error = self._meaning(error, writing=True)
        except StoreError as error:
            for work in batch:
                work.error = error
            self._idle.append(connection)
        else:
            self._written += sum(work.weight for work in batch)
            self._idle.append(connection)

    def _abandon(self, connection: Connection, error: sqlite3.Error) -> bool:
        """Undo and close after an error. Returns whether it is certain that nothing was written."""
        certain = not _is_io_error(error)
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            certain = False
        connection.close()
        return certain

    # --- Connections ---------------------------------------------------------------------------------------------

    def _take(self) -> Connection:
        """An idle connection, the one used last first, as its cache is warm; a new one if all are in use."""
        if self._closed:
            raise StoreUnavailable("the store was closed")
        try:
            return self._idle.pop()
        except IndexError:
            return self._connect(self.path)

    def _connect(self, path: Path) -> Connection:
        try:
            connection = sqlite3.connect(
                f"{path.as_uri()}?mode=rw",
                uri=True,
                timeout=self.deadline,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise self._meaning(error, writing=False) from error
        with self._closed_on_error(connection):
            synchronous = "FULL" if self._durability == "power" else "NORMAL"
            connection.execute(f"PRAGMA synchronous = {synchronous}")
            if sys.platform == "darwin" and self._durability == "power":
                connection.execute("PRAGMA fullfsync = ON")  # there, fsync alone does not reach the disk
            connection.execute("PRAGMA wal_autocheckpoint = 0")
        return connection

    @contextmanager
    def _closed_on_error(self, connection: Connection) -> Iterator[None]:
        """What fails in here closes the connection, and SQLite's errors are told by what they mean."""
        try:
            yield
        except sqlite3.Error as error:
            connection.close()
            raise self._meaning(error, writing=False) from error
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Finish what was begun, fold the log into the database, and close everything."""
        if self._closed:
            return
        self._writer.close()
        self._closed = True
        with self._checkpointing:
            while self._idle:
                self._idle.pop().close()  # the last connection of the last process folds the log in
            self._turnstile.close()

    def forked(self) -> None:
        """In the child of a fork: part with what is the parent's."""
        _inherited.extend(self._idle)
        self._turnstile.close()
        self._prepare()

    # --- The file ------------------------------------------------------------------------------------------------

    def _make(self) -> None:
        """Create the database under another name and link it into place, so that nobody ever sees half of it."""
        try:
            handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        except OSError as error:
            raise StoreUnavailable(f"{self.path.parent} takes no new database: {error}. Create the folder first") from error
        os.close(handle)
        try:
            connection = self._connect(Path(name))
            with self._closed_on_error(connection):
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(
                    f"BEGIN; {self._schema} PRAGMA application_id = {_APPLICATION_ID}; "
                    f"PRAGMA user_version = {len(self._upgrades) + 1}; COMMIT;"
                )
            connection.close()
            os.link(name, self.path)
        except FileExistsError:
            pass  # another process was quicker, and its database is as good
        finally:
            for leftover in (name, f"{name}-wal", f"{name}-shm"):
                Path(leftover).unlink(missing_ok=True)
        _sync_folder(self.path.parent)

    def _check(self) -> None:
        """Whether the file is ours and of a schema that we know; older ones are upgraded in place."""
        connection = self._take()
        with self._closed_on_error(connection):
            ours = connection.execute("PRAGMA application_id").fetchone()[0] == _APPLICATION_ID
            if not ours:
                raise StoreDamaged(f"{self.path} is a SQLite database of another application: nothing in it was touched")
            self._upgrade(connection)
            connection.execute("SELECT 1 FROM session LIMIT 1").fetchone()
        self._idle.append(connection)

    def _upgrade(self, connection: Connection) -> None:
        newest = len(self._upgrades) + 1
        if connection.execute("PRAGMA user_version").fetchone()[0] == newest:
            return
        connection.execute("BEGIN IMMEDIATE")  # and look again: another process may be upgrading
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > newest:
            connection.execute("ROLLBACK")
            raise StoreDamaged(
                f"{self.path} has schema {version} and this version of Sojourn knows {newest}: upgrade Sojourn. "
                "Nothing in it was touched"
            )
        for step in self._upgrades[version - 1 :]:
            for statement in _statements(step):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {newest}")
        connection.execute("COMMIT")

    def _check_identity(self) -> None:
        if _identity(self.path) != self._identity:
            raise StoreUnavailable(
                f"{self.path} was removed or replaced while it was open: nothing was written. Restart the application"
            )

    # --- Checkpoints ---------------------------------------------------------------------------------------------

    def _checkpoint_soon(self) -> None:
        if self._checkpointing.acquire(blocking=False):
            self._written = 0
            threading.Thread(target=self._checkpoint, name="sojourn-checkpoint", daemon=True).start()

    def _checkpoint(self) -> None:
        """Copy the log into the database while writers go on; then hold them up for the little that is left, so that the
        log starts over. (Beside a busy writer it never would, and appending costs twice as much as overwriting.)"""
        turnstile = Turnstile(self.path)
        try:
            with closing(self._connect(self.path)) as connection:
                connection.execute("PRAGMA busy_timeout = 20")  # for readers in the way, while the writers wait
                connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
                turnstile.acquire(time.monotonic() + _PATIENCE)
                try:
                    connection.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
                finally:
                    turnstile.release()
        except (sqlite3.Error, StoreError) as error:
            log.debug("a checkpoint of %s has to wait: %s", self.path, error)  # the log holds everything until then
        finally:
            turnstile.close()
            self._checkpointing.release()

    # --- Errors --------------------------------------------------------------------------------------------------

    def _meaning(self, error: sqlite3.Error, *, writing: bool) -> StoreError:
        """What an error of SQLite means to a caller."""
        code = getattr(error, "sqlite_errorcode", None)
        primary = None if code is None else code & 0xFF
        if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return StoreDamaged(f"{self.path} is damaged ({error}): restore it from a backup, or remove it to begin anew")
        if primary == sqlite3.SQLITE_FULL:
            return StoreUnavailable(f"the disk of {self.path} is full: nothing was written. Make room", retry_after=10)
        if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreUnavailable(f"{self.path} was locked past the deadline: nothing was written")
        if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            return StoreUnavailable(f"{self.path} cannot be written ({error}): nothing was written. Check its permissions")
        if writing and _is_io_error(error):
            return OutcomeUnknown(f"writing {self.path} failed ({error}), and it may or may not be on the disk")
        return StoreUnavailable(f"{self.path}: {error}")


def _statements(script: str) -> Iterator[str]:
    """The statements of a script. (`executescript` would commit what is under way.)"""
    statement = ""
    for part in script.split(";"):
        statement += f"{part};"
        if statement.strip(" \n;") and sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _is_io_error(error: sqlite3.Error) -> bool:
    return (getattr(error, "sqlite_errorcode", 0) & 0xFF) == sqlite3.SQLITE_IOERR


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116 - on the path of each write, and Path.stat takes twice the time
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _after_fork() -> None:
    for file in list(_files):
        file.forked()


os.register_at_fork(after_in_child=_after_fork)
