"""Widgets that show data: tables, charts, figures and messages."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from ...errors import UnsupportedValue
from .. import showing
from ..widget import Widget, prop
from .numbers import between, number

__all__ = ["Alert", "BarChart", "Dataframe", "LineChart", "Metric", "Progress", "Table"]


class Table(Widget):
    """A table, shown whole. ``data`` is a data frame or series of pandas or polars, a dict of columns, a dict of single
    values (two columns: names and values), a list of dicts, of dataclasses, of rows, or of single values; anything else
    is refused with `UnsupportedValue`. At most 1,000 rows and 200 columns are kept and shown: the page says how many
    are left out. Read back it is what is shown: ``{"columns", "rows", "more"}``."""

    kind: ClassVar[str] = "table"

    data: Any = prop(check=showing.table)


class Dataframe(Widget):
    """A table as `Table`, in a box that scrolls. ``height`` is in pixels, None: as suits."""

    kind: ClassVar[str] = "dataframe"

    data: Any = prop(check=showing.table)
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
    __doc__ = f"""Bars side by side over labels. {_Chart.__doc__}"""
    kind: ClassVar[str] = "bar_chart"


def _part(value: Any) -> float:
    part = float(number(value))
    if not 0 <= part <= 1:
        raise ValueError("progress is 0 to 1")
    return part


class Progress(Widget):
    """How much of something is done: ``value`` is 0 to 1, and anything else is refused with `UnsupportedValue`."""

    kind: ClassVar[str] = "progress"

    value: float = prop(check=_part)
    text: str = prop(default="")


class Alert(Widget):
    """A message that stands out as its ``level`` says, and is read aloud to who hears the page."""

    kind: ClassVar[str] = "alert"

    text: str = prop()
    level: Literal["info", "success", "warning", "error"] = prop(default="info")
