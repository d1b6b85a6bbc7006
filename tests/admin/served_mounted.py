"""Sites with a live app mounted in them, for `test_mounting`: ``flask_site`` for gunicorn, and as a program a Django
site, ``python served_mounted.py wsgi|asgi PORT``. The store is a file in the current folder."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from flask import Flask
from starlette.requests import HTTPConnection

from sojourn.admin.wsgi import mounted
from sojourn.live import App, Session
from sojourn.live import widgets as w

AT = "/admin/sessions"


def counter() -> App:
    """Clicks that are counted, in the file that all processes share."""
    app = App(title="Counter", store=f"sqlite:///{Path.cwd()}/live.db?deadline=10")

    @app.on_session
    def start(session: Session) -> None:
        session.set("count", 0)
        session.add_widget(w.Text("Clicked 0 times", key="label"))

        @session.add_widget(w.Button("Click me", key="b")).on_click
        def clicked(session: Session) -> None:
            session.update("count", lambda n: n + 1)
            session.widget("label").text = f"Clicked {session['count']} times"

    return app


def flask_site() -> Flask:
    """A Flask application with the counter under a path."""
    site = Flask(__name__)
    site.route("/pid")(lambda: str(os.getpid()))
    site.wsgi_app = mounted(site.wsgi_app, counter(), AT)  # type: ignore[method-assign]
    return site


async def who(scope: Any, receive: Any, send: Any) -> None:
    """Tells what the site's request is to what is mounted."""
    if scope["type"] != "http":
        return
    asked = HTTPConnection(scope)
    body = f"{asked.user} {asked.state.django.path} {scope['root_path']}".encode()
    cookies = [(b"set-cookie", b"a=1; Path=/; HttpOnly; Partitioned"), (b"set-cookie", b"b=2; Max-Age=5")]
    await send({"type": "http.response.start", "status": 203, "headers": [(b"content-type", b"text/x"), *cookies]})
    await send({"type": "http.response.body", "body": body})


def django_site() -> None:
    """Set Django up, with the counter under a path."""
    import django
    from django.conf import settings

    settings.configure(
        ALLOWED_HOSTS=["*"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
        LOGGING_CONFIG=None,
        MIDDLEWARE=[
            "django.middleware.common.CommonMiddleware",
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        ROOT_URLCONF=__name__,
        SECRET_KEY="for tests",
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
    )
    django.setup()
    from django.http import HttpResponse
    from django.urls import include, path

    from sojourn.admin.django import urls

    global urlpatterns
    urlpatterns = [
        path("pid", lambda request: HttpResponse(str(os.getpid()))),
        path(f"{AT[1:]}/", include(urls(counter()))),
        path("who/", include(urls(who))),
    ]


urlpatterns: list[Any] = []


def main(kind: str, port: int) -> None:
    django_site()
    if kind == "wsgi":
        from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
        from django.core.wsgi import get_wsgi_application

        class Quiet(WSGIRequestHandler):  # type: ignore[misc]  # Django is not typed
            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadedWSGIServer(("127.0.0.1", port), Quiet)  # what ``manage.py runserver`` serves with
        server.set_app(get_wsgi_application())
        server.serve_forever()
    else:
        import uvicorn
        from django.core.asgi import get_asgi_application

        uvicorn.run(get_asgi_application(), host="127.0.0.1", port=port, log_level="warning", lifespan="off")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
