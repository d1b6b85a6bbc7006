"""Chromium for the tests of live apps: visitors with a browser profile of their own, what their pages complain of, and
checks of what a page looks like and can be used with.

    with chromium() as browser:
        ada = Guest(browser, url)
        page = ada.open()
        page.get_by_role("button", name="Click me").click()
        assert ada.complaints == []

What a page is checked for (`faults`) is what can be decided by a program: names of what can be used, labels, headings
in order, ids that are there once and lead somewhere, contrast, nothing wider than the page, touch targets, and that the
keyboard gets everywhere and is seen there. Names and roles are those that Chromium tells to screen readers.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, expect, sync_playwright
from visiting import Site, served

from servers.process import LOOPBACK

__all__ = ["FLAGS", "Guest", "Visits", "chromium", "faults", "live", "look", "unreachable", "wake"]

FLAGS: Final = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE: Final = 20_000  # ms: a busy machine is no failure

expect.set_options(timeout=PATIENCE)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a screen; one for a module's tests, as it takes a second to start."""
    found = (shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome"))
    path = next((path for path in found if path), None)
    assert path, "no Chromium on this machine: install one (apt-get install chromium)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


# What must never happen, whatever a page is given: told to the test by way of the console.
_SENTINEL = """
  window.ran = (what) => console.error(`it ran: ${what}`);
  document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
    console.error(`refused: ${violatedDirective} ${blockedURI}`));
"""


class Guest:
    """A visitor: a browser profile, and the tabs that are opened in it."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.url = url
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(PATIENCE)
        self.context.add_init_script(_SENTINEL)
        self.complaints: list[str] = []
        """What went wrong in the pages: errors, warnings, dialogs, whatever the sentinel saw."""
        self.frames: list[str] = []
        """What came over the sockets."""
        self.hosts: set[str] = set()
        """Whom its pages asked for anything but images, which may be anybody's."""

    def open(self, url: str = "") -> Page:
        """A tab, whose socket is open."""
        page = self.context.new_page()
        page.on("console", lambda message: message.type in ("error", "warning") and self._complain(message.text))
        page.on("pageerror", lambda error: self._complain(str(error)))
        page.on("dialog", lambda dialog: (self._complain(f"it ran: {dialog.message}"), dialog.dismiss()))
        page.on("websocket", lambda socket: socket.on("framereceived", lambda text: self.frames.append(str(text))))
        page.on("request", lambda request: request.resource_type != "image" and self._asks(request.url))
        page.goto(url or self.url)
        live(page)
        return page

    def _asks(self, url: str) -> None:
        self.hosts.add(urlsplit(url).netloc)

    def _complain(self, text: str) -> None:
        self.complaints.append(text)

    @property
    def cookie(self) -> Any:
        """The cookie of the session; None: there is none."""
        return next((one for one in self.context.cookies() if one["name"].startswith(("live-", "__Host-live-"))), None)

    def close(self) -> None:
        """Close the profile, with its tabs."""
        self.context.close()


class Visits:
    """An app that is served in this process, and who visits it. At the end no page of theirs has complained."""

    def __init__(self, browser: Browser, app: Any) -> None:
        self.site: Site
        self.guests: list[Guest] = []
        self._browser = browser
        self._serving = served(app)

    def guest(self, path: str = "/") -> Guest:
        """Somebody who was never here."""
        self.guests.append(Guest(self._browser, f"http://{LOOPBACK}:{self.site.port}{path}"))
        return self.guests[-1]

    def __enter__(self) -> Self:
        self.site = self._serving.__enter__()
        return self

    def __exit__(self, *why: object) -> None:
        try:
            for guest in self.guests:
                guest.close()
        finally:  # whatever has become of the browser: nothing ends the server's thread but this
            self._serving.__exit__(*why)
        if why[0] is None:
            assert [one for guest in self.guests for one in guest.complaints] == []


def wake(page: Page) -> None:
    """Tell a page that there is a network, as browsers do: it need not wait for its next attempt."""
    page.evaluate("dispatchEvent(new Event('online'))")


def live(page: Page) -> None:
    """Wait until the socket is open."""
    expect(page.locator("html")).to_have_attribute("data-state", "open")


# --- What can be seen and used ---------------------------------------------------------------------------------------

# Every text must stand out from what is behind it: 4.5 to 1, or 3 to 1 where it is large (WCAG 2.2, 1.4.3). Text that
# is for screen readers alone, and what is disabled, need not.
_FAINT = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const numbers = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour[3] > 0) return colour;
    }
    return [255, 255, 255, 255];
  };
  const faint = [];
  for (const element of document.querySelectorAll("body *")) {
    const isField = element.matches("input:not([type=checkbox], [type=range]), textarea, select");
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!(own || isField) || !element.checkVisibility() || element.closest(".unseen, :disabled, script")) continue;
    const style = getComputedStyle(element);
    const isSvg = element.namespaceURI.endsWith("svg");
    const [a, b] = [light(numbers(isSvg ? style.fill : style.color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const isLarge = parseFloat(style.fontSize) >= 24;
    if (ratio < (isLarge ? 3 : 4.5)) faint.push(`${ratio.toFixed(1)}: ${element.outerHTML.slice(0, 120)}`);
  }
  return faint;
}"""

_STRUCTURE = """() => {
  const found = [];
  const brief = (element) => element.outerHTML.slice(0, 140);
  const seen = [...document.querySelectorAll("body *")].filter((one) => one.checkVisibility());
  const ids = [...document.querySelectorAll("[id]")].map((one) => one.id);
  for (const id of new Set(ids.filter((id, at) => ids.indexOf(id) !== at))) found.push(`twice: #${id}`);
  for (const name of ["for", "aria-describedby", "aria-labelledby", "aria-controls"]) {
    for (const one of document.querySelectorAll(`[${name}]`)) {
      for (const id of one.getAttribute(name).split(" ")) {
        if (!document.getElementById(id)) found.push(`${name} leads nowhere: ${brief(one)}`);
      }
    }
  }
  const isNative = "input:not([type=hidden]), textarea, select";
  for (const one of document.querySelectorAll(isNative)) {
    if (![...one.labels].some((label) => label.textContent.trim())) found.push(`no label: ${brief(one)}`);
  }
  let level = 0;
  for (const one of seen.filter((one) => /^h[1-6]$/.test(one.localName))) {
    const next = Number(one.localName[1]);
    if (next > level + 1) found.push(`a heading of level ${next} after one of level ${level}: ${brief(one)}`);
    level = next;
  }
  for (const one of seen.filter((one) => one.localName === "img")) {
    if (!one.hasAttribute("alt")) found.push(`no alt: ${brief(one)}`);
  }
  for (const one of document.querySelectorAll("[role=tab]")) {
    if (one.parentElement.role !== "tablist") found.push(`a tab outside of a tablist: ${brief(one)}`);
    const panel = document.getElementById(one.getAttribute("aria-controls"));
    if (panel?.role !== "tabpanel") found.push(`a tab without a panel: ${brief(one)}`);
  }
  for (const one of document.querySelectorAll("th")) if (!one.scope) found.push(`a th without scope: ${brief(one)}`);
  for (const one of document.querySelectorAll("[aria-hidden=true] :is(button, input, a[href])")) {
    found.push(`hidden from screen readers, but can be used: ${brief(one)}`);
  }
  for (const one of document.querySelectorAll("[tabindex]")) {
    if (one.tabIndex > 0) found.push(`an order of its own: ${brief(one)}`);
  }
  if (document.querySelectorAll("main").length !== 1) found.push("there is one <main>");
  if (!document.documentElement.lang) found.push("no language");
  if (!document.title) found.push("no title");
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > width) {
    const wide = seen.filter((one) => one.getBoundingClientRect().right > width + 1).map(brief);
    found.push(`wider than the page, which has ${width}: ${wide.slice(0, 3)}`);
  }
  if (width < 500) {
    for (const one of seen.filter((one) => one.matches("button, select, summary, input, textarea, .node"))) {
      const target = one.type === "checkbox" ? one.labels[0] ?? one : one;
      const { height } = target.getBoundingClientRect();
      if (height < 43.5 && !one.closest(".json")) found.push(`small to touch, ${height}: ${brief(one)}`);
    }
  }
  return found;
}"""

_NAMED: Final = (
    *("button", "textbox", "searchbox", "checkbox", "radio", "slider", "spinbutton", "combobox", "listbox", "tab"),
    *("link", "img", "image", "progressbar", "DisclosureTriangle", "tabpanel", "region", "complementary"),
    *("tree", "treeitem", "navigation", "dialog", "alertdialog"),
)
"""Roles that are worth nothing without a name."""


def faults(page: Page) -> list[str]:
    """What is wrong with a page as it stands, in words; none, it is to be hoped."""
    session = page.context.new_cdp_session(page)
    try:
        tree = session.send("Accessibility.getFullAXTree")["nodes"]
    finally:
        session.detach()
    nameless = [
        f"a {node['role']['value']} without a name"
        for node in tree
        if not node.get("ignored")
        and node["role"]["value"] in _NAMED
        and not node.get("name", {}).get("value", "").strip()
    ]
    return [*nameless, *page.evaluate(_STRUCTURE), *page.evaluate(_FAINT)]


# What Tab gets to, one after the other; and whether it is seen that the focus is there.
_FOCUSED = """() => {
  const one = document.activeElement;
  if (!one || one === document.body) return null;
  const style = getComputedStyle(one.role === "treeitem" ? one.firstElementChild : one); // not on all that is in it
  const isSeen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  return { at: Number(one.dataset.mark ?? -1), isSeen, what: one.outerHTML.slice(0, 140) };
}"""
_MARK = """() => {
  const all = "a[href], button, input, select, textarea, summary, [tabindex]";
  const wanted = [...document.querySelectorAll(all)].filter((one) =>
    one.checkVisibility({ visibilityProperty: true }) && !one.matches(":disabled") && one.tabIndex >= 0);
  wanted.forEach((one, at) => (one.dataset.mark = at));
  document.activeElement?.blur();
  return wanted.map((one) => one.outerHTML.slice(0, 140));
}"""


def unreachable(page: Page) -> list[str]:
    """What can be used and Tab does not get to, or where it is not seen that it is there."""
    wanted: list[str] = page.evaluate(_MARK)
    reached, unseen = set(), []
    for _ in range(len(wanted) + 5):
        page.keyboard.press("Tab")
        focused = page.evaluate(_FOCUSED)
        if focused is None:
            if len(reached) == len(wanted):
                break
            continue
        reached.add(focused["at"])
        if not focused["isSeen"]:
            unseen.append(f"the focus is not seen on {focused['what']}")
    missed = [f"Tab does not get to {what}" for at, what in enumerate(wanted) if at not in reached]
    page.evaluate("document.activeElement.blur()")
    return [*missed, *unseen]


def look(page: Page, folder: Path, name: str) -> None:
    """A picture at phone and desktop width, light and dark, to be looked at; and no `faults` in any of them."""
    page.bring_to_front()
    for width, height in ((360, 780), (1280, 900)):
        for scheme in ("light", "dark"):
            page.set_viewport_size({"width": width, "height": height})
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            page.evaluate("scrollTo(0, 0)")
            page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            page.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)
            wrong = faults(page)
            assert not wrong, f"{name} at {width} pixels, {scheme}: {wrong}"
    missed = unreachable(page)
    assert not missed, f"{name}: {missed}"
