"""One request's session, from its cookie header to the headers of its response: what all adapters share.

Coroutines over an engine: an asynchronous adapter awaits them, a blocking one runs them. Which session, which commit
and which cookie are decided elsewhere (`sojourn.engine`, `sojourn.lifecycle`, `sojourn.cookie`); here is their order.

    begin    before the application runs
    commit   before the first byte of the response: the headers to add
    finish   when the application has returned: what a streaming body or a background task changed since

In between, `start_over` is for frameworks in which emptying a session means to begin another.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from . import ids
from .config import CookieConfig
from .cookie import clear_cookie, is_loopback, read_cookies, set_cookie
from .engine import Engine
from .errors import ConfigurationError, ConflictError, SessionGone, SojournError, StoreError, StoreUnavailable
from .ids import Handle
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
        self._former: Handle | None = None
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
        session, config = self.session, self._engine.config.cookie
        try:
            if not session.untouched:
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
        except Exception:
            session.discard()
            raise
        if action == "leave" and not started_over:
            return []
        if action != "set":
            return [("Set-Cookie", clear_cookie(config))]
        record = session.record
        lasts = record.ends_at - self._engine.clock() if record.persistent else None
        return [("Set-Cookie", set_cookie(ids.join(record.handle, session.secret), config, lasts))]

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

    async def _end_former(self) -> None:
        """End the session that was there before `start_over`."""
        former = [] if self._former is None else [self._former]
        self._engine.tell(await self._engine.store.end(former, "ended", self._engine.clock()))
        self._former = None


def with_privacy(headers: Headers, *, looked_at: bool, added: Headers) -> Headers:
    """The response's headers with those added, and, where the session was looked at or the cookie set, with what keeps
    caches from showing one visitor's page to another. An application's own ``private`` or ``no-store`` stands."""
    if not looked_at and not added:
        return headers
    result = headers
    if not _listed(headers, "vary") & {"cookie", "*"}:
        vary = [value for name, value in headers if name.lower() == "vary"]
        result = [(name, value) for name, value in result if name.lower() != "vary"]
        result.append(("Vary", ", ".join([*vary, "Cookie"])))
    if not _listed(headers, "cache-control") & {"no-store", "private"}:
        result = [(name, value) for name, value in result if name.lower() != "cache-control"]
        result.append(("Cache-Control", "no-store"))
    return [*result, *added]


def _listed(headers: Headers, wanted: str) -> set[str]:
    """The members of a header that is a list, in lower case."""
    return {part.strip().lower() for name, value in headers if name.lower() == wanted for part in value.split(",")}


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
            f"CookieConfig(insecure=True) is for loopback addresses and this request is for {host!r}: no session "
            "cookie is sent there without TLS. Take insecure=True away, and serve the site over https"
        )
