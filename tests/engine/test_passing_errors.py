"""Errors of a PostgreSQL server that pass: the turn waits, and nobody is charged an attempt."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
from django.db import connection
from psycopg import errors

from cloaca_django import DefaultRunner
from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.engine import completing
from cloaca_django.engine.shift import WorkerOptions
from cloaca_django.engine.worker import Worker
from cloaca_django.models import PipelineExecution, TaskExecution
from tests import workflows
from tests.worksite.process import until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="errors of a server"),
]

PASSING = [
    errors.DiskFull, errors.OutOfMemory, errors.DeadlockDetected, errors.SerializationFailure,
    errors.LockNotAvailable, errors.QueryCanceled,
]  # fmt: skip


@contextmanager
def refusing(error, table):
    """Let the server refuse every write to a table with an error."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$"
            f" BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{error.sqlstate}'; END $$"
        )
        cursor.execute(
            f"CREATE TRIGGER refuse BEFORE INSERT OR UPDATE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION refuse()"
        )
        try:
            yield
        finally:
            cursor.execute("DROP FUNCTION refuse CASCADE")


@pytest.mark.parametrize("error", PASSING, ids=lambda error: error.__name__)
def test_a_turn_that_is_refused_is_tried_again(make_world, error):
    world = make_world()
    workflows.chain("w", workflows.writes("x", 1), workflows.writes("y", 2))
    run_id = world.enqueue("w")
    world.step()
    (job,) = world.take()
    with refusing(error, "cloaca_task"):
        world.perform(job)
        assert not world.step()
        assert not world.step()
    assert world.turn.failures == 2
    assert world.statuses(run_id) == {"a": TaskStatus.RUNNING, "b": TaskStatus.PENDING}
    world.drain()
    assert world.run(run_id).status == RunStatus.COMPLETED
    assert {(row.attempt, row.crashes) for row in world.tasks(run_id).values()} == {(1, 0)}


@pytest.mark.parametrize("error", PASSING, ids=lambda error: error.__name__)
def test_an_atomic_task_that_is_refused_at_its_end_leaves_nothing_and_follows_its_policy(
    make_world, error
):
    """Its transaction is the user's: whether it is repeated is what the policy says."""
    world = make_world()
    workflows.single("w", workflows.writes("x", 1), atomic=True, retry_attempts=2, retry_delay_ms=0)
    run_id = world.enqueue("w")
    world.step()
    (job,) = world.take()
    with refusing(error, "cloaca_task"):
        outcome = completing.perform_atomic(job, None, alias="default", worker=world.id)
    assert (outcome.status, outcome.charges_attempt) == (TaskStatus.READY, True)
    world.finish(job, outcome)
    world.step()
    (again,) = world.take()
    result = completing.perform_atomic(again, None, alias="default", worker=world.id)
    assert (again.attempt, result.status) == (2, TaskStatus.COMPLETED)
    assert world.run(run_id).status == RunStatus.COMPLETED


def test_workers_of_a_database_that_is_serializable_by_default_finish_everything(settings):
    settings.CLOACA = {"HEARTBEAT_SECONDS": 0.2, "LEASE_SECONDS": 5.0, "SWEEP_SECONDS": 0.4}
    workflows.fan("w", 6, workflows.writes("x", 1))
    name = connection.settings_dict["NAME"]
    isolation = f'ALTER DATABASE "{name}" {{}} default_transaction_isolation'
    with connection.cursor() as cursor:
        cursor.execute(isolation.format("SET") + " = 'serializable'")
    workers = [Worker(WorkerOptions(poll_seconds=0.1)) for _ in range(3)]
    try:
        for worker in workers:
            worker.start()
        with DefaultRunner(using="default") as runner:
            runner.enqueue_many("w", [None] * 20)
        until(
            lambda: not PipelineExecution.objects.exclude(status=RunStatus.COMPLETED).exists(),
            what="the end of every run",
        )
    finally:
        for worker in workers:
            worker.stop(grace=10.0)
        with connection.cursor() as cursor:
            cursor.execute(isolation.format("RESET"))
    assert {(row.attempt, row.crashes) for row in TaskExecution.objects.all()} == {(1, 0)}
