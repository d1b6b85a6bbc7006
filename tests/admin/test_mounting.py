"""Live apps mounted in WSGI applications and Django sites, on real servers: gunicorn with several workers, the servers
of Flask and of Django, and Django's ASGI handler. The bridge itself: what it hands over, bounds and ends."""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from browsing import Guest, chromium
from plain import PlainTab
from playwright.sync_api import expect
from served_mounted import AT
from visiting import Visitor
from werkzeug.test import Client

from servers.process import LOOPBACK, Process
from sojourn import ConfigurationError
from sojourn.admin.bridge import BODY
from sojourn.admin.wsgi import Mounted, mounted

HERE = Path(__file__).parent


class Mounting(Process):
    """A site with the counter in it, in a process of its own."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def command(self) -> list[str]:
        if self.kind in ("wsgi", "asgi"):
            return [sys.executable, str(HERE / "served_mounted.py"), self.kind, str(self.port)]
        where = ["--bind", f"{LOOPBACK}:{self.port}", "--chdir", str(self.folder), "--pythonpath", str(HERE)]
        workers = ["--workers", "2", "--threads", "3", "--log-level", "warning", "--no-control-socket"]
        if self.kind == "gunicorn, one thread":
            workers = ["--workers", "1", "--worker-class", "sync", "--log-level", "warning", "--no-control-socket"]
        early = ["--preload"] if self.kind == "gunicorn" else []  # imported before the workers are forked
        return [sys.executable, "-m", "gunicorn", *where, *workers, *early, "served_mounted:flask_site()"]

    def answers(self) -> bool:
        try:
            return httpx.get(f"http://{LOOPBACK}:{self.port}/pid", timeout=2).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module", params=["wsgi", pytest.param("asgi", marks=pytest.mark.battery)])
def django_site(request: pytest.FixtureRequest) -> Iterator[Mounting]:
    """A Django site behind the server of ``runserver``, and behind an ASGI server."""
    with serving(request.param) as process:
        yield process


@contextmanager
def serving(kind: str) -> Iterator[Mounting]:
    """The site, while its server runs."""
    process = Mounting(kind)
    try:
        yield process.start()
    finally:
        process.close()


def label(tab: PlainTab) -> str:
    text: str = tab.shows("s:label")["text"]
    return text


def test_it_works_under_gunicorn() -> None:
    """With two workers of three threads each, which were forked after the import."""
    with serving("gunicorn") as process:
        _works(process)


@pytest.mark.battery
def test_it_works_under_django(django_site: Mounting) -> None:
    """With its WSGI handler, and with its ASGI handler."""
    _works(django_site)


def _works(process: Mounting) -> None:
    """The page says that it has no socket, each of twenty clicks is done once, another tab sees them, and while six
    tabs wait for news the site answers its own requests. Another site's posts are refused, and what is too large."""
    with ThreadPoolExecutor(6) as pool:
        visitor = Visitor(process.port, AT)
        tab, other = PlainTab(visitor), PlainTab(visitor)
        assert 'data-transport="exchange"' in visitor.html
        assert f'data-root="{AT}/"' in visitor.html
        strangers = [PlainTab(Visitor(process.port, AT)) for _ in range(6)]
        waiting = [pool.submit(one.exchange) for one in strangers]
        time.sleep(0.2)
        began = time.monotonic()
        for _ in range(4):
            assert process.answers()
        assert time.monotonic() - began < 3.0  # and not the 5 s that they wait
        for n in range(20):
            tab.click("s:b")
            assert label(tab) == f"Clicked {n + 1} times"
        other.until(lambda page: page.props("s:label")["text"] == "Clicked 20 times")
        for one in waiting:
            assert one.result(8)["close"] == 0
        tab.event("s:b", "click")
        assert tab.post(tab.body(), Origin="https://evil.example").status_code == 403
        assert tab.post(b" " * (BODY + 1)).status_code == 413
        assert label(PlainTab(visitor)) == "Clicked 20 times"


@pytest.mark.battery
def test_on_a_server_of_one_thread_nobody_waits() -> None:
    """It would serve nobody else meanwhile: exchanges are answered at once, and told to come again."""
    with serving("gunicorn, one thread") as process:
        tab = PlainTab(Visitor(process.port, AT))
        began = time.monotonic()
        assert tab.exchange()["pause"] == 1.0
        assert time.monotonic() - began < 3.0  # and not the 5 s that it would wait
        tab.click("s:b")
        assert label(tab) == "Clicked 1 times"


def test_what_django_hands_over(django_site: Mounting) -> None:
    """What is mounted finds the site's user and its request; its cookies go out as it wrote them, and its other headers
    too. A POST needs no token of Django's."""
    response = httpx.post(f"http://{LOOPBACK}:{django_site.port}/who/is/it%20then?x=1", content=b"x")
    assert (response.status_code, response.text) == (203, "AnonymousUser /who/is/it then /who")
    assert response.headers["content-type"] == "text/x"
    assert response.headers.get_list("set-cookie") == ["a=1; Path=/; HttpOnly; Partitioned", "b=2; Max-Age=5"]


@pytest.mark.battery
def test_in_a_browser_under_gunicorn() -> None:
    """Two visitors click in Chromium, each served by two workers: each click counts once, a second tab follows, and
    nothing is complained of."""
    with serving("gunicorn") as process, chromium() as browser:
        guests = [Guest(browser, f"http://{LOOPBACK}:{process.port}{AT}") for _ in range(2)]
        try:
            for guest in guests:
                second, page = guest.open(), guest.open()
                for n in range(8):
                    page.get_by_role("button", name="Click me").click()
                    expect(page.get_by_text(f"Clicked {n + 1} times")).to_be_visible()
                expect(second.get_by_text("Clicked 8 times")).to_be_visible()
                assert guest.complaints == []
        finally:
            for guest in guests:
                guest.close()


# --- The bridge ------------------------------------------------------------------------------------------------------


class Told:
    """An ASGI application that tells what it is asked, and remembers its start and its end."""

    def __init__(self) -> None:
        self.life: list[str] = []
        self.threads: set[str] = set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.threads.add(threading.current_thread().name)
        if scope["type"] == "lifespan":
            for what in ("startup", "shutdown"):
                assert (await receive())["type"] == f"lifespan.{what}"
                self.life.append(what)
                await send({"type": f"lifespan.{what}.complete"})
            return
        if scope["path"].endswith("/fails"):
            raise ValueError("it fails")
        if scope["path"].endswith("/says-nothing"):
            return
        body = (await receive())["body"]
        shown = f"{scope['method']} {scope['root_path']} {scope['path']} {scope['query_string'].decode()} {len(body)}"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"X-Two", b"1"), (b"X-Two", b"2")]})
        await send({"type": "http.response.body", "body": shown.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b"."})


def site(environ: Any, start_response: Any) -> list[bytes]:
    """The application around it."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [environ["PATH_INFO"].encode()]


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def bridged(told: Told) -> Iterator[Mounted]:
    mounting = mounted(site, told, "/admïn/")
    yield mounting
    mounting.close()


def test_what_is_under_the_path_is_its_own(bridged: Mounted) -> None:
    """What is under the path goes to the mounted application, with all that ASGI says of it; the rest goes where it
    went; the path itself leads one slash further, with its query."""
    client = Client(bridged)
    assert client.get("/").text == "/"
    assert client.get("/admïnistration").status_code == 200
    response = client.post("/adm%C3%AFn/a%20b/c?q=1", data=b"four", base_url="http://x/app/")
    assert response.text == "POST /app/admïn /app/admïn/a b/c q=1 4."
    assert response.headers.getlist("X-Two") == ["1", "2"]
    head = client.head("/adm%C3%AFn/")
    assert (head.status_code, head.data) == (200, b"")
    response = client.get("/adm%C3%AFn?q=1", base_url="http://x/app/")
    assert (response.status_code, response.headers["Location"]) == (307, "/app/adm%C3%AFn/?q=1")


@pytest.mark.parametrize("at", ["", "/", "//", "admin", "admin/"])
def test_a_path_that_cannot_be(at: str) -> None:
    """A path begins with a slash, and is more than that."""
    with pytest.raises(ConfigurationError):
        mounted(site, Told(), at)


def test_it_begins_with_the_first_request_and_ends(told: Told, bridged: Mounted) -> None:
    """There is no thread before the first request, one for all of them, and none when it was closed; the application is
    told of its start and its end, once."""
    assert (told.life, told.threads) == ([], set())
    with ThreadPoolExecutor(4) as pool:
        pages = list(pool.map(lambda _: Client(bridged).get("/adm%C3%AFn/").status_code, range(8)))
    assert pages == [200] * 8
    assert (told.life, told.threads) == (["startup"], {"sojourn bridge"})
    bridged.close()
    bridged.close()
    assert told.life == ["startup", "shutdown"]
    assert "sojourn bridge" not in [thread.name for thread in threading.enumerate()]
    with pytest.raises(ConfigurationError):
        Client(bridged).get("/adm%C3%AFn/")


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")  # which is what it is about
def test_it_begins_anew_after_a_fork(told: Told, bridged: Mounted) -> None:
    """A process that was forked from one that had answered requests answers them, too."""
    assert Client(bridged).get("/adm%C3%AFn/").status_code == 200
    pid = os.fork()
    if pid == 0:  # the other process
        status = 1
        try:
            status = 0 if Client(bridged).get("/adm%C3%AFn/").status_code == 200 else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert told.life == ["startup"]


def test_bodies_are_bounded(bridged: Mounted) -> None:
    """A body of more than a megabyte is refused, whether its length is said or not; one that is shorter than it was
    said to be is what it is; of one whose length is not said and that nobody ends, nothing is read."""
    client = Client(bridged)
    ended = {"wsgi.input_terminated": True, "CONTENT_LENGTH": ""}

    def post(data: bytes, **environ: Any) -> Any:
        return client.post("/adm%C3%AFn/", input_stream=io.BytesIO(data), environ_overrides=environ)

    assert post(b"x" * 10, CONTENT_LENGTH="10").text.endswith(" 10.")
    assert post(b"x" * 10, CONTENT_LENGTH="12").text.endswith(" 10.")
    assert post(b"x" * 10, **ended).text.endswith(" 10.")
    assert post(b"x" * BODY, **ended).text.endswith(f" {BODY}.")
    assert post(b"x" * (BODY + 1), **ended).status_code == 413
    assert post(b"", CONTENT_LENGTH=str(BODY + 1)).status_code == 413
    assert post(b"", CONTENT_LENGTH="9" * 5000).status_code == 413
    assert post(b"x" * 10, CONTENT_LENGTH="").text.endswith(" 0.")
    assert post(b"x" * 10, CONTENT_LENGTH="-1").text.endswith(" 0.")


@pytest.mark.parametrize("what", ["fails", "says-nothing"])
def test_an_application_that_fails(bridged: Mounted, what: str, caplog: pytest.LogCaptureFixture) -> None:
    """What it raises, and that it gave no answer, is logged, and answered with 500; the next request is none the
    worse."""
    response = Client(bridged).get(f"/adm%C3%AFn/{what}")
    assert (response.status_code, response.text) == (500, "Internal Server Error\n")
    assert "the mounted application" in caplog.text
    assert Client(bridged).get("/adm%C3%AFn/").status_code == 200


def test_what_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A request that is not answered in time is answered with 503, and what was begun is cancelled."""
    import asyncio

    monkeypatch.setattr("sojourn.admin.bridge._PATIENCE", 0.2)
    cancelled = threading.Event()

    async def slow(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                cancelled.set()
                raise

    mounting = mounted(site, slow, "/slow")
    try:
        response = Client(mounting).get("/slow/")
        assert (response.status_code, response.headers["Retry-After"]) == (503, "1")
        assert cancelled.wait(5)
        assert "given up" in caplog.text
    finally:
        mounting.close()


def test_an_application_that_does_not_start(caplog: pytest.LogCaptureFixture) -> None:
    """What cannot start raises for whoever asks, and leaves no thread; the next request tries again."""

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no store"})

    mounting = mounted(site, failing, "/x")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no store"):
            Client(mounting).get("/x/")
    assert "sojourn bridge" not in [thread.name for thread in threading.enumerate()]
    mounting.close()
