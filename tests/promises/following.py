"""What the children do who watch: everybody writes to a few sessions and watches all of them, while the connection over
which they are told is cut again and again."""

from __future__ import annotations

import asyncio
import json
import random
import time
from typing import Any

from talking import hear, say

from sojourn import AsyncSessionManager, Handle, SessionConfig, StoreError

__all__ = ["FOLLOWING"]

PATIENT = SessionConfig(deadline=10)


class _Watcher:
    """What is told to one process: of all, and of each session."""

    def __init__(self, watching: AsyncSessionManager, reading: AsyncSessionManager, handles: list[str]) -> None:
        self._watching = watching
        self._reading = reading
        self._handles = handles
        self.of_all: list[list[Any]] = []
        self.of_each: dict[str, list[list[Any]]] = {handle: [] for handle in handles}
        self.begun = False
        """Whether it is told of all, from now on."""
        self.states: dict[str, Any] = {}
        self.ended: set[str] = set()

    async def watch_all(self) -> None:
        watch = await self._begun()
        self.begun = True
        async for change in watch:
            if change.kind not in ("changed", "missed"):
                self.of_all.append([change.id, change.kind, change.handle])
                self.ended |= {change.handle} if change.kind == "ended" else set()
            elif change.reason == "history":
                self.of_all.append(["history was missed", "", ""])

    async def watch_one(self, handle: str) -> None:
        watch = await self._begun(handle)
        self.states[handle] = await self._look(handle)
        async for change in watch:
            if change.kind == "changed":
                self.states[handle] = await self._look(handle)
            else:
                self.of_each[handle].append([change.id, change.kind, change.handle])
        await watch.close()

    async def _begun(self, handle: str | None = None) -> Any:
        """A watch, as soon as one can be had: to begin one is an operation, which fails while the store is away."""
        while True:
            watch = self._watching.watch(session=None if handle is None else Handle(handle))
            try:
                return await watch.__aenter__()
            except StoreError:
                await asyncio.sleep(0.05)

    async def _look(self, handle: str) -> Any:
        found = await self._reading.get_session(Handle(handle))
        return None if found is None else found["log"]


def follow(direct: str, cut: str, ids: str, changes: str, number: str) -> None:
    """Write so often to sessions directly, and watch them where connections are cut; say what was told."""
    asyncio.run(_follow(direct, cut, json.loads(ids), int(changes), int(number)))


async def _follow(direct: str, cut: str, ids: list[str], changes: int, number: int) -> None:
    dice = random.Random(number)
    handles = [one.split(".")[0] for one in ids]
    writing, watching = AsyncSessionManager(direct, config=PATIENT), AsyncSessionManager(cut, config=PATIENT)
    watcher = _Watcher(watching, writing, handles)
    tasks = [asyncio.create_task(watcher.watch_all())]
    tasks += [asyncio.create_task(watcher.watch_one(handle)) for handle in handles]
    while not watcher.begun or len(watcher.states) < len(handles):
        await asyncio.sleep(0.05)
    await _told("ready")

    async def write(own: list[str], count: int) -> None:
        current = {one: one for one in own}  # rotations are of one's own sessions
        for turn in range(count):
            session_id = dice.choice(ids)
            if turn % 20 == 0 and own:
                mine = dice.choice(own)
                current[mine] = await writing.rotate(current[mine])
            else:
                handle = Handle(session_id.split(".")[0])
                await writing.update(handle, "log", lambda log, turn=turn: [*log[-3:], f"{number}.{turn}"])

    mine = ids[number::4]
    await asyncio.gather(*(write(mine[at::5], changes // 5) for at in range(5)))
    await _told("written")
    until = time.monotonic() + 30
    wanted = {handle: (await writing.get_session(Handle(handle)))["log"] for handle in handles}  # type: ignore[index]
    while watcher.states != wanted and time.monotonic() < until:
        await asyncio.sleep(0.1)
    stale = [handle for handle in handles if watcher.states[handle] != wanted[handle]]
    await _told("seen")
    for one in mine:
        await writing.end_session(Handle(one.split(".")[0]))
    await asyncio.wait(tasks[1:], timeout=30)
    until = time.monotonic() + 30
    while len(watcher.ended) < len(handles) and time.monotonic() < until:
        await asyncio.sleep(0.1)
    tasks[0].cancel()
    say(json.dumps({"all": watcher.of_all, "each": watcher.of_each, "stale": stale,
                    "waiting": sum(not task.done() for task in tasks[1:])}))  # fmt: skip
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await writing.close()
    await watching.close()


async def _told(line: str) -> None:
    say(line)
    await asyncio.to_thread(hear)


FOLLOWING = (follow,)
