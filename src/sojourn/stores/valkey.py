"""The Valkey or Redis store: many machines, and the fastest of those that serve many.

What it promises of an acknowledged write: what the server is set to promise (``server``); or ``replicated``: so many
replicas have it as well, else the outcome is `OutcomeUnknown`.

A load is two plain commands and a commit is one script, each in one round trip. What is written in one step lies in one
slot, so a cluster serves as well as one server. `valkey_space` has the keys, `valkey_blob` the form of a record,
`valkey_scripts` the scripts, `valkey_servers` the way to the right server, `valkey_blocking` and `valkey_async` the
connections. Needs Valkey, or Redis 7.
"""

from __future__ import annotations

import heapq
import logging
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final
from urllib.parse import SplitResult

from ..config import SessionConfig
from ..errors import DamagedRecord, OutcomeUnknown, StoreError
from ..facts import created
from ..policy import guard, is_over
from ..record import Cap, Change, Committed, Conflict, EndReason, Gone, Leased, Outcome, Record, Refused, Summary
from ..store import HISTORY, NO_CAP, Durability, Feed, Stats, World
from ..waiting import TaskWaiting, ThreadWaiting, Waiting
from .readiness import readiness
from .valkey_async import TaskLink
from .valkey_blob import Large, seal, unseal
from .valkey_blocking import ThreadLink
from .valkey_client import ClientLink, world_of
from .valkey_deadlines import ROOM, Deadlines, second_of
from .valkey_facts import pack_fact
from .valkey_feed import LookingFeed, ValkeyFeed, manner_of
from .valkey_hints import pack_hint
from .valkey_history import History
from .valkey_link import Login
from .valkey_servers import Cluster, Links, Nature, One, Request, Sentinels, Servers, Topology
from .valkey_space import SCRIPTS, Shard, Space, parts, plain, read
from .valkey_url import place_of
from .valkey_users import Joined, Users

__all__ = ["ValkeyStore"]

log = logging.getLogger("sojourn")

_PAGE: Final = 200  # records in one step of a walk, which are read in one round trip
_MOST_EVICTED: Final = 1000  # by one creation at the cap of the store


class ValkeyStore:
    """Records on Valkey or Redis servers. Opened by `sojourn.open_store`, or by `over` with a client of your own."""

    def __init__(
        self,
        space: Space,
        *,
        world: World,
        durability: Durability,
        feed: Callable[[Waiting], ValkeyFeed] | None = None,
    ) -> None:
        self.world: World = world
        self.durability: Durability = durability
        self._space = space
        self._deadlines = Deadlines(space)
        self._users = Users(space, self._deadlines)
        self._history = History(space)
        self._feed = feed
        self._feeds: weakref.WeakSet[Feed] = weakref.WeakSet()
        self._large = Large()

    @classmethod
    def over(cls, client: Any, *, prefix: str = "sojourn", deadline: float = 1.0, replicas: int = 0) -> ValkeyStore:
        """A store over a client of your own, blocking or asynchronous, of one server or with Sentinels
        (`sojourn.stores.valkey_client` says what is used of it). ``replicas`` must acknowledge each write; 0: none. Its
        feed listens to nothing: it says four times a second that one should look at everything. Raises
        `ConfigurationError` for a client that can't be used."""
        world, link = world_of(client), ClientLink(client)
        servers = Servers(One(link.address), Links(lambda _: link), SCRIPTS, _sleep(world))
        database = int(client.connection_pool.connection_kwargs.get("db") or 0)
        space = Space(servers, prefix=prefix, deadline=deadline, replicas=replicas, database=database)
        return cls(space, world=world, durability="replicated" if replicas else "server")

    async def load(self, handle: str) -> Record | None:
        space = self._space
        shard = space.shard_of(handle)
        epoch, blob = await space.ask(
            read(shard.slot, "GET", shard.epoch), read(shard.slot, "GET", shard.root + handle)
        )
        return await self._found(shard, handle, epoch, blob)

    async def create(self, record: Record, now: float, cap: Cap = NO_CAP) -> Committed | Refused:
        space = self._space
        shard = space.shard_of(record.handle)
        fact = created(record, now)
        request = self._creation(shard, record, fact, now)
        joined = Joined(None)
        if record.user_id is None:
            (joined.reply,) = await space.write(request)
        else:
            found = await self._users.join(record, request, now, cap)
            if found is None:
                return Refused()
            joined = found
        made, epoch = parts(record.handle, joined.reply, 2)
        space.learn(shard, epoch)
        if made != 1:
            known, of = unseal(record.handle, made)
            if not known.knows(record.version) and of != await space.epoch(shard, epoch):
                # It ended with all others, and is not removed yet: this one takes its place.
                gone = await self._users.end([record.handle], "revoked", now, only_dead=True)
                again = await self.create(record, now, cap)
                return again if isinstance(again, Refused) else Committed(again.record, (*gone, *again.facts))
            await space.confirm(shard)  # an earlier attempt of the same creation made it, and may not have waited
            return Committed(known)
        room = () if cap.total is None else await self._make_room(cap.total, record.handle, now)
        return Committed(record, (*joined.evicted, fact, *joined.ended, *room))

    async def commit(
        self,
        base: Record,
        wanted: Record,
        now: float,
        *,
        fence: int = 0,
        facts: tuple[Change, ...] = (),
        fields: tuple[str, ...] = (),
        cap: Cap = NO_CAP,
    ) -> Outcome:
        hint = pack_hint(wanted.user_id, wanted.version, fields, bool(facts))
        joined = await self._replace(base, wanted, now, fence, facts, hint, cap)
        if joined is None:
            return Refused()
        if joined.reply == 1:
            return Committed(wanted, (*joined.evicted, *facts, *joined.ended))
        return await self._refusal(base, wanted, fence, joined)

    async def touch(self, handle: str, generation: int, at: float, now: float) -> bool:
        space = self._space
        shard = space.shard_of(handle)
        keys = (shard.record(handle), shard.epoch)
        (reply,) = await space.write(
            space.script("touch", shard.slot, keys, space.clock(now), generation, repr(at), ROOM)
        )
        if plain(handle, reply) == -1:
            raise DamagedRecord(handle, "the check of its head fails")
        return bool(reply)

    async def lease(
        self, handle: str, generation: int, hold: float, now: float, *, name: str = "", patience: float = 0.0
    ) -> Committed | Leased | Gone:
        space = self._space
        shard = space.shard_of(handle)
        keys = (shard.record(handle), shard.epoch, shard.line(handle))
        values = (space.clock(now), generation, repr(hold), name, repr(patience))
        nature: Nature = "repeatable" if name else "once"
        (reply,) = await space.write(space.script("lease", shard.slot, keys, *values, nature=nature))
        answer, *blob = plain(handle, reply)
        if answer == b"damaged":
            raise DamagedRecord(handle, "the check of its head fails")
        if answer == b"gone":
            return Gone()
        record, _ = unseal(handle, blob[0])
        if answer == b"held":
            return Leased(record)
        if answer == b"kept":  # an earlier attempt took it, and may not have waited for the replicas
            await space.confirm(shard)
        return Committed(record)

    async def end(self, handles: Sequence[str], reason: EndReason, now: float) -> tuple[Change, ...]:
        return await self._users.end(handles, reason, now)

    async def end_matching(
        self,
        now: float,
        *,
        user_id: str | None = None,
        idle_since: float | None = None,
        keep: str | None = None,
        reason: EndReason = "revoked",
    ) -> tuple[Change, ...]:
        if user_id is not None:
            mine = [handle for handle in await self._users.muster(user_id) if handle != keep]
            return await self._users.end(mine, reason, now, user_id=user_id, idle_since=idle_since)
        at_once = idle_since is None and reason == "revoked"
        if at_once:
            await self._space.begin_anew(keep)
        told: tuple[Change, ...] = ()
        try:
            async for handles in self._deadlines.walk():
                leaving = [handle for handle in handles if handle != keep]
                told += await self._users.end(leaving, reason, now, only_dead=at_once, idle_since=idle_since)
        except StoreError as error:
            if not at_once:
                raise
            log.warning("all sessions have ended; not all records could be removed, a sweep will: %s", error)
        return told

    async def summaries(
        self, now: float, *, user_id: str | None = None, after: str = "", limit: int = 1000
    ) -> list[Summary]:
        if user_id is not None:
            handles = set(await self._users.handles(user_id))
        else:
            handles = {handle async for bucket in self._deadlines.walk() for handle in bucket}
        later = [handle for handle in handles if handle > after]
        heapq.heapify(later)
        found: list[Summary] = []
        while later and len(found) < limit:
            page = [heapq.heappop(later) for _ in range(min(len(later), max(limit - len(found), 1)))]
            records = await self._space.records(page)
            for handle in page:
                record = records.get(handle)
                if record is not None and not is_over(record, now) and user_id in (None, record.user_id):
                    found.append(Summary.of(record))
        return found

    async def load_many(self, handles: Sequence[str]) -> dict[str, Record]:
        return await self._space.records(handles)

    async def walk(self) -> AsyncIterator[list[Record]]:
        ahead: list[str] = []
        async for handles in self._deadlines.walk():
            ahead += handles
            whole = len(ahead) - len(ahead) % _PAGE
            for at in range(0, whole, _PAGE):
                yield list((await self._space.records(ahead[at : at + _PAGE])).values())
            del ahead[:whole]
        if ahead:
            yield list((await self._space.records(ahead)).values())

    async def purge_expired(self, now: float, limit: int) -> tuple[Change, ...]:
        await self._space.look_at_policy()
        await self._history.trim(now)  # first, so that no failure of it takes away what is told below
        return await self._bury(now, limit)

    async def changes(self, since: int, limit: int) -> tuple[int, list[Change]]:
        return await self._history.changes(since, limit)

    async def position(self) -> int:
        return await self._history.position()

    async def bookmark(
        self, reader: str, holder: str, now: float, *, hold: float, position: int | None = None
    ) -> int | None:
        return await self._history.bookmark(reader, holder, now, hold, position)

    def feed(self, waiting: Waiting) -> Feed:
        feed = LookingFeed(waiting, self._count) if self._feed is None else self._feed(waiting)
        self._feeds.add(feed)
        return feed

    async def stats(self) -> Stats:
        return Stats(sessions=await self._count(), bytes=None, durability=self.durability)

    async def close(self) -> None:
        self._space.close()
        for feed in list(self._feeds):
            await feed.close()

    # --- Parts --------------------------------------------------------------------------------------------------------

    async def _replace(
        self, base: Record, wanted: Record, now: float, fence: int, facts: tuple[Change, ...], hint: bytes, cap: Cap
    ) -> Joined | None:
        """Ask for the compare-and-set, and make the session its user's where that changes. None: the user is at the
        cap, and the rule is to refuse."""
        space, handle = self._space, wanted.handle
        shard = space.shard_of(handle)
        keys: tuple[str, ...] = (shard.root + handle, shard.epoch, shard.log)
        second: Any = ""
        if wanted.expires_at < base.expires_at:
            second = second_of(wanted.expires_at, now)
            keys = (*keys, shard.due, shard.bucket(second))
        blob = seal(wanted)
        moment, of_base, head = space.clock(now), (base.version, base.generation, fence), _head(wanted)

        def request(blob: bytes, patch: Sequence[Any]) -> Request:
            values = (
                moment,
                *of_base,
                blob,
                *head,
                ROOM,
                second,
                HISTORY,
                space.news + handle,
                hint,
                len(patch),
                *patch,
            )
            return space.script("commit", shard.slot, keys, *values, *map(pack_fact, facts))

        joined: Joined | None
        if wanted.user_id is None or (wanted.user_id, wanted.authenticated_at) == (base.user_id, base.authenticated_at):
            patch = self._large.patch(base, blob)
            replies = await space.write(request(b"" if patch else blob, patch))
            if replies[0] == 0:  # another version of Sojourn wrote the same in another way
                replies = await space.write(request(blob, ()))
            joined = Joined(replies[0], replies.again)
        else:
            held_to = cap if wanted.user_id != base.user_id else NO_CAP
            joined = await self._users.join(wanted, request(blob, ()), now, held_to)
            left = base.user_id is not None and base.user_id != wanted.user_id
            if left and cap.per_user is not None and joined is not None and joined.reply == 1:
                await self._users.depart(base)
        if joined is not None and joined.reply == 1:
            self._large.keep(handle, blob)
        return joined

    async def _refusal(self, base: Record, wanted: Record, fence: int, joined: Joined) -> Outcome:
        """Why the compare-and-set did not pass: the guard's answer on the record as it is."""
        space, handle = self._space, wanted.handle
        shard = space.shard_of(handle)
        blob, epoch, moment = parts(handle, joined.reply, 3)
        current = await self._found(shard, handle, epoch, blob)
        answer = guard(current, base, wanted, float(moment), fence)
        if answer is None:
            raise DamagedRecord(handle, "its head and its body disagree")
        if joined.again and isinstance(answer, (Conflict, Leased)) and not answer.record.knows(base.version):
            lost = "the reply to a commit did not come, and so many commits later it can't be known if it was made"
            raise OutcomeUnknown(lost, final=True)
        if isinstance(answer, Committed):
            await space.confirm(shard)  # an earlier attempt made it, and may not have waited for the replicas
        return answer

    async def _found(self, shard: Shard, handle: str, epoch: Any, blob: Any) -> Record | None:
        """The record that was found, if it is of this epoch."""
        number = await self._space.epoch(shard, plain(handle, epoch))
        if plain(handle, blob) is None:
            return None
        record, of = unseal(handle, blob)
        self._large.keep(handle, blob)
        return record if of == number else None

    def _creation(self, shard: Shard, record: Record, fact: Change, now: float) -> Request:
        """The request that adds a record."""
        space, second = self._space, second_of(record.expires_at, now)
        keys = (shard.record(record.handle), shard.epoch, shard.log, shard.count, shard.due, shard.bucket(second))
        said = (space.news + record.handle, pack_hint(record.user_id, None, None, True))
        values = (space.clock(now), seal(record), *_head(record), ROOM, second, space.name, HISTORY, *said)
        return space.script("create", shard.slot, keys, *values, pack_fact(fact))

    async def _count(self) -> int:
        space = self._space
        requests = [read(shard.slot, "GET", shard.count) for shard in space.shards]
        return sum(max(int(plain("", reply) or 0), 0) for reply in await space.ask(*requests))

    async def _bury(self, now: float, limit: int) -> tuple[Change, ...]:
        """End up to so many of the dead."""
        told = await self._deadlines.purge(now, limit)
        await self._users.forget_ended(told)
        return told

    async def _make_room(self, total: int, handle: str, now: float) -> tuple[Change, ...]:
        """End what must leave, now that there is one more session: the dead first, then those whose deadlines come
        first, which are the least recently used among sessions of the same timeouts."""
        excess = await self._count() - total
        if excess <= 0:
            return ()
        told = await self._bury(now, excess)
        excess = min(excess - len(told), _MOST_EVICTED)
        if excess > 0:
            told += await self._users.end(await self._deadlines.least_used(excess, now, handle), "evicted", now)
        return told


def _head(record: Record) -> tuple[str, str, int, str, str]:
    """What a script is told of a record's head."""
    idle_for, ends_at = repr(record.idle_for), repr(record.ends_at)
    return repr(record.accessed_at), repr(record.leased_until), record.fence, idle_for, ends_at


def open_url(url: SplitResult, options: dict[str, str], config: SessionConfig, world: World) -> ValkeyStore:
    """A store by its URL and options, which `sojourn.stores.valkey_url` lists. Nothing is connected yet: servers may
    come later than those who use them."""
    place = place_of(url, options, config)

    def links(login: Login, check_primary: bool) -> Links:
        if world == "async":
            return Links(lambda address: TaskLink(address, login, check_primary=check_primary))
        return Links(lambda address: ThreadLink(address, login, most=place.connections, check_primary=check_primary))

    servers = links(place.login, place.kind == "sentinel")
    topology: Topology
    if place.kind == "sentinel":
        topology = Sentinels(place.addresses, links(Login(tls=place.login.tls), False), place.service)
    elif place.kind == "cluster":
        topology = Cluster(place.addresses, servers)
    else:
        topology = One(place.addresses[0])
    found = Servers(topology, servers, SCRIPTS, _sleep(world))
    space = Space(
        found,
        prefix=place.prefix,
        shards=place.shards,
        deadline=place.deadline,
        replicas=place.replicas,
        own_clock=place.own_clock,
        database=place.login.database,
    )
    manner, ready = manner_of(place.kind, place.login, space.shards[0].epoch), readiness(world)
    return ValkeyStore(
        space,
        world=world,
        durability=place.durability,
        feed=lambda waiting: ValkeyFeed(found, waiting, ready, manner, space.news, place.deadline),
    )


def _sleep(world: World) -> Callable[[float], Awaitable[None]]:
    return TaskWaiting().sleep if world == "async" else ThreadWaiting().sleep
