"""Scenarios of heartbeats, reconcile and the sweep."""

from __future__ import annotations

from uuid import uuid4

from cloaca_django.core import registry
from cloaca_django.engine import operations, recovery
from cloaca_django.engine.retention import Pruner
from cloaca_django.models import PipelineExecution, TaskExecution
from tests.crash.scenarios import Scenario, Stage

LEASE = 30.0
DAY = 86_400.0


def _register(stage: Stage) -> None:
    stage.operate(lambda session: recovery.register(session, stage.facts["row"]))


def _newcomer(stage: Stage) -> None:
    stage.submit("chain")
    worker = stage.victim.worker
    stage.facts["row"] = worker._row(worker.claimer, uuid4())


def _save_definitions(stage: Stage) -> None:
    known = list(registry.snapshot().values())
    stage.operate(lambda session: operations.save_definitions(session, known))


def _claim(stage: Stage) -> None:
    stage.claim("diamond")


def _forget_claims(stage: Stage) -> None:
    """The claim was committed; the worker never heard of it."""
    stage.claim("diamond")
    stage.claim("chain")
    stage.victim.turn.running.clear()
    stage.victim.jobs.clear()
    stage.victim.slots._used = 0
    stage.world.advance(LEASE / 2)


def _let_lease_lapse(stage: Stage) -> None:
    stage.claim("diamond")
    stage.world.advance(LEASE * 2)
    stage.world.worker().sweep()


def _lose_a_worker(stage: Stage) -> None:
    lost = stage.world.worker()
    stage.submit("chain")
    stage.submit("diamond")
    lost.settle_down()
    assert len(lost.jobs) == 2
    stage.facts["lost"] = lost.id
    lost.die()
    stage.world.advance(LEASE * 2)
    stage.victim.beat()


def _sweep_the_spent(stage: Stage) -> None:
    stage.victim.sweep(max_crashes=0)


def _give_up(stage: Stage) -> None:
    stage.operate(
        lambda session: recovery.give_up(session, stage.facts["lost"], charge=True, max_crashes=3)
    )


def _end_long_ago(stage: Stage) -> None:
    for name in ("chain", "diamond"):
        stage.submit(name)
    stage.victim.work()
    stage.world.acknowledged.clear()
    stage.world.advance(100 * DAY)


def _prune(stage: Stage) -> None:
    stage.operate(lambda session: Pruner(days=90).step(session))


def _prune_again(stage: Stage) -> None:
    Pruner(days=90).step(stage.world.operator)
    assert not PipelineExecution.objects.exists()
    assert not TaskExecution.objects.exists()


def beat(stage: Stage) -> None:
    """Let the victim beat once."""
    stage.victim.beat()


def sweep(stage: Stage) -> None:
    """Let the victim sweep once."""
    stage.victim.sweep()


SCENARIOS = [
    Scenario("register a worker", _newcomer, _register),
    Scenario("save definitions", _newcomer, _save_definitions),
    Scenario("heartbeat", _claim, beat),
    Scenario("reconcile", _forget_claims, beat),
    Scenario("register anew", _let_lease_lapse, beat),
    Scenario("sweep", _lose_a_worker, sweep),
    Scenario("give up a worker", _lose_a_worker, _give_up),
    Scenario("prune", _end_long_ago, _prune, retry=_prune_again),
    # What a killed sweep left is taken by the next one, whose limit is the usual one.
    Scenario("sweep the spent", _lose_a_worker, _sweep_the_spent, ends_alike=False),
]
