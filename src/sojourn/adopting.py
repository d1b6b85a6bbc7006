"""Values that were handed out, brought up to date where they are, so that who holds on to one goes on with what others
have made of it. Pure.

    dict    keys come, go and change; a container under a key stays the very object
    list    is filled anew; an element that is a container stays the very object where an equal one is still there
    set     is filled anew
    other   cannot be changed from outside: its owner takes it anew
"""

from __future__ import annotations

from typing import Any, Final

__all__ = ["adopt", "append_to"]

_CONTAINERS: Final = frozenset({dict, list, set})


def adopt(old: Any, new: Any) -> bool:
    """Make `old` equal to `new`, if both are a dict, a list or a set. Returns whether it is."""
    if type(old) is not type(new) or type(old) not in _CONTAINERS:
        return False
    if isinstance(old, dict):
        for key in [key for key in old if key not in new]:
            del old[key]
        for key, value in new.items():
            if key not in old or not adopt(old[key], value):
                old[key] = value
    elif isinstance(old, list):
        held = [element for element in old if type(element) in _CONTAINERS]
        old[:] = [_taken(held, element) for element in new]
    else:
        old.intersection_update(new)
        old.update(new)
    return True


def append_to(mine: Any, base: Any, theirs: Any) -> bool:
    """If `mine` is the list `base` with something appended, make it `theirs` with the same appended. Returns whether
    it is."""
    if type(mine) is not list or type(base) is not list or type(theirs) is not list or mine[: len(base)] != base:
        return False
    appended = mine[len(base) :]
    adopt(mine, theirs)
    mine.extend(appended)
    return True


def _taken(held: list[Any], element: Any) -> Any:
    """The held object that is equal to this, each once; else this."""
    if type(element) in _CONTAINERS:
        for position, one in enumerate(held):
            if one == element:
                return held.pop(position)
    return element
