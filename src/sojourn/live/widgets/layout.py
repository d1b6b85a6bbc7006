"""Widgets that hold others, and `Adding`: a method for each widget, for whatever widgets can be added to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Concatenate, Final, ParamSpec, TypeVar

from ...errors import ConfigurationError, UnsupportedValue
from ..widget import EventName, F, Refused, Widget, check_free, check_place, prop
from .address import Address
from .choosing import Nav, Tree
from .data import Alert, BarChart, Dataframe, LineChart, Metric, Progress, Table
from .inputs import (
    Button,
    Checkbox,
    Input,
    Multiselect,
    NumberInput,
    Selectbox,
    Slider,
    TextArea,
    TextInput,
)
from .numbers import number
from .text import Code, Divider, Header, Image, Json, Markdown, Subheader, Text, Title, Write

__all__ = ["Adding", "Column", "Columns", "Container", "Expander", "Form", "Sidebar", "Tab", "Tabs"]

P = ParamSpec("P")
W = TypeVar("W", bound=Widget)

_MOST_COLUMNS: Final = 24
_MOST_TABS: Final = 100


def _adds(kind: Callable[P, W]) -> Callable[Concatenate[Adding, P], W]:
    """A method that makes a widget of a kind, adds it and returns it."""

    def add(self: Adding, /, *args: P.args, **kwargs: P.kwargs) -> W:
        return self.add_widget(kind(*args, **kwargs))

    add.__doc__ = f"Add a `{kind.__name__}`: {kind.__doc__}"
    add.__name__ = kind.__name__.lower()
    return add


class Adding:
    """What widgets can be added to: an app, a session, a container. Each method makes a widget, adds it at the end and
    returns it; values that the widget cannot have are refused with `UnsupportedValue`, and nothing is added then."""

    __slots__ = ()

    def add_widget(self, widget: W, *, before: Widget | None = None) -> W:
        """Add a widget at the end, or before one that is there. Returns it."""
        raise NotImplementedError  # an app, a session and a container each keep their own

    title = _adds(Title)
    header = _adds(Header)
    subheader = _adds(Subheader)
    text = _adds(Text)
    markdown = _adds(Markdown)
    write = _adds(Write)
    code = _adds(Code)
    json = _adds(Json)
    divider = _adds(Divider)
    image = _adds(Image)
    text_input = _adds(TextInput)
    text_area = _adds(TextArea)
    number_input = _adds(NumberInput)
    slider = _adds(Slider)
    checkbox = _adds(Checkbox)
    selectbox = _adds(Selectbox)
    multiselect = _adds(Multiselect)
    button = _adds(Button)
    nav = _adds(Nav)
    tree = _adds(Tree)
    table = _adds(Table)
    dataframe = _adds(Dataframe)
    metric = _adds(Metric)
    line_chart = _adds(LineChart)
    bar_chart = _adds(BarChart)
    progress = _adds(Progress)
    alert = _adds(Alert)
    address = _adds(Address)

    # Those below are what widgets can be added to themselves, so their classes cannot stand before this one.

    def container(self, border: bool = False, *, row: bool = False, key: str = "", visible: bool = True) -> Container:
        """Add a `Container`."""
        return self.add_widget(Container(border, row=row, key=key, visible=visible))

    def columns(self, ratios: int | Sequence[float] = 2, *, key: str = "", visible: bool = True) -> Columns:
        """Add `Columns`: so many, or one for each weight. ``left, right = app.columns(2)``."""
        return self.add_widget(Columns(ratios, key=key, visible=visible))

    def sidebar(self, expanded: bool = True, *, key: str = "", visible: bool = True) -> Sidebar:
        """Add a `Sidebar`."""
        return self.add_widget(Sidebar(expanded, key=key, visible=visible))

    def expander(self, label: str, expanded: bool = False, *, key: str = "", visible: bool = True) -> Expander:
        """Add an `Expander`."""
        return self.add_widget(Expander(label, expanded, key=key, visible=visible))

    def tabs(self, labels: Sequence[str], *, key: str = "", visible: bool = True) -> Tabs:
        """Add `Tabs`, one for each label. ``chat, people = app.tabs(["Chat", "People"])``."""
        return self.add_widget(Tabs(labels, key=key, visible=visible))

    def form(
        self,
        submit_label: str = "Submit",
        *,
        border: bool = True,
        clear_on_submit: bool = False,
        disabled: bool = False,
        key: str = "",
        visible: bool = True,
    ) -> Form:
        """Add a `Form`."""
        form = Form(
            submit_label,
            border=border,
            clear_on_submit=clear_on_submit,
            disabled=disabled,
            key=key,
            visible=visible,
        )
        return self.add_widget(form)


class _Holder(Widget):
    """What others can be in."""

    holds: ClassVar[bool] = True

    def add_widget(self, widget: W, *, before: Widget | None = None) -> W:
        """Add a widget at the end, or before one that is in it. Returns it. Raises `ConfigurationError` for a widget
        that is somewhere already, that cannot be in this one, or for a ``before`` that is not in it; nothing is changed
        then."""
        check_free(widget)
        check_place(widget, self)
        if self._home is not None:
            self._home.add(widget, self, before)
            return widget
        if before is not None and before not in self._children:
            raise ConfigurationError(f"{before!r} is not in {self!r}: nothing can be added before it")
        self._children.insert(len(self._children) if before is None else self._children.index(before), widget)
        widget._parent = self
        return widget

    def _fill(self, widgets: Sequence[Widget]) -> None:
        """What is in it from the start. Each has a key of its own if this one has."""
        for at, widget in enumerate(widgets):
            if self._key:
                widget._key = f"{self._key}.{at}"
            self.add_widget(widget)


class Container(_Holder, Adding):
    """Widgets one below the other, in a frame if ``border``; if ``row``, one beside the other, as many as fit: buttons
    and inputs that belong together."""

    kind: ClassVar[str] = "container"

    border: bool = prop(default=False)
    row: bool = prop(default=False, kw_only=True)


class Sidebar(_Holder, Adding):
    """Widgets beside the page, on a phone above it. It can be closed, and is open at first if ``expanded``. It belongs
    on the page itself: in another widget it is refused with `ConfigurationError`."""

    kind: ClassVar[str] = "sidebar"
    place: ClassVar[str] = "page"

    expanded: bool = prop(default=True)


class Expander(_Holder, Adding):
    """Widgets below a label that opens and closes them. They are seen at first if ``expanded``."""

    kind: ClassVar[str] = "expander"

    label: str = prop()
    expanded: bool = prop(default=False)


class Column(_Holder, Adding):
    """One of some `Columns`, which make it."""

    kind: ClassVar[str] = "column"
    place: ClassVar[str] = "columns"


def _ratios(value: Any) -> tuple[int | float, ...]:
    if type(value) is int:
        value = (1,) * value if 0 < value <= _MOST_COLUMNS else ()
    elif isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise TypeError("a number of columns, or a weight for each")
    weights = tuple(number(weight) for weight in value)
    if not 0 < len(weights) <= _MOST_COLUMNS:
        raise ValueError(f"1 to {_MOST_COLUMNS} columns")
    if not all(0.01 <= weight <= 100 for weight in weights):
        raise ValueError("a weight is 0.01 to 100")
    return weights


class Columns(_Holder):
    """Columns side by side, on a phone one below the other. ``ratios`` is how many, or a weight for each, by which they
    share the width: 1 to 24, weights of 0.01 to 100, else `UnsupportedValue`. The weights can be changed, their number
    cannot. Index or unpack it for its columns: ``left, right = app.columns(2)``; columns are all that is in it."""

    kind: ClassVar[str] = "columns"
    only: ClassVar[str] = "column"

    ratios: int | Sequence[float] = prop(check=_ratios, default=(1, 1))

    def made(self) -> None:
        self._fill([Column() for _ in self._props["ratios"]])

    def check(self, name: str, value: Any) -> None:
        if name == "ratios" and len(value) != len(self._props["ratios"]):
            raise UnsupportedValue("Columns.ratios", "the number of columns stays what it is: make others")

    def __getitem__(self, at: int) -> Column:
        """One of the columns, the first is 0; IndexError if there is none there."""
        return self.children[at]  # type: ignore[return-value]

    def __iter__(self) -> Iterator[Column]:
        """The columns, from left to right."""
        return iter(self.children)  # type: ignore[arg-type]

    def __len__(self) -> int:
        """How many columns there are."""
        return len(self.children)


class Tab(_Holder, Adding):
    """One of some `Tabs`, which make it. ``label`` is what one clicks on to see what is in it."""

    kind: ClassVar[str] = "tab"
    place: ClassVar[str] = "tabs"

    label: str = prop()


class Tabs(_Holder):
    """Widgets one behind the other, of which one is seen. ``labels`` are 1 to 100 texts, else `UnsupportedValue`, and
    stay what they are: to change one, assign the ``label`` of its tab. Index or unpack it for its tabs; they are all
    that is in it."""

    kind: ClassVar[str] = "tabs"
    only: ClassVar[str] = "tab"

    labels: Sequence[str] = prop(shown=False)

    def made(self) -> None:
        labels = self._props["labels"]
        if not 0 < len(labels) <= _MOST_TABS:
            raise UnsupportedValue("Tabs.labels", f"1 to {_MOST_TABS} tabs")
        self._fill([Tab(label) for label in labels])

    def check(self, name: str, value: Any) -> None:
        if name == "labels" and value != self._props["labels"]:
            raise UnsupportedValue("Tabs.labels", "they stay what they are: assign the label of a tab")

    def __getitem__(self, at: int) -> Tab:
        """One of the tabs, the first is 0; IndexError if there is none there."""
        return self.children[at]  # type: ignore[return-value]

    def __iter__(self) -> Iterator[Tab]:
        """The tabs, from left to right."""
        return iter(self.children)  # type: ignore[arg-type]

    def __len__(self) -> int:
        """How many tabs there are."""
        return len(self.children)


class Form(_Holder, Adding):
    """Inputs that are sent together, by a button at the end (``submit_label``) or the Enter key: until then the
    server knows nothing of what was typed. Either all that was sent is assigned, or, if one is refused, nothing.
    ``clear_on_submit``: they are empty again afterwards. ``disabled``: it cannot be sent. There can be no form in a
    form."""

    kind: ClassVar[str] = "form"
    events: ClassVar[frozenset[EventName]] = frozenset({"submit"})

    submit_label: str = prop(default="Submit")
    border: bool = prop(default=True, kw_only=True)
    clear_on_submit: bool = prop(default=False, kw_only=True)
    disabled: bool = prop(default=False, kw_only=True)

    def on_submit(self, callback: F) -> F:
        """Have ``callback(session, values)`` called when it was sent, with the values by the keys of the inputs. Also a
        decorator."""
        return self.listen("submit", callback)

    def inputs(self) -> Iterator[Input]:
        """All inputs in it, however deep, also those that are not visible."""
        inside: list[Widget] = list(self.children)
        for widget in inside:  # which grows
            inside += widget.children
        return (widget for widget in inside if isinstance(widget, Input))

    def take(self, event: EventName, value: Any) -> dict[str, Any]:
        """What was sent, by the ids of inputs; whose they are, and what each takes, is for the page to check. Raises
        `Refused` while it is disabled, for what is no submit, and for anything but an object."""
        if event != "submit" or self.disabled:
            raise Refused("not_allowed", "the form is disabled" if self.disabled else f"a form knows no {event}")
        if type(value) is not dict or not all(type(name) is str for name in value):
            raise Refused("wrong_value", "a form sends the values of its inputs by their ids")
        return value
