"""Promises 2 and 3, on Valkey and Redis: connections that are cut in the midst of a word, scripts that the server has
forgotten, and what lies under our keys that is not ours."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pears import Write, append, each_of, exclusive, login, rotate, update
from places import Opened, at_once
from writing import add_one

import worlds
from servers.process import until
from servers.proxy import Proxy, through
from servers.valkey import Certificate, Valkey, fresh_prefix
from sojourn import DamagedRecord, Handle, OutcomeUnknown, SessionConfig, SessionNotFound, StoreUnavailable
from sojourn.record import Record, replace
from worlds import PATIENT, Sessions


class Wire(NamedTuple):
    """A way to the server that can be cut, and managers that go through it, and past it."""

    proxy: Proxy
    through: Callable[[], Sessions]
    past: Callable[[], Sessions]
    server: Valkey
    prefix: str

    def key_of(self, session_id: str) -> bytes:
        """The key of a session's record."""
        handle = session_id.partition(".")[0]
        keys: list[bytes] = self.server.do("KEYS", f"{self.prefix}*{handle}*")
        assert len(keys) == 1
        return keys[0]


@pytest.fixture
def wire(opened: Opened, valkey: Valkey) -> Iterator[Wire]:
    """Through a proxy to the server that tests share."""
    with Proxy(valkey.port) as proxy:
        prefix = fresh_prefix()
        url = valkey.url(prefix=prefix)
        there = through(url, proxy)
        yield Wire(
            proxy,
            lambda: opened(there, config=PATIENT),
            lambda: opened(url, config=PATIENT),
            valkey,
            prefix,
        )


# --- A reply that is cut ---------------------------------------------------------------------------------------------


each_way = each_of(update, append, rotate, login, exclusive)
_CUTS: dict[str, Callable[..., None]] = {
    "before the request": lambda proxy, **which: proxy.cut_request(**which),
    "before the reply": lambda proxy, **which: proxy.cut_reply(0, **which),
    "within the reply": lambda proxy, **which: proxy.cut_reply(2, **which),
}
each_cut = pytest.mark.parametrize("cut", _CUTS.values(), ids=_CUTS)


@each_cut
@each_way
async def test_a_cut_connection_applies_once(
    wire: Wire, opened: Opened, write: Write, cut: Callable[..., None]
) -> None:
    """The connection is cut at the first, the second, the third script of a write, once or twice: the write is made
    once, and the caller hears so, or that the outcome is unknown."""
    sessions, beside = wire.through(), wire.past()
    unknown = 0
    for skip in (0, 1, 2):
        for times in (1, 2):
            session_id = await sessions.create_session(data={"cart": ["apple"]})
            cut(wire.proxy, request=b"EVALSHA", times=times, skip=skip)
            told = True
            try:
                await write(sessions, session_id)
            except OutcomeUnknown:
                told = False
                unknown += 1
            wire.proxy.pass_on()
            handle = Handle(session_id.partition(".")[0])
            found = (await beside.get_session(handle))["cart"]
            assert found == ["apple", "pear"] or (found == ["apple"] and not told)
            await beside.end_session(handle)
    assert wire.proxy.cuts >= 2
    assert unknown == 0


@each_cut
async def test_a_creation_whose_connection_is_cut_counts_once(
    wire: Wire, opened: Opened, cut: Callable[..., None]
) -> None:
    """A creation is sent again until its reply comes: there is one session, and one fact."""
    sessions = wire.through()
    for turn in range(1, 7):
        cut(wire.proxy, request=b"EVALSHA", times=turn % 2 + 1, skip=turn // 2)
        session_id = await sessions.create_session("ada", {"cart": ["apple"]})
        wire.proxy.pass_on()
        assert await sessions.get_session(session_id) == {"cart": ["apple"]}
        assert len(await sessions.list_sessions("ada")) == turn
        assert (await sessions.stats()).sessions == turn
        _, told = await sessions.changes()
        assert [change.kind for change in told] == ["created"] * turn


@each_cut
async def test_an_end_whose_connection_is_cut(wire: Wire, opened: Opened, cut: Callable[..., None]) -> None:
    """An end whose reply is cut was made, or is not told as made; once more is safe, and one fact tells of it."""
    sessions = wire.through()
    for _ in range(3):
        session_id = await sessions.create_session("ada")
        cut(wire.proxy, request=b"EVALSHA")
        try:
            await sessions.end_session(session_id)
        except OutcomeUnknown:
            wire.proxy.pass_on()
            await sessions.end_session(session_id)
        wire.proxy.pass_on()
        assert not await sessions.is_session_active(session_id)
        assert await sessions.list_sessions("ada") == []
    _, told = await sessions.changes()
    assert [change.kind for change in told] == ["created", "ended"] * 3


@each_cut
async def test_a_load_is_simply_asked_again(wire: Wire, opened: Opened, cut: Callable[..., None]) -> None:
    """A connection is cut in the midst of a load: the caller hears nothing of it, and nobody else's record comes."""
    sessions = wire.through()
    ids = [await sessions.create_session(data={"number": number, "block": b"x" * 3000}) for number in range(10)]
    for number in range(10):
        cut(wire.proxy, request=b"GET")
        assert (await sessions.get_session(ids[number]))["number"] == number
    assert wire.proxy.cuts == 10


async def test_twenty_writers_whose_connections_are_cut(wire: Wire, opened: Opened, world: worlds.World) -> None:
    """20 writers at once, and the way there is cut again and again: what was acknowledged is there once, what is
    unknown once or not at all."""
    sessions = [wire.through() for _ in range(4)]
    session_id = await sessions[0].create_session(data={"items": [], "visits": 0})
    unknown: list[str] = []

    async def writer(number: int) -> list[str]:
        done = []
        for turn in range(10):
            name = f"{number}.{turn}"
            if turn % 2:
                (wire.proxy.cut_request if number % 2 else wire.proxy.cut_reply)(request=b"EVALSHA")
            try:
                async with sessions[number % 4].session(session_id) as session:
                    session["items"].append(name)
                    session.update("visits", add_one)
                done.append(name)
            except OutcomeUnknown:
                unknown.append(name)
        return done

    done = [name for names in await at_once(world, 20, writer) for name in names]
    wire.proxy.pass_on()
    fields = await sessions[0].get_session(session_id)
    items = fields["items"]
    assert len(set(items)) == len(items) == fields["visits"]
    assert set(done) <= set(items) <= {*done, *unknown}
    assert wire.proxy.cuts > 20
    assert len(done) > 150


async def test_connections_that_are_cut_under_tls(
    world: worlds.World, opened: Opened, certificate: Certificate
) -> None:
    """The same under TLS, with the cut anywhere, in the midst of a handshake, too: 10 writers count exactly."""
    with Valkey(tls=certificate, user="ann", password="a/p b") as server, Proxy(server.port) as proxy:
        url = through(server.url(), proxy)
        sessions = opened(url, config=PATIENT)
        session_id = await sessions.create_session(data={"visits": 0})
        proxy.drip()
        assert await sessions.get_session(session_id) == {"visits": 0}
        proxy.pass_on()
        returned: list[int] = []
        for turn in range(20):
            if turn % 2:
                proxy.cut_reply(turn * 7, times=turn % 3 + 1)
            else:
                proxy.cut_request(times=turn % 3 + 1)
            returned += await at_once(world, 10, lambda number: sessions.update(session_id, "visits", add_one))
        assert proxy.cuts > 20
        assert sorted(returned) == list(range(1, 201))


@pytest.mark.parametrize("whom", ["nobody knows", "is another"])
async def test_a_server_that_nobody_can_vouch_for(
    opened: Opened, certificate: Certificate, tmp_path: Path, whom: str
) -> None:
    """A server whose certificate is signed by nobody whom we know, or names another server, is told nothing."""
    other = Certificate(tmp_path, "DNS:elsewhere.example")
    with ExitStack() as stack:
        server = Valkey(tls=other if whom == "is another" else certificate)
        stack.callback(server.close)
        server.start(wait=False)
        until(lambda: b"Ready to accept connections" in server.log.read_bytes(), "the server")
        url = server.url() if whom == "is another" else server.url().partition("?")[0]
        with pytest.raises(StoreUnavailable, match="certificate"):
            await opened(url, config=SessionConfig(deadline=2)).create_session("ada")


async def test_replies_byte_by_byte(wire: Wire, opened: Opened) -> None:
    """Replies that come in the smallest pieces are read whole."""
    sessions = wire.through()
    session_id = await sessions.create_session("ada", {"text": "ä" * 1000, "block": bytes(range(256))})
    wire.proxy.drip()
    assert await sessions.get_session(session_id) == {"text": "ä" * 1000, "block": bytes(range(256))}
    assert await sessions.update(session_id, "visits", add_one) == 1
    assert [session.user_id for session in await sessions.list_sessions("ada")] == ["ada"]


# --- What the server has forgotten, and what is not ours -------------------------------------------------------------


async def test_scripts_that_are_forgotten(wire: Wire, opened: Opened, world: worlds.World) -> None:
    """The server forgets all scripts before every write, of one caller or of many at once: nobody hears of it."""
    sessions = wire.past()
    session_id = await sessions.create_session("ada")
    for turn in range(1, 11):
        wire.server.do("SCRIPT", "FLUSH")
        assert await sessions.update(session_id, "visits", add_one) == turn
        wire.server.do("SCRIPT", "FLUSH")
        await sessions.end_session(await sessions.create_session("ada"))
    others = [await sessions.create_session() for _ in range(20)]
    wire.server.do("SCRIPT", "FLUSH")
    assert await at_once(world, 20, lambda number: sessions.update(others[number], "visits", add_one)) == [1] * 20


_FOREIGN: dict[str, tuple[object, ...]] = {
    "a list": ("RPUSH", "x"),
    "a hash": ("HSET", "name", "x"),
    "a set": ("SADD", "x"),
    "a stream": ("XADD", "*", "name", "x"),
    "a number": ("SET", "1"),
    "nothing": ("SET", ""),
    "text": ("SET", "Lorem ipsum dolor sit amet, consectetur adipiscing elit, sed do eiusmod tempor incididunt ut"),
}


@pytest.mark.parametrize("foreign", _FOREIGN.values(), ids=_FOREIGN)
async def test_what_is_not_ours(
    wire: Wire, opened: Opened, foreign: tuple[object, ...], caplog: pytest.LogCaptureFixture
) -> None:
    """Something else lies under a session's key: it is reported as damaged and never served; the other sessions live,
    lists show them, and ending the session removes it."""
    sessions = wire.past()
    session_id, other_id = [await sessions.create_session("ada", {"visits": 0}) for _ in range(2)]
    handle = Handle(session_id.partition(".")[0])
    key = wire.key_of(session_id)
    wire.server.do("DEL", key)
    wire.server.do(foreign[0], key, *foreign[1:])
    with caplog.at_level(logging.ERROR, "sojourn"):
        for operation in (
            lambda: sessions.get_session(session_id),
            lambda: sessions.update(session_id, "visits", add_one),
            lambda: sessions.is_session_active(handle),
        ):
            with pytest.raises(DamagedRecord):
                await operation()
        assert await sessions.update(other_id, "visits", add_one) == 1
        assert [one.handle for one in await sessions.list_sessions("ada")] == [other_id.partition(".")[0]]
        assert [one.handle for one in await sessions.list_sessions()] == [other_id.partition(".")[0]]
    await sessions.purge_expired()
    await sessions.end_session(handle)
    assert not await sessions.is_session_active(session_id)
    with pytest.raises(SessionNotFound):
        await sessions.update(session_id, "visits", add_one)
    assert await sessions.end_user_sessions("ada") == 1


async def test_every_flipped_bit(wire: Wire, opened: Opened) -> None:
    """Each bit of a record is flipped in turn: it is refused as damaged. (The two times that the scripts write are
    checked to a millisecond: a flip that changes less is none that counts.) A writer who had loaded it before either
    replaces all of it or is refused; nothing else is ever served."""
    sessions = wire.past()
    session_id = await sessions.create_session("ada", {"name": "Ada", "visits": 0})
    handle = Handle(session_id.partition(".")[0])
    store, key = sessions.store, wire.key_of(session_id)
    whole: bytes = wire.server.do("GET", key)
    record = await store.load(handle)
    served: set[int] = set()
    with wire.server.client() as client:
        for bit in range(len(whole) * 8):
            damaged = bytearray(whole)
            damaged[bit // 8] ^= 1 << bit % 8
            client.do("SET", key, bytes(damaged))
            try:
                found = await store.load(handle)
            except DamagedRecord:
                continue
            assert _the_same(found, record), f"bit {bit % 8} of byte {bit // 8}"
            served.add(bit // 8)
        assert served <= set(range(5, 21)), "bytes of other things than the two times"
        await _damage_while_it_is_written(sessions, session_id, key, whole, client)


def _the_same(found: Record | None, record: Record) -> bool:
    assert found is not None
    times = (found.accessed_at - record.accessed_at, found.leased_until - record.leased_until)
    assert max(map(abs, times)) <= 1 / 1024
    return replace(found, accessed_at=record.accessed_at, leased_until=record.leased_until) == record


async def _damage_while_it_is_written(
    sessions: Sessions, session_id: str, key: bytes, whole: bytes, client: Any
) -> None:
    for byte in range(len(whole)):
        client.do("SET", key, whole)
        damaged = bytearray(whole)
        damaged[byte] ^= 0x55
        written = False
        try:
            async with sessions.session(session_id) as session:
                session["visits"] += 1
                client.do("SET", key, bytes(damaged))
            written = True
        except DamagedRecord:
            pass
        try:
            found: Any = await sessions.get_session(session_id)
        except DamagedRecord:
            found = "damaged"
        assert found == ({"name": "Ada", "visits": 1} if written else "damaged"), f"byte {byte}"
