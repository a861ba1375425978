"""W7: what a worker costs that has nothing to do, without schedules and beside many of them."""

from __future__ import annotations

import time

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Record, number

ROUNDS = 1
SETTLE_SECONDS = 3.0
SCHEDULES = 10_000
NOT_SOON = "0 0 1 1 *"
TITLE = "Idle worker"
FIGURES = (
    Figure("statements per second", number("statements_per_s")),
    Figure("CPU % of the worker", number("worker_cpu_percent")),
    Figure("CPU % of the server", number("server_cpu_percent"), "neither"),
    Figure("resident MiB", number("resident_mib")),
    Figure("10,000 schedules, statements per second", number("scheduled_statements_per_s")),
    Figure("10,000 schedules, CPU % of the worker", number("scheduled_worker_cpu_percent")),
    Figure(
        "10,000 schedules, CPU % of the server", number("scheduled_server_cpu_percent"), "neither"
    ),
    Figure("10,000 schedules, resident MiB", number("scheduled_resident_mib")),
)


def measure(bench: Bench) -> Record:
    record = _idle(bench)
    if bench.peer.has_schedules:
        bench.peer.declare_schedules(SCHEDULES, NOT_SOON)
        bench.database.execute("analyze")
        record |= {f"scheduled_{key}": value for key, value in _idle(bench).items()}
    return record


def _idle(bench: Bench) -> Record:
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
