"""Any value, as a browser can show it: plain JSON-able data with bounds, tables and charts. Pure.

Each function takes what it gives: what was once brought into its form stays as it is. Data frames are known by their
methods and by the module of their type, so that pandas and polars are imported by who uses them, and not here.

It is one file, past 400 lines: tables are made of plain values, and among plain values there can be data frames.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from itertools import islice
from typing import Any, Final

import msgspec

from ..errors import UnsupportedValue
from .nodes import markdown
from .widget import Widget

__all__ = [
    "chart",
    "chart_data",
    "plain",
    "table",
    "text",
    "write",
    "written",
]

MOST_ROWS: Final = 1_000
MOST_COLUMNS: Final = 200
MOST_POINTS: Final = 10_000
MOST_SERIES: Final = 50
MOST_VALUES: Final = 10_000
"""In nested data, all counted."""
DEEPEST: Final = 32
LONGEST_TEXT: Final = 10_000
"""Characters of a text within data."""

_EXACT: Final = 2**53 - 1  # the largest integer that a browser keeps exact
_MORE: Final = "…"
_LARGEST_ARRAY: Final = 1_000_000  # what is larger is not made into a list to show the beginning of it


# --- Any value as text -----------------------------------------------------------------------------------------------


def text(value: Any) -> str:
    """The ``str()`` of a value, at most 10,000 characters of it. One whose ``str()`` fails is named."""
    try:
        shown = str(value)
    except Exception as error:  # a method of the application's may raise whatever it likes
        shown = f"<{type(value).__name__}: its str() raised {type(error).__name__}>"
    return _cut(shown)


def _cut(shown: str) -> str:
    shown = shown if type(shown) is str else str.__str__(shown)
    if len(shown) > LONGEST_TEXT:
        shown = shown[: LONGEST_TEXT - 1] + _MORE
    return shown if shown.isascii() else _LONE.sub("\ufffd", shown)


_LONE: Final = re.compile("[\ud800-\udfff]")


def _atom(value: Any) -> Any:
    """A single value as JSON has it: None, a bool, a number that a browser keeps exact, or text. NaN is None."""
    kind = type(value)
    if value is None or kind is bool:
        return value
    if kind is str:
        return _cut(value)
    if kind is int:
        return value if -_EXACT <= value <= _EXACT else _digits(value)
    if kind is float:
        return value if math.isfinite(value) else None if math.isnan(value) else str(value)
    if isinstance(value, Enum):
        return _atom(value.value) if not isinstance(value.value, Enum) else text(value)
    if isinstance(value, (str, int, float)):
        return _atom(_built_in(value))
    if kind.__module__ == "numpy" and hasattr(value, "item") and not getattr(value, "shape", None):
        item = value.item()
        return _atom(item) if type(item) in (bool, int, float, str) else _absent_or_text(value)
    return _absent_or_text(value)


def _built_in(value: str | float) -> str | float:
    """A value of a subclass, as its base has it: numpy's floats, text of a kind of its own."""
    if isinstance(value, str):
        return str.__str__(value)
    return int.__int__(value) if isinstance(value, int) else float.__float__(value)


def _digits(value: int) -> str:
    """An integer as text. One of thousands of digits, which Python does not write in decimals, is in hexadecimals."""
    return _cut(str(value) if value.bit_length() < 10_000 else hex(value))


def _absent_or_text(value: Any) -> str | None:
    """NaT, NA and their like, which are not equal to themselves or say that they are null, are None."""
    if type(value).__name__ in ("NaTType", "NAType"):
        return None
    try:
        if bool(value != value):  # a Decimal's NaN, numpy's NaT
            return None
    except Exception:  # noqa: S110 - comparing is the application's code, too: what cannot be compared is shown
        pass
    return text(value)


# --- Nested data -----------------------------------------------------------------------------------------------------


class _Budget:
    """How many values of nested data can still be shown."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, wanted: int) -> int:
        taken = min(wanted, self.left)
        self.left -= taken
        return taken


def plain(value: Any) -> Any:
    """A value as JSON-able data. Dataclasses, named tuples and mappings become objects, other sequences and sets lists,
    NaN and NaT null, and what JSON does not have text. Of what is deeper than 32 levels, or past 10,000 values, "…" is
    left. Raises `UnsupportedValue` for a widget."""
    _refuse_widget(value)
    return _plain(value, _Budget(MOST_VALUES), DEEPEST)


def _plain(value: Any, budget: _Budget, depth: int) -> Any:
    if type(value) in (str, int, float, bool, type(None)):
        return _atom(value)
    inside = _inside(value)
    if inside is None:
        return _atom(value)
    if not depth or (not budget.left and len(inside)):
        return _MORE
    count = len(inside)
    room = budget.take(count)
    shown = room if room == count else room - 1
    if isinstance(inside, Mapping):
        made: dict[str, Any] = {}
        for key, member in islice(inside.items(), shown):
            made[_new_name(key, made)] = _plain(member, budget, depth - 1)
        if shown < count:
            made[_new_name(_MORE, made)] = f"{count - shown:,} more"
        return made
    listed = [_plain(member, budget, depth - 1) for member in islice(inside, shown)]
    return listed if shown == count else [*listed, f"{_MORE} {count - shown:,} more"]


def _inside(value: Any) -> Mapping[Any, Any] | Sequence[Any] | None:
    """What a container holds, as a mapping or a sequence; None if it is none, or does not tell."""
    try:
        fields = _fields(value)
        if fields is not None:
            return fields
        if isinstance(value, Mapping):
            return value if type(value) is dict else dict(value)
        if isinstance(value, AbstractSet):
            return sorted(value, key=text)  # an order that is the same in each process
        if _is_frame(value) or _is_series(value):
            grid = _grid(value, MOST_VALUES)
            if grid is None or grid.more or grid.hidden:
                return None  # its str() is a summary
            made: dict[str, Any] = {}
            for name, column in grid.columns:
                made[_new_name(name, made)] = column
            return made
        if _is_array(value):
            listed: list[Any] | None = value.tolist() if value.size <= _LARGEST_ARRAY else None
            return listed
        if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray, memoryview)):
            return value if type(value) in (list, tuple) else list(value)
    except Exception:  # noqa: S110 - a container of the application's own that fails to tell is shown as its str()
        pass
    return None


def _fields(value: Any) -> dict[str, Any] | None:
    """The fields of a dataclass's instance, a Struct, a named tuple, or a row of a database; None of anything else."""
    kind = type(value)
    if kind in (dict, list, tuple):
        return None
    if dataclasses.is_dataclass(kind):
        return {one.name: getattr(value, one.name) for one in dataclasses.fields(kind)}
    if isinstance(value, msgspec.Struct):
        return {name: getattr(value, name) for name in value.__struct_fields__}
    if isinstance(value, tuple) and hasattr(kind, "_fields"):
        return dict(zip(kind._fields, value, strict=True))
    if kind.__module__ == "sqlite3" and kind.__name__ == "Row":
        return dict(zip(value.keys(), value, strict=True))
    return None


def _new_name(key: Any, taken: Mapping[str, Any]) -> str:
    """A key as text that is not another's: 1 and "1" are two."""
    name = _cut(key) if type(key) is str else text(key)
    while name in taken:
        name += "′"
    return name


def _refuse_widget(value: Any) -> None:
    if isinstance(value, Widget):
        raise UnsupportedValue(type(value).__name__, "a widget is no value to show: add it with add_widget")


# --- Tables and charts -----------------------------------------------------------------------------------------------


class _Column(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    align: str


class _Table(msgspec.Struct, forbid_unknown_fields=True):
    columns: list[_Column]
    rows: list[list[bool | int | float | str | None]]
    more: int


class _Series(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    values: list[int | float | str | None]


class _Chart(msgspec.Struct, forbid_unknown_fields=True):
    labels: list[str] | None
    columns: list[_Series]


@dataclasses.dataclass(slots=True)
class _Grid:
    """Columns as they were found, not yet as they are shown."""

    columns: Sequence[tuple[str, Sequence[Any]]]
    index: int
    """How many of the first columns are labels of rows."""
    more: int = 0
    """How many rows are left out."""
    hidden: int = 0
    """How many columns are left out."""


def table(value: Any) -> dict[str, Any]:
    """A table: ``{"columns": [{"name", "align"}], "rows": [[cell, ...]], "more": rows left out}``. Raises
    `UnsupportedValue` for what is none. At most 1,000 rows and 200 columns are in it; the last column says how many
    columns are left out."""
    if _is_form(value, _Table, {"columns", "rows", "more"}) and _is_table(value):
        return value  # type: ignore[no-any-return]
    grid = _grid(value)
    if grid is None:
        raise UnsupportedValue(
            type(value).__name__, "no table: a data frame, a dict, or a list of rows or values is one"
        )
    columns, cells = [], []
    for name, column in grid.columns:
        columns.append({"name": name, "align": "right" if _are_numbers(column) else "left"})
        cells.append([_cell(value) for value in column])
    if grid.hidden:
        columns.append({"name": f"{_MORE} {grid.hidden:,} more columns", "align": "left"})
        cells.append([None] * (len(cells[0]) if cells else 0))
    return {"columns": columns, "rows": [list(row) for row in zip(*cells, strict=True)], "more": grid.more}


def _is_form(value: Any, form: type, names: set[str]) -> bool:
    """Whether it is in the form that it would be kept in."""
    if type(value) is not dict or value.keys() != names:
        return False
    try:
        msgspec.convert(value, form)
    except (msgspec.ValidationError, RecursionError):
        return False
    return True


def _is_table(value: Any) -> bool:
    columns, rows = value["columns"], value["rows"]
    return (
        len(rows) <= MOST_ROWS
        and len(columns) <= MOST_COLUMNS
        and value["more"] >= 0
        and all(len(row) == len(columns) for row in rows)
        and all(column["align"] in ("left", "right") for column in columns)
        and all(_cell(cell) is cell for row in rows for cell in row)
    )


def _cell(value: Any) -> Any:
    return _atom(value) if _inside_of_cell(value) is None else text(plain(value))


def _inside_of_cell(value: Any) -> Any:
    return None if type(value) in (str, int, float, bool, type(None)) else _inside(value)


def _are_numbers(column: Iterable[Any]) -> bool:
    """Whether there are numbers in it, and nothing else but gaps."""
    found = False
    for value in column:
        if _is_gap(value):
            continue
        if not _is_number(value):
            return False
        found = True
    return found


def _is_gap(value: Any) -> bool:
    return value is None or (not isinstance(value, str) and _inside_of_cell(value) is None and _atom(value) is None)


def _is_number(value: Any) -> bool:
    if isinstance(value, (bool, str)) or type(value).__name__ in ("bool_", "bool"):
        return False
    return isinstance(value, (int, float)) or hasattr(type(value), "__float__")


def _is_frame(value: Any) -> bool:
    return type(value).__name__ == "DataFrame" and _library(value) in ("pandas", "polars")


def _is_series(value: Any) -> bool:
    return type(value).__name__ == "Series" and _library(value) in ("pandas", "polars")


def _is_array(value: Any) -> bool:
    return type(value).__module__ == "numpy" and bool(getattr(value, "shape", None))


def _library(value: Any) -> str:
    return type(value).__module__.partition(".")[0]


def _grid(value: Any, most: int = MOST_ROWS, widest: int = MOST_COLUMNS) -> _Grid | None:
    """The columns of whatever is a table; None if it is none."""
    if _is_frame(value):
        return _grid_of_frame(value, most, widest)
    if _is_series(value):
        if _library(value) == "polars":
            return _grid_of_frame(value.to_frame(value.name or "value"), most, widest)
        return _grid_of_frame(value.to_frame("value" if value.name is None else value.name), most, widest)
    if _is_array(value):
        grid = _grid_of_rows(value[:most].tolist(), most, widest)
        grid.more = max(len(value) - most, 0)
        return grid
    inside = _inside(value)
    if isinstance(inside, Mapping):
        return _grid_of_mapping(inside, most, widest)
    return None if inside is None else _grid_of_rows(inside, most, widest)


def _grid_of_frame(frame: Any, most: int, widest: int) -> _Grid:
    rows, width = frame.shape
    hidden = width - widest + 1 if width > widest else 0
    if _library(frame) == "polars":
        head = frame[:most, : width - hidden]
        columns = [(_cut(one.name), one.to_list()) for one in head.get_columns()]
        return _Grid(columns, 0, max(rows - most, 0), hidden)
    index = (
        [] if type(frame.index).__name__ == "RangeIndex" and frame.index.name is None else _index_of(frame.index[:most])
    )
    if index and width + len(index) > widest:
        hidden = width + len(index) - widest + 1
    head = frame.iloc[:most, : max(width - hidden, 0)]
    columns = [(_label(head.columns[at]), head.iloc[:, at].tolist()) for at in range(head.shape[1])]
    return _Grid([*index, *columns], len(index), max(rows - most, 0), hidden)


def _index_of(index: Any) -> list[tuple[str, Sequence[Any]]]:
    """The labels of a data frame's rows, a column for each level."""
    names = ["" if name is None else text(name) for name in index.names]
    if len(names) == 1:
        return [(names[0], index.tolist())]
    return [(name, index.get_level_values(level).tolist()) for level, name in enumerate(names)]


def _label(name: Any) -> str:
    return " / ".join(text(part) for part in name) if type(name) is tuple else text(name)


def _grid_of_mapping(value: Mapping[Any, Any], most: int, widest: int) -> _Grid:
    """A dict of columns, of rows (dicts), or of single values."""
    inside = {key: _inside_of_cell(member) for key, member in value.items()}
    found = list(inside.values())
    if found and all(isinstance(member, Mapping) for member in found):
        rows = _grid_of_rows(found, most, widest - 1)
        names = [text(key) for key in islice(value, most)]
        return _Grid([("", names), *rows.columns], 1, rows.more, rows.hidden)
    if found and all(member is not None and not isinstance(member, Mapping) for member in found):
        longest = max(len(member) for member in found)
        hidden = len(found) - widest + 1 if len(found) > widest else 0
        columns = [
            (text(key), [*islice(member, most), *([None] * (min(longest, most) - len(member)))])
            for key, member in islice(inside.items(), len(found) - hidden)
        ]
        return _Grid(columns, 0, max(longest - most, 0), hidden)
    kept = list(islice(value.items(), most))
    columns = [("name", [text(key) for key, _ in kept]), ("value", [member for _, member in kept])]
    return _Grid(columns, 1, max(len(value) - most, 0))


def _grid_of_rows(value: Sequence[Any], most: int, widest: int) -> _Grid:
    """A list of dicts, of rows, or of single values."""
    more = max(len(value) - most, 0)
    head = list(islice(value, most))
    rows = [_inside_of_cell(row) for row in head]
    if head and all(isinstance(row, Mapping) for row in rows):
        names = list(dict.fromkeys(name for row in rows for name in row))
        hidden = len(names) - widest + 1 if len(names) > widest else 0
        return _Grid(
            [(text(name), [row.get(name) for row in rows]) for name in names[: len(names) - hidden]], 0, more, hidden
        )
    if head and all(row is not None and not isinstance(row, Mapping) for row in rows):
        width = max(len(row) for row in rows)
        hidden = width - widest + 1 if width > widest else 0
        across = range(width - hidden)
        return _Grid(
            [(str(at), [row[at] if at < len(row) else None for row in rows]) for at in across], 0, more, hidden
        )
    return _Grid([("value", head)] if head else [], 0, more)


def chart_data(value: Any) -> dict[str, Any]:
    """What a chart is drawn from: ``{"labels": [text, ...] or None, "columns": [{"name", "values"}]}``, from what
    `table` takes. Raises `UnsupportedValue` for what is no table, or is more than a chart can show."""
    if _is_form(value, _Chart, {"labels", "columns"}) and _is_chart(value):
        return value  # type: ignore[no-any-return]
    grid = _grid(value, MOST_POINTS, MOST_COLUMNS)
    if grid is None:
        raise UnsupportedValue(type(value).__name__, "nothing to draw: a data frame, a dict, or a list of numbers is")
    if grid.more or grid.hidden:
        raise UnsupportedValue(
            type(value).__name__,
            f"a chart has at most {MOST_POINTS:,} rows and {MOST_COLUMNS} columns: sum it up first",
        )
    labels = None
    if grid.index:
        labels = [
            " / ".join(_shown_label(part) for part in parts)
            for parts in zip(*(column for _, column in grid.columns[: grid.index]), strict=True)
        ]
    columns = [{"name": name, "values": _drawn(column)} for name, column in grid.columns[grid.index :]]
    return {"labels": labels, "columns": columns}


def _is_chart(value: Any) -> bool:
    lengths = {len(column["values"]) for column in value["columns"]}
    if value["labels"] is not None:
        lengths.add(len(value["labels"]))
    return (
        len(lengths) <= 1
        and all(length <= MOST_POINTS for length in lengths)
        and len(value["columns"]) <= MOST_COLUMNS
        and all(_atom(one) is one for column in value["columns"] for one in column["values"])
        and all(_drawn(column["values"]) == column["values"] for column in value["columns"])
    )


def _shown_label(value: Any) -> str:
    shown = _cell(value)
    return "" if shown is None else str(shown)


def _drawn(column: Sequence[Any]) -> list[Any]:
    """A column of numbers and gaps; or, if it has anything else, of texts."""
    if any(not _is_gap(value) for value in column) and not _are_numbers(column):
        return [_shown_label(value) for value in column]
    numbers: list[Any] = []
    for value in column:
        if _is_gap(value):
            numbers.append(None)
            continue
        try:
            number = value if type(value) is int and abs(value) <= _EXACT else float(value)
        except OverflowError:
            raise ValueError("a number that is larger than any float") from None
        if not math.isfinite(number):
            raise ValueError("infinity cannot be drawn")
        numbers.append(number)
    return numbers


def chart(data: Mapping[str, Any], x: str | None) -> dict[str, Any]:
    """A chart as it is drawn: ``{"labels": [text, ...], "series": [{"name", "values"}]}``, from `chart_data` and the
    name of the column with the labels. Raises ValueError if there is no such column, and for a column that is no
    number."""
    columns: list[Any] = list(data["columns"])
    labels = data["labels"]
    if x is not None:
        at = next((at for at, column in enumerate(columns) if column["name"] == x), None)
        if at is None:
            raise ValueError(f"there is no column {x!r} to take the labels from")
        labels = [_shown_label(value) for value in columns.pop(at)["values"]]
    elif labels is None:
        at = next((at for at, column in enumerate(columns) if _has_text(column)), None)
        if at is not None:
            labels = columns.pop(at)["values"]
    for column in columns:
        if _has_text(column):
            raise ValueError(f"the column {column['name']!r} is not of numbers: leave it out, or name it as x")
    if len(columns) > MOST_SERIES:
        raise ValueError(f"a chart has at most {MOST_SERIES} series")
    if labels is None:
        labels = [str(at) for at in range(len(columns[0]["values"]) if columns else 0)]
    return {"labels": labels, "series": columns}


def _has_text(column: Mapping[str, Any]) -> bool:
    return any(type(value) is str for value in column["values"])


# --- What is written, whatever it is ---------------------------------------------------------------------------------


def written(value: Any) -> Any:
    """What is kept of a value that is to be shown in the way that suits it. Text, numbers, None and plain data are kept
    as they are, tables as `table` has them, and of the rest what is shown. Raises `UnsupportedValue` for a widget."""
    _refuse_widget(value)
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if isinstance(value, Enum):
        return {"as": "text", "text": text(value)}
    if isinstance(value, (str, int, float)):
        return _built_in(value)
    if isinstance(value, BaseException):
        return {"as": "alert", "text": f"{type(value).__name__}: {text(value)}".removesuffix(": ")}
    if _is_kept_text(value):
        return value
    if _is_form(value, _Table, {"columns", "rows", "more"}) and _is_table(value):
        return value
    if _is_frame(value) or _is_series(value) or _is_list_of_rows(value):
        return table(value)
    if _inside(value) is not None:
        return plain(value)
    return {"as": "text", "text": text(value)}


def _is_kept_text(value: Any) -> bool:
    return (
        type(value) is dict
        and value.keys() == {"as", "text"}
        and value["as"] in ("text", "alert")
        and type(value["text"]) is str
        and _cut(value["text"]) == value["text"]
    )


def _is_list_of_rows(value: Any) -> bool:
    """Whether it is a list of flat dicts, or of what is shown as such."""
    if type(value) not in (list, tuple) or not value:
        return False
    rows = [_inside_of_cell(row) for row in islice(value, MOST_ROWS)]
    return all(
        isinstance(row, Mapping) and row and all(_inside_of_cell(cell) is None for cell in row.values()) for row in rows
    )


def write(kept: Any) -> dict[str, Any]:
    """What the browser is told of a value that is `written`: how it is shown, and what."""
    if type(kept) is str:
        return {"as": "markdown", "content": markdown(kept)}
    if type(kept) is int:
        return {"as": "text", "content": _digits(kept)}
    if kept is None or type(kept) in (bool, float):
        return {"as": "text", "content": str(kept)}
    if _is_kept_text(kept):
        if kept["as"] == "text":
            return {"as": "text", "content": kept["text"]}
        return {"as": "alert", "content": {"level": "error", "text": kept["text"]}}
    if type(kept) is dict and kept.keys() == {"columns", "rows", "more"} and _is_form(kept, _Table, set(kept)):
        return {"as": "table", "content": kept}
    return {"as": "json", "content": kept}
