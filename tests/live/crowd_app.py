"""The app that crowds of clients use, served in a process of its own: ``crowd_app.py PORT STORE [NAME=VALUE ...]``.

Each session has a secret that is in its texts: no frame may bring it to another. Beside the app there are routes that
tell of the process, and that put it into trouble: they are the test's, not the product's.

    deadline=SECONDS    how long the store may take
    die=CHANCE          the process ends (SIGKILL) in a callback, before its commit; and again between the commit of an
                        event and its answer; so often
    drop=CHANCE         the socket is closed instead of the answer to an event; so often
    linger=SECONDS      how long a room is kept that nobody is in
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import json
import os
import random
import resource
import secrets
import signal
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import uvicorn

from sojourn import AsyncSessionManager, Handle, SessionConfig
from sojourn.config import CookieConfig
from sojourn.live import App, Limits, Session
from sojourn.live import widgets as w

_, PORT, STORE, *_settings = sys.argv
SETTINGS = {name: float(value) for name, value in (setting.split("=") for setting in _settings)}
DIE, DROP = SETTINGS.get("die", 0.0), SETTINGS.get("drop", 0.0)

manager = AsyncSessionManager(
    STORE,
    config=SessionConfig(
        idle_timeout=600, deadline=SETTINGS.get("deadline", 5.0), cookie=CookieConfig(name="live-crowd")
    ),
)
app = App("Crowd", name="crowd", manager=manager, limits=Limits(linger=SETTINGS.get("linger", 15.0)))

app.title("Everybody sees this")
name = app.text_input("Your name", key="name")
clicks = app.add_widget(w.Metric("Clicks of all", 0, key="clicks"))
board = app.add_widget(w.Text("", key="board"))


@app.add_widget(w.Button("For all", key="for-all")).on_click
def for_all(session: Session) -> None:
    """Count for everybody: in a widget, and in a value."""
    clicks.update("value", _one_more)
    app.shared.update("clicks", _one_more)


@app.add_widget(w.TextInput("Board", key="post")).on_change
def post(session: Session, text: str) -> None:
    """Write what everybody reads."""
    board.text = text
    app.shared["board"] = text


@app.on_session
def start(session: Session) -> None:
    """What each session has of its own: a counter, a note, and callbacks that are made in here."""
    secret = f"secret-{secrets.token_hex(8)}"
    session["count"], session["secret"] = 0, secret
    label = session.add_widget(w.Text(f"0 of {secret}", key="label"))
    trail = session.add_widget(w.Container(key="trail"))

    @session.add_widget(w.Button("Click", key="click")).on_click
    def clicked(session: Session) -> None:
        _perhaps_die()
        session.update("count", _one_more)
        label.text = f"{session['count']} of {secret}"

    @session.add_widget(w.Button("Slow", key="slow")).on_click
    def slow(session: Session) -> None:
        session.update("count", _one_more)
        time.sleep(0.4)
        label.text = f"{session['count']} of {secret}"

    note = session.add_widget(w.TextInput("Note", key="note"))
    heard = session.add_widget(w.Text("", key="heard"))

    @note.on_change
    def noted(session: Session, text: str) -> None:
        heard.text = f"{text} of {secret}"
        session["note"] = text

    @session.add_widget(w.Button("More", key="more")).on_click
    def more(session: Session) -> None:
        number = len(trail.children)
        added = session.add_widget(w.Button(f"{number} of {secret}", key=f"more-{number}"), into=trail)

        def again(session: Session) -> None:
            session.update("again", _one_more)
            added.label = f"{number} again of {secret}"

        added.on_click(again)

    @session.add_widget(w.Button("Log in", key="login")).on_click
    def logged_in(session: Session) -> None:
        session.login(f"user of {secret}")


def _one_more(number: Any) -> int:
    return (number or 0) + 1


def _perhaps_die() -> None:
    if random.random() < DIE:
        os.kill(os.getpid(), signal.SIGKILL)


# --- Beside the app --------------------------------------------------------------------------------------------------


async def beside(scope: Any, receive: Any, send: Any) -> None:
    """The app, with the test's own routes, and its trouble."""
    if scope["type"] == "http" and scope["path"].startswith("/test/"):
        answer = json.dumps(await _ROUTES[scope["path"].removeprefix("/test/")](scope["query_string"].decode()))
        headers = [(b"content-length", str(len(answer)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer.encode()})
    elif scope["type"] == "websocket":
        await app(scope, receive, _troubled(send))
    else:
        await app(scope, receive, send)


def _troubled(send: Any) -> Any:
    async def sent(message: Any) -> None:
        if '"by":[' in message.get("text", "") or '"t":"ack"' in message.get("text", ""):
            _perhaps_die()
            if random.random() < DROP:
                await send({"type": "websocket.close", "code": 1011, "reason": ""})
                raise ConnectionError("dropped by the test")
        await send(message)

    return sent


async def _state(_: str) -> dict[str, Any]:
    """What the process holds at this moment, after it has thrown away what it can."""
    rooms = app._rooms
    assert rooms is not None
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
    return {
        "rss": int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize(),
        "objects": sum(not _is_dead(one) for one in gc.get_objects()),
        "rooms": len(rooms.open),
        "sockets": sum(len(room.connections) for room in rooms.open.values()),
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "watched": len(manager._hub._followed),
        "shared": {one: app.shared[one] for one in app.shared},
        "clicks": clicks.value,
    }


def _is_dead(one: object) -> bool:
    """Whether this refers to what is gone: of its cursors, a connection to SQLite keeps up to 200 such references."""
    return isinstance(one, weakref.ReferenceType) and one() is None


async def _end(handle: str) -> None:
    await app.end_session(Handle(handle))


async def _end_all(_: str) -> int:
    """End all sessions, and with them the record of what everybody shares."""
    return await manager.end_sessions()


async def _end_visitors(_: str) -> int:
    """End all sessions of visitors."""
    return await manager.end_sessions(keep=Handle(app.everyone.handle))


_ROUTES = {"state": _state, "end": _end, "end-all": _end_all, "end-visitors": _end_visitors}


if __name__ == "__main__":
    uvicorn.run(
        beside, host="127.0.0.1", port=int(PORT), log_level="warning", ws_per_message_deflate=False, lifespan="on"
    )
