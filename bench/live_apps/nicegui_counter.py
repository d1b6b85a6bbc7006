"""NiceGUI: a page for each visitor, with a handler that is no coroutine. The count is the page's, or, if `STORE` is
"user", it is kept in the user's storage: a file for each user, which is written some time after a change."""

from __future__ import annotations

import os

from . import FOLDER, HOST, PORT, SHARED, STORE

os.environ["NICEGUI_STORAGE_PATH"] = str(FOLDER / "nicegui")  # it is read when NiceGUI is imported

from nicegui import app, binding, ui


@binding.bindable_dataclass
class _Shared:
    """What is bound to this is told at once, without NiceGUI's loop that looks for changes."""

    number: int = 0


_shared = _Shared()


@ui.page("/", title="Counter")
def _page() -> None:
    kept = app.storage.user if STORE == "user" else {}
    label = ui.label(f"Clicked {kept.get('count', 0)} times")

    def clicked() -> None:
        kept["count"] = kept.get("count", 0) + 1
        label.text = f"Clicked {kept['count']} times"

    ui.button("Click me", on_click=clicked)
    if SHARED:
        ui.label().bind_text_from(_shared, "number", lambda number: f"Shared {number}")
        ui.button("Tell everybody", on_click=_tell)


def _tell() -> None:
    _shared.number += 1


def main() -> None:
    """Serve it, as its users do, but for the browser that it opens and the files that it watches."""
    ui.run(
        host=HOST,
        port=PORT,
        show=False,
        reload=False,
        show_welcome_message=False,
        storage_secret="not-a-secret-to-keep",
    )
