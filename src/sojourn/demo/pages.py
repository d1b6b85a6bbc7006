"""From what a handler knows to HTML. The templates are files beside this one, with ``$name`` where a value goes.

Whatever goes in is escaped, unless it is `Html`, which only this module makes.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import Final

from msgspec import Struct

from .. import __version__
from ..cli.humane import ago, duration
from ..record import Summary
from ..session import AsyncSession
from .devices import is_phone
from .shop import PRODUCTS, lines, price

__all__ = ["STATIC", "Page", "Server", "render"]

STATIC: Final = Path(__file__).parent / "static"
_TEMPLATES: Final = Path(__file__).parent / "templates"

_NOTICES: Final = {
    "hello": "You are signed in. Your session got a new secret; the old one is dead.",
    "bye": "You are signed out. The session is gone from the store, for good.",
    "elsewhere": "You were signed out from another device. Nothing that was under way here can bring the session back.",
    "expired": "Your session ran out of time. It is over, and stays over.",
    "ended": "That device is signed out.",
    "ended-all": "You are signed out everywhere else.",
    "name": "A name has 1 to 40 letters or digits; spaces, dots, hyphens and apostrophes may stand within.",
    "full": "The cart is full. Empty it, and go on.",
}
_PROBLEMS: Final = frozenset({"name", "full"})
_UNASKED: Final = frozenset({"elsewhere", "expired"})
_WHEN_OUT: Final = _UNASKED | {"bye"}  # these make sense to nobody who is signed in


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


class Server(Struct, frozen=True):
    """The process that serves the page."""

    pid: int
    started_at: float
    store: str
    command: str
    """What starts it again."""


class Page(Struct, frozen=True):
    """What a page shows."""

    session: AsyncSession
    server: Server
    devices: list[Summary]
    now: float
    notice: str = ""


def fill(template: str, **values: object) -> Html:
    """A template with values in it."""
    escaped = {name: value if isinstance(value, Html) else html.escape(str(value)) for name, value in values.items()}
    return Html(_template(template).substitute(escaped))


@cache
def _template(name: str) -> Template:
    return Template((_TEMPLATES / f"{name}.html").read_text("utf-8"))


def _all(parts: Iterable[Html]) -> Html:
    return Html("\n".join(parts))


def render(page: Page) -> str:
    """The whole page."""
    session, server = page.session, page.server
    signed_in = session.user_id is not None
    return fill(
        "page",
        style=_versioned("demo.css"),
        script=_versioned("demo.js"),
        version=__version__,
        now=f"{page.now:.3f}",
        handle="" if session.is_new else session.handle,
        pid=server.pid,
        command=server.command,
        signed_in="yes" if signed_in else "no",
        notice=_notice(page.notice, signed_in),
        account=fill("account", name=session["name"]) if signed_in else Html(""),
        ticket=_ticket(page) if signed_in else fill("sign_in", state=_anonymous(session)),
        products=_all(_product(sku) for sku in PRODUCTS),
        cart=_cart(session),
        race=fill("race_ready" if signed_in else "race_closed"),
        devices=_devices(page) if signed_in else fill("devices_closed"),
        survival=_survival(page),
    )


@cache
def _versioned(name: str) -> str:
    """The address of a static file; it changes with the content, so that browsers need not ask again."""
    return f"/static/{name}?v={sha256((STATIC / name).read_bytes()).hexdigest()[:12]}"


def _notice(key: str, signed_in: bool) -> Html:
    if key not in _NOTICES or (signed_in and key in _WHEN_OUT):
        return Html("")
    kind = "problem" if key in _PROBLEMS else "plain" if key in _UNASKED else "good"
    return fill("notice", kind=kind, text=_NOTICES[key])


def _anonymous(session: AsyncSession) -> str:
    if session.is_new:
        return "You have no session yet: nothing was stored for you, and no cookie was set."
    return "You have a session without a name. Its cart stays yours when you sign in, under a new secret."


# --- The session, as a boarding pass ----------------------------------------------------------------------------------


def _ticket(page: Page) -> Html:
    session = page.session
    return fill(
        "ticket",
        name=session["name"],
        handle=session.handle,
        device=session.label or "A browser",
        created_at=f"{session.created_at:.3f}",
        age=duration(page.now - session.created_at),
        expires_at=f"{session.expires_at:.3f}",
        left=duration(session.expires_at - page.now),
        idle=f"{session.expires_at - page.now:.0f}",
        ends_at=f"{session.record.ends_at:.3f}",
        at_latest=duration(session.record.ends_at - page.now),
        barcode=_barcode(session.handle),
    )


def _barcode(handle: str) -> Html:
    """The handle as bars: decoration, and different for each session."""
    bars, left = [], 0
    for sign in handle.encode():
        wide, gap = 1 + sign % 3, 1 + sign // 3 % 3
        bars.append(f'<rect x="{left}" width="{wide}" height="40"/>')
        left += wide + gap
    return Html(f'<svg viewBox="0 0 {left} 40" preserveAspectRatio="none" aria-hidden="true">{"".join(bars)}</svg>')


# --- The shop ---------------------------------------------------------------------------------------------------------


def _product(sku: str) -> Html:
    product = PRODUCTS[sku]
    return fill("product", sku=sku, name=product.name, price=price(product.cents))


def _cart(session: AsyncSession) -> Html:
    found = lines(session["cart"]["items"]) if "cart" in session else []
    if not found:
        return fill("cart_empty")
    rows = _all(
        fill("cart_line", sku=line.product.sku, name=line.product.name, count=line.count, price=price(line.cents))
        for line in found
    )
    count, cents = sum(line.count for line in found), sum(line.cents for line in found)
    return fill("cart", rows=rows, count=count, total=price(cents))


# --- The devices ------------------------------------------------------------------------------------------------------


def _devices(page: Page) -> Html:
    others = sum(row.handle != page.session.handle for row in page.devices)
    rows = sorted(page.devices, key=lambda row: (row.handle != page.session.handle, -row.last_accessed_at))
    end_others = fill("devices_end_others") if others else fill("devices_alone")
    return fill("devices", count=len(rows), rows=_all(_device(page, row) for row in rows), end_others=end_others)


def _device(page: Page, row: Summary) -> Html:
    here = row.handle == page.session.handle
    label = row.label or "A browser"
    return fill(
        "device",
        handle=row.handle,
        short=row.handle[-6:],
        label=label,
        icon="phone" if is_phone(label) else "laptop",
        here=fill("device_here") if here else Html(""),
        created=ago(row.created_at, page.now),
        seen="just now" if here else ago(row.last_accessed_at, page.now),
        button="Sign out here" if here else "Sign out this one",
    )


# --- The server -------------------------------------------------------------------------------------------------------


def _survival(page: Page) -> Html:
    session, server = page.session, page.server
    survived = not session.is_new and session.created_at < server.started_at
    return fill(
        "survival",
        pid=server.pid,
        command=server.command,
        store=server.store,
        up_since=f"{server.started_at:.3f}",
        up=duration(page.now - server.started_at),
        verdict=fill("survived", age=duration(page.now - session.created_at)) if survived else Html(""),
    )
