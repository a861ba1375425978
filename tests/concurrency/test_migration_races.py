"""Runners meet a database without tables: one makes them, and all of them work afterwards."""

from __future__ import annotations

import pytest

import cloaca_django as cloaca
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
    assert found == ["Completed", "Completed"]
