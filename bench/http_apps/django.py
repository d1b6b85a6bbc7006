"""Django: with no session, with its own (in the database if the store is a file, else in the cache on Redis), with
Sojourn. Everything else is Django's default."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse
from django.urls import path

from . import SESSIONS, STORE, VIEWS

_DATABASE = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": STORE}}
_CACHE = {"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": STORE}}


def _sessions() -> dict[str, Any]:
    """The settings that are about sessions."""
    theirs = {"MIDDLEWARE": ["django.contrib.sessions.middleware.SessionMiddleware"]}
    match SESSIONS:
        case "theirs" if STORE.startswith("redis://"):
            return {**theirs, "SESSION_ENGINE": "django.contrib.sessions.backends.cache", "CACHES": _CACHE}
        case "theirs":
            return {**theirs, "INSTALLED_APPS": ["django.contrib.sessions"], "DATABASES": _DATABASE}
        case "sojourn":
            return {
                "MIDDLEWARE": ["sojourn.adapters.django.SessionMiddleware"],
                "SESSION_ENGINE": "sojourn.adapters.django",
                "SOJOURN": {"STORE": STORE},
            }
        case _:
            return {}


def _endpoint(view: Callable[[Any], str]) -> Callable[[HttpRequest], HttpResponse]:
    def endpoint(request: HttpRequest) -> HttpResponse:
        return HttpResponse(view(request.session if SESSIONS != "none" else None), content_type="text/plain")

    return endpoint


settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="not-a-secret", ROOT_URLCONF=__name__, **_sessions())
django.setup()
if settings.DATABASES:
    call_command("migrate", verbosity=0)

urlpatterns = [path(name, _endpoint(view)) for name, view in VIEWS.items()]
app = get_wsgi_application()
