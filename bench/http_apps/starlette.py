"""Starlette: with no session, with its own cookie sessions, with Sojourn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware as CookieMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from . import SESSIONS, STORE, VIEWS


def _endpoint(view: Callable[[Any], str]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(view(request.session if SESSIONS != "none" else None))

    return endpoint


def _middleware() -> list[Middleware]:
    match SESSIONS:
        case "theirs":
            return [Middleware(CookieMiddleware, secret_key="not-a-secret")]
        case "sojourn":
            from sojourn import AsyncSessionManager
            from sojourn.adapters.asgi import SessionMiddleware

            return [Middleware(SessionMiddleware, manager=AsyncSessionManager(STORE))]
        case _:
            return []


app = Starlette(
    routes=[Route(f"/{name}", _endpoint(view)) for name, view in VIEWS.items()],
    middleware=_middleware(),
)
