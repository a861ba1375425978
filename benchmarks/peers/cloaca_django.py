"""This project, through its public interface only."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import django
from django.core.management import call_command
from django.db import connections, transaction

import cloaca_django as cloaca
from benchmarks.database import Database
from benchmarks.peer import Peer
from benchmarks.postgresql import PostgresDatabase

TITLE = "cloaca_django"
REQUIREMENTS = ("{project}",)
VARIANTS = {
    "": (
        "defaults, `cloaca_worker --concurrency 64`; `execute` runs inside the client, in a "
        "`DefaultRunner(url)`",
        {"concurrency": 64, "execute": "client"},
    ),
    "worker": (
        "the same, but single runs, chains and fans go through the worker process as well "
        "(`enqueue`, then `wait`)",
        {"concurrency": 64, "execute": "worker"},
    ),
    "sqlite": (
        "the defaults on SQLite: WAL, `synchronous` FULL, `cloaca_worker --concurrency 64`; "
        "`execute` runs inside the client",
        {"concurrency": 64, "execute": "client", "database": "sqlite"},
    ),
}
BATCH = 10_000  # contexts per call of `enqueue_many`
WAIT_SECONDS = 120.0


class Cloaca(Peer):
    """The client is a Django process, as a view would be."""

    has_schedules = True
    has_history = True
    has_busy_runs = True
    runs_from_threads = True
    carries_context = True

    def __init__(self, database: Database, options: Mapping[str, Any]) -> None:
        super().__init__(database, options)
        self.worker_runs_execute = options["execute"] == "worker"
        self.executor: Any = None
        self.fills = 0

    def open(self) -> None:
        os.environ.update(self.worker_variables())
        django.setup()
        call_command("migrate", verbosity=0, interactive=False)
        self.site = cloaca.DefaultRunner()

    def close(self) -> None:
        for runner in (self.executor, self.site):
            if runner is not None:
                runner.shutdown()
        connections.close_all()

    def worker_command(self) -> list[str]:
        concurrency = str(self.options["concurrency"])
        package = Path(cloaca.__file__).parent
        if not (package / "management" / "commands" / "cloaca_worker.py").exists():
            return ["-m", "benchmarks.peers.cloaca_django", self.database.url, concurrency]
        return ["-m", "django", "cloaca_worker", "--concurrency", concurrency]

    def worker_variables(self) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "benchmarks.site.settings",
            "BENCH_DATABASE_URL": self.database.url,
            "BENCH_APPS": "cloaca_django,benchmarks.site",
        }

    def submit_many(self, count: int) -> None:
        for start in range(0, count, BATCH):
            batch = range(start, min(start + BATCH, count))
            self.site.enqueue_many("one", [cloaca.Context({"i": i}) for i in batch])

    def submit_each(self, count: int) -> None:
        for i in range(count):
            self.site.enqueue("one", cloaca.Context({"i": i}))

    def remaining(self) -> int:
        return int(self.database.value("select count(*) from cloaca_run where finished_at is null"))

    def failed(self) -> int:
        query = "select count(*) from cloaca_run where status in ('Failed', 'Cancelled')"
        return int(self.database.value(query))

    def declare_schedules(self, count: int, cron: str) -> None:
        with transaction.atomic():
            for _ in range(count):
                self.site.register_cron_workflow("one", cron)

    def fired(self) -> int:
        return int(self.database.value("select count(*) from cloaca_fire where run_id is not null"))

    def queued_single(self) -> None:
        self._through_the_worker("one")

    def single(self) -> None:
        self._execute("one")

    def chain(self, length: int) -> None:
        self._execute(f"chain{length}")

    def fan(self, width: int) -> None:
        self._execute(f"fan{width}")

    def fill(self, count: int) -> None:
        """The ids are older than those of new runs, and random among themselves."""
        assert isinstance(self.database, PostgresDatabase)
        self.fills += 1  # the same row is copied again by the next
        ended = "('0100' || substr(md5('" + str(self.fills) + "-' || number || {}), 5))::uuid"
        copied = self.database.value("select count(*) from cloaca_run")
        times = -(-count // copied)
        self.database.multiply("cloaca_run", times, {"id": ended.format("id")})
        runs = self.database.value("select count(*) from cloaca_run") - copied
        tasks = {"run_id": ended.format("run_id")}
        self.database.multiply("cloaca_task", times, tasks)
        if runs < count:
            raise RuntimeError(f"{runs} ended runs were made instead of {count}")

    def submit_busy(self, count: int) -> None:
        self.site.enqueue_many("busy", [cloaca.Context({}) for _ in range(count)])

    def carry(self, context: dict[str, Any], length: int) -> None:
        self._execute(f"chain{length}", context)

    def _execute(self, workflow: str, context: dict[str, Any] | None = None) -> None:
        if self.worker_runs_execute:
            self._through_the_worker(workflow, context)
            return
        if self.executor is None:
            self.executor = cloaca.DefaultRunner(self.database.url)
        self._check(self.executor.execute(workflow, cloaca.Context(context or {})))

    def _through_the_worker(self, workflow: str, context: dict[str, Any] | None = None) -> None:
        run = self.site.enqueue(workflow, cloaca.Context(context or {}))
        self._check(run.wait(WAIT_SECONDS))

    def _check(self, result: Any) -> None:
        if result.status != "Completed":
            raise RuntimeError(f"{result.status}: {result.error_message}")


def create(database: Database, options: Mapping[str, Any]) -> Cloaca:
    return Cloaca(database, options)


def work(url: str, concurrency: int) -> None:
    """A worker for a tree that has no worker command: a runner that is kept open."""
    django.setup()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    config = cloaca.DefaultRunnerConfig()
    config.max_concurrent_tasks = concurrency
    with cloaca.DefaultRunner.with_config(url, config):
        ended.wait()


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]))
