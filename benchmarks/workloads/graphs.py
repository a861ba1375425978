"""W3 and W4: fan-out and join, and a long chain, one at a time on an idle system."""

from __future__ import annotations

from functools import partial

from benchmarks.bench import Bench, mean_of, sampled
from benchmarks.figures import Figure, Record, maximum, number, percentile

WIDTH = 100
LENGTH = 100
TITLE = "W3, W4: one task, a hundred beside each other, one join; a chain of a hundred"
FIGURES = (
    Figure("fan of a hundred, median ms", percentile("fan_ms", 50)),
    Figure("fan of a hundred, longest ms", maximum("fan_ms"), "neither"),
    Figure("fan of a hundred, CPU ms", number("fan_cpu_ms")),
    Figure("chain of a hundred, median ms", percentile("deep_ms", 50)),
    Figure("chain of a hundred, longest ms", maximum("deep_ms"), "neither"),
    Figure("chain of a hundred, CPU ms", number("deep_cpu_ms")),
)


def measure(bench: Bench) -> Record:
    record: Record = {}
    with bench.executing() as workers:
        before = bench.probe()
        bench.peer.chain(3)  # to warm up: a hundred take some peers a quarter of a minute
        for name, run in (
            ("fan", partial(bench.peer.fan, WIDTH)),
            ("deep", partial(bench.peer.chain, LENGTH)),
        ):
            spent = bench.spent(*workers)
            walls = sampled(run, count=bench.plan.dag_samples, seconds=bench.plan.dag_seconds)
            record[f"{name}_ms"] = walls
            cpu = bench.spent(*workers).since(spent, runs=len(walls))
            record[f"{name}_cpu_ms"] = cpu["cpu_ms"]
        probe = mean_of(before, bench.probe())
    return record | probe
