"""No session id leaves: an operator goes through all views and does all that can be done, with sessions of all sorts,
and what leaves the process meanwhile is kept and searched, for each id that there was, for its secret, and for the
secret's digest. The operator's own id is in the headers Cookie and Set-Cookie, and nowhere else."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from browsing import chromium
from dashing import PASSWORD, Elsewhere, Operator
from gated import Operator as Wire
from leaving import Kept, Overheard, needles_of, needles_of_digest
from playwright.sync_api import Browser, Page, expect
from visiting import Site, served

from servers.process import until
from sojourn import SessionManager, ids
from sojourn.admin import Dashboard, Entry

COOKIE = "sojourn-dashboard"


class Secrets:
    """What must not be found: of all ids that there were, whoever made them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.needles: set[str] = set()
        self.digests: set[bytes] = set()
        self.made: set[str] = set()
        """Secrets of sessions that were made in this process, once all are known."""
        self._minted: list[str] = []
        mint = ids.mint_secret

        def overheard() -> str:
            self._minted.append(mint())
            return self._minted[-1]

        monkeypatch.setattr(ids, "mint_secret", overheard)  # so do sessions: what a rotation makes is told to nobody

    def add(self, session_id: str) -> str:
        """An id; it is returned."""
        self.needles |= needles_of(session_id)
        return session_id

    def note(self, site: Site, engine: Any, handle: str) -> None:
        """What the store has of a session now."""
        record = site.do(engine.store.load(handle))
        if record is not None:
            self.digests.add(record.secret_digest)
            self.needles |= needles_of_digest(record.secret_digest)

    def close(self) -> set[str]:
        """All of them: with the ids that were made here and are a session's."""
        self.made = {secret for secret in self._minted if ids.digest(secret) in self.digests}
        for secret in self.made:
            self.needles |= needles_of(f"h.{secret}")
        return self.needles


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch) -> Secrets:
    return Secrets(monkeypatch)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as one:
        yield one


def crowd(elsewhere: Elsewhere, secrets: Secrets) -> dict[str, str]:
    """Sessions of all sorts, by what is special about them; some of them keep ids, their own and others'."""
    found = {}

    def create(name: str, user: str | None = "ada", data: Any = None, label: str | None = None) -> str:
        found[name] = secrets.add(elsewhere.has("create", user=user, data=data, label=label)["id"])
        return found[name]

    plain = create("plain", data={"theme": "dark", "cart": {"items": [1, 2]}, "n": 1}, label="Firefox on Linux")
    create("nobody", None)
    create("labelled", label=f"was {plain}")
    create("named", plain)
    create(
        "holding",
        data={
            "kept": plain,
            "deep": {"in": ["a list", {"of": f"a dict: {plain}"}], plain: "under it"},
            plain: "a field of that name",
            "api_token": plain,
            "pair": ["password", plain],
        },
    )
    elsewhere.has("write", handle=found["holding"].partition(".")[0], name=f"again {plain}", value=1)
    state = create("state")
    elsewhere.has("state", session_id=state)
    elsewhere.has("run", session_id=state, params={"page": "start", "from": plain, plain: "name"})
    found["state"] = state
    rotated = create("rotated")
    found["rotated"] = secrets.add(elsewhere.has("rotate", session_id=rotated)["id"])
    response = httpx.get(f"{elsewhere.root}/site/sign-in?user=ada", verify=False)
    found["site"] = secrets.add(response.cookies["site"])
    response = httpx.get(f"{elsewhere.root}/live/", verify=False)
    (found["live"],) = [secrets.add(value) for value in response.cookies.values()]
    return found


def write_field(elsewhere: Elsewhere, session_id: str, name: str) -> None:
    elsewhere.has("write", handle=handle_of(session_id), name=name, value=1)


def handle_of(session_id: str) -> str:
    return session_id.partition(".")[0]


def turn_to(page: Page, view: int) -> None:
    page.get_by_role("navigation").get_by_role("button").nth(view).click()


def fill(page: Page, key: str, text: str) -> None:
    page.locator(f"[data-id='g:{key}']").locator("input, textarea").first.fill(text)


def submit(page: Page, key: str) -> None:
    page.locator(f"[data-id='g:{key}']").locator("button[type=submit], .button").last.click()


def confirm(page: Page, key: str) -> None:
    page.locator(f"[data-id='g:{key}']").locator("visible=true").first.click()
    page.get_by_role("alertdialog").get_by_role("button").last.click()


def done(page: Page, words: str) -> None:
    expect(page.locator("[data-id='g:one-done']")).to_contain_text(words)


def look_at(page: Page, session_id: str) -> None:
    """All that there is to see of a session."""
    turn_to(page, 1)
    fill(page, "find", "")
    fill(page, "find-handle", handle_of(session_id))
    submit(page, "find")
    row = page.locator("[data-id='g:found'] tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text(handle_of(session_id))  # and not what was found before
    row.get_by_role("button").first.click()
    expect(page.locator("[data-id='g:one-name']")).to_contain_text(handle_of(session_id))
    page.get_by_role("button", name="Show values").click()
    expect(page.get_by_role("button", name="Hide values")).to_be_visible()
    for at in range(page.locator("[data-id='g:one-fields'] [role=treeitem]").count()):
        node = page.locator("[data-id='g:one-fields'] [role=treeitem]").nth(at).locator(".node").first
        if node.is_visible():
            node.click()
            if page.locator("[data-id='g:one-fields'] [aria-expanded=false]").count():
                node.press("ArrowRight")
    for name in ("Query parameters", "Widgets", "Timeline"):
        page.get_by_role("tab", name=name).click()


def act_on(page: Page) -> None:
    """All that can be done to the session that is open, but to end it."""
    page.locator("[data-id='g:one-fields'] [role=treeitem]").filter(has_text="cart").locator(".node").first.click()
    page.get_by_text("Add something").click()
    fill(page, "one-new-name", "made-here")
    submit(page, "one-add")
    done(page, "added")
    page.locator("[data-id='g:one-fields'] [role=treeitem] .node").first.click()
    expect(page.locator("[data-id='g:one-value'] input, [data-id='g:one-value'] textarea")).to_have_value("dark")
    fill(page, "one-value", "light")
    submit(page, "one-edit")
    done(page, "saved")
    page.locator("[data-id='g:one-fields']").get_by_text("made-here").click()
    confirm(page, "one-delete")
    done(page, "deleted")
    page.get_by_text("Label the device").click()
    fill(page, "one-label", "Found laptop")
    submit(page, "one-naming")
    done(page, "label")
    page.get_by_text("Give it another time").click()
    page.locator("[data-id='g:one-idle'] select").select_option("a day")
    submit(page, "one-longer")
    done(page, "time")


def work(page: Page, sessions: dict[str, str], each: Callable[[str], None], write: Callable[[str], object]) -> None:
    """All views, and all that can be done; ``each`` is called where there is something new to see, and ``write`` has
    the application write a field of this name."""
    each("")
    turn_to(page, 1)
    for name in ("Created", "User", "Size"):
        page.locator("[data-id='g:found'] th").get_by_role("button", name=name).click()
    fill(page, "find-user", "ada")
    submit(page, "find")
    each("")
    fill(page, "find-user", "")
    fill(page, "find-label", "was")
    submit(page, "find")
    expect(page.locator("[data-id='g:found'] tbody tr")).to_have_count(1)
    each("")
    fill(page, "find-label", "")
    for session_id in sessions.values():
        look_at(page, session_id)
        each(handle_of(session_id))
    look_at(page, sessions["state"])
    page.get_by_role("tab", name="Query parameters").click()
    fill(page, "one-param-name", "theme")
    fill(page, "one-param-value", "dark")
    submit(page, "one-param")
    done(page, "address")
    confirm(page, "one-param-clear")
    done(page, "nothing any more")
    look_at(page, sessions["plain"])
    act_on(page)
    for _ in range(2):
        turn_to(page, 2)  # which takes away what was said before
        expect(page.locator("[data-id='g:one-done']")).to_be_hidden()
        confirm(page, "one-rotate")
        done(page, "nobody has it")
        each(handle_of(sessions["plain"]))
        page.get_by_role("button", name="Hide values").click()
        page.get_by_role("button", name="Show values").click()
    confirm(page, "one-end")
    expect(page.get_by_text("no such session any more")).to_be_visible()
    each("")
    look_at(page, sessions["holding"])
    write(f"now {sessions['plain']}")  # while it is followed
    expect(page.locator("[data-id='g:one-life']")).to_contain_text("Changed")
    each("")
    look_at(page, sessions["rotated"])
    confirm(page, "one-end-user")
    expect(page.get_by_text("no such session any more")).to_be_visible()
    turn_to(page, 0)
    time.sleep(1.2)  # so that the overview has it
    each("")
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("This session is over")).to_be_visible()
    each("")


@pytest.mark.battery
def test_no_id_leaves(browser: Browser, tmp_path: Path, secrets: Secrets) -> None:
    """Through all views and all actions, in Chromium: not in the page, nor in an answer, a header, a frame, a request,
    the audit, or any log at any level."""
    url, kept, audit = f"sqlite:///{tmp_path}/sessions.db?deadline=10", Kept(), list[Entry]()
    with Elsewhere(url) as elsewhere, kept.logs():
        sessions = crowd(elsewhere, secrets)
        dashboard = Dashboard(url, password=PASSWORD, audit=audit.append)
        with served(Overheard(dashboard, kept), log_level="trace") as site:
            operator = Operator(browser, site)
            kept.follow(operator.context)
            page = operator.enter()
            own = {one["value"] for one in operator.context.cookies() if one["name"].endswith(COOKIE)}
            assert own

            def each(handle: str) -> None:
                kept.shown(page)
                if handle:
                    secrets.note(site, dashboard.engine, handle)
                own.update(one["value"] for one in operator.context.cookies() if one["name"].endswith(COOKIE))
                for one in own:
                    secrets.note(site, dashboard.operators, handle_of(one))

            work(page, sessions, each, partial(write_field, elsewhere, sessions["holding"]))
            operator.close()
        kept.keep("elsewhere", elsewhere.log.read_text())
    for entry in audit:
        kept.keep("audit", entry)
    for one in own:
        secrets.add(one)
    needles = secrets.close()
    assert {"answer", "frame", "header", "request", "frame sent", "page", "audit", "log sojourn"} <= kept.places()
    assert len(secrets.made) >= 2  # the rotations'
    assert len(secrets.digests) >= len(sessions) + 3
    found = kept.holding(needles)
    assert not found, "\n".join(map(str, found))
    assert {"rotate", "end", "end user", "delete", "set parameter"} <= {one.what for one in audit}


@pytest.mark.battery
def test_no_id_is_printed(browser: Browser, tmp_path: Path, secrets: Secrets) -> None:
    """The same of ``sojourn dashboard``, a process of its own: not on its standard output, nor in its errors."""
    url, kept = f"sqlite:///{tmp_path}/sessions.db?deadline=10", Kept()
    command = [sys.executable, "-m", "sojourn", "dashboard", url, "--port", "0", "--no-browser", "--json"]
    out, errors = tmp_path / "out", tmp_path / "errors"
    with Elsewhere(url) as elsewhere, out.open("wb") as told, errors.open("wb") as complained:
        everybody = crowd(elsewhere, secrets)
        sessions = {name: everybody[name] for name in ("plain", "holding", "state", "rotated")}
        environment = {**os.environ, "SOJOURN_DASHBOARD_PASSWORD": PASSWORD, "PYTHONASYNCIODEBUG": "1"}
        process = subprocess.Popen(command, stdout=told, stderr=complained, env=environment)
        try:
            until(lambda: out.read_bytes().endswith(b"\n"), "the announcement")
            operator = Operator(browser, Site(None, urlsplit(json.loads(out.read_text())["url"]).port, None))
            kept.follow(operator.context)
            page = operator.enter()
            for one in operator.context.cookies():
                secrets.add(one["value"])
            work(page, sessions, lambda _: kept.shown(page), partial(write_field, elsewhere, sessions["holding"]))
            for frame in operator.frames:
                kept.keep("frame", frame)
            operator.close()
        finally:
            process.terminate()
            assert process.wait(20) in (0, -signal.SIGTERM)
    kept.keep("out", out.read_text())
    kept.keep("errors", errors.read_text())
    assert {"out", "frame", "page", "request"} <= kept.places()
    found = kept.holding(secrets.close())
    assert not found, "\n".join(map(str, found))


def test_an_id_that_is_typed_is_not_repeated(tmp_path: Path, secrets: Secrets) -> None:
    """An operator who takes a whole id for a handle (pasted from a cookie, say) finds the session, and the id is in no
    log, in no line of the audit, and in nothing that is shown."""
    url, kept = f"sqlite:///{tmp_path}/sessions.db?deadline=10", Kept()
    with SessionManager(url) as manager, kept.logs():
        session_id = secrets.add(manager.create_session("ada"))
        dashboard = Dashboard(url, password=PASSWORD, audit=lambda entry: kept.keep("audit", entry))
        with served(Overheard(dashboard, kept)) as site:
            ada = Wire(site.port)
            ada.sign_in(PASSWORD)
            tab = ada.tab()
            tab.do("g:nav", "select", "one")
            tab.do("g:goto", "submit", {"g:goto-handle": f" {session_id} "})
            assert tab.shows("g:one-name")["text"] == f"Session {handle_of(session_id)}"
            tab.do("g:nav", "select", "sessions")
            search = {"g:find-user": "", "g:find-label": "", "g:find-age": "any", "g:find-idle": "any"}
            tab.do("g:find", "submit", {**search, "g:find-handle": session_id})
            tab.until(lambda model: model.find("g:find-progress") is None)  # all was looked at
            assert tab.shows("g:found")["keys"] == [handle_of(session_id)]
            ada.load()
            tab.leave()
    assert {"audit", "frame", "answer", "log sojourn"} <= kept.places()
    assert not kept.holding(secrets.close())


def test_what_is_searched_is_found(tmp_path: Path, secrets: Secrets) -> None:
    """The search can fail: ids, secrets and digests that are planted, each in another place and form, are all found
    there."""
    url, kept = f"sqlite:///{tmp_path}/sessions.db?deadline=10", Kept()
    with SessionManager(url) as manager, kept.logs():
        planted = secrets.add(manager.create_session("ada"))
        secret = planted.partition(".")[2]
        digest = ids.digest(secret)
        manager.create_session("bob", {"theme": digest.hex()}, label=urlsafe_b64encode(digest).decode())
        dashboard = Dashboard(url, password=PASSWORD, audit=lambda entry: kept.keep("audit", entry))

        async def leaky(scope: Any, receive: Any, send: Any) -> None:
            async def told(message: Any) -> None:
                if message["type"] == "http.response.start":
                    message = {**message, "headers": [*message["headers"], (b"x-debug", secret.encode())]}
                await send(message)

            await dashboard(scope, receive, told)

        with served(Overheard(leaky, kept)) as site:
            ada = Wire(site.port)
            ada.sign_in(PASSWORD)
            tab = ada.tab()
            tab.do("g:nav", "select", "sessions")
            tab.until(lambda model: model.props("g:found")["keys"])
            ada.load()
            logging.getLogger("sojourn.stores").debug("loaded %s", planted)
            logging.getLogger("uvicorn.error").warning("sent", extra={"what": secret.encode().hex()})
            dashboard._desk.audit.look("ada", b64encode(secret.encode()).decode())
            tab.leave()
    found = {where for where, _ in kept.holding(secrets.close())}
    assert found == {"header", "frame", "answer", "log sojourn", "log uvicorn", "audit"}
