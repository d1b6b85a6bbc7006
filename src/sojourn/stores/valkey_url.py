"""The URL of a Valkey or Redis store, and its options. Pure, but for reading the certificates that are named.

    valkey://[user[:password]@]host[:port][/database]        one server; also redis://
    valkeys://...                                            the same over TLS; also rediss://
    valkey+unix:///path/to/socket                            one server, by its socket; also redis+unix://
    valkey+sentinel://host[:port],host[:port]/service[/db]   the primary that Sentinels name; valkeys+sentinel
    valkey+cluster://host[:port],host[:port]                 a cluster, by some of its nodes

Options: ``prefix`` of all keys ("sojourn"), ``deadline`` in seconds, ``durability`` ("server" or "replicated"),
``replicas`` that must acknowledge a write then (1), ``connections`` at most, for threads (64), ``shards`` of a cluster
(64; the same for all who open it, and for ever), ``ca``, ``cert`` and ``key``, paths of certificates for TLS, and
``clock`` ("server"; "caller" is for tests that set the time).
"""

from __future__ import annotations

import ssl
from typing import Final
from urllib.parse import SplitResult, unquote

from msgspec import Struct

from ..config import SessionConfig, seconds
from ..errors import ConfigurationError
from ..store import Durability
from .valkey_link import Address, Login

__all__ = ["Place", "place_of"]

_OPTIONS: Final = frozenset(
    {"prefix", "deadline", "durability", "replicas", "connections", "shards", "ca", "cert", "key", "clock"}
)
_PORTS: Final = {"sentinel": 26379}


class Place(Struct, frozen=True, kw_only=True):
    """What a URL says."""

    kind: str
    """"" for one server, "sentinel" or "cluster"."""
    addresses: tuple[Address, ...]
    service: str
    login: Login
    prefix: str
    deadline: float
    durability: Durability
    replicas: int
    connections: int
    shards: int
    own_clock: bool


def place_of(url: SplitResult, options: dict[str, str], config: SessionConfig) -> Place:
    """What a URL and its options say. `ConfigurationError` for what is not understood."""
    base, _, kind = url.scheme.partition("+")
    unknown = options.keys() - _OPTIONS
    if unknown:
        raise ConfigurationError(
            f"{base}:// does not know the option {min(unknown)!r}: it takes {', '.join(sorted(_OPTIONS))}"
        )
    userinfo, _, hosts = url.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    parts = [unquote(part) for part in url.path.split("/") if part]
    addresses = _addresses(hosts, kind, url)
    service = ""
    if kind == "unix":
        parts = []
    if kind == "sentinel":
        if not parts:
            raise ConfigurationError("say which service the Sentinels watch: valkey+sentinel://host:26379/mymaster")
        service = parts.pop(0)
    if len(parts) > 1 or any(not part.isdigit() for part in parts) or (kind == "cluster" and parts not in ([], ["0"])):
        raise ConfigurationError(f"{url.path!r} is no number of a database")
    durability, replicas = _level(options)
    return Place(
        kind="" if kind == "unix" else kind,
        addresses=addresses,
        service=service,
        login=Login(unquote(user), unquote(password), int(parts[0]) if parts else 0, _tls(base, options)),
        prefix=_prefix(options),
        deadline=_deadline(options, config),
        durability=durability,
        replicas=replicas,
        connections=_number(options, "connections", 64, 1),
        shards=_number(options, "shards", 64, 1, 1024) if kind == "cluster" else 1,
        own_clock=_choice(options, "clock", ("server", "caller")) == "server",
    )


def _addresses(hosts: str, kind: str, url: SplitResult) -> tuple[Address, ...]:
    if kind == "unix":
        if hosts or not url.path:
            raise ConfigurationError("a socket's URL is valkey+unix:///path/to/the/socket")
        return (Address("localhost", path=unquote(url.path)),)
    found = []
    for host in hosts.split(",") if hosts else ["127.0.0.1"]:
        parts = SplitResult("", host, "", "", "")
        try:
            port = parts.port
        except ValueError as error:
            raise ConfigurationError(f"{host!r} has no port that there can be") from error
        if not parts.hostname:
            raise ConfigurationError(f"{host!r} is no host")
        found.append(Address(parts.hostname, port or _PORTS.get(kind, 6379)))
    if len(found) > 1 and not kind:
        raise ConfigurationError("several servers are a cluster (valkey+cluster://) or Sentinels (valkey+sentinel://)")
    return tuple(found)


def _level(options: dict[str, str]) -> tuple[Durability, int]:
    durability = _choice(options, "durability", ("server", "replicated"))
    if durability == "server":
        if "replicas" in options:
            raise ConfigurationError('replicas are waited for at durability="replicated"')
        return "server", 0
    return "replicated", _number(options, "replicas", 1, 1)


def _tls(base: str, options: dict[str, str]) -> ssl.SSLContext | None:
    named = [name for name in ("ca", "cert", "key") if name in options]
    if base not in ("valkeys", "rediss"):
        if named:
            raise ConfigurationError(f"{named[0]}= is for TLS: write valkeys:// or rediss://")
        return None
    try:
        context = ssl.create_default_context(cafile=options.get("ca"))
        if "cert" in options:
            context.load_cert_chain(options["cert"], options.get("key"))
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"the certificates can't be read: {error}") from error
    return context


def _prefix(options: dict[str, str]) -> str:
    prefix = options.get("prefix", "sojourn")
    if not prefix or set(prefix) & set("{}") or not prefix.isprintable():
        raise ConfigurationError(f"prefix={prefix!r} can't begin keys: use letters, digits and ':'")
    return prefix


def _deadline(options: dict[str, str], config: SessionConfig) -> float:
    try:
        return seconds(float(options.get("deadline", config.deadline)), "deadline")
    except ValueError as error:
        raise ConfigurationError(f"deadline={options['deadline']!r} is not a number of seconds") from error


def _number(options: dict[str, str], name: str, default: int, least: int, most: int = 1 << 30) -> int:
    text = options.get(name, str(default))
    if not text.isdigit() or not least <= int(text) <= most:
        raise ConfigurationError(f"{name}={text!r} is no whole number of at least {least}")
    return int(text)


def _choice(options: dict[str, str], name: str, choices: tuple[str, ...]) -> str:
    chosen = options.get(name, choices[0])
    if chosen not in choices:
        raise ConfigurationError(f"{name} is {' or '.join(choices)}, not {chosen!r}")
    return chosen
