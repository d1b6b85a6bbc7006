"""The same small application in each framework, behind one face.

A *site* is one framework with Sojourn's adapter and an application that does whatever a test hands in: a *handler*, a
function of the session that runs inside a request. A *visitor* is a browser (`browser.Jar`) on a site. Requests block
the caller and may be made from many threads at once.

    visitor.do(handler)         a request, and its cookies taken
    visitor.send(handler)       a request whose response did not arrive (yet); ``receive`` it, or never
    visitor.in_flight(handler)  a request that has loaded its session and waits until it is let go
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import re
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar
from wsgiref.validate import validator

import fastapi
import flask
import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response as StarletteResponse
from starlette.responses import StreamingResponse
from starlette.routing import Route

from browser import Cookie, Jar, parse
from sojourn import AsyncSession, AsyncSessionManager, SessionConfig, SessionManager, open_store
from sojourn.adapters.asgi import SessionMiddleware as ASGIMiddleware
from sojourn.adapters.flask import SojournSessionInterface
from sojourn.adapters.wsgi import SessionMiddleware as WSGIMiddleware
from sojourn.blocking import run
from sojourn.stores.memory import MemoryStore
from sojourn.testing import Clock
from worlds import Through

Handler = Callable[[Any], Any]
Pairs = list[tuple[str, str]]
HANDLE, SECRET = re.compile(r"[A-Za-z0-9_-]{22}"), re.compile(r"[A-Za-z0-9_-]{43}")
_TIMEOUT = 20  # seconds after which a test has hung


@dataclass
class Reply:
    """What a handler may return to say how the application responds."""

    status: int = 200
    headers: Pairs = field(default_factory=list)
    body: bytes | Iterable[bytes] = b"ok"


@dataclass
class Response:
    """What came back."""

    status: int
    headers: Pairs
    body: bytes
    result: Any = None
    """What the handler returned."""

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def cookies(self) -> list[Cookie]:
        return [parse(header) for header in self.all("set-cookie")]

    @property
    def private(self) -> bool:
        """Whether no cache will show it to somebody else."""
        vary = {part.strip().lower() for value in self.all("vary") for part in value.split(",")}
        cache = {part.strip().lower() for value in self.all("cache-control") for part in value.split(",")}
        return "cookie" in vary and bool(cache & {"no-store", "private"})


class Site:
    """One framework with its adapter. ``store`` counts and can be made to fail; ``sessions`` looks at the same sessions
    from beside, uncounted; ``clock`` stands still until it is moved. Sessions are in memory, or where ``url`` says."""

    kind: ClassVar[str]
    blocking: ClassVar[bool] = True

    def __init__(self, *, url: str = "", **settings: Any) -> None:
        self.clock = Clock()
        config = SessionConfig(**{"deadline": 10, **settings})
        beside: Any = MemoryStore()
        self.store = Through(beside)
        if url:
            self.store = Through(open_store(url, config, world="blocking" if self.blocking else "async"))
            beside = open_store(url, config)
        make = SessionManager if self.blocking else AsyncSessionManager
        self.manager: Any = make(self.store, config=config, clock=self.clock)  # type: ignore[arg-type]
        self.sessions = SessionManager(beside, config=config, clock=self.clock)
        self.errors: list[BaseException] = []
        """What the application's own error handling saw."""
        self._work: dict[str, tuple[Handler | None, Reply]] = {}
        self._results: dict[str, Any] = {}
        self._number = itertools.count()
        self._pool = ThreadPoolExecutor(64)

    @property
    def held(self) -> int:
        """How many records the store holds."""
        return run(self.store.store.stats()).sessions

    def request(
        self,
        handler: Handler | None = None,
        cookie: str | None = None,
        *,
        reply: Reply | None = None,
        host: str = "testserver",
        query: str = "",
        headers: Iterable[tuple[str, str]] = (),
    ) -> Response:
        """One request. Without a handler the application does not touch its session."""
        name = str(next(self._number))
        self._work[name] = (handler, reply or Reply())
        sent = [("host", host), *headers, *([] if cookie is None else [("cookie", cookie)])]
        response = self._send(f"/{name}", query, sent)
        response.result = self._results.pop(name, None)
        return response

    def begin(self, *args: Any, **kwargs: Any) -> Future[Response]:
        """A request in a thread of its own."""
        return self._pool.submit(self.request, *args, **kwargs)

    def visitor(self) -> Visitor:
        """A new visitor, who has no cookie."""
        return Visitor(self)

    def save(self, session: Any) -> None:
        """``session.save()``, in the way of this framework."""
        session.save()

    def close(self) -> None:
        self._pool.shutdown()
        self._close_manager()
        self.sessions.close()

    def _close_manager(self) -> None:
        self.manager.close()

    def _send(self, path: str, query: str, sent: Pairs) -> Response:
        raise NotImplementedError  # each kind of site is asked in its own way

    def _perform(self, path: str, session: Callable[[], Any]) -> Reply:
        """What the application does."""
        name = path.strip("/")
        handler, reply = self._work.pop(name)
        if handler is not None:
            result = self._results[name] = handler(session())
            if isinstance(result, Reply):
                return result
        return reply


class _Wsgi(Site):
    kind = "wsgi"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.app: Any = WSGIMiddleware(self._application, self.manager)

    def _application(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        try:
            reply = self._perform(environ["PATH_INFO"], lambda: environ["sojourn.session"])
        except Exception as error:
            self.errors.append(error)
            raise
        headers = [("Content-Type", "text/plain"), *reply.headers]
        try:
            start_response(f"{reply.status} Status", headers)
        except Exception as error:  # the session could not be kept
            self.errors.append(error)
            start_response("500 Sorry", [("Content-Type", "text/plain")], sys.exc_info())
            return [b"sorry"]
        return [reply.body] if isinstance(reply.body, bytes) else reply.body

    def _send(self, path: str, query: str, sent: Pairs) -> Response:
        return Response(*serve(self.app, path, query, sent))


class _Flask(Site):
    kind = "flask"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.app = flask.Flask(__name__)
        self.app.logger.disabled = True
        self.app.session_interface = SojournSessionInterface(self.manager)
        self.app.add_url_rule("/<path:name>", view_func=self._view)
        self.app.register_error_handler(500, self._error)

    def _view(self, name: str) -> Any:
        reply = self._perform(name, lambda: flask.session._get_current_object())  # type: ignore[attr-defined]
        body = reply.body if isinstance(reply.body, bytes) else flask.stream_with_context(reply.body)
        return flask.Response(body, reply.status, reply.headers)

    def _error(self, error: Any) -> Any:
        self.errors.append(error.original_exception)
        return "sorry", 500

    def _send(self, path: str, query: str, sent: Pairs) -> Response:
        return Response(*serve(self.app, path, query, sent))


class _Starlette(Site):
    kind = "starlette"
    blocking = False

    def __init__(self, **settings: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        super().__init__(**settings)
        self._loop.set_default_executor(self._workers())
        self.app = self._application()
        self._transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)

    def _workers(self) -> ThreadPoolExecutor:
        self._own = ThreadPoolExecutor(64)
        return self._own

    def _application(self) -> Any:
        return self._with_sessions(Starlette(routes=[Route("/{name}", self._endpoint)]))

    def _with_sessions(self, app: Starlette) -> Starlette:
        app.add_exception_handler(Exception, self._error)
        app.add_middleware(ASGIMiddleware, manager=self.manager)
        return app

    async def _endpoint(self, request: Request) -> StarletteResponse:
        reply = await asyncio.to_thread(self._perform, request.url.path, lambda: request.session)
        if isinstance(reply.body, bytes):
            response = StarletteResponse(reply.body, reply.status)
        else:
            response = StreamingResponse(reply.body, reply.status)
        response.raw_headers += [
            (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers
        ]
        return response

    async def _error(self, request: Request, error: Exception) -> StarletteResponse:
        self.errors.append(error)
        return StarletteResponse(b"sorry", 500)

    def save(self, session: AsyncSession) -> None:
        asyncio.run_coroutine_threadsafe(session.save(), self._loop).result(_TIMEOUT)

    def _send(self, path: str, query: str, sent: Pairs) -> Response:
        return asyncio.run_coroutine_threadsafe(self._ask(path, query, sent), self._loop).result(_TIMEOUT)

    async def _ask(self, path: str, query: str, sent: Pairs) -> Response:
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in sent]
        request = httpx.Request("GET", f"https://testserver{path}?{query}", headers=headers)
        response = await self._transport.handle_async_request(request)
        raw = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers.raw]
        return Response(response.status_code, raw, await response.aread())

    def _close_manager(self) -> None:
        asyncio.run_coroutine_threadsafe(self.manager.close(), self._loop).result(_TIMEOUT)

    def close(self) -> None:
        super().close()
        self._own.shutdown()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_TIMEOUT)
        self._loop.close()


class _FastAPI(_Starlette):
    kind = "fastapi"

    def _application(self) -> Any:
        app = fastapi.FastAPI()
        app.add_api_route("/{name}", self._endpoint, response_model=None)
        return self._with_sessions(app)


_KINDS: dict[str, type[Site]] = {kind.kind: kind for kind in (_Starlette, _FastAPI, _Wsgi, _Flask)}
_ELSEWHERE = {
    "django": "site_django",
    "django-async": "site_django",
    "litestar": "site_litestar",
    "quart": "site_quart",
}


def _kind(name: str) -> type[Site]:
    """The sites of this kind. Those of frameworks that take long to import, or want to be set up first, have modules of
    their own, with a `KINDS` like the one here."""
    if name in _KINDS:
        return _KINDS[name]
    found: type[Site] = importlib.import_module(_ELSEWHERE[name]).KINDS[name]
    return found


@contextmanager
def opener(kind: str) -> Iterator[Callable[..., Site]]:
    """A function that opens sites of one kind, such as "starlette" or "wsgi". They are closed at the end."""
    opened: list[Site] = []

    def open_site(**settings: Any) -> Site:
        opened.append(_kind(kind)(**settings))
        return opened[-1]

    try:
        yield open_site
    finally:
        for site in opened:
            site.close()


class Visitor:
    """A browser on a site."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.jar = Jar(clock=site.clock)

    def do(self, handler: Handler | None = None, *, reply: Reply | None = None) -> Response:
        """A request and its response."""
        return self.receive(self.send(handler, reply=reply))

    def see(self, name: str) -> Any:
        """The value of a field, as the application sees it in a request; None: it is not there."""
        return self.do(lambda session: session.get(name)).result

    def send(self, handler: Handler | None = None, *, reply: Reply | None = None) -> Response:
        """A request whose response is on the way."""
        return self.site.request(handler, self.jar.header, reply=reply)

    def receive(self, response: Response) -> Response:
        """The response arrives."""
        self.jar.receive(response.all("set-cookie"))
        return response

    @contextmanager
    def in_flight(self, handler: Handler) -> Iterator[Flight]:
        """A request that has its session and waits. It is let go at the end of the block at the latest."""
        flight = Flight(handler)
        flight.future = self.site.begin(flight, self.jar.header)
        try:
            assert flight.inside.wait(_TIMEOUT), "the request did not reach the application"
            yield flight
        finally:
            flight.go.set()
            flight.future.result(_TIMEOUT)

    @property
    def id(self) -> str | None:
        """The session id in the cookie."""
        return self.jar.value


class Flight:
    """A request in flight."""

    def __init__(self, handler: Handler) -> None:
        self.inside, self.go = threading.Event(), threading.Event()
        self.future: Future[Response]
        self._handler = handler

    def __call__(self, session: Any) -> Any:
        self.inside.set()
        assert self.go.wait(_TIMEOUT), "the request was not let go"
        return self._handler(session)

    def land(self) -> Response:
        """Let it go on; its response."""
        self.go.set()
        return self.future.result(_TIMEOUT)


def serve(app: Any, path: str, query: str, sent: Pairs) -> tuple[int, Pairs, bytes]:
    """One request to a WSGI application, as a server makes it: checked against PEP 3333, closed at the end, and
    answered with 500 if the application raises."""
    environ = {
        "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": query,
        "SERVER_NAME": "testserver", "SERVER_PORT": "443", "SERVER_PROTOCOL": "HTTP/1.1", "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https", "wsgi.input": _Empty(), "wsgi.errors": _Silent(), "wsgi.multithread": True,
        "wsgi.multiprocess": False, "wsgi.run_once": False,
    }  # fmt: skip
    environ.update((f"HTTP_{name.upper().replace('-', '_')}", value) for name, value in sent)
    started: list[tuple[str, Pairs]] = []
    written: list[bytes] = []

    def start_response(status: str, headers: Pairs, exc_info: Any = None) -> Any:
        assert not started or exc_info, "start_response was called twice"
        if exc_info and any(written):
            raise exc_info[1]
        started.append((status, headers))
        return written.append

    try:
        body = validator(app)(environ, start_response)
        try:
            for part in body:
                assert started, "a body before start_response"
                written.append(part)
        finally:
            body.close()
    except AssertionError:
        raise
    except Exception:  # as a server does with an application's fault: 500, or what was sent before it
        if not any(written):
            return 500, [], b"server error"
    status, headers = started[-1]
    return int(status.split()[0]), headers, b"".join(written)


class _Empty:
    def read(self, *_: Any) -> bytes:
        return b""

    readline = read

    def readlines(self, *_: Any) -> list[bytes]:
        return []

    def __iter__(self) -> Iterator[bytes]:
        return iter(())


class _Silent:
    def write(self, _: str) -> None:
        pass

    def flush(self) -> None:
        pass

    def writelines(self, _: Any) -> None:
        pass
