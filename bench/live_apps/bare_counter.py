"""The floor: a WebSocket that counts, in Starlette and uvicorn. A page of a few lines, no session, nothing kept."""

from __future__ import annotations

import json
from itertools import count

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from . import HOST, PORT, SHARED

_PAGE = """<!doctype html><meta charset="utf-8"><title>Counter</title>
<p id="label">Clicked 0 times</p><button id="click">Click me</button>
%s<script>
const at = (id) => document.getElementById(id), socket = new WebSocket(`ws://${location.host}/socket`);
socket.onmessage = ({data}) => {
  for (const [id, text] of Object.entries(JSON.parse(data))) at(id).textContent = text;
};
for (const id of ["click", "tell"]) at(id)?.addEventListener("click", () => socket.send(JSON.stringify({event: id})));
</script>"""
_MORE = '<p id="shared">Shared 0</p><button id="tell">Tell everybody</button>'

_open: set[WebSocket] = set()
_told = count(1)


async def _page(request: Request) -> Response:
    return HTMLResponse(_PAGE % (_MORE if SHARED else ""))


async def _socket(socket: WebSocket) -> None:
    await socket.accept()
    _open.add(socket)
    clicks = 0
    try:
        async for text in socket.iter_text():
            if json.loads(text)["event"] == "click":
                clicks += 1
                await socket.send_text(json.dumps({"label": f"Clicked {clicks} times"}))
            else:
                said = json.dumps({"shared": f"Shared {next(_told)}"})
                for other in list(_open):
                    await other.send_text(said)
    finally:
        _open.discard(socket)


app = Starlette(routes=[Route("/", _page), WebSocketRoute("/socket", _socket)])


def main() -> None:
    """Serve it."""
    uvicorn.run(app, host=HOST, port=PORT, log_level="warning", access_log=False)
