"""What an operator asks of the list of sessions, and how it is found. Pure: it reads nothing, and time is an argument.

A query is a filter and an order. `route` says what the store is asked, so that whatever it has an index for is answered
at once:

    handle    the session of this handle; or those whose handles begin so, where handles are kept in order
    user      the sessions of this user
    activity  in the order of the last activity, where the store keeps that order
    walk      all of them, some at a time
"""

from __future__ import annotations

import re
from math import inf
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from ..record import Summary

__all__ = [
    "HANDLE_LENGTH",
    "Query",
    "Route",
    "Sort",
    "after_of",
    "beyond",
    "filtered",
    "idle_bounds",
    "in_order",
    "possible",
    "rank",
    "route",
    "wanted_order",
]

Sort: TypeAlias = Literal["stored", "seen", "created", "expires", "size", "user"]
"""The order of a list: as the store has them, or by last activity, creation, end, bytes or user."""

Route: TypeAlias = Literal["handle", "user", "activity", "walk"]

HANDLE_LENGTH: Final = 22
"""Characters of a handle, unless the configuration gives handles another form."""

_handle_characters = re.compile(r"[A-Za-z0-9_-]{0,96}").fullmatch


class Query(Struct, frozen=True, kw_only=True):
    """Which sessions, and in which order. What is empty or None asks for nothing; one that is over never matches."""

    user: str = ""
    """The user id, the whole of it."""
    handle: str = ""
    """A handle, or how it begins."""
    label: str = ""
    """A part of the label, in upper or lower case."""
    older_than: float | None = None
    """Seconds since the session was created, at least."""
    younger_than: float | None = None
    """Seconds since the session was created: fewer than these."""
    idle_for_more: float | None = None
    """Seconds since the last activity that was recorded, at least."""
    idle_for_less: float | None = None
    """Seconds since the last activity that was recorded: fewer than these."""
    sort: Sort = "seen"
    descending: bool = True
    """Whether the latest, largest or last comes first. Says nothing where the order is the store's own."""

    def matches(self, summary: Summary, now: float) -> bool:
        """Whether this session is one of those that are asked for, and alive."""
        age, idle = now - summary.created_at, now - summary.last_accessed_at
        return (
            summary.expires_at > now
            and (not self.user or summary.user_id == self.user)
            and summary.handle.startswith(self.handle)
            and (not self.label or self.label.casefold() in (summary.label or "").casefold())
            and (self.older_than is None or age >= self.older_than)
            and (self.younger_than is None or age < self.younger_than)
            and (self.idle_for_more is None or idle >= self.idle_for_more)
            and (self.idle_for_less is None or idle < self.idle_for_less)
        )


def filtered(query: Query) -> bool:
    """Whether it asks for some sessions only; by anything but their last activity, which is an order as well."""
    return bool(
        query.user or query.handle or query.label or query.older_than is not None or query.younger_than is not None
    )


def route(query: Query, *, by_activity: bool, handle_length: int = HANDLE_LENGTH) -> Route:
    """How the store finds what is asked for. ``by_activity``: it keeps the orders that `sojourn.store.ByActivity`
    names. A handle of ``handle_length`` characters is a whole one."""
    if query.handle and (by_activity or len(query.handle) >= handle_length):
        return "handle"
    if query.user:
        return "user"
    if by_activity and query.sort == "seen":
        return "activity"
    return "walk"


def wanted_order(query: Query, taken: Route) -> bool:
    """Whether what is found this way comes in the order that is asked for: then the first so many are the best."""
    if taken == "activity":
        return query.sort == "seen"
    return query.sort == "stored"


def in_order(query: Query, taken: Route) -> bool:
    """Whether the list can be read page by page as the store has it, and nothing need be gathered first. Without any
    filter a store that keeps no order by activity is read so as well, although that is what was asked for."""
    if filtered(query) or taken in ("handle", "user"):
        return False
    if taken == "activity":
        return True
    return query.sort in ("stored", "seen") and query.idle_for_more is None and query.idle_for_less is None


def rank(query: Query, summary: Summary) -> Any:
    """What a session is sorted by; nobody's come after all users."""
    if query.sort == "seen":
        return (summary.last_accessed_at, summary.handle)
    if query.sort == "created":
        return (summary.created_at, summary.handle)
    if query.sort == "expires":
        return (summary.expires_at, summary.handle)
    if query.sort == "size":
        return (summary.size, summary.handle)
    if query.sort == "user":
        return ((summary.user_id is None) != query.descending, summary.user_id or "", summary.handle)
    return ""


def possible(query: Query) -> bool:
    """Whether there can be such sessions: no handle and no user id is made of anything. What is not possible is never
    asked of a store."""
    try:
        query.user.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return False
    return _handle_characters(query.handle) is not None


def after_of(beginning: str) -> str:
    """What sorts right before all handles that begin so. (No character of a handle sorts after a tilde.)"""
    return f"{beginning[:-1]}{chr(ord(beginning[-1]) - 1)}~"


def idle_bounds(query: Query, now: float) -> tuple[tuple[float, str] | None, float]:
    """In the order of the last activity: after what the first session comes that is idle as is asked for (None: the
    first of all), and the time of the activity at which the last one lies."""
    latest = inf if query.idle_for_more is None else now - query.idle_for_more
    earliest = -inf if query.idle_for_less is None else now - query.idle_for_less
    if query.descending:
        return (None if latest == inf else (latest, "~")), earliest
    return (None if earliest == -inf else (earliest, "")), latest


def beyond(query: Query, summary: Summary, end: float) -> bool:
    """Whether this session lies beyond the last that is asked for, in the order of the last activity."""
    return summary.last_accessed_at < end if query.descending else summary.last_accessed_at > end
