"""Users in Django: signing in and out, the admin, devices, messages, CSRF protection, and caches."""

from __future__ import annotations

import time

import pytest

from django_ways import OWN, Work, do, key_of, put, sign_in, who
from sojourn.adapters.django import SessionStore, session_manager

# isort: split
from django.contrib import messages
from django.contrib.auth import authenticate, login, logout, update_session_auth_hash
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.test import Client, override_settings

pytest_plugins = ["django_ways"]
pytestmark = pytest.mark.usefixtures("store")

# --- Users -----------------------------------------------------------------------------------------------------------


def test_signing_in_and_out(client: Client, ada: User) -> None:
    """``login`` gives the session another id, of which the old one is dead, and binds it to its user, by whom it can be
    listed and ended; what was put in before stays. ``logout`` ends it: neither id is anybody's."""
    do(client, put(cart=["tea"]))
    before = key_of(client)
    do(client, sign_in)
    signed_in = key_of(client)
    assert signed_in.split(".")[0] == before.split(".")[0]
    assert not SessionStore().exists(before)
    assert do(client, who) == "ada"
    assert do(client, lambda request: request.session["cart"]) == ["tea"]
    (row,) = session_manager().list_sessions(str(ada.pk))
    assert row.handle == signed_in.split(".")[0]
    Work.view = lambda request: (logout(request), request.session.is_empty())[1]
    response = client.get("/")
    assert response.json() == {"result": True}
    assert (response.cookies["sessionid"].value, response.cookies["sessionid"]["max-age"]) == ("", "0")
    assert not SessionStore().exists(signed_in)
    assert do(client, who) == "AnonymousUser"
    assert session_manager().stats().sessions == 0


def test_a_user_s_sessions_can_be_ended_from_elsewhere(client: Client, ada: User) -> None:
    """Who ends all sessions of a user, by the manager that the settings ask for, signs them out of Django."""
    do(client, sign_in)
    assert session_manager().end_user_sessions(str(ada.pk)) == 1
    assert do(client, who) == "AnonymousUser"


def test_another_user_gets_a_session_of_their_own(client: Client, ada: User) -> None:
    """Who signs in where somebody else was signed in has nothing of theirs, and the other's session is over."""
    User.objects.create_user("bob", password="y")
    do(client, lambda request: (sign_in(request), put(secret="ada's")(request)))
    old = key_of(client)
    do(client, lambda request: login(request, authenticate(username="bob", password="y")))
    assert do(client, who) == "bob"
    assert do(client, lambda request: request.session.get("secret")) is None
    assert key_of(client).split(".")[0] != old.split(".")[0]
    assert not SessionStore().exists(old)


def test_a_new_password_signs_the_other_devices_out(ada: User) -> None:
    """After ``update_session_auth_hash`` the device at which the password was changed stays, under another id, and the
    others are signed out."""
    here, there = Client(), Client()
    for device in (here, there):
        do(device, sign_in)
    before = key_of(here)

    def change(request: HttpRequest) -> None:
        request.user.set_password("new")
        request.user.save()
        update_session_auth_hash(request, request.user)

    do(here, change)
    assert key_of(here) != before
    assert (do(here, who), do(there, who)) == ("ada", "AnonymousUser")
    assert len(session_manager().list_sessions(str(ada.pk))) == 1


def test_signing_out_is_done_at_once(client: Client, ada: User) -> None:
    """``logout`` ends the session though the response is an error, and though the request has changed the id before."""
    do(client, sign_in)
    Work.view = lambda request: (request.session.cycle_key(), logout(request), HttpResponse(status=500))[2]
    assert client.get("/").status_code == 500
    assert session_manager().stats().sessions == 0
    assert do(client, who) == "AnonymousUser"


def test_auth_age_is_that_of_the_sign_in(client: Client, ada: User) -> None:
    """``request.session.auth_age`` is None for who is not signed in, and young again only after another sign-in."""
    assert do(client, lambda request: request.session.auth_age) is None
    do(client, sign_in)
    time.sleep(0.05)
    do(client, put(a=1))
    aged = do(client, lambda request: request.session.auth_age)
    assert aged >= 0.05
    again = time.time()
    do(client, sign_in)  # the same user, in the same session
    assert do(client, lambda request: request.session.auth_age) <= time.time() - again


def test_a_day_in_the_admin(client: Client, ada: User) -> None:
    """Signing in at the admin's own page, adding a user, who is shown with a message, and signing out: from then on the
    pages ask for a password."""
    page = client.get("/admin/", follow=True)
    assert "csrfmiddlewaretoken" in page.content.decode()
    home = client.post("/admin/login/?next=/admin/", {"username": "ada", "password": "x"}, follow=True)
    assert "Site administration" in home.content.decode()
    form = {"username": "bob", "password1": "long enough 1", "password2": "long enough 1", "usable_password": "true"}
    added = client.post("/admin/auth/user/add/", form, follow=True)
    assert "was added successfully" in added.content.decode()
    assert User.objects.filter(username="bob").exists()
    signed_in = key_of(client)
    assert client.post("/admin/logout/").status_code == 200
    assert not SessionStore().exists(signed_in)
    assert client.get("/admin/").status_code == 302


def test_the_device_list(ada: User) -> None:
    """``device_urls`` list a user's devices, end one and end all others, for who is signed in and brings the list's
    token; a stranger gets 401."""
    devices = {name: Client() for name in ("laptop", "phone", "tablet")}
    for name, device in devices.items():
        do(device, lambda request, name=name: (sign_in(request), setattr(request.session.sojourn, "label", name)))
    laptop = devices["laptop"]
    listed = laptop.get("/devices/").json()
    assert sorted(row["label"] for row in listed["devices"]) == ["laptop", "phone", "tablet"]
    phone = next(row["handle"] for row in listed["devices"] if row["label"] == "phone")
    assert laptop.delete(f"/devices/{phone}").status_code == 403
    proof = {"headers": {"X-CSRF-Token": listed["csrf_token"]}}
    assert laptop.delete(f"/devices/{phone}", **proof).json() == {"ended": 1}
    assert laptop.delete(f"/devices/{phone}", **proof).status_code == 404
    assert (do(devices["phone"], who), do(devices["tablet"], who)) == ("AnonymousUser", "ada")
    assert laptop.delete("/devices/", **proof).json() == {"ended": 1}
    assert (do(devices["tablet"], who), do(laptop, who)) == ("AnonymousUser", "ada")
    assert laptop.post("/devices/").status_code == 405
    assert Client().get("/devices/").status_code == 401


# --- Messages, CSRF, caches ------------------------------------------------------------------------------------------


@override_settings(MESSAGE_STORAGE="django.contrib.messages.storage.session.SessionStorage")
def test_messages_are_kept_in_the_session(client: Client) -> None:
    """A message waits in the session for the next page that shows it, once."""

    def shown(request: HttpRequest) -> list[str]:
        return [str(message) for message in messages.get_messages(request)]

    do(client, lambda request: messages.success(request, "Saved"))
    assert do(client, shown) == ["Saved"]
    assert do(client, shown) == []


@override_settings(CSRF_USE_SESSIONS=True)
def test_the_csrf_token_is_kept_in_the_session() -> None:
    """With ``CSRF_USE_SESSIONS`` a form with the session's token passes, and one without does not."""
    client = Client(enforce_csrf_checks=True)
    token = do(client, get_token)
    Work.view = lambda request: "in"
    assert client.post("/", {"csrfmiddlewaretoken": token}).status_code == 200
    assert client.post("/", {}).status_code == 403


@override_settings(
    MIDDLEWARE=[
        "django.middleware.cache.UpdateCacheMiddleware",
        OWN,
        "django.middleware.cache.FetchFromCacheMiddleware",
    ]
)
def test_a_cached_site_shows_nobody_another_s_page() -> None:
    """With Django's per-site cache around it, each visitor gets their own page, whether it came from the cache or
    not."""
    visitors = {name: Client() for name in ("ada", "bob")}
    for name, visitor in visitors.items():
        do(visitor, put(name=name))
    for _ in range(2):
        for name, visitor in visitors.items():
            assert do(visitor, lambda request: request.session["name"]) == name
