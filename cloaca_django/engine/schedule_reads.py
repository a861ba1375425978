"""Off the path: schedules, what they fired and how it ended, as plain dicts. Reads only.

Ids are text, moments ISO 8601 in UTC.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import Count, Q

from cloaca_django.core.context import decode
from cloaca_django.core.states import RunStatus
from cloaca_django.engine import inputs, timetable
from cloaca_django.errors import ScheduleNotFound, UnreadableContext
from cloaca_django.models import CronExecution, CronSchedule


def described(schedule: CronSchedule) -> dict[str, Any]:
    """Return a schedule as callers see it.

    ``last_result`` is the status of its newest run, None before the first; ``error_message`` is
    why it is parked, None if it is not; ``context`` is None if it cannot be read.
    """
    return {
        "id": str(schedule.pk),
        "name": schedule.name,
        "workflow_name": schedule.workflow_name,
        "cron_expression": schedule.cron_expression,
        "timezone": schedule.timezone,
        "enabled": schedule.enabled,
        "disabled_by": schedule.disabled_by or None,
        "disabled_reason": schedule.disabled_reason or None,
        "catchup_policy": schedule.catchup_policy,
        "overlap_policy": schedule.overlap_policy,
        "deadline_seconds": schedule.deadline_seconds,
        "context": _context(schedule),
        "queue": schedule.queue,
        "priority": schedule.priority,
        "start_date": _text(schedule.start_date),
        "end_date": _text(schedule.end_date),
        "next_run_at": _text(schedule.next_run_at),
        "last_run_at": _text(schedule.last_run_at),
        "last_run_id": schedule.last_run_id and str(schedule.last_run_id),
        "last_result": schedule.last_result,
        "skipped_count": schedule.skipped_count,
        "error_message": schedule.error_message or None,
        "created_at": _text(schedule.created_at),
        "updated_at": _text(schedule.updated_at),
    }


def get_schedule(alias: str, schedule_id: UUID) -> dict[str, Any]:
    """Return one schedule. Raises ScheduleNotFound."""
    return described(timetable.find(alias, schedule_id))


def list_schedules(
    alias: str, *, enabled_only: bool = False, limit: int | None = None, offset: int | None = None
) -> list[dict[str, Any]]:
    """Return schedules by workflow, then age; ``limit`` None: all of them. Raises InvalidPage."""
    part = inputs.page(limit, offset)
    found = CronSchedule.objects.using(alias).with_last_result().by_workflow()
    if enabled_only:
        found = found.enabled()
    return [described(schedule) for schedule in found[part]]


def history(
    alias: str, schedule_id: UUID, *, limit: int | None = None, offset: int | None = None
) -> list[dict[str, Any]]:
    """Return what a schedule fired, by scheduled time, newest first; 100 without a ``limit``.

    Raises ScheduleNotFound, InvalidPage.
    """
    part = inputs.page(limit, offset, default=100)
    if not CronSchedule.objects.using(alias).filter(pk=schedule_id).exists():
        raise ScheduleNotFound(schedule_id, "get cron execution history")
    fires = CronExecution.objects.using(alias).filter(schedule=schedule_id).newest_first()
    return [_fire(fire) for fire in fires.with_result()[part]]


def stats(alias: str, since: datetime) -> dict[str, Any]:
    """Count what all schedules fired since a moment, by what became of the runs.

    ``success_rate`` is the completed share of all, in [0, 1]; 0.0 when nothing fired. Nothing is
    ever lost: a fire and its run are written in one transaction.
    """
    fires = CronExecution.objects.using(alias).claimed_since(since)
    ended_badly = Q(run__status__in=[RunStatus.FAILED, RunStatus.CANCELLED])
    found = fires.aggregate(
        total=Count("pk", filter=Q(reason="")),
        successful=Count("pk", filter=Q(run__status=RunStatus.COMPLETED)),
        failed=Count("pk", filter=ended_badly),
        running=Count("pk", filter=Q(run__isnull=False, run__finished_at__isnull=True)),
        skipped=Count("pk", filter=~Q(reason="")),
    )
    rate = found["successful"] / found["total"] if found["total"] else 0.0
    return {
        "total_executions": found["total"],
        "successful_executions": found["successful"],
        "failed_executions": found["failed"],
        "running_executions": found["running"],
        "skipped_executions": found["skipped"],
        "lost_executions": 0,
        "success_rate": rate,
    }


def _context(schedule: CronSchedule) -> dict[str, Any] | None:
    try:
        return decode(schedule.context)
    except UnreadableContext:  # edited by hand; the list of all schedules must not fail for it
        return None


def _fire(fire: CronExecution) -> dict[str, Any]:
    run = fire.run_id and str(fire.run_id)
    return {
        "id": str(fire.pk),
        "schedule_id": str(fire.schedule_id),
        "scheduled_time": _text(fire.scheduled_time),
        "claimed_at": _text(fire.claimed_at),
        "pipeline_execution_id": run,
        "workflow_execution_id": run,
        "status": fire.result,
        "reason": fire.reason or None,
        "created_at": _text(fire.claimed_at),
        "updated_at": _text(fire.claimed_at),
    }


def _text(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
