"""A worker that stops leaves no claim behind, not even one that was under way."""

from __future__ import annotations

import threading

import pytest

from cloaca_django import DefaultRunner
from cloaca_django.engine.shift import WorkerOptions
from cloaca_django.engine.worker import Worker
from cloaca_django.models import TaskExecution
from tests import workflows

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 20.0


def test_a_claim_under_way_when_the_worker_stops_is_handed_back():
    """Between its commit and its start a claim is in no list; stopping must not overlook it."""
    workflows.single("one")
    claimed, go_on = threading.Event(), threading.Event()
    worker = Worker(WorkerOptions())
    apply = worker.turn._apply

    def slow_apply(session, effects):
        if effects.claims:
            claimed.set()
            go_on.wait(PATIENCE)
        apply(session, effects)

    worker.turn._apply = slow_apply
    with DefaultRunner(using="default") as runner:
        runner.enqueue("one")
    worker.start()
    assert claimed.wait(PATIENCE)
    stop = threading.Thread(target=worker.stop, kwargs={"grace": 0.0})
    stop.start()
    while not worker.turn.is_draining:
        threading.Event().wait(0.01)
    # Time for a stop that does not wait to overlook the claim.
    stop.join(0.3)
    go_on.set()
    stop.join(PATIENCE)
    assert not stop.is_alive()
    task = TaskExecution.objects.get()
    assert task.status in {"Ready", "Completed"}
    assert task.crashes == 0


def test_a_worker_that_claims_once_claims_once():
    for _ in range(3):
        workflows.single("one")
    with DefaultRunner(using="default") as runner:
        runner.enqueue_many("one", [None] * 5)
    worker = Worker(WorkerOptions(concurrency=2, claims_once=True))
    worker.start()
    while not worker.turn.is_draining:
        threading.Event().wait(0.01)
    assert worker.stop(grace=PATIENCE)
    assert TaskExecution.objects.filter(status="Completed").count() == 2


@pytest.mark.parametrize("budget", [0, 1, 3])
def test_a_budget_is_never_exceeded(budget):
    workflows.single("one")
    with DefaultRunner(using="default") as runner:
        runner.enqueue_many("one", [None] * 10)
    worker = Worker(WorkerOptions(concurrency=4))
    worker.turn.budget = budget
    worker.start()
    end = threading.Event()
    for _ in range(500):
        if worker.turn.settled_tasks >= budget:
            break
        end.wait(0.01)
    worker.stop(grace=PATIENCE)
    assert TaskExecution.objects.filter(status="Completed").count() == budget


def test_a_supervised_worker_reports_and_renews_nothing_itself(settings):
    settings.CLOACA = {"HEARTBEAT_SECONDS": 0.05, "LEASE_SECONDS": 5}
    from cloaca_django.models import Worker as Row

    reports = []
    enough = threading.Event()

    def report(worker):
        reports.append(worker.turn.live())
        if len(reports) >= 3:
            enough.set()

    worker = Worker(WorkerOptions(), report=report)
    worker.start()
    registered = Row.objects.get().lease_until
    assert enough.wait(PATIENCE)
    assert Row.objects.get().lease_until == registered
    worker.stop(grace=0.0)
