"""Somebody holds a run's row for long: its outcomes wait, and nobody else's do."""

from __future__ import annotations

import pytest

from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.models import PipelineExecution, TaskExecution
from tests.concurrency.races import ONE_WRITER
from tests.crash.graphs import Node

pytestmark = ONE_WRITER

PATIENCE = 6.0


@pytest.fixture
def two_runs(world):
    """A worker that ended the tasks of two runs; it waits a tenth of a second for a lock."""
    world.define("one", {"only": Node()})
    worker = world.worker()
    runs = [world.submit("one") for _ in range(2)]
    worker.settle_down()
    worker.run_all()
    worker.turn._session.transport.inner.connection.execute("SET lock_timeout = '100ms'")
    return worker, runs


def _status(run):
    return PipelineExecution.objects.get(pk=run).status


def test_an_outcome_whose_run_is_locked_waits_and_the_others_are_settled(world, two_runs):
    worker, (locked, free) = two_runs
    holder = world.session()
    with holder.transaction():
        holder.lock_runs([locked])
        worker.step()
        assert (_status(locked), _status(free)) == (RunStatus.PENDING, RunStatus.COMPLETED)
    worker.settle_down()
    assert _status(locked) == RunStatus.COMPLETED
    assert world.violations() == []


def test_an_outcome_that_waited_long_is_settled_alone_and_holds_nobody_up(world, two_runs):
    worker, (locked, _) = two_runs
    holder = world.session()
    with holder.transaction():
        holder.lock_runs([locked])
        worker.step()
        world.advance(PATIENCE)
        late = world.submit("one")
        worker.step()
        worker.run_all()
        worker.step()
        assert _status(late) == RunStatus.COMPLETED
    for _ in range(3):
        world.advance(PATIENCE)
        worker.settle_down()
    assert _status(locked) == RunStatus.COMPLETED
    assert len(world.started) == 3
    assert world.loop_errors == []
    assert world.violations() == []


def test_a_sweep_passes_over_a_locked_run_and_comes_back_for_it(world, two_runs):
    worker, (locked, _) = two_runs
    worker.die()
    heir = world.worker()
    world.advance(60.0)
    heir.beat()
    holder = world.session()
    with holder.transaction():
        holder.lock_runs([locked])
        heir.sweep()
        found = dict(TaskExecution.objects.values_list("run_id", "status"))
        assert found.pop(locked) == TaskStatus.RUNNING
        assert list(found.values()) == [TaskStatus.READY]
    heir.sweep()
    heir.work()
    assert world.violations() == []
