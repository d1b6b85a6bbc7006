"""What is kept of the past in Valkey or Redis: the facts in the logs of all shards, and up to where named readers have
read them.

A log is bounded by number whenever a fact is added, and by age when somebody sweeps. A reader's position names, for
each shard, the entry that was read last: nothing was missed as long as that one is there, or an older one.
"""

from __future__ import annotations

from typing import Any, Final

from ..errors import HistoryTrimmed
from ..record import Change
from ..store import HISTORY_AGE
from .valkey_facts import MASK, name_of, position_of, unpack_fact
from .valkey_space import Shard, Space, plain, read

__all__ = ["History"]

_STEP: Final = 200  # facts that are looked at in one step, which holds up the server
_STEPS: Final = 100  # in one sweep


class History:
    """The logs of all shards."""

    def __init__(self, space: Space) -> None:
        self._space = space

    async def changes(self, since: int, limit: int) -> tuple[int, list[Change]]:
        """The facts after a position, and the position after them. `HistoryTrimmed` if some are gone."""
        space = self._space
        positions = [since >> 64 * shard.number & MASK for shard in space.shards]
        requests = []
        for shard, position in zip(space.shards, positions, strict=True):
            requests.append(_range(shard, name_of(position), limit + 1))
            if position:
                requests.append(_range(shard, "-", 1))
        replies = iter(await space.ask(*requests))
        found, trimmed = [], False
        for shard in space.shards:
            position = positions[shard.number]
            entries = plain(shard.log, next(replies))
            oldest = plain(shard.log, next(replies)) if position else []
            before = position_of(oldest[0][0]) - 1 if oldest else 0
            # Nothing from there on: the store was emptied, or is as it was at an earlier time.
            if position and (before > position or not entries):
                positions[shard.number], trimmed = before, True
            found += [(at, shard.number, fields[1]) for name, fields in entries if (at := position_of(name)) > position]
        if trimmed:
            raise HistoryTrimmed(_whole(positions))
        found = sorted(found)[:limit]
        for position, number, _ in found:
            positions[number] = position
        return _whole(positions), [unpack_fact(fact) for _, _, fact in found]

    async def position(self) -> int:
        """Of the newest fact in each log."""
        space = self._space
        requests = [read(shard.slot, "XREVRANGE", shard.log, "+", "-", "COUNT", 1) for shard in space.shards]
        newest = [plain("", reply) for reply in await space.ask(*requests)]
        return _whole([position_of(entries[0][0]) if entries else 0 for entries in newest])

    async def trim(self, now: float) -> None:
        """Drop facts that are too old, and leave the rest of very many of them for another time."""
        space = self._space
        left = list(space.shards)
        for _ in range(_STEPS):
            requests = [
                space.script("trim", one.slot, (one.log,), space.clock(now), HISTORY_AGE, _STEP) for one in left
            ]
            replies = await space.ask(*requests)
            left = [shard for shard, reply in zip(left, replies, strict=True) if plain(shard.log, reply)]
            if not left:
                return

    async def bookmark(self, reader: str, holder: str, now: float, hold: float, position: int | None) -> int | None:
        """The position of a reader, moved there first, if one is given; None while another holds it."""
        space = self._space
        key, slot = space.named_key("reader", reader)
        # Of a cluster it can have more digits than Python takes for a number, unless they are hexadecimal.
        moved = "" if position is None else f"{position:x}"
        request = space.script("bookmark", slot, (key,), space.clock(now), holder, repr(hold), moved)
        (reply,) = await space.write(request)
        kept = plain("", reply)
        return None if kept is None else int(kept or b"0", 16)


def _range(shard: Shard, first: str, count: int) -> Any:
    return read(shard.slot, "XRANGE", shard.log, first, "+", "COUNT", count)


def _whole(positions: list[int]) -> int:
    """The positions in all shards as one number."""
    return sum(position << 64 * number for number, position in enumerate(positions))
