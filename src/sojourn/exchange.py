"""One request's session, from what it shows of itself to the headers of its response: what all adapters share.

Coroutines over an engine: an asynchronous adapter awaits them, a blocking one runs them. Which session, which commit
and which cookie are decided elsewhere (`sojourn.engine`, `sojourn.lifecycle`, `sojourn.transport`); here is their
order.

    begin    before the application runs
    commit   before the first byte of the response: the headers to add
    finish   when the application has returned: what a streaming body or a background task changed since

In between, `start_over` is for frameworks in which emptying a session means to begin another.
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sequence
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from . import ids
from .config import CookieConfig, Transport
from .cookie import is_loopback
from .engine import Engine
from .errors import (
    ConfigurationError,
    ConflictError,
    SessionGone,
    SojournError,
    StoreError,
    StoreUnavailable,
    TooManyGuesses,
)
from .ids import Handle
from .session import BaseSession
from .tickets import redeem
from .transport import Credentials, Headers, cookie_for, find, headers_to_clear, headers_to_set, varies_with

__all__ = [
    "ANSWERED",
    "Answer",
    "Answered",
    "Credentials",
    "Exchange",
    "Headers",
    "StartsOver",
    "answer_for",
    "with_privacy",
]

log = logging.getLogger("sojourn")

_PREFIXES: Final = ("__Host-", "__Secure-")


class Answer(Struct, frozen=True):
    """A response in place of the application's."""

    status: int
    reason: str
    headers: Headers
    body: bytes


class StartsOver(BaseSession):
    """A session class of frameworks in which emptying a session means to begin another: it ends, whoever was signed in
    is signed out, and what is put in afterwards is under a new id."""

    __slots__ = ()

    exchange: Exchange

    def clear(self) -> None:
        """End this session; what is put in afterwards begins another, under a new id."""
        super().clear()
        self.exchange.start_over()


class Exchange:
    """One request's session. ``kind`` is a session class of the adapter's own, ``cookie`` the cookie in place of the
    configuration's: how a framework's own settings are kept."""

    def __init__(
        self, engine: Engine, kind: type[BaseSession] | None = None, cookie: CookieConfig | None = None
    ) -> None:
        self._engine = engine
        self._kind = kind
        self._cookie = cookie or engine.config.cookie
        self._host = ""
        self._former: Handle | None = None
        self.transport: Transport | Literal["ticket"] = "cookie"
        """How the id came; where none did, how one would go back."""
        self.session: BaseSession

    async def begin(self, credentials: Credentials) -> BaseSession:
        """Load the session of who shows these; a new one if there is none. Raises `StoreError`, and `TooManyGuesses`,
        which `answer_for` has an answer to."""
        engine, kind = self._engine, self._kind
        self._host = credentials.host
        self._cookie = cookie_for(self._cookie, credentials)
        shown = find(credentials, engine.config.transports, self._cookie)
        self.transport = shown.transport
        if not shown.ids:
            self.session = engine.new(kind=kind)
        elif len(shown.ids) > 1:
            self.session = engine.refuse("", "repeated", kind=kind)
        else:
            self.session = await self._look_up(shown.ids[0], credentials.client)
        if isinstance(self.session, StartsOver):
            self.session.exchange = self
        return self.session

    async def _look_up(self, shown: str, client: str) -> BaseSession:
        """The session of an id or a ticket, unless this client shows too many that are of none."""
        engine, guesses = self._engine, self._engine.guesses
        handle, now = shown.partition(".")[0], time.monotonic()
        if not guesses.allow(client, handle, now) and ids.split(shown) is not None:
            raise TooManyGuesses(f"{client} shows too many ids of no session: this one was not looked up")
        if self.transport == "ticket":
            session = await redeem(engine, shown, self._kind)
        else:
            session = await engine.begin(shown, kind=self._kind)
        if session.stored:
            guesses.alive(client, handle)
        elif session.presented != "malformed" and guesses.missed(client, now):
            log.warning("%s shows too many ids of no session: for now, more of them are not looked up", client)
            engine.refuse("", "guessing")
        return session

    def start_over(self) -> None:
        """The session object goes on empty: the session that it was ends at the commit, and what is put in from now on
        begins another."""
        if self.session.stored:
            self._former = Handle(self.session.record.handle)
        self.session.start_over(self._engine.new().record)

    def forget(self) -> None:
        """The application failed: nothing of what it changed is to be committed."""
        self._former = None
        self.session.discard()

    async def commit(self) -> Headers:
        """Carry out what the session asks for; the headers to add. Raises `StoreError` and `ConflictError` (see
        `answer_for`), and `UnsupportedValue` and `TooLarge`, which are the application's own. A session that ended
        meanwhile is dropped: its response leaves the cookie alone. If it raises, the changes are forgotten, so that the
        application can respond with its own word about it."""
        session, config = self.session, self._cookie
        try:
            if not session.untouched and self.transport == "cookie":
                _check_transport(config, self._host)
            started_over = self._former is not None
            if started_over:
                await self._end_former()
            _, action = await self._engine.finish_response(session)
        except SessionGone as gone:
            self._engine.counts["gone"] += 1
            log.info("session %s: %s", session.record.handle, gone)
            session.discard()
            return []
        except Exception:  # the application's own, or the store's: it is for the caller
            session.discard()
            raise
        if action == "leave" and not started_over:
            return []
        if action != "set":
            return headers_to_clear(self.transport, config)
        record = session.record
        lasts = record.ends_at - self._engine.clock() if record.persistent else None
        return headers_to_set(self.transport, ids.join(record.handle, session.secret), config, lasts)

    def private(self, headers: Headers, added: Headers) -> Headers:
        """The response's headers with those that `commit` added, and with what keeps caches from showing one visitor's
        page to another, where the session was looked at."""
        looked_at = self.session.accessed
        if not looked_at and not added:
            return headers
        if self.transport == "url":  # or a link on the page would tell another site the id
            added = [*added, ("Referrer-Policy", "no-referrer")]
        return with_privacy(headers, looked_at=looked_at, added=added, vary=varies_with(self._engine.config.transports))

    async def finish(self) -> None:
        """Commit what changed since the response began, and close the session object; nothing if it is closed already.
        Raises nothing: there is nobody left to tell, so what could not be kept is logged."""
        session = self.session
        if session.closed:
            return
        handle = session.record.handle
        try:
            if self._former is not None:
                await self._end_former()
            if not session.stored or session.rotated:
                if session.modified:
                    log.warning("session %s: its id was to change after the response had left: dropped", handle)
            elif session.ended or session.modified:
                await self._engine.finish(session)
        except SojournError as error:
            log.warning("session %s: what was changed after the response began was lost: %s", handle, error)
        except Exception:  # a function that was handed to `update`, say
            log.exception("session %s: what was changed after the response began was lost", handle)
        finally:
            session.close()
            if isinstance(session, StartsOver):
                del session.exchange  # or each request would leave a cycle to the collector

    async def _end_former(self) -> None:
        """End the session that was there before `start_over`."""
        former = [] if self._former is None else [self._former]
        self._engine.tell(await self._engine.store.end(former, "ended", self._engine.clock()))
        self._former = None


def with_privacy(headers: Headers, *, looked_at: bool, added: Headers, vary: Sequence[str] = ("Cookie",)) -> Headers:
    """The response's headers with those added, and, where the session was looked at or the cookie set, with what keeps
    caches from showing one visitor's page to another. An application's own ``private`` or ``no-store`` stands."""
    if not looked_at and not added:
        return headers
    said = [value for name, value in headers if name.lower() == "vary"]
    control = [value for name, value in headers if name.lower() == "cache-control"]
    if not said and not control:  # as most have neither
        varies = [("Vary", ", ".join(vary))] if vary else []
        return [*headers, *varies, ("Cache-Control", "no-store"), *added]
    result, listed = headers, _members(said)
    missing = [] if "*" in listed else [name for name in vary if name.lower() not in listed]
    if missing:
        result = [(name, value) for name, value in result if name.lower() != "vary"]
        result.append(("Vary", ", ".join([*said, *missing])))
    if not _members(control) & {"no-store", "private"}:
        result = [(name, value) for name, value in result if name.lower() != "cache-control"]
        result.append(("Cache-Control", "no-store"))
    return [*result, *added]


def _members(values: Sequence[str]) -> set[str]:
    """The members of a header that is a list, in lower case."""
    return {part.strip().lower() for value in values for part in value.split(",")}


Answered: TypeAlias = StoreError | ConflictError | TooManyGuesses

ANSWERED: Final = (StoreError, ConflictError, TooManyGuesses)
"""The errors that `answer_for` has an answer to."""


def answer_for(error: Answered) -> Answer:
    """The response to a request whose session could not be loaded or committed. It never touches the cookie."""
    if isinstance(error, TooManyGuesses):
        answer = _answer(429, "Too Many Requests", "Too many requests. Please try again in a moment.\n")
        answer.headers.append(("Retry-After", "1"))
        return answer
    if isinstance(error, ConflictError):
        return _answer(409, "Conflict", "Another request changed the same thing at the same time. Please try again.\n")
    retry_after = error.retry_after if isinstance(error, StoreUnavailable) else 1
    answer = _answer(503, "Service Unavailable", "The service is busy. Please try again in a moment.\n")
    answer.headers.append(("Retry-After", str(retry_after)))
    return answer


def _answer(status: int, reason: str, text: str) -> Answer:
    body = text.encode()
    headers = [
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Content-Length", str(len(body))),
        ("Cache-Control", "no-store"),
    ]
    return Answer(status, reason, headers, body)


def _check_transport(config: CookieConfig, host: str) -> None:
    if config.insecure is True and not is_loopback(host):
        raise ConfigurationError(
            f"CookieConfig(insecure=True) is for loopback addresses and this request is for {host!r}: no session "
            "cookie is sent there without TLS. Take insecure=True away, and serve the site over https"
        )


def followed(parts: Iterable[Any], session: BaseSession) -> Iterator[Any]:
    """The parts of a body that is streamed. If it raises, what it changed is not committed."""
    try:
        yield from parts
    except Exception:  # whatever it is, it goes on to the server
        session.close()
        raise


async def followed_async(parts: AsyncIterable[Any], session: BaseSession) -> AsyncIterator[Any]:
    """`followed`, of an asynchronous body."""
    try:
        async for part in parts:
            yield part
    except Exception:  # whatever it is, it goes on to the server
        session.close()
        raise


def chosen_cookie(
    cookie: CookieConfig,
    whose: str,
    *,
    name: str | None = None,
    path: str | None = None,
    domain: str | None = None,
    secure: bool | None = None,
    httponly: bool | None = None,
    samesite: str | None = None,
    partitioned: bool | None = None,
) -> CookieConfig:
    """The configuration's cookie with a framework's own settings, which win where they are given, and a warning of what
    they weaken. A name is sent exactly as it is; with a prefix, it is kept to what browsers ask of that."""
    changes: dict[str, Any] = {"path": path, "domain": domain, "httponly": httponly, "partitioned": partitioned}
    if name is not None:
        prefix = next((one for one in _PREFIXES if name.startswith(one)), "")
        changes.update(name=name.removeprefix(prefix), prefixed=bool(prefix))
    if samesite is not None:
        changes["samesite"] = samesite.capitalize()
    if secure is not None:
        changes["insecure"] = False if secure else "anywhere"
    chosen = dataclasses.replace(cookie, **{field: value for field, value in changes.items() if value is not None})
    for weakness in chosen.weaker:
        if weakness not in cookie.weaker:
            log.warning("%s's settings are weaker than Sojourn's defaults: %s", whose, weakness)
    return chosen
