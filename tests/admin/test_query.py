"""What an operator asks of a list of sessions: which match, in which order, and by which way they are found."""

from __future__ import annotations

from typing import Any

import pytest

from sojourn.admin.query import (
    Query,
    Sort,
    after_of,
    beyond,
    filtered,
    idle_bounds,
    in_order,
    rank,
    route,
    wanted_order,
)
from sojourn.record import Summary, replace
from sojourn.testing import NOW, new_record


def summary(**given: Any) -> Summary:
    return Summary.of(new_record(**given))


ADA = replace(
    summary(user_id="ada", label="Firefox on Straße", handle="aB_-" + "x" * 18),
    created_at=NOW - 100,
    last_accessed_at=NOW - 10,
    expires_at=NOW + 1,
)


@pytest.mark.parametrize(
    ("asked", "matches"),
    [
        ({}, True),
        ({"user": "ada"}, True),
        ({"user": "ad"}, False),
        ({"user": "Ada"}, False),
        ({"handle": "aB_"}, True),
        ({"handle": str(ADA.handle)}, True),
        ({"handle": "ab_"}, False),
        ({"handle": "B_"}, False),
        ({"label": "fireFOX"}, True),
        ({"label": "STRASSE"}, True),
        ({"label": "chrome"}, False),
        ({"older_than": 100.0}, True),
        ({"older_than": 100.5}, False),
        ({"younger_than": 100.0}, False),
        ({"younger_than": 100.5}, True),
        ({"idle_for_more": 10.0}, True),
        ({"idle_for_more": 10.5}, False),
        ({"idle_for_less": 10.0}, False),
        ({"idle_for_less": 10.5}, True),
        ({"user": "ada", "label": "chrome"}, False),
        ({"older_than": 0.0, "idle_for_more": 0.0}, True),
    ],
)
def test_what_matches(asked: dict[str, Any], matches: bool) -> None:
    """A user is matched whole, a handle by its beginning, a label by any part in any case, and times by their bounds;
    all that is asked for must hold."""
    assert Query(**asked).matches(ADA, NOW) is matches


def test_what_is_over_matches_nothing() -> None:
    """A session that is over is not found, whatever is asked for; one without a user or label only where neither is."""
    assert not Query().matches(ADA, NOW + 1)
    nobody = summary()
    assert Query().matches(nobody, NOW)
    assert not Query(label="x").matches(nobody, NOW)
    assert not Query(user="ada").matches(nobody, NOW)


@pytest.mark.parametrize(
    ("asked", "with_orders", "without"),
    [
        ({}, "activity", "walk"),
        ({"sort": "stored"}, "walk", "walk"),
        ({"sort": "size"}, "walk", "walk"),
        ({"label": "x"}, "activity", "walk"),
        ({"label": "x", "sort": "created"}, "walk", "walk"),
        ({"idle_for_more": 5.0}, "activity", "walk"),
        ({"user": "ada"}, "user", "user"),
        ({"user": "ada", "sort": "size"}, "user", "user"),
        ({"handle": "x" * 22}, "handle", "handle"),
        ({"handle": "x" * 21}, "handle", "walk"),
        ({"handle": "x" * 21, "user": "ada"}, "handle", "user"),
    ],
)
def test_the_way_that_is_taken(asked: dict[str, Any], with_orders: str, without: str) -> None:
    """An index is used wherever the store has one, the one that leaves the fewest; and else all are looked at."""
    query = Query(**asked)
    assert route(query, by_activity=True) == with_orders
    assert route(query, by_activity=False) == without
    assert route(Query(handle="x" * 22), by_activity=False, handle_length=33) == "walk"


@pytest.mark.parametrize(
    ("asked", "way", "read", "ordered"),
    [
        ({}, "activity", True, True),
        ({"idle_for_more": 5.0}, "activity", True, True),
        ({"label": "x"}, "activity", False, True),
        ({}, "walk", True, False),
        ({"sort": "stored"}, "walk", True, True),
        ({"sort": "stored", "older_than": 0.0}, "walk", False, True),
        ({"idle_for_less": 5.0}, "walk", False, False),
        ({"sort": "size"}, "walk", False, False),
        ({"user": "ada"}, "user", False, False),
        ({"user": "ada", "sort": "stored"}, "user", False, True),
    ],
)
def test_what_is_read_page_by_page(asked: dict[str, Any], way: Any, read: bool, ordered: bool) -> None:
    """Without a filter a list is read a page at a time; and what comes in the order that is asked for is not looked at
    to its end."""
    assert in_order(Query(**asked), way) is read
    assert wanted_order(Query(**asked), way) is ordered


@pytest.mark.parametrize("sort", ["seen", "created", "expires", "size", "user"])
@pytest.mark.parametrize("descending", [True, False])
def test_the_order(sort: Sort, descending: bool) -> None:
    """Sessions are sorted by what was asked for, either way round; who is nobody's comes last both ways."""
    low, high, none = (
        replace(
            ADA,
            created_at=at,
            last_accessed_at=at,
            expires_at=at,
            size=int(at),
            user_id=None if at == 3 else f"user-{at}",
        )
        for at in (1.0, 2.0, 3.0)
    )
    query = Query(sort=sort, descending=descending)
    found = sorted([high, none, low], key=lambda one: rank(query, one), reverse=descending)
    if sort == "user":
        assert found == ([high, low, none] if descending else [low, high, none])
    else:
        assert found == ([none, high, low] if descending else [low, high, none])


def test_a_range_of_handles() -> None:
    """What comes after the place before a beginning, in order, begins with those that begin so: with any next
    character, and the beginning itself."""
    characters = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"
    for last in characters:
        beginning, place = f"ab{last}", after_of(f"ab{last}")
        assert place < beginning
        for before in characters[: characters.index(last)]:
            assert f"ab{before}{'z' * 19}" < place
        assert all(place < f"{beginning}{one}" for one in characters)


def test_the_bounds_of_idleness() -> None:
    """In the order of the last activity, those that are idle for as long as is asked lie between two places."""
    times = [NOW - idle for idle in range(10)]
    for descending in (True, False):
        query = Query(idle_for_more=3.0, idle_for_less=6.0, descending=descending)
        ordered = sorted(times, reverse=descending)
        begin, end = idle_bounds(query, NOW)
        assert begin is not None
        after = [at for at in ordered if ((at, "x") < begin if descending else (at, "x") > begin)]
        found = [at for at in after if not beyond(query, replace(ADA, last_accessed_at=at), end)]
        assert [at for at in found if 3.0 <= NOW - at < 6.0] == [at for at in ordered if 3.0 <= NOW - at < 6.0]
        assert len(found) <= 4
        begin, end = idle_bounds(Query(descending=descending), NOW)
        assert begin is None
        assert not any(beyond(Query(descending=descending), replace(ADA, last_accessed_at=at), end) for at in times)


def test_what_is_a_filter() -> None:
    """Idleness alone is a part of an order; all else leaves sessions out."""
    assert not filtered(Query(idle_for_less=1.0, sort="size"))
    assert all(
        filtered(Query(**asked))
        for asked in ({"user": "a"}, {"handle": "a"}, {"label": "a"}, {"older_than": 0.0}, {"younger_than": 1.0})
    )
