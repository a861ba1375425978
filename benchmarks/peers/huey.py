"""huey: a small task queue, here on SQLite. It forgets a task whose worker dies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import huey
from huey.api import Huey

from benchmarks.database import Database, wait_until
from benchmarks.peer import Peer
from benchmarks.sqlite import SqliteDatabase

TITLE = "huey"
REQUIREMENTS = ("huey",)
VARIANTS = {
    "": (
        "`SqliteHuey(fsync=True)`, which is `synchronous` FULL and WAL; 4 threads, polled each 5 "
        "to 10 ms (default 100 ms and slower); it has no bulk call and no retry after a crash",
        {"database": "sqlite", "workers": 4, "poll": 0.005},
    ),
}
WAIT_SECONDS = 120.0


def queue(path: str) -> Huey:
    return huey.SqliteHuey("bench", filename=path, fsync=True)


class Jobs:
    """The jobs on one queue."""

    def __init__(self, on: Huey) -> None:
        @on.task(name="one")
        def one(context: dict[str, Any] | None = None, **previous: Any) -> dict[str, Any]:
            return {**(context or {}), **previous, "a": 1}  # a pipeline passes keywords on

        @on.task(name="leaf")
        def leaf(context: dict[str, Any], number: int) -> dict[str, Any]:
            return {f"leaf{number}": 1}

        @on.task(name="join")
        def join(parts: list[dict[str, Any]]) -> dict[str, Any]:
            return {key: value for part in parts for key, value in part.items()}

        self.one, self.leaf, self.join = one, leaf, join


class HueyPeer(Peer):
    """A graph is a pipeline or a group of huey's own; its results are thrown away afterwards."""

    def open(self) -> None:
        assert isinstance(self.database, SqliteDatabase)
        self.queue = queue(str(self.database.path))
        self.jobs = Jobs(self.queue)
        self.submitted = 0

    def close(self) -> None:
        self.queue.storage.close()

    def worker_command(self) -> list[str]:
        assert isinstance(self.database, SqliteDatabase)
        options = [str(self.options["workers"]), str(self.options["poll"])]
        # Not by -m: a job is found by the name of its module.
        start = "import sys; from benchmarks.peers import huey; huey.work(*sys.argv[1:])"
        return ["-c", start, str(self.database.path), *options]

    def submit_many(self, count: int) -> None:
        self.submit_each(count)

    def submit_each(self, count: int) -> None:
        for i in range(count):
            self.jobs.one({"i": i})
        self.submitted += count

    def remaining(self) -> int:
        return self.submitted - int(self.database.value("select count(*) from kv"))

    def failed(self) -> int:
        return int(self.database.value("select count(*) from kv where instr(value, x'4572726f72')"))

    def single(self) -> None:
        self._take(self.jobs.one({}))

    def chain(self, length: int) -> None:
        pipeline = self.jobs.one.s({})
        for _ in range(length - 1):
            pipeline = pipeline.then(self.jobs.one)
        results = self.queue.enqueue(pipeline)
        self._take(results._results[-1])  # indexing the group itself waits, with a growing delay
        self._forget()

    def fan(self, width: int) -> None:
        self._take(self.jobs.one({}))
        group = huey.group([self.jobs.leaf.s({}, i) for i in range(width)])
        self._take(self.queue.enqueue(group.then(self.jobs.join)).callback)
        self._forget()

    def _take(self, result: Any) -> None:
        wait_until(result.is_ready, timeout_seconds=WAIT_SECONDS, every=0.001)
        result.get()

    def _forget(self) -> None:
        self.queue.storage.flush_results()
        self.submitted = 0


def create(database: Database, options: Mapping[str, Any]) -> HueyPeer:
    return HueyPeer(database, options)


def work(path: str, workers: str, poll: str) -> None:
    served = queue(path)
    Jobs(served)
    delay = float(poll)
    served.create_consumer(
        workers=int(workers), worker_type="thread", initial_delay=delay, max_delay=2 * delay
    ).run()
