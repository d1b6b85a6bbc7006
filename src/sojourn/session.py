"""`Session`: a mapping that remembers its own delta, and what the session is besides its fields. No I/O, except for
`save`, which is handed in by a manager.

A session is loaded once. What comes out is the `Delta` of its fields and, if the metadata changes too, an `Amendment`;
who commits them, and when, is not decided here.

A session object belongs to one request (or block). Its threads may share it for reading; two threads that write
need a session object each, and the engine merges what they do.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from msgspec import Struct

from . import ids
from .codec import Codec
from .config import SessionConfig, seconds
from .errors import UnsupportedValue
from .fields import Fields, is_unicode
from .ids import Handle
from .record import KEEP, Amendment, Delta, Record, replace

__all__ = [
    "STATE",
    "TICKETS",
    "AsyncSession",
    "BaseSession",
    "Context",
    "PlainAsyncSession",
    "PlainSession",
    "Presented",
    "Session",
    "checked_label",
    "checked_user_id",
]

TICKETS: Final = "_tickets"
"""The field of the tickets that let sockets in (see `sojourn.tickets`)."""

_LONGEST_LABEL: Final = 200  # characters

STATE: Final = (
    "_amendment",
    "_codec",
    "_context",
    "_fields",
    "_lent",
    "_ops",
    "_phase",
    "_record",
    "_secret",
    "_shown",
    "_values",
    "accessed",
    "fence",
    "kept",
    "loaded_at",
    "outside",
    "passive",
    "presented",
    "unsent",
)
"""The slots of a session class. There are slots, so that ``session.theme = "dark"`` raises: it would be no field, and
be lost. They stand in the classes that are made, not in those that these derive from, so that one of a framework's can
be what that framework asks for besides."""

Presented: TypeAlias = Literal["nothing", "malformed", "repeated", "unknown", "superseded", "guessing", "live"]
"""What a client presented as its session id.

    malformed    not of the form of an id: no store was asked
    repeated     two cookies of our name that differ: neither can be trusted
    unknown      of the right form, and no such session: it ended, it expired, or it never was
    superseded   the session is alive and the secret is not its own (any more): a rotation, or a guess
    guessing     unknown or superseded, like too many before it from the same address
    live         the id of a live session
"""


class Context(Struct, frozen=True):
    """What all sessions of a manager share."""

    codec: Codec
    config: SessionConfig
    save: Callable[[BaseSession], Any]


class BaseSession(Fields):
    """One visitor's state, as loaded for one request or block: a dict with `get`, `set`, `delete`, `has`, `clear`.

    Field names are strings. Values keep their types (see `sojourn.register` for your own); what cannot be stored is
    refused with `UnsupportedValue`, when it is set or at the commit, and the stored session stays as it was. After
    its block or response every use raises `SessionClosed`.
    """

    if not TYPE_CHECKING:  # to a type checker they would be all that there is
        __slots__ = ()  # the classes that are made have `STATE`, and what their framework adds

    def __init__(self, context: Context, record: Record, secret: str, now: float, presented: Presented) -> None:
        Fields.__init__(self, context.codec, record)  # each request pays for super()
        self._context = context
        self._secret = self._shown = secret
        self._amendment: Amendment | None = None
        self.kept = False
        """Whether it is to be stored although nothing was put in (see `keep`)."""
        self.passive = False
        """Set it to True where a request is not the visitor's doing (a page that polls): it then does not count as
        activity, unless it changes something."""
        self.outside = False
        """Set it to True where all of it is somebody else's doing (an operator's, the program's own): then it does not
        count as activity even if it changes something."""
        self.fence = 0
        """The number of the lease that this object holds; 0: none."""
        self.unsent = False
        """Whether the client is still to be sent an id that `save` has committed."""
        self.loaded_at = now
        """When it was loaded, in Unix seconds."""
        self.presented = presented
        """What the id was that a client presented."""

    def __repr__(self) -> str:
        self.accessed = True
        name, state = type(self).__name__.removeprefix("Plain"), "" if self._phase == "open" else f", {self._phase}"
        return f"<{name} {self._record.handle}, {len(self._fields)} fields as loaded{state}>"

    # --- What the session is -------------------------------------------------------------------------------------

    @property
    def handle(self) -> Handle:
        """The session's public name: safe to log and to list."""
        self._look()
        if not self._record.handle:
            self.identify()
        return Handle(self._record.handle)

    @property
    def session_id(self) -> str:
        """What the client carries, secret in whole. After `rotate` or `login` it is the new one, which is good once
        the change is committed. Empty for a session that was opened by its handle."""
        self._look()
        if not self._record.handle:
            self.identify()
        return ids.join(self._record.handle, self._secret) if self._secret else ""

    @property
    def user_id(self) -> str | None:
        """Who is signed in; None: nobody."""
        self._look()
        wanted = self._amendment
        return wanted.user_id if wanted is not None and wanted.login else self._record.user_id

    @property
    def label(self) -> str | None:
        """What lists show for the device or the place; None where there is none. May be set."""
        self._look()
        wanted = self._amendment
        if wanted is None or wanted.label is KEEP:
            return self._record.label
        return wanted.label if isinstance(wanted.label, str) else None

    @label.setter
    def label(self, label: str | None) -> None:
        if label and not is_unicode(label):
            raise UnsupportedValue("label", "a label is a string of Unicode text")
        if label != self.label:
            self._amend(label=None if label is None else checked_label(label))

    @property
    def created_at(self) -> float:
        """When the session was created, in Unix seconds."""
        self._look()
        return self._record.created_at

    @property
    def authenticated_at(self) -> float:
        """When somebody last signed in, in Unix seconds; the time of creation if nobody did."""
        self._look()
        return self._record.authenticated_at

    @property
    def auth_age(self) -> float | None:
        """Seconds since the user signed in, as the server's clock has it; None if nobody is signed in. For steps that
        want a fresh sign-in: ``if session.auth_age is None or session.auth_age > 300``. Only signing in again (`login`)
        makes it young."""
        if self.user_id is None:
            return None
        wanted = self._amendment
        return 0.0 if wanted is not None and wanted.login else max(0.0, self.loaded_at - self._record.authenticated_at)

    @property
    def last_accessed_at(self) -> float:
        """The last recorded activity before this one, in Unix seconds: exact to the touch interval."""
        self._look()
        return self._record.accessed_at

    @property
    def expires_at(self) -> float:
        """When the session is over if this is the last activity, in Unix seconds."""
        self._look()
        idle_ends_at = max(self._record.accessed_at, self.loaded_at) + self._record.idle_timeout
        return min(idle_ends_at, self._record.ends_at) if self.stored else idle_ends_at

    @property
    def is_new(self) -> bool:
        """Whether it is stored nowhere yet."""
        self._look()
        return not self.stored

    @property
    def modified(self) -> bool:
        """Whether there is something to commit, told from the values: there is no need to set it. That is allowed,
        as users of other libraries do it, and changes nothing. Costs an encoding of each mutable value that
        was read."""
        return self._amendment is not None or self.delta() is not None

    @modified.setter
    def modified(self, value: bool) -> None:
        pass

    @property
    def closed(self) -> bool:
        """Whether its block or response is over. Everything else raises `SessionClosed` then."""
        return self._phase == "closed"

    @property
    def ended(self) -> bool:
        """Whether it was ended here."""
        return self._phase == "ended"

    # --- What can be asked for: carried out at the commit ----------------------------------------------------------

    def rotate(self) -> str:
        """Replace the secret: same session, same handle. Returns the new session id, good once this is committed; the
        old one is dead from then on."""
        self.identify()
        secret = ids.mint_secret()
        self._amend(secret_digest=ids.digest(secret), for_age=False)
        self._secret = secret
        return self.session_id

    def login(self, user_id: str) -> str:
        """The user changes: rotate, and cut off everything that was loaded before. Fields stay. Returns the new
        session id, good once this is committed. The absolute timeout starts anew."""
        if not isinstance(user_id, str) or not user_id or not is_unicode(user_id):
            raise UnsupportedValue("user_id", "a user id is a non-empty string of Unicode text")
        new_id = self.rotate()
        self._amend(login=True, user_id=user_id)
        self.delete(TICKETS)  # who got one before is not to come in behind the sign-in
        return new_id

    def cut_off(self) -> None:
        """Rotate, and cut off everything that was loaded before, as `login` does, for the same user: sockets that are
        open are closed, tickets are worthless, and what others have under way does not commit."""
        self.rotate()
        self._amend(cut_off=True)
        self.delete(TICKETS)

    def keep(self) -> None:
        """Store the session, though nothing was put in: the visitor gets a cookie, and is known at the next request.
        Nothing happens if it is stored already."""
        self._look()
        self.kept = True

    def end(self) -> None:
        """End the session, for good: nothing loaded before can bring it back. Any further use raises."""
        self._look()
        self._phase = "ended"

    def set_timeouts(
        self,
        *,
        idle: float | timedelta | None = None,
        absolute: float | timedelta | None = None,
        persistent: bool | None = None,
    ) -> None:
        """Timeouts for this session only, in seconds; None leaves one as it is. ``persistent`` lets the cookie outlive
        the browser ("remember me"), for as long as the absolute timeout runs."""
        self._amend(
            idle_timeout=None if idle is None else seconds(idle, "idle"),
            absolute_timeout=None if absolute is None else seconds(absolute, "absolute"),
            persistent=persistent,
        )

    # --- For managers and adapters ---------------------------------------------------------------------------------

    @property
    def record(self) -> Record:
        """The record as loaded or last committed."""
        return self._record

    @property
    def stored(self) -> bool:
        """Whether there is a record of it: `is_new`, for those who do not look on the client's behalf."""
        return bool(self._record.versions)

    @property
    def secret(self) -> str:
        """The secret; after a rotation the new one. Empty where it is not known."""
        return self._secret

    @property
    def shown_secret(self) -> str:
        """The secret that the client showed; empty where it showed none."""
        return self._shown

    @property
    def amendment(self) -> Amendment | None:
        """The changes of metadata that were asked for."""
        return self._amendment

    @property
    def untouched(self) -> bool:
        """Whether nothing was done that could ask for a commit: a quick test for the many sessions that are only
        read."""
        quiet = self._amendment is None and self._phase == "open" and not (self.kept and not self.stored)
        return quiet and not self._lent and not self._ops

    @property
    def rotated(self) -> bool:
        """Whether the client must be sent another id than it showed."""
        return self._secret != self._shown

    def identify(self) -> None:
        """Give a new session its handle and its secret, as soon as somebody asks for either."""
        if not self._record.handle:
            handle, self._secret = ids.mint(self._context.config.handle_form, self.loaded_at)
            self._record = replace(self._record, handle=handle)

    def rotate_for_age(self) -> None:
        """Replace the secret, and let the old one go on for a while."""
        self.rotate()
        self._amend(for_age=True, shown_digest=ids.digest(self._shown))

    def settle_secret(self) -> None:
        """Note that the newest secret was seen: the grace of those before it begins to run."""
        self._amendment = Amendment(settled=True)

    def give_back(self) -> None:
        """Give the lease back in the next commit."""
        self._amend(give_back=True)

    def committed(self, record: Record) -> None:
        """Note the record as it was committed. A rotation for age that a parallel request was quicker to make is
        none of ours: the client keeps what it showed."""
        wanted = self._amendment
        if wanted is not None and wanted.for_age and record.secret_digest != wanted.secret_digest:
            self._secret = self._shown
        self._record = record

    def rebase(self, delta: Delta | None, amendment: Amendment | None) -> None:
        """Go on from a commit of this delta and amendment. What happened here while it was under way stays to be
        committed."""
        if delta is None and amendment is None and self._amendment is None and not self._values:
            return
        self._go_on(delta)
        if self._amendment is amendment:
            self._amendment = None
            self._shown = self._secret

    def discard(self) -> None:
        """Forget what was changed and asked for, and not committed."""
        if self._phase == "ended":
            self._phase = "open"
        if self.stored:
            self._secret = self._shown
        self.kept = False
        self._amendment = None
        self._drop()

    def start_over(self, blank: Record) -> None:
        """Go on as a session that is stored nowhere yet, as if the client had shown no id."""
        self.discard()
        self._record = blank
        self._fields = blank.fields
        self._secret = self._shown = ""
        self.presented = "nothing"

    def close(self) -> None:
        """Make every further use raise `SessionClosed`."""
        self._phase = "closed"

    def _amend(self, **changes: Any) -> None:
        self._look()
        wanted = self._amendment
        before = {name: getattr(wanted, name) for name in Amendment.__struct_fields__} if wanted is not None else {}
        given = {name: value for name, value in changes.items() if value is not None or name == "label"}
        self._amendment = Amendment(**{**before, **given})


def checked_user_id(user_id: object) -> str:
    """The user id, if it is one: text that is not empty. Else `UnsupportedValue`."""
    return _checked_text("user_id", user_id, empty=False)


def checked_label(label: object) -> str:
    """The label, cut to its longest. `UnsupportedValue` if it is no text."""
    return _checked_text("label", label)[:_LONGEST_LABEL]


def _checked_text(path: str, text: object, *, empty: bool = True) -> str:
    if not isinstance(text, str) or not (text or empty):
        raise UnsupportedValue(path, "it must be a string" if empty else "it must be a string that is not empty")
    if not is_unicode(text):
        raise UnsupportedValue(path, "text with lone surrogates is not Unicode and cannot be stored")
    return text


class Session(BaseSession):
    """The session that a `SessionManager` hands out."""

    if not TYPE_CHECKING:
        __slots__ = ()

    def save(self) -> None:
        """Commit what changed so far, now; the block goes on. Nothing happens if nothing changed. Raises
        `SessionGone`, `ConflictError`, `StoreUnavailable` and `OutcomeUnknown`."""
        if self._phase != "open":
            self._refuse()
        self._context.save(self)


class AsyncSession(BaseSession):
    """The session that an `AsyncSessionManager` hands out."""

    if not TYPE_CHECKING:
        __slots__ = ()

    async def save(self) -> None:
        """Commit what changed so far, now; the block goes on. Nothing happens if nothing changed. Raises
        `SessionGone`, `ConflictError`, `StoreUnavailable` and `OutcomeUnknown`."""
        if self._phase != "open":
            self._refuse()
        await self._context.save(self)


class PlainSession(Session):
    """A `Session` with nothing added."""

    __slots__ = STATE


class PlainAsyncSession(AsyncSession):
    """An `AsyncSession` with nothing added."""

    __slots__ = STATE
