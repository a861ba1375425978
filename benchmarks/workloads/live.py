"""W1b: one client submits by one call per run while one worker process drains."""

from __future__ import annotations

import time

from benchmarks.bench import Bench, mean_of
from benchmarks.figures import Figure, Record, number

TITLE = "W1b: live, one client, one call per run"
FIGURES = (
    Figure("runs per second", number("runs_per_s"), "more"),
    Figure("the same, per commit of the probe", number("runs_per_commit"), "more"),
    Figure("CPU ms per run", number("cpu_ms")),
    Figure("- of the client", number("cpu_client_ms")),
    Figure("- of the worker", number("cpu_worker_ms")),
    Figure("- of the server", number("cpu_server_ms")),
    Figure("resident MiB of the worker", number("resident_mib")),
)


def measure(bench: Bench) -> Record:
    count = bench.plan.live_runs
    with bench.ready_worker() as worker:
        bench.peer.submit_each(20)
        bench.drain(worker)
        before = bench.probe()
        spent, start = bench.spent(worker), time.perf_counter()
        bench.peer.submit_each(count)
        bench.drain(worker)
        seconds = time.perf_counter() - start
        cpu = bench.spent(worker).since(spent, runs=count)
        bench.check()
        probe = mean_of(before, bench.probe())
        resident = worker.resident_mib()
    rates = {
        "runs_per_s": count / seconds,
        "runs_per_commit": count / seconds / probe["probe_commits_per_s"],
        "resident_mib": resident,
    }
    return rates | cpu | probe
