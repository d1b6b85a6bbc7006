"""One session: what is in it, what is known of its life, and what can be done to it.

Which one, whether its values are shown, and what is selected in it is kept in the operator's session. An edit says what
the operator saw: if that is another by now, nothing is written.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from ...cli.humane import duration
from ...errors import DamagedRecord
from ...ids import is_handle
from ...live import App, Session
from ...live.widgets import Adding, Container
from ...policy import is_over
from ...record import Record, replace
from ...session import BaseSession
from ..editing import is_own
from ..fields import (
    KINDS,
    EditRefused,
    Node,
    Path,
    as_tree,
    edit_text,
    field_tree,
    find_node,
    parse_value,
    path_of,
    path_text,
)
from ..panels import clear_param, clear_params, query_panel, set_param, widget_rows
from ..timeline import Moment, joined
from .words import HIDDEN, clock_time, handle_in, moment, put, space, text

if TYPE_CHECKING:
    from ..desk import Desk

__all__ = ["KEY", "build", "look"]

KEY: Final = "one-view"

Change: TypeAlias = Callable[[str, str, Path, int], Awaitable[str]]
"""What is done: it is given the operator, the handle, what is selected, and the generation that was seen, and returns
what to say of it."""

_KEEP: Final = "as it is"
_TIMES: Final = {_KEEP: None, "30 minutes": 1800.0, "a day": 86400.0, "a week": 604800.0, "30 days": 2592000.0}
_ROTATE: Final = (
    "The id is replaced at once by one that is told to nobody: whoever holds it, thief or visitor, is out with the "
    "next request. What is stored stays. Replace it?"
)
_END: Final = "The session ends, for good: its visitor is signed out, its sockets are closed. End it?"
_END_USER: Final = "All sessions of this user end, for good, on all devices. End them?"
_CLEAR: Final = "All query parameters of the page are cleared. Clear them?"
_TO_SESSION: Final = "the session: a field"
_TO_SELECTED: Final = "what is selected"
_DELETE: Final = "What is selected is deleted, as an ordinary commit. Delete it?"


def build(app: App, desk: Desk) -> Container:
    """Declare it."""
    page = app.container(key=KEY, visible=False)
    form = page.form("Open", key="goto")
    form.text("Choose a session in the list, or name one by its handle.")
    form.text_input("Handle", key="goto-handle", max_length=96)
    page.alert("", "error", key="one-problem", visible=False)
    page.alert("", "error", key="one-trouble", visible=False)
    page.alert("", "success", key="one-done", visible=False)
    page.alert(
        "There is no such session any more, or there never was. What is known of it stands below.",
        "warning",
        key="one-over",
        visible=False,
    )
    whole = page.container(key="one-whole", visible=False)
    whole.header("Session", key="one-name")
    left, right = whole.columns((3, 2))
    _build_fields(left.container(key="one-fields-side"), desk)
    right.table([], label="What is known of it", key="one-facts")
    if not desk.read_only:
        _build_actions(right, desk)
    life, params, widgets = page.tabs(["Timeline", "Query parameters", "Widgets"], key="one-more", visible=False)
    life.table([], label="Timeline", key="one-life", empty="Nothing is known of its life")
    _build_params(params, desk)
    widgets.table([], label="Widgets", key="one-widgets", empty="It has no widgets")

    @form.on_submit
    async def go_to(session: Session, values: dict[str, Any]) -> None:
        handle = handle_in(str(values.get("goto-handle", "")))
        put(session.widget("goto-handle"), value=handle)
        await desk.open(session, handle)

    return page


def _build_fields(column: Adding, desk: Desk) -> None:
    """The tree, and what is done to what is selected in it."""
    reveal = column.button("Show values", key="one-reveal")
    tree = column.tree([], label="Fields", key="one-fields")
    column.text("", key="one-own", visible=False)

    @reveal.on_click
    async def show_values(session: Session) -> None:
        shown = not session.get("reveal", False)
        session.set("reveal", shown)
        if shown:
            desk.audit.look(session.user_id or "", "values", session.get("opened", ""))
        await look(desk, session, quietly=True)

    @tree.on_select
    async def select(session: Session, node: str) -> None:
        session.set("path", node)
        await look(desk, session, quietly=True, choose=True)

    if desk.read_only:
        return
    edit = column.form("Save", key="one-edit", visible=False)
    edit.text("", key="one-at")
    edit.selectbox("It is", list(KINDS), KINDS[0], key="one-kind")
    edit.text_area("Value", key="one-value", rows=3, max_length=60_000)
    delete = column.button("Delete it", danger=True, confirm=_DELETE, key="one-delete", visible=False)
    adding = column.expander("Add something")
    add = adding.form("Add", border=False, clear_on_submit=True, key="one-add")
    add.selectbox("To", [_TO_SESSION, _TO_SELECTED], _TO_SESSION, key="one-new-to")
    add.text_input("Name", key="one-new-name", max_length=200)
    add.selectbox("It is", list(KINDS), KINDS[0], key="one-new-kind")
    add.text_area("Value", key="one-new-value", rows=3, max_length=60_000)

    @edit.on_submit
    async def save(session: Session, values: dict[str, Any]) -> None:
        async def change(operator: str, handle: str, path: Path, generation: int) -> str:
            value = parse_value(str(values["one-value"]), values["one-kind"])
            seen = session.get("seen", "")
            await desk.editor.set_value(operator, handle, path, value, seen=seen, generation=generation)
            return "It is saved."

        await _act(desk, session, change)

    @delete.on_click
    async def remove(session: Session) -> None:
        async def change(operator: str, handle: str, path: Path, generation: int) -> str:
            await desk.editor.delete(operator, handle, path, seen=session.get("seen", ""), generation=generation)
            session.set("path", "")
            return "It is deleted."

        await _act(desk, session, change)

    @add.on_submit
    async def put_in(session: Session, values: dict[str, Any]) -> None:
        async def change(operator: str, handle: str, path: Path, generation: int) -> str:
            value = parse_value(str(values["one-new-value"]), values["one-new-kind"])
            where = path if values.get("one-new-to") == _TO_SELECTED else ()
            await desk.editor.add(operator, handle, where, values["one-new-name"], value, generation=generation)
            return "It is added."

        await _act(desk, session, change)


def _build_params(tab: Adding, desk: Desk) -> None:
    """What the address of its page says."""
    tab.text("", key="one-params-told")
    tab.table([], label="Query parameters", key="one-params", empty="The address says nothing")
    if desk.read_only:
        return
    form = tab.form("Set", border=False, clear_on_submit=True, key="one-param")
    name, value = form.columns(2)
    name.text_input("Name", key="one-param-name", max_length=200)
    value.text_input("Value (empty: clear it)", key="one-param-value", max_length=2000)
    clear = tab.button("Clear all", key="one-param-clear", danger=True, confirm=_CLEAR)

    @form.on_submit
    async def put_param(session: Session, values: dict[str, Any]) -> None:
        async def change(operator: str, handle: str, path: Path, generation: int) -> str:
            name, value = str(values["one-param-name"]), str(values["one-param-value"])
            if value:
                await set_param(desk.editor, operator, handle, name, value, generation=generation)
            else:
                await clear_param(desk.editor, operator, handle, name, generation=generation)
            return "The address is another."

        await _act(desk, session, change)

    @clear.on_click
    async def clear_all(session: Session) -> None:
        async def change(operator: str, handle: str, path: Path, generation: int) -> str:
            await clear_params(desk.editor, operator, handle, generation=generation)
            return "The address says nothing any more."

        await _act(desk, session, change)


def _build_actions(column: Adding, desk: Desk) -> None:
    """What is done to the session as a whole."""
    longer = column.expander("Give it another time").form("Extend", border=False, key="one-longer")
    longer.selectbox("May be idle for", list(_TIMES), _KEEP, key="one-idle")
    longer.selectbox("Ends at the latest in", list(_TIMES), _KEEP, key="one-absolute")
    naming = column.expander("Label the device").form("Label", border=False, key="one-naming")
    naming.text_input("Label", key="one-label", max_length=200)
    acts = column.container(row=True)
    rotate = acts.button("Rotate the id", confirm=_ROTATE, key="one-rotate")
    end = acts.button("End the session", danger=True, confirm=_END, key="one-end")
    everywhere = acts.button("End all of this user", danger=True, confirm=_END_USER, key="one-end-user", visible=False)

    @naming.on_submit
    async def rename(session: Session, values: dict[str, Any]) -> None:
        async def change(operator: str, handle: str, path: Path, generation: int) -> str:
            await desk.editor.set_label(operator, handle, values["one-label"], generation=generation)
            return "The label is changed."

        await _act(desk, session, change)

    @longer.on_submit
    async def extend(session: Session, values: dict[str, Any]) -> None:
        async def change(operator: str, handle: str, path: Path, generation: int) -> str:
            idle, absolute = _TIMES[values["one-idle"]], _TIMES[values["one-absolute"]]
            await desk.editor.extend(operator, handle, idle=idle, absolute=absolute, generation=generation)
            return "Its time is another."

        await _act(desk, session, change)

    @rotate.on_click
    async def replace_id(session: Session) -> None:
        async def change(operator: str, handle: str, path: Path, generation: int) -> str:
            await desk.editor.rotate(operator, handle, generation=generation)
            return "The id is another, and nobody has it."

        await _act(desk, session, change)

    @end.on_click
    async def end_it(session: Session) -> None:
        async def change(operator: str, handle: str, path: Path, generation: int) -> str:
            return "It has ended." if await desk.editor.end(operator, handle) else "It had ended already."

        await _act(desk, session, change)

    @everywhere.on_click
    async def end_all(session: Session) -> None:
        async def change(operator: str, handle: str, path: Path, generation: int) -> str:
            count = await desk.editor.end_user(operator, session.get("opened-user", ""))
            return f"{count:,} sessions of this user have ended."

        await _act(desk, session, change)


async def _act(desk: Desk, session: Session, change: Change) -> None:
    """Do something to the session that is open, say what came of it, and show how it is now."""
    handle, generation = str(session.get("opened", "")), int(session.get("generation", 0))
    put(session.widget("one-done"), visible=False)
    async with desk.telling(session, "one-problem"):
        said = await change(session.user_id or "", handle, _selected(session), generation)
        put(session.widget("one-done"), text=said, visible=True)
    await look(desk, session, quietly=True)


def _selected(session: Session) -> Path:
    """The path of what is selected; empty for nothing."""
    kept = str(session.get("path", ""))
    return path_of(kept) if kept else ()


async def look(desk: Desk, session: Session, *, quietly: bool = False, choose: bool = False) -> None:
    """Load the session that the operator has open, and show it. ``quietly``: it is shown already, and this is no other
    look at it. ``choose``: something else in it was selected, and the form for it is filled."""
    handle = str(session.get("opened", ""))
    if not quietly:
        for key in ("one-problem", "one-done"):
            put(session.widget(key), visible=False)
        if handle:
            desk.audit.look(session.user_id or "", "session", handle)
    record, damaged, answered = None, False, False
    async with desk.telling(session, "one-trouble"):
        try:
            record = await desk.engine.store.load(handle) if is_handle(handle) else None
        except DamagedRecord:
            damaged = True
            raise
        answered = True
    desk.seat(session).failed = not answered and not damaged
    if not answered and not damaged:  # whether there is such a session is not known now: what is shown of it stands
        for key in ("one-over",) if quietly else ("one-over", "one-whole", "one-more"):
            put(session.widget(key), visible=False)
        return
    if record is not None and is_over(record, desk.clock()):
        record = None
    put(session.widget("goto"), visible=record is None)
    put(session.widget("one-whole"), visible=record is not None or damaged)
    put(session.widget("one-more"), visible=is_handle(handle))
    put(session.widget("one-over"), visible=is_handle(handle) and record is None and not damaged)
    put(session.widget("one-fields-side"), visible=record is not None)
    moments = joined(record, desk.life_of(session), desk.clock())
    put(session.widget("one-life"), data=[_lived(it, desk.clock()) for it in moments])
    if record is not None:
        fields = desk.engine.resume(record)
        session.set("generation", record.generation)
        session.set("opened-user", record.user_id or "")
        _show_facts(desk, session, record)
        _show_fields(desk, session, fields, choose=choose)
        _show_panels(desk, session, fields)


def _lived(it: Moment, now: float) -> dict[str, str]:
    return {"When": f"{clock_time(it.at, day=True)}, {moment(it.at, now)}", "What": it.words}


def _show_facts(desk: Desk, session: Session, record: Record) -> None:
    now = desk.clock()
    put(session.widget("one-name"), text=f"Session {record.handle}")
    facts = {
        "User": text(record.user_id),
        "Label": text(record.label),
        "Began": f"{moment(record.created_at, now)}, {clock_time(record.created_at, day=True)}",
        "Last seen": moment(record.accessed_at, now),
        "Ends": f"{moment(record.expires_at, now)}, or {duration(record.idle_timeout)} after it was last seen",
        "At the latest": f"{moment(record.ends_at, now)}, {clock_time(record.ends_at, day=True)}",
        "Open sockets": _sockets(desk, record.handle),
        "Cookie": "outlives the browser" if record.persistent else "ends with the browser",
        "Size": f"{space(record.size)} in {len(record.fields):,} fields",
    }
    put(session.widget("one-facts"), data=[{"Session": name, "": value} for name, value in facts.items()])
    if not desk.read_only:
        put(session.widget("one-end-user"), visible=record.user_id is not None)


def _sockets(desk: Desk, handle: str) -> str:
    count = desk.pulse.sockets_of(handle)
    return "not known: no process reports" if count is None else f"{count:,}, in the processes that are known"


def _show_fields(desk: Desk, session: Session, fields: BaseSession, *, choose: bool) -> None:
    reveal = bool(session.get("reveal", False))
    record = fields.record
    shown = {name: data for name, data in record.fields.items() if not is_own(name)}
    nodes = field_tree(desk.engine.resume(replace(record, fields=shown)), reveal=reveal, redaction=desk.redaction)
    own = len(record.fields) - len(shown)
    put(session.widget("one-own"), text=f"And {own:,} that are Sojourn's own: see below.", visible=own > 0)
    put(session.widget("one-reveal"), label="Hide values" if reveal else "Show values")
    path = _selected(session)
    node = find_node(nodes, path) if path else None
    put(session.widget("one-fields"), nodes=as_tree(nodes), selected=path_text(path) if node is not None else "")
    if desk.read_only:
        return
    for key in ("one-edit", "one-delete"):
        put(session.widget(key), visible=node is not None)
    if node is not None and choose:
        _fill(desk, session, fields, node)


def _fill(desk: Desk, session: Session, fields: BaseSession, node: Node) -> None:
    """Fill the form for what is selected: with its value only if values are shown."""
    session.set("seen", node.seen)
    note, value = "", ""
    if session.get("reveal", False):
        try:
            value = edit_text(fields, node.path, desk.redaction)
        except EditRefused as refused:
            note = f" ({refused})"
    elif not node.redacted:
        note = " (its value is hidden: show values to edit it, or give it another)"
    put(session.widget("one-at"), text=f"{' › '.join(step.lstrip('.') for step in node.path)}{note}")
    put(session.widget("one-kind"), value=node.kind or KINDS[0])
    put(session.widget("one-value"), value=value)


def _show_panels(desk: Desk, session: Session, fields: BaseSession) -> None:
    reveal = bool(session.get("reveal", False))
    panel = query_panel(fields, reveal=reveal, redaction=desk.redaction)
    rows = [{"Name": it.name, "Value": HIDDEN if it.hidden else ", ".join(it.values)} for it in panel.params]
    put(session.widget("one-params"), data=rows)
    told = "" if panel.kept else "This session keeps none: it is no page's, or its page does not keep them."
    put(session.widget("one-params-told"), text=f"{panel.more:,} more are not shown." if panel.more else told)
    for key in () if desk.read_only else ("one-param", "one-param-clear"):
        put(session.widget(key), visible=panel.kept)
    widgets = [
        {
            "Key": it.key,
            "Kind": it.kind,
            "Label": it.label,
            "Value": it.problem or (HIDDEN if it.hidden else it.value if it.value is not None else ""),
            "Of": it.where,
        }
        for it in widget_rows(fields, reveal=reveal, redaction=desk.redaction)
    ]
    put(session.widget("one-widgets"), data=widgets)
