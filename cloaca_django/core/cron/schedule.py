"""An expression in a zone, read once: what the walk, the warnings and the sentence work on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from cloaca_django.core.cron import dialect
from cloaca_django.core.cron.times import Times, weeks_of
from cloaca_django.core.cron.zones import zone_named
from cloaca_django.core.wording import said
from cloaca_django.errors import InvalidCronExpression

# February has its leap day.
LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When something is due. ``plain`` are the five fields in numbers, aliases expanded.

    ``follows_clock``: the hour field has a ``*``. Such a schedule fires whenever the wall shows a
    matching time, so both times when an hour is repeated; any other fires once for each time.
    """

    expression: str
    zone: ZoneInfo
    plain: tuple[str, ...]
    times: Times
    days: frozenset[int]
    weekdays: frozenset[int]

    @property
    def timezone(self) -> str:
        """The zone's name."""
        return self.zone.key

    @property
    def follows_clock(self) -> bool:
        """Whether a repeated time fires twice."""
        return "*" in self.plain[1]

    @property
    def is_every_hour(self) -> bool:
        """Whether an hour that is jumped over is missed by nobody."""
        return self.follows_clock and len(self.times.hours) == 24

    @property
    def is_either_day(self) -> bool:
        """Whether day and weekday are both restricted, so that either is enough.

        As Vixie's manual has it, a field with a ``*`` in it does not count as restricted, even
        ``*/2``: its values have to match together with those of the other field.
        """
        return _is_either(self.plain)

    @property
    def needs_both_days(self) -> bool:
        """Whether day and weekday both narrow, so that both have to match."""
        return not self.is_either_day and self.plain[2] != "*" and self.plain[4] != "*"


def parse(expression: Any, timezone: Any = "UTC") -> Schedule:
    """Read an expression and the name of its zone; the same pair is read once.

    Raises InvalidCronExpression, InvalidTimezone, or TypeError for what is not a str.
    """
    return _parsed(dialect.cleaned(expression), zone_named(timezone))


@lru_cache(maxsize=4096)
def _parsed(expression: str, zone: ZoneInfo) -> Schedule:
    plain = dialect.spelled_out(expression)
    minutes, hours, days, months, weekdays = dialect.values_of(plain)
    is_either = _is_either(plain)
    if not is_either and min(days) > max(LONGEST[month - 1] for month in months):
        raise InvalidCronExpression(
            expression, said("can never fire: no such date; choose a day that the month has")
        )
    weeks = weeks_of(days, weekdays, is_either=is_either)
    times = Times(tuple(sorted(minutes)), tuple(sorted(hours)), months, weeks)
    return Schedule(expression, zone, plain, times, days, weekdays)


def _is_either(plain: tuple[str, ...]) -> bool:
    return "*" not in plain[2] and "*" not in plain[4]
