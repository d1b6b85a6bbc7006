"""Litestar: a session backend, and a store.

    manager = AsyncSessionManager("sqlite:///sessions.db")
    sessions = SojournSessionConfig(manager)
    app = Litestar([...], middleware=[sessions.middleware], lifespan=[manager])

The session commits before the first byte of the response. What a streaming body or a background task changes later is
committed when the application returns; then the object is dead. If a handler raises, and only a 500 comes of it,
nothing is committed. A WebSocket has the same session, live (`sojourn.sockets`).

``request.set_session({...})`` replaces what is in the session, ``request.clear_session()`` ends it. Whom an application
names in the field ``user_id``, as Litestar's documentation does, is the session's user: signing in so changes the id.

    session.py   what ``request.session`` is
    backend.py   when it is loaded and committed; the routes of a user's devices
    store.py     `SojournStore`, for rate limits and caches
"""

from ...errors import MissingExtra

try:
    import litestar  # noqa: F401 - asked for here, so that who lacks it is told what to install
except ImportError as error:
    raise MissingExtra("sojourn.adapters.litestar", "litestar") from error

from .backend import (
    SojournSessionBackend,
    SojournSessionConfig,
    SojournSessionMiddleware,
    device_routes,
    session_of,
)
from .session import LitestarSession, LitestarSocketSession
from .store import SojournStore

__all__ = [
    "LitestarSession",
    "LitestarSocketSession",
    "SojournSessionBackend",
    "SojournSessionConfig",
    "SojournSessionMiddleware",
    "SojournStore",
    "device_routes",
    "session_of",
]
