"""A counter of your own, on a page that all share. It is there after a reload, and after a restart of the server.

    pip install 'sojourn[live]'
    python examples/live/counter.py          # or: uvicorn counter:app

Open it in two browsers: each has its own count. Open it in two tabs: they count together.
"""

from __future__ import annotations

from sojourn.live import App
from sojourn.live import widgets as w

app = App(title="Counter", store="sqlite:///counter.db")

app.title("Count with me")
name = app.text_input("Your name", key="name")
left, right = app.columns(2)
online = left.metric("Visitors online", 0, key="online")
everybody = right.metric("Clicks of everybody", 0, key="everybody")


@app.on_session
def start(session):
    """A new visitor: these widgets are theirs alone."""
    session.set("count", 0)
    label = session.add_widget(w.Text("You clicked 0 times.", key="label"))

    @session.add_widget(w.Button("Click me", primary=True)).on_click
    def clicked(session):
        session.update("count", lambda count: count + 1)  # exact, in however many tabs
        label.text = f"{name.value or 'You'} clicked {session['count']} times."
        everybody.update("value", lambda clicks: clicks + 1)  # exact, in however many processes


@app.on_connect
@app.on_disconnect
def count_visitors():
    online.value = app.online


if __name__ == "__main__":
    app.run()
