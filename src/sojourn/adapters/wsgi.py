"""WSGI: a middleware that puts a session into ``environ["sojourn.session"]``, and into ``environ["beaker.session"]``,
where applications made for Beaker look for it.

    app = SessionMiddleware(app, manager=SessionManager("sqlite:///sessions.db"))

The session commits when the application calls ``start_response``, before the first byte. What the body changes while it
is iterated is committed when the server closes it; then the object is dead. If the application raises before it
responds, or calls ``start_response`` with ``exc_info``, nothing more is committed; nor is what a body changed that
raises.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, cast

from ..blocking import SessionManager, run
from ..errors import ConfigurationError
from ..exchange import ANSWERED, Answer, Credentials, Exchange, answer_for
from ..session import STATE, Session
from ..users import devices_answer

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["SessionMiddleware", "WSGISession", "device_routes"]

log = logging.getLogger("sojourn")

_EXCHANGE: Final = "sojourn.exchange"  # its place in the environ


class WSGISession(Session):
    """A `Session` with the methods that Beaker's users know. There is no need to call ``save()``."""

    __slots__ = (*STATE, "exchange")

    exchange: Exchange

    @property
    def id(self) -> str:
        """The session's public name. Beaker has the secret id here; nobody needs it."""
        return self.handle

    @property
    def created(self) -> float:
        """When the session was created, in Unix seconds; now, for one that is stored nowhere yet."""
        return self.loaded_at if self.is_new else self.created_at

    @property
    def last_accessed(self) -> float | None:
        """The last recorded activity before this one, in Unix seconds; None for one that is stored nowhere yet."""
        return None if self.is_new else self.last_accessed_at

    def has_key(self, name: str) -> bool:
        """``has(name)``, under Beaker's name."""
        return name in self

    def save(self, accessed_only: bool = False) -> None:
        """Commit what changed so far, now. ``accessed_only`` is Beaker's, and needs no saving: activity is recorded by
        itself. Raises as `Session.save`."""
        if not accessed_only:
            super().save()

    def revert(self) -> None:
        """Forget what was changed and not saved."""
        self.discard()

    def regenerate_id(self) -> None:
        """``rotate()``, under Beaker's name: another id, and the old one is dead once this is committed."""
        self.rotate()

    def persist(self) -> None:
        """``save()``, under another of Beaker's names."""
        self.save()

    def delete(self, name: str | None = None) -> bool:
        """``delete(name)`` deletes a field, as for any session. ``delete()`` is Beaker's: it ends the session. Returns
        whether there was something to delete."""
        if name is not None:
            return super().delete(name)
        stored = self.stored
        self.invalidate()
        return stored

    def invalidate(self) -> None:
        """End this session; what is put in afterwards begins another, under a new id."""
        self.clear()
        self.exchange.start_over()


class SessionMiddleware:
    """Sessions for a WSGI application. ``manager`` holds the store and the configuration, cookie included; who made it
    closes it. If the store does not answer, the response is 503 with Retry-After, and the cookie is left alone; 409 if
    another writer was there and the configuration refuses to overwrite it. ``key`` is the session's place in the
    environ; ``beaker.session`` is another, unless something else is there already."""

    def __init__(self, app: WSGIApplication, manager: SessionManager, *, key: str = "sojourn.session") -> None:
        if not isinstance(manager, SessionManager):
            raise ConfigurationError(f"SessionMiddleware needs a SessionManager, not {type(manager).__name__}")
        self.app = app
        self.manager = manager
        self.key = key

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        exchange = Exchange(self.manager.engine, WSGISession)
        try:
            environ[self.key] = session = cast(WSGISession, run(exchange.begin(_credentials(environ))))
        except ANSWERED as error:
            log.warning("a session could not be loaded: %s", error)
            return _respond(start_response, answer_for(error))
        session.exchange = environ[_EXCHANGE] = exchange
        environ.setdefault("beaker.session", session)
        responding = _Responding(exchange, start_response)
        try:
            body = self.app(environ, responding)
        except BaseException:  # whatever it is, nothing is committed, and the server is told
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
        return self._start_response(status, self._exchange.private(headers, self._added), exc_info)


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
        except Exception:  # whatever it is, it goes on to the server
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


def device_routes(manager: SessionManager) -> WSGIApplication:
    """The JSON interface of a user's devices (`sojourn.users`), to be mounted somewhere behind the middleware: ``GET``
    lists, ``DELETE`` below it with a handle ends one, ``DELETE`` of the whole ends all others."""

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        method = environ["REQUEST_METHOD"]
        if method not in ("GET", "DELETE"):
            headers = [("Allow", "GET, DELETE"), ("Content-Type", "text/plain"), ("Content-Length", "0")]
            return _respond(start_response, Answer(405, "Method Not Allowed", headers, b""))
        session, token = environ[_EXCHANGE].session, environ.get("HTTP_X_CSRF_TOKEN", "")
        handle = environ.get("PATH_INFO", "").strip("/") or None
        return _respond(start_response, run(devices_answer(manager.engine, session, method, handle, token)))

    return application


def _credentials(environ: WSGIEnvironment) -> Credentials:
    cookie, authorization = environ.get("HTTP_COOKIE"), environ.get("HTTP_AUTHORIZATION")
    return Credentials(
        cookies=[cookie] if cookie else [],
        authorization=[authorization] if authorization else [],
        query=environ.get("QUERY_STRING", ""),
        host=environ.get("HTTP_HOST") or environ.get("SERVER_NAME", ""),
        secure=environ.get("wsgi.url_scheme") == "https",
        client=environ.get("REMOTE_ADDR", ""),
    )


def _respond(start_response: StartResponse, answer: Answer) -> list[bytes]:
    start_response(f"{answer.status} {answer.reason}", answer.headers)
    return [answer.body]
