"""Widgets that a visitor does something to.

What a browser sends is a claim: `take` lets in what the widget could hold if the visitor used it as it is shown, as the
type that it is kept in, and refuses all else with `Refused`. What a program assigns is checked in the same way, and
refused with `UnsupportedValue`.

Each session has its own ``value``. It is read as it fits what the widget is now: where options or limits have changed
since, what does not fit them any more reads as the nearest that does, and what is kept stays until another comes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import msgspec

from ...errors import UnsupportedValue
from ..widget import EventName, F, Refused, Widget, prop
from .numbers import LARGEST, between, number, optional, step, true_or_false
from .texts import texts

__all__ = [
    "Button",
    "Checkbox",
    "Input",
    "Multiselect",
    "NumberInput",
    "Selectbox",
    "Slider",
    "TextArea",
    "TextInput",
]

_EVENTS: Final[frozenset[EventName]] = frozenset({"change"})


class Button(Widget):
    """A button. ``primary``: it stands out, as the one that most want; ``danger``: as one that takes something away.
    ``confirm`` is a question that is asked before a click is sent, empty: none. It keeps a hand from slipping, and is
    no protection: a browser can send a click without having asked."""

    kind: ClassVar[str] = "button"
    events: ClassVar[frozenset[EventName]] = frozenset({"click"})

    label: str = prop()
    primary: bool = prop(default=False, kw_only=True)
    danger: bool = prop(default=False, kw_only=True)
    confirm: str = prop(default="", kw_only=True)
    disabled: bool = prop(default=False, kw_only=True)

    def on_click(self, callback: F) -> F:
        """Have ``callback(session)`` called when it is clicked. Also a decorator."""
        return self.listen("click", callback)

    def take(self, event: EventName, value: Any) -> Any:
        """None, as a click has no value. Raises `Refused` while it is disabled, and for what is no click."""
        if event != "click" or self.disabled:
            raise Refused("not_allowed", "the button is disabled" if self.disabled else f"a button knows no {event}")
        if value is not None:
            raise Refused("wrong_value", "a click has no value")


class Input(Widget):
    """The base of what has a ``value`` that visitors change. ``disabled`` and ``read_only``: they cannot, and what a
    browser sends all the same is refused. ``help`` says more than the label."""

    events: ClassVar[frozenset[EventName]] = _EVENTS

    label: str = prop()
    disabled: bool = prop(default=False, kw_only=True)
    read_only: bool = prop(default=False, kw_only=True)
    help: str = prop(default="", kw_only=True)

    def on_change(self, callback: F) -> F:
        """Have ``callback(session, value)`` called when the visitor has changed it. Also a decorator."""
        return self.listen("change", callback)

    def take(self, event: EventName, value: Any) -> Any:
        """The value as it is kept. Raises `Refused`: "not_allowed" while it is disabled or read-only, and for what is
        no change; "wrong_value" for a value that it cannot have."""
        if event != "change" or self.disabled or self.read_only:
            raise Refused("not_allowed", f"this {self.kind} takes no {event}")
        try:
            return self.properties["value"].accept(self, self.sent(value))
        except UnsupportedValue as error:
            raise Refused("wrong_value", error.problem) from None

    def sent(self, value: Any) -> Any:
        """What a browser sent, as a program would write it."""
        return value

    def empty(self) -> Any:
        """The value without anything typed or chosen."""
        return self.fit("value", self.properties["value"].default)

    def shown_props(self) -> dict[str, Any]:
        props = super().shown_props()
        props["value"] = self.fit("value", props["value"])
        return props


class _Typed(Input):
    """What text is typed into. ``max_length`` is in characters, None: any number."""

    fits: ClassVar[frozenset[str]] = frozenset({"max_length"})

    value: str = prop(default="", own=True)
    placeholder: str = prop(default="", kw_only=True)
    max_length: int | None = prop(default=None, check=between(1, 10_000_000, "a length in characters"), kw_only=True)

    def check(self, name: str, value: Any) -> None:
        most = self._props["max_length"]
        if name == "value" and most is not None and len(value) > most:
            raise UnsupportedValue(
                f"{type(self).__name__}.value", f"{len(value):,} characters, at most {most:,} are taken"
            )

    def fit(self, name: str, value: Any) -> Any:
        most = self._props["max_length"]
        return value if most is None else value[:most]


class TextInput(_Typed):
    """A line of text to type. ``placeholder`` is shown while it is empty, ``password`` hides what is typed from who
    looks on; of one in a form, the callback is given what was typed, and it is not kept. A line break is refused with
    `UnsupportedValue`, as is text of more than ``max_length`` characters; a ``value`` that a smaller ``max_length``
    does not allow any more reads cut."""

    kind: ClassVar[str] = "text_input"

    password: bool = prop(default=False, kw_only=True)

    def check(self, name: str, value: Any) -> None:
        if name == "value" and ("\n" in value or "\r" in value):
            raise UnsupportedValue("TextInput.value", "a line of text has no line break: take a TextArea")
        super().check(name, value)


class TextArea(_Typed):
    """Lines of text to type, ``rows`` of which are seen. ``placeholder`` is shown while it is empty. Text of more than
    ``max_length`` characters is refused with `UnsupportedValue`; a ``value`` that a smaller ``max_length`` does not
    allow any more reads cut."""

    kind: ClassVar[str] = "text_area"

    rows: int = prop(default=4, check=between(1, 100, "a number of rows"), kw_only=True)


class _Numeric(Input):
    """What a number is set with: whole ones only, as ints, or floats."""

    fits: ClassVar[frozenset[str]] = frozenset({"min", "max", "whole"})

    def made(self) -> None:
        props = self._props
        if props["whole"] is None:
            props["whole"] = all(type(props[name]) in (int, type(None)) for name in ("value", "min", "max", "step"))
        props["value"] = self.sent(props["value"])

    def sent(self, value: Any) -> Any:
        # JSON knows one kind of numbers.
        if type(value) is float and self._props["whole"] and value.is_integer() and abs(value) <= LARGEST:
            return int(value)
        if type(value) is int and not self._props["whole"] and abs(value) <= LARGEST:
            return float(value)
        return value

    def check(self, name: str, value: Any) -> None:
        props = {**self._props, name: value}
        if name == "value" and value is not None:
            self._check_value(value, props)
        elif name in ("min", "max"):
            if props["min"] is not None and props["max"] is not None and props["min"] > props["max"]:
                raise self._unsupported(name, f"min is {props['min']} and max is {props['max']}")
            self._check_type(name, value)
        elif name == "step":
            self._check_type(name, value)

    def _check_type(self, name: str, value: Any) -> None:
        if self._props["whole"] and type(value) is float:
            raise self._unsupported(
                name, "only whole numbers, as all that it was made with are ints: whole=False if not"
            )

    def _check_value(self, value: Any, props: dict[str, Any]) -> None:
        self._check_type("value", value)
        if props["min"] is not None and value < props["min"]:
            raise self._unsupported("value", f"less than min, which is {props['min']}")
        if props["max"] is not None and value > props["max"]:
            raise self._unsupported("value", f"more than max, which is {props['max']}")

    def _unsupported(self, name: str, problem: str) -> UnsupportedValue:
        return UnsupportedValue(f"{type(self).__name__}.{name}", problem)

    def fit(self, name: str, value: Any) -> Any:
        """Brought into the limits, and to the type that is kept."""
        if value is None:
            return None
        least, most, whole = self._props["min"], self._props["max"], self._props["whole"]
        if least is not None and value < least:
            value = least
        if most is not None and value > most:
            value = most
        if whole:
            return value if type(value) is int else math.floor(value)
        return float(value)


class NumberInput(_Numeric):
    """A number to type, None while there is none. ``min`` and ``max`` are the limits, both included, None: none;
    ``step`` is what the arrows add. If ``value``, ``min``, ``max`` and ``step``, where they are given, are ints, the
    value is an int and stays one; else it is a float. ``whole`` says so by name.

    A value past the limits, NaN, an infinity, True and False are refused with `UnsupportedValue`; so is a fraction
    where whole numbers are kept. A value that other limits do not allow any more reads as the nearest that they do."""

    kind: ClassVar[str] = "number_input"

    value: float | None = prop(default=0.0, check=optional, own=True)
    min: float | None = prop(default=None, check=optional, kw_only=True)
    max: float | None = prop(default=None, check=optional, kw_only=True)
    step: float = prop(default=1, check=step, kw_only=True)
    whole: bool | None = prop(default=None, check=true_or_false, kw_only=True)


class Slider(_Numeric):
    """A number between ``min`` and ``max`` (both included), in steps of ``step`` from ``min``; ``max`` can be reached
    always. Without a ``value`` it begins at ``min``. If all of them are ints, the value is an int and stays one; else
    it is a float. ``whole`` says so by name.

    A value between the steps or past the limits, NaN, an infinity, True and False are refused with `UnsupportedValue`.
    A value that other limits or steps do not allow any more reads as the nearest that they do."""

    kind: ClassVar[str] = "slider"
    fits: ClassVar[frozenset[str]] = frozenset({"min", "max", "step", "whole"})

    value: float = prop(default=None, check=number, own=True)
    min: float = prop(default=0, check=number, kw_only=True)
    max: float = prop(default=100, check=number, kw_only=True)
    step: float = prop(default=1, check=step, kw_only=True)
    whole: bool | None = prop(default=None, check=true_or_false, kw_only=True)

    def made(self) -> None:
        if self._props["value"] is None:
            self._props["value"] = self._props["min"]
        super().made()

    def _check_value(self, value: Any, props: dict[str, Any]) -> None:
        super()._check_value(value, props)
        if not _on_step(value, props["min"], props["max"], props["step"]):
            raise self._unsupported("value", f"between the steps of {props['step']} from {props['min']}")

    def fit(self, name: str, value: Any) -> Any:
        least, most, by = self._props["min"], self._props["max"], self._props["step"]
        value = super().fit(name, least if value is None else value)
        if _on_step(value, least, most, by):
            return value
        nearest = min(least + round((value - least) / by) * by, most)
        return nearest if self._props["whole"] else float(nearest)


def _on_step(value: float, least: float, most: float, by: float) -> bool:
    """Whether a slider can stand there. Floats are given the error of a browser's own reckoning."""
    if value in (least, most):
        return True
    if type(value) is int and type(least) is int and type(by) is int:
        return (value - least) % by == 0
    steps = (value - least) / by
    return math.isclose(steps, round(steps), rel_tol=1e-9, abs_tol=1e-6)


class Checkbox(Input):
    """Yes or no."""

    kind: ClassVar[str] = "checkbox"

    value: bool = prop(default=False, check=true_or_false, own=True)


def _options(value: Any) -> tuple[str, ...]:
    return texts(value, "an option")


_FIRST: Final[Any] = msgspec.UNSET


def _choice(value: Any) -> str | None:
    if value is not None and type(value) is not str:
        raise TypeError(f"an option is text, not a <{type(value).__name__}>")
    return value


class Selectbox(Input):
    """One of some ``options``, which are texts, each there once. ``value`` is one of them, at the beginning the first;
    None: none is chosen yet, which a visitor cannot go back to. What is no option is refused with `UnsupportedValue`. A
    value that is no option any more reads as the first, or None if there is none."""

    kind: ClassVar[str] = "selectbox"
    fits: ClassVar[frozenset[str]] = frozenset({"options"})

    options: Sequence[str] = prop(check=_options)
    value: str | None = prop(default=_FIRST, check=_choice, own=True)

    def made(self) -> None:
        if self._props["value"] is _FIRST:
            self._props["value"] = self.fit("value", _FIRST)

    def check(self, name: str, value: Any) -> None:
        if name == "value" and value is not None and value not in self._props["options"]:
            raise UnsupportedValue("Selectbox.value", "not one of the options")

    def take(self, event: EventName, value: Any) -> Any:
        taken = super().take(event, value)
        if taken is None and self.value is not None:
            raise Refused("wrong_value", "choose one of the options")
        return taken

    def fit(self, name: str, value: Any) -> Any:
        options = self._props["options"]
        return value if value is None or value in options else next(iter(options), None)


class Multiselect(Input):
    """Any of some ``options``, which are texts, each there once. ``value`` are those that are chosen, in the order of
    the choice, each once; else it is refused with `UnsupportedValue`. Those that are no options any more are not
    read."""

    kind: ClassVar[str] = "multiselect"
    fits: ClassVar[frozenset[str]] = frozenset({"options"})

    options: Sequence[str] = prop(check=_options)
    value: Sequence[str] = prop(default=(), check=_options, own=True)

    def check(self, name: str, value: Any) -> None:
        if name == "value" and not set(value) <= set(self._props["options"]):
            raise UnsupportedValue("Multiselect.value", "not among the options")

    def fit(self, name: str, value: Any) -> Any:
        options = self._props["options"]
        return tuple(one for one in value if one in options)
