"""`Session`: a mapping that remembers its own delta."""

from __future__ import annotations

import copy
from collections.abc import Callable, MutableMapping
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from sojourn import (
    DamagedRecord,
    Handle,
    Session,
    SessionClosed,
    SessionConfig,
    SessionManager,
    UnsupportedValue,
)
from sojourn.codec import Codec
from sojourn.merge import replay
from sojourn.session import Context, PlainSession
from sojourn.testing import NOW, Clock, new_record
from values import VALUES, Basket, Point, shape

CODEC = Codec()
NAMES = st.sampled_from(["a", "b", "c", "d"])


class CountingCodec(Codec):
    def __init__(self) -> None:
        super().__init__()
        self.decoded: list[str] = []

    def decode(self, name: str, data: bytes) -> Any:
        self.decoded.append(name)
        return super().decode(name, data)


def loaded(values: dict[str, Any], codec: Codec = CODEC, config: SessionConfig | None = None, **record: Any) -> Session:
    """A session as it was loaded from a store."""
    fields = {name: CODEC.encode(name, value) for name, value in values.items()}
    context = Context(codec, config or SessionConfig(), lambda session: None)
    return PlainSession(context, new_record(fields=fields, **record), "s" * 43, NOW, "live")


def committed(session: Session) -> dict[str, Any]:
    """What the session's delta makes of the fields that were loaded."""
    fields = dict(session.record.fields)
    delta = session.delta()
    if delta is not None:
        for name, data in delta.local.items():
            fields.pop(name, None)
            if data is not None:
                fields[name] = data
    return {name: CODEC.decode(name, data) for name, data in fields.items()}


# --- Reading ---------------------------------------------------------------------------------------------------------


@given(st.dictionaries(st.text(max_size=5), VALUES, max_size=4))
@settings(max_examples=200)
def test_reading_marks_nothing_modified(values: dict[str, Any]) -> None:
    """Whatever the values, looking at all of them in every way there is leaves nothing to commit."""
    session = loaded(values)
    assert {name: shape(value) for name, value in session.items()} == {
        name: shape(value) for name, value in values.items()
    }
    assert list(session) == list(values)
    assert len(session) == len(values)
    assert [shape(value) for value in session.values()] == [shape(value) for value in values.values()]
    assert all(name in session and session.has(name) for name in values)
    assert shape(session.to_dict()) == shape(values)
    assert session == dict(session)
    assert repr(session)
    assert not session.modified
    assert session.delta() is None


def test_values_are_decoded_when_they_are_read() -> None:
    """Of two hundred fields of which one is read, one is decoded; it is decoded once."""
    codec = CountingCodec()
    session = loaded({f"field {number}": [number] for number in range(200)}, codec)
    assert "field 7" in session
    assert len(session) == 200
    assert codec.decoded == []
    assert session["field 7"] is session["field 7"]
    session["field 7"].append(1)
    session["field 8"] = 1
    del session["field 9"]
    assert session.modified
    assert codec.decoded == ["field 7"]


def test_it_is_a_mutable_mapping() -> None:
    """A session is a `MutableMapping`, equal to a dict with the same items, and not hashable."""
    session = loaded({"a": 1, "b": [2]})
    assert isinstance(session, MutableMapping)
    assert session == {"a": 1, "b": [2]}
    assert session != {"a": 1}
    assert (session.get("a"), session.get("x"), session.get("x", 5)) == (1, None, 5)
    with pytest.raises(KeyError, match="x"):
        session["x"]
    with pytest.raises(KeyError, match="x"):
        del session["x"]
    assert (session.delete("x"), session.delete("a")) == (False, True)
    with pytest.raises(TypeError):
        hash(session)


def test_a_stored_none_is_a_value() -> None:
    """A field that holds None is there."""
    session = loaded({"a": None})
    assert session.has("a")
    assert session.setdefault("a", 5) is None
    assert not session.modified


def test_a_plain_dict_shares_nothing() -> None:
    """`to_dict` returns a dict that shares nothing with the session, changes not yet committed included."""
    session = loaded({"cart": {"items": [1]}})
    session["cart"]["items"].append(2)
    plain = session.to_dict()
    plain["cart"]["items"].append(3)
    assert type(plain) is dict
    assert session == {"cart": {"items": [1, 2]}}


def test_damage_is_reported_and_not_served() -> None:
    """A field that cannot be decoded raises `DamagedRecord`, which names the session; the others can be read."""
    session = PlainSession(
        Context(CODEC, SessionConfig(), lambda session: None),
        new_record(fields={"bad": b"\xc1", "good": b"\x01"}),
        "",
        NOW,
        "live",
    )
    with pytest.raises(DamagedRecord, match=f"{session.handle}.*'bad'"):
        session["bad"]
    assert session["good"] == 1


def test_it_tells_whether_anybody_looked() -> None:
    """`accessed` is false until somebody looks into the session or changes it, in whatever way."""
    looks: list[Callable[[Session], Any]] = [
        lambda s: s["a"], lambda s: s.get("x"), lambda s: "x" in s, len, list, dict, bool, lambda s: s.keys() & {"a"},
        lambda s: s == {}, lambda s: s.has("x"), lambda s: s.set("x", 1), lambda s: s.delete("x"), lambda s: s.clear(),
        lambda s: s.pop("x", None), lambda s: s.setdefault("x", 1), lambda s: s.update(x=1),
        lambda s: s.update("x", lambda v: v),
        lambda s: s.to_dict(), lambda s: s.handle, lambda s: s.session_id, lambda s: s.user_id, lambda s: s.label,
        lambda s: s.created_at, lambda s: s.authenticated_at, lambda s: s.last_accessed_at, lambda s: s.expires_at,
        lambda s: s.rotate(), lambda s: s.login("ada"), lambda s: s.end(), lambda s: s.set_timeouts(idle=5),
        lambda s: setattr(s, "label", "phone"),
    ]  # fmt: skip
    for look in looks:
        session = loaded({"a": 1})
        assert not session.accessed
        look(session)
        assert session.accessed


# --- Changing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s["cart"]["items"].append("x"),
        lambda s: s["cart"]["items"].clear(),
        lambda s: s["cart"].update(total=5),
        lambda s: s["cart"].pop("items"),
        lambda s: s["tags"].add("new"),
        lambda s: s["tags"].discard("old"),
        lambda s: s["pair"][1].append("x"),
        lambda s: s["deep"]["a"]["b"]["c"][0].update(d=1),
        lambda s: setattr(s["basket"], "seen", 5),
        lambda s: s["basket"].items.append("x"),
        lambda s: s["point"].y.append("x"),
        lambda s: s["keys"].update({(1, 2): "x"}),
        lambda s: s.get("cart")["items"].append("x"),
        lambda s: next(iter(s.values()))["items"].append("x"),
        lambda s: s.setdefault("cart", {})["items"].append("x"),
        lambda s: s.setdefault("new", []).append("x"),
    ],
)
def test_nested_changes_need_no_flag(change: Callable[[Any], Any]) -> None:
    """What was handed out and changed in place is committed as it is, and nothing else with it."""
    values: dict[str, Any] = {
        "cart": {"items": ["a"]}, "tags": {"old"}, "pair": (1, []), "deep": {"a": {"b": {"c": [{}]}}}, "keys": {1: 2},
        "basket": Basket([]), "point": Point(1.0, []), "other": [1],
    }  # fmt: skip
    session, model = loaded(values), copy.deepcopy(values)
    change(session)
    change(model)
    assert session.modified
    delta = session.delta()
    assert delta is not None
    assert len(delta.ops) == 1
    assert shape(committed(session)) == shape(model)


def test_a_change_undone_is_no_change() -> None:
    """What was changed in place and changed back leaves nothing to commit."""
    session = loaded({"items": [1], "tags": {"a", "b"}})
    session["items"].append(2)
    session["tags"].remove("a")
    assert session.modified
    session["items"].pop()
    session["tags"].add("a")
    assert not session.modified


def test_an_assigned_value_may_change_until_the_commit() -> None:
    """What was assigned is committed as it is at the commit, also if it was looked at before."""
    session = loaded({"a": [0]})
    items = session["a"] = session["b"] = [1]
    items.append(2)
    assert session.modified
    items.append(3)
    assert committed(session) == {"a": [1, 2, 3], "b": [1, 2, 3]}


def test_an_update_is_applied_at_once() -> None:
    """``update(name, function)`` is applied to what is here now, in order with everything else; it returns nothing."""
    session = loaded({"n": 1, "items": [1]})
    assert session.update("n", lambda n: n + 1) is None
    assert session["n"] == 2
    session["items"].append(2)
    session.update("items", lambda items: [*items, 3])
    session["items"].append(4)
    session.update("items", lambda items: [*items, 5])
    session["new"] = []
    session["new"].append(1)
    session.update("new", lambda items: [*items, 2])
    session.update("visits", lambda visits: (visits or 0) + 1)
    del session["n"]
    session.update("n", lambda n: n)
    assert committed(session) == {"n": None, "items": [1, 2, 3, 4, 5], "new": [1, 2], "visits": 1}


@pytest.mark.parametrize("name", ["items", "n", "missing"])
def test_an_update_that_fails_changes_nothing(name: str) -> None:
    """If the function of an update raises, or returns what cannot be kept, that is raised, and the session goes on as
    if the update had not been asked for: other changes, before and after it, are committed."""
    session = loaded({"items": [1], "n": 1})
    session["items"].append(2)

    def fail(value: Any) -> Any:
        raise LookupError("no")

    with pytest.raises(LookupError, match="no"):
        session.update(name, fail)
    with pytest.raises(UnsupportedValue, match=f"^{name}: cannot store <object>"):
        session.update(name, lambda value: object())
    assert session == {"items": [1, 2], "n": 1}
    session["items"].append(3)
    assert committed(session) == {"items": [1, 2, 3], "n": 1}


def test_update_takes_what_a_dict_takes() -> None:
    """``update`` with a mapping, pairs or keywords assigns."""
    session = loaded({"a": 1})
    session.update({"b": 2})
    session.update([("c", 3)], d=4)
    session.update(e=5)
    session.update()
    assert committed(session) == {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}


def test_what_cannot_be_kept_is_refused() -> None:
    """What cannot be kept is refused when it is set, and where it was put into a value in place, when it is to be
    committed: with its path, and the session goes on without it."""
    session = loaded({"cart": {"items": [1]}})
    with pytest.raises(UnsupportedValue, match=r"^a: cannot store <object>"):
        session["a"] = object()
    with pytest.raises(UnsupportedValue, match=r"^a: "):
        session.setdefault("a", object())
    assert "a" not in session
    assert not session.modified
    session["cart"]["items"].append(object())
    with pytest.raises(UnsupportedValue, match=r"^cart\.items\[1\]: cannot store <object>"):
        session.delta()
    session["cart"]["items"].pop()
    assert not session.modified
    session.update(a=[{"x": object()}])
    with pytest.raises(UnsupportedValue, match=r"^a\[0\]\.x: cannot store <object>"):
        session.delta()
    assert session.delete("a")
    assert committed(session) == {"cart": {"items": [1]}}


@pytest.mark.parametrize("name", [1, None, b"a", ("a",), "\ud800", "a\udfff"], ids=ascii)
def test_the_name_of_a_field_is_text(name: Any) -> None:
    """A field's name is Unicode text, or it is refused, as a value would be."""
    session = loaded({})
    with pytest.raises(UnsupportedValue):
        session[name] = 1
    with pytest.raises(UnsupportedValue):
        session.update({name: 1})
    assert name not in session
    assert not session.modified


def test_a_name_that_cannot_be_stored_is_refused_in_an_update_too() -> None:
    """``update(name, function)`` refuses the same names."""
    session = loaded({})
    with pytest.raises(UnsupportedValue):
        session.update("\ud800", lambda value: 1)
    assert not session.modified


@pytest.mark.parametrize("text", ["", 5, None, b"ada", "\ud800"], ids=ascii)
def test_a_user_is_unicode_text(text: Any) -> None:
    """A user id is a non-empty string of Unicode text, or it is refused, and nothing changes."""
    session = loaded({})
    with pytest.raises(UnsupportedValue, match="user_id"):
        session.login(text)
    assert not session.modified
    assert not session.rotated


def test_a_label_is_unicode_text() -> None:
    """A label that is not Unicode text is refused."""
    session = loaded({})
    with pytest.raises(UnsupportedValue, match="label"):
        session.label = "\ud800"
    assert not session.modified


# --- What it is, and what it can be asked for ------------------------------------------------------------------------


def test_it_says_what_it_is() -> None:
    """The attributes of a session are those of its record."""
    session = loaded({"a": 1}, user_id="ada", label="phone", authenticated_at=NOW - 5, accessed_at=NOW - 3)
    assert type(session.handle) is Handle
    assert session.session_id == f"{session.handle}.{'s' * 43}"
    assert (session.user_id, session.label) == ("ada", "phone")
    assert (session.created_at, session.authenticated_at, session.last_accessed_at) == (NOW, NOW - 5, NOW - 3)
    assert (session.is_new, session.ended, session.closed, session.modified) == (False, False, False, False)
    assert session.expires_at == NOW + 900


def test_expiry_is_that_of_the_first_timeout_to_come() -> None:
    """`expires_at` is the end of the idle timeout, counted from now, or of the absolute one if that comes first."""
    assert loaded({}, idle=1000, accessed_at=NOW - 500).expires_at == NOW + 900
    assert loaded({}, idle=1000, lasts=700).expires_at == NOW + 700


def test_nothing_shows_the_secret() -> None:
    """The representation of a session, and of its record's summary, holds no secret."""
    session = loaded({"a": 1})
    new_id = session.rotate()
    assert "s" * 43 not in repr(session)
    assert new_id.partition(".")[2] not in repr(session)
    assert str(session.handle) in repr(session)


def test_rotation_and_login_are_asked_for() -> None:
    """`rotate` and `login` return the new id, which differs in the secret alone, and are there to be committed."""
    session = loaded({})
    old = session.session_id
    new = session.rotate()
    assert new == session.session_id != old
    assert new.partition(".")[0] == old.partition(".")[0]
    assert session.rotated
    assert session.modified
    newest = session.login("ada")
    assert newest not in (old, new)
    assert session.user_id == "ada"
    wanted = session.amendment
    assert wanted is not None
    assert (wanted.login, wanted.user_id, wanted.for_age) == (True, "ada", False)


def test_timeouts_are_seconds_or_timedeltas() -> None:
    """`set_timeouts` takes seconds and timedeltas; what is not given stays; what cannot work is refused."""
    session = loaded({})
    session.set_timeouts(idle=60)
    session.set_timeouts(absolute=timedelta(hours=1), persistent=False)
    wanted = session.amendment
    assert wanted is not None
    assert (wanted.idle_timeout, wanted.absolute_timeout, wanted.persistent) == (60.0, 3600.0, False)
    for wrong in (0, -1, float("nan"), "60", True):
        with pytest.raises(ValueError, match="idle must be"):
            session.set_timeouts(idle=wrong)  # type: ignore[arg-type]


def test_a_label_can_be_set_and_set_back() -> None:
    """The last label that was set is the one that is committed, also if it is the one that was there; it is cut at 200
    characters."""
    session = loaded({}, label="phone")
    session.label = "phone"
    assert not session.modified
    session.label = "tablet"
    assert session.label == "tablet"
    session.label = "phone"
    assert session.label == "phone"
    session.label = "x" * 300
    assert session.label == "x" * 200
    session.label = None
    assert session.label is None
    assert session.modified


_USES: dict[str, Callable[[Session], Any]] = {
    "read": lambda s: s["a"],
    "get": lambda s: s.get("x"),
    "contains": lambda s: "a" in s,
    "has": lambda s: s.has("a"),
    "iterate": list,
    "len": len,
    "items": lambda s: list(s.items()),
    "equal": lambda s: s == {"a": 1},
    "assign": lambda s: s.update(a=1),
    "set": lambda s: s.set("a", 1),
    "delete": lambda s: s.delete("a"),
    "del": lambda s: s.__delitem__("a"),
    "pop": lambda s: s.pop("a", None),
    "popitem": lambda s: s.popitem(),
    "setdefault": lambda s: s.setdefault("a", 1),
    "update": lambda s: s.update("a", lambda value: value),
    "clear": lambda s: s.clear(),
    "to_dict": lambda s: s.to_dict(),
    "rotate": lambda s: s.rotate(),
    "login": lambda s: s.login("ada"),
    "end": lambda s: s.end(),
    "set_timeouts": lambda s: s.set_timeouts(idle=5),
    "label": lambda s: setattr(s, "label", "phone"),
    "save": lambda s: s.save(),
}


@pytest.mark.parametrize("use", _USES)
@pytest.mark.parametrize("over", ["close", "end"])
def test_a_session_is_of_no_use_afterwards(over: str, use: str) -> None:
    """After its block, its response, or its end, each use of a session object raises `SessionClosed`; nothing of it is
    left to commit."""
    session = loaded({"a": 1})
    getattr(session, over)()
    old = session.secret
    with pytest.raises(SessionClosed):
        _USES[use](session)
    assert session.amendment is None
    assert session.secret == old
    assert (session.ended, session.closed) == (over == "end", over == "close")


# --- Sequences of changes against a dict -----------------------------------------------------------------------------

_CONTAINERS = st.one_of(
    st.lists(st.integers(0, 3), max_size=3),
    st.dictionaries(NAMES, st.lists(st.integers(0, 3), max_size=2), max_size=2),
    st.sets(st.integers(0, 3), max_size=3),
)


def _change(value: Any, number: int) -> None:
    """Change a container in place, in a way that depends on nothing but the number."""
    if isinstance(value, list):
        value.append(number) if number % 3 or not value else value.pop(0)
    elif isinstance(value, set):
        value ^= {number}
    elif number % 2 and value:
        value.pop(min(value))
    else:
        value.setdefault("a", []).append(number)


def _updated(value: Any) -> Any:
    return [*value, "u"] if isinstance(value, list) else [value is None]


class SessionsAsDicts(RuleBasedStateMachine):
    """Whatever is done to a session, it is like a dict, and what is saved is what the dict holds. Values that were
    handed out go on being the session's after a save."""

    aliases = Bundle("aliases")

    def __init__(self) -> None:
        super().__init__()
        self.manager = SessionManager(clock=Clock())
        self.id = self.manager.create_session(data={"a": [1], "b": 2, "c": {"a": [1]}})
        self.model: dict[str, Any] = {"a": [1], "b": 2, "c": {"a": [1]}}
        self.open()

    def open(self) -> None:
        self.block = self.manager.session(self.id)
        self.session = self.block.__enter__()

    @rule(name=NAMES, value=_CONTAINERS | st.integers(0, 3) | st.none())
    def assign(self, name: str, value: Any) -> None:
        self.session[name] = copy.deepcopy(value)
        self.model[name] = value

    @rule(target=aliases, name=NAMES)
    def hand_out(self, name: str) -> Any:
        return name, self.session.get(name)

    @rule(alias=aliases, number=st.integers(0, 5))
    def change_an_alias(self, alias: tuple[str, Any], number: int) -> None:
        name, value = alias
        if isinstance(value, (list, dict, set)) and self.session.get(name) is value:
            _change(value, number)
            _change(self.model[name], number)

    @rule(name=NAMES, number=st.integers(0, 5))
    def change_in_place(self, name: str, number: int) -> None:
        if isinstance(self.model.get(name), (list, dict, set)):
            _change(self.session[name], number)
            _change(self.model[name], number)

    @rule(name=NAMES)
    def update(self, name: str) -> None:
        self.session.update(name, _updated)
        self.model[name] = _updated(copy.deepcopy(self.model.get(name)))

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        assert self.session.delete(name) == (name in self.model)
        self.model.pop(name, None)

    @rule(name=NAMES)
    def pop(self, name: str) -> None:
        assert self.session.pop(name, "nothing") == self.model.pop(name, "nothing")

    @rule(name=NAMES, value=_CONTAINERS)
    def setdefault(self, name: str, value: Any) -> None:
        assert self.session.setdefault(name, copy.deepcopy(value)) == self.model.setdefault(name, value)

    @rule()
    def popitem(self) -> None:
        if self.model:
            name, value = self.session.popitem()
            assert self.model.pop(name) == value

    @rule()
    def clear(self) -> None:
        self.session.clear()
        self.model.clear()

    @rule()
    def look_for_changes(self) -> None:
        stored = self.manager.get_session(self.id)
        changed = shape(stored) != shape(self.model)
        if changed:
            assert self.session.modified

    @rule()
    def save(self) -> None:
        delta = self.session.delta()
        if delta is not None:
            assert replay(CODEC, delta.base, delta).values == delta.local
        self.session.save()
        assert not self.session.modified
        assert shape(self.manager.get_session(self.id)) == shape(self.model)

    @rule(alias=consumes(aliases))
    def leave_and_come_back(self, alias: Any) -> None:
        self.block.__exit__(None, None, None)
        assert shape(self.manager.get_session(self.id)) == shape(self.model)
        self.open()

    @invariant()
    def it_is_like_the_dict(self) -> None:
        assert self.session == self.model
        assert len(self.session) == len(self.model)
        assert set(self.session) == set(self.model)

    def teardown(self) -> None:
        self.block.__exit__(None, None, None)
        assert shape(self.manager.get_session(self.id)) == shape(self.model)


TestSessionsAsDicts = SessionsAsDicts.TestCase
TestSessionsAsDicts.settings = settings(max_examples=100, stateful_step_count=30)


class TestSavingAndGoingOn:
    """A block may save and go on; meanwhile others write."""

    @pytest.fixture(autouse=True)
    def _session(self) -> None:
        self.manager = SessionManager(clock=Clock())
        self.id = self.manager.create_session(data={"cart": {"items": [0]}, "n": 0, "gone": {"x": 1}})

    def test_saving_nothing_is_nothing(self) -> None:
        """A save without a change writes nothing, and the session goes on."""
        with self.manager.session(self.id) as session:
            version = session.record.version
            session.save()
            assert session.record.version == version
            session["a"] = 1
            session.save()
            assert session.record.version != version
            session["b"] = 2
        assert self.manager.get_session(self.id) == {"cart": {"items": [0]}, "n": 0, "gone": {"x": 1}, "a": 1, "b": 2}

    def test_what_others_wrote_is_kept_when_an_alias_goes_on(self) -> None:
        """A save merges what somebody else wrote; what is changed after it, in a value that was handed out before it,
        is merged with that as well, and overwrites nothing."""
        with self.manager.session(self.id) as session:
            cart = session["cart"]
            cart["mine"] = {1}
            with self.manager.session(self.id) as other:
                other["cart"].update(theirs=1, mine={2})
            session.save()
            cart["mine too"] = 2
        assert self.manager.get_session(self.id)["cart"] == {"items": [0], "mine": {1, 2}, "theirs": 1, "mine too": 2}

    def test_nothing_is_overwritten_unsaid_when_an_alias_goes_on(self) -> None:
        """Where the same cannot be merged, as an item came before one that was appended here, it is told as
        overwritten."""
        told: list[Any] = []
        self.manager.add_listener(told.append, "overwritten")
        with self.manager.session(self.id) as session:
            items = session["cart"]["items"]
            items.append("mine")
            self._append("theirs")
            session.save()
            items.append("mine too")
        assert {"mine", "mine too"} < set(self.manager.get_session(self.id)["cart"]["items"])
        assert "theirs" in self.manager.get_session(self.id)["cart"]["items"] or [change.reason for change in told] == [
            "cart.items"
        ]

    def test_an_update_after_a_save_works_on_what_others_wrote(self) -> None:
        """The function of an update after a save gets what was committed, or is run again on it."""
        with self.manager.session(self.id) as session:
            session["cart"]["items"].append("mine")
            self._append("theirs")
            session.save()
            session.update("cart", lambda cart: {"items": [*cart["items"], "updated"]})
        saved = self.manager.get_session(self.id)
        assert saved is not None
        assert sorted(map(str, saved["cart"]["items"])) == ["0", "mine", "theirs", "updated"]

    def test_a_deletion_by_another_is_not_undone_after_a_save(self) -> None:
        """A field that another writer deleted stays deleted, though it was read here before the save and changed
        after."""
        with self.manager.session(self.id) as session:
            gone = session["gone"]
            session["n"] = 1
            with self.manager.session(self.id) as other:
                del other["gone"]
            session.save()
            gone["y"] = 2
        saved = self.manager.get_session(self.id)
        assert saved is not None
        assert "gone" not in saved

    def test_plain_values_are_read_anew(self) -> None:
        """After a save, a field that holds a plain value, and was only read, is as others left it."""
        with self.manager.session(self.id) as session:
            assert session["n"] == 0
            session["a"] = 1
            self.manager.update(self.id, "n", lambda n: n + 5)
            session.save()
            assert session["n"] == 5
            session.update("n", lambda n: n + 1)
        saved = self.manager.get_session(self.id)
        assert saved is not None
        assert saved["n"] == 6

    def test_a_save_that_fails_keeps_what_was_to_be_saved(self) -> None:
        """A save that was refused leaves the session as it is; when the reason is gone, it is saved."""
        with self.manager.session(self.id) as session:
            session["a"] = 1
            session["cart"]["items"].append(object())
            with pytest.raises(UnsupportedValue):
                session.save()
            session["cart"]["items"].pop()
            session.save()
        saved = self.manager.get_session(self.id)
        assert saved == {"cart": {"items": [0]}, "n": 0, "gone": {"x": 1}, "a": 1}

    def _append(self, item: str) -> None:
        with self.manager.session(self.id) as other:
            other["cart"]["items"].append(item)
