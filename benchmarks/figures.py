"""What a workload reports: named figures, and how rounds become one number."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

Record = dict[str, Any]  # numbers, and lists of samples
Better = Literal["more", "less", "neither"]


@dataclass(frozen=True)
class Figure:
    """One row of the report."""

    label: str
    of: Callable[[Record], float | None]  # of the merged record; None: nothing to show
    better: Better = "less"


def number(key: str) -> Callable[[Record], float | None]:
    """The median over rounds of a number."""

    def read(record: Record) -> float | None:
        value = record.get(key)
        return None if value is None or isinstance(value, list) else value

    return read


def percentile(key: str, percent: float) -> Callable[[Record], float | None]:
    """Of the samples of all rounds, by nearest rank."""

    def read(record: Record) -> float | None:
        value = record.get(key)
        if not isinstance(value, list) or not value:
            return None
        ordered = sorted(value)
        rank = max(1, -(-len(ordered) * percent // 100))  # ceiling
        return ordered[int(rank) - 1]

    return read


def maximum(key: str) -> Callable[[Record], float | None]:
    return percentile(key, 100)


def stalls(key: str, *, above_ms: float) -> Callable[[Record], float | None]:
    """How many of a thousand samples took longer."""

    def read(record: Record) -> float | None:
        value = record.get(key)
        if not isinstance(value, list) or not value:
            return None
        return 1000 * sum(1 for sample in value if sample > above_ms) / len(value)

    return read


def merged(records: Iterable[Record]) -> Record:
    """One record out of the rounds': numbers become their median, samples are pooled."""
    rounds = list(records)
    made: Record = {}
    for key in dict.fromkeys(key for record in rounds for key in record):
        values = [record[key] for record in rounds if key in record]
        if isinstance(values[0], list):
            made[key] = [sample for value in values for sample in value]
        else:
            made[key] = statistics.median(values)
    return made
