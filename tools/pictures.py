"""The pictures of the dashboard in docs/pictures, made anew: ``make pictures``.

A shop's sessions are made in a store: twelve people with their devices and carts, visitors without a name, a page that
keeps its query parameters, and an hour in which sessions ended for each reason. Then a real dashboard is opened on it,
in Chromium, while the shop goes on. What is random is seeded and time is handed in, so two runs show the same, but for
what is measured: how soon the store answers, and how many commits came within a minute.

    PYTHONPATH=tests:tests/live:tests/admin python tools/pictures.py
"""

from __future__ import annotations

import os
import random
import tempfile
import threading
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from browsing import chromium, live
from dashing import Operator, shown
from playwright.sync_api import Browser, Page

from sojourn import Handle, SessionConfig, SessionManager
from sojourn.admin import report
from sojourn.blocking import run
from sojourn.codec import Codec
from sojourn.record import Amendment
from sojourn.testing.records import Clock

PICTURES: Final = Path(__file__).parent.parent / "docs/pictures"
NOW: Final = 1_790_949_600.0  # 2026-10-02 14:00:00 UTC, in Unix seconds
HOUR: Final = 3600.0
MOST_BYTES: Final = 250_000  # of a picture: it is loaded with every page that shows it

PEOPLE: Final = (
    "ada",
    "alan",
    "barbara",
    "dennis",
    "edsger",
    "frances",
    "grace",
    "hedy",
    "john",
    "ken",
    "margaret",
    "radia",
)
DEVICES: Final = ("Firefox on Linux", "Chrome on Windows", "Safari on iPhone", "Edge on Windows", "Chrome on Android")
GOODS: Final = ("tea", "coffee", "cocoa", "honey", "rusks", "jam", "oats", "figs")
KIOSK: Final = "Kiosk by the door"


class Shop:
    """A shop whose visitors come and go. Time is the clock's; what they do is drawn from a seed."""

    def __init__(self, url: str, clock: Callable[[], float], seed: int = 8) -> None:
        config = SessionConfig(
            idle_timeout=8 * HOUR, absolute_timeout=168 * HOUR, max_sessions_per_user=4, record_changes=True
        )
        self.sessions = SessionManager(url, config=config, clock=clock)
        self._random = random.Random(seed)
        self._here: list[str] = []
        self._codec = Codec()

    def arrive(
        self, user: str | None, data: dict[str, Any], label: str | None = None, idle: float | None = None
    ) -> str:
        """A session begins. Its handle is drawn from the seed, as all else is; nobody has its secret."""
        handle = urlsafe_b64encode(self._random.randbytes(16)).rstrip(b"=").decode()
        lasting = Amendment(login=user is not None, user_id=user, label=label, idle_timeout=idle)
        run(self.sessions.engine.add(handle, "-" * 43, self._codec.encode_all(data), lasting))
        return handle

    def somebody_arrives(self) -> None:
        """Most are known, some are not; the kiosk forgets within minutes."""
        draw = self._random
        user = draw.choice(PEOPLE[1:]) if draw.random() < 0.6 else None
        items = [{"sku": sku, "count": draw.randint(1, 4)} for sku in draw.sample(GOODS, draw.randint(0, 5))]
        data: dict[str, Any] = {
            "cart": {"items": items, "currency": "EUR"},
            "seen": draw.sample(GOODS, draw.randint(1, 8)),
        }
        if user is None and draw.random() < 0.5:
            self.arrive(user, data, KIOSK, 240.0)  # and nothing more is heard of them
        else:
            self._here.append(self.arrive(user, data, draw.choice(DEVICES)))

    def somebody_shops(self) -> None:
        """A request that changes something."""
        self.sessions.update(Handle(self._random.choice(self._here)), "visits", lambda visits: (visits or 0) + 1)

    def all_shop(self) -> None:
        """A request of each visitor who is here."""
        for handle in self._here:
            self.sessions.update(Handle(handle), "visits", lambda visits: (visits or 0) + 1)

    def two_meet(self) -> None:
        """Two requests of one visitor at a time: what both changed is merged."""
        handle = Handle(self._random.choice(self._here))
        with self.sessions.session(handle) as first:
            first["cart"]["gift"] = True
            self.sessions.update(handle, "visits", lambda visits: (visits or 0) + 1)

    def somebody_leaves(self) -> None:
        """A visitor signs out."""
        with self.sessions.session(Handle(self._here.pop(self._random.randrange(len(self._here))))) as session:
            session.end()

    def clean(self) -> None:
        """Who has run out, was sent away or made room is not here any more."""
        self.sessions.purge_expired()
        left = {row.handle for row in self.sessions.list_sessions()}
        self._here = [handle for handle in self._here if handle in left]

    def a_minute(self, crowd: float) -> None:
        """What happens in a minute, more of it the larger the crowd is (about 1)."""
        draw = self._random
        for _ in range(round(crowd * draw.uniform(1, 4))):
            self.somebody_arrives()
        self.clean()
        for _ in range(round(crowd * draw.uniform(0, 2))):
            self.somebody_leaves()
        if draw.random() < 0.06:
            self.sessions.end_user_sessions(draw.choice(PEOPLE[1:]))  # a changed password
        self.clean()


def past(shop: Shop, clock: Clock) -> str:
    """The days and the hour before now. Returns the handle of the session that is shown."""
    for hours in range(71, 0, -1):
        clock.now = NOW - hours * HOUR
        if hours % 7 == 1 or hours < 9:
            shop.somebody_arrives()
        shop.clean()
        if hours % 4 == 0:
            shop.all_shop()  # or they would run out
    for minute in range(60):
        clock.now = NOW - HOUR + 60 * minute + 7
        shop.a_minute(0.6 + minute % 23 / 16)
        if minute == 18:
            handle = shop.arrive("ada", SHOWN, "Firefox on Linux")
        if minute > 18 and minute % 9 == 0:
            with shop.sessions.session(Handle(handle)) as session:
                session["cart"]["items"][0]["count"] += 1
    shop.sessions.rotate(Handle(handle))
    clock.now = NOW
    return handle


SHOWN: Final[dict[str, Any]] = {
    "cart": {"items": [{"sku": "tea", "count": 1}, {"sku": "honey", "count": 2}], "coupon": "AUTUMN"},
    "payment": {"method": "card", "card_number": "4000 0000 0000 0002"},
    "api_token": "0f6c7b1e",
    "theme": "dark",
    "search": "assam",
    "page": 2,
    "$$widgets": ["page", "search"],
    "$$params": {"q": ["assam"], "page": ["2"], "sort": ["price"]},
}
"""What Ada's session holds: a cart, and what a state of `sojourn.state` keeps of its page."""


@contextmanager
def going_on(shop: Shop, clock: Clock) -> Iterator[threading.Event]:
    """The shop goes on: a quarter of an hour in half a minute, so that there is something to see, and then, which the
    event tells, as slowly as time does."""
    over, caught_up = threading.Event(), threading.Event()

    def work() -> None:
        step = 0
        while not over.wait(1.0 if caught_up.is_set() else 0.025):
            step += 1
            clock.now = NOW + step
            shop.somebody_shops()
            if step % 20 == 0:
                shop.two_meet()
            if step % 60 == 0:
                shop.a_minute(1.0)
            if step == 15 * 60 + 40:
                caught_up.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield caught_up
        assert thread.is_alive(), "the shop has closed early"
    finally:
        over.set()
        thread.join()


def take(page: Page, name: str, height: int = 0) -> None:
    """Write a picture of a page: of so much of it, or of all."""
    page.evaluate("scrollTo(0, 0); document.activeElement.blur()")
    page.mouse.move(0, 0)
    page.wait_for_timeout(300)
    height = height or page.evaluate("document.documentElement.scrollHeight")
    width = page.viewport_size["width"]  # type: ignore[index]  # it has one
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_timeout(300)
    path = PICTURES / f"dashboard-{name}.png"
    page.screenshot(path=path, animations="disabled", caret="hide")
    size = path.stat().st_size
    print(f"{path.name}: {size:,} bytes")
    assert size <= MOST_BYTES, f"{path.name} has {size:,} bytes, at most {MOST_BYTES:,} are meant"


def turn_to(page: Page, name: str) -> None:
    page.get_by_role("navigation").get_by_text(name, exact=True).click()


def pictures(browser: Browser, shop: Shop, clock: Clock, handle: str) -> None:
    """All of them."""
    with shown(shop.sessions) as site:
        desk = Operator(browser, site, viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
        page = desk.enter()
        with going_on(shop, clock) as caught_up:
            assert caught_up.wait(120), "the shop is too slow"
            page.wait_for_timeout(3_000)
            take(page, "overview", 1410)
            turn_to(page, "Sessions")
            page.locator("main table tbody tr:visible").first.wait_for()
            take(page, "sessions", 860)
            turn_to(page, "Session")
            page.get_by_label("Handle", exact=True).and_(page.locator(":visible")).fill(handle)
            page.get_by_role("button", name="Open").click()
            page.get_by_role("button", name="Show values").click()
            page.get_by_role("treeitem").get_by_text("coupon", exact=True).click()
            take(page, "session")
            storage = desk.context.storage_state()
            pocket = Operator(
                browser, site, storage_state=storage, viewport={"width": 390, "height": 844}, reduced_motion="reduce",
                color_scheme="dark", device_scale_factor=2,
            )  # fmt: skip
            phone = pocket.context.new_page()
            phone.goto(pocket.url)
            live(phone)
            take(phone, "phone", 844)
            wrong = [one for one in desk.complaints if "401" not in one]  # which is how one is asked to sign in
            assert not wrong, wrong
        pocket.close()
        desk.close()


def main() -> None:
    """Make them."""
    os.environ["TZ"] = "UTC"  # the page tells times by the clock on the server's wall
    time.tzset()
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        clock = Clock(NOW)
        shop = Shop(f"sqlite:///{folder}/shop.db?durability=process", clock)
        with shop.sessions:
            handle = past(shop, clock)
            report(shop.sessions, sockets=lambda: 23)
            pictures(browser, shop, clock, handle)


if __name__ == "__main__":
    main()
