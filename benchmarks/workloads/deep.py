"""W4: a long chain."""

from __future__ import annotations

from benchmarks.bench import Bench, timed_graph
from benchmarks.figures import Figure, Record, maximum, percentile

LENGTH = 100
TITLE = "W4: a chain of a hundred tasks"
FIGURES = (
    Figure("median ms", percentile("wall_ms", 50)),
    Figure("longest ms", maximum("wall_ms"), "neither"),
)


def measure(bench: Bench) -> Record:
    return timed_graph(bench, lambda: bench.peer.chain(LENGTH))
