"""Widgets that show text, values and images. What they are given is shown and never run: markup is text, and an address
is one of those that `nodes.url` allows."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, ClassVar

from .. import nodes, showing
from ..widget import Widget, prop
from .numbers import between

__all__ = ["Code", "Divider", "Header", "Image", "Json", "Markdown", "Subheader", "Text", "Title", "Write"]


def _matching(pattern: str, what: str) -> Callable[[Any], str]:
    match = re.compile(pattern).fullmatch

    def check(value: Any) -> str:
        if type(value) is not str or not match(value):
            raise ValueError(f"not {what}")
        return value

    return check


class Title(Widget):
    """The title of the page, in the largest letters. ``anchor`` is what ``#anchor`` in an address leads to: at most 64
    letters, digits, "-" and "_"; anything else is refused with `UnsupportedValue`. Empty: none."""

    kind: ClassVar[str] = "title"

    text: str = prop()
    anchor: str = prop(default="", check=_matching("[A-Za-z0-9_-]{0,64}", "a name of letters, digits, '-' and '_'"))


class Header(Widget):
    """The header of a part of the page, with a line below it if ``divider``."""

    kind: ClassVar[str] = "header"

    text: str = prop()
    divider: bool = prop(default=False)


class Subheader(Widget):
    """The header of a part of a part."""

    kind: ClassVar[str] = "subheader"

    text: str = prop()


class Text(Widget):
    """Text, shown letter by letter as it is, with its line breaks."""

    kind: ClassVar[str] = "text"

    text: str = prop()


class Markdown(Widget):
    """Text in Markdown (CommonMark, with tables and ~~strikethrough~~). HTML in it is shown as text, and so are links
    and images with addresses of another kind than http, https, mailto (links), data:image (images) or relative ones.
    Text past 50,000 characters is shown as it is."""

    kind: ClassVar[str] = "markdown"

    text: str = prop()

    def shown_props(self) -> dict[str, Any]:
        return {"nodes": nodes.markdown(self._props["text"])}


class Write(Widget):
    """Any value, in the way that suits it: text as Markdown, numbers as they are, dicts and lists as JSON, lists of
    dicts and data frames as tables, exceptions as an alert, anything else as its ``str()``. A value whose ``str()``
    fails is named, and raises nothing. A widget is refused with `UnsupportedValue`: add it instead.

    Text, numbers and plain data are read back as they were given, what is not plain as what is shown of it."""

    kind: ClassVar[str] = "write"

    value: Any = prop(check=showing.written)

    def shown_props(self) -> dict[str, Any]:
        return showing.write(self._props["value"])


class Code(Widget):
    """Program text. ``language`` is a name as after the ``` of Markdown, at most 32 characters, or empty; others are
    refused with `UnsupportedValue`. It is not coloured."""

    kind: ClassVar[str] = "code"

    text: str = prop()
    language: str = prop(default="", check=_matching(r"[A-Za-z0-9+#._-]{0,32}", "the name of a language"))


class Json(Widget):
    """Nested data that can be opened and closed, open at first if ``expanded``. What JSON does not have is shown as
    text, and NaN as null. What is deeper than 32 levels, or more than 10,000 values, is left out, and shown as "…"."""

    kind: ClassVar[str] = "json"

    value: Any = prop(check=showing.plain)
    expanded: bool = prop(default=True, kw_only=True)


class Divider(Widget):
    """A line between what is above and below."""

    kind: ClassVar[str] = "divider"


class Image(Widget):
    """An image. ``source`` is an address (http, https, relative, or data:image of a PNG, JPEG, GIF or WebP), or the
    bytes of such an image; anything else is refused with `UnsupportedValue`. ``alt`` says what is seen in it to who
    cannot see it; give "" for mere decoration. ``width`` is in pixels, None: as large as it is, at most as wide as the
    page."""

    kind: ClassVar[str] = "image"

    source: str | bytes = prop(check=nodes.image)
    alt: str = prop()
    caption: str = prop(default="")
    width: int | None = prop(default=None, check=between(1, 10_000, "a width in pixels"), kw_only=True)
