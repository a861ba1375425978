"""Many callers enqueue at once: one run per idempotency key, whoever comes first."""

from __future__ import annotations

import pytest
from django.db import transaction

import cloaca_django as cloaca
from cloaca_django.errors import IdempotencyConflict
from cloaca_django.models import PipelineExecution
from tests.concurrency.races import ONE_WRITER
from tests.crash.graphs import Node

CALLERS = 8


@pytest.fixture
def runner(world):
    world.define("one", {"only": Node()})
    with cloaca.DefaultRunner(using="default") as runner:
        yield runner


def test_callers_with_one_key_get_the_same_run(world, runner, together):
    def call():
        return runner.enqueue("one", cloaca.Context({"given": 1}), idempotency_key="same").id

    found = together(*[call] * CALLERS)
    assert len(set(found)) == 1
    assert PipelineExecution.objects.count() == 1
    world.worker()
    world.drain()
    assert world.violations() == []


def test_callers_with_one_key_and_different_contexts_are_told_so(world, runner, together):
    def call(n):
        return runner.enqueue("one", cloaca.Context({"given": n}), idempotency_key="same").id

    found = together(*(lambda n=n: call(n) for n in range(CALLERS)))
    assert PipelineExecution.objects.count() == 1
    winners = [one for one in found if not isinstance(one, BaseException)]
    assert winners == [PipelineExecution.objects.get().id]
    assert all(isinstance(one, IdempotencyConflict) for one in found if one not in winners)


@ONE_WRITER
def test_a_caller_takes_over_the_key_of_one_that_rolled_back(world, runner, together):
    """The second waits for the first one's transaction, and then writes the run itself."""

    def regret():
        with transaction.atomic():
            runner.enqueue("one", cloaca.Context({"given": 1}), idempotency_key="same")
            raise RuntimeError

    def insist():
        return runner.enqueue("one", cloaca.Context({"given": 1}), idempotency_key="same").id

    regretted, run = together(regret, insist)
    assert isinstance(regretted, RuntimeError)
    assert PipelineExecution.objects.get().id == run
