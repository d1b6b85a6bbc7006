"""A bound on guessing, for each address."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from sojourn.exchange import ANSWERED, Credentials, Exchange, answer_for
from sojourn.guesses import Guesses
from sojourn.ids import join, mint
from sojourn.stores.memory import MemoryStore
from worlds import Through, World

PUBLIC = "8.8.4.4"


def test_a_second_of_guessing() -> None:
    """An address may miss twice as often as its rate at once; then it is not allowed until time has passed. That it has
    come to its bound is said once."""
    guesses = Guesses(10)
    said = [guesses.missed(PUBLIC, 100.0) for _ in range(30)]
    assert said.index(True) == 19
    assert sum(said) == 1
    assert not guesses.allow(PUBLIC, "h", 100.0)
    assert not guesses.allow(PUBLIC, "h", 100.9)
    assert guesses.allow(PUBLIC, "h", 101.1)
    assert guesses.allow("8.8.8.8", "h", 100.0)


@pytest.mark.parametrize("rate", [0.5, 1, 50])
def test_who_comes_back_is_told_of_again(rate: float) -> None:
    """An address that guesses, and again after a day of silence, is told of twice."""
    guesses = Guesses(rate)
    assert [sum(guesses.missed(PUBLIC, at) for _ in range(200)) for at in (0.0, 86_400.0)] == [1, 1]


def test_who_guesses_on_is_told_of_once() -> None:
    """An address that goes on guessing as fast as it may is said to have come to its bound once, and again only after
    it had half of its points back."""
    guesses, now, said = Guesses(50), 100.0, []
    for pause in (0.0, 0.9, 1.1):
        now += pause
        said.append(0)
        for _ in range(5000):
            now += 0.001
            if guesses.allow(PUBLIC, "h", now):
                said[-1] += guesses.missed(PUBLIC, now)
    assert said == [1, 0, 1]


def test_who_was_seen_alive_is_let_through() -> None:
    """Behind an address that guesses, a session that was seen alive meanwhile goes on."""
    guesses = Guesses(10)
    guesses.missed(PUBLIC, 100.0)
    guesses.alive(PUBLIC, "friend")
    for _ in range(30):
        guesses.missed(PUBLIC, 100.0)
    assert guesses.allow(PUBLIC, "friend", 100.0)
    assert not guesses.allow(PUBLIC, "stranger", 100.0)


@pytest.mark.parametrize("client", ["127.0.0.1", "::1", "10.1.2.3", "192.168.0.9", "fd00::1", "", "unix:", "x" * 500])
def test_a_proxy_of_ones_own_is_not_counted(client: str) -> None:
    """Loopback and private addresses, and what is no address, are not counted: everybody may stand behind them."""
    guesses = Guesses(1)
    assert not any(guesses.missed(client, 100.0) for _ in range(1000))
    assert guesses.allow(client, "h", 100.0)


def test_one_household_is_one_address() -> None:
    """IPv6 addresses are counted by their first 64 bits."""
    guesses = Guesses(10)
    for number in range(30):
        guesses.missed(f"2001:4860:4860::{number:x}", 100.0)
    assert not guesses.allow("2001:4860:4860::ffff", "h", 100.0)
    assert guesses.allow("2001:4860:4861::1", "h", 100.0)


def test_what_is_remembered_is_bounded() -> None:
    """A million addresses and sessions take no more memory than ten thousand."""
    guesses = Guesses(10)
    for number in range(30_000):
        guesses.missed(f"8.{number >> 16}.{number >> 8 & 255}.{number & 255}", 100.0)
        guesses.alive("8.0.0.0" if not number else PUBLIC, str(number))
    assert len(guesses._sources) <= 10_000
    guesses.missed(PUBLIC, 100.0)
    for number in range(30_000):
        guesses.alive(PUBLIC, str(number))
    assert len(guesses._alive) <= 10_000


async def test_guessing_costs_the_store_nothing_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 500 unknown ids that one address shows at once, 100 are looked up; the others are answered 429 without a look.
    It is told once. A visitor behind the same address, whose session is known, goes on, and so does everybody else."""
    monkeypatch.setattr("sojourn.exchange.time", SimpleNamespace(monotonic=lambda: 100.0))  # at once, on any machine
    store = Through(MemoryStore())
    sessions = world.sessions(store)  # type: ignore[arg-type]
    told: list[str] = []
    sessions.add_listener(lambda change: told.append(change.reason or ""), "refused")

    async def show(session_id: str, client: str = PUBLIC) -> int:
        exchange = Exchange(sessions.engine)
        credentials = Credentials([f"__Host-session={session_id}"], host="shop.example", client=client)
        try:
            session = await exchange.begin(credentials)
        except ANSWERED as error:
            answer = answer_for(error)
            assert ("Retry-After", "1") in answer.headers
            return answer.status
        await exchange.commit()
        return 200 if session.stored else 401

    friend = await sessions.create_session("ada")
    await show(join(*mint()))
    assert await show(friend) == 200
    store.calls.clear()
    answers = [await show(join(*mint())) for _ in range(500)]
    assert answers.count(401) == store.calls.count("load") == 99
    assert answers.count(429) == 500 - answers.count(401)
    assert told.count("guessing") == 1
    assert await show(friend) == 200
    assert await show(join(*mint()), "8.8.8.8") == 401
    assert await show("nonsense") == 401
    assert {await show("nonsense", "8.8.8.8") for _ in range(500)} == {401}  # it costs the store nothing anyway
    assert await show(join(*mint()), "8.8.8.8") == 401
