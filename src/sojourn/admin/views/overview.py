"""The store as a whole. Its widgets are the app's: filled once a second, whoever looks.

What it costs the store does not grow with the number of sessions. So who is oldest and largest, and how many users
there are, comes from a patrol: it visits some sessions at a time, and the page says how far it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...live import App, Session
from ...live.widgets import Container
from ...record import Summary
from ..figures import Overview
from ..patrol import Census
from .words import clock_time, moment, per_minute, put, seconds, space, text

if TYPE_CHECKING:
    from ..desk import Desk

__all__ = ["KEY", "build", "show"]

KEY: Final = "overview"

_REASONS: Final = ("ended", "expired", "evicted", "revoked")
_NOTHING: Final[dict[str, list[Any]]] = {"Minute": []}  # for a chart
_RANKED: Final = 8  # of the oldest, and of the largest


def build(app: App, desk: Desk) -> Container:
    """Declare it."""
    page = app.container(key=KEY)
    for row in _METRICS:
        for column, (key, label) in zip(page.columns(len(row)), row.items(), strict=True):
            column.metric(label, "–", key=key, better="neutral")
    left, right = page.columns(2)
    left.bar_chart(_NOTHING, title="New sessions a minute", x="Minute", key="born")
    right.bar_chart(_NOTHING, title="Ended sessions a minute, by reason", x="Minute", stacked=True, key="gone")
    page.line_chart(_NOTHING, title="Commits a minute", x="Minute", key="commits")
    page.text("", key="census")
    left, right = page.columns(2)
    left.header("Oldest sessions")
    oldest = left.table([], label="Oldest sessions", key="oldest", keys=(), empty="No sessions yet")
    right.header("Largest sessions")
    largest = right.table([], label="Largest sessions", key="largest", keys=(), empty="No sessions yet")
    page.header("Outages")
    page.table([], label="Outages", key="outages", empty="None since this page was opened")

    @oldest.on_select
    @largest.on_select
    async def choose(session: Session, handle: str) -> None:
        await desk.open(session, handle)

    return page


_METRICS: Final = (
    {"sessions": "Sessions", "users": "Users", "space": "Size of the store", "growth": "Growth, sessions an hour"},
    {"new": "New this minute", "over": "Ended this minute", "heard": "Commits a minute", "sockets": "Open sockets"},
    {"p50": "Store, median", "p99": "Store, 99th percentile", "merged": "Commits merged", "met": "Commits tried again"},
    {"overwritten": "Overwritten", "refused": "Ids refused", "failed": "Store failed", "processes": "Processes known"},
)
"""Rows of figures: keys, and what they are called."""


def show(app: App, found: Overview, census: Census) -> None:
    """Fill it."""
    now, minutes = found.at, found.minutes
    last = minutes[-1] if minutes else None
    values: dict[str, str] = {
        "sessions": _counted(found.sessions),
        "users": f"{'' if census.exact else '≈ '}{census.users:,}",
        "space": space(found.bytes),
        "growth": "–" if found.growth_per_hour is None else f"{found.growth_per_hour:+,.0f}",
        "new": per_minute(last.created if last else 0),
        "over": per_minute(sum(last.ended.values()) if last else 0),
        "heard": per_minute(found.heard_per_minute),
        "sockets": _counted(found.sockets),
        "p50": seconds(found.latency_p50),
        "p99": seconds(found.latency_p99),
        "met": _counted(found.conflicts),
        "processes": f"{found.processes:,}",
        "merged": _counted(found.merged),
        "overwritten": _counted(found.overwritten),
        "refused": _counted(found.refused),
        "failed": _counted(found.unavailable),
    }
    for key, value in values.items():
        put(app.widget(key), value=value)
    _show_trouble(app, found)
    _show_charts(app, found)
    put(app.widget("census"), text=f"{_coverage(census, found.sessions)} Times of the store: {found.latency_source}.")
    for key, rows, told in (("oldest", census.oldest, _aged), ("largest", census.largest, _sized)):
        handles = tuple(str(row.handle) for row in rows[:_RANKED])
        put(app.widget(key), data=[told(row, now) for row in rows[:_RANKED]], keys=handles)
    put(app.widget("outages"), data=[_outage(outage, now) for outage in reversed(found.outages[-_RANKED:])])


def _counted(number: int | None) -> str:
    return "–" if number is None else f"{number:,}"


def _show_trouble(app: App, found: Overview) -> None:
    trouble = app.widget("trouble")
    if found.well or not found.outages:
        put(trouble, visible=False)
        return
    outage = found.outages[-1]
    put(
        trouble,
        text=f"The store does not answer since {clock_time(outage.began)}: {text(outage.why, 300)}. What is below is "
        "older.",
        visible=True,
    )


def _show_charts(app: App, found: Overview) -> None:
    labels = [clock_time(minute.at)[:5] for minute in found.minutes]
    put(app.widget("born"), data={"Minute": labels, "new": [minute.created for minute in found.minutes]})
    reasons = {reason: [minute.ended.get(reason, 0) for minute in found.minutes] for reason in _REASONS}
    put(app.widget("gone"), data={"Minute": labels, **reasons})
    since = found.at if found.commits_since is None else found.commits_since  # before that nobody looked
    known = [minute.commits if minute.at + 60 > since else None for minute in found.minutes]
    put(app.widget("commits"), data={"Minute": labels, "commits": known})


def _coverage(census: Census, sessions: int | None) -> str:
    if census.rounds:
        return "Users, the oldest and the largest: all sessions were looked at, some at a time."
    part = min(census.seen / sessions, 1.0) if sessions else 1.0
    return (
        f"Users, the oldest and the largest: of {census.seen:,} sessions that were looked at so far ({part:.0%}). It "
        "goes on, some at a time."
    )


def _aged(row: Summary, now: float) -> dict[str, Any]:
    return {"Session": str(row.handle), "User": text(row.user_id, 40), "Began": moment(row.created_at, now)}


def _sized(row: Summary, now: float) -> dict[str, Any]:
    return {"Session": str(row.handle), "User": text(row.user_id, 40), "Size": space(row.size)}


def _outage(outage: Any, now: float) -> dict[str, Any]:
    lasted = seconds((outage.ended or now) - outage.began)
    return {
        "Began": clock_time(outage.began, day=True),
        "Lasted": lasted if outage.ended is not None else f"{lasted} so far",
        "Why": text(outage.why, 200),
    }
