"""Time zones: which names exist, and how the clock on the wall is moved.

``zoneinfo`` answers for single moments only, so the moments at which an offset changes are
searched for, once per zone and year.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, available_timezones

from cloaca_django.core.cron.times import DAY, day_of
from cloaca_django.errors import InvalidTimezone

# No zone of the database has moved its clocks twice within six days since 1970.
STEP = 2 * DAY
# The longest way back of a clock is one day, across the date line.
LOOK_BACK = 2 * DAY

_OFFSET = re.compile(r"(?:[A-Za-z]{1,4})? *[+-]?\d[\d:.]*", re.ASCII)


class Stretch(NamedTuple):
    """A time in which a zone's clock is not moved: [start, end) in seconds of UTC since 1970.

    ``offset``: seconds that the wall is ahead of UTC. ``shown``: up to which time the wall had
    shown every time or jumped over it before ``start``. It lies ahead of the wall's time at
    ``start`` when the clock was put back, and behind it when the clock was put forward.
    """

    start: int
    end: int
    offset: int
    shown: int

    @property
    def opens_at(self) -> int:
        """The wall's time at the start."""
        return self.start + self.offset


@cache
def zone_names() -> frozenset[str]:
    """Return every name of the zone database, without what means this machine's own zone."""
    return frozenset(available_timezones() - {"localtime"})


def zone_named(name: Any) -> ZoneInfo:
    """Return the zone; its name is case-sensitive. Raises InvalidTimezone or TypeError."""
    if not isinstance(name, str):
        raise TypeError(f"a time zone must be a str such as 'UTC', not {type(name).__name__}")
    # Nothing but a known name reaches ZoneInfo, which opens files and raises what they raise.
    if name not in zone_names():
        is_offset = len(name) < 20 and _OFFSET.fullmatch(name) is not None
        raise InvalidTimezone(name[:100], _alike(name), is_offset=is_offset)
    return ZoneInfo(name)


@lru_cache(maxsize=4096)
def stretches(zone: ZoneInfo, year: int) -> tuple[Stretch, ...]:
    """Return the stretches that make up a year of UTC, cut at both its ends."""
    start, end = day_of(year) * DAY, day_of(year + 1) * DAY
    moves = list(_moves(zone, start - LOOK_BACK, end))
    ends = [*(at for at, _ in moves[1:]), end]
    found = []
    shown = sum(moves[0])
    for (at, offset), until in zip(moves, ends, strict=True):
        begin = max(at, start)
        if until > begin:
            # Cut at New Year's, a stretch goes on where it was.
            shown = max(shown, begin + offset) if begin > at else shown
            found.append(Stretch(begin, until, offset, shown))
        shown = until + offset
    return tuple(found)


def _moves(zone: ZoneInfo, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the start and the offset there, then each moment of a change and the new offset."""
    offset = _offset(zone, start)
    yield start, offset
    before = start
    while before < end - 1:
        after = min(before + STEP, end - 1)
        if (new := _offset(zone, after)) != offset:
            yield _first_with(zone, new, before, after), new
            offset = new
        before = after


def _first_with(zone: ZoneInfo, offset: int, before: int, after: int) -> int:
    """Return the first moment with ``offset``, which ``before`` has not and ``after`` has."""
    while after - before > 1:
        middle = (before + after) // 2
        if _offset(zone, middle) == offset:
            after = middle
        else:
            before = middle
    return after


def _offset(zone: ZoneInfo, at: int) -> int:
    return int(datetime.fromtimestamp(at, zone).replace(tzinfo=UTC).timestamp()) - at


def _alike(name: str) -> list[str]:
    """Return the few names worth comparing with a wrong one; all would take too long."""
    wrong = name[:100].casefold().replace(" ", "_")
    known = sorted(zone_names())
    return (
        [one for one in known if one.casefold() == wrong]
        or [one for one in known if _city(one) == _city(wrong)]
        or [one for one in known if _city(one)[:1] == _city(wrong)[:1]]
    )


def _city(name: str) -> str:
    return name.rpartition("/")[2].casefold()
