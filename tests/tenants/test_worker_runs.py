"""What belongs to a run is in its tenant: children, signals, logs, schedules, who executes it."""

from __future__ import annotations

import logging

from django.db import connection

from cloaca_django import Context, DefaultRunner, TaskHandle, WorkflowBuilder, signals, task
from cloaca_django.core import registry
from cloaca_django.models import CronSchedule, PipelineExecution, TaskLog
from tests.interface.conftest import gate, until, workflows_of_test
from tests.tenants.conftest import in_tenant, marks_of
from tests.tenants.ledger.models import Mark
from tests.tenants.workers import (
    context_of,
    enqueue,
    execute,
    gated,
    is_done,
    make_worker,
    marking,
    statuses,
    worker_records,
    workers_in,
)

__all__ = ["gate", "make_worker", "workflows_of_test"]


def test_a_nested_run_does_not_wait_for_its_parents_place_under_the_limit(
    make_tenants, make_worker
):
    (tenant,) = make_tenants(1)
    make_worker(concurrency=4, limit=1)
    enqueue(tenant, "nest", text="x")
    until(lambda: is_done(tenant))
    assert statuses(tenant) == {"Completed": 2}


def test_the_child_of_a_task_out_of_time_is_cancelled_in_its_tenant_and_no_connection_is_lost(
    make_tenants, make_worker, gate, workflows_of_test, caplog
):
    gated(gate, "child")
    marking()

    with WorkflowBuilder("parent"):

        @task(id="wait", timeout_seconds=1, retry_attempts=1)
        def wait(context: Context, handle: TaskHandle) -> None:
            DefaultRunner().execute("child", Context())

    a, b = make_tenants(2)
    worker = make_worker(concurrency=4)
    enqueue(a, "parent")
    gate.await_arrival()
    session = worker.turn_in("t1")._session
    pid = session.transport.connection.info.backend_pid
    until(lambda: statuses(a) == {"Failed": 1, "Cancelled": 1})
    enqueue(b, "beside", text="x")
    until(lambda: is_done(b))
    assert worker._trunk.session("t2").transport.connection.info.backend_pid == pid
    assert not any("a turn failed" in said for said in worker_records(caplog))


def test_signals_and_callbacks_and_logs_are_in_the_tenant_of_the_run(
    make_tenants, make_worker, workflows_of_test
):
    heard = []

    def hear(sender, **facts):
        heard.append((connection.schema_name, Mark.objects.get().tenant, sender))

    def note(*arguments):
        Mark.objects.create(tenant=connection.schema_name, text="callback")

    with WorkflowBuilder("loud"):

        @task(id="speak", on_success=note)
        def speak(context: Context) -> None:
            logging.getLogger("site").warning("I am in %s", connection.schema_name)

    tenants = make_tenants(3)
    signals.run_finished.connect(hear)
    try:
        make_worker(concurrency=4)
        for tenant in tenants:
            enqueue(tenant, "loud")
        until(lambda: len(heard) == 3)
    finally:
        signals.run_finished.disconnect(hear)
    assert sorted(heard) == [(f"t{n}", f"t{n}", "loud") for n in (1, 2, 3)]
    for tenant in tenants:
        with in_tenant(tenant):
            (log,) = TaskLog.objects.all()
            assert f"I am in {tenant.schema_name}" in log.text


def test_schedules_fire_in_each_tenant_those_of_code_and_those_made_by_hand(
    make_tenants, make_worker, workflows_of_test
):
    builder = WorkflowBuilder("tick")
    with builder:

        @task(id="tick")
        def tick(context: Context) -> None:
            Mark.objects.create(tenant=connection.schema_name, text=context["text"])

        builder.schedule("* * * * *", name="declared", context=Context({"text": "declared"}))

    by_hand, other = make_tenants(2)
    worker = make_worker(fires=True, concurrency=2)
    until(worker.is_idle)
    with in_tenant(by_hand):
        DefaultRunner().register_cron_workflow("tick", "* * * * *", "UTC")
        CronSchedule.objects.filter(declared="").update(context='{"text": "by hand"}')
    for name in ("t1", "t2"):
        execute(f"UPDATE {name}.cloaca_schedule SET next_run_at = date_trunc('minute', now())")
        execute("SELECT pg_notify('cloaca', %s)", f"{name};")
    until(lambda: ("t2", "declared") in marks_of(other))
    until(lambda: marks_of(by_hand) >= {("t1", "declared"), ("t1", "by hand")})
    with in_tenant(other):
        assert CronSchedule.objects.count() == 1
        assert {run.origin for run in PipelineExecution.objects.all()} == {"schedule"}
    assert {tenant for tenant, _ in marks_of(by_hand)} == {"t1"}


def test_an_execute_in_the_process_of_the_caller_is_in_its_tenant(make_tenants, together):
    tenants = make_tenants(2)
    runners = [DefaultRunner.for_tenant(tenant) for tenant in tenants]
    try:
        results = together(
            *(
                lambda runner=runner: runner.execute(
                    "chain", Context({"tenant": runner.schema, "text": "x"})
                )
                for runner in runners
            )
        )
    finally:
        for runner in runners:
            runner.shutdown()
    assert [result.status for result in results] == ["Completed", "Completed"]
    assert [result.final_context["marks"][0] for result in results] == ["t1:first", "t2:first"]
    for tenant in tenants:
        assert set(workers_in(tenant).values()) == {"Stopped"}
        assert {name for name, _ in marks_of(tenant)} == {tenant.schema_name}
    assert registry.names()


def test_the_context_of_a_run_says_where_its_tasks_were(make_tenants, make_worker):
    (tenant,) = make_tenants(1)
    make_worker()
    run = enqueue(tenant, "mark", text="x")
    until(lambda: is_done(tenant))
    found = context_of(tenant, run)
    assert (found["schema"], found["sees"]) == ("t1", ["t1"])
