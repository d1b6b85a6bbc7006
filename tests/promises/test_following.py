"""Promise 1 of the feeds: however often the connection is cut over which they are told, all who watch end with every
fact of the life of sessions, in order for each session, and with the newest state of what they watch."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from children import Child, children

from servers.proxy import Proxy, through
from sojourn import SessionConfig, SessionManager

PROCESSES = 4


@contextmanager
def cutting(url: str, every: float) -> Iterator[tuple[str, list[int]]]:
    """The same place, where all connections are cut again and again. A file has none: there, nothing is cut."""
    cuts = [0]
    if url.startswith("sqlite"):
        yield url, cuts
        return
    with Proxy(int(re.findall(r":(\d+)", url)[0])) as proxy:
        stop = threading.Event()

        def cut(proxy: Proxy) -> None:
            while not stop.wait(every):
                proxy.reset()
                cuts[0] += 1

        thread = threading.Thread(target=cut, args=(proxy,))
        thread.start()
        try:
            yield through(url, proxy), cuts
        finally:
            stop.set()
            thread.join()


def _told(watchers: list[Child], line: str) -> None:
    for child in watchers:
        child.expect(line)
    for child in watchers:
        child.say()


def _followed(url: str, sessions: int, changes: int, every: float) -> None:
    """Everybody is told everything."""
    with SessionManager(url, config=SessionConfig(deadline=10)) as manager, cutting(url, every) as (cut, cuts):
        ids = [manager.create_session(f"user {number % 7}", {"log": []}) for number in range(sessions)]
        position, _ = manager.changes(0, 10_000)
        with children(PROCESSES, "follow", url, cut, json.dumps(ids), changes // PROCESSES) as watchers:
            for child in watchers:
                child.say()
            _told(watchers, "written")
            _told(watchers, "seen")
            told = [json.loads(child.hear()) for child in watchers]
            for child in watchers:
                child.finish()
        _, happened = manager.changes(position, 10_000)
    expected: dict[str, list[str]] = {session_id.split(".")[0]: [] for session_id in ids}
    for change in happened:
        if change.kind != "overwritten":
            expected[change.handle].append(change.id)
    for one in told:
        assert one["stale"] == []
        assert one["waiting"] == 0
        assert _by_session(one["all"], expected) == expected
        assert {handle: _once(rows) for handle, rows in one["each"].items()} == expected
    assert sum(map(len, expected.values())) >= sessions + changes // 25
    assert url.startswith("sqlite") or cuts[0] >= 2


def _once(rows: list[Any]) -> list[str]:
    """Facts by their ids, each where it came first."""
    return list(dict.fromkeys(name for name, kind, _ in rows if kind != "overwritten"))


def _by_session(rows: list[Any], sessions: dict[str, Any]) -> dict[str, list[str]]:
    return {handle: _once([row for row in rows if row[2] == handle]) for handle in sessions}


def test_everybody_is_told_everything(url: str) -> None:
    """Four processes, 40 sessions, 4,000 changes: with the connection cut three times a second."""
    _followed(url, 40, 4000, 0.3)


@pytest.mark.battery
@pytest.mark.soak
def test_everybody_is_told_everything_of_20_000_changes(url: str) -> None:
    """Four processes, 200 sessions, 20,000 changes: with the connection cut every second."""
    began = time.monotonic()
    _followed(url, 200, 20_000, 1.0)
    print(f"\n{url.split(':')[0]}: {time.monotonic() - began:.1f} s")
