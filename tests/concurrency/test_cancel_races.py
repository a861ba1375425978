"""A run is cancelled while its tasks are claimed, settled, taken back or waiting to expire."""

from __future__ import annotations

import pytest

from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.dialect import sql_workers
from cloaca_django.engine import operations
from cloaca_django.errors import InvalidTransition
from cloaca_django.models import PipelineExecution, TaskExecution
from tests.concurrency.races import ONE_WRITER, ended, settle, settle_all
from tests.crash.graphs import chain, diamond

RUNS = 10


def _cancel(session, runs):
    done = 0
    for run in runs:
        try:
            operations.cancel(session, run)
        except InvalidTransition:
            continue
        done += 1
    return done


@pytest.fixture
def runs(world):
    world.define("chain", chain("a", "b"))
    return [world.submit("chain") for _ in range(RUNS)]


def _statuses(model):
    return set(model.objects.values_list("status", flat=True))


def test_a_cancelled_run_refuses_what_was_running(world, runs, together):
    worker = world.worker(concurrency=RUNS)
    worker.settle_down()
    outcomes = ended(worker)
    operator, finisher = world.session(), world.session()
    cancelled, accepted = together(
        lambda: _cancel(operator, runs), lambda: settle_all(finisher, outcomes)
    )
    assert cancelled == RUNS
    assert _statuses(PipelineExecution) == {RunStatus.CANCELLED}
    assert TaskExecution.objects.filter(status=TaskStatus.COMPLETED).count() == accepted
    assert world.violations() == []


def test_a_cancel_that_meets_a_claim_leaves_nothing_running(world, runs, together):
    worker = world.worker(concurrency=RUNS)
    operator = world.session()
    together(lambda: _cancel(operator, runs), worker.settle_down)
    worker.work()
    assert _statuses(TaskExecution) == {TaskStatus.CANCELLED}
    assert world.violations() == []


def test_a_cancel_that_meets_a_sweep_leaves_nothing_ready(world, runs, together):
    lost, sweeper = world.worker(concurrency=RUNS), world.worker()
    lost.settle_down()
    lost.die()
    world.advance(60.0)
    operator = world.session()
    together(lambda: _cancel(operator, runs), sweeper.sweep)
    world.drain()
    assert _statuses(TaskExecution) == {TaskStatus.CANCELLED}
    assert world.violations() == []


def test_two_cancels_of_one_run_end_it_once(world, runs, together):
    sessions = [world.session() for _ in range(2)]
    done = together(*(lambda s=s: _cancel(s, runs) for s in sessions))
    assert sum(done) == RUNS
    assert world.violations() == []


def test_an_ended_run_accepts_nothing_even_from_a_claim_that_still_holds(world, runs):
    """Its tasks are cancelled with it; should one ever be left, the run's status refuses it."""
    worker = world.worker(concurrency=RUNS)
    worker.settle_down()
    outcomes = ended(worker)
    world.operator.run(
        sql_workers.end_runs, [(run,) for run in runs],
        status=RunStatus.CANCELLED, message="", revision=runs[0],
    )  # fmt: skip
    settled = settle(world.operator, outcomes)
    assert (len(settled.accepted), len(settled.fenced)) == (0, RUNS)
    assert _statuses(PipelineExecution) == {RunStatus.CANCELLED}


@ONE_WRITER
def test_an_atomic_task_whose_run_is_cancelled_meanwhile_leaves_no_effect(world):
    world.define("diamond", diamond(atomic=True))
    run = world.submit("diamond")
    worker = world.worker()
    worker.settle_down()
    world.before_end = lambda job: operations.cancel(world.operator, run)
    worker.work()
    assert len(world.started) == 1
    assert PipelineExecution.objects.get(pk=run).status == RunStatus.CANCELLED
    assert world.violations() == []


def test_cancelling_a_parent_and_its_child_at_once_ends_both(world, runs, together):
    """Both lock runs: always by id, or the database has to break a deadlock."""
    worker = world.worker(concurrency=RUNS)
    worker.settle_down()
    tasks = {task.run_id: task.id for task in TaskExecution.objects.filter(name="a")}
    children = [world.submit("chain", parent_id=run, parent_task_id=tasks[run]) for run in runs]
    parents, kids = world.session(), world.session()
    done = together(lambda: _cancel(parents, runs), lambda: _cancel(kids, children))
    assert all(isinstance(one, int) for one in done), done
    assert _statuses(PipelineExecution) == {RunStatus.CANCELLED}
    assert world.violations() == []
