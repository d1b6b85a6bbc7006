"""The cookie: read from a request's header, and written for a response's. Pure.

Only an opaque session id travels in it. Every attribute is spelled out, and a cookie is deleted with the same
attributes that it was set with, or browsers would keep it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final

from .config import CookieConfig

__all__ = ["TEST_HOST", "clear_cookie", "host_name", "is_loopback", "read_cookies", "set_cookie"]

TEST_HOST: Final = "testserver"
"""What the test clients of frameworks call themselves."""

_MAX_AGE: Final = 400 * 86400  # browsers cap a cookie's age at 400 days (RFC 6265bis, section 5.5)
_LOOPBACK_NAMES: Final = frozenset({"localhost", TEST_HOST})


def read_cookies(headers: Iterable[str], config: CookieConfig) -> list[str]:
    """The values of our cookie in these ``Cookie`` headers, without repeats. More than one means that somebody planted
    a cookie beside ours, and none of them can be trusted. The comparison is exact: nothing is unquoted or decoded, and
    only spaces and tabs are white space, or a name behind other white space, which no prefix protects, would pass for
    ours."""
    name = config.full_name + "="
    found: list[str] = []
    for header in headers:
        if name in header:
            pairs = (pair.strip(" \t") for pair in header.split(";"))
            found += [pair[len(name) :] for pair in pairs if pair.startswith(name)]
    return found if len(found) < 2 else list(dict.fromkeys(found))


def set_cookie(session_id: str, config: CookieConfig, lasts: float | None) -> str:
    """The ``Set-Cookie`` value that carries an id. ``lasts`` is its age in seconds for "remember me"; None: it ends
    with the browser."""
    age = "" if lasts is None else f"; Max-Age={max(0, min(int(lasts), _MAX_AGE))}"
    return f"{config.full_name}={session_id}{age}{_attributes(config)}"


def clear_cookie(config: CookieConfig) -> str:
    """The ``Set-Cookie`` value that removes ours."""
    return f"{config.full_name}=; Max-Age=0{_attributes(config)}"


def host_name(host: str) -> str:
    """The name in a ``Host`` header, without the port."""
    name = host.strip().lower()
    return name[1 : name.index("]")] if name.startswith("[") and "]" in name else name.rsplit(":", 1)[0]


def is_loopback(host: str) -> bool:
    """Whether a ``Host`` header names this machine, where a cookie may go without TLS."""
    name = host_name(host)
    if name in _LOOPBACK_NAMES or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _attributes(config: CookieConfig) -> str:
    domain = f"; Domain={config.domain}" if config.domain else ""
    secure = "" if config.insecure else "; Secure"
    httponly = "; HttpOnly" if config.httponly else ""
    partitioned = "; Partitioned" if config.partitioned else ""
    return f"{domain}; Path={config.path}{secure}{httponly}; SameSite={config.samesite}{partitioned}"
