"""An application with sockets for `test_sockets`, served by uvicorn in a process of its own: ``python lobby.py URL``
prints its port and serves on the loopback address until it is killed. ``IDLE`` in the environment is the idle timeout.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from sojourn import AsyncSessionManager, CookieConfig, SessionConfig
from sojourn.adapters.asgi import SessionMiddleware
from sojourn.tickets import ticket


async def sign_in(request: Request) -> JSONResponse:
    request.session.login(request.query_params.get("user", "ada"))
    return JSONResponse({})


async def sign_out(request: Request) -> JSONResponse:
    request.session.end()
    return JSONResponse({})


async def write(request: Request) -> JSONResponse:
    request.session.update(dict(request.query_params))
    return JSONResponse({})


async def see(request: Request) -> JSONResponse:
    return JSONResponse({"user": request.session.user_id, **request.session})


async def draw(request: Request) -> JSONResponse:
    return JSONResponse(ticket(request.session))


async def talk(websocket: WebSocket) -> None:
    """Does what it is told, and says so."""
    session: Any = websocket.session
    await websocket.accept()
    while True:
        told = await websocket.receive_json()
        answer: Any = "ok"
        if told["do"] == "set":
            session[told["name"]] = told["value"]
        elif told["do"] == "append":
            session.setdefault("list", []).append(told["value"])
        elif told["do"] == "see":
            await session.refresh()
            answer = dict(session)
        elif told["do"] == "end":
            session.end()
        elif told["do"] == "login":
            try:
                session.login("eve")
            except RuntimeError as error:
                answer = type(error).__name__
        await websocket.send_json(answer)


async def push(websocket: WebSocket) -> None:
    """Never listens, and says something all the time."""
    await websocket.accept()
    while True:
        await websocket.send_json(websocket.session.get("name"))
        await asyncio.sleep(0.05)


async def follow(websocket: WebSocket) -> None:
    """Tells what others do."""
    session: Any = websocket.session
    await websocket.accept()
    await websocket.send_json("watching")
    async for change in session.changes():
        await websocket.send_json([change.kind, session.to_dict()])


def make(url: str, **settings: Any) -> tuple[Starlette, AsyncSessionManager]:
    """The application, and its manager."""
    manager = AsyncSessionManager(
        url, config=SessionConfig(cookie=CookieConfig(insecure=True), deadline=10, **settings)
    )
    routes = [Route(f"/{view.__name__}", view) for view in (sign_in, sign_out, write, see, draw)]
    sockets = [WebSocketRoute(f"/{view.__name__}", view) for view in (talk, push, follow)]
    app = Starlette(routes=[*routes, *sockets])
    app.add_middleware(SessionMiddleware, manager=manager, heartbeat=lambda message: "ping" in message.get("text", ""))
    return app, manager


def main(url: str) -> None:
    idle = float(os.environ.get("IDLE", "1800"))
    app, _ = make(url, idle_timeout=idle)
    with socket.socket(proto=socket.IPPROTO_TCP) as listening:  # named, or asyncio leaves Nagle on
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        print(listening.getsockname()[1], flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main(sys.argv[1])
