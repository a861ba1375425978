"""A pause or its end, while something else moves the tasks it concerns."""

from __future__ import annotations

import pytest

from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.dialect import sql
from cloaca_django.engine import operations, settlement, submission
from cloaca_django.engine.memory import Memory
from cloaca_django.models import PipelineExecution, TaskExecution
from tests.concurrency.races import ONE_WRITER
from tests.crash.graphs import Node, chain


@ONE_WRITER
def test_a_run_enqueued_in_a_transaction_that_outlives_a_pause_still_starts(world):
    """It was written as Held, and committed after the resume had looked for what is held."""
    world.define("one", {"only": Node()})
    world.worker()
    operations.pause_workflow(world.operator, "one")
    caller = world.session()
    with caller.transaction():
        submission.submit(caller, [world.prepared("one")])
        operations.resume_workflow(world.operator, "one")
    world.drain(rounds=5)
    assert world.violations() == []


@ONE_WRITER
def test_a_successor_held_by_a_settle_that_outlives_a_pause_still_starts(world):
    world.define("chain", chain("a", "b"))
    worker = world.worker()
    world.submit("chain")
    worker.settle_down()
    worker.run_all()
    worker.turn._collect()
    operations.pause_workflow(world.operator, "chain")
    settling = world.session()
    with settling.transaction():
        settled = settlement.settle(
            settling, worker.turn.batch.outcomes, Memory(0), worker=worker.id
        )
        assert len(settled.accepted) == 1
        operations.resume_workflow(world.operator, "chain")
    world.drain(rounds=5)
    assert world.violations() == []


@pytest.mark.parametrize("first", ["pause", "settle"])
def test_a_retry_of_a_run_that_is_paused_meanwhile_is_held(world, together, first):
    world.define("retried", {"flaky": Node((), {"retry_attempts": 3})})
    world.failing = {"flaky": 1}
    worker = world.worker()
    runs = [world.submit("retried") for _ in range(8)]
    worker.settle_down()
    worker.run_all()
    operator = world.session()

    def pause():
        for run in runs:
            operations.pause(operator, run)

    acts = [pause, worker.settle_down]
    assert together(*(acts if first == "pause" else reversed(acts))) == [None, None]
    worker.settle_down()
    world.advance(60.0)
    worker.work()
    assert set(TaskExecution.objects.values_list("status", flat=True)) == {TaskStatus.HELD}
    assert set(PipelineExecution.objects.values_list("status", flat=True)) == {RunStatus.PAUSED}
    for run in runs:
        operations.resume(world.operator, run)
    world.drain()
    assert world.violations() == []


def test_a_promotion_that_meets_a_pause_starts_nothing(world, together):
    world.define("retried", {"flaky": Node((), {"retry_attempts": 3})})
    world.failing = {"flaky": 1}
    worker = world.worker()
    runs = [world.submit("retried") for _ in range(8)]
    worker.work()
    world.advance(60.0)
    operator, promoter = world.session(), world.session()

    def pause():
        for run in runs:
            operations.pause(operator, run)

    def promote():
        for _ in runs:
            promoter.run(sql.promote_due)

    together(pause, promote)
    assert set(TaskExecution.objects.values_list("status", flat=True)) == {TaskStatus.HELD}
    for run in runs:
        operations.resume(world.operator, run)
    world.drain()
    assert world.violations() == []
