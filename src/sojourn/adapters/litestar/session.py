"""What ``request.session`` and ``socket.session`` are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from ...exchange import StartsOver
from ...session import STATE, TICKETS, AsyncSession, BaseSession
from ...sockets import SocketSession

__all__ = ["LitestarSession", "LitestarSocketSession", "Ways"]


class Ways(BaseSession):
    """What Litestar's users know, in requests and in sockets."""

    __slots__ = ()

    def __bool__(self) -> bool:
        """Whether there is anything in it, or anybody signed in: Litestar's `SessionAuth` takes one that is False for
        none."""
        return self.user_id is not None or len(self) > 0

    def replace(self, fields: Mapping[str, Any]) -> None:
        """Make these the fields. Those that others add meanwhile stay, and so do the tickets of sockets."""
        for name in list(self):
            if name not in fields and name != TICKETS:
                del self[name]
        for name, value in fields.items():
            if name not in self or self[name] is not value:  # or it is no assignment
                self[name] = value


class LitestarSession(Ways, StartsOver, AsyncSession):
    """An `AsyncSession` with Litestar's ways: ``clear()`` ends it, and what is put in afterwards begins another."""

    __slots__ = (*STATE, "exchange")

    def follow_user(self, name: str) -> None:
        """Have the session's user be whom the application names in this field, if it has changed: another is signed in,
        under a new id, and finds nothing of who was there before; if nobody is named any more, the session ends, and
        what is left goes on in another. Nothing happens after a `login` in the same request."""
        wanted = self.amendment
        if self.ended or name not in self._ops or (wanted is not None and wanted.login):
            return
        user = self.get(name)
        if user is not None and self.record.fields.get(name) == self._context.codec.encode(name, user):
            return
        if isinstance(user, (str, int, UUID)) and user != "" and not isinstance(user, bool):
            if self.user_id not in (None, str(user)):
                for other in [field for field in self if field not in self._ops]:
                    del self[other]
            self.login(str(user))
        elif self.user_id is not None:
            left = self.to_dict()
            self.clear()
            self.update(left)


class LitestarSocketSession(Ways, SocketSession):
    """A `SocketSession`, likewise."""

    __slots__ = ()
