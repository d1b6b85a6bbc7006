"""The configuration: its defaults, and that what cannot work is refused at start with the remedy."""

from __future__ import annotations

import dataclasses
import inspect
import re
from datetime import timedelta
from typing import Any

import pytest

from sojourn import ConfigurationError, CookieConfig, SessionConfig


def test_the_defaults() -> None:
    """The defaults are those of the documentation."""
    assert dataclasses.asdict(SessionConfig()) == {
        "idle_timeout": 1800.0,
        "absolute_timeout": 86400.0,
        "touch_interval": 60.0,
        "rotate_after": None,
        "handle_form": "{random}",
        "max_sessions_per_user": None,
        "at_cap": "evict-oldest",
        "max_sessions": None,
        "same_key": "overwrite",
        "max_field_bytes": 262_144,
        "max_session_bytes": 1_048_576,
        "deadline": 1.0,
        "cleanup_interval": 60.0,
        "record_changes": False,
        "persistent": False,
        "cookie": {
            "name": "session",
            "samesite": "Lax",
            "domain": None,
            "partitioned": False,
            "insecure": False,
            "path": "/",
            "prefixed": True,
            "httponly": True,
        },
        "transports": ("cookie",),
        "guesses_per_second": 50.0,
    }


@pytest.mark.parametrize("kind", [SessionConfig, CookieConfig])
def test_every_setting_is_documented(kind: type) -> None:
    """Each setting is followed by what it does and why its default is what it is."""
    source = inspect.getsource(kind)
    for field in dataclasses.fields(kind):
        assert re.search(rf'^    {field.name}: [^\n]+\n    """(?:(?!""").){{10,}}', source, re.MULTILINE | re.DOTALL), (
            field.name
        )


def test_it_is_frozen() -> None:
    """A configuration does not change under those who use it."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        SessionConfig().idle_timeout = 5.0  # type: ignore[misc]


@pytest.mark.parametrize(
    "name", ["idle_timeout", "absolute_timeout", "touch_interval", "rotate_after", "deadline", "cleanup_interval"]
)
def test_durations_are_seconds_or_timedeltas(name: str) -> None:
    """A duration may be given as a whole number, a float or a timedelta, and is kept as seconds."""
    for given in (90, 90.0, timedelta(minutes=1.5)):
        value = getattr(SessionConfig(**{name: given}), name)
        assert (type(value), value) == (float, 90.0)


_WRONG: list[dict[str, Any]] = [
    *(
        {name: value}
        for name in ("idle_timeout", "deadline")
        for value in (0, -1, float("nan"), True, "30", timedelta(0))
    ),
    {"touch_interval": -1},
    {"absolute_timeout": None, "idle_timeout": -1},
    {"rotate_after": 0},
    {"cleanup_interval": 0},
    *(
        {name: value}
        for name in ("max_sessions_per_user", "max_sessions", "max_field_bytes")
        for value in (0, -5, 1.5, "3")
    ),
    {"max_session_bytes": 0},
    {"at_cap": "evict"},
    {"same_key": "merge"},
    *(
        {"handle_form": form}
        for form in ("", "session", "{random}{random}", "{random} ", "{random}.", "{random}\n", "{other}{random}")
    ),
    {"handle_form": "x" * 80 + "{random}"},
    *({"transports": ways} for ways in ((), ("cookie", "body"), "cookie")),
    *({"guesses_per_second": rate} for rate in (0, -1)),
]


@pytest.mark.parametrize("settings", _WRONG, ids=repr)
def test_what_cannot_work_is_refused(settings: dict[str, Any]) -> None:
    """A setting that cannot work raises `ConfigurationError`, which names it."""
    with pytest.raises(ConfigurationError, match=f"^({'|'.join(settings)})"):
        SessionConfig(**settings)


def test_a_touch_interval_may_be_nothing() -> None:
    """With a touch interval of zero every activity is recorded."""
    assert SessionConfig(touch_interval=0).touch_interval_for(100) == 0


@pytest.mark.parametrize(("idle", "interval"), [(1800.0, 60.0), (600.0, 60.0), (300.0, 30.0), (1.0, 0.1)])
def test_the_touch_interval_is_at_most_a_tenth_of_the_idle_timeout(idle: float, interval: float) -> None:
    """The touch interval of a session is the configured one, or a tenth of its idle timeout if that is less."""
    assert SessionConfig().touch_interval_for(idle) == interval


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({}, "__Host-session"),
        ({"domain": "example.org"}, "__Secure-session"),
        ({"insecure": True}, "session"),
        ({"name": "sid"}, "__Host-sid"),
        ({"path": "/shop"}, "__Secure-session"),
        ({"name": "sid", "prefixed": False}, "sid"),
        ({"insecure": "anywhere"}, "session"),
    ],
)
def test_the_cookie_takes_the_strictest_prefix(settings: dict[str, Any], name: str) -> None:
    """The cookie's name on the wire has the strictest prefix that its settings allow."""
    assert CookieConfig(**settings).full_name == name


_WRONG_COOKIES: list[dict[str, Any]] = [
    *(
        {"name": name}
        for name in (
            "",
            "a b",
            "a;b",
            "a=b",
            "a,b",
            "é",
            "a\n",
            "__Host-x",
            "__host-x",
            "__SECURE-x",
            "__Http-x",
            '"a"',
        )
    ),
    {"samesite": "lax"},
    {"samesite": "None", "insecure": True},
    {"partitioned": True},
    {"partitioned": True, "samesite": "Strict"},
    *({"domain": domain} for domain in ("", "a b", "a;b", "exa\nmple.org", "example.org; Path=/x")),
]


@pytest.mark.parametrize("settings", _WRONG_COOKIES, ids=repr)
def test_a_cookie_that_browsers_would_refuse_is_refused(settings: dict[str, Any]) -> None:
    """A cookie that breaks the rules of browsers, or of its prefix, is refused at start."""
    with pytest.raises(ConfigurationError):
        CookieConfig(**settings)


@pytest.mark.parametrize("path", ["", "shop", "/;", "/ ", "/\r\n", "/é"])
def test_a_path_that_is_none_is_refused(path: str) -> None:
    """The cookie's path begins with a slash, and cannot end the attribute that it stands in."""
    with pytest.raises(ConfigurationError, match="path"):
        CookieConfig(path=path)


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 0),
        ({"samesite": "Strict"}, 0),
        ({"path": "/shop"}, 0),
        ({"insecure": "anywhere"}, 1),
        ({"prefixed": False}, 1),
        ({"httponly": False, "domain": "shop.example"}, 2),
        ({"samesite": "None"}, 1),
    ],
)
def test_what_is_weaker_than_by_default_is_known(settings: dict[str, Any], count: int) -> None:
    """A cookie knows what of it is weaker than by default, so that adapters can warn of it."""
    assert len(CookieConfig(**settings).weaker) == count
