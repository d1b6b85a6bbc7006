"""What stays hidden, whatever is asked for: values under keys that name a secret, and whatever looks like a session id.
Pure.

Not a search for secrets: a password under an innocent key is shown to who asks for it. Rules:

    a key        hides its value, with all that is in it, if a pattern matches it, in any case; a key that is no text
                 does, if some text in it does
    a pair       ["password", x] hides its second member, and {"name": "password", "value": x} its value
    a widget     of a live app whose property ``password`` is set hides its value
    an id        text, or a key, in which something has the form of a session id is never shown
    our own      the field of tickets is never shown, whatever the patterns are
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fnmatch import translate
from functools import lru_cache
from typing import Any, Final

from msgspec.msgpack import Ext

from ..errors import ConfigurationError
from ..session import TICKETS

__all__ = ["PATTERNS", "Redaction", "holds_an_id"]

PATTERNS: Final = (
    "*password*",
    "*passwd*",
    "*passphrase*",
    "pwd",
    "*[_-]pwd",
    "pin",
    "*[_-]pin",
    "otp",
    "*[_-]otp",
    "totp*",
    "*secret*",
    "*token*",
    "*csrf*",
    "*xsrf*",
    "*nonce*",
    "*api*key*",
    "*private*key*",
    "*access*key*",
    "*credential*",
    "*authorization*",
    "*auth*hash*",
    "*cookie*",
    "*session*id*",
    "*session*key*",
    "*card*number*",
    "*cvv*",
    "*cvc*",
    "*iban*",
    "*ssn*",
)
"""What is hidden unless something else is said: ``*`` is any text, ``?`` any sign, ``[_-]`` one of these."""

_NAMING: Final = frozenset({"name", "key", "field", "id", "k", "n"})
_VALUES: Final = frozenset({"value", "values", "val", "v", "data", "content"})
_LONGEST_NAMING: Final = 1_000  # characters: what is longer, in a pair, is no name
_find_id = re.compile(r"(?<=[A-Za-z0-9_-]{22})\.[A-Za-z0-9_-]{43}").search


def holds_an_id(text: str) -> bool:
    """Whether something in the text has the form of a session id. In linear time, whatever the text is."""
    return _find_id(text) is not None


class Redaction:
    """What is hidden. ``patterns`` are those of `fnmatch`, matched against whole keys, in any case; with none, only
    what is always hidden is. `ConfigurationError` for what is no text, or empty."""

    def __init__(self, patterns: Iterable[str] = PATTERNS) -> None:
        if isinstance(patterns, str):
            raise ConfigurationError("redact is a list of patterns, as in redact=('*password*', '*token*')")
        self.patterns = tuple(patterns)
        for pattern in self.patterns:
            if not isinstance(pattern, str) or not pattern:
                raise ConfigurationError(f"{pattern!r} is no pattern of keys: give text, such as '*password*'")
        self._match = re.compile("|".join(translate(_plainest(one)) for one in self.patterns) or r"(?!)").match
        self._hides_text = lru_cache(maxsize=4096)(self._look)

    def hides(self, name: object) -> bool:
        """Whether a value under this key is hidden: a text, or any other key that can be stored."""
        return any(self._hides_text(text) if len(text) <= 256 else self._look(text) for text in _texts(name))

    def _look(self, text: str) -> bool:
        return text == TICKETS or self._match(_plainest(text)) is not None

    def hidden_keys(self, value: Mapping[Any, Any]) -> set[Any]:
        """The keys of a dict whose values are hidden."""
        hidden = {key for key in value if self.hides(key)}
        if value.get("password") is True:  # the properties of a widget: what was typed is one
            hidden.add("value")
        if any(key in _NAMING and self._names(value[key]) for key in value):
            hidden.update(key for key in value if key in _VALUES)
        return hidden & value.keys()

    def hidden_at(self, value: Sequence[Any]) -> int | None:
        """The index of the member of a list or tuple that is hidden; None: none is."""
        return 1 if len(value) == 2 and self._names(value[0]) else None

    def _names(self, value: object) -> bool:
        return isinstance(value, (str, bytes)) and len(value) <= _LONGEST_NAMING and self.hides(value)


def _plainest(text: str) -> str:
    """Text as it is compared: full-width letters and capitals are no disguise."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def _texts(name: object) -> Iterator[str]:
    """All text in a key."""
    if isinstance(name, str):
        yield str.__str__(name)
    elif isinstance(name, (bytes, memoryview)):
        yield bytes(name).decode("latin-1")
    elif isinstance(name, Ext):
        yield bytes(name.data).decode("latin-1")
    elif isinstance(name, (tuple, list, frozenset)):
        for part in name:
            yield from _texts(part)
