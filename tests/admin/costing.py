"""What requests cost: a server of a test's own, and clients that keep it busy. Its application has two views:
``change``, which commits, and ``cpu``, which tells how much of it the process has used."""

from __future__ import annotations

import asyncio
import socket
import sys

from servers.process import LOOPBACK, Process

__all__ = ["Client", "Server", "spent"]


class Server(Process):
    """A program that serves at a port, which is its first argument. The second is a store's URL."""

    def __init__(self, program: str, store: str) -> None:
        super().__init__()
        self._program = program
        self._store = store

    def command(self) -> list[str]:
        return [sys.executable, "-c", self._program, str(self.port), self._store]

    def answers(self) -> bool:
        with socket.socket() as knock:
            return knock.connect_ex((LOOPBACK, self.port)) == 0


class Client:
    """One connection of one visitor, kept alive."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._cookie = ""

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection(LOOPBACK, self._port)

    async def ask(self, path: str) -> str:
        cookie = f"Cookie: {self._cookie}\r\n" if self._cookie else ""
        self._writer.write(f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n{cookie}\r\n".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode()
        assert head.startswith("HTTP/1.1 200"), head
        length = 0
        for line in head.split("\r\n"):
            name, _, value = line.partition(": ")
            if name.lower() == "content-length":
                length = int(value)
            elif name.lower() == "set-cookie":
                self._cookie = value.partition(";")[0]
        return (await self._reader.readexactly(length)).decode()

    def close(self) -> None:
        self._writer.close()


async def spent(clients: list[Client], desk: Client, number: int) -> float:
    """Seconds of CPU that a request costs, of so many."""
    before = float(await desk.ask("cpu"))

    async def visit(client: Client) -> None:
        for _ in range(number // len(clients)):
            await client.ask("change")

    await asyncio.gather(*map(visit, clients))
    return (float(await desk.ask("cpu")) - before) / number
