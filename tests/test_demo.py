"""The demo: a shop in a browser, on a real server that is killed and started again; and its rules, without one."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from sojourn import AsyncSessionManager, StoreUnavailable
from sojourn.cli import main
from sojourn.demo import pages, shop
from sojourn.demo.app import make_app
from sojourn.demo.devices import device_label
from sojourn.demo.race import WholeSaves
from sojourn.demo.server import CONFIG

ORIGIN = "http://127.0.0.1:8765"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/18.0 Mobile/15E148 Safari/604.1"
)
CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0"

expect.set_options(timeout=20_000)  # a busy machine is no failure

# --- In a browser --------------------------------------------------------------------------------------------------


class Server:
    """The demo as a process of its own."""

    def __init__(self, store: Path, port: int = 0, stderr: int | None = None) -> None:
        command = ["demo", "--no-browser", "--json", "--port", str(port), "--store", f"sqlite:///{store}"]
        program = [sys.executable, "-m", "sojourn", *command]
        self.process = subprocess.Popen(program, stdout=subprocess.PIPE, stderr=stderr, text=True)
        give_up = threading.Timer(30, self.process.kill)
        give_up.start()
        assert self.process.stdout is not None
        said = self.process.stdout.readline()
        give_up.cancel()
        assert said, "the demo did not start"
        self.url: str = json.loads(said)["url"]
        assert json.loads(said)["pid"] == self.process.pid

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1].strip("/"))

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def chromium() -> Iterator[Browser]:
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    path = next((path for path in found if path), None)
    assert path, "no Chromium on this machine: install one (apt-get install chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def visit(browser: Browser, url: str, **options: Any) -> tuple[Page, list[str]]:
    """A page in a browser profile of its own, and what it complains of."""
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(20_000)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url)
    return page, complaints


def sign_in(page: Page, name: str) -> None:
    page.get_by_label("Your name").fill(name)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#fire")).to_be_enabled()


def fire(page: Page) -> None:
    page.locator("#fire").click()
    expect(page.locator("#race-result")).to_have_text(re.compile(r"50 of 50\s+kept"))


# Every text must stand out from what is behind it: 4.5 to 1, or 3 to 1 where it is large (WCAG 2.2, 1.4.3).
FAINT_TEXT = """() => {
  const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
  };
  const faint = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || !element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(numbers(style.color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) faint.push(`${ratio.toFixed(1)}: ${element.outerHTML}`);
  }
  return faint;
}"""


def look(page: Page, folder: Path, name: str) -> None:
    """A picture at phone and desktop width, light and dark; nothing is cut off, and no text is faint."""
    for width, height in ((360, 780), (1280, 900)):
        for scheme in ("light", "dark"):
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.evaluate("scrollTo(0, 0)")
            page.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(FAINT_TEXT) == []


@pytest.mark.battery
def test_the_shop(tmp_path: Path) -> None:
    """Sign in, fill a cart, fire 50 requests: 50 are kept. Sign in elsewhere: two devices, and one signs the other out.
    Kill -9 and start again: signed in, with the cart."""
    store, server = tmp_path / "demo.db", Server(tmp_path / "demo.db")
    try:
        with chromium() as browser:
            page, complaints = visit(browser, server.url)
            look(page, tmp_path, "anonymous")
            page.get_by_role("button", name="Add to the cart: Folding map").click()
            expect(page.get_by_test_id("cart-count")).to_have_text("1")
            sign_in(page, "Ada Lovelace")
            page.get_by_role("button", name="Add to the cart: Brass compass").click()
            expect(page.get_by_test_id("cart-count")).to_have_text("2")
            fire(page)
            expect(page.get_by_test_id("cart-count")).to_have_text("52")
            kept_whole = re.search(r"(\d+) of 50 would be left", page.locator("#versus").inner_text())
            assert kept_whole is not None
            assert int(kept_whole[1]) < 50

            other, _ = visit(browser, server.url, user_agent=IPHONE)
            sign_in(other, "ada lovelace")
            expect(other.locator(".device")).to_have_count(2)
            page.reload()
            expect(page.locator(".device")).to_have_count(2)
            expect(page.locator(".device").nth(0)).to_contain_text("this device")
            expect(page.locator(".device").nth(1)).to_contain_text("Safari on iPhone")
            fire(page)
            look(page, tmp_path, "signed-in")
            page.get_by_role("button", name="Sign out everywhere else").click()
            expect(page.locator(".device")).to_have_count(1)
            expect(other.get_by_text("You were signed out from another device")).to_be_visible()
            expect(other.get_by_label("Your name")).to_be_visible()
            assert complaints == []

            handle, pid = page.locator(".pass .mono").inner_text(), server.process.pid
            server.kill()
            expect(page.get_by_text("The server is gone.")).to_be_visible()
            server = Server(store, server.port)
            expect(page.get_by_text("Your session is older than this server.")).to_be_visible()
            page.reload()
            assert server.process.pid != pid
            expect(page.get_by_test_id("pid")).to_have_text(str(server.process.pid))
            expect(page.locator("#account")).to_contain_text("Ada Lovelace")
            expect(page.get_by_test_id("cart-count")).to_have_text("102")
            assert page.locator(".pass .mono").inner_text() == handle
    finally:
        server.kill()


@pytest.mark.battery
def test_the_shop_by_keyboard(tmp_path: Path) -> None:
    """The whole way to a filled cart can be gone without a mouse, and focus is not lost when parts are swapped."""
    server = Server(tmp_path / "demo.db")
    try:
        with chromium() as browser:
            page, complaints = visit(browser, server.url)
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
            page.get_by_label("Your name").focus()
            page.keyboard.type("Grace")
            page.keyboard.press("Enter")
            expect(page.locator("#fire")).to_be_enabled()
            page.get_by_role("button", name="Add to the cart: Travel journal").focus()
            page.keyboard.press("Enter")
            expect(page.get_by_test_id("cart-count")).to_have_text("1")
            page.get_by_role("button", name="Remove Travel journal").focus()
            page.keyboard.press("Enter")
            expect(page.locator("#cart-title")).to_be_focused()
            assert page.get_by_role("button").evaluate_all("all => all.every((one) => one.textContent.trim())")
            assert complaints == []
    finally:
        server.kill()


@pytest.mark.battery
def test_the_shop_without_javascript(tmp_path: Path) -> None:
    """Signing in, the cart and signing out are plain forms."""
    server = Server(tmp_path / "demo.db")
    try:
        with chromium() as browser:
            page, _ = visit(browser, server.url, java_script_enabled=False)
            page.get_by_label("Your name").fill("Grace")
            page.get_by_role("button", name="Sign in").click()
            page.get_by_role("button", name="Add to the cart: Travel journal").click()
            expect(page.get_by_test_id("cart-count")).to_have_text("1")
            page.get_by_role("button", name="Sign out", exact=True).click()
            expect(page.get_by_text("You are signed out.")).to_be_visible()
    finally:
        server.kill()


# --- Without one ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    text: str


class Client:
    """A browser's network side, in memory: sends requests of our own pages, keeps the cookie, follows redirects."""

    def __init__(self) -> None:
        self.manager = AsyncSessionManager("memory://", config=CONFIG)
        self.app = make_app(self.manager, "memory://")
        self.runner = asyncio.Runner()
        self.headers = {"host": "127.0.0.1:8765", "sec-fetch-site": "same-origin"}
        self.session_id = ""

    def get(self, target: str, **headers: str) -> Answer:
        return self.send("GET", target, b"", headers)

    def post(self, target: str, body: bytes = b"", follow: bool = True, **form: str) -> Answer:
        answer = self.send("POST", target, body or urlencode(form).encode(), {})
        if answer.status != 303 or not follow:
            return answer
        return self.get(answer.headers["location"].split("#")[0])

    def send(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Answer:
        sent = {**self.headers, **({"cookie": f"sojourn_demo={self.session_id}"} if self.session_id else {}), **headers}
        answer = self.runner.run(self._exchange(method, target, body, sent))
        if "set-cookie" in answer.headers:
            self.session_id = SimpleCookie(answer.headers["set-cookie"])["sojourn_demo"].value
        return answer

    async def _exchange(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Answer:
        path, _, query = target.partition("?")
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": raw}
        told: list[Any] = []
        coming = [{"type": "http.request", "body": body}]

        async def receive() -> Any:
            return coming.pop() if coming else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            told.append(message)

        await self.app({**scope, "root_path": "", "client": None, "server": None}, receive, send)
        text = b"".join(message.get("body", b"") for message in told[1:]).decode()
        found = {name.decode(): value.decode() for name, value in told[0]["headers"]}
        return Answer(told[0]["status"], found, text)


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client()
    yield client
    client.runner.run(client.manager.close())
    client.runner.close()


def test_a_visitor_leaves_no_trace(client: Client) -> None:
    """Whoever only looks gets no cookie, and nothing is stored."""
    answer = client.get("/")
    assert answer.status == 200
    assert "set-cookie" not in answer.headers
    assert "You have no session yet" in answer.text
    assert client.runner.run(client.manager.stats()).sessions == 0


def test_signing_in_replaces_the_secret_and_keeps_the_cart(client: Client) -> None:
    """The cart of a visitor is theirs after signing in; the id from before is dead, and no page shows the new one."""
    client.post("/cart/add", sku="map")
    before = client.session_id
    page = client.post("/sign-in", name="Ada")
    after = client.session_id
    assert before.split(".")[0] == after.split(".")[0]
    assert before != after
    assert "Folding map" in page.text
    assert after.split(".")[1] not in page.text
    stale = client.get("/", cookie=f"sojourn_demo={before}")
    assert 'data-signed-in="no"' in stale.text


@pytest.mark.parametrize("name", ["Ada", "Zoë O'Neill-Smith", "नेहा", "李 小龙", "J. R. R.", "x" * 40])
def test_names(name: str) -> None:
    """Names of the world are names."""
    assert shop.clean_name(f"  {name}  ") == name


@pytest.mark.parametrize("name", ["", "   ", "x" * 41, "<b>Ada</b>", "a;b", "-Ada", "Ada\x00", "ada@example.org"])
def test_no_names(name: str, client: Client) -> None:
    """What is no name signs nobody in, and stores nothing."""
    page = client.post("/sign-in", name=name)
    assert "A name has 1 to 40" in page.text
    assert client.session_id == ""


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-origin", "host": "evil.example"},
        {"sec-fetch-site": "same-origin", "host": "127.0.0.1.evil.example:8765"},
    ],
)
def test_another_site_changes_nothing(headers: dict[str, str], client: Client) -> None:
    """A request from another site, or under another host's name, is refused with 403."""
    client.headers |= headers
    assert client.post("/cart/add", sku="map").status == 403
    assert client.session_id == ""


@pytest.mark.parametrize(
    ("origin", "status"), [(ORIGIN, 303), ("http://evil.example", 403), ("null", 403), (None, 403)]
)
def test_browsers_that_send_only_an_origin(origin: str | None, status: int, client: Client) -> None:
    """Where a browser does not say which site it is on, its Origin decides."""
    del client.headers["sec-fetch-site"]
    client.headers |= {} if origin is None else {"origin": origin}
    assert client.post("/cart/add", follow=False, sku="map").status == status


def test_headers(client: Client) -> None:
    """Every answer forbids inline script and anything from elsewhere, and the pages keep to it."""
    for path in ("/", "/static/demo.css", "/nothing", "/pulse"):
        policy = client.get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
    cookie = client.post("/sign-in", follow=False, name="Ada").headers["set-cookie"]
    assert "; httponly; samesite=lax" in cookie.lower()
    page = client.get("/")
    assert page.headers["cache-control"] == "no-store"
    assert not re.search(r'<script(?! src="/static/)|<style| style=| on\w+=|https?://', page.text)


def test_only_ones_own_devices(client: Client) -> None:
    """A handle signs a device out for its own user, and for nobody else."""
    made = []
    for name in ("Ada", "Ada", "Eve"):
        client.session_id = ""
        client.post("/sign-in", name=name)
        made.append(client.session_id)
    handle = made[1].split(".")[0]
    assert client.post("/devices/end", handle=handle).status == 404
    assert '"alive":true' in client.get(f"/pulse?session={handle}").text
    client.session_id = made[0]
    assert client.post("/devices/end", handle=handle).status == 200
    assert '"alive":false' in client.get(f"/pulse?session={handle}").text
    client.post("/devices/end", handle=made[0].split(".")[0])
    assert 'data-signed-in="no"' in client.get("/").text


@pytest.mark.parametrize(
    ("target", "body", "status"),
    [
        ("/cart/add", b"sku=yacht", 404),
        ("/cart/add", b"", 404),
        ("/cart/add", b"sku=map&sku=map", 404),
        ("/cart/add", b"sku=" + b"x" * 10_000, 404),
        ("/cart/add", b"\xff\xfe%zz", 404),
        ("/cart/remove", b"sku=map", 200),
        ("/cart/empty", b"", 200),
        ("/devices/end", b"handle=%00", 404),
        ("/devices/end-others", b"", 200),
        ("/sign-out", b"", 200),
        ("/fire?run=abcdefgh&n=1", b"", 401),
    ],
)
def test_odd_forms(target: str, body: bytes, status: int, client: Client) -> None:
    """Whatever a visitor sends is answered, with no error of ours and no session."""
    assert client.post(target, body).status == status
    assert client.session_id == ""


@pytest.mark.parametrize(
    "query", ["run=abcdefgh&n=50", "run=abcdefgh&n=-1", "run=<b>&n=1", "n=1", "run=abcdefgh&n=%C2%B2"]
)
def test_odd_requests_of_the_fifty(query: str, client: Client) -> None:
    """What the page would not send is refused."""
    client.post("/sign-in", name="Ada")
    assert client.post(f"/fire?{query}").status == 400


def test_a_full_cart(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cart has an end, long before the session has."""
    monkeypatch.setattr("sojourn.demo.app.FULL_CART", 2)
    client.post("/sign-in", name="Ada")
    for _ in range(2):
        client.post("/cart/add", sku="map")
    assert "The cart is full" in client.post("/cart/add", sku="map").text
    assert client.post("/fire?run=abcdefgh&n=1").status == 409


def test_templates_escape() -> None:
    """What goes into a template is text, whatever it looks like."""
    filled = pages.fill("account", name="<script>alert('x')</script>\"&")
    assert "<script>" not in filled
    assert "&lt;script&gt;alert(&#x27;x&#x27;)&lt;/script&gt;&quot;&amp;" in filled


@pytest.mark.parametrize(
    ("user_agent", "label"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0", "Firefox on Linux"),
        (IPHONE, "Safari on iPhone"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {CHROME} Safari/537.36 Edg/140.0.0.0", "Edge on Windows"),
        (f"Mozilla/5.0 (Linux; Android 15; Pixel 9) {CHROME} Mobile Safari/537.36", "Chrome on Android"),
        (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {CHROME} Safari/537.36", "Chrome on macOS"),
        ("curl/8.9", "curl"),
        ("", "A browser"),
        ("<b>" * 1000, "A browser"),
    ],
)
def test_device_labels(user_agent: str, label: str) -> None:
    """A browser is named as people would name it, and never in its own words."""
    assert device_label(user_agent) == label


def test_whole_saves() -> None:
    """The comparison is honest: two that load before either saves leave one; in turn, both."""
    whole = WholeSaves()
    first, second = whole.load("a"), whole.load("a")
    whole.save("a", [*first, 1])
    whole.save("a", [*second, 2])
    assert whole.load("a") == [2]
    whole.save("a", [*whole.load("a"), 3])
    assert whole.load("a") == [2, 3]
    for run in range(200):
        whole.save(str(run), [run])
    assert whole.load("a") == []


def test_a_store_that_fails(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that gives no answer is a 503 that says when to come back, and the cookie is left alone."""
    client.post("/sign-in", name="Ada")

    async def fails(*_: Any, **__: Any) -> Any:
        raise StoreUnavailable("the disk is gone")

    monkeypatch.setattr(client.manager.store, "summaries", fails)
    answer = client.get("/")
    assert (answer.status, answer.headers["retry-after"]) == (503, "1")
    assert "set-cookie" not in answer.headers


def test_control_c(tmp_path: Path) -> None:
    """Ctrl-C ends the server quietly, and the store is closed."""
    server = Server(tmp_path / "demo.db", stderr=subprocess.PIPE)
    server.process.send_signal(signal.SIGINT)
    out, err = server.process.communicate(timeout=20)
    assert (server.process.returncode, out, err) == (0, "", "")
    assert not (tmp_path / "demo.db-wal").exists()


def test_a_store_that_cannot_be_opened(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A store that cannot be opened is told in a line."""
    code = main(["demo", "--no-browser", "--port", "0", "--store", f"sqlite:///{tmp_path / 'no' / 'demo.db'}"])
    captured = capsys.readouterr()
    assert (code, captured.out, captured.err.count("\n")) == (1, "", 1)


def test_a_taken_port(capsys: pytest.CaptureFixture[str]) -> None:
    """A port that is taken is told in a line, with the remedy."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code = main(["demo", "--no-browser", "--port", str(taken.getsockname()[1]), "--store", "memory://"])
    captured = capsys.readouterr()
    assert (code, captured.out, captured.err.count("\n")) == (1, "", 1)
    assert "--port" in captured.err
