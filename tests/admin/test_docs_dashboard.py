"""What the pages on the dashboard say agrees with the code: parameters, what the audit says, patterns, times, paths;
and the pictures stand on pages, and are small."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from struct import unpack
from typing import get_args, get_type_hints

import pytest
from msgspec.structs import fields
from starlette.testclient import TestClient

import sojourn.admin
from sojourn.admin import Dashboard, Entry, dashboard, guards, reports, sign_in
from sojourn.admin.editing import _OUTCOMES
from sojourn.admin.redaction import PATTERNS
from sojourn.admin.reports import Reporting
from test_docs import DOCS, PAGES, rows_of, text_of

REFERENCE = "reference/dashboard.md"
PICTURES = sorted((DOCS / "pictures").glob("*.png"))


def under(heading: str) -> str:
    """What stands under a heading of the reference."""
    found = re.split(rf"^## {re.escape(heading)}$", text_of(REFERENCE), flags=re.MULTILINE)[1]
    return re.split(r"^## ", found, flags=re.MULTILINE)[0]


def _as_python(value: object) -> str:
    if value is inspect.Parameter.empty:
        return ""
    if value is PATTERNS:
        return "PATTERNS"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def test_every_public_name_has_its_place() -> None:
    """Whatever can be imported from ``sojourn.admin`` is in the reference."""
    assert [name for name in sojourn.admin.__all__ if f"`{name}" not in text_of(REFERENCE)] == []


def test_every_parameter_is_in_the_reference() -> None:
    """The table names the parameters of `Dashboard`, with their defaults, in their order."""
    rows = [tuple(row[:2]) for row in rows_of(text_of(REFERENCE), "parameter", "default", "meaning")]
    parameters = inspect.signature(Dashboard).parameters.values()
    assert rows == [(one.name, _as_python(one.default)) for one in parameters]


@pytest.mark.parametrize(
    ("kind", "heading", "called"),
    [(Dashboard, "`Dashboard`", "dashboard"), (Reporting, "`report`", "reporting")],
    ids=["dashboard", "reporting"],
)
def test_every_name_that_users_call_is_in_the_reference(kind: type, heading: str, called: str) -> None:
    """Each public method and property has its line, and so have the managers that a dashboard works with."""
    names = {name for name in vars(kind) if not name.startswith("_")} - {"start", "forked"}
    names |= {"operators", "engine", "app"} if kind is Dashboard else set()
    assert [name for name in sorted(names) if not re.search(rf"\b{called}\.{name}\b", under(heading))] == []


def test_the_times_are_those_of_the_code() -> None:
    """Each time and bound stands in the table as it is."""
    rows = {row[0]: row[1] for row in rows_of(under("`Dashboard`"), "time or bound", "value", "of")}
    defaults = {
        "asked again": inspect.signature(guards.HostCheck).parameters["every"].default,
        "asked anew": inspect.signature(guards.HostCheck).parameters["life"].default,
        "pause": inspect.signature(guards.Password).parameters["pause"].default,
        "attempts": inspect.signature(guards.Password).parameters["attempts"].default,
        "idle": dashboard._IDLE,
        "at the latest": dashboard._SHIFT,
        "patience": guards._PATIENCE,
    }
    assert {name: float(told.split()[0].replace(",", "")) for name, told in rows.items()} == defaults
    assert f"every {reports.EVERY:.0f} seconds" in under("`report`")
    assert f"of {guards._SHORTEST} characters or more" in text_of(REFERENCE)


# --- The audit --------------------------------------------------------------------------------------------------------

_TOLD = {"look": 1, "act": 1, "change": 1, "audited": 1}


def _said() -> Iterator[str]:
    """Whatever the code has for ``what``, or how it begins."""
    for path in sorted(Path(sojourn.admin.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and len(node.args) > 1:
                what = node.args[_TOLD.get(node.func.attr, 0)]
                if node.func.attr in _TOLD and isinstance(what, ast.JoinedStr):
                    what = what.values[0]
                if node.func.attr in _TOLD and isinstance(what, ast.Constant):
                    yield str(what.value).strip()


def test_every_line_of_the_audit_is_in_the_reference() -> None:
    """Each thing that the audit says was looked at or done has its row, and nothing else has; so has each outcome, and
    each field."""
    text = under("The audit")
    named = ", ".join(row[0] for row in rows_of(text, "what", "kind", "when"))
    told = re.split(r"`, `|, (?!by)", named.replace("` and an address", ""))
    assert sorted(told) == sorted(set(_said()))
    outcomes = {row[0] for row in rows_of(text, "outcome", "meaning")}
    assert outcomes >= {word for _, word in _OUTCOMES} | {"done", "unknown", "failed", "refused: read-only"}
    assert [row[0] for row in rows_of(text, "field", "meaning")] == [one.name for one in fields(Entry)]
    (kinds,) = (row[1] for row in rows_of(text, "field", "meaning") if row[0] == "kind")
    assert set(kinds.replace("`", "").split(" or ")) == set(get_args(get_type_hints(Entry)["kind"]))


# --- What is hidden, and paths ----------------------------------------------------------------------------------------


def test_every_pattern_is_in_the_reference() -> None:
    """The names whose values are hidden, in their order, and no other."""
    shown = re.search(r"```text\n(.*?)```", under("What stays hidden"), re.DOTALL)
    assert shown is not None
    assert tuple(shown[1].split()) == PATTERNS


def test_every_path_of_the_gate_is_in_the_reference() -> None:
    """The table of paths names what the gate answers itself, and the headers that it sets are named."""
    text = under("What the page asks")
    told = set(re.findall(r"/_gate/[\w.-]+", " ".join(row[0] for row in rows_of(text, "path", "what"))))
    assert told == {sign_in.SIGN_IN, sign_in.SIGN_OUT, *sign_in.STYLES}
    with TestClient(Dashboard("memory://", password="a long password"), base_url="http://127.0.0.1") as browser:
        headers = browser.get("/").headers
    for name in ("X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Cache-Control"):
        assert f"`{name}: {headers[name]}`" in text
    assert f"`{headers['set-cookie'].partition('-form=')[0]}`" in text.replace("__Host-", "")


# --- Pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [picture.name for picture in PICTURES])
def test_pictures_of_the_dashboard_are_shown(name: str) -> None:
    """Each stands on a page, with a text in its place, and is small enough to be loaded with it."""
    data = (DOCS / "pictures" / name).read_bytes()
    width, height = unpack(">II", data[16:24])
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert width in (1280, 780)
    assert height < 2400
    assert len(data) <= 250_000
    shown = "\n".join(page.read_text("utf-8") for page in PAGES)
    assert re.search(rf"!\[[^\]]{{20,}}\]\([./]*(docs/)?pictures/{name}\)", shown)


def test_the_three_views_are_in_the_readme() -> None:
    """Overview, list and one session."""
    shown = (DOCS.parent / "README.md").read_text("utf-8")
    assert set(re.findall(r"pictures/dashboard-(\w+)\.png", shown)) >= {"overview", "sessions", "session"}
