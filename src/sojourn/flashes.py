"""Messages for the next page, for frameworks that have no idiom of their own for them. Pure.

    flash(session, "Saved.", "success")      in the request that did something
    for category, text in flashed(session)   in the page that comes next

Each is shown once. One that is added while another request shows those before it is kept.
"""

from __future__ import annotations

from secrets import token_hex
from typing import Final

from .session import BaseSession

__all__ = ["flash", "flashed"]

_FIELD: Final = "_flash"
_MOST: Final = 100  # that wait for a page: the oldest go

Message = tuple[str, str, str]


def flash(session: BaseSession, text: str, category: str = "message") -> None:
    """Keep a message for the next page."""
    message = (token_hex(4), category, text)
    session.update(_FIELD, lambda kept: [*(kept or []), message][-_MOST:])


def flashed(session: BaseSession) -> list[tuple[str, str]]:
    """The messages that wait, as (category, text), oldest first; none of them is shown again."""
    waiting: list[Message] = session.get(_FIELD, [])
    taken = {number for number, _, _ in waiting}
    if taken:
        shown = [(category, text) for _, category, text in waiting]
        session.update(_FIELD, lambda kept: [message for message in kept or [] if message[0] not in taken])
        return shown
    return []
