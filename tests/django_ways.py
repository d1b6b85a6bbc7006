"""One application in Django, whose view does what a test says, and what tests of Django share: a plugin of pytest, to
be named by the tests that use it, as it sets Django up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import site_django  # noqa: F401 - it sets Django up
from sojourn.adapters.django import device_urls
from sojourn.stores.memory import MemoryStore
from worlds import Through

# isort: split
from django.contrib import admin
from django.contrib.auth import authenticate, login
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connections
from django.http import HttpRequest, JsonResponse
from django.test import Client, override_settings
from django.test.utils import setup_test_environment, teardown_test_environment
from django.urls import include, path

OWN, DJANGOS = "sojourn.adapters.django.SessionMiddleware", "django.contrib.sessions.middleware.SessionMiddleware"
REST = [
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]


class Work:
    """What the view does: set by each test."""

    view: Callable[[HttpRequest], Any]
    aview: Callable[[HttpRequest], Any]


def view(request: HttpRequest) -> Any:
    found = Work.view(request)
    return found if hasattr(found, "status_code") else JsonResponse({"result": found})


async def aview(request: HttpRequest) -> Any:
    found = await Work.aview(request)
    return found if hasattr(found, "status_code") else JsonResponse({"result": found})


urlpatterns = [
    path("", view),
    path("async", aview),
    path("admin/", admin.site.urls),
    path("devices/", include(device_urls)),
]


@pytest.fixture(scope="module")
def django_ready() -> Iterator[None]:
    """A database for users, and Django's test environment."""
    call_command("migrate", verbosity=0)
    setup_test_environment()
    yield
    teardown_test_environment()
    connections.close_all()


@pytest.fixture
def store(django_ready: None) -> Iterator[Through]:
    """The store of each test; the settings are those of a site with Sojourn's middleware."""
    through = Through(MemoryStore())
    with override_settings(MIDDLEWARE=[OWN, *REST], ROOT_URLCONF=__name__, SOJOURN={"STORE": through}):
        yield through


@pytest.fixture(params=[OWN, DJANGOS], ids=["own", "django's"])
def middleware(store: Through, request: pytest.FixtureRequest) -> Iterator[str]:
    """Sojourn's middleware, and Django's own, which the engine alone works with."""
    with override_settings(MIDDLEWARE=[request.param, *REST]):
        yield request.param


@pytest.fixture
def ada() -> Iterator[User]:
    """A user who may do everything in the admin, with the password "x"."""
    user = User.objects.create_superuser("ada", password="x")
    yield user
    User.objects.all().delete()


@pytest.fixture
def client() -> Client:
    """A browser."""
    return Client()


def do(client: Client, work: Callable[[HttpRequest], Any], **options: Any) -> Any:
    """A request whose view does this; what it returned."""
    Work.view = work
    response = client.get("/", **options)
    assert response.status_code == 200, response.content
    return response.json()["result"]


def put(**fields: Any) -> Callable[[HttpRequest], None]:
    """A view that puts these fields in."""
    return lambda request: request.session.update(fields)


def see(request: HttpRequest) -> dict[str, Any]:
    """A view that shows all fields."""
    return dict(request.session.items())


def sign_in(request: HttpRequest) -> None:
    """A view that signs Ada in."""
    login(request, authenticate(username="ada", password="x"))


def who(request: HttpRequest) -> str:
    """A view that shows who is signed in."""
    return str(request.user)


def key_of(client: Client) -> str:
    """The session id in the cookie."""
    return client.cookies["sessionid"].value
