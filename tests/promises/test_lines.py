"""Who waits for the lease of a session gets it in the order of their coming, as soon as the one before is done: on each
store and in both worlds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from places import Place, at_once

from sojourn import SessionLeased

WAITERS = 6


async def test_holders_come_in_the_order_in_which_they_asked(place: Place) -> None:
    """Through two managers: whoever asked earlier has it earlier, and nobody has it together with another."""
    fleet = [place.sessions() for _ in range(2)]
    session_id = await fleet[0].create_session(data={"order": []})
    asking: ContextVar[int] = ContextVar("asking")
    asked: list[int] = []
    inside: list[int] = []

    def noted(lease: Callable[..., Any]) -> Callable[..., Any]:
        async def ask(*given: Any, **more: Any) -> Any:
            answer = await lease(*given, **more)
            if asking.get() not in asked:
                asked.append(asking.get())
            return answer

        return ask

    async def hold(number: int) -> None:
        asking.set(number)
        await place.world.until(lambda: len(asked) == number)  # those before have it, or stand in line
        async with fleet[number % 2].exclusive(session_id, wait=30, hold=30) as session:
            inside.append(number)
            assert len(inside) == 1
            await place.world.until(lambda: len(asked) == WAITERS)
            await place.pause(0.01)
            session["order"].append(number)
            inside.remove(number)

    stores = list({id(sessions.store): sessions.store for sessions in fleet}.values())
    for store in stores:
        store.lease = noted(store.lease)
    try:
        await at_once(place.world, WAITERS, hold)
    finally:
        for store in stores:
            del store.lease
    assert (await fleet[0].get_session(session_id))["order"] == asked == list(range(WAITERS))


async def test_the_next_is_woken_at_once(place: Place) -> None:
    """Between the end of one block and the beginning of the next there are milliseconds, not the time between two
    looks."""
    fleet = [place.sessions() for _ in range(2)]
    session_id = await fleet[0].create_session()
    left = [0.0]
    gaps: list[float] = []

    async def hold(number: int) -> None:
        await place.pause(0.1 * number)
        for _ in range(8):
            async with fleet[number].exclusive(session_id, wait=30):
                gaps.append(time.monotonic() - left[0])
                await place.pause(0.05)
                left[0] = time.monotonic()

    await at_once(place.world, 2, hold)
    assert sorted(gaps[2:])[len(gaps) // 2] < 0.1


async def test_waiting_writes_little(place: Place) -> None:
    """Who waits neither loads the session again and again nor writes to it: some requests a second."""
    fleet = [place.sessions() for _ in range(2)]
    session_id = await fleet[0].create_session()
    asked: Counter[str] = Counter()
    store, lease = fleet[1].store, fleet[1].store.lease

    async def counted(*given: Any, **more: Any) -> Any:
        asked["lease"] += 1
        return await lease(*given, **more)

    store.lease = counted
    try:
        async with fleet[0].exclusive(session_id, hold=30):
            with pytest.raises(SessionLeased, match="would wait"):
                await fleet[1].exclusive(session_id, wait=1.5).__aenter__()
    finally:
        del store.lease
    assert 3 <= asked["lease"] <= 12


async def test_who_gives_up_holds_up_nobody(place: Place) -> None:
    """One who waited in vain has left the line: the next gets it at once."""
    fleet = [place.sessions() for _ in range(3)]
    session_id = await fleet[0].create_session()
    async with fleet[0].exclusive(session_id):
        with pytest.raises(SessionLeased):
            await fleet[1].exclusive(session_id, wait=0.2).__aenter__()
        with pytest.raises(SessionLeased):
            await fleet[1].exclusive(session_id, wait=0).__aenter__()
    began = time.monotonic()
    async with fleet[2].exclusive(session_id, wait=5):
        assert time.monotonic() - began < 0.9  # a place in line would be kept for a second
