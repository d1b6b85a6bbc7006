"""What a type checker makes of the widgets of live apps. mypy reads it; nobody runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_type

from sojourn.live import widgets as w


def declared() -> None:
    assert_type(w.Text("x", key="k"), w.Text)
    assert_type(w.Slider("n", 5, min=0, max=10), w.Slider)
    assert_type(w.Text("x").text, str)
    assert_type(w.Text("x", visible=False).visible, bool)
    assert_type(w.Selectbox("Fruit", ["apple", "pear"]).value, str | None)
    assert_type(w.NumberInput("Age", 18, max=120).value, float | None)
    w.Metric("Online", 0, delta=-1.5, better="down")
    assert_type(w.Progress(None).value, float | None)
    w.Button("End", danger=True, confirm="End it?")
    w.BarChart({"n": [1]}, stacked=True)
    w.LineChart({"n": [1]}, stacked=True)  # type: ignore[call-arg]
    assert_type(w.Table([1], keys=["a"]).keys, Sequence[str] | None)
    w.Table([1], ["a"])  # type: ignore[call-arg, arg-type]
    w.Table([1], keys=[1])  # type: ignore[list-item]
    w.Nav(["a"])  # type: ignore[list-item]
    assert_type(w.Tree([{"id": "a"}]).selected, str)
    w.LineChart({"x": [1, 2]}, x="x")
    w.Text(5)  # type: ignore[arg-type]
    w.Text()  # type: ignore[call-arg]
    w.Text("x", "k")  # type: ignore[call-arg]
    w.Text("x", colour="red")  # type: ignore[call-arg]
    w.Slider("n", 5, 0, 10)  # type: ignore[call-arg, arg-type]
    w.Metric("Online", 0, better="sideways")  # type: ignore[arg-type]
    w.Alert("x", "loud")  # type: ignore[arg-type]
    w.Selectbox("Fruit", [1, 2])  # type: ignore[list-item]


def assigned(text: w.Text, slider: w.Slider) -> None:
    text.text = "y"
    text.text = 5  # type: ignore[assignment]
    slider.value = 3
    slider.disabled = True
    slider.disabled = "yes"  # type: ignore[assignment]


def added(app: w.Adding) -> None:
    assert_type(app.text_input("Your name", key="name"), w.TextInput)
    assert_type(app.text_input("Your name", key="name").value, str)
    assert_type(app.slider("n", 5, min=0, max=10), w.Slider)
    assert_type(app.add_widget(w.Text("x")), w.Text)
    app.text_input(5)  # type: ignore[arg-type]
    app.text_input()  # type: ignore[call-arg]
    app.button("x", colour="red")  # type: ignore[call-arg]
    assert_type(app.nav([("a", "A")], "a"), w.Nav)
    app.tree([{"id": "a"}], label="Fields").on_select(lambda session, id_: None)
    app.dataframe([1], keys=["a"], height=200).on_sort(lambda session, name: None)
    assert_type(app.container(row=True), w.Container)
    app.columns("two")  # type: ignore[arg-type]
    side = app.sidebar()
    assert_type(side.button("x"), w.Button)
    left, right = app.columns(2)
    assert_type(left, w.Column)
    assert_type(app.columns([1, 2])[0], w.Column)
    chat, people = app.tabs(["Chat", "People"])
    assert_type(chat, w.Tab)
    form = people.form("Send", clear_on_submit=True)
    assert_type(form.text_area("Text"), w.TextArea)
    right.expander("More", expanded=True).text("x")


def called(button: w.Button, box: w.Checkbox, form: w.Form) -> None:
    @button.on_click
    def clicked() -> int:
        return 1

    assert_type(clicked(), int)
    box.on_change(lambda session, value: None)
    form.on_submit(lambda session, values: None)
    button.on_change(clicked)  # type: ignore[attr-defined]
