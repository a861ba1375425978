"""Off the path: what schedules will do and have done, for people. Reads only."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from cloaca_django.core import catchup, cron, options
from cloaca_django.core.cron import Advice
from cloaca_django.core.redaction import redacted
from cloaca_django.engine import declarations, inputs, schedule_reads
from cloaca_django.errors import InvalidIdentifier, InvalidInput, InvalidOption, ScheduleNotFound
from cloaca_django.models import CronSchedule


class Standing(enum.Enum):
    """What may be expected of a schedule."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    PARKED = "parked"
    ENDED = "ended"  # enabled, and it has no further time


@dataclass(frozen=True, slots=True)
class Forecast:
    """The coming fires of an expression in a zone, in UTC, and what to know about it."""

    expression: str
    zone: ZoneInfo
    sentence: str
    fires: Sequence[datetime]
    warnings: Sequence[Advice]


@dataclass(frozen=True, slots=True)
class ScheduleView:
    """One schedule. ``facts`` as ``get_cron_schedule`` returns them; ``zone`` None: it is gone."""

    facts: Mapping[str, Any]
    standing: Standing
    sentence: str
    zone: ZoneInfo | None
    next_run_at: datetime | None
    is_declared: bool
    is_edited: bool

    @property
    def label(self) -> str:
        """Its name, or its id."""
        return str(self.facts["name"] or self.facts["id"])


def read_all(alias: str) -> list[ScheduleView]:
    """Read every schedule, by workflow and age."""
    rows = CronSchedule.objects.using(alias).with_last_result().by_workflow()
    return [view_of(row) for row in rows]


def find(alias: str, word: str) -> CronSchedule:
    """Return the schedule of an id or a name. Raises ScheduleNotFound, with the nearest name."""
    rows = CronSchedule.objects.using(alias).with_last_result()
    try:
        found = rows.filter(pk=inputs.schedule_id(word)).first()
    except InvalidIdentifier:
        found = None
    if found is None and _may_be_a_name(word):
        found = rows.filter(name=word).first()
    if found is None:
        known = rows.filter(name__isnull=False).values_list("name", flat=True)
        raise ScheduleNotFound(word, known=[str(name) for name in known])
    return found


def _may_be_a_name(word: str) -> bool:
    """Say whether a database may be asked for it: no name holds a NUL or half a character."""
    try:
        options.text("schedule", "name", word, low=1, high=255)
    except InvalidOption:
        return False
    return True


def view_of(row: CronSchedule) -> ScheduleView:
    """Return what people see of a row, read with its last result."""
    try:
        schedule = cron.parse(row.cron_expression, row.timezone)
    except InvalidInput:  # it is parked, or will be: show it all the same
        schedule = None
    return ScheduleView(
        facts=schedule_reads.described(row),
        standing=_standing(row),
        sentence=cron.describe(schedule) if schedule else row.cron_expression,
        zone=schedule.zone if schedule else None,
        next_run_at=row.next_run_at,
        is_declared=bool(row.declared),
        is_edited=declarations.is_edited(row),
    )


def data_of(view: ScheduleView) -> dict[str, Any]:
    """Return a schedule as JSON shows it. Values of secret keys are hidden."""
    return {
        **view.facts,
        "context": redacted(view.facts["context"]),
        "sentence": view.sentence,
        "state": view.standing.value,
        "next_run_local": in_zone(view.next_run_at, view.zone),
        "declared": view.is_declared,
        "edited": view.is_edited,
    }


def in_zone(at: datetime | None, zone: ZoneInfo | None) -> str | None:
    """Return a moment on a zone's clock as ISO 8601; None without either."""
    return None if at is None or zone is None else at.astimezone(zone).isoformat()


def of_expression(expression: str, timezone: str, *, now: datetime, count: int) -> Forecast:
    """Say what an expression does from now on. Raises InvalidCronExpression, InvalidTimezone."""
    schedule = cron.parse(expression, timezone)
    return _forecast(schedule, now, cron.next_fires(schedule, now, count=count))


def of_schedule(row: CronSchedule, *, now: datetime, count: int) -> Forecast:
    """Say the same of a schedule within its dates, enabled or not."""
    schedule = cron.parse(row.cron_expression, row.timezone)
    after = now if row.start_date is None else max(now, row.start_date - catchup.TICK)
    fires = cron.next_fires(schedule, after, count=count)
    end = row.end_date
    return _forecast(schedule, now, [at for at in fires if end is None or at <= end])


def _forecast(schedule: cron.Schedule, now: datetime, fires: Sequence[datetime]) -> Forecast:
    return Forecast(
        expression=schedule.expression,
        zone=schedule.zone,
        sentence=cron.describe(schedule),
        fires=fires,
        warnings=cron.warnings_of(schedule, now),
    )


def _standing(row: CronSchedule) -> Standing:
    if not row.enabled:
        return Standing.DISABLED
    if row.parked_at is not None:
        return Standing.PARKED
    return Standing.ENDED if row.next_run_at is None else Standing.ENABLED
