"""Schedules on the manual clock: rows made by hand, and workers that fire them."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import connection

from cloaca_django.engine.firing import Firing, FiringOptions
from cloaca_django.models import CronExecution, CronSchedule, PipelineExecution
from tests.engine.world import START, World


def make_schedule(workflow_name: str = "w", **facts: Any) -> CronSchedule:
    """Insert an every-minute schedule whose next time is START."""
    values = {
        "cron_expression": "* * * * *", "next_run_at": START, "created_at": START,
        "updated_at": START, **facts,
    }  # fmt: skip
    return CronSchedule.objects.create(id=uuid.uuid4(), workflow_name=workflow_name, **values)


def make_many(count: int, workflow_name: str = "w", **facts: Any) -> list[CronSchedule]:
    """Insert many schedules at once."""
    values = {
        "cron_expression": "* * * * *", "next_run_at": START, "created_at": START,
        "updated_at": START, **facts,
    }  # fmt: skip
    rows = [
        CronSchedule(id=uuid.uuid4(), workflow_name=workflow_name, **values) for _ in range(count)
    ]
    return CronSchedule.objects.bulk_create(rows, batch_size=1_000)


def firing_world(make_world: Callable[..., World], **options: Any) -> World:
    """Make a worker that fires; ``world`` holds what else it is told."""
    facts = options.pop("world", {})
    return make_world(schedules=Firing(FiringOptions(**options)), **facts)


def fired(schedule: CronSchedule) -> list[datetime]:
    """Return the times that started a run, in order."""
    rows = CronExecution.objects.filter(schedule=schedule, run__isnull=False)
    return list(rows.order_by("scheduled_time").values_list("scheduled_time", flat=True))


def runs_of(schedule: CronSchedule) -> list[PipelineExecution]:
    """Return a schedule's runs as they were submitted."""
    return list(PipelineExecution.objects.filter(schedule=schedule).order_by("id"))


def now_of(schedule: CronSchedule) -> CronSchedule:
    """Read a schedule again."""
    return CronSchedule.objects.get(pk=schedule.pk)


def await_signals() -> None:
    """Wait until every signal was sent."""
    for thread in threading.enumerate():
        if thread.name == "cloaca-signals":
            thread.join(10)


_IS_FILE = connection.vendor == "sqlite"
_BREAK = (
    [
        "CREATE TRIGGER refuse_run BEFORE INSERT ON cloaca_run WHEN NEW.schedule_id = '{id}'"
        " BEGIN SELECT RAISE(ABORT, 'this run cannot be stored'); END"
    ]
    if _IS_FILE
    else [
        "CREATE FUNCTION refuse_run() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'this run cannot be stored'; END $$",
        "CREATE TRIGGER refuse_run BEFORE INSERT ON cloaca_run FOR EACH ROW"
        " WHEN (NEW.schedule_id = '{id}') EXECUTE FUNCTION refuse_run()",
    ]
)
_MEND = ["DROP TRIGGER refuse_run"] if _IS_FILE else ["DROP FUNCTION refuse_run CASCADE"]


@contextmanager
def breaking(schedule: CronSchedule) -> Any:
    """Let the database refuse the runs of one schedule, for a reason of its own."""
    id = schedule.pk.hex if _IS_FILE else str(schedule.pk)
    with connection.cursor() as cursor:
        for text in _BREAK:
            cursor.execute(text.format(id=id))
        try:
            yield
        finally:
            for text in _MEND:
                cursor.execute(text)
