"""The smallest live app: a line to type, and an answer that only the one who typed sees.

pip install 'sojourn[live]'
python examples/live/hello.py            # or: uvicorn hello:app
"""

from __future__ import annotations

from sojourn.live import App

app = App(title="Hello")

app.title("Hello")
name = app.text_input("Your name", placeholder="Ada")
app.text("Nice to meet you, whoever you are.", key="greeting")


@name.on_change
def greet(session, value):
    session.widget("greeting").text = f"Nice to meet you, {value or 'whoever you are'}."


if __name__ == "__main__":
    app.run()
