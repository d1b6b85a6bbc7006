"""What all see, where the store does what it is asked and does not say so."""

from __future__ import annotations

import time
from typing import Any

import httpx
import pytest
from visiting import served

from sojourn import AsyncSessionManager, OutcomeUnknown, StoreUnavailable
from sojourn.live import App
from sojourn.live.rooms import Rooms
from sojourn.stores.memory import MemoryStore


class Mute(MemoryStore):
    """Makes commits, and does not say so as often as it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.silent = 0

    async def commit(self, *args: Any, **named: Any) -> Any:
        outcome = await super().commit(*args, **named)
        if self.silent:
            self.silent -= 1
            raise OutcomeUnknown("the reply never came", final=True)
        return outcome


class Late(MemoryStore):
    """Does not answer at first."""

    refusals = 3

    async def load(self, handle: str) -> Any:
        if self.refusals:
            self.refusals -= 1
            raise StoreUnavailable("not yet")
        return await super().load(handle)


def test_a_start_that_fails_leaves_nothing_behind() -> None:
    """The store does not answer when the app is first asked for: that is 503, a later one starts it, and of the
    attempts before no timer stays."""
    app = App(manager=AsyncSessionManager(Late()))
    app.text("here", key="here")
    made: list[Rooms] = []
    begin = Rooms.__init__

    def noted(rooms: Rooms, *args: Any) -> None:
        made.append(rooms)
        begin(rooms, *args)

    with pytest.MonkeyPatch.context() as patch, served(app, lifespan="off") as site:
        patch.setattr(Rooms, "__init__", noted)
        answers = [httpx.get(f"http://127.0.0.1:{site.port}/").status_code for _ in range(4)]
        assert answers == [503, 503, 503, 200]
        assert [rooms._timer.cancelled() for rooms in made] == [True, True, True, False]
        site.do(app.close())


def test_what_may_have_been_kept_is_made_once() -> None:
    """Nobody knows whether an update of a widget and of a value were kept, which they were: they are tried again, and
    are made once. What is changed meanwhile is kept, too, and all of it is shown."""
    store = Mute()
    app = App(manager=AsyncSessionManager(store))
    clicks = app.metric("Clicks", 0, key="clicks")
    other = app.text("before", key="other")
    with served(app) as site:
        tab = site.visitor().open()
        app.shared["count"] = 0
        tab.quiet(0.2)
        store.silent = 2
        clicks.update("value", lambda n: n + 1)
        app.shared.update("count", lambda n: n + 1)
        time.sleep(0.3)
        other.text = "meanwhile"
        tab.until(lambda page: page.props("g:other")["text"] == "meanwhile")
        assert tab.model.props("g:clicks")["value"] == clicks.value == app.shared["count"] == 1
        assert site.visitor().load().props("g:clicks")["value"] == 1
    record = store._get(app.everyone.handle)
    assert record is not None
    kept = AsyncSessionManager(store).resume(record)
    assert (kept["count"], kept["_live:o:clicks"]["props"]["value"]) == (1, 1)
