"""What tests of schedules through the facade share."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from cloaca_django import DefaultRunner
from cloaca_django.dialect import site_session
from cloaca_django.models import CronSchedule

NIGHTLY = "0 2 * * *"


def now() -> datetime:
    """Return the database's time."""
    return site_session("default").clock()


def overdue(schedule_id: str, *, by: timedelta = timedelta(0)) -> datetime:
    """Move a schedule's plan into the past, behind everyone's back; returns its next time.

    That is the last full minute, or one before it.
    """
    moment = (now() - by).replace(second=0, microsecond=0)
    CronSchedule.objects.filter(pk=schedule_id).update(next_run_at=moment)
    return moment


def just_missed() -> tuple[str, datetime]:
    """Return an expression that fires once a year, and its time: the last full minute."""
    moment = now().replace(second=0, microsecond=0)
    return f"{moment.minute} {moment.hour} {moment.day} {moment.month} *", moment


def planned(runner: DefaultRunner, schedule_id: UUID | str) -> datetime:
    """Return when a schedule fires next."""
    return datetime.fromisoformat(runner.get_cron_schedule(schedule_id)["next_run_at"])
