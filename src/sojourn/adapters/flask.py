"""Flask: an extension, so that ``flask.session`` is a Sojourn session.

    app = Flask(__name__)
    Sojourn(app, "sqlite:///sessions.db")

The session commits before the response goes out. What a streaming body changes is committed when the response is
closed. If the application raises, and only Flask's answer of last resort (500) takes care of it, nothing is committed.
``session.clear()`` means what Flask's users mean by it: the session ends, whoever was signed in is signed out, and what
is put in afterwards (signing in, most often) begins another, under a new id.

Flask-Login, where it is installed, needs nothing more: who it signs in is the session's user, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from ..blocking import SessionManager, run
from ..codec import register
from ..engine import Engine
from ..errors import MissingExtra
from ..exchange import Answer, Credentials, followed
from ..flask_family import FamilyExtension, FamilyInterface, FamilySession, UnavailableSession
from ..session import Session

try:
    import flask
    from flask.sessions import SessionInterface, SessionMixin
    from markupsafe import Markup
    from werkzeug.exceptions import HTTPException
    from werkzeug.wrappers import Response as PlainResponse
except ImportError as error:
    raise MissingExtra("sojourn.adapters.flask", "flask") from error

if TYPE_CHECKING:
    from flask import Flask, Request, Response

__all__ = ["FlaskSession", "Sojourn", "SojournSessionInterface", "device_routes"]

_SESSION: Final = "sojourn.session"  # its place in the environ

register(Markup, name="Markup")  # messages are often text of this kind


class FlaskSession(FamilySession, Session, SessionMixin):  # type: ignore[override]
    """A `Session` with the attributes that Flask's users know: ``permanent``, ``new``, ``modified``, and a ``clear()``
    that ends it."""


class _UnavailableSession(UnavailableSession, FlaskSession):  # type: ignore[override]
    """Stands in for a session that could not be loaded."""


class SojournSessionInterface(FamilyInterface, SessionInterface):
    """Sessions for a Flask application. ``manager`` holds the store and the configuration. If the store does not
    answer, the response is 503 with Retry-After, and the cookie is left alone; 409 if another writer was there and the
    configuration refuses to overwrite it; 429 to an address that guesses ids."""

    framework = "Flask"
    manager_class = SessionManager
    unavailable_class = _UnavailableSession
    manager: SessionManager

    def __init__(self, manager: SessionManager) -> None:
        super().__init__(manager)
        flask.got_request_exception.connect(_forget_changes)
        _follow_flask_login()

    @property
    def engine(self) -> Engine:
        """The manager's operations, as coroutines."""
        return self.manager.engine

    def response_exception(self, answer: Answer) -> HTTPException:
        """An exception that Flask answers with this response."""
        return HTTPException(response=_plain_response(answer))

    def open_session(self, app: Flask, request: Request) -> Any:
        """Load the request's session."""
        session = request.environ[_SESSION] = run(self.open(app, request, _credentials(request), FlaskSession))
        return session

    def save_session(self, app: Flask, session: Any, response: Response) -> None:
        """Commit, and write the headers."""
        if session is None:  # it could not even be begun: a setting that cannot work, which is being answered for
            return
        if run(self.commit(session, response)):
            if response.is_streamed and not response.direct_passthrough:
                response.response = followed(response.response, session)
            response.call_on_close(lambda: run(session.exchange.finish()))


class Sojourn(FamilyExtension):
    __doc__ = FamilyExtension.__doc__
    interface_class = SojournSessionInterface

    @property
    def manager(self) -> SessionManager:
        """The manager of the current application; outside of every application context, of the one that was set up
        last."""
        app = flask.current_app._get_current_object() if flask.has_app_context() else None  # type: ignore[attr-defined]
        return cast(SessionManager, self.manager_of(app))


def device_routes(name: str = "devices") -> flask.Blueprint:
    """A blueprint with the JSON interface of a user's devices (`sojourn.users`): ``GET`` lists, ``DELETE`` below it
    with a handle ends one, ``DELETE`` of the whole ends all others. It is found below ``/devices`` unless it is
    registered with another ``url_prefix``. It checks a token of its own: exempt it from Flask-WTF's ``CSRFProtect``."""
    routes = flask.Blueprint(name, __name__, url_prefix="/devices")

    @routes.route("", methods=["GET", "DELETE"])
    @routes.route("/<handle>", methods=["DELETE"])
    def devices(handle: str | None = None) -> PlainResponse:
        interface = cast(SojournSessionInterface, flask.current_app.session_interface)
        return _plain_response(run(interface.devices(flask.session, flask.request, handle)))

    return routes


# --- Flask-Login --------------------------------------------------------------------------------------------------


def _follow_flask_login() -> None:
    """Be told, by its signals, whom Flask-Login signs in and out."""
    try:
        import flask_login  # type: ignore[import-untyped, import-not-found, unused-ignore]
    except ImportError:  # not there; or of no use with this Flask, which is for those to hear who import it
        return
    flask_login.user_logged_in.connect(_signed_in)
    flask_login.user_loaded_from_cookie.connect(_signed_in)
    flask_login.user_login_confirmed.connect(_signed_in)
    flask_login.user_logged_out.connect(_signed_out)
    flask_login.session_protected.connect(_signed_out)


def _signed_in(app: Flask, **_: Any) -> None:
    """Flask-Login has signed somebody in, by a form or by its own cookie, or has had the password again: the session is
    theirs from now on, under a new id. The fields stay, as they do there."""
    session = flask.session._get_current_object()  # type: ignore[attr-defined]
    if isinstance(session, FlaskSession) and "_user_id" in session:
        session.login(str(session["_user_id"]))


def _signed_out(app: Flask, **_: Any) -> None:
    """Flask-Login has signed somebody out, or found its protection broken: the session ends. What is left in it (a
    message, a cart) goes on in another, as it does there. Nothing happens where somebody is still signed in."""
    session = flask.session._get_current_object()  # type: ignore[attr-defined]
    if isinstance(session, FlaskSession) and session.user_id is not None and "_user_id" not in session:
        left = session.to_dict()
        session.clear()
        session.update(left)


# --- Parts --------------------------------------------------------------------------------------------------------


def _credentials(request: Request) -> Credentials:
    headers = request.headers  # of the environ, in which a header that came twice is one
    cookie, authorization = headers.get("Cookie"), headers.get("Authorization")
    return Credentials(
        cookies=[cookie] if cookie else [],
        authorization=[authorization] if authorization else [],
        query=request.query_string.decode("latin-1"),
        host=headers.get("Host", ""),
        secure=request.is_secure,
        client=request.remote_addr or "",
    )


def _forget_changes(app: Flask, **_: Any) -> None:
    """The application raised, and nobody took care of it: what the request changed is not committed."""
    session = flask.request.environ.get(_SESSION)
    if isinstance(session, FlaskSession) and not session.closed:
        session.exchange.forget()


def _plain_response(answer: Answer) -> PlainResponse:
    return PlainResponse(answer.body, answer.status, answer.headers)
