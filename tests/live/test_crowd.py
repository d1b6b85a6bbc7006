"""Promise 3: hundreds of sockets on one process, whose connections break all the time: each session's counter is exact,
nothing of one session reaches another, and when all have left the process holds what it held before."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from random import Random

import pytest
from crowd import Browser, Live, Tab

WARMING = 3.0  # seconds
MOST_THREADS = 16  # some that wait for work, and end by themselves after a while
MOST_LEFT = 8 * 2**20  # bytes (memory that the allocator does not give back varies by some), and
MOST_OBJECTS = 250  # objects that a process may hold more when 500 sessions have come and gone, a second time


class Crowd:
    """Sessions, each with one tab, that click their own counters."""

    def __init__(self, live: Live, many: int) -> None:
        self.live = live
        self.tabs: list[Tab] = []
        self.clicked = [0] * many
        self.dropped = 0
        self.slowest = 0.0

    async def come(self) -> None:
        """All open their pages, 50 at a time."""
        for at in range(0, len(self.clicked), 50):
            new = len(self.clicked[at : at + 50])
            self.tabs += await asyncio.gather(*(Browser().tab(self.live.port) for _ in range(new)))

    async def click(self, seconds: float) -> None:
        """Each clicks once a second or so, types now and then, and loses its connection now and then; one clicks for
        all. It ends when everybody has an answer to everything."""
        until = time.monotonic() + seconds
        await asyncio.gather(*(self._one(number, until) for number in range(len(self.tabs))), self._for_all(until))

    async def _one(self, number: int, until: float) -> None:
        tab, dice = self.tabs[number], Random(number)
        await asyncio.sleep(dice.random())
        while time.monotonic() < until:
            answers = [tab.event("s:click") for _ in range(dice.choice((1, 1, 1, 3)))]
            self.clicked[number] += len(answers)
            if dice.random() < 0.1:
                answers.append(tab.event("g:name", "change", tab.browser.secret))
            if dice.random() < 0.15:
                await asyncio.sleep(dice.choice((0.0, 0.001, 0.003)))
                tab.drop()
                self.dropped += 1
            began = time.monotonic()
            assert not any(await asyncio.wait_for(asyncio.gather(*answers), 20)), tab.refused
            self.slowest = max(self.slowest, time.monotonic() - began)
            await asyncio.sleep(0.5 + dice.random())

    async def _for_all(self, until: float) -> None:
        while time.monotonic() < until:
            await self.tabs[0].does("g:for-all")
            await asyncio.sleep(0.5)

    async def check(self) -> None:
        """What is shown and what is kept are the clicks that were made."""
        assert [tab.count for tab in self.tabs] == self.clicked
        pages = [await Browser.again(tab.browser).tab(self.live.port) for tab in self.tabs[::25]]
        assert [page.count for page in pages] == self.clicked[::25]
        for page in pages:
            await page.close()

    async def leave(self) -> None:
        """All close their tabs."""
        await asyncio.gather(*(tab.close() for tab in self.tabs))


async def _left(live: Live) -> dict[str, int]:
    """What the process holds when all have left, their rooms are closed, and then their sessions have ended."""
    for _ in range(100):
        state: dict[str, int] = await live.ask("state")
        if not state["rooms"]:
            break
        await asyncio.sleep(0.1)
    assert (state["rooms"], state["sockets"]) == (0, 0), state
    await live.ask("end-visitors")
    left: dict[str, int] = await live.ask("state")
    return left


async def _a_crowd_comes_and_goes(live: Live, many: int, seconds: float) -> None:
    crowd = Crowd(live, many)
    await crowd.come()
    await crowd.click(seconds)
    await crowd.check()
    frames, comings = sum(tab.frames for tab in crowd.tabs), sum(tab.comings for tab in crowd.tabs)
    there = await live.ask("state")
    await crowd.leave()
    print(
        f"{many} sessions, {sum(crowd.clicked)} clicks, {frames} frames checked, {crowd.dropped} breaks, "
        f"{comings} comings, slowest answer {crowd.slowest:.2f} s, {there['rss'] / 2**20:.1f} MiB with all there"
    )
    assert comings > many + crowd.dropped // 2, "they were hardly ever away"


@pytest.mark.battery
async def test_five_hundred_sockets_whose_connections_break(tmp_path: Path) -> None:
    """500 sessions click for 10 seconds and are cut off again and again: each counter is exact, each frame is checked
    to be for its session; afterwards no room, no task, no thread, no watch and no memory of them is left."""
    await _crowds(tmp_path, 500, 10)


@pytest.mark.battery
@pytest.mark.soak
async def test_five_hundred_sockets_for_long(tmp_path: Path) -> None:
    """The same twice, one after the other: what is left does not add up."""
    await _crowds(tmp_path, 500, 10, 10)


async def _crowds(folder: Path, many: int, *rounds: float) -> None:
    live = Live(f"sqlite:///{folder}/live.db", linger=1)
    try:
        await live.begin()
        await _a_crowd_comes_and_goes(live, many, WARMING)  # what a process takes once: threads, connections, code
        before = await _left(live)
        for seconds in rounds:
            await _a_crowd_comes_and_goes(live, many, seconds)
            after = await _left(live)
            print(f"{(after['rss'] - before['rss']) / 1024:.0f} KiB more when all have left; {after}")
            assert after["rss"] - before["rss"] < MOST_LEFT
            assert after["objects"] - before["objects"] < MOST_OBJECTS
            assert after["tasks"] <= before["tasks"]
            assert after["watched"] <= before["watched"]
            assert after["threads"] < MOST_THREADS
        assert not live.complaints
    finally:
        live.close()
