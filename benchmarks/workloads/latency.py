"""W2: one task and a chain of three on an idle system, from the submission to the result."""

from __future__ import annotations

from benchmarks.bench import Bench, mean_of, sampled
from benchmarks.figures import Figure, Record, maximum, percentile, stalls

STALL_MS = 100.0
TITLE = "W2: one run at a time, submission to result"
FIGURES = (
    Figure("one task, p50 ms", percentile("single_ms", 50)),
    Figure("one task, p95 ms", percentile("single_ms", 95)),
    Figure("one task, p99 ms", percentile("single_ms", 99)),
    Figure("one task, longest ms", maximum("single_ms"), "neither"),
    Figure("chain of three, p50 ms", percentile("chain3_ms", 50)),
    Figure("chain of three, p95 ms", percentile("chain3_ms", 95)),
    Figure("chain of three, p99 ms", percentile("chain3_ms", 99)),
    Figure("chain of three, longest ms", maximum("chain3_ms"), "neither"),
    Figure(
        "chains of three above 100 ms, in 1,000", stalls("chain3_ms", above_ms=STALL_MS), "neither"
    ),
)


def measure(bench: Bench) -> Record:
    plan, peer = bench.plan, bench.peer
    with bench.executing() as workers:
        before = bench.probe()
        peer.single()
        singles = sampled(peer.single, count=plan.latency_samples, seconds=plan.latency_seconds)
        peer.chain(3)
        spent = bench.spent(*workers)
        chains = sampled(
            lambda: peer.chain(3), count=plan.latency_samples, seconds=plan.latency_seconds
        )
        cpu = bench.spent(*workers).since(spent, runs=len(chains))
        probe = mean_of(before, bench.probe())
    return {"single_ms": singles, "chain3_ms": chains} | cpu | probe
