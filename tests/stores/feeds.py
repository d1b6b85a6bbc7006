"""What the tests of the feeds of different stores share."""

from __future__ import annotations

import time
from collections.abc import Callable

from sojourn.store import Feed, Hint, Store
from sojourn.waiting import TaskWaiting, ThreadWaiting

__all__ = ["ALL", "feed_of", "quiet", "said"]

ALL = Hint("")


async def feed_of(store: Store) -> Feed:
    """A feed of the store, for callers of its world, that is open."""
    feed = store.feed(TaskWaiting() if store.world == "async" else ThreadWaiting())
    await feed.open()
    return feed


async def said(feed: Feed, enough: Callable[[list[Hint]], bool] = bool, patience: float = 30.0) -> list[Hint]:
    """What a feed says, until that is enough."""
    found: list[Hint] = []
    until = time.monotonic() + patience
    while not enough(found):
        assert time.monotonic() < until, f"it said only {found}"
        found += await feed.hints(0.2)
    return found


async def quiet(feed: Feed, seconds: float = 0.3) -> bool:
    """Whether a feed says nothing for so long."""
    return await feed.hints(seconds) == []
