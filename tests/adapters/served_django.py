"""A small Django site for `test_django_server`, in a process of its own: ``python served_django.py wsgi|asgi`` prints
its port and serves on the loopback address until it is killed. Its files are in the current folder."""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from pathlib import Path
from typing import Any

import django
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path.cwd() / "users.sqlite3"}},
    DEBUG=True,  # so that the cookie goes over plain http, to this machine
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes"],
    LOGGING_CONFIG=None,
    MIDDLEWARE=[
        "sojourn.adapters.django.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    ROOT_URLCONF=__name__,
    SECRET_KEY="for tests",
    SESSION_ENGINE="sojourn.adapters.django",
    SOJOURN={"STORE": f"sqlite:///{Path.cwd()}/sessions.db", "CONFIG": {"deadline": 10}},
)
django.setup()

from django.contrib.auth import authenticate, login  # noqa: E402 - Django is set up first
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.http import HttpRequest, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402


def sign_in(request: HttpRequest) -> JsonResponse:
    login(request, authenticate(username="ada", password="x"))
    request.session["cart"] = {"items": []}
    return JsonResponse({})


def add(request: HttpRequest) -> JsonResponse:
    items = request.session["cart"]["items"]
    time.sleep(0.05)  # so that the requests overlap
    items.append(int(request.GET["n"]))
    return JsonResponse({})


async def aadd(request: HttpRequest) -> JsonResponse:
    items = (await request.session.aget("cart"))["items"]
    await asyncio.sleep(0.05)
    items.append(int(request.GET["n"]))
    return JsonResponse({})


def see(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"user": str(request.user), "cart": request.session.get("cart")})


urlpatterns: list[Any] = [path("sign-in", sign_in), path("see", see)]


def main(kind: str) -> None:
    urlpatterns.append(path("add", add if kind == "wsgi" else aadd))
    if not Path("users.sqlite3").exists():
        call_command("migrate", verbosity=0)
        User.objects.create_user("ada", password="x")
    if kind == "wsgi":
        from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
        from django.core.wsgi import get_wsgi_application

        class Quiet(WSGIRequestHandler):  # type: ignore[misc]  # Django is not typed
            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadedWSGIServer(("127.0.0.1", 0), Quiet)  # what ``manage.py runserver`` serves with
        server.set_app(get_wsgi_application())
        print(server.server_port, flush=True)
        server.serve_forever()
    else:
        import uvicorn
        from django.core.asgi import get_asgi_application

        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen(128)
            print(listening.getsockname()[1], flush=True)
            config = uvicorn.Config(get_asgi_application(), log_level="warning", lifespan="off")
            uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main(sys.argv[1])
