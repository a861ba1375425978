"""Real workers with all their threads, while connections are cut or the file is taken from them."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter

import pytest
from django.db import connection

from cloaca_django import Context, DefaultRunner
from cloaca_django.core import registry
from cloaca_django.core.states import RUN_FINAL, RunStatus
from cloaca_django.dialect import open_session, postgresql
from cloaca_django.engine.capture import current_job
from cloaca_django.engine.shift import WorkerOptions
from cloaca_django.engine.worker import Worker
from cloaca_django.models import PipelineExecution
from tests.crash import checker, journal
from tests.crash.graphs import define, diamond, leave_mark
from tests.worksite.process import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

WORKERS = 3
DISTURBANCES = 60
SETTINGS = {"HEARTBEAT_SECONDS": 0.2, "LEASE_SECONDS": 2.0, "SWEEP_SECONDS": 0.4}


@pytest.fixture
def workers(settings):
    """Some workers, as different processes would be: each has its own threads and connections."""
    settings.CLOACA = SETTINGS
    journal.install(connection)
    with registry.isolated():
        define("plain", diamond(retry_attempts=20, retry_delay_ms=10), _plain)
        define("atomic", diamond(retry_attempts=20, retry_delay_ms=10, atomic=True), _atomic)
        started = [Worker(WorkerOptions(poll_seconds=0.2)) for _ in range(WORKERS)]
        for worker in started:
            worker.start()
        yield started
        for worker in started:
            worker.stop(grace=10.0)
    journal.remove(connection)


def _plain(task, context, handle):
    leave_mark(task, context)


def _atomic(task, context, handle):
    job = current_job.get()
    with connection.cursor() as cursor:
        effect = [job.task_id, job.token.hex]
        cursor.execute("INSERT INTO crash_effect VALUES (%s, %s)", effect)
    leave_mark(task, context)


def _open_runs():
    return PipelineExecution.objects.exclude(status__in=sorted(RUN_FINAL)).count()


def _connection_cutter(stack):
    """Return a function that ends a server process of somebody else, or what it is at."""
    mine = connection.connection.info.backend_pid
    control = stack.enter_context(postgresql.connect(connection.get_connection_params()))

    def cut():
        control.execute(
            "SELECT CASE WHEN random() < 0.5 THEN pg_terminate_backend(pid)"
            " ELSE pg_cancel_backend(pid) END FROM pg_stat_activity WHERE pid NOT IN (%s, %s)"
            " AND datname = current_database() ORDER BY random() LIMIT 1",
            [mine, control.info.backend_pid],
        )

    return cut


def _file_holder(stack, pauses):
    """Return a function that keeps everybody else from writing, as a long transaction does."""
    session = open_session("default")
    stack.callback(session.close)

    def hold():
        with session.transaction():
            pauses.wait(0.05)

    return hold


def test_workers_outlive_what_happens_to_their_connections(workers):
    pauses = threading.Event()
    with contextlib.ExitStack() as stack:
        runner = stack.enter_context(DefaultRunner(using="default"))
        if connection.vendor == "sqlite":
            disturb = _file_holder(stack, pauses)
        else:
            disturb = _connection_cutter(stack)
        for n in range(DISTURBANCES):
            for name in ("plain", "atomic"):
                runner.enqueue(name, Context({"n": n}))
            pauses.wait(0.01)
            disturb()
    until(lambda: not _open_runs(), seconds=60, what="the end of every run")
    statuses = Counter(PipelineExecution.objects.values_list("status", flat=True))
    assert statuses == {RunStatus.COMPLETED: 2 * DISTURBANCES}
    session = open_session("default")
    try:
        store = checker.read(connection)
        assert checker.always(store) + checker.drained(store, session) == []
    finally:
        session.close()
