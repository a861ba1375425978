"""Aliases that runners add to Django's while the program runs, and take away again.

Django's own last as long as the process, and nothing in it expects one to go.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Any

from django.db import connections
from django.db.backends.signals import connection_created

_lock = threading.Lock()
_added: set[str] = set()


class _Opened:
    """The connections that one thread has to added aliases; they are closed with the thread."""

    def __init__(self) -> None:
        self.wrappers: dict[str, Any] = {}

    def __del__(self) -> None:
        # Whoever closes all connections of a thread does not find those of an alias that is gone,
        # and SQLite's complain when they are left to the collector (Python 3.13).
        for wrapper in self.wrappers.values():
            with suppress(Exception):  # the interpreter may be on its way out
                wrapper.close()


class _Here(threading.local):
    def __init__(self) -> None:
        self.opened = _Opened()


_here = _Here()


def add(alias: str, settings: dict[str, Any]) -> None:
    """Add an alias."""
    with _lock:
        _added.add(alias)
        # A new dict: another thread may be going through the old one.
        connections.settings = {**connections.settings, alias: settings}


def remove(alias: str) -> None:
    """Take an alias away that ``add`` added, and close this thread's connection to it.

    Other threads close theirs at their end, or with ``tidy``: they may be using them.
    """
    with _lock:
        _added.discard(alias)
        connections.settings = {
            name: entry for name, entry in connections.settings.items() if name != alias
        }
    tidy()


def tidy() -> None:
    """Close this thread's connections to aliases that are gone."""
    wrappers = _here.opened.wrappers
    for alias in [alias for alias in wrappers if alias not in _added]:
        if wrappers[alias].in_atomic_block:
            continue  # the end of the block asks Django for it
        wrappers.pop(alias).close()
        with suppress(AttributeError):  # a test may have taken it out
            del connections[alias]


def _remember(sender: object, connection: Any, **kwargs: object) -> None:
    if connection.alias in _added:
        _here.opened.wrappers[connection.alias] = connection


connection_created.connect(_remember, dispatch_uid="cloaca-aliases")
