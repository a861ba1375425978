"""W5: the same runs by one and by two worker processes, with tasks that compute and without."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Record, number

ROUNDS = 1
SETTLE_SECONDS = 2.0  # until the second worker is there as well
TITLE = "W5: two worker processes"
FIGURES = (
    Figure("no-op tasks: x of one process's rate", number("plain_rate_x"), "more"),
    Figure("no-op tasks: x of one process's CPU per run", number("plain_cpu_x")),
    Figure("computing tasks: x of one process's rate", number("busy_rate_x"), "more"),
    Figure("computing tasks: x of one process's CPU per run", number("busy_cpu_x")),
)


def measure(bench: Bench) -> Record:
    kinds: dict[str, tuple[Callable[[int], None], int]] = {
        "plain": (bench.peer.submit_many, bench.plan.drain_runs)
    }
    if bench.peer.has_busy_runs:
        kinds["busy"] = (bench.peer.submit_busy, bench.plan.busy_runs)
    record: Record = {}
    for processes in (1, 2):
        record |= _drained(bench, kinds, processes)
    for kind in kinds:
        record[f"{kind}_rate_x"] = record[f"{kind}_rate_2"] / record[f"{kind}_rate_1"]
        record[f"{kind}_cpu_x"] = record[f"{kind}_cpu_2"] / record[f"{kind}_cpu_1"]
    return record


def _drained(
    bench: Bench, kinds: dict[str, tuple[Callable[[int], None], int]], processes: int
) -> Record:
    """Submitted in bulk to warm workers; from the first call to the last end."""
    record: Record = {}
    with ExitStack() as stack:
        workers = [stack.enter_context(bench.ready_worker()) for _ in range(processes)]
        time.sleep(SETTLE_SECONDS)
        for kind, (submit, count) in kinds.items():
            submit(20)
            bench.drain(*workers)
            spent, start = bench.spent(*workers), time.perf_counter()
            submit(count)
            bench.drain(*workers)
            record[f"{kind}_rate_{processes}"] = count / (time.perf_counter() - start)
            cpu = bench.spent(*workers).since(spent, runs=count)
            record[f"{kind}_cpu_{processes}"] = cpu["cpu_ms"]
    bench.check()
    return record
