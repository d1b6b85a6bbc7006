"""What all see and what one sees, side by side: a list of things to do for each visitor, and a sum of all that is done.

pip install 'sojourn[live]'
python examples/live/session_widgets.py  # or: uvicorn session_widgets:app
"""

from __future__ import annotations

import threading
from contextlib import suppress

from sojourn import SessionNotFound
from sojourn.live import App
from sojourn.live import widgets as w

app = App(title="Things to do", store="sqlite:///things.db", session_timeout=86400)

app.title("Things to do")
side = app.sidebar()
side.header("Everybody")
done_by_all = side.metric("Things done", 0, key="done-by-all")
side.text("All visitors see this figure. The list is yours alone.")


@app.on_session
def start(session):
    """A new visitor: a form to add things, the list, and a reminder."""
    form = session.form("Add it", key="form", clear_on_submit=True)
    what, when = form.columns([3, 1])
    what.text_input("What is to be done?", key="what", max_length=80)
    when.selectbox("When?", ["today", "this week", "some day"], key="when")
    form.on_submit(add)

    session.header("Your list")
    session.container(key="things")
    session.text("Nothing to do yet.", key="empty")

    more = session.expander("Remind me", key="more")
    more.slider("In how many seconds?", 3, min=1, max=60, key="seconds")
    more.button("Set the reminder").on_click(set_reminder)


def add(session, values):
    what = values["what"].strip()
    if not what:
        return
    one = session.add_widget(w.Container(border=True), into="things")
    text, button = one.columns([2, 1])
    done = text.checkbox(f"{what} ({values['when']})")
    session.hide("empty")

    @done.on_change  # the widgets in it get their events, however deep they are
    def tick(session, is_done):
        done_by_all.update("value", lambda things: things + (1 if is_done else -1))

    @button.add_widget(w.Button(f"Remove {what}")).on_click
    def remove(session):
        one.remove()
        session.widget("empty").visible = not session.widget("things").children


def set_reminder(session):
    """The callback is over long before the reminder comes: it keeps the session's handle, not the session."""
    timer = threading.Timer(session.widget("seconds").value, remind, [session.handle])
    timer.daemon = True
    timer.start()


def remind(handle):
    with suppress(SessionNotFound):  # the visitor may have gone
        app.add_widget_to_session(handle, w.Alert("This is your reminder.", "warning"))


if __name__ == "__main__":
    app.run()
