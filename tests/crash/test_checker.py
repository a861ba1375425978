"""The checker sees each promise broken. One that cannot fail would prove nothing."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F

from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.engine.firing import FiringOptions
from cloaca_django.models import (
    CronExecution,
    CronSchedule,
    PipelineExecution,
    TaskExecution,
)
from tests.crash import schedule_scenarios
from tests.crash.graphs import diamond

UNCLAIMED = {"claim_token": None, "worker_id": None}


@pytest.fixture
def ended(world):
    """A run that ended as it should."""
    world.define("diamond", diamond(atomic=True))
    worker = world.worker()
    run = world.submit("diamond")
    worker.work()
    assert world.violations() == []
    return run


def _tasks(**which):
    return TaskExecution.objects.filter(**which)


def _set_run(**values):
    return lambda world: PipelineExecution.objects.update(**values)


def _set_task(name, **values):
    return lambda world: _tasks(name=name).update(**values)


def _forget_run(world):
    _tasks().delete()
    PipelineExecution.objects.all().delete()


def _run_again(world):
    task = _tasks(name="join")
    token = task.get().claim_token
    worker = world.workers[0].id
    task.update(**UNCLAIMED, status=TaskStatus.READY)
    task.update(status=TaskStatus.RUNNING, claim_token=token, worker_id=worker)
    task.update(status=TaskStatus.COMPLETED)


def _sql(text):
    def run(world):
        with connection.cursor() as cursor:
            cursor.execute(text)

    return run


def _start_twice(world):
    world.started.append(world.started[0])


def _run_early(world):
    """The join runs before its branches ended, in a second run."""
    run = world.submit("diamond")
    _tasks(run_id=run, name="join").update(
        status=TaskStatus.RUNNING, claim_token=run, worker_id=run
    )


BREAKS = [
    ("I1", "is gone", _forget_run),
    ("I1", "is left Running", _set_run(status=RunStatus.RUNNING, finished_at=None)),
    ("I2", "and its tasks are", _set_run(status=RunStatus.FAILED)),
    ("I3", "has 0 effects", _sql("DELETE FROM crash_effect")),
    ("I3", "has 2 effects", _sql("INSERT INTO crash_effect SELECT * FROM crash_effect")),
    ("I4", "has not completed", _set_task("join", status=TaskStatus.SKIPPED)),
    ("I4", "by a claim that did not", _sql("UPDATE crash_effect SET token = 'another'")),
    ("I5", "moved from Completed to Ready", _run_again),
    ("I6", "ended 2 times", _run_again),
    ("I7", "ran before left had ended", _run_early),
    ("I8", "is left Pending", _set_task("join", **UNCLAIMED, status=TaskStatus.PENDING)),
    ("I9", "was started 2 times", _start_twice),
    ("I17", "its completed tasks are", _set_task("left", changes=None)),
    ("I17", "lost what it was given", _set_task("left", changes='[[["given"],"other"]]')),
]


@pytest.mark.parametrize(("number", "words", "damage"), BREAKS)
def test_a_broken_promise_is_reported(world, ended, number, words, damage):
    damage(world)
    found = world.violations()
    assert any(line.startswith(f"{number} ") and words in line for line in found), found


# -- schedules

HOUR = timedelta(hours=1)


@pytest.fixture
def fired(world):
    """A schedule that fired six times, and whose runs have ended."""
    world.firing = FiringOptions()
    world.reset()
    schedule_scenarios.define(world)
    schedule = schedule_scenarios.make(world, "*/10 * * * *")
    worker = world.worker()
    worker.settle_down()
    world.advance(3600.0)
    worker.work()
    assert CronExecution.objects.count() == 6
    assert world.violations() == []
    return schedule


def _fire_of(which):
    return CronExecution.objects.order_by("scheduled_time")[which]


def _fire_again(world):
    """A second run for a time that has one, past the constraint."""
    fire = _fire_of(0)
    CronExecution.objects.filter(pk=fire.pk).update(run=None)
    CronExecution.objects.filter(pk=fire.pk).update(run=_fire_of(1).run_id)


def _run_twice(world):
    """Two runs were told the same time."""
    first, second = (_fire_of(at).run_id for at in (0, 1))
    told = PipelineExecution.objects.get(pk=first).context
    PipelineExecution.objects.filter(pk=second).update(context=told)


def _lose_the_run(world):
    CronExecution.objects.filter(pk=_fire_of(0).pk).update(run=None)


def _pass_over_with_a_run(world):
    CronExecution.objects.filter(pk=_fire_of(0).pk).update(reason="for no reason")


def _forget(what):
    """Let the journal know nothing of some notes, as if they had not happened."""
    return _sql(
        f"DELETE FROM crash_journal WHERE seq IN (SELECT min(seq) FROM crash_journal {what})"
    )


def _move_plan(by):
    return lambda world: CronSchedule.objects.update(next_run_at=F("next_run_at") + by)


def _fire_what_is_not_due(world):
    fire = _fire_of(0)
    CronExecution.objects.create(
        schedule_id=fire.schedule_id,
        scheduled_time=fire.scheduled_time + timedelta(minutes=5),
        claimed_at=fire.claimed_at,
        reason="it was in the way",
    )


FIRE_BREAKS = [
    ("I10", "fired 2 times", _fire_again),
    ("I10", "has 2 runs for", _run_twice),
    ("I10", "has no run", _lose_the_run),
    ("I10", "has a run", _pass_over_with_a_run),
    ("I10", "of a schedule has no fire", _forget("WHERE kind = 'fire'")),
    ("I11", "lost", _forget("WHERE kind = 'fire'")),
    ("I11", "lost", _move_plan(2 * HOUR)),
    ("I11", "which was not due", _fire_what_is_not_due),
    ("I11", "is left due at", _move_plan(-HOUR)),
    ("I12", "went back", _move_plan(-HOUR)),
]


@pytest.mark.parametrize(("number", "words", "damage"), FIRE_BREAKS)
def test_a_broken_promise_of_schedules_is_reported(world, fired, number, words, damage):
    damage(world)
    found = world.violations()
    assert any(line.startswith(f"{number} ") and words in line for line in found), found


def test_an_edit_may_take_the_plan_back(world, fired):
    world.advance(60.0)
    CronSchedule.objects.update(
        next_run_at=F("next_run_at") - timedelta(minutes=5), updated_at=world.now
    )
    assert [line for line in world.violations() if line.startswith("I12")] == []
