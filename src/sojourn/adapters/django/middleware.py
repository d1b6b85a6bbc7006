"""`SessionMiddleware`: when a request's session is loaded and committed; and the routes of a user's devices."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http.cookies import Morsel
from typing import Any, Final

from django.conf import settings
from django.contrib.sessions.middleware import SessionMiddleware as DjangosMiddleware
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from ...blocking import run
from ...exchange import ANSWERED, Answer, Answered, Credentials, Exchange, Headers, answer_for, followed, followed_async
from ...users import devices_answer
from .setup import Setup, is_test_client
from .store import DjangoSession, SessionStore

__all__ = ["SessionMiddleware", "device_urls"]

log = logging.getLogger("sojourn")

_EXCHANGE: Final = "_sojourn_exchange"  # its attribute of a request

# Python knows this attribute of cookies from 3.14 on. Django does the same for "samesite".
Morsel._reserved.setdefault("partitioned", "Partitioned")  # type: ignore[attr-defined]
Morsel._flags.add("partitioned")  # type: ignore[attr-defined]


class SessionMiddleware(DjangosMiddleware):
    """Sojourn's middleware, in the place of Django's own: the cookie by Sojourn's rules, as far as Django's settings
    say nothing else; committed before the first byte, and what a streaming body changes when the response is closed. If
    the store does not answer, the response is 503 with Retry-After, and the cookie is left alone; 409 if another writer
    was there and the configuration refuses to overwrite it; 429 to an address that guesses ids. As with Django's own, a
    response of 5xx saves nothing.

    Raises `ImproperlyConfigured` at the start, if the settings cannot work."""

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        super().__init__(get_response)
        if not issubclass(self.SessionStore, SessionStore):
            raise ImproperlyConfigured(
                "sojourn.adapters.django.SessionMiddleware needs SESSION_ENGINE = 'sojourn.adapters.django', and it is "
                f"{settings.SESSION_ENGINE!r}"
            )
        self.SessionStore.setup()

    async def __acall__(self, request: HttpRequest) -> HttpResponse:
        exchange, credentials = self._open(request, asynchronous=True)
        try:
            await exchange.begin(credentials)
        except ANSWERED as error:
            return _unavailable("loaded", error)
        self._hand_out(request, exchange, asynchronous=True)
        try:
            response = await self.get_response(request)
            self._settle(request, exchange, response)
            added = await exchange.commit()
        except ANSWERED as error:
            exchange.session.close()
            return _unavailable("committed", error)
        except BaseException:  # the client that has gone away, too
            exchange.session.close()
            raise
        return self._respond(request, exchange, response, added)

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        """Load the session; the response, if it cannot be loaded."""
        exchange, credentials = self._open(request, asynchronous=False)
        try:
            run(exchange.begin(credentials))
        except ANSWERED as error:
            return _unavailable("loaded", error)
        self._hand_out(request, exchange, asynchronous=False)
        return None

    def process_response(self, request: HttpRequest, response: HttpResponse) -> HttpResponse:
        """Commit, and write the headers. A response that `process_request` made is left as it is."""
        exchange: Exchange | None = getattr(request, _EXCHANGE, None)
        if exchange is None:
            return response
        try:
            self._settle(request, exchange, response)
            added = run(exchange.commit())
        except ANSWERED as error:
            exchange.session.close()
            return _unavailable("committed", error)
        except Exception:  # the application's own: a value that cannot be kept
            exchange.session.close()
            raise
        return self._respond(request, exchange, response, added)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        """Answer for a store that failed in the view, in `flush`, say."""
        if not isinstance(exception, ANSWERED):
            return None
        exchange: Exchange | None = getattr(request, _EXCHANGE, None)
        if exchange is not None:
            exchange.forget()
        return _unavailable("saved", exception)

    # --- Parts -------------------------------------------------------------------------------------------------------

    def _open(self, request: HttpRequest, *, asynchronous: bool) -> tuple[Exchange, Credentials]:
        setup: Setup = self.SessionStore.setup()
        engine = setup.async_manager if asynchronous else setup.manager.engine
        secure = setup.secure or request.is_secure() or is_test_client(request)  # which keeps any cookie
        credentials = _credentials(request, secure=secure)
        cookie = setup.cookie_for(request, credentials)
        _rename_cookie(request, cookie.full_name)
        return Exchange(engine, DjangoSession, cookie), credentials

    def _hand_out(self, request: HttpRequest, exchange: Exchange, *, asynchronous: bool) -> None:
        request.session = self.SessionStore()
        request.session._begin(exchange, asynchronous=asynchronous)
        setattr(request, _EXCHANGE, exchange)

    def _settle(self, request: HttpRequest, exchange: Exchange, response: HttpResponse) -> None:
        if response.status_code >= 500:
            exchange.forget()
        elif isinstance(request.session, SessionStore):
            request.session._settle(exchange)

    def _respond(
        self, request: HttpRequest, exchange: Exchange, response: HttpResponse, added: Headers
    ) -> HttpResponse:
        session = exchange.session
        for name, value in exchange.private(list(response.items()), added):
            if name == "Set-Cookie":
                _put_cookie(response, value)
            elif response.headers.get(name) != value:
                response.headers[name] = value
        store = request.session if isinstance(request.session, SessionStore) else self.SessionStore()
        store._respond()
        if not response.streaming:
            store._part()
            session.close()
            return response
        # Django closes a response in a thread, so what is left is committed by the blocking manager, whatever the
        # request's own was.
        closing = Exchange(self.SessionStore.setup().manager.engine, DjangoSession)
        closing.session = session
        if getattr(response, "file_to_stream", None) is None:  # a file goes out as a file, and changes nothing
            follow = followed_async if response.is_async else followed
            response.streaming_content = follow(response.streaming_content, session)
        response._resource_closers.append(lambda: (run(closing.finish()), store._part()))
        return response


def _credentials(request: HttpRequest, *, secure: bool) -> Credentials:
    meta = request.META
    cookie, authorization = meta.get("HTTP_COOKIE"), meta.get("HTTP_AUTHORIZATION")
    return Credentials(
        cookies=[cookie] if cookie else [],
        authorization=[authorization] if authorization else [],
        query=meta.get("QUERY_STRING", ""),
        host=meta.get("HTTP_HOST") or meta.get("SERVER_NAME", ""),
        secure=secure,
        client=meta.get("REMOTE_ADDR") or "",
    )


def _rename_cookie(request: HttpRequest, name: str) -> None:
    """Let the application find our cookie under the name that its settings say. Django's error reports hide the cookie
    of that name, and no other."""
    if name in request.META.get("HTTP_COOKIE", "") and name in request.COOKIES:
        request.COOKIES[settings.SESSION_COOKIE_NAME] = request.COOKIES.pop(name)


def _put_cookie(response: HttpResponse, header: str) -> None:
    """Hand over a ``Set-Cookie`` header as Django keeps cookies, where its test client looks for them."""
    (name, value), *attributes = (part.strip().partition("=")[::2] for part in header.split(";"))
    response.cookies[name] = value
    morsel = response.cookies[name]
    morsel.set(name, value, value)  # as it is: Django would quote an empty one
    for attribute, content in attributes:
        morsel[attribute.lower()] = content or True


def _unavailable(what: str, error: Answered) -> HttpResponse:
    log.warning("a session could not be %s: %s", what, error)
    return _response(answer_for(error))


def _response(answer: Answer) -> HttpResponse:
    return HttpResponse(answer.body, status=answer.status, reason=answer.reason, headers=dict(answer.headers))


@csrf_exempt  # it wants Sojourn's own token, which the list brings
@require_http_methods(["GET", "DELETE"])
def _devices(request: HttpRequest, handle: str | None = None) -> HttpResponse:
    engine, token = request.session.setup().manager.engine, request.META.get("HTTP_X_CSRF_TOKEN", "")
    return _response(run(devices_answer(engine, request.session.sojourn, request.method, handle, token)))


device_urls: Final = [path("", _devices), path("<str:handle>", _devices)]
"""The JSON interface of a user's devices (`sojourn.users`), for ``path("devices/", include(device_urls))``: ``GET``
lists, ``DELETE`` of a handle ends one, ``DELETE`` of the whole ends all others."""
