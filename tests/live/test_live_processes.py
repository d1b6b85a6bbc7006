"""Promise 4: two processes with one store. Tabs of a session are in step wherever they are, what everybody sees is the
same everywhere, and what is exact in one process is exact in two."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from crowd import STORES, Browser, Live, Tab, eventually, kept, store_url
from crowd import request as request_to

each_store = pytest.mark.parametrize("store", STORES)
SOON = 1.0  # seconds within which another process shows what was done in one
WAKING = 3.0  # the same, on a machine that has much else to do


@asynccontextmanager
async def _two(request: pytest.FixtureRequest, store: str, folder: Path) -> AsyncIterator[tuple[Live, Live]]:
    """Two processes that serve the app, with one store."""
    url = store_url(request, store, folder)
    here, there = Live(url), Live(url)
    try:
        await asyncio.gather(here.begin(), there.begin())
        yield here, there
        complaints = here.complaints + there.complaints
        assert not complaints, complaints
    finally:
        here.close()
        there.close()


@asynccontextmanager
async def _tabs(browser: Browser, *places: Live) -> AsyncIterator[list[Tab]]:
    """A tab of a browser at each of these places."""
    tabs = [await browser.tab(place.port) for place in places]
    try:
        yield tabs
    finally:
        for tab in tabs:
            await tab.close()


@each_store
async def test_tabs_in_two_processes_are_in_step(request: pytest.FixtureRequest, tmp_path: Path, store: str) -> None:
    """What is clicked and typed in a tab at one process is seen by the tab at the other within a second, both ways, new
    widgets and their callbacks too; another visitor sees nothing of it."""
    async with _two(request, store, tmp_path) as (here, there):
        ada = Browser()
        async with _tabs(ada, here, there) as (left, right), _tabs(Browser(), there) as (stranger,):
            slowest = 0.0
            for number in range(1, 7):
                doer, other = (left, right) if number % 2 else (right, left)
                began = time.monotonic()
                await doer.does("s:click")
                await other.sees("s:label", "text", f"{number} of {ada.secret}", WAKING)
                await doer.does("s:note", "change", f"note {number}")
                await other.sees("s:note", "value", f"note {number}", WAKING)
                await other.sees("s:heard", "text", f"note {number} of {ada.secret}", WAKING)
                await doer.does("g:name", "change", f"Ada {number}")
                await other.sees("g:name", "value", f"Ada {number}", WAKING)
                slowest = max(slowest, time.monotonic() - began)
            await left.does("s:more")
            await eventually(lambda: right.model.find("s:more-0"), "the new widget", WAKING)
            await right.does("s:more-0")
            await left.sees("s:more-0", "label", f"0 again of {ada.secret}", WAKING)
            assert left.model.children == right.model.children
            assert (stranger.count, stranger.prop("g:name", "value")) == (0, "")
            print(f"three changes, each seen in the other process: {slowest * 1000:.0f} ms at most")


async def _both_at_once(request: pytest.FixtureRequest, folder: Path, store: str, clicks: int) -> None:
    async with _two(request, store, folder) as (here, there):
        ada = Browser()
        async with _tabs(ada, here, there, here, there) as tabs:

            async def click(tab: Tab) -> None:
                for turn in range(clicks):
                    await tab.does("s:click")
                    if tab is tabs[3]:  # what one writes while others click is not lost, nor shown late
                        await tab.does("s:note", "change", f"note {turn}")

            began = time.monotonic()
            await asyncio.gather(*(click(tab) for tab in tabs))
            print(f"{5 * clicks} events in {time.monotonic() - began:.1f} s")
            fields = await kept(here.store, ada)
            assert fields is not None
            assert (fields["count"], fields["note"]) == (len(tabs) * clicks, f"note {clicks - 1}")
            for tab in tabs:
                await tab.sees("s:heard", "text", f"note {clicks - 1} of {ada.secret}", WAKING)
            await tabs[0].does("s:click")  # a label is what the last callback knew when it ran
            for tab in tabs:
                await tab.sees("s:label", "text", f"{len(tabs) * clicks + 1} of {ada.secret}", WAKING)
            for turn in range(1, clicks // 10):
                await asyncio.gather(*(tab.does("g:for-all") for tab in tabs for _ in range(5)))
                await _all_show(5 * len(tabs) * turn, tabs, (here, there))


async def _all_show(number: int, tabs: list[Tab], places: tuple[Live, ...]) -> None:
    """The counter of all is this one, in all tabs and in all processes."""
    for tab in tabs:
        await tab.sees("g:clicks", "value", number, WAKING)
    for live in places:
        await _holds(live, {"clicks": number})


async def _holds(live: Live, shared: dict[str, Any]) -> None:
    """A process has these values of all, and the counter on its page is the one among them, or will in a moment: what a
    callback does to both may be kept in two commits."""
    give_up = time.monotonic() + WAKING
    while (state := await live.ask("state")) and (state["clicks"], state["shared"]) != (shared["clicks"], shared):
        assert time.monotonic() < give_up, f"{state['clicks']} and {state['shared']}, not {shared}"
        assert max(state["clicks"], state["shared"].get("clicks", 0)) <= shared["clicks"], "it has counted too far"
        await asyncio.sleep(0.01)


@each_store
async def test_both_processes_count_at_once(request: pytest.FixtureRequest, tmp_path: Path, store: str) -> None:
    """Four tabs of one session, two at each process, click 60 times each at the same time, while one of them types;
    then all count for everybody, several times at once: both counters are exact, in the store, in both processes, and
    in all tabs, and so is what was typed."""
    await _both_at_once(request, tmp_path, store, 60)


@pytest.mark.battery
@pytest.mark.soak
@each_store
async def test_both_processes_count_a_thousand(request: pytest.FixtureRequest, tmp_path: Path, store: str) -> None:
    """The same, 1,000 times each."""
    await _both_at_once(request, tmp_path, store, 1000)


@pytest.mark.battery
@each_store
async def test_an_event_that_two_processes_are_sent_is_done_once(
    request: pytest.FixtureRequest, tmp_path: Path, store: str
) -> None:
    """A tab loses its connection while its click is being handled, comes to the other process, and sends the click
    again there: it is done once, whoever is first, and the tab has an answer."""
    async with _two(request, store, tmp_path) as (here, there):
        ada = Browser()
        async with _tabs(ada, here, there) as (tab, other):
            await other.does("s:click")
            for turn in range(2):
                slow = tab.event("s:slow")
                await asyncio.sleep((0.1, 0.35)[turn])
                tab.port = (there if turn % 2 == 0 else here).port
                tab.drop()
                assert not await asyncio.wait_for(slow, 20)
                await asyncio.sleep(0.5)  # for the process that has lost the tab
            fields = await kept(here.store, ada)
            assert fields is not None
            assert fields["count"] == 3
            await tab.does("s:click")
            for each in (tab, other):
                await each.sees("s:label", "text", f"4 of {ada.secret}", WAKING)


@each_store
async def test_a_login_in_one_process_is_known_in_the_other(
    request: pytest.FixtureRequest, tmp_path: Path, store: str
) -> None:
    """A tab signs in: the browser fetches its new cookie by itself; the tab at the other process is closed within a
    second, with a code that lets it come again, and it comes with the new cookie; all works in both, and the old cookie
    is good for nothing."""
    async with _two(request, store, tmp_path) as (here, there):
        ada = Browser()
        async with _tabs(ada, here, there) as (left, right):
            await right.does("s:click")
            await left.sees("s:label", "text", f"1 of {ada.secret}", WAKING)
            before = ada.cookie
            began = time.monotonic()
            await left.does("s:login")
            await eventually(lambda: right.codes, "the end of the socket", WAKING)
            print(f"closed after {time.monotonic() - began:.2f} s")
            assert right.codes[0] == 1013
            await eventually(lambda: left.renewed == 1 and right.connected, "the new cookie")
            assert ada.cookie != before
            assert not right.ended
            for number, (doer, other) in enumerate([(right, left), (left, right)], 2):
                await doer.does("s:click")
                await other.sees("s:label", "text", f"{number} of {ada.secret}", WAKING)
            for live in (here, there):
                _, _, body = await request_to(live.port, "/", before)
                assert ada.secret not in body


@each_store
async def test_an_end_anywhere_is_an_end_everywhere(request: pytest.FixtureRequest, tmp_path: Path, store: str) -> None:
    """A session is ended in one process, by its application, or by the command line: its tabs are told and closed in
    both within a second, and do not come again; another's stay."""
    async with _two(request, store, tmp_path) as (here, there):
        for end in (lambda who: here.ask("end", who.handle), lambda who: _sojourn_end(here.store, who)):
            ada, eve = Browser(), Browser()
            async with _tabs(ada, here, there) as tabs, _tabs(eve, there) as (stranger,):
                await tabs[0].does("s:click")
                began = time.monotonic()
                await end(ada)
                for tab in tabs:
                    await eventually(lambda tab=tab: tab.ended, "the end", WAKING)
                print(f"told after {time.monotonic() - began:.2f} s: {[tab.ended for tab in tabs]}")
                for tab in tabs:
                    await eventually(lambda tab=tab: tab.codes == [1008], "the end of the socket", WAKING)
                    assert tab.model.children == []
                await stranger.does("s:click")
                assert not stranger.ended


async def _sojourn_end(store: str, browser: Browser) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sojourn", "end", store, browser.handle, stdout=subprocess.DEVNULL
    )
    assert await process.wait() == 0


@each_store
async def test_the_end_of_everything_is_a_new_beginning(
    request: pytest.FixtureRequest, tmp_path: Path, store: str
) -> None:
    """All sessions are ended, and the record of what everybody sees with them: all tabs are told; new visitors come to
    both processes, see the page as it was declared, and what one of them does for everybody is seen by all."""
    async with _two(request, store, tmp_path) as (here, there):
        async with _tabs(Browser(), here, there) as tabs:
            await tabs[0].does("g:post", "change", "before")
            await tabs[1].sees("g:board", "text", "before", WAKING)
            await here.ask("end-all")
            for tab in tabs:
                await eventually(lambda tab=tab: tab.ended, "the end", WAKING)
        async with _tabs(Browser(), here) as (left,), _tabs(Browser(), there) as (right,):
            for tab in (left, right):
                await tab.sees("g:board", "text", "", WAKING)
            await left.does("g:post", "change", "after")
            await right.sees("g:board", "text", "after", WAKING)
            await asyncio.gather(*(tab.does("g:for-all") for tab in (left, right) for _ in range(5)))
            for tab in (left, right):
                await tab.sees("g:clicks", "value", 10, WAKING)
            for live in (here, there):
                await _holds(live, {"board": "after", "clicks": 10})
