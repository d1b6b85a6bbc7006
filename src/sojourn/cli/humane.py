"""Times, sizes and foreign text as people read them. Pure: `now` is an argument, and nothing here prints.

For the command line and the demo. Machines get seconds and bytes instead (``--json``).
"""

from __future__ import annotations

from typing import Final

__all__ = ["ago", "duration", "plural", "safe", "size", "until"]

_UNITS: Final = ((86400, "d"), (3600, "h"), (60, "min"))


def duration(seconds: float) -> str:
    """A length of time in its largest whole unit: "45 s", "3 min", "5 h", "2 d"."""
    whole = max(int(seconds), 0)
    for length, unit in _UNITS:
        if whole >= length:
            return f"{whole // length} {unit}"
    return f"{whole} s"


def ago(at: float, now: float) -> str:
    """A moment in the past: "just now", "3 min ago"."""
    return "just now" if now - at < 5 else f"{duration(now - at)} ago"


def until(at: float, now: float) -> str:
    """A moment to come: "in 27 min"; "now" once it has come."""
    return "now" if at <= now else f"in {duration(at - now)}"


def size(count: int) -> str:
    """Bytes: "412 B", "1.2 KB", "3.4 MB"; a KB is 1024 B."""
    if count < 1024:
        return f"{count} B"
    amount = float(count)
    for unit in ("KB", "MB", "GB"):
        amount /= 1024
        if amount < 1000:
            return f"{amount:.1f} {unit}"
    return f"{amount / 1024:.1f} TB"


def plural(count: int, noun: str) -> str:
    """A count with its noun: "1 session", "1,200 sessions"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def safe(text: str) -> str:
    """Text from outside for a terminal: what would move the cursor or recolour the screen is spelled out instead."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
