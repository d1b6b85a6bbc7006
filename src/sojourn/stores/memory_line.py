"""Who waits for the lease of a session, in order, in memory. Under the lock of its store."""

from __future__ import annotations

__all__ = ["Lines"]


class Lines:
    """A line for each session that somebody waits for, and who holds a lease by name."""

    def __init__(self) -> None:
        self._lines: dict[str, dict[str, float]] = {}
        self._holders: dict[str, tuple[str, int]] = {}

    def holds(self, handle: str, name: str, fence: int) -> bool:
        """Whether the lease of this number is held by this name."""
        return bool(name) and self._holders.get(handle) == (name, fence)

    def is_next(self, handle: str, name: str, now: float) -> bool:
        """Whether nobody stands before this name. Who has no name passes by."""
        line = self._lines.get(handle)
        if not line or not name:
            return True
        return next((waiting for waiting, until in line.items() if until > now), name) == name

    def stand(self, handle: str, name: str, until: float, now: float) -> None:
        """Keep a place in line until then, or take one; leave it, if that is not later than now."""
        if not name:
            return
        line = {waiting: left for waiting, left in self._lines.get(handle, {}).items() if left > now}
        if until > now:
            line[name] = until  # one that is there keeps its place
        else:
            line.pop(name, None)
        self._settle(handle, line)

    def took(self, handle: str, name: str, fence: int) -> None:
        """The lease was taken."""
        self._holders.pop(handle, None)
        if name:
            self._holders[handle] = (name, fence)
            line = self._lines.get(handle, {})
            line.pop(name, None)
            self._settle(handle, line)

    def forget(self, handle: str) -> None:
        """The session has ended."""
        self._lines.pop(handle, None)
        self._holders.pop(handle, None)

    def _settle(self, handle: str, line: dict[str, float]) -> None:
        if line:
            self._lines[handle] = line
        else:
            self._lines.pop(handle, None)
