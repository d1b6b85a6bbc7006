"""Who may come in: a password of the dashboard's own, or the host application's word. And what a request must show of
where it comes from. What is done about it is the gate's (`sojourn.admin.gate`).

Decisions, and nothing of sockets or responses: only the host's check is called from here.
"""

from __future__ import annotations

import asyncio
import hmac
import inspect
import ipaddress
import logging
import secrets
import time
import unicodedata
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Mapping
from hashlib import scrypt, sha256
from typing import Any, Final
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from ..config import seconds
from ..errors import ConfigurationError, UnsupportedValue
from ..session import checked_user_id
from ..sockets import Scope

__all__ = ["Attempts", "HostCheck", "Password", "Undecided", "header", "is_foreign", "is_own_origin"]

log = logging.getLogger("sojourn")

_SHORTEST: Final = 12  # characters of a password
_MINUTE: Final = 60.0
_SOURCES: Final = 1000  # addresses from which somebody has signed in, that are remembered
_PATIENCE: Final = 5.0  # seconds that a check may take


class Undecided(Exception):
    """The host's check failed, or took too long: nobody knows whether there is the right. Nobody is let in."""


class Password:
    """The dashboard's own sign-in. ``password`` is one for all, who are then called "operator", or a mapping of names
    to passwords. `ConfigurationError` for one of less than 12 characters, and for a mapping that is empty.
    A session of an operator ends with the password that it began with.

    ``attempts`` is how many sign-ins may fail from one address in a minute; ten times as many from all together. Who
    failed is answered after ``pause`` seconds."""

    every: Final = 2.0
    life: Final = float("inf")

    def __init__(
        self,
        password: str | Mapping[str, str],
        *,
        attempts: int = 10,
        pause: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        named = {"operator": password} if isinstance(password, str) else dict(password)
        if not named:
            raise ConfigurationError("password names nobody: give one for each operator, or one for all")
        for name, one in named.items():
            checked_user_id(name)
            if not isinstance(one, str) or len(one) < _SHORTEST:
                raise ConfigurationError(
                    f"a dashboard's password has {_SHORTEST} characters or more: whoever has it can end every session. "
                    "One is made by: python -c 'import secrets; print(secrets.token_urlsafe(18))'"
                )
        self._key = secrets.token_bytes(32)
        self._digests = {name: self._digest(one) for name, one in named.items()}
        self._marks = {name: _mark(name, one) for name, one in named.items()}
        self._nobody = secrets.token_bytes(32)
        self.asks_for_name = not isinstance(password, str)
        """Whether the sign-in asks for a name, too."""
        self.pause = seconds(pause, "pause", zero=True)
        self.attempts = Attempts(attempts, clock)

    def mark(self, name: str) -> str:
        """What a session keeps of the password that it began with, so that it ends with that password. KeyError for a
        name that is not known."""
        return self._marks[name]

    def knows(self, name: str | None, mark: object) -> bool:
        """Whether somebody of this name, who came in by the password of this mark, may be here."""
        return name is not None and name in self._marks and mark == self._marks[name]

    def name_for(self, name: str, password: str) -> str | None:
        """Whose password this is; None: nobody's. It takes as long whether the name is known, and however much of the
        password is right."""
        wanted = name if self.asks_for_name else "operator"
        given, expected = self._digest(password), self._digests.get(wanted, self._nobody)
        return wanted if hmac.compare_digest(given, expected) else None

    def _digest(self, password: str) -> bytes:
        return hmac.new(self._key, _bytes(password), sha256).digest()


def _mark(name: str, password: str) -> str:
    """Slow on purpose: it is kept in the store of the operators' sessions, and must tell nobody the password."""
    salt = f"sojourn dashboard {name}".encode()
    return scrypt(_bytes(password), salt=salt, n=2**14, r=8, p=1, dklen=16).hex()


def _bytes(password: str) -> bytes:
    text = unicodedata.normalize("NFC", password)  # systems differ in how they write an umlaut
    return text.encode("utf-8", "surrogatepass")


class HostCheck:
    """The host application's word. ``check`` is given the request (``starlette.requests.HTTPConnection``, of a page or
    of a socket) and returns the operator's name; None or False for who may not be here. It may be a coroutine function;
    a plain one is called in a thread, for it may ask a database.

    It is asked for each request and each frame of a socket, and every ``every`` seconds while one is open, with the
    request that opened it. What a middleware has put there is as it was then: so a socket is opened anew after ``life``
    seconds, through the host's middleware. A check that raises, or takes 5 s, lets nobody in; one that returns anything
    but a name is refused, and logged: ``True`` is nobody's name."""

    def __init__(self, check: Callable[[Any], Any], *, every: float = 2.0, life: float = 300.0) -> None:
        if not callable(check):
            raise ConfigurationError(f"check is a callable that is given the request, not {check!r}")
        self._check = check
        self.every = seconds(every, "every")
        self.life = seconds(life, "life")

    async def who(self, scope: Scope) -> str | None:
        """The operator's name; None: not one. Raises `Undecided`."""
        try:
            async with asyncio.timeout(_PATIENCE):
                said = await self._ask(HTTPConnection(scope))
        except Exception as error:  # the application's own: whatever it is, it is no yes
            log.exception("the check of the dashboard's host failed: nobody is let in")
            raise Undecided from error
        if said is None or said is False:
            return None
        try:
            return checked_user_id(said)
        except UnsupportedValue as error:
            log.warning("the check of the dashboard's host returns a name, or None: %s", error)
            return None

    async def _ask(self, request: HTTPConnection) -> object:
        if inspect.iscoroutinefunction(self._check):
            return await self._check(request)
        said = await asyncio.to_thread(self._check, request)
        return await said if inspect.isawaitable(said) else said


class Attempts:
    """Sign-ins that failed, or are under way: ``most`` a minute from one address, and ten times as many in all. Who has
    signed in from an address before is held to the first bound alone, so that strangers cannot keep them out."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        if most < 1:
            raise ConfigurationError(f"attempts is a whole number of at least 1, not {most!r}")
        self._most = most
        self._clock = clock
        self._sources: dict[str, deque[float]] = {}
        self._all: deque[float] = deque()
        self._known: OrderedDict[str, None] = OrderedDict()

    def begin(self, client: str) -> float:
        """One more from this address. 0: go on; else the seconds after which it may be tried again. It counts as failed
        until `succeeded` takes it back, so that many at once are not more than one after the other."""
        now, source = self._clock(), _source(client)
        self._forget(now - _MINUTE)
        mine = self._sources.get(source, deque())
        if len(mine) >= self._most:
            return mine[0] + _MINUTE - now
        if len(self._all) >= 10 * self._most and source not in self._known:
            return self._all[0] + _MINUTE - now
        self._sources[source] = mine
        mine.append(now)
        self._all.append(now)
        return 0.0

    def succeeded(self, client: str) -> None:
        """The last one from this address was right."""
        source = _source(client)
        mine = self._sources.get(source)
        if mine:
            self._all.remove(mine.pop())
        self._known[source] = None
        self._known.move_to_end(source)
        if len(self._known) > _SOURCES:
            self._known.popitem(last=False)

    def _forget(self, before: float) -> None:
        while self._all and self._all[0] <= before:
            self._all.popleft()
        for source, mine in list(self._sources.items()):
            while mine and mine[0] <= before:
                mine.popleft()
            if not mine:
                del self._sources[source]


def _source(client: str) -> str:
    """Who is counted together: an address, of IPv6 the 64 bits that one household has."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return ""
    return str(address) if address.version == 4 else address.exploded[:19]


# --- Where a request comes from --------------------------------------------------------------------------------------


def header(scope: Scope, wanted: bytes) -> str:
    """The header of a request; empty if there is none, or more than one, of which none can be trusted."""
    found = [value for name, value in scope["headers"] if name == wanted]
    return found[0].decode("latin-1") if len(found) == 1 else ""


def is_own_origin(scope: Scope, allowed: Collection[str]) -> bool:
    """Whether a request says that it comes from a page of this very origin, port included, or of one that is allowed.
    Not if it says nothing: every browser does, of what changes something and of sockets."""
    origin, host = header(scope, b"origin"), header(scope, b"host").lower()
    if origin and origin in allowed:
        return True
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    if not host or parts.scheme not in ("http", "https"):
        return False
    if scope.get("scheme") in ("https", "wss") and parts.scheme != "https":
        return False
    usual = ":443" if parts.scheme == "https" else ":80"
    return parts.netloc.lower().removesuffix(usual) == host.removesuffix(usual)


def is_foreign(scope: Scope) -> bool:
    """Whether another site's page asks for this, as part of itself: as a script, a frame, a picture. That somebody
    follows a link is not that. Browsers tell (Fetch Metadata); of who tells nothing it is not known."""
    if header(scope, b"sec-fetch-site") not in ("cross-site", "same-site"):
        return False
    follows = (header(scope, b"sec-fetch-mode"), header(scope, b"sec-fetch-dest")) == ("navigate", "document")
    return not (follows and scope["method"] in ("GET", "HEAD"))
