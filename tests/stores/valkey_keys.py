"""A store on a Valkey or Redis server, and the keys that it has there, for tests that look at both."""

from __future__ import annotations

from typing import Any, NamedTuple

from servers.valkey import Valkey
from sojourn.record import Record

__all__ = ["Keys"]


class Keys(NamedTuple):
    """A store that goes by the caller's clock, for blocking callers; its server, and its prefix there."""

    store: Any
    server: Valkey
    prefix: str

    def key(self, name: str) -> str:
        return f"{self.prefix}{{0}}:{name}"

    def left(self, record: Record) -> float:
        """Seconds until the server removes a record by itself."""
        return int(self.server.do("PTTL", self.key(record.handle))) / 1000
