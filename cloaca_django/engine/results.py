"""Stage 5, result: what a caller receives when a run has ended."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from cloaca_django import clock
from cloaca_django.core.context import Context
from cloaca_django.core.progress import RunState, restore
from cloaca_django.core.result import PipelineResult, TaskResult
from cloaca_django.dialect import Session, sql
from cloaca_django.dialect.rows import RunTimes
from cloaca_django.errors import RunNotFound, WaitTimeout
from cloaca_django.models import PipelineExecution


def result_of(state: RunState, times: RunTimes) -> PipelineResult:
    """Return the result of a run that ended."""
    return PipelineResult(
        execution_id=state.id,
        workflow_name=state.workflow_name,
        status=state.status,
        started_at=times.created_at,
        ended_at=times.finished_at,
        final_context=Context.trusted(state.final_context()),
        error_message=state.error_message or None,
        task_results=tuple(
            TaskResult(task.name, task.status, task.attempt, task.error or None)
            for task in state.tasks
        ),
    )


def read_result(session: Session, run_id: UUID) -> PipelineResult | None:
    """Read a run's result; None while it is open. Raises RunNotFound."""
    times = read_times(session, run_id)
    if times is None:
        raise RunNotFound(run_id)
    if times.finished_at is None:
        return None
    found = session.load_runs([run_id])
    if not found:
        raise RunNotFound(run_id)
    return result_of(restore(found[0]), times)


def read_status(alias: str, run_id: UUID) -> str:
    """Read a run's status as people see it. Raises RunNotFound."""
    found = PipelineExecution.objects.using(alias).filter(pk=run_id).with_shown_status().first()
    if found is None:
        raise RunNotFound(run_id)
    return str(found.shown_status)


def read_times(session: Session, run_id: UUID) -> RunTimes | None:
    """Read when a run was submitted and ended; None when there is no such run."""
    found = session.run(sql.read_times, id=run_id)
    return session.times(found[0]) if found else None


def finished_among(session: Session, run_ids: Collection[UUID]) -> list[UUID]:
    """Return those of some runs that have ended, or are gone."""
    still_open = set(session.ids(sql.open_among, ((id,) for id in run_ids)))
    return [run_id for run_id in run_ids if run_id not in still_open]


def wait_for(
    session: Session, run_id: UUID, *, timeout: float | None, poll_seconds: float
) -> PipelineResult:
    """Wait, looking ever less often up to each ``poll_seconds``, until a run has ended.

    Raises WaitTimeout after ``timeout`` seconds; the run goes on.
    """
    started = clock.monotonic()
    pause = min(0.005, poll_seconds)
    while True:
        result = read_result(session, run_id)
        if result is not None:
            return result
        rest = pause if timeout is None else timeout - (clock.monotonic() - started)
        if timeout is not None and rest <= 0:
            raise WaitTimeout(run_id, timeout)
        # The last rest ends with the timeout, and one look more.
        clock.sleep(min(pause, rest))
        pause = min(pause * 1.5, poll_seconds)
