"""How a session id comes with a request, and how another goes back: the cookie, a header, the URL. Pure.

One transport a request: the first of those configured that the request uses. An id anywhere else is not looked at,
so that nobody can slip one in beside the visitor's own. A WebSocket may show a ticket (`sojourn.tickets`), if it shows
nothing else.

    cookie   Cookie: __Host-session=ID            Set-Cookie: __Host-session=ID; ...
    header   Authorization: Bearer ID             Session-Id: ID
    url      ?session_id=ID                       nothing: whoever asks for it writes the links
    ticket   ?ticket=TICKET, on a WebSocket       nothing
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final, Literal, TypeAlias
from urllib.parse import parse_qsl

from msgspec import Struct

from .config import CookieConfig, Transport
from .cookie import TEST_HOST, clear_cookie, host_name, is_loopback, read_cookies, set_cookie

__all__ = [
    "Credentials",
    "Shown",
    "cookie_for",
    "cookie_on_loopback",
    "find",
    "headers_to_clear",
    "headers_to_set",
    "varies_with",
]

_PARAMETER: Final = "session_id"
_TICKET: Final = "ticket"

Headers: TypeAlias = list[tuple[str, str]]


class Credentials(Struct, frozen=True):
    """What a request shows of who it is, as it came: nothing unquoted, nothing merged."""

    cookies: Sequence[str] = ()
    """Every ``Cookie`` header."""
    authorization: Sequence[str] = ()
    """Every ``Authorization`` header."""
    query: str = ""
    host: str = ""
    secure: bool = True
    """Whether it came over TLS, as far as the framework knows."""
    client: str = ""
    """The address of who asks, as the framework has it; empty: not known."""
    socket: bool = False
    """Whether it opens a WebSocket."""


class Shown(Struct, frozen=True):
    """What was found: by which transport, and what. More than one means that they differ, and none can be trusted."""

    transport: Transport | Literal["ticket"]
    ids: Sequence[str] = ()


def find(credentials: Credentials, transports: Sequence[Transport], cookie: CookieConfig) -> Shown:
    """The id that a request shows. Where it shows none, its answer goes by the first transport."""
    for transport in transports:
        if transport == "cookie":
            ids: Sequence[str] = read_cookies(credentials.cookies, cookie) if credentials.cookies else ()
        elif transport == "header":
            ids = _bearers(credentials.authorization)
        else:
            ids = _parameters(credentials.query, _PARAMETER)
        if ids:
            return Shown(transport, ids)
    if credentials.socket and (tickets := _parameters(credentials.query, _TICKET)):
        return Shown("ticket", tickets)
    return Shown(transports[0])


def cookie_for(config: CookieConfig, credentials: Credentials) -> CookieConfig:
    """The cookie for this request. The test clients of frameworks speak plain http and call themselves "testserver",
    which is no name of the net: they get a cookie that they can keep."""
    if credentials.secure or config.insecure or host_name(credentials.host) != TEST_HOST:
        return config
    return _without_tls(config)


def cookie_on_loopback(config: CookieConfig, credentials: Credentials) -> CookieConfig:
    """The cookie for a request: without TLS, and on this machine only, one that goes without."""
    if config.insecure or credentials.secure or not is_loopback(credentials.host):
        return config
    return _without_tls(config)


def headers_to_set(transport: str, session_id: str, cookie: CookieConfig, lasts: float | None) -> Headers:
    """What tells the client its id. ``lasts`` as for `set_cookie`."""
    if transport == "cookie":
        return [("Set-Cookie", set_cookie(session_id, cookie, lasts))]
    return [("Session-Id", session_id)] if transport == "header" else []


def headers_to_clear(transport: str, cookie: CookieConfig) -> Headers:
    """What tells the client that it has no session any more."""
    if transport == "cookie":
        return [("Set-Cookie", clear_cookie(cookie))]
    return [("Session-Id", "")] if transport == "header" else []


def varies_with(transports: Iterable[Transport]) -> tuple[str, ...]:
    """The request's headers on which a response with a session depends."""
    names: dict[str, str] = {"cookie": "Cookie", "header": "Authorization"}
    return tuple(names[transport] for transport in transports if transport in names)


def _bearers(headers: Iterable[str]) -> list[str]:
    found = []
    for header in headers:
        scheme, _, token = header.strip(" ").partition(" ")
        if scheme.lower() == "bearer":
            found.append(token.strip(" "))
    return list(dict.fromkeys(found))


def _parameters(query: str, name: str) -> list[str]:
    if name not in query:
        return []
    pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=None, errors="replace")
    return list(dict.fromkeys(value for key, value in pairs if key == name))


@lru_cache(maxsize=64)
def _without_tls(config: CookieConfig) -> CookieConfig:
    samesite = "Lax" if config.samesite == "None" else config.samesite
    return dataclasses.replace(config, insecure=True, samesite=samesite, partitioned=False)
