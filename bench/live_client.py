"""What `live` clicks with: tabs, and what many of them do.

A `Tab` is a page with its socket. The texts on it are found by looking for "Clicked 3 times" and "Shared 3" in what
arrives, whatever the protocol: what else the browser's side does to show them is none of the server's time.
"""

from __future__ import annotations

import asyncio
import base64
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

from .live_socket import HOST, Lost, Socket, visit
from .live_tabs import Dialect

_PATIENCE = 10.0  # seconds for a click to be answered

_clicked = re.compile(rb"Clicked (\d+) times").search
_shared = re.compile(rb"Shared (\d+)").findall


class Tab:
    """A page with its socket, that clicks and sees what comes of it. ``answered`` is called with the seconds that a
    click took."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self.clicks = 0
        self.shown = 0
        self.shared = 0
        self.answered: Callable[[Tab, float], None] | None = None
        self.told: Callable[[Tab, float], None] | None = None
        self.since = 0.0
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.wrong = ""
        """What it has seen that cannot be."""

    async def open(self, port: int) -> None:
        """Fetch the page, open the socket, wait until it can be clicked."""
        page = await asyncio.to_thread(visit, port)
        call = self.dialect.opens(page)
        lines = [
            f"GET {call.path} HTTP/1.1",
            f"Host: {HOST}:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits",
            f"Origin: http://{HOST}:{port}",
        ]
        if page.cookie:
            lines.append(f"Cookie: {page.cookie}")
        if call.subprotocols:
            lines.append(f"Sec-WebSocket-Protocol: {', '.join(call.subprotocols)}")
        request = "\r\n".join([*lines, "", ""]).encode()
        loop = asyncio.get_running_loop()
        self.socket = Socket(request, self._heard)
        await loop.create_connection(lambda: self.socket, HOST, port)
        await asyncio.wait_for(self.socket.opened, 30)
        for frame in call.first:
            self.socket.send(frame, self.dialect.binary)
        if self.dialect.ready:
            self._get_ready()
        await asyncio.wait_for(self._ready, 60)
        if self.dialect.beats:
            loop.call_later(self.dialect.beats, self._beat)

    def _beat(self) -> None:
        if not (self.socket.lost or self.socket.closing):
            said = self.dialect.beat()
            if said is not None:
                self.socket.send(said, self.dialect.binary)
            asyncio.get_running_loop().call_later(self.dialect.beats, self._beat)

    def click(self, since: float = 0.0) -> None:
        """Click. ``since`` is when that was due, if it was before now."""
        self.clicks += 1
        self.since = since or perf_counter()
        self.socket.send(self.dialect.click(), self.dialect.binary)

    def tell(self) -> None:
        """Click what changes what everybody sees."""
        self.socket.send(self.dialect.tell(), self.dialect.binary)

    @property
    def waits(self) -> bool:
        """For the answer to a click."""
        return self.shown < self.clicks

    def close(self) -> None:
        """Leave."""
        self.socket.close()

    def _get_ready(self) -> None:
        if not self._ready.done():
            self._ready.set_result(None)

    def _heard(self, message: bytes) -> None:
        found = _clicked(message)
        if found:
            number = int(found[1])
            if number > self.clicks:
                self.wrong = f"{self.dialect.name} shows {number} after {self.clicks} clicks"
            elif number > self.shown:
                self.shown = number
                if number == self.clicks and self.answered is not None:
                    self.answered(self, perf_counter() - self.since)
        numbers = _shared(message)
        if numbers:
            number = max(map(int, numbers))
            if number > self.shared:
                self.shared = number
                if self.told is not None:
                    self.told(self, perf_counter())
        answer = self.dialect.hears(message)
        if answer is not None:
            self.socket.send(answer, self.dialect.binary)
        if self.dialect.ready and not self._ready.done():
            self._get_ready()


async def open_tabs(make: Callable[[], Dialect], port: int, count: int) -> list[Tab]:
    """So many new visitors, a few at a time."""
    room = asyncio.Semaphore(10)

    async def one() -> Tab:
        async with room:
            tab = Tab(make())
            await tab.open(port)
            return tab

    return list(await asyncio.gather(*(one() for _ in range(count))))


async def close_tabs(tabs: Sequence[Tab]) -> None:
    """All of them leave; what was closed before is said."""
    for tab in tabs:
        if tab.wrong:
            raise Lost(tab.wrong)
    lost = sum(tab.socket.lost or tab.socket.closing for tab in tabs)
    for tab in tabs:
        tab.close()
    await asyncio.sleep(0.1)
    if lost:
        raise Lost(f"{tabs[0].dialect.name}: the server closed {lost} of {len(tabs)} sockets")


async def click_each(tabs: Sequence[Tab]) -> None:
    """Each clicks once, one after the other."""
    for tab in tabs:
        answer = asyncio.get_running_loop().create_future()
        tab.answered = lambda _tab, _seconds, answer=answer: answer.set_result(None)  # type: ignore[misc]
        tab.click()
        await asyncio.wait_for(answer, _PATIENCE)
        tab.answered = None


@dataclass(frozen=True)
class Load:
    """What came of clicking: the seconds that each click took, how many were answered while it went on, how long that
    was, and the CPU time of the client and of the server meanwhile."""

    seconds: list[float]
    answered: int
    lasted: float
    cpu: float
    served: float = 0.0

    @property
    def rate(self) -> float:
        """Answered clicks a second."""
        return self.answered / self.lasted


async def paced(tabs: Sequence[Tab], seconds: float, pace: float = 1.0) -> Load:
    """Each clicks once in `pace` seconds, spread evenly. Who still waits when the next click is due clicks once the
    answer is there; how long it took counts from when it was due. What is not answered long after the end counts with
    what it has taken by then."""
    loop = asyncio.get_running_loop()
    taken: list[float] = []
    due: dict[Tab, float] = {}
    over = False

    def answered(tab: Tab, took: float) -> None:
        taken.append(took)
        if tab in due and not over:
            tab.click(due.pop(tab))

    def turn(tab: Tab, at: float) -> None:
        if over:
            return
        if tab.waits:
            due.setdefault(tab, perf_counter())
        else:
            tab.click()
        loop.call_at(at + pace, turn, tab, at + pace)

    began, cpu = perf_counter(), _cpu()
    for number, tab in enumerate(tabs):
        tab.answered = answered
        at = loop.time() + pace * number / len(tabs)
        loop.call_at(at, turn, tab, at)
    await asyncio.sleep(seconds)
    over = True
    load = Load(taken, len(taken), perf_counter() - began, _cpu() - cpu)
    late = await _settled(tabs)
    taken += [perf_counter() - since for since in [*late, *due.values()]]  # what they took at least
    return load


async def flat_out(tabs: Sequence[Tab], seconds: float, meter: Callable[[], float]) -> Load:
    """Each clicks again as soon as the answer is there; for longer, up to a point, if there are fewer answers than
    tabs. ``meter`` tells the seconds of CPU that the server has used."""
    taken: list[float] = []
    over = False

    def answered(tab: Tab, took: float) -> None:
        if not over:
            taken.append(took)
            tab.click()

    began, cpu, served = perf_counter(), _cpu(), meter()
    for tab in tabs:
        tab.answered = answered
        tab.click()
    await asyncio.sleep(seconds)
    while len(taken) < len(tabs) and perf_counter() - began < _PATIENCE:
        await asyncio.sleep(0.05)
    over = True
    load = Load(taken, len(taken), perf_counter() - began, _cpu() - cpu, meter() - served)
    await _settled(tabs)
    return load


async def tell_all(tabs: Sequence[Tab], times: int, seconds: float = 6.0) -> tuple[list[float], list[float]]:
    """What everybody sees is changed so many times, by one after the other, or fewer if that takes too long: the
    seconds until each of them saw it, and until the last of them did."""
    each: list[float] = []
    last: list[float] = []
    give_up = perf_counter() + seconds
    for number in range(times):
        if number and perf_counter() > give_up:
            break
        all_told = asyncio.get_running_loop().create_future()
        seen: list[float] = []

        def told(tab: Tab, at: float, seen: list[float] = seen, all_told: asyncio.Future[None] = all_told) -> None:
            seen.append(at)
            if len(seen) == len(tabs):
                all_told.set_result(None)

        for tab in tabs:
            tab.told = told
        began = perf_counter()
        tabs[number % len(tabs)].tell()
        await asyncio.wait_for(all_told, 6 * _PATIENCE)
        each += [at - began for at in seen]
        last.append(seen[-1] - began)
        await asyncio.sleep(0.05)
    return each, last


async def _settled(tabs: Sequence[Tab]) -> list[float]:
    """Wait for what was clicked to be answered, if not for long: since when it still is not."""
    give_up = perf_counter() + _PATIENCE
    while any(tab.waits for tab in tabs) and perf_counter() < give_up:
        await asyncio.sleep(0.01)
    for tab in tabs:
        tab.answered = None
    return [tab.since for tab in tabs if tab.waits]


def _cpu() -> float:
    used = os.times()
    return used.user + used.system
