"""How facts are named. Pure.

A fact's id is made from what it tells of, so a repeated attempt names it the same: a session is created once and ends
once, and a rotation is told apart by the commit that made it. A refused id belongs to no session: its fact is told
to listeners and recorded nowhere, or anybody could fill the store by guessing.
"""

from __future__ import annotations

import secrets

from .record import Change, EndReason, Record

__all__ = ["created", "ended", "overwritten", "refused", "rotated"]


def created(record: Record, now: float) -> Change:
    """A session began."""
    return Change(id=f"{record.handle}:created", kind="created", at=now, handle=record.handle, user_id=record.user_id)


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
