"""The times of a dense clock: every fifth of a second, whatever a schedule's expression says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cloaca_django.core.cron.fires import Newest

STEP = timedelta(milliseconds=200)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def next_fires(schedule: Any, after: datetime, *, count: int = 1) -> tuple[datetime, ...]:
    """Stand in for ``cron.next_fires``."""
    first = (after - _EPOCH) // STEP + 1
    return tuple(_EPOCH + at * STEP for at in range(first, first + count))


def newest_fires(schedule: Any, start: datetime, end: datetime, *, count: int) -> Newest:
    """Stand in for ``cron.newest_fires``."""
    first, last = ((moment - _EPOCH) // STEP + 1 for moment in (start, end))
    kept = range(max(first, last - count), last)
    return Newest(tuple(_EPOCH + at * STEP for at in kept), last - first - len(kept))
