"""Names and messages as they are kept: what a visitor typed, cleaned and bounded. Pure."""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["LONGEST_MESSAGE", "LONGEST_NAME", "clean_message", "clean_name", "user_id_of"]

LONGEST_NAME: Final = 40
LONGEST_MESSAGE: Final = 120

_JOINERS: Final = "\u200c\u200d"
"""What scripts of the world, and pictures that are made of several, need within a word."""


def clean_name(text: str) -> str | None:
    """The name as it is kept: 1 to 40 letters, digits, spaces, and . ' - within; None if it is no name."""
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not 1 <= len(name) <= LONGEST_NAME or not name[0].isalnum():
        return None
    return name if all(sign in " .'’-" or unicodedata.category(sign)[0] in "LMN" for sign in name) else None


def clean_message(text: str) -> str:
    """The message as it is kept: one line of at most 120 characters, without what cannot be seen, which could turn the
    direction of the text around it. Empty if nothing is left."""
    line = " ".join(unicodedata.normalize("NFC", text).split())
    seen = "".join(sign for sign in line if unicodedata.category(sign)[0] != "C" or sign in _JOINERS)
    return seen.strip(" " + _JOINERS)[:LONGEST_MESSAGE]


def user_id_of(name: str) -> str:
    """The user of that name, however it is capitalised."""
    return name.casefold()
