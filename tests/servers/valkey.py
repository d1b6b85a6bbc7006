"""Valkey or Redis, as the tests need it: one server, a replica of another, three watched by Sentinels, a Cluster.

Which of the two is a name in `BINARIES`; where both are installed, what must hold for both is shown on both. What is
kept is what a test asks for: nothing is written to disk unless it says ``appendonly="yes"``.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote, urlencode

from .process import LOOPBACK, Process, free_port, until
from .resp import Client, ServerError, facts

__all__ = ["BINARIES", "Certificate", "Cluster", "Sentinels", "Valkey", "fresh_prefix"]

_OWN: Final = Path(__file__).parents[2] / ".venv" / "servers" / "usr" / "bin"
"""Where `tools/servers.sh` puts a Valkey that the system does not have."""


def _find() -> dict[str, str]:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin", str(_OWN)])
    found = {name: shutil.which(f"{name}-server", path=path) for name in ("valkey", "redis")}
    return {name: binary for name, binary in found.items() if binary is not None}


BINARIES: Final = _find()
"""The servers that are here, by name: "valkey" first, then "redis". Empty: none is."""

_numbers = itertools.count(1)


def fresh_prefix() -> str:
    """A key prefix that no other test uses on the shared server."""
    return f"t{os.getpid()}-{next(_numbers)}"


class Certificate:
    """A certificate for the loopback address that signs itself: it is its own authority."""

    def __init__(self, folder: Path, names: str = f"DNS:localhost,IP:{LOOPBACK}") -> None:
        self.cert, self.key = folder / "server.crt", folder / "server.key"
        request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
        for extension in (
            f"subjectAltName={names}",
            "keyUsage=critical,digitalSignature,keyCertSign",
        ):
            request += ["-addext", extension]
        subprocess.run([*request, "-keyout", str(self.key), "-out", str(self.cert)], check=True, capture_output=True)


class Valkey(Process):
    """One server. ``settings`` are those of its configuration file, with underscores for hyphens: ``maxmemory="4mb"``.

    ``tls`` serves TLS and nothing else; ``socket`` serves a unix socket, too. With ``password`` the default user needs
    it; with ``user`` as well, that user does, and the default user may nothing.
    """

    def __init__(
        self,
        binary: str | None = None,
        *,
        replica_of: int | None = None,
        tls: Certificate | None = None,
        socket: bool = False,
        user: str = "",
        password: str = "",
        **settings: str,
    ) -> None:
        super().__init__()
        assert BINARIES, "there is no Valkey or Redis server here: `make servers` installs one"
        self.binary = binary or next(iter(BINARIES))
        self.tls, self.user, self.password = tls, user, password
        self.socket = self.folder / "socket" if socket else None
        self.settings = {"save": '""', "appendonly": "no", "repl-diskless-sync-delay": "0", "loglevel": "notice"}
        self.settings |= {name.replace("_", "-"): value for name, value in settings.items()}
        if replica_of is not None:
            self.settings["replicaof"] = f"{LOOPBACK} {replica_of}"

    def command(self) -> list[str]:
        settings = {"bind": LOOPBACK, "dir": str(self.folder), "port": "0" if self.tls else str(self.port)}
        if self.tls:
            settings |= {"tls-port": str(self.port), "tls-auth-clients": "no", "tls-ca-cert-file": str(self.tls.cert)}
            settings |= {"tls-cert-file": str(self.tls.cert), "tls-key-file": str(self.tls.key)}
        if self.socket:
            settings["unixsocket"] = str(self.socket)
        if self.user:
            settings["user"] = f"{self.user} on #{sha256(self.password.encode()).hexdigest()} ~* &* +@all"
        elif self.password:
            settings["requirepass"] = f'"{self.password}"'
        lines = [f"{name} {value}" for name, value in (settings | self.settings).items()]
        if self.user:
            lines.append("user default off")
        config = self.folder / "server.conf"
        if not config.exists():  # what the server or a Sentinel wrote into it since stands
            config.write_text("\n".join([*lines, ""]))
        return [BINARIES[self.binary], str(config)]

    def answers(self) -> bool:
        return _pings(self.client)

    def client(self, timeout: float = 5.0) -> Client:
        """A client of the tests' own, beside the store's."""
        login = (self.user, self.password) if self.user else (self.password,) if self.password else ()
        return Client(self.port, login=login, ca=self.tls and self.tls.cert, timeout=timeout)

    def do(self, *command: object) -> Any:
        """One command, on a connection of its own; its reply."""
        with self.client() as client:
            return client.do(*command)

    def info(self, section: str = "") -> dict[str, str]:
        """What INFO says, by name."""
        return facts(self.do("INFO", *([section] if section else [])))

    def url(self, **options: object) -> str:
        """Where a store finds it, with these options."""
        tls = {"ca": self.tls.cert} if self.tls else {}
        scheme = f"{self.binary}s" if self.tls else self.binary
        return f"{scheme}://{self._who}{LOOPBACK}:{self.port}/0" + _query({**tls, **options})

    def socket_url(self, **options: object) -> str:
        """The same, through its unix socket."""
        return f"{self.binary}+unix://{self._who}{self.socket}" + _query(options)

    @property
    def _who(self) -> str:
        return f"{quote(self.user)}:{quote(self.password, safe='')}@" if self.password else ""

    def is_followed(self, replicas: int = 1) -> bool:
        """Whether so many replicas have what it held when they came, and acknowledge what comes now. (They are told as
        online up to a second before that.)"""
        with self.client() as client:
            for _ in range(2):  # the first may have come with the copy
                client.do("SET", "followed", "yes")
                acknowledged = client.do("WAIT", replicas, 100)
            client.do("DEL", "followed")
        return bool(acknowledged >= replicas)


def _pings(client: Callable[[float], Client]) -> bool:
    """Whether a server takes a connection and says that it is ready."""
    with suppress(OSError, ServerError), client(0.5) as connected:
        return bool(connected.do("PING") == b"PONG")
    return False


def _query(options: dict[str, object]) -> str:
    return f"?{urlencode(options)}" if options else ""


class _Sentinel(Process):
    """One Sentinel that watches one master."""

    def __init__(self, binary: str, master: int, down_after_ms: int) -> None:
        super().__init__()
        self.binary = binary
        (self.folder / "sentinel.conf").write_text(
            f"bind {LOOPBACK}\nport {self.port}\ndir {self.folder}\n"
            f"sentinel monitor {Sentinels.NAME} {LOOPBACK} {master} 2\n"
            f"sentinel down-after-milliseconds {Sentinels.NAME} {down_after_ms}\n"
            f"sentinel failover-timeout {Sentinels.NAME} 3000\n"
        )

    def command(self) -> list[str]:
        return [BINARIES[self.binary], str(self.folder / "sentinel.conf"), "--sentinel"]

    def answers(self) -> bool:
        return _pings(lambda timeout: Client(self.port, timeout=timeout))

    def do(self, *command: object) -> Any:
        """One command, on a connection of its own; its reply."""
        with Client(self.port) as client:
            return client.do(*command)

    def knows(self, replicas: int, others: int) -> bool:
        """Whether it has found so many replicas and other Sentinels."""
        told = self.do("SENTINEL", "MASTER", Sentinels.NAME)
        seen = dict(zip(told[::2], told[1::2], strict=True))
        return (int(seen[b"num-slaves"]), int(seen[b"num-other-sentinels"])) == (replicas, others)

    def master(self) -> int:
        """The port of the master, as it sees it."""
        return int(self.do("SENTINEL", "GET-MASTER-ADDR-BY-NAME", Sentinels.NAME)[1])


class Sentinels:
    """A master with replicas, watched by three Sentinels, who make another one the master soon after it is silent; not
    so soon that a pause of the machine is taken for that.

    ``through`` may be set before they start: the port at which the replicas find the master, if not its own; that of a
    proxy that makes them lag, say. (Sentinels put that right after their "failover-timeout": `set` a long one.)
    """

    NAME: Final = "mymaster"

    def __init__(self, binary: str | None = None, *, replicas: int = 2, down_after_ms: int = 1500) -> None:
        self.servers: list[Valkey] = []
        self.sentinels: list[_Sentinel] = []
        self._stack = ExitStack()
        self._replicas, self._down_after = replicas, down_after_ms
        self.first = Valkey(binary)
        self.through = self.first.port

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.servers.append(stack.enter_context(self.first))
            for _ in range(self._replicas):
                self.servers.append(stack.enter_context(Valkey(self.first.binary, replica_of=self.through)))
            until(lambda: self.first.is_followed(self._replicas), "the first copies")
            for _ in range(3):
                sentinel = _Sentinel(self.first.binary, self.first.port, self._down_after)
                self.sentinels.append(stack.enter_context(sentinel))
            for sentinel in self.sentinels:
                until(lambda sentinel=sentinel: sentinel.knows(self._replicas, 2), "what the Sentinels must know")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def set(self, name: str, value: object) -> None:
        """Tell all Sentinels something about the master that they watch."""
        for sentinel in self.sentinels:
            sentinel.do("SENTINEL", "SET", self.NAME, name, value)

    @property
    def master(self) -> Valkey:
        """The master, as most of the Sentinels see it now."""
        seen = sorted(sentinel.master() for sentinel in self.sentinels)[1]
        return next(server for server in self.servers if server.port == seen)

    def url(self, **options: object) -> str:
        """Where a store finds the Sentinels."""
        hosts = ",".join(f"{LOOPBACK}:{sentinel.port}" for sentinel in self.sentinels)
        return f"{self.first.binary}+sentinel://{hosts}/{self.NAME}" + _query(options)


class Cluster:
    """Three masters that share the slots between them."""

    SLOTS: Final = 16384

    def __init__(self, binary: str | None = None, **settings: str) -> None:
        self.servers = [
            Valkey(
                binary,
                **settings,
                cluster_enabled="yes",
                cluster_config_file="nodes.conf",
                cluster_node_timeout="2000",
                cluster_port=str(free_port()),
            )
            for _ in range(3)
        ]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for server in self.servers:
                stack.enter_context(server)
            first = self.servers[0]
            for at, server in enumerate(self.servers):
                slots = (at * self.SLOTS // 3, (at + 1) * self.SLOTS // 3 - 1)
                server.do("CLUSTER", "SET-CONFIG-EPOCH", at + 1)
                server.do("CLUSTER", "ADDSLOTSRANGE", *slots)
                if server is not first:
                    server.do("CLUSTER", "MEET", LOOPBACK, first.port, first.settings["cluster-port"])
            for server in self.servers:
                until(lambda server=server: self._whole(server), f"a whole cluster, as {server} sees it")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def url(self, **options: object) -> str:
        """Where a store finds the nodes."""
        hosts = ",".join(f"{LOOPBACK}:{server.port}" for server in self.servers)
        return f"{self.servers[0].binary}+cluster://{hosts}" + _query(options)

    def slots_of(self, server: Valkey) -> list[int]:
        """The slots that this node has."""
        own = server.do("CLUSTER", "MYID")
        ranges = [(first, last) for first, last, node, *_ in server.do("CLUSTER", "SLOTS") if node[2] == own]
        return [slot for first, last in ranges for slot in range(first, last + 1)]

    @staticmethod
    def _whole(server: Valkey) -> bool:
        state = facts(server.do("CLUSTER", "INFO"))
        return (state["cluster_state"], state["cluster_known_nodes"]) == ("ok", "3")
