"""Where to check. A store that is there is checked in place; a SQLite file that is not there yet is not created.

Whoever runs the check on a new server may not be the user that the application will run as, and a database that
belongs to the wrong user is a bad first day. Removing the file again is worse: the application may have opened it by
then. So a new file is tried beside where it will be, on the same disk, in a folder that is removed afterwards.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from msgspec import Struct

from ..errors import StoreUnavailable

__all__ = ["Place", "database_file", "find_place"]


class Place(Struct, frozen=True):
    """The URL to open for the check."""

    url: str
    note: str = ""
    """What the user should know of it, in a line."""


def database_file(url: str) -> Path | None:
    """The file that a store URL names; None if it names none."""
    parts = urlsplit(url)
    path = unquote(parts.path).removeprefix("/")
    return Path(path) if parts.scheme == "sqlite" and path and not parts.netloc else None


@contextmanager
def find_place(url: str) -> Iterator[Place]:
    """``with find_place(url) as place:`` and check at ``place.url``."""
    file = database_file(url)
    if file is None or file.exists():
        yield Place(url)
        return
    try:
        folder = tempfile.TemporaryDirectory(prefix=".sojourn-check-", dir=file.absolute().parent)
    except OSError as error:
        raise StoreUnavailable(f"{file} cannot be created: {error.strerror or error}") from error
    with folder as made:
        options = urlsplit(url).query
        beside = f"sqlite:///{quote(str(Path(made) / 'check.db'))}" + (f"?{options}" if options else "")
        yield Place(beside, f"{file} is not there yet: checked beside it, on the same disk, and removed")
