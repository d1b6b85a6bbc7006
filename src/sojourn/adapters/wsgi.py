"""WSGI: a middleware that puts a session into ``environ["sojourn.session"]``.

    app = SessionMiddleware(app, manager=SessionManager("sqlite:///sessions.db"))

The session commits when the application calls ``start_response``, before the first byte. What the body changes while it
is iterated is committed when the server closes it; then the object is dead. If the application raises before it
responds, or calls ``start_response`` with ``exc_info``, nothing more is committed; nor is what a body changed that
raises.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from ..blocking import SessionManager, run
from ..errors import ConfigurationError
from ..exchange import ANSWERED, Answer, Exchange, answer_for, with_privacy

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["SessionMiddleware"]

log = logging.getLogger("sojourn")


class SessionMiddleware:
    """Sessions for a WSGI application. ``manager`` holds the store and the configuration, cookie included; who made it
    closes it. If the store does not answer, the response is 503 with Retry-After, and the cookie is left alone; 409 if
    another writer was there and the configuration refuses to overwrite it. ``key`` is the session's place in the
    environ."""

    def __init__(self, app: WSGIApplication, manager: SessionManager, *, key: str = "sojourn.session") -> None:
        if not isinstance(manager, SessionManager):
            raise ConfigurationError(f"SessionMiddleware needs a SessionManager, not {type(manager).__name__}")
        self.app = app
        self.manager = manager
        self.key = key

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        exchange = Exchange(self.manager.engine)
        cookie = environ.get("HTTP_COOKIE")
        host = environ.get("HTTP_HOST") or environ.get("SERVER_NAME", "")
        try:
            environ[self.key] = session = run(exchange.begin([cookie] if cookie else [], host))
        except ANSWERED as error:
            log.warning("a session could not be loaded: %s", error)
            return _respond(start_response, answer_for(error))
        responding = _Responding(exchange, start_response)
        try:
            body = self.app(environ, responding)
        except BaseException:
            session.close()
            raise
        return _Body(body, exchange, responding)


class _Responding:
    """The application's ``start_response``: commits, and adds the headers."""

    def __init__(self, exchange: Exchange, start_response: StartResponse) -> None:
        self._exchange = exchange
        self._start_response = start_response
        self._added: list[tuple[str, str]] = []
        self.answer: Answer | None = None

    def __call__(
        self, status: str, headers: list[tuple[str, str]], exc_info: Any = None, /
    ) -> Callable[[bytes], object]:
        session = self._exchange.session
        if self.answer is not None:
            return lambda data: None
        if exc_info:
            self._exchange.forget()
        try:
            self._added += run(self._exchange.commit())  # one that was replaced by an error may have brought a cookie
        except ANSWERED as error:
            log.warning("a session could not be committed: %s", error)
            session.close()
            self.answer = answer_for(error)
            _respond(self._start_response, self.answer)
            return lambda data: None
        headers = with_privacy(headers, looked_at=session.accessed, added=self._added)
        return self._start_response(status, headers, exc_info)


class _Body:
    """The application's body; when the server closes it, the session is finished."""

    def __init__(self, body: Iterable[bytes], exchange: Exchange, responding: _Responding) -> None:
        self._body = body
        self._exchange = exchange
        self._responding = responding

    def __iter__(self) -> Iterator[bytes]:
        try:
            for part in self._body:
                if self._responding.answer is not None:  # known at the first part at the latest
                    break
                yield part
        except Exception:
            self._exchange.session.close()
            raise
        if self._responding.answer is not None:
            yield self._responding.answer.body

    def close(self) -> None:
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            run(self._exchange.finish())


def _respond(start_response: StartResponse, answer: Answer) -> list[bytes]:
    start_response(f"{answer.status} {answer.reason}", answer.headers)
    return [answer.body]
