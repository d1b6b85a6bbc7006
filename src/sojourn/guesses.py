"""A bound on guessing: how many ids of no session one address may show. Pure: time is an argument, in seconds that only
grow.

Guessing a secret of 256 random bits is hopeless; what this bounds is the work. Each id that turns out to be of no
session costs its address a point; points come back with time. An address that has none left is not looked up any more,
but for sessions that were seen alive here. Loopback and private addresses are taken for a proxy of one's own, behind
which everybody stands, and not counted.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from functools import lru_cache
from typing import Any, Final

__all__ = ["Guesses"]

_SOURCES: Final = 10_000  # addresses that are remembered; the one that was quiet the longest is forgotten
_ALIVE: Final = 10_000  # sessions that were seen alive, likewise


class Guesses:
    """Who guessed how much. Each call is short and safe between threads: a lost count costs nothing."""

    def __init__(self, per_second: float | None) -> None:
        self._per_second = per_second
        self._sources: OrderedDict[str, tuple[float, float, bool]] = OrderedDict()
        """Points spent, when that was so, and whether the address had come to its bound and not half-way back since."""
        self._alive: OrderedDict[str, None] = OrderedDict()

    def allow(self, client: str, handle: str, now: float) -> bool:
        """Whether this address may have this id looked up."""
        if self._per_second is None or not self._sources or handle in self._alive:
            return True
        return self._spent(_source(client), now) < 2 * self._per_second

    def missed(self, client: str, now: float) -> bool:
        """An id was of no session. Whether the address has just come to its bound; of one that stays there, guessing
        as fast as it may, that is said once."""
        source = _source(client)
        if self._per_second is None or not source:
            return False
        spent = self._spent(source, now) + 1
        said = self._sources.get(source, (0.0, now, False))[2] and spent - 1 > self._per_second
        is_there = spent >= 2 * self._per_second
        self._sources[source] = (spent, now, said or is_there)
        _bound(self._sources, source, _SOURCES)
        return is_there and not said

    def alive(self, client: str, handle: str) -> None:
        """A session was seen alive. Noted only while its address is one that guesses."""
        if self._sources and _source(client) in self._sources:
            self._alive[handle] = None
            _bound(self._alive, handle, _ALIVE)

    def _spent(self, source: str, now: float) -> float:
        spent, at, _ = self._sources.get(source, (0.0, now, False))
        return max(0.0, spent - (now - at) * (self._per_second or 0.0))


def _bound(kept: OrderedDict[str, Any], newest: str, most: int) -> None:
    try:
        kept.move_to_end(newest)
        if len(kept) > most:
            kept.popitem(last=False)
    except KeyError:  # another thread was first
        pass


@lru_cache(maxsize=4096)
def _source(client: str) -> str:
    """Who is counted together: a public address, of IPv6 the 64 bits that one household has. Empty: nobody."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return ""
    if not address.is_global:
        return ""
    return str(address) if address.version == 4 else address.exploded[:19]
