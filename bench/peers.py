"""The peers: other libraries, driven as the framework that ships them drives them, less the HTTP around it.

Litestar      `ServerSideSessionBackend` over `MemoryStore`: its own JSON, get and set with the expiry it
              configures. Its middleware saves on every request, changed or not; here a read is charged with
              the load only.
starsessions  `SessionHandler` over `InMemoryStore` with `JsonSerializer`: load, and save when something
              changed (its middleware saves on every request as well). It has no touch: a rolling session is
              saved anew.
Django        `django.contrib.sessions.backends.cache` over `LocMemCache`, which pickles. MAX_ENTRIES is
              raised from 300, above which it would drop sessions. A touch is a save, as
              SESSION_SAVE_EVERY_REQUEST has it.
diskcache     `Cache`, WAL: a dict that it pickles, or bytes that msgspec encoded. Get, then set: a writer
              in between is lost. Values above 32 KB go to a file of their own, which is never synced.
"""

from __future__ import annotations

import secrets
from typing import Any, ClassVar

import django.conf
from diskcache import Cache
from litestar.middleware.session.server_side import ServerSideSessionBackend, ServerSideSessionConfig
from litestar.stores.memory import MemoryStore
from starsessions import InMemoryStore, JsonSerializer
from starsessions.session import SessionHandler

from .contender import IDLE_TIMEOUT, Contender
from .floors import decode, encode
from .payloads import Payload, Session

django.conf.settings.configure(
    CACHES={
        "default": {
            "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
            "OPTIONS": {"MAX_ENTRIES": 10_000_000},
        }
    },
    INSTALLED_APPS=["django.contrib.sessions"],
    SECRET_KEY="not-a-secret",
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    SESSION_COOKIE_AGE=IDLE_TIMEOUT,
)

from django.contrib.sessions.backends.cache import SessionStore  # noqa: E402  (needs the settings above)
from django.core.cache import cache as django_cache  # noqa: E402


class Litestar(Contender):
    """Litestar's server-side sessions in its memory store."""

    name = "Litestar MemoryStore"
    asynchronous = True

    def __init__(self, payload: Payload, operation: str = "read") -> None:
        super().__init__(payload, operation)
        renew = operation == "touch"
        self._backend = ServerSideSessionBackend(ServerSideSessionConfig(max_age=IDLE_TIMEOUT, renew_on_access=renew))
        self._store = MemoryStore()

    async def load(self, sid: str) -> Session:
        data = await self._backend.get(sid, self._store)
        return {} if data is None else self._backend.deserialize_data(data)

    async def _save(self, sid: str, data: Session) -> None:
        await self._backend.set(sid, self._backend.serialize_data(data), self._store)

    async def create(self, data: Session) -> str:
        sid = self._backend.generate_session_id()
        await self._save(sid, data)
        return sid

    async def read(self, sid: str) -> Any:
        return (await self.load(sid))[self.read_key]

    async def change(self, sid: str, value: Any) -> None:
        data = await self.load(sid)
        data[self.change_key] = value
        await self._save(sid, data)

    async def nested(self, sid: str, text: str) -> None:
        data = await self.load(sid)
        data[self.read_key][self.leaf] = text
        await self._save(sid, data)

    async def touch(self, sid: str) -> None:
        await self.load(sid)

    async def end(self, sid: str) -> None:
        await self._backend.delete(sid, self._store)

    async def miss(self, sid: str) -> None:
        assert await self.load(sid) == {}

    def unknown(self) -> str:
        return self._backend.generate_session_id()


class _Connection:
    """The two attributes of a Starlette connection that starsessions uses."""

    __slots__ = ("scope",)

    def __init__(self) -> None:
        self.scope: dict[str, Any] = {}

    @property
    def session(self) -> Any:
        return self.scope["session"]


class Starsessions(Contender):
    """starsessions in its memory store."""

    name = "starsessions InMemoryStore"
    asynchronous = True

    def __init__(self, payload: Payload, operation: str = "read") -> None:
        super().__init__(payload, operation)
        self._store = InMemoryStore()
        self._serializer = JsonSerializer()

    async def _handler(self, sid: str | None) -> SessionHandler:
        handler = SessionHandler(_Connection(), sid, self._store, self._serializer, IDLE_TIMEOUT)  # type: ignore[arg-type]
        await handler.load()
        return handler

    async def load(self, sid: str) -> Any:
        return (await self._handler(sid)).connection.session

    async def create(self, data: Session) -> str:
        handler = await self._handler(None)
        handler.connection.session.update(data)
        return await handler.save(IDLE_TIMEOUT)

    async def read(self, sid: str) -> Any:
        return (await self._handler(sid)).connection.session[self.read_key]

    async def change(self, sid: str, value: Any) -> None:
        handler = await self._handler(sid)
        handler.connection.session[self.change_key] = value
        await handler.save(IDLE_TIMEOUT)

    async def nested(self, sid: str, text: str) -> None:
        handler = await self._handler(sid)
        handler.connection.session[self.read_key][self.leaf] = text
        await handler.save(IDLE_TIMEOUT)

    async def touch(self, sid: str) -> None:
        await (await self._handler(sid)).save(IDLE_TIMEOUT)

    async def end(self, sid: str) -> None:
        await self._store.remove(sid)

    async def miss(self, sid: str) -> None:
        assert (await self._handler(sid)).is_empty

    def unknown(self) -> str:
        return secrets.token_hex(16)


class Django(Contender):
    """Django's cache sessions in its local memory cache."""

    name = "Django locmem"
    backend: ClassVar[Any] = SessionStore

    def __init__(self, payload: Payload, operation: str = "read") -> None:
        super().__init__(payload, operation)
        django_cache.clear()  # the cache is one for the process: worlds of other rounds are over by now

    def load(self, sid: str) -> Any:
        return self.backend(sid).load()

    def create(self, data: Session) -> str:
        session = self.backend()
        session.update(data)
        session.save()
        return str(session.session_key)

    def read(self, sid: str) -> Any:
        return self.backend(sid)[self.read_key]

    def change(self, sid: str, value: Any) -> None:
        session = self.backend(sid)
        session[self.change_key] = value
        session.save()

    def nested(self, sid: str, text: str) -> None:
        session = self.backend(sid)
        session[self.read_key][self.leaf] = text
        session.save()

    def touch(self, sid: str) -> None:
        self.backend(sid).save()

    def end(self, sid: str) -> None:
        self.backend(sid).delete()

    def miss(self, sid: str) -> None:
        assert self.backend(sid).load() == {}

    def unknown(self) -> str:
        return secrets.token_hex(16)


class DiskcachePickle(Contender):
    """diskcache, given the dict."""

    name = "diskcache, pickled dict"
    lacks = ("touch", "nested", "end", "miss")

    def __init__(self, payload: Payload, path: str, level: str) -> None:
        super().__init__(payload, "change")
        self._cache = Cache(path + ".diskcache", sqlite_synchronous={"power": 2, "process": 1}[level])

    def create(self, data: Session) -> str:
        sid = secrets.token_urlsafe(32)
        self._save(sid, data)
        return sid

    def load(self, sid: str) -> Any:
        return self._cache[sid]

    def _save(self, sid: str, data: Session) -> None:
        self._cache.set(sid, data, expire=IDLE_TIMEOUT)

    def read(self, sid: str) -> Any:
        return self.load(sid)[self.read_key]

    def change(self, sid: str, value: Any) -> None:
        data = self.load(sid)
        data[self.change_key] = value
        self._save(sid, data)

    def close(self) -> None:
        self._cache.close()


class DiskcacheMsgspec(DiskcachePickle):
    """diskcache, given bytes."""

    name = "diskcache, msgspec bytes"

    def load(self, sid: str) -> Any:
        return decode(self._cache[sid])

    def _save(self, sid: str, data: Session) -> None:
        self._cache.set(sid, encode(data), expire=IDLE_TIMEOUT)


MEMORY = (Litestar, Starsessions, Django)
SQLITE = (DiskcachePickle, DiskcacheMsgspec)
