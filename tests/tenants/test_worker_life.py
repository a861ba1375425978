"""The life of a worker of tenants: whom it serves, where it is registered, what it leaves alone."""

from __future__ import annotations

import logging
import threading
import uuid
from functools import partial

import pytest
from django.db import connection

from cloaca_django import Context, DefaultRunner, TaskHandle, WorkflowBuilder, clock, signals, task
from cloaca_django.core import registry
from cloaca_django.engine import registers, tenant_turn, tenant_upkeep, visits
from cloaca_django.engine.retention import Keeper
from cloaca_django.models import CronSchedule, PipelineExecution, TaskLog
from tests.interface.conftest import gate, new_gate, until, workflows_of_test
from tests.tenants.conftest import in_tenant, marks_of
from tests.tenants.ledger.models import Mark
from tests.tenants.workers import (
    context_of,
    enqueue,
    enqueue_many,
    execute,
    in_thread,
    is_done,
    make_worker,
    quick,
    statuses,
    task_rows,
    trunk,
    workers_in,
)

__all__ = ["gate", "make_worker", "new_gate", "quick", "trunk", "workflows_of_test"]


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


def test_every_kind_of_work_is_done_in_each_tenant(make_tenants, make_worker):
    tenants = make_tenants(3)
    make_worker(concurrency=4)
    for tenant in tenants:
        for name in ("mark", "chain", "fan", "loop", "stumble", "nest"):
            enqueue(tenant, name, text=name)
    until(lambda: all(is_done(tenant) for tenant in tenants))
    # The nested run is one more.
    assert [statuses(tenant) for tenant in tenants] == [{"Completed": 7}] * 3
    for tenant in tenants:
        assert {name for name, _ in marks_of(tenant)} == {tenant.schema_name}


# -- whom it serves


def test_a_tenant_made_while_the_worker_runs_is_served_within_seconds(make_tenants, make_worker):
    make_tenants(1)
    worker = make_worker()
    until(worker.is_idle)
    began = clock.monotonic()
    (tenant,) = make_tenants(1)
    enqueue(tenant, "mark", text="x")
    until(lambda: is_done(tenant))
    assert clock.monotonic() - began < 6


def test_only_the_tenants_that_are_asked_for_are_served(make_tenants, make_worker):
    a, b, c, d = make_tenants(4)
    make_worker(only=frozenset({"t1", "t2"}), excluded=frozenset({"t2"}))
    make_worker(excluded=frozenset({"t1", "t2", "t3"}))
    for tenant in (a, b, c, d):
        enqueue(tenant, "mark", text="x")
    until(lambda: is_done(a) and is_done(d))
    assert statuses(b) == statuses(c) == {"Running": 1} or statuses(b) == statuses(c)
    assert marks_of(b) == marks_of(c) == set()


@pytest.mark.usefixtures("quick", "brisk", "workflows_of_test")
def test_a_tenant_that_is_dropped_is_nothing_to_warn_of(
    make_tenants, make_worker, gate, caplog, monkeypatch
):
    # Its schema goes a moment before its row.
    monkeypatch.setattr(registers, "REFRESH_SECONDS", 2.0)
    gated(gate)
    gone, idle, stays = make_tenants(3)
    worker = make_worker()
    enqueue(gone, "gated")
    gate.await_arrival()
    until(lambda: worker.is_idle() or worker.running)
    caplog.clear()
    gone.delete(force_drop=True)
    idle.delete(force_drop=True)
    until(lambda: not {"t1", "t2"} & set(worker._register.admitted()))
    gate.open()
    until(lambda: not worker.crew.slots.load)
    enqueue(stays, "gated")
    until(lambda: is_done(stays))
    assert worker_records(caplog) == []
    assert worker.running == 0


def test_pending_migrations_are_named_once_and_the_tenant_is_served_after_they_are_applied(
    make_tenants, make_worker, caplog, brisk
):
    behind, other = make_tenants(2)
    undo = "WITH gone AS (DELETE FROM t1.django_migrations WHERE app = 'cloaca_django' RETURNING *)"
    execute(f"CREATE TABLE public.kept AS SELECT * FROM t1.django_migrations WHERE {'true'}")
    try:
        execute(f"{undo} SELECT 1 FROM gone")
        worker = make_worker()
        enqueue(behind, "mark", text="x")
        enqueue(other, "mark", text="x")
        until(lambda: is_done(other))
        until(lambda: len(worker_records(caplog)) == 1)
        until(lambda: worker._rounds > 30)
        assert worker.skipped() == {"t1": "migrations are not applied: 0001_initial"}
        assert worker_records(caplog) == [
            "schema 't1' is skipped: migrations are not applied: 0001_initial"
        ]
        execute(
            "INSERT INTO t1.django_migrations OVERRIDING SYSTEM VALUE"
            " SELECT * FROM public.kept WHERE app = 'cloaca_django'"
        )
    finally:
        execute("DROP TABLE public.kept")
    until(lambda: is_done(behind))
    assert worker.skipped() == {}


def test_a_tenant_whose_tables_are_not_in_order_keeps_nobody_waiting(
    make_tenants, make_worker, caplog, brisk
):
    broken, other = make_tenants(2)
    execute("ALTER TABLE t1.cloaca_run DROP COLUMN deadline_at")
    worker = make_worker()
    until(lambda: "t1" in worker.skipped())
    rounds = worker._rounds
    began = clock.monotonic()
    for number in range(5):
        enqueue(other, "mark", text=str(number))
        until(lambda: is_done(other))
    assert clock.monotonic() - began < 2.5, "the loop sleeps for a tenant that is broken"
    assert worker._rounds > rounds
    assert len(worker_records(caplog)) == 1
    assert broken.schema_name in worker_records(caplog)[0]


def test_a_burst_ends_though_a_tenant_is_not_in_order(make_tenants, make_worker, brisk):
    make_tenants(2)
    execute("ALTER TABLE t1.cloaca_run DROP COLUMN deadline_at")
    worker = make_worker()
    until(lambda: "t1" in worker.skipped())
    until(lambda: worker.is_idle() and not in_thread(worker.has_work))


def test_what_a_tenant_has_to_do_is_found_by_a_visit_if_nobody_announced_it(
    make_tenants, make_worker, brisk
):
    (tenant,) = make_tenants(1)
    enqueue(tenant, "mark", text="x")
    execute("UPDATE t1.cloaca_task SET status = 'Held' WHERE status = 'Ready'")
    worker = make_worker()
    until(worker.is_idle)
    execute("UPDATE t1.cloaca_task SET status = 'Ready' WHERE status = 'Held'")
    until(lambda: is_done(tenant))


# -- where it is registered


def test_a_worker_has_a_row_only_where_it_has_work_and_leaves_after_quiet_time(
    make_tenants, make_worker, brisk, quick
):
    busy, idle = make_tenants(2)
    worker = make_worker(fires=True)
    enqueue(busy, "mark", text="x")
    until(lambda: is_done(busy))
    until(lambda: set(workers_in(busy).values()) == {"Stopped"})
    (first,) = workers_in(busy)
    assert workers_in(idle) == {}
    assert worker.holdings() == []
    enqueue(busy, "mark", text="y")
    until(lambda: is_done(busy))
    until(lambda: sorted(workers_in(busy).values()) == ["Stopped", "Stopped"])
    assert first in workers_in(busy), "a row that stopped never comes back"


def test_a_row_is_not_left_while_the_heartbeat_renews_it(
    make_tenants, make_worker, brisk, monkeypatch
):
    (tenant,) = make_tenants(1)
    worker = make_worker()
    enqueue(tenant, "mark", text="x")
    until(lambda: is_done(tenant))
    turn = worker.turn_in("t1")
    with turn.registration:
        held = worker._rounds
        until(lambda: worker._rounds > held + 8)
        assert turn.is_enlisted
        assert set(workers_in(tenant).values()) == {"Alive"}
    until(lambda: set(workers_in(tenant).values()) == {"Stopped"})


def test_another_worker_that_hears_of_a_tenant_is_not_registered_for_a_look_alone(
    make_tenants, make_worker, gate, workflows_of_test, brisk
):
    gated(gate)
    make_tenants(1)
    make_worker(fires=True, concurrency=1)
    other = make_worker(fires=True, workflows=frozenset({"mark"}))
    until(other.is_idle)
    turn = other.turn_in("t1")
    execute("SELECT pg_notify('cloaca', 't1;')")
    rounds = other._rounds
    until(lambda: other._rounds > rounds + 3)
    until(other.is_idle)
    assert not turn.is_enlisted


def test_who_supervises_hears_of_a_row_before_anything_is_claimed_under_it(
    make_tenants, make_worker, gate, workflows_of_test
):
    gated(gate)
    (tenant,) = make_tenants(1)
    told = []

    def report(shift):
        told.append([(one.schema, one.worker) for one in shift.holdings()])

    make_worker(report=report)
    enqueue(tenant, "gated")
    gate.await_arrival()
    (row,) = task_rows(tenant)
    assert [("t1", row.worker_id)] in told


def test_a_row_that_lapsed_is_replaced_once_and_its_task_is_let_go(
    make_tenants, make_worker, gate, workflows_of_test, caplog
):
    gated(gate)
    (tenant,) = make_tenants(1)
    worker = make_worker(report=lambda shift: None)
    enqueue(tenant, "gated")
    gate.await_arrival()
    turn = worker.turn_in("t1")
    old = turn.claimer.worker
    assert not in_thread(lambda: worker.replace("t1", uuid.uuid4()))
    assert in_thread(lambda: worker.replace("t1", old))
    assert turn.claimer.worker != old
    assert workers_in(tenant)[turn.claimer.worker] == "Alive"
    assert not in_thread(lambda: worker.replace("t1", old))


def test_a_stop_says_so_wherever_the_worker_is_registered_though_a_tenant_is_gone(
    make_tenants, make_worker
):
    a, b, c = make_tenants(3)
    worker = make_worker(report=lambda shift: None)
    for tenant in (a, b, c):
        enqueue(tenant, "mark", text="x")
    until(lambda: all(map(is_done, (a, b, c))))
    # Past the register, which would let go of it.
    execute("DROP SCHEMA t1 CASCADE")
    worker.stop(grace=1)
    assert set(workers_in(b).values()) == set(workers_in(c).values()) == {"Stopped"}


# -- what is handed back


def test_a_stop_hands_the_claims_of_every_tenant_back_where_they_are(
    make_tenants, make_worker, new_gate, workflows_of_test
):
    gate = new_gate()
    gated(gate)
    tenants = make_tenants(3)
    worker = make_worker(concurrency=1)
    # Tasks were short so far: some are claimed ahead of the one slot.
    for tenant in tenants:
        worker.turn_in(tenant.schema_name)._pace.note(0.001)
    for tenant in tenants:
        enqueue_many(tenant, "gated", 2)
    gate.await_arrival()
    until(lambda: worker.running >= 4 and len({t for t in worker.turns() if t.running}) > 1)
    threading.Timer(0.5, gate.open).start()
    worker.stop(grace=0)
    for tenant in tenants:
        for row in task_rows(tenant):
            assert row.status in {"Ready", "Completed"}, row.status
            assert row.worker_id is None or row.status == "Completed"


def test_no_more_tasks_are_claimed_than_the_worker_may_do_at_all(make_tenants, make_worker):
    tenants = make_tenants(3)
    worker = make_worker(concurrency=4)
    worker.set_budget(0)
    for tenant in tenants:
        enqueue_many(tenant, "mark", 5)
    until(worker._register.admitted)
    worker.set_budget(7)
    worker.wake()
    for tenant in tenants:
        worker.turn_in(tenant.schema_name).wake()
    until(worker.is_over_budget)
    assert worker.settled_tasks == 7


def test_what_a_dead_worker_left_is_taken_back_though_nobody_is_registered_there(
    make_tenants, make_worker, quick
):
    (tenant,) = make_tenants(1)
    enqueue(tenant, "mark", text="x")
    execute(
        "UPDATE t1.cloaca_task SET status = 'Running', claimed_at = now(),"
        " claim_token = gen_random_uuid(), worker_id = gen_random_uuid() WHERE status = 'Ready'"
    )
    make_worker()
    until(lambda: is_done(tenant))


def test_a_tenant_whose_tables_are_locked_does_not_cost_the_others_their_leases(
    make_tenants, make_worker, gate, workflows_of_test, quick
):
    gated(gate)
    marking()
    locked, other = make_tenants(2)
    worker = make_worker(concurrency=4)
    enqueue(locked, "gated")
    enqueue(other, "gated")
    gate.await_arrival(2)
    assert [turn.schema for turn in worker.turns()] == ["t1", "t2"], "the locked one comes first"
    is_locked, may_end = threading.Event(), threading.Event()

    def lock():
        with connection.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE t1.cloaca_worker IN ACCESS EXCLUSIVE MODE")
            is_locked.set()
            may_end.wait(20)
            cursor.execute("ROLLBACK")
            return True

    holder = threading.Thread(target=lambda: in_thread(lock))
    holder.start()
    try:
        assert is_locked.wait(10)
        (since,) = execute("SELECT max(heartbeat_at) FROM t2.cloaca_worker")[0]
        until(
            lambda: (
                execute("SELECT count(*) FROM t2.cloaca_worker WHERE heartbeat_at > %s", since)
                == [(1,)]
            )
        )
        enqueue(other, "beside", text="x")
        until(lambda: marks_of(other))
    finally:
        may_end.set()
        holder.join(20)
    gate.open()
    until(lambda: is_done(locked) and is_done(other))


def test_old_runs_are_deleted_in_every_tenant_and_one_with_many_is_not_left_early(
    make_tenants, trunk, settings, monkeypatch
):
    settings.CLOACA = {"RETENTION_DAYS": 1}
    tenants = make_tenants(2)
    for tenant in tenants:
        enqueue_many(tenant, "mark", 5)
    for name in ("t1", "t2"):
        execute(
            f"UPDATE {name}.cloaca_run SET status = 'Completed', "
            " finished_at = now() - interval '3 d'"
        )
    monkeypatch.setattr("cloaca_django.engine.retention.BEAT_SECONDS", 0.0001)
    monkeypatch.setattr(tenant_upkeep, "Keeper", partial(Keeper, batch_size=1))
    monkeypatch.setattr(tenant_upkeep, "RETENTION_SECONDS", 0)
    upkeep = tenant_upkeep.TenantUpkeep("default")
    monkeypatch.setattr(tenant_upkeep, "RETENTION_SECONDS", 1000)
    until(lambda: upkeep.tend(trunk, ["t1", "t2"]) or statuses(tenants[0]) == {})
    for _ in range(5):
        upkeep.tend(trunk, ["t1", "t2"])
    assert statuses(tenants[1]) == {"Completed": 5}, "the next one has its time later"
    upkeep._next_keep = 0.0
    until(lambda: upkeep.tend(trunk, ["t1", "t2"]) or statuses(tenants[1]) == {})


def test_nobody_is_swept_who_is_not_watched(make_tenants, trunk, monkeypatch, settings):
    settings.CLOACA = {"SWEEP_SECONDS": 0.05, "RETENTION_DAYS": None}
    make_tenants(2)
    swept = []
    upkeep = tenant_upkeep.TenantUpkeep("default")
    monkeypatch.setattr(
        "cloaca_django.engine.recovery.sweep",
        lambda session, **facts: swept.append(session.schema) or _nothing(),
    )
    upkeep.watch("t2")
    until(lambda: upkeep.tend(trunk, ["t1", "t2"]) or swept)
    assert swept == ["t2"]
    # Nothing is left to watch for: it is not swept again.
    assert upkeep._watched == {}


def _nothing():
    from cloaca_django.engine.settlement import Settled

    return Settled()


# -- nested runs, time limits, signals


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
