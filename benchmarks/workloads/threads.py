"""W12: sixteen threads of one client, each executing one-task runs one after the other."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

from benchmarks.bench import Bench, mean_of, sampled
from benchmarks.figures import Figure, Record, number, percentile

ROUNDS = 1
THREADS = 16
TITLE = "W12: executed from sixteen threads of one client"
FIGURES = (
    Figure("runs per second", number("runs_per_s"), "more"),
    Figure("the same, per commit of the probe", number("runs_per_commit"), "more"),
    Figure("p50 ms", percentile("single_ms", 50)),
    Figure("p99 ms", percentile("single_ms", 99)),
    Figure("CPU ms per run", number("cpu_ms")),
)


def measure(bench: Bench) -> Record:
    if not bench.peer.runs_from_threads:
        return {}
    plan, peer = bench.plan, bench.peer
    with bench.executing() as workers, ThreadPoolExecutor(THREADS) as pool:

        def in_threads(count: int, seconds: float) -> list[float]:
            ended = [
                pool.submit(sampled, peer.single, count=count, seconds=seconds)
                for _ in range(THREADS)
            ]
            return [sample for thread in ended for sample in thread.result()]

        in_threads(2, 10.0)
        before = bench.probe()
        spent, start = bench.spent(*workers), time.perf_counter()
        samples = in_threads(plan.latency_samples, plan.latency_seconds)
        seconds = time.perf_counter() - start
        cpu = bench.spent(*workers).since(spent, runs=len(samples))
        probe = mean_of(before, bench.probe())
    rates = {
        "runs_per_s": len(samples) / seconds,
        "runs_per_commit": len(samples) / seconds / probe["probe_commits_per_s"],
    }
    return {"single_ms": samples} | rates | cpu | probe
