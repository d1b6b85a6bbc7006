"""Values that were handed out are brought up to date where they are."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.adopting import adopt, append_to

ATOMS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["a", "b"])
VALUES = st.recursive(
    ATOMS | st.sets(st.integers(0, 5)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)
CONTAINERS = VALUES.filter(lambda value: type(value) in (list, dict, set))


@given(old=CONTAINERS, new=CONTAINERS)
def test_the_old_object_becomes_equal_to_the_new(old: Any, new: Any) -> None:
    """Two containers of one kind: the old object is equal to the new one then, which is left as it was. Of two kinds:
    nothing happens."""
    before, wanted = copy.deepcopy(old), copy.deepcopy(new)
    same = type(old) is type(new)
    assert adopt(old, new) is same
    assert old == (wanted if same else before)
    assert new == wanted


def test_what_is_inside_stays_the_very_object() -> None:
    """A container under a key is the same object afterwards, and so is one in a list where an equal one is still
    there; another that has come to its place is none of it."""
    old: Any = {"cart": {"items": [1]}, "list": [{"n": 1}, {"n": 2}, {"n": 3}]}
    items, one, two, three = old["cart"]["items"], *old["list"]
    adopt(old, {"cart": {"items": [1, 2]}, "list": [{"n": 3}, {"n": 4}, {"n": 1}]})
    assert old["cart"]["items"] is items
    assert items == [1, 2]
    assert old["list"][0] is three
    assert old["list"][2] is one
    assert all(element is not two for element in old["list"])
    assert two == {"n": 2}


@given(base=st.lists(ATOMS), added=st.lists(ATOMS, max_size=3), theirs=st.lists(ATOMS))
def test_what_was_appended_is_appended_to_theirs(base: list[Any], added: list[Any], theirs: list[Any]) -> None:
    """A list to which something was appended becomes theirs, with the same appended."""
    mine = [*base, *added]
    assert append_to(mine, list(base), list(theirs))
    assert mine == [*theirs, *added]


@pytest.mark.parametrize(
    ("mine", "base", "theirs"),
    [([1, 3], [1, 2], [1, 2, 4]), ([], [1], [1]), ({"a": 1}, {}, {}), ([1], [], {}), ([1], {}, [])],
)
def test_other_changes_are_left_to_the_merge(mine: Any, base: Any, theirs: Any) -> None:
    """What is no list with something appended stays as it is."""
    before = copy.deepcopy(mine)
    assert not append_to(mine, base, theirs)
    assert mine == before
