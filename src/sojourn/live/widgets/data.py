"""Widgets that show data: tables, charts, figures and messages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final, Literal

from ...errors import UnsupportedValue
from .. import showing
from ..widget import EventName, F, Refused, Widget, prop
from .numbers import between, number
from .texts import texts

__all__ = ["Alert", "BarChart", "Dataframe", "LineChart", "Metric", "Progress", "Table"]


def _keys(value: Any) -> tuple[str, ...] | None:
    return None if value is None else texts(value, "a key")[: showing.MOST_ROWS]


def _names(value: Any) -> tuple[str, ...]:
    return texts(value, "the name of a column")


class _Rows(Widget):
    """What tables have in common."""

    events: ClassVar[frozenset[EventName]] = frozenset({"select", "sort"})

    data: Any = prop(check=showing.table)
    keys: Sequence[str] | None = prop(default=None, check=_keys, kw_only=True)
    sortable: Sequence[str] = prop(default=(), check=_names, kw_only=True)
    sorted_by: str = prop(default="", kw_only=True)
    empty: str = prop(default="", kw_only=True)
    label: str = prop(default="Table", kw_only=True)

    def made(self) -> None:
        rows, keys = self._props["data"]["rows"], self._props["keys"]
        if keys is not None and len(keys) != len(rows):
            raise UnsupportedValue(f"{type(self).__name__}.keys", f"{len(keys):,} keys for {len(rows):,} rows")

    def on_select(self, callback: F) -> F:
        """Have ``callback(session, key)`` called when a row was chosen, with its key. Also a decorator."""
        return self.listen("select", callback)

    def on_sort(self, callback: F) -> F:
        """Have ``callback(session, name)`` called when the header of a column was clicked, with what ``sorted_by`` is
        to become: the column's name, or with "-" before it where that is the order already. The callback assigns it,
        and the rows. Also a decorator."""
        return self.listen("sort", callback)

    def take(self, event: EventName, value: Any) -> str:
        """The key of the row, or the order that is asked for. Raises `Refused`: "wrong_value" for a row that is not
        there (any more) and for a column that cannot be sorted by."""
        if event == "select":
            if type(value) is not str or value not in (self._props["keys"] or ())[: len(self._props["data"]["rows"])]:
                raise Refused("wrong_value", "this row is not there any more")
            return value
        if event != "sort":
            raise Refused("not_allowed", f"a {self.kind} knows no {event}")
        if type(value) is not str or value not in self._props["sortable"]:
            raise Refused("wrong_value", "it cannot be sorted by this column")
        return f"-{value}" if value == self._props["sorted_by"] else value


_DATA: Final = """``data`` is a data frame or series of pandas or polars, a dict of columns, a dict of single
    values (two columns: names and values), a list of dicts, of dataclasses, of rows, or of single values; anything else
    is refused with `UnsupportedValue`. At most 1,000 rows and 200 columns are kept and shown: the page says how many
    are left out. Read back it is what is shown: ``{"columns", "rows", "more"}``. ``empty`` is what stands there when
    there are no rows, ``label`` what it is called by who hears the page.

    ``keys`` are texts, one for each row, each there once (`UnsupportedValue` if not): with them a row can be chosen
    (`on_select`). They go with the rows: assign both when there are other rows; a row that has no key cannot be
    chosen. ``sortable`` are the names of columns whose headers can be clicked (`on_sort`), ``sorted_by`` is the one
    that the rows are in the order of, with "-" before it for the largest first: it marks the header, and sorts
    nothing."""


class Table(_Rows):
    __doc__ = f"""A table, shown whole. {_DATA}"""
    kind: ClassVar[str] = "table"


class Dataframe(_Rows):
    __doc__ = f"""A table in a box that scrolls. ``height`` is in pixels, None: as suits. {_DATA}"""
    kind: ClassVar[str] = "dataframe"

    height: int | None = prop(default=None, check=between(40, 10_000, "a height in pixels"), kw_only=True)


def _figure(value: Any) -> str | int | float:
    return value if type(value) is str else number(value)


class Metric(Widget):
    """A figure with its name, and by how much it changed. ``value`` and ``delta`` are numbers or text; a ``delta``
    below 0 (or text that begins with "-") points down, an empty one is not shown. ``better`` says which way is the good
    one: it is coloured after that. NaN, infinities and integers of more than 53 bits are refused with
    `UnsupportedValue`: give them as text."""

    kind: ClassVar[str] = "metric"

    label: str = prop()
    value: str | float = prop(check=_figure)
    delta: str | float = prop(default="", check=_figure)
    better: Literal["up", "down", "neutral"] = prop(default="up", kw_only=True)


class _Chart(Widget):
    """What charts have in common. ``data`` is what a `Table` takes; each column of numbers is a series. ``x`` names the
    column with the labels; None: the index of a data frame, else the first column that is no number, else 0, 1, 2, ...
    None and NaN are gaps. Other columns without numbers, infinities, more than 10,000 rows or 50 series, and an ``x``
    that is no column are refused with `UnsupportedValue`."""

    data: Any = prop(check=showing.chart_data)
    title: str = prop(default="")
    x: str | None = prop(default=None, kw_only=True)

    def check(self, name: str, value: Any) -> None:
        if name in ("data", "x"):
            try:
                self._drawn(**{name: value})
            except ValueError as error:
                raise UnsupportedValue(f"{type(self).__name__}.{name}", str(error)) from None

    def shown_props(self) -> dict[str, Any]:
        return {"data": self._drawn(), "title": self._props["title"]}

    def _drawn(self, **other: Any) -> dict[str, Any]:
        return showing.chart(other.get("data", self._props["data"]), other.get("x", self._props["x"]))


class LineChart(_Chart):
    __doc__ = f"""Lines over labels. {_Chart.__doc__}"""
    kind: ClassVar[str] = "line_chart"


class BarChart(_Chart):
    __doc__ = f"""Bars side by side over labels, or, if ``stacked``, one on the other. {_Chart.__doc__}"""
    kind: ClassVar[str] = "bar_chart"

    stacked: bool = prop(default=False, kw_only=True)

    def shown_props(self) -> dict[str, Any]:
        return {**super().shown_props(), "stacked": self._props["stacked"]}


def _part(value: Any) -> float | None:
    if value is None:
        return None
    part = float(number(value))
    if not 0 <= part <= 1:
        raise ValueError("progress is 0 to 1")
    return part


class Progress(Widget):
    """How much of something is done: ``value`` is 0 to 1, or None while nobody knows: it moves, and says "Working…" if
    there is no ``text``. Anything else is refused with `UnsupportedValue`."""

    kind: ClassVar[str] = "progress"

    value: float | None = prop(check=_part)
    text: str = prop(default="")


class Alert(Widget):
    """A message that stands out as its ``level`` says, and is read aloud to who hears the page."""

    kind: ClassVar[str] = "alert"

    text: str = prop()
    level: Literal["info", "success", "warning", "error"] = prop(default="info")
