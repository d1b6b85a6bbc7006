"""From a URL to a store. The one place that knows which stores there are.

A store's module is imported when its URL is opened, not before: a missing extra is missed only there. To add a store,
write the module with a function ``open_url`` and add its schemes to the table.
"""

from __future__ import annotations

from importlib import import_module
from typing import Final, Protocol, cast
from urllib.parse import SplitResult, parse_qsl, urlsplit

from .config import SessionConfig
from .errors import ConfigurationError
from .store import Store, World

__all__ = ["open_store"]

_MODULES: Final = {
    "memory": ".stores.memory",
    "sqlite": ".stores.sqlite",
    "valkey": ".stores.valkey",
    "valkeys": ".stores.valkey",
    "valkey+unix": ".stores.valkey",
    "valkey+sentinel": ".stores.valkey",
    "valkeys+sentinel": ".stores.valkey",
    "valkey+cluster": ".stores.valkey",
    "valkeys+cluster": ".stores.valkey",
    "redis": ".stores.valkey",
    "rediss": ".stores.valkey",
    "redis+unix": ".stores.valkey",
    "redis+sentinel": ".stores.valkey",
    "rediss+sentinel": ".stores.valkey",
    "redis+cluster": ".stores.valkey",
    "rediss+cluster": ".stores.valkey",
    "postgresql": ".stores.postgres",
    "postgres": ".stores.postgres",
}


class _Opens(Protocol):
    def open_url(self, url: SplitResult, options: dict[str, str], config: SessionConfig, world: World) -> Store: ...


def open_store(url: str, config: SessionConfig | None = None, *, world: World = "blocking") -> Store:
    """Open the store that a URL names, for callers of one world: ``memory://``, ``sqlite:///relative/path``,
    ``sqlite:////absolute/path``, with options as a query (``?durability=process``).

    Raises `ConfigurationError` for a URL or an option that is not understood, `MissingExtra` where the driver is not
    installed, and what the store raises if it cannot be opened.
    """
    parts = urlsplit(url)
    module = _MODULES.get(parts.scheme)
    if module is None:
        known = ", ".join(f"{scheme}://" for scheme in _MODULES)
        raise ConfigurationError(f"{_without_password(parts)!r} is no store URL: Sojourn opens {known}")
    opener = cast(_Opens, import_module(module, __package__))
    return opener.open_url(parts, dict(parse_qsl(parts.query)), config or SessionConfig(), world)


def _without_password(parts: SplitResult) -> str:
    return parts.geturl() if parts.password is None else parts.geturl().replace(parts.password, "***")
