"""What the Valkey store keeps of what was, and of who waits: the history and its readers, the line for a lease, and
walks over what moves meanwhile."""

from __future__ import annotations

import time
from math import inf
from typing import Any

import pytest
from valkey_keys import Keys

from servers.process import until
from servers.valkey import Cluster, Valkey, fresh_prefix
from sojourn import open_store
from sojourn.blocking import run
from sojourn.errors import HistoryTrimmed
from sojourn.record import Committed, Leased, Record
from sojourn.store import HISTORY_AGE
from sojourn.stores import valkey as valkey_store
from sojourn.stores import valkey_deadlines, valkey_history
from sojourn.testing import NOW, new_record

DAY = 86_400


# --- The line for a lease --------------------------------------------------------------------------------------------


def test_a_line_goes_by_itself(keys: Keys) -> None:
    """What is kept of a line goes when nobody can stand in it or hold its lease any more; and where there is nothing to
    keep, nothing is kept."""
    store, line = keys.store, None

    def left() -> float:
        return int(keys.server.do("PTTL", line)) / 1000

    run(store.create(record := new_record(), NOW))
    line = keys.key(f"line:{record.handle}")
    run(store.lease(record.handle, 0, 10.0, NOW))
    run(store.lease(record.handle, 0, 10.0, NOW + 1, name="late", patience=0.0))
    assert left() == -0.002
    run(store.lease(record.handle, 0, 10.0, NOW + 11, name="one", patience=5.0))
    assert 65 < left() <= 70
    run(store.lease(record.handle, 0, 10.0, NOW + 11, name="other", patience=500.0))
    assert 555 < left() <= 560
    run(store.lease(record.handle, 0, 1e12, NOW + 600, name="other", patience=5.0))
    assert 1e8 < left() <= 1e9
    run(store.lease(record.handle, 0, 10.0, NOW + 1e12 + 700))
    other = new_record(idle_timeout=inf, ends_at=inf)
    run(store.create(other, NOW))
    line = keys.key(f"line:{other.handle}")
    run(store.lease(other.handle, 0, 10.0, NOW))
    run(store.lease(other.handle, 0, 10.0, NOW, name="one", patience=5.0))
    assert 65 < left() <= 70
    run(store.lease(other.handle, 0, 10.0, NOW, name="one", patience=0.0))
    assert left() == -0.002


def test_a_line_of_hundreds(keys: Keys) -> None:
    """Of hundreds who wait, each gets the lease in its turn, also if they keep asking in another order."""
    store = keys.store
    run(store.create(record := new_record(idle=1e6, lasts=1e6), NOW))
    run(store.lease(record.handle, 0, 1.0, NOW))
    names = [f"waiter {number}" for number in range(300)]
    for order in (names, names[::-1], names[::7]):
        for name in order:
            assert isinstance(run(store.lease(record.handle, 0, 1.0, NOW, name=name, patience=1000.0)), Leased)
    for number, name in enumerate(names):
        now = NOW + 2 * number + 2
        last = run(store.lease(record.handle, 0, 1.0, now, name=names[-1], patience=2000.0))
        if name != names[-1]:
            assert isinstance(last, Leased)
            assert isinstance(run(store.lease(record.handle, 0, 1.0, now, name=name)), Committed)


# --- What is kept of the past ----------------------------------------------------------------------------------------


def test_history_that_was_bounded_by_number(keys: Keys) -> None:
    """Where facts were dropped because there were too many, who has not read them is told so, and where to go on; who
    has read the last of them is not, and neither is who begins."""
    store, log = keys.store, keys.key("log")
    positions = []
    for _ in range(6):
        run(store.create(new_record(), NOW))
        positions.append(run(store.position()))
    keys.server.do("XTRIM", log, "MAXLEN", "=", 3)
    kept = run(store.changes(0, 10))
    assert len(kept[1]) == 3
    for position in positions[:3]:
        with pytest.raises(HistoryTrimmed) as gone:
            run(store.changes(position, 10))
        assert run(store.changes(gone.value.position, 10)) == kept
    assert run(store.changes(positions[3], 10)) == (positions[5], kept[1][1:])
    assert run(store.changes(positions[5], 10)) == (positions[5], [])
    keys.server.do("DEL", log)
    with pytest.raises(HistoryTrimmed) as gone:
        run(store.changes(positions[5], 10))
    assert gone.value.position == 0


def test_old_facts_are_dropped_in_steps(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep drops thousands of old facts, a few at a time, but for the newest of them; and a sweep that finds more
    than it takes at once leaves the rest to the next. One who may not is told, and no fact of that sweep is lost."""
    monkeypatch.setattr(valkey_history, "_STEP", 7)
    monkeypatch.setattr(valkey_history, "_STEPS", 3)
    store, late = keys.store, NOW + HISTORY_AGE + 5
    handles = []
    for number in range(30):
        run(store.create(record := new_record(idle=1e9, lasts=1e9), NOW + number / 10))
        handles.append(record.handle)
    lengths = []
    for _ in range(4):
        run(store.purge_expired(late - 2.0, 10))  # the first 30 are old but for those of the last 2.0 seconds
        lengths.append(len(run(store.changes(0, 100))[1]))
    assert [change.handle for change in run(store.changes(0, 100))[1]] == handles[lengths[-1] * -1 :]
    assert lengths == [12, 1, 1, 1]


def test_in_a_cluster_only_what_was_trimmed_is_read_anew(valkey_cluster: Cluster) -> None:
    """Where facts of one shard are gone, who is told so goes on from the oldest of that shard, and in the others from
    where it was. A shard in which nothing happened for long has trimmed nothing that was not read."""
    prefix = fresh_prefix()
    store: Any = open_store(valkey_cluster.url(prefix=prefix, clock="caller", deadline=10))
    records = [new_record(idle=1e9, lasts=1e9) for _ in range(200)]
    for record in records:
        run(store.create(record, NOW))
    position, told = run(store.changes(0, 1000))
    assert len(told) == 200
    assert position == run(store.position()) > 1 << 64 * 60
    run(store.purge_expired(NOW + HISTORY_AGE + 5, 10))
    assert run(store.changes(position, 10)) == (position, [])
    old = run(store.changes(0, 1))[0]
    shard = store._space.shard_of(records[0].handle)
    for record in records:
        if store._space.shard_of(record.handle) is shard:
            run(store.end([record.handle], "ended", NOW))
    ends = run(store.changes(position, 1000))
    assert {store._space.shard_of(change.handle) for change in ends[1]} == {shard}
    for server in valkey_cluster.servers:
        if shard.slot in valkey_cluster.slots_of(server):
            server.do("XTRIM", shard.log, "MAXLEN", "=", 1)
    with pytest.raises(HistoryTrimmed) as gone:
        run(store.changes(position, 1000))
    assert run(store.changes(gone.value.position, 1000)) == (ends[0], ends[1][-1:])
    assert old.bit_length() <= 64 * 64
    assert run(store.bookmark("mail", "one", NOW, hold=1.0, position=gone.value.position)) == gone.value.position
    run(store.close())


def test_a_walk_meets_who_moves_on(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """A walk meets every session, also those that a cleaner moves, meanwhile, to seconds that were not there when it
    began, wherever it is; and comes to its end although new ones come all the time."""
    monkeypatch.setattr(valkey_deadlines, "_BUCKETS", 3)
    store = keys.store
    shard = store._space.shards[0]
    records = [new_record(idle=100.0 + 10 * number, lasts=1e6) for number in range(12)]
    for record in records:
        run(store.create(record, NOW))
    seconds = {record.handle: int(NOW) + 100 + 10 * number for number, record in enumerate(records)}

    def move(record: Record, by: int) -> None:
        before = seconds[record.handle]
        seconds[record.handle] += by
        run(store._deadlines._rebook(shard, before, [record.handle], {record.handle: before + by}))

    ask, steps = store._space.ask, 0

    def meanwhile(*requests: Any) -> Any:
        """Before a step reads its buckets, one of those that it is about to read goes on to another second."""
        nonlocal steps
        if requests[0].arguments[0] == "LRANGE":
            steps += 1
            store._space.ask = ask
            run(store.create(new_record(idle=20_000.0 + steps, lasts=1e6), NOW))
            if steps <= len(records):
                move(records[steps - 1], 5 if steps % 2 else 3000)
                move(records[-1], 1)
            assert steps < 40, "it goes on for ever"
            store._space.ask = meanwhile
        return ask(*requests)

    store._space.ask = meanwhile

    async def walk() -> set[str]:
        return {record.handle async for page in store.walk() for record in page}

    met = run(walk())
    store._space.ask = ask
    assert met >= {record.handle for record in records}
    assert steps > 4


def test_a_damaged_record_is_left_out(keys: Keys, caplog: pytest.LogCaptureFixture) -> None:
    """A record that fails its check, or something else under its key, hides no others from who walks or loads many, and
    is in the log."""
    store = keys.store
    records = [new_record() for _ in range(5)]
    for record in records:
        run(store.create(record, NOW))
    keys.server.do("SETRANGE", keys.key(records[1].handle), 70, "damaged")
    keys.server.do("DEL", keys.key(records[3].handle))
    keys.server.do("RPUSH", keys.key(records[3].handle), "a list")

    async def walk() -> set[str]:
        return {record.handle async for page in store.walk() for record in page}

    whole = {records[number].handle for number in (0, 2, 4)}
    assert run(walk()) == set(run(store.load_many([record.handle for record in records]))) == whole
    for number in (1, 3):
        assert records[number].handle in caplog.text


def test_a_reader_goes_by_the_servers_clock(valkey: Valkey) -> None:
    """A bookmark and a place in line are held for as long as the server's clock says, whatever the callers' say; and so
    long are facts kept."""
    store: Any = open_store(valkey.url(prefix=fresh_prefix(), deadline=10))
    run(store.create(record := new_record(at=time.time()), time.time()))
    assert run(store.bookmark("mail", "one", 0.0, hold=60.0)) == 0
    assert run(store.bookmark("mail", "other", time.time() + 5000, hold=60.0)) is None
    assert run(store.bookmark("news", "one", time.time() + 5000, hold=0.05)) == 0
    until(lambda: run(store.bookmark("news", "other", 0.0, hold=60.0)) == 0, "the end of a hold")
    assert isinstance(run(store.lease(record.handle, 0, 60.0, 0.0, name="one")), Committed)
    assert isinstance(run(store.lease(record.handle, 0, 60.0, time.time() + 5000, name="other")), Leased)
    run(store.create(new_record(at=time.time()), time.time()))
    run(store.purge_expired(time.time() + 2 * HISTORY_AGE, 10))
    assert len(run(store.changes(0, 10))[1]) == 2
    run(store.close())


@pytest.mark.parametrize("disturbed", [False, True])
def test_a_walk_reads_a_long_bucket_in_parts(keys: Keys, monkeypatch: pytest.MonkeyPatch, *, disturbed: bool) -> None:
    """Where very many sessions have one deadline a walk reads their bucket in parts, in a few requests more than there
    are parts; and meets every session, also while a cleaner takes others out of the bucket before the place where the
    walk has come to, or moves some that it has not met to a bucket that it has looked into."""
    monkeypatch.setattr(valkey_deadlines, "_PART", 10)
    store = keys.store
    shard, second = store._space.shards[0], int(NOW) + 100
    records = [new_record(idle=100.0) for _ in range(95)]
    others = [new_record(idle=101.0) for _ in range(3)]
    for record in (*records, *others):
        run(store.create(record, NOW))
    order = [one.decode() for one in keys.server.do("LRANGE", shard.bucket(second), 0, -1)]
    gone = set()
    ask, parts = store._space.ask, []

    def meanwhile(*requests: Any) -> Any:
        """Before each part is read, the first entry goes, and one near the end moves on."""
        if requests[0].arguments[0] == "LRANGE":
            parts.append(requests)
            if disturbed and 2 < len(parts) < 5:
                first, late = order[len(parts)], order[-len(parts)]
                gone.add(first)
                store._space.ask = ask
                run(store.end([first], "ended", NOW))
                run(store._deadlines._rebook(shard, second, [first, late], {late: second + 1}))
                store._space.ask = meanwhile
        return ask(*requests)

    store._space.ask = meanwhile

    async def walk() -> list[str]:
        return [handle async for handles in store._deadlines.walk() for handle in handles]

    met = run(walk())
    store._space.ask = ask
    assert {record.handle for record in (*records, *others)} - gone <= set(met)
    assert len(parts) <= 14
    if not disturbed:
        assert sorted(met) == sorted(record.handle for record in (*records, *others))
        assert all(len(requests) == 1 or requests[0].arguments[2:] == (0, 9) for requests in parts)


def test_the_first_page_of_a_walk_is_as_soon_among_many(keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first page of a walk takes as many round trips and as many handles, whether thirty sessions or a thousand
    have the same deadline."""
    monkeypatch.setattr(valkey_deadlines, "_PART", 10)
    store, costs = keys.store, []
    ask = store._space.ask

    async def counting(*requests: Any) -> Any:
        replies = await ask(*requests)
        cost.append(sum(len(reply) for reply in replies if isinstance(reply, list)))
        return replies

    async def first() -> None:
        async for page in store.walk():
            assert page
            break

    for total in (30, 1000):
        for _ in range(total - 30 if total > 30 else 30):
            run(store.create(new_record(idle=100.0), NOW))
        monkeypatch.setattr(valkey_store, "_PAGE", 10)
        cost: list[int] = []
        store._space.ask = counting
        run(first())
        store._space.ask = ask
        costs.append(cost)
    assert costs[0] == costs[1]
