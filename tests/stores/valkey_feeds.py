"""Feeds of the Valkey store, as its tests open them and listen to them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from servers.process import until
from servers.valkey import Cluster, Valkey
from sojourn import StoreUnavailable, open_store
from sojourn.record import Committed, Record
from sojourn.store import Hint
from sojourn.stores import valkey_feed
from sojourn.testing import new_record, successor
from sojourn.waiting import TaskWaiting, ThreadWaiting
from worlds import PATIENT, World

__all__ = [
    "AT_MOST",
    "AT_ONCE",
    "committed",
    "created",
    "feed_of",
    "listening",
    "lost",
    "news",
    "opened",
    "tells",
    "told",
    "useless",
    "wait_for_links",
]

AT_MOST = valkey_feed._QUIET + valkey_feed._PATIENCE + 3.0
"""Seconds after which a feed knows that its server is silent, or of no use."""
AT_ONCE = valkey_feed._QUIET - 0.3
"""Seconds after which a feed knows what it need not ask for."""


def opened(world: World, url: str) -> Any:
    return open_store(url, PATIENT, world="async" if world.name == "async" else "blocking")


def feed_of(world: World, store: Any) -> Any:
    return store.feed(TaskWaiting() if world.name == "async" else ThreadWaiting())


@asynccontextmanager
async def listening(world: World, url: str, *handles: str) -> AsyncIterator[tuple[Any, Any]]:
    """A store, and a feed of it that follows these sessions, or all if none is named, and has said so."""
    store = opened(world, url)
    feed = feed_of(world, store)
    try:
        await feed.open()
        await feed.follow(handles, everything=not handles)
        await told(feed, *(map(Hint, handles) if handles else (Hint(""),)))
        yield store, feed
    finally:
        await feed.close()
        await store.close()


async def told(feed: Any, *expected: Hint) -> None:
    """These come, in this order, and perhaps others between them."""
    left, found = list(expected), []
    give_up = time.monotonic() + 30
    while left:
        assert time.monotonic() < give_up, f"{left[0]} never came, but {found}"
        for hint in await feed.hints(0.5):
            found.append(hint)
            if left and hint == left[0]:
                left.pop(0)


async def lost(feed: Any, within: float, match: str | None = None) -> None:
    """The feed finds out in time that it has lost its connection, and never waits longer than it was asked to."""
    began = time.monotonic()

    async def wait() -> None:
        while True:
            asked = time.monotonic()
            assert asked - began < within, "it does not find out"
            await feed.hints(0.4)
            assert time.monotonic() - asked < 1.9  # it would wait for 2 seconds until it asks

    with pytest.raises(StoreUnavailable, match=match):
        await wait()
    await useless(feed)


async def useless(feed: Any, match: str | None = None) -> None:
    """Whatever is asked of the feed is refused."""
    for operation in (lambda: feed.hints(0.1), lambda: feed.follow(["another"]), lambda: feed.forget(["another"])):
        with pytest.raises(StoreUnavailable, match=match):
            await operation()


async def created(store: Any, **given: Any) -> Record:
    record = new_record(at=time.time(), **given)
    assert isinstance(await store.create(record, time.time()), Committed)
    return record


async def committed(store: Any, base: Record, *fields: str) -> Record:
    wanted = successor(base)
    assert isinstance(await store.commit(base, wanted, time.time(), fields=fields), Committed)
    return wanted


def news(record: Record, *fields: str) -> Hint:
    return Hint(record.handle, record.user_id, record.version, fields)


async def tells(world: World, url: str) -> None:
    """A feed of this place tells what another store writes there."""
    async with listening(world, url) as (_, feed):
        other = opened(world, url)
        record = await created(other, user_id="ada")
        await told(feed, Hint(record.handle, "ada", facts=True), news(await committed(other, record, "n"), "n"))
        await other.close()


def wait_for_links(cluster: Cluster) -> None:
    """Wait until each node of a cluster of three has its links to and from each of the others."""

    def linked(server: Valkey) -> bool:
        return len(server.do("CLUSTER", "LINKS")) == 4 and b"handshake" not in server.do("CLUSTER", "NODES")

    until(lambda: all(map(linked, cluster.servers)), "all links between the nodes")
