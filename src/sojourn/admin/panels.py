"""The panels of a session that has a page: its query parameters, and its widgets with their values.

    of a live app               widgets in the fields ``_live:w:...``, what is the session's own of the app's widgets in
                                ``_live:o:...`` (see `sojourn.live.kept`); query parameters are in the property
                                ``query`` of its `Address`, which no other kind of widgets has
    of a state (Streamlit's)    widgets are the fields that ``$$widgets`` names; query parameters are in ``$$params``,
                                if the state was made with ``keep_query_params=True``

Reading is pure. Setting and clearing parameters are commits of just these, which merge with what the page does: the
open pages of a live app show them at once; a state takes them up at its next run, and tells the browser.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from ..errors import UnsupportedValue
from ..live.kept import OVERRIDE, WIDGET
from ..live.widgets.address import Address, query_with
from ..session import BaseSession
from ..state.query_params import QueryParams, is_reserved
from ..state.sharing import MOST_KEPT, PARAMS, WIDGETS, params_of, with_params
from .editing import Editor
from .fields import hides_within
from .redaction import Redaction, holds_an_id
from .shapes import EditRefused, opened, unpack
from .typed import name_of, text_of, type_of

__all__ = [
    "Param",
    "QueryPanel",
    "Where",
    "WidgetRow",
    "clear_param",
    "clear_params",
    "query_panel",
    "set_param",
    "widget_rows",
]

Where: TypeAlias = Literal["session", "app", "state"]
"""Whose a widget is: the session's own; the app's, of which the session has something of its own; a state's."""

_MOST: Final = 200  # rows of each panel
_MOST_VALUES: Final = 20  # of one parameter
_LONGEST: Final = 200  # characters of one text


class Param(Struct, frozen=True, kw_only=True):
    """One query parameter."""

    name: str
    """Cut, if it is long: then it cannot be changed here."""
    values: tuple[str, ...] = ()
    """Empty where they are hidden."""
    hidden: bool = False
    redacted: bool = False
    whole: bool = True
    """Whether name and values are all that there is, and nothing was cut."""


class QueryPanel(Struct, frozen=True, kw_only=True):
    """What the address of a session's page says."""

    kept: bool
    """Whether the session keeps its parameters: if not, there is nothing to set."""
    params: tuple[Param, ...] = ()
    more: int = 0
    """How many are left out."""


class WidgetRow(Struct, frozen=True, kw_only=True):
    """A widget, and what it is."""

    key: str
    kind: str
    where: Where
    label: str = ""
    value: str | None = None
    """None: it has none, or it is hidden."""
    hidden: bool = False
    redacted: bool = False
    problem: str | None = None


# --- Query parameters ------------------------------------------------------------------------------------------------


def query_panel(session: BaseSession, *, reveal: bool, redaction: Redaction) -> QueryPanel:
    """The query parameters of a session, in their order. Never raises for what is stored, whatever that is."""
    kept = _kept_params(session)
    if kept is None:
        return QueryPanel(kept=False)
    rows = [_param(name, texts, redaction, reveal=reveal) for name, texts in list(kept.items())[:_MOST]]
    return QueryPanel(kept=True, params=tuple(rows), more=len(kept) - len(rows))


def _kept_params(session: BaseSession) -> dict[str, list[str]] | None:
    """The parameters that a session keeps; None: it keeps none."""
    data = session.record.fields.get(PARAMS)
    if data is not None:
        try:
            return params_of(unpack(data))
        except ValueError:
            return {}  # damaged: what is set replaces it
    address = _address_of(session)
    return None if address is None else _params_in(address[1])


def _address_of(session: BaseSession) -> tuple[str, Any] | None:
    """The field of the address of a live app's page, and what it says: the session's own before what the session has of
    the app's. None: there is none."""
    fields = session.record.fields
    for name in (name for prefix in (WIDGET, OVERRIDE) for name in sorted(fields) if name.startswith(prefix)):
        try:
            kept = _dict(unpack(fields[name]))
            props = _dict(kept.get("props", {}))
        except ValueError:
            continue  # damaged: it is not known to be one
        if kept.get("kind") == Address.kind if name.startswith(WIDGET) else "query" in props:
            return name, props.get("query", "")
    return None


def _params_in(query: Any) -> dict[str, list[str]]:
    params = QueryParams(query if type(query) is str else "")
    return {name: params.get_all(name) for name in params}


def _param(name: str, texts: list[str], redaction: Redaction, *, reveal: bool) -> Param:
    shown = name_of(name)
    redacted = redaction.hides(name) or any(map(holds_an_id, texts))
    if redacted or not reveal:
        return Param(name=shown, hidden=True, redacted=redacted, whole=shown == name)
    cut = tuple(_cut(text) for text in texts[:_MOST_VALUES])
    return Param(name=shown, values=cut, whole=shown == name and list(cut) == texts)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


async def set_param(
    editor: Editor,
    operator: str,
    handle: str,
    name: str,
    values: str | Sequence[str],
    *,
    generation: int | None = None,
) -> None:
    """Give a query parameter one or several values. `EditRefused` for what cannot stand in an address, for a name that
    is the browser's, and for a session that keeps no parameters; otherwise raises as `Editor` does."""

    def change(session: BaseSession) -> None:
        texts = _checked(name, [values] if isinstance(values, str) else list(values))
        _change(session, partial(_within_bounds, {name: texts}))

    await editor.change(operator, "set parameter", handle, change, generation)


async def clear_param(editor: Editor, operator: str, handle: str, name: str, *, generation: int | None = None) -> None:
    """Take a query parameter out of the address. `EditRefused` if it is not there."""

    def change(session: BaseSession) -> None:
        _change(session, partial(_without, name))

    await editor.change(operator, "clear parameter", handle, change, generation)


async def clear_params(editor: Editor, operator: str, handle: str, *, generation: int | None = None) -> None:
    """Take all query parameters out of the address that are there when this is committed. Not those that are the
    browser's."""

    def change(session: BaseSession) -> None:
        _change(session, lambda kept: {})

    await editor.change(operator, "clear parameters", handle, change, generation)


def _checked(name: str, texts: list[str]) -> list[str]:
    """Values as they can stand in an address."""
    if not name or not texts:
        raise EditRefused("a query parameter has a name and a value: to be rid of it, clear it")
    params = QueryParams()
    try:
        params[name] = texts
    except UnsupportedValue as error:
        raise EditRefused(error.problem) from None
    return params.get_all(name)


def _change(session: BaseSession, function: Callable[[Any], dict[str, list[str]]]) -> None:
    """Change the parameters of a session, wherever they are kept."""
    if PARAMS in session.record.fields:
        session.update(PARAMS, function)
        return
    address = _address_of(session)
    if address is None:
        raise EditRefused(
            "this session keeps no query parameters: a state does with keep_query_params=True, a live app with an "
            "address on its page"
        )
    session.update(address[0], partial(_in_address, function))


def _in_address(function: Callable[[Any], dict[str, list[str]]], kept: Any) -> dict[str, Any]:
    """A widget's field, with other parameters."""
    if type(kept) is not dict or type(kept.get("props", {})) is not dict:
        raise EditRefused("the page has no address any more: look again")
    props = kept.get("props", {})
    query = props.get("query", "")
    before = _params_in(query)
    changes = {**{name: [] for name in before}, **function(before)}
    try:
        changed = query_with(changes, query if type(query) is str else "")
    except UnsupportedValue as error:
        raise EditRefused(error.problem) from None
    return {**kept, "props": {**props, "query": changed}}


def _within_bounds(changes: dict[str, list[str]], kept: Any) -> dict[str, list[str]]:
    changed = with_params(changes, kept)
    if sum(len(name) + sum(map(len, texts)) for name, texts in changed.items()) > MOST_KEPT:
        raise EditRefused(f"this is too long for an address: {MOST_KEPT:,} characters are kept at most")
    return changed


def _without(name: str, kept: Any) -> dict[str, list[str]]:
    if is_reserved(name) or name not in params_of(kept):
        raise EditRefused("there is no such parameter any more: look again")
    return with_params({name: []}, kept)


# --- Widgets ---------------------------------------------------------------------------------------------------------


def widget_rows(session: BaseSession, *, reveal: bool, redaction: Redaction) -> list[WidgetRow]:
    """The widgets of a session, those of a live app in the order of their keys; at most 200. Passwords are never shown,
    nor what was typed into an input of the app's, of which it is not known here whether it is for passwords. Never
    raises for what is stored, whatever that is."""
    rows: list[WidgetRow] = []
    for name in sorted(session.record.fields):
        if len(rows) == _MOST:
            break
        if name.startswith((WIDGET, OVERRIDE)):
            rows.append(_live_row(session, name, redaction, reveal=reveal))
    left = _state_widgets(session)[: _MOST - len(rows)]
    return rows + [_state_row(session, name, redaction, reveal=reveal) for name in left]


def _live_row(session: BaseSession, name: str, redaction: Redaction, *, reveal: bool) -> WidgetRow:
    own = name.startswith(WIDGET)
    key = name.removeprefix(WIDGET if own else OVERRIDE)
    where: Where = "session" if own else "app"
    try:
        kept = _dict(unpack(session.record.fields[name]))
        props = _dict(kept.get("props", {}))
        kind = _told(kept.get("kind")) if own else ""
        row = partial(WidgetRow, key=name_of(key), kind=kind, where=where, label=_told(props.get("label")))
        if "value" not in props:
            return row()
        secret = props.get("password") is True if own else type(props["value"]) is str
        redacted = secret or redaction.hides(key) or hides_within(props["value"], redaction)
        value = _value(props["value"]) if reveal and not redacted else None
        return row(value=value, hidden=value is None, redacted=redacted)
    except ValueError:
        return WidgetRow(key=name_of(key), kind="", where=where, problem="It is damaged, and cannot be read")


def _dict(value: Any) -> dict[Any, Any]:
    if type(value) is not dict:
        raise ValueError("of another form than is written by us")
    return value


def _state_widgets(session: BaseSession) -> list[str]:
    """The fields that are values of a state's widgets."""
    data = session.record.fields.get(WIDGETS)
    try:
        names = [] if data is None else unpack(data)
    except ValueError:
        return []  # which fields are widgets' is not known: they are shown as fields
    return [name for name in names if type(name) is str] if type(names) is list else []


def _state_row(session: BaseSession, name: str, redaction: Redaction, *, reveal: bool) -> WidgetRow:
    row = partial(WidgetRow, key=name_of(name), where="state")
    data = session.record.fields.get(name)
    if data is None:
        return row(kind="", problem="Its value is not there any more")
    try:
        raw = unpack(data)
        redacted = redaction.hides(name) or hides_within(raw, redaction)
        value = _value(raw) if reveal and not redacted else None
        return row(kind=type_of(opened(raw)), value=value, hidden=value is None, redacted=redacted)
    except (ValueError, UnsupportedValue):
        return row(kind="", problem="It is damaged, and cannot be read")


def _told(text: Any) -> str:
    return _cut(text) if type(text) is str and not holds_an_id(text) else ""


def _value(raw: Any) -> str:
    """A value on a line: of a list, what is in it."""
    shape = opened(raw)
    if shape.form == "list" and len(shape.members or ()) <= _MOST_VALUES:
        return _cut(", ".join(text_of(member.value) for member in shape.members or ()))
    return _cut(text_of(raw))
