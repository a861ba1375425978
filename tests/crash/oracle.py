"""When a schedule ought to have fired: every minute of a window is tried, nothing is calculated.

For expressions of numbers, ``*``, ``*/n`` and lists, in UTC. It shares no code with ``core/cron``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache

MINUTE = timedelta(minutes=1)
# How late a time may be and still not count as missed, under the policy "skip".
PUNCTUAL = timedelta(seconds=60)


def times_in(expression: str, start: datetime, end: datetime) -> list[datetime]:
    """Return the times from ``start``, included, to ``end``, excluded."""
    moment = start.replace(second=0, microsecond=0)
    found = []
    while moment < end:
        if moment >= start and _matches(expression, moment):
            found.append(moment)
        moment += MINUTE
    return found


def wanted(
    times: list[datetime], policy: str, *, cap: int, patience: timedelta | None, now: datetime
) -> set[datetime]:
    """Return those of the times due by ``now`` that the policy fires."""
    kept = times[-cap:] if policy == "all" else times[-1:]
    if policy == "skip" and patience is None:
        patience = PUNCTUAL
    return {time for time in kept if patience is None or now - time <= patience}


def _matches(expression: str, moment: datetime) -> bool:
    fields = zip(expression.split(), _parts(moment), strict=True)
    return all(value in _values(field) for field, value in fields)


def _parts(moment: datetime) -> tuple[int, ...]:
    return (moment.minute, moment.hour, moment.day, moment.month, moment.isoweekday() % 7)


@lru_cache
def _values(field: str) -> frozenset[int]:
    if field.startswith("*"):
        step = int(field[2:] or 1)
        return frozenset(range(0, 60, step))
    return frozenset(map(int, field.split(",")))
