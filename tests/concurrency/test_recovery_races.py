"""Recovery against the living: what comes first counts, what comes second changes nothing."""

from __future__ import annotations

import pytest

from cloaca_django.conf import settings
from cloaca_django.core.states import TaskStatus
from cloaca_django.dialect import sql_workers
from cloaca_django.engine import recovery
from cloaca_django.models import TaskExecution
from tests.concurrency.races import ended, settle, settle_all
from tests.crash.graphs import Node, diamond

LEASE = 30.0
RUNS = 12


@pytest.fixture
def late(world):
    """A worker whose tasks have ended unsettled, and whose lease has lapsed."""
    world.define("one", {"only": Node()})
    worker = world.worker(concurrency=RUNS)
    for _ in range(RUNS):
        world.submit("one")
    worker.settle_down()
    world.advance(LEASE * 2)
    return worker


def _statuses():
    return set(TaskExecution.objects.values_list("status", flat=True))


def test_a_late_finish_that_meets_the_sweep_counts_or_is_refused(world, late, together):
    outcomes = ended(late)
    sweeper = world.worker()
    finisher = world.session()
    accepted, _ = together(lambda: settle_all(finisher, outcomes), sweeper.sweep)
    completed = TaskExecution.objects.filter(status=TaskStatus.COMPLETED).count()
    assert accepted == completed
    assert _statuses() <= {TaskStatus.COMPLETED, TaskStatus.READY}
    late.die()
    world.drain()
    assert world.violations() == []


def test_a_sweep_takes_only_the_claim_that_it_saw(world, late):
    """Between its look and its write the task came back and somebody else claimed it."""
    slow = world.session()
    seen = [recovery._orphan(slow, row) for row in _orphans(world, slow)]
    assert len(seen) == RUNS
    heir = world.worker(concurrency=RUNS)
    heir.sweep()
    heir.settle_down()
    assert recovery.requeue(slow, seen, charge=True) == 0
    assert _statuses() == {TaskStatus.RUNNING}
    assert set(TaskExecution.objects.values_list("crashes", flat=True)) == {1}
    heir.work()
    assert world.violations() == []


def _orphans(world, session):
    session.now = world.now
    session.run(sql_workers.bury_workers)
    return session.run(sql_workers.orphans)


def test_a_late_outcome_of_an_earlier_claim_is_refused(world, late):
    outcomes = ended(late)
    heir = world.worker(concurrency=RUNS)
    heir.sweep()
    heir.settle_down()
    refused = settle(world.operator, outcomes)
    assert (len(refused.accepted), len(refused.fenced)) == (0, RUNS)
    assert _statuses() == {TaskStatus.RUNNING}
    heir.work()
    assert world.violations() == []


def test_a_late_outcome_is_refused_though_the_same_worker_claimed_again(world):
    """The worker's name is no fence: here both claims are of one worker."""
    world.define("one", {"only": Node()})
    worker = world.worker()
    world.submit("one")
    worker.settle_down()
    first = worker.jobs[0]
    outcomes = list(ended(worker))
    worker.turn.batch.outcomes.clear()
    worker.turn.running.clear()
    world.advance(LEASE / 2)
    worker.beat()
    worker.settle_down()
    assert worker.jobs[0].token != first.token
    assert len(settle(world.operator, outcomes).fenced) == 1
    worker.work()
    assert world.violations() == []


def test_two_sweepers_charge_a_lost_task_once(world, late, together):
    late.die()
    sweepers = [world.worker(), world.worker()]
    assert together(*(sweeper.sweep for sweeper in sweepers)) == [None, None]
    world.drain()
    assert world.heart_errors == []
    assert set(TaskExecution.objects.values_list("crashes", flat=True)) == {1}
    assert world.violations() == []


def test_a_task_that_loses_every_worker_fails_in_the_end(world):
    world.define("diamond", diamond())
    world.submit("diamond")
    for _ in range(settings.MAX_CRASHES + 1):
        lost = world.worker()
        lost.settle_down()
        assert len(lost.jobs) == 1
        lost.die()
        world.advance(LEASE * 2)
        world.worker().sweep()
        world.workers[-1].die()
    root = TaskExecution.objects.get(name="root")
    assert (root.status, root.crashes) == (TaskStatus.FAILED, settings.MAX_CRASHES)
    world.worker()
    world.drain()
    assert world.violations() == []


def test_a_reconcile_that_meets_a_settle_takes_nothing_back(world, together):
    """The outcome is on its way while the heartbeat compares: it must not be run again."""
    world.define("diamond", diamond())
    worker = world.worker(concurrency=RUNS)
    for _ in range(RUNS):
        world.submit("diamond")
    worker.settle_down()
    world.advance(LEASE / 2)
    worker.run_all()
    together(worker.settle_down, worker.beat)
    world.drain()
    assert len(world.started) == 4 * RUNS
    assert world.violations() == []
