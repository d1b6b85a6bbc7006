"""One request's session, from its cookie header to the headers of its response: what all adapters share.

Coroutines over an engine: an asynchronous adapter awaits them, a blocking one runs them. Which session, which commit and
which cookie are decided elsewhere (`sojourn.engine`, `sojourn.lifecycle`, `sojourn.cookie`); here is their order.

    begin    before the application runs
    commit   before the first byte of the response: the headers to add
    finish   when the application has returned: what a streaming body or a background task changed since
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from . import ids
from .config import CookieConfig
from .cookie import clear_cookie, is_loopback, read_cookies, set_cookie
from .engine import Engine
from .errors import ConfigurationError, ConflictError, SessionGone, SojournError, StoreError, StoreUnavailable
from .session import BaseSession

__all__ = ["ANSWERED", "Answer", "Exchange", "answer_for", "with_privacy"]

log = logging.getLogger("sojourn")
Headers = list[tuple[str, str]]


class Answer(Struct, frozen=True):
    """A response in place of the application's."""

    status: int
    reason: str
    headers: Headers
    body: bytes


class Exchange:
    """One request's session."""

    def __init__(self, engine: Engine, kind: type[BaseSession] | None = None) -> None:
        self._engine = engine
        self._kind = kind
        self._host = ""
        self.session: BaseSession

    async def begin(self, cookies: Iterable[str], host: str) -> BaseSession:
        """Load the session that these ``Cookie`` headers name; a new one if there is none. Raises `StoreError`."""
        self._host = host
        found = read_cookies(cookies, self._engine.config.cookie)
        if not found:
            self.session = self._engine.new(kind=self._kind)
        elif len(found) == 1:
            self.session = await self._engine.begin(found[0], kind=self._kind)
        else:
            self.session = self._engine.refuse("", "repeated", kind=self._kind)
        return self.session

    async def commit(self) -> Headers:
        """Carry out what the session asks for; the headers to add. Raises `StoreError` and `ConflictError` (see
        `answer_for`), and `UnsupportedValue` and `TooLarge`, which are the application's own. A session that ended
        meanwhile is dropped: its response leaves the cookie alone."""
        session, config = self.session, self._engine.config
        try:
            _, action = await self._engine.finish_response(session)
        except SessionGone as gone:
            self._engine.counts["gone"] += 1
            log.info("session %s: %s", session.record.handle, gone)
            session.discard()
            return []
        if action == "leave":
            return []
        _check_transport(config.cookie, self._host)
        if action == "clear":
            return [("Set-Cookie", clear_cookie(config.cookie))]
        record = session.record
        lasts = record.ends_at - time.time() if record.persistent else None
        return [("Set-Cookie", set_cookie(ids.join(record.handle, session.secret), config.cookie, lasts))]

    async def finish(self) -> None:
        """Commit what changed since the response began, and close the session object. Raises nothing: there is nobody
        left to tell, so what could not be kept is logged."""
        session = self.session
        try:
            if session.is_new and not session.ended:
                if session.delta() is not None:
                    log.warning("a session was begun after its response had left: it was dropped, as no cookie could be set")
            elif session.ended or session.modified:
                await self._engine.finish(session)
        except SojournError as error:
            log.warning("session %s: what was changed after the response began was lost: %s", session.record.handle, error)
        finally:
            session.close()


def with_privacy(headers: Headers, *, looked_at: bool, added: Headers) -> Headers:
    """The response's headers with those added, and, where the session was looked at or the cookie set, with what keeps
    caches from showing one visitor's page to another. An application's own ``private`` or ``no-store`` stands."""
    if not looked_at and not added:
        return headers
    vary = [value for name, value in headers if name.lower() == "vary"]
    cache = [value for name, value in headers if name.lower() == "cache-control"]
    result = headers
    if not any(part.strip().lower() in ("cookie", "*") for value in vary for part in value.split(",")):
        result = [(name, value) for name, value in result if name.lower() != "vary"]
        result.append(("Vary", ", ".join([*vary, "Cookie"])))
    if not any(word in value.lower() for value in cache for word in ("no-store", "private")):
        result = [(name, value) for name, value in result if name.lower() != "cache-control"]
        result.append(("Cache-Control", "no-store"))
    return [*result, *added]


ANSWERED: Final = (StoreError, ConflictError)
"""The errors that `answer_for` has an answer to."""


def answer_for(error: StoreError | ConflictError) -> Answer:
    """The response to a request whose session could not be loaded or committed. It never touches the cookie."""
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
    if config.insecure and not is_loopback(host):
        raise ConfigurationError(
            f"CookieConfig(insecure=True) is for loopback addresses and this request is for {host!r}: no session cookie "
            "is sent there without TLS. Take insecure=True away, and serve the site over https"
        )
