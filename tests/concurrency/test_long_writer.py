"""SQLite has one writer: who holds the file long holds everybody up, and breaks nothing."""

from __future__ import annotations

import threading

import pytest
from django.db import connection, transaction

from cloaca_django import DefaultRunner
from cloaca_django.core import registry
from cloaca_django.core.states import RunStatus, WorkerState
from cloaca_django.engine.shift import WorkerOptions
from cloaca_django.engine.worker import Worker
from cloaca_django.models import PipelineExecution, TaskExecution
from cloaca_django.models import Worker as WorkerModel
from tests import workflows
from tests.worksite.process import until

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor != "sqlite", reason="a server has many writers"),
]

LEASE = 1.0
SETTINGS = {"HEARTBEAT_SECONDS": 0.1, "LEASE_SECONDS": LEASE, "SWEEP_SECONDS": 0.2}


def test_a_view_that_writes_for_longer_than_a_lease_takes_no_task_from_anybody(settings):
    settings.CLOACA = SETTINGS
    with registry.isolated():
        workflows.chain("w", workflows.nothing, workflows.nothing)
        workers = [Worker(WorkerOptions(poll_seconds=0.1)) for _ in range(3)]
        for worker in workers:
            worker.start()
        try:
            with DefaultRunner() as runner:
                runner.enqueue_many("w", [None] * 10)
                with transaction.atomic():
                    runner.enqueue("w")
                    threading.Event().wait(2 * LEASE)
                runner.enqueue_many("w", [None] * 10)
            until(
                lambda: not PipelineExecution.objects.exclude(status=RunStatus.COMPLETED).exists(),
                what="the end of every run",
            )
            alive = WorkerModel.objects.filter(state=WorkerState.ALIVE).count()
        finally:
            for worker in workers:
                worker.stop(grace=10.0)
    assert alive == 3
    assert {(row.attempt, row.crashes) for row in TaskExecution.objects.all()} == {(1, 0)}
