"""Flask-Login on Sojourn: whom it signs in is the session's user, so that signing in rotates, signing out is final, and
devices can be listed and signed out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import flask_login
import pytest
from flask_login import LoginManager, UserMixin, current_user, login_user, logout_user

from sites import Site, Visitor, opener

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning")  # Flask-Login's own


class User(UserMixin):  # type: ignore[misc]
    def __init__(self, name: str, *, active: bool = True) -> None:
        self.id = name
        self._active = active

    @property
    def is_active(self) -> bool:
        return self._active


@pytest.fixture
def open_site() -> Iterator[Callable[..., Site]]:
    """Opens sites in Flask with Flask-Login."""
    with opener("flask") as open_one:

        def open_site(protection: str | None = "basic", **settings: Any) -> Site:
            site: Any = open_one(**settings)
            site.app.secret_key = "for Flask-Login's own cookie"
            manager = LoginManager(site.app)
            manager.session_protection = protection
            manager.user_loader(User)
            return site  # type: ignore[no-any-return]

        yield open_site


@pytest.fixture
def site(open_site: Callable[..., Site]) -> Site:
    return open_site()


@pytest.fixture
def ada(site: Site) -> Visitor:
    """A visitor who has signed in as Ada."""
    visitor = site.visitor()
    visitor.do(lambda session: login_user(User("ada")))
    return visitor


def who(session: Any) -> tuple[Any, Any]:
    """The user as Flask-Login and as Sojourn have it."""
    return getattr(current_user, "id", None), session.user_id


ADA, NOBODY = ("ada", "ada"), (None, None)


def restarted(visitor: Visitor) -> Visitor:
    """The browser, closed and opened again: it has Flask-Login's own cookie alone."""
    (token,) = (cookie for cookie in visitor.jar.cookies if cookie.name == "remember_token")
    assert "expires" in token.attributes
    again = visitor.site.visitor()
    again.jar.receive([f"{token.name}={token.value}"])
    return again


def test_signing_in_rotates_and_binds_the_user(site: Site) -> None:
    """``login_user`` gives the session another id, under which the user's devices list it; the old id is dead. What a
    visitor had put in stays."""
    visitor = site.visitor()
    visitor.do(lambda session: session.set("cart", ["tea"]))
    old = visitor.jar.header
    (cookie,) = visitor.do(lambda session: login_user(User("ada"))).cookies
    assert cookie.value != str(old).partition("=")[2]
    assert visitor.do(lambda session: (who(session), session["cart"])).result == (ADA, ["tea"])
    assert [row.user_id for row in site.sessions.list_sessions("ada")] == ["ada"]
    assert site.request(lambda session: (who(session), dict(session)), old).result == (NOBODY, {})


def test_signing_in_again_rotates(ada: Visitor) -> None:
    """Each sign-in rotates, and makes ``auth_age`` young; another user's too."""
    ada.site.clock.advance(100)
    for name in ("ada", "bob"):
        before = ada.id
        ada.do(lambda session, name=name: login_user(User(name)))
        assert ada.id != before
        assert ada.do(lambda session: (who(session), session.auth_age)).result == ((name, name), 0)


def test_who_may_not_sign_in_does_not(site: Site) -> None:
    """An inactive user is refused by Flask-Login, and there is no session."""
    visitor = site.visitor()
    assert visitor.do(lambda session: login_user(User("eve", active=False))).result is False
    assert (visitor.id, site.held) == (None, 0)


def test_signing_out_is_final(ada: Visitor) -> None:
    """``logout_user`` ends the session in the store: a request in flight cannot write into it or bring it back, and its
    id is dead. With nothing else in the session the cookie is cleared."""
    old = ada.jar.header
    with ada.in_flight(lambda session: session.set("late", True)) as late:
        (cookie,) = ada.do(lambda session: logout_user()).cookies
        assert cookie.max_age == 0
        assert late.land().cookies == []
    assert ada.site.held == 0
    assert ada.site.request(who, old).result == NOBODY


def test_what_is_left_after_signing_out_goes_on(ada: Visitor) -> None:
    """What else was in the session stays, as Flask-Login has it, in another session."""
    ada.do(lambda session: session.update(cart=["tea"]))
    old = ada.id
    ada.do(lambda session: (logout_user(), session.set("said", "bye")))
    found = ada.do(lambda session: (who(session), session.to_dict())).result
    found[1].pop("_fresh")  # Flask-Login's own, which it leaves there
    assert found == (NOBODY, {"cart": ["tea"], "said": "bye"})
    assert str(old).split(".")[0] not in str(ada.id)
    assert ada.site.held == 1
    assert ada.site.sessions.list_sessions("ada") == []


def test_signing_out_everywhere(site: Site, ada: Visitor) -> None:
    """Who is signed out everywhere is signed out for Flask-Login, too."""
    other = site.visitor()
    other.do(lambda session: login_user(User("ada")))
    assert site.sessions.end_user_sessions("ada") == 2
    for visitor in (ada, other):
        assert visitor.do(who).result == NOBODY


def test_remember_me(site: Site) -> None:
    """Flask-Login's "remember me" signs in again when the browser was closed: another session of the user, which is not
    fresh. ``confirm_login`` makes it fresh, under another id."""
    visitor = site.visitor()
    visitor.do(lambda session: login_user(User("ada"), remember=True, duration=timedelta(days=30)))
    visitor = restarted(visitor)
    site.clock.advance(86400)
    assert visitor.do(lambda session: (who(session), flask_login.login_fresh())).result == (ADA, False)
    assert [row.user_id for row in site.sessions.list_sessions("ada")] == ["ada"]
    site.clock.advance(100)
    before = visitor.jar.header
    visitor.do(lambda session: (who(session), flask_login.confirm_login()))
    assert visitor.jar.header != before
    assert visitor.do(lambda session: (who(session), flask_login.login_fresh(), session.auth_age)).result == (
        ADA,
        True,
        0,
    )


def test_signing_out_forgets_who_was_remembered(site: Site) -> None:
    """``logout_user`` takes Flask-Login's own cookie away with the session."""
    visitor = site.visitor()
    visitor.do(lambda session: login_user(User("ada"), remember=True))
    visitor.do(lambda session: logout_user())
    assert (visitor.jar.cookies, site.held) == ([], 0)
    assert visitor.do(who).result == NOBODY


def test_only_who_is_fresh_may(site: Site) -> None:
    """``fresh_login_required`` refuses who came in by "remember me", until they sign in."""
    visitor = site.visitor()
    secret = flask_login.fresh_login_required(lambda: "secret")
    visitor.do(lambda session: login_user(User("ada"), remember=True))
    assert visitor.do(lambda session: secret()).result == "secret"
    visitor = restarted(visitor)
    assert visitor.do(lambda session: secret()).status == 401
    visitor.do(lambda session: login_user(User("ada")))
    assert visitor.do(lambda session: secret()).result == "secret"


def test_strong_protection_ends_a_session_that_moved(open_site: Callable[..., Site]) -> None:
    """With ``session_protection="strong"`` a cookie that another browser shows signs nobody in, and its session ends in
    the store. With "basic" it is only not fresh any more."""
    for protection, expected, held in (("strong", NOBODY, 0), ("basic", ADA, 1)):
        site = open_site(protection)
        visitor = site.visitor()
        visitor.do(lambda session: login_user(User("ada")))
        thief = site.request(who, visitor.jar.header, headers=[("user-agent", "another")])
        assert (thief.result, site.held) == (expected, held)
        assert visitor.do(lambda session: (who(session), flask_login.login_fresh())).result == (expected, False)


def test_a_user_whose_id_is_a_number(site: Site) -> None:
    """A ``get_id`` that returns a number serves, as it does with Flask's own sessions."""

    class Numbered(User):
        def get_id(self) -> Any:
            return 7

    visitor = site.visitor()
    visitor.do(lambda session: login_user(Numbered("ada")))
    assert visitor.do(who).result == (7, "7")
