"""`SessionStore`: what Django's users know as ``request.session``, over Sojourn's session. Django wants each operation
under two names, blocking and asynchronous; here each is one coroutine over an engine.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine
from datetime import datetime
from typing import Any, Final, cast

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.base import SessionBase
from django.utils.module_loading import import_string

from ... import ids
from ...blocking import run
from ...errors import SessionGone
from ...exchange import Exchange
from ...ids import Handle
from ...manager import AsyncSessionManager
from ...session import STATE, BaseSession
from .setup import Setup, current

__all__ = ["DjangoSession", "SessionStore"]

log = logging.getLogger("sojourn")

_EXPIRY: Final = "_session_expiry"  # the field in which `set_expiry` leaves what was asked for
_AT_ONCE: Final = 1e-6  # seconds: the timeouts of a session that is to be over as soon as it is stored


class DjangoSession(BaseSession):
    """The session beneath a `SessionStore`: ``request.session.sojourn``. Two fields of Django's are more than their
    values: the user's id, and the expiry."""

    __slots__ = STATE

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        if name == SESSION_KEY and value not in (None, ""):
            self.login(str(value))
        elif name == _EXPIRY:
            self._expire(value)

    def __delitem__(self, name: str) -> None:
        super().__delitem__(name)
        if name == _EXPIRY:
            self._expire(None)

    def login(self, user_id: str) -> str:
        """As for any session. A sign-in starts the absolute timeout anew; one that was set as a date stays."""
        session_id = super().login(user_id)
        if _EXPIRY in self:
            self._expire(self[_EXPIRY])
        return session_id

    def _expire(self, wanted: float | str | datetime | None) -> None:
        """Turn what `set_expiry` takes into timeouts: None and 0 are the defaults, the second without "remember me"; a
        number is the idle timeout in seconds; a date (or its ISO form) is the end, used or not."""
        config = self._context.config
        idle, absolute, persistent = config.idle_timeout, config.absolute_timeout, config.persistent
        if wanted == 0:
            persistent = False
        elif isinstance(wanted, (str, datetime)):
            end = (datetime.fromisoformat(wanted) if isinstance(wanted, str) else wanted).timestamp()
            begins_anew = not self.stored or (self.amendment is not None and self.amendment.login)
            counted_from = self.loaded_at if begins_anew else self.record.authenticated_at
            idle, absolute, persistent = max(idle, end - self.loaded_at), end - counted_from, True
            if end <= self.loaded_at:
                idle = absolute = _AT_ONCE
        elif wanted is not None:
            idle, absolute, persistent = max(wanted, _AT_ONCE), max(absolute, wanted) if wanted > 0 else _AT_ONCE, True
        self.set_timeouts(idle=idle, absolute=absolute, persistent=persistent)


def _two_names(operation: Callable[..., Coroutine[Any, Any, Any]]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """An operation over an engine, under Django's two names: blocking, and asynchronous."""

    def blocking(self: SessionStore, *given: Any, **named: Any) -> Any:
        return run(operation(self, self.setup().manager.engine, *given, **named))

    async def asynchronous(self: SessionStore, *given: Any, **named: Any) -> Any:
        if self._asynchronous:
            return await operation(self, self.setup().async_manager, *given, **named)
        return await sync_to_async(blocking, thread_sensitive=False)(self, *given, **named)

    blocking.__doc__ = asynchronous.__doc__ = operation.__doc__
    return blocking, asynchronous


class SessionStore(SessionBase):
    """Django's session, over Sojourn's. ``modified`` is told from the values, nested ones included; it may still be
    set, to False too, which gives up what was changed until then. ``session_key`` is the session id that the client
    carries, secret in whole; None as long as nothing is stored. After its response a store that is used again loads
    anew.

    An operation that meets a store in an outage raises `StoreError`; the middleware answers 503. `save` raises
    `UnsupportedValue` and `TooLarge`, too. Django's ``SESSION_SERIALIZER`` is not used."""

    def __init__(self, session_key: str | None = None) -> None:
        # Not Django's own, which looks its serializer up for each session; see `serializer`.
        self._exchange: Exchange | None = None
        self._asynchronous = False
        self._key: str | None = None
        self._asked = False  # whether `modified` was set
        self._given_up: dict[str, bytes | None] | None = None  # what was changed when it was set to False
        self._looked = False
        self._session_key = session_key

    @classmethod
    def setup(cls) -> Setup:
        """What this class works with: what the settings say. A subclass may have its own."""
        return current.setup or current.make()

    # --- What it is --------------------------------------------------------------------------------------------------

    @property
    def sojourn(self) -> DjangoSession:
        """The session beneath: `handle`, `user_id`, `label`, `update(name, function)`, `set_timeouts` and the rest. It
        is of this request alone, and dead after the response. Loads it, if that has not happened yet."""
        return self._get_session()

    @property
    def auth_age(self) -> float | None:
        """Seconds since the user signed in; None if nobody is signed in. For steps that want a fresh sign-in."""
        return self._get_session().auth_age

    @property
    def _held(self) -> DjangoSession | None:
        held: DjangoSession | None = self.__dict__.get("_session_cache")
        return None if held is None or held.closed else held

    @property
    def session_key(self) -> str | None:
        """The session id that the client carries; after `cycle_key` the new one. None: nothing is stored."""
        held = self._held
        if held is None:
            return self._key
        return ids.join(held.record.handle, held.secret) if held.stored else None

    @property
    def _session_key(self) -> str | None:
        return self.session_key

    @_session_key.setter
    def _session_key(self, key: str | None) -> None:
        self._key = key if key and self._validate_session_key(key) else None
        self.__dict__.pop("_session_cache", None)

    @property
    def accessed(self) -> bool:
        """Whether anybody looked into it."""
        held = self._held
        return self._looked if held is None else held.accessed

    @accessed.setter
    def accessed(self, value: bool) -> None:
        self._looked = value
        if (held := self._held) is not None:
            held.accessed = value

    @property
    def modified(self) -> bool:
        """Whether there is something to save, told from the values; True, too, if it was set."""
        if self._asked:
            return True
        held = self._held
        if held is None or held.untouched:
            return False
        if held.ended:
            return True
        delta = held.delta()
        if held.amendment is None and self._given_up is not None:
            return delta is not None and delta.local != self._given_up
        return delta is not None or held.amendment is not None or (held.kept and not held.stored)

    @modified.setter
    def modified(self, value: bool) -> None:
        self._asked, self._given_up = value, None
        held = self._held
        if not value and held is not None and not held.ended:
            delta = held.delta()
            self._given_up = None if delta is None else delta.local

    @property
    def serializer(self) -> Any:
        """Django's: what `encode` and `decode` use, which nothing here does."""
        return import_string(settings.SESSION_SERIALIZER)

    def is_empty(self) -> bool:
        """Whether it is stored nowhere and nothing was put in. It does not count as looking."""
        held = self._held
        if held is None:
            return not self._key
        looked = held.accessed
        try:
            return not held.stored and (held.ended or not len(held))
        finally:
            held.accessed = looked

    def get_session_cookie_age(self) -> float:
        """Seconds without activity after which the session is over."""
        if settings.is_overridden("SESSION_COOKIE_AGE"):
            age: float = settings.SESSION_COOKIE_AGE
            return age
        return self.setup().manager.config.idle_timeout

    def get_expire_at_browser_close(self) -> bool:
        """Whether the cookie ends with the browser: so it does, unless `set_expiry` or the settings say otherwise."""
        held = self._held
        expiry = None if held is not None and held.ended else self.get(_EXPIRY)
        return not self.setup().manager.config.persistent if expiry is None else expiry == 0

    async def aget_expire_at_browser_close(self) -> bool:
        """As `get_expire_at_browser_close`."""
        await self._aget_session()
        return self.get_expire_at_browser_close()

    # --- The fields --------------------------------------------------------------------------------------------------

    def _get_session(self, no_load: bool = False) -> DjangoSession:
        held = self._held
        if held is None:
            held = self._blank() if self._key is None or no_load else self.load()
            self._session_cache = held
        held.accessed = True
        return held

    async def _aget_session(self, no_load: bool = False) -> DjangoSession:
        held = self._held
        if held is None:
            held = self._blank() if self._key is None or no_load else await self.aload()
            self._session_cache = held
        held.accessed = True
        return held

    _session = property(_get_session)

    def _blank(self) -> DjangoSession:
        return cast(DjangoSession, self.setup().manager.engine.new(kind=DjangoSession))

    def setdefault(self, key: str, value: Any) -> Any:
        """The field, after giving it this value if there is none: of two writers who both find it missing neither
        replaces the other's."""
        return self._get_session().setdefault(key, value)

    async def asetdefault(self, key: str, value: Any) -> Any:
        """As `setdefault`."""
        return (await self._aget_session()).setdefault(key, value)

    def clear(self) -> None:
        """Delete every field; the session, and its user, stay. `flush` ends it."""
        self._get_session().clear()
        self.modified = True

    # --- The store ---------------------------------------------------------------------------------------------------

    async def _load(self, engine: AsyncSessionManager) -> BaseSession:
        """The session of the key, as it is now; an empty one, and no key any more, if it is unknown, ended, expired or
        malformed."""
        key = self.session_key
        if key is None:
            return self._blank()
        found = await engine.begin(key, kind=DjangoSession)
        if not found.stored:
            self._key, self._session_cache = None, cast(DjangoSession, found)
        return found

    async def _save(self, engine: AsyncSessionManager, must_create: bool = False) -> None:
        """Save what was changed, now; what others have changed meanwhile stays. A session that is new is stored even if
        it is empty. What belongs to a session that has ended meanwhile is dropped and counted: nothing is raised, and
        nothing comes back. ``must_create`` begins another session, with the fields of this one."""
        held = self._get_session(no_load=must_create)
        if must_create and held.stored:
            await self._create(engine)
            return
        if not held.stored and not held.ended:
            held.keep()
        try:
            _, action = await engine.finish_response(held)
            held.unsent = action == "set"  # the response is still to come
        except SessionGone as gone:
            engine.counts["gone"] += 1
            log.info("session %s: %s", held.record.handle, gone)
            held.discard()
        held.kept, self._given_up = False, None

    async def _create(self, engine: AsyncSessionManager) -> None:
        """Begin another session, under a key of its own, with the fields of this one; store it now. This one stays."""
        held = self._held
        fields = {} if held is None else held.to_dict()
        if held is None:
            held = self._session_cache = self._blank()
        held.start_over(engine.new().record)
        self._key = None
        for name, value in fields.items():
            held[name] = value
        await self._save(engine)
        self.modified = True

    async def _cycle_key(self, engine: AsyncSessionManager) -> None:
        """Replace the key: the same session, with another secret; the old key is dead. In a request this is committed
        with the response; else now."""
        self._get_session().rotate()
        if self._exchange is None:
            await self._save(engine)
        self.modified = True

    async def _flush(self, engine: AsyncSessionManager) -> None:
        """End the session, now and for good. What is put in afterwards begins another, under another key."""
        await self._delete(engine)
        self._key = None
        if self._exchange is not None:
            self._exchange.start_over()
        else:
            self._session_cache = self._blank()
        self.accessed = self.modified = True

    async def _delete(self, engine: AsyncSessionManager, session_key: str | None = None) -> None:
        """End the session of this key; without one, this session. Nothing happens if there is none."""
        held = self._held
        if session_key is None and held is not None:  # by its handle: its key may be one that is not committed yet
            session_key = Handle(held.record.handle) if held.stored else None
        elif session_key is None:
            session_key = self._key
        if session_key is not None:
            await engine.end_session(session_key)

    async def _exists(self, engine: AsyncSessionManager, session_key: str | None) -> bool:
        """Whether there is such a session, alive. False for None, and for anything malformed."""
        return session_key is not None and await engine.is_session_active(session_key)

    load, aload = _two_names(_load)
    save, asave = _two_names(_save)
    create, acreate = _two_names(_create)
    cycle_key, acycle_key = _two_names(_cycle_key)
    flush, aflush = _two_names(_flush)
    delete, adelete = _two_names(_delete)
    exists, aexists = _two_names(_exists)

    @classmethod
    def clear_expired(cls) -> None:
        """Remove what has expired, as ``manage.py clearsessions`` does. It is never served anyway."""
        cls.setup().manager.purge_expired()

    @classmethod
    async def aclear_expired(cls) -> None:
        """As `clear_expired`."""
        await sync_to_async(cls.clear_expired, thread_sensitive=False)()

    # --- For the middleware ------------------------------------------------------------------------------------------

    def _begin(self, exchange: Exchange, *, asynchronous: bool) -> None:
        """Take the session that the request began with."""
        self._exchange, self._asynchronous = exchange, asynchronous
        self._session_cache = cast(DjangoSession, exchange.session)

    def _settle(self, exchange: Exchange) -> None:
        """Before the commit: what the application put in the place of its session, and what it does not want saved."""
        held = self._held
        if held is not None and held is not exchange.session:
            exchange.session = held
        if self._given_up is not None and not self.modified:
            exchange.session.discard()

    def _respond(self) -> None:
        """After the commit: note the key, by which whoever uses the store after the response loads anew."""
        self._key, self._looked = self.session_key, self.accessed

    def _part(self) -> None:
        """The request is over: from now on this is a store that was made with the key."""
        self._exchange, self._asynchronous = None, False
