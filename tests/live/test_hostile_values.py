"""Hostile values: a corpus of script in disguise through every property of every kind of widget, as a page and as
changes, and through what visitors type and sessions keep. Nothing of it runs, and it is shown as the text that it is.
And what a page of all kinds is like to use: names, labels, roles, contrast, keyboard."""

from __future__ import annotations

import json
import re
import time
import typing
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from browsing import Guest, Visits, chromium, live, look
from playwright.sync_api import Browser, Page, expect

from sojourn import UnsupportedValue
from sojourn.live import App, Widget
from sojourn.live import widgets as w

pytestmark = pytest.mark.battery

CORPUS = (
    "<script>ran('script')</script>",
    "</script><script>ran('end of script')</script>",
    "</title></style></textarea></noscript></template><img src=x onerror=ran('end')>",
    "<!--<script>ran('comment')//--></script>",
    "<img src=x onerror=ran('img')>",
    "<svg onload=ran('svg')><animate onbegin=ran('animate')>",
    "<svg><script href=data:,ran('svg-script') /></svg>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=ran(1)&gt;'>",
    "<iframe srcdoc='<script>parent.ran(1)</script>'></iframe>",
    "<iframe src=javascript:parent.ran('frame')></iframe>",
    "<object data=javascript:ran('object')></object><embed src=javascript:ran('embed')>",
    "<a href=javascript:ran('a') id=app>here</a><base href=//evil.example/>",
    "<body onpageshow=ran('body')><details open ontoggle=ran('details')>",
    "<input autofocus onfocus=ran('focus')><select autofocus onfocus=ran('select')>",
    "<form action=javascript:ran('form')><button formaction=javascript:ran('button')>go</button></form>",
    "<style>@import 'http://evil.example/x.css';*{display:none!important}</style>",
    "<link rel=stylesheet href=http://evil.example/x.css><meta http-equiv=refresh content='0;url=//evil.example'>",
    "javascript:ran('address')",
    " \x01java\tscript:ran('spaced address')",
    "data:text/html,<script>parent.ran('data')</script>",
    "vbscript:ran(1)",
    "[here](javascript:ran('markdown')) ![x](javascript:ran('image')) <javascript:ran('auto')>",
    "[x]: javascript:ran('reference')\n\n[x] [y](data:text/html;base64,PHNjcmlwdD4=) `<b>`",
    "![x](data:image/svg+xml,<svg/onload=ran('svg-image')>) [a](&#106;avascript&colon;ran('entity'))",
    "\"'><img src=x onerror=ran('quotes')>",
    '\' onmouseover=\'ran(1)\' x=\'" onfocus="ran(1)" autofocus tabindex=1 style="position:fixed;inset:0"',
    "{{constructor.constructor('ran(1)')()}} ${ran('template')} `${ran('tick')}`",
    "\\u003cscript\\u003eran('escape')\\u003c/script\\u003e \\x3cimg src=x onerror=ran(1)\\x3e",
    "%3Cscript%3Eran('percent')%3C/script%3E &lt;script&gt;ran('entity')&lt;/script&gt;",
    "__proto__ constructor toString hasOwnProperty",
    "\u202e<script>ran('bidi')</script>\u2028\u2029\x00\x1b[31m\ufeff",
    "＜script＞ran('wide')＜/script＞ <ſcript>ran('long s')</ſcript>",
    "<noscript><p title=\"</noscript><img src=x onerror=ran('noscript')>\">",
    "]]><script>ran('cdata')</script><![CDATA[",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


# --- Through every property ------------------------------------------------------------------------------------------


def hostile_values(kind: type[Widget], name: str, text: str) -> list[Any]:
    """What is tried as a property: the text in every form that it may take there."""
    hint = kind.properties[name].hint
    if name == "data":
        return [
            [{text: text, "n": 1, f"{text}.": 2.5}, {text: "x", "n": None, f"{text}.": 3}],
            {text: [1, 2, 3]},
            [[text, 1], [text, 2]],
        ]
    if name in ("options", "labels", "keys", "sortable"):
        return [[text, f"{text} and more"]]
    if name == "items":
        return [[(text, text), ("x", "plain")]]
    if name == "nodes":
        return [
            [{"id": text, "label": text, "note": text, "value": text, "children": [{"id": f"{text}.", "label": text}]}]
        ]
    if hint is str or hint == str | None:
        return [text]
    if name == "source":
        return [text, f"data:image/svg+xml,{text}"]
    if hint is Any or str in typing.get_args(hint):
        return [text] if kind is not w.Write else [text, {text: [text, {text: text}]}, [{text: text}], ValueError(text)]
    return []  # a number, True or False, one of some words: what is no such value is refused, which other tests show


PLAIN: dict[str, Any] = {
    **dict.fromkeys(("text", "label", "value", "submit_label", "alt"), "plain"),
    "data": {"a": [1, 2], "b": [3, 4]},
    "source": "data:image/png;base64,AA==",
    "options": ["plain", "other"],
    "labels": ["one", "two"],
    "items": [("a", "plain")],
    "nodes": [{"id": "a", "label": "plain"}],
}


def plain(kind: type[Widget], **other: Any) -> Widget:
    """A widget of a kind that nobody need be afraid of, but for what is said."""
    needed = {name: PLAIN[name] for name, one in kind.properties.items() if name in PLAIN and _is_needed(kind, one)}
    if kind is w.Progress:
        needed["value"] = 0.5
    return kind(**{**needed, **other})


def _is_needed(kind: type[Widget], one: Any) -> bool:
    return one.default is not None and type(one.default) is object


KINDS = [kind for kind in w.KINDS.values() if kind not in (w.Column, w.Tab, w.Address)]
PARSED = {(w.Markdown, "text"), (w.Write, "value")}
"""Where the text is Markdown, and not shown letter by letter."""
UNSEEN = {"key", "source", "keys", "sortable", "sorted_by", "empty", "confirm", "current", "selected"}
"""What is not shown by itself: `test_what_is_clicked` has it where it is."""


def cases(text: str) -> Iterator[tuple[type[Widget], str, Any]]:
    """Each property of each kind that this text can come into, and a value of the text for it."""
    for kind in KINDS:
        for name in kind.properties:
            for value in hostile_values(kind, name, text):
                yield kind, name, value


# Everything in the page that could run, or lead to what runs: there is nothing but our own two scripts.
_INERT = """() => {
  const found = [];
  const tags = "iframe, object, embed, base, link, style, meta, frame, template, animate, math, foreignObject";
  for (const one of document.body.querySelectorAll(tags)) found.push(one.outerHTML);
  if (document.scripts.length !== 2) found.push(`${document.scripts.length} scripts`);
  for (const one of document.querySelectorAll("*")) {
    for (const { name, value } of one.attributes) {
      if (name.startsWith("on") || name === "srcdoc" || name === "formaction") found.push(`${name}=${value}`);
      if (["href", "src", "action", "xlink:href"].includes(name)) {
        const address = URL.canParse(value, location.href) ? new URL(value, location.href).href : "https:";
        const isFine = /^(https?:|mailto:|data:,|data:image\\/(png|jpeg|gif|webp)[;,])/.test(address);
        if (!isFine) found.push(`${name}=${value}`);
      }
    }
  }
  return found;
}"""

# All text that each widget shows or says, by its id.
_SAID = """() => Object.fromEntries([...document.querySelectorAll("[data-id]")].map((widget) => {
  const texts = [];
  for (const one of [widget, ...widget.querySelectorAll("*")]) {
    for (const node of one.childNodes) if (node.nodeType === 3) texts.push(node.data);
    for (const name of ["placeholder", "alt", "title", "aria-label"]) texts.push(one.getAttribute(name) ?? "");
    if ("value" in one) texts.push(String(one.value));
  }
  return [widget.dataset.id, texts.join("\\n")];
}))"""


def check_inert(page: Page, guest: Guest) -> None:
    """Nothing ran, nothing was even tried, nothing was fetched from elsewhere, and nothing in the page could run."""
    expect(page.locator("[aria-busy]")).to_have_count(0)  # all that is drawn by a module is there
    page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
    page.evaluate("document.querySelectorAll('[role=tab]').forEach((one) => one.click())")
    assert page.evaluate(_INERT) == []
    assert [one for one in guest.complaints if not one.startswith("Failed to load resource")] == []  # an image's
    assert guest.hosts <= {guest.url.split("/")[2], ""}
    guest.complaints.clear()


def check_said(said: dict[str, str], shown: dict[str, str]) -> None:
    """Each widget shows its text as it is; in JSON as JSON has it."""
    for key, text in shown.items():
        found = said[f"s:{key}"]
        assert text in found or json.dumps(text, ensure_ascii=False)[1:-1] in found, (key, text, found)


def show_all(session: Any, text: str, refused: set[str]) -> dict[str, str]:
    """A widget for each case, with the text in it. Returns the keys of those that show it, and adds the names of the
    properties that refuse it."""
    shown = {}
    for number, (kind, name, value) in enumerate(cases(text)):
        key = f"{text}-{number}"
        try:
            widget = plain(kind, **{"key": key, name: key if name == "key" else value})
        except UnsupportedValue:
            refused.add(name)
            continue
        session.add_widget(widget)
        if (kind, name) not in PARSED and name not in UNSEEN:
            shown[key] = text
    return shown


REFUSED = {"source", "anchor", "language", "value", "x"}
"""Properties that do not take any text: it is in no page, then."""


@pytest.mark.parametrize("texts", [CORPUS[at::6] for at in range(6)], ids=range(6))
def test_on_the_first_page(browser: Browser, texts: tuple[str, ...]) -> None:
    """Whatever text a property of a widget, a key, the title or a value of the session holds: it is shown as it is, and
    nothing of it runs."""
    app = App(title="".join(texts), name="hostile")
    app.text(texts[0], key=f"{texts[0]}-global")
    shown: dict[str, str] = {}
    refused: set[str] = set()

    @app.on_session
    def start(session: Any) -> None:
        for text in texts:
            shown.update(show_all(session, text, refused))
            session.set(text, {text: [text]})
            session.json(session[text], key=f"{text}-kept")
            shown[f"{text}-kept"] = text

    with Visits(browser, app) as visits:
        guest = visits.guest()
        page = guest.open()
        check_inert(page, guest)
        check_said(page.evaluate(_SAID), shown)
        assert len(shown) > 50 * len(texts)
        assert refused <= REFUSED
        assert page.evaluate("document.title") == re.sub(r"[\x00- ]+", " ", "".join(texts)).strip(" ")


def test_in_changes(browser: Browser) -> None:
    """The same, where a property is assigned later."""
    app = App(title="Hostile changes")
    shown: dict[str, str] = {}
    refused: set[str] = set()

    @app.on_session
    def start(session: Any) -> None:
        for number, (kind, name, _) in enumerate(cases("")):
            if name not in ("key", "labels"):
                session.add_widget(plain(kind, key=f"{name}-{number}"))
        session.add_widget(w.Button("Change", key="change")).on_click(change)
        session.text("-1", key="done")

    def change(session: Any) -> None:
        text = CORPUS[int(session.widget("done").text) + 1]
        shown.clear()
        for number, (kind, name, value) in enumerate(cases(text)):
            key = f"{name}-{number}"
            if name in ("key", "labels"):
                continue
            try:
                setattr(session.widget(key), name, value)
            except UnsupportedValue:
                refused.add(name)
            else:
                if (kind, name) not in PARSED and name not in UNSEEN:
                    shown[key] = text
        session.widget("done").text = str(int(session.widget("done").text) + 1)

    app.callback(change)
    with Visits(browser, app) as visits:
        guest = visits.guest()
        page = guest.open()
        for number in range(len(CORPUS)):
            page.locator("[data-id='s:change']").click()
            expect(page.locator("[data-id='s:done']")).to_have_text(str(number))
            check_inert(page, guest)
            assert len(shown) > 40
            check_said(page.evaluate(_SAID), shown)
        assert refused <= REFUSED


def test_in_the_address(browser: Browser) -> None:
    """The same in the page's address, of which there is one: what can stand in it as it is does, and as the name and
    the value of a parameter any text does, letter by letter."""
    app = App(title="Hostile addresses")
    address = app.address(key="address")
    app.text("-1", key="done")

    @app.button("Change", key="change").on_click
    def change(session: Any) -> None:
        number = int(session.widget("done").text) + 1
        with suppress(UnsupportedValue):
            address.query = CORPUS[number]
        address.params.from_dict({CORPUS[number]: CORPUS[number]})
        session.widget("done").text = str(number)

    with Visits(browser, app) as visits:
        guest = visits.guest()
        page = guest.open()
        for number, text in enumerate(CORPUS):
            page.locator("[data-id='g:change']").click()
            expect(page.locator("[data-id='g:done']")).to_have_text(str(number))
            assert page.evaluate("[...new URLSearchParams(location.search)]") == [[text, text]]
            check_inert(page, guest)
        page.reload()
        live(page)
        assert page.evaluate("[...new URLSearchParams(location.search)]") == [[CORPUS[-1], CORPUS[-1]]]
        check_inert(page, guest)


def test_what_visitors_type(browser: Browser) -> None:
    """What one visitor types, all are shown as the text that it is."""
    app = App(title="Hostile visitors")
    typed = app.text_area("Say", key="say")
    board, markdown = app.text("", key="board"), app.markdown("", key="markdown")

    @typed.on_change
    def changed(session: Any, value: str) -> None:
        board.text = markdown.text = value

    with Visits(browser, app) as visits:
        writer, reader = visits.guest(), visits.guest()
        one, other = writer.open(), reader.open()
        for text in CORPUS:
            one.get_by_label("Say").fill(text)
            one.get_by_label("Say").blur()
            expect(other.locator("[data-id='g:board']")).to_have_text(text, use_inner_text=False)
            for page, guest in ((one, writer), (other, reader)):
                check_inert(page, guest)


@pytest.mark.parametrize("texts", [CORPUS[at::2] for at in range(2)], ids=range(2))
def test_what_is_clicked(browser: Browser, texts: tuple[str, ...]) -> None:
    """Text in keys, headers, rows, nodes, items and questions is shown as it is, nothing of it runs, and what a
    callback is given for a click is that very text."""
    app = App(title="Hostile choices")
    given: list[str] = []

    @app.on_session
    def start(session: Any) -> None:
        session.nav([("x", "Plain")], key="nav").on_select(lambda session, key: given.append(key))
        table = session.table([], key="table")
        table.on_select(lambda session, key: given.append(key))
        table.on_sort(lambda session, name: given.append(name))
        session.table([], key="none")
        session.tree([], key="tree").on_select(lambda session, id_: given.append(id_))
        session.button("Plain", key="asks").on_click(lambda session: given.append("asked"))
        session.button("Next", key="next").on_click(following)
        session.text("-1", key="done")

    def following(session: Any) -> None:
        number = int(session.widget("done").text) + 1
        text = texts[number]
        session.widget("nav").items = [("x", "Plain"), (text, text)]
        session.widget("nav").current = text
        table = session.widget("table")
        table.data, table.keys = [{text: text, "n": 1}], [text]
        table.sortable, table.sorted_by = [text], f"-{text}"
        session.widget("none").empty = text
        node = {"id": text, "label": text, "note": text, "value": text}
        session.widget("tree").nodes = [{"id": "x", "label": text, "children": [node]}, {"id": "y", "hidden": True}]
        session.widget("asks").confirm = session.widget("asks").label = text
        session.widget("done").text = str(number)

    app.callback(following)
    app.callback(start)
    with Visits(browser, app) as visits:
        guest = visits.guest()
        page = guest.open()
        for number, text in enumerate(texts):
            page.locator("[data-id='s:next']").click()
            expect(page.locator("[data-id='s:done']")).to_have_text(str(number))
            check_inert(page, guest)
            check_said(page.evaluate(_SAID), dict.fromkeys(("nav", "table", "none", "tree", "asks"), text))
            page.locator("[data-id='s:nav'] button").nth(1).click()
            page.locator("[data-id='s:table'] th button").first.click()
            page.locator("[data-id='s:table'] td").nth(1).click()
            page.locator("[data-id='s:tree'] .note").nth(1).click()
            page.locator("[data-id='s:asks']").click()
            question = page.get_by_role("alertdialog")
            expect(question.locator("p")).to_have_text(text, use_inner_text=False)
            check_inert(page, guest)
            question.get_by_role("button").nth(1).click()
            expect(page.locator("[data-id='s:asks'][aria-busy]")).to_have_count(0)
            page.locator("[data-id='s:done']").click()
            _until(lambda: len(given) == 5)
            assert given == [text, text, text, text, "asked"]
            given.clear()


def _until(check: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 20
    while not check() and time.monotonic() < give_up:
        time.sleep(0.01)


# --- To see and to use -----------------------------------------------------------------------------------------------


def test_a_page_of_all_kinds_can_be_used_by_everybody(browser: Browser, tmp_path: Path) -> None:
    """Every input has a label, every button a name, headings are in order, ids are there once; text stands out from
    what is behind it, light and dark; the keyboard gets everywhere, and it is seen where it is; at 360 pixels nothing
    is wider than the page, and everything is large enough to touch."""
    app = App(title="All kinds")
    app.title("All kinds", anchor="top")
    app.header("Words", divider=True)
    app.text("Plain words, with a\nline break.")
    app.markdown("Some *words* with a [link](https://example.org), `code` and\n\n- a list\n\n|a|b|\n|-|-:|\n|1|2|")
    for value in ("**words**", 17, {"a": [1, 2, {"b": None}]}, [{"a": 1}, {"a": 2}], ValueError("no")):
        app.write(value)
    app.code("print('hello')", language="python")
    app.json({"nested": {"data": [1, True, "text"]}})
    app.divider()
    app.image(DOT, alt="A dot", caption="A dot", width=40)
    app.header("Inputs")
    for more in ({}, {"disabled": True}, {"read_only": True}):
        box = app.container(border=True)
        box.text_input("A line", "words", placeholder="A word", help="What is it?", **more)
        box.text_area("Lines", placeholder="Many words", **more)
        box.text_input("A secret", password=True, **more)
        box.number_input("A number", 3, min=1, max=9, help="From one to nine", **more)
        box.slider("How much?", 40, help="Of all", **more)
        box.checkbox("Agreed", True, help="To what?", **more)
        box.selectbox("One of them", ["first", "second"], **more)
        box.selectbox("None yet", ["first", "second"], None, **more)
        box.multiselect("Some of them", ["first", "second", "third"], ["first"], help="Or none", **more)
    app.button("Plain")
    app.button("Primary", primary=True)
    app.button("Disabled", disabled=True)
    row = app.container(row=True)
    row.text_input("To look for")
    row.button("Away", danger=True)
    row.button("Away with all", danger=True, primary=True, confirm="All of them?")
    row.button("Not now", danger=True, disabled=True)
    app.nav([("one", "One page"), ("two", "Another page"), ("three", "A third page")], "two")
    app.form("Send").text_input("In a form")
    app.header("Layout")
    side = app.sidebar()
    side.text("Beside")
    side.button("Aside")
    for column in app.columns([1, 2, 1]):
        column.text("A column")
    app.expander("More", expanded=True).text("Inside")
    app.expander("Less").text("Inside")
    app.tabs(["One", "Two", "Three"])[0].text("In a tab")
    app.header("Data")
    table = {"name": ["a long name of something", "b"], "value": [1.5, -2], "x" * 30: [1, 2]}
    app.table(table)
    app.dataframe({"n": list(range(60)), **{f"column {at}": ["text"] * 60 for at in range(12)}}, height=200)
    rows = [{"User": f"user-{at}", "A label": "Firefox on Linux", "Size": at, "Seen": "just now"} for at in range(4)]
    app.table(rows, keys=["a", "b", "c", "d"], sortable=["User", "Size"], sorted_by="-Size")
    app.dataframe({"": ["", None], "b": [1, 2]}, keys=["a", "b"])
    app.table({"User": [], "Size": []}, keys=[], empty="There is nobody here.")
    app.table([], empty="There is nothing.")
    nodes: list[Any] = [{"id": f"{at}", "label": f"a name {at}", "note": "text", "value": "a value"} for at in range(3)]
    deep = {"id": "in", "label": "within", "value": "words " * 200}
    nodes += [{"id": "list", "label": "cart", "note": "list, 9 items", "children": [deep], "more": 8}]
    nodes += [{"id": "secret", "label": "token", "hidden": True}, {"id": "void"}]
    app.tree(nodes, "in", label="Fields")
    for delta, better in ((1, "up"), (-1, "up"), (1, "down"), (-1, "neutral"), ("", "up")):
        app.metric("A figure", 12, delta, better=better)
    app.line_chart({"a": [1, 2, None, 4], "b": [-1, 0, 2, 2]}, title="Lines")
    app.bar_chart({"a": [1, -2, 3]}, title="Bars")
    app.bar_chart({"a": [1, -2, 3], "b": [2, -1, None]}, title="Stacked bars", stacked=True)
    app.progress(0.4, "Getting there")
    app.progress(1)
    app.progress(None)
    for level in ("info", "success", "warning", "error"):
        app.alert(f"This is {level}.", level)
    app.address()
    kinds = {widget.kind for root in app.widgets for widget in root.walk()}
    assert kinds | {"subheader"} == set(w.KINDS)
    with Visits(browser, app) as visits:
        page = visits.guest().open()
        expect(page.locator("svg[role=img]")).to_have_count(3)
        look(page, tmp_path, "all-kinds")


DOT = (
    "data:image/png;base64,"
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
