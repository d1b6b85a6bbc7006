"""The panels of a session that has a page: its query parameters, both ways, and its widgets."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from admin_storing import Raw, fields_of, session_of, stored
from starlette.testclient import TestClient
from visiting import served

from sojourn import AsyncSessionManager, SafeSessionState, SessionManager, SessionState
from sojourn.admin.audit import Audit
from sojourn.admin.editing import Editor, EditRefused
from sojourn.admin.fields import edit_text, field_tree
from sojourn.admin.panels import (
    QueryPanel,
    _in_address,
    clear_param,
    clear_params,
    query_panel,
    set_param,
    widget_rows,
)
from sojourn.admin.redaction import Redaction
from sojourn.blocking import run
from sojourn.ids import join, mint
from sojourn.live import App
from sojourn.session import BaseSession
from sojourn.state import WidgetMetadata, script_run, widget_id

REDACTION = Redaction()


def panel(fields: dict[str, Any], *, reveal: bool = True) -> QueryPanel:
    """The panel of a session with these fields."""
    return query_panel(session_of(fields), reveal=reveal, redaction=REDACTION)


def rows(fields: dict[str, Any], *, reveal: bool = True) -> list[Any]:
    """The widgets of a session with these fields."""
    return widget_rows(session_of(fields), reveal=reveal, redaction=REDACTION)


# --- Query parameters ------------------------------------------------------------------------------------------------


def test_parameters_are_shown() -> None:
    """Names and values, in their order; hidden until asked for, and those of secrets for good."""
    session_id = join(*mint())
    fields = {
        "$$params": {"page": ["2"], "tag": ["a", "b"], "token": ["geheim"], "see": [session_id], session_id: ["x"]}
    }
    shown = panel(fields).params
    assert [(one.name, one.values, one.hidden, one.redacted) for one in shown[:4]] == [
        ("page", ("2",), False, False),
        ("tag", ("a", "b"), False, False),
        ("token", (), True, True),
        ("see", (), True, True),
    ]
    assert "geheim" not in repr(shown)
    assert session_id not in repr(shown)
    hidden = panel(fields, reveal=False).params
    assert {one.values for one in hidden} == {()}
    assert [one.redacted for one in hidden[:4]] == [False, False, True, True]


@pytest.mark.parametrize(
    "kept",
    [None, [], 1, {"a": "text"}, {"a": [1]}, {"a": []}, {1: ["x"]}, Raw(b"\xc1"), Raw(b"")],
    ids=["none", "list", "number", "text", "numbers", "empty", "no name", "damaged", "nothing"],
)
def test_what_is_stored_in_another_form_is_no_parameter(kept: Any) -> None:
    """Whatever stands in the field, the panel is shown; what is no parameter is left out."""
    assert panel({"$$params": kept}) == QueryPanel(kept=True)


def test_a_session_without_parameters_says_so() -> None:
    """A session whose state keeps none has none to set."""
    assert panel({"n": 1}) == QueryPanel(kept=False)


def test_huge_parameters_are_cut() -> None:
    """Thousands of parameters, and long ones, are cut, and the panel says so."""
    shown = panel(
        {"$$params": {"long": ["x" * 100_000], "n" * 100_000: ["y"], **{f"p{at}": ["v"] for at in range(5_000)}}}
    )
    assert len(shown.params) + shown.more == 5_002
    assert len(repr(shown)) < 200_000
    assert [one.whole for one in shown.params[:3]] == [False, False, True]


async def test_parameters_are_set_and_cleared() -> None:
    """Setting and clearing change just these, and merge with what the page changes at the same time."""
    async with AsyncSessionManager("memory://") as manager:
        editor = Editor(manager, Audit())
        handle = await stored(manager, {"$$params": {"a": ["1"]}, "n": 1})
        await set_param(editor, "op", handle, "b", "2")
        await set_param(editor, "op", handle, "tags", ["x", "y"])
        await set_param(editor, "op", handle, "token", "geheim")
        assert (await fields_of(manager, handle))["$$params"] == {
            "a": ["1"],
            "b": ["2"],
            "tags": ["x", "y"],
            "token": ["geheim"],
        }
        await clear_param(editor, "op", handle, "a")
        with pytest.raises(EditRefused):
            await clear_param(editor, "op", handle, "a")
        await asyncio.gather(*(set_param(editor, "op", handle, f"p{number}", "v") for number in range(20)))
        assert len((await fields_of(manager, handle))["$$params"]) == 23
        await clear_params(editor, "op", handle)
        assert await fields_of(manager, handle) == {"$$params": {}, "n": 1}


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("", "x"),
        ("a", []),
        ("embed", "true"),
        ("Embed_Options", "x"),
        ("\ud800", "x"),
        ("a", "\ud800"),
        ("a", "x" * 70_000),
    ],
    ids=["no name", "no value", "embed", "embed options", "half a name", "half a value", "too long"],
)
async def test_what_cannot_stand_in_an_address_is_refused(name: str, values: Any) -> None:
    """A parameter without a name or a value, one of the browser's, half of a pair, or too much: nothing is written."""
    async with AsyncSessionManager("memory://") as manager:
        editor = Editor(manager, Audit())
        handle = await stored(manager, {"$$params": {"a": ["1"]}})
        with pytest.raises(EditRefused):
            await set_param(editor, "op", handle, name, values)
        assert await fields_of(manager, handle) == {"$$params": {"a": ["1"]}}


async def test_a_session_that_keeps_no_parameters_is_given_none() -> None:
    """Nobody would look at them."""
    async with AsyncSessionManager("memory://") as manager:
        editor = Editor(manager, Audit())
        handle = await stored(manager, {"n": 1})
        for attempt in (
            lambda: set_param(editor, "op", handle, "a", "1"),
            lambda: clear_param(editor, "op", handle, "a"),
            lambda: clear_params(editor, "op", handle),
        ):
            with pytest.raises(EditRefused, match="keep_query_params"):
                await attempt()
        assert await fields_of(manager, handle) == {"n": 1}


def test_both_ways_with_an_open_state(tmp_path: Path) -> None:
    """What a page changes is in the panel, and what is set in the panel reaches the state, which tells the browser."""
    url = f"sqlite:///{tmp_path / 's'}"
    told: list[str] = []
    with SessionManager(url) as manager:
        state = SessionState(manager.create_session(), manager, on_query_params=told.append, keep_query_params=True)
        handle = str(state.session_id).split(".")[0]
        view = SafeSessionState(state)
        with view.query_params() as params:
            params["page"] = "2"

        async def operate() -> QueryPanel:
            async with AsyncSessionManager(url) as other:
                record = await other.store.load(handle)
                assert record is not None
                shown = query_panel(other.resume(record), reveal=True, redaction=REDACTION)
                await set_param(Editor(other, Audit()), "op", handle, "filter", ["a", "b"])
                await clear_param(Editor(other, Audit()), "op", handle, "page")
                return shown

        shown = asyncio.run(operate())
        assert [(one.name, one.values) for one in shown.params] == [("page", ("2",))]
        with view.query_params() as params:
            assert params.get_all("filter") == ["a", "b"]
            assert "page" not in params
        assert told == ["page=2", "filter=a&filter=b"]


# --- Query parameters of live apps -----------------------------------------------------------------------------------

OWN = {"_live:w:where": {"kind": "address", "in": "", "at": 1.0, "props": {"query": "page=2&tag=a&tag=b"}, "on": {}}}
APPS = {"_live:o:where": {"props": {"query": "page=2&tag=a&tag=b"}}}


@pytest.mark.parametrize("fields", [OWN, APPS], ids=["its own", "the app's"])
def test_parameters_of_a_live_page_are_shown(fields: dict[str, Any]) -> None:
    """Those of the address on its page, as those of a state: hidden until asked for, and those of secrets for good. In
    the tree of fields there is no second way to them."""
    others = {"_live:w:a": {"kind": "text", "props": {"text": "x"}}, "_live:o:b": {"props": {"value": 1}}, "n": 1}
    shown = panel({**others, **fields})
    assert [(one.name, one.values) for one in shown.params] == [("page", ("2",)), ("tag", ("a", "b"))]
    assert {one.values for one in panel(fields, reveal=False).params} == {()}
    ((name, kept),) = fields.items()
    secret = {name: {**kept, "props": {"query": "token=geheim&embed=true"}}}
    assert [(one.name, one.hidden, one.redacted) for one in panel(secret).params] == [("token", True, True)]
    session = session_of({**others, **secret})
    assert "geheim" not in repr(field_tree(session, reveal=True, redaction=REDACTION))
    assert "geheim" not in repr(widget_rows(session, reveal=True, redaction=REDACTION))
    for path in ((f".{name}",), (f".{name}", ".props"), (f".{name}", ".props", ".query")):
        with pytest.raises(EditRefused):
            edit_text(session, path, REDACTION)


@pytest.mark.parametrize(
    "kept",
    [None, 1, [], "x", {"props": 1}, {"props": {"query": 5}}, {"kind": 5, "props": {}}, Raw(b"\xc1"), Raw(b"")],
    ids=["none", "number", "list", "text", "no properties", "no text", "no kind", "damaged", "nothing"],
)
def test_an_address_in_another_form_says_nothing(kept: Any) -> None:
    """Whatever stands in a widget's field, the panel is shown, and another's address found."""
    assert panel({"_live:w:a": kept, "_live:o:a": kept}).params == ()
    assert len(panel({"_live:w:a": kept, **OWN}).params) == 2


@pytest.mark.parametrize("fields", [OWN, APPS], ids=["its own", "the app's"])
async def test_parameters_of_a_live_page_are_set_and_cleared(fields: dict[str, Any]) -> None:
    """Setting and clearing change just these, and merge with what the page does to the same widget."""
    ((name, kept),) = fields.items()
    async with AsyncSessionManager("memory://") as manager:
        editor = Editor(manager, Audit())
        handle = await stored(manager, {**fields, "n": 1})

        async def query() -> str:
            now = await fields_of(manager, handle)
            assert {**now.pop(name), "props": {}} == {**kept, "props": {}}
            assert now == {"n": 1}
            return str((await fields_of(manager, handle))[name]["props"]["query"])

        await set_param(editor, "op", handle, "page", "3 & more")
        assert await query() == "page=3+%26+more&tag=a&tag=b"
        await clear_param(editor, "op", handle, "tag")
        with pytest.raises(EditRefused):
            await clear_param(editor, "op", handle, "tag")
        await asyncio.gather(*(set_param(editor, "op", handle, f"p{number}", "v") for number in range(20)))
        assert (await query()).count("=v") == 20
        for bad, values in (("embed", "true"), ("", "x"), ("a", []), ("\ud800", "x"), ("a", "x" * 4_000)):
            with pytest.raises(EditRefused):
                await set_param(editor, "op", handle, bad, values)
        assert (await query()).count("&") == 20
        await clear_params(editor, "op", handle)
        assert await query() == ""


async def test_an_address_that_went_is_not_made_again() -> None:
    """What the page does while an operator sets a parameter counts: another property stays, and a widget that was taken
    away is not put back."""
    async with AsyncSessionManager("memory://") as manager:
        handle = await stored(manager, OWN)

        async def opened() -> BaseSession:
            record = await manager.store.load(handle)
            assert record is not None
            return manager.resume(record)

        change = partial(_in_address, lambda kept: {**kept, "page": ["3"]})
        mine, other = await opened(), await opened()
        mine.update("_live:w:where", change)
        other.update("_live:w:where", lambda kept: {**kept, "at": 7.0, "props": {"query": "page=2&new=1"}})
        await manager.finish(other)
        await manager.finish(mine)
        kept = (await fields_of(manager, handle))["_live:w:where"]
        assert (kept["at"], kept["props"]) == (7.0, {"query": "page=3&new=1"})
        mine, other = await opened(), await opened()
        mine.update("_live:w:where", change)
        del other["_live:w:where"]
        await manager.finish(other)
        with pytest.raises(EditRefused):
            await manager.finish(mine)
        assert await fields_of(manager, handle) == {}


@pytest.mark.parametrize("own", [True, False], ids=["its own", "the app's"])
def test_both_ways_with_an_open_live_page(tmp_path: Path, own: bool) -> None:
    """What a visitor's address says is in the panel of another process's manager, and what is set there is told to the
    open page within the usual time, and read by the next callback. One that says nothing yet can be set, too."""
    url = f"sqlite:///{tmp_path / 's'}"
    app = App("shop", store=url)
    app.text("", key="read")
    if not own:
        app.address(key="where")

    @app.on_session
    def begin(session: Any) -> None:
        if own:
            session.address(key="where")

    @app.button("Read", key="button").on_click
    def read(session: Any) -> None:
        session.widget("read").text = session.widget("where").params.get("page", "-")

    id_ = "s:where" if own else "g:where"
    with served(app) as site, SessionManager(url) as other:
        tab = site.visitor().open()
        handle = tab.visitor.session_id.split(".")[0]
        editor = Editor(other.engine, Audit())

        def looked() -> QueryPanel:
            record = run(other.engine.store.load(handle))
            assert record is not None
            return query_panel(other.engine.resume(record), reveal=True, redaction=REDACTION)

        assert looked() == QueryPanel(kept=True)
        run(set_param(editor, "op", handle, "page", "1"))
        tab.until(lambda page: page.props(id_)["value"] == "page=1", 3)
        tab.change(id_, "page=2&tag=x")
        assert [(one.name, one.values) for one in looked().params] == [("page", ("2",)), ("tag", ("x",))]
        run(set_param(editor, "op", handle, "page", "9"))
        run(clear_param(editor, "op", handle, "tag"))
        tab.until(lambda page: page.props(id_)["value"] == "page=9", 3)
        tab.click("g:button")
        assert tab.shows("g:read")["text"] == "9"
        run(clear_params(editor, "op", handle))
        tab.until(lambda page: page.props(id_)["value"] == "", 3)
        assert tab.visitor.load().props(id_) == {"value": ""}


# --- Widgets ---------------------------------------------------------------------------------------------------------


def test_widgets_of_a_live_app_are_shown(tmp_path: Path) -> None:
    """The widgets that a live app has put on a visitor's page are there as it stores them: key, kind, label, value;
    what was typed as a password is not shown."""
    url = f"sqlite:///{tmp_path / 's'}"
    app = App("shop", store=url)
    app.slider("Level", 1, max=10, key="level")

    @app.on_session
    def begin(session: Any) -> None:
        session.text_input("Name", value="Ada", key="name")
        session.text_input("Word", value="geheim", password=True, key="word")
        session.multiselect("Colours", ["red", "blue"], ["red", "blue"], key="colours")
        session.text("Hello", key="hello")
        session.widget("level").value = 7

    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        assert client.get("/").status_code == 200
    with SessionManager(url) as manager:
        handle = next(row.handle for row in manager.list_sessions() if not (row.label or "").startswith("live app"))
        record = run(manager.engine.store.load(handle))
        assert record is not None
        found = widget_rows(manager.engine.resume(record), reveal=True, redaction=REDACTION)
    assert "geheim" not in repr(found)
    assert {(row.key, row.kind, row.where, row.label, row.value) for row in found} == {
        ("level", "", "app", "", "7"),
        ("colours", "multiselect", "session", "Colours", "red, blue"),
        ("name", "text_input", "session", "Name", "Ada"),
        ("hello", "text", "session", "", None),
        ("word", "text_input", "session", "Word", None),
    }


def test_widgets_as_they_are_kept() -> None:
    """Of a live session: its own widgets, and what it has of the app's."""
    fields = {
        "_live:w:name": {
            "kind": "text_input",
            "in": "",
            "at": 1.0,
            "props": {"label": "Name", "value": "Ada"},
            "on": {},
        },
        "_live:w:word": {"kind": "text_input", "props": {"label": "Word", "value": "geheim", "password": True}},
        "_live:w:colours": {"kind": "multiselect", "props": {"label": "Colours", "value": ["red", "blue"]}},
        "_live:w:text": {"kind": "text", "props": {"text": "Hello"}},
        "_live:w:api_token": {"kind": "text_input", "props": {"value": "geheim"}},
        "_live:o:typed": {"props": {"value": "geheim"}},
        "_live:o:level": {"props": {"value": 7}},
        "_live:o:gone": {"gone": True},
        "_live:t:abcdefghijklmnop": [1, 2.0],
        "_live:begun": True,
        "n": 1,
    }
    found = {row.key: row for row in rows(fields)}
    assert "geheim" not in repr(found)
    assert [(key, row.kind, row.where, row.label, row.value, row.redacted) for key, row in found.items()] == [
        ("gone", "", "app", "", None, False),
        ("level", "", "app", "", "7", False),
        ("typed", "", "app", "", None, True),
        ("api_token", "text_input", "session", "", None, True),
        ("colours", "multiselect", "session", "Colours", "red, blue", False),
        ("name", "text_input", "session", "Name", "Ada", False),
        ("text", "text", "session", "", None, False),
        ("word", "text_input", "session", "Word", None, True),
    ]
    hidden = rows(fields, reveal=False)
    assert {row.value for row in hidden} == {None}
    assert [row.hidden for row in hidden] == [False, True, True, True, True, True, False, True]


def test_widgets_of_a_state_are_shown() -> None:
    """The widgets of a state that is bound to a session, as it stores them, by their keys."""
    with SessionManager("memory://") as manager:
        state = SessionState(manager.create_session(), manager)
        with script_run() as one:
            for key, value in (("name", "Ada"), ("count", 3), ("password", "geheim")):
                kind = "int_value" if key == "count" else "string_value"
                metadata: WidgetMetadata[Any] = WidgetMetadata(
                    widget_id("x", key), lambda wire, value=value: value, lambda value: value, kind
                )
                state.register_widget(metadata, key)
            state.on_script_finished(one.widget_ids)
        kept = run(manager.engine.store.load(str(state.session_id).split(".")[0]))
        assert kept is not None
        fields = {name: Raw(data) for name, data in kept.fields.items()}
        assert fields.keys() == {"name", "count", "password", "$$widgets"}
        found = rows({**fields, "$$widgets": ["count", "gone", "name", "password"], "other": 1})
        assert [row for row in rows(fields) if row.key != "gone"] == [row for row in found if row.key != "gone"]
    assert [(row.key, row.kind, row.where, row.value, row.redacted) for row in found] == [
        ("count", "int", "state", "3", False),
        ("gone", "", "state", None, False),
        ("name", "str", "state", "Ada", False),
        ("password", "str", "state", None, True),
    ]
    assert found[1].problem


@pytest.mark.parametrize(
    "kept",
    [None, 1, [], "x", {"props": 1}, {"kind": 1, "props": {"label": 1, "value": object}}, Raw(b"\xc1"), Raw(b"")],
    ids=["none", "number", "list", "text", "no properties", "odd", "damaged", "nothing"],
)
def test_a_widget_in_another_form_hides_no_other(kept: Any) -> None:
    """Whatever stands in a widget's field, the others are shown."""
    kept = {"kind": 1, "props": {"label": 1, "value": {1: [2]}}} if isinstance(kept, dict) and "kind" in kept else kept
    found = rows({"_live:w:a": kept, "_live:o:a": kept, "_live:w:b": {"kind": "text", "props": {"value": "x"}}})
    assert [row.key for row in found] == ["a", "a", "b"]
    assert found[-1].value == "x"
    assert rows({"$$widgets": kept, "a": 1}) == []


def test_many_widgets_are_cut() -> None:
    """There are at most 200 rows, of short texts."""
    widget = {"kind": "k" * 5_000, "props": {"label": "l" * 5_000, "value": ["v" * 5_000] * 10}}
    found = rows({f"_live:w:{at}": widget for at in range(500)})
    assert len(found) == 200
    assert len(repr(found)) < 250_000
