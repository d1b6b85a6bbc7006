"""The end of a request, decided: every case, and what becomes of the store and of the cookie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sojourn import Session, SessionConfig, ids
from sojourn.codec import Codec
from sojourn.lifecycle import Closing, CookieAction, closing, cookie_action
from sojourn.policy import amend, new_record
from sojourn.record import replace
from sojourn.session import Context, PlainSession, Presented
from sojourn.testing import NOW

CONFIG, CODEC = SessionConfig(), Codec()
CONTEXT = Context(CODEC, CONFIG, lambda session: None)
Act = Callable[[Any], Any]


def live(**changes: Any) -> Session:
    """A session that was loaded by its id."""
    handle, secret = ids.mint()
    record = new_record(handle, ids.digest(secret), b"v" * 8, {"name": CODEC.encode("name", "Ada")}, NOW, CONFIG)
    return PlainSession(CONTEXT, replace(record, **changes), secret, NOW, "live")


def new(presented: Presented = "nothing") -> Session:
    """A session that is stored nowhere yet, made where this was presented."""
    return PlainSession(CONTEXT, new_record("", b"", b"", {}, 0.0, CONFIG), "", NOW, presented)


def close(session: Session, committed: Act = lambda record: record) -> tuple[Closing, CookieAction]:
    """Decide, as the engine does, with a store that commits what is asked for; `committed` stands for what others did
    to the record at the same time."""
    delta, amendment = session.delta(), session.amendment
    done = closing(session, delta, amendment)
    if done == "create":
        session.identify()
        made = new_record(session.record.handle, ids.digest(session.secret), b"v" * 8, {}, NOW, CONFIG)
        session.committed(made if amendment is None else amend(made, amendment, NOW, CONFIG))
    elif done == "commit":
        session.committed(
            committed(session.record if amendment is None else amend(session.record, amendment, NOW, CONFIG))
        )
    return done, cookie_action(session, done)


def put(session: Session) -> None:
    session["a"] = 1


_LIVE: dict[str, tuple[Act, Closing, CookieAction]] = {
    "nothing": (lambda s: None, "touch", "leave"),
    "looked at": (lambda s: s["name"], "touch", "leave"),
    "set to the same": (lambda s: s.update(name="Ada"), "commit", "leave"),
    "changed": (put, "commit", "leave"),
    "deleted": (lambda s: s.delete("name"), "commit", "leave"),
    "labelled": (lambda s: setattr(s, "label", "phone"), "commit", "leave"),
    "timeouts": (lambda s: s.set_timeouts(idle=60, absolute=600), "commit", "leave"),
    "remember me": (lambda s: s.set_timeouts(persistent=True), "commit", "set"),
    "rotated": (lambda s: s.rotate(), "commit", "set"),
    "rotated for age": (lambda s: s.rotate_for_age(), "commit", "set"),
    "signed in": (lambda s: s.login("ada"), "commit", "set"),
    "signed in and changed": (lambda s: (s.login("ada"), put(s)), "commit", "set"),
    "settled": (lambda s: s.settle_secret(), "commit", "leave"),
    "ended": (lambda s: s.end(), "end", "clear"),
    "changed and ended": (lambda s: (put(s), s.end()), "end", "clear"),
    "signed in and ended": (lambda s: (s.login("ada"), s.end()), "end", "clear"),
    "saved early": (lambda s: setattr(s, "unsent", True), "touch", "set"),
    "saved early, then changed": (lambda s: (setattr(s, "unsent", True), put(s)), "commit", "set"),
    "saved early, then ended": (lambda s: (setattr(s, "unsent", True), s.end()), "end", "clear"),
    "started over": (lambda s: s.start_over(new().record), "nothing", "leave"),
    "started over with something": (lambda s: (s.start_over(new().record), put(s)), "create", "set"),
    "forgotten": (lambda s: (s.login("ada"), put(s), s.discard()), "touch", "leave"),
    "forgotten and changed": (lambda s: (s.login("ada"), s.discard(), put(s)), "commit", "leave"),
    "forgotten to end": (lambda s: (s.end(), s.discard()), "touch", "leave"),
}


@pytest.mark.parametrize(("act", "done", "action"), _LIVE.values(), ids=_LIVE)
def test_a_live_session(act: Act, done: Closing, action: CookieAction) -> None:
    """What becomes of a session that was loaded, for each thing that a request can do to it."""
    session = live()
    act(session)
    assert close(session) == (done, action)


_NEW: dict[str, tuple[Act, Closing, CookieAction]] = {
    "nothing": (lambda s: None, "nothing", "leave"),
    "looked at": (lambda s: s.get("name"), "nothing", "leave"),
    "set and deleted": (lambda s: (put(s), s.delete("a")), "nothing", "leave"),
    "cleared": (lambda s: s.clear(), "nothing", "leave"),
    "identified": (lambda s: s.handle, "nothing", "leave"),
    "labelled": (lambda s: setattr(s, "label", "phone"), "nothing", "leave"),
    "remember me": (lambda s: s.set_timeouts(persistent=True), "nothing", "leave"),
    "rotated": (lambda s: s.rotate(), "nothing", "leave"),
    "ended": (lambda s: s.end(), "nothing", "leave"),
    "put in and ended": (lambda s: (put(s), s.end()), "nothing", "leave"),
    "forgotten": (lambda s: (put(s), s.login("ada"), s.discard()), "nothing", "leave"),
    "put in": (put, "create", "set"),
    "put in and rotated": (lambda s: (put(s), s.rotate()), "create", "set"),
    "signed in": (lambda s: s.login("ada"), "create", "set"),
    "forgotten and put in": (lambda s: (s.login("eve"), s.discard(), put(s)), "create", "set"),
}


@pytest.mark.parametrize("presented", ["nothing", "malformed", "repeated", "unknown"])
@pytest.mark.parametrize(("act", "done", "action"), _NEW.values(), ids=_NEW)
def test_a_new_session(act: Act, done: Closing, action: CookieAction, presented: Presented) -> None:
    """What becomes of a session that is stored nowhere: a record and a cookie only once something was put in, whatever
    it was that the client presented; and then with a secret of its own."""
    session = new(presented)
    act(session)
    assert close(session) == (done, action)
    if action == "set":
        assert ids.split(session.session_id) is not None


@pytest.mark.parametrize(("act", "done", "action"), _NEW.values(), ids=_NEW)
def test_a_session_under_a_superseded_id(act: Act, done: Closing, action: CookieAction) -> None:
    """Under a superseded id nothing is kept and the cookie is left alone; only signing in begins a session."""
    session = new("superseded")
    act(session)
    signs_in = session.amendment is not None and session.amendment.login
    assert close(session) == ((done, action) if done == "nothing" or signs_in else ("drop", "leave"))


@pytest.mark.parametrize("act", [act for act, _, action in _LIVE.values() if action == "set"][:5])
def test_only_the_newest_secret_is_sent(act: Act) -> None:
    """Whatever a request asked for: if somebody else replaced the secret in the same moment, the cookie is left
    alone."""
    session = live()
    act(session)
    others = ids.digest(ids.mint_secret())
    assert close(session, lambda record: replace(record, secret_digest=others)) == ("commit", "leave")


def test_a_replaced_secret_is_not_sent_again() -> None:
    """A client that showed the replaced secret, in its grace, is not sent it again with "remember me"."""
    session = live(secret_digest=ids.digest(ids.mint_secret()))
    session.set_timeouts(persistent=True)
    assert close(session) == ("commit", "leave")
