"""DBOS: durable workflows that checkpoint each step, on PostgreSQL or SQLite."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import sqlalchemy
from dbos import DBOS, DBOSClient, DBOSConfig

from benchmarks.database import Database
from benchmarks.peer import Peer
from benchmarks.postgresql import PostgresDatabase

TITLE = "DBOS"
REQUIREMENTS = ("dbos",)
VARIANTS = {
    "": (
        "queue polled each 10 ms (default 1 s), 64 at once, 32 threads, pool of 20, results polled "
        "each 2 ms; bulk: `enqueue_in_transaction`, a thousand to a commit; single runs, chains "
        "and fans are called inside the client, steps of a fan by `asyncio.gather`; new "
        "schedules looked for each second (default 30)",
        {"poll": 0.01, "concurrency": 64},
    ),
    "sqlite": (
        "the same on SQLite, whose file is in WAL mode (it would not ask for it), `synchronous` "
        "FULL",
        {"poll": 0.01, "concurrency": 64, "database": "sqlite"},
    ),
}
QUEUE = "bench"
BATCH = 1_000
RESULT_POLL_SECONDS = 0.002


@DBOS.step()
def step(context: dict[str, Any], key: str) -> dict[str, Any]:
    return {**context, key: 1}


@DBOS.step()
async def leaf(context: dict[str, Any], key: str) -> dict[str, Any]:
    return {**context, key: 1}


@DBOS.workflow()
def one(context: dict[str, Any]) -> dict[str, Any]:
    return step(context, "a")


@DBOS.workflow()
def chain(context: dict[str, Any], length: int) -> dict[str, Any]:
    for i in range(length):
        context = step(context, f"s{i}")
    return context


@DBOS.workflow()
async def fan(width: int) -> dict[str, Any]:
    root = await leaf({}, "root")
    parts = await asyncio.gather(*[leaf(root, f"leaf{i}") for i in range(width)])
    return await leaf({key: 1 for part in parts for key in part}, "join")


@DBOS.workflow()
def tick(at: datetime, context: Any) -> None:
    """The run of a schedule."""


def configuration(url: str) -> DBOSConfig:
    return {
        "name": "bench",
        "system_database_url": url,
        "log_level": "ERROR",
        "console_log_level": "ERROR",
        "application_version": "1",
        "executor_id": f"executor-{os.getpid()}",
        "max_executor_threads": 32,
        "sys_db_pool_size": 20,
        "scheduler_polling_interval_sec": 1.0,
    }


class Dbos(Peer):
    """Queued runs are enqueued by a client and taken by a worker; others run in this process."""

    worker_runs_execute = False
    has_schedules = True
    most_schedules = 1_000  # a thread each
    has_history = True
    runs_from_threads = True
    carries_context = True

    def open(self) -> None:
        schema = "" if self.database.kind == "sqlite" else "dbos."
        self.table = f"{schema}workflow_status"
        DBOS(config=configuration(self.database.url))
        DBOS.launch()  # makes the tables
        DBOS.register_queue(
            QUEUE,
            polling_interval_sec=self.options["poll"],
            worker_concurrency=self.options["concurrency"],
            on_conflict="always_update",
        )
        DBOS.destroy()
        self.is_launched = False
        self.fills = 0
        self.client = DBOSClient(system_database_url=self.database.url)
        self.engine = sqlalchemy.create_engine(self._driver_url())

    def close(self) -> None:
        self.client.destroy()
        self.engine.dispose()
        if self.is_launched:
            DBOS.destroy()

    def worker_command(self) -> list[str]:
        return ["-m", "benchmarks.peers.dbos", self.database.url]

    def submit_many(self, count: int) -> None:
        for start in range(0, count, BATCH):
            with self.engine.begin() as connection:
                for i in range(start, min(start + BATCH, count)):
                    self.client.enqueue_in_transaction(connection, self._options(one), {"i": i})

    def submit_each(self, count: int) -> None:
        for i in range(count):
            self._enqueue(one, {"i": i})

    def remaining(self) -> int:
        return self._count("status in ('ENQUEUED', 'PENDING', 'DELAYED')")

    def failed(self) -> int:
        return self._count("status not in ('ENQUEUED', 'PENDING', 'DELAYED', 'SUCCESS')")

    def declare_schedules(self, count: int, cron: str) -> None:
        for i in range(count):
            self.client.create_schedule(
                schedule_name=f"s{cron}-{i}",
                workflow_name=tick.__qualname__,
                schedule=cron,
                queue_name=QUEUE,
            )

    def fired(self) -> int:
        return self._count("name = 'tick'")

    def queued_single(self) -> None:
        self._enqueue(one, {}).get_result(polling_interval_sec=RESULT_POLL_SECONDS)

    def single(self) -> None:
        self._launch()
        one({})

    def chain(self, length: int) -> None:
        self.carry({}, length)

    def carry(self, context: dict[str, Any], length: int) -> None:
        self._launch()
        chain(context, length)

    def fill(self, count: int) -> None:
        assert isinstance(self.database, PostgresDatabase)
        self.fills += 1  # the same row is copied again by the next
        times = -(-count // self._count("true"))
        for table in ("dbos.workflow_status", "dbos.operation_outputs"):
            fresh = {"workflow_uuid": f"'{self.fills}-' || number || workflow_uuid"}
            self.database.multiply(table, times, fresh)

    def fan(self, width: int) -> None:
        self._launch()
        DBOS.start_workflow(fan, width).get_result()

    def _launch(self) -> None:
        if not self.is_launched:
            DBOS(config=configuration(self.database.url))
            DBOS.launch()
            self.is_launched = True

    def _count(self, condition: str) -> int:
        return int(self.database.value(f"select count(*) from {self.table} where {condition}"))

    def _enqueue(self, workflow: Callable[..., Any], *arguments: Any) -> Any:
        return self.client.enqueue(self._options(workflow), *arguments)

    def _options(self, workflow: Callable[..., Any]) -> Any:
        return {"workflow_name": workflow.__qualname__, "queue_name": QUEUE}

    def _driver_url(self) -> str:
        return self.database.url.replace("postgresql://", "postgresql+psycopg://")


def create(database: Database, options: Mapping[str, Any]) -> Dbos:
    return Dbos(database, options)


def work(url: str) -> None:
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    DBOS(config=configuration(url))
    DBOS.launch()
    ended.wait()
    os._exit(0)  # its threads would go on for the length of a poll


if __name__ == "__main__":
    work(sys.argv[1])
