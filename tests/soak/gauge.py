"""What the processes and the tables of a soak take up, sampled over its time."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

import psutil
from django.db import DatabaseError, connections

from tests.soak import invariants
from tests.soak.fleet import Fleet
from tests.soak.stage import Stage

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment: memory and descriptors by process, connections, bytes by table, runs so far."""

    at: float
    memory: dict[int, int]
    descriptors: dict[int, int]
    connections: int
    tables: dict[str, int]


@dataclass
class Gauge:
    """Samples in order. ``longest_idle`` as for the invariants."""

    stage: Stage
    fleet: Fleet
    longest_idle: float
    samples: list[Sample] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def take(self, at: float) -> None:
        """Take a sample, unless the database is away."""
        memory, descriptors = {}, {}
        for process in self.fleet.processes():
            with contextlib.suppress(psutil.Error):
                memory[process.pid] = process.memory_info().rss
                descriptors[process.pid] = process.num_fds()
        try:
            count, wrong = invariants.connections_now(self.longest_idle)
            tables = self.stage.size()
        except DatabaseError:
            connections.close_all()
            return
        self.wrong += wrong
        self.samples.append(Sample(at, memory, descriptors, count, tables))

    def lines(self) -> list[tuple[str, str]]:
        """Return what to say of growth: from a tenth of the time on, when everybody is warm."""
        if len(self.samples) < 10:
            return []
        first, last = self.samples[len(self.samples) // 10], self.samples[-1]
        stayed = [pid for pid in first.memory if pid in last.memory]
        minutes = (last.at - first.at) / 60
        found = [
            ("connections, most at once", str(max(one.connections for one in self.samples))),
            ("tables", f"{_total(first) / MIB:.1f} to {_total(last) / MIB:.1f} MiB"),
        ]
        for at, pid in enumerate(sorted(stayed), 1):
            found.append(
                (
                    f"process {at} over {minutes:.0f} min",
                    f"{first.memory[pid] / MIB:.1f} to {last.memory[pid] / MIB:.1f} MiB,"
                    f" {first.descriptors[pid]} to {last.descriptors[pid]} descriptors",
                )
            )
        return found


def _total(sample: Sample) -> int:
    return sum(sample.tables.values())
