"""What is known of a session's life, and who left lately and why.

It is put together from the times of the record and from the history that every store keeps (`Store.changes`): some
10,000 facts, and a week. Changes of fields are in it where ``SessionConfig(record_changes=True)`` is set. Who looks at
a session may add what the feed tells, fact by fact, with `moment_of`.

The history is read in pages, from its beginning: so what it costs is bounded, and does not grow with the number of
sessions.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from msgspec import Struct

from ..engine import Engine
from ..errors import HistoryTrimmed
from ..record import Change, Record
from ..store import HISTORY
from .typed import name_of

__all__ = ["MOST_MOMENTS", "REASONS", "Departure", "Moment", "departures", "history", "moment_of", "timeline"]

MOST_MOMENTS: Final = 200
"""Of one session's life, the newest of them."""

_PAGE: Final = 1_000
_MOST_PAGES: Final = 4 * HISTORY // _PAGE  # a store keeps about so many, and may be late with trimming
_LONGEST_NAMES: Final = 300  # characters of the names of fields that changed in one commit
_SAME: Final = 0.001  # seconds: times of a record that are one

REASONS: Final[dict[str, str]] = {
    "ended": "Ended by the application: somebody signed out, or the code ended it",
    "expired": "Ran out: too long without activity, or its time was over",
    "evicted": "Made room: there were as many sessions as are allowed",
    "revoked": "Ended from outside: by an operator, from another device, or with all of the user's sessions",
}
"""Why a session ended, in words."""


class Moment(Struct, frozen=True, kw_only=True):
    """Something that happened to a session, or will if nothing else does."""

    at: float
    """Unix seconds."""
    kind: str
    """created, signed in, rotated, seen, changed, overwritten, ended, refused, expires or ends."""
    words: str
    id: str = ""
    """The fact's; empty for what the record tells."""


class Departure(Struct, frozen=True, kw_only=True):
    """A session that has ended."""

    at: float
    handle: str
    user_id: str | None
    reason: str
    words: str


async def history(engine: Engine, since: int = 0) -> AsyncGenerator[list[Change], None]:
    """The recorded facts after a position (0: all that are kept), in order, some at a time. What is trimmed meanwhile
    is left out. Raises `StoreUnavailable`."""
    position = since
    for _ in range(_MOST_PAGES):
        try:
            after, found = await engine.store.changes(position, _PAGE)
        except HistoryTrimmed as trimmed:
            position = trimmed.position
            continue
        if not found:
            return
        yield found
        if after == position:
            return
        position = after


async def timeline(engine: Engine, handle: str, record: Record | None) -> list[Moment]:
    """What is known of a session's life, the newest first, what is to come before that. ``record`` is None for one that
    has ended: then the history alone tells. Raises `StoreUnavailable`."""
    facts: list[Change] = []
    async with aclosing(history(engine)) as pages:
        async for page in pages:
            facts += [fact for fact in page if fact.handle == handle]
            del facts[: -2 * MOST_MOMENTS]
    return joined(record, [moment_of(fact) for fact in facts], engine.clock())


def joined(record: Record | None, moments: list[Moment], now: float) -> list[Moment]:
    """What facts and the record tell, each thing once, the newest first. Pure."""
    once = {moment.id or f"{moment.kind}:{moment.at}": moment for moment in moments}
    told = list(once.values())
    if record is not None:
        told += [
            moment
            for moment in _of_record(record, now)
            if not any(other.kind == moment.kind and abs(other.at - moment.at) < 1 for other in told)
        ]
    told.sort(key=lambda moment: moment.at)  # of those of one time, what was told later is the newer
    return told[: -MOST_MOMENTS - 1 : -1]


def _of_record(record: Record, now: float) -> list[Moment]:
    found = [Moment(at=record.created_at, kind="created", words="Created")]
    if record.user_id is not None:
        found.append(Moment(at=record.authenticated_at, kind="signed in", words="Signed in"))
    if abs(record.rotated_at - record.created_at) > _SAME:
        found.append(Moment(at=record.rotated_at, kind="rotated", words=_ROTATED))
    if abs(record.accessed_at - record.created_at) > _SAME:
        found.append(Moment(at=record.accessed_at, kind="seen", words="Last activity that was recorded"))
    if record.leased_until > now:
        found.append(Moment(at=record.leased_until, kind="leased", words="Somebody has it to himself until then"))
    idle = record.expires_at < record.ends_at
    words = "Runs out then, without activity" if idle else "Runs out then, however active it is"
    return [*found, Moment(at=record.expires_at, kind="expires", words=words)]


_ROTATED: Final = "Another secret: a sign-in, for age, or by an operator. The id of before is dead"


def moment_of(change: Change) -> Moment:
    """A fact in words. Pure."""
    return Moment(at=change.at, kind=change.kind, words=_words(change), id=change.id)


def _words(change: Change) -> str:
    if change.kind == "changed":
        names = "some fields" if change.fields is None else _names(change.fields)
        return f"Changed: {names}"
    if change.kind == "ended":
        return REASONS.get(change.reason or "", "Ended")
    if change.kind == "overwritten":
        return "Two writers changed the same thing, and the later one counts"
    if change.kind == "refused":
        return f"An id of it was shown that is refused: {change.reason}"
    return {"created": "Created", "rotated": _ROTATED}.get(change.kind, "Some facts are no longer kept")


def _names(fields: tuple[str, ...]) -> str:
    names = ", ".join(map(name_of, fields))
    return names if len(names) <= _LONGEST_NAMES else f"{names[: _LONGEST_NAMES - 1]}…"


async def departures(engine: Engine, user_id: str | None = None, limit: int = 100) -> list[Departure]:
    """Sessions that ended lately, of a user or of all, the newest first, at most ``limit``: why was that user logged
    out? As far back as the history goes. Raises `StoreUnavailable`."""
    found: list[Change] = []
    async with aclosing(history(engine)) as pages:
        async for page in pages:
            found += [fact for fact in page if fact.kind == "ended" and user_id in (None, fact.user_id)]
            del found[: -max(limit, 0) or len(found)]
    return [
        Departure(
            at=fact.at,
            handle=fact.handle,
            user_id=fact.user_id,
            reason=fact.reason or "",
            words=REASONS.get(fact.reason or "", "Ended"),
        )
        for fact in reversed(found)
    ]
