"""Flask: a session interface, so that ``flask.session`` is a Sojourn session.

    app.session_interface = SojournSessionInterface(SessionManager("sqlite:///sessions.db"))

The session commits before the response goes out. What a streaming body changes is committed when the response is closed.
``session.clear()`` means what Flask's users mean by it: with nothing put in afterwards the session ends, and with
something put in (signing in, most often) it goes on under a new id.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ..blocking import SessionManager, run
from ..errors import ConfigurationError, MissingExtra
from ..exchange import ANSWERED, Exchange, answer_for, with_privacy
from ..session import Session

try:
    from flask.sessions import SessionInterface, SessionMixin
    from werkzeug.exceptions import HTTPException
    from werkzeug.wrappers import Response as PlainResponse
except ImportError as error:
    raise MissingExtra("sojourn.adapters.flask", "flask") from error

if TYPE_CHECKING:
    from flask import Flask, Request, Response

__all__ = ["FlaskSession", "SojournSessionInterface"]

log = logging.getLogger("sojourn")


class FlaskSession(Session, SessionMixin):
    """A `Session` with the attributes that Flask's users know. There is no need to set ``modified``: it is told from the
    values."""

    exchange: Exchange

    @property
    def permanent(self) -> bool:
        """Whether the cookie outlives the browser. Setting it is "remember me", for the absolute timeout."""
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
        """Delete every field, and change the id."""
        super().clear()
        self.rotate()


class SojournSessionInterface(SessionInterface):
    """Sessions for a Flask application. ``manager`` holds the store and the configuration, cookie included: Flask's own
    ``SESSION_COOKIE_*`` settings are not used. If the store does not answer, the response is 503 with Retry-After,
    and the cookie is left alone; 409 if another writer was there and the configuration refuses to overwrite it."""

    def __init__(self, manager: SessionManager) -> None:
        if not isinstance(manager, SessionManager):
            raise ConfigurationError(f"SojournSessionInterface needs a SessionManager, not {type(manager).__name__}")
        self.manager = manager

    def open_session(self, app: Flask, request: Request) -> Any:
        """Load the request's session."""
        exchange = Exchange(self.manager.engine, FlaskSession)
        try:
            session = run(exchange.begin(request.headers.getlist("Cookie"), request.host))
        except ANSWERED as error:
            log.warning("a session could not be loaded: %s", error)
            raise _as_exception(error) from error
        session.exchange = exchange  # type: ignore[attr-defined]
        return session

    def save_session(self, app: Flask, session: Any, response: Response) -> None:
        """Commit, and write the headers."""
        exchange: Exchange = session.exchange
        if not session.ended and not session.is_new and not len(session) and session.modified:
            session.end()
        try:
            added = run(exchange.commit())
        except ANSWERED as error:
            log.warning("a session could not be committed: %s", error)
            session.close()
            _replace(response, error)
            return
        headers = with_privacy(list(response.headers), looked_at=session.accessed, added=added)
        response.headers.clear()
        response.headers.extend(headers)
        response.call_on_close(lambda: run(exchange.finish()))


def _as_exception(error: Any) -> HTTPException:
    answer = answer_for(error)
    return HTTPException(response=PlainResponse(answer.body, answer.status, answer.headers))


def _replace(response: Response, error: Any) -> None:
    answer = answer_for(error)
    response.status_code = answer.status
    response.headers.clear()
    response.headers.extend(answer.headers)
    response.set_data(answer.body)
