"""Promise 2 of the feeds: that a session ran out is a fact, recorded once, however many cleaners run."""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import Any

import pytest
from children import children
from places import Place, at_once

import worlds
from sojourn import Change, SessionConfig, open_store
from sojourn.store import Store
from sojourn.testing import new_record

CLEANERS = 3
SHORT = 1.0
"""Seconds after which the sessions of these tests are over."""


async def _fill(store: Store, count: int, world: worlds.World) -> set[str]:
    """Sessions that are over in a moment, and as many that are not; the handles of the former."""
    now = time.time()
    dying = [new_record(at=now, idle=SHORT, user_id=f"user {number % 50}") for number in range(count)]
    living = [new_record(at=now, idle=1000.0) for _ in range(count // 10)]
    records = iter([*dying, *living])

    async def create(_: int) -> None:
        for record in records:
            await store.create(record, now)

    await at_once(world, 1 if world is worlds.BLOCKING else 100, create)
    return {record.handle for record in dying}


async def _expiries(watch: Any, count: int, within: float) -> list[Change]:
    """The ends that a watch tells, until there are so many."""
    told: list[Change] = []
    until = time.monotonic() + within
    while len(told) < count:
        change = await watch.next(until - time.monotonic())
        assert change is not None, f"{len(told)} of {count} ends were told"
        if change.kind == "ended":
            told.append(change)
        else:  # of so many, which fields changed may be missed; no fact is
            assert (change.kind, change.reason) == ("missed", "changes")
    return told


async def _shown(url: str, expired: int) -> None:
    """Three processes that sweep at the same time record each expiry once, and tell each to one caller."""
    world = worlds.ASYNC
    watching = world.sessions(url)
    store = open_store(url, SessionConfig(deadline=10), world="async")
    try:
        handles = await _fill(store, expired, world)
        async with watching.watch() as watch:
            with children(CLEANERS, "sweep", url, expired) as cleaners:
                for cleaner in cleaners:
                    cleaner.say()
                told = await _expiries(watch, expired, 60)
                removed = [json.loads(cleaner.hear()) for cleaner in cleaners]
                for cleaner in cleaners:
                    cleaner.finish()
        assert {change.handle for change in told} == handles
        assert Counter(change.id for change in told).most_common(1)[0][1] == 1
        assert {change.reason for change in told} == {"expired"}
        assert sum(removed) <= expired  # the watcher sweeps, too
        stats = await store.stats()
        assert stats.sessions == expired // 10
    finally:
        await watching.close()
        await store.close()


async def test_each_expiry_is_recorded_once(url: str) -> None:
    """1,000 sessions run out on each store that is shared; three cleaners sweep, and so does a watcher."""
    await _shown(url, 1000)


@pytest.mark.battery
async def test_each_of_10_000_expiries_is_recorded_once(url: str) -> None:
    """10,000 sessions run out, with three cleaners."""
    await _shown(url, 10_000)


async def test_each_expiry_is_recorded_once_in_a_process(place: Place) -> None:
    """Three cleaners in threads or tasks of one process, in memory as well."""
    fleet = [place.sessions(expiration_time=0.2) for _ in range(CLEANERS)]
    ids = [await fleet[number % CLEANERS].create_session() for number in range(200)]
    position = (await fleet[0].changes(0, 10_000))[0]
    await place.pause(2.0)
    removed = await at_once(place.world, CLEANERS, lambda number: fleet[number].purge_expired())
    assert sum(removed) == len(ids)
    _, told = await fleet[0].changes(position, 10_000)
    assert Counter(change.handle for change in told) == {session_id.split(".")[0]: 1 for session_id in ids}
    assert {(change.kind, change.reason) for change in told} == {("ended", "expired")}
