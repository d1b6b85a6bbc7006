"""Litestar: a store, for its caches, its rate limits, and its own server-side sessions.

app = Litestar([...], stores={"rate_limit": SojournStore("sqlite:///limits.db")})
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from litestar.stores.base import NamespacedStore

from ...entries import Entries
from ...errors import ConfigurationError
from ...manager import AsyncSessionManager

if TYPE_CHECKING:
    from datetime import timedelta
    from types import TracebackType

__all__ = ["SojournStore"]


class SojournStore(NamespacedStore):
    """Litestar's `Store` over one of Sojourn's.

    Give it a store of its own, by a URL: in the store of your sessions, which a manager of yours would bring, its
    entries fill their lists and their history. A value is at most ``max_field_bytes`` long, else `TooLarge`. One that
    was opened by its URL is closed with the application. Any operation raises `StoreError` if the store fails."""

    __slots__ = ("_entries", "_manager", "_owned", "namespace")

    def __init__(self, store: str | AsyncSessionManager, *, namespace: str = "LITESTAR") -> None:
        self._owned = isinstance(store, str)
        self._manager = AsyncSessionManager(store) if isinstance(store, str) else store
        if not isinstance(self._manager, AsyncSessionManager):
            raise ConfigurationError(f"SojournStore needs a URL or an AsyncSessionManager, not {type(store).__name__}")
        self.namespace = _checked(namespace)
        self._entries = Entries(self._manager, (namespace,))

    def with_namespace(self, namespace: str) -> SojournStore:
        """A store in a namespace below this one: `delete_all` here empties it, too, and not the other way round."""
        below = object.__new__(SojournStore)
        below._owned = False
        below._manager = self._manager
        below.namespace = f"{self.namespace}_{_checked(namespace)}"
        below._entries = self._entries.below(namespace)
        return below

    async def set(self, key: str, value: str | bytes, expires_in: int | timedelta | None = None) -> None:
        """Keep a value; for so many seconds, if ``expires_in`` is given."""
        await self._entries.set(key, value.encode() if isinstance(value, str) else bytes(value), expires_in)

    async def get(self, key: str, renew_for: int | timedelta | None = None) -> bytes | None:
        """The value; None if there is none, or it has run out. ``renew_for`` gives one that is to run out so many
        seconds more, from now."""
        return await self._entries.get(key, renew_for)

    async def delete(self, key: str) -> None:
        """Delete a value. Nothing happens if there is none."""
        await self._entries.delete(key)

    async def delete_all(self) -> None:
        """Delete all values of this namespace and of those below it. The others stay, and so do sessions."""
        await self._entries.delete_all()

    async def delete_expired(self) -> None:
        """Remove what has run out, of whatever namespace. Writes do so by and by, too; nothing that has run out is ever
        served."""
        await self._manager.purge_expired()

    async def exists(self, key: str) -> bool:
        """Whether there is a value."""
        return await self._entries.left(key) is not None

    async def expires_in(self, key: str) -> int | None:
        """Whole seconds until a value runs out; -1 if it does not, None if there is none."""
        left = await self._entries.left(key)
        return None if left is None else int(left)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        if self._owned:
            await self._manager.close()


def _checked(namespace: str) -> str:
    if not namespace or not namespace.isprintable():
        raise ConfigurationError(f"the name of a namespace is printable text, not {namespace!r}")
    return namespace
