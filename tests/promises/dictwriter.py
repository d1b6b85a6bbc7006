"""What a child does to a `SessionStore`: ``python dictwriter.py PATH JOB ARGUMENT``. It tells of each acknowledgement
in a line."""

from __future__ import annotations

import os
import sys
import threading
import time

from talking import ready, say

from sojourn import SessionStore, SessionStoreConfig, StorageError


def write(store: SessionStore, first: str) -> None:
    """Set new keys and overwrite old ones, from three threads, until killed."""

    def work(mine: int) -> None:
        number = int(first)
        while True:
            number += 1
            store.set((mine, number % 40), [number] * 50)
            say(f"{mine} {number}")

    for mine in range(3):
        threading.Thread(target=work, args=(mine,), daemon=True).start()
    time.sleep(60)


def hold(store: SessionStore, seconds: str) -> None:
    """Lock an entry, say its fence, and hold on until killed."""
    with store.locked("n", float(seconds)) as entry:
        say(entry.fence)
        time.sleep(60)


def count(store: SessionStore, times: str) -> None:
    """Count under a lock."""
    ready()
    done = 0
    while done < int(times):
        try:
            with store.locked("n", 5) as entry:
                entry.value += 1
        except StorageError:
            time.sleep(0.001)
        else:
            done += 1
            say(entry.fence)


def pop(store: SessionStore, times: str) -> None:
    """Pop what there is; say what was got."""
    ready()
    for number in range(int(times)):
        if store.pop(number, None) is not None:
            say(number)


def fill(store: SessionStore, times: str) -> None:
    """Set keys that nobody else sets."""
    ready()
    for number in range(int(times)):
        store.set((os.getpid(), number), number)


if __name__ == "__main__":
    path, job, argument = sys.argv[1:]
    config = SessionStoreConfig(persistence_path=path, max_size=200, backup_interval=0.01, deadline=20)
    {"write": write, "hold": hold, "count": count, "pop": pop, "fill": fill}[job](SessionStore(config), argument)
