"""Each field of a DefaultRunnerConfig has an effect that can be seen."""

from __future__ import annotations

import threading
import time
import uuid
from datetime import timedelta

import pytest
from django.db import connection, connections

from cloaca_django import Context, DefaultRunner, DefaultRunnerConfig, clock
from cloaca_django.calls import tuning
from cloaca_django.core import registry
from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.dialect import open_session
from cloaca_django.dialect.rows import WorkerRow
from cloaca_django.engine import claiming, recovery, submission
from cloaca_django.models import (
    CronExecution,
    CronSchedule,
    PipelineExecution,
    TaskExecution,
)
from tests import workflows
from tests.interface.conftest import never, until
from tests.interface.schedules import just_missed, overdue


@pytest.mark.parametrize("limit", [1, 3])
def test_max_concurrent_tasks_bounds_what_runs_at_once(make_runner, gate, limit):
    runner = make_runner(max_concurrent_tasks=limit)
    workflows.fan("w", 6, lambda context: gate.pass_through())
    handle = runner.enqueue("w")
    gate.await_arrival(limit)
    assert not gate.has_arrivals(0.3)
    gate.open()
    assert handle.wait(20).status == "Completed"


def test_task_timeout_seconds_ends_a_task_that_takes_longer(make_runner, gate):
    runner = make_runner(task_timeout_seconds=1)
    workflows.single("w", lambda context: gate.pass_through(), retry_attempts=1)
    started = time.monotonic()
    result = runner.execute("w", Context())
    assert 0.9 < time.monotonic() - started < 3
    assert (result.status, result.error_message) == (
        "Failed",
        "Task 'a' failed: TimeoutError: Task execution timeout after 1s",
    )


def test_a_tasks_own_timeout_wins_over_the_configured_one(make_runner):
    runner = make_runner(task_timeout_seconds=1)
    workflows.single("w", workflows.rests(1.2), timeout_seconds=10, retry_attempts=1)
    assert runner.execute("w", Context()).status == "Completed"


def test_pipeline_timeout_seconds_is_a_deadline_of_the_run(make_runner, gate):
    runner = make_runner(pipeline_timeout_seconds=1)
    workflows.chain("w", lambda context: gate.pass_through(), workflows.writes("b", 1))
    started = time.monotonic()
    result = runner.execute("w", Context({"i": 1}))
    assert 0.9 < time.monotonic() - started < 4
    assert result.status == "Failed"
    assert "Pipeline timeout after 1s" in result.error_message
    assert result.final_context.to_dict() == {"i": 1}
    statuses = {task.name: task.status for task in result.task_results}
    assert statuses == {"a": TaskStatus.CANCELLED, "b": TaskStatus.CANCELLED}


def test_without_pipeline_timeout_a_run_has_no_deadline(database_url, workflows_of_test):
    config = DefaultRunnerConfig()
    config.pipeline_timeout_seconds = None
    workflows.single("w")
    with DefaultRunner.with_config(database_url, config) as runner:
        handle = runner.enqueue("w")
        handle.wait(20)
    assert PipelineExecution.objects.get(pk=handle.id).deadline_at is None


def test_the_deadline_counts_from_the_start_that_was_asked_for(make_runner):
    runner = make_runner(pipeline_timeout_seconds=60)
    workflows.single("w")
    handle = runner.enqueue("w", start_at=clock.utc_now() + timedelta(hours=1))
    run = PipelineExecution.objects.get(pk=handle.id)
    assert abs(run.deadline_at - run.start_at - timedelta(seconds=60)) < timedelta(seconds=1)
    handle.cancel()


@pytest.mark.skipif(connection.vendor == "sqlite", reason="a file needs no pool of connections")
def test_db_pool_size_bounds_the_connections_of_tasks(make_database, workflows_of_test, gate):
    config = DefaultRunnerConfig(db_pool_size=2, max_concurrent_tasks=6)
    waiting, most = threading.Semaphore(0), []
    with DefaultRunner.with_config(make_database("pooled"), config) as runner:

        def body(context):
            waiting.release()
            with connections[runner.alias].cursor() as cursor:
                cursor.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
                    " AND datname = 'pooled' AND query LIKE '%%pg_sleep%%'",
                    ["cloaca"],
                )
                most.append(cursor.fetchone()[0])
                cursor.execute("SELECT pg_sleep(0.1)")

        workflows.fan("w", 6, body)
        assert runner.execute("w", Context()).status == "Completed"
    assert len(most) == 6
    assert max(most) <= 2


def test_enable_recovery_takes_back_the_tasks_of_lost_workers(make_runner, settings):
    workflows.single("w", workflows.writes("x", 1))
    run_id = orphan("w")
    settings.CLOACA = {"HEARTBEAT_SECONDS": 0.05, "SWEEP_SECONDS": 0.05, "LEASE_SECONDS": 0.5}
    make_runner(enable_recovery=False)
    task = TaskExecution.objects.filter(run_id=run_id)
    never(lambda: task.get().status != TaskStatus.RUNNING, 0.4)
    handle = make_runner(enable_recovery=True).handle(run_id)
    assert handle.wait(10).status == RunStatus.COMPLETED
    assert TaskExecution.objects.get(run_id=run_id).crashes == 1


def orphan(name):
    """Claim a run's task for a worker that is gone; return the run's id."""
    session = open_session("default")
    try:
        worker = uuid.uuid4()
        recovery.register(session, WorkerRow(worker, "worker", "h", 1, 4, "", "[]", "", 0.001))
        asked = submission.prepare(registry.find(name), Context())
        with session.transaction():
            submission.submit(session, [asked])
        claimer = claiming.Claimer(worker=worker, room=4)
        with session.transaction():
            assert claiming.claim(session, claimer)
        return asked.id
    finally:
        session.close()


def test_scheduler_poll_interval_ms_is_how_often_unannounced_work_is_looked_for(
    make_runner, settings
):
    settings.CLOACA = {"NOTIFY": False}
    workflows.single("w")
    runner = make_runner(scheduler_poll_interval_ms=3_600_000)
    until(lambda: not runner._lease.worker.turn.agenda.may_be_ready)
    first = TaskExecution.objects.filter(run_id=whisper("w"))
    if connection.vendor != "sqlite":  # there the file itself is watched
        never(lambda: first.get().status != TaskStatus.READY, 0.5)
    make_runner(scheduler_poll_interval_ms=50).handle(first.get().run_id).wait(5)
    started = time.monotonic()
    runner.handle(whisper("w")).wait(5)
    assert time.monotonic() - started < 1


def whisper(name):
    """Write a run without telling anybody."""
    session = open_session("default")
    try:
        asked = submission.prepare(registry.find(name), Context())
        with session.transaction():
            submission.submit(session, [asked])
        return asked.id
    finally:
        session.close()


def test_executor_poll_interval_ms_is_how_often_a_waiting_handle_looks(make_runner, gate):
    workflows.single("w", lambda context: gate.pass_through())
    counts = {}
    for milliseconds in (20, 1000):
        runner = make_runner(executor_poll_interval_ms=milliseconds)
        handle = runner.enqueue("w")
        with Statements() as seen, pytest.raises(TimeoutError):
            handle.wait(0.6)
        counts[milliseconds] = seen.count
    gate.open()
    assert counts[20] > 2 * counts[1000]


class Statements:
    """Counts what this thread's connection is asked."""

    def __enter__(self):
        self.count = 0
        self._wrapper = connection.execute_wrapper(self)
        self._wrapper.__enter__()
        return self

    def __exit__(self, *error):
        self._wrapper.__exit__(*error)

    def __call__(self, execute, sql, params, many, context):
        self.count += 1
        return execute(sql, params, many, context)


def fires_of(id):
    rows = CronExecution.objects.filter(schedule=id, run__isnull=False)
    return rows.order_by("scheduled_time").values_list("scheduled_time", flat=True)


def test_enable_cron_scheduling_decides_whether_it_fires(make_runner):
    workflows.single("w")
    expression, moment = just_missed()
    id = make_runner(using="default").register_cron_workflow("w", expression)
    overdue(id)
    make_runner(enable_cron_scheduling=False)
    never(CronExecution.objects.exists, 0.5)
    make_runner(enable_cron_scheduling=True)
    until(CronExecution.objects.exists)
    assert list(fires_of(id)) == [moment]


def test_a_sites_runner_fires_nothing(make_runner):
    workflows.single("w")
    site = make_runner(using="default", scheduler_poll_interval_ms=20)
    expression, _ = just_missed()
    overdue(site.register_cron_workflow("w", expression))
    assert site.execute("w", Context()).status == "Completed"
    never(CronExecution.objects.exists, 0.3)


@pytest.mark.parametrize("source", ["configuration", "settings"])
def test_cron_max_catchup_executions_bounds_what_is_made_up_for(make_runner, settings, source):
    workflows.single("w")
    fields = {"cron_max_catchup_executions": 7} if source == "configuration" else {}
    settings.CLOACA = {"CRON_MAX_CATCHUP_EXECUTIONS": 7 if source == "settings" else 3}
    id = make_runner(using="default").register_cron_workflow("w", "*/10 * * * *")
    overdue(id, by=timedelta(days=10))
    make_runner(**fields)
    until(CronExecution.objects.exists)
    assert len(fires_of(id)) in {7, 8}  # at a full ten minutes one more
    assert CronSchedule.objects.get(pk=id).skipped_count >= 1430


def test_pipeline_timeout_seconds_is_a_deadline_of_scheduled_runs_too(make_runner):
    workflows.single("w")
    expression, _ = just_missed()
    runner = make_runner(using="default")
    overdue(runner.register_cron_workflow("w", expression))
    make_runner(pipeline_timeout_seconds=4_000)
    until(PipelineExecution.objects.exists)
    run = PipelineExecution.objects.get()
    assert (run.deadline_at - run.created_at).total_seconds() == pytest.approx(4_000, abs=1)


@pytest.mark.parametrize("source", ["configuration", "settings"])
def test_cron_poll_interval_seconds_is_how_often_unannounced_changes_are_looked_for(
    make_runner, settings, source
):
    workflows.single("w")
    site = make_runner(using="default")
    expression, moment = just_missed()
    id = site.register_cron_workflow("w", expression)
    polls = {"quick": 1, "slow": 3_000}
    for name, seconds in polls.items():
        fields = {"cron_poll_interval_seconds": seconds} if source == "configuration" else {}
        settings.CLOACA = {
            "NOTIFY": False,
            "CRON_POLL_INTERVAL_SECONDS": seconds if source == "settings" else 60,
        }
        firing = make_runner(**fields)._lease.worker.turn.schedules
        assert firing.options.poll_seconds == seconds, name
    overdue(id)
    until(lambda: fires_of(id).exists(), 5.0)
    assert list(fires_of(id)) == [moment]


# A fire and its run are one transaction, so there is nothing to recover.
WITHOUT_EFFECT = {
    "cron_enable_recovery": [True, False],
    "cron_recovery_interval_seconds": [1, 86_400],
    "cron_lost_threshold_minutes": [1, 1_000],
    "cron_max_recovery_age_seconds": [1, 86_400],
    "cron_max_recovery_attempts": [1, 50],
}


@pytest.mark.parametrize("field", sorted(WITHOUT_EFFECT))
def test_the_fields_of_the_recovery_of_fires_have_no_effect(make_runner, field):
    options = []
    for value in WITHOUT_EFFECT[field]:
        runner = make_runner(**{field: value})
        assert getattr(runner._config, field) == value
        told = tuning.worker_options(runner._config, alias=runner.alias, is_site=False)
        options.append((told, runner._has_cron()))
    assert options[0] == options[1]


CRON = {
    "enable_cron_scheduling": False,
    "cron_poll_interval_seconds": 5,
    "cron_max_catchup_executions": 7,
    "cron_enable_recovery": False,
    "cron_recovery_interval_seconds": 5,
    "cron_lost_threshold_minutes": 1,
    "cron_max_recovery_age_seconds": 5,
    "cron_max_recovery_attempts": 1,
}


def test_a_runner_accepts_every_field_of_the_configuration(make_runner):
    """The fields of the recovery of fires have nothing to recover: a fire is one transaction."""
    workflows.single("w")
    rest = {"max_concurrent_tasks": 2, "db_pool_size": 3, "task_timeout_seconds": 9,
            "pipeline_timeout_seconds": 99, "enable_recovery": False,
            "executor_poll_interval_ms": 9, "scheduler_poll_interval_ms": 99,
            "durability": "relaxed"}  # fmt: skip
    assert {*CRON, *rest} == set(DefaultRunnerConfig.fields)
    assert make_runner(**CRON, **rest).execute("w", Context()).status == "Completed"
