"""The servers that `live` measures, one process each, and who they are."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.servers.process import LOOPBACK, Process, until

from .live_tabs import Bare, Dialect, NiceGUI, Sojourn, Streamlit

_ROOT = Path(__file__).parents[1]
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Contender:
    """One counter, with where it keeps what must not be lost; ``{folder}`` is a folder of the server's own."""

    name: str
    module: str
    dialect: Callable[[], Dialect]
    store: str = ""

    @property
    def ours(self) -> bool:
        return self.dialect is Sojourn


BARE = Contender("bare WebSocket", "bare_counter", Bare)
NICEGUI = Contender("NiceGUI", "nicegui_counter", NiceGUI)
STREAMLIT = Contender("Streamlit", "streamlit_counter", Streamlit)
MEMORY = Contender("Sojourn memory", "sojourn_counter", Sojourn)
POWER = Contender("Sojourn SQLite, power", "sojourn_counter", Sojourn, "sqlite:///{folder}/live.db?durability=power")
PROCESS = Contender(
    "Sojourn SQLite, process", "sojourn_counter", Sojourn, "sqlite:///{folder}/live.db?durability=process"
)
CONTENDERS = (BARE, NICEGUI, STREAMLIT, MEMORY, POWER, PROCESS)
NICEGUI_STORED = Contender("NiceGUI, user storage", "nicegui_counter", NiceGUI, "user")


class Served(Process):
    """A counter, served by one process on the CPU that this thread has when it is started."""

    def __init__(self, contender: Contender, *, shared: bool = False, store: str = "") -> None:
        super().__init__()
        self.contender = contender
        self._shared = shared
        self._store = (store or contender.store).format(folder=self.folder)

    def command(self) -> list[str]:
        paths = [str(_ROOT), str(_ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")])]
        said = {
            "PORT": str(self.port),
            "STORE": self._store,
            "SHARED": "1" if self._shared else "",
            "FOLDER": str(self.folder),
            "PYTHONPATH": os.pathsep.join(paths),
        }
        environment = [f"{name}={value}" for name, value in said.items()]
        return ["env", *environment, sys.executable, "-m", "bench.live_apps", self.contender.module]

    def answers(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def memory(self) -> int:
        """Its resident bytes, once its garbage is collected."""
        told = self.folder / "memory"
        told.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR1)
        until(told.exists, f"how much memory {self.contender.name} has")
        return int(told.read_text())

    def cpu(self) -> float:
        """The seconds of CPU that it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS
