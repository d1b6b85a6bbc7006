"""The snapshot of a `SessionStore` in JSON, and what such files hold, true_storage's backup files included.

    {"format": "sojourn.dictstore/1", "timestamp": 1750000000.0, "entries": [
    {"key": ..., "value": ..., "created_at": ..., "last_accessed": ..., "access_count": 3, "ends_at": ...},
    ...
    ]}

Keys and values are in the form of `sojourn.portable`: types that JSON has not are tagged, and what cannot be told is
there as it is stored, so that nothing is ever left out for the sake of one value. ``ends_at`` is None for what does not
end; ``slides_for`` stands there instead where expiry slides. Times are Unix seconds.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from math import isfinite
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from ..errors import StorageError, UnsupportedValue
from ..portable import field_to_json, json_to_field
from . import isolation, keys
from .settings import FOREVER, SessionStoreConfig

__all__ = ["Told", "read_backup", "write_snapshot"]

_FORMAT: Final = "sojourn.dictstore/1"
_encode: Final = msgspec.json.Encoder().encode


class Told(NamedTuple):
    """What a file tells of an entry. Times are Unix seconds."""

    key: bytes
    """Encoded, as the value is."""
    value: bytes
    created_at: float
    last_accessed: float
    access_count: int
    ends_at: float | None
    """None: it has no end, or it slides."""
    slides_for: float | None
    """Seconds after its last use when it ends; None: it does not slide."""


def write_snapshot(path: Path, entries: Iterable[Told], now: float) -> None:
    """Write the file, whole or not at all: under a name that nobody else has, to the disk, and then in place of the one
    before. Raises OSError."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(b'{"format": %s, "timestamp": %s, "entries": [' % (_encode(_FORMAT), _encode(now)))
            for number, entry in enumerate(entries):
                file.write(b",\n" if number else b"\n")
                file.write(_line(entry))
            file.write(b"\n]}\n")
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:  # whatever stopped it, half a file is left for nobody
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """What was renamed in a folder is so after a power cut, too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _line(entry: Told) -> bytes:
    told: dict[str, Any] = {
        "key": field_to_json(entry.key),
        "value": field_to_json(entry.value),
        "created_at": entry.created_at,
        "last_accessed": entry.last_accessed,
        "access_count": entry.access_count,
    }
    if entry.slides_for is not None:
        told["slides_for"] = entry.slides_for
    else:
        told["ends_at"] = None if entry.ends_at is None or entry.ends_at >= FOREVER else entry.ends_at
    return _encode(told)


def read_backup(data: bytes, config: SessionStoreConfig, now: float) -> tuple[list[Told], int]:
    """What a snapshot or a backup file holds that is alive, the most recently used last, and at most as many as the
    store may hold; and how many entries of it make no sense. Raises `StorageError` for a file that is neither."""
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise StorageError(
            f"the JSON file is damaged ({error}): nothing was changed. Restore it, or move it away to begin anew"
        ) from error
    if whole.get("format") == _FORMAT and type(whole.get("entries")) is list:
        found = [_from_snapshot(one) for one in whole["entries"]]
    elif type(whole.get("sessions")) is dict:
        found = [_from_original(key, one, config, now) for key, one in whole["sessions"].items()]
    else:
        raise StorageError(
            "the file is JSON, but neither a backup of true_storage nor a snapshot of a SessionStore: nothing was "
            "changed. Give another persistence_path"
        )
    told = [one for one in found if one is not None]
    live = sorted((one for one in told if _end(one) > now), key=lambda one: one.last_accessed)
    return live[-config.max_size :] if config.max_size is not None else live, len(found) - len(told)


def _from_snapshot(one: Any) -> Told | None:
    try:
        slides = one.get("slides_for")
        ends = one.get("ends_at")
        return Told(
            json_to_field("key", one["key"]),
            json_to_field("value", one["value"]),
            _number(one["created_at"]),
            _number(one["last_accessed"]),
            int(_number(one["access_count"])),
            None if ends is None else _number(ends),
            None if slides is None else _number(slides),
        )
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        return None  # it is counted, and told


def _from_original(key: str, one: Any, config: SessionStoreConfig, now: float) -> Told | None:
    """An entry of a backup file. Its end is what this store's configuration makes of its times, as it was there; a lock
    ended with the process that had it. Keys are text: what they were before that file no longer tells."""
    try:
        about = one["metadata"]
        created = min(_number(about["created_at"]), now)
        accessed = min(_number(about["last_accessed"]), now)
        lifetime = config.lifetime(None)
        slides = config.sliding and lifetime < FOREVER
        return Told(
            keys.encoded(key),
            isolation.encoded(one["value"]),
            created,
            accessed,
            int(_number(about["access_count"])),
            None if slides or lifetime >= FOREVER else created + lifetime,
            lifetime if slides else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError, UnsupportedValue):
        return None  # it is counted, and told


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not isfinite(value) or value < 0:
        raise ValueError(value)
    return float(value)


def _end(told: Told) -> float:
    if told.slides_for is not None:
        return told.last_accessed + told.slides_for
    return FOREVER if told.ends_at is None else told.ends_at
