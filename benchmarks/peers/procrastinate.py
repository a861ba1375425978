"""procrastinate: a job queue on PostgreSQL. No graphs: chains and joins are made by the jobs."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import procrastinate

from benchmarks.database import Database
from benchmarks.peer import Peer
from benchmarks.postgresql import PostgresDatabase

TITLE = "procrastinate"
REQUIREMENTS = ("procrastinate[django]",)
VARIANTS = {
    "": (
        "`async` jobs, concurrency 20, LISTEN/NOTIFY, jobs polled each 0.1 s (default 5 s: "
        "a notification that comes during a fetch is lost and waits for the poll)",
        {"concurrency": 20, "poll": 0.1},
    ),
    "polling-5s": ("the same with the default poll of 5 s", {"concurrency": 20, "poll": 5.0}),
}
TABLES = """
create table bench_done (key text primary key);
create table bench_join (key text primary key, done int not null);
"""


def application(connector: Any) -> Any:
    """The app and its jobs, on the given connector."""
    app = procrastinate.App(connector=connector)
    finish = "insert into bench_done (key) values (%(key)s)"

    @app.task(name="one")
    async def one(context: dict[str, Any]) -> None:
        context["a"] = 1

    @app.task(name="step")
    async def step(context: dict[str, Any], left: int) -> None:
        context[f"s{left}"] = 1
        if left > 1:
            await app.tasks["step"].defer_async(context=context, left=left - 1)
        else:
            await app.connector.execute_query_async(finish, key=context["key"])

    @app.task(name="root")
    async def root(key: str, width: int) -> None:
        leaves = [{"key": key, "width": width} for _ in range(width)]
        await app.tasks["leaf"].batch_defer_async(*leaves)

    @app.task(name="leaf")
    async def leaf(key: str, width: int) -> None:
        row = await app.connector.execute_query_one_async(
            "insert into bench_join (key, done) values (%(key)s, 1) on conflict (key)"
            " do update set done = bench_join.done + 1 returning done",
            key=key,
        )
        if row["done"] == width:
            await app.tasks["join"].defer_async(key=key)

    @app.task(name="join")
    async def join(key: str) -> None:
        await app.connector.execute_query_async(finish, key=key)

    return app


def add_schedules(app: Any, count: int, cron: str) -> None:
    """It has them in code only: every worker declares them when it starts."""

    @app.task(name="tick")
    async def tick(timestamp: int) -> None:
        pass

    for number in range(count):
        app.periodic(cron=cron, periodic_id=str(number))(tick)


class Procrastinate(Peer):
    """Submits through the synchronous connector, which is its cheaper one."""

    has_schedules = True
    has_history = True

    def open(self) -> None:
        self.keys = 0
        self.schedules, self.cron = 0, ""
        self.app = application(procrastinate.SyncPsycopgConnector(conninfo=self.database.url))
        self.app.open()
        self.app.schema_manager.apply_schema()
        self.database.execute(TABLES)

    def close(self) -> None:
        self.app.close()

    def worker_command(self) -> list[str]:
        options = [self.options["concurrency"], self.options["poll"], self.schedules, self.cron]
        module = ["-m", "benchmarks.peers.procrastinate", self.database.url]
        return [*module, *map(str, options)]

    def submit_many(self, count: int) -> None:
        task = self.app.tasks["one"]
        for start in range(0, count, 1000):
            batch = range(start, min(start + 1000, count))
            task.batch_defer(*[{"context": {"i": i}} for i in batch])

    def submit_each(self, count: int) -> None:
        task = self.app.tasks["one"]
        for i in range(count):
            task.defer(context={"i": i})

    def remaining(self) -> int:
        query = "select count(*) from procrastinate_jobs where status in ('todo', 'doing')"
        return int(self.database.value(query))

    def failed(self) -> int:
        query = "select count(*) from procrastinate_jobs where status in ('failed', 'aborted')"
        return int(self.database.value(query))

    def declare_schedules(self, count: int, cron: str) -> None:
        self.schedules, self.cron = self.schedules + count, cron

    def fired(self) -> int:
        query = "select count(*) from procrastinate_periodic_defers where job_id is not null"
        return int(self.database.value(query))

    def single(self) -> None:
        job = self.app.tasks["one"].defer(context={})
        self.database.wait("select status = 'succeeded' from procrastinate_jobs where id = %s", job)

    def chain(self, length: int) -> None:
        key = self._key()
        self.app.tasks["step"].defer(context={"key": key}, left=length)
        self._wait(key)

    def fan(self, width: int) -> None:
        key = self._key()
        self.app.tasks["root"].defer(key=key, width=width)
        self._wait(key)

    def fill(self, count: int) -> None:
        """The jobs alone, without the events of each."""
        assert isinstance(self.database, PostgresDatabase)
        copied = self.database.value("select count(*) from procrastinate_jobs")
        self.database.multiply("procrastinate_jobs", -(-count // copied), {})

    def _key(self) -> str:
        self.keys += 1
        return f"run-{self.keys}"

    def _wait(self, key: str) -> None:
        self.database.wait("select true from bench_done where key = %s", key)


def create(database: Database, options: Mapping[str, Any]) -> Procrastinate:
    return Procrastinate(database, options)


async def work(url: str, concurrency: int, poll: float, *, schedules: int, cron: str) -> None:
    connector = procrastinate.PsycopgConnector(
        conninfo=url, min_size=4, max_size=max(8, concurrency)
    )
    app = application(connector)
    add_schedules(app, schedules, cron)
    async with app.open_async():
        await app.run_worker_async(concurrency=concurrency, fetch_job_polling_interval=poll)


if __name__ == "__main__":
    url, concurrency, poll, schedules, cron = sys.argv[1:]
    asyncio.run(work(url, int(concurrency), float(poll), schedules=int(schedules), cron=cron))
