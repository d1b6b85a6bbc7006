"""`SessionStore` in a file: what is there when it is opened again, the snapshot, the files of true_storage, and several
stores on one file."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from dictstores import Opener, opener
from sojourn import SessionStatus, SessionStore, SessionStoreConfig, StorageError, StoreError, register
from sojourn.blocking import run
from sojourn.dicts.keys import handle_of
from sojourn.dicts.records import renewed
from sojourn.testing import NOW
from values import shape


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Opener]:
    """Opens stores on one file."""
    yield from opener("file", tmp_path)


KEPT: dict[Any, Any] = {
    "text": "text",
    "1": "one",
    1: 1,
    None: None,
    ("u", 7): ("a", "tuple"),
    2**70: {"deep": [{1, 2}, b"bytes", datetime(2026, 1, 2, tzinfo=UTC)]},
}


def test_what_was_set_is_there_when_it_is_opened_again(make: Opener) -> None:
    """Values, keys with their types, ends, creation times and counts are there after `stop`, and locks of a process
    that ended last as long as they were to."""
    store = make(expiration_time=100)
    for key, value in KEPT.items():
        store.set(key, value)
    store.set("short", 1, expiration=10)
    store.get("text")
    store.get("text")
    store.lock("1")
    told = store.get_metadata("text")
    store.stop()
    again = make(expiration_time=100)
    assert again.get_metadata("text") == told
    assert told is not None
    assert told.access_count == 2
    with pytest.raises(StorageError, match="locked"):
        again["1"]
    assert again.unlock("1") is False
    make.clock.advance(30)
    assert {key: shape(again[key]) for key in KEPT} == {key: shape(value) for key, value in KEPT.items()}
    assert "short" not in again
    assert len(again) == len(KEPT)


def test_defect_09_what_is_restored_keeps_its_types_and_the_bound(make: Opener) -> None:
    """1, "1" and a tuple are three keys after a restart, a tuple is a tuple, and a smaller ``max_size`` holds from the
    first set on."""
    store = make()
    for key, value in KEPT.items():
        store.set(key, value)
    store.stop()
    again = make(max_size=2)
    assert sorted(map(repr, again)) == sorted(map(repr, KEPT))
    again.set("new", 1)
    assert len(again) == 2
    assert "new" in again


def _restart(path: Path, times: int) -> None:
    config = SessionStoreConfig(
        persistence_path=path, backup_interval=0.001, cleanup_interval=0.001, durability="process"
    )
    for number in range(times):
        with SessionStore(config) as store:
            assert sorted(store) == list(range(number))
            store.set(number, str(number))


def test_defect_10_restarts_lose_nothing(tmp_path: Path) -> None:
    """A store that is opened, set and stopped again and again, with its thread at work, has everything each time."""
    _restart(tmp_path / "sessions.db", 40)


@pytest.mark.battery
def test_defect_10_two_hundred_restarts_lose_nothing(tmp_path: Path) -> None:
    """The same, 200 times."""
    _restart(tmp_path / "sessions.db", 200)


class Unknown(str):
    """Text of a kind that is registered in one process only."""

    __slots__ = ()


def test_defect_11_one_value_never_costs_the_snapshot(make: Opener, tmp_path: Path) -> None:
    """A value that JSON cannot tell is in the snapshot as it is stored, beside all others; nothing is left beside the
    file, and two stores whose paths differ in their ends alone have two snapshots."""
    register(Unknown, name="tests.dictstore.unknown")
    store = make()
    strange: dict[Any, Any] = {"nan": float("nan"), "big": 2**100, "set": {1}, "kind": Unknown("x"), "plain": [1]}
    for key, value in strange.items():
        store.set(key, value)
    make.path = make.path.with_suffix(".bak")
    other = make()
    other.set("other", 1)
    store.stop()
    other.stop()
    snapshots = {path.name: json.loads(path.read_text()) for path in tmp_path.glob("*.json")}
    assert set(snapshots) == {"sessions.db.snapshot.json", "sessions.bak.snapshot.json"}
    assert {entry["key"] for entry in snapshots["sessions.db.snapshot.json"]["entries"]} == set(strange)
    assert list(tmp_path.glob(".*")) == []


def test_the_snapshot_is_portable(make: Opener, tmp_path: Path) -> None:
    """A snapshot that is opened elsewhere gives back keys and values with their types, ends, times and counts."""
    store = make(expiration_time=100)
    for key, value in KEPT.items():
        store.set(key, value)
    store.set("never", 1, expiration=1e15)
    store.set("dead", 1, expiration=1)
    store.get("text")
    make.clock.advance(1)
    told = store.get_metadata("text")
    store.stop()
    snapshot = tmp_path / "sessions.db.snapshot.json"
    assert snapshot.stat().st_mode & 0o077 == 0
    make.path = tmp_path / "elsewhere.json"
    make.path.write_bytes(snapshot.read_bytes())
    again = make()
    assert {key: shape(again[key]) for key in KEPT} == {key: shape(value) for key, value in KEPT.items()}
    again.stop()
    again = make()
    assert again["never"] == 1
    assert len(again) == len(KEPT) + 1
    assert told is not None
    assert again.get_metadata("text").created_at == told.created_at
    make.clock.advance(99)
    assert list(again) == ["never"]


def test_a_snapshot_is_written_now_and_then(tmp_path: Path) -> None:
    """Every ``backup_interval`` seconds the thread writes one, of what is there by then."""
    path = tmp_path / "sessions.db"
    with SessionStore(SessionStoreConfig(persistence_path=path, backup_interval=0.02)) as store:
        store.set("a", 1)
        until = time.monotonic() + 20
        snapshot = path.with_name("sessions.db.snapshot.json")
        while time.monotonic() < until and not (snapshot.exists() and '"a"' in snapshot.read_text()):
            time.sleep(0.01)
        assert json.loads(snapshot.read_text())["entries"][0]["key"] == "a"


def test_a_snapshot_that_cannot_be_written_is_told_and_costs_nothing(make: Opener) -> None:
    """`stop` raises, after it has closed everything; the data is in the database, and the snapshot before is kept."""
    store = make()
    store.set("a", 1)
    snapshot = make.path.with_name("sessions.db.snapshot.json")
    snapshot.mkdir()
    with pytest.raises(StorageError, match="The database has everything"):
        store.stop()
    store.stop()
    snapshot.rmdir()
    assert make()["a"] == 1
    assert list(make.path.parent.glob(".*")) == []


def test_a_thread_that_cannot_write_a_snapshot_says_so_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged as a warning, unless logging is off for this store; the next one is written."""
    path = tmp_path / "sessions.db"
    snapshot = path.with_name("sessions.db.snapshot.json")
    for enabled in (True, False):
        caplog.clear()
        snapshot.mkdir()
        config = SessionStoreConfig(persistence_path=path, backup_interval=0.01, enable_logging=enabled)
        with SessionStore(config) as store:
            store.set("a", 1)
            _wait_for_tries(store, 2)
            warned = [record for record in caplog.records if record.name == "sojourn.dictstore"]
            assert bool([record for record in warned if record.levelno == logging.WARNING]) is enabled
            snapshot.rmdir()
        assert json.loads(snapshot.read_text())["entries"][0]["key"] == "a"
        snapshot.unlink()


def _wait_for_tries(store: SessionStore, count: int) -> None:
    """Wait until the thread has tried to write a snapshot so often, and begun once more."""
    shelf: Any = store._shelf
    begun = {shelf._saved_at}
    until = time.monotonic() + 20
    while len(begun) <= count + 1:
        assert time.monotonic() < until, "the thread writes no snapshot"
        time.sleep(0.001)
        begun.add(shelf._saved_at)


# --- The files of true_storage ---------------------------------------------------------------------------------------


def original(created: float, used: float, value: Any, count: int = 3) -> dict[str, Any]:
    """An entry as that store writes it."""
    about = {
        "created_at": created,
        "last_accessed": used,
        "access_count": count,
        "status": "LOCKED",
        "lock_expiry": NOW + 1e9,
    }
    return {"value": value, "metadata": about}


def write_original(path: Path, sessions: dict[str, Any]) -> bytes:
    path.write_text(json.dumps({"timestamp": NOW, "sessions": sessions}))
    return path.read_bytes()


def test_a_backup_file_of_true_storage_is_carried_over(make: Opener, tmp_path: Path) -> None:
    """Its entries are there, with their times and counts; what had expired is not, nor any lock. The file is kept, byte
    for byte, under another name; and everything is as durable as if it had been set here."""
    make.path = tmp_path / "backup.json"
    was = write_original(
        make.path,
        {
            "ada": original(NOW - 50, NOW - 5, {"cart": [1, 2.5, None, {"x": "ü"}]}),
            "('u', 7)": original(NOW - 10, NOW - 1, [1, "two"]),
            "dead": original(NOW - 100, NOW - 1, 1),
            "infinite": original(NOW, NOW, float("inf")),
        },
    )
    store = make(expiration_time=100, max_size=3)
    assert dict(store.items()) == {
        "ada": {"cart": [1, 2.5, None, {"x": "ü"}]},
        "('u', 7)": [1, "two"],
        "infinite": float("inf"),
    }
    told = store.get_metadata("ada")
    assert told is not None
    assert (told.created_at, told.last_accessed, told.access_count) == (NOW - 50, NOW - 5, 3)
    assert told.status is SessionStatus.ACTIVE
    assert make.path.with_name("backup.json.carried-over").read_bytes() == was
    assert list(tmp_path.glob(".*")) == []
    make.clock.advance(50)
    assert "ada" not in store
    store.stop()
    assert sorted(make(expiration_time=100)) == ["('u', 7)", "infinite"]


def test_what_is_carried_over_heeds_the_bound_and_slides_if_that_is_said(make: Opener) -> None:
    """The most recently used entries are kept; where expiry slides they end by their last use."""
    sessions = {str(number): original(NOW - 200, NOW - number, number) for number in range(8)}
    write_original(make.path, sessions)
    store = make(expiration_time=100, sliding=True, max_size=5)
    assert sorted(store) == ["0", "1", "2", "3", "4"]
    store.set("new", 1)
    assert sorted(store) == ["0", "1", "2", "3", "new"]
    make.clock.advance(108)
    assert sorted(store) == ["0", "1", "new"]


def test_an_older_file_is_never_overwritten(make: Opener, tmp_path: Path) -> None:
    """A second file at the same path is kept under a name of its own."""
    for number in (1, 2, 3):
        write_original(make.path, {"n": original(NOW, NOW, number)})
        with make() as store:
            assert store["n"] == number
        make.path.unlink()
        for beside in tmp_path.glob("sessions.db-*"):
            beside.unlink()
    kept = [path.read_text() for path in sorted(tmp_path.glob("*.carried-over*"))]
    assert [json.loads(text)["sessions"]["n"]["value"] for text in kept] == [1, 2, 3]


def test_entries_that_make_no_sense_are_left_out_and_told(make: Opener, caplog: pytest.LogCaptureFixture) -> None:
    """They cost no others, they are counted in the log, without their keys, and the kept file has them."""
    sessions: dict[str, Any] = {
        "good": original(NOW, NOW, 1),
        "secret-1": 1,
        "secret-2": {"value": 2},
        "secret-3": original(float("nan"), NOW, 1),
        "secret-4": original(NOW, NOW, "\ud800"),
    }
    deep: Any = 1
    for _ in range(150):
        deep = [deep]
    sessions["secret-5"] = original(NOW, NOW, deep)
    write_original(make.path, sessions)
    with caplog.at_level(logging.INFO):
        assert list(make()) == ["good"]
    assert "5 entries made no sense" in caplog.text
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "text",
    ['{"timestamp": 1, "sessions": {"a"', '{"other": 1}', '{"sessions": []}', "{" * 5000],
    ids=["truncated", "another", "no mapping", "nested"],
)
def test_json_that_is_no_backup_is_refused_and_stays(make: Opener, text: str) -> None:
    """It raises `StorageError`, and nothing is changed or made."""
    make.path.write_text(text)
    with pytest.raises(StorageError, match="nothing was"):
        make()
    assert make.path.read_text() == text
    assert list(make.path.parent.iterdir()) == [make.path]


def test_a_file_that_is_no_database_is_refused_and_stays(make: Opener) -> None:
    """What the store beneath finds wrong is a `StorageError`, and that error its cause."""
    make.path.write_bytes(b"not a database" * 100)
    with pytest.raises(StorageError) as caught:
        make()
    assert isinstance(caught.value.__cause__, StoreError)
    assert make.path.read_bytes() == b"not a database" * 100


def test_eight_stores_that_open_one_json_file_at_once_carry_it_over_once(make: Opener, tmp_path: Path) -> None:
    """One of them does it, and all have the entries."""
    write_original(make.path, {str(number): original(NOW, NOW, number) for number in range(20)})
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(len(make()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [20] * 8
    assert len(list(tmp_path.glob("*.carried-over*"))) == 1


# --- Several on one file ---------------------------------------------------------------------------------------------


def test_what_one_does_the_other_sees_at_once(make: Opener) -> None:
    """Sets, deletions, ends, locks and `clear` of another store on the file are seen by the next operation: `get`,
    `in`, `len`, `keys` and the rest."""
    one, other = make(), make()
    assert len(other) == 0
    one.set("a", 1)
    assert (other["a"], len(other), list(other)) == (1, 1, ["a"])
    one.set("a", 2)
    assert other["a"] == 2
    one.lock("a")
    with pytest.raises(StorageError, match="locked"):
        other["a"]
    with pytest.raises(StorageError, match="locked"):
        other.set("a", 3)
    assert other.lock("a") is False
    assert other.unlock("a") is False
    assert other.get_status("a") is SessionStatus.LOCKED
    one.unlock("a")
    assert other.pop("a") == 2
    assert len(one) == 0
    one.set("a", 1)
    other.clear()
    assert len(one) == 0
    assert "a" not in one


def test_the_bound_holds_for_all_together(make: Opener) -> None:
    """Whoever sets past the bound evicts, whosever entry that is; what another has read since, or has locked, is passed
    by."""
    one, other = make(max_size=3, sliding=True), make(max_size=3, sliding=True)
    for key in "abc":
        make.clock.advance(1)
        one.set(key, key)
    make.clock.advance(1000)
    assert other["a"] == "a"
    other.lock("b")
    one.set("d", "d")
    assert sorted(one) == ["a", "b", "d"]
    make.clock.advance(40)
    other.set("e", "e")
    assert len(one) == len(other) == 3


def test_of_stores_that_make_one_entry_at_once_one_does(make: Opener) -> None:
    """Two stores set a default under the same new keys at the same moment: both get the same value, each time."""
    stores = [make(), make()]
    together = threading.Barrier(2)
    got: list[list[Any]] = [[], []]

    def work(at: int) -> None:
        for number in range(80):
            together.wait()
            got[at].append(stores[at].setdefault(number, at))

    threads = [threading.Thread(target=work, args=(at,)) for at in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got[0] == got[1]
    assert len(stores[0]) == 80


def test_reads_reach_the_file_and_others(make: Opener) -> None:
    """Counts are written back by the thread and by `stop`, and add up over stores."""
    one, other = make(), make()
    one.set("a", 1)
    for _ in range(5):
        one.get("a")
        other.get("a")
    assert one.get_metadata("a").access_count == 5
    make.tend(one)
    assert other.get_metadata("a").access_count == 10
    other.stop()
    assert one.get_metadata("a").access_count == 10


def test_what_another_keeps_alive_is_alive_here(make: Opener) -> None:
    """Where expiry slides, an entry that another store has read since is counted, though nothing was told of it."""
    one, other = make(expiration_time=100, sliding=True), make(expiration_time=100, sliding=True)
    one.set("a", 1)
    assert len(one) == 1
    make.clock.advance(100)
    assert other["a"] == 1
    make.clock.advance(15)
    assert len(one) == 1
    make.clock.advance(100)
    assert len(one) == len(other) == 0


def test_a_roster_whose_history_is_gone_is_made_anew(make: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """More happens in the file than its history keeps: what a store says of it is right nevertheless."""
    one, other = make(max_size=None), make(max_size=None)
    one.set("a", 1)
    assert len(one) == 1
    connection = one._shelf._store._file  # the history's bound is 10,000 facts: brought about faster
    for number in range(20):
        other.set(number, number)
    other.delete("a")
    connection.read(lambda raw: raw.execute("DELETE FROM change WHERE position < (SELECT max(position) FROM change)"))
    assert len(one) == 20
    assert len(other) == 20


def test_what_comes_late_tells_the_roster_nothing(make: Opener) -> None:
    """A thread that deleted an entry tells of it after another has set it anew: it is counted nevertheless."""
    store = make()
    shelf: Any = store._shelf
    store.set("a", 1)
    deleted = renewed(run(shelf._store.load(handle_of("a"))), {}, ends_at=make.clock.now)
    store.delete("a")
    store.set("a", 2)
    assert len(store) == 1
    with shelf._lock:
        shelf._learn(deleted, handle_of("a"), make.clock.now)
    assert len(store) == 1


def test_a_damaged_entry_is_not_served_and_can_be_deleted(make: Opener) -> None:
    """`get` raises, others are served, and `delete` makes room for a new one."""
    store = make()
    store.set("a", 1)
    store.set("b", 2)
    store._shelf._store._file.read(
        lambda raw: raw.execute("UPDATE session SET body = x'00' WHERE handle = ?", (handle_of("a"),))
    )
    with pytest.raises(StorageError, match="damaged"):
        store.get("a")
    assert store["b"] == 2
    store.delete("a")
    store.set("a", 3)
    assert store["a"] == 3


def test_a_file_that_vanishes_is_told(make: Opener) -> None:
    """A write into a file that was removed raises `StorageError`, and acknowledges nothing."""
    store = make()
    store.set("a", 1)
    make.path.rename(make.path.with_name("elsewhere"))
    with pytest.raises(StorageError, match="removed or replaced"):
        store.set("a", 2)
    make.path.with_name("elsewhere").rename(make.path)
    assert store["a"] == 1


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_fork_takes_a_store_along(kind: str, tmp_path: Path) -> None:
    """The child of a fork reads and sets, has a thread again, and stops; the parent goes on. With a file both see what
    the other did."""
    program = f"""
import os, threading
from sojourn import SessionStore, SessionStoreConfig
path = {str(tmp_path / "f.db")!r} if {kind!r} == "file" else None
store = SessionStore(SessionStoreConfig(persistence_path=path, cleanup_interval=0.01, backup_interval=100))
store.set("a", 1)
store.set("b", 0)  # or a child might be made before any thread has set it
over = threading.Event()
def busy():
    while not over.is_set():
        store.get("a"); store.set("b", 1); len(store)
threads = [threading.Thread(target=busy) for _ in range(3)]
for thread in threads: thread.start()
for _ in range(10):
    child = os.fork()
    if not child:
        assert store.get("a") == 1
        store.set("c", os.getpid())
        assert any(t.name == "sojourn-dictstore" for t in threading.enumerate())
        assert len(store) == 3
        store.stop()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
over.set()
for thread in threads: thread.join()
assert ("c" in store) is ({kind!r} == "file")
store.stop()
print("all")
"""
    flags = ("-W", "ignore::DeprecationWarning")
    done = subprocess.run(
        [sys.executable, *flags, "-c", program], capture_output=True, text=True, timeout=50, env=dict(os.environ)
    )
    assert (done.stdout, done.stderr) == ("all\n", "")


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_a_program_that_stops_nothing_ends_by_itself(kind: str, tmp_path: Path) -> None:
    """The interpreter's end waits for no store, whatever it was doing, and says nothing."""
    program = f"""
from sojourn import SessionStore, SessionStoreConfig
path = {str(tmp_path / "e.db")!r} if {kind!r} == "file" else None
store = SessionStore(SessionStoreConfig(persistence_path=path, cleanup_interval=0.001, backup_interval=0.001))
for number in range(50):
    store.set(number, number)
print(store[0])
"""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", program], capture_output=True, text=True, timeout=50, env=dict(os.environ)
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "0\n", "")
