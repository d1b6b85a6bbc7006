"""Promise 2, on PostgreSQL: whatever becomes of the server, each operation is answered within its deadline, in the
words of this library; nothing is applied twice, nothing acknowledged is lost, and nobody has to restart anything.

What is shown of every store (races, cancelled callers, forks) is shown of PostgreSQL where that is.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest
from places import Opened, at_once
from writing import add_one

import worlds
from servers.postgres import Database, PostgreSQL, Standby, fresh, shared
from servers.process import LOOPBACK, until
from servers.proxy import Proxy, through
from sojourn import OutcomeUnknown, SessionConfig, SojournError, StoreError, StoreUnavailable, open_store
from sojourn.record import Committed, Record
from sojourn.store import Store
from sojourn.testing import NOW, new_record, successor

DEADLINE, SLACK = 1.5, 1.2  # twice the deadline is too long, and would be noticed
IMPATIENT = SessionConfig(deadline=DEADLINE)
ROOM = 18  # connections that the server has for those who are not its administrators

Operation = Callable[[Store, Record], Awaitable[Any]]
READS: dict[str, Operation] = {
    "load": lambda store, record: store.load(record.handle),
    "summaries": lambda store, record: store.summaries(NOW, user_id="ada"),
    "stats": lambda store, record: store.stats(),
}
WRITES: dict[str, Operation] = {
    "create": lambda store, record: store.create(new_record(user_id="ada"), NOW),
    "commit": lambda store, record: store.commit(record, successor(record), NOW),
    "login": lambda store, record: store.commit(record, successor(record, user_id="eve", generation=1), NOW),
    "touch": lambda store, record: store.touch(record.handle, 0, NOW, NOW),
    "lease": lambda store, record: store.lease(record.handle, 0, 1.0, NOW),
    "end": lambda store, record: store.end([record.handle], "ended", NOW),
    "end of a user": lambda store, record: store.end_matching(NOW, user_id="ada"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """A server that these tests may do harm to; each leaves it running."""
    with PostgreSQL(max_connections=ROOM + 2, superuser_reserved_connections=2) as running:
        yield running


@pytest.fixture
def database(server: PostgreSQL) -> Database:
    return server.database()


@contextmanager
def in_time(most: float = DEADLINE + SLACK) -> Iterator[None]:
    """What is done in here is done in time."""
    began = time.monotonic()
    yield
    took = time.monotonic() - began
    assert took < most, f"an answer after {took:.2f} s"


@contextmanager
def hung(server: PostgreSQL) -> Iterator[None]:
    """The server does nothing any more, in the midst of whatever it was at."""
    try:
        server.hang()
        yield
    finally:
        server.go_on()


class Ways:
    """Stores of one world, closed at the end of the test."""

    def __init__(self, world: worlds.World) -> None:
        self.world = world
        self._all: list[Store] = []

    def __call__(self, url: str, deadline: float = DEADLINE) -> Store:
        joint = "&" if "?" in url else "?"
        self._all.append(
            open_store(f"{url}{joint}clock=caller", SessionConfig(deadline=deadline), world=self.world.name)
        )
        return self._all[-1]

    async def leave(self) -> None:
        for store in self._all:
            await store.close()


@pytest.fixture
def ways(world: worlds.World) -> Ways:
    return Ways(world)


# --- A server that hangs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*READS, *WRITES])
async def test_a_hung_server(
    world: worlds.World, ways: Ways, server: PostgreSQL, database: Database, name: str
) -> None:
    """The server hangs when the request arrives: the caller hears of it within the deadline, is not told that a write
    which was sent has failed, and once the server goes on all is well with the same store."""
    store, record = ways(database.url()), new_record(user_id="ada")
    await store.create(record, NOW)
    operation = (READS | WRITES)[name]
    expected = StoreUnavailable if name in READS else OutcomeUnknown
    with hung(server):
        with in_time(), pytest.raises(expected):
            await operation(store, record)
        with in_time(), pytest.raises(StoreUnavailable):  # there is no connection any more, and none to be had
            await operation(store, record)
    await world.until(server.answers)
    await store.load(record.handle)
    other = new_record()
    assert isinstance(await store.create(other, NOW), Committed)
    assert await store.load(other.handle) == other


async def test_a_commit_into_a_hung_server_counts_once(
    world: worlds.World, ways: Ways, server: PostgreSQL, database: Database
) -> None:
    """Of a commit that was sent and not answered nobody knows; sent again it is committed, and was made once."""
    store, record = ways(database.url()), new_record()
    await store.create(record, NOW)
    wanted = successor(record, fields={"n": b"\x01"})
    with hung(server), pytest.raises(OutcomeUnknown):
        await store.commit(record, wanted, NOW)
    await world.until(server.answers)
    for _ in range(2):
        assert await store.commit(record, wanted, NOW) == Committed(wanted)
    assert await store.load(record.handle) == wanted


async def test_many_callers_of_a_hung_server(
    world: worlds.World, ways: Ways, server: PostgreSQL, database: Database
) -> None:
    """More callers than there are connections: those who wait for one are answered within the deadline, too."""
    store, record = ways(database.url(pool=3)), new_record()
    await store.create(record, NOW)

    async def caller(number: int) -> None:
        for _ in range(2):
            with in_time(), pytest.raises(StoreUnavailable):
                await store.load(record.handle)

    with hung(server):
        await at_once(world, 30, caller)
    await world.until(server.answers)
    assert await at_once(world, 30, lambda number: store.load(record.handle)) == [record] * 30


async def test_closing_does_not_wait_for_a_hung_server(
    world: worlds.World, ways: Ways, server: PostgreSQL, database: Database
) -> None:
    """Closing a store takes no time, whatever the server does, and whoever waits for a connection hears of it."""
    store, record = ways(database.url(pool=1), deadline=10), new_record()
    await store.create(record, NOW)
    with hung(server):

        async def close() -> None:
            if world is worlds.ASYNC:
                await asyncio.sleep(0.2)
            else:
                time.sleep(0.2)
            with in_time(2.5):  # and not the deadline
                await store.close()

        callers = [lambda: store.load(record.handle), lambda: store.load(record.handle), close]
        if world is worlds.BLOCKING:
            callers = callers[2:]  # a thread cannot be taken out of its wait
        results = await world.together(callers)
        assert results[-1] is None
    if world is worlds.ASYNC:
        assert sum(isinstance(result, StoreUnavailable) for result in results) == 2


# --- A server that is away, or refuses -------------------------------------------------------------------------------


async def test_no_server_at_first(world: worlds.World, ways: Ways) -> None:
    """A store can be opened while there is no server: the first operation says so, and the first after it has come
    makes the tables and is served."""
    server = PostgreSQL()
    try:
        store, record = ways(server.url(), deadline=5), new_record()
        with pytest.raises(StoreUnavailable, match="Check that the server runs"):
            await store.load(record.handle)
        server.start()
        assert await store.load(record.handle) is None
        assert isinstance(await store.create(record, NOW), Committed)
    finally:
        server.close()


async def test_a_restart_is_not_noticed(ways: Ways, server: PostgreSQL, database: Database) -> None:
    """Connections that a restart has closed while nobody used them are not used again: no caller hears of it."""
    store, record = ways(database.url(), deadline=5), new_record()
    await store.create(record, NOW)
    for _ in range(3):
        server.restart()
        assert await store.load(record.handle) == record
        server.restart()
        record, base = successor(record), record
        assert await store.commit(base, record, NOW) == Committed(record)


async def test_a_server_that_only_reads(ways: Ways, database: Database) -> None:
    """Where the server only reads, loads are served, and writes are refused with what to do about it."""
    store, record = ways(database.url()), new_record()
    await store.create(record, NOW)
    database.ask(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
    _cut_all(database)
    assert await store.load(record.handle) == record
    assert len(await store.summaries(NOW)) == 1
    for operation in WRITES.values():
        with in_time(), pytest.raises(StoreUnavailable, match="only reads"):
            await operation(store, record)
    assert await store.load(record.handle) == record
    with psycopg.connect(database.url(), autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"ALTER DATABASE {database.name} RESET default_transaction_read_only")
    _cut_all(database)
    assert isinstance(await store.commit(record, successor(record), NOW), Committed)


async def test_connections_that_an_administrator_ends(ways: Ways, server: PostgreSQL, database: Database) -> None:
    """Connections that are ended while a request is under way to them cost no caller anything: nothing was written on
    them, so the request goes out again on another one."""
    store, record = ways(database.url(), deadline=5), new_record()
    await store.create(record, NOW)
    for _ in range(3):
        await ways.world.until(lambda: len(_connected(database)) == 1)  # who was ended is gone a moment later
        (busy,) = _connected(database)
        with hung(server):
            ending = threading.Timer(0.2, lambda pid: (os.kill(pid, signal.SIGTERM), server.go_on()), [busy])
            ending.start()
            try:
                base, record = record, successor(record)
                assert await store.commit(base, record, NOW) == Committed(record)
            finally:
                ending.join()


def _connected(database: Database) -> list[object]:
    """The pids of the server's processes that serve a store of this database."""
    found = database.ask(
        "SELECT pid FROM pg_stat_activity WHERE application_name = 'sojourn' AND datname = current_database()"
    )
    return [pid for (pid,) in found]


async def test_a_refusal_at_the_very_end(ways: Ways, database: Database) -> None:
    """A transaction that the server refuses when it commits, after all its statements were run, is told as refused,
    whether it had one statement or several; the next one passes."""
    store, record = ways(database.url()), new_record(user_id="ada")
    await store.create(record, NOW)
    database.ask("CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$")
    for table in ("session", "change", "fresh"):
        database.ask(
            f"CREATE CONSTRAINT TRIGGER no AFTER INSERT OR UPDATE OR DELETE ON sojourn.{table}"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION no()"
        )
    for name in ("create", "commit", "login", "end", "end of a user"):
        with in_time(), pytest.raises(StoreUnavailable, match="not today: nothing was written"):
            await WRITES[name](store, record)
        assert await store.load(record.handle) == record
    database.ask("DROP FUNCTION no CASCADE")
    assert isinstance(await store.commit(record, successor(record), NOW), Committed)


async def test_too_many_connections(ways: Ways, server: PostgreSQL, database: Database) -> None:
    """Where the server takes no more clients, that is said, with what to do; once one has left, all is well."""
    database.ask("CREATE ROLE ordinary LOGIN; GRANT CREATE ON DATABASE " + database.name + " TO ordinary")
    url = database.url().replace("sojourn@", "ordinary@")
    store, record = ways(url), new_record()
    guests: list[psycopg.Connection[Any]] = []

    def no_room() -> bool:  # and none that comes a moment later, when somebody who has left is gone
        with suppress(psycopg.OperationalError):
            guests.append(psycopg.connect(url))
        return len(guests) == ROOM

    try:
        await ways.world.until(no_room)
        with in_time(), pytest.raises(StoreUnavailable, match="max_connections"):
            await store.load(record.handle)
        for guest in guests:
            guest.close()
        await ways.world.until(lambda: not _guests(database))
        assert isinstance(await store.create(record, NOW), Committed)
    finally:
        for guest in guests:
            guest.close()
        database.ask("DROP OWNED BY ordinary; DROP ROLE ordinary")


def _guests(database: Database) -> bool:
    return database.ask("SELECT count(*) FROM pg_stat_activity WHERE usename = 'ordinary'") != [(0,)]


async def test_a_row_that_somebody_holds(world: worlds.World, ways: Ways, database: Database) -> None:
    """Somebody keeps a row locked: who must wait for it is told in time, by the server, that nothing was written; who
    only reads is served; and who finds all connections in use is told that."""
    store, record, other = ways(database.url(pool=1)), new_record(), new_record()
    await store.create(record, NOW)
    await store.create(other, NOW)
    with psycopg.connect(database.url()) as holder:
        holder.execute("SELECT 1 FROM sojourn.session WHERE handle = %s FOR UPDATE", (record.handle,))
        with in_time(), pytest.raises(StoreUnavailable, match="nothing was written"):
            await store.commit(record, successor(record), NOW)
        assert await store.load(record.handle) == record
        told: list[str] = []
        while not any("connections were in use" in each for each in told):  # or got the one that came free just in time
            assert len(told) < 20, told
            results = await world.together([lambda: store.commit(record, successor(record), NOW)] * 4)
            assert all(isinstance(result, (StoreUnavailable, OutcomeUnknown)) for result in results)
            told += map(str, results)
    current = await store.load(record.handle)  # one of which it was not known may have been made when the row was free
    assert current is not None
    assert isinstance(await store.commit(current, successor(current), NOW), Committed)


async def test_tables_that_were_removed(ways: Ways, database: Database) -> None:
    """The tables vanish under a running process: that is said, and the next operation makes them anew."""
    store, record = ways(database.url()), new_record()
    await store.create(record, NOW)
    database.ask("DROP SCHEMA sojourn CASCADE")
    with pytest.raises(StoreUnavailable):
        await store.load(record.handle)
    assert await store.load(record.handle) is None
    assert isinstance(await store.create(record, NOW), Committed)


@contextmanager
def _full_backlog() -> Iterator[str]:
    """An address that takes no more connections and refuses none."""
    with socket.socket() as listening:
        listening.bind((LOOPBACK, 0))
        listening.listen(0)
        waiting = [socket.socket() for _ in range(8)]
        try:
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(listening.getsockname())
            yield f"postgresql://{LOOPBACK}:{listening.getsockname()[1]}/"
        finally:
            for one in waiting:
                one.close()


async def test_an_address_that_does_not_answer(ways: Ways) -> None:
    """Connecting is bounded as everything else is."""
    with _full_backlog() as url:
        store = ways(url)
        for _ in range(2):
            with in_time(), pytest.raises(StoreUnavailable):
                await store.load("x")


async def test_a_name_that_is_not_resolved(ways: Ways, monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that does not answer keeps nobody longer than the deadline, and holds up no event loop."""
    released = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: released.wait(10) or [])
    store = ways("postgresql://database.example/")
    try:
        with in_time(), pytest.raises(StoreUnavailable):
            await store.load("x")
    finally:
        released.set()


async def test_a_name_is_resolved(ways: Ways) -> None:
    """Names of hosts are looked up."""
    with fresh() as database:
        store = ways(database.url().replace(LOOPBACK, "localhost"), deadline=5)
        assert await store.load("x") is None
        await store.close()


# --- Connections that break ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", ["cut_reply", "cut_request"])
async def test_a_cut_connection(world: worlds.World, opened: Opened, cut: str) -> None:
    """Connections are cut in the midst of requests and replies: each update that is acknowledged was made once, and the
    manager sends again what nobody heard of."""
    with fresh() as database, Proxy(database.server.port) as proxy:
        sessions = opened(through(database.url(), proxy), config=SessionConfig(deadline=5))
        session_id = await sessions.create_session(data={"visits": 0})
        for number in range(1, 21):
            getattr(proxy, cut)(request=b"commit_fields")
            assert await sessions.update(session_id, "visits", add_one) == number
            getattr(proxy, cut)(request=b"load")
            assert await sessions.get_session(session_id) == {"visits": number}
        await sessions.close()


async def test_a_write_that_was_sent_is_not_sent_again_unasked(world: worlds.World, ways: Ways) -> None:
    """Who asked for a write whose reply is lost is told so: it may have been made, and overtaken since, and only who
    asked can tell whether to ask again. A read is asked again without a word."""
    with fresh() as database, Proxy(database.server.port) as proxy:
        store = ways(through(database.url(), proxy), deadline=5)
        record = new_record(at=time.time())
        await store.create(record, time.time())
        await store.load(record.handle)
        wanted = successor(record, fields={"n": b"\x01"})
        await store.commit(record, wanted, time.time())
        last = successor(wanted, fields={"n": b"\x02"})
        proxy.cut_reply(request=b"commit_fields")
        with pytest.raises(OutcomeUnknown):
            await store.commit(wanted, last, time.time())
        proxy.cut_reply(request=b"load")
        assert (await store.load(record.handle)).fields == {"n": b"\x02"}
        proxy.pass_on()


async def test_connections_that_the_server_ends(world: worlds.World, ways: Ways, database: Database) -> None:
    """An administrator ends all connections, again and again, while 8 callers write: who is refused was not served, and
    who was served was served once."""
    store = ways(database.url(), deadline=5)
    records = [new_record() for _ in range(8)]
    for record in records:
        await store.create(record, NOW)
    told: Counter[str] = Counter()
    over = threading.Event()

    def cut() -> None:
        while not over.wait(0.03):
            with suppress(psycopg.OperationalError):  # full of those who go and those who come
                _cut_all(database)

    async def write(number: int) -> int:
        base, made = records[number], 0
        until = time.monotonic() + 1.5
        while time.monotonic() < until or (made <= 5 and time.monotonic() < until + 20):  # on a busy machine
            wanted = successor(base, fields={"made": bytes([made % 128])})
            try:
                outcome = await store.commit(base, wanted, NOW)
            except StoreError as error:
                told[type(error).__name__] += 1
                continue  # the same again: it must have been made once, or not at all
            assert isinstance(outcome, Committed)
            base, made = outcome.record, made + 1
        records[number] = base
        return made

    cutter = threading.Thread(target=cut)
    cutter.start()
    try:
        made = await at_once(world, 8, write)
    finally:
        over.set()
        cutter.join()
    assert min(made) > 5
    for record in records:
        assert await store.load(record.handle) == record
    print(made, dict(told))


def _cut_all(database: Database) -> None:
    database.ask("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sojourn'")


def test_a_child_of_a_fork_has_connections_of_its_own() -> None:
    """Shown of every store in `test_endings`; here: the parent's connections are open, and in use, after its child has
    closed the store and is gone."""
    import os

    with fresh() as database:
        store = open_store(database.url(clock="caller"))
        worlds.BLOCKING.run(store.create(record := new_record(), NOW))
        child = os.fork()
        if not child:
            code = 1
            try:
                found = worlds.BLOCKING.run(store.load(record.handle))
                worlds.BLOCKING.run(store.close())
                code = 0 if found == record else 2
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert worlds.BLOCKING.run(store.load(record.handle)) == record
        until(lambda: len(_connected(database)) == 1, "the end of the child's connection, and of no other")
        worlds.BLOCKING.run(store.close())


# --- A server that is killed -----------------------------------------------------------------------------------------


async def test_killed_under_load(world: worlds.World, opened: Opened) -> None:
    """The server is killed three times while 6 callers write, at the default level, with its fsync on: every update
    that was acknowledged is there, none is there twice, and the managers go on by themselves."""
    server = PostgreSQL(fsync="on").start()
    try:
        sessions = opened(server.url(), config=SessionConfig(deadline=5))
        ids = [await sessions.create_session(data={"log": []}) for _ in range(6)]
        made: list[list[int]] = [[] for _ in ids]
        told: Counter[str] = Counter()
        over = threading.Event()

        def under_load(least: int) -> None:
            over.wait(0.7)
            until(lambda: over.is_set() or sum(map(len, made)) > least, "the load")  # as much, on a busy machine

        def kill() -> None:
            try:
                for turn in range(3):
                    under_load(30 * turn)
                    server.kill()
                    server.start()
                under_load(100)
            finally:
                over.set()

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            unsures = await at_once(
                world, 6, lambda number: _log(world, sessions, ids[number], over, told, made[number])
            )
        finally:
            over.set()
            killer.join()
        for session_id, sure, unsure in zip(ids, made, unsures, strict=True):
            log = (await sessions.get_session(session_id))["log"]
            assert log == sorted(set(log))
            assert set(sure) <= set(log) <= set(sure) | unsure
        assert sum(map(len, made)) > 100
        assert told["StoreUnavailable"], "nobody noticed"
        await sessions.close()
    finally:
        server.close()


async def _log(
    world: worlds.World,
    sessions: Any,
    session_id: str,
    over: threading.Event,
    told: Counter[str],
    sure: list[int],
) -> set[int]:
    """Write numbers into a session's log until it is over; those that were acknowledged are put into `sure`. Returns
    those that nobody knows of. What was refused is counted."""
    unsure: set[int] = set()
    turn = 0
    while not over.is_set():
        turn += 1
        try:
            async with sessions.session(session_id) as session:
                session["log"].append(turn)
            sure.append(turn)
        except OutcomeUnknown:
            unsure.add(turn)
        except SojournError as error:
            told[type(error).__name__] += 1
            await world.pause()
    return unsure


async def test_the_primary_is_lost(world: worlds.World, opened: Opened) -> None:
    """At the level "replicated" the primary is killed under load and its standby takes over: every update that was
    acknowledged is there, and the same manager, who knows both addresses, reads it there. It writes there as soon as
    that server has a standby of its own, and not before."""
    with PostgreSQL(fsync="on") as primary, Standby(primary) as standby:
        hosts = f"{LOOPBACK}:{primary.port},{LOOPBACK}:{standby.port}"
        url = f"postgresql://sojourn@{hosts}/postgres?target_session_attrs=read-write&durability=replicated"
        sessions = opened(url, config=SessionConfig(deadline=5))
        ids = [await sessions.create_session(data={"log": []}) for _ in range(4)]
        made: list[list[int]] = [[] for _ in ids]
        over = threading.Event()

        def fail_over() -> None:
            try:
                over.wait(1)
                until(lambda: over.is_set() or min(map(len, made)) > 20, "the load")  # as much, on a busy machine
                primary.kill()
                standby.promote()
                over.wait(1)
            finally:
                over.set()

        failing_over = threading.Thread(target=fail_over)
        failing_over.start()
        try:
            unsures = await at_once(
                world, 4, lambda number: _log(world, sessions, ids[number], over, Counter(), made[number])
            )
        finally:
            over.set()
            failing_over.join()
        for session_id, sure, unsure in zip(ids, made, unsures, strict=True):
            log = (await sessions.get_session(session_id))["log"]
            assert log == sorted(set(log))
            assert set(sure) <= set(log) <= set(sure) | unsure
            assert len(sure) > 20
        with pytest.raises(StoreUnavailable, match="synchronous_standby_names"):
            await sessions.update(ids[0], "visits", add_one)
        with Standby(standby):
            assert await sessions.update(ids[0], "visits", add_one) == 1
        await sessions.close()


def test_the_shared_server_is_still_there() -> None:
    """These tests do their harm to a server of their own."""
    assert shared().answers()
