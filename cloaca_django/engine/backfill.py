"""Off the path: runs of a schedule that a person asks for: now, or for times that passed.

Like every act of an operator they commit in transactions of their own. A backfill may be asked for
again after a crash: a time that has its run already is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from cloaca_django import ids
from cloaca_django.core import catchup, cron, registry
from cloaca_django.dialect import Session, sql_schedules
from cloaca_django.engine import firing, inputs, notices, submission
from cloaca_django.engine.firing import Fire
from cloaca_django.engine.submission import Submission
from cloaca_django.errors import InvalidOption, ScheduleNotFound
from cloaca_django.models import CronExecution, CronSchedule

MAX_TIMES = 10_000
BATCH = 200
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


def trigger(
    session: Session,
    schedule: CronSchedule,
    *,
    timeout_seconds: float | None = None,
    by: str = "",
    reason: str = "",
    idempotency_key: str | None = None,
) -> UUID:
    """Start a run of a schedule now; returns its id. It counts for none of the schedule's times.

    With an ``idempotency_key`` that a run of the schedule holds, starts none and returns that one.
    Raises WorkflowNotFound, InvalidContext, InvalidParams; ScheduleNotFound if it is gone;
    IdempotencyConflict when a run of something else holds the key.
    """
    owner = "trigger_cron_schedule()"
    inputs.check_words(owner, by=by, reason=reason)
    inputs.run_options(owner, {"idempotency_key": idempotency_key})
    workflow = registry.find(schedule.workflow_name)
    options = firing.options_of(schedule, timeout_seconds=timeout_seconds, by=by, reason=reason)
    options = replace(options, idempotency_key=idempotency_key)
    made = firing.submission_at(schedule, session.clock(), workflow=workflow, options=options)
    with session.transaction():
        _keep(session, schedule)
        written = submission.submit(session, [made], announces=True)
    notices.publish_submitted(written)
    return written.existing.get(made.id, made.id)


def backfill(
    session: Session,
    schedule: CronSchedule,
    *,
    start: datetime,
    end: datetime,
    timeout_seconds: float | None = None,
    by: str = "",
    reason: str = "backfill",
) -> list[UUID]:
    """Start a run for each time of a schedule from ``start`` to ``end``, both included.

    Times that have a run are left out; those whose run retention deleted are forgotten. Returns
    the ids of the new runs, by time. Raises InvalidOption for an end in the future or before the
    start, and for more than ``MAX_TIMES``; ScheduleNotFound if it is gone.
    """
    inputs.check_words("backfill()", by=by, reason=reason)
    _keep(session, schedule)
    times = times_between(session, schedule, start=start, end=end)
    workflow = registry.find(schedule.workflow_name)
    options = firing.options_of(schedule, timeout_seconds=timeout_seconds, by=by, reason=reason)
    started: list[UUID] = []
    for at in range(0, len(times), BATCH):
        made = [
            Fire(ids.new_token(), schedule.pk, time, firing.submission_at(
                schedule, time, workflow=workflow, options=options))
            for time in times[at : at + BATCH]
        ]  # fmt: skip
        started += [each.id for each in _start(session, schedule, made)]
    return started


def times_between(
    session: Session, schedule: CronSchedule, *, start: datetime, end: datetime
) -> Sequence[datetime]:
    """Return the times a backfill would look at. Raises InvalidOption."""
    owner, now = "backfill()", session.clock()
    if end > now:
        raise InvalidOption(owner, "end", end, rule=f"must have passed; it is {now}")
    if start > end:
        raise InvalidOption(owner, "start", start, rule=f"must not be after the end, {end}")
    if start < EARLIEST:
        raise InvalidOption(owner, "start", start, rule="must be of 1970 or later")
    planned = cron.parse(schedule.cron_expression, schedule.timezone)
    count = cron.count_fires(planned, start - catchup.TICK, end)
    if count > MAX_TIMES:
        rule = f"must leave at most {MAX_TIMES} times, not {count}; take the range in parts"
        raise InvalidOption(owner, "start", start, rule=rule)
    return cron.fires_between(planned, start - catchup.TICK, end)


def open_times(
    alias: str, session: Session, schedule: CronSchedule, *, start: datetime, end: datetime
) -> list[datetime]:
    """Return the times for which a backfill would start a run now. Raises InvalidOption."""
    times = times_between(session, schedule, start=start, end=end)
    fires = CronExecution.objects.using(alias).filter(schedule=schedule.pk).started()
    done = set(
        fires.filter(scheduled_time__range=(start, end)).values_list("scheduled_time", flat=True)
    )
    return [time for time in times if time not in done]


def _start(session: Session, schedule: CronSchedule, fires: Sequence[Fire]) -> list[Submission]:
    """Insert fires and the runs of those whose time is free, in one transaction."""
    with session.transaction():
        _keep(session, schedule)
        inserted = session.insert_fires(fire.row() for fire in fires)
        fresh = [fire.submission for fire in fires if fire.submission and fire.id in inserted]
        written = submission.submit(session, fresh, announces=True) if fresh else None
    if written is not None:
        notices.publish_submitted(written)
    return fresh


def _keep(session: Session, schedule: CronSchedule) -> None:
    """Let nobody delete or fire the schedule until the transaction ends.

    Raises ScheduleNotFound for one that others do not see: deleted since, or not committed. Without
    the lock a delete that commits first would let the COMMIT fail on a foreign key, and firing
    would wait for the times that a backfill has inserted.
    """
    if not session.ids(sql_schedules.keep_schedule, [(schedule.pk,)]):
        raise ScheduleNotFound(schedule.pk)
