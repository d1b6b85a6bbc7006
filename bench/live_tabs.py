"""The protocols that `live` speaks, one for each contender: how a page's socket is opened and a button clicked, as its
own script in the browser would. They are no more than that needs, and were read off what their pages send."""

from __future__ import annotations

import ast
import html
import json
import re
import secrets
import uuid
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlencode


@dataclass(frozen=True)
class Page:
    """What a new visitor is sent."""

    text: str
    cookie: str


@dataclass(frozen=True)
class Call:
    """How to open the socket of a page."""

    path: str
    first: list[bytes] = field(default_factory=list)
    """What is sent at once."""
    subprotocols: tuple[str, ...] = ()


class Dialect:
    """One page's side of a protocol."""

    name: ClassVar[str]
    binary: ClassVar[bool] = False
    beats: ClassVar[float] = 0.0
    """Every so many seconds the page sends something unasked; 0: never."""
    ready: bool = False
    """Whether a click can be sent."""

    def opens(self, page: Page) -> Call:
        """How to open the socket."""
        raise NotImplementedError  # each contender speaks its own protocol

    def hears(self, message: bytes) -> bytes | None:
        """What is to be sent at once in answer to a message."""
        return None

    def beat(self) -> bytes | None:
        """What the page sends unasked; None: nothing this time."""
        return None

    def click(self) -> bytes:
        """The message for a click on "Click me"."""
        raise NotImplementedError  # each contender speaks its own protocol

    def tell(self) -> bytes:
        """The message for a click on "Tell everybody"."""
        raise NotImplementedError  # each contender speaks its own protocol


class Bare(Dialect):
    """The floor."""

    name = "bare WebSocket"
    ready = True

    def opens(self, page: Page) -> Call:
        return Call("/socket")

    def click(self) -> bytes:
        return b'{"event":"click"}'

    def tell(self) -> bytes:
        return b'{"event":"tell"}'


class NiceGUI(Dialect):
    """Socket.IO over its WebSocket transport: "0" opens, "40" connects, "42" is an event, "2" and "3" are ping and
    pong. What came is acknowledged now and then, so that the server need not keep it."""

    name = "NiceGUI"
    beats = 3.0

    def opens(self, page: Page) -> Call:
        said = re.search(r"query: (\{.*\}),", page.text)
        elements = re.search(r"parseElements\(String\.raw`(.*?)`\)", page.text, re.DOTALL)
        assert said is not None, "NiceGUI's page is another"
        assert elements is not None, "NiceGUI's page is another"
        query: dict[str, Any] = ast.literal_eval(said[1])  # the page defines True and None
        self._client = query["client_id"]
        self._last = b""
        self._buttons = {}
        for number, element in json.loads(html.unescape(elements[1])).items():
            if element["tag"] == "q-btn":
                [listener] = [event for event in element["events"] if event["type"] == "click"]
                self._buttons[element["props"]["label"]] = (int(number), listener["listener_id"])
        query |= {"document_id": str(uuid.uuid4()), "tab_id": str(uuid.uuid4()), "old_tab_id": "null"}
        query["implicit_handshake"] = "true"
        return Call(f"/_nicegui_ws/socket.io/?{urlencode({**query, 'EIO': 4, 'transport': 'websocket'})}")

    def hears(self, message: bytes) -> bytes | None:
        if message[:1] == b"0":
            return b"40"
        if message[:2] == b"40":
            self.ready = True
        self._last = message
        return b"3" if message == b"2" else None

    def beat(self) -> bytes | None:
        number = re.search(rb'"_id":(\d+)', self._last)
        if number is None:
            return None
        self._last = b""
        return self._emit("ack", {"client_id": self._client, "next_message_id": int(number[1]) + 1})

    def click(self) -> bytes:
        return self._event("Click me")

    def tell(self) -> bytes:
        return self._event("Tell everybody")

    def _event(self, label: str) -> bytes:
        number, listener = self._buttons[label]
        return self._emit("event", {"id": number, "client_id": self._client, "listener_id": listener, "args": []})

    def _emit(self, event: str, said: dict[str, Any]) -> bytes:
        return b"42" + json.dumps([event, said], separators=(",", ":")).encode()


class Streamlit(Dialect):
    """Its protocol buffers. A click is a run of the script, with the button's state in it."""

    name = "Streamlit"
    binary = True

    def opens(self, page: Page) -> Call:
        from streamlit.proto.BackMsg_pb2 import BackMsg

        self._message = BackMsg
        self._buttons: dict[str, str] = {}
        self._page = ""
        run = BackMsg()
        run.rerun_script.query_string = ""
        # the names are by position; the second is a token that only who is logged in needs
        return Call("/_stcore/stream", [run.SerializeToString()], ("streamlit", "PLACEHOLDER_AUTH_TOKEN"))

    def hears(self, message: bytes) -> bytes | None:
        if not self.ready:
            from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

            told = ForwardMsg.FromString(message)
            if told.HasField("new_session"):
                self._page = told.new_session.page_script_hash
            elif told.HasField("delta") and told.delta.new_element.HasField("button"):
                button = told.delta.new_element.button
                self._buttons[button.label] = button.id
            elif told.HasField("script_finished"):
                self.ready = True
        return None

    def click(self) -> bytes:
        return self._run("Click me")

    def tell(self) -> bytes:
        return self._run("Tell everybody")

    def _run(self, label: str) -> bytes:
        said = self._message()
        said.rerun_script.page_script_hash = self._page
        state = said.rerun_script.widget_states.widgets.add()
        state.id, state.trigger_value = self._buttons[label], True
        whole: bytes = said.SerializeToString()
        return whole


class Sojourn(Dialect):
    """As `sojourn.live.protocol` has it."""

    name = "Sojourn"
    beats = 25.0
    ready = True

    def opens(self, page: Page) -> Call:
        said = re.search(r'<script[^>]*\bid="page"[^>]*>(.*?)</script>', page.text, re.DOTALL)
        assert said, "Sojourn's page is another"
        first = json.loads(said[1])
        self._buttons: dict[str, str] = {}
        self._find(first["children"])
        self._events = 0
        hello = {"t": "hello", "v": first["v"], "tab": secrets.token_urlsafe(16), "s": first["s"], "g": first["g"]}
        return Call("/_live/socket", [json.dumps(hello).encode()])

    def _find(self, widgets: list[dict[str, Any]]) -> None:
        for widget in widgets:
            if widget["kind"] == "button":
                self._buttons[widget["props"]["label"]] = json.dumps(widget["id"])
            self._find(widget.get("children", []))

    def beat(self) -> bytes:
        return b'{"t":"ping"}'

    def click(self) -> bytes:
        return self._event("Click me")

    def tell(self) -> bytes:
        return self._event("Tell everybody")

    def _event(self, label: str) -> bytes:
        self._events += 1
        return b'{"t":"event","n":%d,"id":%s,"event":"click","value":null}' % (
            self._events,
            self._buttons[label].encode(),
        )
