"""The configuration: one frozen dataclass, and one for the cookie. Pure.

Each field says what it does and why its default is what it is. What cannot work is refused here, at start, with
a `ConfigurationError` that names the remedy; nothing is corrected silently. Durations are seconds (a
``timedelta`` is taken too), sizes are bytes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal, TypeAlias

from .errors import ConfigurationError

__all__ = ["CookieConfig", "SessionConfig", "Transport"]

Transport: TypeAlias = Literal["cookie", "header", "url"]
"""How a session id comes with a request."""

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class CookieConfig:
    """How the session id travels in a browser. The defaults are the strictest that ordinary sites can live with."""

    name: str = "session"
    """The cookie's name, without a prefix: ``__Host-`` is put before it unless `insecure`, `domain` or `path`
    forbids."""

    samesite: Literal["Lax", "Strict", "None"] = "Lax"
    """Always spelled out, as browsers treat an unlabelled cookie more loosely. "None" is for embedded sites and
    comes with ``Partitioned`` if `partitioned` is set."""

    domain: str | None = None
    """Share the cookie with subdomains. It gives up the ``__Host-`` prefix (``__Secure-`` is used), and every
    subdomain can then read and overwrite it: leave it None unless you own them all."""

    partitioned: bool = False
    """One cookie jar for each embedding site (CHIPS). Needs ``samesite="None"``."""

    insecure: bool | Literal["anywhere"] = False
    """For development over plain http on a loopback address, and nowhere else: no ``Secure``, no prefix. A
    request for any other host is then refused a cookie. "anywhere" refuses nobody: adapters set it where a
    framework's own settings say so, and warn at start."""

    path: str = "/"
    """Send the cookie below this path only. Another than "/" gives up the ``__Host-`` prefix, and keeps no page of the
    same site out."""

    prefixed: bool = True
    """Put a prefix before the name. False sends exactly `name`, where something else depends on it; a neighbouring
    subdomain can then set a cookie of that name."""

    httponly: bool = True
    """Keep scripts from reading the cookie. False only where a framework's own settings say so: any script on the page
    can then carry the session away."""

    def __post_init__(self) -> None:
        if not _TOKEN.fullmatch(self.name):
            raise ConfigurationError(f"{self.name!r} is no cookie name: use letters, digits, '-' and '_'")
        if self.name.lower().startswith(("__host-", "__secure-", "__http-")):
            raise ConfigurationError("give the cookie's name without its prefix: Sojourn adds the one that fits")
        if self.samesite not in ("Lax", "Strict", "None"):
            raise ConfigurationError(f'samesite is "Lax", "Strict" or "None", not {self.samesite!r}')
        if self.samesite == "None" and self.insecure:
            raise ConfigurationError('samesite="None" needs Secure: take insecure=True away')
        if self.partitioned and self.samesite != "None":
            raise ConfigurationError('a partitioned cookie is for embedded sites: set samesite="None"')
        if self.domain is not None and not re.fullmatch(r"\.?[A-Za-z0-9.-]+", self.domain):
            raise ConfigurationError(f"{self.domain!r} is no domain")
        if not re.fullmatch(r"/[!-:<-~]*", self.path):
            raise ConfigurationError(f"{self.path!r} is no path of a cookie: it begins with '/', and holds no ';'")

    @property
    def full_name(self) -> str:
        """The name on the wire, prefix included."""
        if self.insecure or not self.prefixed:
            return self.name
        return f"__Secure-{self.name}" if self.domain or self.path != "/" else f"__Host-{self.name}"

    @property
    def weaker(self) -> list[str]:
        """What is weaker here than by default, in words: what an adapter warns of where a framework's own settings
        said so."""
        given_up = {
            "the cookie goes over plain http": bool(self.insecure),
            "scripts can read the cookie": not self.httponly,
            "every subdomain can read and set the cookie": self.domain is not None,
            "subdomains can set the cookie, as its name has no prefix": not self.prefixed and not self.insecure,
            "other sites' requests carry the cookie": self.samesite == "None",
        }
        return [what for what, true in given_up.items() if true]


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionConfig:
    """Everything that can be set, with the reason for each default."""

    idle_timeout: float = 1800.0
    """Seconds without activity after which a session is over; called ``expiration_time`` in the manager's
    constructor. 30 minutes is the upper end of what OWASP advises for low-risk applications (15-30 minutes) and
    within NIST SP 800-63B-4 AAL2 (one hour). A session ends between this and this + `touch_interval`, never
    earlier."""

    absolute_timeout: float = 86400.0
    """Seconds after sign-in (or creation, if nobody signed in) when a session is over however active it is. A day
    is NIST's AAL2 limit. Only signing in anew starts it again; rotation does not."""

    touch_interval: float = 60.0
    """At most one deadline write a session per this many seconds; a tenth of the idle timeout if that is less.
    Reads then cost no write at all, and the price is a session that may live this much longer."""

    rotate_after: float | None = None
    """Replace a secret that is older than this many seconds, in adapters, at the end of a request. The old one
    goes on for 30 s after the new one was first seen, so that parallel requests and lost responses log nobody
    out. None (the default) rotates at sign-in only, which is what stops fixation; set it (an hour, say) to
    shorten the use of a stolen cookie."""

    handle_form: str = "{random}"
    """The form of the handle, such as ``"session_{timestamp}_{random}"``. ``{random}`` is always 128 bits, and
    the secret has 256 more."""

    max_sessions_per_user: int | None = None
    """How many live sessions one user may have. None: no cap, as most sites have it."""

    at_cap: Literal["evict-oldest", "refuse"] = "evict-oldest"
    """At the cap: end the user's oldest session, or refuse the new one with `TooManySessions`. Evicting is the
    default because refusing locks out a person whose old device is lost."""

    max_sessions: int | None = None
    """How many live sessions the store may hold; beyond it the least recently used is evicted (to the touch
    interval: a session's place is that of its last recorded activity). None: no bound."""

    same_key: Literal["overwrite", "refuse"] = "overwrite"
    """When two writers changed the same thing: the later commit wins, and it is counted, logged and told to
    listeners; or it is refused with `ConflictError`."""

    max_field_bytes: int = 256 * 1024
    """The largest encoded field. A session travels whole on each load: what is larger belongs elsewhere."""

    max_session_bytes: int = 1024 * 1024
    """The largest encoded session. Redis and PostgreSQL both slow down well before this."""

    deadline: float = 1.0
    """Seconds that one operation may take, waiting included. A visitor waits gladly for one, not for twelve."""

    cleanup_interval: float = 60.0
    """Seconds between sweeps of dead sessions by the background cleaner (or by the next creation, if the cleaner
    was not started). Dead sessions are never served in between: this is only about space."""

    record_changes: bool = False
    """Whether the store's history tells of every commit which fields it changed, beside what it always tells of the
    life of sessions. Watchers are told of changes anyway; this is for who must be told of those that were made while
    nobody watched, and costs a write more a commit."""

    persistent: bool = False
    """Whether cookies outlive the browser ("remember me") unless a session says otherwise. They end with it by default:
    who uses a browser that is not theirs closes it."""

    cookie: CookieConfig = field(default_factory=CookieConfig)
    """The cookie, for adapters."""

    transports: tuple[Transport, ...] = ("cookie",)
    """How the session id may come with a request, in order: the first that a request uses counts, and an id elsewhere
    is not looked at. "header" is ``Authorization: Bearer``, for clients that are no browsers; the answer to them has
    the id in ``Session-Id``. "url" is the query parameter ``session_id``, which ends up in logs, in histories and in
    what people share: only for who can do neither."""

    guesses_per_second: float | None = 50.0
    """Ids that one address may show that are of no session, in a second and on the average; twice as many at once.
    Beyond, adapters answer 429 to ids of sessions that they have not seen alive, without a look into the store.
    Loopback and private addresses are taken for your own proxy, and not counted. None: no bound."""

    def __post_init__(self) -> None:
        for name in (
            "idle_timeout",
            "absolute_timeout",
            "touch_interval",
            "rotate_after",
            "deadline",
            "cleanup_interval",
        ):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, seconds(value, name, zero=name == "touch_interval"))
        if not self.transports or not set(self.transports) <= {"cookie", "header", "url"}:
            raise ConfigurationError(f'transports holds "cookie", "header" or "url", not {self.transports!r}')
        if self.guesses_per_second is not None and not self.guesses_per_second > 0:
            raise ConfigurationError(f"guesses_per_second is above 0, or None, not {self.guesses_per_second!r}")
        for name in ("max_sessions_per_user", "max_sessions", "max_field_bytes", "max_session_bytes"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ConfigurationError(f"{name} must be a whole number of at least 1, not {value!r}")
        if self.at_cap not in ("evict-oldest", "refuse"):
            raise ConfigurationError(f'at_cap is "evict-oldest" or "refuse", not {self.at_cap!r}')
        if self.same_key not in ("overwrite", "refuse"):
            raise ConfigurationError(f'same_key is "overwrite" or "refuse", not {self.same_key!r}')
        sample = self.handle_form.replace("{timestamp}", "0" * 12).replace("{random}", "r" * 22)
        if self.handle_form.count("{random}") != 1 or not re.fullmatch(r"[A-Za-z0-9_-]{22,96}", sample):
            raise ConfigurationError(
                f"handle_form={self.handle_form!r} must hold {{random}} once, may hold {{timestamp}}, and otherwise "
                "takes letters, digits, '_' and '-', at most 96 characters in all"
            )

    def touch_interval_for(self, idle_timeout: float) -> float:
        """The interval between two deadline writes for a session of this idle timeout, in seconds."""
        return min(self.touch_interval, idle_timeout / 10)


def seconds(value: float | timedelta, name: str, *, zero: bool = False) -> float:
    """A duration in seconds; `ConfigurationError` if it is not a positive number (or zero, where that is allowed)."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not (value > 0 or (zero and value == 0)):
        raise ConfigurationError(f"{name} must be a positive number of seconds, not {value!r}")
    return float(value)
