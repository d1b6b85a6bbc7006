"""A game's lobby over WebSockets: the session is the player, live in every tab. Signing out anywhere closes the socket.

pip install 'sojourn' starlette 'uvicorn[standard]'
python examples/lobby.py
"""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from sojourn import AsyncSessionManager, CookieConfig, SessionConfig, login, logout
from sojourn.adapters.asgi import SessionMiddleware

manager = AsyncSessionManager("sqlite:///lobby.db", config=SessionConfig(cookie=CookieConfig(insecure=True)))
here: dict[WebSocket, str] = {}
"""Who is in the room, of this process."""


async def enter(request: Request) -> JSONResponse:
    login(request.session, request.path_params["name"])
    return JSONResponse({})


async def leave(request: Request) -> JSONResponse:
    logout(request.session)  # and the sockets of this player are closed, with 1008
    return JSONResponse({})


async def me(request: Request) -> JSONResponse:
    return JSONResponse({"name": request.session.user_id, "wins": request.session.get("wins", 0)})


async def room(websocket: WebSocket) -> None:
    session: Any = websocket.session
    if session.user_id is None:
        await websocket.close(1008, "enter first")
        return
    await websocket.accept()
    here[websocket] = session.user_id
    telling = asyncio.create_task(tell_changes(websocket))
    try:
        await everyone({"here": sorted(set(here.values()))})
        async for said in websocket.iter_json():
            if said == "won":
                session.update("wins", lambda wins: (wins or 0) + 1)  # exact, in however many tabs
                await session.commit()
                await everyone({"won": session.user_id, "wins": session["wins"]})
    finally:
        telling.cancel()
        del here[websocket]
        await everyone({"here": sorted(set(here.values()))})


async def tell_changes(websocket: WebSocket) -> None:
    """What this player does in other tabs."""
    session: Any = websocket.session
    async for _ in session.changes():
        await websocket.send_json({"wins": session.get("wins", 0)})


async def everyone(message: Any) -> None:
    for other in list(here):
        try:
            await other.send_json(message)
        except RuntimeError:  # it has just gone
            here.pop(other, None)


app = Starlette(
    routes=[
        Route("/enter/{name}", enter, methods=["POST"]),
        Route("/leave", leave, methods=["POST"]),
        Route("/me", me),
        WebSocketRoute("/room", room),
    ]
)
app.add_middleware(SessionMiddleware, manager=manager)


if __name__ == "__main__":
    import uvicorn

    uvicorn.run(app, port=8000)
