"""A name for the browser that a request comes from, as people would say it. Pure.

A User-Agent header is what a client says of itself: good enough to tell one's own devices apart, and for nothing else.
"""

from __future__ import annotations

from typing import Final

__all__ = ["device_label", "is_phone"]

_BROWSERS: Final = (  # the order counts: most browsers also claim to be those below them
    ("Edg", "Edge"),
    ("OPR/", "Opera"),
    ("Vivaldi/", "Vivaldi"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
    ("python", "Python"),
)
_SYSTEMS: Final = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def device_label(user_agent: str) -> str:
    """A browser and where it runs: "Firefox on Linux"."""
    browser = next((name for mark, name in _BROWSERS if mark in user_agent), "A browser")
    system = next((name for mark, name in _SYSTEMS if mark in user_agent), "")
    return f"{browser} on {system}" if system else browser


def is_phone(label: str) -> bool:
    """Whether a device of that label is held in a hand."""
    return label.endswith(("iPhone", "iPad", "Android"))
