"""What Flask and Quart have in common: the ways of their session objects, their settings, and the extension. The
adapters themselves are `sojourn.adapters.flask` and `sojourn.adapters.quart`; this module imports neither framework.

    FamilySession     ``permanent``, ``new``, ``modified``
    FamilyInterface   open and commit: coroutines, which Flask's adapter runs and Quart's awaits
    FamilyExtension   a store, a configuration, an application

Flask puts a default for each of its settings into ``app.config``, so a setting counts as said where it differs from
that default. What was said wins over the `CookieConfig` of the manager, and a line is logged where it makes the cookie
weaker.
"""

from __future__ import annotations

import dataclasses
import logging
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import timedelta
from email.utils import formatdate
from functools import lru_cache
from typing import Any, ClassVar, Final, NoReturn, TypeAlias

from .config import CookieConfig, SessionConfig
from .engine import Engine
from .errors import ConfigurationError
from .exchange import ANSWERED, Answer, Credentials, Exchange, Headers, StartsOver, answer_for, chosen_cookie
from .store import Store
from .users import devices_answer

__all__ = [
    "FamilyExtension",
    "FamilyInterface",
    "FamilySession",
    "StoreOrURL",
    "UnavailableSession",
    "session_config",
]

StoreOrURL: TypeAlias = str | Store

log = logging.getLogger("sojourn")

_PREFIX: Final = "SOJOURN_"
_COOKIE_DEFAULTS: Final = ("session", None, "/", True, False, None, False)  # in the order of `_cookie`'s parameters
_LIFETIME_DEFAULT: Final = timedelta(days=31)
_KEPT_COOKIES: Final = 64  # an interface whose `get_cookie_name` depends on the request may have a few


class FamilySession(StartsOver):
    """The attributes that users of these frameworks know. There is no need to set ``modified``: it is told from the
    values."""

    lifetime: float | None = None
    """What the setting ``PERMANENT_SESSION_LIFETIME`` says, in seconds; None: nothing."""
    was_modified = False
    """Whether something was committed when the response began."""

    @property
    def permanent(self) -> bool:
        """Whether the cookie outlives the browser. Setting it is "remember me": for as long as the session lives, which
        is what ``PERMANENT_SESSION_LIFETIME`` says, if it was set, and what the configuration says, if not."""
        self.accessed = True
        wanted = self.amendment
        return self.record.persistent if wanted is None or wanted.persistent is None else wanted.persistent

    @permanent.setter
    def permanent(self, value: bool) -> None:
        wanted, asked = bool(value), self.amendment
        idle = self.record.idle_timeout if asked is None or asked.idle_timeout is None else asked.idle_timeout
        if wanted != self.permanent or (wanted and self.lifetime not in (None, idle)):
            self.set_timeouts(persistent=wanted)

    def set_timeouts(
        self,
        *,
        idle: float | timedelta | None = None,
        absolute: float | timedelta | None = None,
        persistent: bool | None = None,
    ) -> None:
        """As for any session. Where ``PERMANENT_SESSION_LIFETIME`` was set, ``persistent`` alone brings it along, or
        takes it back. It is counted from the last activity, as in these frameworks; the absolute timeout is not to cut
        it short."""
        if self.lifetime is not None and persistent is not None and idle is None and absolute is None:
            config = self._context.config
            if persistent:
                idle, absolute = self.lifetime, max(self.lifetime, config.absolute_timeout)
            elif self.permanent:
                idle, absolute = config.idle_timeout, config.absolute_timeout
        super().set_timeouts(idle=idle, absolute=absolute, persistent=persistent)

    @property
    def new(self) -> bool:
        """Whether it is stored nowhere yet."""
        return self.is_new

    @property
    def modified(self) -> bool:
        """Whether something was changed in it, told from the values. Setting it is allowed and does nothing."""
        return self.was_modified or self.amendment is not None or self.delta() is not None

    @modified.setter
    def modified(self, value: bool) -> None:
        pass

    def login(self, user_id: str) -> str:
        """As for any session; a permanent one stays what it is."""
        session_id = super().login(user_id)
        if self.permanent:  # signing in starts the absolute timeout anew, with the configuration's length
            self.set_timeouts(persistent=True)
        return session_id


class UnavailableSession(FamilySession):
    """Stands in for a session that could not be loaded: whoever uses it responds with 503."""

    answer: Answer
    exception: Exception
    """What the framework makes that response of."""

    def _refuse(self) -> NoReturn:
        raise self.exception


class FamilyInterface(ABC):
    """What the session interfaces of both do."""

    framework: ClassVar[str]
    manager_class: ClassVar[type[Any]]
    unavailable_class: ClassVar[type[UnavailableSession]]
    manager: Any

    def __init__(self, manager: Any) -> None:
        if not isinstance(manager, self.manager_class):
            wanted, found = self.manager_class.__name__, type(manager).__name__
            raise ConfigurationError(f"{type(self).__name__} needs a {wanted}, not {found}")
        self.manager = manager
        base: CookieConfig = manager.config.cookie
        self._cookie_of = lru_cache(_KEPT_COOKIES)(lambda *said: _cookie(base, self.framework, *said))

    @property
    @abstractmethod
    def engine(self) -> Engine:
        """The manager's operations, as coroutines."""

    @abstractmethod
    def response_exception(self, answer: Answer) -> Any:
        """An exception that the framework answers with this response."""

    def cookie_config(self, app: Any) -> CookieConfig | None:
        """The cookie, if the framework's own settings say something of it. `ConfigurationError` if browsers would not
        take it."""
        own: Any = self  # the methods of the framework's own interface, which applications may override
        said = (
            own.get_cookie_name(app),
            own.get_cookie_domain(app) or None,
            own.get_cookie_path(app),
            own.get_cookie_httponly(app),
            own.get_cookie_secure(app),
            own.get_cookie_samesite(app),
            own.get_cookie_partitioned(app),
        )
        return None if said == _COOKIE_DEFAULTS else self._cookie_of(*said)

    async def open(self, app: Any, request: Any, shown: Credentials, kind: type[FamilySession]) -> Any:
        """Load the session of a request; if that cannot be done, what stands in for it."""
        exchange = Exchange(self.engine, kind, self.cookie_config(app))
        try:
            session: Any = await exchange.begin(shown)
        except ANSWERED as error:
            log.warning("a session could not be loaded: %s", error)
            return self._unavailable(request, answer_for(error))
        self.adopt(app, session, exchange)
        return session

    def adopt(self, app: Any, session: Any, exchange: Exchange) -> None:
        """Tell a session what belongs to it."""
        session.exchange = exchange
        lifetime = app.permanent_session_lifetime
        if lifetime != _LIFETIME_DEFAULT:
            session.lifetime = lifetime.total_seconds()

    async def commit(self, session: Any, response: Any) -> bool:
        """Commit, and write the headers. False if another answer had to be put in the response's place."""
        if isinstance(session, UnavailableSession):
            put_in_place(response, session.answer)
            return False
        before = session.record
        try:
            added = await session.exchange.commit()
        except ANSWERED as error:
            log.warning("a session could not be committed: %s", error)
            session.close()
            put_in_place(response, answer_for(error))
            return False
        session.was_modified = session.record is not before
        if added or session.accessed:
            before_it = list(response.headers)
            added = _with_expires(added, self.engine.clock())
            _change(response.headers, before_it, session.exchange.private(before_it, added))
        return True

    async def devices(self, session: Any, request: Any, handle: str | None) -> Answer:
        """The answer of the JSON interface of a user's devices (`sojourn.users`)."""
        method: Any = "DELETE" if request.method == "DELETE" else "GET"
        token = request.headers.get("X-CSRF-Token", "")
        return await devices_answer(self.engine, session, method, handle, token)

    def _unavailable(self, request: Any, answer: Answer) -> UnavailableSession:
        """Let the framework respond as to a wrong address, without the application: an exception raised here would be a
        500."""
        session: Any = self.engine.new(kind=self.unavailable_class)
        session.answer = answer
        session.exception = request.routing_exception = self.response_exception(answer)
        session.close()
        return session  # type: ignore[no-any-return]


def put_in_place(response: Any, answer: Answer) -> None:
    """Make an answer of the application's response."""
    response.status_code = answer.status
    response.set_data(answer.body)
    response.headers.clear()
    response.headers.extend(answer.headers)


def _change(headers: Any, before: Headers, after: Headers) -> None:
    """Make of a response's headers what they are to be, and touch no more of them than need be: each costs a check."""
    for name, value in before:
        if (name, value) not in after:
            headers.remove(name)
    for name, value in after:
        if (name, value) not in before:
            headers.add(name, value)


def _with_expires(added: Headers, now: float) -> Headers:
    """The cookie of a permanent session says when it expires, too, as theirs do; browsers go by Max-Age."""
    return [(name, re.sub(r"; Max-Age=([1-9]\d*)", lambda age: _expires(age, now), value)) for name, value in added]


def _expires(age: re.Match[str], now: float) -> str:
    return f"{age[0]}; Expires={formatdate(now + int(age[1]), usegmt=True)}"


def _cookie(
    base: CookieConfig,
    whose: str,
    name: str,
    domain: str | None,
    path: str,
    httponly: bool,
    secure: bool,
    samesite: str | None,
    partitioned: bool,
) -> CookieConfig:
    """The cookie as these settings want it: a default leaves alone what ``base`` says."""
    named = name != _COOKIE_DEFAULTS[0]
    config = chosen_cookie(
        base,
        whose,
        name=name if named else None,
        domain=domain,
        path=path if path != "/" else None,
        httponly=None if httponly else False,
        secure=True if secure else None,
        samesite=samesite,
        partitioned=True if partitioned else None,
    )
    if named and config.prefixed and not config.insecure and config.full_name != name:
        raise ConfigurationError(f"with these settings SESSION_COOKIE_NAME={name!r} has to be {config.full_name!r}")
    return config


class FamilyExtension:
    """Sets sessions up for an application, or for several.

    ``store`` is the URL of a store, or a store; ``config`` its configuration. An application's own settings go before
    both: ``SOJOURN_STORE``, and ``SOJOURN_`` with the name of a field of `SessionConfig` (``SOJOURN_IDLE_TIMEOUT``).
    ``SOJOURN_COOKIE`` is a `CookieConfig`, or a dict with some of its fields. ``manager`` is one that you made, and
    takes the place of all that. `ConfigurationError` for a setting that is not known or cannot work, and where nobody
    named a store."""

    interface_class: ClassVar[type[FamilyInterface]]

    def __init__(
        self,
        app: Any = None,
        store: StoreOrURL | None = None,
        *,
        manager: Any = None,
        config: SessionConfig | None = None,
    ) -> None:
        if manager is not None and not (store is None and config is None):
            raise ConfigurationError("a manager has its store and its configuration already: leave them out")
        self._store = store
        self._config = config
        self._given = manager
        self._latest: Any = None
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Any) -> None:
        """Set sessions up for this application, by its settings as they are now. Flask's ``SESSION_COOKIE_`` settings
        are looked at again with each request."""
        manager = self._given if self._given is not None else self._made(app.config)
        interface = self.interface_class(manager)
        interface.cookie_config(app)  # what cannot work is refused here, and what is weaker is told
        app.session_interface = interface
        app.extensions["sojourn"] = self
        self._latest = manager

    def _made(self, settings: Mapping[str, Any]) -> Any:
        store = settings.get(f"{_PREFIX}STORE", self._store)
        config = session_config(settings, self._config)
        if store is None:
            raise ConfigurationError(
                'where are the sessions to be kept? Set SOJOURN_STORE, to "sqlite:///sessions.db" for instance '
                '("memory://" keeps them in one process, and forgets them with it)'
            )
        return self.interface_class.manager_class(store, config=config)

    def manager_of(self, app: Any) -> Any:
        """The manager of this application; of the one that was set up last, if it is None. `ConfigurationError` before
        any was."""
        manager = self._latest if app is None else getattr(app.session_interface, "manager", None)
        if manager is None:
            raise ConfigurationError("this extension knows no application yet: call init_app(app)")
        return manager


def session_config(settings: Mapping[str, Any], base: SessionConfig | None = None) -> SessionConfig:
    """The configuration that an application's ``SOJOURN_`` settings describe; what they do not name is as in ``base``.
    `ConfigurationError` for one that is not known."""
    config = base or SessionConfig()
    fields = {f"{_PREFIX}{field.name.upper()}": field.name for field in dataclasses.fields(SessionConfig)}
    said = {name: value for name, value in settings.items() if name.startswith(_PREFIX) and name != f"{_PREFIX}STORE"}
    unknown = sorted(said.keys() - fields.keys())
    if unknown:
        raise ConfigurationError(f"there is no setting {', '.join(unknown)}: there are {', '.join(sorted(fields))}")
    changes = {fields[name]: value for name, value in said.items()}
    cookie = changes.get("cookie")
    if isinstance(cookie, Mapping):
        known = {field.name for field in dataclasses.fields(CookieConfig)}
        attributes = {name.lower(): value for name, value in cookie.items()}  # the environment may have capitals only
        if not attributes.keys() <= known:
            raise ConfigurationError(f"SOJOURN_COOKIE holds {', '.join(sorted(known))}, not {', '.join(cookie)}")
        changes["cookie"] = dataclasses.replace(config.cookie, **attributes)
    if "transports" in changes:
        changes["transports"] = tuple(changes["transports"])
    return dataclasses.replace(config, **changes)
