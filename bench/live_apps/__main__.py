"""Runs one of the counters: `python -m bench.live_apps bare_counter`. A SIGUSR1 has the process collect its garbage and
write its resident memory, in bytes, to the file "memory" in its folder: in the main thread, whatever the server is."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from pathlib import Path

from . import FOLDER


def _tell_memory(*_: object) -> None:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    told = FOLDER / "memory.new"
    told.write_text(str(pages * os.sysconf("SC_PAGE_SIZE")))
    told.rename(FOLDER / "memory")


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _tell_memory)
    importlib.import_module(f"{__package__}.{sys.argv[1]}").main()
