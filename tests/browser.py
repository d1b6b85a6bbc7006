"""A small model of what RFC 6265bis (and CHIPS) has a browser do with ``Set-Cookie``: what is accepted, for how long,
and what is sent back. What a browser would drop, this drops, and says why."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

_LONGEST = 4096  # bytes of name and value together
_LONGEST_ATTRIBUTE = 1024
_OLDEST = 400 * 86400  # seconds


class Rejected(AssertionError):
    """A browser would not take this cookie."""


@dataclass(frozen=True)
class Cookie:
    """A cookie as it was set."""

    name: str
    value: str
    attributes: dict[str, str] = field(default_factory=dict)
    """By name, in lower case; a name alone has the value ""."""

    @property
    def flags(self) -> dict[str, str]:
        """The attributes, without how long it lasts: what must be the same to overwrite or to delete it."""
        return {name: value for name, value in self.attributes.items() if name not in ("max-age", "expires")}

    @property
    def max_age(self) -> int | None:
        """Seconds, with the browser's cap; None: until the browser is closed."""
        given = self.attributes.get("max-age")
        return None if given is None else min(int(given), _OLDEST)


def parse(header: str) -> Cookie:
    """The cookie in a ``Set-Cookie`` header (sections 5.6 and 5.7); `Rejected` if a browser would drop it."""
    if any((ord(character) < 32 and character != "\t") or ord(character) == 127 for character in header):
        raise Rejected("a control character")
    pair, *rest = header.split(";")
    name, equals, value = pair.partition("=")
    name, value = name.strip(" \t"), value.strip(" \t")
    if not equals or not name:
        raise Rejected("a cookie without a name")
    if len(name.encode()) + len(value.encode()) > _LONGEST:
        raise Rejected(f"name and value take more than {_LONGEST} bytes")
    attributes: dict[str, str] = {}
    for part in rest:
        key, _, content = part.partition("=")
        key = key.strip(" \t").lower()
        if key in attributes:
            raise Rejected(f"{key} twice")  # browsers take the last; nobody should send it
        if len(content) <= _LONGEST_ATTRIBUTE:
            attributes[key] = content.strip(" \t")
    cookie = Cookie(name, value, attributes)
    _check(cookie)
    return cookie


def _check(cookie: Cookie) -> None:
    """The rules for prefixes, SameSite and Partitioned. Prefixes are compared without regard to case."""
    name, given = cookie.name.lower(), cookie.attributes
    secure = "secure" in given
    if name.startswith(("__secure-", "__host-", "__http-")) and not secure:
        raise Rejected("the prefix needs Secure")
    if name.startswith("__host-") and (given.get("path") != "/" or "domain" in given):
        raise Rejected("__Host- needs Path=/ and no Domain")
    if given.get("samesite", "").lower() == "none" and not secure:
        raise Rejected("SameSite=None needs Secure")
    if "partitioned" in given and not secure:
        raise Rejected("Partitioned needs Secure")


class Jar:
    """A browser's cookies for one site."""

    def __init__(self, host: str = "testserver", clock: Callable[[], float] = time.time, *, tls: bool = True) -> None:
        self._host = host
        self._clock = clock
        self._tls = tls
        self._held: dict[tuple[str, str, str, bool], tuple[Cookie, float | None]] = {}

    def receive(self, headers: Iterable[str]) -> None:
        """Take the ``Set-Cookie`` headers of a response."""
        for header in headers:
            cookie = parse(header)
            if "secure" in cookie.attributes and not self._tls:
                raise Rejected("Secure over plain http")
            domain = cookie.attributes.get("domain", "").lstrip(".").lower()
            if domain and self._host != domain and not self._host.endswith(f".{domain}"):
                raise Rejected(f"{self._host} is not in {domain}")
            key = (cookie.name, domain, cookie.attributes.get("path", "/"), "partitioned" in cookie.attributes)
            age = cookie.max_age
            if age is not None and age <= 0:
                self._held.pop(key, None)
            else:
                self._held[key] = (cookie, None if age is None else self._clock() + age)

    def restart(self) -> None:
        """Close the browser and open it again."""
        self._held = {key: held for key, held in self._held.items() if held[1] is not None}

    @property
    def cookies(self) -> list[Cookie]:
        """What is held and not over."""
        now = self._clock()
        return [cookie for cookie, until in self._held.values() if until is None or until > now]

    @property
    def header(self) -> str | None:
        """The ``Cookie`` header of a request; None: no such header."""
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies) or None

    @property
    def value(self) -> str | None:
        """The value of the only cookie; None: there is none."""
        held = self.cookies
        assert len(held) <= 1, f"{len(held)} cookies"
        return held[0].value if held else None
