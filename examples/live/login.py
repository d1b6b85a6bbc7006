"""Sign in: the form is checked, cleared and gone for this visitor, who is welcomed. Everybody else still sees it.

    pip install 'sojourn[live]'
    python examples/live/login.py            # or: uvicorn login:app

Sign in as "ada" with the password "lovelace". Signing out clears all tabs of this browser at once.
"""

from __future__ import annotations

import hashlib
import hmac
import os

from sojourn.live import App

app = App(title="Sign in", name="login", store="sqlite:///login.db", session_timeout=3600)


def hashed(password, salt):
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


_salt = os.urandom(16)
users = {"ada": (_salt, hashed("lovelace", _salt))}  # yours are in a database

app.title("Members only", key="title")
form = app.form("Sign in", key="form")
form.text_input("Name", key="name", max_length=40)
form.text_input("Password", key="password", password=True, max_length=200)
app.alert("Wrong name or password.", "error", key="problem", visible=False)


@form.on_submit
def sign_in(session, values):
    name, password = values["name"].strip().lower(), values["password"]  # a form keeps no password
    salt, right = users.get(name, (_salt, b""))
    if not hmac.compare_digest(hashed(password, salt), right):
        session.show("problem")
        return
    session.login(name)  # another session id: the old one is worth nothing any more
    welcome(session, name)


def welcome(session, name):
    for key in ("title", "form", "problem"):
        session.hide(key)
    session.clear_widgets()
    session.title(f"Welcome, {name.capitalize()}")
    session.text("Only your own tabs show this page.")
    session.write(0, key="count")
    session.button("Count", primary=True).on_click(count)
    session.button("Sign out").on_click(sign_out)


def count(session):
    session.widget("count").update("value", lambda number: number + 1)


def sign_out(session):
    session.end()


if __name__ == "__main__":
    app.run()
