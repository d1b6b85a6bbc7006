"""The figures of the overview, by hand-set times."""

from __future__ import annotations

import random

import pytest

from sojourn import facts
from sojourn.admin.figures import (
    Latencies,
    Minutes,
    Outage,
    Outages,
    Slope,
    Totals,
    bucket_of,
    increase,
    percentile,
    together,
)
from sojourn.record import Change, EndReason
from sojourn.testing import new_record

NOW = 1_000_000 * 60.0 + 30  # in the middle of a minute


def created(at: float) -> Change:
    return facts.created(new_record(), at)


def ended(reason: EndReason, at: float) -> Change:
    return facts.ended(new_record().handle, None, reason, at)


# --- Minutes ----------------------------------------------------------------------------------------------------------


def test_an_hour_of_minutes() -> None:
    """There are always 60 minutes, the oldest first; the last is under way."""
    minutes = Minutes().reading(NOW)
    assert [minute.at for minute in minutes] == [NOW - 30 - 60 * ago for ago in range(59, -1, -1)]
    assert {(minute.created, minute.commits, minute.overwritten, len(minute.ended)) for minute in minutes} == {
        (0, 0, 0, 0)
    }


def test_facts_are_counted_in_their_minute() -> None:
    """Sessions that began and that ended, by reason, values that were overwritten and commits, each in its minute."""
    minutes = Minutes()
    reasons: list[EndReason] = ["ended", "expired", "expired", "evicted", "revoked"]
    for change in [
        created(NOW),
        created(NOW - 60),
        created(NOW - 61),
        *(ended(reason, NOW - 60) for reason in reasons),
    ]:
        minutes.told(change, NOW)
    minutes.told(facts.overwritten(new_record(), "cart.items", NOW), NOW)
    minutes.told(facts.rotated(new_record(), NOW), NOW)
    minutes.committed(7, NOW)
    before, last = minutes.reading(NOW)[-2:]
    assert (last.created, last.ended, last.commits, last.overwritten) == (1, {}, 7, 1)
    assert (before.created, before.ended) == (2, {"ended": 1, "expired": 2, "evicted": 1, "revoked": 1})


def test_a_fact_that_is_told_twice_counts_once() -> None:
    """The id of a fact tells that it was told before."""
    minutes, one = Minutes(), created(NOW)
    for _ in range(3):
        minutes.told(one, NOW)
    assert minutes.reading(NOW)[-1].created == 1


def test_what_is_older_than_an_hour_is_let_go() -> None:
    """A minute leaves after an hour, what comes late for it is not counted, and nothing piles up."""
    minutes = Minutes()
    minutes.told(created(NOW), NOW)
    assert minutes.reading(NOW + 59 * 60)[0].created == 1
    assert sum(minute.created for minute in minutes.reading(NOW + 60 * 60)) == 0
    minutes.told(created(NOW), NOW + 60 * 60)
    assert sum(minute.created for minute in minutes.reading(NOW + 60 * 60)) == 0
    for number in range(5000):
        minutes.told(created(NOW + number * 60), NOW + number * 60)
    assert len(minutes._tallies) <= 62
    assert len(minutes._known) <= 2000


def test_a_clock_that_is_ahead() -> None:
    """A fact of the future is of this minute; and when the clock is set back, minutes of the future are not shown."""
    minutes = Minutes()
    minutes.told(created(NOW + 3600), NOW)
    assert minutes.reading(NOW)[-1].created == 1
    assert sum(minute.created for minute in minutes.reading(NOW - 3600)) == 0


def test_since_when_facts_are_known() -> None:
    """Since the oldest fact that was told, however old; after a gap, since the first one that comes then."""
    minutes = Minutes()
    assert minutes.since is None
    minutes.told(created(NOW - 7200), NOW)
    minutes.told(created(NOW - 10), NOW)
    assert minutes.since == NOW - 7200
    minutes.told(facts.missed("history", NOW), NOW)
    assert minutes.since is None
    minutes.told(created(NOW - 5), NOW)
    assert minutes.since == NOW - 5


def test_facts_that_are_told_anew() -> None:
    """Where facts are told from the beginning again, they are counted from the beginning; commits stay."""
    minutes, one = Minutes(), created(NOW)
    minutes.told(one, NOW)
    minutes.told(ended("expired", NOW), NOW)
    minutes.committed(3, NOW)
    minutes.forget_facts()
    minutes.told(one, NOW)
    last = minutes.reading(NOW)[-1]
    assert (last.created, last.ended, last.commits) == (1, {}, 3)


# --- How fast ---------------------------------------------------------------------------------------------------------


def test_growth() -> None:
    """The growth is that between the oldest and the newest sample of the window."""
    slope = Slope(window=100, least=10)
    assert slope.per(60) is None
    slope.add(0, 5)
    slope.add(5, 10)
    assert slope.per(60) is None
    slope.add(20, 25)
    assert slope.per(60) == 60
    slope.add(110, 25)
    assert slope.per(60) == 0  # the first two have left
    slope.add(120, 15)
    assert slope.per(60) == pytest.approx(-6)


def test_a_clock_that_was_set_back_begins_anew() -> None:
    """Samples of a time that has not come yet say nothing."""
    slope = Slope(window=100, least=0.5)
    slope.add(1000, 5)
    slope.add(500, 6)
    assert slope.per(60) is None
    slope.add(510, 16)
    assert slope.per(60) == 60


# --- How long ---------------------------------------------------------------------------------------------------------


def test_percentiles() -> None:
    """A percentile is within a tenth of the one of the durations themselves, from microseconds to minutes."""
    draw = random.Random(8)
    durations = sorted(10 ** draw.uniform(-6, 2) for _ in range(5000))
    histogram: dict[int, int] = {}
    for duration in durations:
        histogram[bucket_of(duration)] = histogram.get(bucket_of(duration), 0) + 1
    for share in (0.01, 0.5, 0.9, 0.99, 1.0):
        exact = durations[max(int(share * len(durations)) - 1, 0)]
        assert percentile(histogram, share) == pytest.approx(exact, rel=0.1)
    assert percentile({}, 0.5) is None
    assert percentile({bucket_of(0.0): 1}, 0.5) == pytest.approx(1e-7, rel=0.1)


def test_latencies_are_of_two_minutes() -> None:
    """What is older than two minutes is let go, and so is what is of the future."""
    latencies = Latencies()
    for second in range(600):
        latencies.add({bucket_of(0.001 if second < 300 else 0.1): 1}, NOW + second)
    assert len(latencies._slots) <= 13
    reading = latencies.reading(NOW + 599)
    assert 110 <= sum(reading.values()) <= 130
    assert percentile(reading, 0.01) == pytest.approx(0.1, rel=0.1)
    assert latencies.reading(NOW) == {}


def test_what_came_to_a_histogram() -> None:
    """What is more than before is new; where something is less, its process began anew, and all is new."""
    assert increase({}, {1: 2}) == {1: 2}
    assert increase({1: 2, 5: 1}, {1: 5, 5: 1, 7: 1}) == {1: 3, 7: 1}
    assert increase({1: 5}, {1: 4, 2: 1}) == {1: 4, 2: 1}


# --- Outages ----------------------------------------------------------------------------------------------------------


def test_an_outage() -> None:
    """An outage begins with the first failure, goes on, and ends with the next answer; a reason is cut."""
    outages = Outages()
    assert (outages.well, outages.why) == (False, "it was not asked yet")
    outages.answered(NOW)
    assert (outages.well, outages.why, outages.reading()) == (True, "", ())
    outages.failed(NOW + 1, "x" * 500)
    outages.failed(NOW + 2, "another reason")
    assert (outages.well, outages.why) == (False, "x" * 200)
    assert outages.reading() == (Outage(NOW + 1, None, "x" * 200),)
    outages.answered(NOW + 5)
    outages.answered(NOW + 6)
    assert outages.well
    assert outages.reading() == (Outage(NOW + 1, NOW + 5, "x" * 200),)
    for number in range(100):
        outages.failed(NOW + 10 * number, "")
        outages.answered(NOW + 10 * number + 1)
    assert len(outages.reading()) == 20


def test_outages_of_several_processes() -> None:
    """Those that overlap are one, from the first beginning to the last end; one that goes on takes in what comes."""
    a, b, c = Outage(10, 20, "a"), Outage(15, 30, "b"), Outage(40, 41, "c")
    assert together([c, b, a]) == (c, Outage(10, 30, "a"))
    assert together([a, Outage(12, 13, "inside")]) == (a,)
    assert together([Outage(12, None, "now"), a, c]) == (Outage(10, None, "a"),)
    assert together([]) == ()
    assert len(together([Outage(n * 10, n * 10 + 1, "") for n in range(50)])) == 20
    assert together([Outage(n * 10, n * 10 + 1, "") for n in range(50)])[0].began == 490


# --- Totals -----------------------------------------------------------------------------------------------------------


def test_totals() -> None:
    """What processes counted is added up; what one has counted stays when it is gone, or begins anew."""
    totals = Totals()
    totals.note("one", {"commits": 5, "merged": 1, "gone": 9})
    totals.note("two", {"commits": 2})
    totals.note("one", {"commits": 6, "merged": 1})
    assert totals.reading()["commits"] == 8
    assert totals.reading()["gone"] == 0
    totals.note("one", {"commits": 1})
    assert (totals.reading()["commits"], totals.reading()["merged"]) == (9, 1)
    totals.forget("two")
    totals.forget("nobody")
    assert totals.reading()["commits"] == 9
