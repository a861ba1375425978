"""Which times of the calendar an expression names. Wall-clock arithmetic; zones are elsewhere.

A time is the seconds on the wall since 1970-01-01 00:00 on the same wall; a day is the days since.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

MINUTE = 60
HOUR = 3600
DAY = 86400

_DAY_ZERO = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class Times:
    """The minutes of an expression. All sorted; ``weeks`` see ``weeks_of``."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    months: frozenset[int]
    weeks: tuple[int, ...]

    @property
    def per_day(self) -> int:
        """How many times there are on a day that matches."""
        return len(self.minutes) * len(self.hours)

    def between(self, start: int, end: int) -> Iterator[int]:
        """Yield the times in [start, end), in order."""
        for day in self._days(start // DAY, -(-end // DAY)):
            yield from self._on(day * DAY, start, end)

    def has_any(self, start: int, end: int) -> bool:
        """Whether a time lies in [start, end)."""
        return next(self.between(start, end), None) is not None

    def has_day(self, start: int, end: int) -> bool:
        """Whether one of the days in [start, end) matches."""
        return next(self._masks(start, end), None) is not None

    def count(self, start: int, end: int) -> int:
        """Return how many times lie in [start, end), without going through them."""
        if start >= end:
            return 0
        first, last = start // DAY, end // DAY
        days = sum(mask.bit_count() for _, mask in self._masks(first, last))
        return days * self.per_day - self._passed(first, start) + self._passed(last, end)

    def _days(self, start: int, end: int) -> Iterator[int]:
        for before, mask in self._masks(start, end):
            left = mask
            while left:
                lowest = left & -left
                yield before + lowest.bit_length() - 1
                left ^= lowest

    def _masks(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the day before each month that has matching days in [start, end), and these days.

        Bit n is the n-th of the month.
        """
        for before, length in _months(start, end, self.months):
            mask = self.weeks[(before + 5) % 7] & ((2 << length) - 2)
            if start > before:
                mask &= -1 << (start - before)
            if end <= before + length:
                mask &= (1 << (end - before)) - 1
            if mask:
                yield before, mask

    def _on(self, midnight: int, start: int, end: int) -> Iterator[int]:
        for hour in self.hours[bisect_left(self.hours, (start - midnight) // HOUR) :]:
            for minute in self.minutes:
                time = midnight + hour * HOUR + minute * MINUTE
                if time >= end:
                    return
                if time >= start:
                    yield time

    def _passed(self, day: int, time: int) -> int:
        """Return how many times of ``day`` come before ``time``, which is on that day."""
        if not self.has_day(day, day + 1):
            return 0
        hour, rest = divmod(time - day * DAY, HOUR)
        before = bisect_left(self.hours, hour)
        passed = before * len(self.minutes)
        if before < len(self.hours) and self.hours[before] == hour:
            passed += bisect_left(self.minutes, -(-rest // MINUTE))
        return passed


def weeks_of(days: frozenset[int], weekdays: frozenset[int], *, is_either: bool) -> tuple[int, ...]:
    """Return the matching days of a month as bits, for each weekday that its first day can be.

    Index 0 is a month whose first day is a Sunday. ``is_either``: one of the two sets is enough.
    """
    return tuple(_week(first, days, weekdays, is_either=is_either) for first in range(7))


def day_of(year: int) -> int:
    """Return New Year's Day."""
    return date(year, 1, 1).toordinal() - _DAY_ZERO


def year_of(day: int) -> int:
    """Return the year that a day belongs to."""
    return date.fromordinal(day + _DAY_ZERO).year


def _week(first: int, days: frozenset[int], weekdays: frozenset[int], *, is_either: bool) -> int:
    mask = 0
    for day in range(1, 32):
        facts = (day in days, (first + day - 1) % 7 in weekdays)
        if any(facts) if is_either else all(facts):
            mask |= 1 << day
    return mask


def _months(start: int, end: int, wanted: frozenset[int]) -> Iterator[tuple[int, int]]:
    """Yield the day before each wanted month that touches [start, end), and the month's length."""
    if start >= end:
        return
    then = date.fromordinal(start + _DAY_ZERO)
    year, month = then.year, then.month
    before = then.toordinal() - then.day - _DAY_ZERO
    while before + 1 < end:
        year, following = (year, month + 1) if month < 12 else (year + 1, 1)
        last = date(year, following, 1).toordinal() - 1 - _DAY_ZERO
        if month in wanted:
            yield before, last - before
        before, month = last, following
