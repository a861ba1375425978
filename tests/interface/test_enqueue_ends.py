"""However a caller's transaction ends, the runs it submitted end the same way.

Blocks of every kind, requests of a site with ATOMIC_REQUESTS, and a process that is killed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest
from django.db import connection, connections, transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import path

from cloaca_django import Context, DefaultRunner
from cloaca_django.models import PipelineExecution, TaskExecution
from tests import workflows
from tests.interface.conftest import ROOT, until


class UndoneError(Exception):
    """What rolls a block back."""


@pytest.fixture
def runner(transactional_db, workflows_of_test):
    workflows.chain("w", workflows.nothing, workflows.nothing)
    with DefaultRunner() as runner:
        yield runner


def ask(runner, name):
    runner.enqueue("w", Context({"name": name}))


def kept():
    """Return which runs there are; each has all its tasks."""
    runs = PipelineExecution.objects.order_by("id")
    assert TaskExecution.objects.count() == 2 * len(runs)
    return [run.context.split('"')[3] for run in runs]


def autocommit(runner):
    ask(runner, "a")


def commit(runner):
    with transaction.atomic():
        ask(runner, "a")


def rollback(runner):
    with transaction.atomic():
        ask(runner, "a")
        raise UndoneError


def asked_for_a_rollback(runner):
    with transaction.atomic():
        ask(runner, "a")
        transaction.set_rollback(True)


def durable(runner):
    with transaction.atomic(durable=True):
        ask(runner, "a")


def rollback_of_a_durable_block(runner):
    with transaction.atomic(durable=True):
        ask(runner, "a")
        raise UndoneError


def savepoint(runner):
    with transaction.atomic():
        ask(runner, "outer")
        with transaction.atomic():
            ask(runner, "inner")


def rollback_of_a_savepoint(runner):
    with transaction.atomic():
        ask(runner, "outer")
        with suppress(UndoneError), transaction.atomic():
            ask(runner, "inner")
            raise UndoneError
        ask(runner, "after")


def rollback_around_a_savepoint(runner):
    with transaction.atomic():
        with transaction.atomic():
            ask(runner, "inner")
        raise UndoneError


def on_commit(runner):
    with transaction.atomic():
        transaction.on_commit(lambda: ask(runner, "a"))
        assert kept() == []


def on_commit_of_what_is_rolled_back(runner):
    with transaction.atomic():
        transaction.on_commit(lambda: ask(runner, "a"))
        raise UndoneError


def on_commit_that_fails_after_it(runner):
    def callback():
        ask(runner, "a")
        raise UndoneError

    with transaction.atomic():
        transaction.on_commit(callback)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        (autocommit, ["a"]),
        (commit, ["a"]),
        (rollback, []),
        (asked_for_a_rollback, []),
        (durable, ["a"]),
        (rollback_of_a_durable_block, []),
        (savepoint, ["outer", "inner"]),
        (rollback_of_a_savepoint, ["outer", "after"]),
        (rollback_around_a_savepoint, []),
        (on_commit, ["a"]),
        (on_commit_of_what_is_rolled_back, []),
        (on_commit_that_fails_after_it, ["a"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_run_exists_if_and_only_if_its_block_commits(runner, block, expected):
    with suppress(UndoneError):
        block(runner)
    assert kept() == expected


def accept(request):
    ask(DefaultRunner(), "accepted")
    return HttpResponse()


def break_down(request):
    ask(DefaultRunner(), "lost")
    raise UndoneError


@transaction.non_atomic_requests
def break_down_outside(request):
    ask(DefaultRunner(), "kept")
    raise UndoneError


urlpatterns = [
    path("accept/", accept),
    path("break-down/", break_down),
    path("break-down-outside/", break_down_outside),
]


@pytest.mark.parametrize(
    "case",
    [
        ("/accept/", True, 200, ["accepted"]),
        ("/break-down/", True, 500, []),
        ("/break-down-outside/", True, 500, ["kept"]),
        ("/accept/", False, 200, ["accepted"]),
        ("/break-down/", False, 500, ["lost"]),
    ],
    ids=lambda case: f"{case[0].strip('/')}, ATOMIC_REQUESTS={case[1]}",
)
def test_a_run_of_a_request_ends_as_the_request_does(runner, settings, monkeypatch, case):
    address, is_atomic, status, expected = case
    settings.ROOT_URLCONF = __name__
    monkeypatch.setitem(connections["default"].settings_dict, "ATOMIC_REQUESTS", is_atomic)
    client = Client(raise_request_exception=False)
    assert client.get(address).status_code == status
    assert kept() == expected


STORM = """
import os, sys, threading
import django; django.setup()
from cloaca_django import Context, DefaultRunner
from tests import workflows
workflows.chain("w", workflows.nothing, workflows.nothing)
runner = DefaultRunner()
def storm(thread):
    number = 0
    while True:
        handle = runner.enqueue("w", Context({"name": f"{thread}-{number}"}))
        os.write(1, f"{handle.id}\\n".encode())
        number += 1
for thread in range(50):
    threading.Thread(target=storm, args=[thread]).start()
"""
ENOUGH = 200


def test_every_acknowledged_run_of_a_process_that_is_killed_in_a_storm_is_there(
    runner, child_environment, tmp_path
):
    acknowledged = tmp_path / "acknowledged"
    with acknowledged.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", STORM], cwd=ROOT, stdout=file,
            env=child_environment | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        try:
            until(lambda: acknowledged.read_bytes().count(b"\n") >= ENOUGH)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
    told = [line for line in acknowledged.read_text().split("\n")[:-1] if line]
    # What the dying process had sent may be committed yet.
    until(lambda: not _is_somebody_there())
    stored = {str(id) for id in PipelineExecution.objects.values_list("id", flat=True)}
    assert set(told) <= stored
    assert len(stored) - len(told) <= 50
    assert len(kept()) == len(stored)


def _is_somebody_there():
    """Say whether the server still works for somebody else; a file has nobody."""
    if connection.vendor == "sqlite":
        return False
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        )
        return cursor.fetchone()[0] > 0
