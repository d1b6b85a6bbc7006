"""The three-way merge: what one writer changed, replayed onto what the session has become since."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from sojourn import SessionManager
from sojourn.codec import Codec
from sojourn.errors import UnsupportedValue
from sojourn.merge import Merged, replay, three_way
from sojourn.record import Assign, Changed, Delta, Op, Unset, Update
from values import ATOMS, VALUES, shape

CODEC = Codec()
_KEYS = st.sampled_from("pqrs")
NAN = float("nan")


def merge(base: Any, mine: Any, theirs: Any) -> tuple[Any, list[str]]:
    """The merge of three values that share nothing, as they come from a store, and what was overruled."""
    lost: list[str] = []
    one, two, three = (CODEC.decode("", CODEC.encode("", value)) for value in (base, mine, theirs))
    return three_way(CODEC, one, two, three, "f", lost), lost


def replayed(current: Any, *ops: Op, base: Any = None) -> tuple[Any, tuple[str, ...]]:
    """What becomes of the field ``f`` and what is reported; None stands for no field."""
    fields = {} if current is None else {"f": CODEC.encode("f", current)}
    loaded = {} if base is None else {"f": CODEC.encode("f", base)}
    merged = replay(CODEC, fields, Delta(loaded, {"f": ops}, {"f": None}))
    data = merged.values["f"]
    return (None if data is None else CODEC.decode("f", data)), merged.overwritten


def changed(before: Any, after: Any) -> Changed:
    return Changed(CODEC.encode("f", before), CODEC.encode("f", after))


# --- Laws ------------------------------------------------------------------------------------------------------------


@given(VALUES, VALUES)
@example({NAN}, {1})
@example([NAN, 0.0], [NAN, -0.0])
def test_who_changed_nothing_takes_what_is_there(base: Any, theirs: Any) -> None:
    """merge(base, base, theirs) is theirs, and nothing is overruled."""
    merged, lost = merge(base, base, theirs)
    assert (shape(merged), lost) == (shape(theirs), [])


@given(VALUES, VALUES)
@example({NAN}, {1})
def test_who_is_alone_gets_what_they_made(base: Any, mine: Any) -> None:
    """merge(base, mine, base) is mine, and nothing is overruled."""
    merged, lost = merge(base, mine, base)
    assert (shape(merged), lost) == (shape(mine), [])


@given(VALUES, VALUES)
@example(1, {"a": NAN})
@example({1, NAN}, {2, NAN})
@example([1], [2, 1])
@example({"a": 1}, {"b": {"c": 2}})
@example({}, {NAN: 1, (NAN,): 2})
def test_who_agree_overrule_nobody(base: Any, both: Any) -> None:
    """merge(base, same, same) is the same but for lists, where items that both appended are there twice; nothing is
    overruled."""
    merged, lost = merge(base, both, both)
    assert lost == []
    if "list" not in repr(shape(both)):
        assert shape(merged) == shape(both)


@given(st.lists(ATOMS, max_size=3), st.lists(ATOMS, min_size=1, max_size=3), st.lists(_KEYS, max_size=3))
def test_the_same_item_appended_twice_is_two_items(base: Any, items: list[Any], path: list[str]) -> None:
    """Two writers who append the same to one list have appended it twice: two apples, not one."""
    both, expected = base + items, base + items + items
    for key in path:
        base, both, expected = ({key: value} for value in (base, both, expected))
    merged, lost = merge(base, both, both)
    assert (shape(merged), lost) == (shape(expected), [])


@given(VALUES, VALUES, VALUES)
def test_a_merge_is_always_a_value(base: Any, mine: Any, theirs: Any) -> None:
    """Any three values merge into one that can be stored; where they are not merged, mine wins and it is reported."""
    merged, lost = merge(base, mine, theirs)
    CODEC.encode("", merged)
    if type(mine) is not type(theirs) and shape(mine) != shape(base) != shape(theirs):
        assert (shape(merged), lost) == (shape(mine), ["f"])


# --- Disjoint facts --------------------------------------------------------------------------------------------------

_DOCUMENTS = st.recursive(
    st.one_of(st.lists(ATOMS, max_size=3), st.sets(st.integers(0, 9)), st.integers(0, 3)),
    lambda inner: st.dictionaries(_KEYS, inner, min_size=1, max_size=4),
    max_leaves=10,
).map(lambda value: {"root": value})

Edit = tuple[tuple[str, ...], str, Any]


def _places(document: dict[str, Any], path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Any]]:
    """Every container and scalar of a document with its path."""
    found: list[tuple[tuple[str, ...], Any]] = [(path, document)]
    for key, value in document.items():
        found += _places(value, (*path, key)) if isinstance(value, dict) else [((*path, key), value)]
    return found


def _edit(document: dict[str, Any], edits: list[Edit]) -> dict[str, Any]:
    """A copy of the document with these edits."""
    edited = copy.deepcopy(document)
    for path, verb, value in edits:
        holder: Any = edited
        for key in path[:-1]:
            holder = holder[key]
        at = holder[path[-1]] if path and verb in ("append", "add", "discard", "new") else edited if not path else None
        if verb == "new":
            at[value] = value
        elif verb == "append":
            at.append(value)
        elif verb == "add":
            at.add(value)
        elif verb == "discard":
            at.discard(value)
        elif verb == "set":
            holder[path[-1]] = value
        else:
            del holder[path[-1]]
    return edited


@st.composite
def _disjoint_edits(draw: st.DrawFn) -> tuple[dict[str, Any], list[Edit], list[Edit]]:
    """A document, and what two writers do to it who never touch the same thing."""
    document = draw(_DOCUMENTS)
    edits: tuple[list[Edit], list[Edit]] = ([], [])
    for path, value in _places(document):
        owner = draw(st.integers(0, 1))
        if isinstance(value, dict):
            for writer in draw(st.sets(st.integers(0, 1))):
                edits[writer].append((path, "new", f"new {writer}"))
        elif isinstance(value, list):
            for writer in draw(st.sets(st.integers(0, 1))):
                edits[writer].extend((path, "append", item) for item in draw(st.lists(ATOMS, max_size=3)))
        elif isinstance(value, set):
            for member in draw(st.sets(st.integers(0, 12))):
                edits[draw(st.integers(0, 1))].append((path, "discard" if member in value else "add", member))
        elif verb := draw(st.sampled_from(["", "set", "delete"])):
            edits[owner].append((path, verb, draw(ATOMS)))
    return document, *edits


@given(_disjoint_edits())
def test_disjoint_facts_all_hold(case: tuple[dict[str, Any], list[Edit], list[Edit]]) -> None:
    """What two writers did to different things is all there, as if one had worked after the other, and nothing is
    overruled: keys set, changed and deleted at any depth, items appended, members added and removed."""
    base, mine, theirs = case
    merged, lost = merge(base, _edit(base, mine), _edit(base, theirs))
    assert (shape(merged), lost) == (shape(_edit(_edit(base, theirs), mine)), [])


@given(_disjoint_edits())
def test_disjoint_facts_commute(case: tuple[dict[str, Any], list[Edit], list[Edit]]) -> None:
    """It does not matter which of two such writers comes first, but for the order of what they appended."""
    base, one, two = case
    forth, _ = merge(base, _edit(base, one), _edit(base, two))
    back, _ = merge(base, _edit(base, two), _edit(base, one))
    assert _unordered(forth) == _unordered(back)


def _unordered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unordered(member) for key, member in value.items()}
    return sorted(map(repr, map(shape, value))) if isinstance(value, list) else shape(value)


@given(st.lists(st.lists(st.integers(), max_size=3), min_size=2, max_size=6), st.permutations(range(6)))
def test_every_writer_of_many_is_kept(appended: list[list[int]], order: list[int]) -> None:
    """However many append to one list, from whatever they had loaded, every item is kept."""
    base = {"cart": {"items": [0]}}
    current: Any = base
    for writer in order:
        if writer < len(appended):
            mine = {"cart": {"items": [0, *appended[writer]]}}
            current, lost = merge(base, mine, current)
            assert not lost
    assert sorted(current["cart"]["items"]) == sorted([0, *(item for items in appended for item in items)])


# --- The rule for each kind ------------------------------------------------------------------------------------------

_ABSENT = object()
_CELLS = st.sampled_from([_ABSENT, 1, True, 1.0, "1", None, NAN])


@given(st.dictionaries(st.integers(0, 8), st.tuples(_CELLS, _CELLS, _CELLS)))
def test_each_key_is_decided_by_itself(table: dict[int, tuple[Any, Any, Any]]) -> None:
    """Of each key: what only one writer changed holds; where both changed it, mine wins, and exactly that is reported.
    1, 1.0 and True are different values."""
    base, mine, theirs = ({k: cells[at] for k, cells in table.items() if cells[at] is not _ABSENT} for at in range(3))
    expected, overruled = {}, []
    for key, (before, here, there) in table.items():
        told = [_ABSENT if cell is _ABSENT else shape(cell) for cell in (before, here, there)]
        value = there if told[1] == told[0] else here
        if value is not _ABSENT:
            expected[key] = value
        if told[1] != told[0] != told[2] and told[1] != told[2]:
            overruled.append(f"f.{key}")
    merged, lost = merge(base, mine, theirs)
    assert (shape(merged), sorted(lost)) == (shape(expected), sorted(overruled))


@given(st.lists(ATOMS, max_size=4), st.lists(ATOMS, max_size=3), st.lists(ATOMS, max_size=3))
@example([NAN], [1], [2])
@example([{"a": NAN}], [1], [2])
def test_appended_items_are_appended(base: list[Any], mine: list[Any], theirs: list[Any]) -> None:
    """While the base is a prefix of both, what both appended is kept: theirs first, as they came first."""
    assume(mine and theirs)
    merged, lost = merge(base, base + mine, base + theirs)
    assert (shape(merged), lost) == (shape(base + theirs + mine), [])


@pytest.mark.parametrize(
    ("base", "mine", "theirs"),
    [
        ([1, 2], [2], [1, 2, 3]),
        ([1, 2], [1, 2, 3], [2]),
        ([1, 2], [2, 1], [1, 2, 3]),
        ([1, 2], [0, 1, 2], [1, 2, 3]),
        ([1], [1.0, 2], [1, 3]),
        ([1], [True, 2], [1, 3]),
        ([0.0], [0.0, 2], [-0.0, 3]),
        ([{"a": 1}], [{"a": 2}], [{"a": 1}, 5]),
        ((1,), (1, 2), (1, 3)),
        ("a", "ab", "ac"),
        ({"x"}, ["x"], {"x", "y"}),
        (1, 2, 3),
    ],
)
def test_what_cannot_be_merged_is_mine_and_reported(base: Any, mine: Any, theirs: Any) -> None:
    """A list that was changed otherwise than at its end, and any value that is no container, is one thing: the later
    commit wins, whole, and it is reported."""
    merged, lost = merge(base, mine, theirs)
    assert (shape(merged), lost) == (shape(mine), ["f"])


_MEMBERS = st.sets(st.integers(0, 5) | st.text(max_size=1) | st.tuples(st.integers(0, 2)), max_size=5)


@given(_MEMBERS, _MEMBERS, _MEMBERS, st.booleans())
def test_members_are_added_and_removed(base: set[Any], mine: set[Any], theirs: set[Any], frozen: bool) -> None:
    """A member is there if it was added by either, or was there and was removed by neither; nothing is overruled."""
    assume(mine != base != theirs)
    kind: Callable[[Any], Any] = frozenset if frozen else set
    merged, lost = merge(kind(base), kind(mine), kind(theirs))
    expected = {
        m for m in base | mine | theirs if (m in mine and m in theirs) or (m not in base and (m in mine or m in theirs))
    }
    assert type(merged) is kind
    assert (merged, lost) == (expected, [])


@pytest.mark.parametrize("kind", [set, frozenset])
def test_members_are_told_apart_by_type(kind: Any) -> None:
    """A member that was replaced by an equal one of another type is replaced, and NaN is one member, not three."""
    assert shape(merge(kind({1}), kind({True}), kind({1, 2}))[0]) == shape(kind({True, 2}))
    assert shape(merge(kind({NAN}), kind({NAN, 1}), kind({NAN, 2}))[0]) == shape(kind({NAN, 1, 2}))
    assert shape(merge(kind({NAN}), kind({1}), kind({NAN, 2}))[0]) == shape(kind({1, 2}))


# --- Deletions -------------------------------------------------------------------------------------------------------

_INSIDE = st.sampled_from([({"a": 1}, {"a": 2}), ({}, {"b": 1}), ([1], [1, 2]), ([1], []), ({1}, {1, 2}), ({1}, set())])


@given(_INSIDE, st.lists(_KEYS, max_size=3), st.booleans())
def test_a_deleted_container_stays_deleted(inside: tuple[Any, Any], path: list[str], mine_deletes: bool) -> None:
    """A container that one writer deleted and another changed inside is gone, whoever came first, and it is
    reported."""
    before, after = inside
    deleted: Any = {"kept": 0}
    base: Any = {"kept": 0, "gone": before}
    edited: Any = {"kept": 0, "gone": after}
    for key in path:
        deleted, base, edited = ({key: value, "other": 1} for value in (deleted, base, edited))
    merged, lost = merge(base, deleted, edited) if mine_deletes else merge(base, edited, deleted)
    assert merged == deleted
    assert lost == [".".join(["f", *reversed(path), "gone"])]


@given(VALUES, st.lists(_KEYS, max_size=2), st.booleans())
def test_a_deletion_alone_is_no_loss(value: Any, path: list[str], mine_deletes: bool) -> None:
    """What one writer deleted and the other left alone is gone, and nothing is reported."""
    deleted: Any = {"kept": 0}
    base: Any = {"kept": 0, "gone": value}
    other: Any = {"kept": 0, "gone": value, "new": 1}
    expected: Any = {"kept": 0, "new": 1}
    for key in path:
        deleted, base, other, expected = ({key: holder} for holder in (deleted, base, other, expected))
    merged, lost = merge(base, deleted, other) if mine_deletes else merge(base, other, deleted)
    assert (merged, lost) == (expected, [])


@given(_INSIDE)
def test_a_deleted_field_stays_deleted(inside: tuple[Any, Any]) -> None:
    """A field that another writer deleted is not brought back by a change inside it, which is reported."""
    assert replayed(None, changed(*inside), base=inside[0]) == (None, ("f",))


@given(VALUES, VALUES)
def test_a_deletion_holds(base: Any, current: Any) -> None:
    """A field that was deleted here is gone, and if somebody else had changed it, that is reported."""
    assume(base is not None and current is not None)
    overruled = () if shape(base) == shape(current) else ("f",)
    assert replayed(current, Unset(), base=base) == (None, overruled)


def test_both_delete() -> None:
    """A field that both deleted is gone, and nothing is reported."""
    assert replayed(None, Unset(), base=1) == (None, ())


# --- Assignments -----------------------------------------------------------------------------------------------------


@given(VALUES, VALUES, VALUES)
def test_an_assignment_is_never_mixed(base: Any, theirs: Any, assigned: Any) -> None:
    """An assignment replaces the whole field, whatever is there by then; that is reported if somebody else had changed
    it to something different."""
    assume(base is not None and theirs is not None and assigned is not None)
    value, overwritten = replayed(theirs, Assign(CODEC.encode("f", assigned)), base=base)
    assert shape(value) == shape(assigned)
    other = (
        shape(theirs) not in (shape(base), shape(assigned))
        if shape(base) != shape(assigned)
        else shape(theirs) != shape(base)
    )
    assert overwritten == (("f",) if other else ())


@given(VALUES, VALUES)
def test_an_assignment_holds_where_the_field_was_deleted(base: Any, assigned: Any) -> None:
    """A field that another writer deleted is there again after an assignment, and that is reported."""
    assume(base is not None and assigned is not None)
    value, overwritten = replayed(None, Assign(CODEC.encode("f", assigned)), base=base)
    assert (shape(value), overwritten) == (shape(assigned), ("f",))


# --- Replay ----------------------------------------------------------------------------------------------------------


def test_what_was_done_is_replayed_in_order() -> None:
    """A field's operations are replayed one after the other, each on what the one before it left."""
    double = Update(lambda value: value * 2)
    add = Update(lambda value: (value or 0) + 1)
    assert replayed(5, add, double, base=1) == (12, ())
    assert replayed(5, double, add, base=1) == (11, ())
    assert replayed(None, add) == (1, ())
    assert replayed(5, Unset(), add, base=5) == (1, ())
    assert replayed(5, Assign(CODEC.encode("f", 3)), add, base=1) == (4, ("f",))
    assert replayed(5, Assign(CODEC.encode("f", 3)), add, base=5) == (4, ())
    more = Update(lambda items: [*items, "last"])
    assert replayed([0, 9], changed([0], [0, 1]), more, base=[0]) == ([0, 9, 1, "last"], ())
    assert replayed([0, 9], more, changed([0, "last"], [0, "last", 1]), base=[0]) == ([0, "last", 1], ("f",))
    assert replayed([0], more, changed([0, "last"], [0, "last", 1]), base=[0]) == ([0, "last", 1], ())


def test_an_update_is_never_reported() -> None:
    """A function of the current value overrules nobody."""
    assert replayed(7, Update(lambda value: value + 1), base=1) == (8, ())


def test_an_update_sees_none_where_there_is_nothing() -> None:
    """The function gets None for a field that is not there, and may leave a None."""
    seen: list[Any] = []
    assert replayed(None, Update(seen.append), base=3) == (None, ())
    assert seen == [None]


def test_what_a_function_raises_comes_out() -> None:
    """What an update's function raises comes out as it is; what it returns must be something that can be kept."""

    def fail(value: Any) -> Any:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        replayed(1, Update(fail))
    with pytest.raises(UnsupportedValue, match=r"^f: cannot store <object>"):
        replayed(1, Update(lambda value: object()))


@given(st.dictionaries(st.sampled_from("abc"), VALUES), st.dictionaries(st.sampled_from("abc"), VALUES), VALUES)
def test_only_what_was_touched_is_in_the_answer(current: dict[str, Any], base: dict[str, Any], mine: Any) -> None:
    """A replay answers for the fields that its delta touched and for no other, and leaves its arguments as they
    were."""
    fields = {name: CODEC.encode(name, value) for name, value in current.items()}
    loaded = {name: CODEC.encode(name, value) for name, value in base.items()}
    before, after = CODEC.encode("b", []), CODEC.encode("b", mine)
    delta = Delta(loaded, {"a": (Assign(after),), "b": (Changed(before, after),)}, {"a": after, "b": after})
    copies = (dict(fields), dict(loaded))
    merged = replay(CODEC, fields, delta)
    assert merged.values.keys() == {"a", "b"}
    assert (fields, loaded) == copies
    assert delta == Delta(copies[1], delta.ops, delta.local)


def test_keys_are_told_apart_by_type() -> None:
    """A key that is NaN, or holds one, is one key however often it was read; one that was replaced by an equal key of
    another type is replaced."""
    for key in (NAN, (NAN, 1), frozenset({NAN})):
        assert shape(merge({key: 0}, {key: 1}, {key: 0, "new": 1})[0]) == shape({key: 1, "new": 1})
        assert shape(merge({key: 0}, {}, {key: 0, "new": 1})[0]) == shape({"new": 1})
    assert shape(merge({1: "a"}, {True: "a"}, {1: "a", "new": 1})[0]) == shape({True: "a", "new": 1})


def test_paths_name_what_was_overruled() -> None:
    """Overruled writers are told where: the field, then the keys."""
    base = {"address": {"city": "Bonn", "lines": [1]}, "n": 1, 5: 0}
    mine = {"address": {"city": "Köln", "lines": []}, "n": 2, 5: 1}
    theirs = {"address": {"city": "Berlin", "lines": [1, 2]}, "n": 3, 5: 2}
    assert sorted(merge(base, mine, theirs)[1]) == ["f.5", "f.address.city", "f.address.lines", "f.n"]
    fields = {name: CODEC.encode("", 9) for name in ("a", "b", "c")}
    ops: dict[str, tuple[Op, ...]] = {"a": (Assign(CODEC.encode("", 1)),), "b": (Unset(),), "c": (Assign(fields["c"]),)}
    assert replay(CODEC, fields, Delta({}, ops, {})) == Merged(
        {"a": CODEC.encode("", 1), "b": None, "c": fields["c"]}, ("a", "b")
    )


def test_two_who_find_a_field_missing_both_keep_what_they_put_in() -> None:
    """`setdefault` is no assignment: of two writers who both find a field missing, each keeps what it put into it."""
    sessions = SessionManager()
    session_id = sessions.create_session()
    with sessions.session(session_id) as mine, sessions.session(session_id) as theirs:
        mine.setdefault("cart", []).append("apple")
        theirs.setdefault("cart", []).append("apple")
        mine.setdefault("prefs", {})["theme"] = "dark"
        theirs.setdefault("prefs", {})["language"] = "en"
        mine.setdefault("locale", "de")
        theirs.setdefault("locale", "fr")
    assert sessions.get_session(session_id) == {
        "cart": ["apple", "apple"],
        "prefs": {"theme": "dark", "language": "en"},
        "locale": "fr",
    }
    assert not sessions.counts["overwritten"]


def test_two_who_find_a_nested_key_missing_both_keep_what_they_put_in() -> None:
    """A container that is new on both sides is merged as if it had been there, empty: also if both put in the same."""
    sessions = SessionManager()
    session_id = sessions.create_session(data={"cart": {}})
    with sessions.session(session_id) as mine, sessions.session(session_id) as theirs:
        for session, theme in ((mine, "dark"), (theirs, "light")):
            session["cart"].setdefault("items", []).append("apple")
            session["cart"].setdefault("wishes", {})[theme] = True
    assert sessions.get_session(session_id) == {
        "cart": {"items": ["apple", "apple"], "wishes": {"light": True, "dark": True}}
    }
    assert not sessions.counts["overwritten"]
