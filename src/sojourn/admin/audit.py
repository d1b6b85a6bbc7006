"""The audit: one line for each look and each action of an operator, and for each sign-in and what was refused.

It says who, what, to which session (by its handle) and with what outcome. It never says what a session holds: no id,
no value, no name of a field.

    act operator="ada" what="end" handle="kXv3..." outcome="done"

Lines go to the logger ``sojourn.audit`` at INFO. Python drops them until the application's logging is set up to keep
them. Whatever was typed by somebody is written as a JSON string in ASCII, so that no name can make a second line, or
hide one.
"""

from __future__ import annotations

import inspect
import json
import logging
import time
from collections.abc import Callable
from typing import Final, Literal

from msgspec import Struct

from ..errors import ConfigurationError

__all__ = ["Audit", "Entry"]

log = logging.getLogger("sojourn.audit")

_LONGEST: Final = 200  # characters of one part of a line


class Entry(Struct, frozen=True):
    """One line of the audit, as its parts. Texts are as they came, cut to 200 characters: escape them where you write
    them."""

    at: float
    """When, in Unix seconds."""
    operator: str
    """Who. For a sign-in that was refused: who they said they were."""
    kind: Literal["look", "act"]
    what: str
    """What was looked at, or done, in a few words."""
    handle: str | None = None
    """The session that it was about; None: about none, or about all."""
    outcome: str = "done"
    """ "done", or why not."""


class Audit:
    """Where looks and actions are told. ``told`` is a callable of your own that is given each `Entry`, beside the line
    in the log. It is called where the look or the action happens, so it should be quick. If it raises, that is logged
    at ERROR, and the line in the log stands. `ConfigurationError` if it is a coroutine function: nobody would await it.
    """

    def __init__(self, told: Callable[[Entry], object] | None = None, clock: Callable[[], float] = time.time) -> None:
        if inspect.iscoroutinefunction(told):
            raise ConfigurationError("audit is called and not awaited: take a plain function")
        self._told = told
        self._clock = clock

    def look(self, operator: str, what: str, handle: str | None = None) -> None:
        """An operator has looked at something."""
        self._note(Entry(self._clock(), _cut(operator), "look", _cut(what), None if handle is None else _cut(handle)))

    def act(self, operator: str, action: str, handle: str | None = None, outcome: str = "done") -> None:
        """An operator has done something, or was kept from it: then ``outcome`` says by what."""
        name = None if handle is None else _cut(handle)
        self._note(Entry(self._clock(), _cut(operator), "act", _cut(action), name, _cut(outcome)))

    def _note(self, entry: Entry) -> None:
        log.info("%s", _line(entry))
        if self._told is None:
            return
        try:
            self._told(entry)
        except Exception:  # the application's own: the look or the action has happened already
            log.exception("an entry of the audit was not taken: it is the line before this one")


def _line(entry: Entry) -> str:
    parts = {"operator": entry.operator, "what": entry.what, "handle": entry.handle}
    if entry.kind == "act":
        parts["outcome"] = entry.outcome
    said = " ".join(f"{name}={json.dumps(value)}" for name, value in parts.items() if value is not None)
    return f"{entry.kind} {said}"


def _cut(text: str) -> str:
    return str(text)[:_LONGEST]
