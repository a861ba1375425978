"""Runners meet a database without tables: one makes them, and all of them work afterwards."""

from __future__ import annotations

import sqlite3
import threading

import pytest

import cloaca_django as cloaca
from cloaca_django.core.states import RunStatus
from tests.concurrency.races import MANY_WRITERS
from tests.crash.graphs import Node, define, leave_mark
from tests.interface.conftest import databases_in


@pytest.fixture
def new_url(django_db_setup, django_db_blocker, tmp_path):
    with django_db_blocker.unblock(), databases_in(tmp_path) as make:
        yield make("races")


def test_two_runners_on_one_new_database_both_work(new_url, workflows, together):
    define("one", {"only": Node()}, lambda task, context, handle: leave_mark(task, context))

    def run():
        with cloaca.DefaultRunner(new_url) as runner:
            return runner.execute("one", cloaca.Context()).status

    found = together(run, run)
    assert found == [RunStatus.COMPLETED] * 2


@MANY_WRITERS
def test_a_runner_waits_for_who_writes_to_a_file_that_is_not_in_wal_mode_yet(new_url, workflows):
    """SQLite refuses to change the mode while somebody writes, at once and whatever the timeout."""
    define("one", {"only": Node()}, lambda task, context, handle: leave_mark(task, context))
    writer = sqlite3.connect(
        new_url.removeprefix("sqlite:///"), isolation_level=None, check_same_thread=False
    )
    writer.execute("CREATE TABLE theirs (value)")
    writer.execute("BEGIN IMMEDIATE")
    ending = threading.Timer(0.3, lambda: writer.execute("COMMIT"))
    ending.start()
    with cloaca.DefaultRunner(new_url) as runner:
        assert runner.execute("one", cloaca.Context()).status == RunStatus.COMPLETED
    ending.join()
    writer.close()
