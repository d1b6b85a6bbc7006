"""Promise 3, and the faults that a machine can have: a clear refusal, nothing stored is harmed, nothing is acknowledged
that is not kept, and all goes on when the fault is over."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from children import Child
from places import Place, at_once
from writing import add_one

from sojourn import SessionConfig, SessionManager, StoreUnavailable
from sojourn.blocking import run


def _mounting() -> tuple[str, ...]:
    """How to give a process a mount namespace of its own; empty where that cannot be done."""
    for command in (("unshare", "-m"), ("unshare", "-rm")):
        if (
            shutil.which("unshare")
            and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0
        ):
            return command
    return ()


MOUNTING = _mounting()
DISKS = ["tmpfs", "page limit"] if MOUNTING else ["page limit"]
LOCKED = ["mount", "permissions"] if MOUNTING else ["permissions"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that any user may reach."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def _keeps(job: str, *arguments: object, under: tuple[str, ...] = ()) -> None:
    with Child(job, *arguments, under=under) as child:
        assert child.finish()[-1:] == ["kept"]


@pytest.mark.parametrize("kind", DISKS)
def test_a_full_disk(tmp_path: Path, kind: str) -> None:
    """Each write to a disk that fills up is made or refused, naming the disk; what is stored stays as it was; and with
    room again all goes on."""
    _keeps("full_disk", tmp_path, kind, under=MOUNTING if kind == "tmpfs" else ())


def test_writes_that_fail(tmp_path: Path) -> None:
    """A write that the operating system fails is `OutcomeUnknown`, neither made nor not made; it is one of the two, and
    whole."""
    _keeps("failing_writes", tmp_path / "sessions.db")


def test_no_more_file_handles(tmp_path: Path) -> None:
    """A process that can open nothing more is refused what needs a file; no handle leaks, and with some again all goes
    on."""
    _keeps("no_more_files", tmp_path / "sessions.db")


@pytest.mark.parametrize("kind", LOCKED)
def test_a_place_that_cannot_be_written(folder: Path, kind: str) -> None:
    """A file or a disk that is read-only is refused, and nothing in it is changed."""
    _keeps("read_only", folder, kind, under=MOUNTING if kind == "mount" else ())


# --- Locks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["sojourn", "another program"])
@pytest.mark.parametrize("place", ["power"], indirect=True)
async def test_a_lock_that_is_not_given_back(place: Place, how: str) -> None:
    """Another process stopped in the midst of a write: 20 writers hear within the deadline that nothing was written;
    readers are served all the while; and when that process goes on, so does everybody."""
    sessions = place.sessions(config=SessionConfig(deadline=2))
    session_ids = [await sessions.create_session(data={"visits": 0}) for _ in range(20)]
    with Child("hold", place.path, how) as holder:
        holder.expect("holding")
        os.waitpid(holder.pid, os.WUNTRACED)

        async def writer(number: int) -> float:
            began = time.monotonic()
            with pytest.raises(StoreUnavailable):
                await sessions.update(session_ids[number], "visits", add_one)
            return time.monotonic() - began

        for _ in range(2):
            times = await at_once(place.world, 20, writer)
            assert max(times) < 2 + 1.6, times
            began = time.monotonic()
            for session_id in session_ids:
                assert await sessions.get_session(session_id) == {"visits": 0}
            assert time.monotonic() - began < 1.8  # and not the deadline
        os.kill(holder.pid, signal.SIGCONT)
        assert holder.finish() == ["kept"]
    await at_once(place.world, 20, lambda number: sessions.update(session_ids[number], "visits", add_one))
    assert [await sessions.get_session(session_id) for session_id in session_ids] == [{"visits": 1}] * 20
    assert await sessions.store.verify() == []


# --- The file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["deleted", "all deleted", "replaced", "emptied"])
@pytest.mark.parametrize("place", ["power", "process"], indirect=True)
async def test_a_file_that_is_taken_away(place: Place, what: str) -> None:
    """The file is removed, replaced or emptied while it is open: no write is acknowledged into it. Who opens it anew
    goes on with what is there."""
    sessions = place.sessions()
    session_id = await sessions.create_session(data={"visits": 0})
    other = place.path.with_name("other.db")
    with SessionManager(f"sqlite:///{other}") as others:
        others.create_session(data={"name": "another database"})
    if what == "replaced":
        other.replace(place.path)
    elif what == "emptied":
        os.truncate(place.path, 0)
    else:
        for file in place.path.parent.glob("sessions.db*" if what == "all deleted" else "sessions.db"):
            file.unlink()

    for operation in (
        lambda: sessions.update(session_id, "visits", add_one),
        lambda: sessions.create_session("ada"),
        lambda: sessions.end_sessions(),
    ):
        with pytest.raises(StoreUnavailable, match="removed or replaced"):
            await operation()
    if what == "replaced":
        with SessionManager(place.url) as anew:
            assert [session.size > 0 for session in anew.list_sessions()] == [True]
            assert run(anew.store.verify()) == []


# --- Processes and threads -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["parent", "child"])
def test_a_fork_with_the_store_open(url: str, first: str) -> None:
    """Parent and child both go on writing after a fork, and whoever closes the store first takes nothing from the
    other."""
    _keeps("fork", url, first)


def test_forks_while_threads_write(url: str) -> None:
    """A process forks again and again while its threads write: no child finds a lock that nobody will release, and none
    takes a reply that is its parent's."""
    _keeps("fork_under_load", url)


def test_forks_while_threads_write_in_memory() -> None:
    """The same where each child goes on with a copy of its own."""
    _keeps("fork_under_load", "memory://")


def test_a_thread_that_is_interrupted(tmp_path: Path) -> None:
    """An exception out of a signal handler, in a thread that waits for its turn or that writes for others, too, stops
    nobody else's writes, and nobody is told of a write that was not made."""
    _keeps("interrupted", tmp_path / "sessions.db")


@pytest.mark.parametrize("place", ["power"], indirect=True)
async def test_work_that_fails_harms_no_other(place: Place) -> None:
    """One piece of work in a group that fails in a way that nobody foresaw fails alone; and the next are done."""
    sessions = place.sessions()
    session_ids = [await sessions.create_session(data={"visits": 0}) for _ in range(10)]

    async def caller(number: int) -> None:
        if number == 5:
            with pytest.raises(ZeroDivisionError):
                await sessions.store._file.write(lambda connection: 1 // 0)
        else:
            await sessions.update(session_ids[number], "visits", add_one)

    for _ in range(5):
        await at_once(place.world, 10, caller)
    await sessions.update(session_ids[5], "visits", add_one)
    visits = [(await sessions.get_session(session_id))["visits"] for session_id in session_ids]
    assert visits == [5, 5, 5, 5, 5, 1, 5, 5, 5, 5]
