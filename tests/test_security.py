"""The requirements of docs/security.md, each by its number: S1 to S19, ids and their life. The cookie, and what is kept
and told of a session, are in test_security_cookies.py.

The sources: OWASP ASVS 5.0 (V7 and V3.3), the OWASP Session Management Cheat Sheet, NIST SP 800-63B-4 and RFC 6265bis.
More of each is proved where it belongs: in adapters/, promises/ and the stores' contract.
"""

from __future__ import annotations

import dataclasses
import re
import secrets
import string
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from sites import HANDLE, SECRET, Site
from sojourn import Handle, SessionConfig, SessionGone, SessionManager, SessionNotFound, TooManySessions, ids, policy
from sojourn.stores.memory import MemoryStore
from sojourn.testing import Clock

NOT_YET = {
    "S35": "there is no assurance level",
}
DAY = 86400
Open = Callable[..., SessionManager]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "sqlite"])
def opens(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Open]:
    """Opens managers on one store, which outlives them."""
    store = MemoryStore()
    opened: list[SessionManager] = []

    def open_manager(durability: str = "process", **settings: Any) -> SessionManager:
        place: Any = store if request.param == "memory" else f"sqlite:///{tmp_path}/s.db?durability={durability}"
        opened.append(SessionManager(place, config=SessionConfig(**{"deadline": 5.0, **settings}), clock=clock))
        return opened[-1]

    yield open_manager
    for manager in opened:
        manager.close()


@pytest.fixture
def sessions(opens: Open) -> SessionManager:
    """A manager with the default settings."""
    return opens()


def handle_of(session_id: str) -> Handle:
    return Handle(session_id.split(".")[0])


def secret_of(session_id: str) -> str:
    return session_id.split(".")[1]


def test_every_requirement_is_tested_or_listed() -> None:
    """Each of S1 to S36 has a test or a reason in `NOT_YET`, and the documentation says the same of it."""
    here = Path(__file__).parent
    source = "".join(path.read_text("utf-8") for path in here.glob("test_security*.py"))
    tested = {f"S{number}" for number in re.findall(r"^def test_s(\d+)_", source, re.MULTILINE)}
    every = {f"S{number}" for number in range(1, 37)}
    assert tested | NOT_YET.keys() == every
    page = here.parent.joinpath("docs", "security.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| (S\d+) \|[^|]+\| (yes|in part|not yet) \|", page, re.MULTILINE))
    assert rows.keys() == every
    assert {number for number, kept in rows.items() if kept == "not yet"} == NOT_YET.keys()


# --- Ids -------------------------------------------------------------------------------------------------------------


def test_s1_an_id_is_verified_at_the_server(site: Site) -> None:
    """An id is verified by the server alone: with any single bit of it flipped, it opens nothing."""
    visitor = site.visitor()
    visitor.do(lambda session: session.set("name", "Ada"))
    live = str(visitor.id)
    flipped = {
        live[:at] + chr(ord(live[at]) ^ 1 << bit) + live[at + 1 :] for at in range(len(live)) for bit in range(8)
    }
    assert len(flipped) == 8 * len(live)
    cookies = [f"__Host-session={value}" for value in flipped if ";" not in value]
    assert not any(site.request(lambda session: session.get("name"), cookie).result for cookie in cookies)
    assert visitor.see("name") == "Ada"


def test_s2_ids_are_made_for_each_session(sessions: SessionManager) -> None:
    """Ids are made anew for each session and each sign-in, and nothing in the configuration makes two managers
    agree."""
    session_id = sessions.create_session("ada")
    seen = {session_id := sessions.login(session_id, "ada") for _ in range(300)}
    seen |= {SessionManager(config=sessions.config, clock=lambda: 0.0).create_session("ada") for _ in range(100)}
    assert len(seen) == 400
    assert len({secret_of(session_id) for session_id in seen}) == 400


def test_s3_ids_are_random(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids come from the operating system's randomness, at least 128 bits of it: of a hundred thousand none is like
    another, and in every position every character comes as often as chance has it (chi-square, 63 degrees of
    freedom)."""
    minted = [ids.mint() for _ in range(100_000)]
    for parts, form in zip(zip(*minted, strict=True), (HANDLE, SECRET), strict=True):
        assert len(set(parts)) == 100_000
        assert all(map(form.fullmatch, parts))
        for characters in zip(*parts, strict=True):
            seen = Counter(characters)
            expected = len(parts) / 64
            chi = sum(
                (seen[character] - expected) ** 2 / expected
                for character in string.ascii_letters + string.digits + "-_"
            )
            assert chi < 160  # chance: one in 10^9
    assert ids.token_bytes is secrets.token_bytes
    drawn: list[int] = []
    monkeypatch.setattr(ids, "token_bytes", lambda count: drawn.append(count) or bytes(count))
    ids.mint()
    assert sum(drawn) * 8 >= 128 + 256


def test_s4_every_sign_in_makes_a_new_id(site: Site) -> None:
    """Every sign-in, that of the same user included, replaces the id, and the one before is dead at once, for requests
    in flight too."""
    visitor = site.visitor()
    visitor.do(lambda session: session.set("name", "Ada"))
    for user in ("ada", "ada", "bob"):
        old = visitor.jar.header
        with visitor.in_flight(lambda session: session.set("late", 1)) as late:
            visitor.do(lambda session, user=user: session.login(user))
            assert late.land().all("set-cookie") == []
        assert visitor.jar.header != old
        assert site.request(lambda session: session.get("name"), old).result is None
        assert visitor.do(lambda session: (session.user_id, session.get("late"))).result == (user, None)


def test_s5_only_ids_of_our_making_are_accepted(site: Site) -> None:
    """An id that the server did not make is never adopted; it is told to listeners, and who planted it sees nothing."""
    told: list[Any] = []
    site.manager.add_listener(told.append, "refused")
    planted = ids.join(*ids.mint())
    visitor = site.visitor()
    visitor.jar.receive([f"__Host-session={planted}; Secure; Path=/"])
    visitor.do(lambda session: (session.login("victim"), session.set("name", "victim")))
    assert not {handle_of(planted), secret_of(planted)} & set(str(visitor.id).split("."))
    assert site.request(lambda session: session.get("name"), f"__Host-session={planted}").result is None
    assert [(change.handle, change.reason) for change in told] == [(handle_of(planted), "unknown")] * 2


_HOSTILE = [
    "",
    "null",
    "deleted",
    "\0",
    "\x1f",
    "a b",
    "x" * 300,
    "../../etc/passwd",
    "{}",
    "' OR 1=1 --",
    "k\u00e9",
    "\ud800",
    "*",
    "%00",
]


def test_s6_an_id_is_untrusted_input(sessions: SessionManager) -> None:
    """Whatever is taken for an id: no error, no crossed session, though fifty users work at the same time."""
    live = {f"user{at}": sessions.create_session(f"user{at}", {"me": f"user{at}"}) for at in range(50)}

    def work(user: str) -> bool:
        for hostile in _HOSTILE:
            for outside in (hostile, f"{handle_of(live[user])}.{hostile}", f"{hostile}.{secret_of(live[user])}"):
                assert sessions.get_session(outside) is None
                sessions.end_session(outside)
            with sessions.session(live[user]) as session:
                assert session["me"] == session.user_id == user
                session["n"] = session.get("n", 0) + 1
        return sessions.get_session(live[user]) == {"me": user, "n": len(_HOSTILE)}

    with ThreadPoolExecutor(10) as pool:
        assert all(pool.map(work, live))


def test_s7_an_id_means_nothing(site: Site) -> None:
    """The cookie holds two random texts, and nothing about the visitor or the session."""
    visitor = site.visitor()
    visitor.do(
        lambda session: (
            session.login("ada@example.org"),
            session.set("role", "admin"),
            setattr(session, "label", "phone"),
        )
    )
    handle, secret = str(visitor.id).split(".")
    assert HANDLE.fullmatch(handle)
    assert SECRET.fullmatch(secret)


# --- Timeouts --------------------------------------------------------------------------------------------------------


def test_s8_an_idle_session_ends(sessions: SessionManager, clock: Clock) -> None:
    """A session ends at the server between its idle timeout and a touch interval more, never earlier. What is not the
    client's activity does not prolong it."""
    session_id = sessions.create_session("ada", {"a": 1})
    clock.advance(1799)
    assert sessions.is_session_active(session_id)
    sessions.list_sessions("ada")
    sessions.get_session(handle_of(session_id))
    for outside in (session_id[:-1], f"{handle_of(session_id)}.{'s' * 43}"):
        assert sessions.get_session(outside) is None
    clock.advance(62)
    assert not sessions.is_session_active(session_id)
    with pytest.raises(SessionNotFound), sessions.session(session_id):
        pass


def test_s9_no_session_lives_for_ever(sessions: SessionManager, clock: Clock) -> None:
    """A session ends a day after the sign-in however active it is. Rotation, or a label, does not move that; signing in
    does."""
    session_id = sessions.create_session("ada")

    def stay_active(hours: int) -> None:
        nonlocal session_id
        for _ in range(hours * 4):
            clock.advance(900)
            with sessions.session(session_id) as session:
                session["n"] = session.get("n", 0) + 1
                session.label = f"at {clock.now}"
                session_id = session.rotate()

    stay_active(12)
    session_id = sessions.login(session_id, "ada")
    stay_active(23)
    clock.advance(3601)
    assert sessions.get_session(session_id) is None


def test_s10_timeouts_are_documented() -> None:
    """The defaults are those that the documentation gives reasons for."""
    defaults: dict[str, Any] = {
        "idle_timeout": 1800.0,
        "absolute_timeout": 86400.0,
        "touch_interval": 60.0,
        "rotate_after": None,
        "max_sessions_per_user": None,
        "deadline": 1.0,
        "cleanup_interval": 60.0,
    }
    assert {name: value for name, value in dataclasses.asdict(SessionConfig()).items() if name in defaults} == defaults
    page = Path(__file__).parents[1].joinpath("docs", "timeouts.md").read_text("utf-8")
    documented = dict(re.findall(r"^\| `(\w+)` \| ([^|]+?) \|", page, re.MULTILINE))
    assert {name: documented[name] for name in defaults} == {name: str(value) for name, value in defaults.items()}
    assert float(documented["grace"]) == policy.GRACE


# --- Ends ------------------------------------------------------------------------------------------------------------


def test_s11_nothing_resumes_what_has_ended(site: Site) -> None:
    """After logout, and after expiry, neither the old cookie nor any remains of it open anything."""
    for how in ("logout", "expiry"):
        visitor = site.visitor()
        visitor.do(lambda session: (session.login("ada"), session.set("name", "Ada")))
        old = visitor.jar.header
        if how == "logout":
            visitor.do(lambda session: session.end())
        else:
            site.clock.advance(2000)
        for cookie in (old, "__Host-session=", "__Host-session=null", "__Host-session=deleted", '__Host-session=""'):
            response = site.request(lambda session: (session.get("name"), session.user_id), cookie)
            assert (response.result, response.all("set-cookie")) == ((None, None), [])


def test_s12_nor_does_what_was_in_flight(site: Site) -> None:
    """A writer and a reader in flight at logout revive nothing and get no cookie."""
    visitor = site.visitor()
    visitor.do(lambda session: (session.login("ada"), session.set("name", "Ada")))
    site.clock.advance(100)  # so that a touch is due
    with visitor.in_flight(lambda session: session.set("late", 1)) as writer:
        with visitor.in_flight(lambda session: session.get("name")) as reader:
            visitor.do(lambda session: session.end())
            assert [flight.land().all("set-cookie") for flight in (writer, reader)] == [[], []]
    assert site.held == 0


def test_s13_all_sessions_of_an_account_end(opens: Open) -> None:
    """Ten thousand sessions of one user end with half a second's work, requests in flight included, and nobody
    else's."""
    sessions = opens()
    mine = [sessions.create_session("ada", {"a": 1}) for _ in range(10_000)]
    others = [sessions.create_session("bob", {"a": 1}) for _ in range(10)]
    in_flight = sessions.session(mine[17])
    in_flight.__enter__()["late"] = 1
    began, worked = time.perf_counter(), time.process_time()
    assert opens("power", deadline=1.0).end_user_sessions("ada") == 10_000
    assert time.process_time() - worked < 0.5  # one by one they take longer than that
    assert time.perf_counter() - began < 3  # a busy machine may hold it up
    with pytest.raises(SessionGone):
        in_flight.__exit__(None, None, None)
    assert not any(sessions.is_session_active(session_id) for session_id in mine[::100])
    assert all(map(sessions.is_session_active, others))


def test_s14_all_other_sessions_can_be_ended(sessions: SessionManager) -> None:
    """After a change of password the user's other sessions can be ended; the current one lives on under a new id."""
    here, *others = (sessions.create_session("ada") for _ in range(5))
    assert sessions.end_user_sessions("ada", keep=here) == 4
    new_id = sessions.rotate(here)
    assert sessions.is_session_active(new_id)
    assert not any(map(sessions.is_session_active, [here, *others]))


def test_s15_administrators_can_end_sessions(opens: Open) -> None:
    """The sessions of one user, or all, can be ended from outside, and stay ended after a restart."""
    sessions = opens()
    ids_of = {user: [sessions.create_session(user) for _ in range(3)] for user in ("ada", "bob", "eve")}
    sessions.end_user_sessions("eve")
    assert len(sessions.list_sessions()) == 6
    assert sessions.end_sessions() == 6
    again = opens()
    assert not any(again.is_session_active(session_id) for user in ids_of for session_id in ids_of[user])


def test_s16_users_can_see_and_end_their_sessions(sessions: SessionManager, clock: Clock) -> None:
    """A user's list shows device, creation and last activity of each session, and no id; a session ends by its
    handle."""
    phone = sessions.create_session("ada", label="Phone")
    sessions.create_session("ada", label="Laptop")
    sessions.create_session("bob", label="Other")
    rows = sessions.list_sessions("ada")
    assert {(row.label, row.created_at, row.last_accessed_at) for row in rows} == {
        (label, clock.now, clock.now) for label in ("Phone", "Laptop")
    }
    assert secret_of(phone) not in repr(rows)
    sessions.end_session(next(row.handle for row in rows if row.label == "Phone"))
    assert not sessions.is_session_active(phone)
    assert [row.label for row in sessions.list_sessions("ada")] == ["Laptop"]


@pytest.mark.parametrize("at_cap", ["evict-oldest", "refuse"])
def test_s17_a_user_has_no_more_sessions_than_allowed(opens: Open, at_cap: Any) -> None:
    """With a cap of three, twenty sign-ins at the same time leave exactly three sessions, by the rule that is
    configured."""
    sessions = opens(max_sessions_per_user=3, at_cap=at_cap)
    start = threading.Barrier(20)

    def sign_in(at: int) -> bool:
        anonymous = sessions.create_session(data={"n": at})
        start.wait(10)
        try:
            sessions.login(anonymous, "ada")
        except TooManySessions:
            return False
        return True

    with ThreadPoolExecutor(20) as pool:
        accepted = sum(pool.map(sign_in, range(20)))
    assert accepted == (20 if at_cap == "evict-oldest" else 3)
    assert len(sessions.list_sessions("ada")) == 3


def test_s18_when_somebody_signed_in_is_known(sessions: SessionManager, clock: Clock) -> None:
    """When somebody last signed in is kept at the server, and only a sign-in moves it."""
    session_id, at = sessions.create_session("ada"), clock.now
    clock.advance(600)
    with sessions.session(session_id) as session:
        session["authenticated_at"] = 0
        session_id = session.rotate()
    with sessions.session(session_id) as session:
        assert session.authenticated_at == at
    with sessions.session(sessions.login(session_id, "ada")) as session:
        assert session.authenticated_at == clock.now


def test_s18_a_fresh_sign_in_can_be_asked_for(site: Site) -> None:
    """What is sensitive can ask how long ago the sign-in was, by the server's clock: only signing in anew makes it
    young, and nobody is never young."""
    visitor = site.visitor()
    visitor.do(lambda session: session.login("ada"))
    site.clock.advance(301)
    assert visitor.do(lambda session: session.auth_age).result == pytest.approx(301)
    visitor.do(lambda session: session.rotate())
    assert visitor.do(lambda session: session.auth_age).result == pytest.approx(301)
    visitor.do(lambda session: session.login("ada"))
    assert visitor.do(lambda session: session.auth_age).result == pytest.approx(0)
    assert site.visitor().do(lambda session: session.auth_age).result is None


def test_s19_no_session_without_an_action(site: Site) -> None:
    """A hundred strangers who only read, a hundred with unknown ids, and a hundred logouts leave no record and no
    cookie."""
    for _ in range(100):
        unknown = f"__Host-session={ids.join(*ids.mint())}"
        for act, cookie in (
            (lambda s: s.get("a"), None),
            (lambda s: s.get("a"), unknown),
            (lambda s: s.end(), None),
            (lambda s: s.clear(), unknown),
        ):
            assert site.request(act, cookie).all("set-cookie") == []
    assert site.held == 0
    assert site.store.writes == []
