"""A SQLite database file: opened and checked, its connections, one transaction at a time, and what its errors mean.

Rules: many processes may have the file open. Writers queue at the turnstile, within a process in the writer. Readers
never wait for writers (write-ahead log). Checkpoints run in a thread of their own, off the commit path. A fork
leaves the child nothing of its parent's. A file that vanished, or was replaced, is noticed before a write is
acknowledged into it.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from fcntl import LOCK_UN, flock
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Final, TypeVar

from ..errors import ConfigurationError, OutcomeUnknown, SojournError, StoreDamaged, StoreError, StoreUnavailable
from ..store import Durability, World
from .grouping import UNDONE, InlineWriter, ThreadWriter, Work, Writer
from .sqlite_pool import Pool
from .turnstile import Turnstile

__all__ = ["SQLiteFile"]

log = logging.getLogger("sojourn")

T = TypeVar("T")
_APPLICATION_ID: Final = 0x536F6A6E  # "Sojn", so that `file` can tell and we can, too
_CHECKPOINT_AFTER: Final = 4 * 1024 * 1024  # bytes written by this process between two checkpoints
_PATIENCE: Final = 10.0  # seconds for which a checkpoint waits for its turn
_LOOK: Final = 0.0005  # seconds between two looks of who closes whether somebody still writes
_PAGE: Final = 4096
_FAILURE: Final = (sqlite3.Error, UnicodeDecodeError)  # the latter where SQLite's message quotes a damaged schema
_DAMAGED: Final = (
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,
)  # the last: a damaged schema, too
_NEEDED: Final = (3, 35, 0)  # RETURNING

_files: weakref.WeakSet[SQLiteFile] = weakref.WeakSet()


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
        self._world = world
        self._pool = Pool(self.path, durability, deadline)
        self._closed = False
        self._prepare()
        _files.add(self)
        if not self.path.exists():
            self._make()
        elif self.path.stat().st_size == 0:
            raise StoreDamaged(
                f"{self.path} is empty: a database that was truncated, not a new one. Restore it from a backup, or "
                "remove the file to begin anew"
            )
        self._identity = _identity(self.path)
        self._check()

    def _prepare(self) -> None:
        """State that belongs to this process alone."""
        self._turnstile, self._at_checkpoints = Turnstile(self.path), Turnstile(self.path)
        self._writer: Writer = ThreadWriter(self._execute) if self._world == "async" else InlineWriter(self._execute)
        self._written = 0
        self._writes = False
        """Whether a transaction is being made; within a process there is one at a time."""
        self._checkpointer: threading.Thread | None = None

    # --- Reading and writing -------------------------------------------------------------------------------------

    def read(self, act: Callable[[Connection], T], user: object = None) -> T:
        """Run a read; on a connection of its own, for a ``user`` that is named. Raises `StoreUnavailable` and
        `StoreDamaged`."""
        connection = self._take(user)
        try:
            result = act(connection)
        except BaseException as error:
            self._pool.discard(connection)
            if isinstance(error, _FAILURE):
                raise self._meaning(error, writing=False) from error
            raise
        self._pool.give_back(connection, user)
        return result

    def part(self, user: object) -> None:
        """Close the connection of a user's own."""
        self._pool.part(user)

    async def write(self, act: Callable[[Connection], T], *, single: bool = False, size: int = 0) -> T:
        """Do a piece of work in a transaction, alone or with others. ``single``: it is one statement. ``size``:
        about how many bytes it writes, beside a page."""
        if self._closed:
            raise StoreUnavailable("the store was closed")
        work = Work(act, single, time.monotonic() + self.deadline, _PAGE + size)
        result: T = await self._writer.write(work)
        return result

    def _execute(self, batch: list[Work]) -> None:
        """Run a batch in one transaction, when it is this process's turn."""
        turnstile, until = self._turnstile, min(work.until for work in batch)
        try:
            self._writes = True
            if self._closed:  # since it was asked for (`close` says so first, and looks whether somebody writes then)
                _fail(batch, StoreUnavailable("the store was closed"))
                return
            try:
                turnstile.acquire(until)
            except StoreError as error:
                _fail(batch, error)
            else:
                self._run(batch, until)
        finally:
            try:
                if turnstile.turn >= 0:
                    flock(turnstile.turn, LOCK_UN)
            finally:
                self._writes = False
        if self._written > _CHECKPOINT_AFTER:
            self._checkpoint_soon()

    def _run(self, batch: list[Work], until: float, *, mended: bool = False) -> None:
        try:
            self._check_identity()
            connection = self._take()
        except StoreError as error:
            _fail(batch, error)
            return
        try:
            done = self._transact(connection, batch, until)
        except Exception as error:  # SQLite's, or what one piece of work ran into
            certain = self._abandon(connection, error)
            if not mended and getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_CORRUPT_INDEX:
                self._mend()
                self._run(batch, until, mended=True)
            elif certain and len(batch) > 1:
                for work in batch:  # one of them is to blame: each for itself, so that only that one fails
                    self._run([work], until, mended=mended)
            else:
                _fail(batch, self._meaning(error, writing=True) if isinstance(error, _FAILURE) else error)
        except BaseException as error:  # an interrupt: those who wait are told that it cannot be known
            self._abandon(connection, error)
            raise
        else:
            self._pool.give_back(connection)
            self._written += sum(work.weight for work in batch)
            for work, (result, problem) in zip(batch, done, strict=True):
                work.result, work.error = result, problem

    def _transact(
        self, connection: Connection, batch: list[Work], until: float
    ) -> list[tuple[Any, SojournError | None]]:
        """Do all of a batch and commit it: what each returned, or failed with. It counts only once this returns."""
        done: list[tuple[Any, SojournError | None]] = []
        left = until - time.monotonic()
        hurried = left < self.deadline / 2  # it waited for its turn, and may not wait as long again for SQLite's lock
        if hurried:
            _set_patience(connection, left)
        if not (len(batch) == 1 and batch[0].single):
            connection.execute("BEGIN IMMEDIATE")
        for work in batch:
            try:
                done.append((work.act(connection), None))
            except SojournError as error:
                done.append((UNDONE, error))
        if connection.in_transaction:
            connection.execute("COMMIT")
        if hurried:
            _set_patience(connection, self.deadline)
        return done

    def _mend(self) -> None:
        """Build the indexes anew from their tables: with one that disagrees a damaged row could not even be removed."""
        log.error("an index of %s disagrees with its table: all are built anew. Look with verify()", self.path)
        try:
            with self._connection() as connection:
                connection.execute("REINDEX")
        except StoreError as error:
            log.error("they could not be built anew: %s", error)  # noqa: TRY400 - the traceback would say nothing more

    def _abandon(self, connection: Connection, error: BaseException) -> bool:
        """Undo and close after an error. Returns whether nothing was written for certain, and another attempt could do
        better."""
        certain = _primary(error) not in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            certain = False
        self._pool.discard(connection)
        return certain

    def _take(self, user: object = None) -> Connection:
        if self._closed:
            raise StoreUnavailable("the store was closed")
        try:
            return self._pool.take(user)
        except _FAILURE as error:
            raise self._meaning(error, writing=False) from error

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """A connection. What fails in here closes it, and SQLite's errors are told by what they mean."""
        connection = self._take()
        try:
            yield connection
        except BaseException as error:
            self._pool.discard(connection)
            if isinstance(error, _FAILURE):
                raise self._meaning(error, writing=False) from error
            raise
        self._pool.give_back(connection)

    def close(self) -> None:
        """Finish what was begun, fold the log into the database, and close everything."""
        self._writer.close()
        self._closed = True
        self._writer.close()  # one may have come meanwhile
        until = time.monotonic() + self.deadline  # it may be called in the midst of a write
        while self._writes and time.monotonic() < until:
            time.sleep(_LOOK)
        if self._checkpointer is not None and self._checkpointer.is_alive():
            self._checkpointer.join(max(until - time.monotonic(), 0.0))
        self._pool.close()
        if not self._writes:
            self._turnstile.close()

    def forked(self) -> None:
        """In the child of a fork: part with what is the parent's."""
        self._turnstile.close()
        self._at_checkpoints.close()
        self._prepare()

    # --- The file ------------------------------------------------------------------------------------------------

    def _make(self) -> None:
        """Create the database under another name and link it into place, so that nobody ever sees half of it."""
        folder = self.path.parent
        try:
            handle, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=folder)
            os.close(handle)
            try:
                self._lay_out(Path(name))
                os.link(name, self.path)
            except FileExistsError:
                pass  # another process was quicker, and its database is as good
            finally:
                for leftover in (name, f"{name}-wal", f"{name}-shm"):
                    Path(leftover).unlink(missing_ok=True)
            _sync_folder(folder)
        except OSError as error:
            raise StoreUnavailable(f"{folder} takes no new database: {error}. Create the folder first") from error

    def _lay_out(self, path: Path) -> None:
        try:
            with closing(self._pool.connect(path)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(
                    f"BEGIN; {self._schema} PRAGMA application_id = {_APPLICATION_ID}; "
                    f"PRAGMA user_version = {len(self._upgrades) + 1}; COMMIT;"
                )
        except sqlite3.Error as error:
            raise self._meaning(error, writing=False) from error

    def _check(self) -> None:
        """Whether the file is ours and of a schema that we know; older ones are upgraded in place."""
        with self._connection() as connection:
            ours = connection.execute("PRAGMA application_id").fetchone()[0] == _APPLICATION_ID
            if not ours:
                raise StoreDamaged(
                    f"{self.path} is a SQLite database of another application: nothing in it was touched"
                )
            if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                connection.execute("PRAGMA journal_mode = WAL")  # a copy that VACUUM INTO made, say, has lost it
            self._upgrade(connection)
            connection.execute("SELECT 1 FROM session LIMIT 1").fetchone()

    def _upgrade(self, connection: Connection) -> None:
        newest = len(self._upgrades) + 1
        if connection.execute("PRAGMA user_version").fetchone()[0] == newest:
            return
        connection.execute("BEGIN IMMEDIATE")  # and look again: another process may be upgrading
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > newest:
            raise StoreDamaged(
                f"{self.path} has schema {version} and this version of Sojourn knows {newest}: upgrade Sojourn. "
                "Nothing in it was touched"
            )
        if version < 1:
            raise StoreDamaged(f"{self.path} has no schema that there ever was ({version}): restore it from a backup")
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
        if self._checkpointer is None or not self._checkpointer.is_alive():
            self._written = 0
            self._checkpointer = threading.Thread(target=self._checkpoint, name="sojourn-checkpoint", daemon=True)
            with suppress(RuntimeError):  # the system has no thread for us: after some more writes it is tried again
                self._checkpointer.start()

    def _checkpoint(self) -> None:
        """Copy the log into the database while writers go on; then hold them up for the little that is left, so that
        the log starts over. (Beside a busy writer it never would, and appending costs twice as much as overwriting.)"""
        turnstile = self._at_checkpoints
        try:
            self._fold_in("PASSIVE")
            turnstile.acquire(time.monotonic() + _PATIENCE)
            self._fold_in("RESTART")
        except StoreError as error:
            log.debug("a checkpoint of %s has to wait: %s", self.path, error)  # the log holds everything until then
        finally:
            if turnstile.turn >= 0:
                flock(turnstile.turn, LOCK_UN)  # to close it is not enough: a child may have been forked meanwhile
            turnstile.close()

    def _fold_in(self, how: str) -> None:
        with self._connection() as connection:
            _set_patience(connection, 0.02)  # for readers in the way, while the writers wait
            connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
            _set_patience(connection, self.deadline)

    # --- Errors --------------------------------------------------------------------------------------------------

    def _meaning(self, error: Exception, *, writing: bool) -> StoreError:
        """What an error of SQLite means to a caller."""
        primary = _primary(error)
        if primary in _DAMAGED or isinstance(error, UnicodeDecodeError):
            return StoreDamaged(
                f"{self.path} is damaged ({error}): restore it from a backup, or remove it to begin anew"
            )
        if primary == sqlite3.SQLITE_FULL:
            return StoreUnavailable(f"the disk of {self.path} is full: nothing was written. Make room", retry_after=10)
        if primary in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreUnavailable(f"{self.path} was locked past the deadline: nothing was written")
        if primary in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            return StoreUnavailable(
                f"{self.path} cannot be written ({error}): nothing was written. Check its permissions"
            )
        if writing and primary == sqlite3.SQLITE_IOERR:
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


def _primary(error: BaseException) -> int | None:
    """SQLite's code of an error, without its extension; None for other errors."""
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _set_patience(connection: Connection, seconds: float) -> None:
    """How long SQLite waits for a lock that somebody else has."""
    connection.execute(f"PRAGMA busy_timeout = {max(int(seconds * 1000), 1)}")


def _fail(batch: list[Work], error: Exception) -> None:
    for work in batch:
        work.error = error


def _identity(path: Path) -> tuple[int, int]:
    """Which file it is; (0, 0) if it is gone or empty."""
    try:
        found = os.stat(path)  # noqa: PTH116 - on the path of each write, and Path.stat takes twice the time
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino) if found.st_size else (0, 0)


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
