"""A body ends at the moment its worker gives up waiting for it: a claim has one outcome."""

from __future__ import annotations

import pytest

from cloaca_django.core.states import TaskStatus
from cloaca_django.engine.messages import HandBack
from cloaca_django.models import TaskAttempt, TaskExecution
from tests.crash.graphs import chain

TOO_LONG = 400.0


@pytest.fixture
def worker(world):
    world.define("chain", chain("a", "b", retry_attempts=3))
    worker = world.worker()
    world.submit("chain")
    worker.settle_down()
    return worker


def _first():
    return TaskExecution.objects.get(name="a")


def _outcomes(worker):
    settled = [effects.settled for effects in worker.published]
    return sum(len(one.accepted) + len(one.fenced) for one in settled)


def test_a_body_that_ended_before_its_time_was_found_to_be_up_counts(world, worker):
    worker.run_all()
    world.advance(TOO_LONG)
    worker.step()
    assert (_first().status, _outcomes(worker)) == (TaskStatus.COMPLETED, 1)
    assert not TaskAttempt.objects.exists()
    world.drain()
    assert world.violations() == []


def test_a_body_that_ends_after_its_time_was_up_counts_no_more(world, worker):
    job = worker.jobs[0]
    job.started = world._seconds
    world.advance(TOO_LONG)
    worker.step()
    assert _first().status == TaskStatus.SCHEDULED
    worker.run(job)
    worker.step()
    assert (_first().status, _outcomes(worker)) == (TaskStatus.SCHEDULED, 1)
    world.drain()
    assert TaskAttempt.objects.count() == 1
    assert world.violations() == []


def test_a_body_that_ends_while_an_outcome_waits_for_its_database_is_not_timed_out(world, worker):
    """The outcome is kept while the database is away, for longer than the task was allowed."""
    worker.run_all()
    world.killer.drop(worker.turn._session.transport.inner.connection)
    worker.turn._session.transport._is_cut = True
    worker.step()
    world.advance(TOO_LONG)
    worker.beat()
    worker.settle_down()
    assert _first().status == TaskStatus.COMPLETED
    world.drain()
    assert world.violations() == []


@pytest.mark.parametrize("ends_first", [True, False], ids=["ended", "handed back"])
def test_a_task_that_is_handed_back_as_it_ends_has_one_outcome(world, worker, ends_first):
    job = worker.jobs[0]
    if ends_first:
        worker.run(job)
    worker.turn.post(HandBack(running_too=True))
    if not ends_first:
        worker.run(job)
    worker.turn.is_draining = True
    worker.step()
    assert _first().status == (TaskStatus.COMPLETED if ends_first else TaskStatus.READY)
    assert _outcomes(worker) == 1
    worker.turn.is_draining = False
    world.drain()
    assert world.violations() == []
