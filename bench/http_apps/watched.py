"""Starlette with Sojourn, whose process reports, and whose sessions can be watched as the dashboard watches them.

Beside the views of the others:

    watch      follow from now on what the overview shows; the text is how many commits it has heard of
    unwatch    no more
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from sojourn import AsyncSessionManager
from sojourn.adapters.asgi import SessionMiddleware
from sojourn.admin.pulse import Pulse
from sojourn.admin.reports import report

from . import STORE, VIEWS

manager = AsyncSessionManager(STORE)
pulse = Pulse(manager, [manager])


@asynccontextmanager
async def _working(_: Starlette) -> AsyncIterator[None]:
    reporting = report(manager)
    yield
    await reporting.stopped()
    await pulse.stop()
    await manager.close()


async def _watch(_: Request) -> Response:
    await pulse.start()
    found = pulse.reading()
    return PlainTextResponse(f"{sum(minute.commits for minute in found.minutes)} {found.processes}")


async def _unwatch(_: Request) -> Response:
    await pulse.stop()
    return PlainTextResponse("ok")


def _endpoint(view: Callable[[object], str]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return PlainTextResponse(view(request.session))

    return endpoint


app = Starlette(
    routes=[
        *(Route(f"/{name}", _endpoint(view)) for name, view in VIEWS.items()),
        Route("/watch", _watch),
        Route("/unwatch", _unwatch),
    ],
    middleware=[Middleware(SessionMiddleware, manager=manager)],
    lifespan=_working,
)
