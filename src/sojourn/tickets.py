"""Tickets: how a WebSocket gets in that cannot send the cookie. One is good once, and for seconds.

    the page's server     url = f"wss://live.example/socket?ticket={ticket(session)}"
    the socket's server   finds the session by it (`sojourn.transport`, `sojourn.exchange`)

A ticket is ``handle.secret``, like a session id, but its secret is its own: the session keeps the digest, in the field
``_tickets``, until it is used or over. So who reads it in a log later holds nothing, and a copy of the store lets
nobody in.
"""

from __future__ import annotations

from typing import Final

from . import ids
from .engine import Engine
from .session import TICKETS, BaseSession

__all__ = ["TICKET_LIFE", "redeem", "ticket"]

TICKET_LIFE: Final = 30.0
"""Seconds for which a ticket is good: as long as a page takes to load and to connect."""

_MOST: Final = 32  # tickets that a session has at a time: the oldest goes

Tickets = dict[str, float]


def ticket(session: BaseSession, life: float = TICKET_LIFE) -> str:
    """A ticket for this session, good once it is committed (a response commits before it leaves), for ``life`` seconds,
    and for one socket. Where the session is stored nowhere yet, it is from now on. Whoever signs in makes the tickets
    of before worthless."""
    secret = ids.mint_secret()
    name, now = _name(secret), session.loaded_at

    def with_one_more(kept: Tickets | None) -> Tickets:
        good = {one: until for one, until in (kept or {}).items() if until > now}
        oldest_first = sorted({**good, name: now + life}.items(), key=lambda one: one[1])
        return dict(oldest_first[-_MOST:])

    session.update(TICKETS, with_one_more)
    return ids.join(session.handle, secret)


async def redeem(engine: Engine, shown: str, kind: type[BaseSession] | None = None) -> BaseSession:
    """The session that a ticket is for, and the ticket used up; a new session if it is malformed, unknown, used or
    over. Raises `StoreError` and `ConflictError`."""
    parts = ids.split(shown)
    if parts is None:
        return engine.refuse("", "malformed", kind=kind)
    handle, name = parts[0], _name(parts[1])
    session = await engine.begin(ids.Handle(handle), kind=kind)
    until = session.get(TICKETS, {}).get(name, 0.0) if session.stored else 0.0
    if until > engine.clock():
        found = [False]

        def without(kept: Tickets | None) -> Tickets:  # may run again on what another socket has left
            found[0] = name in (kept or {})
            return {one: until for one, until in (kept or {}).items() if one != name}

        session.update(TICKETS, without)
        await engine.save(session)
        if found[0]:
            return session
    return engine.refuse(handle, "unknown", kind=kind)


def _name(secret: str) -> str:
    return ids.digest(secret).hex()
