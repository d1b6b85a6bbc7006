"""All widgets, by name: ``from sojourn.live import widgets as w``.

What the browser is told of a widget are its properties by their names, with these exceptions.

    markdown            nodes: a list of nodes, as `nodes.markdown` gives them
    write               as: "markdown", "text", "json", "table" or "alert"; content: nodes, text, data, a table, or
                        {"level", "text"}
    table, dataframe    data: {"columns": [{"name", "align"}], "rows": [[cell, ...], ...], "more": rows left out}
    line_chart, bar_chart   data: {"labels": [text, ...], "series": [{"name", "values": [number or null, ...]}]}; no x
    image               source: an address, also where bytes were given
    tabs                no labels: each tab has its label
    tree                nodes: {"nodes": [{"id", "label", "note", "value", "hidden", "children", "more"}, ...], "more":
                        nodes left out}
    address             value: the query string
"""

from __future__ import annotations

from typing import Final

from ..widget import Widget
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
from .layout import Adding, Column, Columns, Container, Expander, Form, Sidebar, Tab, Tabs
from .text import Code, Divider, Header, Image, Json, Markdown, Subheader, Text, Title, Write

__all__ = [
    "KINDS",
    "Adding",
    "Address",
    "Alert",
    "BarChart",
    "Button",
    "Checkbox",
    "Code",
    "Column",
    "Columns",
    "Container",
    "Dataframe",
    "Divider",
    "Expander",
    "Form",
    "Header",
    "Image",
    "Input",
    "Json",
    "LineChart",
    "Markdown",
    "Metric",
    "Multiselect",
    "Nav",
    "NumberInput",
    "Progress",
    "Selectbox",
    "Sidebar",
    "Slider",
    "Subheader",
    "Tab",
    "Table",
    "Tabs",
    "Text",
    "TextArea",
    "TextInput",
    "Title",
    "Tree",
    "Widget",
    "Write",
]

_ALL: Final[tuple[type[Widget], ...]] = (
    *(Title, Header, Subheader, Text, Markdown, Write, Code, Json, Divider, Image),
    *(TextInput, TextArea, NumberInput, Slider, Checkbox, Selectbox, Multiselect, Button, Form, Nav, Tree),
    *(Container, Columns, Column, Sidebar, Expander, Tabs, Tab),
    *(Table, Dataframe, Metric, LineChart, BarChart, Progress, Alert),
    Address,
)

KINDS: Final[dict[str, type[Widget]]] = {one.kind: one for one in _ALL}
"""Every kind of widget, by what the browser calls it."""
