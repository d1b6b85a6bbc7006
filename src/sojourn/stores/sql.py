"""What the SQL stores share: a record as a row and back, its check, and facts as rows. No database is spoken to.

A row is the sealed body and, beside it, the columns that a statement must see to decide. The body has them again, under
its check; three of them may be newer in the column than in the body, as a touch and a lease write nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from math import inf
from typing import Any, Final

import msgspec

from ..errors import DamagedRecord, HistoryTrimmed, StoreError
from ..facts import ended
from ..record import Change, EndReason, Record, replace
from .sealing import unseal

__all__ = [
    "BATCH",
    "PAGE",
    "WATCHED_FOR",
    "WATCH_AGAIN",
    "activity_page",
    "check_row",
    "columns",
    "commit_values",
    "disagreement",
    "ends",
    "fact_columns",
    "fact_row",
    "in_batches",
    "names_in",
    "names_of",
    "page",
    "readable",
    "record_values",
    "same_columns",
    "whole",
]

log = logging.getLogger("sojourn")

BATCH: Final = 1000
"""Records that are removed in one step, so that nobody waits for long."""

PAGE: Final = 256
"""Records that a walk takes at a time: in the asynchronous world SQLite reads on the event loop."""

WATCHED_FOR: Final = 30.0
"""Seconds for which somebody who watches says so: writers tell of what they write for as long."""

WATCH_AGAIN: Final = 20.0
"""It is said again when fewer seconds than these are left."""

_MOST_NAMES: Final = 4000  # bytes; more names of fields than fit are not told: then they are not known


def columns(record: Record) -> tuple[Any, ...]:
    """What stands beside the body, in the order of the table."""
    return (
        record.version,
        record.generation,
        record.user_id,
        record.authenticated_at,
        record.accessed_at,
        record.idle_for,
        record.ends_at,
        record.fence,
        record.leased_until,
    )


def whole(handle: str, body: bytes, accessed_at: Any, fence: Any, leased_until: Any, *, capped: bool = False) -> Record:
    """The record of a row: its body, with what the columns may know better. `DamagedRecord` if the body fails its
    check, or a column is older than it. ``capped``: a caller's clock may have been ahead of the store's, which then put
    its own time into the column of the last activity."""
    record = unseal(handle, body)
    if fence != record.fence:
        # A lease is taken when the one before it is over: number and end grow together.
        newer = type(fence) is int and type(leased_until) is float and leased_until > record.leased_until
        if not newer or fence < record.fence:
            raise disagreement(handle)
        record = replace(record, fence=fence, leased_until=leased_until)
    elif leased_until != record.leased_until:
        raise disagreement(handle)
    if accessed_at != record.accessed_at:
        if type(accessed_at) is not float or not (capped or accessed_at > record.accessed_at):
            raise disagreement(handle)
        record = replace(record, accessed_at=accessed_at)
    return record


def check_row(handle: str, body: bytes, *row: Any, capped: bool = False) -> None:
    """`DamagedRecord` if a row is not whole: its body, and its `columns`."""
    *_, accessed_at, _, _, fence, leased_until = row
    if columns(whole(handle, body, accessed_at, fence, leased_until, capped=capped)) != row:
        raise disagreement(handle)


def disagreement(handle: str) -> DamagedRecord:
    """What is raised where the database decides otherwise by the columns than the body says."""
    return DamagedRecord(handle, "its columns and its body disagree")


def readable(rows: Iterable[Sequence[Any]], *, capped: bool = False) -> Iterator[Record]:
    """The records of rows (a handle, and the arguments of `whole`) that pass their check. In a list one damaged record
    must not hide the others; it is logged."""
    for row in rows:
        try:
            yield whole(*row, capped=capped)
        except DamagedRecord as error:
            log.error("%s", error)  # noqa: TRY400 - the traceback would say nothing more


def activity_page(
    now: float | None, descending: bool, after: tuple[float, str] | None, limit: int
) -> tuple[str, dict[str, Any]]:
    """The statement that lists sessions by their last activity, and its parameters. They name a place in the order, so
    that a page begins where the one before ended, without looking at what lies before it."""
    at, handle = after or ((inf, "") if descending else (-inf, ""))
    name = "by_activity_descending" if descending else "by_activity_ascending"
    return name, {"accessed_at": at, "handle": handle, "now": now, "limit": limit}


# --- A commit --------------------------------------------------------------------------------------------------------


def same_columns(base: Record, wanted: Record) -> bool:
    """Whether only fields change. (A secret, a label and the like stand in the body alone.)"""
    return (
        base.accessed_at == wanted.accessed_at
        and base.generation == wanted.generation
        and base.ends_at == wanted.ends_at
        and base.idle_for == wanted.idle_for
        and base.fence == wanted.fence
        and base.leased_until == wanted.leased_until
        and base.user_id == wanted.user_id
    )


def record_values(record: Record) -> dict[str, Any]:
    """The columns of a record as parameters, by their names."""
    return {
        "handle": record.handle,
        "version": record.version,
        "generation": record.generation,
        "user_id": record.user_id,
        "authenticated_at": record.authenticated_at,
        "accessed_at": record.accessed_at,
        "idle_for": record.idle_for,
        "ends_at": record.ends_at,
        "fence": record.fence,
        "leased_until": record.leased_until,
    }


def commit_values(base: Record, wanted: Record, body: bytes, now: float | None, fence: int) -> dict[str, Any]:
    """The parameters of `commit_all`."""
    return record_values(wanted) | {
        "body": body,
        "base_version": base.version,
        "base_generation": base.generation,
        "held_fence": fence,
        "now": now,
    }


# --- Facts -----------------------------------------------------------------------------------------------------------


def ends(rows: Iterable[Sequence[Any]], reason: EndReason, now: float) -> list[Change]:
    """The facts of records that were removed: rows of a handle, a user and a deadline. One that had run out by itself
    is told as expired, whoever found it first. (A damaged one may have anything for a deadline.)"""

    def why(expires_at: Any) -> EndReason:
        return "expired" if isinstance(expires_at, (int, float)) and expires_at <= now else reason

    return [ended(handle, user_id, why(expires_at), now) for handle, user_id, expires_at in rows]


async def in_batches(remove: Callable[[], Awaitable[tuple[Change, ...]]], *, dead: bool = False) -> tuple[Change, ...]:
    """Remove a `BATCH` at a time, until there are no more: all the facts. ``dead``: they are so already, and what
    cannot be removed now is left to a sweep."""
    told: list[Change] = []
    while True:
        try:
            batch = await remove()
        except StoreError as error:
            if not dead:
                raise
            log.warning("all sessions have ended; not all records could be removed, a sweep will: %s", error)
            return tuple(told)
        told += batch
        if len(batch) < BATCH:
            return tuple(told)


def fact_row(change: Change) -> tuple[Any, ...]:
    """A fact in the order of its table, without its position."""
    names = names_of(change.fields)
    return (change.id, change.kind, change.at, change.handle, change.user_id, change.reason, names)


def fact_columns(facts: Sequence[Change]) -> dict[str, Any]:
    """Facts as parameters, a list for each column."""
    return {
        "ids": [change.id for change in facts],
        "kinds": [change.kind for change in facts],
        "ats": [change.at for change in facts],
        "handles": [change.handle for change in facts],
        "users": [change.user_id for change in facts],
        "reasons": [change.reason for change in facts],
        "names": [names_of(change.fields) for change in facts],
    }


def page(since: int, rows: Sequence[Sequence[Any]], oldest: int | None, newest: int | None) -> tuple[int, list[Change]]:
    """What `changes` answers, from rows of a position and a fact, and the first and last position that is kept; as they
    were at the time of the rows or later. `HistoryTrimmed` if facts after `since` are gone."""
    if since and not (oldest or 1) - 1 <= since <= (newest or 0):
        raise HistoryTrimmed((oldest or 1) - 1)
    found = [
        Change(id=name, kind=kind, at=at, handle=handle, user_id=user_id, reason=reason, fields=names_in(names))
        for _, name, kind, at, handle, user_id, reason, names in rows
    ]
    return (rows[-1][0] if rows else since), found


def names_of(fields: tuple[str, ...] | None) -> bytes | None:
    """Names of fields as they are stored; None: not known, or too many."""
    if fields is None:
        return None
    data = _encode(fields)
    return data if len(data) <= _MOST_NAMES else None


def names_in(data: bytes | None) -> tuple[str, ...] | None:
    """The names that were stored so; None: not known."""
    return None if data is None else _decode(data)


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(tuple[str, ...]).decode
