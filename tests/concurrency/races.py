"""What the races have in common: outcomes that wait to be settled, and one settle of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from django.db import connection

from cloaca_django.dialect import Session
from cloaca_django.engine import settlement
from cloaca_django.engine.memory import Memory
from cloaca_django.engine.settlement import Outcome, Settled
from tests.crash.world import LogicalWorker

ONE_WRITER = pytest.mark.skipif(
    connection.vendor == "sqlite",
    reason="SQLite has one writer at a time: two open write transactions cannot meet",
)
MANY_WRITERS = pytest.mark.skipif(
    connection.vendor != "sqlite", reason="about SQLite's single writer"
)


def ended(worker: LogicalWorker) -> list[Outcome]:
    """Run what a worker claimed; returns the outcomes that its next turn would settle."""
    worker.run_all()
    worker.turn._collect()
    outcomes: list[Outcome] = worker.turn.batch.outcomes
    return outcomes


def settle(session: Session, outcomes: Sequence[Outcome]) -> Settled:
    """Settle outcomes in one transaction."""
    with session.transaction():
        return settlement.settle(session, outcomes, Memory(0), worker=None)


def settle_all(session: Session, outcomes: Sequence[Outcome]) -> int:
    """Settle outcomes, those of locked runs again and again; returns how many were accepted."""
    accepted = 0
    while outcomes:
        settled = settle(session, outcomes)
        accepted += len(settled.accepted)
        outcomes = settled.waiting
    return accepted
