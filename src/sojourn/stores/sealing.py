"""A record as one blob, with a format version and a check, for stores that leave the process. Pure.

byte 0     the format, 1
bytes 1-4  CRC-32 of the rest: it is there to notice damage, not to stop a forger, who could write the store anyway
then       the record as a MessagePack array, fields as a map of name to encoded value
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

import msgspec

from ..errors import DamagedRecord
from ..record import Record

__all__ = ["seal", "unseal"]

_FORMAT: Final = b"\x01"
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode


def seal(record: Record) -> bytes:
    """The record as bytes."""
    data = _encode(record)
    return b"".join((_FORMAT, crc32(data).to_bytes(4, "big"), data))


def unseal(handle: str, blob: bytes) -> Record:
    """The record in a blob. `DamagedRecord` if it fails its check, is of a format that this version does not know,
    or is another session's."""
    if not isinstance(blob, bytes) or blob[:1] != _FORMAT:
        raise DamagedRecord(handle, "it is of an unknown format")
    data = memoryview(blob)[5:]
    if crc32(data).to_bytes(4, "big") != blob[1:5]:
        raise DamagedRecord(handle, "its check fails")
    try:
        record = _decode(data)
    except ValueError as error:
        raise DamagedRecord(handle, str(error)) from error
    if record.handle != handle:
        raise DamagedRecord(handle, "it is the record of another session")
    return record
