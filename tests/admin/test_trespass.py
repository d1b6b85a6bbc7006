"""Getting past the gate: every route, method and frame without the right to be there, forged and replayed requests,
another site's pages in a real browser, and a right that ends while something is under way.

What is behind the gate keeps a list of what reaches it (`Gated.passed`). It stays empty.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest
from browsing import Guest, chromium, live, look
from gated import PASSWORD, SECRET, UNDER, Gated, Operator, gated, operators_in, page_for, token_on
from playwright.sync_api import Browser, Page, expect
from starlette.responses import PlainTextResponse
from visiting import Tab, new_tab, served

from servers.process import LOOPBACK
from sojourn import Handle
from sojourn.admin import Dashboard
from sojourn.admin.gate import HostCheck, Password
from sojourn.live.exchanging import EXTENSION
from sojourn.live.serving import router

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "X" * 40)

PATHS: Final = sorted(
    {
        route.path.replace("{name}", name)
        for route in router(page_for(operators_in())).routes
        for name in ("live.js", "live.css", "page.js")
    }
    | {
        *(
            "",
            "/_gate",
            "/_gate/",
            "/_gate/sign-in",
            "/_gate/sign-out",
            "/_gate/sign-in/",
            "/_gate/live.css/../../health",
        ),
        *("/_gate/../", "/_gate/live.css/", "/_gate/sign-in.css%00", "/_gate/..%2fhealth", "/_gate//live.css"),
        *("//", "/./", "/../", "/%2e%2e/", "/health/", "/health;x", "/HEALTH", "/_live/../_gate/live.css", "/nothing"),
        *("/?ticket=x", "/?session_id=x", "/_live/socket", "/_live/exchange", "/_live/renew?/_gate/live.css"),
    }
)
"""Every route of the app behind the gate, the gate's own, and what might be taken for one of those."""

OPEN: Final = {"/_gate/live.css", "/_gate/sign-in.css"}
"""What anybody may see, where the gate has a sign-in of its own: how the sign-in page looks."""


FRAMES: Final[dict[str, str | bytes]] = {
    "event": json.dumps({"t": "event", "n": 1, "id": "s:button", "event": "click", "value": None}),
    "hello": json.dumps({"t": "hello", "v": 1, "tab": "x" * 22, "s": None, "g": None, "n": 1}),
    "ping": json.dumps({"t": "ping"}),
    "another's": json.dumps({"t": "ticket", "ticket": "x"}),
    "unknown": json.dumps({"t": "nothing"}),
    "malformed": "{",
    "nothing": "",
    "bytes": b"\x00\xff",
    "long": "x" * 60_000,
}


class Host:
    """The host application's word, which a test changes."""

    def __init__(self, said: str | None) -> None:
        self.said = said

    def __call__(self, request: Any) -> str | None:
        return self.said


def guard_of(kind: str, said: str | None = "ada", **options: Any) -> Any:
    return Password(PASSWORD, pause=0) if kind == "password" else HostCheck(Host(said), **options)


def enter(site: Gated, kind: str) -> Operator:
    """Somebody with the right to be here."""
    ada = site.operator()
    if kind == "password":
        assert ada.sign_in().status_code == 303
    else:
        ada.load()
    return ada


@pytest.fixture(scope="module", params=["password", "check"])
def closed(request: pytest.FixtureRequest) -> Iterator[tuple[Gated, str]]:
    """A site on which nobody has the right to be: who signs in has the password, and the check says no."""
    with gated(guard_of(request.param, None)) as site:
        yield site, request.param


COOKIES: Final = (
    *("no cookie", "malformed", "made up", "ended", "a stranger's", "nobody's", "another secret", "no password"),
    *("twice", "of the live app"),
)


def cookies_without_a_right(site: Gated) -> dict[str, str]:
    """Cookies of nobody, of a session that has ended, of one that nobody signed in to, and of one whose user is no
    operator."""

    async def make() -> dict[str, str]:
        manager = site.operators
        ended, stranger, blank = (
            await manager.create_session("operator"),
            await manager.create_session("mallory"),
            await manager.create_session(data={"_gate": "x"}),
        )
        await manager.end_session(ended)
        unmarked = await manager.create_session("operator")
        handle = blank.partition(".")[0]
        return {
            "no cookie": "",
            "malformed": "dashboard=x",
            "made up": f"dashboard={'a' * 22}.{'b' * 43}",
            "ended": f"dashboard={ended}",
            "a stranger's": f"dashboard={stranger}",
            "nobody's": f"dashboard={blank}",
            "another secret": f"dashboard={handle}.{'b' * 43}",
            "no password": f"dashboard={unmarked}",
            "twice": f"dashboard={blank}; dashboard={stranger}",
            "of the live app": f"live-dashboard={blank}",
        }

    return site.site.do(make())


# --- Without the right -----------------------------------------------------------------------------------------------


def ask(port: int, method: str, path: str, **headers: str) -> tuple[int, str, str]:
    """Ask for exactly this path, which most clients would tidy up; the status, the headers, the text."""
    connection = HTTPConnection(LOOPBACK, port, timeout=10)
    try:
        connection.request(method, path or "/", headers=headers)
        answer = connection.getresponse()
        return answer.status, str(answer.headers).lower(), answer.read().decode()
    finally:
        connection.close()


def stays_closed(site: Gated, kind: str, method: str, path: str) -> None:
    """Without the right this is answered with 401 or 403, and not passed on."""
    for origin in ({}, {"Origin": f"http://{LOOPBACK}:{site.site.port}"}):
        status, headers, text = ask(site.site.port, method, path, **origin)
        reads = method in ("GET", "HEAD")
        wanted = 401 if kind == "password" and (reads or origin) else 403
        if kind == "password" and reads and path in OPEN:
            wanted = 200
        if path == "/_gate/sign-in" and method == "POST":
            wanted = 403  # there is no token
        assert status == wanted, (method, path, origin)
        assert SECRET not in text
        assert "set-cookie: dashboard=" not in headers
    assert site.passed.requests == []


@pytest.mark.parametrize("method", METHODS)
def test_every_route_and_method_is_closed(closed: tuple[Gated, str], method: str) -> None:
    """Whatever is asked for in whatever way: without the right the answer is 401 where the gate has a sign-in, and 403
    where the host decides or the request comes from no page of ours; what is behind the gate hears nothing of it."""
    site, kind = closed
    for path in PATHS:
        stays_closed(site, kind, method, path)


@pytest.mark.parametrize("why", COOKIES)
def test_no_cookie_helps(closed: tuple[Gated, str], why: str) -> None:
    """The cookie of nobody, of a session that has ended, of one that nobody has signed in to, and of one whose user is
    no operator open nothing."""
    site, kind = closed
    cookie = cookies_without_a_right(site)[why]
    origin = f"http://{LOOPBACK}:{site.site.port}"
    for path in ("/", "/health", "/_live/live.js", "/_live/renew", "/_live/exchange", "/_gate/sign-out"):
        for method in ("GET", "POST"):
            status, _, text = ask(site.site.port, method, path, Cookie=cookie, Origin=origin)
            assert status == (401 if kind == "password" else 403), (method, path)
            assert SECRET not in text
    assert site.passed.requests == []


@pytest.mark.parametrize("kind", ["password", "check"])
def test_every_answer_is_hardened(kind: str) -> None:
    """Every answer, refusals and what is behind the gate alike, says that no script but our own may run, and that
    nobody may frame it, keep it, or guess its type; each of these headers is there once."""
    with gated(guard_of(kind), under=UNDER) as site:
        ada = enter(site, kind)
        for who in (ada, site.operator()):
            for method in ("GET", "HEAD", "POST", "OPTIONS"):
                for path in (
                    "/",
                    "/health",
                    "/_live/live.js",
                    "/_live/exchange",
                    "/_gate/live.css",
                    "/_gate/sign-out",
                    "/x",
                ):
                    answer = who.request(method, path)
                    once = {name: answer.headers.get_list(name) for name in HARDENED}
                    assert {name: len(values) for name, values in once.items()} == dict.fromkeys(HARDENED, 1), path
                    assert "unsafe" not in once["content-security-policy"][0]
                    assert "script-src 'self';" in once["content-security-policy"][0]
                    assert "frame-ancestors 'none'" in once["content-security-policy"][0]
                    assert once["cache-control"] == ["no-store"]
                    assert once["x-content-type-options"] == ["nosniff"]


HARDENED: Final = (
    *("content-security-policy", "x-content-type-options", "x-frame-options", "referrer-policy", "cache-control"),
    *("cross-origin-opener-policy", "cross-origin-resource-policy"),
)


def test_the_sign_in_page_has_nothing_inline() -> None:
    """The gate's own pages hold no script, no style, no handler of an event."""
    with gated(Password(PASSWORD)) as site:
        ada = site.operator()
        pages = [ada.request("GET", "/").text]
        ada.sign_in()
        pages.append(ada.request("GET", "/_gate/sign-out").text)
        for page in pages:
            assert not re.search(r"<script|<style|\son\w+=|\sstyle=|javascript:", page)


@pytest.mark.parametrize("why", COOKIES)
def test_sockets_without_the_right_are_refused(closed: tuple[Gated, str], why: str) -> None:
    """A socket without the right is refused before it is accepted, with 401 or 403, though its page is ours."""
    site, kind = closed
    eve = site.operator(Cookie=cookies_without_a_right(site)[why])
    query = f"?ticket={'a' * 22}.{'b' * 43}&session_id=x"
    assert eve.knock(query, **eve.origin) == (401 if kind == "password" else 403)
    assert eve.knock(query) == 403
    assert site.passed.requests == []


@pytest.mark.parametrize("kind", ["password", "check"])
def test_a_ticket_alone_lets_nobody_in(kind: str) -> None:
    """A good ticket without the cookie of its session opens no socket."""
    with gated(guard_of(kind)) as site:
        ada = enter(site, kind)
        ada.load()
        eve = site.operator()
        assert eve.knock(f"?ticket={ada.ticket()}", **eve.origin) in (401, 403)
        assert ada.knock(f"?ticket={ada.ticket()}", **ada.origin) == 101  # and it is not used up by that


@contextmanager
def dashboards(how: str, **options: Any) -> Iterator[int]:
    """A real dashboard on a server of each kind; its port."""
    dashboard = Dashboard("memory://", **options)
    if how == "asgi":
        with served(dashboard) as site:
            yield site.port
        return
    mounted = dashboard.wsgi(lambda environ, start: [], UNDER)

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: object) -> None: ...

    server = make_server(LOOPBACK, 0, mounted, handler_class=Quiet)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
        mounted.close()


@pytest.mark.parametrize("how", ["asgi", "wsgi"])
@pytest.mark.parametrize("kind", ["password", "check"])
def test_the_dashboard_itself_is_closed(how: str, kind: str) -> None:
    """A dashboard as it is mounted, on ASGI and on WSGI, answers every route and method with 401 or 403, and opens no
    socket."""
    options: dict[str, Any] = {"password": PASSWORD} if kind == "password" else {"check": lambda request: None}
    under = UNDER if how == "wsgi" else ""
    with dashboards(how, **options) as port:
        for path in PATHS:
            for method in METHODS if path in ("/", "/_live/exchange") else ("GET", "POST"):
                origin = {"Origin": f"http://{LOOPBACK}:{port}"}
                status, headers, _ = ask(port, method, under + (path or "/"), **origin)
                if kind == "password" and path in OPEN and method in ("GET", "HEAD"):
                    assert status == 200
                elif kind == "password" and path == "/_gate/sign-in" and method == "POST":
                    assert status == 403
                else:
                    assert status == (401 if kind == "password" else 403), (method, path)
                assert headers.count("content-security-policy: default-src 'none';") == 1
                assert "set-cookie: sojourn-dashboard=" not in headers
        eve = Operator(port, under)
        if how == "asgi":
            assert eve.knock("?ticket=x", **eve.origin) == (401 if kind == "password" else 403)


# --- With the right, and nothing else --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["password", "check"])
def test_a_socket_shows_origin_and_ticket(kind: str) -> None:
    """The cookie alone opens no socket: its page must be of this very origin, and show a ticket of the same session
    that was not used. A socket that is opened again with the same URL, cookie and origin is refused. The app never sees
    a ticket."""
    with gated(guard_of(kind)) as site:
        ada, bob = enter(site, kind), enter(site, kind)
        ada.load()
        bob.load()
        ticket = ada.ticket()
        good = f"?ticket={ticket}"
        before = len(site.passed.requests)
        for origin in ("", "null", "http://evil.example", "http://localhost", f"http://{LOOPBACK}:1", "http://"):
            assert ada.knock(good, **({"Origin": origin} if origin else {})) == 403, origin
        forged = ticket[:-1] + ("A" if ticket[-1] != "A" else "B")
        bad = ("", "?ticket=", "?ticket=x", f"?ticket={bob.ticket()}", f"{good}&ticket={ticket}", f"?Ticket={ticket}")
        for query in (*bad, f"?ticket={ada.session_id}", f"?ticket={forged}", f"?x={ticket}"):
            assert ada.knock(query, **ada.origin) == 403, query
        assert ada.knock(f"{good}&x=1", **ada.origin) == 101
        assert ada.knock(good, **ada.origin) == 403  # it was used
        opened = site.passed.requests[before:]
        assert [one.partition(" ")[0] for one in opened] == ["SOCKET"]
        assert "ticket" not in " ".join(opened)


def test_a_ticket_does_not_last() -> None:
    """A ticket of a page that was loaded too long ago opens nothing."""
    ahead = [0.0]
    operators = operators_in()
    operators.clock = lambda: time.time() + ahead[0]
    with gated(Password(PASSWORD), operators=operators) as site:
        ada = enter(site, "password")
        ada.load()
        ahead[0] = 31.0
        assert ada.knock(f"?ticket={ada.ticket()}", **ada.origin) == 403


@pytest.mark.parametrize("kind", ["password", "check"])
def test_changes_come_from_our_own_pages(kind: str) -> None:
    """With the right to be there, whatever is no GET or HEAD must come from a page of this very origin, and say so."""
    with gated(guard_of(kind)) as site:
        ada = enter(site, kind)
        before = len(site.passed.requests)
        for method in METHODS[2:]:
            for path in ("/", "/_live/exchange", "/_live/renew", "/_live/forget", "/_gate/sign-out", "/_gate/sign-in"):
                for origin in (
                    None,
                    "null",
                    "http://evil.example",
                    f"http://localhost:{ada.port}",
                    f"http://{LOOPBACK}",
                ):
                    headers = {} if origin is None else {"Origin": origin}
                    assert ada.request(method, path, headers=headers).status_code == 403, (method, path, origin)
        assert len(site.passed.requests) == before
        assert ada.request("GET", "/").status_code == 200


def test_changes_need_a_session_first() -> None:
    """Whom the host lets in, and who has no session of the dashboard yet, can change nothing: the page comes first."""
    with gated(guard_of("check")) as site:
        ada = site.operator()
        for path in ("/", "/_live/exchange", "/_live/renew", "/_gate/sign-in"):
            assert ada.post(path, json={}).status_code == 403
        assert ada.knock("?ticket=x", **ada.origin) == 403
        assert (site.passed.requests, ada.cookies) == ([], {})


def an_exchange(*events: Any) -> dict[str, Any]:
    """The body of an exchange, as an open page sends it."""
    hello = {"t": "hello", "v": 1, "tab": new_tab(), "s": None, "g": None, "n": 1}
    return {"json": {"hello": hello, "events": list(events), "wait": False}}


@pytest.mark.parametrize("kind", ["password", "check"])
def test_exchanges_need_the_right_as_sockets_do(kind: str) -> None:
    """A page that asks over plain HTTP is served with the right to be there; without, its exchange does not reach the
    app, is answered with 401 or 403, and tells the page in its own words that it is over."""
    click = json.loads(FRAMES["event"])
    guard = guard_of(kind)
    with gated(guard) as site:
        ada = enter(site, kind)
        ada.load()
        answer = ada.post("/_live/exchange", **an_exchange(click))
        assert answer.status_code == 200
        assert [frame["t"] for frame in answer.json()["frames"]].count("page") == 1
        before = len(site.passed.requests)
        assert ada.request("POST", "/_live/exchange", **an_exchange(click)).status_code == 403
        if kind == "password":
            site.end(ada.handle)
        else:
            guard._check.said = None
        for who in (ada, site.operator()):
            refused = who.post("/_live/exchange", **an_exchange(click))
            assert refused.status_code == (401 if kind == "password" else 403)
            assert refused.json() == {"frames": [{"t": "ended", "reason": "unknown"}], "close": 1008}
        assert len(site.passed.requests) == before


def test_signing_out_needs_a_token() -> None:
    """A form of another page cannot sign out: the token must be of this very session."""
    with gated(Password(PASSWORD)) as site:
        ada, bob = enter(site, "password"), enter(site, "password")
        theirs = bob.token("/_gate/sign-out")
        own = ada.token("/_gate/sign-out")
        for data in ({}, {"token": ""}, {"token": theirs}, {"token": own[:-1]}, {"token": "x" * 65}, {"other": own}):
            assert ada.post("/_gate/sign-out", data=data).status_code == 403, data
        assert ada.post("/_gate/sign-out", json={"token": own}).status_code == 403
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert ada.post("/_gate/sign-out", content=f"token={own}&token={own}", headers=form).status_code == 403
        assert ada.request("GET", f"/_gate/sign-out?token={own}").status_code == 200
        assert ada.request("GET", "/").status_code == 200
        assert ada.post("/_gate/sign-out", data={"token": own}).status_code == 303


# --- The sign-in, forged and replayed --------------------------------------------------------------------------------


def test_a_sign_in_cannot_be_sent_twice() -> None:
    """The token of a sign-in form is good once: sent again it is refused, with the right password, whether the first
    one was right or wrong. A fresh form works."""
    with gated(Password(PASSWORD, pause=0)) as site:
        for password, status in ((PASSWORD, 303), ("wrong horse battery", 401)):
            ada = site.operator()
            token = ada.token()
            bound = dict(ada.cookies)
            data = {"token": token, "password": password}
            assert ada.post("/_gate/sign-in", data=data).status_code == status
            ada.cookies = bound
            again = ada.post("/_gate/sign-in", data={**data, "password": PASSWORD})
            assert (again.status_code, "out of date" in again.text) == (403, True)
            assert "dashboard" not in ada.cookies
            fresh = {"token": token_on(again.text), "password": PASSWORD}
            assert ada.post("/_gate/sign-in", data=fresh).status_code == 303


def test_a_sign_in_is_of_one_browser() -> None:
    """The token of another browser's form, a made-up one, none, or one without the cookie that it is bound to: the
    right password is not even looked at."""
    with gated(Password(PASSWORD, attempts=1, pause=0)) as site:
        eve, ada = site.operator(), site.operator()
        theirs, own = eve.token(), ada.token()
        for token in (theirs, "", own[:-1], own[1:], own + "x", own.upper(), "\u00fc" * 65, "x" * 65):
            refused = ada.post("/_gate/sign-in", data={"token": token, "password": PASSWORD})
            assert refused.status_code == 403, token
        bound = ada.cookies
        for cookies in ({}, {"dashboard-form": "x"}, {"dashboard-form": eve.cookies["dashboard-form"]}):
            ada.cookies = dict(cookies)
            assert ada.post("/_gate/sign-in", data={"token": own, "password": PASSWORD}).status_code == 403, cookies
        ada.cookies = bound
        for origin in ("", "null", "http://evil.example"):
            headers = {"Origin": origin} if origin else {}
            data = {"token": own, "password": PASSWORD}
            assert ada.request("POST", "/_gate/sign-in", data=data, headers=headers).status_code == 403
        assert site.audit == []
        assert ada.post("/_gate/sign-in", data={"token": own, "password": PASSWORD}).status_code == 303


def test_a_form_that_is_none_is_refused() -> None:
    """A body that is too long, of another type, malformed, or with a field twice: refused, and nothing fails."""
    with gated(Password(PASSWORD, pause=0)) as site:
        ada = site.operator()
        token = ada.token()
        right = f"token={token}&password={PASSWORD.replace(' ', '+')}"
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        for content in (
            *(f"{right}&x={'x' * 5000}", f"{right}&token={token}", "%", "\u00fc", "&" * 100, f"{right}%ff=%ff"),
            *(right.encode() + b"\xff", b"\x00" * 100, f"token={token};password={PASSWORD}"),
        ):
            content = content.encode() if isinstance(content, str) else content
            answer = ada.post("/_gate/sign-in", content=content, headers=form)
            assert answer.status_code in (401, 403), content[:60]
            token = token_on(answer.text) if answer.status_code == 401 else token
        for kind in ("text/plain", "multipart/form-data; boundary=x", "application/json", ""):
            headers = {"Content-Type": kind} if kind else {}
            assert ada.post("/_gate/sign-in", content=right, headers=headers).status_code == 403, kind
        assert "dashboard" not in ada.cookies


def test_a_planted_session_is_not_taken_over() -> None:
    """Who signs in with another's cookie in the browser, or with a made-up one, gets an id of their own."""
    with gated(Password(PASSWORD)) as site:
        for planted in (f"{'a' * 22}.{'b' * 43}", "x"):
            ada = site.operator()
            ada.cookies["dashboard"] = planted
            assert ada.sign_in().status_code == 303
            assert ada.session_id != planted
            assert not ada.session_id.startswith("a" * 22)


def test_hostile_names_at_the_sign_in(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever is typed as a name is refused like any, is in no page and no header, and is one line of the audit."""
    caplog.set_level(logging.INFO, "sojourn.audit")
    names = [
        "a\nb",
        "a\r\nSet-Cookie: x=1",
        "</form><script>ran(1)</script>",
        '" onfocus="ran(1)',
        "\u202e",
        "x" * 3000,
    ]
    with gated(Password({"ada": PASSWORD}, pause=0)) as site:
        for name in names:
            answer = site.operator().sign_in(PASSWORD, name=name)
            assert answer.status_code == 401
            assert "ran(1)" not in answer.text
            assert "x" not in answer.cookies
    lines = [one.getMessage() for one in caplog.records if one.name == "sojourn.audit"]
    assert len(lines) == len(names)
    assert all(line.isprintable() and line.isascii() for line in lines)


# --- Headers ---------------------------------------------------------------------------------------------------------


def raw(port: int, request: bytes) -> bytes:
    """What a server answers to bytes."""
    with socket.create_connection((LOOPBACK, port), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while part := connection.recv(65536):
            answer += part
        return answer


def test_a_hostile_host_is_in_no_header() -> None:
    """What a client says the host is gets into no header of the answer, unless it looks like one."""
    hosts = ["a.example; script-src *", "a.example'x", "a, b.example", "*", "a b", "a.example/x", "a.a:80:80", "\u00fc"]
    with gated(Password(PASSWORD)) as site:
        for host in hosts:
            request = b"GET / HTTP/1.1\r\nHost: " + host.encode("latin-1") + b"\r\nConnection: close\r\n\r\n"
            head = raw(site.site.port, request).partition(b"\r\n\r\n")[0]
            assert head.split(b" ")[1] in (b"401", b"400"), host
            assert host.encode("latin-1") not in head
            assert b"ws://" not in head
        fine = b"GET / HTTP/1.1\r\nHost: a.example:80\r\nConnection: close\r\n\r\n"
        assert b"connect-src 'self' ws://a.example:80 wss://a.example:80;" in raw(site.site.port, fine)


@pytest.mark.parametrize("kind", ["password", "check"])
def test_nobody_is_sent_to_another_site(kind: str) -> None:
    """No path and no parameter makes the gate send a browser to another site, before or after the sign-in."""
    evil = (
        "//evil.example/",
        "//evil.example/%2f..",
        "/\\evil.example/",
        "/%0d%0aSet-Cookie:x=1/",
        "/https://evil.example/",
    )
    with gated(guard_of(kind)) as site:
        ada = enter(site, kind)
        for cookie in (ada.cookie_header(), {}):
            for path in evil:
                for where in (
                    path,
                    "/_gate/sign-in?next=http://evil.example/",
                    f"/_gate/sign-in{path}",
                    f"/_gate{path}",
                ):
                    _, headers, _ = ask(site.site.port, "GET", where, **cookie)
                    for location in re.findall(r"location: (\S+)", headers):
                        assert httpx.URL(f"http://a.example{where}").join(location).host == "a.example", (
                            where,
                            location,
                        )
                    assert "set-cookie: x" not in headers


# --- A right that ends -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False], ids=["the first frame", "a later one"])
def test_no_frame_passes_without_the_right(first: bool) -> None:
    """Once the host has taken the right away, the next frame, whatever it is, does not get to the app, the first of a
    socket included: the page is cleared, and the socket closed with 1008."""
    host = Host("ada")
    with gated(HostCheck(host, every=60)) as site:
        for name, frame in FRAMES.items():
            host.said = "ada"
            ada = site.operator()
            tab = Tab(ada, new_tab(), ada.load())
            if first:
                tab.socket = ada.connect(f"?ticket={ada.ticket()}", headers=ada.origin)
            else:
                tab.connect(query=f"?ticket={ada.ticket()}", headers=ada.origin)
                assert tab.click("s:button")["t"] == "changes"
            heard = list(site.passed.frames)
            host.said = None
            tab.raw(frame)
            assert tab.closed() == 1008, name
            assert (tab.model.ended, tab.model.children) == ("ended", [])
            assert site.passed.frames == heard, name


def test_no_frame_passes_after_the_session() -> None:
    """A frame that comes when the operator's session has run out does not get to the app, although nobody has told the
    socket yet."""
    ahead = [0.0]
    operators = operators_in()
    operators.clock = lambda: time.time() + ahead[0]
    with gated(Password(PASSWORD), operators=operators) as site:
        ada = enter(site, "password")
        tab = ada.tab()
        tab.click("s:button")
        heard = list(site.passed.frames)
        ahead[0] = 86_401.0
        tab.raw(FRAMES["event"])
        assert tab.closed() == 1008
        assert site.passed.frames == heard


@pytest.mark.parametrize("how", ["ended", "another's", "refused"])
def test_an_answer_is_taken_back(how: str) -> None:
    """When the right ends while a request is under way, as the session has ended or is another user's, or as the host
    says so, its answer is not sent: in its place comes 401 or 403."""
    kind = "check" if how == "refused" else "password"
    started, go_on = threading.Event(), threading.Event()

    def slow(app: Any) -> Any:
        async def behind(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and scope["path"] == "/slow":
                started.set()
                await asyncio.to_thread(go_on.wait, 10)
                await PlainTextResponse(SECRET, headers={"X-Behind": "1"})(scope, receive, send)
            else:
                await app(scope, receive, send)

        return behind

    guard = guard_of(kind)
    with gated(guard, behind=slow) as site, ThreadPoolExecutor(1) as pool:
        ada = enter(site, kind)
        for ends in (False, True):
            started.clear()
            go_on.clear()
            asking = pool.submit(ada.request, "GET", "/slow")
            assert started.wait(10)
            if ends and how == "ended":
                site.end(ada.handle)
            elif ends and how == "another's":
                site.site.do(site.operators.login(Handle(ada.handle), "eve"))
            elif ends:
                guard._check.said = None
                time.sleep(1.1)  # the host's word holds for a second
            go_on.set()
            answer = asking.result(10)
            wanted = 200 if not ends else 401 if kind == "password" else 403
            assert answer.status_code == wanted
            assert (SECRET in answer.text, "x-behind" in answer.headers) == (not ends, not ends)


@pytest.mark.parametrize("kind", ["password", "check"])
def test_the_app_begins_no_session_of_its_own(kind: str) -> None:
    """If the operator's session ends just before the app looks for it, the app would begin one that nobody has signed
    in to. Neither its page nor its cookie gets out."""
    ending: list[Gated] = []

    def racing(app: Any) -> Any:
        async def behind(scope: Any, receive: Any, send: Any) -> None:
            if ending and scope["type"] == "http":
                for one in await ending[0].operators.list_sessions():
                    if one.user_id is not None:
                        await ending[0].operators.end_session(Handle(one.handle))
            await app(scope, receive, send)

        return behind

    with gated(guard_of(kind), behind=racing) as site:
        ada = enter(site, kind)
        cookie = ada.session_id
        ending.append(site)
        answer = ada.request("GET", "/")
        assert answer.status_code == (401 if kind == "password" else 403)
        assert SECRET not in answer.text
        assert ada.session_id == cookie
        assert not [one for one in answer.headers.get_list("set-cookie") if one.startswith("dashboard=")]


def test_a_store_that_is_away_lets_nobody_in() -> None:
    """While the store of the operators' sessions does not answer: 503 for pages and sockets, whoever asks."""
    operators = operators_in()
    with gated(Password(PASSWORD), operators=operators) as site:
        ada = enter(site, "password")
        ada.load()
        before = len(site.passed.requests)
        site.site.do(operators.store.close())
        assert ada.request("GET", "/").status_code == 503
        assert ada.post("/_live/exchange").status_code == 503
        assert ada.knock(f"?ticket={ada.ticket()}", **ada.origin) == 503
        assert len(site.passed.requests) == before


def test_no_id_is_told(caplog: pytest.LogCaptureFixture) -> None:
    """In all of this no session id, no password and no token gets into a page, a log line at INFO or above, or the
    audit; the cookie alone has the id."""
    caplog.set_level(logging.INFO)
    caplog.set_level(logging.WARNING, "httpx")
    with gated(Password(PASSWORD, pause=0)) as site:
        ada = site.operator()
        ada.sign_in("wrong horse battery")
        ada.sign_in()
        tab = ada.tab()
        tab.click("s:button")
        secrets = (ada.session_id, ada.session_id.partition(".")[2], PASSWORD, "wrong horse")
        seen = [ada.html, ada.request("GET", "/_gate/sign-out").text, caplog.text, repr(site.audit), repr(tab.frames)]
        ada.sign_out()
        seen += [caplog.text, repr(site.audit)]
        assert not [secret for secret in secrets if any(secret in one for one in seen)]


# --- Another site's pages, in a browser ------------------------------------------------------------------------------

_ATTACKS: Final = """<!doctype html><title>Evil</title><script>
const target = %(target)s, ticket = %(ticket)s, token = %(token)s;
const results = window.results = {};
const report = (name, what) => { results[name] = what; };
const socket = (name, query) => new Promise((done) => {
  const one = new WebSocket(target.replace("http", "ws") + "_live/socket" + query);
  one.onopen = () => { report(name, "open"); one.close(); done(); };
  one.onclose = () => { results[name] ??= "refused"; done(); };
});
const ask = async (name, path, options) => {
  try {
    const answer = await fetch(target + path, { credentials: "include", ...options });
    report(name, answer.type === "opaque" ? "opaque" : await answer.text());
  } catch (error) { report(name, "refused"); }
};
const load = (name, element, attribute, path) => new Promise((done) => {
  const one = document.createElement(element);
  one.onload = () => { report(name, "loaded"); done(); };
  one.onerror = () => { report(name, "refused"); done(); };
  one[attribute] = target + path;
  if (element === "link") one.rel = "stylesheet";
  document.head.append(one);
});
const form = (path, fields) => {
  const frame = document.createElement("iframe"), one = document.createElement("form");
  frame.name = path; one.target = path; one.method = "post"; one.action = target + path;
  for (const [name, value] of Object.entries(fields)) {
    const input = document.createElement("input");
    Object.assign(input, { name, value }); one.append(input);
  }
  document.body.append(frame, one); one.submit();
};
window.attack = async () => {
  await socket("socket", "");
  await socket("socket with a ticket", "?ticket=" + ticket);
  await ask("read", "", {});
  await ask("read quietly", "", { mode: "no-cors" });
  await ask("exchange", "_live/exchange", { method: "POST", mode: "no-cors", body: "{}" });
  const headers = { "Content-Type": "application/json" };
  await ask("exchange json", "_live/exchange", { method: "POST", headers, body: "{}" });
  await ask("renew", "_live/renew", { method: "POST", mode: "no-cors", body: ticket });
  await ask("forget", "_live/forget", { method: "POST", mode: "no-cors" });
  await ask("sign out", "_gate/sign-out", { method: "POST", mode: "no-cors", body: new URLSearchParams({ token }) });
  await load("script", "script", "src", "_live/live.js");
  await load("picture", "img", "src", "");
  await load("sheet", "link", "href", "_live/live.css");
  form("_gate/sign-out", { token });
  form("_live/exchange", { hello: "x" });
  form("_live/forget", {});
  const frame = document.createElement("iframe");
  frame.src = target;
  document.body.append(frame);
  await new Promise((done) => setTimeout(done, 500));
  try { report("frame", frame.contentDocument?.body?.textContent ?? "refused"); } catch { report("frame", "refused"); }
  report("frames", String(frames.length));
  return results;
};
</script><body></body>"""


@contextmanager
def evil_site(**parts: str) -> Iterator[int]:
    """A site of somebody else's, whose page attacks; the port."""
    page = (_ATTACKS % {name: json.dumps(part) for name, part in parts.items()}).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


def sign_in(page: Page, password: str = PASSWORD) -> None:
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


@pytest.mark.battery
@pytest.mark.parametrize(
    ("kind", "name"),
    [("password", LOOPBACK), ("password", "localhost"), ("check", LOOPBACK)],
    ids=["another port", "another site", "another port, by the host's check"],
)
def test_another_sites_page_gets_nowhere(browser: Browser, kind: str, name: str) -> None:
    """In a browser that is signed in, a page of another port of the same host (which has the cookies, SameSite or not),
    or of another site, tries to open the socket (with a ticket that it was given, even), to read, to post by script and
    by form, to load scripts, and to frame: nothing of it gets to the app, and the operator stays signed in."""
    with gated(guard_of(kind)) as site:
        root = f"http://{LOOPBACK}:{site.site.port}/"
        ada = Guest(browser, root)
        page = ada.context.new_page()
        page.goto(root)
        if kind == "password":
            sign_in(page)
        live(page)
        expect(page.get_by_text(SECRET)).to_be_visible()
        fresh = ada.context.request.get(root).text()  # a page that is not used: its ticket is good
        (ticket,) = re.findall(r'data-ticket="([^"]+)"', fresh)
        token = token_on(ada.context.request.get(f"{root}_gate/sign-out").text())
        before = len(site.passed.requests)
        with evil_site(target=root, ticket=ticket, token=token) as port:
            evil = ada.context.new_page()
            evil.goto(f"http://{name}:{port}/")
            results = evil.evaluate("attack()")
            evil.wait_for_timeout(500)
            give_up = time.monotonic() + 20
            while any(frame.url in ("", "about:blank") for frame in evil.frames):  # each is answered, or refused
                assert time.monotonic() < give_up, "a frame stays empty"
                evil.wait_for_timeout(50)
            for frame in evil.frames:
                frame.wait_for_load_state()
            framed = [frame.url for frame in evil.frames if SECRET in frame.content()]
        assert framed == []
        assert site.passed.requests[before:] == []
        read = {what: said for what, said in results.items() if said not in ("refused", "opaque", "")}
        assert set(read) <= {"frames"}, read
        assert ada.context.request.get(root).status == 200
        page.get_by_role("button", name="Click").click()
        expect(page.locator("[data-id='s:count']")).to_have_text("1")
        ada.close()


@pytest.mark.battery
@pytest.mark.parametrize("under", ["", UNDER])
def test_signing_in_and_out_in_a_browser(browser: Browser, under: str) -> None:
    """In a browser: a wrong password is told, the right one leads to the live page, by keyboard alone; signing out in
    another tab clears it; going back shows nothing of it; no page complains of its policy."""
    with gated(Password(PASSWORD, pause=0), under=under) as site:
        root = f"http://{LOOPBACK}:{site.site.port}{under}/"
        ada = Guest(browser, root)
        page = ada.context.new_page()
        page.on("console", lambda message: "401" in message.text or ada.complaints.append(message.text))
        page.goto(root)
        expect(page.get_by_label("Password")).to_be_focused()
        page.keyboard.type("wrong horse battery")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_have_text("That is not right. Please try again.")
        expect(page.get_by_label("Password")).to_be_focused()
        page.keyboard.type(PASSWORD)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        live(page)
        expect(page.get_by_text(SECRET)).to_be_visible()
        other = ada.context.new_page()
        other.goto(f"{root}_gate/sign-out")
        other.get_by_role("button", name="Sign out").click()
        expect(other.get_by_label("Password")).to_be_visible()
        expect(page.get_by_text("This session is over")).to_be_visible()
        assert SECRET not in page.locator("body").inner_text()
        page.evaluate("void setTimeout(() => history.back())")
        page.wait_for_timeout(300)
        expect(page.get_by_text(SECRET)).to_have_count(0)
        assert ada.complaints == []
        ada.close()


@pytest.mark.battery
@pytest.mark.parametrize("password", [PASSWORD, {"ada": PASSWORD}], ids=["one for all", "by name"])
def test_the_gates_pages_look_well(browser: Browser, tmp_path: Path, password: Any) -> None:
    """The sign-in page, what it says to a wrong password, and the sign-out page: names, labels, contrast and size at
    phone and desktop width, light and dark, and by keyboard."""
    with gated(Password(password, pause=0)) as site:
        root = f"http://{LOOPBACK}:{site.site.port}/"
        ada = Guest(browser, root)
        page = ada.context.new_page()
        page.goto(root)
        look(page, tmp_path, "sign-in")
        for typed in ("wrong horse battery", PASSWORD):
            if not isinstance(password, str):
                page.get_by_label("Name").fill("ada")
            sign_in(page, typed)
            if typed != PASSWORD:
                expect(page.get_by_role("alert")).to_be_visible()
                look(page, tmp_path, "refused")
        live(page)
        page.goto(f"{root}_gate/sign-out")
        look(page, tmp_path, "sign-out")
        ada.close()


@pytest.mark.battery
def test_a_right_that_ends_clears_the_page(browser: Browser) -> None:
    """In a browser: when the host takes the right away, what the page shows is gone within seconds, though nobody
    touches it."""
    host = Host("ada")
    with gated(HostCheck(host, every=0.2)) as site:
        ada = Guest(browser, f"http://{LOOPBACK}:{site.site.port}/")
        page = ada.open()
        expect(page.get_by_text(SECRET)).to_be_visible()
        page.get_by_role("button", name="Click").click()
        expect(page.locator("[data-id='s:count']")).to_have_text("1")  # nothing is on its way
        host.said = None
        expect(page.get_by_text("This session is over")).to_be_visible(timeout=3000)
        assert SECRET not in page.locator("body").inner_text()
        page.reload()
        expect(page.get_by_text("Forbidden")).to_be_visible()
        ada.close()


@pytest.mark.battery
def test_a_page_without_a_socket_is_cleared_too(browser: Browser) -> None:
    """In a browser: a page that asks by exchanges, as under WSGI, works behind the gate; when the right ends, the
    refusal of its next one clears it."""

    def plain(app: Any) -> Any:
        async def behind(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "extensions": {EXTENSION: {"wait": 1.0}}}, receive, send)

        return behind

    host = Host("ada")
    with gated(HostCheck(host), behind=plain) as site:
        ada = Guest(browser, f"http://{LOOPBACK}:{site.site.port}/")
        page = ada.open()
        page.get_by_role("button", name="Click").click()
        expect(page.locator("[data-id='s:count']")).to_have_text("1")
        assert not [one for one in site.passed.requests if one.startswith("SOCKET")]
        host.said = None
        expect(page.get_by_text("This session is over")).to_be_visible()
        assert SECRET not in page.locator("body").inner_text()
        ada.close()
