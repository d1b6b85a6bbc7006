"""Django's settings, and what Sojourn makes of them."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from django_ways import OWN, REST, do, key_of, put, see
from sojourn import CookieConfig, SessionConfig
from sojourn.adapters.django import SessionMiddleware, session_manager

# isort: split
from django.contrib.sessions.middleware import SessionMiddleware as DjangosMiddleware
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.http import HttpResponse
from django.test import Client, RequestFactory, override_settings

pytest_plugins = ["django_ways"]
pytestmark = pytest.mark.usefixtures("store")

_WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({"SOJOURN": None}, "needs SOJOURN"),
    "no store": ({"SOJOURN": {"CONFIG": {}}}, "STORE"),
    "another key": ({"SOJOURN": {"STORE": "memory://", "STROE": 1}}, "CONFIG"),
    "no such store": ({"SOJOURN": {"STORE": "nothing://"}}, "no store URL"),
    "no such setting": ({"SOJOURN": {"STORE": "memory://", "CONFIG": {"timeout": 1}}}, "timeout"),
    "no config": ({"SOJOURN": {"STORE": "memory://", "CONFIG": 5}}, "CONFIG is a SessionConfig"),
    "a wrong value": ({"SOJOURN": {"STORE": "memory://", "CONFIG": {"idle_timeout": -1}}}, "idle_timeout"),
    "no age": ({"SESSION_COOKIE_AGE": 0}, "idle_timeout"),
    "SameSite left out": ({"SESSION_COOKIE_SAMESITE": False}, "samesite"),
    "a prefix and a domain": (
        {"SESSION_COOKIE_NAME": "__Host-sid", "SESSION_COOKIE_DOMAIN": "example.org"},
        "SESSION_COOKIE_NAME",
    ),
    "a prefix and plain http": ({"SESSION_COOKIE_NAME": "__Host-sid", "SESSION_COOKIE_SECURE": False}, "prefix"),
    "another engine": ({"SESSION_ENGINE": "django.contrib.sessions.backends.file"}, "SESSION_ENGINE"),
}


@pytest.mark.parametrize(("given", "message"), _WRONG.values(), ids=_WRONG)
def test_settings_that_cannot_work_are_refused_at_the_start(given: dict[str, Any], message: str) -> None:
    """A setting that cannot work is refused when the middleware is made, with what to do."""
    with override_settings(**given), pytest.raises(ImproperlyConfigured, match=message):
        SessionMiddleware(lambda request: HttpResponse())


EMBEDDED = CookieConfig(name="sid", partitioned=True, samesite="None")
_COOKIES: dict[str, tuple[dict[str, Any], str, dict[str, Any], list[str]]] = {
    "nothing": ({}, "__Host-sessionid", {}, []),
    "name": ({"SESSION_COOKIE_NAME": "sid"}, "sid", {}, ["no prefix"]),
    "name with a prefix": ({"SESSION_COOKIE_NAME": "__Host-sid"}, "__Host-sid", {}, []),
    "http": ({"SESSION_COOKIE_SECURE": False}, "sessionid", {"secure": ""}, ["plain http"]),
    "https": ({"SESSION_COOKIE_SECURE": True}, "__Host-sessionid", {}, []),
    "scripts": ({"SESSION_COOKIE_HTTPONLY": False}, "__Host-sessionid", {"httponly": ""}, ["scripts"]),
    "strict": ({"SESSION_COOKIE_SAMESITE": "Strict"}, "__Host-sessionid", {"samesite": "Strict"}, []),
    "embedded": ({"SESSION_COOKIE_SAMESITE": "None"}, "__Host-sessionid", {"samesite": "None"}, ["other sites"]),
    "domain": (
        {"SESSION_COOKIE_DOMAIN": "example.org"}, "__Secure-sessionid", {"domain": "example.org"}, ["subdomain"]
    ),
    "path": ({"SESSION_COOKIE_PATH": "/shop"}, "__Secure-sessionid", {"path": "/shop"}, []),
    "age": ({"SESSION_COOKIE_AGE": 172800}, "__Host-sessionid", {"max-age": "172800"}, []),
    "not for ever": (
        {"SESSION_COOKIE_AGE": 172800, "SESSION_EXPIRE_AT_BROWSER_CLOSE": True}, "__Host-sessionid", {}, []
    ),
    "kept": ({"SESSION_EXPIRE_AT_BROWSER_CLOSE": False}, "__Host-sessionid", {"max-age": "86400"}, []),
    "in SOJOURN, as a dict": (
        {"SOJOURN": {"STORE": "memory://", "CONFIG": {"cookie": {"samesite": "Strict"}}}},
        "__Host-sessionid", {"samesite": "Strict"}, [],
    ),
    "in SOJOURN": (
        {"SOJOURN": {"STORE": "memory://", "CONFIG": SessionConfig(cookie=EMBEDDED)}},
        "__Host-sid", {"partitioned": True, "samesite": "None"}, [],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given", "name", "attributes", "warned"), _COOKIES.values(), ids=_COOKIES)
def test_django_s_settings_of_the_cookie_are_kept(
    given: dict[str, Any], name: str, attributes: dict[str, Any], warned: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A setting of Django's that is set is kept, with a warning where it is weaker than Sojourn's default; one that is
    not set is as Sojourn has it."""
    usual = {"path": "/", "secure": True, "httponly": True, "samesite": "Lax", "domain": "", "max-age": ""}
    with override_settings(**given), caplog.at_level(logging.WARNING, "sojourn"):
        response = SessionMiddleware(lambda request: (put(a=1)(request), HttpResponse())[1])(
            RequestFactory().get("/", secure=True, headers={"Host": "www.example.org"})
        )
    (morsel,) = response.cookies.values()
    found = {attribute: morsel[attribute] for attribute in {**usual, **attributes}}
    found["max-age"] = str(round(int(found["max-age"]), -1)) if found["max-age"] else ""
    assert (morsel.key, found) == (name, {**usual, **attributes})
    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == len(warned)
    assert all(part in text for part, text in zip(warned, texts, strict=True))


@pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost:8000"])
def test_the_development_server_needs_no_tls(host: str) -> None:
    """With ``DEBUG`` the cookie goes over plain http to this machine, and to no other; ``SESSION_COOKIE_SECURE = True``
    forbids that."""
    made = SessionMiddleware(lambda request: (put(a=1)(request), HttpResponse())[1])
    request = RequestFactory().get("/", headers={"Host": host})
    (secure,) = made(request).cookies.values()
    assert (secure.key, secure["secure"]) == ("__Host-sessionid", True)
    with override_settings(DEBUG=True):
        (plain,) = made(request).cookies.values()
        assert (plain.key, plain["secure"]) == ("sessionid", "")
        with pytest.raises(ValueError, match="loopback"):
            made(RequestFactory().get("/", headers={"Host": "www.example.org"}))
        with override_settings(SESSION_COOKIE_SECURE=True):
            (secure,) = made(request).cookies.values()
            assert (secure.key, secure["secure"]) == ("__Host-sessionid", True)


def test_a_change_of_the_cookie_s_settings_keeps_the_sessions(client: Client) -> None:
    """A test that changes the cookie's settings half way keeps its sessions; the settings count at once."""
    do(client, put(a=1))
    manager, key = session_manager(), key_of(client)
    with override_settings(SESSION_COOKIE_NAME="sid"):
        client.cookies.load({"sid": key})
        assert do(client, see) == {"a": 1}
        assert session_manager() is manager
    with override_settings(SESSION_COOKIE_AGE=60):
        assert session_manager() is not manager
        assert session_manager().config.idle_timeout == 60


def test_the_middleware_is_one_of_django_s() -> None:
    """Django's checks find the middleware that they ask for."""
    assert issubclass(SessionMiddleware, DjangosMiddleware)
    with override_settings(MIDDLEWARE=[OWN, *REST]):
        call_command("check", "admin")
