"""The checker sees each promise broken. One that cannot fail would prove nothing."""

from __future__ import annotations

import pytest
from django.db import connection

from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.models import PipelineExecution, TaskExecution
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
