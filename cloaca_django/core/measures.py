"""What can be measured of an engine: names, meanings and labels, and how series are kept few."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

# As many series has one measure; the rest of them are one, whose labels say ``OTHER``. Names of
# queues may come from requests, and whoever stores measures pays for each series.
MAX_SERIES = 1_000
OTHER = "_other"
# Upper bounds in seconds: from a task of one statement to one of an hour.
BUCKETS = (
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0,
    3600.0,
)  # fmt: skip


class Kind(enum.Enum):
    """How values of a measure come about."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that is measured. The label ``schema`` is empty without tenants.

    Of many ages the greatest counts, of anything else the sum.
    """

    name: str
    kind: Kind
    meaning: str
    labels: tuple[str, ...] = ()
    is_age: bool = False


@dataclass(frozen=True, slots=True)
class Series:
    """A measure with its labels' values.

    A histogram has its count for each of ``BUCKETS``, that beyond them, and the sum of seconds.
    """

    measure: Measure
    labels: tuple[str, ...]
    values: Sequence[float]


def bounded(series: Iterable[Series]) -> list[Series]:
    """Return the largest ``MAX_SERIES`` of each gauge, the rest put together as one."""
    by_measure: dict[Measure, list[Series]] = {}
    for one in series:
        by_measure.setdefault(one.measure, []).append(one)
    return [one for found in by_measure.values() for one in _bounded(found)]


def _bounded(found: list[Series]) -> list[Series]:
    if len(found) <= MAX_SERIES:
        return found
    found = sorted(found, key=lambda one: one.values[0], reverse=True)
    kept, rest = found[: MAX_SERIES - 1], found[MAX_SERIES - 1 :]
    measure = rest[0].measure
    together = max if measure.is_age else sum
    value = float(together(one.values[0] for one in rest))
    return [*kept, Series(measure, (OTHER,) * len(measure.labels), [value])]
