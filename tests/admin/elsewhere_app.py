"""An application whose sessions a dashboard shows, in a process of its own: ``elsewhere_app.py PORT STORE``.

A site with a session socket, a live app, and a Streamlit-style state; and routes by which a test has this process do
something: they are the test's, not the product's. What is asked of them is JSON, and so is what they answer.
"""

from __future__ import annotations

import sys
import time
from asyncio import to_thread
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.websockets import WebSocket

from sojourn import AsyncSessionManager, CookieConfig, Handle, SessionConfig, SessionManager
from sojourn.adapters.asgi import SessionMiddleware
from sojourn.live import App, Session
from sojourn.state import SafeSessionState, SessionState, script_run

_, PORT, STORE = sys.argv

sessions = SessionManager(STORE)
config = SessionConfig(cookie=CookieConfig(insecure=True, name="site"))
app = App("Elsewhere", manager=AsyncSessionManager(STORE), name="elsewhere")
_states: dict[str, tuple[SafeSessionState, list[str]]] = {}


@app.on_session
def start(session: Session) -> None:
    session.text("Nobody has ended this", key="greeting")
    session.text_input("Note", key="note")


# --- The site --------------------------------------------------------------------------------------------------------


async def sign_in(request: Request) -> JSONResponse:
    """A session, with a cookie of it."""
    request.session.login(request.query_params["user"])
    request.session["visits"] = 1
    return JSONResponse({"handle": request.session.handle})


async def talk(socket: WebSocket) -> None:
    """A socket that lives as long as its session."""
    await socket.accept()
    await socket.send_text("here")
    async for text in socket.iter_text():
        await socket.send_text(text)


site = Starlette(routes=[Route("/sign-in", sign_in), WebSocketRoute("/talk", talk)])
site.add_middleware(SessionMiddleware, manager=AsyncSessionManager(STORE, config=config))


# --- What a test has this process do ---------------------------------------------------------------------------------


def create(user: str | None = None, data: dict[str, Any] | None = None, label: str | None = None) -> dict[str, Any]:
    return {"id": sessions.create_session(user, data, label=label)}


def write(handle: str, name: str, value: Any) -> dict[str, Any]:
    """Give a field a value. When that began, in Unix milliseconds."""
    began = time.time() * 1000
    sessions.update(Handle(handle), name, lambda _: value)
    return {"at": began}


def rotate(session_id: str) -> dict[str, Any]:
    """The visitor's id becomes another."""
    with sessions.session(session_id) as session:
        new = session.rotate()
    return {"id": new}


def state(session_id: str) -> dict[str, Any]:
    """A state of the session's page, which keeps its address."""
    heard: list[str] = []
    kept = SessionState(session_id, sessions, on_query_params=heard.append, keep_query_params=True)
    _states[session_id] = SafeSessionState(kept), heard
    return run(session_id, {})


def run(session_id: str, params: dict[str, str]) -> dict[str, Any]:
    """A run of the page's script, which sets these parameters. What they are then, and what the page was told."""
    safe, heard = _states[session_id]
    with script_run() as now:
        safe.on_script_will_rerun(None)
        with safe.query_params() as query:
            query.update(params)
            then = query.to_dict()
        safe.on_script_finished(now.widget_ids)
    return {"params": then, "heard": list(heard)}


_ASKED: dict[str, Callable[..., dict[str, Any]]] = {one.__name__: one for one in (create, write, rotate, state, run)}


async def asked(request: Request) -> JSONResponse:
    return JSONResponse(await to_thread(_ASKED[request.path_params["what"]], **await request.json()))


whole = Starlette(
    routes=[
        Route("/test/{what}", asked, methods=["POST"]),
        Mount("/site", site),
        Mount("/live", app),
    ]
)

if __name__ == "__main__":
    uvicorn.run(whole, host="127.0.0.1", port=int(PORT), log_level="warning", ws_ping_interval=None)
