"""Session ids: mint, split, check and digest them. Pure but for the randomness.

A session id is ``handle.secret``. The handle is the record's key: 128 random bits, public, stable for the life
of the session. The secret is 256 random bits that only the client keeps; the store holds its SHA-256, so a copy
of the store logs nobody in. Everything is URL-safe ASCII, whatever the client sends is untrusted until
`split` has accepted it, and what `split` refuses never reaches a store.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from hashlib import sha256
from secrets import token_bytes
from typing import Final

__all__ = ["Handle", "digest", "is_handle", "join", "mint", "mint_secret", "split"]

_HANDLE_LENGTH: Final = 22  # characters of 6 random bits: 132 bits, which is 128 and what rounds it up
_SECRET_LENGTH: Final = 43  # 258 bits
_RANDOM_BYTES: Final = 51  # 68 characters of URL-safe base64, with no padding
_HANDLE: Final = r"[A-Za-z0-9_-]{22,96}"
_match_id = re.compile(rf"({_HANDLE})\.([A-Za-z0-9_-]{{43}})").fullmatch
_match_handle = re.compile(_HANDLE).fullmatch


class Handle(str):
    """The public name of a session, safe to list and to log.

    Where a session may be looked at or ended from outside, a `Handle` serves in place of the session id. It is a
    type of its own so that a plain string, such as the value of a cookie, is never taken for one: who merely
    knows a handle from a log must not get in with it. Wrap a handle that came back as text: ``Handle(text)``.
    """

    __slots__ = ()


def mint(form: str = "{random}", now: float = 0.0) -> tuple[str, str]:
    """A new handle and a new secret, from the operating system's randomness.

    ``form`` is the handle's: it must hold ``{random}``, which becomes 128 random bits in 22 characters, and may hold
    ``{timestamp}``, which becomes the whole seconds of ``now``.
    """
    random = urlsafe_b64encode(token_bytes(_RANDOM_BYTES)).decode("ascii")
    handle, secret = random[:_HANDLE_LENGTH], random[_HANDLE_LENGTH : _HANDLE_LENGTH + _SECRET_LENGTH]
    if form != "{random}":
        handle = form.replace("{timestamp}", str(int(now))).replace("{random}", handle)
    return handle, secret


def mint_secret() -> str:
    """A new secret: 256 bits from the operating system, in 43 characters."""
    return mint()[1]


def join(handle: str, secret: str) -> str:
    """The session id that the client carries."""
    return f"{handle}.{secret}"


def split(session_id: object) -> tuple[str, str] | None:
    """The handle and the secret of a session id; None for anything that is not exactly the form of one."""
    found = _match_id(session_id) if isinstance(session_id, str) else None
    return None if found is None else (found[1], found[2])


def is_handle(text: str) -> bool:
    """Whether the text has the form of a handle. It says nothing of whether there is such a session."""
    return _match_handle(text) is not None


def digest(secret: str) -> bytes:
    """What the store keeps of a secret: its SHA-256, 32 bytes. A fast hash is right here, for 256 random bits
    cannot be guessed; slow hashes are for passwords."""
    return sha256(secret.encode("ascii")).digest()
