"""W8: the memory of one worker over many runs."""

from __future__ import annotations

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Record, number
from benchmarks.plan import FULL

ROUNDS = 1
ONLY = ("cloaca_django", "cloaca_django:sqlite")
PART = 20_000
TITLE = "W8: resident MiB of the worker"
FIGURES = (
    Figure("when it has ended its first run", number("mib_start"), "neither"),
    *(Figure(f"after {runs:,} runs", number(f"mib_{runs}"), "neither") for runs in FULL.memory),
)


def measure(bench: Bench) -> Record:
    record: Record = {}
    done = 0
    with bench.ready_worker() as worker:
        record["mib_start"] = worker.resident_mib()
        for wanted in bench.plan.memory:
            while done < wanted:
                part = min(PART, wanted - done)
                bench.peer.submit_many(part)
                bench.drain(worker)
                done += part
            record[f"mib_{wanted}"] = worker.resident_mib()
    bench.check()
    return record
