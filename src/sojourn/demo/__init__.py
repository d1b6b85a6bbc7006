"""`sojourn demo`: a live app (`sojourn.live`) that shows the engine to a person in a browser. Needs the extra
``[demo]``.

    server      from a port to a running server
    app         the page: what is on it, and what happens on a click
    devices     the list of a user's devices, in step on all of them
    online      how many visitors there are, over all servers on one store
    race        fifty writers at once, and what a store that saves whole sessions would have kept
    words       names and messages as they are kept       pure

The code to look at is in ``app``: a callback is given its visitor's session, and that is all.
"""

from __future__ import annotations

from ..errors import MissingExtra

try:
    import markdown_it
    import starlette
    import uvicorn
except ImportError as error:
    raise MissingExtra("the demo", "demo") from error
del markdown_it, starlette, uvicorn

from .server import serve  # noqa: E402 - after the extras were found

__all__ = ["serve"]
