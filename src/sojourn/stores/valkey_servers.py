"""Which server answers: one that is named, the primary that Sentinels name, or the node of a cluster that has the slot.

`Servers.ask` sends requests where they belong and returns the replies. What a server declines without having done
anything (a script that it does not know, a slot that moved, a replica that was a primary, a server that is loading) is
asked again, of the right server, until the time is up; then it is `StoreUnavailable`. What was sent and not answered is
asked again if it counts once however often it is made; else, or when the time is up, it is `OutcomeUnknown`.
"""

from __future__ import annotations

import time
from binascii import crc_hqx
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from os import urandom
from typing import Any, Final, Literal, Protocol, TypeAlias

from msgspec import Struct

from ..errors import OutcomeUnknown, StoreUnavailable
from .statements import Script
from .valkey_link import Address, Link, NoReply, NotSent, Reply, ReplyError, TooLate

__all__ = ["Cluster", "Links", "Nature", "One", "Replies", "Request", "Sentinels", "Servers", "Topology", "slot_of"]

SLOTS: Final = 16384

_DECLINED: Final = frozenset(
    {"NOSCRIPT", "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "READONLY", "LOADING", "MASTERDOWN", "BUSY"}
)
"""First words of errors after which nothing was done, and another attempt, perhaps elsewhere, can succeed."""

_REFUSED: Final = {
    "OOM": "the server is full: raise its maxmemory, or end sessions",
    "MISCONF": "the server can't save to its disk, and takes no writes until it can",
    "NOREPLICAS": "too few replicas follow the server, and it takes no writes until they do",
    "NOAUTH": "the server wants a password: put it into the URL",
    "WRONGPASS": "the server refuses the user or the password in the URL",
    "NOPERM": "the server's access rules forbid this user what Sojourn needs",
}
"""First words of errors that do not pass by themselves within a request, and the remedy."""

_AT_ONCE: Final = ("NOSCRIPT", "MOVED")
"""Reasons after which the next attempt need not wait."""

_FIRST_PAUSE: Final = 0.005
_LONGEST_PAUSE: Final = 0.1


def slot_of(tag: str) -> int:
    """The slot of keys with this hash tag."""
    return crc_hqx(tag.encode(), 0) % SLOTS


Nature: TypeAlias = Literal["reads", "repeatable", "once"]
"""Of a request whose reply does not come: it changes nothing; it counts once however often it is made; or it would
count twice."""


class Request(Struct, frozen=True, gc=False):
    """What is asked of a server."""

    arguments: tuple[Any, ...]
    slot: int
    """Of its keys: it says which node of a cluster is asked."""
    nature: Nature


class Topology(Protocol):
    """Where servers are found."""

    def known(self, slot: int) -> Address | None:
        """The server that has this slot, if that is known."""

    async def find(self, slot: int, until: float) -> Address:
        """Find out which server that is. Raises `NotSent` if that can't be done in time."""

    def doubt(self, address: Address) -> None:
        """This server can't be reached, or is not what it was: find out anew."""

    def moved(self, slot: int, address: Address) -> None:
        """A server says where the slot is now."""

    def left(self, address: Address) -> bool:
        """Whether it is known that the store is elsewhere by now."""

    def close(self) -> None:
        """Close the connections that it made to find out."""


class One:
    """A server that is named."""

    def __init__(self, address: Address) -> None:
        self._address = address

    def known(self, slot: int) -> Address:
        return self._address

    async def find(self, slot: int, until: float) -> Address:
        return self._address

    def doubt(self, address: Address) -> None:
        """There is no other."""

    def moved(self, slot: int, address: Address) -> None:
        raise StoreUnavailable(
            f"{self._address} is a node of a cluster: open the store with valkey+cluster://{self._address}"
        )

    def left(self, address: Address) -> bool:
        return False

    def close(self) -> None:
        """There are none."""


class Sentinels:
    """The primary that Sentinels name."""

    def __init__(self, sentinels: Sequence[Address], links: Links, service: str) -> None:
        self._links = links
        self._sentinels = list(sentinels)
        self._service = service
        self._primary: Address | None = None

    def known(self, slot: int) -> Address | None:
        return self._primary

    async def find(self, slot: int, until: float) -> Address:
        self._primary = await self._asked(until)
        return self._primary

    def doubt(self, address: Address) -> None:
        if address == self._primary:
            self._primary = None

    def moved(self, slot: int, address: Address) -> None:
        """Sentinels watch no clusters."""

    def left(self, address: Address) -> bool:
        return self._primary not in (None, address)

    def close(self) -> None:
        self._links.close()

    async def _asked(self, until: float) -> Address:
        problem = "no Sentinel was asked"
        for sentinel in list(self._sentinels):
            share = (until - time.monotonic()) / 2  # a Sentinel that hangs must leave time for another
            request = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
            try:
                (reply,) = await self._links.get(sentinel).exchange([request], time.monotonic() + share)
            except (NotSent, NoReply) as error:
                problem = str(error)
            else:
                if isinstance(reply, list):
                    self._sentinels.sort(key=lambda one: one != sentinel)  # it is asked first next time
                    return Address(reply[0].decode(), int(reply[1]))
                problem = f"{sentinel}: it knows no service {self._service!r} ({reply})"
        raise NotSent(f"no Sentinel says which server is the primary of {self._service!r}: {problem}")


class Cluster:
    """The node of a cluster that has the slot."""

    def __init__(self, seeds: Sequence[Address], links: Links) -> None:
        self._known = list(seeds)
        self._links = links
        self._owners: dict[int, Address] = {}
        self._stale = True

    def known(self, slot: int) -> Address | None:
        return None if self._stale else self._owners.get(slot)

    async def find(self, slot: int, until: float) -> Address:
        await self._look(until)
        try:
            return self._owners[slot]
        except KeyError:
            self._stale = True
            raise NotSent(f"no node of the cluster has slot {slot}") from None

    def doubt(self, address: Address) -> None:
        self._stale = True
        self._known.sort(key=lambda known: known == address)  # it is asked last

    def moved(self, slot: int, address: Address) -> None:
        self._owners[slot] = address
        if address not in self._known:
            self._known.append(address)

    def left(self, address: Address) -> bool:
        return False

    def close(self) -> None:
        """They are those to the nodes, and closed with them."""

    async def _look(self, until: float) -> None:
        """Ask a node who has which slot."""
        problem = ""
        for node in list(self._known):
            share = (until - time.monotonic()) / 2
            try:
                (reply,) = await self._links.get(node).exchange([("CLUSTER", "SLOTS")], time.monotonic() + share)
            except (NotSent, NoReply) as error:
                problem = str(error)
                continue
            if isinstance(reply, ReplyError):
                problem = f"{node}: {reply}"
                continue
            self._owners = dict(_owners(reply, node))
            self._known = list(dict.fromkeys([*self._owners.values(), *self._known]))
            self._stale = False
            return
        raise NotSent(f"no node of the cluster answers: {problem}")


def _owners(reply: Iterable[Any], asked: Address) -> Iterator[tuple[int, Address]]:
    """Who has which slot, by the reply to CLUSTER SLOTS. A node without a host is the one that was asked."""
    for first, last, (host, port, *_), *_ in reply:
        owner = Address(host.decode() if host else asked.host, port)
        for slot in range(first, last + 1):
            yield slot, owner


class Links:
    """The links of a store: one to each server, and one more to those that are asked apart."""

    def __init__(self, make: Callable[[Address], Link]) -> None:
        self._make = make
        self._open: dict[tuple[Address, bool], Link] = {}

    def get(self, address: Address, *, apart: bool = False) -> Link:
        """The link to a server."""
        try:
            return self._open[address, apart]
        except KeyError:
            return self._open.setdefault((address, apart), self._make(address))

    def close(self) -> None:
        """Close them all."""
        for link in list(self._open.values()):
            link.close()


class Replies(list[Reply]):
    """Replies, in the order of the requests."""

    again = False
    """Whether some of the requests were sent more than once, as a reply did not come."""


class Servers:
    """Requests to where they belong, and replies back."""

    def __init__(
        self, topology: Topology, links: Links, scripts: Mapping[str, Script], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self._topology = topology
        self._links = links
        self._sleep = sleep
        self._load = [("SCRIPT", "LOAD", script.text) for script in scripts.values()]

    async def ask(self, requests: Sequence[Request], until: float, *, apart: bool = False) -> Replies:
        """The replies, in order. An error that this module knows no answer to is returned as a reply. ``apart``: over
        connections of their own, as these requests will keep a connection waiting."""
        replies = Replies()
        pause, problem = 0.0, ""
        while len(replies) < len(requests):
            rest = requests[len(replies) :] if replies else requests
            link: Link | None = None
            try:
                address = self._topology.known(rest[0].slot) or await self._topology.find(rest[0].slot, until)
                link = self._links.get(address, apart=apart)
                asked = self._first_of(rest, address)
                found = await link.exchange([request.arguments for request in asked], until)
                problem = ""
                if ReplyError in map(type, found):
                    problem = await self._sort_out(asked, found, replies, link, until)
                else:
                    replies += found
            except NotSent as error:
                problem = problem if problem and isinstance(error, TooLate) else str(error)
                self._doubt(link)
            except NoReply as error:
                problem, replies.again = str(error), True
                self._doubt(link)
                if any(request.nature == "once" for request in rest):
                    raise OutcomeUnknown(f"{problem}: the write may have been made, or not", final=True) from error
            if problem:
                pause = 0.0 if problem in _AT_ONCE else min(2 * pause or _FIRST_PAUSE, _LONGEST_PAUSE)
                await self._wait(pause, until, problem, replies, rest)
        return replies

    async def any(self, until: float) -> Address:
        """Some server that has a part of the store. Raises `NotSent`."""
        slot = int.from_bytes(urandom(2), "big") % SLOTS
        return self._topology.known(slot) or await self._topology.find(slot, until)

    def doubt(self, address: Address) -> None:
        """A server that was named by `any` can't be reached, or is not what it was."""
        self._topology.doubt(address)

    def left(self, address: Address) -> bool:
        """Whether it is known that the store is elsewhere by now."""
        return self._topology.left(address)

    async def _wait(self, pause: float, until: float, problem: str, replies: Replies, rest: Sequence[Request]) -> None:
        """Wait before the next attempt; raise what there is to say if no time is left for one."""
        left = until - time.monotonic()
        if not pause and left > 0:
            return
        await self._sleep(max(min(pause, left), 0.0))  # to the end: whoever sends this again knows that no time is left
        if left <= pause:
            if replies.again and any(request.nature != "reads" for request in rest):
                raise OutcomeUnknown(f"{problem}: the write may have been made, or not", final=True)
            raise StoreUnavailable(f"{problem}: nothing was written")

    def _first_of(self, requests: Sequence[Request], address: Address) -> Sequence[Request]:
        """The first of these requests that one server can answer together."""
        slot, known = requests[0].slot, self._topology.known
        for count, request in enumerate(requests):
            if request.slot != slot and known(request.slot) != address:
                return requests[:count]
        return requests

    def _doubt(self, link: Link | None) -> None:
        if link is not None:
            self._topology.doubt(link.address)

    async def _sort_out(
        self, requests: Sequence[Request], found: list[Reply], replies: list[Reply], link: Link, until: float
    ) -> str:
        """Add the replies up to the first request that the server declined. Why it declined; empty if it did not."""
        for request, reply in zip(requests, found, strict=True):
            if isinstance(reply, ReplyError):
                word = str(reply).split(" ", 1)[0]
                if word in _REFUSED:
                    raise StoreUnavailable(f"{link.address}: {_REFUSED[word]} ({reply}). Nothing was written")
                if word in _DECLINED:
                    return await self._declined(word, str(reply), request, link, replies, until)
            replies.append(reply)
        return ""

    async def _declined(
        self, word: str, message: str, request: Request, link: Link, replies: list[Reply], until: float
    ) -> str:
        """Do what helps against a refusal; why it declined, if another attempt is needed."""
        if word == "NOSCRIPT":
            for reply in await link.exchange(self._load, until):
                if isinstance(reply, ReplyError):
                    raise StoreUnavailable(f"{link.address} takes no scripts: {reply}. Nothing was written")
            return "NOSCRIPT"
        if word == "MOVED":
            self._topology.moved(int(message.split()[1]), _address(message, link.address))
            return "MOVED"
        if word == "ASK":  # the slot is moving there, and this key has arrived already
            there = self._links.get(_address(message, link.address))
            replies.append((await there.exchange([("ASKING",), request.arguments], until))[1])
            return ""
        if word in ("READONLY", "MASTERDOWN", "CLUSTERDOWN"):
            self._topology.doubt(link.address)
            link.drop()
        return f"{link.address}: {message}"

    def close(self) -> None:
        """Close all connections."""
        self._links.close()
        self._topology.close()


def _address(message: str, asked: Address) -> Address:
    """Where a MOVED or an ASK points to. Without a host it is the one that was asked."""
    host, _, port = message.split()[2].rpartition(":")
    return Address(host or asked.host, int(port))
