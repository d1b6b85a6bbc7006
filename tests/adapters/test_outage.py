"""When the store fails: 503, never "anonymous", and the cookie is left alone; when writers meet and the configuration
refuses, 409."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from servers.valkey import Valkey
from sites import Reply, Response, Site, Visitor
from sojourn import DamagedRecord, Handle, OutcomeUnknown, StoreUnavailable

Open = Callable[..., Site]


def start(session: Any) -> None:
    session["name"] = "Ada"
    session["cart"] = {"items": []}


def fails_with(error: Exception) -> Callable[..., None]:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    return fail


def is_busy(response: Response, seconds: str) -> bool:
    return (
        response.status == 503
        and response.all("retry-after") == [seconds]
        and response.all("set-cookie") == []
        and response.all("cache-control") == ["no-store"]
        and response.all("content-length") == [str(len(response.body))]
    )


_LOADS: dict[str, tuple[Exception, str]] = {
    "no answer": (StoreUnavailable("it does not answer"), "1"),
    "later": (StoreUnavailable("it is being moved", retry_after=30), "30"),
    "damaged": (DamagedRecord("h" * 22, "its check fails"), "1"),
}


@pytest.mark.parametrize(("error", "seconds"), _LOADS.values(), ids=_LOADS)
@pytest.mark.parametrize("handler", [lambda session: session.get("name"), None], ids=["looks", "does not look"])
def test_an_outage_is_not_anonymity(
    visitor: Visitor, error: Exception, seconds: str, handler: Callable[[Any], Any] | None
) -> None:
    """If the session cannot be loaded the answer is 503 with Retry-After; the application does not run, and the cookie
    is left alone: when the store is back, so is the visitor."""
    visitor.do(start)
    store = visitor.site.store
    store.before["load"] = fails_with(error)
    ran: list[bool] = []
    response = visitor.do(lambda session: ran.append(True) if handler is None else handler(session))
    assert is_busy(response, seconds)
    assert ran == []
    store.before.clear()
    assert visitor.see("name") == "Ada"


def test_an_outage_does_not_concern_who_has_no_session(visitor: Visitor) -> None:
    """Who shows no id is served while the store is away, as long as nothing is stored for them."""
    visitor.site.store.before["load"] = fails_with(StoreUnavailable("away"))
    assert visitor.do(lambda session: session.get("name")).status == 200


class _Body:
    """A body that brings the store back."""

    def __init__(self, failing: dict[str, bool]) -> None:
        self._failing = failing

    def __iter__(self) -> Iterator[bytes]:
        self._failing["on"] = False
        yield b"part"


_WRITES: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "change": ("commit", lambda session: session.set("a", 1)),
    "login": ("commit", lambda session: (session.set("a", 1), session.login("ada"))),
    "end": ("end", lambda session: session.end()),
}


@pytest.mark.parametrize("error", [StoreUnavailable("no answer"), OutcomeUnknown("the reply did not come")], ids=repr)
@pytest.mark.parametrize(("operation", "act"), _WRITES.values(), ids=_WRITES)
def test_what_could_not_be_committed_is_not_acknowledged(
    visitor: Visitor, error: Exception, operation: str, act: Callable[[Any], Any]
) -> None:
    """If the commit fails the application's response gives way to a 503 and the cookie is left alone; nothing is tried
    behind the client's back, though the store is well again when the request ends."""
    visitor.do(start)
    site, before = visitor.site, visitor.jar.header
    failing = {"on": True}

    def fail(*_: Any, **__: Any) -> None:
        if failing["on"]:
            raise error

    def recover(session: Any) -> Reply:
        act(session)
        return Reply(body=_Body(failing))

    site.store.before[operation] = fail
    response = visitor.do(recover)
    assert is_busy(response, "1")
    assert visitor.jar.header == before
    site.store.before.clear()
    assert visitor.do(lambda session: (session.get("name"), session.get("a"), session.user_id)).result == (
        "Ada",
        None,
        None,
    )


def test_a_new_session_that_could_not_be_created_has_no_cookie(visitor: Visitor) -> None:
    """If a first session cannot be created the answer is 503, and there is no cookie."""
    visitor.site.store.before["create"] = fails_with(StoreUnavailable("disk full"))
    assert is_busy(visitor.do(start), "1")
    assert visitor.jar.header is None
    assert visitor.site.held == 0


def test_a_reader_is_served_though_activity_cannot_be_recorded(visitor: Visitor) -> None:
    """A store that can be read and not written serves readers."""
    visitor.do(start)
    visitor.site.store.before["touch"] = fails_with(StoreUnavailable("read-only"))
    visitor.site.clock.advance(100)
    response = visitor.do(lambda session: session.get("name"))
    assert (response.status, response.result) == (200, "Ada")


# --- A real server ---------------------------------------------------------------------------------------------------


def _full(server: Valkey) -> None:
    server.do("CONFIG", "SET", "maxmemory-policy", "noeviction")
    server.do("CONFIG", "SET", "maxmemory", "1")


_OUTAGES: dict[str, tuple[Callable[[Valkey], object], Callable[[Valkey], object]]] = {
    "killed": (Valkey.kill, Valkey.start),
    "hung": (Valkey.hang, Valkey.go_on),
    "full": (_full, lambda server: server.do("CONFIG", "SET", "maxmemory", "0")),
}


@pytest.mark.parametrize("outage", _OUTAGES)
def test_a_server_that_fails(open_site: Open, outage: str) -> None:
    """Valkey is killed, hangs, or is full: a request that needs it is answered 503 with Retry-After within the
    deadline, nobody becomes anonymous, no cookie is touched; who only reads is served by a full one. When it is back
    so is the visitor, and nothing of what was refused is there."""
    begin, end = _OUTAGES[outage]
    with Valkey(appendonly="yes") as server:
        site = open_site(url=server.url(clock="caller"), deadline=2.0)
        visitor = site.visitor()
        assert visitor.do(start).status == 200
        before = visitor.jar.header
        begin(server)
        began = time.monotonic()
        reader = visitor.do(lambda session: session.get("name"))
        assert (reader.status, reader.result) == (200, "Ada") if outage == "full" else is_busy(reader, "1")
        assert is_busy(visitor.do(lambda session: session.set("name", "Eve")), "1")
        assert is_busy(site.visitor().do(start), "1")
        assert time.monotonic() - began < 3 * (2.0 + 1.0)
        assert visitor.jar.header == before
        end(server)
        assert visitor.see("name") == "Ada"
        assert visitor.do(lambda session: session.set("name", "Bob")).status == 200
        assert visitor.see("name") == "Bob"


# --- Writers that meet -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("same_key", ["refuse", "overwrite"])
def test_two_writers_of_the_same_thing(open_site: Open, same_key: str) -> None:
    """With ``same_key="refuse"`` the later of two writers of the same thing gets 409, and nothing of it is committed;
    without, it wins and the path is counted."""
    site = open_site(same_key=same_key)
    visitor = site.visitor()
    visitor.do(start)
    before = visitor.jar.header
    with visitor.in_flight(lambda session: (session.set("name", "Eve"), session.set("more", 1))) as late:
        assert visitor.do(lambda session: session.set("name", "Bob")).status == 200
        response = visitor.receive(late.land())
    assert visitor.jar.header == before
    assert response.all("set-cookie") == []
    seen = visitor.do(lambda session: (session.get("name"), session.get("more"))).result
    if same_key == "refuse":
        assert (response.status, seen) == (409, ("Bob", None))
        assert b"Please try again" in response.body
    else:
        assert (response.status, response.body, seen, site.manager.counts["overwritten"]) == (200, b"ok", ("Eve", 1), 1)


def test_disjoint_writers_are_not_refused(open_site: Open) -> None:
    """With ``same_key="refuse"`` writers of different things, nested ones included, are both kept."""
    site = open_site(same_key="refuse")
    visitor = site.visitor()
    visitor.do(start)
    with visitor.in_flight(lambda session: session["cart"]["items"].append("pear")) as late:
        assert visitor.do(lambda session: session["cart"]["items"].append("apple")).status == 200
        assert late.land().status == 200
    assert visitor.see("cart") == {"items": ["apple", "pear"]}


def test_a_leased_session_makes_writers_wait_and_then_refuses(open_site: Open) -> None:
    """While somebody has the session to themselves, readers pass and a writer gets 409 at its deadline."""
    site = open_site(deadline=0.1)
    visitor = site.visitor()
    visitor.do(start)
    with site.sessions.exclusive(str(visitor.id), hold=30):
        assert visitor.see("name") == "Ada"
        assert visitor.do(lambda session: session.set("a", 1)).status == 409
    assert visitor.do(lambda session: session.set("a", 1)).status == 200
    assert site.sessions.get_session(Handle(str(visitor.id).split(".")[0])) == {
        "name": "Ada",
        "cart": {"items": []},
        "a": 1,
    }
