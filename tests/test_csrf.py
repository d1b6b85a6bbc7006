"""The token against forged requests: bound to one session, and to its secret."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn import csrf_token, csrf_valid
from sojourn.exchange import Credentials, Exchange
from sojourn.ids import Handle
from worlds import Sessions, World


@pytest.fixture
def sessions(world: World) -> Sessions:
    return world.sessions("memory://")


async def request(sessions: Sessions, cookie: str) -> Exchange:
    exchange = Exchange(sessions.engine)
    await exchange.begin(Credentials([cookie] if cookie else [], host="shop.example"))
    return exchange


async def page(sessions: Sessions, cookie: str = "") -> tuple[str, str]:
    """The token that a page shows, and the cookie that the visitor has after it."""
    exchange = await request(sessions, cookie)
    token = csrf_token(exchange.session)
    added = await exchange.commit()
    return token, added[0][1].partition(";")[0] if added else cookie


async def test_a_token_is_good_for_the_visitor_who_was_shown_it(sessions: Sessions) -> None:
    """A visitor who had no session has one after a page with a token, and the token is good in it, as often as it is
    used, and so is the next page's, which is another text. With another visitor's session it is not."""
    token, cookie = await page(sessions)
    again, unchanged = await page(sessions, cookie)
    assert (unchanged, token != again) == (cookie, True)
    other_token, other = await page(sessions)
    session = (await request(sessions, cookie)).session
    assert [csrf_valid(session, shown) for shown in (token, again, token, other_token)] == [True, True, True, False]
    assert not csrf_valid((await request(sessions, other)).session, token)
    assert not csrf_valid((await request(sessions, "")).session, token)


async def test_a_token_rotates_with_the_id(sessions: Sessions) -> None:
    """After a sign-in, or a rotation, the token from before is worthless, and the page of that very response has the
    new one."""
    token, cookie = await page(sessions)
    exchange = await request(sessions, cookie)
    assert csrf_valid(exchange.session, token)
    exchange.session.login("ada")
    newer = csrf_token(exchange.session)
    assert csrf_valid(exchange.session, token)  # of the page that this request came from
    after = (await exchange.commit())[0][1].partition(";")[0]
    session = (await request(sessions, after)).session
    assert (csrf_valid(session, token), csrf_valid(session, newer)) == (False, True)


async def test_nothing_is_stored_for_it(sessions: Sessions) -> None:
    """The token takes no field, and nothing of the secret can be read in it."""
    token, cookie = await page(sessions)
    session = (await request(sessions, cookie)).session
    assert dict(session) == {}
    assert session.secret not in token
    assert session.secret[:8] not in token


async def test_a_session_without_its_secret_has_no_token(sessions: Sessions) -> None:
    """A session that was opened by its handle has no token, and accepts none."""
    session_id = await sessions.create_session()
    async with sessions.session(Handle(session_id.split(".")[0])) as session:
        assert csrf_token(session) == ""
        assert not csrf_valid(session, "")


@given(st.one_of(st.text(), st.binary(), st.none(), st.integers()))
def test_whatever_is_sent_is_no_token(sent: Any) -> None:
    """Anything else is refused, and nothing fails."""
    from sojourn import SessionManager

    sessions = SessionManager()
    with sessions.session(sessions.create_session()) as session:
        assert not csrf_valid(session, sent)
