"""The database is away for longer than a lease. Who lives keeps its tasks, and no time is lost."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, connections

from cloaca_django import DefaultRunner, DefaultRunnerConfig, clock
from cloaca_django.core import registry
from cloaca_django.core.states import WorkerState
from cloaca_django.models import CronExecution, CronSchedule, TaskExecution, Worker
from tests import workflows
from tests.crash.server import CrashingServer
from tests.interface.conftest import gate, until

__all__ = ["gate"]

pytestmark = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="a file has no server; see test_long_writer.py"
)

LEASE = 1.0
SETTINGS = {"HEARTBEAT_SECONDS": 0.1, "LEASE_SECONDS": LEASE, "SWEEP_SECONDS": 0.2}


@pytest.fixture
def server(django_db_blocker):
    with CrashingServer() as server, django_db_blocker.unblock(), registry.isolated():
        yield server


def engine(server):
    config = DefaultRunnerConfig(
        max_concurrent_tasks=2, scheduler_poll_interval_ms=50, cron_poll_interval_seconds=1
    )
    return DefaultRunner(server.url, config=config)


def test_nobody_loses_its_tasks_and_schedules_make_up_for_their_times(server, settings, gate):
    settings.CLOACA = SETTINGS
    workflows.single("w", lambda context: gate.pass_through(), retry_attempts=1)
    workflows.single("tick")
    with engine(server) as first, engine(server) as second:
        tasks = TaskExecution.objects.using(first.alias)
        handles = [first.enqueue("w") for _ in range(4)]
        gate.await_arrival(4)
        owners = set(tasks.values_list("worker_id", flat=True))
        schedule = first.register_cron_workflow("tick", "* * * * *", "UTC")
        due = clock.utc_now().replace(second=0, microsecond=0) - timedelta(minutes=1)
        way_back = find_back_late(second._lease.worker)
        server.crash()
        # Longer than a lease, which is all that matters.
        threading.Event().wait(2 * LEASE)
        connections[first.alias].close()
        server.start()
        way_back.start()
        CronSchedule.objects.using(first.alias).filter(pk=schedule).update(next_run_at=due)
        # The first sweep that could take anything back comes a lease after the last failure.
        until(lambda: _renewed(first.alias, owners))
        gate.open()
        assert {handle.wait(20).status for handle in handles} == {"Completed"}
        assert len(owners) == 2
        assert {(row.attempt, row.crashes) for row in tasks.all()} == {(1, 0)}
        fires = CronExecution.objects.using(first.alias).order_by("scheduled_time")
        until(lambda: fires.count() >= 2)
        times = list(fires.values_list("scheduled_time", flat=True))
        assert times == [due + n * timedelta(minutes=1) for n in range(len(times))]


def test_a_server_that_cannot_write_its_log_ends_and_nothing_is_lost_or_charged(
    server, settings, gate
):
    settings.CLOACA = SETTINGS
    workflows.single("w", lambda context: gate.pass_through(), retry_attempts=1)
    workflows.single("quick")
    with engine(server) as runner:
        tasks = TaskExecution.objects.using(runner.alias)
        handles = [runner.enqueue("w") for _ in range(2)]
        gate.await_arrival(2)
        server.fill_the_disk()
        # The next heartbeat is a write; the server ends of it, and cannot recover either.
        assert server.await_end() != 0
        gate.open()
        connections[runner.alias].close()
        server.start()
        handles.append(runner.enqueue("quick"))
        assert {handle.wait(20).status for handle in handles} == {"Completed"}
        assert {(row.attempt, row.crashes) for row in tasks.all()} == {(1, 0)}
        assert tasks.count() == 3


def find_back_late(worker):
    """Let a worker's heartbeat reach the server only some time after it is there again."""
    is_back, connect = threading.Event(), worker._connect

    def try_to_connect():
        if not is_back.is_set():
            raise OperationalError("no route to host")
        return connect()

    worker._connect = try_to_connect
    return threading.Timer(LEASE / 2, is_back.set)


def _renewed(alias, owners):
    """Say whether every owner is alive and was heard of again."""
    rows = Worker.objects.using(alias).filter(pk__in=owners, state=WorkerState.ALIVE)
    now = clock.utc_now()
    return len([row for row in rows if row.lease_until > now]) == len(owners)
