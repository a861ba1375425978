"""What a worker of tenants hands back, takes back, renews and deletes, in each of them."""

from __future__ import annotations

import threading
from functools import partial

import psycopg
from django.db import connection

from cloaca_django.dialect.trunk import TenantTransport
from cloaca_django.engine import tenant_upkeep, visits
from cloaca_django.engine.retention import Keeper
from tests.interface.conftest import gate, new_gate, until, workflows_of_test
from tests.tenants.conftest import marks_of
from tests.tenants.workers import (
    enqueue,
    enqueue_many,
    execute,
    gated,
    in_thread,
    is_done,
    make_worker,
    marking,
    quick,
    statuses,
    task_rows,
    trunk,
)

__all__ = ["gate", "make_worker", "new_gate", "quick", "trunk", "workflows_of_test"]


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
    tenants = make_tenants(2)
    worker = make_worker(concurrency=4)
    for tenant in tenants:
        enqueue(tenant, "gated")
    gate.await_arrival(2)
    # The one whose turn the heartbeat comes to first.
    first = next(turn.schema for turn in worker.turns())
    locked, other = sorted(tenants, key=lambda tenant: tenant.schema_name != first)
    table = f"{other.schema_name}.cloaca_worker"
    is_locked, may_end = threading.Event(), threading.Event()

    def lock():
        with connection.cursor() as cursor:
            cursor.execute(f"BEGIN; LOCK TABLE {first}.cloaca_worker IN ACCESS EXCLUSIVE MODE")
            is_locked.set()
            may_end.wait(20)
            cursor.execute("ROLLBACK")
            return True

    holder = threading.Thread(target=lambda: in_thread(lock))
    holder.start()
    try:
        assert is_locked.wait(10)
        (since,) = execute(f"SELECT max(heartbeat_at) FROM {table}")[0]
        renewed = f"SELECT count(*) FROM {table} WHERE heartbeat_at > %s + interval '0.5 s'"
        until(lambda: execute(renewed, since) == [(1,)])
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


def test_a_retry_is_not_forgotten_whose_outcome_was_committed_and_its_reply_lost(
    make_tenants, make_worker, monkeypatch
):
    monkeypatch.setattr(visits, "VISIT_SECONDS", 3600)
    (tenant,) = make_tenants(1)
    worker = make_worker(report=lambda shift: None)
    until(worker.is_idle)
    lost, commit = [], TenantTransport._commit
    scheduled = "SELECT 1 FROM t1.cloaca_task WHERE status = 'Scheduled'"

    def answer(self):
        commit(self)
        if not lost and in_thread(lambda: execute(scheduled)):
            lost.append(self.schema)
            self.connection.close()
            raise psycopg.OperationalError("the reply was lost")

    monkeypatch.setattr(TenantTransport, "_commit", answer)
    enqueue(tenant, "stumble", text="x")
    until(lambda: is_done(tenant))
    assert lost == ["t1"]
