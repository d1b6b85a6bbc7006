"""A token that proves that a form, or a script, comes from a page that this session was shown. Pure but for the
randomness.

The token is keyed by the session's secret: it is of no use with another session, and rotates when the id does. Each
call makes another text of it, so that a page that is compressed tells nothing of it by its length. Nothing is stored.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from hashlib import sha256
from secrets import token_urlsafe
from typing import Final

from .session import BaseSession

__all__ = ["csrf_token", "csrf_valid", "token_fits", "token_of"]

_PURPOSE: Final = b"sojourn csrf "
_SALT: Final = 22  # characters


def csrf_token(session: BaseSession) -> str:
    """A token for a form field or a header. A visitor who has no session yet gets one (`Session.keep`): there must be
    something for it to be bound to. Empty for a session whose secret is not known here (opened by its handle, or by a
    ticket)."""
    session.keep()
    session.identify()
    return token_of(session.secret) if session.secret else ""


def csrf_valid(session: BaseSession, token: object) -> bool:
    """Whether this is a token of this session, as it is now: False for anything malformed, for another session's, for
    one from before the last rotation, and for a visitor who has no session. Compared in constant time."""
    return not session.is_new and token_fits(session.shown_secret, token)


def token_of(secret: str) -> str:
    """A token that is keyed by any secret: for who has no session yet."""
    return _signed(secret, token_urlsafe(16))


def token_fits(secret: str, token: object) -> bool:
    """Whether this is a token of this secret. False for anything malformed, and where the secret is empty. Compared in
    constant time."""
    if not isinstance(token, str) or not token.isascii() or not secret:
        return False
    return hmac.compare_digest(_signed(secret, token[:_SALT]), token)


def _signed(secret: str, salt: str) -> str:
    made = hmac.new(secret.encode(), _PURPOSE + salt.encode(), sha256).digest()
    return salt + urlsafe_b64encode(made).decode().rstrip("=")
