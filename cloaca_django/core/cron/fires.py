"""When a schedule fires: the walk along the clock of its zone.

One rule covers every move of a clock: a time fires at the first moment at which the wall shows
that time or a later one. A time that is jumped over therefore fires at the end of the gap, all
times of one gap together once, and a repeated time fires when it is first shown.

Two exceptions, for intervals that follow real time: with a ``*`` in the hour field a repeated
time fires both times, and with every hour (``*``) nothing is made up for an hour that was jumped
over, since the hour after it came in its place.

Moments are looked for from 1970 to the end of 2199; whoever asks beyond gets fewer than asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import NamedTuple

from cloaca_django.core.cron.schedule import Schedule
from cloaca_django.core.cron.times import DAY, day_of, year_of
from cloaca_django.core.cron.zones import Stretch, stretches

FIRST_YEAR = 1970
LAST_YEAR = 2199

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_START = day_of(FIRST_YEAR) * DAY
_END = day_of(LAST_YEAR + 1) * DAY


class Newest(NamedTuple):
    """The newest fires of a window, oldest first, and how many older ones it had."""

    fires: tuple[datetime, ...]
    skipped: int


def next_fires(schedule: Schedule, after: datetime, *, count: int = 1) -> tuple[datetime, ...]:
    """Return the first ``count`` fires later than ``after``, in UTC."""
    return _moments(islice(_fires(schedule, later_than(after), _END), count))


def fires_between(
    schedule: Schedule, start: datetime, end: datetime, *, limit: int | None = None
) -> tuple[datetime, ...]:
    """Return the fires later than ``start`` and not later than ``end``, in UTC, oldest first.

    Without ``limit`` that may be one a minute; use ``newest_fires`` for a window of any length.
    """
    return _moments(islice(_fires(schedule, later_than(start), later_than(end)), limit))


def count_fires(schedule: Schedule, start: datetime, end: datetime) -> int:
    """Return how many fires ``fires_between`` would return; exact, and cheap for years as well."""
    return _count(schedule, later_than(start), later_than(end))


def newest_fires(schedule: Schedule, start: datetime, end: datetime, *, count: int) -> Newest:
    """Return the last ``count`` fires of ``fires_between``, and the number of the others.

    The others are counted by the month, so ten years of minutes take about a millisecond.
    """
    begin, until = later_than(start), later_than(end)
    total = _count(schedule, begin, until)
    kept = min(max(count, 0), total)
    if kept < total:
        begin = _start_of_newest(schedule, begin, until, count=kept)
    return Newest(_moments(_fires(schedule, begin, until)), total - kept)


def _start_of_newest(schedule: Schedule, begin: int, until: int, *, count: int) -> int:
    """Return from when on exactly ``count`` fires are left; there are more from ``begin`` on."""
    length = DAY
    while until - length > begin and _count(schedule, until - length, until) < count:
        length *= 2
    low, high = max(begin, until - length), until
    while low < high:
        middle = (low + high) // 2
        if _count(schedule, middle, until) > count:
            low = middle + 1
        else:
            high = middle
    return low


def _fires(schedule: Schedule, start: int, end: int) -> Iterator[int]:
    """Yield the fires in [start, end), in seconds of UTC since 1970."""
    for stretch in stretches_of(schedule, start, end):
        begin, until = max(start, stretch.start), min(end, stretch.end)
        if begin == stretch.start and makes_up(schedule, stretch):
            yield begin
            begin += 1
        first = _first_time(schedule, stretch, begin)
        for time in schedule.times.between(first, until + stretch.offset):
            yield time - stretch.offset


def _count(schedule: Schedule, start: int, end: int) -> int:
    """Count what ``_fires`` yields."""
    total = 0
    for stretch in stretches_of(schedule, start, end):
        begin, until = max(start, stretch.start), min(end, stretch.end)
        if begin == stretch.start and makes_up(schedule, stretch):
            total += 1
            begin += 1
        first = _first_time(schedule, stretch, begin)
        total += schedule.times.count(first, until + stretch.offset)
    return total


def makes_up(schedule: Schedule, stretch: Stretch) -> bool:
    """Whether the stretch opens with a fire for times that the clock jumped over."""
    return (
        stretch.shown < stretch.opens_at
        and not schedule.is_every_hour
        and schedule.times.has_any(stretch.shown, stretch.opens_at)
    )


def _first_time(schedule: Schedule, stretch: Stretch, begin: int) -> int:
    """Return the first time on the wall, from moment ``begin`` on, that may fire."""
    time = begin + stretch.offset
    return time if schedule.follows_clock else max(time, stretch.shown)


def stretches_of(schedule: Schedule, start: int, end: int) -> Iterator[Stretch]:
    """Yield the stretches that touch [start, end), leaving out years without a matching day."""
    start, end = max(start, _START), min(end, _END)
    if start >= end:
        return
    for year in range(year_of(start // DAY), year_of((end - 1) // DAY) + 1):
        # A wall is a day ahead or behind at most; a gap is a day long at most.
        if schedule.times.has_day(day_of(year) - 3, day_of(year + 1) + 3):
            for stretch in stretches(schedule.zone, year):
                if stretch.start < end and stretch.end > start:
                    yield stretch


def later_than(moment: datetime) -> int:
    """Return the first whole second later than ``moment``; TypeError if it has no zone."""
    return (moment - _EPOCH) // _SECOND + 1


def _moments(seconds: Iterable[int]) -> tuple[datetime, ...]:
    return tuple(_EPOCH + timedelta(seconds=at) for at in seconds)
