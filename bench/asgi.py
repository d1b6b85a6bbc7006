"""ASGI: what a session adds to a request. A small Starlette app, called in this process: no sockets, no
server.

The same app with no session, with Starlette's own cookie sessions (the whole session travels, signed, and
can be read by its owner), with starsessions in its memory store, and with Sojourn in memory. Payload B. A
request reads one key, or assigns one; an anonymous request has no cookie and does not look at the session.
What is added is the difference to the app with no session, in the same rounds. The session's cookie is
`Secure` wherever it can be. `asgi_redis` asks the same of sessions on a server.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.applications import Starlette
from starlette.middleware.sessions import SessionMiddleware as CookieMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starsessions import InMemoryStore, load_session
from starsessions import SessionMiddleware as StarsessionsMiddleware

from sojourn import AsyncSessionManager
from sojourn.adapters.asgi import SessionMiddleware

from .payloads import B
from .report import Section, Table, Verdict, microseconds, times
from .timing import Driver, Samples, calls_for, in_turns

Messages = list[MutableMapping[str, Any]]
OPERATIONS = {"read": "reads one key", "change": "assigns one key", "anonymous": "anonymous"}
BARE, COOKIE, STARSESSIONS, SOJOURN = (
    "no session",
    "Starlette cookie sessions",
    "starsessions InMemoryStore",
    "Sojourn memory",
)


async def nothing(_: Request) -> None:
    """For sessions that are loaded before the endpoint runs."""


def application(load: Callable[[Request], Awaitable[None]] | None) -> Starlette:
    """The app; `load` is what an endpoint awaits before it uses its session, None for the app without one."""
    numbers = itertools.count(1_000)

    async def create(request: Request) -> Response:
        if load:
            await load(request)
            request.session.update(B.build(1))
        return PlainTextResponse("ok")

    async def read(request: Request) -> Response:
        if load:
            await load(request)
            assert request.session[B.read][B.leaf]
        return PlainTextResponse("ok")

    async def change(request: Request) -> Response:
        value = B.value(next(numbers))
        if load:
            await load(request)
            request.session[B.change] = value
        return PlainTextResponse("ok")

    async def show(request: Request) -> Response:
        await load(request)  # type: ignore[misc]  # it is asked of apps with a session only
        return JSONResponse([request.session[B.change], B.value(next(numbers) - 1)])

    async def anonymous(_: Request) -> Response:
        return PlainTextResponse("ok")

    return Starlette(routes=[Route(f"/{end.__name__}", end) for end in (create, read, change, show, anonymous)])


class Site:
    """One app with clients that have a session each."""

    asynchronous = True

    def __init__(self, name: str, app: Any, clients: int = 1) -> None:
        self.name = name
        self._app = app
        self._cookies: list[bytes | None] = [None] * clients

    async def visit(self, path: str, client: int = 0) -> Messages:
        """One request; what was sent."""
        messages: Messages = []
        headers = [
            (b"host", b"shop.example"),
            (b"user-agent", b"bench/1.0"),
            (b"accept", b"text/html,*/*;q=0.8"),
        ]
        cookie = self._cookies[client]
        if cookie and path != "/anonymous":
            headers.append((b"cookie", cookie))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "https",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": headers,
            "client": ("192.0.2.1", 50_000),
            "server": ("shop.example", 443),
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: MutableMapping[str, Any]) -> None:
            messages.append(message)

        await self._app(scope, receive, send)
        return messages

    async def prepare(self) -> None:
        """Begin the sessions, change them, and assert that each change is there at the next visit."""
        for client in range(len(self._cookies)):
            for path in ("/create", "/change", "/read"):
                messages = await self.visit(path, client)
                assert messages[0]["status"] == 200, f"{self.name}: {path} answered {messages[0]['status']}"
                for name, value in messages[0]["headers"]:
                    if name.lower() == b"set-cookie":
                        self._cookies[client] = value.partition(b";")[0]
            if self.name != BARE:
                kept, wanted = json.loads((await self.visit("/show", client))[1]["body"])
                assert kept == wanted, f"{self.name} lost a change"


def bench(*, quick: bool) -> Section:
    """The added time of each, in memory."""
    rounds, seconds = (7, 0.02) if quick else (15, 0.15)
    section = Section("asgi")
    found: dict[str, Samples] = {}
    manager = AsyncSessionManager()
    with Driver() as driver:
        sites = _sites(manager)
        for site in sites:
            driver.run(site.prepare())
        for operation in OPERATIONS:
            found[operation] = measure(driver, sites, operation, rounds, seconds)
        driver.run(manager.close())
    section.figures["request_seconds"] = {operation: cell.medians() for operation, cell in found.items()}
    section.tables = [table("ASGI: session time added to a request", found, SOJOURN)]
    section.verdicts = _verdicts(found)
    return section


def _sites(manager: AsyncSessionManager) -> list[Site]:
    return [
        Site(BARE, application(None)),
        Site(COOKIE, CookieMiddleware(application(nothing), secret_key="not-a-secret", https_only=True)),
        Site(STARSESSIONS, StarsessionsMiddleware(application(load_session), store=InMemoryStore())),
        Site(SOJOURN, SessionMiddleware(application(nothing), manager=manager)),
    ]


def measure(
    driver: Driver, sites: list[Site], operation: str, rounds: int, seconds: float, clients: int = 1
) -> Samples:
    """The seconds of a request for each site, with so many under way at once."""
    visits = [(f"/{operation}", client) for client in range(clients)]

    def measured(site: Site) -> Callable[[], float]:
        some = visits * (50 // clients)
        calls = calls_for(seconds, driver.mean(site, "visit", some, clients), 50, 20_000)
        requests = visits * (calls // clients)
        return lambda: driver.mean(site, "visit", requests, clients)

    return in_turns(rounds, {site.name: measured(site) for site in sites})


def table(title: str, found: dict[str, Samples], own: str) -> Table:
    """What requests take, and how much of it is the session's."""
    columns = ["payload B, us a request"]
    for operation in found:
        columns += [OPERATIONS[operation], "added", "x of Sojourn's"]
    rows = []
    for name in next(iter(found.values())):
        row = [name]
        for cell in found.values():
            row.append(microseconds(cell.median(name)))
            added = cell.less(BARE)
            row += ["-", "-"] if name == BARE else [microseconds(added.median(name)), times(added.lead(own, name))]
        rows.append(row)
    note = "x of Sojourn's: the added time in multiples of what Sojourn adds: above 1 is slower."
    return Table(title, columns, rows, note)


def _verdicts(found: dict[str, Samples]) -> list[Verdict]:
    """What the project wants of the adapter."""
    verdicts = []
    for operation in ("read", "change"):
        share = 1 / found[operation].less(BARE).lead(SOJOURN, STARSESSIONS)
        wanted = f"a request that {OPERATIONS[operation]}: added at most half of starsessions'"
        verdicts.append(Verdict(wanted, f"{share:.2f} of it", share <= 0.5))
    return verdicts
