"""The figures of the overview: what is counted, and what is made of it. Pure: time is an argument.

    Overview     all that the overview shows, as of one moment
    Minutes      what happened in each of the last 60 minutes
    Slope        how fast a number grows
    Latencies    how long operations of the last two minutes took
    Outages      when the store did not answer, and why
    Totals       what processes counted, together

Everything is bounded, by time or by number, and nothing grows with the number of sessions. No handle, no user and no
value is in a figure.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from typing import Final, TypeAlias

from msgspec import Struct

from ..record import Change

__all__ = [
    "COUNTED",
    "Histogram",
    "Latencies",
    "Minute",
    "Minutes",
    "Outage",
    "Outages",
    "Overview",
    "Slope",
    "Totals",
    "bucket_of",
    "increase",
    "percentile",
    "together",
]

COUNTED: Final = ("commits", "merged", "conflicts", "refused", "unavailable")
"""What processes count, by the names of `Engine.counts`."""

RECENT: Final = 120.0
"""Seconds for which latencies are kept."""

_MINUTES: Final = 60
_STEP: Final = 10.0  # seconds that are one slot of latencies
_FINE: Final = 4  # buckets for each doubling: a bucket is 19% wide
_LEAST: Final = 1e-7  # seconds: what takes less is as quick
_REPEATS: Final = 2000  # facts that are known again if they are told twice
_OUTAGES: Final = 20  # that are kept
_WHY: Final = 200  # characters

Histogram: TypeAlias = Mapping[int, int]
"""How many operations took how long, by `bucket_of`."""


class Minute(Struct, frozen=True):
    """What happened in one minute."""

    at: float
    """Its beginning, in Unix seconds."""
    created: int
    ended: dict[str, int]
    """How many sessions ended for each reason (`EndReason`); a reason for which none did is not there."""
    commits: int
    """Of all processes, as the feed told; 0 for the time before the dashboard was opened, of which nobody knows."""
    overwritten: int
    """How often one writer overruled another."""


class Outage(Struct, frozen=True):
    """A time when the store did not answer."""

    began: float
    """Unix seconds, as all times here."""
    ended: float | None
    """None: it goes on."""
    why: str
    """The store's own words, cut to 200 characters."""


class Overview(Struct, frozen=True, kw_only=True):
    """What the overview shows, as of `at`. None: it is not known, or not yet."""

    at: float
    sessions: int | None
    """Records in the store that are sessions, those included that have run out and were not swept yet."""
    bytes: int | None
    """The space that the store takes; None also for a store that does not say."""
    growth_per_hour: float | None
    """Sessions an hour, by the last hour or as long as one looks; None in the first minute of looking."""
    bytes_per_hour: float | None
    """Bytes an hour, likewise."""
    heard_per_minute: float
    """Commits a minute of all processes, by the last minute, as the feed told."""
    minutes: tuple[Minute, ...]
    """The last 60, the oldest first; the last one is under way."""
    since: float | None
    """Since when facts are known: before that the history tells of none. None: it tells of none at all."""
    commits_since: float | None
    """Since when commits are known."""
    overwritten: int
    """In these 60 minutes, by all processes, as the history tells."""
    merged: int
    """Commits that were merged with another writer's: of the processes that report, since each began."""
    conflicts: int
    """Attempts that met another commit, and were made again: of the processes that report, since each began."""
    refused: int
    """Ids that were shown and refused: of the processes that report, since each began."""
    unavailable: int
    """Loads and writes that the store failed: of the processes that report, since each began."""
    processes: int
    """How many report, this one included if it serves the sessions that are shown. With 0 the four above are of nobody:
    the application's processes do not call `sojourn.admin.report`, or the store cannot be asked for what they say."""
    latency_p50: float | None
    """Seconds. To about a tenth of the figure, as the next."""
    latency_p99: float | None
    latency_source: str
    """What was measured, in words for the page."""
    outages: tuple[Outage, ...]
    """The latest first; at most 20."""
    well: bool
    """Whether the store answered when it was asked last; False also before it was asked."""
    why: str
    """Why it is not well; empty if it is."""
    sockets: int | None
    """Open WebSockets of the processes that say how many they have; None: none says so."""


# --- Minutes ----------------------------------------------------------------------------------------------------------


class _Tally:
    """One minute, being counted."""

    __slots__ = ("commits", "created", "ended", "overwritten")

    def __init__(self) -> None:
        self.created = self.commits = self.overwritten = 0
        self.ended: Counter[str] = Counter()


class Minutes:
    """What happened in each of the last 60 minutes. A fact that is told twice counts once."""

    def __init__(self) -> None:
        self._tallies: dict[int, _Tally] = {}
        self._known: dict[str, None] = {}
        self.since: float | None = None
        """When the oldest fact was that has been told without a gap since; None: none was."""

    def told(self, change: Change, now: float) -> None:
        """Count a fact. What is older than 60 minutes only says how far back facts are known; what is of the future, by
        a clock that is ahead, is of this minute."""
        if change.kind == "missed":
            self.since = None  # what comes next comes after a gap
            return
        if change.id in self._known:
            return
        self._known[change.id] = None
        if len(self._known) > _REPEATS:
            del self._known[next(iter(self._known))]
        at = min(change.at, now)
        self.since = at if self.since is None else min(self.since, at)
        if _minute(at) <= _minute(now) - _MINUTES:
            return
        tally = self._tally(at)
        if change.kind == "created":
            tally.created += 1
        elif change.kind == "overwritten":
            tally.overwritten += 1
        elif change.kind == "ended" and change.reason is not None:
            tally.ended[change.reason] += 1

    def committed(self, count: int, now: float) -> None:
        """Count commits."""
        if count:
            self._tally(now).commits += count

    def forget_facts(self) -> None:
        """They are going to be told anew. The commits stay."""
        self._known.clear()
        self.since = None
        for tally in self._tallies.values():
            tally.created = tally.overwritten = 0
            tally.ended.clear()

    def reading(self, now: float) -> tuple[Minute, ...]:
        """The last 60 minutes, the oldest first; the last one is under way."""
        this = _minute(now)
        for minute in [minute for minute in self._tallies if not this - _MINUTES < minute <= this]:
            del self._tallies[minute]
        return tuple(self._minute(minute) for minute in range(this - _MINUTES + 1, this + 1))

    def _tally(self, at: float) -> _Tally:
        minute = _minute(at)
        if minute not in self._tallies:
            self._tallies[minute] = _Tally()
            for old in [old for old in self._tallies if old < minute - _MINUTES]:
                del self._tallies[old]
        return self._tallies[minute]

    def _minute(self, minute: int) -> Minute:
        tally = self._tallies.get(minute)
        if tally is None:
            return Minute(minute * 60.0, 0, {}, 0, 0)
        return Minute(minute * 60.0, tally.created, dict(tally.ended), tally.commits, tally.overwritten)


def _minute(at: float) -> int:
    return math.floor(at / 60)


# --- How fast ---------------------------------------------------------------------------------------------------------


class Slope:
    """How fast a number grows: between the oldest and the newest sample within so many seconds. ``least``: seconds
    between the two below which that says nothing."""

    def __init__(self, window: float, least: float) -> None:
        self._window = window
        self._least = least
        self._samples: deque[tuple[float, float]] = deque()

    def add(self, at: float, value: float) -> None:
        """A sample. One that is older than the last, by a clock that was set back, begins anew."""
        if self._samples and at < self._samples[-1][0]:
            self._samples.clear()
        self._samples.append((at, value))
        while self._samples[0][0] < at - self._window:
            self._samples.popleft()

    def per(self, seconds: float) -> float | None:
        """The growth in so many seconds; None as long as it cannot be told."""
        if len(self._samples) < 2:
            return None
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        return None if ended - began < self._least else (last - first) / (ended - began) * seconds


# --- How long ---------------------------------------------------------------------------------------------------------


def bucket_of(seconds: float) -> int:
    """The bucket of a duration. Buckets are a constant fraction wide, so that few of them tell microseconds and seconds
    alike to about a tenth."""
    return round(math.log2(max(seconds, _LEAST)) * _FINE)


def percentile(histogram: Histogram, share: float) -> float | None:
    """The duration in seconds that this share of the operations took at most; None if there were none."""
    total = sum(histogram.values())
    if not total:
        return None
    wanted, passed = share * total, 0
    for bucket in sorted(histogram):
        passed += histogram[bucket]
        if passed >= wanted:
            break
    return float(2.0 ** (bucket / _FINE))


def increase(before: Histogram, after: Histogram) -> dict[int, int]:
    """What came to a histogram that only grows. One that is less than before, as its process began anew, is all new."""
    if any(after.get(bucket, 0) < count for bucket, count in before.items()):
        before = {}
    return {bucket: count - before.get(bucket, 0) for bucket, count in after.items() if count > before.get(bucket, 0)}


class Latencies:
    """How long operations took, in the last two minutes."""

    def __init__(self) -> None:
        self._slots: dict[int, Counter[int]] = {}

    def add(self, histogram: Histogram, now: float) -> None:
        """Operations that were made just now."""
        if histogram:
            slot = math.floor(now / _STEP)
            if slot not in self._slots:
                self._slots[slot] = Counter()
                self._trim(now)
            self._slots[slot].update(histogram)

    def reading(self, now: float) -> Histogram:
        """Those of the last two minutes."""
        self._trim(now)
        whole: Counter[int] = Counter()
        for slot in self._slots.values():
            whole.update(slot)
        return whole

    def _trim(self, now: float) -> None:
        newest = math.floor(now / _STEP)
        oldest = newest - math.ceil(RECENT / _STEP)
        for slot in [slot for slot in self._slots if not oldest < slot <= newest]:
            del self._slots[slot]


# --- When it did not answer -------------------------------------------------------------------------------------------


class Outages:
    """When the store did not answer, as one process has seen it."""

    def __init__(self) -> None:
        self._all: deque[Outage] = deque(maxlen=_OUTAGES)
        self._asked = False

    @property
    def well(self) -> bool:
        """Whether the store answered when it was asked last; False before it was asked."""
        return self._asked and not self._under_way

    @property
    def why(self) -> str:
        """Why it is not well; empty if it is."""
        return self._all[-1].why if self._under_way else "" if self._asked else "it was not asked yet"

    @property
    def _under_way(self) -> bool:
        return bool(self._all) and self._all[-1].ended is None

    def failed(self, at: float, why: str) -> None:
        """The store was asked at this moment, and did not answer."""
        self._asked = True
        if not self._under_way:
            self._all.append(Outage(at, None, why[:_WHY]))

    def answered(self, at: float) -> None:
        """The store answered at this moment."""
        self._asked = True
        if self._under_way:
            outage = self._all[-1]
            self._all[-1] = Outage(outage.began, max(at, outage.began), outage.why)

    def reading(self) -> tuple[Outage, ...]:
        """All that are kept, the oldest first."""
        return tuple(self._all)


def together(seen: Iterable[Outage]) -> tuple[Outage, ...]:
    """Outages as several processes have seen them: those that overlap are one, for the reason that was seen first. The
    latest first; at most 20."""
    merged: list[Outage] = []
    for outage in sorted(seen, key=lambda one: one.began):
        before = merged[-1] if merged else None
        if before is None or (before.ended is not None and outage.began > before.ended):
            merged.append(outage)
        else:
            ended = None if None in (before.ended, outage.ended) else max(before.ended or 0.0, outage.ended or 0.0)
            merged[-1] = Outage(before.began, ended, before.why)
    return tuple(reversed(merged[-_OUTAGES:]))


# --- What processes counted -------------------------------------------------------------------------------------------


class Totals:
    """What processes counted since each began, together. What a process has counted that is gone stays."""

    def __init__(self) -> None:
        self._last: dict[str, dict[str, int]] = {}
        self._gone: Counter[str] = Counter()

    def note(self, process: str, counts: Mapping[str, int]) -> None:
        """What a process has counted by now. Less than before: it began anew under the same name."""
        counted = {name: counts.get(name, 0) for name in COUNTED}
        before = self._last.get(process, {})
        if any(counted[name] < count for name, count in before.items()):
            self._gone.update(before)
        self._last[process] = counted

    def forget(self, process: str) -> None:
        """It is gone; what it has counted stays."""
        self._gone.update(self._last.pop(process, {}))

    def reading(self) -> Counter[str]:
        """By the names of `COUNTED`."""
        whole = Counter(self._gone)
        for counted in self._last.values():
            whole.update(counted)
        return whole
