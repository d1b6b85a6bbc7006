"""Which key belongs to which widget, both ways. Pure."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["Keys"]


class Keys:
    """Users' keys and the ids of their widgets. A key has one widget, and a widget one key."""

    __slots__ = ("ids", "keys")

    def __init__(self) -> None:
        self.ids: dict[str, str] = {}
        """From key to id."""
        self.keys: dict[str, str] = {}
        """From id to key."""

    def bind(self, key: str, widget_id: str) -> None:
        """Give a key its widget: what either had before is forgotten."""
        if self.ids.get(key) == widget_id:
            return
        self.forget_key(key)
        self.forget_id(widget_id)
        self.ids[key] = widget_id
        self.keys[widget_id] = key

    def forget_key(self, key: str) -> None:
        """Nothing happens if it has no widget."""
        widget_id = self.ids.pop(key, None)
        if widget_id is not None:
            del self.keys[widget_id]

    def forget_id(self, widget_id: str) -> None:
        """Nothing happens if it has no key."""
        key = self.keys.pop(widget_id, None)
        if key is not None:
            del self.ids[key]

    def clear(self) -> None:
        self.ids.clear()
        self.keys.clear()

    def __iter__(self) -> Iterator[tuple[str, str]]:
        """Pairs of key and id."""
        return iter(self.ids.items())
