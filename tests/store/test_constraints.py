"""The database itself refuses rows that no move of the engine could make."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction

from cloaca_django.core.states import (
    RUN_FINAL,
    CatchupPolicy,
    OverlapPolicy,
    RunStatus,
    TaskStatus,
)
from cloaca_django.models import (
    CronExecution,
    CronSchedule,
    PipelineExecution,
    TaskAttempt,
    TaskExecution,
    WorkflowDefinition,
)
from tests.engine.schedules import make_schedule
from tests.engine.world import START
from tests.store.rows import one_run

pytestmark = pytest.mark.django_db


def task(run, **facts):
    values = {"run": run, "position": 0, "name": "a", "workflow_name": "w", **facts}
    return TaskExecution.objects.create(**values)


def refused(make):
    with pytest.raises(IntegrityError), transaction.atomic():
        make()


CLAIM = {"claim_token": uuid.uuid4(), "worker_id": uuid.uuid4()}
LEGAL = [
    {},
    {"status": TaskStatus.RUNNING, **CLAIM},
    {"status": TaskStatus.COMPLETED, **CLAIM, "finished_at": START},
    {"status": TaskStatus.CANCELLED, "finished_at": START},
    {"attempt": 3, "max_attempts": 3},
]
ILLEGAL_TASKS = [
    {"status": "Exploded"},
    {"status": "completed"},
    {"status": ""},
    {"status": TaskStatus.RUNNING},
    {"status": TaskStatus.RUNNING, "claim_token": uuid.uuid4()},
    {"status": TaskStatus.RUNNING, "worker_id": uuid.uuid4()},
    {"status": TaskStatus.READY, **CLAIM},
    {"status": TaskStatus.PENDING, "worker_id": uuid.uuid4()},
    {"status": TaskStatus.SCHEDULED, "claim_token": uuid.uuid4()},
    {"status": TaskStatus.HELD, **CLAIM},
    {"attempt": 4, "max_attempts": 3},
]


@pytest.mark.parametrize("facts", LEGAL)
def test_a_legal_task_is_accepted(facts):
    assert task(one_run(), **facts).pk


@pytest.mark.parametrize("facts", ILLEGAL_TASKS)
def test_an_illegal_task_is_refused(facts):
    run = one_run()
    refused(lambda: task(run, **facts))


@pytest.mark.parametrize("facts", ILLEGAL_TASKS)
def test_a_legal_task_cannot_become_an_illegal_one(facts):
    made = task(one_run())
    refused(lambda: TaskExecution.objects.filter(pk=made.pk).update(**facts))


def test_a_run_has_one_task_at_a_position():
    run = one_run()
    task(run)
    refused(lambda: task(run, name="b"))
    assert task(run, position=1).pk


@pytest.mark.parametrize("status", RunStatus)
@pytest.mark.parametrize("is_ended", [True, False])
def test_a_run_has_an_end_if_and_only_if_its_status_is_final(status, is_ended):
    run = one_run()
    change = {"status": status, "finished_at": START if is_ended else None}

    def update():
        PipelineExecution.objects.filter(pk=run.pk).update(**change)

    if is_ended is (status in RUN_FINAL):
        update()
    else:
        refused(update)


def test_a_run_has_a_known_status():
    refused(lambda: one_run(status="Exploded"))


def test_a_key_belongs_to_one_run_and_no_key_to_any_number():
    one_run(idempotency_key="k")
    refused(lambda: one_run(idempotency_key="k"))
    one_run()
    assert one_run(idempotency_key=None).pk


def fire(schedule, **facts):
    values = {"schedule": schedule, "scheduled_time": START, "claimed_at": START, **facts}
    return CronExecution.objects.create(**values)


def test_a_schedule_fires_once_for_a_time():
    schedule, other = make_schedule(), make_schedule()
    fire(schedule)
    refused(lambda: fire(schedule))
    refused(lambda: fire(schedule, reason="passed over"))
    assert fire(schedule, scheduled_time=START + timedelta(seconds=1)).pk
    assert fire(other).pk


def test_a_name_belongs_to_one_schedule_and_no_name_to_any_number():
    make_schedule(name="nightly")
    refused(lambda: make_schedule(name="nightly"))
    make_schedule()
    assert make_schedule(name=None).pk


ILLEGAL_SCHEDULES = [
    {"catchup_policy": "run_all"},
    {"catchup_policy": "ALL"},
    {"catchup_policy": ""},
    {"overlap_policy": "queue"},
    {"start_date": START + timedelta(seconds=1), "end_date": START},
]


@pytest.mark.parametrize("facts", ILLEGAL_SCHEDULES)
def test_an_illegal_schedule_is_refused(facts):
    refused(lambda: make_schedule(**facts))
    made = make_schedule()
    refused(lambda: CronSchedule.objects.filter(pk=made.pk).update(**facts))


@pytest.mark.parametrize("catchup", CatchupPolicy)
@pytest.mark.parametrize("overlap", OverlapPolicy)
def test_a_legal_schedule_is_accepted(catchup, overlap):
    dates = {"start_date": START, "end_date": START}
    assert make_schedule(catchup_policy=catchup, overlap_policy=overlap, **dates).pk


def test_a_fire_belongs_to_a_schedule_and_its_run_exists():
    schedule = make_schedule()
    refused_later(lambda: fire(None, schedule_id=uuid.uuid4()))
    refused_later(lambda: fire(schedule, run_id=uuid.uuid4()))


def test_deleting_a_run_leaves_its_fire_and_deleting_a_schedule_leaves_its_runs():
    schedule = make_schedule()
    run = one_run(schedule=schedule)
    fire(schedule, run=run)
    run.delete()
    assert CronExecution.objects.get().run_id is None
    kept = one_run(schedule=schedule)
    schedule.delete()
    assert not CronExecution.objects.exists()
    kept.refresh_from_db()
    assert kept.schedule_id is None


def test_a_definition_is_kept_once():
    facts = {"name": "w", "version": "1", "graph": "{}", "first_seen_at": START}
    WorkflowDefinition.objects.create(**facts)
    refused(lambda: WorkflowDefinition.objects.create(**facts))


def test_tasks_and_attempts_belong_to_something():
    refused_later(lambda: task_row(run_id=uuid.uuid4()))
    refused_later(lambda: TaskAttempt.objects.create(task_id=987_654, attempt=1, finished_at=START))


def task_row(**facts):
    TaskExecution.objects.create(position=0, name="a", workflow_name="w", **facts)


def refused_later(make):
    """Foreign keys are checked at the end of a transaction."""

    def make_and_check():
        make()
        connection.check_constraints()

    refused(make_and_check)


def test_deleting_a_run_takes_its_rows_along_and_leaves_its_children():
    run = one_run()
    made = task(run)
    TaskAttempt.objects.create(task=made, attempt=1, finished_at=START)
    child = one_run(parent=run)
    run.delete()
    assert not TaskExecution.objects.exists()
    assert not TaskAttempt.objects.exists()
    child.refresh_from_db()
    assert child.parent_id is None
