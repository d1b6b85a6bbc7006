"""Signing in and out, and a user's devices: what the adapters of all frameworks offer, written once.

    login, logout      on a session object; carried out when the response is committed
    devices, end_device, end_other_devices, and `devices_answer`, which makes a small JSON interface of them:

    GET     the list: {"csrf_token": ..., "devices": [{"handle", "label", "created_at", "last_accessed_at",
            "current"}]}
    DELETE  with a handle: end that device; without: end all others, and rotate this one

Coroutines over an engine: an asynchronous adapter awaits them, a blocking one runs them. What changes something wants
the token of the list, in the header ``X-CSRF-Token``.
"""

from __future__ import annotations

import logging
from typing import Any, Final

import msgspec

from .csrf import csrf_token, csrf_valid
from .engine import Engine
from .exchange import ANSWERED, Answer, answer_for
from .ids import Handle
from .session import BaseSession

__all__ = ["MOST_DEVICES", "devices", "devices_answer", "end_device", "end_other_devices", "login", "logout"]

log = logging.getLogger("sojourn")

MOST_DEVICES: Final = 1000
"""How many devices a list shows."""


def login(session: BaseSession, user_id: str, *, label: str | None = None, remember: bool = False) -> str:
    """Sign a user in: another id, and whatever was loaded before is cut off. What a visitor put in before signing in
    stays (a cart); what another user left does not. ``label`` is what the list of devices shows. ``remember``: the
    cookie outlives the browser, for as long as the absolute timeout. Returns the new session id, good once the response
    is committed."""
    if session.user_id not in (None, user_id):
        for name in list(session):
            del session[name]
    session_id = session.login(user_id)
    if label is not None:
        session.label = label
    session.set_timeouts(persistent=remember)
    return session_id


def logout(session: BaseSession) -> None:
    """Sign out: the session ends, everywhere and for good. Nothing happens for who has none."""
    session.end()


async def devices(engine: Engine, session: BaseSession) -> list[dict[str, Any]]:
    """The sessions of this session's user, the newest first: what a page shows of them, and never an id. Empty if
    nobody is signed in."""
    if session.user_id is None:
        return []
    rows = await engine.store.summaries(engine.clock(), user_id=session.user_id, after="", limit=MOST_DEVICES)
    return [
        {
            "handle": str(row.handle),
            "label": row.label,
            "created_at": row.created_at,
            "last_accessed_at": row.last_accessed_at,
            "current": row.handle == session.handle,
        }
        for row in sorted(rows, key=lambda row: row.created_at, reverse=True)
    ]


async def end_device(engine: Engine, session: BaseSession, handle: str) -> bool:
    """End one of the user's sessions. False if it is none of theirs, or over: which of the two is not said."""
    if session.user_id is None:
        return False
    if handle == session.handle:
        session.end()
        return True
    if not any(row["handle"] == handle for row in await devices(engine, session)):
        return False
    engine.tell(await engine.store.end([Handle(handle)], "revoked", engine.clock()))
    return True


async def end_other_devices(engine: Engine, session: BaseSession) -> int:
    """End all the user's sessions but this one, which gets another id. Returns how many ended."""
    if session.user_id is None:
        return 0
    session.rotate()
    ended = await engine.store.end_matching(engine.clock(), user_id=session.user_id, keep=str(session.handle))
    engine.tell(ended)
    return len(ended)


async def devices_answer(engine: Engine, session: BaseSession, method: str, handle: str | None, token: str) -> Answer:
    """The answer to a request (GET or DELETE) of the JSON interface: 401 if nobody is signed in, 403 without a token,
    404 for a device that is none of the user's, 503 if the store does not answer. The session is the caller's to
    commit."""
    try:
        return await _answer(engine, session, method, handle, token)
    except ANSWERED as error:
        log.warning("devices could not be listed or ended: %s", error)
        return answer_for(error)


async def _answer(engine: Engine, session: BaseSession, method: str, handle: str | None, token: str) -> Answer:
    if session.user_id is None:
        return _json(401, "Unauthorized", {"error": "sign in first"})
    if method == "GET":
        return _json(200, "OK", {"csrf_token": csrf_token(session), "devices": await devices(engine, session)})
    if not csrf_valid(session, token):
        return _json(403, "Forbidden", {"error": "send the csrf_token of the list in X-CSRF-Token"})
    if handle is None:
        return _json(200, "OK", {"ended": await end_other_devices(engine, session)})
    if not await end_device(engine, session, handle):
        return _json(404, "Not Found", {"error": "you have no such device"})
    return _json(200, "OK", {"ended": 1})


def _json(status: int, reason: str, document: dict[str, Any]) -> Answer:
    body = msgspec.json.encode(document)
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    return Answer(status, reason, headers, body)
