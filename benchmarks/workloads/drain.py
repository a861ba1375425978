"""W1a: one-task runs queued before a worker starts, drained by one worker process.

The clock starts when the first run has ended, so that starting a worker is not counted. CPU is
that of the submission by the bulk call, spread over all runs, plus that of the drain. A slow peer
gets fewer runs, and is stopped before the last one: what it drained until then counts.
"""

from __future__ import annotations

import time

from benchmarks.bench import Bench, mean_of
from benchmarks.figures import Figure, Record, number

FIRST = 200  # tells how long all of them would take
TITLE = "W1a: drain of one-task runs queued before"
FIGURES = (
    Figure("runs drained per second", number("runs_per_s"), "more"),
    Figure("the same, per commit of the probe", number("runs_per_commit"), "more"),
    Figure("CPU ms per run, submission included", number("cpu_ms")),
    Figure("- of the client", number("cpu_client_ms")),
    Figure("- of the worker", number("cpu_worker_ms")),
    Figure("- of the server", number("cpu_server_ms")),
    Figure("runs submitted per second, bulk call", number("submitted_per_s"), "more"),
)


def measure(bench: Bench) -> Record:
    before = bench.probe()
    idle, start = bench.spent(), time.perf_counter()
    count = _submit(bench)
    submitted_per_s = count / (time.perf_counter() - start)
    submission = bench.spent().since(idle, runs=count)
    bench.database.analyze()  # as autovacuum would have, had the backlog grown slowly
    with bench.worker() as worker:
        bench.wait_until_fewer(count, worker)
        spent, start, left = bench.spent(worker), time.perf_counter(), bench.peer.remaining()
        drained = left - bench.drain_for(bench.plan.drain_seconds, worker)
        seconds = time.perf_counter() - start
        work = bench.spent(worker).since(spent, runs=max(1, drained))
        bench.check()
        probe = mean_of(before, bench.probe())
    rates = {
        "runs_per_s": drained / seconds,
        "runs_per_commit": drained / seconds / probe["probe_commits_per_s"],
        "submitted_per_s": submitted_per_s,
    }
    return rates | {key: work[key] + submission[key] for key in work} | probe


def _submit(bench: Bench) -> int:
    """All runs, or as many as fit in the time; how many."""
    wanted = bench.plan.drain_runs
    first, start = min(FIRST, wanted), time.perf_counter()
    bench.peer.submit_many(first)
    fitting = int(first / (time.perf_counter() - start) * bench.plan.bulk_seconds)
    more = min(wanted - first, fitting)
    if more:
        bench.peer.submit_many(more)
    return first + more
