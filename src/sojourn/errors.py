"""Every exception that Sojourn raises, in one small tree.

Rules: a message says what happened, what became of the data, and what to do about it. No message ever
carries a session id or a secret; a handle may appear, for it is public. Where a built-in exception says
the same thing, ours is also one of those, so that ``except KeyError`` and ``except TypeError`` go on working.

    SojournError
    ├── ConfigurationError (ValueError)     a setting that cannot work, refused at start
    ├── MissingExtra (ImportError)          an optional dependency is not installed
    ├── UnsupportedValue (TypeError)        a value of a type that a session cannot keep
    ├── TooLarge (ValueError)               a field or a session past its size limit
    ├── SessionClosed (RuntimeError)        a session object used after its block or response
    ├── TooLate (RuntimeError)              the client can be sent no other id any more
    ├── TooManyGuesses                      one address shows ids of no session, by the dozen
    ├── SessionNotFound (KeyError)          unknown, ended or expired when it was looked for
    ├── SessionGone                         ended, or changed hands, between load and commit
    ├── ConflictError                       another writer was there; nothing was written
    │   └── SessionLeased                   another holder has the session to itself
    ├── WidgetInstantiated                  the key of a widget that this run has made
    ├── NoWidgets (TypeError)               a plain mapping is asked about widgets
    ├── TooManySessions                     the user is at the cap, and the rule is "refuse"
    ├── CallbackLost                        a callback that was stored is not in the code any more
    ├── HistoryTrimmed                      facts that were asked for are no longer kept
    ├── StorageError                        a `SessionStore` refused: locked, full, stopped; or its file failed
    └── StoreError
        ├── StoreUnavailable                no answer in time: nothing was written
        ├── OutcomeUnknown                  it cannot be known whether the write was made
        ├── DamagedRecord                   one record fails its check: that session is not served
        └── StoreDamaged                    the store itself cannot be read
"""

from __future__ import annotations

__all__ = [
    "CallbackLost",
    "ConfigurationError",
    "ConflictError",
    "DamagedRecord",
    "HistoryTrimmed",
    "MissingExtra",
    "NoWidgets",
    "OutcomeUnknown",
    "SessionClosed",
    "SessionGone",
    "SessionLeased",
    "SessionNotFound",
    "SojournError",
    "StorageError",
    "StoreDamaged",
    "StoreError",
    "StoreUnavailable",
    "TooLarge",
    "TooLate",
    "TooManyGuesses",
    "TooManySessions",
    "UnsupportedValue",
    "WidgetInstantiated",
]


class SojournError(Exception):
    """The root of the tree: ``except SojournError`` catches whatever this package raises on purpose."""


class ConfigurationError(SojournError, ValueError):
    """A setting that cannot work, or a store URL that cannot be understood. Raised at start, never later."""


class MissingExtra(SojournError, ImportError):
    """An optional dependency is not installed. The message is the command that installs it."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs an extra that is not installed: pip install 'sojourn[{extra}]'")
        self.extra = extra


class UnsupportedValue(SojournError, TypeError):
    """A value that cannot be kept, with the path to it. Nothing was written; what was stored stays as it was."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


class TooLarge(SojournError, ValueError):
    """A field or a whole session past its size limit, in bytes. Nothing was written."""

    def __init__(self, what: str, size: int, limit: int, setting: str) -> None:
        super().__init__(
            f"{what} takes {size:,} bytes and {setting} allows {limit:,}: nothing was written. "
            f"Keep large data elsewhere and its key in the session, or raise SessionConfig({setting}=...)"
        )
        self.size = size
        self.limit = limit


class SessionClosed(SojournError, RuntimeError):
    """A session object was used after its ``with`` block or its response. Load the session anew."""


class TooLate(SojournError, RuntimeError):
    """The client would need another id and can be sent none: its socket is open already. Nothing was written. Begin a
    session, sign in and rotate in an ordinary request, or before the socket is accepted."""


class TooManyGuesses(SojournError):
    """One address showed more ids of no session than ``guesses_per_second`` allows, and this one was not looked up.
    Adapters answer 429."""


class SessionNotFound(SojournError, KeyError):
    """There is no such session: unknown, malformed, ended or expired. Which of them is not said, on purpose."""

    def __str__(self) -> str:
        return "no such session: it is unknown, ended or expired"


class SessionGone(SojournError):
    """The session ended, expired or changed its user after it was loaded. What was to be committed is dropped."""


class ConflictError(SojournError):
    """Another writer was there and the two could not be reconciled in time. Nothing was written: try again."""


class SessionLeased(ConflictError):
    """Another holder has the session to itself (``exclusive``) and kept it past the deadline. Nothing was written."""


class TooManySessions(SojournError):
    """The user has as many sessions as ``max_sessions_per_user`` allows, and ``at_cap`` is "refuse"."""


class WidgetInstantiated(SojournError):
    """The script set the key of a widget or form that it had made before, which then shows another value already.
    Nothing was changed."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"the session state's {key!r} cannot be set after the widget or form with this key was made in the same "
            "run: set it before, or in a callback"
        )
        self.key = key


class NoWidgets(SojournError, TypeError):
    """A `SafeSessionState` over a plain mapping was asked about widgets, of which a mapping knows nothing."""

    def __init__(self) -> None:
        super().__init__("a plain mapping has no widgets: make the SafeSessionState of a SessionState")


class CallbackLost(SojournError):
    """A widget's callback, which is kept by its name and place in the code, is not found there any more: the code was
    changed, its module is not imported, or the reference is damaged. Nothing was called: make the widget anew."""


class HistoryTrimmed(SojournError):
    """Facts after the position that was asked for are no longer kept: history is bounded, by age and by size."""

    def __init__(self, position: int) -> None:
        super().__init__(
            "facts after this position are no longer kept: go on from the position of this error, and look at the "
            "sessions themselves for what was missed"
        )
        self.position = position
        """After which the oldest facts that are kept come."""


class StorageError(SojournError):
    """A `SessionStore` refused: the entry is locked, or all are and there is no room, or the store was stopped; or its
    file failed, which is then the cause. Nothing was written, unless the cause is an `OutcomeUnknown`."""


class StoreError(SojournError):
    """The store failed. Adapters answer 503 and leave the cookie as it is."""


class StoreUnavailable(StoreError):
    """The store gave no answer within the deadline, or refused (disk full, read-only). Nothing was written."""

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OutcomeUnknown(StoreError):
    """The write was sent and its reply never came: it may or may not have been made. Load and look."""

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final
        """Whether the store has sent it again for as long as there was time."""


class DamagedRecord(StoreError):
    """A record that fails its check. It is never served; the other sessions are not affected."""

    def __init__(self, handle: str, problem: str) -> None:
        super().__init__(
            f"the record of session {handle} is damaged ({problem}): it is not served. End it to remove it"
        )
        self.handle = handle


class StoreDamaged(StoreError):
    """The store as a whole cannot be read (truncated, overwritten, not ours). Nothing in it was changed."""
