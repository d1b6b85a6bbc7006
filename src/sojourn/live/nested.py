"""Where functions are in code: what a decorator wrapped, and the way from a function to one that is nested in it, by
names. Nothing is run, and no attribute of an object is asked for. Pure.

A step inwards is the name of a function, or "name#mark#index" where several in the same function have that name, as
lambdas do. The mark stands for what a function does. So the right one is found also if others came or went, and one
that was changed is not found: which of them it was cannot be known. A function whose name is its own may change.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from hashlib import blake2b
from types import CodeType
from typing import Any, Final, Literal

__all__ = ["WRAPS", "inner", "kind", "steps", "unwrapped"]

WRAPS: Final = 16
"""Decorators around one function that are looked through: a chain that leads to itself ends, too."""

_INLINE: Final = ("<listcomp>", "<setcomp>", "<dictcomp>")  # functions of their own before Python 3.12


def unwrapped(found: object) -> Iterator[object]:
    """It, and what decorators wrapped."""
    for _ in range(WRAPS):
        yield found
        found = inspect.getattr_static(found, "__wrapped__", None)
        if found is None:
            return


def kind(code: CodeType) -> Literal["function", "generator", "none"]:
    """What is made of it: class bodies and comprehensions have code, too."""
    if not code.co_flags & inspect.CO_OPTIMIZED or (code.co_name.startswith("<") and code.co_name != "<lambda>"):
        return "none"
    return "generator" if code.co_flags & (inspect.CO_GENERATOR | inspect.CO_ASYNC_GENERATOR) else "function"


def _inside(code: CodeType) -> Iterator[CodeType]:
    """The code that is directly in it, in order. A comprehension is none of its own, as in Python 3.12."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_name in _INLINE:
                yield from _inside(constant)
            else:
                yield constant


def steps(code: CodeType, wanted: CodeType) -> list[str] | None:
    """The way from code to code in it."""
    inside = list(_inside(code))
    for one in inside:
        rest: list[str] | None = [] if one is wanted else steps(one, wanted)
        if rest is not None:
            same = [other for other in inside if other.co_name == one.co_name]
            if len(same) == 1:
                return [one.co_name, *rest]
            mark = _mark(one)
            like = [other for other in same if _mark(other) == mark]
            return [f"{one.co_name}#{mark}#{[other is one for other in like].index(True)}", *rest]
    return None


def inner(code: CodeType, step: str) -> CodeType | None:
    """One step inwards; None if nothing is there, or several are and it is not said which. Of several with one name the
    mark tells them apart, also where some came or went; the index only those that are alike."""
    name, *which = step.split("#")
    same = [one for one in _inside(code) if one.co_name == name]
    if not which:
        return same[0] if len(same) == 1 else None
    like = [one for one in same if _mark(one) == which[0]]
    index = int(which[1]) if len(which) == 2 and which[1].isdecimal() and len(which[1]) < 6 else len(like)
    return like[index] if index < len(like) else None


def _mark(code: CodeType) -> str:
    """What a function does, in a few letters: what it names and which constants it has, wherever its lines are."""
    return blake2b(_essence(code).encode(errors="surrogatepass"), digest_size=6).hexdigest()


def _essence(constant: Any) -> str:
    if isinstance(constant, CodeType):
        names = (constant.co_name, constant.co_varnames, constant.co_names, constant.co_freevars)
        return f"{names}{_essence(constant.co_consts)}"
    if isinstance(constant, tuple):
        return f"({','.join(map(_essence, constant))})"
    if isinstance(constant, frozenset):  # its order differs from process to process
        return f"{{{','.join(sorted(map(_essence, constant)))}}}"
    return repr(constant)
