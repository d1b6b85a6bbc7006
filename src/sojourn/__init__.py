"""Session state for Python web apps that never silently loses an update.

    from sojourn import SessionManager

    sessions = SessionManager("sqlite:///sessions.db", expiration_time=1800)
    session_id = sessions.create_session(user_id="54321", data={"cart": {"items": []}})
    with sessions.session(session_id) as session:
        session["cart"]["items"].append("apple")

The public names are those below; everything else may change. Where to read on: `sojourn.record` (what there is),
`sojourn.session` and `sojourn.merge` (what a writer changes, and what becomes of it), `sojourn.store` (the contract of
a store) and `sojourn.stores.memory` (the plainest one), `sojourn.manager` (the operations).
"""

from importlib import import_module
from typing import TYPE_CHECKING

from .blocking import SessionManager
from .codec import register
from .config import CookieConfig, SessionConfig
from .csrf import csrf_token, csrf_valid
from .errors import (
    CallbackLost,
    ConfigurationError,
    ConflictError,
    DamagedRecord,
    HistoryTrimmed,
    MissingExtra,
    NoWidgets,
    OutcomeUnknown,
    SessionClosed,
    SessionGone,
    SessionLeased,
    SessionNotFound,
    SojournError,
    StorageError,
    StoreDamaged,
    StoreError,
    StoreUnavailable,
    TooLarge,
    TooLate,
    TooManyGuesses,
    TooManySessions,
    UnsupportedValue,
    WidgetInstantiated,
)
from .flashes import flash, flashed
from .ids import Handle
from .manager import AsyncSessionManager
from .opening import open_store
from .record import Change, Summary
from .session import AsyncSession, Session
from .tickets import ticket
from .users import login, logout

if TYPE_CHECKING:
    from .dictstore import SessionMetadata, SessionStatus, SessionStore, SessionStoreConfig
    from .state import SafeSessionState, SessionState

__all__ = [
    "AsyncSession",
    "AsyncSessionManager",
    "CallbackLost",
    "Change",
    "ConfigurationError",
    "ConflictError",
    "CookieConfig",
    "DamagedRecord",
    "Handle",
    "HistoryTrimmed",
    "MissingExtra",
    "NoWidgets",
    "OutcomeUnknown",
    "SafeSessionState",
    "Session",
    "SessionClosed",
    "SessionConfig",
    "SessionGone",
    "SessionLeased",
    "SessionManager",
    "SessionMetadata",
    "SessionNotFound",
    "SessionState",
    "SessionStatus",
    "SessionStore",
    "SessionStoreConfig",
    "SojournError",
    "StorageError",
    "StoreDamaged",
    "StoreError",
    "StoreUnavailable",
    "Summary",
    "TooLarge",
    "TooLate",
    "TooManyGuesses",
    "TooManySessions",
    "UnsupportedValue",
    "WidgetInstantiated",
    "csrf_token",
    "csrf_valid",
    "flash",
    "flashed",
    "login",
    "logout",
    "open_store",
    "register",
    "ticket",
]

__version__ = "0.1.0"

_PARTS = {
    "SafeSessionState": ".state",
    "SessionMetadata": ".dictstore",
    "SessionState": ".state",
    "SessionStatus": ".dictstore",
    "SessionStore": ".dictstore",
    "SessionStoreConfig": ".dictstore",
}
"""Where names are that most programs do without: imported when they are asked for, as they take a third as long again
as all the rest."""


def __getattr__(name: str) -> object:
    if name not in _PARTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(_PARTS[name], __name__), name)
    globals()[name] = found
    return found
