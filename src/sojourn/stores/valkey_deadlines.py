"""Deadlines in Valkey or Redis: which sessions are to be looked at when.

A handle lies in the bucket of a second that is not later than its session's deadline, and at most a day away. When that
second has passed, the cleaner looks at the session: if it is over, it ends; if it lived on (activity has moved its
deadline, which costs the buckets nothing), its handle goes to the bucket where it belongs now; if it has ended
meanwhile, the handle is dropped. So a sweep costs in proportion to what died, and one look at each living session per
idle timeout; and since buckets are lists, an entry takes a few bytes more than the handle itself.

The buckets name every session, so they serve as well to walk over all.
"""

from __future__ import annotations

import struct
from collections.abc import AsyncIterator, Sequence
from math import ceil, inf
from typing import Final

from ..facts import ended
from ..record import Change, EndReason
from ..store import HISTORY
from .valkey_blob import HEAD
from .valkey_servers import Request
from .valkey_space import Shard, Space, plain, read

__all__ = ["ROOM", "Deadlines", "second_of"]

ROOM: Final = 86_400
"""Seconds after a session's end for which its record is kept, should no cleaner come."""

_FARTHEST: Final = 86_400  # seconds until a session is looked at again, at most
_STEP: Final = 500  # sessions in one request
_BUCKETS: Final = 100  # buckets in one request, at most
_FIRST_BUCKETS: Final = 16  # and in the first of a walk
_PART: Final = 1000  # handles of a bucket in one request of a walk
_OVERLAP: Final = 4  # handles that two parts of a bucket share, to tell whether places have moved
_SHARDS: Final = 8  # shards that a walk reads together
_ROUNDS: Final = 10  # in which a walk goes after what moves on before it
_head = struct.Struct(">dd24xdd")


def second_of(deadline: float, now: float) -> int:
    """The bucket of a deadline."""
    return ceil(min(deadline, now + _FARTHEST))


class Deadlines:
    """The buckets of all shards."""

    def __init__(self, space: Space) -> None:
        self._space = space

    async def finish(
        self,
        handles: Sequence[str],
        reason: EndReason,
        now: float,
        *,
        only_dead: bool = False,
        user_id: str | None = None,
        idle_since: float | None = None,
        living: dict[str, float] | None = None,
    ) -> tuple[Change, ...]:
        """End those of these sessions that match: their facts. ``living`` is told the deadlines of the others."""
        space, told = self._space, []
        matching = ("1" if only_dead else "", user_id or "", "" if user_id is None else "1")
        since = "" if idle_since is None else repr(idle_since)
        for shard, members in space.by_shard(handles):
            for at in range(0, len(members), _STEP):
                step = list(dict.fromkeys(members[at : at + _STEP]))
                keys = (shard.epoch, shard.log, shard.count, *map(shard.record, step))
                values = (space.clock(now), reason, HISTORY, *matching, since, space.news)
                request = space.script("finish", shard.slot, keys, *values)
                (answers,) = await space.write(request)
                for handle, answer in zip(step, plain(step[0], answers), strict=True):
                    if isinstance(answer, list):
                        user, why, moment = answer
                        owner = None if user is None else user.decode()
                        told.append(ended(handle, owner, why.decode(), float(moment)))
                    elif answer is not None and living is not None:
                        living[handle] = float(answer)
        return tuple(told)

    async def purge(self, now: float, limit: int) -> tuple[Change, ...]:
        """End up to so many of the dead."""
        told: tuple[Change, ...] = ()
        for shard, first in await self._due(now, self._space.shards):
            second: int | None = first
            while second is not None and len(told) < limit:
                handles = (await self._entries([(shard, second)], limit - len(told)))[0]
                living: dict[str, float] = {}
                told += await self.finish(handles, "expired", now, only_dead=True, living=living)
                later = {handle: at for handle, end in living.items() if (at := second_of(end, now)) > second}
                await self._rebook(shard, second, [one for one in handles if one not in living or one in later], later)
                if second < now - ROOM:
                    await self._recount(shard)  # the server has collected some by itself, and did not count
                if len(later) < len(living):
                    break  # the server's clock says that it is too early
                second = dict(await self._due(now, [shard])).get(shard)
        return told

    async def walk(self, shards: Sequence[Shard] = ()) -> AsyncIterator[list[str]]:
        """The handles of all sessions (of these shards, or of all), a part at a time: also of some that have ended, and
        some more than once. The first part comes as soon, however many there are."""
        shards = shards or self._space.shards
        for at in range(0, len(shards), _SHARDS):
            async for handles in self._walk(shards[at : at + _SHARDS]):
                yield handles

    async def _walk(self, shards: Sequence[Shard]) -> AsyncIterator[list[str]]:
        left = await self._buckets(shards)
        known: set[tuple[Shard, int]] = set()
        rounds, width = 0, _FIRST_BUCKETS
        while left and rounds < _ROUNDS:
            width = min(width, _BUCKETS)
            step = left[:width]
            parts = await self._entries(step, _PART)
            long = next((number for number, part in enumerate(parts) if len(part) == _PART), len(step))
            # What comes after a long bucket is read after the rest of that: it may be moved there from it meanwhile.
            step, parts = step[: long + 1], parts[: long + 1]
            yield [handle for part in parts for handle in part]
            if len(parts[-1]) == _PART:
                async for handles in self._rest(*step[-1], parts[-1]):
                    yield handles
            width = width * 2 if sum(map(len, parts)) < _PART else max(width // 2, 1)
            left = left[len(step) :]
            rounds += not left
            # Who was moved on meanwhile lies in a later bucket, which may be a new one.
            known.update(step)
            left = await self._come_meanwhile(step, left, known) + left

    async def _rest(self, shard: Shard, second: int, read: Sequence[str]) -> AsyncIterator[list[str]]:
        """What comes in a bucket after its first entries, a part at a time. Entries are added at the end, and may be
        taken out anywhere: then places have moved, which shows as what was read last is not there any more, and all is
        read at once."""
        at = len(read)
        while len(read) >= _PART:
            last = list(read[-_OVERLAP:])
            (found,) = await self._entries([(shard, second)], at + _PART, first=at - _OVERLAP)
            if found[:_OVERLAP] != last:
                (read,) = await self._entries([(shard, second)])
                yield list(read)
                return
            read = found[_OVERLAP:]
            at += len(read)
            yield list(read)

    async def least_used(self, count: int, now: float, but: str) -> list[str]:
        """The handles of so many live sessions whose deadlines come first."""
        found: list[tuple[float, str]] = []
        enough: dict[Shard, int] = {}
        for shard, second in await self._buckets(self._space.shards):
            if enough.get(shard, 0) >= count:
                continue
            handles = (await self._entries([(shard, second)]))[0]
            ends = await self._deadlines(shard, handles)
            later = {handle: at for handle, end in ends.items() if (at := second_of(end, now)) > second}
            await self._rebook(shard, second, [one for one in handles if one in later or one not in ends], later)
            here = [(end, handle) for handle, end in ends.items() if handle not in later and handle != but]
            enough[shard] = enough.get(shard, 0) + len(here)
            found += here
        return [handle for _, handle in sorted(found)[:count]]

    async def _due(self, now: float, shards: Sequence[Shard]) -> list[tuple[Shard, int]]:
        """For each of these shards the first bucket whose second has passed, if there is one."""
        due = ("-inf", repr(now), "BYSCORE", "LIMIT", 0, 1)
        replies = await self._space.ask(*(read(shard.slot, "ZRANGE", shard.due, *due) for shard in shards))
        found = [(shard, plain("", reply)) for shard, reply in zip(shards, replies, strict=True)]
        return [(shard, int(seconds[0])) for shard, seconds in found if seconds]

    async def _buckets(self, shards: Sequence[Shard]) -> list[tuple[Shard, int]]:
        """All buckets of these shards, those of each in order."""
        replies = await self._space.ask(*(read(shard.slot, "ZRANGE", shard.due, 0, -1) for shard in shards))
        return [
            (shard, int(second)) for shard, reply in zip(shards, replies, strict=True) for second in plain("", reply)
        ]

    async def _come_meanwhile(
        self, step: Sequence[tuple[Shard, int]], left: Sequence[tuple[Shard, int]], known: set[tuple[Shard, int]]
    ) -> list[tuple[Shard, int]]:
        """The buckets that there are now after the first of a step and before those that are left, and that are not
        known: those that were read. What is no longer needed of these is dropped."""
        first, end = dict(reversed(step)), dict(reversed(left))
        ranges = [(f"({second}", f"({end[shard]}" if shard in end else "+inf") for shard, second in first.items()]
        requests = [
            read(shard.slot, "ZRANGE", shard.due, *limits, "BYSCORE")
            for shard, limits in zip(first, ranges, strict=True)
        ]
        known.intersection_update([bucket for bucket in known if bucket[1] >= first.get(bucket[0], inf)])
        replies = await self._space.ask(*requests)
        there = [
            (shard, int(second)) for shard, reply in zip(first, replies, strict=True) for second in plain("", reply)
        ]
        return [bucket for bucket in there if bucket not in known]

    async def _entries(
        self, buckets: Sequence[tuple[Shard, int]], limit: int = 0, *, first: int = 0
    ) -> list[list[str]]:
        """The handles in each of these buckets, from that at the place ``first`` up to the place ``limit`` (0: all)."""
        requests = [read(shard.slot, "LRANGE", shard.bucket(second), first, limit - 1) for shard, second in buckets]
        replies = await self._space.ask(*requests)
        return [[handle.decode() for handle in plain("", reply)] for reply in replies]

    async def _rebook(self, shard: Shard, second: int, handles: Sequence[str], later: dict[str, int]) -> None:
        """Take handles out of a bucket, and put those that live on where they belong now."""
        gone = [handle for handle in handles if handle not in later]
        moved = [part for handle, at in later.items() for part in (handle, at)]
        keys = (shard.due, shard.bucket(second), *map(shard.bucket, later.values()))
        await self._space.ask(self._space.script("rebook", shard.slot, keys, second, len(later), *moved, *gone))

    async def _deadlines(self, shard: Shard, handles: Sequence[str]) -> dict[str, float]:
        """The deadlines of those of these sessions that there are. One that can't be read has none."""
        requests = [read(shard.slot, "GETRANGE", shard.record(handle), 5, HEAD - 1) for handle in handles]
        found = {}
        for handle, head in zip(handles, await self._space.ask(*requests), strict=True):
            if isinstance(head, bytes) and head:
                accessed_at, _, idle_for, ends_at = _head.unpack(head) if len(head) == _head.size else (inf,) * 4
                found[handle] = min(accessed_at + idle_for, ends_at)
        return found

    async def _recount(self, shard: Shard) -> None:
        """Count the records of a shard anew."""
        there: set[str] = set()
        async for handles in self.walk([shard]):
            answers = await self._space.ask(*(read(shard.slot, "EXISTS", shard.record(one)) for one in handles))
            there |= {handle for handle, answer in zip(handles, answers, strict=True) if answer}
        await self._space.ask(Request(("SET", shard.count, len(there)), shard.slot, "repeatable"))
