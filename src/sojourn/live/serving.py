"""The app as the web sees it: the page, the socket, the cookie of a new id, health. Starlette routes; what a session
is, and which cookie, is decided where it is for all adapters (`sojourn.exchange`).

Whoever asks for the page without a session gets one: that is what a live app is. The page holds what is on it as JSON,
the module draws it; neither it nor any frame holds the session's id.
"""

from __future__ import annotations

import hashlib
import html
import logging
import traceback
from functools import cache, partial
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route, Router, WebSocketRoute

from .. import ids
from ..asgi_family import credentials_of, respond
from ..errors import SessionNotFound, SojournError, StoreError
from ..exchange import ANSWERED, Exchange, answer_for
from ..session import PlainAsyncSession
from ..sockets import AGAIN, POLICY, Receive, Scope, Send, is_ours, refuse, reject
from ..tickets import redeem, ticket
from ..transport import headers_to_clear, headers_to_set
from .connection import Connection
from .exchanging import Exchanges, is_plain
from .kept import BEGUN, write_fields
from .protocol import Ended, encode
from .session import Session
from .turns import showing

if TYPE_CHECKING:
    from .app import App

__all__ = ["router"]

log = logging.getLogger("sojourn")

_KINDS: Final = {"js": "text/javascript", "css": "text/css"}
_FILES: Final = ("live.js", "more.js", "chart.js", "exchange.js", "live.css", "more.css")
_STATIC: Final = {name: _KINDS[name.rpartition(".")[2]] for name in _FILES}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: https: http:; "
    "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'self'; frame-ancestors {ancestors}; "
    "require-trusted-types-for 'script'"
)
_PAGE: Final = """<!doctype html>
<html lang="{lang}" data-root="{root}"{entry}>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="stylesheet" href="{root}_live/live.css?{css}">
<link rel="icon" href="data:,">
<script type="module" src="{root}_live/live.js?{js}"></script>
</head>
<body>
<main id="app"></main>
<noscript>This page is live: it needs JavaScript.</noscript>
<script type="application/json" id="page">{page}</script>
</body>
</html>
"""
_ONE_MOMENT: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="2"><title>One moment</title>
<p>One moment: your session has just been renewed.</p>
<form method="post" action="{root}_live/forget"><button>It does not go on? Start again</button></form>
</html>
"""


def router(app: App) -> Router:
    """The routes of an app."""
    return Router(
        [
            Route("/", _Page(app), methods=["GET"]),
            Route("/health", _Health(app)),
            Route("/_live/renew", _Renew(app), methods=["POST"]),
            Route("/_live/forget", _Forget(app), methods=["POST"]),
            Route("/_live/exchange", Exchanges(app), methods=["POST"]),
            Route("/_live/{name}", _static, methods=["GET"]),
            WebSocketRoute("/_live/socket", _Socket(app)),
        ],
        redirect_slashes=True,
    )


class _Page:
    """``GET /``."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "HEAD":  # somebody asks whether we are there, which makes no session
            await Response(media_type="text/html")(scope, receive, send)
            return
        try:
            response = await self._response(scope)
        except ANSWERED as error:
            log.warning("a page could not be shown: %s", error)
            await respond(send, answer_for(error))
            return
        except Exception:  # a function of the application's that begins sessions: there is none, then
            log.exception("a page could not be shown")
            why = traceback.format_exc() if self._app.debug else "Something went wrong. Please try again.\n"
            response = PlainTextResponse(why, 500, {"Cache-Control": "no-store"})
        await response(scope, receive, send)

    async def _response(self, scope: Scope) -> Response:
        app = self._app
        rooms = await app.started()
        exchange = app.exchange(scope)
        fields = await exchange.begin(credentials_of(scope))
        if fields.presented == "superseded":
            moment = _ONE_MOMENT.format(root=html.escape(_root(scope)))
            return Response(moment, 503, {"Retry-After": "1", "Cache-Control": "no-store"}, "text/html")
        fields.accessed = True
        if not fields.stored:
            await self._begin(exchange)
        entry = ticket(fields) if app.tickets else ""
        added = await exchange.commit()
        room = await rooms.enter(fields.record.handle)
        if room.record.version != fields.record.version:
            room.look_again()
        if BEGUN not in fields.record.fields:  # somebody else made the session
            await room.run(rooms.welcome)
        page, _ = room.framed()
        body = _page(scope, app, page, entry)
        private = exchange.private([], added)
        fields.close()
        headers = {"Content-Security-Policy": _POLICY.format(ancestors=app.ancestors), **_SAFE}
        response = Response(body, 200, headers, "text/html")
        for name, value in private:
            response.headers.append(name, value)
        return response

    async def _begin(self, exchange: Exchange) -> None:
        """A new visitor: have the application's functions put on the page what it shows to one."""
        fields, rooms = exchange.session, await self._app.started()
        fields.keep()
        session = Session(fields, rooms.new_page())
        token = showing.set(session)
        try:
            await rooms.welcome(session)
        finally:
            showing.reset(token)
        write_fields(fields, session.page.writes, partial(rooms.finish_callbacks, session))
        session.open = False


_SAFE: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def _page(scope: Scope, app: App, page: str, entry: str) -> str:
    named = " data-named" if "url" in app.engine.config.transports else ""
    named += " data-wide" if app.wide else ""
    named += ' data-transport="exchange"' if is_plain(scope) else ""
    return _PAGE.format(
        lang=html.escape(app.lang),
        root=html.escape(_root(scope)),
        entry=f' data-ticket="{html.escape(entry)}"{named}' if entry else named,
        title=html.escape(app.title_text),
        css=_version("live.css"),
        js=_version("live.js"),
        page=page.replace("<", "\\u003c"),
    )


def _root(scope: Scope) -> str:
    """The path that the app is mounted under, with a slash at its end."""
    return str(scope.get("root_path", "")).rstrip("/") + "/"


class _Socket:
    """The WebSocket."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._app
        exchange, credentials = app.exchange(scope), credentials_of(scope)
        try:
            rooms = await app.started()
            fields = await exchange.begin(credentials)
            ours = exchange.transport != "cookie" or is_ours(scope, credentials.host, app.allowed_origins)
            if fields.stored and not ours:
                fields.close()
                await refuse(scope, receive, send)
                return
            room = await rooms.enter(fields.record.handle) if fields.stored else None
            if fields.stored:
                await app.engine.finish(fields)  # it is activity
        except SessionNotFound:
            room = None
        except ANSWERED as error:
            log.warning("a socket could not be opened: %s", error)
            await reject(scope, receive, send, answer_for(error), AGAIN)
            return
        await receive()  # websocket.connect
        await send({"type": "websocket.accept"})
        if room is None:
            await self._nobody(fields.presented, send)
            return
        fields.close()
        entry = await rooms.ticket_for(room) if app.tickets else ""
        await app.serve(Connection(room, receive, send, rooms.limits), entry)

    async def _nobody(self, presented: str, send: Send) -> None:
        """There is no such session: it has ended, or the cookie is about to be replaced."""
        if presented != "superseded":
            await send({"type": "websocket.send", "text": encode(Ended("unknown"))})
        await send({"type": "websocket.close", "code": AGAIN if presented == "superseded" else POLICY, "reason": ""})


class _Renew:
    """``POST /_live/renew``: the cookie of a session that has another id, for who shows the ticket of it, and the
    cookie that it had before."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._response(Request(scope, receive))
        except ANSWERED as error:
            log.warning("a cookie could not be renewed: %s", error)
            await respond(send, answer_for(error))
            return
        await response(scope, receive, send)

    async def _response(self, request: Request) -> Response:
        app = self._app
        await app.started()
        cookie = app.cookie_for(request.scope)
        if not is_ours(request.scope, request.headers.get("host", ""), app.allowed_origins):
            return PlainTextResponse("Forbidden\n", 403)
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > 512:
                return PlainTextResponse("Content Too Large\n", 413)
        shown = body.decode("latin-1")
        before = app.handle_shown(request.scope)
        if before is None or before != (ids.split(shown) or ("",))[0]:
            return PlainTextResponse("Forbidden\n", 403)
        session = await redeem(app.engine, shown, PlainAsyncSession)
        if not session.stored:
            return PlainTextResponse("Forbidden\n", 403)
        session_id = session.rotate()
        try:
            await app.engine.finish(session)
        except SojournError as error:
            if isinstance(error, StoreError):
                raise
            return PlainTextResponse("Conflict\n", 409)
        response = Response(status_code=204, headers={"Cache-Control": "no-store"})
        for name, value in headers_to_set("cookie", session_id, cookie, None):
            response.headers.append(name, value)
        return response


class _Forget:
    """``POST /_live/forget``: away with a cookie whose successor got lost on the way, and to the page."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        if not is_ours(scope, request.headers.get("host", ""), self._app.allowed_origins):
            await PlainTextResponse("Forbidden\n", 403)(scope, receive, send)
            return
        response = Response(status_code=303, headers={"Location": _root(scope), "Cache-Control": "no-store"})
        for name, value in headers_to_clear("cookie", self._app.cookie_for(scope)):
            response.headers.append(name, value)
        await response(scope, receive, send)


class _Health:
    """``GET /health``: 200 while the store answers, else 503."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            rooms = await self._app.started()
            await self._app.engine.store.position()
        except StoreError:
            response = JSONResponse({"status": "the store does not answer"}, 503)
        else:
            sockets = sum(len(room.connections) for room in rooms.open.values())
            response = JSONResponse({"status": "ok", "sessions": len(rooms.open), "sockets": sockets})
        await response(scope, receive, send)


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in _STATIC:
        return PlainTextResponse("Not Found\n", 404)
    version = _version(name)
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable" if request.url.query == version else "no-cache",
        "ETag": f'"{version}"',
        "X-Content-Type-Options": "nosniff",
    }
    if version in request.headers.get("if-none-match", ""):  # as it is, or as a proxy that compresses has made it
        return Response(status_code=304, headers=headers)
    return Response(_content(name), 200, headers, _STATIC[name])


@cache
def _content(name: str) -> bytes:
    return files(__package__).joinpath("static", name).read_bytes()


@cache
def _version(name: str) -> str:
    return hashlib.sha256(_content(name)).hexdigest()[:12]
