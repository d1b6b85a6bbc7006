"""What of a request's changes is saved, when, and at what cost."""

from __future__ import annotations

import contextlib
import copy
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from sites import Reply, Site, Visitor
from sojourn import Handle, SessionClosed, TooLarge, TooManySessions, UnsupportedValue

Open = Callable[..., Site]


CART = {"items": ["apple"], "tags": {"new"}}


def start(session: Any) -> None:
    session["cart"] = copy.deepcopy(CART)
    session["old"] = 1


def stored(visitor: Visitor) -> dict[str, Any] | None:
    """The visitor's session as it is in the store."""
    return visitor.site.sessions.get_session(Handle(str(visitor.id).split(".")[0]))


_CHANGES: dict[str, tuple[Callable[[Any], Any], dict[str, Any]]] = {
    "set": (lambda session: session.set("a", 1), {"cart": CART, "old": 1, "a": 1}),
    "append": (
        lambda session: session["cart"]["items"].append("x"),
        {"cart": CART | {"items": ["apple", "x"]}, "old": 1},
    ),
    "nested key": (lambda session: session["cart"].update(n=1), {"cart": CART | {"n": 1}, "old": 1}),
    "nested set": (lambda session: session["cart"]["tags"].add("x"), {"cart": CART | {"tags": {"new", "x"}}, "old": 1}),
    "nested delete": (lambda session: session["cart"].pop("tags"), {"cart": {"items": ["apple"]}, "old": 1}),
    "delete": (lambda session: session.delete("old"), {"cart": CART}),
    "update": (lambda session: session.update("old", lambda n: n + 1), {"cart": CART, "old": 2}),
}


@pytest.mark.parametrize(("change", "result"), _CHANGES.values(), ids=_CHANGES)
def test_a_change_is_saved(visitor: Visitor, change: Callable[[Any], Any], result: dict[str, Any]) -> None:
    """A change is saved with no flag, nested ones included, in one commit, and leaves the cookie alone."""
    visitor.do(start)
    visitor.site.store.calls.clear()
    assert visitor.do(change).cookies == []
    assert visitor.site.store.calls == ["load", "commit"]
    assert stored(visitor) == result


_LOOKS: dict[str, Callable[[Any], Any]] = {
    "in": lambda session: "cart" in session,
    "get": lambda session: session.get("cart"),
    "iterate": list,
    "values": lambda session: list(session.values()),
    "len": len,
    "same again": lambda session: session["cart"].update(items=["apple"]),
    "nothing": lambda session: None,
}


@pytest.mark.parametrize("look", _LOOKS.values(), ids=_LOOKS)
def test_a_read_writes_nothing(visitor: Visitor, look: Callable[[Any], Any]) -> None:
    """A request that only reads writes nothing within the touch interval, and exactly one touch after it."""
    site = visitor.site
    visitor.do(start)
    site.store.calls.clear()
    for _ in range(5):
        site.clock.advance(11)
        visitor.do(look)
    assert site.store.writes == []
    site.clock.advance(5)
    for _ in range(5):
        visitor.do(look)
    assert site.store.writes == ["touch"]
    site.clock.advance(60)
    visitor.do(lambda session: session.set("a", 1))
    visitor.do(look)
    assert site.store.writes == ["touch", "commit"]  # a touch that is due rides on a commit


def test_fifty_parallel_requests_keep_every_key(visitor: Visitor) -> None:
    """Fifty requests that have all loaded the same session before any of them commits keep every key and every appended
    item, and the counter is exact."""
    visitor.do(start)
    together = threading.Barrier(50)

    def work(at: int) -> Callable[[Any], None]:
        def handler(session: Any) -> None:
            together.wait(15)
            session[f"key{at}"] = at
            session["cart"]["items"].append(at)
            session.update("hits", lambda n: (n or 0) + 1)

        return handler

    futures = [visitor.site.begin(work(at), visitor.jar.header) for at in range(50)]
    assert [future.result(20).status for future in futures] == [200] * 50
    kept = stored(visitor)
    assert kept is not None
    assert {kept[f"key{at}"] for at in range(50)} == set(range(50))
    assert set(kept["cart"]["items"]) == {"apple", *range(50)}
    assert kept["hits"] == 50


def test_the_commit_comes_before_the_first_byte(visitor: Visitor) -> None:
    """What the application changed before it responded is in the store when the first byte of the body is made."""
    visitor.do(start)
    seen: list[Any] = []

    def respond(session: Any) -> Reply:
        session["a"] = 1

        def body() -> Iterable[bytes]:
            seen.append(stored(visitor))
            yield b"part"

        return Reply(body=body())

    assert visitor.do(respond).body == b"part"
    assert seen[0]["a"] == 1


def test_what_a_streaming_body_changes_is_saved_at_its_end(visitor: Visitor) -> None:
    """Changes made while the body streams are committed when it ends, those of values that were handed out before
    included; what others committed meanwhile stays."""
    visitor.do(start)
    site = visitor.site

    def respond(session: Any) -> Reply:
        items = session["cart"]["items"]
        items.append("before")

        def body() -> Iterable[bytes]:
            yield b"one "
            with site.sessions.session(str(visitor.id)) as other:
                other["other"] = True
            items.append("during")
            session["late"] = len(session)
            yield b"two"

        return Reply(body=body())

    assert visitor.do(respond).body == b"one two"
    assert stored(visitor) == {
        "cart": {"items": ["apple", "before", "during"], "tags": {"new"}}, "old": 1, "other": True, "late": 2,
    }  # fmt: skip


_TOO_LATE: dict[str, Callable[[Any], Any]] = {
    "login": lambda session: session.login("ada"),
    "rotate": lambda session: session.rotate(),
}


@pytest.mark.parametrize("change", _TOO_LATE.values(), ids=_TOO_LATE)
def test_an_id_cannot_change_once_the_response_has_left(visitor: Visitor, change: Callable[[Any], Any]) -> None:
    """A sign-in or rotation while the body streams is dropped, as no cookie could carry the new id: the visitor keeps
    the session as it was."""
    visitor.do(start)

    def respond(session: Any) -> Reply:
        def body() -> Iterable[bytes]:
            yield b"one"
            change(session)
            session["late"] = True

        return Reply(body=body())

    visitor.do(respond)
    assert visitor.do(lambda session: (session.get("old"), session.user_id)).result == (1, None)
    assert visitor.see("late") is None


def test_a_session_that_begins_while_the_body_streams_is_dropped(visitor: Visitor) -> None:
    """A session that is begun after the response has left is not stored: nobody could ever show its id."""

    def respond(session: Any) -> Reply:
        def body() -> Iterable[bytes]:
            yield b"one"
            session["late"] = True

        return Reply(body=body())

    assert visitor.do(respond).body == b"one"
    assert visitor.site.held == 0


def test_ending_while_the_body_streams_ends(visitor: Visitor) -> None:
    """A session that is ended while the body streams is over."""
    visitor.do(start)

    def respond(session: Any) -> Reply:
        def body() -> Iterable[bytes]:
            yield b"one"
            session.end()

        return Reply(body=body())

    visitor.do(respond)
    assert visitor.site.held == 0
    assert visitor.see("old") is None


def test_a_session_object_is_dead_after_its_response(visitor: Visitor) -> None:
    """A session object that outlives its response raises when it is used, and changes nothing."""
    visitor.do(start)
    objects = [visitor.do(lambda session: session).result, visitor.site.visitor().do(lambda session: session).result]
    for session in objects:
        for use in (
            lambda s: s["old"],
            len,
            lambda s: s.set("a", 1),
            lambda s: s.user_id,
            lambda s: s.end(),
            lambda s: s.is_new,
        ):
            with pytest.raises(SessionClosed):
                use(session)
    assert visitor.see("a") is None


class _Broken(Exception):
    pass


def fail(session: Any) -> None:
    session["a"] = 1
    session["cart"]["items"].append("pear")
    raise _Broken


_FAILURES: dict[str, Callable[[Any], Any]] = {
    "change": fail,
    "login": lambda session: (session.login("eve"), fail(session)),
    "end": lambda session: (session.end(), 1 / 0),
    "rotate": lambda session: (session.rotate(), 1 / 0),
    "clear": lambda session: (session.clear(), 1 / 0),
}


@pytest.mark.parametrize("failure", _FAILURES.values(), ids=_FAILURES)
@pytest.mark.parametrize("new", [False, True], ids=["old", "new"])
def test_an_application_that_raises_commits_nothing(visitor: Visitor, failure: Callable[[Any], Any], new: bool) -> None:
    """If the application raises, nothing of what it changed is committed, and the cookie is left alone."""
    if not new:
        visitor.do(start)
    before, site = visitor.jar.header, visitor.site
    site.store.calls.clear()
    response = visitor.do(failure)
    assert (response.status, response.all("set-cookie"), visitor.jar.header) == (500, [], before)
    assert site.store.writes == []
    assert len(site.errors) == 1
    if not new:
        assert stored(visitor) == {"cart": CART, "old": 1}
        assert visitor.do(lambda session: session.user_id).result is None


def test_a_body_that_raises_keeps_what_was_committed_before_it(visitor: Visitor) -> None:
    """If the body raises, what was committed when the response began stays, and what was changed since is dropped."""
    visitor.do(start)

    def respond(session: Any) -> Reply:
        session["before"] = 1

        def body() -> Iterable[bytes]:
            session["during"] = 1
            yield b"part"
            session["during"] = 2
            raise _Broken

        return Reply(body=body())

    with contextlib.suppress(_Broken):
        visitor.do(respond)
    kept = stored(visitor)
    assert kept is not None
    assert (kept.get("before"), kept.get("during")) == (1, None)


_REFUSED: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "too large": (lambda session: session.set("text", "x" * 1001), TooLarge, "text"),
    "too large nested": (lambda session: session["cart"]["items"].append("x" * 1001), TooLarge, "cart"),
    "unsupported": (lambda session: session.set("thing", {"price": object()}), UnsupportedValue, "thing.price"),
    "unsupported nested": (
        lambda session: session["cart"]["items"].append(object()),
        UnsupportedValue,
        r"cart.items\[1\]",
    ),
}


@pytest.mark.parametrize(("act", "kind", "path"), _REFUSED.values(), ids=_REFUSED)
def test_what_cannot_be_kept_is_refused_with_its_path(
    open_site: Open, act: Callable[[Any], Any], kind: Any, path: str
) -> None:
    """A value that cannot be kept is the application's error: its own error handling sees it, the message names the
    path, nothing is stored and the cookie is left alone."""
    site = open_site(max_field_bytes=1000)
    visitor = site.visitor()
    visitor.do(start)
    before = stored(visitor)
    response = visitor.do(lambda session: (session.set("other", 1), act(session)))
    assert (response.status, response.all("set-cookie")) == (500, [])
    assert stored(visitor) == before
    (error,) = site.errors
    with pytest.raises(kind, match=path):
        raise error
    assert visitor.do(lambda session: session.set("fine", 1)).status == 200


def test_a_label_and_timeouts_are_kept(visitor: Visitor) -> None:
    """What an application sets beside the fields is committed with them."""
    visitor.do(lambda session: (start(session), session.login("ada")))
    visitor.do(lambda session: (setattr(session, "label", "Firefox"), session.set_timeouts(idle=60)))
    (row,) = visitor.site.sessions.list_sessions("ada")
    assert (row.label, row.expires_at - row.last_accessed_at) == ("Firefox", 66)


def test_a_sign_in_can_be_refused_and_answered_for(open_site: Open) -> None:
    """At a cap that refuses, a sign-in is the application's error: nothing is stored and the cookie is left alone. An
    application that saves at once can catch it, discard, and respond in its own way."""
    site = open_site(max_sessions_per_user=1, at_cap="refuse")
    first, second = site.visitor(), site.visitor()
    first.do(lambda session: session.login("ada"))
    assert second.do(lambda session: session.login("ada")).status == 500
    assert [type(error) for error in site.errors] == [TooManySessions]

    def answer(session: Any) -> str:
        session.login("ada")
        try:
            site.save(session)
        except TooManySessions:
            session.discard()
        return "end one first"

    response = second.do(answer)
    assert (response.status, response.result, second.jar.header) == (200, "end one first", None)
    assert site.held == 1
    assert first.do(lambda session: session.user_id).result == "ada"
