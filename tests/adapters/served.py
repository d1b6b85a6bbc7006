"""A small application for `test_server`, served by uvicorn in a process of its own: ``python served.py STORE_URL``
prints its port and serves on the loopback address until it is killed."""

from __future__ import annotations

import asyncio
import socket
import sys

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from sojourn import AsyncSessionManager, CookieConfig, SessionConfig
from sojourn.adapters.asgi import SessionMiddleware


async def sign_in(request: Request) -> JSONResponse:
    request.session.login("ada")
    request.session["cart"] = {"items": []}
    return JSONResponse({})


async def add(request: Request) -> JSONResponse:
    session = request.session
    items = session["cart"]["items"]
    await asyncio.sleep(0.05)  # so that the requests overlap
    items.append(int(request.query_params["n"]))
    session.update("hits", lambda hits: (hits or 0) + 1)
    return JSONResponse({})


async def see(request: Request) -> JSONResponse:
    return JSONResponse({"user": request.session.user_id, **request.session})


def main(url: str) -> None:
    config = SessionConfig(cookie=CookieConfig(insecure=True), deadline=10)
    app = Starlette(routes=[Route("/sign-in", sign_in), Route("/add", add), Route("/see", see)])
    app.add_middleware(SessionMiddleware, manager=AsyncSessionManager(url, config=config))
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(128)
        print(listening.getsockname()[1], flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])


if __name__ == "__main__":
    main(sys.argv[1])
