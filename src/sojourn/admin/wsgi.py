"""An ASGI application, such as a live app, under a path of a WSGI application.

    app.wsgi_app = mounted(app.wsgi_app, dashboard, "/admin/sessions")   # Flask

It answers what is asked for under the path; everything else goes to the WSGI application as it came. It runs in one
thread of its own (`sojourn.admin.bridge`), which begins with the first request. A page has no socket there, but
exchanges, and each keeps one of the server's threads busy while it waits for news: three seconds at most, and only two
at a time in a process. On a server of one thread none waits, and pages ask once a second.
"""

from __future__ import annotations

from collections.abc import Iterable
from http.client import responses
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from ..errors import ConfigurationError
from ..sockets import ASGIApp, Scope
from .bridge import BODY, TOO_LARGE, Bridge, Waiting, WholeResponse, extensions

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["ONE_THREAD", "THREADS", "Mounted", "mounted", "scope_of"]

THREADS: Final = Waiting(seconds=3.0, most=2)
"""On a server with threads."""

ONE_THREAD: Final = Waiting(seconds=0.0, most=0)
"""On one that has a single thread: nobody may wait."""


def mounted(wsgi_app: WSGIApplication, asgi_app: ASGIApp, at: str) -> Mounted:
    """The WSGI application, with the ASGI application under the path ``at``, which begins with a slash and is longer
    than that, else `ConfigurationError`. ``close()`` of what it returns stops the ASGI application; a process that ends
    need not call it."""
    if not at.startswith("/") or not at.strip("/"):
        raise ConfigurationError(f'the path to mount at is like "/admin/sessions", not {at!r}')
    return Mounted(wsgi_app, Bridge(asgi_app), at.rstrip("/"))


class Mounted:
    """What `mounted` returns: a WSGI application."""

    def __init__(self, wsgi_app: WSGIApplication, bridge: Bridge, at: str) -> None:
        self._wsgi_app = wsgi_app
        self._bridge = bridge
        self._at = at

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path, at = environ.get("PATH_INFO", ""), self._at.encode().decode("latin-1")
        if path != at and not path.startswith(f"{at}/"):
            return self._wsgi_app(environ, start_response)
        response = self._slash(environ) if path == at else self._answered(environ, at)
        start_response(f"{response.status} {responses.get(response.status, 'Unknown')}", response.headers)
        return [response.body]

    def _slash(self, environ: WSGIEnvironment) -> WholeResponse:
        """The page is one slash further: its addresses are read from there."""
        query = environ.get("QUERY_STRING", "")
        path = quote(f"{environ.get('SCRIPT_NAME', '')}{environ['PATH_INFO']}/".encode("latin-1"))
        return WholeResponse.plain(307, "Temporary Redirect", ("location", f"{path}?{query}" if query else path))

    def _answered(self, environ: WSGIEnvironment, at: str) -> WholeResponse:
        body = _body(environ)
        if body is None:
            return TOO_LARGE
        waiting = THREADS if environ.get("wsgi.multithread") else ONE_THREAD
        return self._bridge.respond(scope_of(environ, at, waiting), body)

    def close(self) -> None:
        """Stop the ASGI application and its thread. Requests for it are errors from then on."""
        self._bridge.close()


def _body(environ: WSGIEnvironment) -> bytes | None:
    """The body; None if it is too large. One of a length that is not said has none, unless the server ends it."""
    said = environ.get("CONTENT_LENGTH") or ""
    if said and not (said.isascii() and said.isdigit()):
        return b""
    if not said and not environ.get("wsgi.input_terminated"):
        return b""
    if len(said) > 12 or int(said or 0) > BODY:
        return None
    left, parts = int(said) if said else BODY + 1, []
    while left > 0 and (part := environ["wsgi.input"].read(min(left, 64 * 1024))):
        parts.append(part)
        left -= len(part)
    return None if left <= 0 and not said else b"".join(parts)


def scope_of(environ: WSGIEnvironment, at: str, waiting: Waiting) -> Scope:
    """The scope of a request. ``at`` is the part of its path that the application is mounted under, as the environ has
    paths."""
    root = environ.get("SCRIPT_NAME", "").rstrip("/") + at
    path = (environ.get("SCRIPT_NAME", "").rstrip("/") + environ.get("PATH_INFO", "")).encode("latin-1")
    said = {name[5:]: value for name, value in environ.items() if name.startswith("HTTP_")}
    said |= {name: environ[name] for name in ("CONTENT_TYPE", "CONTENT_LENGTH") if environ.get(name)}
    headers = [(name.replace("_", "-").lower().encode("latin-1"), one.encode("latin-1")) for name, one in said.items()]
    port = environ.get("SERVER_PORT", "")
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": environ.get("SERVER_PROTOCOL", "HTTP/1.1").partition("/")[2] or "1.1",
        "method": environ["REQUEST_METHOD"],
        "scheme": environ.get("wsgi.url_scheme", "http"),
        "path": path.decode("utf-8", "replace"),
        "raw_path": quote(path).encode(),
        "root_path": root.encode("latin-1").decode("utf-8", "replace"),
        "query_string": environ.get("QUERY_STRING", "").encode("latin-1"),
        "headers": headers,
        "client": (environ["REMOTE_ADDR"], 0) if environ.get("REMOTE_ADDR") else None,
        "server": (environ.get("SERVER_NAME", ""), int(port) if port.isdigit() else None),
        "extensions": extensions(waiting),
        "state": {"environ": environ},
    }
