"""W3: fan-out and join."""

from __future__ import annotations

from benchmarks.bench import Bench, timed_graph
from benchmarks.figures import Figure, Record, maximum, percentile

WIDTH = 100
TITLE = "W3: one task, a hundred beside each other, one join"
FIGURES = (
    Figure("median ms", percentile("wall_ms", 50)),
    Figure("longest ms", maximum("wall_ms"), "neither"),
)


def measure(bench: Bench) -> Record:
    return timed_graph(bench, lambda: bench.peer.fan(WIDTH))
