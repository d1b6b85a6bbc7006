"""The feeds of a Valkey or Redis store: what is published when a session is written (valkey_hints.py).

A feed has a connection of its own: to the one server, to the primary, or to any node of a cluster, as each node tells
what is published on any. It speaks RESP3, in which that comes beside the replies; so the feed can ask now and then
whether the server is still what it was: that it is there, that it is a primary, that its cluster is whole, and that no
link has broken over which the other nodes tell it. A server that does not answer is given up, and so is one that
answers otherwise.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Final

from msgspec import Struct

from ..errors import StoreUnavailable
from ..store import Hint
from ..waiting import Signal, Waiting
from .readiness import Readiness
from .valkey_hints import pattern_of, unpack_hint
from .valkey_link import Address, Login, NoReply, NotSent, Push, Reply, opening, refusal
from .valkey_servers import Servers
from .valkey_wire import Wire, connect

__all__ = ["LookingFeed", "Manner", "ValkeyFeed", "manner_of"]

_QUIET: Final = 2.0  # seconds between two questions
_PATIENCE: Final = 2.0  # for the answer
_STEP: Final = 1000  # channels in one request
_PAUSE: Final = 0.05  # seconds between two attempts to connect
_LATE: Final = "the server did not answer in time"
_LOOK: Final = 0.25  # seconds between two looks at everything, where nothing can be listened to

_HARMLESS: Final = frozenset({"MOVED", "ASK", "TRYAGAIN"})
"""First words of answers that say no more than that another node has what was asked for. (Neither does it harm if the
server does not say which links it has.)"""

_feeds: weakref.WeakSet[ValkeyFeed] = weakref.WeakSet()


class Manner(Struct, frozen=True):
    """How the server of a feed is spoken to."""

    login: Login
    questions: tuple[tuple[Any, ...], ...] = (("PING",),)
    """Which a server that has become useless answers with an error, as a replica, or otherwise than at first."""
    check_primary: bool = False
    bus: bool = False
    """Whether the answer to one of them is who has a link to this node: each brings what is published there, and what
    was under way is lost when it breaks."""
    share: float = 1.0
    """Of the time that is left, that one attempt to connect may take."""


def manner_of(kind: str, login: Login, key: str) -> Manner:
    """How the server is spoken to: one that Sentinels name ("sentinel"), a node of a cluster ("cluster"), or one that
    stands alone. ``key``: one of the store's."""
    if kind == "sentinel":
        return Manner(login, (("ROLE",),), check_primary=True, share=0.5)
    if kind == "cluster":
        return Manner(login, (("GET", key), ("CLUSTER", "LINKS")), bus=True, share=0.5)
    return Manner(login)


class ValkeyFeed:
    """Tells of the sessions that it follows. Once it has lost its connection it is of no use any more."""

    def __init__(
        self, servers: Servers, waiting: Waiting, ready: Readiness, manner: Manner, news: str, deadline: float
    ) -> None:
        self._servers = servers
        self._waiting = waiting
        self._ready = ready
        self._manner = manner
        self._news = news.encode()
        self._pattern = pattern_of(news)
        self._deadline = deadline
        self._lock = threading.Lock()
        self._followed: set[str] = set()
        self._due: Counter[str] = Counter()  # how often the server is still to say that it follows; "": everything
        self._everything = False
        self._address: Address | None = None
        self._wire: Wire | None = None
        self._early: list[Reply] = []
        self._asked_at = 0.0
        self._answered = True
        self._bus: frozenset[tuple[bytes, int]] = frozenset()
        self._closed = False
        _feeds.add(self)

    async def open(self) -> None:
        until, problem = time.monotonic() + self._deadline, ""
        while True:
            address: Address | None = None
            try:
                address = await self._servers.any(until)
                share = self._manner.share * (until - time.monotonic())
                await self._begin(address, time.monotonic() + share)
            except (NotSent, NoReply, OSError) as error:
                said = str(error) or _LATE
                if not problem or _LATE not in said:  # the last attempt, which has little time, knows no better
                    problem = said
                if address is not None:
                    self._servers.doubt(address)
            else:
                return
            if self._closed or time.monotonic() + _PAUSE >= until:
                where = "" if address is None else f"{address}: "
                raise StoreUnavailable(f"no server can be listened to: {where}{problem}")
            await self._waiting.sleep(_PAUSE)

    async def follow(self, handles: Iterable[str], *, everything: bool = False) -> bool:
        with self._lock:
            wanted = list(dict.fromkeys(handles))
            new = [handle for handle in wanted if handle not in self._followed]
            self._followed.update(new)
            if self._everything:  # what is told of all sessions is told of each, too
                requests = []
            elif everything:
                self._everything = True
                requests = [("PSUBSCRIBE", self._pattern), ("UNSUBSCRIBE",)]
                self._due[""] += 1
            else:
                requests = self._channels("SUBSCRIBE", new)
                self._due.update(new)
            certain = not self._due[""] if self._everything else not any(self._due[handle] for handle in wanted)
            self._put(requests)
        await self._flush()
        return certain

    async def forget(self, handles: Iterable[str]) -> None:
        with self._lock:
            known = [handle for handle in dict.fromkeys(handles) if handle in self._followed]
            self._followed.difference_update(known)
            self._put([] if self._everything else self._channels("UNSUBSCRIBE", known))
        await self._flush()

    async def hints(self, timeout: float) -> list[Hint]:
        until = time.monotonic() + timeout
        wire = self._connection()
        while True:
            came, self._early = self._early, []
            try:
                came = came or await wire.read(min(until, self._next()))
            except TimeoutError:
                if not self._answered and self._next() <= time.monotonic():
                    raise self._lose("the server does not answer any more") from None
            except OSError as error:
                raise self._lose(str(error)) from error
            said = self._understood(came)
            if self._answered and self._next() <= time.monotonic():
                await self._ask(wire)
            if said or time.monotonic() >= until:
                return said

    async def close(self) -> None:
        self._closed = True
        if self._wire is not None:
            self._wire.give_up("the feed was closed")

    def forked(self) -> None:
        """In the child of a fork: the connection is the parent's."""
        self._lock = threading.Lock()
        if self._wire is not None:
            self._wire.forked()

    # --- Connecting ---------------------------------------------------------------------------------------------------

    async def _begin(self, address: Address, until: float) -> None:
        """Connect, and follow what is followed by now. Raises OSError and `NotSent`."""
        manner = self._manner
        greeting = [*opening(manner.login, check_primary=manner.check_primary), ("HELLO", 3)]
        with self._lock:
            everything, followed, self._early = self._everything, ["", *self._followed], []
        listening = [("PSUBSCRIBE", self._pattern)] if everything else self._channels("SUBSCRIBE", followed)
        missing = len(greeting) + sum(len(request) - 1 for request in listening) + len(manner.questions)
        wire = await connect(address, manner.login.tls, self._ready, until)
        try:
            await wire.send([*greeting, *listening, *manner.questions], until)
            while missing > 0:
                for reply in await wire.read(until):
                    missing -= self._welcomed(reply)
            with self._lock:  # what was asked for meanwhile follows now
                wire.put([("PSUBSCRIBE", self._pattern)] if self._everything and not everything else [])
                wire.put(self._channels("SUBSCRIBE", list(self._followed.difference(followed))))
                self._asked_at, self._address, self._wire = time.monotonic(), address, wire
            await wire.flush(until)
        except BaseException:  # a cancelled task, too, leaves no connection open
            wire.give_up("it was never opened")
            raise
        if self._closed:
            await self.close()
            raise NotSent("the feed was closed")

    def _welcomed(self, reply: Reply) -> int:
        """Look at a reply of the beginning. How many of those that are due it is."""
        if type(reply) is Push:
            self._early.append(reply)
            return 0 if reply[0] in (b"message", b"pmessage") else 1
        problem = self._problem(reply, first=True)
        if problem is not None and problem.startswith("NOPERM"):
            raise StoreUnavailable(
                f"the server's access rules forbid this user to listen: allow it the channels &{self._pattern} and "
                f"+publish +subscribe +psubscribe +unsubscribe ({problem})"
            )
        if problem is not None:
            raise NotSent(problem)
        return 1

    # --- Talking ------------------------------------------------------------------------------------------------------

    def _channels(self, command: str, handles: Sequence[str]) -> list[tuple[Any, ...]]:
        """The requests that begin or end to follow sessions."""
        names = (self._news + handle.encode() for handle in handles)
        return [(command, *step) for step in iter(lambda: tuple(islice(names, _STEP)), ())]

    def _put(self, requests: Sequence[tuple[Any, ...]]) -> None:
        """Have sent what changes what is followed, in the order of the changes, if there is a connection by now."""
        if self._wire is None and not self._closed:
            return
        wire = self._connection()
        try:
            wire.put(requests)
        except OSError as error:
            raise self._lose(str(error)) from error

    async def _flush(self) -> None:
        """Send what was put."""
        if self._wire is not None:
            try:
                await self._wire.flush(time.monotonic() + self._deadline)
            except OSError as error:
                raise self._lose(str(error)) from error

    def _connection(self) -> Wire:
        if self._wire is None or self._wire.lost:
            reason = (
                "it was closed" if self._closed else "it was never opened" if self._wire is None else self._wire.lost
            )
            raise StoreUnavailable(f"the feed can't be used: {reason}")
        return self._wire

    def _next(self) -> float:
        """When the next question, or its answer, is due."""
        return self._asked_at + (_QUIET if self._answered else _PATIENCE)

    async def _ask(self, wire: Wire) -> None:
        """Ask whether the server is what it was."""
        if self._address is not None and self._servers.left(self._address):
            raise self._lose("the store has another primary now")
        self._answered, self._asked_at = False, time.monotonic()
        try:
            await wire.send(self._manner.questions, self._asked_at + _PATIENCE)
        except OSError as error:
            raise self._lose(str(error)) from error

    def _understood(self, came: Iterable[Reply]) -> list[Hint]:
        """What is said by what came."""
        said: list[Hint] = []
        for reply in came:
            if type(reply) is not Push:
                self._judge(reply)
                continue
            hint = self._heard(reply)
            if hint is not None and (hint.handle or not said or said[-1] != hint):  # a cluster's end of all is of many
                said.append(hint)
        return said

    def _heard(self, pushed: Sequence[Any]) -> Hint | None:
        """What a message says, or that something is followed from now on."""
        kind, channel = pushed[0], pushed[1]
        if kind == b"psubscribe":
            return self._confirmed("")
        if kind == b"pmessage":
            channel = pushed[2]
        elif kind not in (b"message", b"subscribe"):
            return None
        handle = channel[len(self._news) :].decode(errors="replace")
        if kind != b"subscribe":
            return unpack_hint(handle, pushed[-1])
        return self._confirmed(handle) if handle else None  # what concerns all is followed from the beginning

    def _confirmed(self, handle: str) -> Hint:
        """The server follows a session, or all."""
        with self._lock:
            self._due[handle] -= 1
            if self._due[handle] <= 0:
                del self._due[handle]
        return Hint(handle)

    def _judge(self, reply: Reply) -> None:
        """Look at the answer to a question; it may as well be the refusal of something else."""
        problem = self._problem(reply)
        if problem is not None:
            raise self._lose(problem)
        self._answered = True

    def _problem(self, reply: Reply, *, first: bool = False) -> str | None:
        """Why the server that gives this answer is not to be listened to; None: it is."""
        problem = refusal([reply])
        if problem is not None:
            harmless = problem.split(" ", 1)[0] in _HARMLESS or "links" in problem.lower()
            return None if harmless else problem
        if self._manner.bus and isinstance(reply, list):
            links = frozenset((link[b"node"], link[b"create-time"]) for link in reply if link[b"direction"] == b"from")
            if first:
                self._bus = links
            elif links != self._bus:
                return "its cluster's bus was interrupted: something that was published may not have come"
        return None

    def _lose(self, reason: str) -> StoreUnavailable:
        """The connection is lost; what is to be raised."""
        if self._wire is not None:
            self._wire.give_up(reason)
        if self._address is not None and not self._closed:
            self._servers.doubt(self._address)
        return StoreUnavailable(f"the feed is lost: {self._address}: {reason}")


class LookingFeed:
    """Says four times a second that one should look at everything: for a store over a client of the user's own, none of
    whose connections can be used by one who reads and another who writes, in the same way in both worlds."""

    def __init__(self, waiting: Waiting, look: Callable[[], Awaitable[object]]) -> None:
        self._waiting = waiting
        self._look = look
        self._lock = threading.Lock()
        self._signal: Signal | None = None
        self._due = 0.0
        self._closed = False

    async def open(self) -> None:
        await self._look()
        self._check()
        self._due = time.monotonic() + _LOOK

    async def follow(self, handles: Iterable[str], *, everything: bool = False) -> bool:
        self._check()
        return True

    async def forget(self, handles: Iterable[str]) -> None:
        self._check()

    async def hints(self, timeout: float) -> list[Hint]:
        until = time.monotonic() + timeout
        with self._lock:
            self._check()
            self._signal = signal = self._waiting.signal()
        await signal.wait(min(until, self._due) - time.monotonic())
        self._check()
        if time.monotonic() < self._due:
            return []
        self._due = time.monotonic() + _LOOK
        return [Hint("")]

    async def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._signal is not None:
                self._signal.set()

    def _check(self) -> None:
        if self._closed:
            raise StoreUnavailable("the feed was closed")


def _after_fork() -> None:
    for feed in list(_feeds):
        feed.forked()


os.register_at_fork(after_in_child=_after_fork)
