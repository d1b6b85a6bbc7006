"""The sessions of each user in Valkey or Redis.

A user's key is a sorted set: handles by the time of their sign-in, and the user's epoch under the empty name. It lies
in another slot than the sessions, so it can't change in one step with them. What keeps it right:

- A session is entered *before* it becomes its user's. So an entry may name one that never did, or that ended: whoever
  reads the entries looks at the records as well, and drops old entries without one.
- A session that has become its user's asks whether it may *stay*. If all sessions of the user ended meanwhile (the
  epoch went up), or it was evicted (its time is negative), it ends itself: nobody has its secret yet.
- The key is kept at least as long as any session in it can live.

On one server the three steps travel together and cost one round trip; in a cluster they are three.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import isinf
from typing import Any, Final

from msgspec import Struct

from ..errors import StoreError
from ..policy import is_over
from ..record import Cap, Change, EndReason, Record
from .valkey_deadlines import ROOM, Deadlines
from .valkey_servers import Request
from .valkey_space import Space, parts, plain, read

__all__ = ["Entry", "Joined", "Users"]

log = logging.getLogger("sojourn")

IN_FLIGHT: Final = 60.0
"""Seconds after its sign-in in which a session that was entered may still come to be."""


class Entry(Struct):
    """What there was when a session was entered among those of its user."""

    epoch: bytes
    before: dict[str, float]
    """Who was entered before it: handles, with the times of their sign-in (negative: being evicted)."""


class Joined(Struct):
    """What became of a write with which a session became a user's."""

    reply: Any
    again: bool = False
    """Whether it was sent more than once."""
    evicted: tuple[Change, ...] = ()
    """Who had to leave for it."""
    ended: tuple[Change, ...] = ()
    """Its own end, if it may not stay."""


class Users:
    """Who is whose."""

    def __init__(self, space: Space, deadlines: Deadlines) -> None:
        self._space = space
        self._deadlines = deadlines

    async def join(self, record: Record, request: Request, now: float, cap: Cap) -> Joined | None:
        """Make a write with which a session becomes a user's. None: the user is at the cap, and the rule is to
        refuse."""
        space = self._space
        leaving: dict[str, float] = {}
        if cap.per_user is None:
            replies = await space.write(self.enlist(record, now), request, self.settle(record))
            entry = self.entry(*parts(record.handle, replies[0], 2))
        else:
            (entered,) = await space.ask(self.enlist(record, now))
            entry = self.entry(*parts(record.handle, entered, 2))
            places = await self.places(record, entry, now)
            excess = len(places) + 1 - cap.per_user
            if excess > 0 and cap.refuse and not await self._is_of(record):
                await self.forget({record.user_id or "": [record.handle]})
                return None
            oldest = sorted(places, key=lambda handle: (places[handle], handle))
            leaving = {handle: places[handle] for handle in oldest[: max(excess, 0)]}
            replies = await space.write(request, self.settle(record))
        *_, reply, standing = replies
        joined = Joined(reply, replies.again)
        if (reply[0] if isinstance(reply, list) else reply) == 1:
            if leaving:
                await self.mark(record.user_id or "", leaving)
                # Only those that are the user's by now: one that is only becoming it finds that it may not stay.
                joined.evicted = await self.end(list(leaving), "evicted", now, user_id=record.user_id)
            reason = self.may_stay(entry, *parts(record.handle, standing, 2))
            if reason is not None:
                joined.ended = await self.end([record.handle], reason, now)
        return joined

    async def end(self, handles: Sequence[str], reason: EndReason, now: float, **matching: Any) -> tuple[Change, ...]:
        """End those of these sessions that match, as `Deadlines.finish` does, and drop their entries."""
        told = await self._deadlines.finish(handles, reason, now, **matching)
        await self.forget_ended(told)
        return told

    async def forget_ended(self, told: Sequence[Change]) -> None:
        """Drop the entries of ended sessions among those of their users. What can't be dropped now heals by itself."""
        entries: dict[str, list[str]] = {}
        for change in told:
            if change.user_id is not None:
                entries.setdefault(change.user_id, []).append(change.handle)
        try:
            await self.forget(entries)
        except StoreError as error:
            log.debug("entries of ended sessions stay for a while: %s", error)

    def enlist(self, record: Record, now: float) -> Request:
        """The request that enters a session."""
        key, slot = self._space.user_key(record.user_id or "")
        left = record.ends_at - now + ROOM
        kept = "" if isinf(left) or left > 1e9 else str(max(int(left * 1000), 1))
        return self._space.script("enlist", slot, (key,), record.handle, repr(record.authenticated_at), kept)

    def settle(self, record: Record) -> Request:
        """The request that asks whether a session may stay."""
        key, slot = self._space.user_key(record.user_id or "")
        return self._space.script("settle", slot, (key,), record.handle)

    @staticmethod
    def entry(epoch: bytes, pairs: list[bytes]) -> Entry:
        """What the reply to `enlist` says."""
        entered = dict(zip(pairs[::2], map(float, pairs[1::2]), strict=True))
        return Entry(epoch, {handle.decode(): at for handle, at in entered.items() if handle})

    @staticmethod
    def may_stay(entry: Entry, epoch: bytes, entered_at: bytes | None) -> EndReason | None:
        """Why a session may not stay ("revoked", "evicted"); None: it may. By the reply to `settle`."""
        if epoch != entry.epoch:
            return "revoked"
        return "evicted" if entered_at is None or float(entered_at) < 0 else None

    async def places(self, record: Record, entry: Entry, now: float) -> dict[str, float]:
        """Who takes a place under the user's cap: live sessions, and those that are just being made, with the times of
        their sign-in. Entries without either are dropped."""
        known = {handle: at for handle, at in entry.before.items() if handle != record.handle}
        found = await self._space.records(list(known))
        taken, stale = {}, []
        for handle, at in known.items():
            held = found.get(handle)
            if held is not None and held.user_id == record.user_id and not is_over(held, now):
                taken[handle] = held.authenticated_at if at >= 0 else at
            elif now - abs(at) < IN_FLIGHT and (
                held is None or (held.user_id != record.user_id and held.authenticated_at <= abs(at))
            ):  # on its way; one that has signed in elsewhere since then has left
                taken[handle] = at
            else:
                stale.append(handle)
        if stale:
            await self.forget({record.user_id or "": stale})
        return {handle: at for handle, at in taken.items() if at >= 0}

    async def _is_of(self, record: Record) -> bool:
        """Whether this session is its user's already: the write is a repeat of one that was made."""
        held = (await self._space.records([record.handle])).get(record.handle)
        return held is not None and held.user_id == record.user_id

    async def mark(self, user_id: str, leaving: dict[str, float]) -> None:
        """Note that these are being evicted, so that one which is only being made finds that it may not stay."""
        key, slot = self._space.user_key(user_id)
        pairs = [part for handle, at in leaving.items() for part in (repr(-abs(at) or -1.0), handle)]
        await self._space.ask(Request(("ZADD", key, "XX", *pairs), slot, "repeatable"))

    async def forget(self, entries: dict[str, list[str]]) -> None:
        """Drop entries: handles, by their users."""
        requests = []
        for user_id, handles in entries.items():
            key, slot = self._space.user_key(user_id)
            requests.append(Request(("ZREM", key, *handles), slot, "repeatable"))
        await self._space.ask(*requests)

    async def depart(self, record: Record) -> None:
        """A session has left the user of this record, and takes no place among that user's any more. What can't be
        dropped now heals by itself."""
        key, slot = self._space.user_key(record.user_id or "")
        try:
            await self._space.ask(
                self._space.script("depart", slot, (key,), record.handle, repr(record.authenticated_at))
            )
        except StoreError as error:
            log.debug("the entry of a session that has left its user stays for a while: %s", error)

    async def muster(self, user_id: str) -> list[str]:
        """The handles of a user whose sessions are all to end: from now on none that is only being made may stay."""
        key, slot = self._space.user_key(user_id)
        (reply,) = await self._space.write(self._space.script("muster", slot, (key,)))
        return [handle.decode() for handle in plain("", reply) if handle]

    async def handles(self, user_id: str) -> list[str]:
        """The handles entered for a user."""
        key, slot = self._space.user_key(user_id)
        (reply,) = await self._space.ask(read(slot, "ZRANGE", key, 0, -1))
        return [handle.decode() for handle in plain("", reply) if handle]
