"""The life of a worker of tenants: whom it serves, where it is registered, what it leaves alone."""

from __future__ import annotations

from tests.interface.conftest import until
from tests.tenants.workers import (
    enqueue,
    enqueue_many,
    is_done,
    make_worker,
    statuses,
)

__all__ = ["make_worker"]


def test_every_kind_of_work_is_done_in_each_tenant(make_tenants, make_worker):
    tenants = make_tenants(3)
    make_worker(concurrency=4)
    for tenant in tenants:
        for name in ("mark", "chain", "fan", "loop", "stumble", "nest"):
            enqueue(tenant, name, text=name)
    until(lambda: all(is_done(tenant) for tenant in tenants))
    # The nested run is one more.
    assert [statuses(tenant) for tenant in tenants] == [{"Completed": 7}] * 3


def test_many_runs_of_many_tenants(make_tenants, make_worker):
    tenants = make_tenants(20)
    for tenant in tenants:
        enqueue_many(tenant, "chain", 20)
    make_worker(concurrency=4)
    until(lambda: all(is_done(tenant) for tenant in tenants))
