"""Any value as a browser can show it: bounded and plain."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sojourn import UnsupportedValue
from sojourn.live import showing
from sojourn.live import widgets as w


class Point(NamedTuple):
    x: Any
    y: Any


class Colour(Enum):
    RED = "red"


@dataclass
class Person:
    name: str
    born: date


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no")


class BrokenDict(dict[str, int]):
    def items(self) -> Any:
        raise RuntimeError("no")


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**53 - 2, max_value=2**70)
    | st.floats()
    | st.text(max_size=8)
    | st.characters(categories=["Cs"])
    | st.binary(max_size=4)
    | st.datetimes()
    | st.decimals()
    | st.just(Broken())
    | st.just(Colour.RED),
    lambda inside: (
        st.lists(inside, max_size=5)
        | st.tuples(inside, inside)
        | st.builds(Point, inside, inside)
        | st.dictionaries(st.text(max_size=4) | st.integers() | st.none(), inside, max_size=5)
        | st.builds(BrokenDict)
    ),
    max_leaves=20,
)


# --- Plain data -------------------------------------------------------------------------------------------------------


def test_plain_data_of_all_kinds() -> None:
    """Dates, decimals, ids, sets, dataclasses, named tuples and enums are shown; NaN is null; 1 and "1" are two."""
    assert showing.plain({"d": date(2026, 1, 2), "n": Decimal("1.50"), "u": UUID(int=1), "f": float("nan")}) == {
        "d": "2026-01-02",
        "n": "1.50",
        "u": "00000000-0000-0000-0000-000000000001",
        "f": None,
    }
    assert showing.plain([{3, 1, 2}, Point(1, 2), Person("Ada", date(1815, 12, 10)), Colour.RED]) == [
        [1, 2, 3],
        {"x": 1, "y": 2},
        {"name": "Ada", "born": "1815-12-10"},
        "red",
    ]
    assert showing.plain({1: "a", "1": "b"}) == {"1": "a", "1′": "b"}
    assert showing.plain({"\ud800": "\ud800"}) == {"\ufffd": "\ufffd"}
    assert showing.plain([2**53, -(2**53) + 1, float("inf"), 10**5000])[:3] == [str(2**53), -(2**53) + 1, "inf"]
    assert showing.plain([np.int64(3), np.float64(2.5), np.bool_(True), np.array([1, 2]), np.datetime64("NaT")]) == [
        3,
        2.5,
        True,
        [1, 2],
        None,
    ]
    assert showing.plain([pd.NaT, pd.NA, pd.Timestamp("2026-01-02")]) == [None, None, "2026-01-02 00:00:00"]


def test_what_fails_to_tell_is_named() -> None:
    """An object whose own methods raise is shown by its name, and raises nothing."""
    assert showing.plain([Broken()]) == ["<Broken: its str() raised RuntimeError>"]
    assert showing.text(Broken()) == "<Broken: its str() raised RuntimeError>"


def test_nested_data_has_bounds() -> None:
    """What contains itself, is very deep, wide or long is cut, and says so."""
    endless: list[Any] = []
    endless.append(endless)
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    for value in (endless, deep):
        assert len(json.dumps(showing.plain(value))) < 200
    wide = showing.plain(list(range(100_000)))
    assert len(wide) == showing.MOST_VALUES
    assert wide[-1] == "… 90,001 more"
    assert len(showing.plain({str(n): [n] for n in range(100_000)})) == showing.MOST_VALUES
    doubled: Any = 1
    for _ in range(30):
        doubled = [doubled, doubled]
    assert len(json.dumps(showing.plain(doubled))) < 500_000
    assert len(showing.plain("a" * 1_000_000)) == showing.LONGEST_TEXT


@given(anything)
@settings(max_examples=150, deadline=None)
def test_any_value_is_plain_and_stays_so(value: Any) -> None:
    """Whatever it is, it becomes JSON, and what was brought into that form stays as it is."""
    made = showing.plain(value)
    assert sent(made) == made
    assert showing.plain(made) == made
    if type(value) is not str or value.isascii():  # a property refuses what is not Unicode
        kept = showing.written(value)
        assert repr(showing.written(kept)) == repr(kept)
        sent(showing.write(kept))


def sent(value: Any) -> Any:
    """What comes of it in a browser; an error if it is no JSON."""
    return json.loads(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())


def test_data_frames_within_data() -> None:
    """A data frame or an array within data is shown by its columns or values; a large one by its own summary."""
    assert showing.plain({"f": pd.DataFrame([[1, 2]], columns=["a", "a"])}) == {"f": {"a": [1], "a′": [2]}}
    assert showing.plain([pl.Series("n", [1])]) == [{"n": [1]}]
    assert "..." in showing.plain([pd.DataFrame({"a": range(50_000)})])[0]
    assert "..." in showing.plain([np.zeros(2_000_000)])[0]


def test_cut_data_stays_as_it_is() -> None:
    """Also what was cut once is not cut again."""
    for value in (list(range(100_000)), {n: [n] * 3 for n in range(20_000)}, [[[]] * 9_000] * 3, "x" * 20_000):
        made = showing.plain(value)
        assert showing.plain(made) == made


# --- Tables -----------------------------------------------------------------------------------------------------------


def shape(value: Any) -> tuple[list[str], list[list[Any]]]:
    made = showing.table(value)
    assert made["more"] == 0
    assert showing.table(made) == made
    return [column["name"] for column in made["columns"]], made["rows"]


@pytest.mark.parametrize(
    ("value", "names", "rows"),
    [
        ({"a": [1, 2], "b": ["x", "y"]}, ["a", "b"], [[1, "x"], [2, "y"]]),
        ({"a": [1, 2], "b": (3,)}, ["a", "b"], [[1, 3], [2, None]]),
        ({"a": 1, "b": "x"}, ["name", "value"], [["a", 1], ["b", "x"]]),
        ({"r": {"a": 1}, "s": {"b": 2}}, ["", "a", "b"], [["r", 1, None], ["s", None, 2]]),
        ([{"a": 1}, {"b": 2}], ["a", "b"], [[1, None], [None, 2]]),
        ([[1, 2], [3]], ["0", "1"], [[1, 2], [3, None]]),
        ([1, "x", None], ["value"], [[1], ["x"], [None]]),
        ([Point(1, 2)], ["x", "y"], [[1, 2]]),
        (Point(1, 2), ["name", "value"], [["x", 1], ["y", 2]]),
        ([Person("Ada", date(1815, 12, 10))], ["name", "born"], [["Ada", "1815-12-10"]]),
        (pd.DataFrame({"a": [1, 2], "b": [1.5, None]}), ["a", "b"], [[1, 1.5], [2, None]]),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), ["a", "a"], [[1, 2]]),
        (pd.DataFrame({"a": [1]}, index=["r"]), ["", "a"], [["r", 1]]),
        (pd.Series([1, 2], name="n"), ["n"], [[1], [2]]),
        (pd.Series({"a": 1}), ["", "value"], [["a", 1]]),
        (pd.DataFrame({"t": [pd.Timestamp("2026-01-02"), pd.NaT]}), ["t"], [["2026-01-02 00:00:00"], [None]]),
        (pl.DataFrame({"a": [1, None], "b": ["x", "y"]}), ["a", "b"], [[1, "x"], [None, "y"]]),
        (pl.Series("n", [1.5, None]), ["n"], [[1.5], [None]]),
        (np.array([[1, 2], [3, 4]]), ["0", "1"], [[1, 2], [3, 4]]),
        ([], [], []),
        ({}, ["name", "value"], []),
        (pd.DataFrame(), [], []),
        (pl.DataFrame(), [], []),
        ([{"a": {"b": [1]}}], ["a"], [["{'b': [1]}"]]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_tables(value: Any, names: list[str], rows: list[list[Any]]) -> None:
    """What is a table is one: of pandas, polars, numpy, dicts and lists of whatever rows."""
    assert shape(value) == (names, rows)


def test_numbers_stand_right() -> None:
    """Columns of numbers are aligned right, also with gaps and as decimals; those of anything else, left."""
    made = showing.table(
        {"n": [1, None], "d": [Decimal(1), Decimal("NaN")], "t": ["1", None], "b": [True, False], "e": [None, None]}
    )
    assert [column["align"] for column in made["columns"]] == ["right", "right", "left", "left", "left"]
    frame = showing.table(pd.DataFrame({"n": [1, 2], "b": [True, False], "s": ["a", "b"]}))
    assert [column["align"] for column in frame["columns"]] == ["right", "left", "left"]


@pytest.mark.parametrize(
    "value",
    [
        {"a": range(5_000)},
        [[n] for n in range(5_000)],
        list(range(5_000)),
        [{"a": n} for n in range(5_000)],
        {str(n): n for n in range(5_000)},
        {str(n): {"a": n} for n in range(5_000)},
        pd.DataFrame({"a": range(5_000)}),
        pl.DataFrame({"a": range(5_000)}),
        np.arange(5_000),
        np.ones((5_000, 2)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_long_tables_say_how_much_is_left_out(value: Any) -> None:
    """A table has at most 1,000 rows, and tells how many more there are."""
    made = showing.table(value)
    assert (len(made["rows"]), made["more"]) == (1_000, 4_000)
    assert showing.table(made) == made


@pytest.mark.parametrize(
    "value",
    [
        {str(n): [n] for n in range(500)},
        [list(range(500))],
        [{str(n): n for n in range(500)}],
        {"r": {str(n): n for n in range(500)}},
        pd.DataFrame([range(500)]),
        pd.DataFrame([range(500)], index=["r"]),
        pl.DataFrame({str(n): [n] for n in range(500)}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_wide_tables_say_how_much_is_left_out(value: Any) -> None:
    """A table has at most 200 columns, the last of which tells how many more there are."""
    made = showing.table(value)
    columns = [column["name"] for column in made["columns"]]
    labels = columns[0] == ""
    assert len(columns) == 200
    assert columns[-1] == f"… {500 - 199 + labels} more columns"
    assert all(len(row) == 200 for row in made["rows"])
    assert showing.table(made) == made


@pytest.mark.parametrize("value", ["text", 5, None, object(), b"bytes", ValueError()])
def test_what_is_no_table_is_refused(value: Any) -> None:
    """A single value is no table."""
    with pytest.raises(UnsupportedValue, match="no table"):
        showing.table(value)


@given(anything)
@settings(max_examples=150, deadline=None)
def test_any_table_is_plain_and_stays_so(value: Any) -> None:
    """Whatever is a table becomes JSON with rows as long as its columns, and stays as it is."""
    try:
        made = showing.table(value)
    except UnsupportedValue:
        return
    sent(made)
    assert all(len(row) == len(made["columns"]) for row in made["rows"])
    assert showing.table(made) == made


@pytest.mark.parametrize(
    "forged",
    [
        {"columns": [{"name": "a", "align": "left"}], "rows": [[1, 2]], "more": 0},
        {"columns": [{"name": "a", "align": "up"}], "rows": [[1]], "more": 0},
        {"columns": [{"name": "a", "align": "left"}], "rows": [[[1]]], "more": 0},
        {"columns": [{"name": "a", "align": "left"}], "rows": [[1]], "more": -1},
        {"columns": [], "rows": [[]] * 2_000, "more": 0},
    ],
)
def test_what_merely_looks_like_a_table_of_ours_is_data(forged: dict[str, Any]) -> None:
    """A dict that is not quite a kept table is taken for the columns or values that it has."""
    made = showing.table(forged)
    assert made != forged
    assert showing.table(made) == made


# --- Charts -----------------------------------------------------------------------------------------------------------


def drawn(value: Any, x: str | None = None) -> tuple[list[str], dict[str, list[Any]]]:
    kept = showing.chart_data(value)
    assert showing.chart_data(kept) == kept
    made = showing.chart(kept, x)
    return made["labels"], {one["name"]: one["values"] for one in made["series"]}


def test_charts() -> None:
    """Labels come of x, of the index, or of the first column of text; each column of numbers is a series."""
    assert drawn([1, None, 2.5]) == (["0", "1", "2"], {"value": [1, None, 2.5]})
    assert drawn({"a": 1, "b": 2}) == (["a", "b"], {"value": [1, 2]})
    assert drawn({"day": ["Mo", "Tu"], "n": [1, 2]}) == (["Mo", "Tu"], {"n": [1, 2]})
    assert drawn({"x": [10, 20], "n": [1, 2]}, "x") == (["10", "20"], {"n": [1, 2]})
    assert drawn(pd.DataFrame({"n": [1.0, float("nan")]}, index=["a", "b"])) == (["a", "b"], {"n": [1.0, None]})
    assert drawn(pl.DataFrame({"d": [date(2026, 1, 2)], "n": [1]})) == (["2026-01-02"], {"n": [1]})
    assert drawn([{"n": Decimal("1.5")}]) == (["0"], {"n": [1.5]})
    assert drawn({"n": [datetime(2026, 1, 2, tzinfo=UTC)], "m": [1]})[1] == {"m": [1]}
    assert drawn([]) == ([], {})
    assert drawn({"n": []}) == ([], {"n": []})


@pytest.mark.parametrize(
    ("value", "x", "problem"),
    [
        ({"n": [1]}, "m", "no column 'm'"),
        ({"a": ["x"], "b": ["y"], "n": [1]}, None, "'b' is not of numbers"),
        ({"n": [float("inf")]}, None, "infinity"),
        ({"n": [10**400]}, None, "larger than any float"),
        ({"n": range(10_001)}, None, "at most 10,000 rows"),
        ({str(n): [1] for n in range(51)}, None, "at most 50 series"),
        ({str(n): [1] for n in range(201)}, None, "at most 10,000 rows and 200 columns"),
        ("text", None, "nothing to draw"),
        ({"b": [True], "c": [False]}, None, "'c' is not of numbers"),
    ],
)
def test_what_cannot_be_drawn_is_refused(value: Any, x: str | None, problem: str) -> None:
    """A chart that would mislead, or be empty, is refused by name."""
    with pytest.raises((UnsupportedValue, ValueError), match=problem):
        drawn(value, x)


@given(anything)
@settings(max_examples=150, deadline=None)
def test_any_chart_is_plain_and_stays_so(value: Any) -> None:
    """Whatever can be drawn becomes JSON with as many values in each series as there are labels, and stays as it is."""
    try:
        labels, series = drawn(value)
    except (UnsupportedValue, ValueError):
        return
    sent([labels, series])
    assert all(len(values) == len(labels) for values in series.values())
    assert all(type(value) in (int, float, type(None)) for values in series.values() for value in values)


# --- Whatever is written ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "as_", "content"),
    [
        ("*a*", "markdown", [["p", {}, [["em", {}, ["a"]]]]]),
        (5, "text", "5"),
        (True, "text", "True"),
        (None, "text", "None"),
        (2.5, "text", "2.5"),
        (float("nan"), "text", "nan"),
        (10**30, "text", str(10**30)),
        ({"a": [1]}, "json", {"a": [1]}),
        ([1, 2], "json", [1, 2]),
        ([{"a": {"b": 1}}], "json", [{"a": {"b": 1}}]),
        ([{"a": 1}], "table", {"columns": [{"name": "a", "align": "right"}], "rows": [[1]], "more": 0}),
        (pl.Series("a", [1]), "table", {"columns": [{"name": "a", "align": "right"}], "rows": [[1]], "more": 0}),
        (ValueError("<b>"), "alert", {"level": "error", "text": "ValueError: <b>"}),
        (KeyError(), "alert", {"level": "error", "text": "KeyError"}),
        (Decimal("1.5"), "text", "1.5"),
        (Colour.RED, "text", "Colour.RED"),
        (np.float64(2.5), "text", "2.5"),
        (Broken(), "text", "<Broken: its str() raised RuntimeError>"),
        (b"x", "text", "b'x'"),
    ],
    ids=lambda value: value if type(value) is str else type(value).__name__,
)
def test_what_is_written(value: Any, as_: str, content: Any) -> None:
    """Each value is shown in the way that suits it."""
    assert showing.write(showing.written(value)) == {"as": as_, "content": content}


def test_a_widget_is_no_value() -> None:
    """A widget is added, not written."""
    for show in (showing.written, showing.plain):
        with pytest.raises(UnsupportedValue, match="add_widget"):
            show(w.Text("x"))


def test_data_frames_are_not_imported_for_those_who_have_none() -> None:
    """Neither pandas nor polars nor numpy is imported to show plain data."""
    program = (
        "import sys; from sojourn.live import showing; showing.table([{'a': 1}]); showing.written([1]);"
        "print({'pandas', 'polars', 'numpy'} & set(sys.modules))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "set()"
