"""What is changed about what all see is the same after a restart as before it: the order of widgets, and what the
function of an update has returned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from visiting import Tab, served, settled

from sojourn.live import App
from sojourn.live import widgets as w


def an_app(store: str) -> App:
    app = App("Order", store=store)
    box = app.container(key="box")
    table = app.table([["a"]], key="table")

    async def insert(at: int) -> None:
        box.add_widget(w.Text(str(len(box.children))), before=box.children[at] if len(box.children) > 1 else None)

    @app.button("First", key="first").on_click
    async def first() -> None:
        await insert(0)

    @app.button("Before the last", key="last").on_click
    async def last() -> None:
        await insert(-1)

    @app.button("Rows", key="rows").on_click
    def rows() -> None:
        table.update("data", lambda data: [["b"], ["c"]])

    return app


def texts(tab: Tab) -> list[str]:
    found = tab.model.find("g:box")
    assert found is not None
    return [one["props"]["text"] for one in found["children"]]


def before_and_after(folder: Path, act: Callable[[Tab], object], look: Callable[[Tab], Any]) -> tuple[Any, Any]:
    """What is seen when something was done, and what another process sees then."""
    store = f"sqlite:///{folder / 'order.db'}"
    with served(an_app(store)) as site:
        tab = site.visitor().open()
        act(tab)
        settled(site)
        kept = tab.visitor.load().children
        tab.until(lambda page: page.children == kept)
        seen = look(tab)
    with served(an_app(store)) as site:
        return seen, look(site.visitor().open())


@pytest.mark.parametrize("where", ["g:first", "g:last"])
def test_a_place_for_each(where: str, tmp_path: Path) -> None:
    """However often widgets are put before the same one, they are in the same order after a restart."""

    def act(tab: Tab) -> None:
        for _ in range(70):
            tab.click(where)

    seen, again = before_and_after(tmp_path, act, texts)
    assert seen == again
    assert len(set(seen)) == 70


def test_an_update_is_kept_as_an_assignment_is(tmp_path: Path) -> None:
    """What an update's function returns is kept as it would be if it were assigned."""
    seen, again = before_and_after(tmp_path, lambda tab: tab.click("g:rows"), lambda tab: tab.shows("g:table"))
    assert seen == again
    assert seen["data"]["rows"] == [["b"], ["c"]]
