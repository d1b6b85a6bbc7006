"""Django: a session engine, and the middleware that gives it Sojourn's cookie.

    SESSION_ENGINE = "sojourn.adapters.django"
    SOJOURN = {"STORE": "sqlite:////srv/shop/sessions.db", "CONFIG": {"idle_timeout": 3600}}
    MIDDLEWARE = [..., "sojourn.adapters.django.SessionMiddleware", ...]  # in the place of Django's own

``request.session`` is all that Django says of it, and ``request.session.sojourn`` is the `BaseSession` beneath. What a
save wants changed is merged with what others have saved; the save of a session that has ended is dropped. Two fields
mean more than their values: ``_auth_user_id``, by which Django signs in, is a `login`; ``_session_expiry``, which
``set_expiry`` sets, becomes the session's timeouts.

The middleware loads the session before the view, as all adapters do: so that each request counts as activity, an
outage is met before the view has done anything, and an asynchronous view never blocks on it. Who shows no cookie costs
nothing.

Blocking callers use a blocking manager. An asynchronous request uses an asynchronous one, on its event loop: two hops
to a thread and back take longer than SQLite does, and a store that hangs would fill the few threads that there are.
A `SessionStore` that a program makes for itself may meet any event loop, a short-lived one under WSGI, say. Its
asynchronous methods use a thread and the blocking manager, as those of Django's own engines do.

    store.py        `SessionStore`, what ``request.session`` is
    middleware.py   `SessionMiddleware`, and the routes of a user's devices
    setup.py        what the settings say: the managers, the cookie
"""

from ...errors import MissingExtra

try:
    import django  # noqa: F401 - asked for here, so that who lacks it is told what to install
except ImportError as error:
    raise MissingExtra("sojourn.adapters.django", "django") from error

from .middleware import SessionMiddleware, device_urls
from .setup import Setup, session_manager
from .store import DjangoSession, SessionStore

__all__ = ["DjangoSession", "SessionMiddleware", "SessionStore", "Setup", "device_urls", "session_manager"]
