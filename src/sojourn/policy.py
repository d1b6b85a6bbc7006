"""Decisions about a record: is it over, is a touch or a rotation due, which secret was shown, may this commit pass.
Pure: time is the argument `now`, in Unix seconds, and nothing here does I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from hmac import compare_digest
from typing import Any, Final, Literal, TypeAlias

from .config import SessionConfig
from .errors import TooLarge
from .record import KEEP, Amendment, Committed, Conflict, Gone, Leased, Outcome, Previous, Record, replace

__all__ = [
    "GRACE",
    "Shown",
    "amend",
    "caught_up",
    "check_sizes",
    "guard",
    "is_over",
    "lease_refusal",
    "new_record",
    "rotation_due",
    "settling_due",
    "shown",
    "touch_due",
    "touched",
]

GRACE: Final = 30.0
"""Seconds for which a secret that was replaced for age still loads, after the new one was first seen."""


Shown: TypeAlias = Literal["current", "previous", "dead"]
"""What the secret that a client showed is to a record. "previous": it was replaced for age, and is still good."""


def new_record(
    handle: str, secret_digest: bytes, version: bytes, fields: dict[str, bytes], now: float, config: SessionConfig
) -> Record:
    """The record of a session that begins now."""
    return Record(
        handle=handle,
        secret_digest=secret_digest,
        versions=version,
        user_id=None,
        created_at=now,
        authenticated_at=now,
        rotated_at=now,
        accessed_at=now,
        idle_timeout=config.idle_timeout,
        touch_interval=config.touch_interval_for(config.idle_timeout),
        ends_at=now + config.absolute_timeout,
        size=sum(map(len, fields)) + sum(map(len, fields.values())),
        fields=fields,
        persistent=config.persistent,
    )


def is_over(record: Record, now: float) -> bool:
    """Whether the session has run into its idle or its absolute timeout."""
    return now >= record.ends_at or now >= record.accessed_at + record.idle_timeout + record.touch_interval


def touch_due(record: Record, now: float) -> bool:
    """Whether activity at `now` is to be recorded."""
    return now - record.accessed_at >= record.touch_interval


def touched(record: Record, at: float) -> Record:
    """The record with activity at this time: merged by maximum, so that a late touch takes nothing away."""
    return replace(record, accessed_at=at) if at > record.accessed_at else record


def caught_up(wanted: Record, current: Record) -> Record:
    """What is to replace `current`, with what may have moved on without a new version: activity is merged by maximum,
    and the lease is the later one."""
    if current.fence > wanted.fence:
        wanted = replace(wanted, fence=current.fence, leased_until=current.leased_until)
    return touched(wanted, current.accessed_at)


def shown(record: Record, digest: bytes, now: float) -> Shown:
    """Which secret of the record this is. Compared in constant time."""
    if compare_digest(record.secret_digest, digest):
        return "current"
    previous = record.previous
    if previous is None or (previous.settled_at is not None and now >= previous.settled_at + GRACE):
        return "dead"
    return "previous" if any(compare_digest(kept, digest) for kept in previous.digests) else "dead"


def settling_due(record: Record, seen: Shown) -> bool:
    """Whether this is the first sight of a secret that replaced another for age: from now the old one's grace runs."""
    return seen == "current" and record.previous is not None and record.previous.settled_at is None


def rotation_due(record: Record, now: float, rotate_after: float | None, *, seen: bool = False) -> bool:
    """Whether the secret is to be replaced for age. One that nobody has seen yet is left alone for the grace period
    only: its response may still be on the way, or lost. ``seen``: the newest secret is seen for the first time now."""
    if rotate_after is None:
        return False
    waiting = not seen and record.previous is not None and record.previous.settled_at is None
    return now - record.rotated_at >= (GRACE if waiting else rotate_after)


def amend(record: Record, wanted: Amendment, now: float, config: SessionConfig) -> Record:
    """The record with its metadata changed as wanted."""
    changes: dict[str, Any] = {}
    if wanted.secret_digest is not None:
        kept = Previous(_kept_digests(record, wanted.shown_digest)) if wanted.for_age else None
        changes.update(secret_digest=wanted.secret_digest, rotated_at=now, previous=kept)
    elif wanted.settled and record.previous is not None and record.previous.settled_at is None:
        changes["previous"] = Previous(record.previous.digests, now)
    if wanted.login:
        ends_at = now + config.absolute_timeout
        changes.update(user_id=wanted.user_id, generation=record.generation + 1, authenticated_at=now, ends_at=ends_at)
    elif wanted.cut_off:
        changes["generation"] = record.generation + 1
    if wanted.idle_timeout is not None:
        changes.update(idle_timeout=wanted.idle_timeout, touch_interval=config.touch_interval_for(wanted.idle_timeout))
    if wanted.absolute_timeout is not None:
        changes["ends_at"] = changes.get("authenticated_at", record.authenticated_at) + wanted.absolute_timeout
    if wanted.persistent is not None:
        changes["persistent"] = wanted.persistent
    if wanted.label is not KEEP:
        changes["label"] = wanted.label
    if wanted.give_back:
        changes["leased_until"] = 0.0
    return replace(record, **changes)


def _kept_digests(record: Record, shown_digest: bytes) -> tuple[bytes, ...]:
    """Which secrets go on loading after a rotation for age: the one that the client showed, and the newest, which it
    may have been sent in a response that is late."""
    if shown_digest == record.secret_digest:
        return (shown_digest,)
    return (shown_digest, record.secret_digest)


def check_sizes(fields: Mapping[str, bytes | None], size: int, config: SessionConfig) -> None:
    """`TooLarge` if one of these fields is, or a session of this size."""
    limit = config.max_field_bytes
    for name, data in fields.items():
        if data is not None and len(data) > limit:
            raise TooLarge(f"the field {name!r}", len(data), limit, "max_field_bytes")
    if size > config.max_session_bytes:
        raise TooLarge("the session", size, config.max_session_bytes, "max_session_bytes")


def guard(current: Record | None, base: Record, wanted: Record, now: float, fence: int = 0) -> Outcome | None:
    """May `wanted`, made from `base`, replace `current`? None: it may. This is the compare in compare-and-set; a store
    may decide the same in its own language, in the same order.

    `fence` is the number of the lease that the committer holds, 0 for none. Which record of the session `base` was is
    told by its version alone: a touch changes no version.
    """
    if current is None:
        return Gone()
    unchanged = current is base or current.version == base.version
    if not unchanged and current.knows(wanted.version):
        return Committed(current)
    if current.generation != base.generation or is_over(current, now):
        return Gone()
    if fence != current.fence if fence else current.leased_until > now:
        return Leased(current)
    return None if unchanged else Conflict(current)


def lease_refusal(current: Record | None, generation: int, now: float) -> Gone | Leased | None:
    """May the lease of a session be taken, whatever its version? None: it may."""
    if current is None or current.generation != generation or is_over(current, now):
        return Gone()
    return Leased(current) if current.leased_until > now else None
