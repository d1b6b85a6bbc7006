"""Django, for `sites`, behind its WSGI handler and behind its ASGI handler; and the settings that all tests of Django
in this process share, as Django is set up once.

Handlers are handed a `Words`: what the table says in Sojourn's words is said to Django's session in Django's own, where
it has one, and to the session beneath otherwise.
"""

from __future__ import annotations

import asyncio
import atexit
import io
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import django
from django.conf import settings

_FOLDER = tempfile.TemporaryDirectory(prefix="sojourn-django-")
atexit.register(_FOLDER.cleanup)

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(_FOLDER.name) / "users.sqlite3"}},
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",  # for its command: its table stays empty
    ],
    LOGGING_CONFIG=None,
    MIDDLEWARE=["site_django.sessions"],
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],  # quick, for tests
    ROOT_URLCONF="site_django",
    SECRET_KEY="for tests",
    SESSION_ENGINE="sojourn.adapters.django",
    SOJOURN={"STORE": "memory://"},
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    USE_TZ=True,
)
django.setup()

from django.core.handlers.asgi import ASGIHandler  # noqa: E402 - Django is set up first
from django.core.handlers.wsgi import WSGIHandler  # noqa: E402
from django.core.signals import got_request_exception  # noqa: E402
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse  # noqa: E402
from django.urls import re_path  # noqa: E402

from sites import Pairs, Reply, Response, Site, _Starlette, serve  # noqa: E402
from sojourn.adapters.django import SessionMiddleware, SessionStore, Setup  # noqa: E402

_SITE = "sojourn.site"  # its place in the environ, or in the scope
_building: list[Any] = []  # the site whose handler is being made


def sessions(get_response: Any) -> SessionMiddleware:
    """The middleware, with the sessions of the site that is being made."""
    site = _building[-1]

    class Store(SessionStore):
        @classmethod
        def setup(cls) -> Setup:
            found: Setup = site.setup
            return found

    middleware = SessionMiddleware(get_response)
    middleware.SessionStore = Store
    return middleware


sessions.sync_capable = sessions.async_capable = True  # type: ignore[attr-defined]  # as Django asks


def site_of(request: HttpRequest) -> Any:
    """The site that a request was made to."""
    return request.scope[_SITE] if hasattr(request, "scope") else request.META[_SITE]


async def _async_view(request: HttpRequest) -> HttpResponseBase:
    response: HttpResponseBase = await site_of(request).respond_async(request)
    return response


def _sync_view(request: HttpRequest) -> HttpResponseBase:
    response: HttpResponseBase = site_of(request).respond(request)
    return response


urlpatterns = [re_path("^async/", _async_view), re_path("", _sync_view)]


def _note_error(request: HttpRequest, **_: Any) -> None:
    error = sys.exc_info()[1]
    if error is not None and (_SITE in request.META or _SITE in getattr(request, "scope", ())):
        site_of(request).errors.append(error)


got_request_exception.connect(_note_error)


class Words:
    """A session in the words of the table."""

    def __init__(self, store: SessionStore) -> None:
        object.__setattr__(self, "_store", store)
        object.__setattr__(self, "_beneath", store._held)

    def _alive(self) -> SessionStore:
        if self._beneath.closed or self._beneath.ended:
            self._beneath._look()  # which raises; Django's own object could be used on
        return self._store

    def __getitem__(self, name: str) -> Any:
        return self._alive()[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._alive()[name] = value

    def __delitem__(self, name: str) -> None:
        del self._alive()[name]

    def __contains__(self, name: object) -> bool:
        return name in self._alive()

    def __iter__(self) -> Iterator[str]:
        return iter(self._alive().keys())

    def __len__(self) -> int:
        return len(self._alive().keys())

    def __eq__(self, other: object) -> bool:
        return bool(dict(self._alive().items()) == other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._beneath)

    def set(self, name: str, value: Any) -> None:
        self[name] = value

    def has(self, name: str) -> bool:
        return bool(self._alive().has_key(name))

    def delete(self, name: str) -> bool:
        missing = object()
        return self._alive().pop(name, missing) is not missing

    def update(self, *given: Any, **named: Any) -> None:
        if len(given) == 2:
            self._beneath.update(*given)
        else:
            self._alive().update(dict(*given, **named))

    def __getattr__(self, name: str) -> Any:
        if name in ("clear", "get", "items", "keys", "pop", "setdefault", "values"):
            return getattr(self._alive(), name)
        return getattr(self._beneath, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._beneath, name, value)


class _Django(Site):
    kind = "django"

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.setup = Setup(self.manager, self.manager.config.cookie)
        _building.append(self)
        try:
            self.app = WSGIHandler()
        finally:
            _building.pop()

    def respond(self, request: HttpRequest) -> HttpResponseBase:
        reply = self._perform(request.path, lambda: Words(request.session))
        return response_of(reply, reply.body)

    def save(self, session: Any) -> None:
        session._alive().save()

    def _send(self, path: str, query: str, sent: Pairs) -> Response:
        def app(environ: Any, start_response: Any) -> Iterable[bytes]:
            environ[_SITE] = self
            found: Iterable[bytes] = self.app(environ, start_response)
            return found

        status, headers, body = serve(app, path, query, sent)
        return Response(status, [(name, value.strip()) for name, value in headers], body)


class _Handler(ASGIHandler):  # type: ignore[misc]  # Django is not typed
    """Django's handler, with a request's body in memory: Django leaves its file open where the response's body raises,
    of which Python then warns."""

    async def read_body(self, receive: Any) -> io.BytesIO:
        (await super().read_body(receive)).close()
        return io.BytesIO()


class _AsyncDjango(_Starlette):
    kind = "django-async"

    def _application(self) -> Any:
        self.setup = Setup(self.sessions, self.manager.config.cookie)
        self.setup._async_manager = self.manager
        _building.append(self)
        try:
            handler = _Handler()
        finally:
            _building.pop()

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await handler({**scope, _SITE: self}, receive, send)

        return app

    async def respond_async(self, request: HttpRequest) -> HttpResponseBase:
        store = request.session
        reply = await asyncio.to_thread(self._perform, request.path.removeprefix("/async"), lambda: Words(store))
        body = reply.body
        return response_of(reply, body if isinstance(body, bytes) else _parts(body))

    def save(self, session: Any) -> None:
        asyncio.run_coroutine_threadsafe(session._alive().asave(), self._loop).result(20)

    def _send(self, path: str, query: str, sent: Pairs) -> Response:
        return super()._send(f"/async{path}", query, sent)


async def _parts(body: Iterable[bytes]) -> AsyncIterator[bytes]:
    for part in body:
        yield part


def response_of(reply: Reply, body: Any) -> HttpResponseBase:
    """Django's response."""
    made: HttpResponseBase = (HttpResponse if isinstance(body, bytes) else StreamingHttpResponse)(body)
    made.status_code = reply.status
    for name, value in reply.headers:
        if name == "Set-Cookie":
            made.cookies.load(value)
        else:
            made.headers[name] = f"{made.headers[name]}, {value}" if name in made.headers else value
    return made


KINDS: dict[str, type[Site]] = {"django": _Django, "django-async": _AsyncDjango}
