"""Streamlit: serves `streamlit_script.py`."""

from __future__ import annotations

import sys
from pathlib import Path

from streamlit.web import cli

from . import HOST, PORT


def main() -> None:
    """Serve it, as its users do, but for the browser that it opens, the files that it watches and what it tells."""
    said = {
        "server.address": HOST,
        "server.port": PORT,
        "server.headless": "true",
        "server.fileWatcherType": "none",
        "browser.gatherUsageStats": "false",
        "logger.level": "error",
    }
    script = Path(__file__).with_name("streamlit_script.py")
    sys.argv = ["streamlit", "run", str(script), *(f"--{name}={value}" for name, value in said.items())]
    sys.exit(cli.main())
