"""Real worker processes, killed with SIGKILL in every state: the run ends, nothing counts twice."""

from __future__ import annotations

import signal
from datetime import timedelta

import pytest
from django.db import connection

import cloaca_django as cloaca
from cloaca_django import clock
from cloaca_django.core import registry
from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.dialect import open_session
from cloaca_django.engine.shift import WorkerOptions
from cloaca_django.engine.worker import Worker
from cloaca_django.models import PipelineExecution, TaskAttempt, TaskExecution
from cloaca_django.models import Worker as WorkerRow
from tests.crash import checker, journal
from tests.crash.deadly import points
from tests.worksite.process import WORKFLOWS as SITE_WORKFLOWS
from tests.worksite.process import status_of, until

pytestmark = pytest.mark.django_db(transaction=True)

SETTINGS = {"HEARTBEAT_SECONDS": 0.2, "LEASE_SECONDS": 1.0, "SWEEP_SECONDS": 0.3}
# What a busy machine may add to a heartbeat and a sweep.
SLACK = 2.5

with registry.isolated():
    from tests.crash.deadly import workflows  # noqa: F401

    WORKFLOWS = list(registry.snapshot().values())

# Where it dies: what it runs, how often bodies start, and which tasks are charged with a crash.
STATES = {
    points.CLAIMED: ("plain", 2, {"a": 1, "b": 0}),
    points.IN_BODY: ("plain", 3, {"a": 1, "b": 0}),
    points.DEFERRED: ("deferring", 3, {"a": 0, "b": 0}),
    points.BEFORE_COMMIT: ("plain", 3, {"a": 1, "b": 0}),
    points.AFTER_COMMIT: ("plain", 2, {"a": 0, "b": 1}),
    points.IN_ATOMIC_BODY: ("atomic", 2, {"a": 1, "b": 0}),
    points.BEFORE_ATOMIC_COMMIT: ("atomic", 2, {"a": 1, "b": 0}),
    points.AFTER_ATOMIC_COMMIT: ("atomic", 2, {"a": 0, "b": 0}),
}


@pytest.fixture
def known():
    """The workflows that the processes run, and the tables that their bodies write."""
    journal.install(connection)
    with registry.isolated():
        for workflow in (*WORKFLOWS, *SITE_WORKFLOWS):
            registry.register(workflow)
        yield
    journal.remove(connection)


@pytest.fixture
def heir(known, settings):
    """A worker in this process, started by the test when the other one is dead."""
    settings.CLOACA = SETTINGS
    worker = Worker(WorkerOptions(poll_seconds=0.2))
    yield worker
    if worker.is_alive():
        worker.stop(grace=5.0)


def _enqueue(name):
    with cloaca.DefaultRunner(using="default") as runner:
        return runner.enqueue(name, cloaca.Context({"given": name})).id


def _count(table):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table}")
        return cursor.fetchone()[0]


@pytest.mark.parametrize(("point", "what"), STATES.items(), ids=STATES)
def test_a_run_outlives_the_worker_that_dies(worksite, heir, point, what):
    name, starts, crashes = what
    run = _enqueue(f"deadly {name}")
    victim = worksite.start(
        "cloaca_worker", settings=SETTINGS,
        environment={"WORKSITE_APPS": "tests.crash.deadly", "DEADLY_POINT": point},
    )  # fmt: skip
    assert victim.wait() == -signal.SIGKILL, victim.output
    lost = WorkerRow.objects.get()
    heir.start()
    until(lambda: status_of(run) == RunStatus.COMPLETED, what="the end of the run")
    assert dict(TaskExecution.objects.values_list("name", "crashes")) == crashes
    assert _count("crash_effect" if name == "atomic" else "crash_started") == starts
    _check_promises(run)
    _check_delay(lost)


def _check_promises(run):
    session = open_session("default")
    try:
        store = checker.read(connection)
        assert checker.always(store) == []
        assert checker.drained(store, session, [run.hex]) == []
    finally:
        session.close()


def _check_delay(lost):
    """It came back within the lease and one sweep, or as soon as somebody was there to sweep."""
    heir = WorkerRow.objects.exclude(pk=lost.id).get()
    due = max(lost.lease_until, heir.started_at) + timedelta(
        seconds=SETTINGS["SWEEP_SECONDS"] + SETTINGS["HEARTBEAT_SECONDS"] + SLACK
    )
    assert all(attempt.finished_at <= due for attempt in TaskAttempt.objects.all())


def test_a_sweep_waits_for_no_heartbeat(heir, settings):
    """Who beats rarely takes lost tasks back as soon as SWEEP_SECONDS says all the same."""
    settings.CLOACA = {"HEARTBEAT_SECONDS": 100, "LEASE_SECONDS": 300, "SWEEP_SECONDS": 0.2}
    run = _enqueue("deadly plain")
    TaskExecution.objects.filter(name="a").update(
        status=TaskStatus.RUNNING, worker_id=run, claim_token=run, claimed_at=clock.utc_now()
    )
    heir.start()
    until(lambda: status_of(run) == RunStatus.COMPLETED, what="the end of the run")
    assert dict(TaskExecution.objects.values_list("name", "crashes")) == {"a": 1, "b": 0}


def test_a_task_that_kills_every_worker_fails_in_the_end(worksite, heir, settings):
    """The cap on crashes: with a limit of one, the second worker it takes is the last."""
    run = _enqueue("deadly plain")
    environment = {"WORKSITE_APPS": "tests.crash.deadly", "DEADLY_POINT": points.IN_BODY}
    capped = SETTINGS | {"MAX_CRASHES": 1}
    for _ in range(2):
        victim = worksite.start("cloaca_worker", settings=capped, environment=environment)
        assert victim.wait() == -signal.SIGKILL, victim.output
    settings.CLOACA = capped
    heir.start()
    until(lambda: status_of(run) == RunStatus.FAILED, what="the end of the run")
    assert "lost 2 times" in PipelineExecution.objects.get(pk=run).error_message
    assert _count("crash_started") == 2
    _check_promises(run)


def test_a_worker_that_was_frozen_past_its_lease_changes_nothing(worksite, heir):
    """Thawed, it ends its body, and its outcome is refused: the task has ended elsewhere."""
    run = worksite.enqueue("gated")
    victim = worksite.worker(settings=SETTINGS)
    worksite.await_told("began")
    victim.signal(signal.SIGSTOP)
    heir.start()
    worksite.await_told("began", 2)
    worksite.open()
    until(lambda: status_of(run) == RunStatus.COMPLETED, what="the end of the run")
    before = checker.read(connection)
    victim.signal(signal.SIGCONT)
    until(lambda: WorkerRow.objects.filter(kind="worker").count() == 3, what="a new lease")
    victim.signal(signal.SIGTERM)
    assert victim.wait() == 0, victim.output
    after = checker.read(connection)
    assert after.moves == before.moves
    assert checker.always(after) == []
