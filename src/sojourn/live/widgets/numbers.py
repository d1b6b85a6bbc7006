"""Checks of numbers, as properties of widgets have them. Pure."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any, Final

__all__ = ["LARGEST", "between", "number", "optional", "step", "true_or_false"]

LARGEST: Final = 2**53 - 1
"""The largest integer that a browser keeps exact."""


def number(value: Any) -> int | float:
    """The number as an int or a float. True and False are none; NaN and infinities are refused, and so are integers
    that a browser would round."""
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("not a finite number")
        return float(value)
    if isinstance(value, bool):
        raise TypeError("True and False are no numbers")
    try:
        whole = operator.index(value)
    except TypeError:
        raise TypeError(f"expected a number, got <{type(value).__name__}>") from None
    if not -LARGEST <= whole <= LARGEST:
        raise ValueError("an integer of more than 53 bits: a browser would round it")
    return whole


def optional(value: Any) -> int | float | None:
    """A number, or None."""
    return None if value is None else number(value)


def step(value: Any) -> int | float:
    """A number above 0."""
    found = number(value)
    if found <= 0:
        raise ValueError("a step is above 0")
    return found


def between(least: int, most: int, what: str) -> Callable[[Any], int | None]:
    """A check for an int in a range, or None."""

    def check(value: Any) -> int | None:
        if value is not None and not (type(value) is int and least <= value <= most):
            raise ValueError(f"{what} is {least:,} to {most:,}")
        return value

    return check


def true_or_false(value: Any) -> bool:
    """True or False, and nothing that merely passes for it."""
    if type(value) is not bool:
        raise TypeError("True or False")
    return value
