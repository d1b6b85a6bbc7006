"""Checks of texts, as properties of widgets have them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["texts"]


def texts(value: Any, what: str) -> tuple[str, ...]:
    """Several texts, each there once. ``what`` each of them is, is told where they are refused."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"expected a sequence of texts, got <{type(value).__name__}>")
    for one in value:
        if type(one) is not str:
            raise TypeError(f"{what} is text, not a <{type(one).__name__}>")
    if len(set(value)) != len(value):
        raise ValueError(f"{what} is there twice")
    return tuple(value)
