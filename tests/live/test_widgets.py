"""Declarations of widgets: what each takes from a program and from a browser, what is kept of it, and what is shown."""

from __future__ import annotations

import json
import math
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sojourn import ConfigurationError, UnsupportedValue
from sojourn.codec import Codec
from sojourn.live import widgets as w
from sojourn.live.widget import Property, Refused, Widget, check_place, copied

PNG = b"\x89PNG\r\n\x1a\n..."

SAMPLES: list[Widget] = [
    w.Title("Title", anchor="top"),
    w.Header("Header", True),
    w.Subheader("Subheader"),
    w.Text("Text", key="t", visible=False),
    w.Markdown("# *a*"),
    w.Write("*a*"),
    w.Write(5),
    w.Write([{"a": 1}]),
    w.Write({"a": [1, (2, 3)]}),
    w.Write(ValueError("no")),
    w.Write(object()),
    w.Code("x = 1", "python"),
    w.Json({"a": {1, 2}}, expanded=False),
    w.Divider(),
    w.Image(PNG, "A dot", caption="A dot", width=10),
    w.TextInput("Name", "Ada", max_length=10, password=True),
    w.TextArea("Text", "a\nb", rows=2),
    w.NumberInput("n"),
    w.NumberInput("n", 5, max=10),
    w.NumberInput("n", None, min=0, step=0.5),
    w.Slider("n"),
    w.Slider("n", 0.3, min=0.0, max=1.0, step=0.1),
    w.Checkbox("c", True),
    w.Selectbox("s", ["a", "b"]),
    w.Selectbox("s", ["a", "b"], None),
    w.Selectbox("s", []),
    w.Multiselect("m", ["a", "b"], ["b", "a"]),
    w.Button("b", primary=True),
    w.Button("b", danger=True, confirm="Really?"),
    w.Nav([("a", "A"), ("b", "B")], "b", key="n"),
    w.Tree([{"id": "a", "label": "A", "value": "secret", "hidden": True}, {"id": "b", "children": [{"id": "c"}]}], "c"),
    w.Form("Send", border=False, key="f"),
    w.Container(True),
    w.Columns([1, 2.5], key="c"),
    w.Columns(),
    w.Column(),
    w.Sidebar(False),
    w.Expander("More", True),
    w.Tabs(["a", "b"], key="t"),
    w.Tab("a"),
    w.Table({"a": [1]}),
    w.Table({"a": [1, 2]}, keys=["x", "y"], sortable=["a"], sorted_by="-a", empty="None"),
    w.Dataframe([], keys=[]),
    w.Dataframe(pd.DataFrame({"a": [1.5]}), height=100),
    w.Metric("m", 5, -1.5, better="down"),
    w.Metric("m", "5 km", "-1"),
    w.LineChart({"x": ["a"], "n": [1]}, "Title", x="x"),
    w.BarChart(pd.Series([1, 2])),
    w.BarChart({"a": [1], "b": [2]}, stacked=True),
    w.Progress(0.5, "Half"),
    w.Progress(None),
    w.Alert("No", "error"),
    w.Address("a=1&b=%20", key="a"),
]

ids = [f"{sample.kind}-{at}" for at, sample in enumerate(SAMPLES)]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["a", "b", 10**400]),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(max_size=4), inside, max_size=4),
    max_leaves=8,
)


def test_there_are_all_kinds() -> None:
    """Every widget is listed under the name that the browser knows it by, which is its class's in snake case, and has a
    sample here."""
    assert {sample.kind for sample in SAMPLES} == set(w.KINDS)
    for kind, declared in w.KINDS.items():
        assert declared.kind == kind
        assert kind == "".join(f"_{one.lower()}" if one.isupper() else one for one in declared.__name__).strip("_")
        assert declared.__name__ in w.__all__
        assert declared.__doc__
        assert declared.__doc__ is not Widget.__doc__


@pytest.mark.parametrize("sample", SAMPLES, ids=ids)
def test_what_is_kept_makes_the_same_widget(sample: Widget) -> None:
    """What is kept of a widget goes through the store, and makes one that keeps and shows the same; twice."""
    codec = Codec()
    for _ in range(2):
        kept = codec.decode("w", codec.encode("w", dict(sample._props)))
        again = type(sample)(**kept, key=sample.key)
        assert dict(again._props) == dict(sample._props)
        assert [type(value) for value in again._props.values()] == [type(value) for value in sample._props.values()]
        assert again.shown_props() == sample.shown_props()
        assert [child.key for child in again.children] == [child.key for child in sample.children]
        sample = again
    kept = codec.decode("w", codec.encode("w", sample.kept_props()))
    restored = type(sample).restore("k", kept)
    assert restored.shown_props() == sample.shown_props()
    assert dict(restored._props) == dict(sample._props)


@pytest.mark.parametrize("sample", SAMPLES, ids=ids)
def test_what_is_shown_is_json(sample: Widget) -> None:
    """What the browser is told is JSON, and holds neither the key nor whether it is visible."""
    shown = sample.shown_props()
    assert json.loads(json.dumps(shown, allow_nan=False)).keys() == shown.keys()
    assert not {"key", "visible"} & shown.keys()


@pytest.mark.parametrize("declared", w.KINDS.values(), ids=w.KINDS)
@given(value=json_values, event=st.sampled_from(["click", "change", "submit", "select", "sort"]))
@settings(max_examples=40, deadline=None)
def test_a_browser_may_send_anything(declared: type[Widget], value: Any, event: Any) -> None:
    """Whatever JSON a browser sends: it is kept as the widget could be made with, or refused; nothing else happens."""
    for sample in SAMPLES:
        if type(sample) is not declared:
            continue
        before = dict(sample._props)
        code, taken = outcome(sample, event, value)
        assert code in ("taken", "not_allowed", "wrong_value")
        if code == "taken":
            assert event in sample.events
        if code == "taken" and event == "change":
            again = type(sample)(**{**sample._props, sample.assigns: taken})
            assert again._props[sample.assigns] == taken
            assert type(again._props[sample.assigns]) is type(taken)
            Codec().encode("w", taken)
        assert dict(sample._props) == before


def outcome(widget: Widget, event: Any, value: Any) -> tuple[str, Any]:
    try:
        return "taken", widget.take(event, value)
    except Refused as refused:
        return refused.code, None


def refused(widget: Widget, value: Any, event: Any = "change") -> str:
    with pytest.raises(Refused) as caught:
        widget.take(event, value)
    return caught.value.code


# --- Properties -------------------------------------------------------------------------------------------------------


def test_a_misspelt_property_is_refused() -> None:
    """A widget has its properties and no other attributes."""
    for sample in SAMPLES:
        with pytest.raises(AttributeError):
            sample.txet = "x"  # type: ignore[attr-defined]
        with pytest.raises(TypeError, match="no such property"):
            type(sample)(**sample._props, txet="x")


@pytest.mark.parametrize(
    "make",
    [
        lambda: w.Text(5),  # type: ignore[arg-type]
        lambda: w.Text("\ud800"),
        lambda: w.Text(None),  # type: ignore[arg-type]
        lambda: w.Title("x", anchor="a b"),
        lambda: w.Title("x", anchor='"'),
        lambda: w.Header("x", 1),  # type: ignore[arg-type]
        lambda: w.Code("x", "a b"),
        lambda: w.Image("javascript:x", "x"),
        lambda: w.Image("/x.png", "x", width=0),
        lambda: w.Image("/x.png", "x", width=True),
        lambda: w.Write(w.Text("x")),
        lambda: w.TextInput("x", "a\nb"),
        lambda: w.TextInput("x", "long", max_length=3),
        lambda: w.TextInput("x", max_length=0),
        lambda: w.TextArea("x", rows=0),
        lambda: w.NumberInput("x", math.nan),
        lambda: w.NumberInput("x", math.inf),
        lambda: w.NumberInput("x", True),
        lambda: w.NumberInput("x", "1"),  # type: ignore[arg-type]
        lambda: w.NumberInput("x", 2**53),
        lambda: w.NumberInput("x", 5, max=4),
        lambda: w.NumberInput("x", 5, min=6),
        lambda: w.NumberInput("x", None, min=2, max=1),
        lambda: w.NumberInput("x", 1, step=0),
        lambda: w.NumberInput("x", 1.5, whole=True),
        lambda: w.NumberInput("x", 1, whole="yes"),  # type: ignore[arg-type]
        lambda: w.Slider("x", 101),
        lambda: w.Slider("x", 3, step=2),
        lambda: w.Slider("x", 0.15, min=0.0, max=1.0, step=0.1),
        lambda: w.Slider("x", min=1, max=0),
        lambda: w.Slider("x", max=math.inf),
        lambda: w.Checkbox("x", 1),  # type: ignore[arg-type]
        lambda: w.Selectbox("x", "abc"),
        lambda: w.Selectbox("x", [1, 2]),  # type: ignore[list-item]
        lambda: w.Selectbox("x", ["a", "a"]),
        lambda: w.Selectbox("x", ["\ud800"]),
        lambda: w.Selectbox("x", ["a"], "b"),
        lambda: w.Multiselect("x", ["a"], ["b"]),
        lambda: w.Multiselect("x", ["a"], ["a", "a"]),
        lambda: w.Multiselect("x", ["a"], "a"),
        lambda: w.Columns(0),
        lambda: w.Columns(25),
        lambda: w.Columns([]),
        lambda: w.Columns([1, 0]),
        lambda: w.Columns([1, math.nan]),
        lambda: w.Columns("ab"),  # type: ignore[arg-type]
        lambda: w.Columns(True),
        lambda: w.Tabs([]),
        lambda: w.Tabs("ab"),
        lambda: w.Table("x"),
        lambda: w.Dataframe([], height=0),
        lambda: w.Metric("x", math.nan),
        lambda: w.Metric("x", True),
        lambda: w.Metric("x", 1, better="sideways"),  # type: ignore[arg-type]
        lambda: w.LineChart({"a": ["x"], "b": ["y"]}),
        lambda: w.LineChart({"a": [1]}, x="b"),
        lambda: w.BarChart("x"),
        lambda: w.BarChart([10**400]),
        lambda: w.Progress(1.1),
        lambda: w.Progress(-0.1),
        lambda: w.Progress(math.nan),
        lambda: w.Progress(True),
        lambda: w.Alert("x", "loud"),  # type: ignore[arg-type]
        lambda: w.Alert("x", ["error"]),  # type: ignore[arg-type]
    ],
)
def test_what_a_widget_cannot_be_is_refused(make: Any) -> None:
    """A value that a property cannot have is refused when the widget is made, with the name of the property."""
    with pytest.raises(UnsupportedValue, match=r"^\w+\.\w+: ."):
        make()


def test_a_refused_value_changes_nothing() -> None:
    """A value that is refused leaves the widget as it was."""
    slider = w.Slider("n", 5, min=0, max=10)
    for value in (11, 5.5, math.nan, "5", True, None):
        with pytest.raises(UnsupportedValue):
            slider.value = value  # type: ignore[assignment]
    assert slider.value == 5


def test_what_was_read_can_be_changed_and_assigned() -> None:
    """Nested data is a copy when it is read, and taken as it is when it is assigned: neither changes the widget from
    outside."""
    table = w.Table([{"a": 1}])
    data = table.data
    data["rows"].append([2])
    assert table.data["rows"] == [[1]]
    table.data = data
    data["rows"].append([3])
    assert table.data["rows"] == [[1], [2]]
    shown = w.Write({"a": [1]})
    shown.value["a"].append(2)
    assert shown.value == {"a": [1]}
    shown.update("value", lambda value: {**value, "b": 1})
    assert shown.value == {"a": [1], "b": 1}
    assert copied([1.0, 1, True, None, "a", {"a": []}]) == [1.0, 1, True, None, "a", {"a": []}]


def test_what_is_written_reads_back() -> None:
    """Text, numbers and plain data are read back as they were written."""
    for value in ("*a*", 5, 2.5, True, None, 10**30, {"a": 1}, [1, 2]):
        assert w.Write(value).value == value
    counter = w.Write(0)
    counter.update("value", lambda n: n + 1)
    assert counter.value == 1


def test_keys() -> None:
    """A key is read and set until the widget is somewhere, and is no property that is shown."""
    text = w.Text("x")
    text.key = "k"
    assert (text.key, w.Text("x", key="j").key) == ("k", "j")
    with pytest.raises(UnsupportedValue):
        text.key = 5  # type: ignore[assignment]


# --- Inputs -----------------------------------------------------------------------------------------------------------


def test_disabled_and_read_only_inputs_take_nothing() -> None:
    """What a browser sends for an input that cannot be changed is refused, whatever it is."""
    for sample in SAMPLES:
        if isinstance(sample, w.Input):
            for name in ("disabled", "read_only"):
                fixed = type(sample)(**{**sample._props, name: True})
                assert refused(fixed, sample._props["value"]) == "not_allowed"
    assert refused(w.Button("x", disabled=True), None, "click") == "not_allowed"
    assert refused(w.Button("x"), 5, "click") == "wrong_value"
    assert refused(w.Form(disabled=True), {}, "submit") == "not_allowed"


def test_other_events_are_refused() -> None:
    """A widget takes the events that it knows, and no other."""
    for sample in SAMPLES:
        for event in {"click", "change", "submit", "select", "sort"} - sample.events:
            assert refused(sample, None, event) == "not_allowed"
        assert refused(sample, None, "login") == "not_allowed"


def test_text_is_text() -> None:
    """A text input takes text up to its length and nothing else; one line of it, where it has one."""
    name = w.TextInput("Name", max_length=3)
    assert name.take("change", "Ada") == "Ada"
    for value in ("Adas", 5, None, True, ["Ada"], {"a": 1}, "a\n", "\ud800"):
        assert refused(name, value) == "wrong_value"
    assert w.TextArea("Text").take("change", "a\nb") == "a\nb"


def test_numbers_are_numbers() -> None:
    """A number input keeps ints where all it was made with are ints, else floats; JSON's 5.0 is the int 5 then."""
    whole = w.NumberInput("n", 5, min=0, max=10)
    for sent in (7, 7.0):
        assert (whole.take("change", sent), type(whole.take("change", sent))) == (7, int)
    assert whole.take("change", None) is None
    for value in (7.5, 11, -1, "7", True, [7], {}, math.nan, math.inf, 10**400, 2**53, 1e300):
        assert refused(whole, value) == "wrong_value"
    real = w.NumberInput("n", 5.0)
    assert (real.take("change", 7), type(real.take("change", 7))) == (7.0, float)
    assert real.take("change", 9.99) == 9.99
    real.value = 3
    assert type(real.value) is float
    assert w.NumberInput("n").value == 0.0
    assert w.NumberInput("Age", min=0, max=120, whole=True).value == 0
    assert type(w.NumberInput("Age", min=0, max=120, whole=True).value) is int


def test_sliders_stand_on_steps() -> None:
    """A slider takes what is on its steps, its ends among them, and nothing between."""
    slider = w.Slider("n", min=1, max=10, step=4)
    assert slider.value == 1
    assert [value for value in range(12) if _takes(slider, value)] == [1, 5, 9, 10]
    fine = w.Slider("n", 0.3, min=0.0, max=1.0, step=0.1)
    assert fine.take("change", 0.1 + 0.2) == 0.1 + 0.2
    assert fine.take("change", 1) == 1.0
    assert type(fine.take("change", 1)) is float
    for value in (0.15, 0.301, None, "0.3", 1.1):
        assert refused(fine, value) == "wrong_value"


def _takes(widget: Widget, value: Any) -> bool:
    return outcome(widget, "change", value)[0] == "taken"


def test_choices_are_options() -> None:
    """A box takes one of its options; several take options, each once. None is no choice that a visitor can make."""
    one = w.Selectbox("s", ["a", "b"])
    assert one.value == "a"
    assert one.take("change", "b") == "b"
    for value in ("c", None, 0, ["a"], {"a": 1}, True):
        assert refused(one, value) == "wrong_value"
    nothing = w.Selectbox("s", ["a"], None)
    assert nothing.value is None
    assert nothing.take("change", None) is None
    some = w.Multiselect("m", ["a", "b", "c"])
    assert some.take("change", ["c", "a"]) == ("c", "a")
    assert some.take("change", []) == ()
    for value in (["a", "a"], ["d"], "a", None, [["a"]], [1], {"a": 1}):
        assert refused(some, value) == "wrong_value"


def test_a_value_that_does_not_fit_any_more_reads_as_what_does() -> None:
    """Where options or limits change, a value that they do not allow any more reads as the nearest that they do, also
    in what is shown and after it was kept; it is back when they are."""
    box = w.Selectbox("s", ["a", "b"], "b")
    box.options = ["a", "c"]
    assert (box.value, box.shown_props()["value"]) == ("a", "a")
    assert w.Selectbox.restore("k", box.kept_props()).value == "a"
    box.options = []
    assert box.value is None
    box.options = ["b"]
    assert box.value == "b"
    some = w.Multiselect("m", ["a", "b"], ["b", "a"])
    some.options = ["b", "c"]
    assert some.value == ("b",)
    slider = w.Slider("n", 50)
    slider.max = 20
    assert slider.value == 20
    slider.max, slider.min = 100, 60
    assert slider.value == 60
    slider.min, slider.step = 0, 20
    assert (slider.value, type(slider.value)) == (40, int)
    number = w.NumberInput("n", 50)
    number.max = 20
    assert number.value == 20
    number.whole = False
    assert type(number.value) is float
    text = w.TextInput("t", "long")
    text.max_length = 2
    assert text.value == "lo"
    for widget in (box, some, slider, number, text):
        assert _takes(widget, list(widget.value) if type(widget.value) is tuple else widget.value)
        assert "value" not in widget.fits
        assert widget.fits <= widget.properties.keys()


def test_limits_are_checked_together() -> None:
    """A limit that crosses the other, or a fraction where whole numbers are kept, is refused."""
    slider = w.Slider("n", 5, min=0, max=10)
    for name, value in (("min", 11), ("max", -1), ("step", 0.5), ("max", 10.5)):
        with pytest.raises(UnsupportedValue):
            setattr(slider, name, value)
    slider.whole = False
    slider.step = 0.5
    assert slider.take("change", 2.5) == 2.5


@given(
    st.floats(-1e6, 1e6),
    st.floats(0.001, 1e3),
    st.floats(0.001, 1e5),
    st.floats(-1e7, 1e7),
)
@settings(max_examples=200, deadline=None)
def test_where_a_slider_reads_it_can_stand(least: float, step: float, width: float, value: float) -> None:
    """What a slider's value reads as, whatever it was before, is one that a visitor can choose."""
    slider = w.Slider("n", min=least, max=least + width, step=step)
    slider._props["value"] = value
    assert slider.take("change", slider.value) == slider.value


# --- What others are in -----------------------------------------------------------------------------------------------


class Anywhere(w.Adding):
    """What widgets can be added to."""

    def __init__(self) -> None:
        self.added: list[Widget] = []

    def add_widget(self, widget: Any, *, before: Widget | None = None) -> Any:
        self.added.append(widget)
        return widget


def test_there_is_a_method_for_each_widget() -> None:
    """Whatever widgets can be added to has a method for each that makes it, adds it and returns it."""
    given: dict[str, tuple[Any, ...]] = {}
    for sample in SAMPLES:
        needed = [one for one in sample.properties.values() if not one.kw_only]
        given.setdefault(sample.kind, tuple(sample._props[one.name] for one in needed))
    for kind, declared in w.KINDS.items():
        if kind in ("column", "tab"):
            assert not hasattr(w.Adding, kind)
            continue
        app = Anywhere()
        added = getattr(app, kind)(*given[kind], key="k", visible=False)
        assert app.added == [added]
        assert (type(added), added.key, added.visible) == (declared, "k", False)
        assert getattr(w.Adding, kind).__doc__
        assert dict(added._props) == dict(declared(*given[kind], visible=False)._props)


def test_columns_and_tabs() -> None:
    """They are indexed, unpacked and counted, and their parts have keys if they have."""
    app = Anywhere()
    left, right = app.columns([1, 2], key="c")
    assert [left.key, right.key] == ["c.0", "c.1"]
    columns = app.added[0]
    assert isinstance(columns, w.Columns)
    assert (columns[0], columns[-1], len(columns)) == (left, right, 2)
    with pytest.raises(IndexError):
        columns[2]
    first, second, third = app.columns(3)
    assert {first.key, second.key, third.key} == {""}
    chat, people = app.tabs(["Chat", "People"], key="t")
    assert [(tab.label, tab.key) for tab in (chat, people)] == [("Chat", "t.0"), ("People", "t.1")]
    columns.ratios = [3, 1]
    assert columns.ratios == (3, 1)
    with pytest.raises(UnsupportedValue, match="make others"):
        columns.ratios = 3
    with pytest.raises(UnsupportedValue, match="label of a tab"):
        app.added[-1].labels = ["a", "b"]  # type: ignore[attr-defined]
    chat.label = "Talk"
    assert chat.shown_props() == {"label": "Talk"}


def test_adding() -> None:
    """Widgets come to the end or before one that is there; each is in one place at most, and never in itself."""
    box = w.Container()
    first, last = box.text("first"), box.text("last")
    middle = box.add_widget(w.Text("middle"), before=last)
    assert box.children == (first, middle, last)
    with pytest.raises(ConfigurationError, match="on a page already"):
        box.add_widget(first)
    with pytest.raises(ConfigurationError, match="on a page already"):
        w.Expander("x").add_widget(first)
    inner = box.container()
    with pytest.raises(ConfigurationError, match="in itself"):
        inner.add_widget(box)
    with pytest.raises(ConfigurationError, match="in itself"):
        box.add_widget(box)
    with pytest.raises(ConfigurationError, match="is not in"):
        box.add_widget(w.Text("x"), before=w.Text("y"))
    with pytest.raises(ConfigurationError, match="no widget"):
        box.add_widget("text")  # type: ignore[type-var]
    first.remove()
    assert inner.add_widget(first) is first
    assert box.children == (middle, last, inner)


def test_some_belong_in_one_place() -> None:
    """A sidebar belongs on the page, a column in columns, a tab in tabs, which hold nothing else; no form is in a form,
    however deep; and what holds nothing takes nothing."""
    for make, wrong in (
        (lambda: w.Sidebar(), w.Container()),
        (lambda: w.Column(), w.Container()),
        (lambda: w.Tab("x"), w.Columns(2)),
        (lambda: w.Column(), None),
        (lambda: w.Text("x"), w.Columns(2)),
        (lambda: w.Text("x"), w.Tabs(["a"])),
        (lambda: w.Text("x"), w.Text("y")),
    ):
        with pytest.raises(ConfigurationError):
            check_place(make(), wrong)
    check_place(w.Sidebar(), None)
    form = w.Form()
    deep = form.container().expander("x")
    boxed = w.Container()
    boxed.form()
    for inner in (w.Form(), boxed):
        with pytest.raises(ConfigurationError, match="cannot be in a form"):
            deep.add_widget(inner)
    assert deep.children == ()


def test_forms() -> None:
    """A form knows its inputs, however deep, and takes values by ids, and nothing else."""
    form = w.Form(clear_on_submit=True)
    name = form.text_input("Name", key="name")
    age = form.container().number_input("Age", 5)
    form.button("Other")
    assert list(form.inputs()) == [name, age]
    assert form.take("submit", {"g:name": "Ada"}) == {"g:name": "Ada"}
    for bad in (None, [], "x", 5, {1: 2}):
        assert refused(form, bad, "submit") == "wrong_value"


def test_what_is_empty_can_be_kept() -> None:
    """The empty value of each input is one that it can have."""
    for sample in SAMPLES:
        if isinstance(sample, w.Input):
            sample.properties["value"].accept(sample, sample.empty())


def test_callbacks() -> None:
    """A callback is given where the event is known, as a decorator or a call; it is given back."""
    called: list[str] = []

    @w.Button("x").on_click
    def clicked() -> None:
        called.append("clicked")

    clicked()
    assert called == ["clicked"]
    button = w.Button("x")
    assert button.on_click(clicked) is clicked
    assert button._on == {"click": [clicked]}
    with pytest.raises(ConfigurationError):
        w.Text("x").listen("click", clicked)


def test_properties_are_documented() -> None:
    """Each property of its own is named in the words of its class, or says what it is by its name alone."""
    plain = {"label", "text", "value", "data", "title", "caption", "source", "border", "visible", "key", "disabled"}
    for declared in w.KINDS.values():
        words = "".join(base.__doc__ or "" for base in declared.__mro__ if issubclass(base, Widget))
        for name, one in declared.properties.items():
            assert isinstance(one, Property)
            assert name in plain or name in words, f"{declared.__name__}.{name}"
