"""Watching: one feed and one reader of the history for all who watch in this process.

    hub.py      follows the feed, reads the history, and tells the watches; works while there are any
    watch.py    what one watcher is told: a bounded buffer, and where it is in the history; and who waits for a lease

The history is what counts, and the feed says when to read it. So a feed that breaks costs time, and no fact: the hub
opens another one, reads on where it was, and looks whether the sessions that somebody watches are as they were. That
fields changed is told by the feed alone; what one commit after another changed while nobody asked becomes one change.
"""

from __future__ import annotations

from .hub import Hub
from .watch import ALL, FACTS, Topic, Turn, Watch

__all__ = ["ALL", "FACTS", "Hub", "Topic", "Turn", "Watch"]
