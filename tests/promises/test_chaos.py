"""Promises 1 and 2 together: many callers, and whatever may befall a server and the way there befalls it, in any order.

What was acknowledged is there, once; what was refused is not; what is unknown is there once or not at all; and nobody
sees another's session. Each session keeps a log of what was done to it, so all of that can be read from it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random

import pytest
from places import SHARED, Opened, at_once

import worlds
from servers.process import Process
from servers.proxy import Proxy, through
from servers.valkey import Valkey
from sojourn import ConflictError, OutcomeUnknown, SessionConfig, StoreUnavailable
from worlds import Sessions

pytestmark = pytest.mark.battery

SECONDS = 15.0
CALLERS, SESSIONS = 12, 6
DEADLINE = 1.5


class Chaos:
    """Things that go wrong, one after the other, each for a moment."""

    def __init__(self, server: Process, proxy: Proxy, random: Random) -> None:
        self.server = server
        self.proxy = proxy
        self.happened: Counter[str] = Counter()
        self._random = random
        self._deck: list[str] = []

    def befall(self) -> None:
        """Let something happen, and let it be over."""
        if not self._deck:
            self._deck = ["kill", "hang", "hold", "delay", "refuse", "swallow", *["cut", "reset"] * 3]
            self._random.shuffle(self._deck)
        name = self._deck.pop()
        getattr(self, f"_{name}")()
        self.happened[name] += 1
        self.proxy.pass_on()
        time.sleep(self._random.uniform(0, 0.1))

    def _wait(self) -> None:
        time.sleep(self._random.choice([0.02, 0.2, 2.2]))

    def _kill(self) -> None:
        self.server.kill()
        self.server.start()

    def _hang(self) -> None:
        self.server.hang()
        self._wait()
        self.server.go_on()

    def _hold(self) -> None:
        self.proxy.hold()
        self._wait()

    def _delay(self) -> None:
        self.proxy.delay(self._random.choice([0.005, 0.05, 1.8]))
        self._wait()

    def _refuse(self) -> None:
        self.proxy.refuse()
        self._wait()

    def _swallow(self) -> None:
        self.proxy.swallow()
        self._wait()

    def _cut(self) -> None:
        cut = self._random.choice([self.proxy.cut_reply, self.proxy.cut_request])
        cut(times=self._random.randint(1, 20))
        time.sleep(0.05)

    def _reset(self) -> None:
        self.proxy.reset()


class Caller:
    """One of those who write. It remembers what it was told."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.made: list[set[str]] = [set() for _ in range(SESSIONS)]
        self.unknown: list[set[str]] = [set() for _ in range(SESSIONS)]
        self.said: Counter[str] = Counter()
        self.slowest = 0.0

    async def work(self, sessions: Sessions, ids: list[str], over: Callable[[], bool], random: Random) -> None:
        turn = 0
        while not over():
            turn += 1
            which, name = random.randrange(SESSIONS), f"{self.number}.{turn}"
            began = time.monotonic()
            try:
                async with sessions.session(ids[which]) as session:
                    assert session["number"] == which
                    session["log"].append(name)
                self.made[which].add(name)
            except OutcomeUnknown:
                self.unknown[which].add(name)
            except (StoreUnavailable, ConflictError) as error:
                self.said[type(error).__name__] += 1
            self.slowest = max(self.slowest, time.monotonic() - began)

    @property
    def count(self) -> int:
        """How many of its writes were made so far."""
        return sum(map(len, self.made))


@pytest.fixture(params=SHARED)
def server(request: pytest.FixtureRequest) -> Iterator[Process]:
    """A server that keeps what it has when it is killed."""
    if request.param == "valkey":
        with Valkey(appendonly="yes", appendfsync="always") as valkey:
            yield valkey
    else:
        from servers.postgres import PostgreSQL

        with PostgreSQL() as postgres:
            yield postgres


async def test_whatever_happens(world: worlds.World, opened: Opened, server: Process) -> None:
    """12 callers with 3 managers write to 6 sessions for 15 seconds in which the server is killed and hangs, and the
    way there is slow, silent, cut and closed."""
    random = Random(7)
    with Proxy(server.port) as proxy:
        url = through(server.url(), proxy)  # type: ignore[attr-defined]
        managers = [opened(url, config=SessionConfig(deadline=DEADLINE)) for _ in range(3)]
        ids = [await managers[0].create_session("ada", {"number": at, "log": []}) for at in range(SESSIONS)]
        chaos = Chaos(server, proxy, random)
        callers = [Caller(number) for number in range(CALLERS)]
        until = time.monotonic() + SECONDS

        def over() -> bool:  # a busy machine takes longer for as much
            left = until - time.monotonic()
            enough = len(chaos.happened) == 8 and sum(caller.count for caller in callers) > 100
            return left < 0 and (enough or left < -25)

        async def play(number: int) -> None:
            if number < CALLERS:
                await callers[number].work(managers[number % 3], ids, over, Random(number))
            else:
                while not over():
                    await world.aside(chaos.befall)

        await at_once(world, CALLERS + 1, play)
        said = sum((caller.said for caller in callers), Counter())
        made = sum(caller.count for caller in callers)
        unknown = sum(len(names) for caller in callers for names in caller.unknown)
        print(f"{made} made, {unknown} unknown, {dict(said)}; {dict(chaos.happened)}")
        assert made > 100
        assert len(chaos.happened) == 8
        slowest = max(caller.slowest for caller in callers)
        assert slowest < 2 * DEADLINE + 1.4, f"{slowest:.2f} s"  # a load and a commit, on a machine that is busy
        later = opened(server.url(), config=SessionConfig(deadline=10))  # type: ignore[attr-defined]
        for which, session_id in enumerate(ids):
            log = (await later.get_session(session_id))["log"]
            assert len(log) == len(set(log)), "something was applied twice"
            acknowledged = set().union(*(caller.made[which] for caller in callers))
            perhaps = set().union(*(caller.unknown[which] for caller in callers))
            assert acknowledged <= set(log), f"lost: {acknowledged - set(log)}"
            assert set(log) <= acknowledged | perhaps, f"refused and yet made: {set(log) - acknowledged - perhaps}"
