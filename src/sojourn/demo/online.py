"""How many visitors there are, over all servers that share the store.

Each server notes how many it has, under its own name, where all see it; all show the sum. A server that says nothing
for a minute is gone, and so are its visitors. One that is killed and started again has the same name: its visitors are
not counted twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from ..live import App

__all__ = ["keep_count", "noted", "total"]

_LOOK: Final = 0.25  # seconds between two looks
_REPEAT: Final = 20.0  # seconds after which a count is noted again, though it is the same
_GONE: Final = 60.0  # seconds after which a count is worth nothing
_NAME: Final = "visitors"


async def keep_count(app: App, server: str) -> None:
    """Keep the metric "online" right, for ever. ``server`` is what this server is called."""
    metric, told, told_at = app.widget("online"), -1, 0.0
    while True:
        now = app.engine.clock()
        if app.online != told or now - told_at > _REPEAT:
            told, told_at = app.online, now
            app.shared.update(_NAME, partial(noted, server=server, count=told, now=now))
        metric.value = total(app.shared.get(_NAME, {}), now)  # the same number again is no change
        await asyncio.sleep(_LOOK)


def noted(counts: Mapping[str, Any] | None, server: str, count: int, now: float) -> dict[str, Any]:
    """The counts by server, each with its time, with that of one server as it is now."""
    kept = {name: one for name, one in (counts or {}).items() if now - one[1] < _GONE}
    return {**kept, server: [count, now]}


def total(counts: Mapping[str, Any], now: float) -> int:
    """The sum of what is not too old."""
    return sum(count for count, at in counts.values() if now - at < _GONE)
