"""Celery on Redis, with its results in Django's database, or in Redis as well."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.db import transaction

from benchmarks.database import Database
from benchmarks.django_peer import DjangoPeer
from benchmarks.redis_server import RedisServer

TITLE = "Celery"
REQUIREMENTS = ("django", "celery[redis]", "django-celery-results", "django-celery-beat")
VARIANTS = {
    "": (
        "Redis that writes each command to disk (`appendfsync always`), results in Django's "
        "database (django-celery-results), `prefork -c 2`, connections reused "
        "(`CELERY_DB_REUSE_MAX`; by default each task opens one), acknowledged late, results "
        "polled each 2 ms (default 500); it has no bulk call; schedules by django-celery-beat "
        "inside the worker, looked at each second (default 5)",
        {"is_durable": True},
    ),
    "volatile": (
        "the same with Redis that writes nothing to disk and the results in it too: nothing is "
        "durable",
        {"is_durable": False},
    ),
}
RESULT_POLL_SECONDS = 0.002
WAIT_SECONDS = 120.0
DONE = (
    "select count(*) from django_celery_results_taskresult where status = 'SUCCESS'"
    " and task_name not like '%.tick'"
)
BEAT = "django_celery_beat.schedulers:DatabaseScheduler"
FAILED = "select count(*) from django_celery_results_taskresult where status = 'FAILURE'"


class CeleryPeer(DjangoPeer):
    """Its chains and chords are Celery's own."""

    apps = "django_celery_results,django_celery_beat,benchmarks.site"
    has_schedules = True

    def open(self) -> None:
        self.keeps_results = bool(self.options["is_durable"])  # in Django's database
        self.folder = tempfile.TemporaryDirectory(prefix="redis-", dir=Path.cwd())  # on disk
        self.redis = RedisServer(Path(self.folder.name), is_durable=self.keeps_results)
        results = "django-db" if self.keeps_results else f"{self.redis.url}/1"
        self.variables = {
            "BENCH_BROKER_URL": f"{self.redis.url}/0",
            "BENCH_RESULTS_URL": results,
        }
        super().open()
        from benchmarks.site import jobs_celery  # noqa: PLC0415 - wants the settings

        self.jobs = jobs_celery
        self.submitted = self.schedules = 0

    def close(self) -> None:
        super().close()
        self.redis.stop()
        self.folder.cleanup()

    def worker_command(self) -> list[str]:
        quiet = ["--without-gossip", "--without-mingle", "--loglevel", "ERROR"]
        pool = ["--pool", "prefork", "--concurrency", "2"]
        beat = ["--beat", "--scheduler", BEAT] if self.schedules else []
        return ["-m", "celery", "-A", "benchmarks.site.jobs_celery", "worker", *pool, *beat, *quiet]

    def worker_variables(self) -> dict[str, str]:
        return {**super().worker_variables(), "C_FORCE_ROOT": "1"}

    def servers_cpu_seconds(self) -> float:
        return self.redis.cpu_seconds()

    def submit_many(self, count: int) -> None:
        self.submit_each(count)

    def submit_each(self, count: int) -> None:
        for i in range(count):
            self.jobs.one.delay({"i": i})
        self.submitted += count

    def remaining(self) -> int:
        if self.keeps_results:
            return self.submitted - int(self.database.value(DONE)) - self.failed()
        return self.submitted - int(self.redis.results.dbsize())

    def failed(self) -> int:
        if self.keeps_results:
            return int(self.database.value(FAILED))
        results = self.redis.results
        return sum(b'"FAILURE"' in (results.get(key) or b"") for key in results.scan_iter())

    def declare_schedules(self, count: int, cron: str) -> None:
        from django_celery_beat.models import (  # noqa: PLC0415 - wants the settings
            CrontabSchedule,
            PeriodicTask,
        )

        minute, hour, day, month, weekday = cron.split()
        when = CrontabSchedule.objects.create(
            minute=minute,
            hour=hour,
            day_of_month=day,
            month_of_year=month,
            day_of_week=weekday,
        )
        with transaction.atomic():
            for _ in range(count):
                self.schedules += 1
                name = f"schedule {self.schedules}"
                PeriodicTask.objects.create(name=name, task=self.jobs.tick.name, crontab=when)

    def fired(self) -> int:
        """Those that have ended: what beat has sent stands in Redis, half here and half there."""
        query = "select count(*) from django_celery_results_taskresult where task_name like %s"
        return int(self.database.value(query, "%.tick"))

    def single(self) -> None:
        self._wait(self.jobs.one.delay({}), tasks=1)

    def chain(self, length: int) -> None:
        self._wait(self.jobs.chain(length), tasks=length)

    def fan(self, width: int) -> None:
        self._wait(self.jobs.fan(width), tasks=width + 2)

    def _wait(self, result: Any, *, tasks: int) -> None:
        result.get(interval=RESULT_POLL_SECONDS, timeout=WAIT_SECONDS)
        self.submitted += tasks


def create(database: Database, options: Mapping[str, Any]) -> CeleryPeer:
    return CeleryPeer(database, options)
