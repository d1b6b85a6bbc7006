"""The places of a state that is bound to a stored session, kept in step with it.

A user's key is a field of the same name; so is the key of a widget, and one field more names which those are. Another
holds the parameters of the page's address, where the state is told to keep them. Names that begin with "$$" stay in the
process.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, Final

from ..errors import UnsupportedValue
from ..session import BaseSession
from .addresses import Addresses
from .places import Places, own
from .query_params import is_reserved
from .stored import Stored
from .values import MISSING, differ
from .widgets import TRIGGERS, WidgetMetadata, is_hidden

__all__ = ["MOST_KEPT", "PARAMS", "WIDGETS", "Sharing", "listed", "params_of", "with_params"]

log = logging.getLogger("sojourn")

WIDGETS: Final = "$$widgets"
"""The field that names the fields which are widgets' values."""

PARAMS: Final = "$$params"
"""The field that holds the parameters of the page's address: a dict from names to lists of texts."""

MOST_KEPT: Final = 64 * 1024
"""Characters of all parameters together that are kept: longer addresses stay in the process."""


class Sharing:
    """Places, and the session in which they are stored."""

    __slots__ = ("_addresses", "_ours", "_places", "_stored", "_unstorable", "restored")

    def __init__(self, places: Places, stored: Stored, addresses: Addresses | None = None) -> None:
        self._places = places
        self._addresses = addresses  # where parameters are kept
        self._stored = stored
        self._ours: set[str] = set()  # keys of widgets that this process has stored values of
        self._unstorable: set[str] = set()  # keys of widgets whose values cannot be stored, of which it was told
        self.restored: set[str] = set()
        """Keys whose values are of widgets that were not made in this process yet."""
        if addresses is not None:
            self._commit(lambda session: session.setdefault(PARAMS, {}))  # so that others know that they are kept
            addresses.params.kept_by(self._keep_params)
        self._take_up(stored.names(), tell=False)

    @property
    def session_id(self) -> str:
        return self._stored.session_id

    def look(self) -> None:
        """See what others have written."""
        self._take_up(self._stored.look())

    def write(self, key: str, value: Any) -> None:
        """Commit a key's new value."""
        self._commit(lambda session: session.set(key, value))

    def delete(self, keys: Collection[str]) -> None:
        """Commit that keys are gone."""
        self._commit(lambda session: _delete(session, keys))
        self.restored.difference_update(keys)

    def update(self, key: str, function: Callable[[Any], Any]) -> Any:
        """Commit a key's value as a function of what it is; what it then is."""
        value = self._places.find(key)
        if self._places.widget_of(key) and value is not MISSING and not self._stored.holds(key, value):
            self.write(key, value)  # what its widget has become in this run
        self._commit(lambda session: session.update(key, function))
        return self._stored.read(key)

    def setdefault(self, key: str, default: Any) -> Any:
        """Commit a value for a key that has none; what it then is."""
        self._commit(lambda session: session.setdefault(key, default))
        return self._stored.read(key)

    def save(self) -> None:
        """Commit what was changed in place."""
        self._commit(lambda session: None)

    def restore(self, metadata: WidgetMetadata[Any], key: str) -> bool:
        """Give a widget back what it was in another process. Returns whether the browser is to be told."""
        if key not in self.restored:
            return False
        self.restored.discard(key)
        value = self._places.user.pop(key, MISSING)
        if value is MISSING or self._places.widgets.sent(metadata.id):
            return False
        self._places.widgets.kept[metadata.id] = value
        return differ(value, metadata.deserializer(None))

    def keep_widgets(self) -> None:
        """Commit what widgets with a key have become, and what was changed in place. Those that other processes show
        are theirs. What a store cannot hold (a file) stays in this process, and a warning says so, once. Events are not
        stored."""
        places, stored, now = self._places, self._stored, set()
        changes: dict[str, Any] = {}
        for key, widget_id in places.keys:
            value, metadata = places.find_widget(widget_id, key), places.widgets.metadata.get(widget_id)
            if value is MISSING or metadata is None or metadata.value_type in TRIGGERS:
                continue
            if self._note(key, value, changes):
                now.add(key)
        changes = {key: own(value) for key, value in changes.items()}  # the very objects are the widgets'
        past = (self._ours | places.dropped) - now  # widgets no longer: what their keys have is the code's, or nothing
        kept = {key for key in past if (value := places.find(key)) is not MISSING and self._note(key, value, changes)}
        known = set(listed(stored.read(WIDGETS)))

        def change(session: BaseSession) -> None:
            for key, value in changes.items():
                session[key] = value
            _delete(session, past - kept)
            if now - known or past & known:
                session.update(WIDGETS, lambda names: sorted(({*listed(names)} | now) - past))

        self._commit(change)
        self._ours = now
        places.dropped.clear()

    # --- Parts -------------------------------------------------------------------------------------------------------

    def _note(self, key: str, value: Any, changes: dict[str, Any]) -> bool:
        """Note a value among the changes if the store has another. Returns whether it can be stored at all."""
        try:
            if not self._stored.holds(key, value):
                changes[key] = value
        except UnsupportedValue as refused:
            if key not in self._unstorable:
                log.warning("the value of a widget stays in this process only: %s", refused)
            self._unstorable.add(key)
            return False
        return True

    def _keep_params(self, values: Mapping[str, str | list[str]]) -> None:
        """Commit what is new in the parameters of the address."""
        if sum(len(key) + sum(map(len, texts)) for key, texts in values.items()) > MOST_KEPT:
            if PARAMS not in self._unstorable:
                log.warning("query parameters of more than %s characters stay in this process only", f"{MOST_KEPT:,}")
            self._unstorable.add(PARAMS)
            return
        kept = params_of(self._stored.read(PARAMS))
        now = {
            key: [texts] if isinstance(texts, str) else texts for key, texts in values.items() if not is_reserved(key)
        }
        changes = {key: now.get(key, []) for key in kept.keys() | now.keys() if kept.get(key) != now.get(key)}
        if changes:
            self._commit(lambda session: session.update(PARAMS, partial(with_params, changes)))

    def _commit(self, change: Callable[[BaseSession], object]) -> None:
        try:
            others = self._stored.commit(change)
        except BaseException:  # whatever it was, nobody is to see what was not committed
            places = self._places
            names = {*self._stored.names(), *places.user, *places.new}
            self._take_up((name for name in names if not places.widget_of(name)), tell=False)  # as it is stored
            raise
        self._take_up(others)

    def _take_up(self, names: Iterable[str], *, tell: bool = True) -> None:
        """Show these fields as they are stored. ``tell``: the browser is told of parameters that it does not know."""
        places = self._places
        for name in names:
            value = self._stored.read(name)
            if name == WIDGETS:
                self.restored = {key for key in listed(value) if not places.widget_of(key)}
            elif name == PARAMS and self._addresses is not None:
                kept = params_of(value)
                self._addresses.take(
                    {key: texts[0] if len(texts) == 1 else texts for key, texts in kept.items()}, tell=tell
                )
            elif is_hidden(name):
                continue
            elif not places.widget_of(name):
                places.new.pop(name, None)
                if value is MISSING:
                    places.user.pop(name, None)
                else:
                    places.user[name] = value
            elif value is not MISSING:  # a widget that is shown keeps its value though its field was deleted
                places.put(name, value)


def listed(names: Any) -> list[str]:
    """The keys of widgets, as they are stored; if they are."""
    return [] if names is None or names is MISSING else names


def params_of(kept: Any) -> dict[str, list[str]]:
    """The parameters of an address as they are stored: what is of another form is left out."""
    if type(kept) is not dict:
        return {}
    return {
        key: list(texts)
        for key, texts in kept.items()
        if type(key) is str and type(texts) is list and texts and all(type(text) is str for text in texts)
    }


def with_params(changes: Mapping[str, list[str]], kept: Any) -> dict[str, list[str]]:
    """What is stored, with some parameters set, and those gone that have no value."""
    return {key: texts for key, texts in {**params_of(kept), **changes}.items() if texts}


def _delete(session: BaseSession, names: Iterable[str]) -> None:
    for name in names:
        session.delete(name)
