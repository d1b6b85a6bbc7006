"""The list of a user's devices, which is the same on all of them.

Every session that a user is signed in with is a device. Who signs in or out, wherever, is told by the store's feed; the
list is then shown anew on each page of that user that is open here.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Sequence
from typing import Final

from ..errors import SessionGone, SessionNotFound, StoreError
from ..ids import Handle
from ..live import App, Session
from ..live import widgets as w
from ..record import Summary

__all__ = ["at_time", "follow", "show_devices"]

log = logging.getLogger("sojourn")

_AGAIN: Final = 1.0  # seconds until a feed that broke is followed again
_KEY: Final = "device-"


async def follow(app: App, here: set[str]) -> None:
    """Keep the lists right on the pages of these sessions, for ever. Sessions that are over are taken out."""
    while True:
        try:
            async with app.engine.watch() as changes:
                await _refresh(app, here, tuple(here))  # what happened while nobody followed
                async for change in changes:
                    if change.kind == "missed":
                        await _refresh(app, here, tuple(here))
                    elif change.kind in ("rotated", "ended"):
                        if change.kind == "ended":
                            here.discard(change.handle)
                        rows = await app.engine.list_sessions(change.user_id) if change.user_id else []
                        await _refresh(app, here, [row.handle for row in rows if row.handle in here])
        except StoreError as error:
            log.info("the list of devices is behind, it is tried again: %s", error)
        await asyncio.sleep(_AGAIN)


async def _refresh(app: App, here: set[str], handles: Iterable[str]) -> None:
    async def refresh(session: Session) -> None:
        await show_devices(app, session)

    async def visit(handle: str) -> None:
        try:
            await app.in_session(Handle(handle), refresh)
        except (SessionGone, SessionNotFound):  # it ended before its turn came
            here.discard(handle)

    await asyncio.gather(*map(visit, handles))


async def show_devices(app: App, session: Session) -> None:
    """Show a session its user's devices: itself first, then the others. Those that stay are changed in place."""
    rows: Sequence[Summary] = await app.engine.list_sessions(session.user_id) if session.user_id is not None else ()
    rows = sorted(rows, key=lambda row: (row.handle != session.handle, row.created_at))
    keys = {f"{_KEY}{row.handle}" for row in rows}
    for widget in session.widgets:
        if widget.key.startswith(_KEY) and widget.key not in keys:
            session.remove_widget(widget.key)
    for row in rows:
        if not session.has_widget(f"{_KEY}{row.handle}"):
            _add_device(app, session, row)
        session.widget(f"{_KEY}{row.handle}.text").text = _described(row, row.handle == session.handle)
    session.widget("end-others").visible = len(rows) > 1


def _add_device(app: App, session: Session, row: Summary) -> None:
    """A line of the list. Its button is found again after a restart by this function's name, with the handle that it
    was made for."""
    key, handle = f"{_KEY}{row.handle}", str(row.handle)
    line = session.add_widget(w.Columns((3, 2), key=key), into="devices")
    line[0].text("", key=f"{key}.text")
    if handle == session.handle:
        return

    @line[1].button(f"Sign out {row.label or 'that one'}", key=f"{key}.end").on_click
    async def sign_out(session: Session) -> None:
        await app.end_session(Handle(handle))


def _described(row: Summary, here: bool) -> str:
    where = "this device" if here else f"…{row.handle[-6:]}"
    return f"{row.label or 'A device'}: {where}, since {at_time(row.created_at)}"


def at_time(at: float) -> str:
    """A moment by this machine's clock, which is the visitor's, too: "18:03:10"."""
    return time.strftime("%H:%M:%S", time.localtime(at))
