"""How tenants share the slots of a worker: nobody waits behind what another has queued."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from cloaca_django import Context, WorkflowBuilder, task
from cloaca_django.engine import agenda, claiming
from cloaca_django.engine.tenant_worker import TenantWorker
from tests.interface.conftest import never, until, workflows_of_test
from tests.tenants.workers import enqueue, enqueue_many, is_done, make_worker

__all__ = ["make_worker", "workflows_of_test"]


class Floor:
    """Where tasks begin and wait until they may end, one by one or all."""

    def __init__(self):
        self.began: list[str] = []
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self._permits = threading.Semaphore(0)
        self._lock = threading.Lock()

    def cross(self, tenant):
        with self._lock:
            self.began.append(tenant)
            self.running[tenant] += 1
            self.most[tenant] = max(self.most[tenant], self.running[tenant])
        assert self._permits.acquire(timeout=20)
        with self._lock:
            self.running[tenant] -= 1

    def let(self, count=1):
        self._permits.release(count)


@pytest.fixture
def floor(workflows_of_test, monkeypatch):
    # However soon the test lets a task end: none is claimed ahead of the slots.
    monkeypatch.setattr(agenda, "PREFETCH_SECONDS", 0.0)
    made = Floor()
    with WorkflowBuilder("w"):

        @task(id="w", retry_attempts=1)
        def w(context: Context) -> None:
            made.cross(context["tenant"])

    yield made
    made.let(10_000)


def test_the_next_free_slot_is_for_who_waits_and_not_for_who_has_more_queued(
    make_tenants, make_worker, floor
):
    big, small = make_tenants(0, "big", "small")
    worker = make_worker(concurrency=4)
    enqueue_many(big, "w", 40)
    until(lambda: len(floor.began) == 4)
    enqueue(small, "w")
    until(lambda: "small" in list(worker._rotation.hungry()))
    floor.let()
    until(lambda: len(floor.began) == 5)
    assert floor.began == ["big"] * 4 + ["small"]
    floor.let(100)
    until(lambda: is_done(big) and is_done(small))


def test_a_tenant_alone_has_all_slots_and_half_of_them_while_another_waits(
    make_tenants, make_worker, floor
):
    first, second = make_tenants(0, "first", "second")
    worker = make_worker(concurrency=4)
    enqueue_many(first, "w", 30)
    until(lambda: floor.running["first"] == 4)
    enqueue_many(second, "w", 30)
    until(lambda: "second" in list(worker._rotation.hungry()))
    for count in range(5, 13):
        floor.let()
        until(lambda count=count: len(floor.began) == count)
        assert floor.running["first"] >= 1
    assert floor.most["second"] == 2
    # Whichever of both the semaphore let go: over the rounds each has its half.
    assert floor.began[4:6] == ["second", "second"]


def test_more_tenants_than_slots_have_a_slot_in_turns(make_tenants, make_worker, floor):
    tenants = make_tenants(6)
    worker = make_worker(concurrency=2)
    worker.set_budget(0)
    for tenant in tenants:
        enqueue_many(tenant, "w", 4)
    until(lambda: len(worker._register.admitted()) == 6)
    worker.set_budget(None)
    for turn in worker.turns():
        turn.wake()
    for count in range(2, 24):
        until(lambda count=count: len(floor.began) >= count)
        floor.let()
    until(lambda: len(floor.began) == 24)
    rounds = [Counter(floor.began[at : at + 6]) for at in range(0, 24, 6)]
    # Nobody has a third before everybody has had a first; the two slots blur the rounds by one.
    seen = Counter()
    for one in floor.began:
        seen[one] += 1
        assert seen[one] - min(seen[tenant.schema_name] for tenant in tenants) <= 2, rounds


def test_no_tenant_ever_has_more_than_its_limit(make_tenants, make_worker, floor):
    tenants = make_tenants(3)
    worker = make_worker(concurrency=8, limit=2)
    for tenant in tenants:
        enqueue_many(tenant, "w", 8)
    until(lambda: len(floor.began) == 6)
    never(lambda: len(floor.began) > 6, 0.2)
    # Short as they are from now on: nothing is claimed ahead of the limit either.
    floor.let(10_000)
    until(lambda: all(map(is_done, tenants)))
    assert floor.most == {"t1": 2, "t2": 2, "t3": 2}
    assert worker.settled_tasks == 24


@pytest.fixture
def events(monkeypatch):
    """What a worker heard of, and which tenants' tasks it claimed, in order."""
    seen: list[tuple[str, str]] = []
    claim, heard = claiming.claim, TenantWorker._heard

    def claimed(session, claimer, **facts):
        found = claim(session, claimer, **facts)
        if found:
            seen.append(("claims of", session.schema))
        return found

    def hear(self, schema, news):
        seen.append(("heard of", schema))
        heard(self, schema, news)

    monkeypatch.setattr(claiming, "claim", claimed)
    monkeypatch.setattr(TenantWorker, "_heard", hear)
    return seen


def test_a_flood_of_short_tasks_that_are_claimed_ahead_keeps_no_other_out(
    make_tenants, make_worker, workflows_of_test, events
):
    with WorkflowBuilder("nothing"):

        @task(id="nothing")
        def nothing(context: Context) -> None:
            """Do nothing."""

    big, *small = make_tenants(1, "big")
    enqueue_many(big, "nothing", 2500)
    worker = make_worker(concurrency=4)
    until(lambda: worker._shares.pace.prefetch() > 0 and worker.settled_tasks > 50)
    for tenant in small:
        enqueue(tenant, "nothing")
        until(lambda tenant=tenant: is_done(tenant))
    assert not is_done(big), "the flood was over before: this shows nothing"
    for tenant in small:
        since = events.index(("heard of", tenant.schema_name))
        until_then = events.index(("claims of", tenant.schema_name))
        # One that was on its way, and one before the slots it had taken ahead were free again.
        assert events[since:until_then].count(("claims of", "big")) <= 2
