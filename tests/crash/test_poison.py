"""What cannot be stored or read back fails alone: nothing beside it is delayed or lost."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest

from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.models import PipelineExecution, TaskAttempt, TaskExecution
from tests.crash.graphs import Node

CLAIMED = 64


def _claim_and_end(world):
    """Let one worker end 64 one-task runs; their outcomes wait for its next turn."""
    world.define("one", {"only": Node()})
    worker = world.worker(concurrency=CLAIMED)
    for _ in range(CLAIMED):
        world.submit("one")
    worker.settle_down()
    assert worker.run_all() == CLAIMED
    worker.turn._collect()
    assert len(worker.turn.batch.outcomes) == CLAIMED
    return worker


def _too_many_attempts(outcome):
    # A constraint of the table refuses it.
    outcome.charges_attempt = True


def _endless_delay(outcome):
    # No database reads it as a number.
    outcome.status, outcome.delay_seconds = TaskStatus.SCHEDULED, math.inf


def _unknown_status(outcome):
    outcome.status = "Perhaps"


POISONS = [_too_many_attempts, _endless_delay, _unknown_status]


@pytest.mark.parametrize("poison", POISONS)
def test_one_poisoned_outcome_of_64_fails_alone(world, poison):
    worker = _claim_and_end(world)
    victim = worker.turn.batch.outcomes[13]
    poison(victim)
    worker.settle_down()
    runs = PipelineExecution.objects.all()
    assert Counter(runs.values_list("status", flat=True)) == {
        RunStatus.COMPLETED: CLAIMED - 1, RunStatus.FAILED: 1,
    }  # fmt: skip
    assert runs.get(status=RunStatus.FAILED).id == victim.run_id
    assert "could not be stored" in TaskAttempt.objects.get(task_id=victim.task_id).error_message
    assert worker.turn.running == {}
    assert world.violations() == []


@pytest.mark.parametrize("poison", POISONS)
@pytest.mark.parametrize("position", [0, 1, 2])
def test_a_poisoned_outcome_does_not_fail_its_siblings_in_the_same_run(world, poison, position):
    world.define("three", {name: Node() for name in "abc"})
    worker = world.worker()
    run_id = world.submit("three")
    worker.settle_down()
    assert worker.run_all() == 3
    worker.turn._collect()
    victim = worker.turn.batch.outcomes[position]
    poison(victim)
    worker.settle_down()
    statuses = {task.id: task.status for task in TaskExecution.objects.filter(run_id=run_id)}
    assert statuses.pop(victim.task_id) == TaskStatus.FAILED
    assert list(statuses.values()) == [TaskStatus.COMPLETED] * 2
    assert [attempt.task_id for attempt in TaskAttempt.objects.all()] == [victim.task_id]
    assert PipelineExecution.objects.get().status == RunStatus.FAILED
    assert worker.turn.running == {}
    assert world.violations() == []


def test_a_poisoned_submission_fails_alone(world):
    world.define("one", {"only": Node()})
    worker = world.worker()
    first = world.ask(worker, "one")
    poisoned = world.ask(worker, "one")
    options = replace(poisoned.submission.options, queue=None)
    poisoned.submission = replace(poisoned.submission, options=options)
    last = world.ask(worker, "one")
    world.drain()
    assert poisoned.done.exception(0) is not None
    assert first.done.result(0).status == last.done.result(0).status == RunStatus.COMPLETED
    assert world.loop_errors == []
    assert worker.turn.failures == 0
    assert world.violations() == []


def test_a_run_that_cannot_be_read_does_not_take_the_others_with_it(world):
    """Somebody edited a row by hand. Its claim fails again and again; the others must go on."""
    world.define("one", {"only": Node()})
    worker = world.worker()
    broken, *sound = [world.submit("one") for _ in range(3)]
    PipelineExecution.objects.filter(pk=broken).update(context="{not json")
    for _ in range(3):
        worker.beat()
        worker.work()
        world.advance(11.0)
    statuses = PipelineExecution.objects.filter(pk__in=sound).values_list("status", flat=True)
    assert set(statuses) == {RunStatus.COMPLETED}
