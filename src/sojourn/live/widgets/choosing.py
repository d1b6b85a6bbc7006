"""Widgets in which a visitor chooses one of several: `Nav` and `Tree`. What was chosen is told to the callback and to
nobody else: which one is marked is for the program to say, as it may have a reason to stay where it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from .. import showing
from ..widget import EventName, F, Refused, Widget, prop

__all__ = ["Nav", "Tree"]

MOST_ITEMS: Final = 100
MOST_NODES: Final = 2_000
DEEPEST: Final = 32
LONGEST_ID: Final = 10_000  # characters


class _Choosing(Widget):
    """What both have in common."""

    events: ClassVar[frozenset[EventName]] = frozenset({"select"})

    def on_select(self, callback: F) -> F:
        """Have ``callback(session, key)`` called when a visitor has chosen one, with its key or id. Also a
        decorator."""
        return self.listen("select", callback)

    def take(self, event: EventName, value: Any) -> str:
        """The key or id that was chosen. Raises `Refused`: "not_allowed" for what is no choice, "wrong_value" for what
        is not there (any more)."""
        if event != "select":
            raise Refused("not_allowed", f"a {self.kind} knows no {event}")
        if type(value) is not str or not self._has(value):
            raise Refused("wrong_value", "this is not there any more")
        return value

    def _has(self, key: str) -> bool:
        raise NotImplementedError  # each has its own


def _items(value: Any) -> list[list[str]]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise TypeError(f"expected a sequence of pairs of texts, got <{type(value).__name__}>")
    items = []
    for one in value:
        if type(one) not in (tuple, list) or len(one) != 2 or not all(type(part) is str for part in one):
            raise TypeError("an item is a pair of texts: its key and its label")
        items.append([showing.text(part) for part in one])
    if len({key for key, _ in items}) != len(items):
        raise ValueError("a key is there twice")
    if len(items) > MOST_ITEMS:
        raise ValueError(f"at most {MOST_ITEMS} items")
    return items


class Nav(_Choosing):
    """A bar of links, one of which is where the visitor is. ``items`` are pairs of texts, keys and labels, at most 100,
    each key there once, else `UnsupportedValue`; ``current`` is the key of the one that is marked, each session's own;
    empty, or no item: none is. ``label`` says to who hears the page what bar it is."""

    kind: ClassVar[str] = "nav"

    items: Sequence[tuple[str, str]] = prop(check=_items)
    current: str = prop(default="", own=True)
    label: str = prop(default="Pages", kw_only=True)

    def _has(self, key: str) -> bool:
        return any(key == one for one, _ in self._props["items"])


def _tree(value: Any) -> dict[str, Any]:
    """The nodes as they are kept: ``{"nodes": [...], "more": how many are left out}``, each node with all its parts.
    They are counted level by level: so what is left out is at the bottom."""
    more = 0
    if type(value) is dict and value.keys() == {"nodes", "more"}:
        value, more = value["nodes"], _count(value["more"])
    top: dict[str, Any] = {"children": [], "more": more}
    waiting: deque[tuple[dict[str, Any], Any, int]] = deque([(top, value, DEEPEST)])
    ids: set[str] = set()
    while waiting:
        into, nodes, depth = waiting.popleft()
        if type(nodes) not in (list, tuple):
            raise TypeError(f"expected a list of nodes, got <{type(nodes).__name__}>")
        room = min(len(nodes), MOST_NODES - len(ids)) if depth else 0
        into["more"] += len(nodes) - room
        for given in nodes[:room]:
            node = _node(given)
            if node["id"] in ids:
                raise ValueError("a node's id is there twice")
            ids.add(node["id"])
            into["children"].append(node)
            waiting.append((node, given.get("children") or [], depth - 1))
    return {"nodes": top["children"], "more": top["more"]}


_PARTS: Final = {"id", "label", "note", "value", "children", "hidden", "more"}


def _node(given: Any) -> dict[str, Any]:
    """A node as it is kept, without what is in it. A value that is hidden is not kept."""
    if not isinstance(given, Mapping) or not given.keys() <= _PARTS:
        raise TypeError("a node is a dict of id, label, note, value, children, hidden and more")
    id_, hidden, value = given.get("id"), given.get("hidden", False), given.get("value")
    if type(id_) is not str or not 0 < len(id_) <= LONGEST_ID:
        raise ValueError(f"the id of a node is text of 1 to {LONGEST_ID:,} characters")
    if type(hidden) is not bool:
        raise TypeError("hidden is True or False")
    label, note = given.get("label", ""), given.get("note", "")
    if not all(type(one) is str for one in (label, note)) or not (value is None or type(value) is str):
        raise TypeError("label, note and value of a node are texts")
    return {
        "id": showing.text(id_),
        "label": showing.text(label),
        "note": showing.text(note),
        "value": None if hidden or value is None else showing.text(value),
        "hidden": hidden,
        "children": [],
        "more": _count(given.get("more", 0)),
    }


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**53:
        raise ValueError("more is a number of nodes")
    return value


class Tree(_Choosing):
    """Nested things with names and values, that can be opened and closed, and of which one can be chosen. ``nodes`` is
    a list of dicts:

        {"id": "a", "label": "cart", "note": "list, 2 items", "value": None, "hidden": False, "children": [...]}

    All but ``id`` may be missing. An id is there once in the whole tree; ``value`` is shown beside the label; of a node
    that is ``hidden`` it is neither kept nor told to the browser, which shows dots. At most 2,000 nodes of 32 levels
    are kept, level by level: where some are left out, the page says how many; ``more`` in a node adds to that number.
    What is no such list is refused with `UnsupportedValue`. Read back it is what is shown: ``{"nodes", "more"}``.

    ``selected`` is the id of the node that is marked, each session's own; empty, or no node: none is. ``label`` says to
    who hears the page what it is."""

    kind: ClassVar[str] = "tree"

    nodes: Any = prop(check=_tree)
    selected: str = prop(default="", own=True)
    label: str = prop(default="Tree", kw_only=True)

    def _has(self, key: str) -> bool:
        inside = list(self._props["nodes"]["nodes"])
        for node in inside:  # which grows
            if node["id"] == key:
                return True
            inside += node["children"]
        return False
