"""A store that hangs, fails, or does not say what it did: visitors are told, the page shows what is stored, nothing
that was acknowledged is lost, what cannot be known is never acknowledged, and when the store is back, all goes on."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from crowd import Browser, Live, Tab, eventually, kept, store_url

from servers.process import free_port
from servers.proxy import Proxy, before, through

DEADLINE = 1.0  # seconds that the store may take: more than what merely has to wait for its turn needs
SLACK = 4.0  # seconds for an answer, on a machine that has much else to do
OUTAGES = (
    "locked",
    "valkey silent",
    "valkey mute",
    "postgres refusing",
    pytest.param("valkey refusing", marks=pytest.mark.soak),
    pytest.param("postgres silent", marks=pytest.mark.soak),
)


class Trouble(NamedTuple):
    """A server whose store can fail."""

    live: Live
    store: str
    """The store, past what is wrong with the way there."""
    begin: Callable[[], object]
    end: Callable[[], object]


@asynccontextmanager
async def _trouble(request: pytest.FixtureRequest, folder: Path, outage: str) -> AsyncIterator[Trouble]:
    name, _, how = outage.partition(" ")
    if name == "locked":
        store = store_url(request, "sqlite", folder)
        live = Live(store, deadline=DEADLINE)
        await live.begin()
        holder = sqlite3.connect(folder / "live.db", isolation_level=None)
        trouble = Trouble(live, store, lambda: holder.execute("BEGIN IMMEDIATE"), lambda: holder.execute("ROLLBACK"))
        try:
            yield trouble
        finally:
            holder.close()
            live.close()
        return
    store = store_url(request, name, folder)
    with before(store) as proxy:
        begin = {"silent": proxy.swallow, "refusing": proxy.refuse, "mute": lambda: proxy.cut_reply(times=100_000)}[how]
        live = Live(through(store, proxy), deadline=DEADLINE)
        try:
            await live.begin()
            yield Trouble(live, store, begin, lambda: _over(proxy))
        finally:
            live.close()


def _over(proxy: Proxy) -> None:
    proxy.pass_on()
    proxy.reset()  # for connections of which nobody would hear again


async def _until_it_works(doing: Callable[[], Awaitable[str]]) -> int:
    """Do something until it is done; how often it was refused."""
    refused, give_up = 0, time.monotonic() + 15
    while await asyncio.wait_for(doing(), SLACK + 5):
        refused += 1
        assert time.monotonic() < give_up, "it did not recover"
        await asyncio.sleep(0.1)
    return refused


@pytest.mark.battery
@pytest.mark.parametrize("outage", OUTAGES)
async def test_a_store_that_fails(request: pytest.FixtureRequest, tmp_path: Path, outage: str) -> None:
    """The store locks, hangs, refuses, or acts and says nothing: each event is answered by an error, the page shows
    what is stored; afterwards two sessions, and two tabs of one, go on with what was acknowledged, which is all in the
    store, and nothing else is, unless nobody could know."""
    async with _trouble(request, tmp_path, outage) as trouble:
        live = trouble.live
        ada, eve = Browser(), Browser()
        tab, other, stranger = await ada.tab(live.port), await ada.tab(live.port), await eve.tab(live.port)
        for _ in range(2):
            await tab.does("s:click")
        await tab.does("s:note", "change", "before")
        trouble.begin()
        began = time.monotonic()
        answers = await asyncio.wait_for(
            asyncio.gather(
                tab.event("s:click"), tab.event("s:note", "change", "meanwhile"), other.event("s:click"),
                stranger.event("g:for-all"), stranger.event("s:click"), stranger.event("s:click"),
            ),
            40,
        )  # fmt: skip
        print(f"{outage}: {answers} after {time.monotonic() - began:.1f} s")
        assert answers == ["unavailable"] * 6
        assert (tab.count, stranger.count, tab.prop("s:note", "value")) == (2, 0, "before")
        trouble.end()
        refused = await _until_it_works(lambda: stranger.event("s:click"))
        refused_here = await _until_it_works(lambda: other.event("s:click"))
        fields, theirs = await kept(trouble.store, ada), await kept(trouble.store, eve)
        assert fields is not None
        assert theirs is not None
        unknown = outage == "valkey mute"  # it did what it was asked, and nobody heard of it
        assert 3 <= fields["count"] <= 3 + (2 + refused_here) * unknown
        assert 1 <= theirs["count"] <= 1 + (2 + refused) * unknown
        assert fields["note"] == fields["_live:w:note"]["props"]["value"]
        assert unknown or fields["note"] == "before"
        for each, count in ((tab, fields["count"]), (other, fields["count"]), (stranger, theirs["count"])):
            await _shows(each, count)
        await tab.sees("s:note", "value", fields["note"])
        await _for_all_is_kept(trouble, [tab, stranger])
        for each in (tab, other, stranger):
            await each.close()
        assert "Traceback" not in live.complaints


async def _shows(tab: Tab, count: int) -> None:
    """The label is what a callback made of what it knew: never more than is stored."""
    await eventually(lambda: 0 < tab.count <= count, f"a label of at most {count}, not {tab.count}", 5)


async def _for_all_is_kept(trouble: Trouble, tabs: list[Tab]) -> None:
    """What somebody did for all is kept and shown as soon as the store is back, without anybody's doing, and once: also
    where nobody could know whether it was kept."""
    shown: set[object] = set()
    for _ in range(100):
        state = await trouble.live.ask("state")
        shown = {state["clicks"], state["shared"].get("clicks", 0), *(tab.prop("g:clicks", "value") for tab in tabs)}
        if shown == {1}:
            return
        assert shown <= {0, 1}
        await asyncio.sleep(0.05)
    raise AssertionError(f"the counter of all is {shown}")


@pytest.mark.battery
@pytest.mark.parametrize("outage", ["locked", pytest.param("valkey silent", marks=pytest.mark.soak)])
async def test_an_error_that_did_not_arrive(request: pytest.FixtureRequest, tmp_path: Path, outage: str) -> None:
    """The store fails, and the tab loses its connection before it hears of it: it sends its events again, and is never
    told that they are done while they are not."""
    async with _trouble(request, tmp_path, outage) as trouble:
        ada = Browser()
        tab = await ada.tab(trouble.live.port)
        await tab.does("s:click")
        for keeps_its_place in (True, False):
            trouble.begin()
            answers = [tab.event("s:click"), tab.event("s:click")]
            await asyncio.sleep(DEADLINE / 2)
            if not keeps_its_place:
                tab.model.s = ["another", 1]  # it has to be shown a whole page
            tab.port = free_port()  # it comes again when both have failed
            tab.drop()
            await asyncio.sleep(4 * DEADLINE)
            trouble.end()
            tab.port = trouble.live.port
            told = await asyncio.wait_for(asyncio.gather(*answers), 40)
            fields = await kept(trouble.store, ada)
            assert fields is not None
            assert fields["count"] == 1 + told.count(""), told
            await _until_it_works(lambda: tab.event("g:name", "change", "Ada"))
            assert tab.count == fields["count"] == 1
        await tab.close()
