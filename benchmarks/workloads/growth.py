"""W6: the same drain beside ended runs: none, a hundred thousand, a million."""

from __future__ import annotations

import time

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Record, number
from benchmarks.plan import FULL
from benchmarks.postgresql import PostgresDatabase

ROUNDS = 1
LOOK_SECONDS = 0.25  # few looks, for they touch pages as well
TITLE = "W6: beside ended runs, CPU and pages per run"
FIGURES = tuple(
    figure
    for ended in FULL.growth
    for figure in (
        Figure(f"{ended:,} ended: CPU ms per run", number(f"cpu_ms_{ended}")),
        Figure(f"{ended:,} ended: pages touched per run", number(f"pages_{ended}")),
    )
)


def measure(bench: Bench) -> Record:
    if not bench.peer.has_history or not isinstance(bench.database, PostgresDatabase):
        return {}
    record: Record = {}
    ended = 0
    with bench.ready_worker():
        pass
    _drain(bench, bench.database)  # once unmeasured: the first pages, the first plans
    for wanted in bench.plan.growth:
        if wanted > ended:
            bench.peer.fill(wanted - ended)
            ended = wanted
        record |= {f"{key}_{wanted}": value for key, value in _drain(bench, bench.database).items()}
    return record


def _drain(bench: Bench, database: PostgresDatabase) -> Record:
    count = bench.plan.drain_runs
    with bench.ready_worker() as worker:
        database.reported(bench.peer.queued_single)
        pages, spent = database.buffers_touched(), bench.spent(worker)
        bench.peer.submit_many(count)
        bench.wait_for(lambda: bench.peer.remaining() == 0, worker, every=LOOK_SECONDS)
        cpu = bench.spent(worker).since(spent, runs=count)["cpu_ms"]
        database.reported(bench.peer.queued_single)
        time.sleep(0.2)
        touched = database.buffers_touched() - pages
    bench.check()
    return {"cpu_ms": cpu, "pages": touched / (count + 1)}
