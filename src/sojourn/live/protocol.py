"""What a browser and the server say to each other over the socket: one JSON object a frame. No I/O.

    from the browser    meaning                                             answered by
    hello               the first frame: who am I, how far am I             changes that were missed, or page
    event               somebody clicked, typed, chose, sorted, sent a form ack, changes with ``by``, or error
    ping                are you there                                       pong

    from the server     meaning
    page                the whole page, in place of what is shown
    changes             what changed, in one step: a list of the operations below
    ack                 the event ``n`` and all before it are done, and changed nothing to see
    error               the event ``n`` was refused or failed; or, without ``n``, the socket is about to be closed
    pong                the answer to ping
    place               where the streams are; the page is as it is shown (in exchanges, which go without a socket)
    ticket              what lets the next socket in where cookies cannot be sent
    renew               another cookie waits: fetch it with this ticket
    ended               the session is over: the page is cleared and the socket closed

    operation           of ``changes``
    update              ``widgets``: of each widget that changed, the properties that did
    add                 ``widget``, with all in it, ``into`` a widget (the page: ""), ``after`` another (at first: "")
    remove              ``ids``
    replace             the widget ``id`` by ``widget``, at its place
    order               the widgets ``ids`` that are in a widget, in their order, at the places that they have together

A page has two layers with a stream of changes each: what all see ("g") and what is the session's own ("s"). The changes
of a stream are numbered without a gap. Who comes again says how far it had come in which streams: it gets the changes
that it missed, or a page, where these are kept no more or the stream is another's (the server was started anew).

Events are numbered from 1 by each tab, without a gap, and are sent again after a break until they are answered. The
session keeps the last number that was done, in the same commit as what the event did: so an event is done once, however
often it comes.
"""

from __future__ import annotations

import re
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType

__all__ = [
    "VERSION",
    "Ack",
    "Add",
    "Changes",
    "ClientFrame",
    "Ended",
    "ErrorCode",
    "ErrorFrame",
    "Event",
    "Hello",
    "Malformed",
    "Operation",
    "Order",
    "PageFrame",
    "Ping",
    "Place",
    "Pong",
    "Position",
    "Remove",
    "Renew",
    "Replace",
    "ServerFrame",
    "TicketFrame",
    "Update",
    "decode",
    "encode",
]

VERSION: Final = 1

Position: TypeAlias = tuple[str, int]
"""A stream, and the number of the last change that was seen of it."""

ErrorCode: TypeAlias = Literal[
    "malformed",
    "too_large",
    "version",
    "out_of_order",
    "unknown_widget",
    "not_allowed",
    "wrong_value",
    "failed",
    "unavailable",
]
"""Why an event was refused.

    malformed       no frame of ours
    too_large       a longer frame than is taken
    version         another version of the protocol: load the page anew
    out_of_order    not the number after the last
    unknown_widget  the session has no such widget, or it is not shown
    not_allowed     the widget is disabled or read-only, or knows no such event
    wrong_value     not a value that the widget can have
    failed          the application's callback raised: nothing of it was kept
    unavailable     the store gave no answer, or the outcome cannot be known: the page shows what is stored
"""


class Hello(Struct, frozen=True, tag="hello", tag_field="t", forbid_unknown_fields=True):
    """The first frame of a socket."""

    v: int
    tab: str
    """Names the tab for as long as its page lives: 16 to 32 letters, digits, "-" and "_"."""
    s: Position | None = None
    g: Position | None = None
    n: int = 1
    """The number of the first event that was not answered yet."""


class Event(Struct, frozen=True, tag="event", tag_field="t", forbid_unknown_fields=True):
    """What a visitor did to a widget."""

    n: int
    id: str
    event: Literal["click", "change", "submit", "select", "sort"]
    value: Any = None


class Ping(Struct, frozen=True, tag="ping", tag_field="t", forbid_unknown_fields=True):
    """Are you there? It is no activity of the visitor's."""


ClientFrame: TypeAlias = Hello | Event | Ping


class Update(Struct, frozen=True, tag="update", tag_field="op"):
    """Properties that changed."""

    widgets: dict[str, dict[str, Any]]


class Add(Struct, frozen=True, tag="add", tag_field="op"):
    """A widget more."""

    into: str
    after: str
    widget: dict[str, Any]


class Remove(Struct, frozen=True, tag="remove", tag_field="op"):
    """Widgets less."""

    ids: list[str]


class Replace(Struct, frozen=True, tag="replace", tag_field="op"):
    """Another widget in the place of one."""

    id: str
    widget: dict[str, Any]


class Order(Struct, frozen=True, tag="order", tag_field="op"):
    """The children of a widget (or of the page: "") in their order."""

    into: str
    ids: list[str]


Operation: TypeAlias = Update | Add | Remove | Replace | Order


class Changes(Struct, frozen=True, tag="changes", tag_field="t", omit_defaults=True):
    """What changed in one of the streams."""

    ops: list[Operation]
    s: int | UnsetType = UNSET
    g: int | UnsetType = UNSET
    by: tuple[str, int] | UnsetType = UNSET
    """The tab, and the event that it is the answer to."""


class PageFrame(Struct, frozen=True, tag="page", tag_field="t"):
    """The whole page."""

    v: int
    title: str
    s: Position
    g: Position
    children: list[dict[str, Any]]
    done: int = 0
    """The last event of this tab that was done: what is older need not be sent again."""


class Ack(Struct, frozen=True, tag="ack", tag_field="t"):
    """An event is done."""

    n: int


class ErrorFrame(Struct, frozen=True, tag="error", tag_field="t", omit_defaults=True):
    """An event was refused, or failed."""

    code: ErrorCode
    message: str
    n: int | UnsetType = UNSET
    detail: str | UnsetType = UNSET
    """The traceback, in debug mode."""


class Pong(Struct, frozen=True, tag="pong", tag_field="t"):
    """The answer to `Ping`."""


class Place(Struct, frozen=True, tag="place", tag_field="t"):
    """Another process goes on from here: what it would show is what is shown."""

    s: Position
    g: Position


class TicketFrame(Struct, frozen=True, tag="ticket", tag_field="t"):
    """What lets the next socket in."""

    ticket: str


class Renew(Struct, frozen=True, tag="renew", tag_field="t"):
    """Another cookie waits."""

    ticket: str


class Ended(Struct, frozen=True, tag="ended", tag_field="t"):
    """The session is over."""

    reason: str


ServerFrame: TypeAlias = PageFrame | Changes | Ack | ErrorFrame | Pong | Place | TicketFrame | Renew | Ended


class Malformed(ValueError):
    """Not a frame of ours."""


_is_tab = re.compile(r"[A-Za-z0-9_-]{16,32}").fullmatch
_decoder: msgspec.json.Decoder[ClientFrame] = msgspec.json.Decoder(ClientFrame)
_encoder = msgspec.json.Encoder()


def decode(text: str | bytes) -> ClientFrame:
    """The frame in a message; `Malformed` if it is none."""
    try:
        frame = _decoder.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise Malformed(str(error)) from None
    if type(frame) is Event and not (0 < frame.n < 2**53 and len(frame.id) <= 512):
        raise Malformed("an event has a number and the id of a widget")
    if type(frame) is Hello and not _is_tab(frame.tab):
        raise Malformed("a tab is named by 16 to 32 letters, digits, '-' and '_'")
    return frame


def encode(frame: ServerFrame) -> str:
    """The message of a frame: text without a line break."""
    return _encoder.encode(frame).decode()
