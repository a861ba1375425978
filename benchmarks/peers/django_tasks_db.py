"""django-tasks-db: the database backend of Django's tasks. No graphs: jobs enqueue the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from benchmarks.database import Database
from benchmarks.django_peer import DjangoPeer

TITLE = "django-tasks-db"
REQUIREMENTS = ("django", "django-tasks", "django-tasks-db")
VARIANTS = {
    "": (
        "`db_worker --interval 0.01` (default 1), one task at a time; it has no bulk call: a "
        "thousand to a transaction",
        {"interval": 0.01},
    ),
}
BATCH = 1_000
RESULTS = "django_tasks_database_dbtaskresult"


class DjangoTasksDb(DjangoPeer):
    apps = "django_tasks,django_tasks_db,benchmarks.site"

    def open(self) -> None:
        super().open()
        from benchmarks.site import jobs_django_tasks  # noqa: PLC0415 - wants the settings

        self.jobs = jobs_django_tasks

    def worker_command(self) -> list[str]:
        options = ["--interval", str(self.options["interval"]), "--no-startup-delay"]
        return ["-m", "django", "db_worker", *options, "--no-reload", "--verbosity", "0"]

    def submit_many(self, count: int) -> None:
        for start in range(0, count, BATCH):
            with transaction.atomic():
                self.submit_each(min(BATCH, count - start))

    def submit_each(self, count: int) -> None:
        for i in range(count):
            self.jobs.one.enqueue(context={"i": i})

    def remaining(self) -> int:
        query = f"select count(*) from {RESULTS} where status in ('READY', 'RUNNING')"
        return int(self.database.value(query))

    def failed(self) -> int:
        return int(self.database.value(f"select count(*) from {RESULTS} where status = 'FAILED'"))

    def single(self) -> None:
        result = self.jobs.one.enqueue(context={})
        query = f"select status = 'SUCCESSFUL' from {RESULTS} where id = %s"
        self.database.wait(query, result.id)

    def chain(self, length: int) -> None:
        key = self.new_key()
        self.jobs.step.enqueue(context={"key": key}, left=length)
        self.wait_for_key(key)

    def fan(self, width: int) -> None:
        key = self.new_key()
        self.jobs.root.enqueue(key=key, width=width)
        self.wait_for_key(key)


def create(database: Database, options: Mapping[str, Any]) -> DjangoTasksDb:
    return DjangoTasksDb(database, options)
