"""The parameters of the page's address, as a mapping."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.errors import UnsupportedValue
from sojourn.state.query_params import MAX_FIELDS, MAX_LENGTH, QueryParams

START = "page=1&tag=a&tag=b&empty=&embed=true&Embed_Options=dark"


class Told(list[str]):
    """What was told of changes."""

    def params(self, query_string: str = START) -> QueryParams:
        return QueryParams(query_string, self.append)


# --- Reading ---------------------------------------------------------------------------------------------------------


def test_the_last_value_counts() -> None:
    """A name gives its last value, ``get_all`` all of them; a name with nothing behind it gives an empty text."""
    params = QueryParams(START)
    assert (params["page"], params["tag"], params["empty"]) == ("1", "b", "")
    assert (params.get_all("page"), params.get_all("tag"), params.get_all("empty")) == (["1"], ["a", "b"], [""])
    assert params.get("page", 1) == "1"
    assert params.get("other", 1) == 1
    assert params.get_all("other") == []


def test_a_name_that_is_not_there() -> None:
    """A name that is not there is a KeyError as an item and an AttributeError as an attribute, with the name."""
    params = QueryParams(START)
    with pytest.raises(KeyError, match="there is no query parameter 'other'"):
        params["other"]
    with pytest.raises(AttributeError, match="there is no query parameter 'other'"):
        _ = params.other
    with pytest.raises(KeyError):
        del params["other"]
    with pytest.raises(AttributeError):
        del params.other
    assert 5 not in params


@pytest.mark.parametrize("name", ["embed", "EMBED", "embed_options", "Embed_Options"])
def test_what_is_the_browsers(name: str) -> None:
    """``embed`` and ``embed_options``, in any case, are not read, set or deleted, and stay in the address."""
    told = Told()
    params = QueryParams(f"{name}=x&a=1", told.append)
    assert name not in params
    assert params.get_all(name) == []
    assert (list(params), len(params), params.to_dict(), dict(params)) == (["a"], 1, {"a": "1"}, {"a": "1"})
    assert name not in str(params)
    for change in (
        lambda: params.__setitem__(name, "y"),
        lambda: params.update({"b": "2", name: "y"}),
        lambda: params.from_dict({"b": "2", name: "y"}),
        lambda: setattr(params, name, "y"),
    ):
        with pytest.raises(UnsupportedValue, match="browser's"):
            change()
    with pytest.raises(KeyError):
        del params[name]
    assert (told, params.query_string) == ([], f"{name}=x&a=1")
    params.clear()
    assert (told, params.query_string) == ([f"{name}=x"], f"{name}=x")


def test_lists_are_the_callers_own() -> None:
    """What ``get_all`` gives, and a list that was set, can be changed and change nothing. (The original handed out its
    own.)"""
    values = ["a", "b"]
    params = QueryParams()
    params["tag"] = values
    values.append("c")
    params.get_all("tag").append("d")
    assert params.get_all("tag") == ["a", "b"]


def test_it_prints_as_a_dict() -> None:
    """Text and ``repr`` are those of a dict, with lists where there are several values."""
    assert str(QueryParams(START)) == repr(QueryParams(START)) == "{'page': '1', 'tag': ['a', 'b'], 'empty': ''}"


def test_it_is_a_mapping() -> None:
    """What a dict can do, it can: order, equality, pop, popitem, setdefault."""
    params = QueryParams("b=1&a=2")
    assert list(params.items()) == [("b", "1"), ("a", "2")]
    assert params == {"a": "2", "b": "1"} == params.to_dict()
    assert params.pop("b") == "1"
    assert params.pop("b", None) is None
    assert params.setdefault("a", "9") == "2"
    assert params.setdefault("n", 9) == "9"  # type: ignore[arg-type]
    assert params.popitem() in [("a", "2"), ("n", "9")]
    assert len(params) == 1


# --- Changing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "kept", "told"),
    [
        ("x y&z", ["x y&z"], "k=x+y%26z"),
        (5, ["5"], "k=5"),
        (1.5, ["1.5"], "k=1.5"),
        (True, ["True"], "k=True"),
        (["a", 1], ["a", "1"], "k=a&k=1"),
        (("a",), ["a"], "k=a"),
        ((n for n in "ab"), ["a", "b"], "k=a&k=b"),
        ([], [], ""),
        ("", [""], "k="),
        ("née", ["née"], "k=n%C3%A9e"),
    ],
)
def test_what_can_be_set(value: Any, kept: list[str], told: str) -> None:
    """Text, numbers and truth values become text, other iterables lists of it; the address is told as it then is."""
    changes = Told()
    params = changes.params("")
    params["k"] = value
    assert params.get_all("k") == kept
    assert params["k"] == (kept[-1] if kept else "")
    assert changes == [told] == [params.query_string]


@pytest.mark.parametrize(
    "value", [{"a": "b"}, b"bytes", bytearray(b"x"), "\ud800", ["a", "\udfff"], QueryParams("a=b")]
)
def test_what_cannot_be_set(value: Any) -> None:
    """A mapping, bytes, and text that cannot stand in an address are refused, whichever way it is set, and nothing
    changes."""
    told = Told()
    params = told.params()
    for change in (
        lambda: params.__setitem__("page", value),
        lambda: setattr(params, "page", value),
        lambda: params.update(page="2", tag=value),
        lambda: params.update([("page", "2"), ("tag", value)]),
        lambda: params.from_dict({"page": "2", "tag": value}),
    ):
        with pytest.raises(UnsupportedValue):
            change()
    assert (params.query_string, told) == (QueryParams(START).query_string, [])


@pytest.mark.parametrize("name", [1, None, "\ud800", ("a",)])
def test_what_is_no_name(name: Any) -> None:
    """A name is text that can stand in an address."""
    with pytest.raises(UnsupportedValue):
        QueryParams()[name] = "x"


@pytest.mark.parametrize(
    ("change", "after"),
    [
        (lambda params: params.update({"page": 2, "new": ["x", "y"]}, tag="c"), "page=2&tag=c&empty=&new=x&new=y"),
        (lambda params: params.update([("page", 2), ("page", 3)]), "page=3&tag=a&tag=b&empty="),
        (lambda params: params.update(iter([("page", 2)])), "page=2&tag=a&tag=b&empty="),
        (lambda params: params.update(page=2), "page=2&tag=a&tag=b&empty="),
        (lambda params: params.update(), "page=1&tag=a&tag=b&empty="),
        (lambda params: params.from_dict({"x": ["1", "2"]}), "x=1&x=2"),
        (lambda params: params.from_dict([("x", "1"), ("y", "2")]), "x=1&y=2"),
        (lambda params: params.from_dict({}), ""),
        (lambda params: params.clear(), ""),
        (lambda params: params.pop("page"), "tag=a&tag=b&empty="),
        (lambda params: params.__delitem__("tag"), "page=1&empty="),
        (lambda params: setattr(params, "page", 7), "page=7&tag=a&tag=b&empty="),
        (lambda params: delattr(params, "page"), "tag=a&tag=b&empty="),
        (lambda params: params.setdefault("new", 1), "page=1&tag=a&tag=b&empty=&new=1"),
    ],
)
def test_each_change_is_told_once(change: Callable[[QueryParams], object], after: str) -> None:
    """Whatever is changed, and how much of it, the new address is told once."""
    told = Told()
    params = told.params()
    change(params)
    assert told == [params.query_string]
    assert sorted(parse_qs(told[0], keep_blank_values=True).items()) == sorted(
        parse_qs(f"{after}&embed=true&Embed_Options=dark", keep_blank_values=True).items()
    )


def test_what_is_read_is_not_told() -> None:
    """To read and to load an address tells nobody."""
    told = Told()
    params = told.params()
    params.load("a=1")
    params.setdefault("a", "2")
    assert params.pop("other", None) is None
    assert list(params) == ["a"]
    assert told == []


def test_pairs_that_fail_change_nothing() -> None:
    """A source that breaks off in the middle, or gives what is no pair, leaves everything as it was."""

    def broken() -> Any:
        yield ("page", "9")
        raise RuntimeError("broken off")

    told = Told()
    params = told.params()
    with pytest.raises(RuntimeError):
        params.update(broken())
    with pytest.raises(RuntimeError):
        params.from_dict(broken())
    with pytest.raises(ValueError):
        params.update([("page", "9"), ("a", "b", "c")])  # type: ignore[list-item]
    assert (params["page"], told) == ("1", [])


def test_an_error_of_who_is_told() -> None:
    """What the one who is told raises reaches the caller, and the change stays."""

    def refuse(_: str) -> None:
        raise RuntimeError("no")

    params = QueryParams("", refuse)
    with pytest.raises(RuntimeError):
        params["a"] = "1"
    assert params["a"] == "1"


# --- As attributes ---------------------------------------------------------------------------------------------------


def test_attributes() -> None:
    """A name is an attribute as well, unless it is a method's: that can only be set as an item, and says so."""
    params = QueryParams("page=1&items=x")
    params.page = "2"
    params.private_ = "3"
    assert (params.page, params["page"], params.private_) == ("2", "2", "3")
    assert callable(params.items)
    assert params["items"] == "x"
    for name in ("items", "query_string", "load", "__class__"):
        with pytest.raises(AttributeError, match="write params"):
            setattr(params, name, "y")
    assert not hasattr(params, "__array__")


def test_copies() -> None:
    """A copy is one of its own."""
    params = QueryParams(START)
    for other in (copy.deepcopy(params), pickle.loads(pickle.dumps(params))):
        other["page"] = "2"
        assert other.query_string == params.query_string.replace("page=1", "page=2")
    assert params["page"] == "1"


# --- Loading ---------------------------------------------------------------------------------------------------------


def test_an_address_takes_the_place_of_the_last() -> None:
    """To load an address forgets what was there, the browser's own parameters, too."""
    params = QueryParams(START)
    assert params.load("?other=1&embed=false")
    assert params.query_string == "other=1&embed=false"
    assert params.load("")
    assert len(params) == 0


def test_names_that_are_left_out() -> None:
    """Names that are to be left out of an address are not taken."""
    params = QueryParams()
    params.load("a=1&b=2&a=3", leave_out={"a"})
    assert params == {"b": "2"}


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("a=%", {"a": ["%"]}),
        ("a=%zz&%=1", {"a": ["%zz"], "%": ["1"]}),
        ("a=%ff%fe", {"a": ["\ufffd\ufffd"]}),
        ("a=%ED%A0%80", {"a": ["\ufffd\ufffd\ufffd"]}),
        ("a=\ud800", {"a": ["?"]}),
        ("a=b=c", {"a": ["b=c"]}),
        ("a&b", {"a": [""], "b": [""]}),
        ("&&=&a=1", {"": [""], "a": ["1"]}),
        ("a=1;b=2", {"a": ["1;b=2"]}),
        ("a=%00\n\x00", {"a": ["\x00\n\x00"]}),
        ("a+b=c%20d", {"a b": ["c d"]}),
        ("a=1&a=&a=2", {"a": ["1", "", "2"]}),
    ],
)
def test_addresses_that_are_not_well_formed(address: str, found: dict[str, list[str]]) -> None:
    """What is not well-formed is read as well as it can be, and never raises."""
    params = QueryParams()
    assert params.load(address)
    assert {key: params.get_all(key) for key in params} == found
    assert parse_qs(params.query_string, keep_blank_values=True) == found


@given(st.text(max_size=300))
def test_any_address(address: str) -> None:
    """Any text can be loaded, and what was understood of it stands in the address again."""
    params = QueryParams(address)
    again = QueryParams(params.query_string)
    assert {key: again.get_all(key) for key in again} == {key: params.get_all(key) for key in params}


names = st.text(st.characters(exclude_categories=["Cs"])).filter(
    lambda name: name.lower() not in ("embed", "embed_options")
)
texts = st.text(st.characters(exclude_categories=["Cs"]))


@given(st.dictionaries(names, texts | st.lists(texts, min_size=1)))
def test_what_was_set_comes_back(values: dict[str, str | list[str]]) -> None:
    """What was set is in the address, and is the same when that is loaded."""
    params = QueryParams()
    params.from_dict(values)
    again = QueryParams(params.query_string)
    for key, value in values.items():
        assert again.get_all(key) == params.get_all(key) == ([value] if isinstance(value, str) else value)
    assert set(again) == set(values)
    assert params.query_string == urlencode(values, doseq=True)


def test_an_address_has_limits() -> None:
    """An address past the limits is taken for an empty one, and the caller is told so; up to them it is read."""
    params = QueryParams("a=1")
    assert params.load("&".join(f"a={n}" for n in range(MAX_FIELDS)))
    assert len(params.get_all("a")) == MAX_FIELDS
    assert not params.load("&".join(f"a={n}" for n in range(MAX_FIELDS + 1)))
    assert params.query_string == ""
    assert params.load(f"a={'x' * (MAX_LENGTH - 2)}")
    assert not params.load(f"a={'x' * (MAX_LENGTH - 1)}")
    assert params.query_string == ""
    assert not params.load("&" * 10_000_000)


# --- Bound to widgets ------------------------------------------------------------------------------------------------


def test_a_bound_name_is_its_widgets() -> None:
    """A name that a widget is bound to is read by all, and changed by `put` alone."""
    told = Told()
    params = told.params("page=1&tag=a")
    params.bind("page", "w1")
    assert (params["page"], params.bound_to("page"), params.bound_to("tag")) == ("1", "w1", None)
    for change in (
        lambda: params.__setitem__("page", "2"),
        lambda: params.__delitem__("page"),
        lambda: params.update(tag="b", page="2"),
        lambda: params.from_dict({"tag": "b"}),
        params.clear,
        lambda: params.pop("page"),
    ):
        with pytest.raises(UnsupportedValue, match="widget"):
            change()
    assert (told, params.query_string) == ([], "page=1&tag=a")
    assert params.unbind("w1") == "page"
    assert params.unbind("w1") is None
    params.page = "2"
    assert told == ["page=2&tag=a"]


def test_what_is_bound_can_be_put() -> None:
    """`put` sets and removes what it is told, at once, and tells nobody if nothing changes or if it is told not to."""
    told = Told()
    params = told.params("page=1&tag=a")
    params.bind("page", "w1")
    assert not params.put({"page": ["1"], "other": []})
    assert params.put({"page": ["2", "3"], "tag": [], "new": ["x"]})
    assert told == ["page=2&page=3&new=x"] == [params.query_string]
    assert params.put({"new": []}, tell=False)
    assert (len(told), params.query_string) == (1, "page=2&page=3")
    with pytest.raises(UnsupportedValue):
        params.put({"page": ["4"], "embed": ["x"]})
    assert params.get_all("page") == ["2", "3"]


def test_a_name_has_one_widget_and_a_widget_one_name() -> None:
    """To bind again moves the widget to another name, or gives the name another widget."""
    params = QueryParams()
    params.bind("a", "w1")
    params.bind("b", "w1")
    assert (params.bound_to("a"), params.bound_to("b")) == (None, "w1")
    params.bind("b", "w2")
    assert params.unbind("w1") is None
    assert params.bound_to("b") == "w2"
    with pytest.raises(UnsupportedValue):
        params.bind("Embed", "w3")
    params.load("b=1")  # stays bound
    assert params.bound_to("b") == "w2"
