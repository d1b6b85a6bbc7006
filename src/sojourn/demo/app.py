"""The shop's routes. Each handler is what an application would write: the session is a mapping, and that is all.

The middleware (`sojourn.adapters.asgi`) loads the session before a handler and commits what changed after it. Every
form works without JavaScript; with it, the page asks in the background and swaps in what changed.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, cast
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from ..adapters.asgi import SessionMiddleware
from ..errors import StoreError
from ..ids import Handle, is_handle
from ..manager import AsyncSessionManager
from ..session import AsyncSession
from .devices import device_label
from .guard import Guard
from .pages import STATIC, Page, Server, render
from .race import WholeSaves
from .shop import FULL_CART, POSTCARD, PRODUCTS, clean_name, user_id_of

__all__ = ["make_app"]

_LONGEST_FORM: Final = 4096  # bytes
_REQUESTS: Final = 50
_WORK: Final = (0.02, 0.12)  # seconds that a parallel request pretends to work, so that they overlap as real ones do
_is_run = re.compile(r"[0-9a-z-]{8,40}").fullmatch


def make_app(manager: AsyncSessionManager, store: str, command: str = "sojourn demo") -> Starlette:
    """The demo as an ASGI application. ``store`` is what the page calls the place where sessions live, ``command`` what
    starts the server again, as the page says it."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        manager.start_cleaner()
        yield
        await manager.close()

    app = Starlette(
        routes=[
            Route("/", _page),
            Route("/sign-in", _sign_in, methods=["POST"]),
            Route("/sign-out", _sign_out, methods=["POST"]),
            Route("/cart/add", _add, methods=["POST"]),
            Route("/cart/remove", _remove, methods=["POST"]),
            Route("/cart/empty", _empty, methods=["POST"]),
            Route("/fire", _fire, methods=["POST"]),
            Route("/fired", _fired),
            Route("/devices/end", _end_device, methods=["POST"]),
            Route("/devices/end-others", _end_others, methods=["POST"]),
            Route("/pulse", _pulse),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(Guard), Middleware(SessionMiddleware, manager=manager)],
        exception_handlers={StoreError: _unavailable},
        lifespan=lifespan,
    )
    app.state.manager = manager
    app.state.server = Server(os.getpid(), time.time(), store, command)
    app.state.whole = WholeSaves()
    return app


# --- Pages and forms --------------------------------------------------------------------------------------------------


async def _page(request: Request) -> Response:
    session = _session(request)
    devices = await _manager(request).list_sessions(session.user_id) if session.user_id else []
    notice = request.query_params.get("notice", "")
    return HTMLResponse(render(Page(session, request.app.state.server, devices, time.time(), notice)))


async def _sign_in(request: Request) -> Response:
    name = clean_name(await _field(request, "name"))
    if name is None:
        return _back("name")
    session = _session(request)
    session.login(user_id_of(name))  # a new secret: the id that was known before is dead at once
    session.label = device_label(request.headers.get("user-agent", ""))
    session["name"] = name
    if "cart" not in session:
        session["cart"] = {"items": []}
    return _back("hello")


async def _sign_out(request: Request) -> Response:
    _session(request).end()
    return _back("bye")


async def _add(request: Request) -> Response:
    product = PRODUCTS.get(await _field(request, "sku"))
    session = _session(request)
    if product is None:
        return PlainTextResponse("We do not sell that.", 404)
    if "cart" not in session:
        session["cart"] = {"items": []}
    if len(session["cart"]["items"]) >= FULL_CART:
        return _back("full")
    session["cart"]["items"].append({"sku": product.sku})  # a nested change: saved, with no flag
    return _back(at="cart")


async def _remove(request: Request) -> Response:
    sku = await _field(request, "sku")
    session = _session(request)
    items: list[dict[str, Any]] = session["cart"]["items"] if "cart" in session else []
    items[:] = [item for item in items if item["sku"] != sku]
    return _back(at="cart")


async def _empty(request: Request) -> Response:
    session = _session(request)
    if "cart" in session:
        session["cart"]["items"].clear()
    return _back(at="cart")


async def _end_device(request: Request) -> Response:
    handle = await _field(request, "handle")
    session = _session(request)
    if handle == session.handle:
        session.end()
        return _back("bye")
    mine = await _manager(request).list_sessions(session.user_id) if session.user_id else []
    if not any(row.handle == handle for row in mine):  # not yours, or over: which of the two is nobody's business
        return PlainTextResponse("You have no such device.", 404)
    await _manager(request).end_session(Handle(handle))
    return _back("ended")


async def _end_others(request: Request) -> Response:
    session = _session(request)
    if session.user_id is not None:
        await _manager(request).end_user_sessions(session.user_id, keep=session.handle)
    return _back("ended-all")


# --- Fifty requests at once -------------------------------------------------------------------------------------------


async def _fire(request: Request) -> Response:
    """One of the parallel requests: load, work a little, append."""
    run, number = request.query_params.get("run", ""), request.query_params.get("n", "")
    session, whole = _session(request), request.app.state.whole
    if session.user_id is None:
        return JSONResponse({"problem": "Sign in first."}, 401)
    if not _is_run(run) or not number.isascii() or not number.isdigit() or int(number) >= _REQUESTS:
        return JSONResponse({"problem": "Not a request of ours."}, 400)
    items = session["cart"]["items"]
    if len(items) >= FULL_CART:
        return JSONResponse({"problem": "The cart is full: empty it, and go on."}, 409)
    copy = whole.load(run)
    await asyncio.sleep(random.uniform(*_WORK))  # noqa: S311 - not a secret
    items.append({"sku": POSTCARD.sku, "run": run, "n": int(number)})
    whole.save(run, [*copy, int(number)])
    return JSONResponse({"n": int(number)})


async def _fired(request: Request) -> Response:
    """What is in the session of a run, and what a store that saves whole sessions would have kept of it."""
    run = request.query_params.get("run", "")
    session = _session(request)
    items = session["cart"]["items"] if "cart" in session else []
    kept = sorted(item["n"] for item in items if item.get("run") == run)
    return JSONResponse({"kept": kept, "whole": sorted(request.app.state.whole.load(run))})


async def _pulse(request: Request) -> Response:
    """Whether this server and a session are alive. The page asks without its cookie and by the session's handle, so
    that a page that is merely open does not count as activity."""
    handle = request.query_params.get("session", "")
    alive = await _manager(request).is_session_active(Handle(handle)) if is_handle(handle) else None
    server: Server = request.app.state.server
    return JSONResponse({"pid": server.pid, "alive": alive}, headers={"cache-control": "no-store"})


async def _unavailable(request: Request, error: Exception) -> Response:
    return PlainTextResponse("The store gives no answer. Try again in a moment.", 503, headers={"retry-after": "1"})


# --- Parts ------------------------------------------------------------------------------------------------------------


def _session(request: Request) -> AsyncSession:
    return cast(AsyncSession, request.session)


def _manager(request: Request) -> AsyncSessionManager:
    return cast(AsyncSessionManager, request.app.state.manager)


def _back(notice: str = "", at: str = "") -> Response:
    """To the page, with a word for the user. 303: the browser asks for it with GET."""
    return RedirectResponse(f"/{f'?notice={notice}' if notice else ''}{f'#{at}' if at else ''}", 303)


async def _field(request: Request, name: str) -> str:
    """One field of a small form; empty if it is not there, or the form is none of ours."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_FORM:
            return ""
    values = parse_qs(body.decode("utf-8", "replace")).get(name, [])
    return values[0] if len(values) == 1 else ""
