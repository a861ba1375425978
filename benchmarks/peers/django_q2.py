"""django-q2 with its ORM broker. It has chains; joins are made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from benchmarks.database import Database
from benchmarks.django_peer import DjangoPeer

TITLE = "django-q2"
REQUIREMENTS = ("django", "django-q2")
VARIANTS = {
    "": (
        "ORM broker, 2 worker processes, polled each 10 ms (default 200), 20 at a time (default "
        "1), results kept; it has no bulk call: a thousand to a transaction",
        {"poll": 0.01, "bulk": 20},
    ),
}
BATCH = 1_000


class DjangoQ2(DjangoPeer):
    apps = "django_q,benchmarks.site"

    def __init__(self, database: Database, options: Mapping[str, Any]) -> None:
        super().__init__(database, options)
        names = {"BENCH_Q_POLL": "poll", "BENCH_Q_BULK": "bulk"}
        self.variables = {name: str(options[option]) for name, option in names.items()}

    def open(self) -> None:
        super().open()
        from django_q import tasks  # noqa: PLC0415 - wants the settings

        from benchmarks.site import jobs_django_q2  # noqa: PLC0415 - wants the settings

        self.tasks, self.jobs = tasks, jobs_django_q2

    def worker_command(self) -> list[str]:
        return ["-m", "django", "qcluster"]

    def submit_many(self, count: int) -> None:
        for start in range(0, count, BATCH):
            with transaction.atomic():
                self.submit_each(min(BATCH, count - start))

    def submit_each(self, count: int) -> None:
        for i in range(count):
            self.tasks.async_task(self.jobs.one, {"i": i})

    def remaining(self) -> int:
        return int(self.database.value("select count(*) from django_q_ormq"))

    def failed(self) -> int:
        return int(self.database.value("select count(*) from django_q_task where not success"))

    def single(self) -> None:
        query = "select true from django_q_task where id = %s"
        self.database.wait(query, self.tasks.async_task(self.jobs.one, {}))

    def chain(self, length: int) -> None:
        key = self.new_key()
        steps = [(self.jobs.one, ({},))] * (length - 1)
        self.tasks.async_chain([*steps, (self.jobs.last, (key,))])
        self.wait_for_key(key)

    def fan(self, width: int) -> None:
        key = self.new_key()
        self.tasks.async_task(self.jobs.root, key, width)
        self.wait_for_key(key)


def create(database: Database, options: Mapping[str, Any]) -> DjangoQ2:
    return DjangoQ2(database, options)
