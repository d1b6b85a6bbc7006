"""A caching proxy between two users, which keeps whatever it may, never shows one the other's page. The proxy is nginx;
behind it each framework answers over real HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx

from servers.nginx import Nginx
from sites import Reply, Site

Answer = Callable[[str, str | None], tuple[int, list[tuple[str, str]], bytes]]


@contextmanager
def proxied(answer: Answer) -> Iterator[str]:
    """The address of a proxy before a server that answers so to a path and a cookie."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, headers, body = answer(self.path, self.headers.get("Cookie"))
            self.send_response(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "connection", "date", "server"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        try:
            with Nginx(server.server_address[1]) as nginx:
                yield f"http://127.0.0.1:{nginx.port}"
        finally:
            server.shutdown()
            serving.join()


_PAGES: dict[str, Callable[[Any], Any]] = {
    "/value": lambda session: session.get("name", "nobody"),
    "/user": lambda session: session.user_id or "nobody",
    "/in": lambda session: str("name" in session),
    "/length": lambda session: str(len(session)),
    "/list": lambda session: ",".join(session),
    "/write": lambda session: (session.set("seen", session.get("name", "nobody")), session.get("name", "nobody"))[1],
}
_EAGER = [("Cache-Control", "public, max-age=600"), ("Expires", "Thu, 31 Dec 2099 23:59:59 GMT")]


def test_nobody_is_shown_anothers_page(site: Site) -> None:
    """Two users and a stranger ask for the same pages in turns, though the application says that they may be kept: each
    gets their own, and none comes from the cache. A page that looks at no session does."""
    cookies: dict[str, str | None] = {"stranger": None}
    for name in ("ada", "eve"):
        visitor = site.visitor()
        visitor.do(lambda session, name=name: (session.login(name), session.set("name", name)))
        cookies[name] = visitor.jar.header

    def answer(path: str, cookie: str | None) -> tuple[int, list[tuple[str, str]], bytes]:
        look = _PAGES.get(path)
        handler = None if look is None else (lambda session: Reply(headers=_EAGER, body=look(session).encode()))
        response = site.request(handler, cookie, reply=Reply(headers=_EAGER, body=b"for all"))
        return response.status, response.headers, response.body

    with proxied(answer) as address, httpx.Client(base_url=address, timeout=30) as client:
        for path in ("/value", "/user", "/write", "/in", "/length", "/list"):
            for _ in range(2):
                seen = {who: _ask(client, path, cookie) for who, cookie in cookies.items()}
                assert all(state in ("MISS", "EXPIRED", "BYPASS") for _, state in seen.values()), (path, seen)
                if path in ("/value", "/user"):
                    told = {who: body for who, (body, _) in seen.items()}
                    assert told == {"stranger": "nobody", "ada": "ada", "eve": "eve"}
        public = [_ask(client, "/public", cookie) for cookie in [*cookies.values()] * 2]
        assert {body for body, _ in public} == {"for all"}
        assert [state for _, state in public].count("HIT") == 5


def test_this_proxy_does_cross_pages_that_allow_it() -> None:
    """Without the headers that Sojourn adds the same proxy shows one user another's page: the test above can fail."""

    def answer(path: str, cookie: str | None) -> tuple[int, list[tuple[str, str]], bytes]:
        return 200, _EAGER, str(cookie).encode()

    with proxied(answer) as address, httpx.Client(base_url=address, timeout=30) as client:
        assert _ask(client, "/value", "name=ada") == ("name=ada", "MISS")
        assert _ask(client, "/value", "name=eve") == ("name=ada", "HIT")


def _ask(client: httpx.Client, path: str, cookie: str | None) -> tuple[str, str]:
    response = client.get(path, headers={"Cookie": cookie} if cookie else {})
    assert response.status_code == 200
    return response.text, response.headers["X-Cache"]


def test_a_page_that_begins_a_session_is_not_kept(site: Site) -> None:
    """Two strangers who ask for a page that begins a session get a session, and a cookie, each."""

    def answer(path: str, cookie: str | None) -> tuple[int, list[tuple[str, str]], bytes]:
        response = site.request(lambda session: session.set("name", "x") or Reply(headers=_EAGER), cookie)
        return response.status, response.headers, response.body

    with proxied(answer) as address:
        assert len({httpx.get(address, timeout=30).headers["Set-Cookie"] for _ in range(2)}) == 2
