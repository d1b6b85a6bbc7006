"""The stored side of a state: one session of a manager, held open for as long as the state lives.

What the state shows is kept in the process (see `sojourn.state.session_state`); this writes it through, each change
committed before it is acknowledged, and tells what others have written. Nothing here knows of widgets.

An error of a write leaves all as it is stored: what was changed here and is not committed is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ..blocking import SessionManager, run
from ..codec import Codec
from ..errors import ConfigurationError
from ..policy import touch_due, touched
from ..session import BaseSession
from .values import MISSING

__all__ = ["Stored"]


class Stored:
    """A session of a manager, as a state sees it. Raises `SessionNotFound` if there is none, and later, whatever is
    done, `SessionGone` once it has ended or its user has changed."""

    __slots__ = ("_engine", "_session")

    def __init__(self, manager: SessionManager, session_id: str) -> None:
        if not isinstance(manager, SessionManager):
            raise ConfigurationError("a state is bound to a session of a SessionManager: open the store with one")
        self._engine = manager.engine
        self._session: BaseSession = run(self._engine.require(session_id))

    @property
    def session_id(self) -> str:
        """What the client carries, secret in whole. Empty where the session was opened by its handle."""
        return self._session.session_id

    def read(self, name: str) -> Any:
        """A field as it is known here; `MISSING` where there is none. A list or dict is the very one that is followed:
        what is changed in it goes out with the next commit."""
        return self._session.get(name, MISSING)

    def names(self) -> list[str]:
        """Of all fields."""
        return list(self._session)

    def look(self) -> set[str]:
        """Read the session anew, and count it as activity. Returns the names of what others have changed."""
        session, now = self._session, self._engine.clock()
        others = run(self._engine.refresh(session))
        session.loaded_at = now
        if touch_due(session.record, now):
            session.committed(touched(session.record, now))  # so that a store that fails is asked once an interval
            run(self._engine.touch(session))
        return others

    def commit(self, change: Callable[[BaseSession], object]) -> set[str]:
        """Change the session, and commit that. Returns the names of what others have changed. Raises as
        `SessionManager.session` does on exit; what ``change`` raises comes through, and nothing is done."""
        change(self._session)
        try:
            return run(self._engine.save_seeing(self._session))
        except BaseException:  # an interrupt, too, leaves nothing to go out with the next commit
            self._session.discard()
            raise

    def holds(self, name: str, value: Any) -> bool:
        """Whether a field holds just this value. Raises `UnsupportedValue` for one that cannot be stored."""
        encoded = _codec.encode(name, value)
        return self._session.record.fields.get(name) == encoded


_codec: Final = Codec()
