"""What one socket may do, and what it costs: the size and the rate of what it sends, how much waits for it, and how
much is kept for it."""

from __future__ import annotations

import json
import threading
import time
from itertools import count
from typing import Any

import pytest
from visiting import Model, Site, Tab, new_tab, served
from websockets.exceptions import ConnectionClosed

from servers.process import until
from sojourn.live import App, Limits, Session
from sojourn.live import widgets as w


def room_of(site: Site, tab: Tab) -> Any:
    """The room of a tab's session."""
    handle = site.do(site.app.in_session(tab.visitor.session_id, lambda session: str(session.handle)))
    return site.app._rooms.open[handle]


def shown_first(page: Model) -> int | None:
    """The number that a label begins with."""
    found = page.find("g:label")
    return int(found["props"]["text"].partition(" ")[0] or -1) if found else None


def typing_app(**limits: Any) -> App:
    app = App(limits=Limits(**limits))
    app.text_area("Text", key="text")
    return app


def test_a_frame_that_is_too_long_is_refused() -> None:
    """A frame of more bytes than are taken is answered with an error and the socket closed, as is a first frame; the
    session is as it was. Bytes count, not characters."""
    with served(typing_app(message_bytes=2000)) as site:
        visitor = site.visitor()
        frame = {"t": "event", "n": 1, "id": "g:text", "event": "change", "value": "x"}
        for text in ("x" * 3000, "ä" * 1500):
            tab = visitor.open()
            tab.raw(json.dumps({**frame, "value": text}, ensure_ascii=False))
            assert tab.closed() == 1009
            assert tab.frames[-1]["code"] == "too_large"
            late = Tab(visitor, new_tab(), visitor.load())
            late.socket = visitor.connect()
            late.raw(json.dumps({"t": "hello", "v": 1, "tab": text}, ensure_ascii=False))
            assert late.closed() == 1009
        tab = visitor.open()
        assert tab.change("g:text", "ä" * 150)["t"] == "changes"
        assert tab.shows("g:text")["value"] == "ä" * 150


def test_who_sends_too_much_has_to_wait() -> None:
    """Beyond a burst, frames are taken at the rate that is allowed: none is lost, and others are not slowed down."""
    with served(typing_app(events_per_second=100.0, burst=20.0)) as site:
        began = time.monotonic()  # before the socket is open: from then on there is more and more that it may send
        eager, other = site.visitor().open(), site.visitor().open()
        sent = [eager.event("g:text", "change", f"{n}") for n in range(320)]
        quick = time.monotonic()
        other.change("g:text", "quick")
        assert time.monotonic() - quick < 2.5
        eager.answer(sent[-1])
        assert 2.9 < time.monotonic() - began < 9
        assert eager.shows("g:text")["value"] == "319"
        assert not [frame for frame in eager.frames if frame["t"] == "error"]


def test_events_that_wait_are_bounded() -> None:
    """While a callback lasts, at most 64 events of a socket wait for their turn: the rest stays on the wire. When it is
    done all of them are handled, in order."""
    app, free = App(), threading.Event()
    got: list[str] = []
    app.button("Slow", key="slow").on_click(lambda session: free.wait(20) and None)
    app.text_input("Text", key="text").on_change(lambda session, value: got.append(value))
    with served(app) as site:
        tab = site.visitor().open()
        (room,) = app._rooms.open.values()  # type: ignore[union-attr]
        until(lambda: room.connections, "the tab")
        tab.event("g:slow", "click")
        last = [tab.event("g:text", "change", f"{n}") for n in range(300)][-1]
        (connection,) = room.connections
        until(lambda: connection._waiting == 64, "64 that wait")
        time.sleep(0.1)
        assert connection._waiting == 64
        assert len(room._jobs) <= 64
        free.set()
        tab.answer(last)
        assert got == [f"{n}" for n in range(300)]


def test_who_does_not_read_is_dropped() -> None:
    """What a socket does not take piles up nowhere: the room keeps a bounded log, and the socket is dropped when it has
    taken nothing for the time that is allowed. Another tab of the session gets everything."""
    app = App(limits=Limits(patience=3.0))  # who reads may pause for a moment
    app.button("Ask", key="ask")
    with served(app) as site:
        visitor = site.visitor()
        reading, stuck = visitor.open(), visitor.open()
        room = room_of(site, reading)
        label = app.text("", key="label")
        until(lambda: len(room.connections) == 2, "both tabs")
        give_up = time.monotonic() + 40
        for n in count():  # until the buffers between are full: how much goes into them is the system's to say
            label.text = f"{n} " + "x" * 200_000
            reading.until(lambda page, n=n: shown_first(page) == n)
            assert len(room.log._entries) <= 32
            assert sum(len(entry[2]) for entry in room.log._entries) <= 500_000
            if len(room.connections) == 1:
                break
            assert time.monotonic() < give_up, "who does not read was not dropped"
        assert n > 5
        assert reading.click("g:ask")["t"] == "ack"
        with pytest.raises(ConnectionClosed):
            stuck.until(lambda _: False)


def test_who_is_behind_gets_a_page() -> None:
    """A tab that was slow for a while, and missed more than is kept, gets the whole page, and goes on from there."""
    app = App()
    app.button("Ask", key="ask")
    with served(app) as site:
        visitor = site.visitor()
        slow = visitor.open()
        label = app.text("", key="label")
        for n in range(120):
            label.text = f"{n} " + "x" * 200_000
            until(lambda: not site.call(lambda: app.everyone._flushing), "the change")
        label.text = "short"
        slow.until(lambda page: page.find("g:label") and page.props("g:label")["text"] == "short")
        assert [frame["t"] for frame in slow.frames].count("page") >= 1
        assert len(slow.frames) < 100
        assert slow.click("g:ask")["t"] == "ack"
        assert slow.model.children == visitor.load().children


def test_who_comes_again_gets_what_was_missed() -> None:
    """After a break a tab that missed a few changes gets these alone; one that missed many, or comes from another
    server, gets the page. Either way it shows what is there."""
    app = App()

    @app.on_session
    def start(session: Session) -> None:
        session.add_widget(w.Text("0", key="own"))

    label = app.text("0", key="label")
    with served(app) as site:
        visitor = site.visitor()
        tab = visitor.open()
        for changes, whole in ((0, False), (5, False), (60, True), (1, False)):
            tab.break_off()
            for n in range(changes):
                label.text = f"{changes}.{n}"
                site.do(app.in_session(visitor.session_id, lambda s, n=n: setattr(s.widget("own"), "text", f"{n}.")))
            if changes:
                until(lambda: site.call(lambda: not app.everyone._flushing and not app.everyone._scheduled), "rest")
            tab.frames.clear()
            tab.connect()
            missed = ["page"] if whole else ["changes"] * (2 * changes)
            tab.until(lambda _, missed=missed: len(tab.frames) >= len(missed))
            tab.quiet()
            assert [frame["t"] for frame in tab.frames] == missed
            assert tab.model.children == visitor.load().children
        for stream in ("s", "g"):
            for way in range(4):
                tab.break_off()
                at = getattr(tab.model, stream)
                other = (["elsewhere", at[1]], [at[0], at[1] + 1000], [at[0], -1], None)[way]
                setattr(tab.model, stream, other)
                tab.frames.clear()
                tab.connect()
                tab.next()
                tab.quiet()
                assert [frame["t"] for frame in tab.frames] == ["page"]
                assert tab.model.children == visitor.load().children


def test_the_log_of_a_room_is_bounded() -> None:
    """A room keeps at most 32 changes, and 64 K characters but for the newest, for who comes again; it is left when
    nobody has been in it for a while."""
    app = App(limits=Limits(linger=0.5))
    with served(app) as site:
        tab = site.visitor().open()
        room = room_of(site, tab)
        label = app.text("", key="label")
        for n in range(100):
            label.text = f"{n} " + "x" * (5000 if n % 3 else 1)
            tab.until(lambda page, n=n: shown_first(page) == n)
            entries = site.call(lambda: list(room.log._entries))
            assert len(entries) <= 32
            assert sum(len(entry[2]) for entry in entries[:-1]) <= 64 * 1024
        tab.leave()
        until(lambda: not app._rooms.open, "an empty room's end")  # type: ignore[union-attr]


def test_tabs_that_come_and_go_leave_nothing() -> None:
    """Hundreds of tabs of one session that come and go leave no socket, and a bounded memory of what they did."""
    with served(typing_app()) as site:
        visitor = site.visitor()
        model = visitor.load()
        first = visitor.open()
        room = room_of(site, first)
        for _ in range(280):
            tab = Tab(visitor, new_tab(), model)
            tab.sent = 1
            tab.connect().leave()
        until(lambda: len(room.connections) == 1, "the end of all others")
        assert len(room.answers) <= 260
        assert first.change("g:text", "still here")["t"] == "changes"


def test_who_says_no_hello_is_turned_away() -> None:
    """A socket that says nothing, or something else first, is closed; nothing of it stays."""
    with served(typing_app(patience=2.0)) as site:
        visitor = site.visitor()
        first = visitor.open()
        room = room_of(site, first)
        frames: list[str | bytes | None] = [
            None,
            "",
            "{",
            '{"t":"ping"}',
            '{"t":"event","n":1,"id":"g:text","event":"change","value":"x"}',
            '{"t":"hello","v":2,"tab":"0123456789abcdef"}',
            b"\xff",
        ]
        for frame in frames:
            tab = Tab(visitor, new_tab(), visitor.load())
            tab.socket = visitor.connect()
            if frame is not None:
                tab.raw(frame)
            assert tab.closed() == 1008
            assert [one["t"] for one in tab.frames] == ["error"]
        assert tab.model.props("g:text")["value"] == ""
        assert len(room.connections) == 1
        assert first.change("g:text", "fine")["t"] == "changes"


@pytest.mark.parametrize("frame", ["{", '{"t":"hello","v":1,"tab":"0123456789abcdef"}'])
def test_too_much_that_is_no_frame_closes_the_socket(frame: str) -> None:
    """A few frames that are none of ours are each answered with an error; too many close the socket."""
    with served(typing_app()) as site:
        tab = site.visitor().open()
        for _ in range(5):
            tab.raw(frame)
            assert tab.next()["code"] == "malformed"
        assert tab.change("g:text", "still")["t"] == "changes"
        try:
            for _ in range(40):
                tab.raw(frame)
        except ConnectionClosed:
            pass
        assert tab.closed() == 1008


def test_pings_are_answered_and_bounded() -> None:
    """Each ping has its pong; who sends thousands and reads none of the answers makes nothing pile up."""
    with served(typing_app(burst=100.0, events_per_second=1000.0)) as site:
        tab = site.visitor().open()
        room = room_of(site, tab)
        tab.send({"t": "ping"})
        assert tab.next() == {"t": "pong"}
        until(lambda: room.connections, "the tab")
        (connection,) = room.connections
        for _ in range(600):
            tab.send({"t": "ping"})
            assert len(connection._outbox) <= 256
        assert tab.change("g:text", "still")["t"] == "changes"
