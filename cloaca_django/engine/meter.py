"""What this process counts of its own work, once somebody wants to know. Plain numbers, no rows.

A supervised process hands its counts to its supervisor, which outlives it and adds them up.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cloaca_django.core.measures import BUCKETS, MAX_SERIES, OTHER, Kind, Measure, Series

ATTEMPTS = Measure(
    "cloaca_task_attempts", Kind.COUNTER, "Attempts of tasks that ended, and how",
    ("workflow", "task", "outcome", "schema"),
)  # fmt: skip
RETRIES = Measure(
    "cloaca_task_retries", Kind.COUNTER, "Failed attempts after which the task is tried again",
    ("workflow", "task", "schema"),
)  # fmt: skip
TASK_SECONDS = Measure(
    "cloaca_task_seconds", Kind.HISTOGRAM, "How long the bodies of tasks ran",
    ("workflow", "task"),
)  # fmt: skip
RUNS = Measure(
    "cloaca_runs_ended", Kind.COUNTER, "Runs that ended, and how", ("workflow", "status", "schema")
)
RUN_SECONDS = Measure(
    "cloaca_run_seconds", Kind.HISTOGRAM, "How long runs took from their submission to their end",
    ("workflow",),
)  # fmt: skip
RECOVERED = Measure(
    "cloaca_tasks_recovered", Kind.COUNTER, "Tasks taken back from workers that were lost",
    ("schema",),
)  # fmt: skip
REFUSED = Measure(
    "cloaca_outcomes_refused", Kind.COUNTER, "Outcomes that came too late and were refused",
    ("schema",),
)  # fmt: skip
PASSED_OVER = Measure(
    "cloaca_schedule_times_passed_over", Kind.COUNTER, "Times of schedules that started no run",
    ("schema",),
)  # fmt: skip
PARKED = Measure("cloaca_schedules_parked", Kind.COUNTER, "Schedules that were parked", ("schema",))

MEASURES = (
    ATTEMPTS, RETRIES, TASK_SECONDS, RUNS, RUN_SECONDS, RECOVERED, REFUSED, PASSED_OVER, PARKED,
)  # fmt: skip
_BY_NAME = {measure.name: measure for measure in MEASURES}
# One message to a supervisor carries so many series: it must fit into what is read at once.
_PORTION = 50

Key = tuple[str, tuple[str, ...]]


class Meter:
    """Counts and times by labels, at most ``MAX_SERIES`` of a measure. For any thread."""

    def __init__(self) -> None:
        self._values: dict[Key, list[float]] = {}
        self._sizes: Counter[str] = Counter()
        # Guards the values: the turn and the heartbeats count, and somebody reads.
        self._lock = threading.Lock()
        for measure in MEASURES:
            # Known before the first time: a rate needs a zero to rise from.
            if measure.labels == ("schema",):
                self.add(measure, ("",), [0.0])

    def add(self, measure: Measure, labels: tuple[str, ...], values: Sequence[float]) -> None:
        """Add to a series."""
        with self._lock:
            key = (measure.name, labels)
            if key not in self._values:
                if self._sizes[measure.name] >= MAX_SERIES - 1:
                    key = (measure.name, (OTHER,) * len(labels))
                if key not in self._values:
                    self._sizes[measure.name] += 1
                    self._values[key] = [0.0] * len(values)
            sums = self._values[key]
            for at, value in enumerate(values):
                sums[at] += value

    def series(self) -> list[Series]:
        """Return what was counted."""
        with self._lock:
            found = [(key, list(values)) for key, values in self._values.items()]
        return [Series(_BY_NAME[name], labels, values) for (name, labels), values in found]

    def take(self) -> list[tuple[str, tuple[str, ...], list[float]]]:
        """Return what was counted since the last call, as it travels, and begin anew."""
        with self._lock:
            found, self._values = self._values, {}
            self._sizes.clear()
        return [(name, labels, values) for (name, labels), values in found.items() if any(values)]


_meter: Meter | None = None


def switch_on() -> Meter:
    """Count from now on; returns the process's one meter."""
    global _meter  # noqa: PLW0603 - work is counted wherever it is done, by one meter a process
    _meter = _meter or Meter()
    return _meter


def switch_off() -> None:
    """Count no more, and forget what was counted."""
    global _meter  # noqa: PLW0603 - see above
    _meter = None


def is_on() -> bool:
    """Say whether anybody wants to know."""
    return _meter is not None


def count(measure: Measure, *labels: str, by: float = 1) -> None:
    """Count, if anybody wants to know."""
    if _meter is not None and by:
        _meter.add(measure, labels, [by])


def time(measure: Measure, seconds: float, *labels: str) -> None:
    """Put a length of time into its bucket, if anybody wants to know."""
    if _meter is not None:
        values = [0.0] * (len(BUCKETS) + 2)
        values[bisect_left(BUCKETS, seconds)] = 1.0
        values[-1] = seconds
        _meter.add(measure, labels, values)


def taken() -> Iterator[list[Any]]:
    """Yield what was counted since the last call, in messages' portions; nothing when off."""
    found = _meter.take() if _meter is not None else []
    for at in range(0, len(found), _PORTION):
        yield list(found[at : at + _PORTION])


def put(counted: Iterable[Any]) -> None:
    """Add what another process counted, if anybody wants to know."""
    if _meter is not None:
        for name, labels, values in counted:
            _meter.add(_BY_NAME[name], tuple(labels), values)
