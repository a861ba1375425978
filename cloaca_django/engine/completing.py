"""Settle inside user code's own transaction: ``@task(atomic=True)`` and ``handle.completing()``.

The user's writes come first, then the run's lock and the guarded update, then one COMMIT. Either
all of it is true or nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db import transaction

from cloaca_django.core.context import Context
from cloaca_django.core.states import TaskStatus
from cloaca_django.dialect import (
    Session,
    is_disconnected,
    is_transient,
    open_session,
    site_session,
    sql,
)
from cloaca_django.engine import connections, execution
from cloaca_django.engine.capture import current_job
from cloaca_django.engine.execution import Job
from cloaca_django.engine.memory import Memory
from cloaca_django.engine.settlement import Outcome, Settled, settle
from cloaca_django.errors import NotInTenant, TaskFenced

logger = logging.getLogger("cloaca_django.task")


def perform_atomic(job: Job, handle: Any, *, alias: str, worker: UUID | None) -> Outcome:
    """Run a task's body inside the transaction that completes it."""
    execution.begin(job)
    mark = current_job.set(job)
    context = Context.trusted(job.seen)
    try:
        with completing(job, alias=alias, worker=worker, durable=True) as finish:
            finish(execution.completed(job, context, execution.call(job, context, handle)))
    except BaseException as error:
        if job.settled is None:
            return execution.failed(job, error)
    finally:
        current_job.reset(mark)
    return result(job, job.outcome(TaskStatus.COMPLETED))


def result(job: Job, outcome: Outcome) -> Outcome:
    """Return the outcome that counts: the one a job settled itself, or else ``outcome``.

    What the body did after its completing block is too late; it is logged.
    """
    if job.settled is None:
        return outcome
    counted = (job.settled.accepted or job.settled.fenced)[0]
    if outcome.failure is not None or (outcome.writes and outcome.writes != counted.writes):
        logger.error(
            "task %s changed its context or failed after it had completed; that is lost",
            job.task.name, extra={"run_id": str(job.run_id), "task": job.task.name},
        )  # fmt: skip
    return counted


@contextmanager
def completing(job: Job, *, alias: str, worker: UUID | None, durable: bool) -> Iterator[Any]:
    """Open the transaction; the yielded function settles, and leaving the block commits.

    Afterwards ``job.settled`` says what became true. A refused claim rolls everything back.
    """
    pending: list[Outcome] = []
    before: connections.Depths = {}

    def finish(outcome: Outcome) -> None:
        connections.check_ended(job.task.name, before)
        session = _session_at_home(job, alias)
        settled = settle(session, [outcome], Memory(0), worker=worker, wait=True)
        pending.append(outcome)
        if not settled.accepted:
            raise TaskFenced(job.task.name)
        job.settled = settled

    try:
        with transaction.atomic(using=alias, durable=durable):
            before = connections.open_blocks()
            yield finish
    except TaskFenced:
        job.settled = Settled(fenced=pending)
        raise
    except BaseException as error:
        settled, job.settled = job.settled, None
        if settled is not None and (is_disconnected(error) or is_transient(error)):
            # COMMIT was sent and its reply lost: the row tells. Never run the body again here.
            job.settled = resolve(alias, settled, pending[0], schema=_schema(job))
        if job.settled is None:
            raise


def _session_at_home(job: Job, alias: str) -> Session:
    """Return a session on the body's connection. Raises NotInTenant if it left its run's tenant.

    Its writes are there, and another run may have a task of the same number there.
    """
    session, schema = site_session(alias), _schema(job)
    if schema and session.schema != schema:
        raise NotInTenant(schema, f"the task left its connection in {session.schema!r}")
    return session


def _schema(job: Job) -> str:
    return job.host.schema if job.host is not None else ""


def resolve(alias: str, settled: Settled, outcome: Outcome, *, schema: str = "") -> Settled | None:
    """Read what became of a commit with an unknown outcome; None when it did not happen."""
    session = open_session(alias, schema=schema)
    try:
        found = session.run(sql.resolve_tokens, [(outcome.task_id,)])
    finally:
        session.close()
    for _, token, status in found:
        if token is not None and session.uuid(token) == outcome.token:
            if status == outcome.status:
                return settled
            if status == TaskStatus.RUNNING:
                return None
    return Settled(fenced=[outcome])
