"""What a worker asks of the database when its tenants have nothing to do, however many."""

from __future__ import annotations

import threading
from collections import Counter

import pytest

from cloaca_django.dialect import trunk
from cloaca_django.engine import registers, visits
from tests.interface.conftest import until
from tests.tenants.workers import make_worker, quick

__all__ = ["make_worker", "quick"]


@pytest.fixture
def transactions(monkeypatch):
    """Count the transactions of trunks, by schema."""
    counts = Counter()
    begin = trunk.TenantTransport._begin

    def counted(self, *, durable):
        counts[self.schema] += 1
        begin(self, durable=durable)

    monkeypatch.setattr(trunk.TenantTransport, "_begin", counted)
    return counts


def watched(worker, transactions, walks):
    """Count the transactions of so many visits of an idle worker."""
    until(worker.is_idle)
    done = threading.Event()
    left = [walks]
    step = worker._walk.step

    def counted():
        walked = step()
        left[0] -= 1
        if not left[0]:
            done.set()
        return walked

    transactions.clear()
    worker._walk.step = counted
    worker.wake()
    assert done.wait(20)
    return dict(transactions)


def test_an_idle_worker_asks_no_more_of_many_tenants_than_of_few(
    make_tenants, make_worker, transactions, monkeypatch, quick
):
    monkeypatch.setattr(visits, "VISIT_SECONDS", 0.02)
    monkeypatch.setattr(registers, "REFRESH_SECONDS", 3600.0)
    make_tenants(40)
    few = make_worker(only=frozenset({"t1", "t2", "t3"}), fires=True)
    of_few = watched(few, transactions, 20)
    few.stop(grace=0)
    many = make_worker(fires=True)
    of_many = watched(many, transactions, 20)
    # One transaction a visit, and nothing by the heartbeats, which beat several times meanwhile.
    assert sum(of_few.values()) in {19, 20, 21}
    assert sum(of_many.values()) in {19, 20, 21}
    assert set(of_few) == {"t1", "t2", "t3"}
    assert len(of_many) >= 19, "each visit is another tenant's"
    assert many.holdings() == []
