"""The end of a request, decided. Pure: a session object goes in, and out comes what is to be done with the store, and
what with the cookie. The I/O is `sojourn.engine`'s, the headers are `sojourn.exchange`'s.

    what the session asks for           the store     the cookie
    ------------------------------------------------------------
    nothing (perhaps it was read)       touch if due  leave
    new, and nothing was put in         -             leave
    new, and something was put in       create        set   (or `keep` was called)
    changed                             commit        leave
    changed, with another secret        commit        set
    "remember me", chosen or not        commit        set
    ended                               end           clear
    written under a superseded id       -             leave

The last line: the client showed an id whose secret was replaced, so its newest cookie is one that this response must
not overwrite. What was written is dropped, and told. Signing in is the exception: it is what the cookie is for. For the
same reason no cookie is set but with the newest secret of its session, as the commit left it. What `save` committed
early counts at the end.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from . import ids
from .record import Amendment, Delta
from .session import BaseSession

__all__ = ["Closing", "CookieAction", "closing", "cookie_action"]


Closing: TypeAlias = Literal["nothing", "touch", "create", "commit", "end", "drop"]
"""What is to be done with the store."""

CookieAction: TypeAlias = Literal["leave", "set", "clear"]
"""What is to be done with the cookie."""


def closing(session: BaseSession, delta: Delta | None, amendment: Amendment | None) -> Closing:
    """What a session object asks of the store, given what it changed."""
    if session.ended:
        return "end" if session.stored else "nothing"
    if session.stored:
        return "touch" if delta is None and amendment is None else "commit"
    login = amendment is not None and amendment.login
    filled = delta is not None and any(value is not None for value in delta.local.values())
    if not login and not filled and not session.kept:
        return "nothing"
    if session.presented == "superseded" and not login:
        return "drop"
    return "create"


def cookie_action(session: BaseSession, done: Closing) -> CookieAction:
    """What becomes of the cookie, once `done` was done."""
    if done == "end":
        return "clear"
    amendment = session.amendment
    asked = session.rotated or (amendment is not None and amendment.persistent is not None)
    if done == "create" or session.unsent or (done == "commit" and asked):
        newest = session.stored and ids.digest(session.secret) == session.record.secret_digest
        return "set" if newest else "leave"
    return "leave"
