"""SQL by name: the statements of a store stand in a ``.sql`` file beside it, each under ``-- name: ...``."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

__all__ = ["read_statements"]

_NAME: Final = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


def read_statements(file: str) -> dict[str, str]:
    """The statements of a file in this folder, by name. What stands before the first name is commentary."""
    _, *parts = _NAME.split(files(__package__).joinpath(file).read_text("utf-8"))
    return {name: text.strip() for name, text in zip(parts[::2], parts[1::2], strict=True)}
