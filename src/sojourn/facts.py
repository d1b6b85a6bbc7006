"""How facts are named. Pure.

A fact's id is made from what it tells of, so a repeated attempt names it the same: a session is created once and ends
once, and a rotation is told apart by the commit that made it. A refused id belongs to no session: its fact is told
to listeners and recorded nowhere, or anybody could fill the store by guessing.
"""

from __future__ import annotations

import secrets
from typing import Literal

from .record import Change, EndReason, Record

__all__ = ["changed", "created", "ended", "missed", "overwritten", "refused", "rotated"]


def created(record: Record, now: float) -> Change:
    """A session began."""
    return Change(id=f"{record.handle}:created", kind="created", at=now, handle=record.handle, user_id=record.user_id)


def changed(handle: str, user_id: str | None, version: bytes, fields: tuple[str, ...] | None, now: float) -> Change:
    """Fields changed, in the commit of this version."""
    name = f"{handle}:changed:{version.hex()}"
    return Change(id=name, kind="changed", at=now, handle=handle, user_id=user_id, fields=fields)


def missed(what: Literal["history", "changes"], now: float) -> Change:
    """What a watcher could not be told: facts that the store no longer keeps, or that fields changed."""
    return Change(id=f"missed:{secrets.token_hex(16)}", kind="missed", at=now, handle="", reason=what)


def ended(handle: str, user_id: str | None, reason: EndReason, now: float) -> Change:
    """A session ended, and why."""
    return Change(id=f"{handle}:ended", kind="ended", at=now, handle=handle, user_id=user_id, reason=reason)


def rotated(record: Record, now: float) -> Change:
    """A secret was replaced, for a change of user or another reason."""
    name = f"{record.handle}:rotated:{record.version.hex()}"
    return Change(id=name, kind="rotated", at=now, handle=record.handle, user_id=record.user_id)


def overwritten(record: Record, path: str, now: float) -> Change:
    """Two writers changed the same thing, and one was overruled."""
    name = f"{record.handle}:overwritten:{record.version.hex()}:{path}"
    return Change(id=name, kind="overwritten", at=now, handle=record.handle, user_id=record.user_id, reason=path)


def refused(handle: str, reason: str, now: float) -> Change:
    """An id was shown that is malformed, unknown, superseded by a rotation, or came twice."""
    return Change(id=f"refused:{secrets.token_hex(16)}", kind="refused", at=now, handle=handle, reason=reason)
