"""The fields of a session as a tree that can be shown. Pure.

Not the values: a tree is made from what is stored, so nothing of the application runs, and a class that is not
registered here is opened all the same. Rules:

    bounded      whatever a session holds, the tree has at most `MOST_NODES` nodes and `MOST_BYTES` bytes of text, is
                 cut level by level, and says how much is left out
    hidden       values are shown if ``reveal`` is set, and never where the redaction hides them
    apart        a part that is damaged, or of a type that is not known here, says so, and hides no other
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.msgpack import Ext

from ..cli.humane import size as space
from ..errors import UnsupportedValue
from ..live.kept import FIELDS, OVERRIDE
from ..session import BaseSession
from .redaction import Redaction, holds_an_id
from .shapes import (
    GONE,
    EditRefused,
    Path,
    Shape,
    field_named,
    field_step,
    find,
    opened,
    pack,
    path_of,
    path_text,
    unpack,
)
from .typed import (
    KINDS,
    LONGEST_NAME,
    Kind,
    cut,
    json_text,
    kind_of,
    name_of,
    parse_value,
    shows_an_id,
    text_of,
    type_of,
)

__all__ = [
    "DEEPEST",
    "KINDS",
    "MOST_BYTES",
    "MOST_NODES",
    "EditRefused",
    "Kind",
    "Node",
    "Path",
    "as_tree",
    "edit_text",
    "field_tree",
    "find_node",
    "hidden_steps",
    "hides_within",
    "is_as_seen",
    "parse_value",
    "path_of",
    "path_text",
]

MOST_NODES: Final = 500
MOST_BYTES: Final = 96_000
"""Of all names, values and paths together: a tree is kept in an operator's session."""

DEEPEST: Final = 30
"""Levels: a tree's widget has 32."""

_MOST_MEMBERS: Final = 100  # of one value
_LONGEST_VALUE: Final = 200  # characters
_LONGEST_EDIT: Final = 60_000  # characters that a form is filled with
_MOST_MEASURED: Final = 16 * 1024 * 1024  # bytes that are packed anew to tell sizes
_NODE_COSTS: Final = 120  # bytes, about, beside its texts
_MORE: Final = "…"


class Node(Struct, frozen=True, kw_only=True):
    """One value in the tree. What is left out at the end of a level is a node without a path."""

    path: Path
    name: str
    """As it is shown: cut, if it is long."""
    type: str
    size: int | None
    """Bytes, encoded; None where it is not told: of what is redacted, and of the depths of a huge value."""
    value: str | None = None
    """As text, cut if it is long; None: it has parts, or is not shown."""
    hidden: bool = False
    """Whether there is a value that is not shown."""
    redacted: bool = False
    """Whether it is not shown to anybody who asks, either."""
    problem: str | None = None
    """Why it cannot be shown: it is damaged, or of a newer version."""
    kind: Kind | None = None
    """As what an edit of it is read, if nothing else is chosen; None: it can only be deleted, or not even that."""
    children: tuple[Node, ...] = ()
    more: int = 0
    """How many of its parts are not in the tree."""

    @property
    def seen(self) -> str:
        """What an operator saw of it: an edit that names it is refused once something else is there."""
        return "" if self.redacted else _seen_text(self.type, self.size, self.value)


def _seen_text(type_: str, size: int | None, value: str | None) -> str:
    return json.dumps([type_, size, value])


def is_as_seen(raw: Any, seen: str) -> bool:
    """Whether a value is still what an operator saw (`Node.seen`). Of one that was not shown, only its type and size
    are compared. ValueError where it is damaged."""
    shape = opened(raw)
    shown = shape.members is None and not seen.endswith(", null]")
    value = cut(text_of(raw), _LONGEST_VALUE) if shown else None
    size = None if ", null, " in seen[: LONGEST_NAME * 7] else len(pack(raw))
    return seen == _seen_text(type_of(shape), size, value)


class _Draft:
    """A node that is being made."""

    __slots__ = ("children", "more", "of", "path", "raw", "redacted", "told")

    def __init__(self, path: Path, of: Shape | None, raw: Any, redacted: bool, told: dict[str, Any]) -> None:
        self.path = path
        self.of = of
        self.raw = raw
        self.redacted = redacted
        self.told = told
        self.children: list[_Draft] = []
        self.more = 0

    def done(self) -> Node:
        return Node(
            path=self.path, children=tuple(child.done() for child in self.children), more=self.more, **self.told
        )


class _Drawing:
    """The making of one tree, and what may still be put in it."""

    def __init__(self, redaction: Redaction, *, reveal: bool) -> None:
        self.redaction = redaction
        self.reveal = reveal
        self._nodes = MOST_NODES
        self._bytes = MOST_BYTES
        self._measured = _MOST_MEASURED

    def draft(self, path: Path, key: Any, raw: Any, size: int | None, *, redacted: bool, within: str) -> _Draft | None:
        """One node, without what is in it; None: there is no more room."""
        told: dict[str, Any] = {"name": name_of(key), "redacted": redacted, "hidden": redacted}
        shape = None
        try:
            if isinstance(raw, _Damaged):
                raise raw.error
            shape = opened(raw)
            told["type"] = type_of(shape)
            if shape.members is None and not redacted:
                self._tell(raw, shape, told)
            told["kind"] = None if within == "set" else kind_of(raw, shape)
        except (ValueError, UnsupportedValue) as error:
            told.update(type="?", problem=f"It is damaged, and cannot be read ({type(error).__name__})", kind=None)
            shape = None
        told["size"] = None if told["redacted"] else self._measure(raw) if size is None else size
        costs = _NODE_COSTS + sum(_length(text) for text in (path_text(path), told["name"], told.get("value") or ""))
        if not self._nodes or costs > self._bytes:
            return None
        self._nodes -= 1
        self._bytes -= costs
        return _Draft(path, shape, raw, told["redacted"], told)

    def _tell(self, raw: Any, shape: Shape, told: dict[str, Any]) -> None:
        text = text_of(raw)
        if holds_an_id(text) or (type(raw) is bytes and holds_an_id(raw.decode("latin-1"))):
            told["redacted"] = told["hidden"] = True
        elif self.reveal:
            told["value"] = cut(text, _LONGEST_VALUE)
        else:
            told["hidden"] = True

    def _measure(self, raw: Any) -> int | None:
        if isinstance(raw, _Damaged) or self._measured <= 0:
            return None
        size = len(pack(raw))
        self._measured -= size
        return size

    def within(self, parent: _Draft) -> None:
        """Draft what is in a value."""
        shape = parent.of
        if shape is None or shape.members is None or parent.redacted:
            return
        members = shape.members
        hidden = hidden_steps(shape, self.redaction)
        if parent.path[1:] == (".props",) and parent.path[0].startswith(f".{FIELDS}"):
            hidden.add(".query")  # its parameters are shown one by one, but for those that are hidden
            if parent.path[0].startswith(f".{OVERRIDE}"):
                hidden.add(".value")  # of a widget that all see, which says itself whether it is a password
        if len(parent.path) < DEEPEST and (self.reveal or shape.form != "set"):
            for member in members[:_MOST_MEMBERS]:
                path = (*parent.path, member.step)
                made = self.draft(
                    path, member.key, member.value, None, redacted=member.step in hidden, within=shape.form
                )
                if made is None:
                    break
                parent.children.append(made)
        parent.more = len(members) - len(parent.children)


class _Damaged(Struct):
    """In place of a field's value."""

    error: Exception


def field_tree(session: BaseSession, *, reveal: bool, redaction: Redaction) -> list[Node]:
    """The fields of a session as it was loaded, in their order. If there are too many, the last node says how many are
    left out, and has no path. Never raises for what is stored, whatever that is."""
    drawing = _Drawing(redaction, reveal=reveal)
    fields = session.record.fields
    drafts: list[_Draft] = []
    for name, data in fields.items():
        raw = _unpacked(data)
        redacted = redaction.hides(name)
        made = drawing.draft((field_step(name),), name, raw, len(data), redacted=redacted, within="")
        if made is None:
            break
        drafts.append(made)
    waiting = deque(drafts)
    while waiting:
        draft = waiting.popleft()
        drawing.within(draft)
        waiting.extend(draft.children)
    nodes = [draft.done() for draft in drafts]
    left = len(fields) - len(nodes)
    return [*nodes, Node(path=(), name=_MORE, type="", size=None, more=left)] if left else nodes


def _unpacked(data: bytes) -> Any:
    try:
        return unpack(data)
    except ValueError as error:
        return _Damaged(error)


def _length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def hidden_steps(shape: Shape, redaction: Redaction) -> set[str]:
    """The steps to the members that are hidden for where they are."""
    members = shape.members or []
    if shape.form in ("dict", "object"):
        keyed = {_hashable(member.key): member.value for member in members}
        hidden = redaction.hidden_keys(keyed)
        return {member.step for member in members if _hashable(member.key) in hidden}
    at = redaction.hidden_at([member.value for member in members[:3]]) if shape.form == "list" else None
    return set() if at is None else {members[at].step}


def _hashable(key: Any) -> Any:
    """A key as it is looked at for names. One of the application's is what it is made of."""
    if type(key) is Ext:
        try:
            parts = [one.key if one.key is not None else one.value for one in opened(key).members or ()]
            return (*map(_hashable, parts), bytes(key.data))
        except ValueError:
            return bytes(key.data)
    if isinstance(key, (list, tuple)):
        return tuple(map(_hashable, key))
    return pack(key) if type(key) is dict else key


def hides_within(raw: Any, redaction: Redaction) -> bool:
    """Whether anything in a value is hidden, itself included. ValueError where it is damaged."""
    waiting = [raw]
    while waiting:
        one = waiting.pop()
        shape = opened(one)
        if shape.members is None:
            if shows_an_id(one):
                return True
            continue
        if hidden_steps(shape, redaction) or any(_key_is_hidden(member.key) for member in shape.members):
            return True
        waiting += [member.value for member in shape.members]
    return False


def _key_is_hidden(key: Any) -> bool:
    return type(key) is not int and shows_an_id(key)


# --- To be edited --------------------------------------------------------------------------------------------------


def edit_text(session: BaseSession, path: Path, redaction: Redaction) -> str:
    """The whole value at a path, as a form is filled with it for an edit of its kind. `EditRefused` if it is not there,
    cannot be read, is too long, if it or anything in it is redacted, or if it is a live page's, which is not edited."""
    if path[:1] and path[0].startswith(f".{FIELDS}"):
        raise EditRefused("this is the page's own")
    raw = located(session.record.fields, path, redaction)
    try:
        if hides_within(raw, redaction):
            raise EditRefused("there is something in it that is not shown: edit its other parts one by one")
        shape = opened(raw)
        text = json_text(raw) if kind_of(raw, shape) == "JSON" else text_of(raw)
    except (ValueError, UnsupportedValue) as error:
        if isinstance(error, EditRefused):
            raise
        raise EditRefused("it cannot be read: give it another value, or delete it") from None
    if len(text) > _LONGEST_EDIT:
        raise EditRefused(f"it is too long to be edited here: {len(text):,} characters, of at most {_LONGEST_EDIT:,}")
    return text


def located(fields: Mapping[str, bytes], path: Path, redaction: Redaction) -> Any:
    """What is stored at a path, unpacked. `EditRefused` if it is not there, or is redacted."""
    name = field_named(fields, path[0]) if path else None
    if name is None:
        raise EditRefused("this is not there any more: look again")
    if redaction.hides(name):
        raise EditRefused("this is not shown")
    try:
        raw = unpack(fields[name])
        for step in path[1:]:
            shape = opened(raw)
            if step in hidden_steps(shape, redaction):
                raise EditRefused("this is not shown")
            raw = find(raw, (step,))
            if raw is GONE:
                raise EditRefused("this is not there any more: look again")
    except ValueError as error:
        if isinstance(error, EditRefused):
            raise
        raise EditRefused("it cannot be read: give it another value, or delete it") from None
    return raw


# --- For the page ----------------------------------------------------------------------------------------------------


def as_tree(nodes: Iterable[Node]) -> list[dict[str, Any]]:
    """The nodes as the widget `Tree` takes them: their ids are their paths, as `path_of` reads them."""
    return [_as_dict(node) for node in nodes]


def _as_dict(node: Node) -> dict[str, Any]:
    if not node.path:
        return {"id": _MORE, "label": _MORE, "note": f"{node.more:,} more"}
    return {
        "id": path_text(node.path),
        "label": node.name,
        "note": node.problem or ", ".join(part for part in (node.type, _space(node.size)) if part),
        "value": node.value,
        "hidden": node.hidden,
        "children": [_as_dict(child) for child in node.children],
        "more": node.more,
    }


def _space(count: int | None) -> str:
    return "" if count is None else space(count)


def find_node(nodes: Sequence[Node], path: Path) -> Node | None:
    """The node at a path; None if it is not in the tree."""
    found = None
    for depth in range(1, len(path) + 1):
        found = next((node for node in nodes if node.path == path[:depth]), None)
        if found is None:
            return None
        nodes = found.children
    return found
