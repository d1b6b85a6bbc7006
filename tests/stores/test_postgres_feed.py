"""The feed of the PostgreSQL store, on a real server: nobody is told where nobody watches, what was written is told
whatever comes between, telling never changes what became of a write, and a server that is gone is found out."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable

import psycopg
import pytest
from feeds import ALL, feed_of, quiet, said

import worlds
from servers.postgres import Database, PostgreSQL
from servers.process import until
from servers.proxy import Proxy, through
from sojourn import OutcomeUnknown, StoreUnavailable, open_store
from sojourn.record import Committed, Record
from sojourn.store import Feed, Hint, Store
from sojourn.stores import postgres_feed, postgres_steps, postgres_telling
from sojourn.stores.postgres_statement import Statement
from sojourn.stores.postgres_telling import channel_of, hints_in
from sojourn.stores.postgres_wire import Wire
from sojourn.testing import NOW, new_record, successor
from sojourn.waiting import run


async def change(store: Store, record: Record, *fields: str) -> Record:
    """Commit once more."""
    wanted = successor(record)
    assert isinstance(await store.commit(record, wanted, NOW, fields=fields), Committed)
    return wanted


# --- Who is told -----------------------------------------------------------------------------------------------------


def test_nobody_is_told_where_nobody_watches(database: Database, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a feed nothing is notified, and with one everything is, until nobody says any more that he watches."""
    monkeypatch.setattr(postgres_telling, "WATCHED_FOR", 0.5)
    run(store.create(record := new_record(), NOW))
    with psycopg.connect(database.url(), autocommit=True) as listening:
        listening.execute(f'LISTEN "{channel_of("sojourn")}"')

        def heard() -> list[Hint]:
            found: list[Hint] = []
            database.ask("SELECT pg_notify(%s, 'over')", channel_of("sojourn"))  # it comes after what was said before
            for one in listening.notifies(timeout=20):
                if one.payload == "over":
                    return found
                found += hints_in(one.payload.encode())
            raise AssertionError(f"it was not heard, but {found}")

        record = run(change(store, record, "a"))
        assert heard() == []
        feed = run(feed_of(store))
        record = run(change(store, record, "b"))
        assert [hint.fields for hint in heard()] == [("b",)]
        run(feed.close())
        time.sleep(0.6)
        run(change(store, record, "c"))
        assert heard() == []


@pytest.mark.parametrize("watched", [False, True])
def test_trips(database: Database, store: Store, monkeypatch: pytest.MonkeyPatch, watched: bool) -> None:
    """A commit and a creation cost one round trip, watched or not; only the first that learns of it costs two."""
    run(store.create(record := new_record(), NOW))
    feed = run(feed_of(store)) if watched else None
    counted: list[int] = []
    original = Wire.run

    async def counting(self: Wire, *arguments: object) -> object:
        counted.append(1)
        return await original(self, *arguments)

    monkeypatch.setattr(Wire, "run", counting)
    record = run(change(store, record, "a"))
    assert len(counted) == (2 if watched else 1)
    counted.clear()
    run(change(store, record, "b"))
    run(store.create(new_record(), NOW))
    assert len(counted) == 2
    if feed is not None:
        assert len(run(said(feed, lambda hints: len(hints) == 3))) == 3


def test_all_is_told_to_all(database: Database) -> None:
    """What writers of several processes write, at the same time, is told to each of several feeds, each commit once; in
    the order of the commits of a session."""
    writers = [open_store(database.url(clock="caller", deadline=10)) for _ in range(3)]
    watcher = open_store(database.url(clock="caller", deadline=10))
    records = [new_record() for _ in range(3)]
    for record in records:
        run(watcher.create(record, NOW))
    feeds = [run(feed_of(watcher)) for _ in range(2)]
    made: list[list[bytes]] = [[], [], []]

    async def write(number: int) -> None:
        record = records[number]
        for _ in range(100):
            record = await change(writers[number], record, "n")
            made[number].append(record.version)

    async def watch(number: int) -> list[Hint]:
        return await said(feeds[number], lambda hints: len(hints) >= 300)

    operations = [*(lambda n=n: write(n) for n in range(3)), *(lambda n=n: watch(n) for n in range(2))]
    *_, first, second = run(worlds.BLOCKING.together(operations))
    for found in (first, second):
        for record, versions in zip(records, made, strict=True):
            mine = [hint for hint in found if hint.handle == record.handle]
            assert {hint.version for hint in mine} == set(versions)
            assert len(mine) == 100
            assert {hint.fields for hint in mine} == {("n",)}
    for one in (*writers, watcher):
        run(one.close())


def test_what_had_begun_before(database: Database, store: Store) -> None:
    """A commit that began before anybody watched, and is made after, tells nobody: the feed opens once it is over."""
    run(store.create(record := new_record(), NOW))
    run(store.load("x"))
    with psycopg.connect(database.url()) as other:
        other.execute("SELECT 1 FROM sojourn.session WHERE handle = %s FOR UPDATE", (record.handle,))
        made: list[Record] = []
        found: list[Record | None] = []

        def open_feed() -> None:
            feeds.append(run(feed_of(store)))
            found.append(run(store.load(record.handle)))

        feeds: list[Feed] = []
        writer = threading.Thread(target=lambda: made.append(run(change(store, record, "a"))))
        watcher = threading.Thread(target=open_feed)
        writer.start()
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        until(lambda: database.ask(waits), "somebody who waits")
        watcher.start()
        time.sleep(0.3)
        assert feeds == made == []
        other.commit()
        writer.join(10)
        watcher.join(10)
    assert len(made) == 1
    assert found == made  # when it was open, that was over
    run(feeds[0].close())


def test_a_backup_that_takes_hours(database: Database, store: Store) -> None:
    """A transaction that may be a writer's and takes too long is not waited for: instead the feed says, later, to look
    at everything."""
    run(store.load("x"))
    hasty = open_store(database.url(clock="caller", deadline=3))
    with psycopg.connect(database.url()) as backup:
        backup.execute("LOCK TABLE sojourn.watching IN ACCESS SHARE MODE")
        began = time.monotonic()
        feed = run(feed_of(hasty))
        assert time.monotonic() - began < 3.0
        assert run(said(feed, lambda hints: len(hints) == 2)) == [ALL, ALL]
        run(feed.close())
    run(hasty.close())


# --- What is told ----------------------------------------------------------------------------------------------------


def test_what_is_too_long(store: Store) -> None:
    """A notification is bounded: of a commit that changes very many fields their names are left out, and of a user with
    a name of thousands of letters the name; many ends are several notifications, and too many of them one hint."""
    run(store.create(record := new_record(user_id="ü" * 4000), NOW))
    records = [new_record(user_id="ada") for _ in range(300)]
    for one in records:
        run(store.create(one, NOW))
    feed = run(feed_of(store))
    run(change(store, record, "a"))
    assert run(said(feed)) == [Hint(record.handle)]
    wanted = run(change(store, records[0], *("\0" * 20 + str(number) for number in range(100))))
    assert run(said(feed)) == [Hint(wanted.handle, "ada", wanted.version, None)]
    run(store.end_matching(NOW, user_id="ada"))
    found = run(said(feed, lambda hints: len(hints) >= 300))
    assert {hint.handle for hint in found} == {one.handle for one in records}
    assert all(hint.facts for hint in found)
    for number in range(1001):
        run(store.create(new_record(handle=f"many{number}", user_id="eve"), NOW))
    run(said(feed, lambda hints: any(hint.handle == "many1000" for hint in hints)))
    run(store.end_matching(NOW, user_id="eve"))
    assert run(said(feed)) == [ALL]


def test_a_notification_that_is_none_of_ours(database: Database, store: Store) -> None:
    """What somebody else says on our channel says to look at everything."""
    feed = run(feed_of(store))
    for payload in ("", "{}", "[1]", '[["x"]]'):
        database.ask("SELECT pg_notify(%s, %s)", channel_of("sojourn"), payload)
        assert run(said(feed)) == [ALL]


def test_schemas_are_apart(database: Database) -> None:
    """A feed tells of its own schema."""
    one, other = (open_store(database.url(clock="caller", deadline=10, schema=name)) for name in ("sojourn", "other"))
    feed = run(feed_of(one))
    run(feed_of(other))
    run(other.create(new_record(), NOW))
    assert run(quiet(feed))
    run(one.create(new_record(), NOW))
    assert len(run(said(feed))) == 1
    for store in (one, other):
        run(store.close())


# --- Telling is no part of the write ---------------------------------------------------------------------------------


def _instead(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Send something else after a commit."""
    monkeypatch.setitem(postgres_steps._STATEMENTS, "tell_commit", Statement("other", text))


@pytest.mark.parametrize(
    "text",
    ["SELECT 1 / 0", "SELECT pg_notify(repeat('x', 99), '')", "SELECT pg_terminate_backend(pg_backend_pid())"],
)
def test_telling_that_fails(database: Database, store: Store, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """If telling fails, the commit is made and acknowledged all the same, and it is told another way; the next is as
    good as ever."""
    run(store.create(record := new_record(), NOW))
    feed = run(feed_of(store))
    record = run(change(store, record, "a"))
    _instead(monkeypatch, text)
    record = run(change(store, record, "b"))
    record = run(change(store, record, "c"))
    assert run(store.load(record.handle)) == record
    found = run(said(feed, lambda hints: len(hints) == 3))
    assert [hint.fields for hint in found] == [("a",), ("b",), ("c",)]


def test_telling_that_takes_too_long(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """If telling takes longer than there is time, the commit is acknowledged all the same; at the deadline."""
    store = open_store(database.url(clock="caller", deadline=3))
    run(store.create(record := new_record(), NOW))
    feed = run(feed_of(store))
    record = run(change(store, record, "a"))
    _instead(monkeypatch, "SELECT pg_sleep(60)")
    began = time.monotonic()
    record = run(change(store, record, "b"))
    assert time.monotonic() - began < 6.0
    assert run(store.load(record.handle)) == record
    run(feed.close())
    run(store.close())


def test_who_is_overtaken_tells_all_the_same(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another commit comes between a commit and its telling, which finds nothing to tell then: it is told by itself."""
    run(store.create(record := new_record(), NOW))
    feed = run(feed_of(store))
    record = run(change(store, record, "a"))
    _instead(monkeypatch, "SELECT 1 WHERE false")
    run(change(store, record, "b"))
    assert [hint.fields for hint in run(said(feed, lambda hints: len(hints) == 2))] == [("a",), ("b",)]


def test_a_refused_commit_is_not_told(store: Store) -> None:
    """What was not written is not told."""
    run(store.create(record := new_record(), NOW))
    feed = run(feed_of(store))
    first = run(change(store, record, "a"))
    run(store.commit(record, successor(record), NOW, fields=("b",)))
    assert [hint.version for hint in run(said(feed))] == [first.version]
    assert run(quiet(feed))


@pytest.mark.parametrize("known", [False, True])
def test_a_reply_that_was_cut(database: Database, known: bool) -> None:
    """A commit whose reply is lost is told by the attempt that follows, if it was not before."""
    with Proxy(database.server.port) as proxy:
        writer = open_store(through(database.url(clock="caller", deadline=10), proxy))
        watcher = open_store(database.url(clock="caller", deadline=10))
        run(writer.create(record := new_record(), NOW))
        feed = run(feed_of(watcher))
        if known:
            record = run(change(writer, record, "before"))
            run(said(feed))
        wanted = successor(record)
        proxy.cut_reply(request=b"commit_fields")
        with pytest.raises(OutcomeUnknown):
            run(writer.commit(record, wanted, NOW, fields=("a",)))
        assert run(writer.commit(record, wanted, NOW, fields=("a",))) == Committed(wanted)
        assert Hint(record.handle, None, wanted.version, ("a",)) in run(said(feed))
        for store in (writer, watcher):
            run(store.close())


def test_a_telling_without_a_connection(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    """An end whose telling is cut off has been made, and says so; a log line says that those who watch do not know."""
    with Proxy(database.server.port) as proxy:
        writer = open_store(through(database.url(clock="caller", deadline=3), proxy))
        run(writer.create(record := new_record(), NOW))
        feed = run(feed_of(writer))
        proxy.cut_reply(request=b"pg_notify", times=100)
        with caplog.at_level(logging.WARNING, "sojourn"):
            assert [change.kind for change in run(writer.end([record.handle], "ended", NOW))] == ["ended"]
        assert "those who watch" in caplog.text
        run(feed.close())
        run(writer.close())


# --- A server that is gone -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("world", worlds.WORLDS, ids=lambda world: world.name)
@pytest.mark.parametrize("how", ["kill", "hang", "stop"])
def test_a_server_that_is_gone(world: worlds.World, how: str) -> None:
    """A server that dies is noticed at once, one that hangs within some seconds; meanwhile nobody waits for longer than
    he said. When it is back, another feed tells again."""
    with PostgreSQL() as server:

        async def body() -> None:
            store = open_store(server.url(clock="caller", deadline=3), world=world.name)
            await store.create(record := new_record(), NOW)
            feed = await feed_of(store)
            assert await quiet(feed)
            await world.aside(getattr(server, how))
            began = time.monotonic()
            failed = await _failure(feed)
            assert isinstance(failed, StoreUnavailable)
            assert time.monotonic() - began < (2.5 if how != "hang" else 9.0)
            for operation in (lambda: feed.follow([]), lambda: feed.forget([]), lambda: feed.hints(0.1)):
                with pytest.raises(StoreUnavailable):
                    await operation()
            if how == "hang":
                began = time.monotonic()
                with pytest.raises(StoreUnavailable):
                    await feed_of(store)
                assert time.monotonic() - began < 5.0
            await world.aside(server.go_on if how == "hang" else server.start)
            feed = await feed_of(store)
            wanted = await change(store, record, "a")
            assert Hint(record.handle, None, wanted.version, ("a",)) in await said(feed)
            await store.close()

        world.run(body())


async def _failure(feed: Feed) -> Exception | None:
    """What a feed fails with, in the end."""
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        began = time.monotonic()
        try:
            await feed.hints(0.2)
        except StoreUnavailable as error:
            return error
        finally:
            assert time.monotonic() - began < 2.0, "it waited for longer than it was told"
    return None


@pytest.mark.parametrize("fault", ["reset", "swallow", "refuse"])
def test_a_connection_that_is_gone(database: Database, fault: str) -> None:
    """A connection that is reset is noticed at once, one on which nothing arrives any more within some seconds."""
    with Proxy(database.server.port) as proxy:
        store = open_store(through(database.url(clock="caller", deadline=3), proxy))
        feed = run(feed_of(store))
        assert run(quiet(feed))
        getattr(proxy, fault)()
        began = time.monotonic()
        assert isinstance(run(_failure(feed)), StoreUnavailable)
        assert time.monotonic() - began < (9.0 if fault == "swallow" else 2.5)
        proxy.pass_on()
        run((feed := run(feed_of(store))).close())
        run(store.close())


def test_an_administrator_ends_it(database: Database, store: Store) -> None:
    """A feed whose connection an administrator ends says so."""
    feed = run(feed_of(store))
    database.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE %s", "%idle_session%")
    assert isinstance(run(_failure(feed)), StoreUnavailable)


def test_timeouts_of_the_server_are_not_the_feeds(database: Database) -> None:
    """A feed that has nothing to say for longer than the server lets anybody be idle, or run, stays open."""
    for name in ("idle_session_timeout", "idle_in_transaction_session_timeout", "statement_timeout"):
        database.ask(f"ALTER DATABASE {database.name} SET {name} = '700ms'")
    store = open_store(database.url(clock="caller", deadline=10))
    run(store.create(record := new_record(), NOW))
    feed = run(feed_of(store))
    assert run(quiet(feed, 2.0))
    wanted = run(change(store, record, "a"))
    assert run(said(feed)) == [Hint(record.handle, None, wanted.version, ("a",))]
    run(store.close())


def test_watching_is_said_again(database: Database, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A feed says again that somebody watches, and stands in nobody's way with that; if it was late, commits may have
    told nobody, and it says to look at everything."""
    for name, value in (("_BEAT", 0.2), ("_LEAST", 2.0), ("_ANSWERS", 2.0)):
        monkeypatch.setattr(postgres_feed, name, value)
    feed = run(feed_of(store))

    left = "SELECT until - extract(epoch FROM clock_timestamp()) FROM sojourn.watching"

    def until_said(enough: Callable[[float], bool]) -> None:
        """Wait until it is said for so many seconds, and hear nothing meanwhile."""
        give_up = time.monotonic() + 20
        while not enough(database.ask(left)[0][0]):
            assert time.monotonic() < give_up, "it is not said again"
            assert run(quiet(feed, 0.1))

    database.ask("UPDATE sojourn.watching SET until = until - 15")
    until_said(lambda left: left > 25)
    with psycopg.connect(database.url()) as other:
        other.execute("UPDATE sojourn.watching SET until = until - 15")
        other.commit()
        other.execute("SELECT 1 FROM sojourn.watching FOR UPDATE")
        assert run(quiet(feed, 3.0))  # longer than the server has for its answer
    assert run(quiet(feed))
    database.ask("UPDATE sojourn.watching SET until = until + 3600")  # as if the server's clock had been set back
    until_said(lambda left: left < 31)
    database.ask("UPDATE sojourn.watching SET until = 1")
    assert run(said(feed)) == [ALL]
    assert run(quiet(feed))


# --- Closing, and forks ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["feed", "store"])
@pytest.mark.parametrize("world", worlds.WORLDS, ids=lambda world: world.name)
def test_closing_wakes_who_waits(database: Database, world: worlds.World, what: str) -> None:
    """Whoever waits in `hints` when the feed is closed, or its store, is told so at once; the connection is gone."""

    async def body() -> None:
        store = open_store(database.url(clock="caller", deadline=10), world=world.name)
        feed = await feed_of(store)
        began = time.monotonic()

        async def close() -> None:
            await feed._waiting.sleep(0.2)
            await (feed if what == "feed" else store).close()

        failed, _ = await world.together([lambda: feed.hints(20.0), close])
        assert isinstance(failed, StoreUnavailable)
        assert "closed" in str(failed)
        assert time.monotonic() - began < 5.0
        for operation in (lambda: feed.hints(0.1), feed.open):
            with pytest.raises(StoreUnavailable):
                await operation()
        await feed.close()
        await store.close()
        with pytest.raises(StoreUnavailable):
            await feed_of(store)
        backends = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'sojourn' AND datname = current_database()"
        await world.aside(lambda: until(lambda: not database.ask(backends), "the end of its connections"))

    world.run(body())


def test_who_is_cancelled_loses_nothing(database: Database) -> None:
    """A task that is cancelled while it waits for hints leaves the feed as it was."""

    async def body() -> None:
        import asyncio

        store = open_store(database.url(clock="caller", deadline=10), world="async")
        await store.create(record := new_record(), NOW)
        feed = await feed_of(store)
        for _ in range(3):
            task = asyncio.create_task(feed.hints(10.0))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            record = await change(store, record, "a")
            assert [hint.version for hint in await said(feed)] == [record.version]
        await store.close()

    worlds.ASYNC.run(body())


def test_a_fork(database: Database, store: Store) -> None:
    """In a forked child the feed is the parent's, and says so; it may open one of its own; the parent's goes on."""
    run(store.create(record := new_record(), NOW))
    feed = run(feed_of(store))
    pid = os.fork()
    if not pid:
        try:
            with pytest.raises(StoreUnavailable, match="parent"):
                run(feed.hints(0.1))
            run(feed.close())
            own = run(feed_of(store))
            child = run(change(store, record, "child"))
            assert [hint.version for hint in run(said(own))] == [child.version]
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0
    assert [hint.fields for hint in run(said(feed))] == [("child",)]
