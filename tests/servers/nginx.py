"""nginx as a caching proxy: it keeps whatever it may."""

from __future__ import annotations

import os
import shutil
import socket

from .process import LOOPBACK, Process

__all__ = ["Nginx"]

_CONFIGURATION = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log stderr warn;
{user}
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/cache keys_zone=pages:1m use_temp_path=off;
    server {{
        listen {host}:{port};
        {location}
    }}
}}
"""
_KEEPING = """
        location / {{
            proxy_pass http://{host}:{behind};
            proxy_set_header Host testserver;
            proxy_cache pages;
            proxy_cache_valid any 10m;
            add_header X-Cache $upstream_cache_status always;
        }}
"""


class Nginx(Process):
    """A proxy before what listens on the port ``behind``. What the response does not forbid, it keeps for ten minutes,
    and it says in ``X-Cache`` whether a page came from there. ``location``: in place of that."""

    def __init__(self, behind: int, location: str | None = None) -> None:
        super().__init__()
        self._location = _KEEPING.format(host=LOOPBACK, behind=behind) if location is None else location

    def command(self) -> list[str]:
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin"])
        program = shutil.which("nginx", path=path)
        assert program is not None, "nginx is not installed: make servers"
        text = _CONFIGURATION.format(
            folder=self.folder,
            host=LOOPBACK,
            port=self.port,
            location=self._location,
            user="user root;" if os.geteuid() == 0 else "",
        )
        (self.folder / "nginx.conf").write_text(text)
        return [program, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", "stderr"]

    def answers(self) -> bool:
        with socket.socket() as knock:
            return knock.connect_ex((LOOPBACK, self.port)) == 0
