"""An ASGI application, such as a live app, under a path of a Django site, served by its WSGI or its ASGI handler.

    urlpatterns = [path("admin/sessions/", include(urls(dashboard)))]

It runs in one thread of its own (`sojourn.admin.bridge`), which begins with the first request. Under Django a page has
no socket, but exchanges. Django's check of CSRF tokens is off for these paths, as the application checks by itself
where a request comes from. ``request.user`` of the site is ``scope["user"]`` there, and the request itself is
``scope["state"]["django"]``.
"""

from __future__ import annotations

from http.cookies import Morsel
from typing import TYPE_CHECKING, Any, Final

from ..errors import MissingExtra
from ..sockets import ASGIApp, Scope
from .bridge import BODY, TOO_LARGE, Bridge, Waiting, WholeResponse, extensions
from .wsgi import ONE_THREAD, THREADS, scope_of

try:
    from django.http import HttpRequest, HttpResponse
    from django.urls import re_path
    from django.views.decorators.csrf import csrf_exempt
except ImportError as error:
    raise MissingExtra("sojourn.admin.django", "django") from error

if TYPE_CHECKING:
    from django.urls import URLPattern

__all__ = ["urls"]

_COROUTINES: Final = Waiting(seconds=5.0, most=100)


def urls(asgi_app: ASGIApp) -> list[URLPattern]:
    """Patterns for ``include()`` under a path that ends with a slash. Each call makes a thread of its own, on first
    use; it is stopped with the process, or by ``close()`` of the view, ``urls(app)[0].callback``."""
    return [re_path(r"^(?P<rest>.*)$", _view(Bridge(asgi_app)))]


def _view(bridge: Bridge) -> Any:
    @csrf_exempt  # type: ignore[untyped-decorator]  # Django is not typed
    async def mounted(request: HttpRequest, rest: str) -> HttpResponse:
        said = request.META.get("CONTENT_LENGTH") or "0"
        if not said.isdigit() or len(said) > 12 or int(said) > BODY:
            return _response(TOO_LARGE)
        scope = await _scope(request, request.path.removesuffix(rest).rstrip("/"))
        return _response(await bridge.arespond(scope, request.body))

    mounted.close = bridge.close
    return mounted


async def _scope(request: HttpRequest, at: str) -> Scope:
    """The scope of a request for what is mounted at this path. The site's user is looked up here, as it is the site's
    own connection to its database that has to do it."""
    user = {"user": await request.auser()} if hasattr(request, "auser") else {}
    if hasattr(request, "environ"):
        script = request.environ.get("SCRIPT_NAME", "").rstrip("/")
        below = at.encode().decode("latin-1").removeprefix(script)
        scope = scope_of(request.environ, below, THREADS if request.environ.get("wsgi.multithread") else ONE_THREAD)
    else:
        query = request.META.get("QUERY_STRING", "").encode("latin-1")  # as Django's test client has none of bytes
        scope = {**request.scope, "root_path": at, "query_string": query, "extensions": extensions(_COROUTINES)}
        scope["state"] = {}
    scope["state"]["django"] = request
    return {**scope, **user}


def _response(response: WholeResponse) -> HttpResponse:
    made = HttpResponse(response.body, status=response.status)
    del made["Content-Type"]
    for name, value in response.headers:
        if name == "set-cookie":
            cookie = value.partition("=")[0].strip()
            made.cookies[cookie] = _AsItIs(cookie, value)
        else:
            made[name] = value
    return made


class _AsItIs(Morsel):  # type: ignore[type-arg]  # it is a dict of strings
    """A cookie that goes out as it was written."""

    def __init__(self, name: str, header: str) -> None:
        super().__init__()
        self.set(name, "", "")
        self._header = header

    def output(self, attrs: Any = None, header: str = "Set-Cookie:") -> str:
        """The header; nothing of it is read."""
        return f"{header} {self._header}".lstrip()
