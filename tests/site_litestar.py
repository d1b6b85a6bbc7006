"""Litestar, for `sites`."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import Litestar, Request, Response, route
from litestar.response.base import ASGIResponse
from litestar.response.streaming import ASGIStreamingResponse

from sites import Site, _Starlette
from sojourn.adapters.litestar import SojournSessionConfig


class _Litestar(_Starlette):
    kind = "litestar"

    def _application(self) -> Litestar:
        return Litestar(
            [route("/{name:str}", http_method=["GET"])(self._view)],
            middleware=[SojournSessionConfig(self.manager).middleware],
            exception_handlers={Exception: self._sorry},
            openapi_config=None,
            logging_config=None,
        )

    async def _view(self, request: Request[Any, Any, Any]) -> ASGIResponse:
        reply = await asyncio.to_thread(self._perform, request.url.path, lambda: request.session)
        how: Any = {"status_code": reply.status, "headers": reply.headers, "media_type": "text/plain"}
        if isinstance(reply.body, bytes):
            return ASGIResponse(body=reply.body, **how)
        return ASGIStreamingResponse(iterator=iter(reply.body), **how)

    def _sorry(self, request: Request[Any, Any, Any], error: Exception) -> Response[str]:
        self.errors.append(error)
        return Response("sorry", status_code=500, media_type="text/plain")


KINDS: dict[str, type[Site]] = {"litestar": _Litestar}
