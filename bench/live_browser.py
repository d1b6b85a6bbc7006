"""What `live` sees of the counters in Chromium: what their pages weigh, how soon the label is there, and what becomes
of the count when the page is loaded again, the socket drops or the server is killed.

The label is there when it is laid out: it is looked for before each frame, so to 16 ms. A page's weight is the bytes of
all bodies that are loaded, as they are once they are decompressed.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from time import perf_counter

from playwright.async_api import Browser, Locator, Page, async_playwright
from playwright.async_api import Error as BrowserError
from tests.servers.process import LOOPBACK
from tests.servers.proxy import Proxy

from .live_servers import Served

_LOOK = """
window.firstLabel = new Promise((found) => {
  const look = () => {
    if (document.body?.innerText.includes("Clicked 0 times")) found(performance.now());
    else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
});
"""
_DROP = 2.0  # seconds
_PATIENCE = 60.0  # seconds for a page to show its count, on a busy machine
_AT_ONCE = 3
DROPS = 3
"""It is a matter of luck for some: of when they try again, and when the server gives up."""
_COMES_BACK = 12.0  # seconds for a page to find its server again: the longest pauses between attempts are 5


@dataclass(frozen=True)
class Weight:
    """What a cold Chromium loads: bytes, as they are sent (with heads) and as they are used, in how many files, and
    the seconds until the label is there."""

    sent: int
    size: int
    files: int
    seconds: list[float]


@dataclass(frozen=True)
class Kept:
    """Whether the count was still there; and, for each drop, whether a click made meanwhile was done (once; None: the
    page took none)."""

    refresh: bool
    drops: list[bool]
    clicks: list[bool | None]
    kill: bool


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Debian's, on the CPU that this thread has."""
    path = shutil.which("chromium")
    assert path, "chromium is not installed: sh tools/browser.sh"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            await browser.close()


async def weigh(browser: Browser, server: Served, loads: int) -> Weight:
    """Load the page so many times, each with an empty cache. The first load is for the server to warm up."""
    whole = 0, 0, 0
    seconds: list[float] = []
    url = f"http://{LOOPBACK}:{server.port}/"
    for number in range(loads + 1):
        context = await browser.new_context()
        page = await context.new_page()
        await page.add_init_script(_LOOK)
        talk = await context.new_cdp_session(page)
        sent: list[int] = []
        size: list[int] = []
        talk.on("Network.loadingFinished", lambda said, sent=sent: sent.append(said["encodedDataLength"]))
        talk.on("Network.dataReceived", lambda said, size=size: size.append(said["dataLength"]))
        await talk.send("Network.enable")
        await page.goto(url, wait_until="commit")
        async with asyncio.timeout(20):
            seconds.append(await page.evaluate("window.firstLabel") / 1000)
        if not number:
            await page.wait_for_timeout(1500)  # what it loads later on
            whole = sum(sent), sum(size), len(sent)
        await context.close()
    return Weight(*whole, seconds[1:])


async def keeps(browser: Browser, server: Served) -> Kept:
    """Load the page again, drop its socket and click meanwhile, kill the server: each after some clicks more."""
    with Proxy(server.port) as proxy:
        context = await browser.new_context()
        page = await context.new_page()
        await page.goto(f"http://{LOOPBACK}:{proxy.port}/")
        count = await _click(page, await _settled(page))
        await page.reload()
        refresh = await _settled(page) == count

        drops = [await _drop(page, proxy) for _ in range(DROPS)]

        count = await _click(page, await _settled(page))
        server.kill()
        await asyncio.to_thread(server.start)
        await _comes_back(page, count)
        with suppress(BrowserError):  # it is loading itself again
            await page.reload()
        kill = await _settled(page) == count
        await context.close()
    return Kept(refresh, [kept for kept, _ in drops], [click for _, click in drops], kill)


async def _drop(page: Page, proxy: Proxy) -> tuple[bool, bool | None]:
    """Whether the count was kept over a drop, and whether a click was done that was made meanwhile."""
    count = await _click(page, await _settled(page))
    proxy.refuse()
    await asyncio.sleep(_DROP / 2)
    clicked = True
    try:
        await _button(page).click(timeout=_DROP / 2 * 1000)
    except BrowserError:
        clicked = False
    await asyncio.sleep(_DROP / 2)
    proxy.pass_on()
    await _comes_back(page, count + clicked)
    shown = await _settled(page)
    next_one = await _click_once(page, shown)  # a page that never heard of it still shows what it did before
    kept = shown in (count, count + 1) and next_one == shown + 1
    if not kept:
        await page.reload()  # it may be dead
    return kept, kept and shown == count + 1 if clicked else None


def _button(page: Page) -> Locator:
    return page.get_by_role("button", name="Click me")


async def _shown(page: Page) -> int | None:
    """The count on the page; None: there is none, or the page is just loading."""
    try:
        text = await page.evaluate(r"document.body?.innerText.match(/Clicked (\d+) times/)?.[1] ?? null")
    except BrowserError:
        return None
    return None if text is None else int(text)


async def _settled(page: Page) -> int:
    """The count once it is shown and has not changed for a second."""
    give_up = perf_counter() + _PATIENCE
    last, since = await _shown(page), perf_counter()
    while last is None or perf_counter() - since < 1:
        assert perf_counter() < give_up, "the page shows no count"
        await asyncio.sleep(0.05)
        now = await _shown(page)
        if now != last:
            last, since = now, perf_counter()
    return last


async def _comes_back(page: Page, wanted: int) -> int | None:
    """The count after a break: as soon as it has been what is wanted for a second, or what it is in the end."""
    give_up, since = perf_counter() + _COMES_BACK, perf_counter()
    while perf_counter() < give_up:
        await asyncio.sleep(0.05)
        if await _shown(page) != wanted:
            since = perf_counter()
        elif perf_counter() - since > 1:
            break
    return await _shown(page)


async def _click(page: Page, count: int, times: int = 3) -> int:
    """Click, and see each click; the count then."""
    for number in range(count + 1, count + times + 1):
        shown = await _click_once(page, number - 1)
        assert shown == number, f"the page shows {shown} after {number} clicks"
    return count + times


async def _click_once(page: Page, before: int) -> int | None:
    """Click; what is shown once it is something else than before."""
    await _button(page).click(timeout=15_000)
    give_up = perf_counter() + 10
    while (shown := await _shown(page)) in (before, None) and perf_counter() < give_up:
        await asyncio.sleep(0.02)
    return shown


async def all_keep(browser: Browser, servers: Sequence[Served]) -> dict[str, Kept]:
    """Of a few at once, as nothing is timed."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def one(server: Served) -> Kept:
        async with room:
            return await keeps(browser, server)

    found = await asyncio.gather(*map(one, servers))
    return {server.contender.name: kept for server, kept in zip(servers, found, strict=True)}
