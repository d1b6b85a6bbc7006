"""Tabs that have no socket: they do what `exchange.js` does, one exchange when a test asks for one.

tab = PlainTab(site.visitor())
assert tab.click("s:button")["t"] == "changes"
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
from visiting import PATIENCE, Frame, Model, Visitor, new_tab

__all__ = ["PlainTab"]


class PlainTab:
    """A tab, and the model of its page. ``exchange`` makes one exchange; the rest makes as many as it needs."""

    def __init__(self, visitor: Visitor, model: Model | None = None) -> None:
        self.visitor = visitor
        self.name = new_tab()
        self.model = model or visitor.load()
        self.root = visitor.root
        """Where exchanges go: another process's address may be put here."""
        self.page = ""
        """The digest that the last answer told."""
        self.taken = 0
        self.sent = 0
        self.frames: list[Frame] = []
        """All that came."""
        self.waiting: dict[int, Frame] = {}
        self.answers: dict[int, Frame] = {}

    def body(self, **more: Any) -> dict[str, Any]:
        """What the next exchange says."""
        first = min(self.waiting, default=self.sent + 1)
        hello = {"t": "hello", "v": 1, "tab": self.name, "s": self.model.s, "g": self.model.g, "n": first}
        events = [] if self.taken >= first else list(self.waiting.values())
        return {"hello": hello, "events": events, "page": self.page, "wait": True, **more}

    def post(self, body: Any, **headers: str) -> httpx.Response:
        """What is answered to a body, whatever it is."""
        text = body if isinstance(body, bytes) else json.dumps(body).encode()
        said = {"Content-Type": "application/json", "Origin": self.root, **self.visitor.cookie_header(), **headers}
        return httpx.post(f"{self.root}/_live/exchange", content=text, headers=said, timeout=PATIENCE, verify=False)

    def exchange(self, **more: Any) -> dict[str, Any]:
        """One exchange; its answer, which the model has taken."""
        response = self.post(self.body(**more))
        assert response.status_code == 200, (response.status_code, response.text[:300])
        answer: dict[str, Any] = {"frames": [], "page": "", "taken": 0, "pause": 0.0, "close": 0, **response.json()}
        self.page = answer["page"]
        self.taken = answer["taken"] or self.taken
        for frame in answer["frames"]:
            self._take(frame)
        return answer

    def _take(self, frame: Frame) -> None:
        self.frames.append(frame)
        if frame["t"] == "place":
            self.model.s, self.model.g = list(frame["s"]), list(frame["g"])
        self.model.take(frame)
        by = frame.get("by")
        done = frame.get("n", 0) if frame["t"] in ("ack", "error") else frame["done"] if frame["t"] == "page" else 0
        if by is not None and by[0] == self.name:
            done = by[1]
        for n in [n for n in self.waiting if n <= done]:
            self.answers[n] = frame
            del self.waiting[n]

    def event(self, id_: str, event: str, value: Any = None) -> int:
        """Have an event go with the next exchange; its number."""
        self.sent += 1
        self.waiting[self.sent] = {"t": "event", "n": self.sent, "id": id_, "event": event, "value": value}
        return self.sent

    def answer(self, n: int) -> Frame:
        """Exchange until an event is answered; the answer."""
        give_up = time.monotonic() + PATIENCE
        while n not in self.answers:
            assert time.monotonic() < give_up, f"event {n} was never answered"
            self.exchange()
        return self.answers[n]

    def do(self, id_: str, event: str, value: Any = None) -> Frame:
        """An event; what answers it."""
        return self.answer(self.event(id_, event, value))

    def click(self, id_: str) -> Frame:
        """A click; what answers it."""
        return self.do(id_, "click")

    def shows(self, id_: str) -> dict[str, Any]:
        """The properties of a widget that is shown."""
        return self.model.props(id_)

    def until(self, condition: Callable[[Model], object]) -> Model:
        """Exchange until the page is so."""
        give_up = time.monotonic() + PATIENCE
        while not condition(self.model):
            assert time.monotonic() < give_up, f"it never came; the page is {self.model.children}"
            self.exchange()
        return self.model
