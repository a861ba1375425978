"""Whom a worker of tenants serves: new ones, dropped ones, and those that are not in order."""

from __future__ import annotations

import pytest

from cloaca_django import clock
from cloaca_django.engine import registers
from tests.interface.conftest import gate, until, workflows_of_test
from tests.tenants.conftest import marks_of
from tests.tenants.workers import (
    brisk,
    enqueue,
    execute,
    gated,
    in_thread,
    is_done,
    make_worker,
    quick,
    statuses,
    worker_records,
)

__all__ = ["brisk", "gate", "make_worker", "quick", "workflows_of_test"]


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
    execute("CREATE TABLE public.kept AS SELECT * FROM t1.django_migrations")
    try:
        enqueue(behind, "mark", text="x")
        execute(f"{undo} SELECT 1 FROM gone")
        worker = make_worker()
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
