"""The three sessions that are measured: A, B and C. Plain data that JSON, pickle and MessagePack all take.

A  about 180 bytes in 5 keys: who is signed in, a token, a counter and preferences. Most sessions are such.
B  about 2 KB in 23 keys, nearly all nested: profile, preferences, cart, orders, flash messages, a wizard
   half done.
C  about 64 KB in 200 keys, each a small nested document of about 320 bytes: a session never tidied up.

Sizes are those of the whole session in msgspec's MessagePack; `check()` asserts them. Three things happen
to a payload: `read` is the key that is read (a nested value in each), `change` is the key that is assigned
anew, and `leaf` is a key inside the value at `read` that is changed in place. Each `value(i)` differs in
its bytes from every other and never in its size: SQLite skips a page that is overwritten with what it holds
already, and a session that grows would measure something else.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

Session = dict[str, Any]

_TOKEN = "bm90LWEtc2VjcmV0LWJ1dC10aGUtc2l6ZS1vZi1vbmUtaXM"


@dataclass(frozen=True)
class Payload:
    """One kind of session, and what the operations do to it."""

    name: str
    build: Callable[[int], Session]
    read: str
    leaf: str
    change: str
    value: Callable[[int], Any]
    keys: int
    size: tuple[int, int]
    population: int = 64
    """How many sessions go round where there is memory for them."""

    def check(self) -> int:
        """The encoded size in bytes, after asserting that the payload is what its description says."""
        session = self.build(1)
        session[self.change] = self.value(1)
        size = len(msgspec.msgpack.encode(session))
        other = {**session, self.change: self.value(2)}
        assert len(session) == self.keys, f"{self.name}: {len(session)} keys"
        assert self.size[0] <= size <= self.size[1], f"{self.name}: {size} bytes"
        assert len(msgspec.msgpack.encode(other)) == size, f"{self.name}: the size moves with the value"
        assert other != session, f"{self.name}: a change that changes nothing"
        assert self.leaf in session[self.read], f"{self.name}: no {self.leaf} in {self.read}"
        return size


def _small(seed: int) -> Session:
    return {
        "user_id": f"user-{seed:08d}",
        "role": "customer",
        "csrf_token": f"{_TOKEN}{seed:08d}",
        "visits": 1_000_000 + seed,
        "preferences": {"theme": "theme-0000001", "language": "en-GB", "beta": False},
    }


def _cart_item(number: int) -> Session:
    return {
        "sku": f"SKU-{number:05d}",
        "title": f"Enamel mug, {number} cl",
        "quantity": 2,
        "price": 12.5,
        "options": {"colour": "blue", "gift": False, "engraving": "Ada"},
    }


def _profile(seed: int) -> Session:
    return {
        "name": "Ada Example",
        "email": f"ada.{seed:08d}@example.org",
        "avatar": f"/media/avatars/{seed:08d}.webp",
        "verified": True,
    }


def _address(street: str) -> Session:
    return {"street": street, "city": "Springfield", "postcode": "AB1 2CD", "country": "GB"}


def _middle(seed: int) -> Session:
    return {
        "user_id": f"user-{seed:08d}",
        "csrf_token": f"{_TOKEN}{seed:08d}",
        "visits": 1_000_000 + seed,
        "profile": _profile(seed),
        "preferences": {"theme": "theme-0000001", "language": "en-GB", "density": "compact", "beta": False},
        "notifications": {"email": True, "push": False, "digest": "weekly", "topics": ["offers", "orders"]},
        "cart": {"currency": "EUR", "items": [_cart_item(n) for n in range(4)], "coupon": None},
        "wishlist": [{"sku": f"SKU-{n:05d}", "added": 1_700_000_000 + n} for n in range(6)],
        "shipping_address": _address("12 Long Acre, second floor"),
        "billing_address": _address("7 Short Lane"),
        "recently_viewed": [f"SKU-{n:05d}" for n in range(10)],
        "last_viewed": _view(seed),
        "search": {
            "query": "enamel mug",
            "filters": {"colour": ["blue", "white"], "max_price": 30},
            "page": 2,
        },
        "checkout": {"step": "delivery", "done": ["basket", "address"], "delivery": {"method": "standard"}},
        "flash": [
            {"level": "info", "text": "Your address was saved."},
            {"level": "warning", "text": "2 left."},
        ],
        "permissions": ["orders:read", "orders:write", "profile:write"],
        "experiments": {"checkout-button": "b", "search-ranking": "control", "hero": "a"},
        "device": {"label": "Firefox on Linux", "screen": [1920, 1080], "touch": False},
        "locale": {"timezone": "Europe/London", "currency": "GBP", "first_day": 1},
        "oauth": {"provider": "example", "state": f"{seed:016x}", "scopes": ["openid", "email"]},
        "consent": {"analytics": False, "marketing": False, "at": 1_700_000_000},
        "referrer": {"source": "newsletter", "campaign": "spring", "landing": "/sale"},
        "support": {"open_tickets": [], "last_chat": None, "topics": ["delivery"]},
    }


def _view(number: int) -> Session:
    return {"sku": f"SKU-{number:08d}", "at": 1_700_000_000 + number, "from": ["search", "page-2"]}


def _document(number: int) -> Session:
    return {
        "id": f"{number:012d}",
        "title": f"Quarterly figures, draft {number:08d}",
        "state": {"phase": "review", "locked": False, "progress": 0.75},
        "tags": ["finance", "internal", "draft"],
        "authors": [{"name": "Ada Example", "role": "owner"}, {"name": "Bob Example", "role": "editor"}],
        "notes": f"Numbers from the north arrived late; check the week of {number:08d} again before sending.",
        "kind": "report",
        "at": 1_700_000_000 + number,
    }


def _large(seed: int) -> Session:
    return {f"document_{n:03d}": _document(seed * 1_000 + n) for n in range(200)}


A = Payload("A", _small, "preferences", "theme", "visits", lambda i: 1_000_000 + i, 5, (160, 200))
B = Payload("B", _middle, "preferences", "theme", "last_viewed", _view, 23, (1_900, 2_150))
C = Payload("C", _large, "document_042", "title", "document_117", _document, 200, (62_000, 67_000), 16)
ALL = (A, B, C)
