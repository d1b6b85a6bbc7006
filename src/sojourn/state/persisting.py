"""Which values of widgets stay while their widgets are not shown (``persist_state``). Pure.

"session" stays for good. "page" stays as long as the visitor is on the page where the widget was last shown: it does
not come with him to another page, and is not there any more when he comes back, even if the browser sends it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .widgets import WidgetMetadata

__all__ = ["Persisting"]


class Persisting:
    """What is known of the widgets that ask for it."""

    __slots__ = ("_origins", "_pages", "_resets")

    def __init__(self) -> None:
        self._pages: dict[str, str | None] = {}  # by widget id: the page it was last on; None: it stays for good
        self._origins: dict[str, str] = {}  # by key: the page that a value belongs to that is kept without its widget
        self._resets: set[str] = set()  # widget ids whose value was dropped: the browser may still have it

    def shown(self, metadata: WidgetMetadata[Any], key: str, page: str) -> bool:
        """Note that a widget is shown. Returns whether a value that is known of it belongs to another page, and has to
        go."""
        widget_id, origin = metadata.id, self._origins.pop(key, None)
        reset = widget_id in self._resets
        self._resets.discard(widget_id)
        if metadata.persist_state != "page":
            if metadata.persist_state is None:
                self._pages.pop(widget_id, None)
            else:
                self._pages[widget_id] = None
            return False
        self._pages[widget_id] = page
        return metadata.bind is None and (reset or (origin is not None and origin != page))

    def knows(self, widget_id: str) -> bool:
        """Whether a widget has asked for it."""
        return widget_id in self._pages

    def stays(self, widget_id: str, page: str) -> bool:
        """Whether the value of a widget that is no longer shown stays."""
        return widget_id in self._pages and self._pages[widget_id] in (None, page)

    def keep(self, widget_id: str, key: str) -> None:
        """Note that a value stays under its key alone."""
        origin = self._pages.get(widget_id)
        if origin is not None:
            self._origins[key] = origin

    def left(self, page: str, is_gone: Callable[[str], bool]) -> list[str]:
        """The ids of widgets whose page was left with this one, as they are not on it. Their values go, and what the
        browser says of them is not taken up when they come back."""
        left = [name for name, own in self._pages.items() if own is not None and own != page and is_gone(name)]
        self._resets.update(left)
        return left

    def prune(self, ids: Iterable[str], keys: Iterable[str]) -> None:
        """Forget all widgets but these, and values under all keys but these."""
        ids, keys = set(ids), set(keys)
        self._pages = {name: page for name, page in self._pages.items() if name in ids}
        self._origins = {key: page for key, page in self._origins.items() if key in keys}
        self._resets &= ids

    def clear(self) -> None:
        self._pages.clear()
        self._origins.clear()
        self._resets.clear()
