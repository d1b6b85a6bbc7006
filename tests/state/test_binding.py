"""A widget's value and its query parameter: each from the other, and which of them counts."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.state.binding import INVALID, Seed, mirror, seed, texts_from_value, value_from_texts
from sojourn.state.query_params import QueryParams
from sojourn.state.widgets import ValueType, WidgetMetadata


def widget(value_type: ValueType, default: Any = None, **options: Any) -> WidgetMetadata[Any]:
    """A widget whose values are as they are on the wire."""
    return WidgetMetadata(
        "$$ID-1-k", lambda wire: default if wire is None else wire, lambda value: value, value_type, **options
    )


# --- From texts ------------------------------------------------------------------------------------------------------

DAY = 24 * 60 * 60 * 10**6


@pytest.mark.parametrize(
    ("value_type", "texts", "value"),
    [
        ("bool_value", ["true"], True),
        ("bool_value", ["FALSE"], False),
        ("bool_value", ["1"], INVALID),
        ("bool_value", ["true", "nonsense"], INVALID),
        ("bool_value", ["nonsense", "true"], True),
        ("int_value", ["12"], 12),
        ("int_value", ["-9223372036854775808"], -(2**63)),
        ("int_value", ["9223372036854775808"], INVALID),
        ("int_value", ["9" * 5000], INVALID),
        ("int_value", ["1.5"], INVALID),
        ("int_value", ["apple"], INVALID),
        ("int_value", ["1", "2"], 2),
        ("double_value", ["1.5"], 1.5),
        ("double_value", ["1e400"], INVALID),
        ("double_value", ["nan"], INVALID),
        ("double_value", ["-Infinity"], INVALID),
        ("double_value", ["2024-01-01"], INVALID),
        ("double_value", [" 5 "], 5.0),
        ("string_value", ["a", "b"], "b"),
        ("string_value", ["a", ""], INVALID),
        ("double_value", ["1", ""], INVALID),
        ("bool_value", ["", "true"], True),
        ("string_array_value", ["a", "", "b", "a"], ["a", "b"]),
        ("int_array_value", ["1", "", "1"], [1, 1]),
        ("int_array_value", ["1", "apple"], INVALID),
        ("double_array_value", ["1", "2.5"], [1.0, 2.5]),
        ("double_array_value", ["1970-01-02", "1970-01-02T00:00:01"], [DAY, DAY + 10**6]),
        ("double_array_value", ["00:00", "00:00:01"], [10957 * DAY, 10957 * DAY + 10**6]),
        ("double_array_value", ["0001-01-01"], [-719162 * DAY]),
        ("double_array_value", ["9999-12-31T23:59:59"], [2932897 * DAY - 10**6]),
        ("double_array_value", ["1970-01-02T00:00+01:00"], INVALID),
        ("double_array_value", ["12:00Z"], INVALID),
        ("double_array_value", ["T"], INVALID),
        ("double_array_value", ["1", "inf"], INVALID),
        ("trigger_value", ["true"], INVALID),
        ("json_value", ["{}"], INVALID),
        ("bytes_value", ["x"], INVALID),
    ],
)
def test_what_texts_mean(value_type: ValueType, texts: list[str], value: Any) -> None:
    """Texts mean what the widget's kind makes of them, and `INVALID` where that is nothing."""
    found = value_from_texts(texts, widget(value_type))
    assert found == value
    assert type(found) is type(value) or value_type == "double_array_value"


@pytest.mark.parametrize("texts", [[], [""], ["", ""], ["x", ""]])
@pytest.mark.parametrize(
    ("value_type", "empty"),
    [
        ("bool_value", None),
        ("int_value", None),
        ("double_value", None),
        ("string_value", ""),
        ("string_array_value", []),
        ("int_array_value", []),
        ("double_array_value", []),
    ],
)
def test_what_empty_texts_mean(value_type: ValueType, empty: Any, texts: list[str]) -> None:
    """Empty texts empty a widget that can be cleared, and are `INVALID` for another. With a choice, an empty text is
    none of it. Of several texts it is the last that counts, but for a list."""
    if "x" in texts and isinstance(empty, list):
        texts = [""]
    assert value_from_texts(texts, widget(value_type, clearable=True)) == empty
    assert value_from_texts(texts, widget(value_type)) is INVALID
    if value_type == "string_value":
        assert value_from_texts(texts, widget(value_type, clearable=True, options=("a",))) is None


@pytest.mark.parametrize(
    ("value_type", "texts", "options", "value"),
    [
        ("string_value", ["b"], {"options": ("a", "b")}, "b"),
        ("string_value", ["c"], {"options": ("a", "b")}, INVALID),
        ("string_value", ["a"], {"options": ()}, INVALID),
        ("string_array_value", ["c", "b", "d", "a"], {"options": ("a", "b")}, ["b", "a"]),
        ("string_array_value", ["c"], {"options": ("a", "b")}, INVALID),
        ("string_array_value", ["a", "b", "a"], {"max_items": 2}, ["a", "b"]),
        ("string_array_value", ["a", "a", "b"], {"max_items": 2}, ["a", "b"]),
        ("string_array_value", ["a", "a", "b"], {"repeats": True, "max_items": 2}, ["a", "a"]),
        ("string_array_value", ["a", "b"], {"max_items": 0}, ["a", "b"]),
        ("double_array_value", ["5", "5", "6"], {"max_items": 2}, [5.0, 5.0]),
        ("int_value", ["apple"], {"options": ("apple",)}, "apple"),
        ("int_value", ["0"], {"options": ("apple",)}, 0),
        ("int_array_value", ["0", "apple", "pear"], {"options": ("apple",)}, INVALID),
        ("double_array_value", ["red", "1"], {"options": ("red",)}, ["red", 1.0]),
    ],
)
def test_what_a_widget_allows(value_type: ValueType, texts: list[str], options: dict[str, Any], value: Any) -> None:
    """A choice, a bound on the length and repetitions are kept to."""
    assert value_from_texts(texts, widget(value_type, **options)) == value


KINDS: dict[ValueType, st.SearchStrategy[Any]] = {
    "bool_value": st.booleans(),
    "int_value": st.integers(-(2**63), 2**63 - 1),
    "double_value": st.floats(allow_nan=False, allow_infinity=False),
    "string_value": st.text(st.characters(exclude_categories=["Cs"])),
    "string_array_value": st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1)),
    "int_array_value": st.lists(st.integers(-(2**63), 2**63 - 1)),
    "double_array_value": st.lists(st.floats(allow_nan=False, allow_infinity=False)),
}


@given(st.sampled_from(list(KINDS)), st.data())
def test_a_value_comes_back(value_type: ValueType, data: st.DataObject) -> None:
    """A value that was told in an address comes back from it as it was. (But for empty texts in a list, which mean an
    empty list, and what a widget does not allow.)"""
    metadata = widget(value_type, clearable=True, repeats=True)
    value = data.draw(KINDS[value_type])
    params = QueryParams()
    params.put({"k": texts_from_value(value, metadata)})
    params.load(params.query_string)
    again = value_from_texts(params.get_all("k"), metadata)
    assert again == value
    assert type(again) is type(value)


@given(st.sampled_from([*KINDS, "json_value"]), st.lists(st.text()), st.booleans(), st.none() | st.just(("1", "a")))
def test_any_texts(value_type: ValueType, texts: list[str], clearable: bool, options: tuple[str, ...] | None) -> None:
    """Any texts are a value or `INVALID`, and a value is told in texts that mean it."""
    metadata = widget(value_type, clearable=clearable, options=options)
    value = value_from_texts(texts, metadata)
    if value is not INVALID:
        assert value_from_texts(texts_from_value(value, metadata), metadata) == value


@pytest.mark.parametrize(
    ("value_type", "value", "texts"),
    [
        ("bool_value", True, ["true"]),
        ("double_value", 5.0, ["5"]),
        ("double_value", -0.5, ["-0.5"]),
        ("double_value", 1e22, ["1e+22"]),
        ("double_array_value", (1.0, 2.5), ["1", "2.5"]),
        ("string_array_value", [], [""]),
        ("int_value", None, [""]),
        ("json_value", {"a": 1}, []),
        ("trigger_value", True, []),
    ],
)
def test_how_values_are_told(value_type: ValueType, value: Any, texts: list[str]) -> None:
    """Values are told shortly; what is empty by one empty text; kinds that do not go into an address not at all."""
    assert texts_from_value(value, widget(value_type)) == texts


# --- Which of them counts --------------------------------------------------------------------------------------------


def clamped(wire: Any) -> int:
    return 1 if wire is None else min(wire, 10)


NUMBER: WidgetMetadata[int] = WidgetMetadata("w", clamped, lambda value: value, "int_value")
DISABLED: WidgetMetadata[int] = WidgetMetadata("w", clamped, lambda value: value, "int_value", disabled=True)
FLAGS = [dict(zip(("from_browser", "from_code", "is_first", "history"), flags, strict=True))
         for flags in itertools.product((False, True), repeat=4)]  # fmt: skip


@pytest.mark.parametrize("flags", FLAGS, ids=lambda flags: "-".join(name for name in flags if flags[name]) or "none")
@pytest.mark.parametrize(
    "texts", [[], ["5"], ["1"], ["x"], [""]], ids=["absent", "usable", "default", "wrong", "empty"]
)
@pytest.mark.parametrize("metadata", [NUMBER, DISABLED], ids=["enabled", "disabled"])
def test_who_decides(metadata: WidgetMetadata[int], texts: list[str], flags: dict[str, bool]) -> None:
    """On back and forward the address decides; else the browser; else, the first time only, the address; else the
    script. An address that cannot be used is emptied, whenever it was asked."""
    told = seed(metadata, texts, **flags)
    gone = [] if texts else None
    rest = "code" if flags["from_code"] else "state"
    if flags["history"]:
        assert told == (Seed("address", 5) if texts == ["5"] else Seed("default", 1, gone))
    elif flags["from_browser"] and not metadata.disabled:
        assert told == Seed("browser")
    elif not flags["is_first"]:
        assert told == Seed(rest)
    else:
        assert told == (Seed("address", 5) if texts == ["5"] else Seed(rest, None, gone))


def first(metadata: WidgetMetadata[Any], *texts: str) -> Seed[Any]:
    return seed(metadata, list(texts), from_browser=False, from_code=False, is_first=True, history=False)


@pytest.mark.parametrize(
    ("metadata", "texts", "told"),
    [
        (NUMBER, ["50"], Seed("address", 10, ["10"])),
        (NUMBER, ["+5"], Seed("address", 5)),
        (NUMBER, ["3", "5"], Seed("address", 5)),
        (widget("bool_value", False), ["TRUE"], Seed("address", True)),
        (widget("string_array_value", []), ["a", "a"], Seed("address", ["a"], ["a"])),
        (widget("string_array_value", []), ["a", "b"], Seed("address", ["a", "b"])),
        (widget("string_array_value", [], options=("a",)), ["x", "a"], Seed("address", ["a"], ["a"])),
        (widget("string_array_value", [], max_items=1), ["a", "b"], Seed("address", ["a"], ["a"])),
        (widget("string_array_value", ["a"], clearable=True), [""], Seed("address", [])),
        (widget("string_array_value", ["a"]), [""], Seed("state", None, [])),
        (widget("string_array_value", ["a"]), ["a"], Seed("state", None, [])),
        (widget("double_array_value", [0.0]), ["1970-01-02"], Seed("address", [float(DAY)])),
    ],
)
def test_how_an_address_is_put_right(metadata: WidgetMetadata[Any], texts: list[str], told: Seed[Any]) -> None:
    """An address that says more, or something else, than the widget takes is put right; one that says the same in other
    words stays."""
    assert first(metadata, *texts) == told


def test_choices_that_a_deserializer_drops() -> None:
    """If a widget drops all of what an address says, it is as if the address said nothing."""
    known: WidgetMetadata[list[str]] = WidgetMetadata(
        "w", lambda wire: ["a"] if wire is None else [one for one in wire if one in "ab"], list, "string_array_value"
    )
    assert first(known, "x", "y") == Seed("state", None, [])
    assert first(known, "x", "b") == Seed("address", ["b"], ["b"])


@pytest.mark.parametrize("error", [ValueError, TypeError, IndexError, KeyError, OverflowError, ZeroDivisionError])
def test_a_deserializer_that_refuses(error: type[Exception]) -> None:
    """What a deserializer refuses is as if the address did not say it; that it fails otherwise comes through."""

    def refuse(wire: Any) -> int:
        if wire is None:
            return 0
        raise error("no")

    assert first(WidgetMetadata("w", refuse, str, "int_value"), "5") == Seed("state", None, [])
    error = RuntimeError
    with pytest.raises(RuntimeError):
        first(WidgetMetadata("w", refuse, str, "int_value"), "5")


@pytest.mark.parametrize(
    ("value", "texts", "told"),
    [
        (1, [], None),
        (1, ["1"], []),
        (1, ["7"], []),
        (5, [], ["5"]),
        (5, ["5"], None),
        (5, ["+5"], None),
        (5, ["6"], ["5"]),
        (5, ["wrong"], ["5"]),
    ],
)
def test_the_address_follows_the_value(value: int, texts: list[str], told: list[str] | None) -> None:
    """The address says what the widget holds, nothing where that is the default, and is let be where it says so."""
    assert mirror(NUMBER, value, texts) == told


@given(st.sampled_from(list(KINDS)), st.data())
def test_to_follow_twice_is_to_follow_once(value_type: ValueType, data: st.DataObject) -> None:
    """Once the address says what the widget holds, it is let be; and whoever opens it then gets that value."""
    metadata = widget(value_type, "the default", clearable=True, repeats=True)
    value = data.draw(KINDS[value_type])
    texts = mirror(metadata, value, data.draw(st.lists(st.text(), max_size=3)))
    if texts is not None:
        assert mirror(metadata, value, texts) is None
        assert first(metadata, *texts) == Seed("address", value)
