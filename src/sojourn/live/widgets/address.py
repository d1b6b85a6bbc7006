"""The query parameters of the page's address: a widget that is not seen."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, Final

from ...errors import UnsupportedValue
from ...state.query_params import QueryParams
from ..widget import EventName, F, Refused, Widget, prop

__all__ = ["LONGEST", "Address", "query_with"]

LONGEST: Final = 4_000
"""Characters of a query string. It comes with each load of the page, and servers and proxies take 8,000 or so."""

# what browsers leave as it is behind the question mark: else what is written there would read as something else
_AS_IT_IS: Final = re.compile(r"[!$%&(-;=?-~]*")


def _query(value: Any) -> str:
    if type(value) is not str:
        raise TypeError(f"a query string is text, not a <{type(value).__name__}>")
    if len(value) > LONGEST:
        raise ValueError(f"{len(value):,} characters, at most {LONGEST:,} are kept")
    if value.startswith("?"):
        raise ValueError("it is written without its question mark")
    if not _AS_IT_IS.fullmatch(value):
        raise ValueError("not as it stands in an address: set `params`, which writes it so")
    if not QueryParams().load(value):
        raise ValueError("too many parameters")
    return value


def query_with(changes: Mapping[str, list[str]], query: str) -> str:
    """A query string with some parameters set, and those gone that have no value. Raises `UnsupportedValue` for a name
    that is the browser's, for what cannot stand in an address, and for what is too long for one."""
    params = QueryParams(query)
    params.put(changes)
    try:
        return _query(params.query_string)
    except ValueError as error:
        raise UnsupportedValue("Address.query", str(error)) from None


class Address(Widget):
    """What stands behind the question mark of the page's address. It is not seen, and belongs on the page itself, where
    there is one at most, the app's or the session's own: else `ConfigurationError`.

    ``query`` is the query string without its question mark, as browsers write it, each session's own; its tabs share
    it. What is assigned to it is in the address of each open tab at once, without a load, and nothing is added to its
    history. What cannot stand there as it is, more than 4,000 characters or 1,000 parameters, is refused with
    `UnsupportedValue`.

    When a visitor comes with another query, or goes back or forward to one, that is the session's from then on. Who
    comes without any has what is kept. In an app whose sessions go by the address, ``session_id`` is no part of it."""

    kind: ClassVar[str] = "address"
    events: ClassVar[frozenset[EventName]] = frozenset({"change"})
    assigns: ClassVar[str] = "query"
    place: ClassVar[str] = "page"
    alone: ClassVar[bool] = True

    query: str = prop(default="", check=_query, own=True)

    @property
    def params(self) -> QueryParams:
        """The parameters, as a mapping: ``address.params["page"] = 2``. It is what ``query`` is now; what is set in it
        changes these parameters alone, and merges with what others set. A missing name is a KeyError; what cannot stand
        in an address is refused with `UnsupportedValue`, and so are ``embed`` and ``embed_options``, which are the
        browser's."""
        known = _values(QueryParams(self.query))

        def change(query: str) -> None:
            nonlocal known
            now = _values(QueryParams(query))
            changes = {name: now.get(name, []) for name in known | now if known.get(name) != now.get(name)}
            known = now
            self.update("query", partial(query_with, changes))

        return QueryParams(self.query, change)

    def on_change(self, callback: F) -> F:
        """Have ``callback(session, query)`` called when a visitor's address says something else than before. Also a
        decorator."""
        return self.listen("change", callback)

    def take(self, event: EventName, value: Any) -> str:
        """The query string that the browser has. Raises `Refused`: "not_allowed" for what is no change, "wrong_value"
        for what is none, or too long."""
        if event != "change":
            raise Refused("not_allowed", f"an address knows no {event}")
        try:
            taken: str = self.properties["query"].accept(self, value)
        except UnsupportedValue as error:
            raise Refused("wrong_value", error.problem) from None
        return taken

    def shown_props(self) -> dict[str, Any]:
        return {"value": self._props["query"]}


def _values(params: QueryParams) -> dict[str, list[str]]:
    return {name: params.get_all(name) for name in params}
