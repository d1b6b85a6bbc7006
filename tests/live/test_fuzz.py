"""Promise 5: a client that sends whatever it likes. Nothing is raised or logged, nothing changes that the visitor could
not have changed with the page, and nobody else is concerned."""

from __future__ import annotations

import json
import logging
import random
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from visiting import Site, Tab, Visitor, new_tab, served
from websockets.exceptions import ConnectionClosed

from sojourn.live import App, Limits, Session
from sojourn.live import widgets as w

ON_PAGE = settings(
    max_examples=settings.default.max_examples * 2 // 5,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def fuzzed() -> App:
    """An app with something of each kind that takes events, and of each reason not to take them."""
    app = App(title="Fuzz", limits=Limits(events_per_second=1e6, burst=1e6))
    app.add_widget(w.Title("Title", key="title"))

    def note(session: Session, value: Any = None) -> None:
        session.update("called", lambda n: (n or 0) + 1)

    for widget in (
        w.Button("Hidden", key="hidden", visible=False),
        w.Button("Disabled", key="disabled", disabled=True),
    ):
        app.add_widget(widget).on_click(note)
    for box in (
        w.TextInput("Disabled", "as it is", key="off", disabled=True),
        w.TextInput("Read only", "as it is", key="fixed", read_only=True),
        w.TextInput("Hidden", "as it is", key="unseen", visible=False),
    ):
        app.add_widget(box).on_change(note)
    inside = app.add_widget(w.Container(key="box", visible=False))
    inside.add_widget(w.Button("In what is hidden", key="within")).on_click(note)
    form = app.add_widget(w.Form(key="form"))
    form.add_widget(w.TextInput("In a form", key="formed"))
    form.on_submit(note)
    app.add_widget(w.Form(key="shut", disabled=True)).on_submit(note)

    app.add_widget(w.TextInput("Text", key="text", max_length=10))
    app.add_widget(w.NumberInput("Number", 1, min=0, max=10, key="number"))
    app.add_widget(w.Slider("Slider", 5, min=0, max=10, step=5, key="slider"))
    app.add_widget(w.Checkbox("Checkbox", key="check"))
    app.add_widget(w.Selectbox("Select", ["a", "b"], key="select"))
    app.add_widget(w.Multiselect("Several", ["a", "b"], key="several"))
    for chosen in (
        w.Table([1], keys=["k"], sortable=["value"], key="table"),
        w.Table([1], keys=["k"], key="no-table", visible=False),
        w.Nav([("k", "K")], key="nav"),
        w.Tree([{"id": "k", "hidden": True}], key="tree"),
    ):
        app.add_widget(chosen).on_select(note)
    app.add_widget(w.Address("a=1", key="address")).on_change(note)

    @app.on_session
    def start(session: Session) -> None:
        session.set("count", 0)
        session.add_widget(w.Text("0", key="label"))

        @session.add_widget(w.Button("Count", key="count")).on_click
        def counted(session: Session) -> None:
            session.update("count", lambda n: n + 1)
            session.widget("label").text = str(session["count"])

        session.add_widget(w.Button("Gone", key="gone"))
        session.hide("title")

    return app


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with served(fuzzed()) as site:
        yield site


@pytest.fixture(scope="module")
def victim(site: Site) -> Tab:
    """Somebody else, who has done something, and has a widget of the own."""
    tab = site.visitor().open()
    tab.click("s:count")
    tab.change("g:text", "mine")
    site.app.add_widget_to_session(tab.visitor.session_id, w.Button("Secret", key="secret"))
    tab.until(lambda page: page.find("s:secret"))
    return tab


@pytest.fixture(autouse=True)
def _unimpressed(site: Site, victim: Tab, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Whatever a test sends: nothing is logged, and the victim's page and values are as they were."""
    before = victim.visitor.load().children, values(site, victim.visitor)
    shared = site.app.widget("text").value, list(site.app.shared)
    yield
    theirs = [record for record in caplog.get_records("call") if not record.name.startswith("websockets")]
    logged = [record.getMessage() for record in theirs if record.levelno >= logging.WARNING]
    # asyncio's own word for a socket that the client has reset, a moment before the server is told
    assert [message for message in logged if message != "socket.send() raised exception."] == []
    assert (victim.visitor.load().children, values(site, victim.visitor)) == before
    assert (site.app.widget("text").value, list(site.app.shared)) == shared
    assert victim.quiet(0.02) == []
    assert victim.change("g:check", True)["t"] in ("changes", "ack")
    assert victim.change("g:check", False)["t"] == "changes"


def values(site: Site, visitor: Visitor) -> dict[str, Any]:
    """The values of a session."""
    got: dict[str, Any] = site.do(
        site.app.in_session(visitor.session_id, lambda session: {name: session[name] for name in session})
    )
    return got


def state(site: Site, tab: Tab) -> tuple[Any, ...]:
    return tab.visitor.load().children, values(site, tab.visitor)


FORGED = [
    ("s:secret", "click", None, {"unknown_widget"}),  # the victim's
    ("s:gone", "change", "x", {"not_allowed"}),
    ("s:missing", "click", None, {"unknown_widget"}),
    ("s:", "click", None, {"unknown_widget"}),
    ("", "click", None, {"unknown_widget"}),
    ("g:", "click", None, {"unknown_widget"}),
    (":", "click", None, {"unknown_widget"}),
    ("x:count", "click", None, {"unknown_widget"}),
    ("count", "click", None, {"unknown_widget"}),
    ("g:count", "click", None, {"unknown_widget"}),
    ("s:text", "change", "x", {"unknown_widget"}),
    ("g:hidden", "click", None, {"unknown_widget"}),
    ("g:unseen", "change", "x", {"unknown_widget"}),
    ("g:within", "click", None, {"unknown_widget"}),
    ("g:title", "click", None, {"unknown_widget"}),  # hidden for this session
    ("s:label", "click", None, {"not_allowed"}),
    ("s:label", "change", "x", {"not_allowed"}),
    ("g:disabled", "click", None, {"not_allowed"}),
    ("g:off", "change", "x", {"not_allowed"}),
    ("g:fixed", "change", "x", {"not_allowed"}),
    ("g:text", "click", None, {"not_allowed"}),
    ("g:text", "submit", {}, {"not_allowed"}),
    ("s:count", "change", 1, {"not_allowed"}),
    ("s:count", "submit", {}, {"not_allowed"}),
    ("s:count", "click", 1, {"wrong_value"}),
    ("g:formed", "change", "x", {"not_allowed"}),
    ("g:form", "click", None, {"not_allowed"}),
    ("g:form", "submit", None, {"wrong_value"}),
    ("g:form", "submit", [], {"wrong_value"}),
    ("g:form", "submit", {"g:text": "x"}, {"unknown_widget", "wrong_value"}),
    ("g:form", "submit", {"g:formed": "x", "g:off": "x"}, {"unknown_widget", "wrong_value"}),
    ("g:form", "submit", {"g:formed": "x", "g:form": {}}, {"unknown_widget", "wrong_value"}),
    ("g:form", "submit", {"g:formed": 5}, {"wrong_value"}),
    ("g:form", "submit", {"g:formed": "a\nb"}, {"wrong_value"}),
    ("g:form", "submit", {"s:secret": None}, {"unknown_widget", "wrong_value"}),
    ("g:shut", "submit", {}, {"not_allowed"}),
    *(("g:text", "change", value, {"wrong_value"}) for value in (None, 5, True, ["x"], {}, "x" * 11, "a\nb", 1.5)),
    *(
        ("g:number", "change", value, {"wrong_value"})
        for value in ("5", True, -1, 11, 1e300, 2.5, [5], {}, 10**30, -(2**63))
    ),
    *(("g:slider", "change", value, {"wrong_value"}) for value in (None, "5", 3, -5, 15, 5.5, True, [])),
    *(("g:check", "change", value, {"wrong_value"}) for value in (None, 0, 1, "true", [], {})),
    *(("g:select", "change", value, {"wrong_value"}) for value in ("c", "", None, 0, ["a"], "A", True)),
    *(
        ("g:several", "change", value, {"wrong_value"})
        for value in (None, "a", ["c"], ["a", "a"], [1], {"a": 1}, [["a"]])
    ),
    *(
        (f"g:{key}", "select", value, {"wrong_value"})
        for key in ("table", "nav", "tree")
        for value in (None, 0, True, "", "K", "value", ["k"], {"k": 1})
    ),
    *(("g:table", "sort", value, {"wrong_value"}) for value in (None, 0, "", "k", "-value", ["value"])),
    ("g:no-table", "select", "k", {"unknown_widget"}),
    *((f"g:{key}", "change", "k", {"not_allowed"}) for key in ("table", "nav", "tree")),
    *((f"g:{key}", "sort", "k", {"not_allowed"}) for key in ("nav", "tree")),
    ("s:count", "select", "k", {"not_allowed"}),
    *(
        ("g:address", "change", value, {"wrong_value"})
        for value in (
            None,
            5,
            True,
            ["a=1"],
            {},
            "?a=1",
            "a b",
            "a=<b>",
            "a=\u00fc",
            "a#b",
            "a\n",
            "a" * 4_001,
            "&" * 1_000,
        )
    ),
    *(("g:address", event, "a=2", {"not_allowed"}) for event in ("click", "submit", "select", "sort")),
]


def test_forged_events_are_refused(site: Site) -> None:
    """Events for widgets that the session does not have, that are hidden, disabled or read-only, that know no such
    event, and values that a widget cannot have: each is refused with an error frame that says which, and nothing
    changes."""
    tab = site.visitor().open()
    before = state(site, tab)
    for id_, event, value, codes in FORGED:
        frame = tab.do(id_, event, value)
        assert frame["t"] == "error", (id_, event, value, frame)
        assert frame["code"] in codes, (id_, event, value, frame)
        assert "detail" not in frame
    assert state(site, tab) == before
    assert tab.click("s:count")["t"] == "changes"


def test_a_page_that_the_session_left_is_of_no_use(site: Site) -> None:
    """A widget that was removed takes no events, however the client names it; neither does one that is hidden later."""
    tab = site.visitor().open()
    site.do(site.app.in_session(tab.visitor.session_id, lambda session: session.remove_widget("gone")))
    site.do(site.app.in_session(tab.visitor.session_id, lambda session: session.hide("check")))
    assert tab.refused("s:gone", "click") == "unknown_widget"
    assert tab.refused("g:check", "change", True) == "unknown_widget"


@ON_PAGE
@given(st.lists(st.one_of(st.integers(1, 8), st.sampled_from([100, 2**31, 2**53 - 1])), max_size=20))
def test_events_out_of_order_and_again(site: Site, numbers: list[int]) -> None:
    """Whatever numbers events have, those are done that come next, each once: what came before is acknowledged and not
    done again, what leaves a gap is refused."""
    visitor = site.visitor()
    tab = visitor.open()
    done, answers = 0, []
    for n in numbers:
        tab.send({"t": "event", "n": n, "id": "s:count", "event": "click"})
        if n == done + 1:
            done = n
            answers.append("changes")
        else:
            answers.append("ack" if n <= done else "error")
    while len(tab.frames) < len(answers):
        tab.next()
    assert sorted(frame["t"] for frame in tab.frames) == sorted(answers)
    assert all(frame["code"] == "out_of_order" for frame in tab.frames if frame["t"] == "error")
    assert values(site, visitor)["count"] == done
    tab.leave()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
IDS = st.sampled_from(sorted({one[0] for one in FORGED} | {"s:count"})) | st.text(max_size=10)


@ON_PAGE
@given(st.lists(st.tuples(IDS, st.sampled_from(["click", "change", "submit", "select", "sort"]), JSON), max_size=12))
def test_any_value_for_any_widget(site: Site, events: list[tuple[str, str, Any]]) -> None:
    """Any event with any value for any widget is answered, and leaves each input with a value that it can have."""
    visitor = site.visitor()
    tab = visitor.open()
    for id_, event, value in events:
        assert tab.do(id_, event, value)["t"] in ("changes", "ack", "error")
    page = visitor.load()
    assert page.children == tab.model.children
    props = {id_: page.props(id_)["value"] for id_ in page.ids() if "value" in page.props(id_)}
    assert isinstance(props["g:text"], str)
    assert len(props["g:text"]) <= 10
    assert props["g:number"] is None or (type(props["g:number"]) is int and 0 <= props["g:number"] <= 10)
    assert props["g:slider"] in (0, 5, 10)
    assert type(props["g:check"]) is bool
    assert props["g:select"] in ("a", "b")
    assert set(props["g:several"]) <= {"a", "b"}
    assert props["g:off"] == props["g:fixed"] == "as it is"
    tab.leave()


GARBAGE = st.one_of(
    st.text(max_size=80),
    st.binary(max_size=80),
    JSON.map(json.dumps),
    st.fixed_dictionaries({"t": st.sampled_from(["hello", "event", "ping", "page", "changes", "ended", "x"])}).map(
        json.dumps
    ),
    st.dictionaries(st.sampled_from(["t", "n", "id", "event", "value", "v", "tab", "s", "g"]), JSON).map(json.dumps),
    st.fixed_dictionaries({"t": st.just("event"), "n": JSON, "id": JSON, "event": JSON, "value": JSON}).map(json.dumps),
)


@ON_PAGE
@given(st.lists(GARBAGE, max_size=30), st.booleans())
def test_garbage(site: Site, frames: list[str | bytes], hello: bool) -> None:
    """Text, bytes and JSON that are no frames, after a hello or in its place, are answered with errors or end the
    socket; the session is as it was."""
    visitor = site.visitor()
    model = visitor.load()
    before = model.children
    tab = Tab(visitor, new_tab(), model)
    if hello:
        tab.connect()
    else:
        tab.socket = visitor.connect()
    closed: Any = None
    try:
        for frame in frames:
            tab.raw(frame)
        tab.send({"t": "ping"})
        while tab.next()["t"] != "pong":
            pass
    except ConnectionClosed as error:
        closed = error.rcvd and error.rcvd.code
    assert closed in (None, 1000, 1007, 1008)  # 1007: no UTF-8
    assert all(frame["t"] in ("error", "pong", "page") for frame in tab.frames)
    assert visitor.load().children == before
    tab.leave()


def strange(chance: random.Random, ids: list[str]) -> str | bytes:
    """Some message: mostly almost a frame."""
    frame: dict[str, Any] = {
        "t": "event",
        "n": chance.choice([0, 1, 2, 3, -1, 2**53, 1.5, "1", None, chance.randrange(1000)]),
        "id": chance.choice([*ids, "s:secret", "", "g:" + "x" * chance.randrange(600), None, 7]),
        "event": chance.choice(["click", "change", "submit", "select", "sort", "login", None]),
        "value": chance.choice([None, "x", 1, 1e308, [], {}, {"g:formed": "x"}, True, "\x00", "x" * 5000]),
    }
    hello = {"t": "hello", "v": chance.choice([1, 2, "1"]), "tab": chance.choice(["x", "t" * 20]), "n": 5}
    others: list[Any] = [hello, {"t": "ping"}, {**frame, "more": 1}, [frame], frame["value"]]
    text = json.dumps(chance.choice([frame, frame, frame, *others]))
    way = chance.randrange(8)
    if way == 0:
        return text[: chance.randrange(len(text) + 1)]
    if way == 1:
        data = bytearray(text.encode())
        for _ in range(3):
            data[chance.randrange(len(data))] = chance.randrange(256)
        return bytes(data)
    if way == 2:
        return "[" * chance.randrange(2000)
    return text


def bombard(site: Site, seed: int, messages: int) -> None:
    """One session's sockets send strange messages, open and break off."""
    chance = random.Random(seed)
    visitor = site.visitor()
    ids = visitor.load().ids()
    while messages > 0:
        tab = visitor.open()
        try:
            for _ in range(chance.randrange(1, 120)):
                messages -= 1
                tab.raw(strange(chance, ids))
                if chance.random() < 0.02:
                    tab.raw("x" * 70_000)
            if chance.random() < 0.5:
                tab.quiet(0.01)
        except ConnectionClosed:
            continue
        if chance.random() < 0.5:
            tab.break_off()
        else:
            tab.leave()
    tab = visitor.open()
    before = values(site, visitor)["count"]
    tab.until(lambda page: page.find("s:count"))
    assert tab.click("s:count")["t"] == "changes"
    assert values(site, visitor)["count"] == before + 1
    assert tab.model.children == visitor.load().children
    tab.leave()


@pytest.mark.parametrize(
    ("sessions", "messages"), [(2, 200), pytest.param(4, 1500, marks=pytest.mark.battery)], ids=["short", "long"]
)
def test_strange_messages_from_many_sockets(site: Site, victim: Tab, sessions: int, messages: int) -> None:
    """Sockets of several sessions send thousands of messages, most of them almost frames, and break off: another
    session is served all the while, and theirs still work."""
    failures: list[BaseException] = []

    def work(seed: int) -> None:
        try:
            bombard(site, seed, messages)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(sessions)]
    for thread in threads:
        thread.start()
    other = site.visitor().open()
    clicks = 0
    while any(thread.is_alive() for thread in threads):
        assert other.click("s:count")["t"] == "changes"
        clicks += 1
    for thread in threads:
        thread.join()
    assert failures == []
    assert other.shows("s:label")["text"] == str(clicks)
    assert values(site, other.visitor)["count"] == clicks
    other.leave()
