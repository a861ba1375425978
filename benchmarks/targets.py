"""What a target is: a bound, and how its figure is read from the records of one run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from benchmarks import figures
from benchmarks.catalogue import OWN
from benchmarks.figures import Record

SLACK = 0.05  # of "exactly": another session of the server may have gone to disk meanwhile

Records = dict[tuple[str, str], Record]  # merged, by workload and entry
Read = Callable[[Records], float | None]  # None: it was not measured


@dataclass(frozen=True)
class Target:
    wanted: Literal["at most", "at least", "exactly"]
    bound: float
    label: str
    read: Read

    def is_met(self, value: float) -> bool:
        if self.wanted == "exactly":
            return abs(value - self.bound) <= SLACK * self.bound
        return value <= self.bound if self.wanted == "at most" else value >= self.bound


def at_most(bound: float, label: str, read: Read) -> Target:
    return Target("at most", bound, label, read)


def at_least(bound: float, label: str, read: Read) -> Target:
    return Target("at least", bound, label, read)


def exactly(bound: float, label: str, read: Read) -> Target:
    return Target("exactly", bound, label, read)


def value(workload: str, key: str, entry: str = OWN) -> Read:
    """A number, or the median of samples."""

    def read(records: Records) -> float | None:
        record = records.get((workload, entry), {})
        if isinstance(record.get(key), list):
            return figures.percentile(key, 50)(record)
        return figures.number(key)(record)

    return read


def ratio(workload: str, key: str, peer: str, *, own: str = OWN) -> Read:
    """Ours by theirs."""
    return quotient(value(workload, key, own), value(workload, key, peer))


def by_best(workload: str, key: str) -> Read:
    """Ours by the least of all peers."""

    def best(records: Records) -> float | None:
        peers = {entry for _, entry in records if entry.partition(":")[0] != OWN}
        found = [value(workload, key, entry)(records) for entry in peers]
        return min((one for one in found if one is not None), default=None)

    return quotient(value(workload, key), best)


def quotient(first: Read, second: Read) -> Read:
    def read(records: Records) -> float | None:
        above, below = first(records), second(records)
        return above / below if above is not None and below else None

    return read


def tail(workload: str, key: str, percent: float, entry: str) -> Read:
    """A percentile of samples."""
    return lambda records: figures.percentile(key, percent)(records.get((workload, entry), {}))


def stalls(workload: str, key: str, entry: str, *, above_ms: float) -> Read:
    """How many of a thousand samples took longer."""
    found = figures.stalls(key, above_ms=above_ms)
    return lambda records: found(records.get((workload, entry), {}))
