"""The list of sessions: a search, its pages, and the columns that the operator chose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...live import App, Session
from ...live.widgets import Container
from ...record import Summary
from ..finding import Page
from ..query import Query
from ..timeline import Departure, departures
from .words import COLUMNS, handle_in, moment, put, space, text

if TYPE_CHECKING:
    from ..desk import Desk

__all__ = ["KEY", "build", "look", "query_of", "show"]

KEY: Final = "sessions-view"

_HOUR: Final = 3600.0
_AGES: Final = {
    "any": (None, None),
    "less than an hour": (None, _HOUR),
    "more than an hour": (_HOUR, None),
    "more than a day": (24 * _HOUR, None),
    "more than a week": (168 * _HOUR, None),
}
_SORTS: Final = {"Created": "created", "Last seen": "seen", "Expires": "expires", "Size": "size", "User": "user"}
_SHOWN: Final = ("Handle", "User", "Label", "Created", "Last seen", "Size")  # until somebody chooses others
_ENDED: Final = 50  # of a user, that are listed


def build(app: App, desk: Desk) -> Container:
    """Declare it."""
    page = app.container(key=KEY, visible=False)
    form = page.form("Search", key="find")
    user, handle, label, age, idle = form.columns((3, 3, 3, 2, 2))
    user.text_input("User", key="find-user", max_length=256, placeholder="exactly")
    handle.text_input("Handle", key="find-handle", max_length=96, placeholder="its beginning")
    label.text_input("Label", key="find-label", max_length=200, placeholder="a part of it")
    age.selectbox("Age", list(_AGES), "any", key="find-age")
    idle.selectbox("Not seen for", list(_AGES), "any", key="find-idle")
    page.alert("", "error", key="find-problem", visible=False)
    page.text("", key="find-told")
    page.progress(0, key="find-progress", visible=False)
    table = page.table([], label="Sessions", key="found", sortable=tuple(_SORTS), empty="No session is like that")
    turning = page.container(row=True)
    before = turning.button("Previous", key="find-before", disabled=True)
    after = turning.button("Next", key="find-after", disabled=True)
    turning.text("", key="find-number")
    columns = page.expander("Columns").multiselect(
        "What is shown of each", list(COLUMNS), list(_SHOWN), key="find-columns"
    )
    left = page.container(key="find-left", visible=False)
    left.header("Sessions of this user that ended lately, and why")
    left.table([], label="Sessions that ended", key="left", empty="None that the history still tells of")

    @form.on_submit
    async def search(session: Session, values: dict[str, Any]) -> None:
        kept = dict(session.get("query") or {})
        handle = handle_in(str(values.get("find-handle", "")))
        put(session.widget("find-handle"), value=handle)
        session.set("query", {**values, "find-handle": handle, "sort": kept.get("sort", "")})
        await look(desk, session, 1, anew=True)

    @table.on_sort
    async def sort(session: Session, order: str) -> None:
        session.set("query", {**dict(session.get("query") or {}), "sort": order})
        await look(desk, session, 1, anew=True)

    @table.on_select
    async def choose(session: Session, handle: str) -> None:
        await desk.open(session, handle)

    @columns.on_change
    async def choose_columns(session: Session, chosen: list[str]) -> None:
        await look(desk, session, session.get("page", 1))

    @before.on_click
    async def go_back(session: Session) -> None:
        await look(desk, session, session.get("page", 1) - 1)

    @after.on_click
    async def go_on(session: Session) -> None:
        await look(desk, session, session.get("page", 1) + 1)

    return page


def query_of(values: dict[str, Any]) -> Query:
    """The query that the form says."""
    older, younger = _AGES.get(values.get("find-age", "any"), (None, None))
    more, less = _AGES.get(values.get("find-idle", "any"), (None, None))
    sort = str(values.get("sort", ""))
    return Query(
        user=str(values.get("find-user", "")).strip(),
        handle=str(values.get("find-handle", "")).strip(),
        label=str(values.get("find-label", "")).strip(),
        older_than=older,
        younger_than=younger,
        idle_for_more=more,
        idle_for_less=less,
        sort=_SORTS.get(sort.removeprefix("-"), "seen"),  # type: ignore[arg-type]  # the values are its names
        descending=sort.startswith("-") or not sort,
    )


async def look(desk: Desk, session: Session, number: int, *, anew: bool = False, quietly: bool = False) -> None:
    """Fetch a page of the operator's search, and show it. ``quietly``: it is shown already, and has only gone on."""
    values = dict(session.get("query") or {})
    found = False
    async with desk.telling(session, "find-problem"):
        page = await desk.page_of(session, query_of(values), number, anew=anew)
        if not quietly:
            desk.audit.look(session.user_id or "", "sessions")
        show(session, page, values, desk.clock())
        user = str(values.get("find-user", "")).strip()
        if anew:
            ended = await departures(desk.engine, user, _ENDED) if user else []
            put(session.widget("left"), data=[_ended(one, desk.clock()) for one in ended])
            put(session.widget("find-left"), visible=bool(user))
        found = True
    desk.seat(session).failed = not found
    table = session.widget("found")
    put(table, visible=found or bool(table.keys))  # or it would say that there are none


def show(session: Session, page: Page, values: dict[str, Any], now: float) -> None:
    """Fill it."""
    session.set("page", page.number)
    chosen = session.widget("find-columns").value or list(_SHOWN)
    rows = [{name: cell for name, cell in _row(row, now).items() if name in chosen} for row in page.rows]
    table = session.widget("found")
    put(
        table,
        data=rows,
        keys=[str(row.handle) for row in page.rows],
        sorted_by=str(values.get("sort", "")) or ("-Last seen" if page.sorted else ""),
    )
    put(session.widget("find-told"), text=_told(page), visible=bool(_told(page)))
    progress = session.widget("find-progress")
    put(progress, visible=not page.done)
    if not page.done and page.of:
        put(progress, value=min(page.looked_at / page.of, 1.0))
    put(session.widget("find-before"), disabled=page.number == 1)
    put(session.widget("find-after"), disabled=not page.more)
    put(session.widget("find-number"), text=f"Page {page.number:,}" if page.number > 1 or page.more else "")


def _ended(one: Departure, now: float) -> dict[str, str]:
    return {"Handle": one.handle, "Ended": moment(one.at, now), "Why": one.words}


def _told(page: Page) -> str:
    if not page.done:
        of = "" if page.of is None else f" of about {page.of:,}"
        return f"The store has no index for this: {page.looked_at:,}{of} sessions were looked at so far. Found so far:"
    if page.cut:
        return "Only the first of them are kept: narrow the search to see others."
    if not page.sorted:
        return "In the store's own order: choose a column to sort by, and all sessions are looked at."
    return ""


def _row(row: Summary, now: float) -> dict[str, str]:
    return {
        "Handle": str(row.handle),
        "User": text(row.user_id, 60),
        "Label": text(row.label, 60),
        "Created": moment(row.created_at, now),
        "Last seen": moment(row.last_accessed_at, now),
        "Expires": moment(row.expires_at, now),
        "Size": space(row.size),
    }
