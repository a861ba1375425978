"""W11: how fast a hundred thousand runs are submitted by the peer's bulk call."""

from __future__ import annotations

import time

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Record, number

ROUNDS = 1
FIRST = 500  # tells how long all of them would take
TITLE = "W11: bulk submission"
FIGURES = (
    Figure("runs per second", number("runs_per_s"), "more"),
    Figure("CPU ms per run", number("cpu_ms")),
    Figure("runs submitted", number("count"), "neither"),
)


def measure(bench: Bench) -> Record:
    """A slow peer submits fewer, as many as fit in the time."""
    start = time.perf_counter()
    bench.peer.submit_many(FIRST)
    fitting = int(FIRST / (time.perf_counter() - start) * bench.plan.bulk_seconds)
    count = max(FIRST, min(bench.plan.bulk_runs, fitting))
    spent, start = bench.spent(), time.perf_counter()
    bench.peer.submit_many(count)
    seconds = time.perf_counter() - start
    cpu = bench.spent().since(spent, runs=count)
    return {"runs_per_s": count / seconds, "count": count} | cpu
