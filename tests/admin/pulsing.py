"""What tests of the overview share: it is read until it shows what is waited for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from sojourn.admin.pulse import Overview, Pulse

__all__ = ["read"]


async def read(pulse: Pulse, enough: Callable[[Overview], object], within: float = 10.0) -> Overview:
    """The overview as soon as that is in it."""
    give_up = time.monotonic() + within
    while not enough(found := pulse.reading()):
        assert time.monotonic() < give_up, f"it never came: {found}"
        await asyncio.sleep(0.01)
    return found
