"""Two workers admit runs under one ``max_running`` at the same moment."""

from __future__ import annotations

import pytest

from cloaca_django.core.states import RUN_FINAL
from cloaca_django.engine import operations
from cloaca_django.models import PipelineExecution
from tests.concurrency.races import ONE_WRITER
from tests.crash.graphs import chain

LIMIT = 3


@pytest.fixture
def waiting(world):
    world.define("limited", chain("a", "b"), max_running=LIMIT)
    world.worker()
    return [world.submit("limited") for _ in range(10)]


def _admit(session):
    with session.transaction():
        return operations.admit(session)


def _admitted():
    runs = PipelineExecution.objects.exclude(status__in=sorted(RUN_FINAL))
    return runs.filter(is_waiting=False).count()


def test_two_admitters_together_stay_within_the_limit(world, waiting, together):
    sessions = [world.session() for _ in range(4)]
    admitted = together(*(lambda s=s: _admit(s) for s in sessions))
    assert sum(admitted) == _admitted() == LIMIT


@ONE_WRITER
def test_an_admitter_leaves_the_count_to_another_that_is_at_it(world, waiting):
    here, there = world.session(), world.session()
    with here.transaction():
        assert operations.admit(here) == LIMIT
        assert _admit(there) == 0
    assert _admitted() == LIMIT


def test_the_limit_holds_while_runs_end_and_others_start(world, waiting, together):
    workers = [world.workers[0], world.worker()]
    seen = []

    def work(worker):
        for _ in range(60):
            worker.settle_down()
            seen.append(_admitted())
            worker.run_all()

    together(*(lambda w=w: work(w) for w in workers))
    assert max(seen) <= LIMIT
    world.drain()
    assert world.loop_errors == []
    assert world.violations() == []
