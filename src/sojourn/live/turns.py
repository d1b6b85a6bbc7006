"""Whose turn it is: of which session's page what runs here is a part. No I/O."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from .page import SessionPage

__all__ = ["Turn", "page_here", "showing"]


class Turn(Protocol):
    """The handling of one event of a session."""

    page: SessionPage
    open: bool


showing: ContextVar[Turn | None] = ContextVar("sojourn_live_turn", default=None)
"""The turn of whose callback this is a part; None: of none."""


def page_here() -> SessionPage | None:
    """The page of the session whose turn it is; None: it is nobody's."""
    turn = showing.get()
    return turn.page if turn is not None and turn.open else None
