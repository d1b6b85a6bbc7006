"""Changing a session from outside: its fields, its timeouts, its secret, its end. Each is an ordinary commit of what
was edited and of nothing else, which merges with whatever others commit meanwhile.

Rules:
    found again   what is to be edited is looked for by its path in the session as it is when the commit is made. If it
                  is gone, or (where the operator says what was ``seen``) another by now, nothing is written
    its type      a date stays a date, an attribute of an object keeps its type: what is of another is refused
    hidden        what is redacted can be replaced or deleted, and is never read: no outcome depends on what it is, and
                  no edit may bring it into the open
    our own       fields of the machinery (tickets, widgets, query parameters) are not edited here: who could write a
                  ticket or a callback could be the visitor
    told          each call is one line of the audit, with its outcome. No value is in it, nor a path, nor a new id
    read-only     refuses everything

That an operator edits is no activity of the visitor: the session ends no later for it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from math import isfinite
from typing import Any, Final, TypeVar

from ..codec import Codec
from ..errors import (
    ConfigurationError,
    ConflictError,
    DamagedRecord,
    OutcomeUnknown,
    SessionGone,
    SessionNotFound,
    SojournError,
    StoreUnavailable,
    TooLarge,
    UnsupportedValue,
)
from ..ids import is_handle
from ..live.kept import FIELDS
from ..manager import AsyncSessionManager
from ..policy import is_over
from ..session import TICKETS, BaseSession
from ..state.widgets import INTERNAL_PREFIX
from .audit import Audit
from .fields import hidden_steps, is_as_seen
from .redaction import Redaction, holds_an_id
from .shapes import GONE, EditRefused, Member, Path, Shape, changed_at, check, field_named, opened, rebuilt, unpack
from .typed import type_of

__all__ = ["EditRefused", "Editor", "ReadOnly", "is_own"]

T = TypeVar("T")

_codec: Final = Codec()
_FREE: Final = frozenset({"None", "bool", "int", "float", "str", "list", "dict"})
"""Types of which one can take another's place. What is of any other keeps its type."""
_NOT_THERE: Final = "this is not there any more: look again"
_ANOTHER: Final = "this is another value by now: look again"
_OUTCOMES: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (EditRefused, "refused"),
    (SessionNotFound, "gone"),
    (SessionGone, "gone"),
    (ConflictError, "conflict"),
    (OutcomeUnknown, "unknown"),
    (StoreUnavailable, "unavailable"),
    (DamagedRecord, "damaged"),
    (TooLarge, "too large"),
    (UnsupportedValue, "refused"),
)


class ReadOnly(SojournError):
    """The dashboard only shows: nothing was changed."""

    def __init__(self) -> None:
        super().__init__("this dashboard is read-only: nothing was changed")


def is_own(name: str) -> bool:
    """Whether a field is the machinery's, and not the application's."""
    return name == TICKETS or name.startswith((FIELDS, INTERNAL_PREFIX))


class Editor:
    """What operators can do to the sessions of a manager. Sessions go by their handles.

    Each raises `ReadOnly` where nothing may be changed; `SessionNotFound` for a session that is unknown, ended or
    expired; `EditRefused` for what cannot be done, in words for the operator; and what a commit raises: `SessionGone`
    (it ended or changed hands meanwhile), `ConflictError`, `TooLarge`, `StoreUnavailable` (nothing was written), or
    `OutcomeUnknown`.

    ``generation`` is that of the record which the operator saw: if the session's user has changed since, it is
    `SessionGone`, and what was meant for one user is not done to another.
    """

    def __init__(
        self,
        engine: AsyncSessionManager,
        audit: Audit,
        read_only: bool = False,
        *,
        redaction: Redaction | None = None,
    ) -> None:
        self.read_only = read_only
        self._engine = engine
        self._audit = audit
        self._redaction = redaction or Redaction()

    # --- Fields ------------------------------------------------------------------------------------------------------

    async def set_value(
        self, operator: str, handle: str, path: Path, value: Any, *, seen: str = "", generation: int | None = None
    ) -> None:
        """Give what is at a path another value. ``seen`` is `Node.seen` of what the operator saw there: without it,
        whatever is there is replaced."""

        def change(session: BaseSession) -> None:
            raw = _stored(value)
            name = self._field(session, path)
            replace = partial(self._replaced, raw, seen if not self._redaction.hides(name) else "")
            if len(path) > 1:
                session.update(name, partial(self._edited, path[1:], replace))
            elif _is_readable(session, name):
                was_there = session.record.fields[name] != _NOTHING
                session.update(name, partial(self._edited, (), partial(_still_there, was_there, replace)))
            else:
                session[name] = value  # what cannot be read has nothing that could be merged

        await self.change(operator, "set", handle, change, generation)

    async def add(
        self, operator: str, handle: str, path: Path, name: str, value: Any, *, generation: int | None = None
    ) -> None:
        """Put in something more: at the path (), a field; in a dict, a key; at the end of a list or tuple, or in a set,
        a member (``name`` is empty then). `EditRefused` if there is something of this name."""

        def change(session: BaseSession) -> None:
            raw = _stored(value)
            if path:
                field = self._field(session, path)
                session.update(field, partial(self._edited, path[1:], partial(self._extended, name, raw)))
                return
            if not name or is_own(name):
                raise EditRefused("a field needs a name that is not of Sojourn's own")
            if name in session.record.fields:
                raise EditRefused("there is a field of this name already")
            session.update(name, partial(_new, value))

        await self.change(operator, "add", handle, change, generation)

    async def delete(
        self, operator: str, handle: str, path: Path, *, seen: str = "", generation: int | None = None
    ) -> None:
        """Delete what is at a path: a field, a key, a member. ``seen`` is as in `set_value`."""

        def change(session: BaseSession) -> None:
            name = self._field(session, path)
            if len(path) > 1:
                session.update(name, partial(self._edited, path[1:], partial(self._deleted, seen)))
                return
            if seen and not self._redaction.hides(name) and _is_readable(session, name):
                _compare(unpack(session.record.fields[name]), seen)
            session.delete(name)

        await self.change(operator, "delete", handle, change, generation)

    # --- The session -------------------------------------------------------------------------------------------------

    async def rotate(self, operator: str, handle: str, *, generation: int | None = None) -> None:
        """Replace the secret, at once, by one that is told to nobody: whoever holds the id, thief or visitor, is out,
        sockets that are open are closed, and what is under way does not commit. The fields stay."""
        await self.change(operator, "rotate", handle, lambda session: session.cut_off(), generation)

    async def extend(
        self,
        operator: str,
        handle: str,
        *,
        idle: float | None = None,
        absolute: float | None = None,
        generation: int | None = None,
    ) -> None:
        """Another idle timeout, of ``idle`` seconds; the end at the latest in ``absolute`` seconds from now, however
        active it is. None leaves one as it is. It may be less than before, too."""

        def change(session: BaseSession) -> None:
            if idle is None and absolute is None:
                raise EditRefused("say for how long")
            if not all(isfinite(length) for length in (idle, absolute) if length is not None):
                raise EditRefused("a session has an end")
            try:
                session.set_timeouts(idle=idle, absolute=absolute)
                if absolute is not None:  # it counts from the sign-in
                    session.set_timeouts(absolute=absolute + max(0.0, session.loaded_at - session.authenticated_at))
            except ConfigurationError:
                raise EditRefused("a timeout is a number of seconds, more than none") from None

        await self.change(operator, "extend", handle, change, generation)

    async def set_label(self, operator: str, handle: str, label: str | None, *, generation: int | None = None) -> None:
        """What lists show for the device, at most 200 characters; None or empty: nothing."""

        def change(session: BaseSession) -> None:
            if label and holds_an_id(label):
                raise EditRefused("this looks like the id of a session, which is not to be shown in lists")
            session.label = label or None

        await self.change(operator, "label", handle, change, generation)

    async def end(self, operator: str, handle: str) -> bool:
        """End a session, for good, as "revoked"; one with a damaged record, too. Returns whether there was one."""

        async def work() -> bool:
            if not is_handle(handle):
                return False
            ended = await self._engine.store.end([handle], "revoked", self._engine.clock())
            self._engine.tell(ended)
            return bool(ended)

        return await self.audited(operator, "end", handle, work, lambda there: "done" if there else "gone")

    async def end_user(self, operator: str, user_id: str) -> int:
        """End all sessions of a user, for good, as "revoked". Returns how many there were."""

        async def work() -> int:
            if not user_id:
                raise EditRefused("say whose sessions are to end")
            return await self._engine.end_user_sessions(user_id)

        return await self.audited(operator, "end user", None, work, lambda count: f"done: {count}")

    # --- For panels --------------------------------------------------------------------------------------------------

    async def change(
        self,
        operator: str,
        action: str,
        handle: str,
        change: Callable[[BaseSession], None],
        generation: int | None = None,
    ) -> None:
        """Load a session, change it, and commit that; a line of the audit. Raises as all do here."""

        async def work() -> None:
            session = await self._load(handle, generation)
            try:
                change(session)
                await self._engine.finish(session)
            finally:
                session.close()

        await self.audited(operator, action, handle, work)

    async def audited(
        self,
        operator: str,
        action: str,
        handle: str | None,
        work: Callable[[], Awaitable[T]],
        outcome: Callable[[T], str] = lambda _: "done",
    ) -> T:
        """Do something, unless nothing may be changed; a line of the audit with what came of it."""
        if self.read_only:
            self._audit.act(operator, action, handle, "refused: read-only")
            raise ReadOnly
        try:
            done = await work()
        except BaseException as error:  # a task that was cancelled, too, may have changed something
            self._audit.act(operator, action, handle, _outcome(error))
            raise
        self._audit.act(operator, action, handle, outcome(done))
        return done

    async def _load(self, handle: str, generation: int | None) -> BaseSession:
        """The session, by its handle. An operator's look is no activity of the visitor's, and no id that is refused."""
        record = await self._engine.store.load(handle) if is_handle(handle) else None
        if record is None or is_over(record, self._engine.clock()):
            raise SessionNotFound
        if generation is not None and record.generation != generation:
            raise SessionGone("the session's user has changed since you looked: nothing was written")
        session = self._engine.resume(record)
        session.outside = True
        return session

    # --- Edits: functions of what is there when the commit is made ---------------------------------------------------

    def _field(self, session: BaseSession, path: Path) -> str:
        """The name of the field that a path begins with."""
        name = field_named(session.record.fields, path[0]) if path else None
        if name is None:
            raise EditRefused(_NOT_THERE)
        if is_own(name):
            raise EditRefused("this field is Sojourn's own: it is not edited here")
        if len(path) > 1 and self._redaction.hides(name):
            raise EditRefused("this is not shown: it can be replaced or deleted as a whole")
        if len(path) > 1 and not _is_readable(session, name):
            raise EditRefused(
                "the field is damaged, or holds a type of the application that is not registered in this process: it "
                "can be replaced or deleted as a whole"
            )
        return name

    def _edited(self, steps: Path, change: Callable[[Any, bool, str], Any], current: Any) -> Any:
        """A field's value with one part of it changed. ``change`` is given what is there, whether it is hidden, and the
        form of what it is in."""
        raw = unpack(_codec.encode("value", current))
        return _codec.decode("value", check(self._at(raw, steps, change, hidden=False, form="")))

    def _at(self, raw: Any, steps: Path, change: Callable[[Any, bool, str], Any], *, hidden: bool, form: str) -> Any:
        if not steps:
            return change(raw, hidden, form)
        if hidden:
            raise EditRefused("this is not shown: it can be replaced or deleted as a whole")
        before = opened(raw)
        kept = hidden_steps(before, self._redaction)
        after = changed_at(
            raw,
            steps[:1],
            lambda member: self._at(member, steps[1:], change, hidden=steps[0] in kept, form=before.form),
        )
        self._keep_hidden(before, kept, steps[0], after)
        return after

    def _keep_hidden(self, before: Shape, kept: set[str], step: str, after: Any) -> None:
        """Refuse what would bring into the open what was hidden for where it was."""
        if not kept or after is GONE:
            return
        shape = opened(after)
        if before.form == "list":
            shown = step not in kept  # the name beside it, or its place, would be another
        else:
            there = {member.step for member in shape.members or ()}
            shown = bool((kept & there) - hidden_steps(shape, self._redaction))
        if shown:
            raise EditRefused("this would show what is hidden: delete that first")

    def _replaced(self, raw: Any, seen: str, current: Any, hidden: bool, form: str) -> Any:
        if form == "set":
            raise EditRefused("a member of a set is added or deleted, and not changed")
        if seen and not hidden:
            _compare(current, seen)
        was, wanted = opened(current), opened(raw)
        before = was.type
        if before != wanted.type and (before not in _FREE or (form == "object" and before != "None")):
            raise EditRefused(f"this is of the type {type_of(was)}: what you gave is of the type {type_of(wanted)}")
        return raw

    def _deleted(self, seen: str, current: Any, hidden: bool, form: str) -> Any:
        if seen and not hidden:
            _compare(current, seen)
        return GONE

    def _extended(self, name: str, raw: Any, current: Any, hidden: bool, form: str) -> Any:
        if hidden:
            raise EditRefused("this is not shown: it can be replaced or deleted as a whole")
        shape = opened(current)
        if shape.members is None or shape.form == "object":
            raise EditRefused(f"nothing can be added to a value of the type {type_of(shape)}")
        kept = hidden_steps(shape, self._redaction)
        if shape.form != "dict":
            after = rebuilt(current, shape, [*shape.members, Member("", None, raw)])
        elif not name:
            raise EditRefused("a key is needed")
        elif any(member.key == name for member in shape.members):
            raise EditRefused("there is something of this name already")
        else:
            after = rebuilt(current, shape, [*shape.members, Member("", name, raw)])
        self._keep_hidden(shape, kept, "", after)
        return after


_NOTHING: Final = _codec.encode("value", None)


def _stored(value: Any) -> Any:
    """A new value as it is to be stored. `EditRefused` for what cannot be."""
    try:
        return unpack(_codec.encode("value", value))
    except UnsupportedValue as error:
        raise EditRefused(error.problem) from None


def _is_readable(session: BaseSession, name: str) -> bool:
    try:
        _codec.decode(name, session.record.fields[name])
    except (ValueError, UnsupportedValue):
        return False
    return True


def _still_there(
    was_there: bool, change: Callable[[Any, bool, str], Any], current: Any, hidden: bool, form: str
) -> Any:
    """A field that was deleted meanwhile shows as None here: it is not to come back."""
    if current is None and was_there:
        raise EditRefused(_NOT_THERE)
    return change(current, hidden, form)


def _new(value: Any, current: Any) -> Any:
    if current is not None:
        raise EditRefused("there is a field of this name already")
    return value


def _compare(raw: Any, seen: str) -> None:
    """`EditRefused` if something else is there than was seen."""
    if not is_as_seen(raw, seen):
        raise EditRefused(_ANOTHER)


def _outcome(error: BaseException) -> str:
    if not isinstance(error, Exception):
        return "unknown"  # cut off in the midst of it
    return next((word for kind, word in _OUTCOMES if isinstance(error, kind)), "failed")
