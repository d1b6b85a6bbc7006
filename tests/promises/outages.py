"""What befalls a Valkey or Redis server, and how it is over again. Each is done to a real server, or to the way there.
Each lasts for 5 seconds at least, if nobody ends it: longer than the tests look on, though the machine may pause.

A server that is to be killed keeps what it holds (``appendonly``), so that nothing but the outage is seen.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from servers.process import free_port, until
from servers.proxy import Proxy
from servers.resp import Client, ServerError
from servers.valkey import Valkey

__all__ = ["OUTAGES", "Outage", "Way"]

_MANY = 12_000  # keys: loading them takes a while if the server is told to take its time


class Way(NamedTuple):
    """A server, and the proxy through which the store reaches it. `admin` was connected before anything went wrong."""

    server: Valkey
    proxy: Proxy
    admin: Client


class Outage(NamedTuple):
    """Something that goes wrong, and how it ends. `reads`: sessions can be read meanwhile."""

    name: str
    begin: Callable[[Way], None]
    end: Callable[[Way], None]
    reads: bool = False


def _kill_clients(way: Way) -> None:
    way.admin.do("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


def _stop(way: Way) -> None:
    way.server.stop()


def _kill(way: Way) -> None:
    way.server.kill()


def _start(way: Way) -> None:
    way.server.start()


def _load_slowly(way: Way) -> None:
    """Started again, it says LOADING for some seconds."""
    for at in range(0, _MANY, 2000):
        way.admin.do("MSET", *(word for key in range(at, at + 2000) for word in (f"filler:{key}", "x")))
    with suppress(ServerError):
        way.admin.do("CONFIG", "SET", "appendfsync", "always")
    for key in range(_MANY):  # one command each: that is what the loading counts
        way.admin.send("SET", f"filler:{key}", "y")
    for _ in range(_MANY):
        way.admin.receive()
    way.server.kill()
    config = way.server.folder / "server.conf"
    config.write_text(f"{config.read_text()}\nkey-load-delay 300\n")
    way.server.start(wait=False)
    until(lambda: _says_loading(way), "LOADING")


def _says_loading(way: Way) -> bool:
    with suppress(OSError), way.server.client() as client:
        try:
            client.do("PING")
        except ServerError as refusal:
            return str(refusal).startswith("LOADING")
    return False


def _fill(way: Way) -> None:
    way.admin.do("CONFIG", "SET", "maxmemory-policy", "noeviction")
    way.admin.do("CONFIG", "SET", "maxmemory", "1")


def _empty(way: Way) -> None:
    way.admin.do("CONFIG", "SET", "maxmemory", "0")


def _be_a_replica(way: Way) -> None:
    way.admin.do("REPLICAOF", "127.0.0.1", free_port())


def _be_a_cautious_replica(way: Way) -> None:
    way.admin.do("CONFIG", "SET", "replica-serve-stale-data", "no")
    _be_a_replica(way)


def _be_the_master(way: Way) -> None:
    way.admin.do("REPLICAOF", "NO", "ONE")


def _run_a_script_for_ever(way: Way) -> None:
    way.admin.do("CONFIG", "SET", "busy-reply-threshold", "1")
    with way.server.client() as stuck:
        stuck.send("EVAL", "while true do end", 0)
        until(lambda: _says_busy(way.admin), "BUSY")


def _says_busy(admin: Client) -> bool:
    try:
        admin.do("PING")
    except ServerError as refusal:
        return str(refusal).startswith("BUSY")
    return False


def _kill_the_script(way: Way) -> None:
    way.admin.do("SCRIPT", "KILL")
    until(lambda: not _says_busy(way.admin), "the end of the script")


def _take_no_clients(way: Way) -> None:
    way.admin.do("CONFIG", "SET", "maxclients", "1")
    _kill_clients(way)


def _ask_for_a_password(way: Way) -> None:
    way.admin.do("CONFIG", "SET", "requirepass", "another")
    _kill_clients(way)


OUTAGES = (
    Outage("killed", _kill, _start),
    Outage("stopped", _stop, _start),
    Outage("hung", lambda way: way.server.hang(), lambda way: way.server.go_on()),
    Outage("loading", _load_slowly, lambda way: way.server.wait()),
    Outage("paused", lambda way: way.admin.do("CLIENT", "PAUSE", 5000), lambda way: way.admin.do("PING")),
    Outage(
        "paused for writes",
        lambda way: way.admin.do("CLIENT", "PAUSE", 60_000, "WRITE"),
        lambda way: way.admin.do("CLIENT", "UNPAUSE"),
        reads=True,
    ),
    Outage("full", _fill, _empty, reads=True),
    Outage("a replica", _be_a_replica, _be_the_master, reads=True),
    Outage("a replica that lost its master", _be_a_cautious_replica, _be_the_master),
    Outage("busy with a script", _run_a_script_for_ever, _kill_the_script),
    Outage("too many clients", _take_no_clients, lambda way: way.admin.do("CONFIG", "SET", "maxclients", 1000)),
    Outage("another password", _ask_for_a_password, lambda way: way.admin.do("CONFIG", "SET", "requirepass", "")),
    Outage("far away", lambda way: way.proxy.delay(2.5), lambda way: way.proxy.pass_on()),
    Outage("held up", lambda way: way.proxy.hold(), lambda way: way.proxy.pass_on()),
    Outage("silent", lambda way: way.proxy.swallow(), lambda way: way.proxy.pass_on()),
    Outage("refusing", lambda way: way.proxy.refuse(), lambda way: way.proxy.pass_on()),
)
