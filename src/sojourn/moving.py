"""Copying: all live sessions from one store to another, of any two kinds, while a site runs on the first.

A copy is known by its versions: that of the source's record, and `MARK`. A commit in the target makes them longer, so a
copy that nobody has written to since is told at sight. What is to become of a session is decided from its two records
alone (`decide`): nothing is remembered between two runs, so that one which was cut off goes on by being run again.

Every write is one that the contract makes safe: `create` never replaces, `commit` replaces only the record that the
decision was made on. Who writes in the target meanwhile is therefore never overruled.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Final, Literal, TypeAlias, TypeVar, cast

from .bulk import BATCH, PAUSES, closing, create, each, in_batches, patiently
from .errors import ConfigurationError, DamagedRecord, HistoryTrimmed, OutcomeUnknown, StoreUnavailable
from .policy import is_over
from .record import VERSION_BYTES, Committed, EndReason, Record, replace
from .store import Store

__all__ = ["MARK", "Copying", "Decision", "copied", "decide", "is_untouched"]

log = logging.getLogger("sojourn")

T = TypeVar("T")

MARK: Final = b"(copied)"
"""Stands in the place of a version, and says that the record was copied at the version before it."""

_FEW: Final = 10  # sessions, or a thousandth of all: what a walk may leave to the next run
_TRIES: Final = 5  # of one session that others write to meanwhile
_PAGE: Final = 1000  # facts read at a time
_REMEMBERED: Final = 2_000_000  # sessions that a walk has come to: some 100 bytes each
_PROBE: Final = "sojourn-copy"

Decision: TypeAlias = Literal["nothing", "create", "touch", "renew", "revive", "leave", "both"]
"""What is to become of a session in the target. "touch": only its activity is behind; "revive": its copy ran out, as
nobody told it of that activity; "leave": the target is newer; "both": both have changed, and the target's stays."""


# --- Decisions -------------------------------------------------------------------------------------------------------


def copied(record: Record) -> Record:
    """The record as it is written into the target. Nobody holds its lease there; its fence goes on growing."""
    return replace(record, versions=record.version + MARK, leased_until=0.0)


def is_untouched(record: Record) -> bool:
    """Whether this is a copy to which nobody has committed since."""
    return len(record.versions) == 2 * VERSION_BYTES and record.versions.endswith(MARK)


def decide(source: Record, target: Record | None, now: float) -> Decision:
    """What is to become of a live session of the source."""
    if target is None:
        return "create"
    if target.version != source.version and not (source.knows(target.version) or is_untouched(target)):
        return "leave" if target.knows(source.version) else "both"
    if is_over(target, now):
        return "revive"
    if target.version != source.version or target.fence < source.fence:
        return "renew"
    return "touch" if target.accessed_at < source.accessed_at else "nothing"


# --- The copy --------------------------------------------------------------------------------------------------------


class Copying:
    """One run of a copy, and what it has done so far. Both stores are asynchronous ones.

    ``dry_run`` counts what would be done, and writes nothing. ``told`` is called now and then while it goes on.
    """

    def __init__(
        self,
        source: Store,
        target: Store,
        *,
        dry_run: bool = False,
        clock: Callable[[], float] = time.time,
        told: Callable[[Copying], None] = lambda copying: None,
    ) -> None:
        self.source = source
        self.target = target
        self.dry_run = dry_run
        self._clock = clock
        self._told = told
        self._brought = 0  # sessions that this walk has brought
        self._empty = False  # whether the target was so before the first walk: then it is not asked what it has
        self._position = 0  # up to which the source's history was read
        self._reasons: dict[str, str | None] = {}  # of the ends that it tells
        self._gone: set[str] = set()  # sessions that were ended
        self._met: set[str] = set()  # what the last walk through the source came to
        self.total = 0
        """Records in the source when it began, dead ones included."""
        self.passes = 0
        """How often it has walked through the source, to the end."""
        self.seen = 0
        """Live sessions that the last walk through the source has come to."""
        self.ending = False
        """Whether it is at its last step: a walk through the target, for what has ended."""
        self.looked_at = 0
        """Records that this walk has come to, through whichever store."""
        self.created = 0
        self.there = 0
        """Sessions that the first walk found in the target as they were to be, or newer."""
        self.renewed = 0
        self.both: set[str] = set()
        """Sessions that have changed in both stores. The target's stand."""
        self.failed: set[str] = set()
        """Sessions that could not be brought: damaged in the target, or leased there by somebody for long."""

    @property
    def ended(self) -> int:
        """Sessions that were ended in the target, as they have ended in the source."""
        return len(self._gone)

    async def run(self) -> None:
        """Copy, until a walk finds little to do. Raises `ConfigurationError` if both are the same store, and
        `StoreUnavailable` if one of them does not answer for long: what was copied stays, and another run goes on."""
        self.total = (await self.source.stats()).sessions
        self._empty = not (await self.target.stats()).sessions
        if not self.dry_run:
            await self._tell_apart()
        try:
            brought = 0
            await self._again_if_cut_off(self._bring_all)
            while self._is_worth_another(brought):
                brought = self._brought
                await self._again_if_cut_off(self._bring_all)
            await self._again_if_cut_off(self._end_all)
        except (StoreUnavailable, OutcomeUnknown) as error:
            raise StoreUnavailable(f"{error}. What was copied stays: run it again, and it goes on") from error
        finally:
            for handle in sorted(self.both):
                log.warning("session %s has changed in both stores: the target's stays as it is", handle)
            for handle in sorted(self.failed):
                log.error("session %s could not be brought: the target's stays as it is", handle)

    def _is_worth_another(self, before: int) -> bool:
        """Whether to walk through the source once more: not if this walk brought little, or not much less than the one
        before it. At a busy site another would bring as much again."""
        much = self._brought > max(_FEW, self.seen // 1000)
        return much and not self.dry_run and (self.passes == 1 or 2 * self._brought <= before)

    async def _tell_apart(self) -> None:
        """Refuse a store that is given twice: what is noted in the one must not be found in the other."""
        here, there = secrets.randbits(48), secrets.randbits(48)
        now = self._clock()
        await self.target.bookmark(_PROBE, _PROBE, now, hold=0.0, position=there)
        await self.source.bookmark(_PROBE, _PROBE, now, hold=0.0, position=here)
        if await self.target.bookmark(_PROBE, _PROBE, now, hold=0.0) == here:
            raise ConfigurationError("both are the same store: there is nothing to copy")

    async def _again_if_cut_off(self, walk: Callable[[], Awaitable[None]]) -> None:
        """Walk through a store. A walk that was cut off cannot go on: another one finds less to do."""
        if self.dry_run:  # which would count the same again
            await walk()
        else:
            await patiently(walk)

    def _tell(self, records: list[Record]) -> None:
        self.looked_at += len(records)
        self._told(self)

    # --- What lives --------------------------------------------------------------------------------------------------

    async def _bring_all(self) -> None:
        """Walk through the source, and bring the target to where it is."""
        self.seen = self.looked_at = self._brought = 0
        self._met = set()
        empty, self._empty = self._empty, False
        there = -self.created - self.renewed  # by a walk that was cut off: it was not there before
        async with closing(in_batches(self.source.walk())) as batches:
            async for records in batches:
                there += await self._bring_some(records, empty=empty)
                self._tell(records)
        if not self.passes:
            self.there = there
        self.passes += 1

    async def _bring_some(self, records: list[Record], *, empty: bool) -> int:
        """Bring these sessions. Returns how many were as they are to be."""
        now = self._clock()
        live = {record.handle: record for record in records if not is_over(record, now)}
        found = {} if empty else await patiently(partial(self.target.load_many, list(live)))
        there, due = 0, []
        for handle, record in live.items():
            decision = decide(record, found.get(handle), now)
            there += decision in ("nothing", "touch", "leave")
            if decision != "nothing":
                due.append((record, found.get(handle)))
        await each(due, self._bring)
        self.seen += len(live)
        if len(self._met) < _REMEMBERED:
            self._met.update(record.handle for record in records)
        return there

    async def _bring(self, pair: tuple[Record, Record | None]) -> None:
        """Bring one session to the target: its record in the source, and in the target."""
        record, target = pair
        try:
            for attempt in range(_TRIES):
                if attempt:  # somebody was there
                    await asyncio.sleep(PAUSES[0])
                    target = await patiently(partial(self.target.load, record.handle))
                if await self._step(record, target):
                    self.failed.discard(record.handle)
                    return
        except DamagedRecord as error:
            log.error("%s", error)  # noqa: TRY400 - the traceback would say nothing more
        self.failed.add(record.handle)

    async def _step(self, record: Record, target: Record | None) -> bool:
        """Do with a session what is decided. Returns whether that is done; else the target has changed meanwhile."""
        now = self._clock()
        decision = decide(record, target, now)
        if decision in ("nothing", "leave"):
            return True
        if decision == "both":
            self.both.add(record.handle)
            return True
        if self.dry_run:
            self._count(target)
            return True
        if target is None or decision == "revive":
            return await self._create(record, target, now)
        if decision == "touch":
            return await patiently(
                partial(self.target.touch, record.handle, target.generation, record.accessed_at, now)
            )
        # What is of the same commit differs in its lease alone.
        same = record.version == target.version
        wanted = replace(target, fence=record.fence) if same else copied(record)
        outcome = await patiently(partial(self.target.commit, target, wanted, now))
        if isinstance(outcome, Committed) and outcome.record.version == wanted.version:
            self._count(target)
            return True
        return False

    async def _create(self, record: Record, target: Record | None, now: float) -> bool:
        """Add a session, in the place of one that ran out. Returns whether it is this one that is there now."""
        if target is not None:
            await patiently(partial(self.target.end, [record.handle], "expired", now))
        wanted = copied(record)
        if (await create(self.target, wanted, now)).versions != wanted.versions:
            return False
        self._count(target)
        return True

    def _count(self, target: Record | None) -> None:
        self._brought += 1
        if target is None:
            self.created += 1
        else:
            self.renewed += 1

    # --- What has ended ----------------------------------------------------------------------------------------------

    async def _end_all(self) -> None:
        """End in the target what has ended in the source: what its history tells, and copies of what is not there."""
        self.ending, self.looked_at = True, 0
        await self._read_ends()
        now = self._clock()
        for handles in _slices([handle for handle, reason in self._reasons.items() if reason != "expired"]):
            found = await patiently(partial(self.target.load_many, handles))
            await self._end([handle for handle, record in found.items() if not is_over(record, now)])
        async with closing(in_batches(self.target.walk())) as batches:
            async for records in batches:
                copies = [record.handle for record in records if is_untouched(record) and not is_over(record, now)]
                missing = [handle for handle in copies if handle not in self._met]
                if len(missing) > _FEW:  # else it is as quick to look at each
                    found = await patiently(partial(self.source.load_many, missing))
                    missing = [handle for handle in missing if handle not in found]
                await self._end(missing)
                self._tell(records)

    async def _end(self, handles: list[str]) -> None:
        """End those of these sessions that are in the source no more, but for those that ran out there: of these the
        target may know of later activity, and they have their own deadlines."""
        gone: list[str] = []

        async def look(handle: str) -> None:
            try:
                if await patiently(partial(self.source.load, handle)) is None:
                    gone.append(handle)
            except DamagedRecord as error:  # it has not ended, and its copy may be all that is left of it
                log.error("%s", error)  # noqa: TRY400 - the traceback would say nothing more

        await each(handles, look)
        if any(handle not in self._reasons for handle in gone):
            await self._read_ends()
        leaving: defaultdict[str, list[str]] = defaultdict(list)
        for handle in gone:
            leaving[self._reasons.get(handle) or "revoked"].append(handle)
        leaving.pop("expired", None)
        for reason, ended in leaving.items():
            if not self.dry_run:
                await patiently(partial(self.target.end, ended, cast(EndReason, reason), self._clock()))
            self._gone.update(ended)

    async def _read_ends(self) -> None:
        """Read on in the source's history. (What is no longer kept in it is noticed by what is missing.)"""
        while True:
            try:
                self._position, told = await patiently(partial(self.source.changes, self._position, _PAGE))
            except HistoryTrimmed as gap:
                self._position = gap.position
                continue
            if not told:
                return
            self._reasons.update((fact.handle, fact.reason) for fact in told if fact.kind == "ended")


def _slices(handles: list[str]) -> Iterator[list[str]]:
    return (handles[at : at + BATCH] for at in range(0, len(handles), BATCH))
