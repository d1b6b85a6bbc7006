"""One session as a document of plain values: its metadata, and its fields with types and sizes. Pure.

Values that JSON has not (dates, sets, bytes ...) become text or lists; the field's type tells what they are.
"""

from __future__ import annotations

import dataclasses
import math
from base64 import b64encode
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from enum import Enum
from typing import Any

import msgspec

from ..errors import DamagedRecord, UnsupportedValue
from ..session import BaseSession

__all__ = ["describe_session", "plain"]


def describe_session(session: BaseSession) -> dict[str, Any]:
    """Everything that may be shown of a session: neither its id nor a digest of its secret."""
    record = session.record
    return {
        "handle": record.handle,
        "user_id": record.user_id,
        "label": record.label,
        "created_at": record.created_at,
        "authenticated_at": record.authenticated_at,
        "rotated_at": record.rotated_at,
        "last_accessed_at": record.accessed_at,
        "expires_at": record.expires_at,
        "ends_at": record.ends_at,
        "idle_timeout": record.idle_timeout,
        "persistent": record.persistent,
        "generation": record.generation,
        "size": record.size,
        "fields": [_describe_field(session, name, len(data)) for name, data in record.fields.items()],
    }


def _describe_field(session: BaseSession, name: str, size: int) -> dict[str, Any]:
    """One field. That one cannot be read here (a type of the application, damage) must not hide the others."""
    try:
        value = session[name]
    except (UnsupportedValue, DamagedRecord) as error:
        return {"name": name, "type": None, "size": size, "value": None, "problem": str(error)}
    return {"name": name, "type": type(value).__name__, "size": size, "value": plain(value), "problem": None}


def plain(value: Any) -> Any:
    """The value as JSON has it: None, bool, int, float, str, list and dict with text keys."""
    if isinstance(value, Enum):
        return value.name
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, bytes):
        return b64encode(value).decode()
    if isinstance(value, Mapping):
        return _plain_mapping(value)
    if isinstance(value, (list, tuple)):
        return [plain(member) for member in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(member) for member in value), key=repr)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, msgspec.Struct):
        return _plain_mapping(msgspec.structs.asdict(value))
    if dataclasses.is_dataclass(value):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    return str(value)


def _plain_mapping(value: Mapping[Any, Any]) -> Any:
    """A dict; a list of pairs where the keys are not all text."""
    if all(isinstance(key, str) for key in value):
        return {key: plain(member) for key, member in value.items()}
    return [[plain(key), plain(member)] for key, member in value.items()]
