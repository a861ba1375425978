"""What the races have in common: threads that halt, outcomes that wait, and one settle of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Self

import pytest
from django.db import connection, connections

from cloaca_django.dialect import Session
from cloaca_django.engine import settlement
from cloaca_django.engine.memory import Memory
from cloaca_django.engine.settlement import Outcome, Settled
from tests.crash.faults import Crash, Plan
from tests.crash.world import LogicalWorker

PATIENCE = 15.0
# What a worker does once it has locked the schedules that are due.
FIRES = "INSERT cloaca_fire"

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


class Halt:
    """A place where a thread stops until the test lets it go on."""

    def __init__(self) -> None:
        self._arrived = threading.Event()
        self._may_go_on = threading.Event()

    def here(self) -> None:
        """Stop the calling thread, the first time it comes by."""
        if not self._arrived.is_set():
            self._arrived.set()
            assert self._may_go_on.wait(PATIENCE), "nobody lets it go on"

    def before(self, point: str) -> Plan:
        """Return a plan of which connections stop here before they first do what it says."""
        return _HaltingPlan(self, point)

    def catch(self, worker: LogicalWorker, point: str, *, after: str = "") -> None:
        """Let a worker stop here before it does what ``point`` says, once it did ``after``."""
        worker.plan = _HaltingPlan(self, point, after)
        worker.turn.close()

    def await_arrival(self) -> None:
        """Wait until a thread has stopped here."""
        assert self._arrived.wait(PATIENCE), "nobody came"

    def go_on(self) -> None:
        """Let it go on."""
        self._may_go_on.set()


class _HaltingPlan(Plan):
    def __init__(self, halt: Halt, point: str, after: str = "") -> None:
        super().__init__()
        self._halt = halt
        self._point = point
        self._after = after

    def reach(self, point: str) -> Crash | None:
        if self._after:
            self._after = "" if point.startswith(self._after) else self._after
        elif point.startswith(self._point):
            self._halt.here()
        return None


class Beside:
    """A callable that runs on a thread of its own during the block, with its own connections."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._failed: list[BaseException] = []
        self._thread = threading.Thread(target=self._run, name="beside")

    def _run(self) -> None:
        try:
            self._function()
        except BaseException as error:  # raised again in the test's thread
            self._failed.append(error)
        finally:
            connections.close_all()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._thread.join(PATIENCE)

    def has_ended_within(self, seconds: float) -> bool:
        """Say whether it ends in so many seconds."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def await_end(self) -> None:
        """Wait for its end, and raise what it raised."""
        assert self.has_ended_within(PATIENCE), "it hangs"
        if self._failed:
            raise self._failed[0]
