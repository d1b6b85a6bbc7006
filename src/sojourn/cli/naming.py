"""How the words of a command line name stores, sessions and files, and what is said of them."""

from __future__ import annotations

import argparse
import os
import re
from typing import Final
from urllib.parse import urlsplit

from .. import ids
from ..check.place import database_file
from ..config import SessionConfig
from ..errors import StoreUnavailable
from .parsing import STORE_VARIABLE, UsageError

__all__ = ["CONFIG", "check_handle", "check_presence", "public", "store_url"]

CONFIG: Final = SessionConfig(deadline=10.0)
"""Whoever administers a busy store would rather wait than be refused."""


def store_url(arguments: argparse.Namespace) -> str:
    """The URL of the store, however it is named. `UsageError` if it is not, or twice."""
    given = [url for url in (arguments.url, arguments.store) if url]
    if len(given) > 1:
        raise UsageError("the store is named twice: give a URL or --store, not both")
    url: str | None = given[0] if given else os.environ.get(STORE_VARIABLE)
    if not url:
        raise UsageError(
            f"name the store: sojourn {arguments.command} sqlite:///sessions.db (or set {STORE_VARIABLE} to its URL)"
        )
    return url


def check_presence(url: str) -> None:
    """`StoreUnavailable` for a file that is not there: to look at a store must not create one."""
    file = database_file(url)
    if file is not None and not file.exists():
        raise StoreUnavailable(f"there is no {file}: nothing was done, and nothing created")


def check_handle(text: str, where: str) -> None:
    """`UsageError` for what is no handle. ``where`` is the command line that wants one."""
    if ids.split(text) is not None:
        raise UsageError("that is a session id, which is secret: give its handle, the part before the dot")
    if urlsplit(text).scheme:
        raise UsageError(f"the handle is missing: {where}")
    if not ids.is_handle(text):
        raise UsageError(f"{text!r} is no handle: sojourn list shows the handles of a store")


def public(url: str) -> str:
    """The URL without its passwords: before the host, or among the options, where PostgreSQL takes one as well."""
    password = urlsplit(url).password
    shown = url if password is None else url.replace(f":{password}@", ":***@")
    return re.sub(r"([?&](?:ssl)?password=)[^&]*", r"\1***", shown)
