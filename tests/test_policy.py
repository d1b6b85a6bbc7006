"""Decisions about a record: each takes the time as an argument and looks at nothing else."""

from __future__ import annotations

from itertools import count, product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn import SessionConfig, TooLarge, ids, policy
from sojourn.policy import GRACE, amend, guard, is_over, rotation_due, settling_due, shown, touch_due, touched
from sojourn.record import Amendment, Committed, Conflict, Gone, Leased, Previous, replace
from sojourn.testing import NOW, new_record, successor

CONFIG = SessionConfig()
TIMES = st.floats(0, 10_000).map(lambda passed: NOW + passed)


@given(st.floats(1, 5000), st.floats(1, 5000), TIMES)
def test_a_session_dies_between_its_timeout_and_an_interval_more(idle: float, lasts: float, now: float) -> None:
    """Without a recorded touch a session lives through its idle timeout and is dead a touch interval later; however
    active, it is dead at the end of its absolute timeout."""
    record = new_record(idle=idle, lasts=lasts)
    if now < NOW + record.idle_timeout and now < NOW + lasts:
        assert not is_over(record, now)
    if now >= NOW + record.idle_timeout + record.touch_interval or now >= NOW + lasts:
        assert is_over(record, now)
    assert is_over(record, now) == (now >= record.expires_at)


@given(st.lists(st.floats(0, 300), max_size=30))
def test_recorded_activity_is_never_more_than_an_interval_late(gaps: list[float]) -> None:
    """When each activity is recorded if a touch is due, a visitor who was away for less than the idle timeout is never
    turned away, and one who was away for the timeout and an interval always is."""
    record, now = new_record(idle=330, lasts=1e9), NOW  # 297 s, and 33 s between touches
    for gap in gaps:
        now += gap
        if gap < record.idle_timeout:
            assert not is_over(record, now)
        if is_over(record, now):
            assert gap >= record.idle_timeout
            return
        if touch_due(record, now):
            record = touched(record, now)
        assert now - record.accessed_at < record.touch_interval
    assert is_over(record, now + record.idle_timeout + record.touch_interval)


def test_a_touch_is_due_once_an_interval() -> None:
    """A touch is due when a whole interval passed since the last."""
    record = new_record(idle=1000)
    assert not touch_due(record, NOW + 99.9)
    assert touch_due(record, NOW + 100)
    assert not touch_due(touched(record, NOW + 100), NOW + 199)


def test_a_late_touch_takes_nothing_away() -> None:
    """Touches merge by maximum."""
    record = new_record()
    assert touched(record, NOW - 5) is record
    assert touched(touched(record, NOW + 5), NOW + 3).accessed_at == NOW + 5


# --- Secrets ---------------------------------------------------------------------------------------------------------

OLD, NEW, NEWER, GUESS = (ids.digest(text) for text in ("old", "new", "newer", "guess"))


@pytest.mark.parametrize(
    ("previous", "digest", "now", "expected"),
    [
        (None, NEW, NOW, "current"),
        (None, OLD, NOW, "dead"),
        (None, GUESS, NOW, "dead"),
        (Previous((OLD,)), NEW, NOW, "current"),
        (Previous((OLD,)), OLD, NOW, "previous"),
        (Previous((OLD,)), OLD, NOW + 86_400, "previous"),
        (Previous((OLD,)), GUESS, NOW, "dead"),
        (Previous((NEWER, OLD)), OLD, NOW, "previous"),
        (Previous((OLD,), NOW), OLD, NOW + GRACE - 0.1, "previous"),
        (Previous((OLD,), NOW), OLD, NOW + GRACE, "dead"),
        (Previous((OLD,), NOW), NEW, NOW + 86_400, "current"),
    ],
    ids=count(),
)
def test_which_secret_was_shown(previous: Previous | None, digest: bytes, now: float, expected: str) -> None:
    """The newest secret is good; one that was replaced for age is until 30 s after the new one was first seen; any
    other is not."""
    assert shown(new_record(secret_digest=NEW, previous=previous), digest, now) == expected


def test_the_grace_begins_at_the_first_sight_of_the_new_secret() -> None:
    """The first sight of the new secret is to be noted, once, and only that."""
    record = new_record(secret_digest=NEW, previous=Previous((OLD,)))
    assert settling_due(record, "current")
    assert not settling_due(record, "previous")
    assert not settling_due(new_record(), "current")
    settled = amend(record, Amendment(settled=True), NOW, CONFIG)
    assert settled.previous == Previous((OLD,), NOW)
    assert not settling_due(settled, "current")
    assert amend(settled, Amendment(settled=True), NOW + 5, CONFIG) == settled


def test_a_rotation_is_due_by_age() -> None:
    """A secret is to be replaced when it is as old as the configuration says; one that nobody has seen yet, when the
    grace period has passed since it was made; never, where the configuration says so."""
    record = new_record()
    assert not rotation_due(record, NOW + 1e9, None)
    assert not rotation_due(record, NOW + 3599, 3600)
    assert rotation_due(record, NOW + 3600, 3600)
    unseen = replace(record, previous=Previous((OLD,)))
    assert not rotation_due(unseen, NOW + GRACE - 0.1, 10)
    assert rotation_due(unseen, NOW + GRACE, 3600)
    assert not rotation_due(replace(record, previous=Previous((OLD,), NOW)), NOW + 3599, 3600)


def test_a_rotation_for_age_keeps_what_may_be_on_its_way() -> None:
    """After a rotation for age the secret that was shown goes on, and so does the newest, if it was another: at most
    two."""
    record = amend(new_record(secret_digest=OLD), _for_age(NEW, OLD), NOW, CONFIG)
    assert (record.secret_digest, record.rotated_at, record.previous) == (NEW, NOW, Previous((OLD,)))
    lost = amend(record, _for_age(NEWER, OLD), NOW + GRACE, CONFIG)
    assert (lost.secret_digest, lost.previous) == (NEWER, Previous((OLD, NEW)))
    assert [shown(lost, digest, NOW + 50) for digest in (OLD, NEW, NEWER)] == ["previous", "previous", "current"]


def _for_age(digest: bytes, shown_digest: bytes) -> Amendment:
    return Amendment(secret_digest=digest, shown_digest=shown_digest, for_age=True)


@pytest.mark.parametrize("settled", [False, True])
def test_a_rotation_for_age_at_the_first_sight_of_a_secret(settled: bool) -> None:
    """A secret that is old when it is first seen is replaced, and goes on, as any other."""
    record = new_record(secret_digest=NEW, previous=Previous((OLD,)))
    wanted = Amendment(secret_digest=NEWER, shown_digest=NEW, for_age=True, settled=settled)
    rotated = amend(record, wanted, NOW, CONFIG)
    assert [shown(rotated, digest, NOW) for digest in (NEW, NEWER)] == ["previous", "current"]
    assert [shown(rotated, digest, NOW + 86_400) for digest in (NEW, NEWER)] == ["previous", "current"]


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize("login", [{}, {"login": True, "user_id": "ada"}], ids=["rotation", "login"])
def test_any_other_rotation_ends_the_old_secrets_at_once(login: dict[str, Any], settled: bool) -> None:
    """After a rotation that was asked for, or a sign-in, no older secret is good, not even one in its grace period."""
    wanted = Amendment(secret_digest=NEWER, settled=settled, **login)
    record = amend(new_record(secret_digest=NEW, previous=Previous((OLD,))), wanted, NOW, CONFIG)
    assert [shown(record, digest, NOW) for digest in (OLD, NEW, NEWER)] == ["dead", "dead", "current"]


# --- Amendments ------------------------------------------------------------------------------------------------------


def test_nothing_wanted_is_nothing_changed() -> None:
    """An empty amendment changes nothing."""
    record = new_record(user_id="ada", label="phone", previous=Previous((OLD,)))
    assert amend(record, Amendment(), NOW + 5, CONFIG) == record


def test_a_login_begins_a_generation() -> None:
    """A sign-in changes the user, begins a new generation, and starts the absolute timeout anew; a rotation does none
    of it."""
    record = new_record(lasts=50)
    login = amend(record, Amendment(secret_digest=NEW, login=True, user_id="ada"), NOW + 10, CONFIG)
    assert (login.user_id, login.generation, login.authenticated_at) == ("ada", 1, NOW + 10)
    assert login.ends_at == NOW + 10 + CONFIG.absolute_timeout
    rotated = amend(record, Amendment(secret_digest=NEW), NOW + 10, CONFIG)
    assert (rotated.user_id, rotated.generation, rotated.authenticated_at, rotated.ends_at) == (None, 0, NOW, NOW + 50)


def test_timeouts_of_one_session() -> None:
    """Timeouts of a session's own: the absolute one counts from its sign-in, and the touch interval follows the idle
    one."""
    record = new_record(authenticated_at=NOW - 100)
    changed = amend(record, Amendment(idle_timeout=50.0, absolute_timeout=500.0, persistent=True), NOW, CONFIG)
    assert (changed.idle_timeout, changed.touch_interval, changed.ends_at, changed.persistent) == (
        50,
        5,
        NOW + 400,
        True,
    )
    both = amend(record, Amendment(login=True, user_id="ada", absolute_timeout=500.0, persistent=False), NOW, CONFIG)
    assert (both.ends_at, both.persistent) == (NOW + 500, False)


def test_a_lease_is_given_back() -> None:
    """The end of a lease keeps its number."""
    record = replace(new_record(), fence=3, leased_until=NOW + 10)
    given_back = amend(record, Amendment(give_back=True), NOW + 1, CONFIG)
    assert (given_back.fence, given_back.leased_until) == (3, 0.0)


def test_labels() -> None:
    """A label is set, taken away, or kept."""
    record = new_record(label="phone")
    assert amend(record, Amendment(label="tablet"), NOW, CONFIG).label == "tablet"
    assert amend(record, Amendment(label=None), NOW, CONFIG).label is None
    assert amend(record, Amendment(persistent=True), NOW, CONFIG).label == "phone"


# --- The guard -------------------------------------------------------------------------------------------------------


def test_the_guard() -> None:
    """May this commit pass? The whole table: no record; the commit itself, made before; another generation, or over;
    leased to somebody else; another version. The first that applies is the answer."""
    base = new_record(fence=4)
    wanted = successor(base)
    assert guard(None, base, wanted, NOW) == Gone()
    for made, generation, passed, lease, fence, newer in product((0, 1), (0, 1), (0, 5000), (0, 10), (0, 3, 4), (0, 1)):
        current = replace(base, generation=generation, leased_until=NOW + passed + lease if lease else 0.0)
        if newer:
            current = successor(current)
        if made:
            current = replace(current, versions=wanted.version + current.versions)
        expected: Any = None
        if made:
            expected = Committed(current)
        elif generation or passed:
            expected = Gone()
        elif (fence and fence != 4) or (lease and not fence):
            expected = Leased(current)
        elif newer:
            expected = Conflict(current)
        assert guard(current, base, wanted, NOW + passed, fence) == expected


def test_a_touch_is_no_conflict() -> None:
    """What differs in its last activity alone has the same version."""
    base = new_record()
    assert guard(touched(base, NOW + 5), base, successor(base), NOW + 5) is None


def test_a_large_field_is_refused() -> None:
    """A field past ``max_field_bytes`` is refused with both sizes, and so is a session past ``max_session_bytes``; one
    of just that size is not."""
    config = SessionConfig(max_field_bytes=100, max_session_bytes=150)
    policy.check_sizes({"a": b"x" * 100, "gone": None}, 150, config)
    with pytest.raises(TooLarge, match=r"'a' takes 101 bytes and max_field_bytes allows 100") as caught:
        policy.check_sizes({"a": b"x" * 101}, 101, config)
    assert (caught.value.size, caught.value.limit) == (101, 100)
    with pytest.raises(TooLarge, match="the session takes 151 bytes and max_session_bytes allows 150"):
        policy.check_sizes({}, 151, config)
