"""Live apps: widgets that all visitors see, and widgets that only one does, pushed to their browsers over a WebSocket.
Needs the extra ``[live]``.

    from sojourn.live import App, widgets as w

    app = App(title="Counter", store="sqlite:///live.db")

    @app.on_session
    def start(session):
        session.set("count", 0)
        ...

To read it, begin with ``app`` and ``session`` (what users call), then ``protocol`` (what goes over the wire), then
``room`` (where both meet).
"""

from __future__ import annotations

from ..errors import MissingExtra

try:
    import markdown_it
    import starlette
    import uvicorn
except ImportError as error:
    raise MissingExtra("live apps", "live") from error
del markdown_it, starlette, uvicorn

from . import widgets  # noqa: E402 - after the extras were found
from .app import App  # noqa: E402
from .rooms import Limits  # noqa: E402
from .session import Session  # noqa: E402
from .widget import Widget  # noqa: E402

__all__ = ["App", "Limits", "Session", "Widget", "widgets"]
