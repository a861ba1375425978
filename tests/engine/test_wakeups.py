"""Hints from other processes: heard soon, and never needed."""

from __future__ import annotations

import threading
import time

import pytest
from django.db import connection

from cloaca_django.core import registry
from cloaca_django.dialect import open_session
from cloaca_django.dialect.wakeups import open_watcher
from cloaca_django.engine.messages import HINT, WAKE
from tests import workflows

SECONDS = 10.0


class Bell:
    """Counts how often it was rung, and lets a test wait for that."""

    def __init__(self):
        self.rung = threading.Semaphore(0)

    def __call__(self):
        self.rung.release()

    def heard(self, seconds=SECONDS):
        return self.rung.acquire(timeout=seconds)

    def drain(self):
        while self.rung.acquire(timeout=0.2):
            pass


@pytest.fixture
def real(transactional_db, monkeypatch):
    """Sessions on the real clock: watchers are threads."""
    with registry.isolated():
        yield


@pytest.fixture
def bells(real):
    wake, hint = Bell(), Bell()
    # As a worker's does: the last connection that closes takes the WAL file with it.
    connection.ensure_connection()
    watcher = open_watcher("default", wake=wake, hint=hint)
    if connection.vendor != "sqlite":  # a listener begins by saying so
        assert wake.heard()
    wake.drain()
    yield wake, hint
    watcher.close()


def write_something():
    """Commit something from another connection, as another process would."""
    session = open_session("default")
    with session.transaction():
        session.transport.execute(
            "INSERT INTO cloaca_workflow (name, paused_by, pause_reason) VALUES ('x', '', '')", {}
        )
        session.announce()
    session.close()


def test_a_commit_elsewhere_is_heard(bells):
    write_something()
    wake, hint = bells
    assert wake.heard(0.5) or hint.heard(2.0)


def test_silence_is_silence(bells):
    assert not any(bell.heard(0.4) for bell in bells)


def test_closing_ends_the_thread_at_once(real):
    watcher = open_watcher("default", wake=Bell(), hint=Bell())
    started = time.monotonic()
    watcher.close()
    assert not watcher.thread.is_alive()
    assert time.monotonic() - started < 0.4


@pytest.mark.skipif(connection.vendor == "sqlite", reason="a file has no listener to lose")
def test_a_listener_that_lost_its_connection_listens_again(bells):
    wake, hint = bells
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query LIKE 'LISTEN%%' AND datname = current_database()"
        )
    assert wake.heard(), "it says so, for what was announced meanwhile"
    wake.drain()
    write_something()
    assert wake.heard(2.0) or hint.heard(2.0)


@pytest.mark.skipif(connection.vendor == "sqlite", reason="a file is watched, not listened to")
def test_without_notifications_nobody_listens(real, settings):
    settings.CLOACA = {"NOTIFY": False}
    assert open_watcher("default", wake=Bell(), hint=Bell()) is None


@pytest.mark.skipif(connection.vendor != "sqlite", reason="a server says whether it has news")
def test_a_file_tells_whether_somebody_else_wrote(real):
    session, other = open_session("default"), open_session("default")
    session.has_changed()
    assert not session.has_changed()
    with session.transaction():
        session.transport.execute("UPDATE cloaca_workflow SET paused_by = ''", {})
    assert not session.has_changed(), "its own writes are no news"
    write_something()
    assert session.has_changed()
    session.close()
    other.close()


def test_a_hint_without_news_makes_no_look(world):
    """Every commit changes the file, the worker's own as well."""
    workflows.single("w")
    world.drain()
    world.turn.post(HINT)
    world.tick()
    world.turn.post(HINT)
    assert world.tick() is False


def test_a_wake_up_that_comes_during_a_turn_is_not_lost(world):
    workflows.single("w")
    world.drain()
    world.enqueue("w")
    world.turn.post(WAKE)
    world.tick()
    assert len(world.take()) == 1
