"""A record as one string in Valkey or Redis. Pure.

The head stands at fixed places, because the scripts read it, and its second part they also write, in place; a check of
its own covers that part. The rest is covered by the CRC, which begins with the handle, so that the record of another
session is noticed as well. All numbers are big-endian; times are doubles in Unix seconds.

    at  bytes
     0      1  the format, 1
     1      4  CRC-32 of the handle and of everything from byte 33 on
     5      8  accessed_at    \\
    13      8  leased_until   |  written by scripts: a touch, a lease, a commit that meets a later touch,
    21      4  fence          |  the creation and the end of all sessions
    25      4  epoch          |
    29      4  check of these /
    33      8  version
    41      4  generation
    45      8  idle_for
    53      8  ends_at
    61      1  length of the user id in UTF-8; 254: it stands in the next 4 bytes; 255: no user
            n  the user id
            n  the rest of the record as a MessagePack array; a time that equals the creation is None there

Small, as most sessions are: 133 bytes beside the names and values of the fields. In a large one the older versions are
filled up to their full number, so that a commit moves nothing, and only what differs need be sent.
"""

from __future__ import annotations

import struct
from math import floor
from typing import Any, Final
from zlib import crc32

import msgspec
from msgspec import Struct

from ..errors import DamagedRecord
from ..record import VERSION_BYTES, VERSIONS_KEPT, Previous, Record

__all__ = ["HEAD", "LARGE", "Large", "differences", "head_of", "seal", "unseal", "version_of"]

HEAD: Final = 61
"""Bytes of the head before the user."""

_FORMAT: Final = 1
_NO_USER: Final = b"\xff"
_LONG: Final = 254
_mutable: Final = struct.Struct(">ddIII")
_fixed: Final = struct.Struct(f">{VERSION_BYTES}sIdd")
_whole: Final = struct.Struct(f">BIddIII{VERSION_BYTES}sIddB")
_length: Final = struct.Struct(">I")
_CHECKED_FROM: Final = 33
LARGE: Final = 8192
"""Bytes of fields from which on a record is large."""
_OLDER: Final = (VERSIONS_KEPT - 1) * VERSION_BYTES
_KEPT: Final = 64  # blobs of large records
_SLICE: Final = 1024  # bytes that are compared at once
_FINEST: Final = 1 << 22  # of a second: what a double holds of today's times


class _Rest(Struct, array_like=True, frozen=True, gc=False):
    """What the head does not hold."""

    secret_digest: bytes
    older_versions: bytes
    created_at: float
    authenticated_at: float | None
    rotated_at: float | None
    idle_timeout: float
    touch_interval: float
    persistent: bool
    label: str | None
    previous: Previous | None
    size: int
    fields: dict[str, bytes]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Rest).decode


def head_of(record: Record, epoch: int = 0) -> bytes:
    """The part of the head that scripts write, from byte 5 on."""
    accessed_at, leased_until, fence = record.accessed_at, record.leased_until, record.fence
    return _mutable.pack(accessed_at, leased_until, fence, epoch, _check(accessed_at, leased_until, fence, epoch))


def seal(record: Record) -> bytes:
    """The record as bytes, of epoch 0: the script that stores it writes the right one."""
    created_at = record.created_at
    user = b"" if record.user_id is None else record.user_id.encode()
    rest = _encode(
        _Rest(
            record.secret_digest,
            _filled(record.versions[VERSION_BYTES:], record.size),
            created_at,
            None if record.authenticated_at == created_at else record.authenticated_at,
            None if record.rotated_at == created_at else record.rotated_at,
            _short(record.idle_timeout),
            _short(record.touch_interval),
            record.persistent,
            record.label,
            record.previous,
            record.size,
            record.fields,
        )
    )
    parts = (
        _fixed.pack(record.version, record.generation, record.idle_for, record.ends_at),
        _prefix(record, user),
        rest,
    )
    checked = b"".join(parts)
    crc = crc32(checked, crc32(record.handle.encode()))
    return b"".join((_FORMAT.to_bytes(1, "big"), crc.to_bytes(4, "big"), head_of(record), checked))


def unseal(handle: str, blob: bytes) -> tuple[Record, int]:
    """The record in a blob, and its epoch. `DamagedRecord` if it fails a check, is of a format that this version does
    not know, or is another session's."""
    if not isinstance(blob, bytes) or len(blob) <= HEAD or blob[0] != _FORMAT:
        raise DamagedRecord(handle, "it is of an unknown format")
    _, crc, accessed_at, leased_until, fence, epoch, check, version, generation, _, ends_at, length = (
        _whole.unpack_from(blob)
    )
    if crc32(memoryview(blob)[_CHECKED_FROM:], crc32(handle.encode())) != crc:
        raise DamagedRecord(handle, "its check fails, or it is the record of another session")
    if _check(accessed_at, leased_until, fence, epoch) != check:
        raise DamagedRecord(handle, "the check of its head fails")
    at = HEAD + 1
    if length == _LONG:
        (length,) = _length.unpack_from(blob, at)
        at += 4
    elif length == _NO_USER[0]:
        length = -1
    user = None if length < 0 else blob[at : at + length].decode()
    try:
        rest = _decode(memoryview(blob)[at + max(length, 0) :])
    except ValueError as error:
        raise DamagedRecord(handle, str(error)) from error
    created_at = rest.created_at
    record = Record(
        handle,
        rest.secret_digest,
        version + _emptied(rest.older_versions, rest.size),
        user,
        created_at,
        created_at if rest.authenticated_at is None else rest.authenticated_at,
        created_at if rest.rotated_at is None else rest.rotated_at,
        accessed_at,
        rest.idle_timeout,
        rest.touch_interval,
        ends_at,
        rest.size,
        rest.fields,
        generation,
        rest.persistent,
        rest.label,
        rest.previous,
        fence,
        leased_until,
    )
    return record, epoch


def version_of(blob: bytes) -> bytes:
    """The version of the record in a blob."""
    return blob[_CHECKED_FROM : _CHECKED_FROM + VERSION_BYTES]


def differences(before: bytes, after: bytes) -> list[tuple[int, bytes]] | None:
    """What must be written over a blob, beside its head, so that it becomes another: places and bytes. None if they
    differ in length, or in half of their bytes."""
    if len(before) != len(after):
        return None
    found = [  # slices of bytes, as memoryviews are compared item by item
        (at, piece)
        for at in range(HEAD, len(after), _SLICE)
        if (piece := after[at : at + _SLICE]) != before[at : at + _SLICE]
    ]
    return found if 2 * len(found) * _SLICE < len(after) else None


class Large:
    """The blobs of large records that were met lately, for commits to say what differs from them."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def keep(self, handle: str, blob: bytes) -> None:
        """A record was met."""
        if len(blob) >= LARGE:
            self.blobs.pop(handle, None)
            self.blobs[handle] = blob
            if len(self.blobs) > _KEPT:
                self.blobs.pop(next(iter(self.blobs)), None)

    def patch(self, base: Record, blob: bytes) -> list[Any]:
        """What to write over a large record so that it becomes another; empty: write it whole."""
        before = self.blobs.get(base.handle) if len(blob) >= LARGE else None
        if before is None or version_of(before) != base.version:
            return []
        pieces = differences(before, blob)
        if pieces is None:
            return []
        return [before[1:5], 0, blob[:HEAD], *(part for piece in pieces for part in piece)]


def _prefix(record: Record, user: bytes) -> bytes:
    if record.user_id is None:
        return _NO_USER
    if len(user) < _LONG:
        return bytes((len(user),)) + user
    return bytes((_LONG,)) + _length.pack(len(user)) + user


def _check(accessed_at: float, leased_until: float, fence: int, epoch: int) -> int:
    """The check of what scripts write. They compute it, too, so it must come out of plain doubles."""
    try:
        seconds, until_seconds = floor(accessed_at), floor(leased_until)
    except (OverflowError, ValueError):  # infinite, or no number: no script wrote that
        return -1
    rest = 3 * floor((accessed_at - seconds) * _FINEST) + 7 * floor((leased_until - until_seconds) * _FINEST)
    return (seconds + rest + 5 * until_seconds + 11 * fence + 13 * epoch) % 4294967291


def _filled(older: bytes, size: int) -> bytes:
    """The older versions of a record of this size, as they are stored: those of a large one are filled up with zeros,
    which are nobody's version."""
    return older if size < LARGE else older.ljust(_OLDER, b"\0")


def _emptied(older: bytes, size: int) -> bytes:
    """The older versions as they were."""
    if size < LARGE:
        return older
    count = -(-len(older.rstrip(b"\0")) // VERSION_BYTES)
    return older[: count * VERSION_BYTES]


def _short(seconds: float) -> float:
    """The same number, as MessagePack writes it in the fewest bytes; it is read back as a float."""
    return int(seconds) if seconds < 1e9 and seconds == int(seconds) else seconds
