"""The keys of a store in Valkey or Redis, and how they are reached.

A *shard* is a hash tag. All that belongs to a session lies in its shard, so that one script can change it in one step:

    PREFIX{TAG}:HANDLE       the record (valkey_blob.py)
    PREFIX{TAG}:epoch        a number: records of an older one are dead; and the name of this life of the store
    PREFIX{TAG}:log          a stream of facts
    PREFIX{TAG}:count        how many records there are
    PREFIX{TAG}:due          the seconds that have a bucket (valkey_deadlines.py)
    PREFIX{TAG}:due:SECOND   a bucket: handles whose deadline is to be looked at then
    PREFIX{TAG}:line:HANDLE  who holds its lease by name, and who waits for it, for as long as that may be
    PREFIX{TAG}:user:USER    the sessions of a user (valkey_users.py); a user's shard is not that of the sessions
    PREFIX{TAG}:reader:NAME  up to where a reader has read the facts, and who holds it (valkey_history.py)
    PREFIX:news:HANDLE       no key, but the channel of a session (valkey_hints.py): PREFIX{DATABASE}:news:HANDLE for
                             another database than 0

On a server of its own there is one shard, and in a cluster there are many, spread evenly over the slots.

The name of this life is random. A process that finds another one than it knew, or none, knows that the server lost
what it held: it says so once, in the log and to the request that found it, and goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Coroutine, Sequence
from os import urandom
from typing import Any, Final
from zlib import crc32

from msgspec import Struct

from ..errors import DamagedRecord, OutcomeUnknown, StoreUnavailable
from ..record import Record
from .statements import read_scripts
from .valkey_blob import unseal
from .valkey_hints import news_of
from .valkey_link import Reply, ReplyError
from .valkey_servers import SLOTS, Nature, Replies, Request, Servers, slot_of

__all__ = ["SCRIPTS", "Shard", "Space", "parts", "plain", "read"]

log = logging.getLogger("sojourn")

SCRIPTS: Final = read_scripts("valkey_scripts")
_STEP: Final = 200  # records in one request
_RESERVE: Final = 0.12  # seconds of the deadline that are left for the reply to a WAIT: an idle server is late by 0.1


class Shard(Struct, frozen=True):
    """A hash tag, its slot, and the keys that there are once a shard."""

    number: int
    slot: int
    root: str
    epoch: str
    log: str
    count: str
    due: str

    def record(self, handle: str) -> str:
        """The key of a record."""
        return self.root + handle

    def line(self, handle: str) -> str:
        """The key of the line for the lease of a session."""
        return f"{self.root}line:{handle}"

    def bucket(self, second: int) -> str:
        """The key of a bucket of deadlines."""
        return f"{self.due}:{second}"


class Space:
    """Where records lie on the servers of a store."""

    def __init__(
        self,
        servers: Servers,
        *,
        prefix: str = "sojourn",
        shards: int = 1,
        deadline: float = 1.0,
        replicas: int = 0,
        own_clock: bool = True,
        database: int = 0,
    ) -> None:
        self._servers = servers
        self._prefix = prefix
        self._deadline = deadline
        self._replicas = replicas
        self._own_clock = own_clock
        self._closed = self._looked = False
        self._lives: dict[int, bytes] = {}
        self.shards = tuple(_shard(prefix, number, tag) for number, tag in enumerate(_tags(prefix, shards)))
        self.name = urandom(8)
        """Of the life that begins if this store is the first to write."""
        self.news = news_of(prefix, database)
        """What the names of its channels begin with."""

    # --- Where --------------------------------------------------------------------------------------------------------

    def shard_of(self, handle: str) -> Shard:
        """The shard of a session."""
        shards = self.shards
        return shards[0] if len(shards) == 1 else shards[crc32(handle.encode()) % len(shards)]

    def by_shard(self, handles: Sequence[str]) -> list[tuple[Shard, list[str]]]:
        """Handles by their shards."""
        if len(self.shards) == 1:
            return [(self.shards[0], list(handles))]
        found: dict[int, list[str]] = {}
        for handle in handles:
            found.setdefault(self.shard_of(handle).number, []).append(handle)
        return [(self.shards[number], members) for number, members in sorted(found.items())]

    def user_key(self, user_id: str) -> tuple[str, int]:
        """The key of a user's sessions, and its slot."""
        return self.named_key("user", user_id)

    def named_key(self, kind: str, name: str) -> tuple[str, int]:
        """The key of what is found by a name, and its slot."""
        shard = self.shards[crc32(name.encode()) % len(self.shards)]
        return f"{shard.root}{kind}:{name}", shard.slot

    # --- Asking -------------------------------------------------------------------------------------------------------

    def clock(self, now: float) -> str:
        """What scripts are told of the time: nothing, as the server's own clock counts, unless tests set it."""
        return "" if self._own_clock else repr(now)

    def script(self, name: str, slot: int, keys: Sequence[str], *values: Any, nature: Nature = "repeatable") -> Request:
        """The request that runs a script."""
        return Request(("EVALSHA", SCRIPTS[name].digest, len(keys), *keys, *values), slot, nature)

    def ask(self, *requests: Request) -> Coroutine[Any, Any, Replies]:
        """The replies, within the deadline."""
        if self._closed:
            raise StoreUnavailable("the store was closed")
        return self._servers.ask(requests, time.monotonic() + self._deadline)

    def write(self, *requests: Request) -> Coroutine[Any, Any, Replies]:
        """As `ask`, and acknowledged by so many replicas as the store promises."""
        return self._replicated(*requests) if self._replicas else self.ask(*requests)

    async def _replicated(self, *requests: Request) -> Replies:
        if self._closed:
            raise StoreUnavailable("the store was closed")
        slot = requests[-1].slot
        patience = max(int((self._deadline - _RESERVE) * 1000), 1)
        wait = Request(("WAIT", self._replicas, patience), slot, "repeatable")
        replies = await self._servers.ask((*requests, wait), time.monotonic() + self._deadline, apart=True)
        acknowledged = replies.pop()
        if not isinstance(acknowledged, int) or acknowledged < self._replicas:
            raise OutcomeUnknown(
                f"the primary has the write, and {acknowledged} of {self._replicas} replicas acknowledged it in time: "
                "it may be lost if the primary is",
                final=True,
            )
        return replies

    async def confirm(self, shard: Shard) -> None:
        """Have the replicas acknowledge what was written earlier, by whomever: a write that changes nothing, and a wait
        for it."""
        if self._replicas:
            await self.write(Request(("INCRBY", shard.count, 0), shard.slot, "repeatable"))

    async def records(self, handles: Sequence[str]) -> dict[str, Record]:
        """The records of those of these sessions that there are, and that nothing ended at once with all others. One
        that fails its check is left out, so that it does not hide the others, and logged."""
        found: dict[str, Record] = {}
        for at in range(0, len(handles), _STEP):
            step = self.by_shard(handles[at : at + _STEP])
            requests = [
                read(shard.slot, "GET", key)
                for shard, members in step
                for key in (shard.epoch, *map(shard.record, members))
            ]
            replies = iter(await self.ask(*requests))
            for shard, members in step:
                now = await self.epoch(shard, plain(shard.root, next(replies)))
                for handle, blob in zip(members, replies, strict=False):  # those of the next shard come after
                    try:
                        if plain(handle, blob) is not None and (whole := unseal(handle, blob))[1] == now:
                            found[handle] = whole[0]
                    except DamagedRecord as error:
                        log.error("%s", error)  # noqa: TRY400 - the traceback would say nothing more
        return found

    async def begin_anew(self, keep: str | None) -> None:
        """Make all sessions dead but one."""
        kept = None if keep is None else self.shard_of(keep)
        requests = []
        for shard in self.shards:
            spared = () if shard is not kept or keep is None else (shard.record(keep),)
            keys = (shard.epoch, *spared)
            requests.append(self.script("end_all", shard.slot, keys, self.name, self.news, nature="once"))
        for shard, reply in zip(self.shards, await self.ask(*requests), strict=True):
            plain(shard.epoch, reply)
            await self.confirm(shard)

    async def look_at_policy(self) -> None:
        """Warn, once, if the server is set to evict what it holds when it is full: sessions would vanish."""
        if self._looked:
            return
        self._looked = True
        try:
            (found,) = await self.ask(read(self.shards[0].slot, "INFO", "memory"))
        except StoreUnavailable as error:  # a user who may not ask, for one
            log.debug("whether the server evicts sessions can't be found out: %s", error)
            return
        if isinstance(found, bytes):
            facts = dict(line.split(":", 1) for line in found.decode().splitlines() if ":" in line)
            policy = facts.get("maxmemory_policy", "noeviction")
            if policy != "noeviction" and facts.get("maxmemory") != "0":
                log.warning("the server evicts sessions when it is full (%s): set maxmemory-policy noeviction", policy)

    def close(self) -> None:
        """Close all connections. Any other use afterwards raises `StoreUnavailable`."""
        self._closed = True
        self._servers.close()

    # --- What replies mean --------------------------------------------------------------------------------------------

    async def epoch(self, shard: Shard, found: Reply) -> int | None:
        """The number in an epoch key; None where nothing was ever written. Raises `StoreUnavailable` when the server
        has lost what it held since this process last looked."""
        if self._life(found) != self._lives.get(shard.number):
            await self._recognise(shard, self._life(found))
        return int.from_bytes(found[:4], "big") if isinstance(found, bytes) else None

    async def _recognise(self, shard: Shard, life: bytes) -> None:
        """The store is in another life than this process knew."""
        known = self._lives.get(shard.number)
        if known is not None and life != known:
            (found,) = await self.ask(read(shard.slot, "GET", shard.epoch))
            life = self._life(plain(shard.root, found))
            if life == known:
                return  # the reply was from before the life that somebody has learned of meanwhile
        if self._learn(shard, life):
            raise StoreUnavailable("the server lost the sessions it held: this was noticed now, and is in the log")

    def learn(self, shard: Shard, found: Reply) -> None:
        """A write has met this life of the store: it was made, whatever was there before."""
        if self._life(found) != self._lives.get(shard.number):
            self._learn(shard, self._life(found))

    def _learn(self, shard: Shard, life: bytes) -> bool:
        """Remember a life. Returns whether another one ended with it."""
        known = self._lives.pop(shard.number, None)
        if life:
            self._lives[shard.number] = life
        if known is not None:
            log.error("the server of the sessions in %s lost what it held: they are gone", shard.root)
        return known is not None

    @staticmethod
    def _life(found: Reply) -> bytes:
        return found[4:] if isinstance(found, bytes) else b""


def read(slot: int, *arguments: Any) -> Request:
    """A request that changes nothing."""
    return Request(arguments, slot, "reads")


def parts(handle: str, reply: Reply, count: int) -> list[Any]:
    """The parts of a reply that has so many. `StoreUnavailable` if it is anything else: that is not our script."""
    if not isinstance(plain(handle, reply), list) or len(reply) != count:
        raise StoreUnavailable("what answers there is no Valkey or Redis server")
    return list(reply)


def plain(handle: str, reply: Reply) -> Reply:
    """The reply, if it is no error. `DamagedRecord` if what lies under the key of this record is no record at all."""
    if isinstance(reply, ReplyError):
        if "WRONGTYPE" in str(reply):
            raise DamagedRecord(handle, "something else lies under its key")
        raise StoreUnavailable(f"the server refused: {reply}")
    return reply


def _shard(prefix: str, number: int, tag: str) -> Shard:
    root = f"{prefix}{{{tag}}}:"
    return Shard(number, slot_of(tag), root, f"{root}epoch", f"{root}log", f"{root}count", f"{root}due")


def _tags(prefix: str, count: int) -> list[str]:
    """Hash tags whose slots are spread evenly, the same for everybody who opens the store."""
    if count == 1:
        return ["0"]
    tags: dict[int, str] = {}
    for number in range(SLOTS * 100):
        tags.setdefault(slot_of(str(number)) * count // SLOTS, str(number))
        if len(tags) == count:
            break
    return [tags[part] for part in sorted(tags)]
