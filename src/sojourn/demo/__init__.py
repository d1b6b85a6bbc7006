"""`sojourn demo`: a small shop on Starlette that a person opens in a browser. Needs the extra ``[demo]``.

    server      from a port to a running server
    app         the routes: each handler is what an application would write
    shop        products, and what a cart comes to       pure
    devices     a name for a browser                     pure
    race        what a store that saves whole sessions would have kept
    guard       who may send a request, and the security headers
    pages       templates to pages; everything is escaped

The session code to look at is in ``app``: ``request.session["cart"]["items"].append(...)``.
"""

from __future__ import annotations

from ..errors import MissingExtra

try:
    import starlette
    import uvicorn
except ImportError as error:
    raise MissingExtra("the demo", "demo") from error
del starlette, uvicorn

from .server import serve  # noqa: E402 - after the extras were found

__all__ = ["serve"]
