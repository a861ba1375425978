"""When a schedule fires, worked out the slow way: every minute of a window, one after the other.

Shares nothing with the package but the meaning of an expression. Works for windows in which all
offsets are whole minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

LAST = (59, 23, 31, 12, 6)
FIRST = (0, 0, 1, 1, 0)
MONTHS = "--- JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC"
WEEKDAYS = "SUN MON TUE WED THU FRI SAT"
NAMES = {name: str(at) for names in (MONTHS, WEEKDAYS) for at, name in enumerate(names.split())}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Rule:
    """An expression as sets of numbers."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool
    both_passes: bool
    nothing_to_make_up: bool

    def has_day(self, day: datetime) -> bool:
        found = (day.day in self.days, day.isoweekday() % 7 in self.weekdays)
        return day.month in self.months and (any(found) if self.either else all(found))


@cache
def rule_of(expression: str) -> Rule:
    texts = expression.upper().split()
    sets = [_numbers(at, text) for at, text in enumerate(texts)]
    sets[4] = frozenset(at % 7 for at in sets[4])
    star = "*" in texts[1]
    return Rule(
        *sets,
        either="*" not in texts[2] and "*" not in texts[4],
        both_passes=star,
        nothing_to_make_up=star and sets[1] == frozenset(range(24)),
    )


def _numbers(at: int, text: str) -> frozenset[int]:
    found: set[int] = set()
    for item in text.split(","):
        span, _, step = item.partition("/")
        low, _, high = span.partition("-")
        if low == "*":
            start, stop = FIRST[at], LAST[at]
        else:
            start = int(NAMES.get(low, low))
            stop = int(NAMES.get(high, high)) if high else LAST[at] if step else start
        if high == "SUN":
            stop = 7
        found.update(n for n in range(start, stop + 1) if (n - start) % int(step or 1) == 0)
    return frozenset(found)


class Window:
    """Every minute of [start, end), in minutes of UTC since 1970, on the clock of a zone.

    ``shows`` maps a minute on the wall to the minutes of UTC that show it; ``passes`` to the first
    one that shows it or a later one.
    """

    def __init__(self, zone: ZoneInfo, start: int, end: int) -> None:
        self.start, self.end = start, end
        self.shows: dict[int, list[int]] = {}
        self.passes: dict[int, int] = {}
        highest = _wall(zone, start) - 1
        for minute in range(start, end):
            wall = _wall(zone, minute)
            self.shows.setdefault(wall, []).append(minute)
            for passed in range(highest + 1, wall + 1):
                self.passes[passed] = minute
            highest = max(highest, wall)
        self._midnights = sorted({wall // 1440 for wall in {*self.shows, *self.passes}})

    def fires(self, rule: Rule) -> list[int]:
        """Return the minutes of UTC at which the rule fires."""
        found: set[int] = set()
        for day in self._midnights:
            if rule.has_day(EPOCH + timedelta(days=day)):
                walls = (
                    day * 1440 + hour * 60 + minute
                    for hour in rule.hours
                    for minute in rule.minutes
                )
                found.update(*(self._at(rule, wall) for wall in walls))
        return sorted(found)

    def _at(self, rule: Rule, wall: int) -> list[int]:
        shown = self.shows.get(wall, [])
        if shown and rule.both_passes:
            return shown
        if wall not in self.passes or (not shown and rule.nothing_to_make_up):
            return []
        return [self.passes[wall]]


def _wall(zone: ZoneInfo, minute: int) -> int:
    moment = datetime.fromtimestamp(minute * 60, zone)
    return (moment.toordinal() - EPOCH.toordinal()) * 1440 + moment.hour * 60 + moment.minute
