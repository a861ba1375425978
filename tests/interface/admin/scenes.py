"""Rows as a busy site would have them: every state that a page can show, with fixed times."""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import cloaca_django as cloaca
from cloaca_django import clock, ids
from cloaca_django.core.context import encode_writes
from cloaca_django.core.merge import Write
from cloaca_django.core.states import (
    RUN_FINAL,
    AttemptOutcome,
    RunStatus,
    TaskStatus,
    WorkerState,
)
from cloaca_django.engine.shift import software
from cloaca_django.models import (
    CronSchedule,
    PipelineExecution,
    TaskAttempt,
    TaskExecution,
    TaskLog,
    Worker,
)
from tests import workflows

NASTY = "<script>document.title='owned'</script><img src=x onerror=alert(1)>\"'&{{7*7}}"
TRACEBACK = """Traceback (most recent call last):
  File "/srv/shop/workflows.py", line 41, in charge_card
    answer = gateway.charge(order, timeout=3)
  File "/srv/shop/gateway.py", line 88, in charge
    raise TimeoutError(f"gateway did not answer in {timeout} s")
TimeoutError: gateway did not answer in 3 s
"""


def moment(seconds: float) -> datetime:
    """Return a moment so many seconds before now."""
    return clock.utc_now() - timedelta(seconds=seconds)


def run(
    name: str = "customer_etl", status: str = RunStatus.COMPLETED, *, age: float = 600,
    took: float = 41, **facts: Any,
) -> PipelineExecution:  # fmt: skip
    """Insert a run that was submitted ``age`` seconds ago."""
    created = moment(age)
    is_final = status in RUN_FINAL
    defaults = {
        "id": ids.run_id_at(int(created.timestamp() * 1000), uuid.uuid4().int),
        "workflow_version": "a1b2c3d4e5f60718",
        "created_at": created,
        "started_at": created,
        "finished_at": created + timedelta(seconds=took) if is_final else None,
    }
    return PipelineExecution.objects.create(
        workflow_name=name, status=status, **{**defaults, **facts}
    )


def task(
    owner: PipelineExecution, name: str, status: str = TaskStatus.COMPLETED, *,
    after: Sequence[str] = (), start: float = 0, took: float = 5,
    writes: Sequence[Write] = (), **facts: Any,
) -> TaskExecution:  # fmt: skip
    """Insert a task that was claimed ``start`` seconds after its run was submitted."""
    begun = owner.created_at + timedelta(seconds=start)
    was_claimed = status in {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.RUNNING}
    has_ended = status in {TaskStatus.COMPLETED, TaskStatus.FAILED, TaskStatus.SKIPPED}
    defaults: dict[str, Any] = {
        "position": owner.tasks.count(),
        "workflow_name": owner.workflow_name,
        "dependencies": json.dumps(list(after)),
        "claimed_at": begun if was_claimed else None,
        "finished_at": begun + timedelta(seconds=took) if has_ended else None,
        "claim_token": uuid.uuid4() if was_claimed else None,
        "worker_id": uuid.uuid4() if was_claimed else None,
        "changes": encode_writes(tuple(writes)) if writes else None,
    }
    return TaskExecution.objects.create(
        run=owner, name=name, status=status, **{**defaults, **facts}
    )


def attempt(
    owner: TaskExecution, number: int, *, outcome: str = AttemptOutcome.FAILED, start: float = 0,
    took: float = 3, message: str = "gateway did not answer in 3 s", kind: str = "TimeoutError",
    traceback: str = TRACEBACK, log: str = "",
) -> TaskAttempt:  # fmt: skip
    """Insert an attempt that did not succeed."""
    begun = owner.run.created_at + timedelta(seconds=start)
    if log:
        TaskLog.objects.create(task=owner, attempt=number, text=log)
    return TaskAttempt.objects.create(
        task=owner, attempt=number, outcome=outcome, error_type=kind, error_message=message,
        traceback=traceback, started_at=begun, finished_at=begun + timedelta(seconds=took),
    )  # fmt: skip


def worker(state: str = WorkerState.ALIVE, *, age: float = 1, **facts: Any) -> Worker:
    """Insert a worker whose last heartbeat was ``age`` seconds ago."""
    defaults: dict[str, Any] = {
        "hostname": "app-1", "pid": 4711, "concurrency": 8, "queues": "default",
        "workflows": json.dumps(["customer_etl", "invoice_pipeline"]), "version": software(),
        "lease_seconds": 30.0, "started_at": moment(4 * 3600), "heartbeat_at": moment(age),
        "lease_until": moment(age - 30),
    }  # fmt: skip
    return Worker.objects.create(state=state, **{**defaults, **facts})


def busy_run() -> PipelineExecution:
    """Insert a run under way: finished, running, failed and waiting tasks."""
    made = run(
        status=RunStatus.RUNNING, age=422, created_by="ana", reason="the nightly run was late",
        context=json.dumps({"limit": 500, "region": "eu", "api_token": "hunter2-secret"}),
    )  # fmt: skip
    owner = worker()
    task(made, "extract_orders", start=1, took=38, writes=[Write(("orders",), 10_433)])
    task(made, "extract_users", start=1, took=22, writes=[Write(("users", "count"), 871)])
    task(
        made, "clean_orders", after=["extract_orders"], start=40, took=30,
        writes=[Write(("limit",), 450), Write(("nested", "password"), "hunter2-secret")],
    )  # fmt: skip
    task(made, "enrich_geo", after=["extract_users"], start=24, took=61)
    task(
        made, "dedupe", TaskStatus.RUNNING, after=["clean_orders", "enrich_geo"], start=90,
        worker_id=owner.pk,
    )  # fmt: skip
    failed = task(
        made, "notify", TaskStatus.FAILED, after=["extract_users"], start=41, took=3, attempt=3,
        error_message="TimeoutError: gateway did not answer in 3 s",
    )  # fmt: skip
    for number in (1, 2, 3):
        attempt(
            failed, number, start=20 + 7 * number,
            log=f"2026-01-05 12:00:0{number} INFO shop: posting to hooks, attempt {number}",
        )  # fmt: skip
    task(made, "load_warehouse", TaskStatus.PENDING, after=["dedupe"])
    retried = task(
        made, "refresh_views", TaskStatus.SCHEDULED, after=["extract_orders"], attempt=2,
        due_at=moment(-45), claimed_at=moment(60),
    )  # fmt: skip
    attempt(retried, 1, start=362, took=12)
    task(made, "report", TaskStatus.PENDING, after=["load_warehouse", "refresh_views"])
    return made


def failed_run(**facts: Any) -> PipelineExecution:
    """Insert a run that failed after three attempts of its second task."""
    message = "Task 'charge_card' failed: TimeoutError: gateway did not answer in 3 s"
    made = run(
        "invoice_pipeline", RunStatus.FAILED, age=760, took=12, error_message=message, **facts
    )
    task(made, "find_orders", took=2)
    failed = task(
        made, "charge_card", TaskStatus.FAILED, after=["find_orders"], start=9, took=3, attempt=3,
        error_message="TimeoutError: gateway did not answer in 3 s",
    )  # fmt: skip
    for number in (1, 2, 3):
        attempt(failed, number, start=3 * number)
    task(
        made, "send_invoice", TaskStatus.SKIPPED, after=["charge_card"], start=12, took=0,
        reason="Dependency 'charge_card' failed",
    )  # fmt: skip
    return made


def big_run(count: int = 300) -> PipelineExecution:
    """Insert a run of many tasks: a root, leaves in rows of ten, a join."""
    made = run("big", RunStatus.RUNNING, age=300)
    task(made, "root")
    rows = []
    for at in range(1, count - 1):
        status = TaskStatus.COMPLETED if at % 7 else TaskStatus.PENDING
        before = "root" if at <= 40 else f"leaf{at - 40}"
        done = made.created_at + timedelta(seconds=10 + at)
        has_ended = status == TaskStatus.COMPLETED
        rows.append(
            TaskExecution(
                run=made,
                position=at,
                name=f"leaf{at}",
                workflow_name="big",
                status=status,
                dependencies=json.dumps([before]),
                finished_at=done if has_ended else None,
                claimed_at=done - timedelta(seconds=4) if has_ended else None,
                claim_token=uuid.uuid4() if has_ended else None,
                worker_id=uuid.uuid4() if has_ended else None,
            )
        )
    TaskExecution.objects.bulk_create(rows)
    leaves = [row.name for row in rows[-40:]]
    task(made, "join", TaskStatus.PENDING, after=leaves, position=count - 1)
    return made


def long_run() -> PipelineExecution:
    """Insert a run whose names, words and values are as long as they may be, some right to left."""
    name = "a_very_long_name_without_any_space_" * 5
    made = run(
        name, RunStatus.FAILED, age=5_000, took=3_600, reason="סיבה ארוכה מאוד " * 20,
        created_by="someone.with.a.long.name@subsidiary.example.com",
        error_message=f"Task '{name}' failed: ValueError: {name * 3}",
        context=json.dumps({"text": "x" * 900_000, "rows": list(range(9_000)), name: "עברית"}),
    )  # fmt: skip
    task(made, name, took=1_800, writes=[Write((name, "b", name), "y" * 5_000)])
    task(
        made, "مهمة عربية طويلة", TaskStatus.FAILED, after=[name], start=1_900, took=900,
        error_message=f"ValueError: {name * 3}",
    )  # fmt: skip
    for number in (1, 2, 3):
        attempt(made.tasks.get(position=1), number, message=name * 3, traceback=TRACEBACK * 9)
    task(made, "after", TaskStatus.SKIPPED, after=["مهمة عربية طويلة"], reason=name)
    return made


def stubborn_run() -> PipelineExecution:
    """Insert a run whose one task failed forty times and goes on."""
    made = run("stubborn", RunStatus.RUNNING, age=900)
    again = task(made, "ask", TaskStatus.RUNNING, start=880, attempt=41, max_attempts=50)
    for number in range(1, 41):
        attempt(again, number, start=22 * number, took=3 + number % 9, log=f"line of {number}")
    return made


def define_workflows() -> None:
    """Register the workflows of these scenes."""
    with cloaca.WorkflowBuilder("customer_etl") as builder:
        builder.description("Customers and their orders, cleaned and loaded each night")
        for name, after, facts in (
            ("extract_orders", [], {}),
            ("extract_users", [], {}),
            ("clean_orders", ["extract_orders"], {}),
            ("enrich_geo", ["extract_users"], {"retry_attempts": 5}),
            ("notify", ["extract_users"], {"timeout_seconds": 3}),
            ("dedupe", ["clean_orders", "enrich_geo"], {}),
            ("load_warehouse", ["dedupe"], {"atomic": True}),
        ):
            cloaca.task(id=name, dependencies=after, **facts)(workflows.nothing)
    workflows.chain("invoice_pipeline", *[workflows.nothing] * 3)
    with cloaca.WorkflowBuilder("with_inputs"):

        @cloaca.workflow_params(
            source_id=str, batch_size=(int, 500), ratio=(float, 0.5), dry_run=(bool, False)
        )
        @cloaca.task(id="a")
        def a(context: cloaca.Context) -> None:
            """Do nothing."""


TROUBLES = (
    "SMTPServerDisconnected: Connection unexpectedly closed",
    "ConnectionRefusedError: [Errno 111] Connection refused",
    "KeyError: 'email'",
)


def history() -> None:
    """Insert a day of runs, schedules and workers."""
    for hour in range(24):
        for at in range((hour * 7) % 5 + 1):
            status = RunStatus.FAILED if (hour * 3 + at) % 9 == 0 else RunStatus.COMPLETED
            age = 3600 * hour + 400 * at + 900
            error = "Task 'notify' failed: " + TROUBLES[hour % len(TROUBLES)]
            made = run(
                "customer_etl", status, age=age, took=20 + (hour * 13 + at * 29) % 60,
                error_message=error if status == RunStatus.FAILED else "",
            )  # fmt: skip
            task(made, "extract_orders", took=9 + hour % 4)
            task(made, "notify", TaskStatus.FAILED if status == RunStatus.FAILED
                 else TaskStatus.COMPLETED, start=9, took=4, attempt=1 + hour % 3)  # fmt: skip
    worker(WorkerState.DRAINING, age=3, hostname="app-2", pid=912)
    worker(WorkerState.DEAD, age=360, hostname="app-3", pid=77, version="0.0.9")
    run("invoice_pipeline", RunStatus.PAUSED, age=1800, paused_at=moment(1500), paused_by="ana",
        pause_reason="the bank is closed")  # fmt: skip
    plan = (
        ("nightly", "30 2 * * *", -5000),
        ("hourly", "0 * * * *", -900),
        ("late", "5 * * * *", 700),
    )
    for name, expression, ago in plan:
        CronSchedule.objects.create(
            name=name, workflow_name="customer_etl", cron_expression=expression,
            timezone="Europe/Berlin", next_run_at=moment(ago), created_at=moment(0),
            updated_at=moment(0),
        )  # fmt: skip
