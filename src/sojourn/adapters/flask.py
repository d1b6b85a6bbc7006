"""Flask: a session interface, so that ``flask.session`` is a Sojourn session.

    app.session_interface = SojournSessionInterface(SessionManager("sqlite:///sessions.db"))

The session commits before the response goes out. What a streaming body changes is committed when the response is
closed. If the application raises, and only Flask's answer of last resort (500) takes care of it, nothing is committed.
``session.clear()`` means what Flask's users mean by it: the session ends, whoever was signed in is signed out, and what
is put in afterwards (signing in, most often) begins another, under a new id.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, NoReturn, cast

from ..blocking import SessionManager, run
from ..errors import ConfigurationError, ConflictError, MissingExtra, StoreError
from ..exchange import ANSWERED, Exchange, answer_for, with_privacy
from ..session import Session

try:
    import flask
    from flask.sessions import SessionInterface, SessionMixin
    from werkzeug.exceptions import HTTPException
    from werkzeug.wrappers import Response as PlainResponse
except ImportError as error:
    raise MissingExtra("sojourn.adapters.flask", "flask") from error

if TYPE_CHECKING:
    from flask import Flask, Request, Response

__all__ = ["FlaskSession", "SojournSessionInterface"]

log = logging.getLogger("sojourn")

_EXCHANGE: Final = "sojourn.exchange"  # its place in the environ


class FlaskSession(Session, SessionMixin):
    """A `Session` with the attributes that Flask's users know. There is no need to set ``modified``: it is told from
    the values."""

    exchange: Exchange

    @property
    def permanent(self) -> bool:
        """Whether the cookie outlives the browser. Setting it is "remember me", for the absolute timeout."""
        self.accessed = True
        wanted = self.amendment
        return self.record.persistent if wanted is None or wanted.persistent is None else wanted.persistent

    @permanent.setter
    def permanent(self, value: bool) -> None:
        if bool(value) != self.permanent:
            self.set_timeouts(persistent=bool(value))

    @property
    def new(self) -> bool:  # type: ignore[override]  # the mixin has a plain attribute
        """Whether it is stored nowhere yet."""
        return self.is_new

    def clear(self) -> None:
        """End this session; what is put in afterwards begins another."""
        super().clear()
        self.exchange.start_over()


class _UnavailableSession(FlaskSession):
    """Stands in for a session that could not be loaded: whoever uses it responds with 503."""

    answer: HTTPException

    def _refuse(self) -> NoReturn:
        raise self.answer


class SojournSessionInterface(SessionInterface):
    """Sessions for a Flask application. ``manager`` holds the store and the configuration, cookie included: Flask's own
    ``SESSION_COOKIE_*`` settings are not used. If the store does not answer, the response is 503 with Retry-After,
    and the cookie is left alone; 409 if another writer was there and the configuration refuses to overwrite it."""

    def __init__(self, manager: SessionManager) -> None:
        if not isinstance(manager, SessionManager):
            raise ConfigurationError(f"SojournSessionInterface needs a SessionManager, not {type(manager).__name__}")
        self.manager = manager
        flask.got_request_exception.connect(_forget_changes)

    def open_session(self, app: Flask, request: Request) -> Any:
        """Load the request's session."""
        exchange = Exchange(self.manager.engine, FlaskSession)
        try:
            session: Any = run(exchange.begin(request.headers.getlist("Cookie"), request.host))
        except ANSWERED as error:
            log.warning("a session could not be loaded: %s", error)
            return self._unavailable(request, error)
        session.exchange = request.environ[_EXCHANGE] = exchange
        return session

    def save_session(self, app: Flask, session: Any, response: Response) -> None:
        """Commit, and write the headers."""
        if isinstance(session, _UnavailableSession):
            _replace(response, session.answer.get_response())
            return
        exchange: Exchange = session.exchange
        try:
            added = run(exchange.commit())
        except ANSWERED as error:
            log.warning("a session could not be committed: %s", error)
            session.close()
            _replace(response, _plain_response(error))
            return
        headers = with_privacy(list(response.headers), looked_at=session.accessed, added=added)
        response.headers.clear()
        response.headers.extend(headers)
        if response.is_streamed and not response.direct_passthrough:
            response.response = _watched(response.response, session)
        response.call_on_close(lambda: run(exchange.finish()))

    def _unavailable(self, request: Request, error: StoreError | ConflictError) -> _UnavailableSession:
        """Let Flask respond as to a wrong address, without the application: an exception raised here would be a 500."""
        session = cast(_UnavailableSession, self.manager.engine.new(kind=_UnavailableSession))
        session.answer = request.routing_exception = HTTPException(response=_plain_response(error))
        session.close()
        return session


def _forget_changes(app: Flask, **_: Any) -> None:
    """The application raised, and nobody took care of it: what the request changed is not committed."""
    exchange: Exchange | None = flask.request.environ.get(_EXCHANGE)
    if exchange is not None:
        exchange.forget()


def _watched(parts: Iterable[Any], session: Session) -> Iterator[Any]:
    """The parts of a body. If it raises, what it changed is not committed."""
    try:
        yield from parts
    except Exception:
        session.close()
        raise


def _plain_response(error: StoreError | ConflictError) -> PlainResponse:
    answer = answer_for(error)
    return PlainResponse(answer.body, answer.status, answer.headers)


def _replace(response: Response, by: PlainResponse) -> None:
    response.status_code = by.status_code
    response.headers.clear()
    response.headers.extend(list(by.headers))
    response.set_data(by.get_data())
