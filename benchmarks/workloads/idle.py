"""W7: what a worker costs that has nothing to do."""

from __future__ import annotations

import time

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Record, number

ROUNDS = 1
SETTLE_SECONDS = 3.0
TITLE = "Idle worker"
FIGURES = (
    Figure("statements per second", number("statements_per_s")),
    Figure("CPU % of the worker", number("worker_cpu_percent")),
    Figure("CPU % of the server", number("server_cpu_percent"), "neither"),
    Figure("resident MiB", number("resident_mib")),
)


def measure(bench: Bench) -> Record:
    with bench.ready_worker() as worker:
        time.sleep(SETTLE_SECONDS)
        with bench.database.counting() as counted:
            spent, start = bench.spent(worker), time.perf_counter()
            time.sleep(bench.plan.idle_seconds)
            seconds = time.perf_counter() - start
            now, sql = bench.spent(worker), counted()
            return {
                "statements_per_s": sql.statements / seconds,
                "transactions_per_s": sql.transactions / seconds,
                "worker_cpu_percent": 100 * (now.worker - spent.worker) / seconds,
                "server_cpu_percent": 100 * (now.server - spent.server) / seconds,
                "resident_mib": worker.resident_mib(),
            }
