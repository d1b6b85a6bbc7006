"""The demo's page. What is declared here all see; what is assigned to it by way of a session is that visitor's own.

A callback is what an application would write: it is given the session of the visitor who clicked. What it changes is
committed when it is done, and then shown in all tabs.
"""

from __future__ import annotations

import os
import time
from typing import Final

from .. import __version__
from ..cli.humane import duration
from ..live import App, Session
from ..live import widgets as w
from .devices import at_time, show_devices
from .race import WRITERS, race
from .words import LONGEST_MESSAGE, LONGEST_NAME, clean_message, clean_name, user_id_of

__all__ = ["IDLE_TIMEOUT", "make_app"]

IDLE_TIMEOUT: Final = 1800.0  # seconds
STARTED_AT: Final = time.time()
"""When this process began to be the demo."""

_MESSAGES: Final = 12  # that stay on the wall

_INTRO: Final = """\
This page is a live app on the session engine Sojourn, version {version}. What you do is committed to `{store}` before
you see it: no reload, no restart and no other tab that writes at the same moment takes it away."""

_STEPS: Final = """\
1. **Open this page in a second tab: it is you.** Count there, type there: this tab follows.
2. **Open it in another browser, or in a private window: it is another visitor.** What is yours stays yours.
3. **Let {writers} writers loose** on your session, all at once: none is lost.
4. **Sign in here and there under one name:** each sees the other, and can sign it out.
5. **Kill the server** and start it again: this page goes on where it was."""

_RACE: Final = f"""\
{WRITERS} writers append to one list in your session, within a fifth of a second. Each loads the session, works for a
moment, appends its number and commits: as the requests of a busy page do."""

_KILL: Final = """\
This page is served by process {pid}, since {started}. End it in the hardest way there is, and start it again: the page
says that it reconnects, and then goes on by itself. A click that you make in between is done when the server is back,
once."""


def make_app(store: str, command: str, shown: str = "") -> tuple[App, set[str]]:
    """The demo as a live app, and the handles of the sessions that have it open here. ``store`` is the URL of the store
    where sessions live, ``shown`` what the page calls it, ``command`` what starts the server again."""
    shown = shown or store
    app = App("Sojourn demo", store=store, name="sojourn-demo", session_timeout=IDLE_TIMEOUT)
    app.title("One session, however many tabs")
    app.markdown(_INTRO.format(version=__version__, store=shown))
    app.alert("", key="resumed", visible=False)
    app.header("Try this")
    app.markdown(_STEPS.format(writers=WRITERS))
    _add_counting(app)
    _add_wall(app)
    _add_race(app)
    _add_devices(app)
    _add_kill(app, command, lasts=not store.startswith("memory:"))
    here: set[str] = set()
    _add_arrival(app, here)
    return app, here


def _add_counting(app: App) -> None:
    """What is the visitor's own, beside what is everybody's."""
    app.header("Yours, and everybody's")
    left, right = app.columns(2)
    yours, all_of_you = left.container(border=True), right.container(border=True)
    yours.subheader("Only you see this")
    yours.metric("Your counter", 0, key="count")
    count = yours.button("Count", primary=True, key="count-button")
    note = yours.text_input("A note of yours", key="note", max_length=200, placeholder="Type, and look at another tab")
    all_of_you.subheader("Everybody sees this")
    all_of_you.metric("Visitors online", 0, key="online")
    everybody = all_of_you.metric("Everybody's counter", 0, key="everybody")
    count_all = all_of_you.button("Count for everybody", key="everybody-button")
    app.table([], key="session")

    @count.on_click
    def count_mine(session: Session) -> None:
        session.widget("count").update("value", lambda number: number + 1)  # exact, in however many tabs
        _show_session(session)

    @count_all.on_click
    def count_everybody(session: Session) -> None:
        everybody.update("value", lambda number: number + 1)  # exact, in however many processes
        _show_session(session)

    note.on_change(_show_session)


def _show_session(session: Session) -> None:
    """What the server knows of the session, which has just been active."""
    now = time.time()
    facts = {
        "Handle": session.handle,
        "Age": f"{duration(now - session.created_at)}: it began at {at_time(session.created_at)}",
        "Time left": f"{duration(IDLE_TIMEOUT)} after what you did last: it ends at {at_time(now + IDLE_TIMEOUT)}",
        "Served by": f"process {os.getpid()}, which started at {at_time(STARTED_AT)}",
    }
    session.widget("session").data = [
        {"Your session": name, "as the server knows it": it} for name, it in facts.items()
    ]


def _add_wall(app: App) -> None:
    """Short messages of all to all. Each is a widget of its own, so that two at the same moment are both kept."""
    app.header("A wall for all")
    wall = app.container(border=True, key="wall")
    form = app.form("Put it up", border=False, clear_on_submit=True, key="wall-form")
    form.text_input(
        "A message to everybody", key="message", max_length=LONGEST_MESSAGE, placeholder="Who else is here?"
    )

    @form.on_submit
    async def put_up(session: Session, values: dict[str, str]) -> None:
        message = clean_message(values.get("message", ""))
        if message:
            wall.add_widget(w.Text(f"{_called(session)}, {at_time(time.time())}: {message}"))
            for old in wall.children[:-_MESSAGES]:
                old.remove()
        _show_session(session)


def _called(session: Session) -> str:
    return str(session.get("name") or f"Visitor {session.handle[-4:]}")


def _add_race(app: App) -> None:
    """Fifty writers at once."""
    app.header(f"{WRITERS} writers at once")
    app.markdown(_RACE)
    start = app.button(f"Let {WRITERS} writers loose", primary=True, key="race")
    ours, theirs = app.columns(2)
    ours.metric("Kept by Sojourn", "–", key="kept")
    ours.progress(0, key="kept-bar")
    theirs.metric("Kept, had the session been saved whole", "–", key="whole", better="neutral")
    theirs.progress(0, key="whole-bar")
    app.text("", key="race-words", visible=False)

    @start.on_click
    async def run_race(session: Session) -> None:
        outcome = await race(app.engine, session.handle)
        for name, kept in (("kept", outcome.kept), ("whole", outcome.whole)):
            session.widget(name).value = f"{kept} of {WRITERS}"
            session.widget(f"{name}-bar").value = kept / WRITERS
        words = session.widget("race-words")
        words.text = (
            f"{outcome.acknowledged} acknowledged in {outcome.seconds:.2f} s, {outcome.kept} kept. "
            f"Most libraries load and save the session whole: with the same timing {outcome.whole} would be left."
        )
        words.visible = True
        _show_session(session)


def _add_devices(app: App) -> None:
    """Signing in, and the list of where one is signed in."""
    app.header("Your devices")
    form = app.form("Sign in", key="sign-in")
    form.text_input("Your name, any will do", key="name", max_length=LONGEST_NAME)
    form.text_input("This device", "My laptop", key="device", max_length=LONGEST_NAME)
    app.alert(
        "A name has 1 to 40 letters or digits; . ' and - may stand within.", "warning", key="no-name", visible=False
    )
    account = app.container(border=True, key="account", visible=False)
    account.text("", key="who")
    account.container(key="devices")
    others = account.button("Sign out everywhere else", key="end-others", visible=False)
    account.button("Sign out", key="end").on_click(_sign_out)

    @others.on_click
    async def end_others(session: Session) -> None:
        if session.user_id is not None:
            await app.engine.end_user_sessions(session.user_id, keep=session.handle)
            await show_devices(app, session)

    @form.on_submit
    def sign_in(session: Session, values: dict[str, str]) -> None:
        name, device = clean_name(values.get("name", "")), clean_name(values.get("device", ""))
        if name is None or device is None:
            session.show("no-name")
            return
        session.hide("no-name")
        session.login(user_id_of(name))  # a new secret: the id that was known before is dead
        session.label = device
        session.set("name", name)
        session.hide("sign-in")
        session.widget("who").text = (
            f"You are signed in as {name}. Your session got a new secret, and your browser has fetched it; the old one "
            "is dead."
        )
        session.show("account")
        _show_session(session)  # the list of devices follows when this is committed: see `devices.follow`


def _sign_out(session: Session) -> None:
    session.end()


def _add_kill(app: App, command: str, lasts: bool) -> None:
    """What ends the server, and what starts it again."""
    app.header("Kill the server")
    app.markdown(_KILL.format(pid=os.getpid(), started=at_time(STARTED_AT)))
    app.code(f"kill -9 {os.getpid()}\n{command}")
    if not lasts:
        app.alert("Sessions are in this process's memory now: they end with it. Give --store another URL.", "warning")


def _add_arrival(app: App, here: set[str]) -> None:
    """What a tab is shown when it comes, or comes again."""

    @app.on_session
    def began(session: Session) -> None:
        _show_session(session)

    @app.on_connect
    async def arrived(session: Session) -> None:
        here.add(session.handle)
        _show_session(session)
        resumed = session.widget("resumed")
        resumed.visible = session.created_at < STARTED_AT
        resumed.text = (
            f"This server started at {at_time(STARTED_AT)}. Your session is older: it began at "
            f"{at_time(session.created_at)}, under another process, and all of it is here."
        )
        if session.user_id is not None:
            await show_devices(app, session)
