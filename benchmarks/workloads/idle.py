"""W7: what a worker costs that has nothing to do, without schedules and beside many of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from benchmarks.bench import Bench
from benchmarks.database import Database, Sql
from benchmarks.figures import Figure, Record, number
from benchmarks.plan import FULL

ROUNDS = 1
SETTLE_SECONDS = 3.0
NOT_SOON = "0 0 1 1 *"
TITLE = "W7: a worker that has nothing to do"


def _figures() -> Iterator[Figure]:
    for count in FULL.idle_schedules:
        name = f"{count:,} schedules" if count else "no schedule"
        yield Figure(f"{name}, statements per second", number(f"statements_per_s_{count}"))
        yield Figure(f"{name}, CPU % of the worker", number(f"worker_cpu_percent_{count}"))
        label = f"{name}, CPU % of the server"
        yield Figure(label, number(f"server_cpu_percent_{count}"), "neither")
        yield Figure(f"{name}, resident MiB", number(f"resident_mib_{count}"))


FIGURES = tuple(_figures())


def measure(bench: Bench) -> Record:
    record: Record = {}
    declared = 0
    for count in bench.plan.idle_schedules:
        if count > declared:
            if not bench.peer.has_schedules or count > bench.peer.most_schedules:
                break
            bench.peer.declare_schedules(count - declared, NOT_SOON)
            bench.database.analyze()
            declared = count
        record |= {f"{key}_{count}": value for key, value in _idle(bench).items()}
    return record


def _idle(bench: Bench) -> Record:
    with bench.ready_worker() as worker:
        time.sleep(SETTLE_SECONDS)
        with _counting(bench.database) as counted:
            spent, start = bench.spent(worker), time.perf_counter()
            time.sleep(bench.plan.idle_seconds)
            seconds = time.perf_counter() - start
            now, sql = bench.spent(worker), counted()
            record: Record = {
                "worker_cpu_percent": 100 * (now.worker - spent.worker) / seconds,
                "server_cpu_percent": 100 * (now.server - spent.server) / seconds,
                "resident_mib": worker.resident_mib(),
            }
        if sql is not None:
            record["statements_per_s"] = sql.statements / seconds
        return record


@contextmanager
def _counting(database: Database) -> Iterator[Callable[[], Sql | None]]:
    """Count where it can be done."""
    if database.counts_sql:
        with database.counting() as counted:
            yield counted
    else:
        yield lambda: None
