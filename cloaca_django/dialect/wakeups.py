"""Hints that another process wrote something: LISTEN on PostgreSQL, the WAL file on SQLite.

A hint may come late, twice or never; polling stays correct without any.
"""

from __future__ import annotations

import logging
import os
import selectors
import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import psycopg
from django.db import connections

from cloaca_django.conf import settings
from cloaca_django.dialect.postgresql import connect
from cloaca_django.dialect.presence import Presence
from cloaca_django.dialect.schemas import schema_of
from cloaca_django.dialect.session import LOOK, WORK
from cloaca_django.dialect.sql_postgresql import CHANNEL

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

logger = logging.getLogger("cloaca_django.worker")

WAL_SECONDS = 0.02


class Watcher:
    """A thread that calls ``wake`` on every hint, until closed."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self.wake = wake
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._watch, name="cloaca-wakeups", daemon=True)

    def start(self) -> None:
        """Start watching."""
        self.thread.start()

    def close(self) -> None:
        """Stop watching and wait for the thread."""
        self.stopping.set()
        if self.thread.is_alive():
            self.thread.join(5.0)

    def _watch(self) -> None:
        raise NotImplementedError


class ListenWatcher(Watcher):
    """LISTEN on a connection of its own, which sends nothing while it waits.

    ``heard`` is called with every announcement, whatever schema it concerns: the channel is the
    whole database's. ``wake`` is called when announcements may have been missed.
    """

    def __init__(
        self,
        wrapper: BaseDatabaseWrapper,
        wake: Callable[[], None],
        heard: Callable[[str], None],
        presence: Presence | None = None,
    ) -> None:
        super().__init__(wake)
        self._presence = presence
        self._params = wrapper.get_connection_params()
        self._heard = heard
        # Closing rings it: a socket, because nothing else can be selected on every system.
        self._ear, self._bell = socket.socketpair()

    def close(self) -> None:
        self.stopping.set()
        self._bell.send(b"!")
        super().close()
        self._bell.close()
        self._ear.close()

    def _watch(self) -> None:
        while not self.stopping.is_set():
            try:
                with connect(self._params) as connection:
                    connection.execute(f"LISTEN {CHANNEL}")
                    if self._presence is not None:
                        self._presence.hold(connection)
                    self.wake()  # whatever was announced while nobody listened
                    self._listen(connection)
            except psycopg.Error:
                # Polling goes on meanwhile.
                logger.info("listening failed; trying again", exc_info=True)
                self.stopping.wait(1.0)

    def _listen(self, connection: psycopg.Connection) -> None:
        # Not select(): it refuses file numbers from 1024 up.
        with selectors.DefaultSelector() as sources:
            sources.register(connection.fileno(), selectors.EVENT_READ)
            sources.register(self._ear, selectors.EVENT_READ)
            while not self.stopping.is_set():
                sources.select()
                for note in connection.notifies(timeout=0):
                    self._heard(note.payload)


class WalWatcher(Watcher):
    """Look at the WAL file's size and time; no statement is sent."""

    def __init__(self, wrapper: BaseDatabaseWrapper, wake: Callable[[], None]) -> None:
        super().__init__(wake)
        self._path = f"{wrapper.settings_dict['NAME']}-wal"

    def _watch(self) -> None:
        seen = self._stamp()
        while not self.stopping.wait(WAL_SECONDS):
            now = self._stamp()
            if now != seen:
                seen = now
                self.wake()

    def _stamp(self) -> tuple[int, int]:
        try:
            found = os.stat(self._path)
        except OSError:
            return (0, 0)  # nothing was written yet
        return (found.st_mtime_ns, found.st_size)


def open_watcher(
    alias: str, *, wake: Callable[[], None], hint: Callable[[], None]
) -> Watcher | None:
    """Start watching the database of ``alias``; None when only polling is left.

    ``wake`` is called when somebody announced work, ``hint`` when somebody wrote something.
    """
    wrapper = connections[alias]
    watcher: Watcher
    if wrapper.vendor == "sqlite":
        watcher = WalWatcher(wrapper, hint)
    elif settings.NOTIFY:
        # What concerns another schema wakes nobody here.
        schema = schema_of(wrapper)
        ring = {schema + WORK: wake, schema + LOOK: hint}
        watcher = ListenWatcher(wrapper, wake, lambda payload: ring.get(payload, _nothing)())
    else:
        return None
    watcher.start()
    return watcher


def open_tenant_watcher(
    alias: str,
    *,
    missed: Callable[[], None],
    heard: Callable[[str, str], None],
    presence: Presence | None,
) -> Watcher:
    """Start listening for all tenants of a site, and say which of them the worker is there for.

    ``heard`` is called with a schema and what was announced there, WORK or LOOK; ``missed`` when
    announcements may have been missed.
    """

    def take(payload: str) -> None:
        is_look = payload.endswith(LOOK)
        heard(payload.removesuffix(LOOK), LOOK if is_look else WORK)

    watcher = ListenWatcher(connections[alias], missed, take, presence)
    watcher.start()
    return watcher


def _nothing() -> None:
    """Hear what is of no concern here."""
