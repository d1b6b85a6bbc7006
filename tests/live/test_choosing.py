"""Tables whose rows are chosen and whose headers sort, trees, navs, and questions before a click: what a program
declares, what a browser may send, and how they are used by mouse and keyboard in Chromium."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from browsing import Visits, chromium, faults
from hypothesis import given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, Locator, Page, expect
from test_browser_module import Frame, Server, at, eventually, shown, update, widget
from visiting import served

from sojourn import UnsupportedValue
from sojourn.live import App
from sojourn.live import widgets as w
from sojourn.live.widget import Refused, Widget

# --- What is declared, and what a browser may send -------------------------------------------------------------------


def refused(of: Widget, event: Any, value: Any) -> str:
    with pytest.raises(Refused) as caught:
        of.take(event, value)
    return caught.value.code


def test_a_row_is_chosen_by_its_key() -> None:
    """A key that the table has is taken; one that it has no more, or never had, is a wrong value, and so is whatever is
    no text. Without keys no row can be chosen."""
    table = w.Table([{"a": 1}, {"a": 2}], keys=["x", "y"])
    assert table.take("select", "y") == "y"
    for bad in ("z", "", 0, 1, None, ["x"], {"x": 1}, True):
        assert refused(table, "select", bad) == "wrong_value"
    table.data, table.keys = [{"a": 2}], ["y"]
    assert refused(table, "select", "x") == "wrong_value"
    assert table.take("select", "y") == "y"
    assert refused(w.Table([1]), "select", "x") == "wrong_value"


def test_keys_go_with_rows() -> None:
    """There are as many keys as rows when a table is made, each once. Later both are assigned, one after the other: a
    row that has no key cannot be chosen, and no key without a row."""
    for keys in (["x"], ["x", "y", "z"], ["x", "x"], [1, 2], "xy", 5):
        with pytest.raises(UnsupportedValue, match=r"^Table\.keys: "):
            w.Table([1, 2], keys=keys)  # type: ignore[arg-type]
    many = w.Dataframe(list(range(1200)), keys=[f"{n}" for n in range(1200)][:1000])
    assert many.take("select", "999") == "999"
    table = w.Table([1, 2], keys=["x", "y"])
    table.data = [1]
    assert refused(table, "select", "y") == "wrong_value"
    table.data = [1, 2, 3]
    assert table.take("select", "y") == "y"


def test_a_header_asks_for_an_order() -> None:
    """A click on a header asks for its column, and where the rows are in that order already, for the opposite; columns
    that cannot be sorted by are a wrong value."""
    table = w.Table({"a": [1], "b": [2]}, sortable=["a"])
    assert table.take("sort", "a") == "a"
    table.sorted_by = "a"
    assert table.take("sort", "a") == "-a"
    table.sorted_by = "-a"
    assert table.take("sort", "a") == "a"
    for bad in ("b", "-a", "", None, 0, ["a"]):
        assert refused(table, "sort", bad) == "wrong_value"


def test_what_is_chosen_in_a_nav_and_a_tree() -> None:
    """An item's key, and the id of a node at any depth; all else is a wrong value."""
    nav = w.Nav([("a", "A"), ("b", "B")])
    tree = w.Tree([{"id": "a", "children": [{"id": "b", "children": [{"id": "c"}]}]}])
    assert [nav.take("select", key) for key in "ab"] == ["a", "b"]
    assert [tree.take("select", id_) for id_ in "abc"] == ["a", "b", "c"]
    for one in (nav, tree):
        for bad in ("d", "A", "", None, 0, ["a"], {}):
            assert refused(one, "select", bad) == "wrong_value"
        assert refused(one, "click", None) == "not_allowed"


@pytest.mark.parametrize(
    "make",
    [
        lambda: w.Nav("ab"),  # type: ignore[arg-type]
        lambda: w.Nav([("a",)]),  # type: ignore[list-item]
        lambda: w.Nav(["ab"]),  # type: ignore[list-item]
        lambda: w.Nav([("a", 1)]),  # type: ignore[list-item]
        lambda: w.Nav([("a", "A"), ("a", "B")]),
        lambda: w.Nav([(f"{n}", "x") for n in range(101)]),
        lambda: w.Tree("a"),
        lambda: w.Tree({"id": "a"}),
        lambda: w.Tree(["a"]),
        lambda: w.Tree([{}]),
        lambda: w.Tree([{"id": ""}]),
        lambda: w.Tree([{"id": "a" * 10_001}]),
        lambda: w.Tree([{"id": "a"}, {"id": "b", "children": [{"id": "a"}]}]),
        lambda: w.Tree([{"id": "a", "colour": "red"}]),
        lambda: w.Tree([{"id": "a", "value": 5}]),
        lambda: w.Tree([{"id": "a", "hidden": 1}]),
        lambda: w.Tree([{"id": "a", "more": -1}]),
        lambda: w.Tree([{"id": "a", "children": "b"}]),
    ],
)
def test_what_they_cannot_be_is_refused(make: Any) -> None:
    """Items that are no pairs of texts, keys and ids that are there twice, and nodes that are none."""
    with pytest.raises(UnsupportedValue, match=r"^(Nav\.items|Tree\.nodes): ."):
        make()


def test_a_hidden_value_is_not_kept() -> None:
    """The value of a node that is hidden is neither kept nor told to the browser."""
    tree = w.Tree([{"id": "a", "value": "hunter2", "hidden": True, "children": [{"id": "b", "value": "shown"}]}])
    for seen in (dict(tree._props), tree.shown_props(), tree.nodes):
        assert "hunter2" not in json.dumps(seen)
        assert "shown" in json.dumps(seen)


def counted(nodes: list[dict[str, Any]], more: int = 0) -> tuple[int, int, int]:
    """How many nodes are kept, how many are said to be left out, and how deep it is."""
    kept, left, deep = len(nodes), more, 1 if nodes else 0
    for node in nodes:
        inside = counted(node["children"], node["more"])
        kept, left, deep = kept + inside[0], left + inside[1], max(deep, inside[2] + 1)
    return kept, left, deep


def test_large_trees_are_cut() -> None:
    """Of a tree with many nodes 2,000 are kept, those of the upper levels first; of a deep one 32 levels. How many are
    left out of what is kept is said where they are."""
    wide = [{"id": f"{n}", "children": [{"id": f"{n}/{m}"} for m in range(100)]} for n in range(100)]
    tree = w.Tree(wide)
    assert counted(tree.nodes["nodes"])[:2] == (2000, 8100)
    assert len(tree.nodes["nodes"]) == 100
    assert tree.nodes["nodes"][99]["more"] == 100
    flat = w.Tree([{"id": f"{n}"} for n in range(2500)])
    assert (len(flat.nodes["nodes"]), flat.nodes["more"]) == (2000, 500)
    deep: list[dict[str, Any]] = []
    for n in range(500):
        deep = [{"id": f"{n}", "children": deep}]
    assert counted(w.Tree(deep).nodes["nodes"]) == (32, 1, 32)
    flat.nodes = flat.nodes
    assert (len(flat.nodes["nodes"]), flat.nodes["more"]) == (2000, 500)


@given(st.recursive(st.just([]), lambda inside: st.lists(inside, max_size=4), max_leaves=60))
@settings(max_examples=60, deadline=None)
def test_what_is_kept_of_a_tree_stays_as_it_is(shape: list[Any]) -> None:
    """What was once brought into its form is kept as it is, and nothing of a small tree is lost."""
    count = 0

    def node(inside: list[Any]) -> dict[str, Any]:
        nonlocal count
        count += 1
        return {"id": f"{count}", "label": "x", "children": [node(one) for one in inside]}

    tree = w.Tree([node(one) for one in shape])
    assert counted(tree.nodes["nodes"])[:2] == (count, 0)
    assert w.Tree(tree.nodes).nodes == tree.nodes


def test_over_the_socket() -> None:
    """A stale key is answered with "wrong_value" and calls nothing; what is current in the app's nav is each session's
    own; a callback of a session's table is found again."""
    app = App(title="Choosing")
    nav = app.nav([("a", "A"), ("b", "B")], "a", key="nav")

    @nav.on_select
    def go(session: Any, key: str) -> None:
        nav.current = key

    @app.on_session
    def start(session: Any) -> None:
        table = session.table({"n": [2, 1]}, keys=["two", "one"], sortable=["n"], key="table")
        table.on_select(lambda session, key: setattr(session.widget("label"), "text", f"chosen: {key}"))

        @table.on_sort
        def sort(session: Any, name: str) -> None:
            it = session.widget("table")
            it.sorted_by, it.data, it.keys = name, {"n": [1, 2]}, ["one", "2"]

        session.text("", key="label")

    with served(app) as site:
        mine, other = site.visitor().open(), site.visitor().open()
        mine.do("g:nav", "select", "b")
        assert (mine.shows("g:nav")["current"], other.shows("g:nav")["current"]) == ("b", "a")
        assert mine.refused("g:nav", "select", "c") == "wrong_value"
        mine.do("s:table", "select", "two")
        assert mine.shows("s:label")["text"] == "chosen: two"
        mine.do("s:table", "sort", "n")
        assert mine.shows("s:table")["sorted_by"] == "n"
        assert mine.refused("s:table", "select", "two") == "wrong_value"
        assert mine.refused("s:table", "change", "one") == "not_allowed"
        assert mine.refused("s:table", "sort", "m") == "wrong_value"
        assert mine.shows("s:label")["text"] == "chosen: two"


# --- In a browser ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


def table_of(*rows: list[Any], **props: Any) -> Frame:
    columns = [{"name": name, "align": "left"} for name in ("User", "Seen")]
    data = {"columns": columns, "rows": list(rows), "more": 0}
    return {"data": data, "keys": [f"key of {row[0]}" for row in rows], "sortable": [], "sorted_by": "", **props}


def said(server: Server) -> list[tuple[str, Any]]:
    return [(event, value) for _, _, event, value in server.events]


def focused(page: Page) -> str:
    found: str = page.evaluate("document.activeElement.ariaLabel || document.activeElement.textContent")
    return found


@pytest.mark.battery
def test_rows_by_mouse_and_keyboard(browser: Browser) -> None:
    """A click anywhere in a row chooses it, and so does Enter on the one where the arrow keys have led; Tab gets to one
    of them, and leaves the table with the next."""
    rows = [[f"user {at}", f"{at} s ago"] for at in range(30)]
    before, after = widget("button", "before", label="Before"), widget("button", "after", label="After")
    with shown(browser, before, widget("table", "t", **table_of(*rows)), after) as (server, page):
        page.get_by_text("7 s ago", exact=True).click()
        eventually(lambda: said(server) == [("select", "key of user 7")])
        page.get_by_role("button", name="Before").focus()
        page.keyboard.press("Tab")  # the box that scrolls
        page.keyboard.press("Tab")
        assert focused(page) == "user 7"
        for key in ("ArrowDown", "ArrowDown", "ArrowUp"):
            page.keyboard.press(key)
        assert focused(page) == "user 8"
        page.keyboard.press("Enter")
        eventually(lambda: said(server)[1:] == [("select", "key of user 8")])
        page.keyboard.press("End")
        page.keyboard.press("ArrowDown")
        assert focused(page) == "user 29"
        page.keyboard.press("Home")
        page.keyboard.press("Space")
        eventually(lambda: said(server)[2:] == [("select", "key of user 0")])
        page.keyboard.press("Tab")
        assert focused(page) == "After"


@pytest.mark.battery
def test_who_copies_chooses_nothing(browser: Browser) -> None:
    """A click that ends a selection of text is no choice; one while something else is selected is."""
    words = widget("text", "x", text="words above")
    table = table_of(["ada", "some text to copy"])
    tree = tree_of([{"id": "a", "label": "name", "value": "a value to copy"}])
    with shown(browser, words, widget("table", "t", **table), widget("tree", "n", **tree)) as (server, page):
        for text in ("some text to copy", "a value to copy"):
            box = page.get_by_text(text).bounding_box()
            assert box is not None
            page.mouse.move(box["x"] + 18, box["y"] + box["height"] / 2)
            page.mouse.down()
            page.mouse.move(box["x"] + 60, box["y"] + box["height"] / 2, steps=5)
            page.mouse.up()
            assert page.evaluate("getSelection().toString()").strip()
        page.evaluate("getSelection().selectAllChildren(document.querySelector('.text'))")
        page.get_by_role("button", name="ada").focus()
        page.keyboard.press("Enter")
        eventually(lambda: said(server) == [("select", "key of ada")])


@pytest.mark.battery
def test_other_rows_leave_the_focus_where_it_is(browser: Browser) -> None:
    """When rows come, go and change their order, those that stay are the same elements: the focus is on the same row,
    and the box is scrolled as it was. When that row goes, Tab leads to another."""
    rows = [[f"user {at}", f"{at} s ago"] for at in range(40)]
    with shown(browser, widget("dataframe", "t", **table_of(*rows), height=300)) as (server, page):
        page.get_by_role("button", name="user 20").focus()
        box = at(page, "t")
        where = box.evaluate("(box) => box.scrollTop")
        row = page.locator("tr", has_text="user 20")
        row.evaluate("(row) => { row.mine = true; }")
        others = [["user new", "now"], *rows[:18], ["user 20", "0 s ago"], *rows[25:]]
        server.change("s", 1, update(t=table_of(*others)))
        expect(page.get_by_text("now", exact=True)).to_have_count(1)
        assert focused(page) == "user 20"
        assert row.evaluate("(row) => row.mine")
        expect(row).to_contain_text("0 s ago")
        assert abs(box.evaluate("(box) => box.scrollTop") - where) < 200
        server.change("s", 2, update(t=table_of(["user 1", "x"], ["user 2", "y"])))
        expect(page.locator("tbody tr")).to_have_count(2)
        assert page.locator("tbody button[tabindex='0']").count() == 1
        server.change("s", 3, update(t=table_of(empty="Nobody is here.")))
        expect(page.get_by_text("Nobody is here.")).to_be_visible()
        server.change("s", 4, update(t=table_of(["user 3", "z"])))
        expect(page.get_by_text("Nobody is here.")).to_be_hidden()
        assert page.locator("tbody button[tabindex='0']").count() == 1
        server.change("s", 5, update(t={**table_of(["user 3", "z"]), "keys": None}))
        expect(page.locator("tbody button")).to_have_count(0)


@pytest.mark.battery
def test_headers_sort(browser: Browser) -> None:
    """The header of a column that can be sorted by is a button, which says its column; what is sorted says so to who
    hears it, and the focus stays when the order comes."""
    table = table_of(["b", 1], ["a", 2], sortable=["User"], sorted_by="")
    with shown(browser, widget("table", "t", **table)) as (server, page):
        header = page.get_by_role("columnheader", name="User")
        assert header.get_attribute("aria-sort") is None
        header.get_by_role("button").focus()
        page.keyboard.press("Enter")
        eventually(lambda: said(server) == [("sort", "User")])
        server.change("s", 1, update(t=table_of(["a", 2], ["b", 1], sortable=["User"], sorted_by="User")))
        expect(header).to_have_attribute("aria-sort", "ascending")
        assert page.evaluate("document.activeElement.className") == "sort"
        server.change("s", 2, update(t={"sorted_by": "-User"}))
        expect(header).to_have_attribute("aria-sort", "descending")
        assert page.get_by_role("columnheader", name="Seen").get_by_role("button").count() == 0


NODES = [
    {"id": "user", "label": "user", "note": "text", "value": "Ada", "children": []},
    {
        "id": "cart",
        "label": "cart",
        "note": "list",
        "children": [
            {"id": "cart/0", "label": "0", "children": [{"id": "cart/0/sku", "label": "sku", "value": "A-1"}]},
            {"id": "cart/1", "label": "1", "children": [{"id": "cart/1/sku", "label": "sku", "value": "A-2"}]},
        ],
        "more": 7,
    },
    {"id": "token", "label": "token", "hidden": True, "value": None},
]


def tree_of(nodes: list[Any], more: int = 0, **props: Any) -> Frame:
    return {"nodes": {"nodes": nodes, "more": more}, "selected": "", "label": "Fields", **props}


def item(page: Page, name: str) -> Locator:
    return page.get_by_role("treeitem", name=name, exact=True)


@pytest.mark.battery
def test_a_tree_by_keyboard(browser: Browser) -> None:
    """Arrows go up and down, open and close, and lead in and out; letters go to a name; Enter chooses. Tab gets to one
    node, and the tree says levels, positions, and what is open and chosen."""
    with shown(browser, widget("tree", "t", **tree_of(NODES))) as (server, page):
        tree = page.get_by_role("tree", name="Fields")
        expect(tree.get_by_role("treeitem")).to_have_count(5)  # the first two levels
        expect(page.get_by_text("… and 7 more")).to_be_visible()
        assert faults(page) == []
        page.keyboard.press("Tab")
        assert focused(page) == "user, Ada, text"
        keys = {
            "ArrowDown": "cart, list",
            "ArrowRight": "0",
            "End": "token, hidden",
            "ArrowUp": "1",
            "Home": "user, Ada, text",
        }
        for key, name in keys.items():
            page.keyboard.press(key)
            assert focused(page) == name
        page.keyboard.press("c")
        page.keyboard.press("ArrowDown")
        assert item(page, "0").get_attribute("aria-expanded") == "false"
        page.keyboard.press("ArrowRight")
        assert item(page, "0").get_attribute("aria-expanded") == "true"
        page.keyboard.press("ArrowRight")
        assert focused(page) == "sku, A-1"
        leaf = item(page, "sku, A-1")
        assert [leaf.get_attribute(f"aria-{name}") for name in ("level", "posinset", "setsize", "expanded")] == [
            "3",
            "1",
            "1",
            None,
        ]
        page.keyboard.press("Enter")
        eventually(lambda: said(server) == [("select", "cart/0/sku")])
        page.keyboard.press("ArrowLeft")
        assert focused(page) == "0"
        page.keyboard.press("ArrowLeft")
        assert item(page, "0").get_attribute("aria-expanded") == "false"
        expect(leaf).to_have_count(0)
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        expect(tree.get_by_role("treeitem")).to_have_count(3)
        assert focused(page) == "cart, list"


@pytest.mark.battery
def test_a_tree_stays_as_it_was_left(browser: Browser) -> None:
    """When its nodes change, what is open stays open, and the focus stays; a node that is selected is seen, however
    deep it is; a click on what is beside a name chooses it, one on its arrow does not."""
    with shown(browser, widget("tree", "t", **tree_of(NODES))) as (server, page):
        item(page, "0").locator(".twist").first.click()
        expect(item(page, "sku, A-1")).to_be_visible()
        assert server.events == []
        page.keyboard.press("ArrowDown")
        changed = json.loads(json.dumps(NODES).replace("A-1", "B-1"))
        server.change("s", 1, update(t={"nodes": {"nodes": [{"id": "new", "label": "new"}, *changed], "more": 3}}))
        expect(item(page, "sku, B-1")).to_be_visible()
        assert focused(page) == "sku, B-1"
        expect(page.get_by_text("… and 3 more")).to_be_visible()
        server.change("s", 2, update(t={"selected": "cart/1/sku"}))
        expect(item(page, "sku, A-2")).to_have_attribute("aria-selected", "true")
        item(page, "user, Ada, text").locator(".value").click()
        eventually(lambda: said(server) == [("select", "user")])
        server.change("s", 3, update(t=tree_of([])))
        expect(page.get_by_role("treeitem")).to_have_count(0)
        server.change("s", 4, update(t=tree_of(NODES)))
        expect(item(page, "user, Ada, text")).to_be_visible()
        page.keyboard.press("Tab")
        assert focused(page) == "user, Ada, text"


@pytest.mark.battery
def test_a_large_tree_is_quick(browser: Browser) -> None:
    """Of 2,000 nodes only those that are open are made, and to show them takes less than a second of the browser's."""
    nodes = [
        {"id": f"{n}", "label": f"field {n}", "children": [{"id": f"{n}/0", "children": deep(f"{n}/0", 40)}]}
        for n in range(48)
    ]
    with shown(browser, widget("text", "x", text="x")) as (server, page):
        page.evaluate("import('/_live/more.js')")
        add = {"op": "add", "into": "", "after": "", "widget": widget("tree", "t", **tree_of(nodes))}
        browsers = page.context.new_cdp_session(page)
        browsers.send("Performance.enable", {"timeDomain": "threadTicks"})  # what it works: it may be held up for long

        def worked() -> float:
            metrics = browsers.send("Performance.getMetrics")["metrics"]
            return float(next(one["value"] for one in metrics if one["name"] == "TaskDuration"))

        before = worked()
        server.change("s", 1, add)
        expect(page.get_by_role("treeitem")).to_have_count(96)
        assert 0 < worked() - before < 1


def deep(id_: str, count: int) -> list[dict[str, Any]]:
    return [{"id": f"{id_}/{n}", "label": f"{n}", "value": "x"} for n in range(count)]


@pytest.mark.battery
def test_a_nav(browser: Browser) -> None:
    """Its items are buttons in a landmark with a name; the current one says so; the focus stays when labels change."""
    items = [["a", "Overview"], ["b", "Sessions"]]
    with shown(browser, widget("nav", "n", items=items, current="a", label="Parts")) as (server, page):
        nav = page.get_by_role("navigation", name="Parts")
        expect(nav.locator("[aria-current=page]")).to_have_text("Overview")
        nav.get_by_role("button", name="Sessions").click()
        eventually(lambda: said(server) == [("select", "b")])
        server.change("s", 1, update(n={"items": [["a", "Overview"], ["b", "Sessions (3)"]], "current": "b"}))
        expect(nav.locator("[aria-current=page]")).to_have_text("Sessions (3)")
        assert focused(page) == "Sessions (3)"
        server.change("s", 2, update(n={"items": [["b", "Only"]]}))
        expect(nav.get_by_role("button")).to_have_count(1)


@pytest.mark.battery
def test_a_question_before_a_click(browser: Browser) -> None:
    """The click is sent when the question was answered with yes, and at no other answer: not for Cancel, Escape, or a
    click beside it. The focus begins on Cancel and returns to the button."""
    button = widget("button", "end", label="End it", danger=True, confirm="End this session?")
    with shown(browser, button) as (server, page):
        question = page.get_by_role("alertdialog", name="End this session?")
        for way in ("cancel", "escape", "beside"):
            page.get_by_role("button", name="End it").click()
            expect(question).to_be_visible()
            assert focused(page) == "Cancel"
            assert faults(page) == []
            if way == "cancel":
                page.keyboard.press("Enter")
            elif way == "escape":
                page.keyboard.press("Escape")
            else:
                page.mouse.click(5, 5)
            expect(page.locator("dialog")).to_have_count(0)
            assert focused(page) == "End it"
        page.get_by_role("button", name="End it").click()
        question.get_by_role("button", name="End it").click()
        eventually(lambda: said(server) == [("click", None)])
        expect(page.locator("dialog")).to_have_count(0)
        page.wait_for_timeout(50)
        assert said(server) == [("click", None)]


@pytest.mark.battery
@pytest.mark.parametrize("change", ["confirm", "label", "disabled", "gone"])
def test_a_question_that_is_no_more(browser: Browser, change: str) -> None:
    """What was asked about may change while somebody thinks: then yes does nothing, and says so."""
    button = widget("button", "end", label="End it", confirm="End the session of Ada?")
    changes = {
        "confirm": update(end={"confirm": "End the session of Eve?"}),
        "label": update(end={"label": "End them"}),
        "disabled": update(end={"disabled": True}),
        "gone": {"op": "remove", "ids": ["s:end"]},
    }
    with shown(browser, button, widget("text", "x", text="before")) as (server, page):
        page.get_by_role("button", name="End it").click()
        expect(page.locator("dialog")).to_be_visible()  # what asks may be still on its way
        server.change("s", 1, changes[change], update(x={"text": "after"}))
        expect(page.get_by_text("after", exact=True)).to_be_attached()
        page.locator("dialog .primary").click()
        expect(page.get_by_text("nothing was done")).to_be_visible()
        assert server.events == []


@pytest.mark.battery
def test_without_the_module(browser: Browser) -> None:
    """Where the module cannot be loaded the rest of the page works, the parts say so, and a click with a question is
    not sent; they are tried again with the next change."""
    table = widget("table", "t", **table_of(["ada", "now"]))
    button = widget("button", "end", label="End it", confirm="Really?")
    with shown(browser, widget("button", "go", label="Go"), quiet=False) as (server, page):
        page.route("**/more.js", lambda route: route.abort())
        add = [{"op": "add", "into": "", "after": "", "widget": one} for one in (table, button)]
        server.change("s", 1, *add)
        expect(page.get_by_text("This could not be loaded.")).to_be_visible()
        page.get_by_role("button", name="End it").click()
        expect(page.get_by_text("the question could not be loaded")).to_be_visible()
        page.get_by_role("button", name="Go").click()
        eventually(lambda: said(server) == [("click", None)])
        page.unroute("**/more.js")
        server.change("s", 2, update(t=table_of(["eve", "now"])))
        expect(page.get_by_role("button", name="eve")).to_be_visible()


@pytest.mark.battery
@pytest.mark.parametrize(
    ("values", "heights"),
    [
        ([[1, 2], [3, None]], [1, 2, 3]),
        ([[1, -2], [3, -4]], [1, 2, 3, 4]),
        ([[1e300], [1e300]], [1, 1]),
        ([[0], [0]], [0, 0]),
    ],
    ids=["up", "both ways", "huge", "nothing"],
)
def test_bars_that_are_stacked(browser: Browser, values: list[list[float | None]], heights: list[float]) -> None:
    """One stands on the other, what is below 0 hangs, none covers another, and heights are in proportion."""
    data = {
        "labels": [f"{at}" for at in range(len(values[0]))],
        "series": [{"name": f"s{at}", "values": those} for at, those in enumerate(values)],
    }
    with shown(browser, widget("bar_chart", "c", title="Piles", data=data, stacked=True)) as (_, page):
        expect(page.get_by_role("img", name="Bar chart: Piles")).to_be_visible()
        boxes = page.evaluate("""[...document.querySelectorAll('svg rect')].map((one) =>
            ['x', 'y', 'height'].map((name) => Number(one.getAttribute(name))))""")
        assert len(boxes) == len(heights)
        for x, y, height in boxes:
            for other_x, other_y, other in boxes:
                if (x, y, height) != (other_x, other_y, other) and x == other_x:
                    assert y + height <= other_y + 0.01 or other_y + other <= y + 0.01
        one = max(boxes[0][2], 1e-9) / (heights[0] or 1)
        assert [box[2] / one for box in boxes] == pytest.approx(heights, abs=0.01)


@pytest.mark.battery
def test_progress_without_an_end(browser: Browser) -> None:
    """Nobody knows how far it is: the bar has no value, and says that it is at work. A wide app has a wider page."""
    app = App(title="Wide", wide=True)
    bar = app.progress(None, key="bar")
    with Visits(browser, app) as visits:
        page = visits.guest().open()
        page.set_viewport_size({"width": 1500, "height": 900})
        progress = page.get_by_role("progressbar", name="Working…")
        assert progress.get_attribute("value") is None
        bar.value = 0.5
        expect(page.get_by_role("progressbar", name="50 %")).to_have_attribute("value", "0.5")
        assert page.locator("#app").evaluate("(app) => app.offsetWidth") == 1280
