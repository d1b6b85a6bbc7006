"""What visitors did is done exactly once, whatever happens to the server and the way there: it is killed before a
commit, between a commit and its answer, and at any moment; connections break. Values, widgets and callbacks are there
again in the new process."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from crowd import STORES, Browser, Live, Tab, eventually, kept, store_url

from servers.proxy import Proxy

each_store = pytest.mark.parametrize("store", STORES)
SESSIONS, TABS = 4, 2


async def _click_through(store: str, seconds: float) -> None:
    """Sessions of several tabs click as fast as they are answered, while the server dies and is started again."""
    live = Live(store, die=0.01, drop=0.02)
    browsers = [Browser() for _ in range(SESSIONS)]
    clicked = [0] * SESSIONS

    async def use(number: int, tab: Tab, until: float) -> None:
        dice = Random(number)
        while time.monotonic() < until or (live.deaths < 2 and time.monotonic() < until + 60):  # it may start slowly
            answers = [tab.event("s:click") for _ in range(dice.randrange(1, 4))]
            clicked[number] += len(answers)
            if dice.random() < 0.05:
                tab.drop()
            done = await asyncio.wait_for(asyncio.gather(*answers), 30)
            assert not any(done), done

    try:
        await live.begin()
        staying = asyncio.create_task(live.stay())
        tabs = [(number, await browser.tab(live.port)) for number, browser in enumerate(browsers) for _ in range(TABS)]
        until = time.monotonic() + seconds
        await asyncio.gather(*(use(number, tab, until) for number, tab in tabs))
        staying.cancel()
        with suppress(asyncio.CancelledError):
            await staying
        for number, tab in tabs:
            await tab.close()
            fields = await kept(store, browsers[number])
            assert fields is not None
            assert fields["count"] == clicked[number]
            assert fields["_live:w:label"]["props"]["text"] == f"{clicked[number]} of {browsers[number].secret}"
        print(f"{sum(clicked)} clicks, {live.deaths} deaths, {sum(tab.comings for _, tab in tabs)} comings")
        assert live.deaths >= 2, "it hardly died"
    finally:
        live.close()


@pytest.mark.battery
@each_store
async def test_clicks_are_done_once_whenever_the_server_dies(
    request: pytest.FixtureRequest, tmp_path: Path, store: str
) -> None:
    """8 tabs of 4 sessions click for 4 seconds, several clicks at once, while the server kills itself in callbacks and
    between commits and answers, closes sockets in place of an answer, and is started again: each counter is exactly the
    number of clicks."""
    await _click_through(store_url(request, store, tmp_path), 4)


@pytest.mark.battery
@pytest.mark.soak
@each_store
async def test_clicks_are_done_once_for_long(request: pytest.FixtureRequest, tmp_path: Path, store: str) -> None:
    """The same for 40 seconds."""
    await _click_through(store_url(request, store, tmp_path), 40)


@each_store
async def test_a_session_is_as_it_was_in_the_next_process(
    request: pytest.FixtureRequest, tmp_path: Path, store: str
) -> None:
    """The server is killed and started again: values, what was typed, widgets that callbacks made and their order are
    as before, in the tab that was open and in a new one; their callbacks are found, nested ones and ones with widgets
    of the session in their variables too; what was clicked meanwhile is done once."""
    live = Live(store_url(request, store, tmp_path))
    try:
        await live.begin()
        browser, other = Browser(), Browser()
        tab, stranger = await browser.tab(live.port), await other.tab(live.port)
        for _ in range(3):
            await tab.does("s:click")
        await tab.does("s:more")
        await tab.does("s:more")
        await tab.does("s:more-1")
        await tab.does("s:note", "change", "milk")
        await tab.does("g:name", "change", "Ada")
        await tab.does("g:for-all")
        await tab.does("g:post", "change", "hello")
        await tab.sees("g:board", "text", "hello")
        await tab.sees("g:clicks", "value", 1)
        before = tab.model.children
        await asyncio.to_thread(live.kill)
        clicks = [tab.event("s:click") for _ in range(3)]
        again = tab.event("s:more-1")
        await eventually(lambda: not tab.connected, "the end of the socket")
        await live.begin()
        assert not any(await asyncio.wait_for(asyncio.gather(*clicks, again), 20))
        fields = await kept(live.store, browser)
        assert fields is not None
        assert (fields["count"], fields["again"], fields["note"]) == (6, 2, "milk")
        await tab.sees("s:label", "text", f"6 of {browser.secret}")
        await tab.sees("s:more-1", "label", f"1 again of {browser.secret}")
        fresh = await browser.tab(live.port)
        assert fresh.model.children == tab.model.children
        assert tab.model.ids() == [one["id"] for one in _walk(before)]
        assert (tab.prop("s:note", "value"), tab.prop("g:name", "value")) == ("milk", "Ada")
        assert (stranger.prop("g:name", "value"), stranger.count) == ("", 0)
        await fresh.does("s:note", "change", "bread")
        await tab.sees("s:heard", "text", f"bread of {browser.secret}")
        await stranger.does("s:click")
        assert stranger.count == 1
        for each in (tab, stranger, fresh):
            await each.close()
        assert not live.complaints
    finally:
        live.close()


def _walk(children: list[dict[str, object]]) -> list[dict[str, object]]:
    return [one for child in children for one in (child, *_walk(child.get("children", [])))]  # type: ignore[arg-type]


@pytest.mark.battery
async def test_what_is_done_during_a_drop_is_done_once(tmp_path: Path) -> None:
    """The way to the server is gone for 2 seconds, and then once more so that nothing comes back though all arrives
    there: what was clicked meanwhile is done once, in its order, and is seen by the other tab."""
    live = Live(f"sqlite:///{tmp_path}/live.db")
    try:
        await live.begin()
        browser = Browser()
        with Proxy(live.port) as proxy:
            tab, near = await browser.tab(proxy.port), await browser.tab(live.port)
            await tab.does("s:click")
            proxy.refuse()
            clicks = [tab.event("s:click") for _ in range(3)]
            typed = tab.event("s:note", "change", "milk")
            await asyncio.sleep(2)
            assert not tab.connected
            assert near.count == 1
            proxy.pass_on()
            assert not any(await asyncio.wait_for(asyncio.gather(*clicks, typed), 20))
            await near.sees("s:label", "text", f"4 of {browser.secret}")
            await near.sees("s:note", "value", "milk")
            proxy.cut_reply(request=b"", times=1)
            await asyncio.wait_for(tab.event("s:click"), 20)
            assert proxy.cuts == 1, "nothing was cut"
            proxy.hold()
            click = tab.event("s:click")
            await asyncio.sleep(0.3)
            proxy.refuse()
            proxy.pass_on()
            assert not await asyncio.wait_for(click, 20)
            await near.sees("s:label", "text", f"6 of {browser.secret}")
            assert tab.comings >= 4
            await tab.close()
            await near.close()
        fields = await kept(live.store, browser)
        assert fields is not None
        assert (fields["count"], fields["note"]) == (6, "milk")
    finally:
        live.close()
