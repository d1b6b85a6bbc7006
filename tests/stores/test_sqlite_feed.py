"""The feed of the SQLite store: what is not said is said to be missing; it costs writers nothing where nobody watches,
and no fork, no older program and no clock makes it miss what was written."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest
from feeds import ALL, feed_of, quiet, said

import worlds
from sojourn import StoreUnavailable, open_store
from sojourn.record import Committed, Record
from sojourn.store import Feed, Hint, Store
from sojourn.stores import sql, sqlite_feed
from sojourn.testing import NOW, new_record, successor
from sojourn.waiting import run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    """A store for blocking callers."""
    one = open_store(f"sqlite:///{path}?durability=process&deadline=10")
    yield one
    run(one.close())


def ask(path: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    """What a client of the tests' own is answered."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(statement, values).fetchall()
        connection.commit()
    return rows


def open_files() -> set[str]:
    """What this process has open."""
    found = set()
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists the others
            found.add(str(handle.readlink()))
    return found


async def change(store: Store, record: Record, *fields: str) -> Record:
    """Commit once more."""
    wanted = successor(record)
    assert isinstance(await store.commit(record, wanted, NOW, fields=fields), Committed)
    return wanted


def test_nothing_is_written_for_nobody(store: Store, path: Path) -> None:
    """While nobody watches, a commit leaves no news; once nobody has said for a while that he watches, no more."""
    run(store.create(record := new_record(), NOW))
    record = run(change(store, record, "a"))
    assert ask(path, "SELECT count(*) FROM news") == [(0,)]
    feed = run(feed_of(store))
    record = run(change(store, record, "b"))
    assert ask(path, "SELECT count(*) FROM news") == [(1,)]
    run(feed.close())
    ask(path, "UPDATE watching SET until = ?", time.time() - 0.01)
    run(change(store, record, "c"))
    assert ask(path, "SELECT count(*) FROM news") == [(1,)]


def test_watching_is_said_again(store: Store, path: Path) -> None:
    """A feed says again that somebody watches before that is over, and loses nothing by it."""
    run(store.create(record := new_record(), NOW))
    feed = run(feed_of(store))
    ((first,),) = ask(path, "SELECT until FROM watching")
    assert time.time() + sql.WATCH_AGAIN < first <= time.time() + sql.WATCHED_FOR
    assert run(quiet(feed, 0.1))
    soon = time.time() + sql.WATCH_AGAIN - 1
    ask(path, "UPDATE watching SET until = ?", soon)
    feed._watched_until = soon
    wanted = run(change(store, record, "a"))
    assert run(said(feed)) == [Hint(record.handle, None, wanted.version, ("a",))]
    worlds.BLOCKING.run(worlds.BLOCKING.until(lambda: ask(path, "SELECT until FROM watching")[0][0] > first - 1))
    assert run(quiet(feed, 0.1))


@pytest.mark.parametrize("waited", [False, True])
def test_who_slept_looks_at_everything(store: Store, path: Path, waited: bool) -> None:
    """If nobody was known to watch for a while (the machine slept, or its clock was set), commits were not told: the
    feed says to look at everything, as soon as it finds out, and tells what comes after."""
    run(store.create(record := new_record(), NOW))
    feed = run(feed_of(store))
    ask(path, "UPDATE watching SET until = ?", time.time() - 1)
    feed._watched_until = time.time() - 1
    if waited:
        record = run(change(store, record, "unseen"))
    assert ALL in run(said(feed, lambda hints: ALL in hints))
    wanted = run(change(store, record, "seen"))
    assert Hint(record.handle, None, wanted.version, ("seen",)) in run(said(feed))


@pytest.mark.parametrize("world", worlds.WORLDS, ids=lambda world: world.name)
def test_news_that_were_trimmed(path: Path, monkeypatch: pytest.MonkeyPatch, world: worlds.World) -> None:
    """News are kept up to a bound. If some were gone before they were read, or there are too many, the feed says to
    look at everything, once, and goes on."""

    async def body() -> None:
        store = open_store(
            f"sqlite:///{path}?durability=process&deadline=10", world="async" if world is worlds.ASYNC else "blocking"
        )
        await store.create(record := new_record(), NOW)
        feed = await feed_of(store)
        for trimmed in ("news", "change"):
            record = await change(store, record, "a")
            await store.create(new_record(), NOW)
            record = await change(store, record, "b")
            await store.create(new_record(), NOW)
            ask(path, f"DELETE FROM {trimmed} WHERE ROWID < (SELECT max(ROWID) FROM {trimmed})")
            assert await feed.hints(5.0) == [ALL]
            assert await quiet(feed, 0.1)
        monkeypatch.setattr(sqlite_feed, "_MOST", 3)
        for _ in range(4):
            record = await change(store, record, "a")
        assert await feed.hints(5.0) == [ALL]
        record = await change(store, record, "c")
        assert await feed.hints(5.0) == [Hint(record.handle, None, record.version, ("c",))]
        await feed.close()
        await store.close()

    world.run(body())


def test_the_ring_is_short(store: Store, path: Path) -> None:
    """Of the news the last four thousand are kept, about."""
    run(store.create(record := new_record(), NOW))
    feed = run(feed_of(store))
    ask(path, "INSERT INTO news (place, handle, version) VALUES (100000, 'x', x'00')")
    ask(path, "WITH RECURSIVE n(n) AS (SELECT 100001 UNION ALL SELECT n + 1 FROM n WHERE n < 106000) "
        "INSERT INTO news (place, handle, version) SELECT n, 'x', x'00' FROM n")  # fmt: skip
    run(change(store, record, "a"))
    assert ask(path, "SELECT count(*) FROM news") == [(4096,)]
    assert run(feed.hints(1.0)) == [ALL]


def test_an_older_program_tells_as_well(store: Store, path: Path) -> None:
    """A program that was started before the upgrade goes on committing: it is told of that something changed, and not
    what; never the names of an earlier commit."""
    run(store.create(record := new_record(), NOW))
    record = run(change(store, record, "a"))
    feed = run(feed_of(store))
    assert ask(
        path, "UPDATE session SET version = x'0102030405060708' WHERE handle = ? RETURNING 1", record.handle
    ) == [(1,)]  # fmt: skip
    assert run(said(feed)) == [Hint(record.handle, None, bytes(range(1, 9)), None)]


def test_too_many_names(store: Store) -> None:
    """Of a commit that changes very many fields the names are not told."""
    run(store.create(record := new_record(), NOW))
    feed = run(feed_of(store))
    wanted = run(change(store, record, *(f"field {number}" for number in range(1000))))
    assert run(said(feed)) == [Hint(record.handle, None, wanted.version, None)]


def test_a_refused_commit_is_not_told(store: Store) -> None:
    """What was not written is not told; a commit that comes a second time is told once."""
    run(store.create(record := new_record(), NOW))
    feed = run(feed_of(store))
    first, second = successor(record), successor(record)
    for wanted in (first, second, first):
        run(store.commit(record, wanted, NOW, fields=("a",)))
    found = run(said(feed))
    assert [hint.version for hint in found] == [first.version]
    assert run(quiet(feed, 0.1))


def test_who_waits_does_not_hold_up_who_writes(store: Store) -> None:
    """A feed that waits costs writers nothing: it holds no lock and no snapshot, so that the log can start over."""
    run(store.create(record := new_record(), NOW))
    feed = run(feed_of(store))
    run(change(store, record, "a"))
    run(said(feed))
    busy, _, _ = store._file.read(lambda connection: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone())
    assert busy == 0


def test_a_writer_in_the_way(path: Path) -> None:
    """Somebody holds the file to himself for longer than the deadline: nobody waits for hints for longer than he said,
    and then the feed says that it is over, as nobody can know any more that he watches."""
    store = open_store(f"sqlite:///{path}?deadline=3")
    feed = run(feed_of(store))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        feed._watched_until = time.time()
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            run(_impatient(feed))
        assert time.monotonic() - began < 9
    run(store.close())


async def _impatient(feed: Feed) -> None:
    for _ in range(150):
        began = time.monotonic()
        await feed.hints(0.1)
        assert time.monotonic() - began < 2.0  # and who waited for the writer would wait for 3 seconds


@pytest.mark.parametrize("what", ["feed", "store"])
@pytest.mark.parametrize("world", worlds.WORLDS, ids=lambda world: world.name)
def test_closing_wakes_who_waits(path: Path, world: worlds.World, what: str) -> None:
    """Whoever waits in `hints` when the feed is closed, or its store, is told so at once; so is whoever comes later."""

    async def body() -> None:
        store = open_store(f"sqlite:///{path}?deadline=10", world="async" if world is worlds.ASYNC else "blocking")
        feed = await feed_of(store)
        began = time.monotonic()

        async def close() -> None:
            await feed._waiting.sleep(0.1)
            await (feed if what == "feed" else store).close()

        failed, _ = await world.together([lambda: feed.hints(20.0), close])
        assert isinstance(failed, StoreUnavailable)
        assert time.monotonic() - began < 5
        for operation in (lambda: feed.hints(0.1), feed.open):
            with pytest.raises(StoreUnavailable):
                await operation()
        await feed.close()
        await store.close()

    world.run(body())


def test_a_fork_is_not_held_up(store: Store, path: Path) -> None:
    """A process that watches forks at once, and leaves its child no open file of the database; the child is told that
    the feed is the parent's, may open one of its own, and the parent's goes on."""
    run(store.create(record := new_record(), NOW))
    feed = run(feed_of(store))
    assert run(quiet(feed, 0.05))
    began = time.monotonic()
    pid = os.fork()
    if not pid:
        try:
            assert str(path) not in open_files()
            with pytest.raises(StoreUnavailable):
                run(feed.hints(0.1))
            own = run(feed_of(store))
            child = run(change(store, record, "child"))
            assert [hint.version for hint in run(said(own))] == [child.version]
            os._exit(0)
        finally:
            os._exit(1)
    assert time.monotonic() - began < 4.0
    assert os.waitpid(pid, 0)[1] == 0
    assert [hint.fields for hint in run(said(feed))] == [("child",)]


def test_a_file_that_was_replaced(store: Store, path: Path) -> None:
    """If the file is removed, the feed is over as soon as it says again that somebody watches."""
    feed = run(feed_of(store))
    path.unlink()
    feed._watched_until = time.time()
    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        run(said(feed))
