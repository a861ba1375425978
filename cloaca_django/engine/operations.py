"""Off the path: what an operator may do to a run, a workflow or a worker.

Each function is one short transaction on a session of its own, never inside the caller's. It locks
the run's row first, checks its state, and raises InvalidTransition when the act makes no sense. Who
acts and why are words of the caller: InvalidOption when no column takes them.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace
from uuid import UUID

from cloaca_django import ids
from cloaca_django.core import options, registry
from cloaca_django.core.context import Context
from cloaca_django.core.progress import TASK_COLUMNS, restore
from cloaca_django.core.states import RUN_FINAL, Origin, RunStatus, TaskStatus
from cloaca_django.core.workflow import Workflow
from cloaca_django.dialect import Session, sql, sql_workers
from cloaca_django.dialect.rows import EndedRun, LockedRun
from cloaca_django.engine import inputs, notices, spans, submission
from cloaca_django.engine.submission import Options
from cloaca_django.errors import InvalidTransition, RunNotFound, WorkflowNotFound

logger = logging.getLogger("cloaca_django.run")

CHANGES = TASK_COLUMNS.index("changes")


def cancel(session: Session, run_id: UUID, *, by: str = "", reason: str = "") -> list[EndedRun]:
    """End a run as Cancelled, with the runs its tasks started; returns the runs ended.

    Open tasks become Cancelled; the outcome of code that is running now is refused.
    """
    inputs.check_words("cancel()", by=by, reason=reason)
    message = (
        f"{RunStatus.CANCELLED}" + (f" by {by}" if by else "") + (f": {reason}" if reason else "")
    )
    with session.transaction():
        run = _locked(session, run_id)
        if run.status in RUN_FINAL:
            raise InvalidTransition("run", run.status, RunStatus.CANCELLED)
        ended = end_runs(session, [run_id], status=RunStatus.CANCELLED, message=message)
    notices.publish_ended(ended)
    return ended


def end_runs(
    session: Session,
    run_ids: Collection[UUID],
    *,
    status: RunStatus,
    message: str,
    wait: bool = True,
) -> list[EndedRun]:
    """End open runs and the runs their tasks started; returns those ended.

    Without ``wait`` a run that somebody else holds is left out. Precondition: a transaction is
    open.
    """
    children = session.ids(sql_workers.children_of, ((id,) for id in run_ids))
    locked = session.lock_runs({*run_ids, *children}, wait=wait)
    still_open = [id for id, run in locked.items() if run.status not in RUN_FINAL]
    if not still_open:
        return []
    return session.end_runs(still_open, status=status, message=message, revision=ids.new_token())


def expire(session: Session) -> list[EndedRun]:
    """Fail the runs that are open past their deadline.

    Precondition: a transaction is open; the caller publishes the runs after its commit.
    """
    by_limit: dict[int, list[UUID]] = {}
    for run_id, seconds in session.run(sql.overdue_runs):
        by_limit.setdefault(round(float(seconds)), []).append(session.uuid(run_id))
    ended: list[EndedRun] = []
    for seconds, overdue in by_limit.items():
        message = f"Pipeline timeout after {seconds}s: the run was still open at its deadline"
        ended += end_runs(session, overdue, status=RunStatus.FAILED, message=message, wait=False)
    return ended


def pause(session: Session, run_id: UUID, *, by: str = "", reason: str = "") -> None:
    """Start no further task of a run; running ones finish."""
    inputs.check_words("pause()", by=by, reason=reason)
    with session.transaction():
        run = _locked(session, run_id)
        if run.status in RUN_FINAL or run.status == RunStatus.PAUSED:
            raise InvalidTransition("run", run.status, RunStatus.PAUSED)
        session.run(sql_workers.pause_runs, [(run_id,)], by=by, reason=reason)
        session.run(sql_workers.hold_tasks, [(run_id,)])
    _log("paused", [run_id], by)


def resume(session: Session, run_id: UUID, *, by: str = "") -> None:
    """Let a paused run go on."""
    inputs.check_words("resume()", by=by)
    with session.transaction():
        run = _locked(session, run_id)
        if run.status != RunStatus.PAUSED:
            raise InvalidTransition("run", run.status, RunStatus.RUNNING)
        session.run(sql_workers.resume_runs, [(run_id,)])
        session.run(sql_workers.release_held, [(run_id,)])
        session.announce()
    _log("resumed", [run_id], by)


def pause_workflow(session: Session, name: str, *, by: str = "", reason: str = "") -> None:
    """Start no task of a workflow's runs, present and future. Raises WorkflowNotFound."""
    inputs.check_words("pause_workflow()", by=by, reason=reason)
    registry.find(name)
    with session.transaction():
        session.run(sql_workers.pause_workflow, name=name, by=by, reason=reason)
    for hold in (sql_workers.hold_ready, sql_workers.hold_scheduled):
        while session.run(hold):
            pass
    logger.info("workflow paused", extra={"workflow": name, "by": by})


def resume_workflow(session: Session, name: str, *, by: str = "") -> None:
    """Let a workflow's runs go on, except those paused themselves. Raises WorkflowNotFound."""
    inputs.check_words("resume_workflow()", by=by)
    _check_known(session, name)
    with session.transaction():
        session.run(sql_workers.resume_workflow, name=name)
    held = session.ids(sql_workers.held_runs, name=name)
    for start in range(0, len(held), 500):
        with session.transaction():
            session.run(sql_workers.release_held, [(id,) for id in held[start : start + 500]])
            session.announce()
    logger.info("workflow resumed", extra={"workflow": name, "by": by})


def drain(session: Session, worker: UUID, *, by: str = "") -> bool:
    """Ask a worker to claim nothing more; what it runs goes on. False unless it is alive.

    It obeys at its next heartbeat, and stays so until it is started again.
    """
    inputs.check_words("drain()", by=by)
    asked = bool(session.run(sql_workers.drain_worker, worker=worker))
    if asked:
        logger.info("worker asked to drain", extra={"worker_id": str(worker), "by": by})
    return asked


def forget(session: Session, worker: UUID, *, by: str = "") -> bool:
    """Delete the row of a worker that has ended. False for one that lives or still owns tasks."""
    inputs.check_words("forget()", by=by)
    is_gone = bool(session.run(sql_workers.forget_worker, worker=worker))
    if is_gone:
        logger.info("worker forgotten", extra={"worker_id": str(worker), "by": by})
    return is_gone


def replay(
    session: Session,
    run_id: UUID,
    *,
    from_start: bool = False,
    timeout_seconds: float | None = None,
    idempotency_key: str | None = None,
    by: str = "",
    reason: str = "",
) -> UUID:
    """Submit a new run that repeats an ended one; returns its id, or that of the key's run.

    It takes over what completed tasks changed, and runs the others; ``from_start`` runs all. Its
    queue and priority are those of the old run, which stays as it ended; ``timeout_seconds`` is
    its own. Raises InvalidTransition while the run is open.
    """
    inputs.check_words("replay()", by=by, reason=reason)
    inputs.run_options("replay()", {"idempotency_key": idempotency_key})
    options.boolean("replay()", "from_start", from_start)
    found = session.load_runs([run_id])
    if not found:
        raise RunNotFound(run_id)
    row = found[0]
    if row.status not in RUN_FINAL:
        raise InvalidTransition("run", row.status, RunStatus.PENDING)
    workflow = registry.find(row.workflow_name)
    state = restore(row)
    positions = {task.name: at for at, task in enumerate(workflow.tasks)}
    done = {} if from_start else {
        positions[task.name]: str(values[CHANGES] or "")
        for task, values in zip(state.tasks, row.tasks, strict=True)
        if task.status is TaskStatus.COMPLETED and task.name in positions
    }  # fmt: skip
    facts = Options(
        origin=Origin.RETRY, parent_id=run_id, priority=row.priority, queue=row.queue,
        timeout_seconds=timeout_seconds, idempotency_key=idempotency_key, created_by=by,
        reason=reason,
    )  # fmt: skip
    with spans.sending(workflow.name, queue=row.queue, schema=session.schema) as span:
        prepared = submission.prepare(
            workflow, Context.trusted(state.initial), facts, traceparent=span.traceparent
        )
        spans.sent(span, [prepared.id])
        again = replace(prepared, taken_over=done)
        with session.transaction():
            written = submission.submit(session, [again], announces=True)
    notices.publish_submitted(written)
    return written.existing.get(again.id, again.id)


def admit(session: Session) -> int:
    """Give waiting runs the places that their workflows' limits leave; returns how many.

    Precondition: a transaction is open. The workflow's row is locked, so nobody else counts.
    """
    admitted = 0
    for name, limit in session.run(sql_workers.lock_limits):
        count = session.run(sql_workers.count_admitted, name=name)[0][0]
        if limit <= count:
            continue
        chosen = session.ids(sql_workers.waiting_runs, name=name, room=limit - count)
        batch = [(run_id,) for run_id in chosen]
        if batch:
            session.run(sql_workers.admit_runs, batch)
            session.run(sql_workers.release_held, batch)
            admitted += len(batch)
    return admitted


def save_definitions(session: Session, workflows: Collection[Workflow]) -> None:
    """Keep the graphs and limits of workflows, in short transactions of the engine's own.

    Never in the caller's: an uncommitted insert of the same key would block every other enqueue.
    """
    if not workflows:
        return
    graphs = [(w.name, w.version, w.graph_text()) for w in workflows]
    session.run(sql_workers.save_definitions, graphs)
    session.run(sql_workers.save_limits, [(w.name, w.max_running) for w in workflows])


def _locked(session: Session, run_id: UUID) -> LockedRun:
    found = session.lock_runs([run_id])
    if run_id not in found:
        raise RunNotFound(run_id)
    return found[run_id]


def _check_known(session: Session, name: str) -> None:
    """Raise WorkflowNotFound for a name that neither code nor a row has; a pause outlives code."""
    try:
        registry.find(name)
    except WorkflowNotFound:  # a worker of other code may have left its row
        # Compared here: not every text can be sent to a database.
        if name not in {row[0] for row in session.run(sql_workers.known_workflows)}:
            raise


def _log(what: str, run_ids: Sequence[UUID], by: str) -> None:
    for run_id in run_ids:
        logger.info("run %s", what, extra={"run_id": str(run_id), "by": by})
