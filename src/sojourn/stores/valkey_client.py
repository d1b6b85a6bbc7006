"""A link over a client of the user's own: a ``redis.Redis`` or ``valkey.Valkey``, blocking or asynchronous, with
whatever its connections need (credentials that expire, an unusual TLS, Sentinels).

Of the client only its pool of connections is used: neither its retries, which would send a write twice without saying
so, nor what it makes of replies. It is not closed with the store. The one class serves both worlds: what a blocking
client returns at once, an asynchronous one is awaited for.

A blocking client must have a ``socket_timeout``, as that is what ends its waiting.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Sequence
from typing import Any, Final

from ..errors import ConfigurationError
from ..store import World
from .valkey_link import Address, NoReply, NotSent, Reply, ReplyError, pack

__all__ = ["ClientLink", "world_of"]

_WORDS: Final = {
    "NoScriptError": "NOSCRIPT",
    "ReadOnlyError": "READONLY",
    "BusyLoadingError": "LOADING",
    "OutOfMemoryError": "OOM",
    "NoPermissionError": "NOPERM",
    "AuthenticationError": "NOAUTH",
    "MasterDownError": "MASTERDOWN",
    "ClusterDownError": "CLUSTERDOWN",
    "TryAgainError": "TRYAGAIN",
    "MovedError": "MOVED",
    "AskError": "ASK",
}
"""The first words of errors, which the clients' libraries take away and say by a class."""


def world_of(client: Any) -> World:
    """Which callers a client serves. `ConfigurationError` for what can't be used."""
    pool = getattr(client, "connection_pool", None)
    if pool is None or not hasattr(pool, "get_connection"):
        raise ConfigurationError(
            f"a {type(client).__name__} has no pool of connections to use: hand in a redis.Redis or valkey.Valkey, or "
            "open a cluster by its URL"
        )
    if inspect.iscoroutinefunction(pool.get_connection):
        return "async"
    if pool.connection_kwargs.get("socket_timeout") is None:
        raise ConfigurationError("give the client a socket_timeout: without one, a server that hangs would hang it")
    return "blocking"


class ClientLink:
    """Exchanges over the connections of a client."""

    def __init__(self, client: Any) -> None:
        self._pool = client.connection_pool
        known = self._pool.connection_kwargs
        self.address = Address(
            str(known.get("host", "client")), int(known.get("port") or 0), str(known.get("path", ""))
        )
        self._asynchronous = world_of(client) == "async"
        wanted = inspect.signature(self._pool.get_connection).parameters.get("command_name")
        self._for = ("EVALSHA",) if wanted is not None and wanted.default is wanted.empty else ()  # older pools ask

    async def exchange(self, requests: Sequence[tuple[Any, ...]], until: float) -> list[Reply]:
        if not self._asynchronous:
            return await self._exchange(requests)
        try:
            async with asyncio.timeout(max(until - time.monotonic(), 0.0)):
                return await self._exchange(requests)
        except TimeoutError as error:
            raise NoReply(f"{self.address}: the server did not answer in time") from error

    async def _exchange(self, requests: Sequence[tuple[Any, ...]]) -> list[Reply]:
        try:
            connection = await _settled(self._pool.get_connection(*self._for))
        except Exception as error:  # of a library that is not ours, and that there are several of
            raise NotSent(f"{self.address}: {error}") from error
        whole = False
        try:
            await _settled(connection.send_packed_command([b"".join(map(pack, requests))], check_health=False))
            replies = [await _reply(connection) for _ in requests]
            whole = True
        except Exception as error:
            raise NoReply(f"{self.address}: {error}") from error
        finally:
            if not whole:
                await _settled(connection.disconnect(nowait=True) if self._asynchronous else connection.disconnect())
            await _settled(self._pool.release(connection))
        return replies

    def drop(self) -> None:
        """Nothing: the client's pool looks after its connections."""

    def close(self) -> None:
        """Nothing: the client is its owner's to close."""


async def _reply(connection: Any) -> Reply:
    """The next reply. An error that the server sent is a reply as well."""
    try:
        return await _settled(connection.read_response(disable_decoding=True, disconnect_on_error=False))
    except Exception as error:
        kinds = [kind.__name__ for kind in type(error).__mro__]
        word = next((_WORDS[name] for name in kinds if name in _WORDS), "")
        if not word and "ResponseError" not in kinds:
            raise
        return ReplyError(f"{word} {error}".strip())


async def _settled(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result
