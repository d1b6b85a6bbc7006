"""Sojourn. `STORE` is the address of its store."""

from __future__ import annotations

from typing import Any

from sojourn.live import App
from sojourn.live import widgets as w

from . import HOST, PORT, SHARED, STORE

app = App(title="Counter", store=STORE or None)

if SHARED:
    shared = app.add_widget(w.Text("Shared 0", key="shared"))
    app.shared["told"] = 0

    @app.add_widget(w.Button("Tell everybody")).on_click
    def tell() -> None:
        app.shared.update("told", lambda told: told + 1)
        shared.text = f"Shared {app.shared['told']}"


@app.on_session
def start(session: Any) -> None:
    """A new visitor."""
    session.set("count", 0)
    session.add_widget(w.Text("Clicked 0 times", key="label"))

    @session.add_widget(w.Button("Click me")).on_click
    def clicked(session: Any) -> None:
        session.update("count", lambda n: n + 1)
        session.widget("label").text = f"Clicked {session['count']} times"


def main() -> None:
    """Serve it."""
    app.run(host=HOST, port=PORT)
