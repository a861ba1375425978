"""EAGER: a run is driven to its end at once, on the caller's connection. For tests.

The same submit, claim and settle as in production. What differs: each body runs in a savepoint,
retries and polls move a virtual clock instead of sleeping, and time limits are not enforced.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime, timedelta
from uuid import UUID

from asgiref.sync import async_to_sync
from django.db import connections as site_connections
from django.db import transaction

from cloaca_django import ids, tenancy
from cloaca_django.core import registry
from cloaca_django.core.context import Context
from cloaca_django.dialect import Session, schemas, site_session, sql
from cloaca_django.engine import (
    capture,
    claiming,
    connections,
    execution,
    notices,
    operations,
    settlement,
    spans,
)
from cloaca_django.engine.execution import Job
from cloaca_django.engine.handle import AsyncTaskHandle, TaskHandle
from cloaca_django.engine.memory import Memory
from cloaca_django.engine.messages import Effects
from cloaca_django.engine.settlement import Outcome

BATCH = 50


class EagerHost:
    """What a handle asks for when nothing runs beside it. Time passes only here."""

    def __init__(self, alias: str, now: datetime) -> None:
        self.alias = alias
        self.schema = schemas.tenant_of(site_connections[alias])
        self.now = now
        self.outcomes: dict[int, Outcome] = {}

    def park(self, job: Job) -> bool:
        """Give no slot back: there is none to give."""
        return True

    def unpark(self, job: Job) -> None:
        """Take no slot."""

    def pause(self, job: Job, seconds: float) -> None:
        """Move the virtual clock."""
        self.now += timedelta(seconds=seconds)

    async def apause(self, job: Job, seconds: float) -> None:
        """Move the virtual clock, for an async body too."""
        self.pause(job, seconds)

    @contextmanager
    def completing(self, job: Job, context: Context) -> Iterator[None]:
        """Keep the block's writes in a savepoint, and the context at its end."""
        with transaction.atomic(using=self.alias):
            before = connections.open_blocks()
            yield
            connections.check_ended(job.task.name, before)
        self.outcomes[job.task_id] = execution.outcome_of(job, context, None)


def drain(alias: str, run_ids: list[UUID]) -> None:
    """Drive runs until nothing of them can run any more."""
    session = site_session(alias)
    host = EagerHost(alias, session.clock())
    memory = Memory(0)
    # In production workers write the limits that admission counts by.
    limited = [w for w in registry.snapshot().values() if w.max_running is not None]
    operations.save_definitions(session, limited)
    capture.install()
    try:
        while _step(session, host, memory, run_ids):
            pass
    finally:
        capture.remove()


def _step(session: Session, host: EagerHost, memory: Memory, run_ids: list[UUID]) -> bool:
    session.now = host.now
    token, worker = ids.new_token(), ids.new_token()
    with session.transaction():
        operations.admit(session)
        claims = session.claim_own(run_ids, token=token, worker=worker, room=BATCH)
    if not claims:
        return _advance_clock(session, host, run_ids)
    claimed, broken = claiming.assign(session, claims, memory, token=token)
    with session.transaction():
        outcomes = list(map(execution.unreadable, broken))
        settlement.settle(session, outcomes, memory, worker=worker, wait=True)
    for assignment in claimed:
        state = assignment.state
        task = registry.find(state.workflow_name).task(state.tasks[assignment.position].name)
        outcome = _perform(execution.job_for(assignment, task), host)
        session.now = host.now
        with session.transaction():
            settled = settlement.settle(session, [outcome], memory, worker=worker, wait=True)
        notices.publish(Effects(settled))
    return True


def _advance_clock(session: Session, host: EagerHost, run_ids: list[UUID]) -> bool:
    """Move the clock to the next retry or delayed start; False when there is none."""
    seconds = session.run(sql.next_due, [(id,) for id in run_ids])[0][0]
    if seconds is None:
        return False
    host.now += timedelta(seconds=max(0.0, float(seconds)) + 0.002)
    session.now = host.now
    with session.transaction():
        session.run(sql.promote_due)
    return True


def _perform(job: Job, host: EagerHost) -> Outcome:
    handle: TaskHandle | None = None
    if job.task.wants_handle:
        handle = AsyncTaskHandle(job, host) if job.task.is_async else TaskHandle(job, host)
    outcome = _in_savepoint(job, host, handle)
    if handle is not None:
        handle.consume()
    return host.outcomes.pop(job.task_id, outcome)


def _in_savepoint(job: Job, host: EagerHost, handle: TaskHandle | None) -> Outcome:
    """Run a body; what a failed one wrote is rolled back, as its own transaction would be."""
    with transaction.atomic(using=host.alias):
        connection = site_connections[host.alias]
        mark = str(connection.savepoint())
        before = connections.open_blocks()
        # As a worker's thread, it is brought back from wherever a body leaves it.
        inside = tenancy.entered(host.alias, host.schema) if host.schema else nullcontext()
        with inside, spans.around(job, schema=host.schema):
            if job.task.is_async:
                # What it asks of Django is done on this thread, and so in the savepoint.
                outcome = async_to_sync(execution.perform_async)(job, handle, before)
            else:
                outcome = execution.perform(job, handle)
            spans.came_to(job, outcome)
        connections.unwind(before)
        if outcome.failure is not None:
            # An inner atomic block that failed asks for a rollback; the savepoint is that.
            transaction.set_rollback(False, using=host.alias)
            connection.savepoint_rollback(mark)
        else:
            connection.savepoint_commit(mark)
    return outcome
