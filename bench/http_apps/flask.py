"""Flask: with no session, with Flask-Session on Redis, with Sojourn.

The one with no session has Flask's own cookie sessions, which do nothing for a request without a cookie whose view does
not look at them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Flask, session

from . import SESSIONS, STORE, VIEWS

app = Flask(__name__)


def _endpoint(view: Callable[[Any], str]) -> Callable[[], tuple[str, dict[str, str]]]:
    def endpoint() -> tuple[str, dict[str, str]]:
        return view(session if SESSIONS != "none" else None), {"Content-Type": "text/plain"}

    return endpoint


for name, view in VIEWS.items():
    app.add_url_rule(f"/{name}", name, _endpoint(view))

if SESSIONS == "theirs":
    import redis
    from flask_session import Session

    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=redis.Redis.from_url(STORE))
    Session(app)
elif SESSIONS == "sojourn":
    from sojourn.adapters.flask import Sojourn

    Sojourn(app, STORE)
