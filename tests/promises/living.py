"""What clients do to a few sessions that they share, noted as a history (histories.py)."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from typing import Any

from histories import Event, Verdict, now
from talking import ready, say

from sojourn import (
    AsyncSessionManager,
    ConflictError,
    Handle,
    OutcomeUnknown,
    SessionConfig,
    SessionGone,
    SessionManager,
    SessionNotFound,
    StoreUnavailable,
)

__all__ = ["LIVING", "Ids", "live"]

_WHAT = ("read", "set", "append", "rotate", "end")
_HOW_OFTEN = (45, 22, 28, 4.5, 0.5)
_REFUSALS = (SessionNotFound, SessionGone, ConflictError, StoreUnavailable)


class Ids:
    """The ids of the sessions that clients share: all that each ever had, as far as they are known."""

    def __init__(self, ids: list[str]) -> None:
        self._lock = threading.Lock()
        self._known = [[one] for one in ids]

    def pick(self, dice: random.Random) -> tuple[int, str]:
        """A session, and one of its ids: nearly always the newest."""
        session = dice.randrange(len(self._known))
        known = self._known[session]
        return session, known[-1] if dice.random() < 0.9 else dice.choice(known)

    def add(self, session: int, new: str) -> None:
        """The session has a new id."""
        with self._lock:
            self._known[session].append(new)


async def live(sessions: Any, ids: Ids, client: str, turns: int) -> list[Event]:
    """Do so many things, each as a client would, in a world whose methods are all awaited."""
    dice = random.Random(client)
    return [await _one(sessions, ids, dice, f"{client}.{turn}") for turn in range(turns)]


async def _one(sessions: Any, ids: Ids, dice: random.Random, value: str) -> Event:
    session, session_id = ids.pick(dice)
    what = dice.choices(_WHAT, _HOW_OFTEN)[0]
    key = "items" if what == "append" else dice.choice("xyz")
    verdict: Verdict = "done"
    shown: Any = value
    began = now()
    try:
        if what == "read":
            shown = await sessions.get_session(session_id)
        elif what == "rotate":
            new = await sessions.rotate(session_id)
            ended = now()
            ids.add(session, new)
            return _event(what, session_id, began, ended, verdict, "", None)
        elif what == "end":
            await sessions.end_session(Handle(session_id.split(".")[0]))  # with an id, nothing ends if that is dead
        else:
            await _write(sessions, session_id, what, key, value, by_update=dice.random() < 0.5)
    except OutcomeUnknown:
        verdict = "unknown"
    except _REFUSALS:
        verdict = "refused"
    return _event(what, session_id, began, now(), verdict, key, shown)


async def _write(sessions: Any, session_id: str, what: str, key: str, value: str, *, by_update: bool) -> None:
    if by_update and what == "set":
        await sessions.update(session_id, key, lambda _: value)
    elif by_update:
        await sessions.update(session_id, key, lambda items: [*items, value])
    else:
        async with sessions.session(session_id) as session:
            if what == "set":
                session[key] = value
            else:
                session[key].append(value)


def _event(kind: Any, session_id: str, began: float, ended: float, verdict: Verdict, key: str, value: Any) -> Event:
    return Event(
        kind=kind, session=session_id.split(".")[0], id=session_id, began=began, ended=ended, verdict=verdict,
        key=key, value=value,
    )  # fmt: skip


def as_a_client(url: str, ids: str, turns: str, number: str) -> None:
    """Live in a process of its own, and say what was done."""

    async def whole() -> list[Event]:
        async with AsyncSessionManager(url, config=SessionConfig(deadline=10)) as sessions:
            ready()
            return await live(sessions, Ids(json.loads(ids)), f"process {number}", int(turns))

    say(json.dumps([vars(event) for event in asyncio.run(whole())]))


def sweep(url: str, expired: str, _number: str) -> None:
    """Sweep until nobody finds any more; say how many this process removed."""
    with SessionManager(url, config=SessionConfig(deadline=10)) as sessions:
        ready()
        removed, until = 0, time.monotonic() + 50
        while sessions.stats().sessions > int(expired) // 10 and time.monotonic() < until:
            removed += sessions.purge_expired()
    say(removed)


LIVING = (as_a_client, sweep)
