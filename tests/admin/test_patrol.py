"""The patrol: what it says of all sessions, what a step costs, and what the feed changes in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from crowds import fill, records

from servers.proxy import Proxy, through
from servers.valkey import Valkey, fresh_prefix
from sojourn import AsyncSessionManager, StoreUnavailable
from sojourn.admin import patrol
from sojourn.admin.patrol import Patrol, Users
from sojourn.record import Summary, replace
from sojourn.testing import NOW, Clock, new_record


@asynccontextmanager
async def patrolled(url: str, *hidden: str) -> AsyncIterator[tuple[AsyncSessionManager, Patrol]]:
    async with AsyncSessionManager(url, clock=Clock()) as manager:
        walker = Patrol(manager, set(hidden).__contains__)
        yield manager, walker
        await walker.close()


async def whole_round(walker: Patrol) -> int:
    """Step until the store was walked once more; how many steps it took."""
    rounds, steps = walker.census().rounds, 0
    while walker.census().rounds == rounds:
        await walker.step()
        steps += 1
        assert steps < 1000
    return steps


def handles(rows: tuple[Summary, ...]) -> list[str]:
    return [row.handle for row in rows]


@pytest.mark.parametrize("store", ["memory", "sqlite", "valkey"])
async def test_a_round(store: str, tmp_path: Path, valkey: Valkey) -> None:
    """A round counts the living sessions and their users, each once, and finds the oldest and the largest; neither who
    is over nor what is hidden is among them."""
    urls = {
        "memory": "memory://",
        "sqlite": f"sqlite:///{tmp_path}/sessions.db?deadline=10",
        "valkey": valkey.url(clock="caller", prefix=fresh_prefix(), deadline=10),
    }
    crowd = [Summary.of(record) for record in records(1200, NOW)]
    hidden, crowd = crowd[-1], crowd[:-1]
    async with patrolled(urls[store], hidden.handle) as (manager, walker):
        await fill(manager.store, 1200, NOW)
        await manager.store.create(new_record(at=NOW - 100_000, size=9999, user_id="gone"), NOW)
        assert (walker.census().seen, walker.census().rounds) == (0, 0)
        await walker.step()
        assert 0 < walker.census().seen <= 1200
        await whole_round(walker)
        found = walker.census()
        assert (found.seen, found.rounds, found.exact) == (1199, 1, True)
        assert found.users == len({one.user_id for one in crowd} - {None})
        assert found.oldest == tuple(sorted(crowd, key=lambda one: (one.created_at, one.handle))[: patrol.SHOWN])
        assert found.largest == tuple(sorted(crowd, key=lambda one: (-one.size, one.handle))[: patrol.SHOWN])
        await whole_round(walker)
        assert walker.census() == replace(found, rounds=2)


async def test_an_empty_store() -> None:
    """Where there are no sessions a round is a step or two, and finds nothing."""
    async with patrolled("memory://") as (_, walker):
        assert await whole_round(walker) <= 2
        found = walker.census()
        assert (found.seen, found.users, found.exact, found.oldest, found.largest) == (0, 0, True, (), ())


async def test_what_the_feed_tells(tmp_path: Path) -> None:
    """Who has ended leaves the lists at once, and who has come or changed is in them, before the next round and after
    it; the lists stay full while some of them end."""
    async with patrolled(f"sqlite:///{tmp_path}/sessions.db?deadline=10", "a" * 22) as (manager, walker):
        await fill(manager.store, 600, NOW)
        walker.forget("nobody's")
        await whole_round(walker)
        await walker.step()
        first = walker.census()
        for row in first.oldest[:3]:
            await manager.store.end([row.handle], "ended", NOW)
            walker.forget(row.handle)
        large = Summary.of(new_record(size=10_000, user_id="new"))
        walker.note(large)
        walker.note(replace(large, handle=Summary.of(new_record(handle="a" * 22)).handle, size=20_000))
        found = walker.census()
        assert handles(found.oldest)[:7] == handles(first.oldest)[3:]
        assert len(found.oldest) == patrol.SHOWN
        assert found.largest[0] == large
        assert found.users == first.users + 1
        walker.note(replace(large, size=5))
        assert large.handle not in handles(walker.census().largest)
        await whole_round(walker)
        assert handles(walker.census().oldest)[:7] == handles(first.oldest)[3:]


async def test_nobody_takes_a_place_that_is_anothers() -> None:
    """When so many have ended that a list is no longer full, a session that comes is not put there although others
    come before it that the list does not know: it is, after the next round, if it should be."""
    async with patrolled("memory://") as (manager, walker):
        for number in range(100):
            await manager.store.create(new_record(size=1000 + number), NOW)
        await whole_round(walker)
        for _ in range(4):
            for row in walker.census().largest:
                await manager.store.end([row.handle], "ended", NOW)
                walker.forget(row.handle)
        walker.note(Summary.of(new_record(size=5)))
        assert walker.census().largest == ()
        await whole_round(walker)
        assert [row.size for row in walker.census().largest] == list(range(1059, 1049, -1))


async def test_who_runs_out_leaves_the_lists() -> None:
    """A session that is over by now is in no list, although nobody has told."""
    async with patrolled("memory://") as (manager, walker):
        old = new_record(at=NOW - 500, idle=1000.0)
        for record in (old, new_record()):
            await manager.store.create(record, NOW)
        await whole_round(walker)
        assert handles(walker.census().oldest)[0] == old.handle
        manager.clock.now = NOW + 600
        assert old.handle not in handles(walker.census().oldest)


async def test_a_step_costs_the_same_among_many(tmp_path: Path) -> None:
    """A step meets some hundreds of sessions, whether there are a thousand or ten times as many, and the memory it
    takes is bounded."""
    for total in (1000, 10_000):
        async with patrolled(f"sqlite:///{tmp_path}/{total}.db?durability=process&deadline=10") as (manager, walker):
            await fill(manager.store, total, NOW)
            seen = 0
            for _ in range(3):
                await walker.step()
                assert 0 < walker.census().seen - seen <= 256
                seen = walker.census().seen
            assert len(walker._now.oldest._found) <= 40


async def test_an_outage(valkey: Valkey) -> None:
    """While the store is away a step says so, and the figures of the last round stay; once it is back a round is whole
    again."""
    with Proxy(valkey.port) as proxy:
        url = through(valkey.url(clock="caller", prefix=fresh_prefix(), deadline=2), proxy)
        async with patrolled(url) as (manager, walker):
            await fill(manager.store, 700, NOW)
            await whole_round(walker)
            await walker.step()
            before = walker.census()
            proxy.refuse()
            with pytest.raises(StoreUnavailable):
                await whole_round(walker)
            assert walker.census() == before
            proxy.pass_on()
            await whole_round(walker)
            assert walker.census() == replace(before, rounds=2)


async def test_a_step_that_is_cancelled(tmp_path: Path, valkey: Valkey) -> None:
    """A step that is broken off takes nothing from the next round: it is whole."""
    async with patrolled(valkey.url(clock="caller", prefix=fresh_prefix(), deadline=10)) as (manager, walker):
        await fill(manager.store, 700, NOW)
        for _ in range(2):
            step = asyncio.create_task(walker.step())
            await asyncio.sleep(0)
            step.cancel()
            await asyncio.gather(step, return_exceptions=True)
            await whole_round(walker)
            assert walker.census().seen == 700


@pytest.mark.parametrize("total", [0, 1, patrol.SAMPLE - 1, patrol.SAMPLE, 30_000])
def test_how_many_users(total: int) -> None:
    """Users are counted exactly up to a bound, and to a few percent beyond, each once however often they come, in
    memory that is bounded."""
    users = Users()
    for _ in range(2):
        for number in range(total):
            users.add(f"user-{number}")
    assert users.exact == (total < patrol.SAMPLE)
    assert abs(users.count - total) <= (0 if users.exact else 0.06 * total)
    assert len(users._hashes) == len(users._heap) <= patrol.SAMPLE


async def test_who_is_listed_is_looked_at_again(tmp_path: Path) -> None:
    """`freshen` takes ended sessions out of the lists, and has the size that a session has now."""
    async with AsyncSessionManager(f"sqlite:///{tmp_path}/sessions.db?deadline=10") as manager:
        kept, gone = [await manager.create_session(data={"x": "x" * size}) for size in (10, 20)]
        patrol = Patrol(manager, lambda handle: False)
        await patrol.step()
        await manager.end_session(gone)
        await manager.update(kept, "x", lambda _: "x" * 500)
        await patrol.freshen()
        census = patrol.census()
        assert [one.handle for one in census.largest] == [one.handle for one in census.oldest]
        (listed,) = census.largest
        assert (listed.handle, listed.size > 500) == (kept.partition(".")[0], True)
