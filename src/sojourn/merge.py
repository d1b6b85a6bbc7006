"""The three-way merge: what one writer changed, replayed onto what the session has become since. Pure.

Three things are compared: the value as it was loaded (base), as it was changed here (mine), and as it is now
(theirs). Facts since a common base are merged, never two dicts: a key missing from one side means "deleted" only
if the base had it.

Rules, for changes in place:
  dict    keys set or unset by different writers all hold; keys that both have are merged in turn
  list    what was appended is appended, as long as the base is a prefix of both
  set     members added and removed by different writers all hold
  other   two writers of the same thing: mine, the later commit, wins, and the path is reported
A container that is new on both sides is merged as if it had been there, empty.
A container that they deleted stays deleted: changes inside it are reported, and never bring it back.
An assignment of a whole field replaces it and is never mixed with another's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from .codec import Codec
from .record import Assign, Changed, Default, Delta, Op, Unset

__all__ = ["Merged", "replay", "three_way"]

_CONTAINERS: Final = frozenset({dict, list, set, frozenset})


class Merged(Struct, frozen=True):
    """The outcome of a replay."""

    values: dict[str, bytes | None]
    """For each field that the delta touched, its new value; None: unset."""
    overwritten: tuple[str, ...] = ()
    """Paths where two writers changed the same thing and one of them was overruled."""


def replay(codec: Codec, fields: Mapping[str, bytes], delta: Delta) -> Merged:
    """Replay a delta onto the fields as they are now. Raises what an update's function raises, `UnsupportedValue`
    for what it returns, and nothing else; the arguments are left as they are."""
    values: dict[str, bytes | None] = {}
    lost: list[str] = []
    for name, ops in delta.ops.items():
        current = fields.get(name)
        theirs = current != delta.base.get(name)
        for op in ops:
            current = _replay_one(codec, name, current, op, lost, theirs=theirs)
            theirs = False
        values[name] = current
    return Merged(values, tuple(lost))


def _replay_one(
    codec: Codec, name: str, current: bytes | None, op: Op, lost: list[str], *, theirs: bool
) -> bytes | None:
    """One operation on one field. `theirs`: whether somebody else changed the field since it was loaded."""
    if isinstance(op, Assign):
        if theirs and current != op.value:
            lost.append(name)
        return op.value
    if isinstance(op, Default):
        return op.value if current is None else current
    if isinstance(op, Unset):
        if theirs and current is not None:
            lost.append(name)
        return None
    if isinstance(op, Changed):
        if current == op.before:
            return op.after
        if current is None:
            lost.append(name)
            return None
        base, mine, now = (codec.decode(name, data) for data in (op.before, op.after, current))
        return codec.encode(name, three_way(codec, base, mine, now, name, lost))
    return codec.encode(name, op.function(None if current is None else codec.decode(name, current)))


def three_way(codec: Codec, base: Any, mine: Any, theirs: Any, path: str, lost: list[str]) -> Any:
    """The merge of one value. Paths of what was overruled are appended to `lost`. The result may share parts with
    `mine` and `theirs`: hand in values that nobody else holds."""
    if _same(codec, mine, base):
        return theirs
    if _same(codec, theirs, base):
        return mine
    kind = type(base)
    if kind is type(mine) is type(theirs):
        if kind is dict:
            return _merge_dicts(codec, base, mine, theirs, path, lost)
        if kind is list and _extends(codec, mine, base) and _extends(codec, theirs, base):
            return theirs + mine[len(base) :]  # also if both appended the same: two apples are two facts
        if kind in (set, frozenset):
            return _merge_sets(codec, base, mine, theirs)
    if not _same(codec, mine, theirs):
        lost.append(path)
    return mine


def _merge_dicts(
    codec: Codec, base: dict[Any, Any], mine: dict[Any, Any], theirs: dict[Any, Any], path: str, lost: list[str]
) -> dict[Any, Any]:
    was, here, there = (_by_key(codec, members) for members in (base, mine, theirs))
    merged = dict(there)
    for name in was.keys() - here.keys():
        key, before = was[name]
        if name in merged and not _same(codec, merged.pop(name)[1], before):
            lost.append(f"{path}.{key}")
    for name, (key, value) in here.items():
        at = f"{path}.{key}"
        if name not in was and name in there and type(value) in _CONTAINERS:
            # New on both sides: what each put in holds, as if the container had been there, empty.
            merged[name] = key, three_way(codec, type(value)(), value, there[name][1], at, lost)
        elif name not in was:
            if name in there and not _same(codec, there[name][1], value):
                lost.append(at)
            merged[name] = key, value
        elif name in there:
            merged[name] = key, three_way(codec, was[name][1], value, there[name][1], at, lost)
        elif not _same(codec, value, was[name][1]):
            lost.append(at)
            if not (type(value) is type(was[name][1]) and isinstance(value, (dict, list, set))):
                merged[name] = key, value
    return dict(merged.values())


def _by_key(codec: Codec, members: dict[Any, Any]) -> dict[str | bytes, tuple[Any, Any]]:
    """Items by what their keys encode to: two NaN are one key here, and 1 and True are two."""
    return {key if type(key) is str else codec.encode("", key): (key, value) for key, value in members.items()}


def _merge_sets(codec: Codec, base: Any, mine: Any, theirs: Any) -> Any:
    was, here, there = ({codec.encode("", member): member for member in members} for members in (base, mine, theirs))
    merged = {data: member for data, member in there.items() if data in here or data not in was}
    merged.update((data, member) for data, member in here.items() if data not in was)
    return type(base)(merged.values())


def _extends(codec: Codec, longer: list[Any], base: list[Any]) -> bool:
    return len(longer) >= len(base) and _same(codec, longer[: len(base)], base)


def _same(codec: Codec, one: Any, other: Any) -> bool:
    """Equal in value and in every type within: 1, 1.0 and True are three things here."""
    return one is other or codec.encode("", one) == codec.encode("", other)
