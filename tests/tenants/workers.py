"""Workers of many tenants in the test's own process, and what they left in each tenant."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from django.db import connection, connections

from cloaca_django import Context, DefaultRunner, WorkflowBuilder, task
from cloaca_django.dialect import open_trunk
from cloaca_django.engine import registers, tenant_turn, visits
from cloaca_django.engine.firing import FiringOptions
from cloaca_django.engine.shift import TenantOptions, WorkerOptions
from cloaca_django.engine.tenant_worker import TenantWorker
from cloaca_django.models import PipelineExecution, TaskExecution, Worker
from tests.tenants.conftest import in_tenant
from tests.tenants.directory.models import Tenant
from tests.tenants.ledger.models import Mark

__all__ = ["brisk", "make_worker", "quick", "trunk"]

PATIENCE = 20.0


@pytest.fixture
def trunk(transactional_db: None) -> Iterator[Any]:
    """One connection of the engine's own for all tenants."""
    with closing(open_trunk("default")) as made:
        yield made


@pytest.fixture
def quick(settings: Any) -> None:
    """Let workers beat and sweep often, and hear of a death by that alone."""
    settings.CLOACA = {"HEARTBEAT_SECONDS": 0.1, "LEASE_SECONDS": 60, "SWEEP_SECONDS": 0.2}


@pytest.fixture
def make_worker(transactional_db: None) -> Iterator[Callable[..., TenantWorker]]:
    """Return a function that starts a worker of tenants; it is stopped at the end of the test."""
    made: list[TenantWorker] = []

    def make(*, fires: bool = False, report: Any = None, **facts: Any) -> TenantWorker:
        tenants = TenantOptions(
            only=facts.pop("only", None), excluded=facts.pop("excluded", frozenset()),
            limit=facts.pop("limit", None),
        )  # fmt: skip
        firing = FiringOptions.of_site() if fires else None
        options = WorkerOptions(tenants=tenants, firing=firing, **facts)
        worker = TenantWorker(options, report=report)
        worker.start()
        made.append(worker)
        return worker

    yield make
    for worker in made:
        if worker.is_alive():
            worker.stop(grace=PATIENCE)


def enqueue(tenant: Tenant, name: str, **data: Any) -> Any:
    """Write a run into a tenant; returns its id."""
    with in_tenant(tenant):
        return DefaultRunner().enqueue(name, Context({"tenant": tenant.schema_name, **data})).id


def enqueue_many(tenant: Tenant, name: str, count: int, **data: Any) -> list[Any]:
    """Write many runs into a tenant, with a number each; returns their ids."""
    contexts = (
        Context({"tenant": tenant.schema_name, "text": str(number), **data})
        for number in range(count)
    )
    with in_tenant(tenant):
        return [handle.id for handle in DefaultRunner().enqueue_many(name, contexts)]


def statuses(tenant: Tenant) -> dict[str, int]:
    """Count the runs of a tenant by status."""
    with in_tenant(tenant):
        found: dict[str, int] = {}
        for status in PipelineExecution.objects.values_list("status", flat=True):
            found[status] = found.get(status, 0) + 1
        return found


def is_done(tenant: Tenant) -> bool:
    """Say whether every run of a tenant is Completed, and there is one."""
    return set(statuses(tenant)) == {"Completed"}


def context_of(tenant: Tenant, run_id: Any) -> dict[str, Any]:
    """Read the context of a run that ended."""
    with in_tenant(tenant):
        result = DefaultRunner().handle(run_id).result()
        assert result is not None
        return dict(result.final_context.snapshot())


def task_rows(tenant: Tenant) -> list[TaskExecution]:
    """Read all tasks of a tenant."""
    with in_tenant(tenant):
        return list(TaskExecution.objects.order_by("id"))


def workers_in(tenant: Tenant) -> dict[Any, str]:
    """Read which workers are registered in a tenant's schema, with their states."""
    with in_tenant(tenant):
        return dict(Worker.objects.values_list("id", "state"))


def execute(statement: str, *params: Any) -> list[tuple[Any, ...]]:
    """Carry out a statement in the public schema."""
    connection.set_schema_to_public()
    with connection.cursor() as cursor:
        cursor.execute(statement, params or None)
        return list(cursor.fetchall()) if cursor.description else []


def in_thread(function: Callable[[], Any]) -> Any:
    """Return what a function returns on a thread of its own, with connections of its own."""
    found: list[Any] = []

    def run() -> None:
        try:
            found.append(function())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(PATIENCE)
    assert found, "the thread hangs or broke"
    return found[0]


@pytest.fixture
def brisk(monkeypatch):
    """Visit often, and leave soon."""
    monkeypatch.setattr(registers, "REFRESH_SECONDS", 0.2)
    monkeypatch.setattr(visits, "VISIT_SECONDS", 0.05)
    monkeypatch.setattr(tenant_turn, "ENLISTED_SECONDS", 0.3)
    monkeypatch.setattr(tenant_turn, "LOOK_SECONDS", 0.1)


def gated(gate, name="gated", **options):
    """Register a workflow whose one task waits for the test."""
    with WorkflowBuilder(name):

        @task(id="gate", retry_attempts=1, **options)
        def wait(context: Context) -> None:
            gate.pass_through()


def marking(name="beside"):
    """Register a workflow that writes one row."""
    with WorkflowBuilder(name):

        @task(id="write", atomic=True)
        def write(context: Context) -> None:
            Mark.objects.create(tenant=connection.schema_name, text=context["text"])


def worker_records(caplog, level=logging.WARNING):
    """Return what the engine logged at some level or above."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno >= level and record.name.startswith("cloaca")
    ]
