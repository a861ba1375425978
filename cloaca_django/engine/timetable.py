"""Off the path: what people do to schedules. Rows are written on the caller's own connection.

So a schedule that a view makes exists if and only if the view's transaction commits. The row's
lock decides between an edit and a worker that fires at the same moment: whoever has it goes first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from cloaca_django import clock, dialect, ids
from cloaca_django.conf import settings
from cloaca_django.core import catchup, cron, options, registry, schedule_facts
from cloaca_django.core.context import decode, encode
from cloaca_django.core.params import validate
from cloaca_django.dialect import LOOK, site_session
from cloaca_django.engine import inputs
from cloaca_django.errors import ScheduleExists, ScheduleNotFound
from cloaca_django.models import CronSchedule

logger = logging.getLogger("cloaca_django.schedule")

# Changing one of these plans the schedule anew, from now on.
TIMING = frozenset({"cron_expression", "timezone", "start_date", "end_date"})


def register(
    alias: str,
    workflow_name: str,
    facts: Mapping[str, Any],
    *,
    owner: str = "register_cron_workflow()",
    replaces: bool = True,
) -> CronSchedule:
    """Create a schedule, or change the one that has the name already.

    ``facts`` are what ``schedule_facts.checked`` takes. Without ``replaces`` a name that is taken
    is a ScheduleExists. Raises InvalidCronExpression, InvalidTimezone, InvalidOption,
    InvalidContext, InvalidParams.
    """
    values = checked_values(owner, workflow_name, facts)
    name = values.get("name")
    with _writing(alias) as now:
        for _ in range(2):
            found = None if name is None else named(alias, name)
            if found is not None and replaces:
                return change(found, values, now)
            if found is not None:
                break
            try:
                with transaction.atomic(using=alias):
                    return _create(alias, values, now)
            except IntegrityError:
                # Somebody else has just taken the name: look who.
                if name is None:
                    raise
    raise ScheduleExists(str(name))


def update(
    alias: str,
    schedule_id: UUID,
    facts: Mapping[str, Any],
    *,
    workflow_name: str | None = None,
    owner: str = "update_cron_schedule()",
) -> CronSchedule:
    """Change a schedule. New times count from now on, other facts from the next fire on.

    ``workflow_name`` None: it stays that of the same workflow. Raises ScheduleNotFound and
    what ``register`` raises.
    """
    with _writing(alias) as now:
        schedule = locked(alias, schedule_id, "update cron schedule")
        if "cron_expression" in facts or "timezone" in facts:
            kept = {"cron_expression": schedule.cron_expression, "timezone": schedule.timezone}
            facts = {**kept, **facts}
        values = checked_values(owner, workflow_name or schedule.workflow_name, facts)
        return change(schedule, values, now)


def set_enabled(
    alias: str, schedule_id: UUID, *, enabled: bool, by: str = "", reason: str = ""
) -> CronSchedule:
    """Enable or disable a schedule. Times that pass while it is disabled are never made up for."""
    owner = "set_cron_schedule_enabled()"
    options.boolean(owner, "enabled", enabled)
    inputs.check_words(owner, by=by, reason=reason)
    with _writing(alias) as now:
        schedule = locked(alias, schedule_id, "update cron schedule")
        facts = {
            "enabled": enabled,
            "disabled_by": "" if enabled else by,
            "disabled_reason": "" if enabled else reason,
        }
        change(schedule, facts, now)
    logger.info(
        "schedule %s", "enabled" if enabled else "disabled",
        extra={"schedule_id": str(schedule_id), "by": by},
    )  # fmt: skip
    return schedule


def delete(alias: str, schedule_id: UUID) -> None:
    """Delete a schedule with its history; its runs stay and go on. Raises ScheduleNotFound."""
    with _writing(alias):
        locked(alias, schedule_id, "delete cron schedule").delete()
    logger.info("schedule deleted", extra={"schedule_id": str(schedule_id)})


def find(alias: str, schedule_id: UUID) -> CronSchedule:
    """Return a schedule with the result of its last run. Raises ScheduleNotFound."""
    found = CronSchedule.objects.using(alias).filter(pk=schedule_id).with_last_result().first()
    if found is None:
        raise ScheduleNotFound(schedule_id)
    return found


def locked(alias: str, schedule_id: UUID, doing: str) -> CronSchedule:
    """Return a schedule under lock. Raises ScheduleNotFound.

    Precondition: a transaction is open. ``doing`` is what was asked, for the error.
    """
    rows = CronSchedule.objects.using(alias).filter(pk=schedule_id)
    found = dialect.locked(rows).first()
    if found is None:
        raise ScheduleNotFound(schedule_id, doing)
    return found


def named(alias: str, name: str) -> CronSchedule | None:
    """Return the schedule of a name under lock; None if there is none."""
    return dialect.locked(CronSchedule.objects.using(alias).filter(name=name)).first()


def change(schedule: CronSchedule, values: Mapping[str, Any], now: datetime) -> CronSchedule:
    """Write checked values into a locked schedule, and plan it anew if its times changed."""
    changed = {name for name, value in values.items() if getattr(schedule, name) != value}
    if not changed and schedule.parked_at is None:
        return schedule
    for name in changed:
        setattr(schedule, name, values[name])
    schedule_facts.check_dates("schedule", schedule.start_date, schedule.end_date)
    if changed & {"context", "workflow_name"}:
        check_params(schedule, now)
    # One that cannot be planned can still be disabled; what it missed ends with enabling it.
    is_planned = schedule.enabled and ("enabled" in changed or schedule.parked_at is not None)
    if changed & TIMING or is_planned:
        plan_from(schedule, now)
    schedule.updated_at = now
    try:
        with transaction.atomic(using=schedule._state.db):
            schedule.save()
    except IntegrityError:
        if "name" in changed:
            raise ScheduleExists(str(schedule.name)) from None
        raise
    return schedule


def plan_from(schedule: CronSchedule, now: datetime) -> None:
    """Plan a schedule from now on: no time before counts any more, and it is not parked."""
    schedule.parked_at, schedule.error_message = None, ""
    schedule.next_run_at = catchup.next_fire(
        cron.parse(schedule.cron_expression, schedule.timezone),
        after=now, start=schedule.start_date, end=schedule.end_date,
    )  # fmt: skip


def _create(alias: str, values: Mapping[str, Any], now: datetime) -> CronSchedule:
    schedule = CronSchedule(id=ids.new_run_id(), created_at=now, updated_at=now, **values)
    if schedule.end_date is not None and schedule.end_date < now:
        schedule.enabled = False
        schedule.disabled_reason = "its end date had passed when it was created"
        logger.warning("schedule created disabled: %s", schedule.disabled_reason)
    check_params(schedule, now)
    plan_from(schedule, now)
    schedule.save(using=alias, force_insert=True)
    return schedule


def check_params(schedule: CronSchedule, now: datetime) -> None:
    """Raise InvalidParams for a context that the workflow would refuse at every fire."""
    workflow = registry.snapshot().get(schedule.workflow_name)
    if workflow is not None:
        context = schedule_facts.run_context(schedule, now, decode(schedule.context))
        validate(workflow, context.snapshot())


def check(owner: str, workflow_name: str, facts: Mapping[str, Any]) -> None:
    """Raise what ``register`` would for these facts; nothing is written."""
    values = checked_values(owner, workflow_name, facts)
    # The moment only stands in for that of a fire.
    check_params(CronSchedule(**values), clock.utc_now())


@contextmanager
def _writing(alias: str) -> Iterator[datetime]:
    """Open a transaction, give the database's clock, and tell the workers at the commit."""
    with transaction.atomic(using=alias):
        session = site_session(alias)
        yield session.clock()
        session.announce(LOOK)


def checked_values(owner: str, workflow_name: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return checked values for the fields of a row."""
    values = schedule_facts.checked(owner, facts)
    values["workflow_name"] = options.text(owner, "workflow_name", workflow_name, low=1, high=255)
    if workflow_name not in registry.snapshot():
        # Upstream takes it: the code may be in another process. A worker parks it if nobody has it.
        logger.warning("no workflow %r is registered in this process", workflow_name)
    if "context" in values:
        data = values["context"].snapshot()
        values["context"] = encode(data, limit=settings.MAX_CONTEXT_BYTES)
    return values
