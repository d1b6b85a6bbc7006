"""The PostgreSQL store keeps the contract, in both worlds, on a real server; and what is its own: whose clock counts,
the order of facts, how its statements reach their rows, its schema and its URL."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from urllib.parse import quote

import psycopg
import pytest
from sql_contract import SQLContract

import worlds
from servers import postgres
from servers.postgres import Database, PostgreSQL
from servers.process import until
from sojourn import (
    ConfigurationError,
    DamagedRecord,
    HistoryTrimmed,
    OutcomeUnknown,
    StoreDamaged,
    StoreUnavailable,
    facts,
    open_store,
)
from sojourn.blocking import run
from sojourn.record import Cap, Committed, Conflict, Gone, Leased, Refused, replace
from sojourn.store import HISTORY_AGE, NO_CAP, Store, World
from sojourn.stores import postgres as postgres_store
from sojourn.stores import postgres_schema, postgres_steps
from sojourn.stores.postgres import PostgresStore
from sojourn.stores.postgres_schema import Upgrade
from sojourn.stores.postgres_wire import Wire
from sojourn.stores.sealing import seal
from sojourn.stores.sql import columns
from sojourn.testing import NOW, new_record, successor
from sojourn.waiting import ThreadWaiting


class PostgresContract(SQLContract):
    module = postgres_store

    @pytest.fixture(autouse=True)
    def _place(self) -> Iterator[None]:
        with postgres.fresh() as database:
            self.url = database.url(clock="caller", deadline=10)
            yield

    def open(self) -> Store:
        return open_store(self.url, world=self.world)


class TestBlocking(PostgresContract):
    world: World = "blocking"


class TestAsync(PostgresContract):
    world: World = "async"


# --- Time ------------------------------------------------------------------------------------------------------------


def test_the_servers_clock_decides(database: Database) -> None:
    """Unless told otherwise the store goes by the server's clock, whatever time its callers believe it is: who is alive
    by it commits and is listed, who is dead by it is gone and is swept, and facts carry its time."""
    store = open_store(database.url(deadline=10))
    now = time.time()
    living, dead = new_record(at=now), new_record(at=now - 900)
    dead = replace(dead, ends_at=now - 10)
    for record in (living, dead):
        run(store.create(record, NOW))
    for wrong in (NOW, now + 1e6):
        assert isinstance(run(store.commit(living, successor(living), wrong)), (Committed, Conflict))
        assert run(store.touch(living.handle, 0, now, wrong))
        assert run(store.commit(dead, successor(dead), wrong)) == Gone()
        assert run(store.commit(dead, successor(dead, accessed_at=now), wrong)) == Gone()
        assert not run(store.touch(dead.handle, 0, now, wrong))
        assert run(store.lease(dead.handle, 0, 1.0, wrong)) == Gone()
        assert [summary.handle for summary in run(store.summaries(wrong))] == [living.handle]
    held = run(store.lease(living.handle, 0, 60.0, NOW))
    assert isinstance(held, Committed)
    assert now + 59 < held.record.leased_until < time.time() + 61
    assert [change.handle for change in run(store.purge_expired(NOW, 10))] == [dead.handle]
    _, told = run(store.changes(0, 10))
    assert all(now - 1 <= change.at <= time.time() + 1 for change in told)
    run(store.close())


def test_a_callers_clock_that_is_ahead(database: Database) -> None:
    """Activity that a caller reports from the future counts as of now: a machine whose clock is ahead does not keep
    sessions alive for longer."""
    store = open_store(database.url(deadline=10))
    now = time.time()
    ahead = now + 3600
    created, touched, committed = (new_record(at=at) for at in (ahead, now, now))
    for record in (created, touched, committed):
        run(store.create(record, ahead))
    run(store.touch(touched.handle, 0, ahead, ahead))
    wanted = successor(committed, accessed_at=ahead)
    assert isinstance(run(store.commit(committed, wanted, ahead)), Committed)
    for record in (created, touched, committed):
        loaded = run(store.load(record.handle))
        assert now - 1 <= loaded.accessed_at <= time.time()
    later = successor(wanted, fields={"n": b"\x01"})
    assert isinstance(run(store.commit(wanted, later, ahead)), Committed)
    assert len(run(store.summaries(now))) == 3
    run(store.close())


# --- Facts -----------------------------------------------------------------------------------------------------------


def test_no_fact_is_passed_by(database: Database, store: Store) -> None:
    """A transaction notes a fact early and commits late: who follows meets it all the same, after those that were
    committed before."""
    run(store.create(first := new_record(), NOW))
    with psycopg.connect(database.url()) as slow:
        slow.execute(
            "INSERT INTO sojourn.fresh (at, kind, handle, id) VALUES (1, 'rotated', 'slow', 'slow:rotated'::bytea)"
        )
        run(store.create(second := new_record(), NOW))
        position, told = run(store.changes(0, 10))
        assert [change.handle for change in told] == [first.handle, second.handle]
    run(store.create(third := new_record(), NOW))
    _, told = run(store.changes(position, 10))
    assert sorted(change.handle for change in told) == sorted(["slow", third.handle])
    assert len(run(store.changes(0, 10))[1]) == 4


def test_followers_and_writers_at_once(database: Database) -> None:
    """Four that follow while others create: each meets every fact once, and all in the same order."""
    stores = [open_store(database.url(clock="caller", deadline=10)) for _ in range(2)]
    over = threading.Event()

    async def create(number: int) -> list[str]:
        records = [new_record() for _ in range(60)]
        for record in records:
            await stores[number % 2].create(record, NOW)
        return [f"{record.handle}:created" for record in records]

    async def follow(number: int) -> list[str]:
        position, met = 0, []
        while True:
            last = over.is_set()
            position, told = await stores[number % 2].changes(position, 50)
            met += [change.id for change in told]
            if last and not told:
                return met

    async def make(number: int) -> list[str]:
        made = await create(number)
        done.append(number)
        if len(done) == 3:
            over.set()
        return made

    done: list[int] = []
    tasks = [lambda n=n: make(n) for n in range(3)] + [lambda n=n: follow(n) for n in range(4)]
    results = run(worlds.BLOCKING.together(tasks))
    made, met = results[:3], results[3:]
    assert sorted(met[0]) == sorted(name for names in made for name in names)
    assert all(each == met[0] for each in met)
    for one in stores:
        run(one.close())


def test_one_gives_positions_at_a_time(database: Database, store: Store) -> None:
    """While somebody gives facts their positions and has not committed, nobody else does: later facts would be met
    before the earlier ones, which a follower would then pass by."""
    hasty = open_store(database.url(clock="caller", deadline=1))
    run(store.create(record := new_record(), NOW))
    with psycopg.connect(database.url()) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (postgres_schema.lock_number("sojourn", "places"),))
        with pytest.raises(StoreUnavailable):
            run(hasty.changes(0, 10))
    assert [change.handle for change in run(store.changes(0, 10))[1]] == [record.handle]
    run(hasty.close())


def test_a_position_that_was_left_out(database: Database, store: Store) -> None:
    """Where somebody failed to commit, a position is missing. Nobody is told that facts are gone while they are there,
    and who has read what is gone is told where to go on."""
    for _ in range(3):
        run(store.create(new_record(), NOW))
    assert run(store.position()) == 3
    database.ask("SELECT nextval('sojourn.change_position')")
    run(store.create(newest := new_record(), NOW))
    assert run(store.position()) == 5
    for since in (3, 4):
        assert [change.handle for change in run(store.changes(since, 10))[1]] == [newest.handle]
    database.ask("DELETE FROM sojourn.change WHERE position < 5")
    for since in (1, 2, 3, 6):
        with pytest.raises(HistoryTrimmed) as gap:
            run(store.changes(since, 10))
        assert gap.value.position == 4
    assert len(run(store.changes(4, 10))[1]) == 1


def test_history_leaves_in_steps(database: Database, store: Store) -> None:
    """A purge after a long time removes what is too old some at a time, fresh facts included."""
    run(store.create(new_record(lasts=1e9, idle=1e9), NOW))
    database.ask(
        "INSERT INTO sojourn.fresh (at, kind, handle, id) SELECT n, 'rotated', n::text, n::text::bytea "
        "FROM generate_series(1, 2500) AS n"
    )
    kept = []
    for _ in range(4):
        run(store.purge_expired(NOW + 2 * HISTORY_AGE, 10))
        kept += database.ask("SELECT count(*) FROM sojourn.change")
    assert kept == [(1501,), (501,), (1,), (1,)]
    assert run(store.position()) == 2501


def test_history_is_bounded(database: Database, store: Store) -> None:
    """Of the facts the last ten thousand are kept."""
    run(store.create(new_record(), NOW))
    database.ask(
        "INSERT INTO sojourn.fresh (at, kind, handle, id) SELECT n, 'rotated', n::text, n::text::bytea "
        "FROM generate_series(1, 10100) AS n"
    )
    position, told = run(store.changes(0, 20_000))
    assert len(told) == 10_000
    assert told[-1].handle == "10100"
    run(store.create(new_record(), NOW))
    assert [change.kind for change in run(store.changes(position, 10))[1]] == ["created"]
    assert database.ask("SELECT count(*) FROM sojourn.change") == [(10_000,)]
    assert run(store.stats()).sessions == 2


# --- Statements ------------------------------------------------------------------------------------------------------


def test_every_statement_finds_its_rows_by_an_index(database: Database, store: Store) -> None:
    """Of the statements that requests and sweeps run, none reads all of the sessions, however they are prepared; on ten
    thousand of them."""
    run(store.create(new_record(user_id="ada"), NOW))
    database.ask(
        "INSERT INTO sojourn.session (generation, authenticated_at, accessed_at, idle_for, ends_at, fence, "
        "leased_until, handle, version, user_id, body) SELECT generation, authenticated_at, accessed_at + n, idle_for, "
        "ends_at + n, fence, leased_until, n::text, version, n::text::bytea, body "
        "FROM sojourn.session, generate_series(1, 10000) AS n"
    )
    with psycopg.connect(database.url(), autocommit=True) as connection:
        connection.execute(store._settings)
        connection.execute("ANALYZE")
        for name, statement in postgres_steps._STATEMENTS.items():
            if name in ("begin", "commit", "everything"):
                continue
            types = ", ".join(_TYPE_NAMES[each] for each in statement.types)
            connection.execute(f"PREPARE s {f'({types})' if types else ''} AS {statement.text.decode()}".encode())
            values = ", ".join(["NULL"] * len(statement.types))
            plan = connection.execute(
                f"EXPLAIN EXECUTE s {f'({values})' if values else ''}".encode(), prepare=False
            ).fetchall()
            connection.execute("DEALLOCATE s")
            text = "\n".join(line for (line,) in plan)
            assert "Seq Scan on session" not in text, f"{name}:\n{text}"
            if name.startswith("by_activity"):  # and of those of one moment nothing but their order is left to do
                assert "session_by_access" in text, text
                assert "Presorted Key: session.accessed_at" in text or "Presorted Key: accessed_at" in text, text


_TYPE_NAMES = {17: "bytea", 20: "bigint", 25: "text", 701: "float8", 1001: "bytea[]", 1009: "text[]", 1022: "float8[]"}


def test_a_commit_of_fields_writes_no_index(database: Database, store: Store) -> None:
    """Commits that change fields only are updates in place, as PostgreSQL has them (HOT): they touch no index."""
    record = new_record(user_id="ada", fields={"block": b"x" * 1500})
    run(store.create(record, NOW))
    for _ in range(50):
        outcome = run(store.commit(record, successor(record), NOW))
        assert isinstance(outcome, Committed)
        record = outcome.record
    run(store.close())  # what it did is counted when its connection ends
    until(lambda: _updates(database)[0] == 50, "the count of updates")
    assert _updates(database) == (50, 50)


def _updates(database: Database) -> tuple[object, ...]:
    return database.ask("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_all_tables WHERE relname = 'session'")[0]


@pytest.mark.parametrize(
    ("operation", "trips"),
    [("load", 1), ("create", 1), ("commit", 1), ("commit with facts", 1), ("touch", 1), ("lease", 1), ("end", 1)],
)
def test_one_round_trip(store: Store, monkeypatch: pytest.MonkeyPatch, operation: str, trips: int) -> None:
    """What a request does costs one round trip an operation."""
    record = new_record(user_id="ada")
    run(store.create(record, NOW))
    wanted = successor(record)
    told = (facts.rotated(wanted, NOW),)
    counted: list[int] = []
    original = Wire.run

    async def counting(self: Wire, *arguments: object) -> object:
        counted.append(1)
        return await original(self, *arguments)

    monkeypatch.setattr(Wire, "run", counting)
    operations = {
        "load": lambda: store.load(record.handle),
        "create": lambda: store.create(new_record(user_id="eve"), NOW),
        "commit": lambda: store.commit(record, wanted, NOW),
        "commit with facts": lambda: store.commit(record, wanted, NOW, facts=told),
        "touch": lambda: store.touch(record.handle, 0, NOW + 1, NOW + 1),
        "lease": lambda: store.lease(record.handle, 0, 1.0, NOW),
        "end": lambda: store.end([record.handle], "ended", NOW),
    }
    run(operations[operation]())
    assert len(counted) == trips


def test_a_damaged_row(database: Database, store: Store) -> None:
    """A row that fails its check is not served, hides nobody else, and can be ended."""
    good, bad = new_record(user_id="ada"), new_record(user_id="ada")
    for record in (good, bad):
        run(store.create(record, NOW))
    database.ask(
        "UPDATE sojourn.session SET body = set_byte(body, 40, get_byte(body, 40) # 255) WHERE handle = %s", bad.handle
    )
    for operation in (
        lambda: store.load(bad.handle),
        lambda: store.lease(bad.handle, 0, 1.0, NOW),
        lambda: store.commit(successor(bad), successor(bad), NOW),
    ):
        with pytest.raises(DamagedRecord):
            run(operation())
    assert [summary.handle for summary in run(store.summaries(NOW))] == [good.handle]
    assert len(run(store.verify())) == 1
    assert len(run(store.end([bad.handle], "ended", NOW))) == 1
    assert run(store.verify()) == []


def test_who_is_kept_must_have_been_alive(database: Database, store: Store) -> None:
    """The end of all sessions but one does not revive that one, if it had ended with all others before."""
    run(store.create(record := new_record(), NOW))
    database.ask("UPDATE sojourn.era SET epoch = epoch + 1")  # all ended, and who ended them died before removing them
    run(store.end_matching(NOW, keep=record.handle))
    assert run(store.load(record.handle)) is None


@pytest.mark.parametrize(
    "cap", [NO_CAP, Cap(total=1), Cap(total=100), Cap(per_user=1)], ids=["none", "one", "100", "user"]
)
def test_who_ended_with_all_makes_way(database: Database, store: Store, cap: Cap) -> None:
    """A record of a handle that one has which ended with all others and is not removed yet takes its place, whatever
    the cap; its end is told with the creation."""
    run(store.create(before := new_record(), NOW))
    database.ask("UPDATE sojourn.era SET epoch = epoch + 1")  # all ended, and who ended them died before removing them
    after = new_record(handle=before.handle, user_id="ada")
    outcome = run(store.create(after, NOW, cap))
    assert isinstance(outcome, Committed)
    told = outcome.facts
    assert [(change.kind, change.reason) for change in told] == [("ended", "revoked"), ("created", None)]
    assert run(store.load(after.handle)) == after
    assert run(store.stats()).sessions == 1
    assert run(store.changes(0, 10))[1][1:] == list(told)


def test_a_repeated_creation_at_the_cap_evicts_nobody(store: Store) -> None:
    """A creation under a cap of the store that is sent again, as its reply did not come, makes room only once."""
    records = [new_record(at=NOW - 1), new_record()]
    for record in (*records, records[1]):
        assert isinstance(run(store.create(record, NOW, Cap(total=2))), Committed)
    assert {summary.handle for summary in run(store.summaries(NOW))} == {record.handle for record in records}


@pytest.mark.parametrize("who", ["creation", "sign-in", "end of all of the user", "creation under a cap of the store"])
def test_who_must_wait_for_whom(database: Database, store: Store, who: str) -> None:
    """The end of all sessions of a user is before or after each that becomes the user's, and so are creations under a
    cap before or after each other: while one is under way, the other waits, and is made when it is over."""
    base, mine = new_record(), new_record(user_id="ada")
    for record in (base, mine):
        run(store.create(record, NOW))
    signed_in = successor(base, user_id="ada", generation=1)
    operations = {
        "creation": lambda store: store.create(new_record(user_id="ada"), NOW),
        "sign-in": lambda store: store.commit(base, signed_in, NOW),
        "end of all of the user": lambda store: store.end_matching(NOW, user_id="ada"),
        "creation under a cap of the store": lambda store: store.create(new_record(), NOW, Cap(total=100)),
    }
    name = ("total",) if who.endswith("the store") else ("user", "ada")
    shared = "_shared" if who.startswith("end") else ""
    hasty = open_store(database.url(clock="caller", deadline=1))
    with psycopg.connect(database.url()) as other:
        number = postgres_schema.lock_number("sojourn", *name)
        other.execute(f"SELECT pg_advisory_xact_lock{shared}({number})")
        with pytest.raises(StoreUnavailable):
            run(operations[who](hasty))
    assert run(operations[who](store))
    run(hasty.close())


def test_a_sweep_stops_for_nobody(database: Database, store: Store) -> None:
    """A sweep passes by what somebody else is at work on, and does not keep writers waiting."""
    dead = [new_record(at=NOW - 50_000) for _ in range(5)]
    for record in dead:
        run(store.create(record, NOW))
    with psycopg.connect(database.url()) as busy:
        busy.execute("SELECT 1 FROM sojourn.session WHERE handle = %s FOR UPDATE", (dead[0].handle,))
        told = run(store.purge_expired(NOW, 10))
        assert {change.handle for change in told} == {record.handle for record in dead[1:]}
    assert [change.handle for change in run(store.purge_expired(NOW, 10))] == [dead[0].handle]


def test_a_refusal_keeps_the_connection(database: Database, store: Store) -> None:
    """A user who is at the cap costs no new connection each time."""
    cap = Cap(per_user=1, refuse=True)
    run(store.create(new_record(user_id="ada"), NOW, cap))
    before = database.ask(_BACKENDS)
    for _ in range(3):
        assert run(store.create(new_record(user_id="ada"), NOW, cap)) == Refused()
    assert database.ask(_BACKENDS) == before


_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'sojourn' AND datname = current_database()"


def test_two_transactions_in_each_others_way(database: Database, store: Store) -> None:
    """A deadlock that PostgreSQL resolves at our cost is tried again: the caller does not hear of it."""
    database.ask(f"ALTER DATABASE {database.name} SET deadlock_timeout = '50ms'")
    first, gate, last = records = [new_record(handle=letter * 22) for letter in "ABC"]
    for record in records:
        run(store.create(record, NOW))
    lock = "SELECT 1 FROM sojourn.session WHERE handle = %s FOR UPDATE"
    waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with psycopg.connect(database.url()) as other, psycopg.connect(database.url()) as keeper:
        other.execute("SET deadlock_timeout = '60s'")
        other.execute(lock, (last.handle,))
        keeper.execute(lock, (gate.handle,))
        ending: list[object] = []
        handles = [record.handle for record in records]
        ours = threading.Thread(target=lambda: ending.extend(run(store.end(handles, "ended", NOW))))
        theirs = threading.Thread(target=lambda: (other.execute(lock, (first.handle,)), other.commit()))
        ours.start()
        until(lambda: len(database.ask(waits)) == 1, "us, who have the first and wait for the gate")
        theirs.start()
        until(lambda: len(database.ask(waits)) == 2, "the other, who has the last and waits for the first")
        keeper.commit()  # it is we who close the circle, and who find it, as we look for it: the other does not
        for thread in (theirs, ours):
            thread.join(20)
    assert len(ending) == 3


# --- The schema ------------------------------------------------------------------------------------------------------


def test_many_start_at_once(database: Database) -> None:
    """Ten stores that find no tables make them once, and all go on."""
    stores = [open_store(database.url(deadline=10)) for _ in range(10)]
    results = run(worlds.BLOCKING.together([lambda one=one: one.load("x") for one in stores]))
    assert results == [None] * 10
    assert database.ask("SELECT version FROM sojourn.about") == [(2,)]
    for one in stores:
        run(one.close())


def test_schemas_are_apart(database: Database) -> None:
    """Stores in two schemas, of any name, share nothing."""
    one, other = (
        PostgresStore(database.url(), schema=name, clock="caller", deadline=10)
        for name in ("sojourn", 'Other "one"; --')
    )
    run(one.create(record := new_record(), NOW))
    assert run(other.load(record.handle)) is None
    assert run(one.load(record.handle)) == record
    for each in (one, other):
        run(each.close())


def test_the_next_version_beside_this_one(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a process of the next version upgrades the tables, one of this version goes on creating, reading and
    writing: no session is lost, and each sees what the other does, also through connections that come later."""
    old = open_store(database.url(clock="caller", deadline=10))
    records = [new_record(user_id="ada") for _ in range(4)]
    for record in records:
        run(old.create(record, NOW))
    upgrade = Upgrade(script="ALTER TABLE session ADD COLUMN colour text NOT NULL DEFAULT 'grey'", works_with=1)
    monkeypatch.setattr(postgres_schema, "UPGRADES", (*postgres_schema.UPGRADES, upgrade))
    new = open_store(database.url(clock="caller", deadline=10))
    monkeypatch.undo()

    async def write(number: int) -> None:
        base = records[number]
        for turn in range(60):
            wanted = successor(base, fields={"turn": bytes([turn])})
            assert await old.commit(base, wanted, NOW) == Committed(wanted)
            base = wanted
            await old.create(new_record(user_id="eve"), NOW)
        records[number] = base

    async def upgrading(_number: int) -> int:
        return await new.migrate()

    operations = [*(lambda n=n: write(n) for n in range(4)), lambda: upgrading(0)]
    results = run(worlds.BLOCKING.together(operations))
    assert results == [None, None, None, None, 3]
    later = open_store(database.url(clock="caller", deadline=10))
    for store in (old, new, later):
        for record in records:
            assert run(store.load(record.handle)) == record
        assert len(run(store.summaries(NOW, limit=1000))) == 244
    run(later.create(record := new_record(), NOW))
    assert isinstance(run(new.commit(record, successor(record), NOW)), Committed)
    for store in (old, new, later):
        run(store.close())


def test_the_first_version_is_upgraded(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables of the first version are brought up to date with what they hold, and a program of that version goes on
    beside a new one: what it writes is read, its facts are in the history, and it may be what gives them their
    positions."""
    make_the_first_version(database, monkeypatch)
    with psycopg.connect(database.url(), autocommit=True, options="-c search_path=sojourn") as program:
        record = new_record(user_id="ada")
        values = [*columns(record), seal(record)]
        values[2] = b"ada"
        program.execute(_FIRST["create"], (record.handle, *values))
        program.execute(_FIRST["note"], (record.handle,))
        program.execute(_FIRST["place"])
        new = open_store(database.url(clock="caller", deadline=10))
        assert run(new.load(record.handle)) == record
        wanted = successor(record)
        told = facts.changed(record.handle, "ada", wanted.version, ("n", "\0"), NOW)
        assert run(new.commit(record, wanted, NOW, fields=("n",), facts=(told,))) == Committed(wanted, (told,))
        later = successor(wanted)
        done = program.execute(_FIRST["commit"], (later.version, seal(later), record.handle, wanted.version))
        assert done.rowcount == 1
        assert run(new.load(record.handle)) == later
        program.execute(_FIRST["note"], (record.handle,))
        position, found = run(new.changes(0, 10))
        assert [(change.kind, change.fields) for change in found] == [
            ("created", None), ("changed", ("n", "\0")), ("created", None),
        ]  # fmt: skip
        program.execute(_FIRST["note"], (record.handle,))
        program.execute(_FIRST["place"])
        assert len(run(new.changes(position, 10))[1]) == 1
    assert database.ask("SELECT version, works_with FROM sojourn.about") == [(2, 1)]
    run(new.close())


def make_the_first_version(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lay out the tables as the first version had them."""
    with monkeypatch.context() as patched:
        patched.setattr(postgres_schema, "UPGRADES", ())
        first = open_store(database.url(deadline=10))
        assert run(first.migrate()) == 1
        run(first.close())


_FIRST = {
    "create": b"INSERT INTO session (handle, version, generation, user_id, authenticated_at, accessed_at, idle_for, "
    b"ends_at, fence, leased_until, body) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
    "commit": b"UPDATE session SET version = %s, body = %s WHERE handle = %s AND version = %s",
    "note": b"INSERT INTO fresh (at, kind, handle, id) SELECT 1, 'created', n, gen_random_uuid()::text::bytea "
    b"FROM (SELECT %s AS n) AS one",
    "place": b"WITH placed AS (DELETE FROM fresh RETURNING noted, at, kind, handle, id, user_id, reason) "
    b"INSERT INTO change (position, at, kind, handle, id, user_id, reason) "
    b"SELECT nextval('change_position'), at, kind, handle, id, user_id, reason FROM placed",
}


def test_a_role_that_owns_nothing_goes_on(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """A role that was granted the tables of the first version, and owns none, may use those of the next once another
    role has brought them up to date."""
    make_the_first_version(database, monkeypatch)
    name = f"only {database.name}"
    database.ask(f'CREATE ROLE "{name}" LOGIN')
    try:
        database.ask(f'GRANT USAGE ON SCHEMA sojourn TO "{name}"')
        database.ask(f'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA sojourn TO "{name}"')
        database.ask(f'GRANT USAGE ON ALL SEQUENCES IN SCHEMA sojourn TO "{name}"')
        owner = open_store(database.url(deadline=10))
        assert run(owner.migrate()) == 2
        store = open_store(database.url(clock="caller", deadline=10).replace("//sojourn@", f"//{quote(name)}@"))
        feed = store.feed(ThreadWaiting())
        run(feed.open())
        run(store.create(record := new_record(), NOW))
        assert isinstance(run(store.lease(record.handle, 0, 5.0, NOW, name="one", patience=1.0)), Committed)
        assert isinstance(run(store.lease(record.handle, 0, 5.0, NOW, name="other", patience=1.0)), Leased)
        assert run(store.bookmark("reader", "one", NOW, hold=1.0)) == 0
        run(store.purge_expired(NOW, 10))
        assert len(run(store.changes(0, 10))[1]) == 1
        assert len(run(feed.hints(5.0))) == 1
        for one in (owner, store):
            run(one.close())
    finally:
        database.ask(f'DROP OWNED BY "{name}"')
        database.ask(f'DROP ROLE "{name}"')


def test_a_version_that_is_too_new(database: Database) -> None:
    """Tables that this version cannot live with are refused, with the remedy, and not touched; `migrate` does not touch
    them either."""
    run((first := open_store(database.url(deadline=10))).load("x"))
    run(first.close())
    database.ask("UPDATE sojourn.about SET version = 9, works_with = 9")
    store = open_store(database.url(deadline=10))
    for operation in (lambda: store.load("x"), lambda: store.create(new_record(), NOW), store.migrate):
        with pytest.raises(StoreDamaged, match="upgrade Sojourn"):
            run(operation())
    assert database.ask("SELECT version, works_with FROM sojourn.about") == [(9, 9)]
    run(store.close())


# --- Levels, and the URL ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("level", "setting"), [("power", "on"), ("process", "off")])
def test_levels(database: Database, level: str, setting: str) -> None:
    """The level of durability is that of each commit on the server."""
    store = open_store(database.url(durability=level, deadline=10))
    assert store.durability == level
    run(store.load("x"))
    ((pid,),) = database.ask(_BACKENDS)
    assert pid
    assert f"SET synchronous_commit = {setting};" in store._settings
    run(store.close())


def test_replicated_needs_a_standby(database: Database) -> None:
    """Where no synchronous standby is set, the level "replicated" is refused at the first use: nothing is written."""
    store = open_store(database.url(durability="replicated", deadline=10))
    with pytest.raises(StoreUnavailable, match="synchronous_standby_names"):
        run(store.create(new_record(), NOW))
    run(store.close())


def test_a_standby_that_is_away() -> None:
    """Where the standby does not answer, a write at the level "replicated" is neither acknowledged nor said to have
    failed."""
    with PostgreSQL(synchronous_standby_names="away") as server:
        quick = open_store(server.url(durability="process", clock="caller", deadline=10))
        run(quick.create(record := new_record(), NOW))
        sure = open_store(server.url(durability="replicated", clock="caller", deadline=3))
        assert run(sure.load(record.handle)) == record
        with pytest.raises(OutcomeUnknown):
            run(sure.commit(record, successor(record), NOW))
        for store in (quick, sure):
            run(store.close())


@pytest.mark.parametrize(
    "query",
    ["durability=memory", "clock=sun", "deadline=soon", "deadline=0", "pool=0", "pool=x", "colour=red"],
)
def test_what_the_url_does_not_take(query: str) -> None:
    """What a URL says and cannot mean is refused at start."""
    with pytest.raises(ConfigurationError):
        open_store(f"postgresql://localhost/db?{query}")


def test_a_url_without_a_host(database: Database) -> None:
    """A server is found by the folder of its socket, as libpq has it; and what is in the URL for libpq reaches it as it
    was written."""
    server = database.server
    url = f"postgresql://sojourn@/{database.name}?host={quote(str(server.folder))}&port={server.port}&schema=own&deadline=10"
    store = open_store(f"{url}&application_name=my%20site%2B1")
    run(store.load("x"))
    assert database.ask("SELECT count(*) FROM own.session") == [(0,)]
    names = [name for (name,) in database.ask("SELECT application_name FROM pg_stat_activity")]
    assert "my site+1" in names
    run(store.close())


def test_tables_that_cannot_be_made_in_time(database: Database) -> None:
    """Somebody else is making the tables and does not come to an end: a write that was never sent is said not to have
    been made."""
    with psycopg.connect(database.url()) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (postgres_schema.lock_number("sojourn"),))
        store = open_store(database.url(deadline=3))
        with pytest.raises(StoreUnavailable):
            run(store.create(new_record(), NOW))
    assert run(store.load("x")) is None
    run(store.close())


def test_without_the_driver() -> None:
    """Where psycopg is not installed, opening says which extra is missing."""
    program = (
        "import sys; sys.modules['psycopg'] = None\n"
        "import sojourn\n"
        "try: sojourn.open_store('postgresql://localhost/db')\n"
        "except sojourn.MissingExtra as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "sojourn[postgres]" in told
