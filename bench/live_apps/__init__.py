"""The counter that `live` has served: one small module for each contender, all with the same label and button.

    Clicked 0 times     each session's own
    [Click me]          one more; "Clicked 1 times"

and, with `SHARED`, what everybody sees, which any session can change:

    Shared 0
    [Tell everybody]    one more, for all: "Shared 1"

`python -m bench.live_apps <module>` runs one. The environment says the rest: `PORT`; `STORE`, where what must not be
lost is kept ("" for nowhere, or what the contender makes of it); `SHARED`; `FOLDER`, a folder of its own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

__all__ = ["FOLDER", "HOST", "PORT", "SHARED", "STORE"]

HOST: Final = "127.0.0.1"
PORT: Final = int(os.environ.get("PORT", "8501"))
STORE: Final = os.environ.get("STORE", "")
SHARED: Final = bool(os.environ.get("SHARED"))
FOLDER: Final = Path(os.environ.get("FOLDER", "."))
