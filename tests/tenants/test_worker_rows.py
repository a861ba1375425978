"""Where a worker of tenants is registered, and who hears of it."""

from __future__ import annotations

import uuid

from tests.interface.conftest import gate, until, workflows_of_test
from tests.tenants.workers import (
    brisk,
    enqueue,
    execute,
    gated,
    in_thread,
    is_done,
    make_worker,
    quick,
    task_rows,
    workers_in,
)

__all__ = ["brisk", "gate", "make_worker", "quick", "workflows_of_test"]


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
