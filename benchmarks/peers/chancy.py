"""chancy: a queue on PostgreSQL with a workflow plugin for graphs."""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
from collections.abc import Coroutine, Mapping
from typing import Any

from chancy import Chancy, Job, Queue, Worker
from chancy.plugins.cron import Cron
from chancy.plugins.workflow import Workflow, WorkflowPlugin

from benchmarks.database import Database
from benchmarks.peer import Peer

TITLE = "chancy"
REQUIREMENTS = ("chancy[cron]",)
VARIANTS = {
    "": (
        "`async` executor, concurrency 100 (its default), LISTEN/NOTIFY, eager polling, "
        "completions flushed each 5 ms (default 1 s); schedules, where there are any, polled each "
        "second (default a minute)",
        {"concurrency": 100, "flush": 0.005},
    ),
    "flush-1s": ("the same with the default flush of 1 s", {"concurrency": 100, "flush": 1.0}),
}


async def one(context: dict[str, Any]) -> None:
    """The no-op job. chancy finds it by its path."""
    context["a"] = 1


def application(url: str, *, has_cron: bool) -> Any:
    quiet = logging.getLogger("benchmarks.chancy")
    quiet.setLevel(logging.ERROR)
    return Chancy(url, log=quiet, plugins=[Cron(poll_interval=1)] if has_cron else [])


class ChancyPeer(Peer):
    """Submits from an event loop on a thread of its own, without leaving it between calls."""

    has_schedules = True

    def open(self) -> None:
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.app = application(self.database.url, has_cron=True)
        self.worker_has_cron = False
        self.declared = 0
        self._run(self._prepare())

    def close(self) -> None:
        self._run(self.app.__aexit__(None, None, None))
        self.loop.call_soon_threadsafe(self.loop.stop)

    def worker_command(self) -> list[str]:
        options = [str(self.options["flush"]), *(["cron"] if self.worker_has_cron else [])]
        return ["-m", "benchmarks.peers.chancy", self.database.url, *options]

    def wait_until_ready(self) -> None:
        # Without a leader the workflow plugin does nothing.
        self.database.wait("select count(*) > 0 from chancy_leader", every=0.05)

    def submit_many(self, count: int) -> None:
        async def push() -> None:
            async for _ in self.app.push_many([self._job(i) for i in range(count)]):
                pass

        self._run(push())

    def submit_each(self, count: int) -> None:
        async def push() -> None:
            for i in range(count):
                await self.app.push(self._job(i))

        self._run(push())

    def remaining(self) -> int:
        query = "select count(*) from chancy_jobs where state not in ('succeeded', 'failed')"
        return int(self.database.value(query))

    def failed(self) -> int:
        return int(self.database.value("select count(*) from chancy_jobs where state = 'failed'"))

    def declare_schedules(self, count: int, cron: str) -> None:
        numbers = range(self.declared, self.declared + count)
        jobs = [self._job(i).with_unique_key(f"schedule-{i}") for i in numbers]
        self.declared += count
        self._run(Cron.schedule(self.app, cron, *jobs))
        self.worker_has_cron = True

    def fired(self) -> int:
        query = "select count(*) from chancy_jobs where unique_key is not null"
        return int(self.database.value(query))

    def single(self) -> None:
        job = self._run(self.app.push(self._job(0)))
        self.database.wait(
            "select state = 'succeeded' from chancy_jobs where id = %s", job.identifier
        )

    def chain(self, length: int) -> None:
        flow = Workflow("chain")
        for i in range(length):
            flow.add(f"s{i}", self._job(i), [f"s{i - 1}"] if i else [])
        self._execute(flow)

    def fan(self, width: int) -> None:
        leaves = [f"leaf{i}" for i in range(width)]
        flow = Workflow("fan").add("root", self._job(0))
        flow.add_group([(leaf, self._job(1)) for leaf in leaves], ["root"])
        self._execute(flow.add("join", self._job(2), leaves))

    def _job(self, number: int) -> Any:
        return Job(func="benchmarks.peers.chancy.one", kwargs={"context": {"i": number}})

    def _execute(self, flow: Any) -> None:
        self._run(WorkflowPlugin.push(self.app, flow))
        self.database.wait(
            "select state = 'completed' from chancy_workflows where id = %s", flow.id
        )

    async def _prepare(self) -> None:
        await self.app.__aenter__()
        await self.app.migrate()
        queue = Queue(
            "default",
            concurrency=self.options["concurrency"],
            executor=Chancy.Executor.Async,
            polling_interval=1,
            eager_polling=True,
        )
        await self.app.declare(queue, upsert=True)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()


def create(database: Database, options: Mapping[str, Any]) -> ChancyPeer:
    return ChancyPeer(database, options)


async def work(url: str, flush_seconds: float, *, has_cron: bool) -> None:
    async with application(url, has_cron=has_cron) as app:
        async with app.pool.connection() as connection:
            # The term of a worker that was stopped before goes on for two minutes.
            await connection.execute("delete from chancy_leader")
        worker = Worker(app)
        worker.send_outgoing_interval = flush_seconds
        async with worker:
            app.plugins["chancy.leadership"].wake_up()  # it stands for election after 60 s only
            await worker.wait_for_shutdown()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], float(sys.argv[2]), has_cron="cron" in sys.argv[3:]))
