"""The tables of django-celery-beat, with the columns that its release 2.9.0 has (migration 0019).

Made by Django's own schema editor, so the types are those that the package's migrations give.
"""

# ruff: noqa: DJ008 - rows of another package, which nothing prints

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.apps.registry import Apps
from django.db import connection, models

ALONE = Apps()


class Crontab(models.Model):
    minute = models.CharField(max_length=240, default="*")
    hour = models.CharField(max_length=96, default="*")
    day_of_week = models.CharField(max_length=64, default="*")
    day_of_month = models.CharField(max_length=124, default="*")
    month_of_year = models.CharField(max_length=64, default="*")
    timezone = models.CharField(max_length=63, default="UTC")

    class Meta:
        apps, app_label = ALONE, "django_celery_beat"
        db_table = "django_celery_beat_crontabschedule"


class Interval(models.Model):
    every = models.IntegerField()
    period = models.CharField(max_length=24)

    class Meta:
        apps, app_label = ALONE, "django_celery_beat"
        db_table = "django_celery_beat_intervalschedule"


class PeriodicTask(models.Model):
    name = models.CharField(max_length=200, unique=True)
    task = models.CharField(max_length=200)
    interval = models.ForeignKey(Interval, models.CASCADE, null=True)
    crontab = models.ForeignKey(Crontab, models.CASCADE, null=True)
    solar_id = models.IntegerField(null=True)
    clocked_id = models.IntegerField(null=True)
    args = models.TextField(default="[]")
    kwargs = models.TextField(default="{}")
    queue = models.CharField(max_length=200, null=True)
    exchange = models.CharField(max_length=200, null=True)
    routing_key = models.CharField(max_length=200, null=True)
    headers = models.TextField(default="{}")
    priority = models.PositiveIntegerField(null=True)
    expires = models.DateTimeField(null=True)
    expire_seconds = models.PositiveIntegerField(null=True)
    one_off = models.BooleanField(default=False)
    start_time = models.DateTimeField(null=True)
    enabled = models.BooleanField(default=True)
    last_run_at = models.DateTimeField(null=True)
    total_run_count = models.PositiveIntegerField(default=0)
    date_changed = models.DateTimeField(auto_now=True)
    description = models.TextField(default="")

    class Meta:
        apps, app_label = ALONE, "django_celery_beat"
        db_table = "django_celery_beat_periodictask"


@contextmanager
def tables() -> Iterator[None]:
    """Let the tables exist while the block runs."""
    made = (Crontab, Interval, PeriodicTask)
    with connection.schema_editor() as editor:
        for model in made:
            editor.create_model(model)
    try:
        yield
    finally:
        with connection.schema_editor() as editor:
            for model in reversed(made):
                editor.delete_model(model)


def crontab(name: str, task: str, fields: str = "0 2 * * *", **facts: Any) -> PeriodicTask:
    """Write a row with a crontab; its ``fields`` stand in cron's order."""
    columns = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")
    zone = facts.pop("timezone", "UTC")
    row = Crontab.objects.create(**dict(zip(columns, fields.split(), strict=True)), timezone=zone)
    return PeriodicTask.objects.create(name=name, task=task, crontab=row, **facts)


def interval(name: str, task: str, every: int, period: str, **facts: Any) -> PeriodicTask:
    """Write a row with an interval."""
    row = Interval.objects.create(every=every, period=period)
    return PeriodicTask.objects.create(name=name, task=task, interval=row, **facts)
