"""Clocks that jump cost time, never work: safety does not depend on them."""

from __future__ import annotations

import pytest

from cloaca_django.models import TaskExecution
from tests.crash.graphs import Node, chain

HOUR = 3600.0
LEASE = 30.0


def _forget_claims(worker):
    """The claim was committed and the worker never heard of it."""
    worker.turn.running.clear()
    worker.jobs.clear()
    worker.slots._used = 0


@pytest.mark.parametrize("jump", [-HOUR, 0.0, HOUR])
def test_a_claim_its_worker_does_not_know_comes_back_though_the_clock_jumps(world, jump):
    world.define("one", {"only": Node()})
    worker = world.worker()
    world.submit("one")
    worker.settle_down()
    _forget_claims(worker)
    world.advance(jump)
    for _ in range(4):
        worker.beat()
        worker.work()
        world.advance(LEASE / 3)
    assert world.violations() == []


@pytest.mark.parametrize("jump", [-HOUR, HOUR])
def test_a_dead_workers_tasks_come_back_within_a_lease_and_a_half_of_a_jump(world, jump):
    world.define("chain", chain("a", "b"))
    lost, heir = world.worker(), world.worker()
    world.submit("chain")
    lost.settle_down()
    assert lost.jobs
    lost.die()
    world.advance(jump)
    heir.beat()
    heir.sweep()
    world.advance(LEASE * 1.5)
    heir.beat()
    heir.sweep()
    heir.work()
    assert TaskExecution.objects.get(name="a").crashes == 1
    assert world.violations() == []


def test_a_jump_forward_takes_tasks_from_the_living_and_fences_them(world):
    world.define("one", {"only": Node((), {"atomic": True})})
    slow, other = world.worker(), world.worker()
    world.submit("one")
    slow.settle_down()
    world.advance(HOUR)
    other.beat()
    other.sweep()
    other.work()
    slow.beat()
    slow.work()
    assert len(world.started) == 2
    assert world.violations() == []
