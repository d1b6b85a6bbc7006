"""What the URL of a Valkey store says, and what it is not allowed to say."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from sojourn import ConfigurationError, SessionConfig, open_store
from sojourn.stores.valkey_link import Address
from sojourn.stores.valkey_url import Place, place_of


def place(url: str, **settings: Any) -> Place:
    parts = urlsplit(url)
    return place_of(parts, dict(parse_qsl(parts.query)), SessionConfig(**settings))


@pytest.mark.parametrize(
    ("url", "addresses", "kind"),
    [
        ("valkey://", [Address("127.0.0.1", 6379)], ""),
        ("redis://cache.example.org", [Address("cache.example.org", 6379)], ""),
        ("redis://[::1]:7000", [Address("::1", 7000)], ""),
        ("rediss://cache:6380/2", [Address("cache", 6380)], ""),
        ("valkey+unix:///run/valkey/my%20socket", [Address("localhost", path="/run/valkey/my socket")], ""),
        ("valkey+sentinel://a,b:7,c:8/mymaster", [Address("a", 26379), Address("b", 7), Address("c", 8)], "sentinel"),
        ("redis+cluster://a:1,b", [Address("a", 1), Address("b", 6379)], "cluster"),
    ],
)
def test_where(url: str, addresses: list[Address], kind: str) -> None:
    """A URL names one server, a socket, Sentinels, or nodes of a cluster; the usual ports can be left out."""
    found = place(url)
    assert (list(found.addresses), found.kind) == (addresses, kind)


def test_who() -> None:
    """User and password are taken from the URL, with their signs decoded; a password alone is that of the default
    user; and neither is shown."""
    login = place("redis://ad%40a:s%3Acret%2F@host/3").login
    assert (login.user, login.password, login.database) == ("ad@a", "s:cret/", 3)
    assert (place("redis://:secret@host").login.user, place("redis://:secret@host").login.password) == ("", "secret")
    assert "s:cret" not in repr(login)
    assert place("redis+sentinel://:pw@a/mymaster/4").login.database == 4
    assert place("redis+sentinel://:pw@a/mymaster/4").service == "mymaster"


def test_the_defaults() -> None:
    """Without options: the prefix "sojourn", the deadline of the configuration, the durability of the server, its
    clock, one shard on a server and 64 in a cluster."""
    found = place("redis://host", deadline=3)
    assert (found.prefix, found.deadline, found.durability, found.replicas) == ("sojourn", 3.0, "server", 0)
    assert (found.own_clock, found.shards, found.connections) == (True, 1, 64)
    assert place("redis+cluster://host").shards == 64


def test_the_options() -> None:
    """Options are a query."""
    found = place("redis://h?prefix=shop:s&deadline=0.5&durability=replicated&replicas=2&connections=9&clock=caller")
    assert (found.prefix, found.deadline, found.durability, found.replicas) == ("shop:s", 0.5, "replicated", 2)
    assert (found.connections, found.own_clock) == (9, False)
    assert place("redis://h?durability=replicated").replicas == 1


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://h?colour=red", "colour"),
        ("redis://h/mydb", "no number of a database"),
        ("redis://h/1/2", "no number of a database"),
        ("redis+cluster://h/3", "no number of a database"),
        ("redis://a,b", "several servers"),
        ("redis://h:99999", "port"),
        ("redis://:6379", "no host"),
        ("valkey+unix://", "socket"),
        ("valkey+sentinel://a", "which service"),
        ("redis://h?deadline=soon", "deadline"),
        ("redis://h?deadline=-1", "deadline"),
        ("redis://h?durability=power", "durability"),
        ("redis://h?replicas=1", "replicated"),
        ("redis://h?durability=replicated&replicas=0", "replicas"),
        ("redis://h?connections=many", "connections"),
        ("redis://h?shards=4&colour=red", "colour"),
        ("redis+cluster://h?shards=0", "shards"),
        ("redis://h?prefix=a{b}", "prefix"),
        ("redis://h?clock=mine", "clock"),
        ("redis://h?ca=/etc/ca.pem", "TLS"),
        ("rediss://h?ca=/nowhere/ca.pem", "certificates"),
    ],
)
def test_what_is_not_understood_is_refused(url: str, says: str) -> None:
    """What can't be understood, or can't work, is refused when the store is opened, and the error names it."""
    with pytest.raises(ConfigurationError, match=says):
        open_store(url)


def test_opening_connects_to_nothing() -> None:
    """A store can be opened before its server is there: it is the first operation that needs it."""
    store = open_store("redis://127.0.0.1:1")
    assert (store.world, store.durability) == ("blocking", "server")
