"""Flask-WTF on Sojourn: its forms and its ``CSRFProtect`` keep their token in the session."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flask
import pytest
from flask_wtf import FlaskForm
from flask_wtf.csrf import CSRFProtect, generate_csrf
from wtforms import StringField
from wtforms.validators import DataRequired

from sojourn import SessionManager
from sojourn.adapters.flask import Sojourn, device_routes
from sojourn.users import login


class Form(FlaskForm):  # type: ignore[misc]
    name = StringField(validators=[DataRequired()])


@pytest.fixture
def manager() -> Iterator[SessionManager]:
    manager = SessionManager()
    yield manager
    manager.close()


@pytest.fixture
def app(manager: SessionManager) -> flask.Flask:
    """An application with a form, and with a route for scripts."""
    app = flask.Flask(__name__)
    app.secret_key = "Flask-WTF signs its tokens"
    Sojourn(app, manager=manager)

    @app.route("/form", methods=["GET", "POST"])
    def form() -> Any:
        form = Form()
        if form.validate_on_submit():
            flask.session["name"] = form.name.data
            return f"hello {form.name.data}"
        return flask.jsonify(token=form.csrf_token.current_token, errors=form.errors)

    @app.post("/script")
    def script() -> str:
        return str(flask.session.get("name"))

    return app


def protect(app: flask.Flask) -> CSRFProtect:
    """Guard every route."""
    app.add_url_rule("/token", view_func=lambda: generate_csrf())
    return CSRFProtect(app)


def test_a_form_is_accepted_with_its_token(app: flask.Flask, manager: SessionManager) -> None:
    """A form that was shown to a visitor is accepted from them, and the token needs one record."""
    client = app.test_client()
    token = client.get("/form").json["token"]
    assert client.post("/form", data={"name": "Ada", "csrf_token": token}).text == "hello Ada"
    assert manager.stats().sessions == 1


@pytest.mark.parametrize("sent", ["nothing", "another's", "too late"])
def test_a_form_is_refused_without_its_token(app: flask.Flask, manager: SessionManager, sent: str) -> None:
    """A form without a token, with another visitor's, or with that of a session that has ended, is refused."""
    client, other = app.test_client(), app.test_client()
    token = client.get("/form").json["token"]
    data = {"name": "Ada"}
    if sent == "another's":
        data["csrf_token"] = other.get("/form").json["token"]
    elif sent == "too late":
        data["csrf_token"] = token
        manager.end_sessions()
    response = client.post("/form", data=data)
    assert list(response.json["errors"]) == ["csrf_token"]


def test_two_tabs_with_the_same_form(app: flask.Flask) -> None:
    """Two tabs that load the form at once both hold a token that is good."""
    client = app.test_client()
    client.get("/form")
    tokens = [client.get("/form").json["token"] for _ in range(2)]
    for token in tokens:
        assert client.post("/form", data={"name": "Ada", "csrf_token": token}).text == "hello Ada"


def test_scripts_send_a_header(app: flask.Flask) -> None:
    """Over https, ``CSRFProtect`` lets a POST through that has the token in its header and a referrer; no other."""
    protect(app)
    client = app.test_client()
    at: dict[str, Any] = {"base_url": "https://shop.example"}
    token = client.get("/token", **at).text
    good = {"X-CSRFToken": token, "Referer": "https://shop.example/"}
    assert client.post("/script", headers=good, **at).text == "None"
    assert client.post("/script", headers={"Referer": good["Referer"]}, **at).status_code == 400
    assert client.post("/script", headers=good | {"X-CSRFToken": "x" + token}, **at).status_code == 400
    assert app.test_client().post("/script", headers=good, **at).status_code == 400


def test_signing_in_keeps_the_form_open(app: flask.Flask, manager: SessionManager) -> None:
    """The token of Flask-WTF is a field, which signing in keeps: a form that is open in another tab stays good."""
    protect(app)

    @app.post("/sign-in")
    def sign_in() -> str:
        login(flask.session, "ada")  # type: ignore[arg-type]
        return "signed in"

    client = app.test_client()
    token = client.get("/token").text
    assert client.post("/sign-in", headers={"X-CSRFToken": token}).status_code == 200
    assert client.post("/script", headers={"X-CSRFToken": token}).status_code == 200
    assert [row.user_id for row in manager.list_sessions()] == ["ada"]


def test_device_routes_have_a_token_of_their_own(app: flask.Flask, manager: SessionManager) -> None:
    """The device routes are exempted from ``CSRFProtect``, and are guarded still."""
    routes = device_routes()
    protect(app).exempt(routes)
    app.register_blueprint(routes)
    client = app.test_client()
    with client.session_transaction() as session:
        session.login("ada")  # type: ignore[attr-defined]
    manager.create_session("ada")
    token = client.get("/devices").json["csrf_token"]
    assert client.delete("/devices").status_code == 403
    assert client.delete("/devices", headers={"X-CSRF-Token": token}).json == {"ended": 1}
    assert manager.stats().sessions == 1
