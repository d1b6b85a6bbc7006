"""Promise 4: a caller that is cancelled while its reply is due takes nothing from others, and nobody gets its reply.

redis-py 4.5 gave 6 wrong answers in 203: each was another user's session. Here every session holds a number of its own,
and whoever loads one sees whose it is.
"""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from collections.abc import Awaitable, Coroutine, Generator, Iterator
from random import Random
from typing import Any

import pytest
from children import Child
from places import SHARED, Opened
from writing import add_one

import worlds
from servers.proxy import Proxy, before, through
from servers.shared import shared_url
from sojourn import ConflictError
from worlds import PATIENT

TRIP = 0.01  # seconds to the server and back
SESSIONS = 50


class Way:
    """Sessions on a server some way off, and past the proxy that makes it so."""

    def __init__(self, url: str, proxy: Proxy, opened: Opened) -> None:
        self.proxy = proxy
        self.url = through(url, proxy)
        self.sessions = opened(self.url, config=PATIENT)
        self.ids: list[str] = []
        self.made: Counter[int] = Counter()
        """How many updates were acknowledged, by session."""
        self.unknown: Counter[int] = Counter()
        """And how many were cancelled, and may have been made."""

    async def fill(self) -> None:
        """As many sessions as there are numbers."""
        self.ids = [
            await self.sessions.create_session(f"user {number}", {"number": number, "visits": 0, "block": b"x" * 500})
            for number in range(SESSIONS)
        ]

    async def read(self, number: int) -> None:
        """Load one, and see that it is that one."""
        least = self.made[number]
        found = await self.sessions.get_session(self.ids[number])
        assert found is not None
        assert found["number"] == number, f"asked for {number} and got {found['number']}"
        assert found["visits"] >= least

    async def write(self, number: int) -> None:
        """Count in one."""
        self.unknown[number] += 1
        least = self.made[number]
        returned = await self.sessions.update(self.ids[number], "visits", add_one)
        self.unknown[number] -= 1
        self.made[number] += 1
        assert returned > least

    async def block(self, number: int) -> None:
        """Load and commit, as a request does."""
        self.unknown[number] += 1
        async with self.sessions.session(self.ids[number]) as session:
            assert session["number"] == number
            session.update("visits", add_one)
        self.unknown[number] -= 1
        self.made[number] += 1

    async def check(self) -> None:
        """All that was acknowledged is there, and no more than that and what was cancelled."""
        for number in range(SESSIONS):
            fields = await self.sessions.get_session(self.ids[number])
            assert fields is not None
            assert fields["number"] == number
            assert self.made[number] <= fields["visits"] <= self.made[number] + self.unknown[number]


@pytest.fixture(params=SHARED)
def far(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where sessions are found at first hand."""
    return shared_url(request, request.param)


# --- At every await --------------------------------------------------------------------------------------------------


class CancelledAt:
    """Awaits a coroutine, and has the task cancelled while it waits for the n-th time. ``reached``: it did wait so
    often."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], at: int) -> None:
        self._coroutine = coroutine
        self._at = at
        self.reached = False

    def __await__(self) -> Generator[Any, Any, Any]:
        inner = self._coroutine.__await__()
        waits = 0
        try:
            awaited = next(inner)
            while True:
                waits += 1
                if waits == self._at:
                    self.reached = True
                    task = asyncio.current_task()
                    assert task is not None
                    asyncio.get_running_loop().call_soon(task.cancel)
                try:
                    sent = yield awaited
                except BaseException as error:
                    awaited = inner.throw(error)
                else:
                    awaited = inner.send(sent)
        except StopIteration as done:
            return done.value


@pytest.mark.parametrize("world", [worlds.ASYNC], indirect=True)
async def test_a_cancellation_at_every_await(opened: Opened, far: str) -> None:
    """Loads, updates, blocks, creations and ends are cancelled while they wait for the first time, the second and so
    on, while others do the same undisturbed beside them, and connections are made anew: everybody gets what is their
    own."""
    with before(far) as proxy:
        proxy.delay(0.001)
        way = Way(far, proxy, opened)
        await way.fill()

        async def whole_life(number: int) -> None:
            session_id = await way.sessions.create_session(f"user {number}", {"number": number})
            await way.sessions.login(session_id, "ada")
            await way.sessions.end_user_sessions("ada")

        reached = 0
        for operation in (way.read, way.write, way.block, whole_life):
            for at in range(1, 1000):
                if at % 3 == 0:
                    proxy.reset()
                victim = CancelledAt(operation(at % SESSIONS), at)
                others = [asyncio.ensure_future(way.read((at + 1 + other) % SESSIONS)) for other in range(5)]
                outcome = await asyncio.gather(_awaited(victim), return_exceptions=True)
                await asyncio.gather(*others)
                await way.read(at % SESSIONS)
                if not victim.reached:
                    assert outcome == [None]
                    break
                reached += 1
                assert isinstance(outcome[0], asyncio.CancelledError), outcome
        print(f"cancelled at {reached} awaits")
        assert reached >= 10
        await way.check()


async def _awaited(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


# --- At any moment ---------------------------------------------------------------------------------------------------


async def _storm(way: Way, rounds: int, random: Random) -> int:
    """So many rounds in which all sessions are used by two tasks each, and half of the tasks are cancelled at a moment
    of chance. Returns how many were."""
    cancelled = 0
    for turn in range(rounds):
        uses = random.choices((way.read, way.write, way.block), k=2 * SESSIONS)
        tasks = [asyncio.ensure_future(use(at % SESSIONS)) for at, use in enumerate(uses)]
        loop = asyncio.get_running_loop()
        for task in random.sample(tasks, SESSIONS):
            loop.call_later(random.uniform(0, 2.5 * TRIP), task.cancel)
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(result, asyncio.CancelledError):
                cancelled += 1
            elif isinstance(result, BaseException) and not isinstance(result, ConflictError):
                raise result
        if turn % 10 == 9:
            way.proxy.reset()  # and so that connections are made while callers are cancelled
    return cancelled


async def _no_reply_goes_astray(opened: Opened, far: str, rounds: int) -> None:
    with before(far) as proxy:
        way = Way(far, proxy, opened)
        await way.fill()
        proxy.delay(TRIP / 2)
        cancelled = await _storm(way, rounds, Random(rounds))
        print(f"{cancelled} cancelled, {way.made.total()} acknowledged, {proxy.accepted} connections made")
        assert cancelled > rounds * 10
        assert way.made.total() > rounds * 10
        await way.check()
        proxy.pass_on()
        await asyncio.gather(*(way.read(number % SESSIONS) for number in range(500)))
        gc.collect()  # what was never awaited, and errors that nobody looked at, are warnings, and those are errors


@pytest.mark.parametrize("world", [worlds.ASYNC], indirect=True)
async def test_no_reply_goes_astray(opened: Opened, far: str) -> None:
    """100 tasks at a time, half of them cancelled at any moment behind a way of 10 ms, hundreds of times: each load
    returns the session that was asked for, each acknowledged write is there once, and afterwards all is well."""
    await _no_reply_goes_astray(opened, far, 10)


@pytest.mark.battery
@pytest.mark.soak
@pytest.mark.parametrize("world", [worlds.ASYNC], indirect=True)
async def test_no_reply_goes_astray_thousands_of_times(opened: Opened, far: str) -> None:
    """The same with thousands of cancellations."""
    await _no_reply_goes_astray(opened, far, 50 if far.startswith("postgres") else 150)


def test_no_reply_goes_astray_in_a_thread(far: str) -> None:
    """A thread is interrupted by a signal handler that raises, at any moment of a load or a commit, hundreds of times:
    no reply that it left behind reaches its next request."""
    with before(far) as proxy:
        proxy.delay(0.001)
        with Child("interrupted_calls", through(far, proxy)) as child:
            assert child.finish()[-1] == "kept"
