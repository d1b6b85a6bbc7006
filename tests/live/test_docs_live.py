"""What the pages on live apps say agrees with the code: tables of widgets, options, frames and paths; the proxy's
settings and the server's options do what the page says."""

from __future__ import annotations

import inspect
import re
import shlex
from pathlib import Path
from typing import Any, get_args

import httpx
import pytest
import uvicorn
from msgspec.structs import fields
from starlette.routing import BaseRoute
from visiting import LiveProcess, Visitor
from websockets.exceptions import InvalidStatus

from servers.nginx import Nginx
from servers.process import LOOPBACK
from sojourn.live import App, Limits, Session, protocol
from sojourn.live import widgets as w
from sojourn.live.everyone import Shared
from sojourn.live.widget import _NONE, Widget
from test_docs import DOCS, PAGES, blocks_of, rows_of, text_of

REFERENCE = "reference/live.md"
EVERY = ("key", "visible")
EVERY_INPUT = ("label", "disabled", "read_only", "help")
TOLD = {("Slider", "value"): "min", ("Selectbox", "value"): "the first", ("Columns", "ratios"): "2"}
"""Defaults that depend on others, or are shorter than as they are kept."""


def _default(widget: str, name: str, default: Any) -> str:
    if (widget, name) in TOLD:
        return TOLD[widget, name]
    return "" if default is _NONE else _as_python(default)


def _as_python(value: Any) -> str:
    """As a program would write it, with the quotes that pages have."""
    if isinstance(value, str):
        return f'"{value}"'
    return repr(value).replace("'", '"')


def test_every_widget_and_property_is_in_the_reference() -> None:
    """The tables name each widget, and each of its properties with its default, and no other, in their order."""
    told: dict[str, dict[str, str]] = {}
    for widget, name, default, meaning in rows_of(text_of(REFERENCE), "widget", "property", "default", "meaning"):
        assert meaning, (widget, name)
        if widget:
            properties = told[widget.strip("*`")] = {}
        else:
            properties[name] = default
    common = {name: widget.default for name, widget in Widget.properties.items()}
    assert tuple(common) == EVERY
    expected = {
        kind.__name__: {
            name: _default(kind.__name__, name, one.default)
            for name, one in kind.properties.items()
            if name not in EVERY and not (issubclass(kind, w.Input) and name in EVERY_INPUT)
        }
        for kind in w.KINDS.values()
    }
    assert told == expected


def test_what_all_widgets_and_all_inputs_have_is_in_the_reference() -> None:
    """So are the properties that they have in common, with their defaults, and the methods of widgets."""
    text = text_of(REFERENCE)
    rows = {row[0]: row[1] for row in rows_of(text, "property or method", "default", "meaning")}
    for name in EVERY:
        assert rows[name] == _default("", name, Widget.properties[name].default)
    methods = {name.partition("(")[0] for name in rows}
    assert methods >= {"update", "remove", "replace", "children"}
    rows = {row[0]: row[1] for row in rows_of(text, "property", "default", "meaning")}
    assert rows == {name: _default("", name, w.Input.properties[name].default) for name in EVERY_INPUT}


def test_every_option_of_an_app_is_in_the_reference() -> None:
    """The parameters of `App` and the fields of `Limits` stand in their tables, with their defaults."""
    text = text_of(REFERENCE)
    parameters = list(inspect.signature(App).parameters.values())
    rows = [(row[0], row[1]) for row in rows_of(text, "parameter", "default", "meaning")]
    assert rows == [(one.name, _as_python(one.default)) for one in parameters]
    limits = [(row[0], row[1]) for row in rows_of(text, "limit", "default", "meaning")]
    assert limits == [(one.name, repr(one.default)) for one in fields(Limits)]


@pytest.mark.parametrize(
    ("kind", "heading", "called", "not_for_users"),
    [
        (App, "`App`", "app", {"serve", "exchange", "cookie_for"}),
        (Session, "`Session`", "session", {"close", "begun"}),
        (Shared, "`app.shared`", "shared", set()),
    ],
)
def test_every_name_that_users_call_is_in_the_reference(
    kind: type, heading: str, called: str, not_for_users: set[str]
) -> None:
    """Each public method and property of an app, of a session, and of what is shared, has its line."""
    under = re.split(rf"^##+ {re.escape(heading)}$", text_of(REFERENCE), flags=re.MULTILINE)[1]
    under = re.split(r"^## ", under, flags=re.MULTILINE)[0]
    names = {name for name in vars(kind) if not name.startswith("_")} - not_for_users
    missing = [name for name in sorted(names) if not re.search(rf"\b{called}\.{name}\b", under)]
    assert missing == []


def test_every_frame_is_in_the_reference() -> None:
    """The tables of the protocol name each frame with its fields, each operation, and each code of an error."""
    text = text_of(REFERENCE)
    for column, kinds in (
        ("from the browser", get_args(protocol.ClientFrame)),
        ("from the server", get_args(protocol.ServerFrame)),
        ("operation", get_args(protocol.Operation)),
    ):
        rows = {row[0]: " ".join(row[1:]) for row in rows_of(text, column, "meaning")}
        assert set(rows) == {kind.__struct_config__.tag for kind in kinds}
        for kind in kinds:
            for field in fields(kind):
                assert re.search(rf"\b{field.name}\b", rows[kind.__struct_config__.tag]), (kind, field.name)
    assert [row[0] for row in rows_of(text, "code of an error", "when")] == list(get_args(protocol.ErrorCode))
    assert f"Version {protocol.VERSION}." in text


def test_every_path_is_in_the_reference() -> None:
    """The table of paths names each that the app answers, and each file that it serves."""
    from sojourn.live.serving import _STATIC

    named = " ".join(row[0] for row in rows_of(text_of(REFERENCE), "path", "what"))
    told = set(re.findall(r"/[\w./]*", named))
    routes: list[BaseRoute] = App(title="Paths")._router.routes
    served = {route.path for route in routes}  # type: ignore[attr-defined]
    assert told == served - {"/_live/{name}"} | {f"/_live/{name}" for name in _STATIC}


def test_commands_that_serve_are_understood() -> None:
    """Each ``uvicorn`` command on a page is one that uvicorn takes."""
    seen = 0
    for page in PAGES:
        for block in blocks_of(page):
            for line in block.text.splitlines() if block.language in ("console", "sh") else ():
                program, *words = shlex.split(line.removeprefix("$ "), comments=True) or [""]
                if program == "uvicorn":
                    assert uvicorn.main.make_context("uvicorn", words).params["app"], f"{page}: {line}"
                    seen += 1
    assert seen


def _app(folder: Path) -> Path:
    blocks = blocks_of(DOCS / "how-to/live-apps.md")
    text = next(block.text for block in blocks if block.title == "counter.py")
    module = folder / "counter.py"
    module.write_text(text.replace("sqlite:///counter.db", f"sqlite:///{folder}/counter.db"))
    return module


def _settings(behind: int) -> str:
    """The proxy's settings as the page has them, for another port."""
    (block,) = (block for block in blocks_of(DOCS / "how-to/live-apps.md") if block.language == "nginx")
    assert "127.0.0.1:8501" in block.text
    return block.text.replace("127.0.0.1:8501", f"{LOOPBACK}:{behind}")


@pytest.mark.battery
def test_the_settings_of_the_proxy_are_enough(tmp_path: Path) -> None:
    """Behind nginx with the settings of the page an app is used like anywhere, also with a prefix that the proxy cuts
    off and ``--root-path``; without the host a browser's socket is refused, and without the upgrade there is none."""
    with LiveProcess(_app(tmp_path)) as server:
        settings = _settings(server.port)
        with Nginx(server.port, settings) as proxy:
            assert _clicks(Visitor(proxy.port)) == "You clicked 1 times."
            reply = httpx.get(f"http://{LOOPBACK}:{proxy.port}/", headers={"Host": "shop.example"})
            assert reply.headers["set-cookie"].startswith("__Host-live-counter=")
        for line, code in (("Host $host", 403), ("Upgrade $http_upgrade", 404)):
            spoiled = "\n".join(row for row in settings.splitlines() if line not in row)
            assert spoiled != settings
            with Nginx(server.port, spoiled) as proxy, pytest.raises(InvalidStatus) as refused:
                _clicks(Visitor(proxy.port))
            assert refused.value.response.status_code == code
    with LiveProcess(_app(tmp_path), "--root-path", "/counter") as server:
        settings = _settings(server.port).replace("location /", "location /counter/")
        settings = settings.replace(f":{server.port};", f":{server.port}/;")
        with Nginx(server.port, settings) as proxy:
            assert _clicks(Visitor(proxy.port, "/counter")) == "You clicked 1 times."


def _clicks(visitor: Visitor) -> str:
    """Click the button, as a browser does, whose socket comes from the page; what the label says then."""
    visitor.root = visitor.root.replace(LOOPBACK, "localhost")  # a name that the server does not call itself
    tab = visitor.open(headers={"Origin": f"http://localhost:{visitor.port}"})
    tab.click("s:click")
    tab.leave()
    label: str = tab.shows("s:label")["text"]
    return label
