"""What a store keeps, what a writer asks of it, and what it answers. Values only: frozen, and no behaviour beyond
reading themselves.

    Record      one session as the store holds it: metadata, and a map of field name to encoded value
    Delta       what one writer changed since it loaded a record
    Amendment   what one writer wants changed in the metadata: a new secret, a user, timeouts, a label
    outcomes    Committed, Gone, Conflict, Leased: the closed set of answers to a commit
    Change      one fact: created, changed, rotated, ended (and why), refused, overwritten
    Summary     what a list of sessions shows: never a secret
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Struct

from .ids import Handle

__all__ = [
    "KEEP",
    "VERSIONS_KEPT",
    "VERSION_BYTES",
    "Amendment",
    "Assign",
    "Cap",
    "Change",
    "ChangeKind",
    "Changed",
    "Committed",
    "Conflict",
    "Default",
    "Delta",
    "EndReason",
    "Gone",
    "Leased",
    "Op",
    "Outcome",
    "Previous",
    "Record",
    "Refused",
    "Summary",
    "Unset",
    "Update",
]

S = TypeVar("S", bound=Struct)

VERSION_BYTES: Final = 8
VERSIONS_KEPT: Final = 16

EndReason: TypeAlias = Literal["ended", "expired", "evicted", "revoked"]
ChangeKind: TypeAlias = Literal["created", "changed", "rotated", "ended", "refused", "overwritten", "missed"]


class Previous(Struct, frozen=True, gc=False, array_like=True):
    """Secrets that were replaced for age and still load for a while."""

    digests: tuple[bytes, ...]
    """At most two: the one the client showed, and one it may have been sent in a response that got lost."""
    settled_at: float | None = None
    """When the newest secret was first seen, in Unix seconds. The old ones end 30 s later; None: not seen yet."""


class Record(Struct, frozen=True, gc=False, array_like=True):
    """One session as a store holds it. Times are Unix seconds. (``gc=False``: it can't be part of a cycle.)"""

    handle: str
    secret_digest: bytes
    versions: bytes
    """The random ids of the last commits, 8 bytes each, newest first, at most 16."""
    user_id: str | None
    created_at: float
    authenticated_at: float
    rotated_at: float
    accessed_at: float
    idle_timeout: float
    touch_interval: float
    ends_at: float
    """The end of the absolute timeout."""
    size: int
    """Bytes of all names and encoded values."""
    fields: dict[str, bytes]
    generation: int = 0
    persistent: bool = False
    """Whether the cookie outlives the browser ("remember me")."""
    label: str | None = None
    previous: Previous | None = None
    fence: int = 0
    """The number of the last lease: it only grows."""
    leased_until: float = 0.0

    @property
    def version(self) -> bytes:
        """The random id of the last commit."""
        return self.versions[:VERSION_BYTES]

    @property
    def idle_for(self) -> float:
        """Seconds after the last recorded activity when the session is over: the touch interval is added, as
        activity within it is not recorded."""
        return self.idle_timeout + self.touch_interval

    @property
    def expires_at(self) -> float:
        """When the session is over if nothing more happens, in Unix seconds."""
        return min(self.accessed_at + self.idle_timeout + self.touch_interval, self.ends_at)

    def knows(self, version: bytes) -> bool:
        """Whether this commit is among the last 16 of this record."""
        at = self.versions.find(version)
        while at > 0 and at % VERSION_BYTES:  # found across two versions, which is no version
            at = self.versions.find(version, at + 1)
        return at >= 0


class Assign(Struct, frozen=True, gc=False):
    """A field was set as a whole."""

    value: bytes


class Default(Struct, frozen=True, gc=False):
    """A field was given a value because it had none (`setdefault`)."""

    value: bytes


class Unset(Struct, frozen=True, gc=False):
    """A field was deleted."""


class Changed(Struct, frozen=True, gc=False):
    """A value was changed in place: as it was, and as it is."""

    before: bytes
    after: bytes


class Update(Struct, frozen=True):
    """A function of the current value (None where there is none), run anew on each attempt."""

    function: Callable[[Any], Any]


Op: TypeAlias = Assign | Default | Unset | Changed | Update


class Delta(Struct, frozen=True):
    """What one writer did to the fields since it loaded `base`."""

    base: dict[str, bytes]
    """The fields as loaded: the very dict of the record, unless values were held over a commit that merged them."""
    ops: dict[str, tuple[Op, ...]]
    """For each field touched, what was done to it, in order."""
    local: dict[str, bytes | None]
    """For each field touched, its value here now; None: unset. Right as it stands if nobody else committed."""


class _Keep(Struct, frozen=True):
    """The type of `KEEP`."""


KEEP: Final = _Keep()
"""Leave this piece of metadata as it is."""


class Amendment(Struct, frozen=True, kw_only=True):
    """Changes of the metadata, asked for together with a delta and made in the same step."""

    secret_digest: bytes | None = None
    """A new secret; the old one is dead at once unless `for_age`."""
    shown_digest: bytes = b""
    """The secret that the client showed, for a rotation `for_age`."""
    for_age: bool = False
    login: bool = False
    """The user changes: a new generation, in which nothing loaded before may commit."""
    user_id: str | None = None
    cut_off: bool = False
    """The user stays, and it is a new generation all the same."""
    idle_timeout: float | None = None
    absolute_timeout: float | None = None
    persistent: bool | None = None
    label: str | _Keep | None = KEEP
    settled: bool = False
    """The newest secret was seen for the first time."""
    give_back: bool = False
    """The lease ends."""


class Cap(Struct, frozen=True):
    """How many live sessions there may be. Judged by the store in the same step as the commit that adds one."""

    per_user: int | None = None
    refuse: bool = False
    total: int | None = None


class Change(Struct, frozen=True, gc=False, kw_only=True):
    """One fact. `id` is the same however often it is told, and wherever."""

    id: str
    kind: ChangeKind
    at: float
    handle: str
    user_id: str | None = None
    reason: str | None = None
    """For "ended": ended, expired, evicted or revoked; for "refused": malformed, unknown, superseded or repeated;
    for "overwritten": the path; for "missed": history (facts that are no longer kept) or changes (of fields)."""
    fields: tuple[str, ...] | None = None
    """For "changed": the names of the fields that changed; None: not known, so look at all of them."""


class Committed(Struct, frozen=True):
    """The write was made, now or by an earlier attempt of the same commit."""

    record: Record
    facts: tuple[Change, ...] = ()


class Gone(Struct, frozen=True):
    """Nothing was written: the session ended, expired, is of another generation, or was never there."""


class Conflict(Struct, frozen=True):
    """Nothing was written: another commit came first. `record` is the session as it is now."""

    record: Record


class Leased(Struct, frozen=True):
    """Nothing was written: another holder has the session to itself. `record` is the session as it is now."""

    record: Record


class Refused(Struct, frozen=True):
    """Nothing was written: the user is at the cap, and the rule is to refuse."""


Outcome: TypeAlias = Committed | Gone | Conflict | Leased | Refused


class Summary(Struct, frozen=True, kw_only=True):
    """One row of a list of sessions. It can be shown to the session's user: there is no secret in it."""

    handle: Handle
    user_id: str | None
    label: str | None
    created_at: float
    last_accessed_at: float
    expires_at: float
    size: int

    @classmethod
    def of(cls, record: Record) -> Summary:
        """The row of a record."""
        return cls(
            handle=Handle(record.handle),
            user_id=record.user_id,
            label=record.label,
            created_at=record.created_at,
            last_accessed_at=record.accessed_at,
            expires_at=record.expires_at,
            size=record.size,
        )


def replace(value: S, **changes: Any) -> S:
    """The same with some of its attributes changed."""
    return msgspec.structs.replace(value, **changes)
