"""Sign-in, rotation and logout: the old id is dead at once, nobody else is logged out, and a stale response leaves the
cookie alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sites import Response, Site, Visitor
from sojourn.ids import join, mint
from sojourn.policy import GRACE

Open = Callable[..., Site]


def put(session: Any) -> None:
    session["name"] = "Ada"


def leaves_the_cookie_alone(response: Response) -> bool:
    """It neither sets nor clears it."""
    return response.status == 200 and response.all("set-cookie") == []


_CHANGES: dict[str, Callable[[Any], Any]] = {
    "login": lambda session: session.login("ada"),
    "login again": lambda session: (session.login("bob"), session.login("ada")),
    "rotate": lambda session: session.rotate(),
}


@pytest.mark.parametrize("change", _CHANGES.values(), ids=_CHANGES)
def test_the_old_id_is_dead_at_once(visitor: Visitor, change: Callable[[Any], Any]) -> None:
    """After sign-in or rotation the client has a new id of the same session, and the old one is nobody's."""
    visitor.do(put)
    old = visitor.jar.header
    (cookie,) = visitor.do(change).cookies
    assert visitor.site.request(lambda session: (session.get("name"), session.user_id), old).result == (None, None)
    assert visitor.jar.header != old
    assert cookie.value.split(".")[0] == str(old).split("=")[1].split(".")[0]
    assert visitor.see("name") == "Ada"
    assert visitor.site.held == 1


def test_signing_in_again_changes_the_id_again(visitor: Visitor) -> None:
    """Each sign-in replaces the id, that of the same user included."""
    seen = set()
    for _ in range(3):
        visitor.do(lambda session: session.login("ada"))
        seen.add(visitor.id)
        assert visitor.do(lambda session: session.user_id).result == "ada"
    assert len(seen) == 3


@pytest.mark.parametrize("change", ["end", "login", "elsewhere"])
def test_nothing_revives_what_is_over(visitor: Visitor, change: str) -> None:
    """A writer and a reader in flight when the session ends or its user changes: their responses leave the cookie
    alone, what was written is dropped and counted, and nothing comes back to life."""
    visitor.do(lambda session: (put(session), session.login("eve")))
    old, site = visitor.jar.header, visitor.site
    acts = {
        "end": lambda: visitor.do(lambda session: session.end()),
        "login": lambda: visitor.do(lambda session: session.login("ada")),
        "elsewhere": lambda: site.sessions.end_user_sessions("eve"),
    }
    with visitor.in_flight(lambda session: session.set("late", "eve's")) as writer:
        with visitor.in_flight(lambda session: session.get("name")) as reader:
            acts[change]()
            held, before = site.held, visitor.jar.header
            assert leaves_the_cookie_alone(writer.land())
            read = reader.land()
            assert leaves_the_cookie_alone(read)
            assert read.result == "Ada"
    assert site.manager.counts["gone"] == 1
    assert site.held == held == (1 if change == "login" else 0)
    assert visitor.jar.header == before
    assert visitor.see("late") is None
    assert site.request(lambda session: session.get("name"), old).result is None


@pytest.mark.parametrize("change", ["rotate", "end", "remember", "persist"])
def test_a_stale_response_leaves_the_cookie_alone(visitor: Visitor, change: str) -> None:
    """Whatever a request asks for that was overtaken by a change of user, its response leaves the cookie alone: the
    client has, or is about to get, a newer one. (Ending is done: the session is over, and so are all its ids.)"""
    visitor.do(put)
    acts: dict[str, Callable[[Any], Any]] = {
        "rotate": lambda session: session.rotate(),
        "end": lambda session: session.set("late", 1),
        "remember": lambda session: (session.rotate(), session.set_timeouts(persistent=True)),
        "persist": lambda session: session.set_timeouts(persistent=True),
    }
    with visitor.in_flight(acts[change]) as flight:
        visitor.do(lambda session: session.login("ada"))
        new = visitor.id
        assert leaves_the_cookie_alone(visitor.receive(flight.land()))
    assert visitor.id == new
    assert visitor.do(lambda session: session.user_id).result == "ada"


@pytest.mark.parametrize("saved", [False, True])
def test_what_is_written_under_a_superseded_id_is_dropped(visitor: Visitor, saved: bool) -> None:
    """A request that shows an id which a sign-in replaced sees no session; what it writes is dropped and its response
    leaves the cookie alone, also if the application saves at once."""
    site = visitor.site
    visitor.do(put)
    old = visitor.jar.header
    visitor.do(lambda session: session.login("ada"))

    def late(session: Any) -> Any:
        session["late"] = 1
        if saved:
            site.save(session)
        return session.get("name")

    response = site.request(late, old)
    assert response.result is None
    assert leaves_the_cookie_alone(response)
    assert leaves_the_cookie_alone(site.request(lambda session: session.end(), old))
    assert (site.held, site.manager.counts["dropped"]) == (1, 1)
    assert visitor.see("late") is None


def test_signing_in_works_with_a_superseded_cookie(visitor: Visitor) -> None:
    """Who signs in with a cookie that was superseded gets a session of their own."""
    visitor.do(put)
    old = visitor.jar.header
    visitor.do(lambda session: session.login("ada"))
    response = visitor.site.request(lambda session: session.login("ada"), old)
    (cookie,) = response.cookies
    assert cookie.value.split(".")[0] != str(visitor.id).split(".")[0]
    assert visitor.site.held == 2


def test_a_planted_id_is_never_adopted(visitor: Visitor) -> None:
    """An id that an attacker planted, well-formed and unknown, gives way to a new one, and the attacker sees
    nothing."""
    planted = f"__Host-session={join(*mint())}"
    visitor.jar.receive([f"{planted}; Path=/; Secure"])
    visitor.do(lambda session: session.login("ada"))
    assert visitor.jar.header != planted
    assert planted.split("=")[1].split(".")[0] not in str(visitor.jar.header)
    assert visitor.site.request(lambda session: session.user_id, planted).result is None
    assert visitor.site.held == 1


def test_a_planted_session_does_not_survive_the_sign_in(visitor: Visitor) -> None:
    """A live session of the attacker's own, planted on the victim, is the victim's alone after the victim signed in."""
    site = visitor.site
    attacker = site.visitor()
    attacker.do(lambda session: session.set("planted", True))
    visitor.jar.receive([f"{attacker.jar.header}; Path=/; Secure"])
    visitor.do(lambda session: (session.login("victim"), session.set("secret", 1)))
    assert attacker.do(lambda session: (session.user_id, session.get("secret"))).result == (None, None)
    assert visitor.do(lambda session: session.user_id).result == "victim"


# --- Rotation for age ------------------------------------------------------------------------------------------------


@pytest.fixture
def aged(open_site: Open) -> Visitor:
    """A visitor whose secret is due to be replaced for age."""
    site = open_site(rotate_after=600)
    visitor = site.visitor()
    visitor.do(put)
    site.clock.advance(601)
    return visitor


@pytest.mark.parametrize("work", [None, lambda session: session.get("name"), lambda session: session.set("n", 1)])
def test_an_old_secret_is_replaced(aged: Visitor, work: Callable[[Any], Any] | None) -> None:
    """A secret past its age is replaced by any request, once; the old one ends 30 s after the new one was seen."""
    old, site = aged.jar.header, aged.site
    (cookie,) = aged.do(work).cookies
    assert cookie.value != str(old).split("=")[1]
    site.clock.advance(20)
    assert aged.do(work).cookies == []  # seen, and the grace runs
    assert site.request(lambda session: session.get("name"), old).result == "Ada"
    site.clock.advance(GRACE + 1)
    assert site.request(lambda session: session.get("name"), old).result is None
    assert aged.see("name") == "Ada"


def test_the_grace_is_for_the_old_secret_alone(aged: Visitor) -> None:
    """While the old secret is in its grace no other opens the session, and nobody's else is of use."""
    site, other = aged.site, aged.site.visitor()
    other.do(put)
    aged.do(put)
    for secret in ("s" * 43, str(other.id).split(".")[1]):
        cookie = f"__Host-session={str(aged.id).split('.')[0]}.{secret}"
        assert site.request(lambda session: session.get("name"), cookie).result is None


def test_parallel_requests_across_a_rotation_log_nobody_out(aged: Visitor) -> None:
    """Twenty requests in flight when the secret is replaced, each of which writes: all are kept, one id comes out of
    it, and whichever response arrives last the visitor stays signed in."""
    flights = [aged.in_flight(lambda session, at=at: session.set(f"n{at}", at)) for at in range(20)]
    entered = [flight.__enter__() for flight in flights]
    responses = [flight.land() for flight in entered]
    for flight in flights:
        flight.__exit__(None, None, None)
    assert [response.status for response in responses] == [200] * 20
    ids = {cookie.value for response in responses for cookie in response.cookies}
    assert len(ids) == 1
    for response in reversed(responses):
        aged.receive(response)
    aged.site.clock.advance(GRACE + 1)
    assert aged.do(lambda session: sum(f"n{at}" in session for at in range(20))).result == 20
    aged.site.clock.advance(GRACE + 1)
    assert aged.see("name") == "Ada"


def test_a_lost_response_logs_nobody_out(aged: Visitor) -> None:
    """If the response with the new id never arrives, the visitor's old id goes on, for as long as it takes, and is
    replaced again."""
    site = aged.site
    lost = aged.send(lambda session: session.get("name"))
    assert len(lost.cookies) == 1
    for _ in range(5):
        site.clock.advance(GRACE * 10)
        again = aged.send(lambda session: session.get("name"))
        assert again.result == "Ada"
        assert len(again.cookies) == 1
    aged.receive(again)
    site.clock.advance(10)
    assert aged.see("name") == "Ada"
    site.clock.advance(GRACE + 1)
    assert aged.see("name") == "Ada"


def test_a_late_response_does_not_bring_an_old_id_back(aged: Visitor) -> None:
    """A request that was loaded before the rotation, and asks for "remember me", does not send the old id again."""
    site = aged.site
    with aged.in_flight(lambda session: session.set_timeouts(persistent=True)) as late:
        aged.do(put)
        new = aged.id
        aged.do(put)  # the new one is seen, and the old one's grace runs
        aged.receive(late.land())
    site.clock.advance(GRACE + 1)
    assert aged.see("name") == "Ada"
    assert str(aged.id).split(".")[0] == str(new).split(".")[0]


def test_an_id_in_its_grace_is_not_sent_again(aged: Visitor) -> None:
    """A request that shows the replaced id, in its grace, and asks for "remember me" does not send that id again."""
    old, site = aged.jar.header, aged.site
    aged.do(put)
    aged.do(put)
    aged.receive(site.request(lambda session: session.set_timeouts(persistent=True), old))
    site.clock.advance(GRACE + 1)
    assert aged.see("name") == "Ada"
