"""SQL and Lua by name: the statements of a store stand in a ``.sql`` file beside it, each under ``-- name: ...``, and
its scripts in ``.lua`` files."""

from __future__ import annotations

import re
from hashlib import sha1
from importlib.resources import files
from typing import Final

from msgspec import Struct

__all__ = ["Script", "read_scripts", "read_statements"]

_NAME: Final = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_REMARK: Final = re.compile(r"(\n--.*)+\n*\Z")  # on what comes next
_COMMON: Final = "common"


def read_statements(file: str) -> dict[str, str]:
    """The statements of a file in this folder, by name. What stands before the first name is commentary, and so is what
    stands before each."""
    _, *parts = _NAME.split(files(__package__).joinpath(file).read_text("utf-8"))
    return {name: _REMARK.sub("", text).strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}


def _joined(common: str, text: str) -> str:
    """A script after what all begin with. What it asks of the server (``#!lua flags=...``) must come first."""
    if not text.startswith("#!"):
        return f"{common}\n{text}"
    asks, _, rest = text.partition("\n")
    return f"{asks}\n{common}\n{rest}"


class Script(Struct, frozen=True):
    """A script, and the digest by which a server knows it."""

    text: str
    digest: bytes


def read_scripts(folder: str) -> dict[str, Script]:
    """The scripts of a folder beside this file, by name. Each begins with what ``common.lua`` defines."""
    texts = {
        file.name.removesuffix(".lua"): file.read_text("utf-8")
        for file in files(__package__).joinpath(folder).iterdir()
        if file.name.endswith(".lua")
    }
    common = texts.pop(_COMMON)
    whole = {name: _joined(common, text) for name, text in sorted(texts.items())}
    return {name: Script(text, sha1(text.encode()).hexdigest().encode()) for name, text in whole.items()}  # noqa: S324 - the digest that EVALSHA asks for
