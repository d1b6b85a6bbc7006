"""What Django's settings ask for: the managers, one for each world, and the cookie. Made at the first use."""

from __future__ import annotations

import asyncio
import atexit
import dataclasses
import logging
import threading
from typing import Any, Final

from django.conf import settings
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.http import HttpRequest

from ...blocking import SessionManager
from ...config import CookieConfig, SessionConfig
from ...cookie import TEST_HOST, host_name
from ...errors import ConfigurationError
from ...exchange import Credentials
from ...manager import AsyncSessionManager

__all__ = ["Setup", "current", "is_test_client", "session_manager"]

log = logging.getLogger("sojourn")


class Setup:
    """What the settings ask for: the managers, one for each world, and the cookie. ``debug`` lets the cookie go over
    plain http to this machine; ``secure`` says that the site is behind TLS, whatever its requests look like."""

    def __init__(
        self, manager: SessionManager, cookie: CookieConfig, *, url: str = "", debug: bool = False, secure: bool = False
    ) -> None:
        self.manager = manager
        self.cookie = cookie
        self.secure = secure
        self._url = url
        self._plain: CookieConfig | None = None
        if debug and not cookie.insecure and cookie.samesite != "None":
            self._plain = dataclasses.replace(cookie, insecure=True)
        self._async_manager: AsyncSessionManager | None = None
        self._making = threading.Lock()

    @property
    def async_manager(self) -> AsyncSessionManager:
        """For asynchronous requests; made when the first one comes. In memory it has the same sessions."""
        if self._async_manager is None:
            with self._making:
                if self._async_manager is None:
                    shared = self.manager.store.world == "any"
                    self._async_manager = AsyncSessionManager(
                        self.manager.store if shared else self._url,
                        config=self.manager.config,
                        clock=self.manager.engine.clock,
                    )
        return self._async_manager

    def cookie_for(self, request: HttpRequest, credentials: Credentials) -> CookieConfig:
        """The cookie of a request. Tests look for it under the name that Django's settings say, without a prefix."""
        if self._plain is not None and not credentials.secure:
            return self._plain
        name = settings.SESSION_COOKIE_NAME
        made = self.secure and host_name(credentials.host) == TEST_HOST and not request.is_secure()  # by RequestFactory
        if (made or is_test_client(request)) and self.cookie.full_name != name:
            return dataclasses.replace(self.cookie, name=name, prefixed=False)
        return self.cookie

    def close(self) -> None:
        """Close both managers."""
        if self._async_manager is not None:
            closing = self._async_manager.close()
            try:
                asyncio.get_running_loop()
            except RuntimeError:
                asyncio.run(closing)
            else:  # a test that changes the settings within an event loop
                thread = threading.Thread(target=asyncio.run, args=(closing,))
                thread.start()
                thread.join()
        self.manager.close()


class _Current:
    """The setup of this process, made at the first use, and made anew when the settings have changed."""

    def __init__(self) -> None:
        self.setup: Setup | None = None
        self._former: Setup | None = None
        self._lock = threading.Lock()

    def make(self) -> Setup:
        with self._lock:
            if self.setup is None:
                self.setup = self._read()
            return self.setup

    def changed(self, *, setting: str, **_: Any) -> None:
        """A setting has changed, which happens in tests: a change of the cookie alone keeps the managers."""
        if setting == "SOJOURN":
            self.close()
        elif setting in ("DEBUG", "SESSION_EXPIRE_AT_BROWSER_CLOSE") or setting.startswith("SESSION_COOKIE_"):
            with self._lock:
                self._former, self.setup = self.setup or self._former, None

    def close(self) -> None:
        with self._lock:
            setup, self.setup, self._former = self.setup or self._former, None, None
        if setup is not None:
            setup.close()

    def _read(self) -> Setup:
        asked = getattr(settings, "SOJOURN", None)
        if not isinstance(asked, dict) or "STORE" not in asked or not {"STORE", "CONFIG"}.issuperset(asked):
            raise ImproperlyConfigured(
                'sojourn.adapters.django needs SOJOURN = {"STORE": "sqlite:////path/sessions.db"} in the settings, and '
                'takes "CONFIG" beside it: a SessionConfig, or a dict of its arguments'
            )
        try:
            config = _config(asked.get("CONFIG", {}))
            cookie = _cookie(config.cookie)
            former, self._former = self._former, None
            kept = former is not None and former.manager.config == config
            if former is not None and not kept:
                former.close()
            manager = former.manager if former is not None and kept else SessionManager(asked["STORE"], config=config)
        except ConfigurationError as error:
            raise ImproperlyConfigured(f"SOJOURN, or a SESSION_ setting: {error}") from error
        _warn(cookie, config.cookie)
        secure = settings.is_overridden("SESSION_COOKIE_SECURE") and bool(settings.SESSION_COOKIE_SECURE)
        setup = Setup(manager, cookie, url=asked["STORE"], debug=settings.DEBUG, secure=secure)
        setup._async_manager = former._async_manager if former is not None and kept else None
        return setup


current: Final = _Current()
"""The setup of this process."""
setting_changed.connect(current.changed)
atexit.register(current.close)


def session_manager() -> SessionManager:
    """The blocking manager that the settings ask for: to list a user's sessions, to end them, to listen. One for the
    process, made at the first call. Raises `ImproperlyConfigured`."""
    return (current.setup or current.make()).manager


def _config(given: SessionConfig | dict[str, Any]) -> SessionConfig:
    """The configuration, with what Django's own settings say of time where they are set."""
    try:
        if isinstance(given, dict) and isinstance(cookie := given.get("cookie"), dict):
            given = {**given, "cookie": CookieConfig(**cookie)}
        config = given if isinstance(given, SessionConfig) else SessionConfig(**given)
    except TypeError as error:  # an argument that it does not have, or no dict at all
        raise ConfigurationError(f"CONFIG is a SessionConfig, or a dict of its arguments: {error}") from error
    changes: dict[str, Any] = {}
    if settings.is_overridden("SESSION_COOKIE_AGE"):
        age = settings.SESSION_COOKIE_AGE
        changes.update(idle_timeout=age, absolute_timeout=max(age, config.absolute_timeout), persistent=True)
    if settings.is_overridden("SESSION_EXPIRE_AT_BROWSER_CLOSE"):
        changes["persistent"] = not settings.SESSION_EXPIRE_AT_BROWSER_CLOSE
    return dataclasses.replace(config, **changes) if changes else config


def _cookie(config: CookieConfig) -> CookieConfig:
    """The cookie, with what Django's own settings say of it where they are set."""

    def said(setting: str) -> bool:
        return bool(settings.is_overridden(f"SESSION_COOKIE_{setting}"))

    changes: dict[str, Any] = {}
    if said("NAME"):
        name: str = settings.SESSION_COOKIE_NAME
        changes.update(name=name.removeprefix("__Host-"), prefixed=name.startswith("__Host-"))
    elif config.name == CookieConfig().name:
        changes["name"] = settings.SESSION_COOKIE_NAME
    if said("SECURE"):
        changes["insecure"] = False if settings.SESSION_COOKIE_SECURE else "anywhere"
    if said("HTTPONLY"):
        changes["httponly"] = bool(settings.SESSION_COOKIE_HTTPONLY)
    if said("SAMESITE"):
        changes["samesite"] = str(settings.SESSION_COOKIE_SAMESITE).capitalize()
    if said("DOMAIN"):
        changes["domain"] = settings.SESSION_COOKIE_DOMAIN
    if said("PATH"):
        changes["path"] = settings.SESSION_COOKIE_PATH
    cookie = dataclasses.replace(config, **changes)
    if said("NAME") and cookie.full_name != settings.SESSION_COOKIE_NAME:
        raise ConfigurationError(
            f"SESSION_COOKIE_NAME = {settings.SESSION_COOKIE_NAME!r} has a prefix that browsers refuse with these "
            "settings: give the name without it"
        )
    return cookie


def _warn(cookie: CookieConfig, config: CookieConfig) -> None:
    for weakness in cookie.weaker:
        if weakness not in config.weaker:
            log.warning("Django's SESSION_COOKIE_ settings are weaker than Sojourn's own: %s", weakness)


def is_test_client(request: HttpRequest) -> bool:
    """Whether Django's test client made it, which marks its requests so. Applications have been seen to set the mark,
    too: it counts in Django's test environment alone."""
    return hasattr(request, "_dont_enforce_csrf_checks") and hasattr(mail, "outbox")
