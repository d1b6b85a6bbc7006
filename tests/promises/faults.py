"""What the children do in a world where something is wrong: each fault is real, and in a process of its own.

They check what they promise by themselves, as they are the only ones to see it; the last line is "kept".
"""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from sqlite3 import Connection
from typing import Any

from talking import say
from writing import add_one

from sojourn import OutcomeUnknown, SessionConfig, SessionManager, StoreUnavailable
from sojourn.blocking import run
from sojourn.stores.sqlite_pool import Pool

PATIENT = SessionConfig(deadline=10)
NOBODY = 65534


def _refused(operation: Callable[[], Any]) -> str:
    """What is said to whoever tries: it must be that the store is unavailable."""
    try:
        operation()
    except StoreUnavailable as error:
        return str(error)
    raise AssertionError("it was acknowledged")


def _sound(sessions: SessionManager) -> None:
    assert run(sessions.store.verify()) == []


# --- A full disk -----------------------------------------------------------------------------------------------------


def full_disk(folder: str, kind: str) -> None:
    """Write while the disk has little and then no room: a write is made or refused, and nothing stored is harmed."""
    path = Path(folder, "sessions.db")
    with _small_disk(folder) if kind == "tmpfs" else _page_limit() as leave_room:
        with SessionManager(f"sqlite:///{path}") as sessions:
            kept = sessions.create_session("ada", {"cart": ["apple"]})
            session_id = sessions.create_session(data={"visits": 0})
            done, said = 0, set()
            for step, left in enumerate((64, 32, 16, 8, 4, 0, 24, 12, 6, 3, 2, 1, 0)):
                leave_room(left)
                for size in (10, 3000, 9000, 10, 5000):
                    try:
                        with sessions.session(session_id) as session:
                            session["visits"] = done + 1
                            session["block"] = b"x" * size * step
                        done += 1
                    except StoreUnavailable as error:
                        said.add(str(error))
                    assert sessions.get_session(session_id)["visits"] == done
                    assert sessions.get_session(kept) == {"cart": ["apple"]}
            assert done
            assert said == {f"the disk of {path} is full: nothing was written. Make room"}
            leave_room(1000)
            _sound(sessions)
            assert sessions.update(session_id, "visits", add_one) == done + 1
            sessions.end_session(kept)
        with SessionManager(f"sqlite:///{path}") as sessions:
            _sound(sessions)
            assert sessions.get_session(session_id)["visits"] == done + 1
            assert not sessions.is_session_active(kept)
    say("kept")


@contextmanager
def _small_disk(folder: str) -> Iterator[Callable[[int], None]]:
    """A disk of a megabyte, in this process's own mount namespace; gives a function that leaves so many KB free."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], check=True)
    with Path(folder, "filler").open("wb", buffering=0) as filler:

        def leave_room(left: int) -> None:
            filler.seek(0)
            filler.truncate()
            room = os.statvfs(folder)
            with suppress(OSError):
                filler.write(bytes(max(room.f_bavail * room.f_frsize - left * 1024, 0)))

        yield leave_room


@contextmanager
def _page_limit() -> Iterator[Callable[[int], None]]:
    """SQLite's own limit, where no disk can be mounted."""
    take, most = Pool.take, 1_000_000

    def take_limited(pool: Pool, *user: Any) -> Connection:
        connection = take(pool, *user)
        connection.execute(f"PRAGMA max_page_count = {most}")
        return connection

    def leave_room(left: int) -> None:
        nonlocal most
        most = 1_000_000 if left > 100 else left // 4 + 1

    Pool.take = take_limited  # type: ignore[method-assign]
    yield leave_room
    Pool.take = take  # type: ignore[method-assign]


def failing_writes(path: str) -> None:
    """Let the operating system refuse to let files grow: SQLite sees a write that fails. Nobody is told that it was
    made, nor that it was not."""
    with SessionManager(f"sqlite:///{path}") as sessions:
        session_id = sessions.create_session(data={"visits": 0})
        most = resource.getrlimit(resource.RLIMIT_FSIZE)
        done = unknown = 0
        for limit in range(20_000, 200_000, 4_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most[1]))
            try:
                for _ in range(3):
                    sessions.update(session_id, "visits", add_one)
                    done += 1
            except OutcomeUnknown:
                unknown += 1
            resource.setrlimit(resource.RLIMIT_FSIZE, most)
            visits = sessions.get_session(session_id)["visits"]
            assert done <= visits <= done + 1
            done = visits
        assert done
        assert unknown
        _sound(sessions)
    say("kept")


# --- No more files ---------------------------------------------------------------------------------------------------


def no_more_files(path: str) -> None:
    """Take all file handles but a few: who needs one is refused, none leaks, and all is well when there are more."""
    url = f"sqlite:///{path}"
    with SessionManager(url) as sessions:
        session_id = sessions.create_session(data={"visits": 0})
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    refused = visits = 0
    before = _files_open()
    for spare in range(12):
        with _few_files(spare):
            for _ in range(20):
                try:
                    with SessionManager(url) as sessions:
                        visits = sessions.update(session_id, "visits", add_one)
                except StoreUnavailable:
                    refused += 1
        with SessionManager(url) as sessions:
            assert sessions.get_session(session_id) == {"visits": visits}
            with _few_files(spare):
                for _ in range(20):
                    with suppress(StoreUnavailable):
                        visits = sessions.update(session_id, "visits", add_one)
                    _read_in_threads(sessions, session_id, visits)
            visits = sessions.update(session_id, "visits", add_one)
            _sound(sessions)
        assert _files_open() == before, "handles leak"
    assert refused
    say("kept")


def _read_in_threads(sessions: SessionManager, session_id: str, visits: int) -> None:
    """Readers at the same time need connections of their own."""

    def read() -> None:
        with suppress(StoreUnavailable):
            read_here.append(sessions.get_session(session_id))

    read_here: list[Any] = []
    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(fields == {"visits": visits} for fields in read_here)


def _files_open() -> int:
    return sum(1 for _ in Path("/dev/fd").iterdir())


@contextmanager
def _few_files(spare: int) -> Iterator[None]:
    taken = []
    with suppress(OSError):
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    for handle in taken[:spare]:
        os.close(handle)
    yield
    for handle in taken[spare:]:
        os.close(handle)


# --- Nothing may be written ------------------------------------------------------------------------------------------


def read_only(folder: str, kind: str) -> None:
    """A folder and a file that must not be written, by a mount or by their permissions: opening is refused, and nothing
    is changed. A file that loses its permissions while it is open takes no writes that it could not keep."""
    path = Path(folder, "sessions.db")
    with SessionManager(f"sqlite:///{path}") as sessions:
        session_id = sessions.create_session(data={"visits": 0})
    before = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    if kind == "mount":
        subprocess.run(["mount", "--bind", folder, folder], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
    else:
        if os.geteuid() == 0:  # to whom permissions do not apply
            for file in (path.parent, *path.parent.iterdir()):
                os.chown(file, NOBODY, NOBODY)
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        _set_modes(path.parent, 0o555, 0o444)

    def visit() -> None:
        with SessionManager(f"sqlite:///{path}") as sessions:
            sessions.update(session_id, "visits", add_one)

    _refused(visit)
    _refused(lambda: SessionManager(f"sqlite:///{folder}/other.db"))
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == before
    if kind == "mount":
        subprocess.run(["umount", folder], check=True)
        visit()
    else:
        _set_modes(path.parent, 0o755, 0o644)
        visit()
        with SessionManager(f"sqlite:///{path}") as sessions:
            _set_modes(path.parent, 0o555, 0o444)
            sessions.store._file._pool._close_idle()  # those that are open may still write; the next may not
            _refused(lambda: sessions.update(session_id, "visits", add_one))
            _set_modes(path.parent, 0o755, 0o644)
            sessions.store._file._pool._close_idle()
            assert sessions.update(session_id, "visits", add_one) == 2
            _sound(sessions)
    say("kept")


def _set_modes(folder: Path, mode: int, file_mode: int) -> None:
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(file_mode)
    folder.chmod(mode)


# --- Somebody else has the lock --------------------------------------------------------------------------------------


def hold(path: str, how: str) -> None:
    """Begin to write, and stop in the midst of it: as Sojourn does, or as another program does."""

    def stop(connection: Connection) -> None:
        connection.execute("INSERT INTO change (id, kind, at, handle) VALUES ('held', 'created', 0, 'held')")
        say("holding")
        os.kill(os.getpid(), signal.SIGSTOP)

    if how == "sojourn":
        with SessionManager(f"sqlite:///{path}") as sessions:
            run(sessions.store._file.write(stop))
    else:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        stop(connection)
        connection.execute("COMMIT")
        connection.close()
    say("kept")


FAULTS = (full_disk, failing_writes, no_more_files, read_only, hold)
