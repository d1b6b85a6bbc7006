"""A room in which all talk. The name, what is being typed and the count of one's own words are each visitor's alone.

pip install 'sojourn[live]'
python examples/live/chat.py             # or: uvicorn chat:app
"""

from __future__ import annotations

from sojourn.live import App
from sojourn.live import widgets as w

MOST = 30  # messages that stay

app = App(title="Chat", store="sqlite:///chat.db", session_timeout=3600)

app.title("Chat")
name = app.text_input("Your name", key="name", max_length=24, help="It is shown beside what you say.")
form = app.form("Say it", key="form")
form.text_input("Message", key="message", max_length=500)
app.alert("Please enter your name first.", "warning", key="problem", visible=False)
private = app.container()
app.header("What was said")
room = app.container(key="room")


@app.on_session
def start(session):
    session.add_widget(w.Text("You have not spoken yet. Only you see this line.", key="mine"), into=private)


@form.on_submit
def say(session, values):
    who, words = name.value.strip(), values["message"].strip()
    session.widget("problem").visible = not who
    if not who or not words:
        return  # what was typed stays
    newest = room.children[0] if room.children else None
    room.add_widget(w.Text(f"{who}: {words}"), before=newest)  # the room is the app's: everybody sees it
    for old in room.children[MOST:]:
        old.remove()
    session.widget("message").value = ""
    session.update("said", lambda said: (said or 0) + 1)
    session.widget("mine").text = f"You have spoken {session['said']} times. Only you see this line."


if __name__ == "__main__":
    app.run()
