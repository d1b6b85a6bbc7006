"""Floors and peers on Valkey or Redis, and Sojourn there.

The floor is what one writes with a stock client: GET, decode the whole with msgspec, change, encode the whole, SET with
a time to live. It loses updates, hashes no secret and checks nothing. redis-py and redis.asyncio parse with hiredis and
keep a pool, of a connection a task if it comes to that; valkey-glide has one connection and threads of its own; "bare,
multiplexed" is what is left if all tasks share one connection with a queue and nothing else: no deadlines, no
reconnection, and a task that is cancelled breaks it.

starsessions   `SessionHandler` over `RedisStore`, as in memory.
Flask-Session  `RedisSessionInterface`. *Store alone*: what its `open_session` and `save_session` do with the store and
               its serializer. *Open + save*: those two, as Flask calls them, with a request that carries the cookie
               and a response that was ready.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from datetime import timedelta
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

import hiredis
import redis
import redis.asyncio
from flask import Flask
from flask_session.redis import RedisSessionInterface
from flask_session.redis.redis import RedisSession
from starsessions.stores.redis import RedisStore
from werkzeug.test import create_environ

from . import ours, peers
from .contender import IDLE_TIMEOUT, Contender
from .floors import decode, encode
from .payloads import Payload, Session

PREFIX = "session:"


def fresh_key() -> str:
    """A key of 51 bytes."""
    return PREFIX + secrets.token_urlsafe(32)


class _Network(Contender):
    """What all have in common: they are measured at what they all do."""

    lacks = ("touch", "nested", "end", "miss")

    def __init__(self, payload: Payload, operation: str, url: str) -> None:
        super().__init__(payload, operation)
        self.url = url


class RedisPy(_Network):
    """redis-py."""

    name = "redis-py GET+SET"
    floor = True

    def __init__(self, payload: Payload, operation: str, url: str) -> None:
        super().__init__(payload, operation, url)
        self._client = redis.Redis.from_url(url)

    def create(self, data: Session) -> str:
        key = fresh_key()
        self._client.set(key, encode(data), ex=IDLE_TIMEOUT)
        return key

    def load(self, key: str) -> Any:
        return decode(self._client.get(key))  # type: ignore[arg-type]

    def read(self, key: str) -> Any:
        return self.load(key)[self.read_key]

    def change(self, key: str, value: Any) -> None:
        data = self.load(key)
        data[self.change_key] = value
        self._client.set(key, encode(data), ex=IDLE_TIMEOUT)

    def close(self) -> None:
        self._client.close()


class FlaskSession(_Network):
    """Flask-Session."""

    name = "Flask-Session, store alone"

    def __init__(self, payload: Payload, operation: str, url: str) -> None:
        super().__init__(payload, operation, url)
        self._client = redis.Redis.from_url(url)
        self._app = Flask("bench")
        self._interface = RedisSessionInterface(self._app, self._client)
        self._lifetime = timedelta(seconds=IDLE_TIMEOUT)

    def load(self, sid: str) -> Any:
        interface = self._interface
        data = interface._retrieve_session_data(interface._get_store_id(sid))
        return RedisSession(data, sid=sid)

    def _save(self, session: Any) -> None:
        interface = self._interface
        interface._upsert_session(self._lifetime, session, interface._get_store_id(session.sid))

    def create(self, data: Session) -> str:
        sid = self._interface._generate_sid(32)
        self._save(RedisSession(data, sid=sid))
        return sid

    def read(self, sid: str) -> Any:
        return self.load(sid)[self.read_key]

    def change(self, sid: str, value: Any) -> None:
        session = self.load(sid)
        session[self.change_key] = value
        self._save(session)

    def close(self) -> None:
        self._client.close()


class FlaskSessionWhole(FlaskSession):
    """Flask-Session, as Flask calls it."""

    name = "Flask-Session, open + save"

    def __init__(self, payload: Payload, operation: str, url: str) -> None:
        super().__init__(payload, operation, url)
        self._cookie = self._app.config["SESSION_COOKIE_NAME"] + "="
        self._environ = create_environ()
        self._response = self._app.response_class()

    def load(self, sid: str) -> Any:
        self._environ["HTTP_COOKIE"] = self._cookie + sid
        return self._interface.open_session(self._app, self._app.request_class(self._environ))

    def read(self, sid: str) -> Any:
        session = self.load(sid)
        value = session[self.read_key]
        self._finish(session)  # which saves it, changed or not
        return value

    def change(self, sid: str, value: Any) -> None:
        session = self.load(sid)
        session[self.change_key] = value
        self._finish(session)

    def _finish(self, session: Any) -> None:
        self._response.headers.clear()
        self._interface.save_session(self._app, session, self._response)


class _AsyncGetSet(_Network):
    """GET and SET by some asynchronous client; subclasses say how."""

    asynchronous = True
    floor = True

    async def get(self, key: str) -> Any:
        raise NotImplementedError  # each rival asks in its own way

    async def set(self, key: str, data: bytes) -> None:
        raise NotImplementedError  # each rival writes in its own way

    async def create(self, data: Session) -> str:
        key = fresh_key()
        await self.set(key, encode(data))
        return key

    async def load(self, key: str) -> Any:
        return decode(await self.get(key))

    async def read(self, key: str) -> Any:
        return (await self.load(key))[self.read_key]

    async def change(self, key: str, value: Any) -> None:
        data = decode(await self.get(key))
        data[self.change_key] = value
        await self.set(key, encode(data))


class RedisAsyncio(_AsyncGetSet):
    """redis.asyncio."""

    name = "redis.asyncio GET+SET"

    def __init__(self, payload: Payload, operation: str, url: str) -> None:
        super().__init__(payload, operation, url)
        self._client = redis.asyncio.Redis.from_url(url)

    async def get(self, key: str) -> Any:
        return await self._client.get(key)

    async def set(self, key: str, data: bytes) -> None:
        await self._client.set(key, data, ex=IDLE_TIMEOUT)

    async def close(self) -> None:
        await self._client.aclose()


class Glide(_AsyncGetSet):
    """valkey-glide."""

    name = "valkey-glide GET+SET"

    def __init__(self, payload: Payload, operation: str, url: str) -> None:
        super().__init__(payload, operation, url)
        self._client: Any = None

    async def create(self, data: Session) -> str:
        if self._client is None:
            from glide import ExpirySet, ExpiryType, GlideClient, GlideClientConfiguration, NodeAddress

            parts = urlsplit(self.url)
            address = NodeAddress(parts.hostname or "", parts.port or 0)
            self._expiry = ExpirySet(ExpiryType.SEC, IDLE_TIMEOUT)
            self._client = await GlideClient.create(GlideClientConfiguration([address], request_timeout=5_000))
        return await super().create(data)

    async def get(self, key: str) -> Any:
        return await self._client.get(key)

    async def set(self, key: str, data: bytes) -> None:
        await self._client.set(key, data, expiry=self._expiry)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()


class _Pipe(asyncio.Protocol):
    """One connection: requests go out as the loop turns, replies come back in order."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader(notEnoughData=...)
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._unsent: list[bytes] = []
        self.loop = asyncio.get_running_loop()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def ask(self, *command: Any) -> asyncio.Future[Any]:
        if not self._unsent:
            self.loop.call_soon(self._send)
        self._unsent.append(hiredis.pack_command(command))
        future = self.loop.create_future()
        self._waiting.append(future)
        return future

    def _send(self) -> None:
        self.transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not ...:
            self._waiting.popleft().set_result(reply)


class Multiplexed(_AsyncGetSet):
    """The least that lets many tasks share a connection."""

    name = "bare, multiplexed GET+SET"

    def __init__(self, payload: Payload, operation: str, url: str) -> None:
        super().__init__(payload, operation, url)
        self._pipe: Any = None

    async def create(self, data: Session) -> str:
        if self._pipe is None:
            parts = urlsplit(self.url)
            loop = asyncio.get_running_loop()
            _, self._pipe = await loop.create_connection(_Pipe, parts.hostname, parts.port)
        return await super().create(data)

    async def get(self, key: str) -> Any:
        return await self._pipe.ask("GET", key)

    async def set(self, key: str, data: bytes) -> None:
        await self._pipe.ask("SET", key, data, "EX", IDLE_TIMEOUT)

    async def close(self) -> None:
        if self._pipe is not None:
            self._pipe.transport.close()


class StarsessionsRedis(peers.Starsessions):
    """starsessions."""

    name = "starsessions RedisStore"

    def __init__(self, payload: Payload, operation: str, url: str) -> None:
        super().__init__(payload, operation)
        self._client = redis.asyncio.Redis.from_url(url)
        self._store = RedisStore(connection=self._client)

    async def close(self) -> None:
        await self._client.aclose()


HAS_GLIDE = find_spec("glide") is not None

BLOCKING: tuple[Any, ...] = (RedisPy, FlaskSession, FlaskSessionWhole, ours.Sojourn)
ASYNC: tuple[Any, ...] = (
    RedisAsyncio,
    *((Glide,) if HAS_GLIDE else ()),
    Multiplexed,
    StarsessionsRedis,
    ours.AsyncSojourn,
)
