"""The walk over zones against an oracle that looks at every minute: no mismatch anywhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloaca_django.core import cron
from tests.core.cron_oracle import EPOCH, NAMES, Window, rule_of

DAY = 24 * 60
HALF_WIDTH = 36 * 60
# No clock moves twice in less.
LOOK_EVERY = 3 * DAY
EXPRESSIONS = [
    "* * * * *",
    "*/15 * * * *",
    "*/7 * * * *",
    "30 * * * *",
    "59 * * * *",
    "5/25 * * * *",
    "*/10 */2 * * *",
    "30 */3 * * *",
    "0 */6 * * *",
    "0 */24 * * *",
    "15 */12 * * *",
    "20 *,3 * * *",
    "0 0 * * *",
    "30 0 * * *",
    "59 23 * * *",
    "30 1 * * *",
    "0 2 * * *",
    "30 2 * * *",
    "0 3 * * *",
    "0,30 1-3 * * *",
    "*/20 2 * * *",
    "* 1-2 * * *",
    "45 0-23 * * *",
    "10 1/4 * * *",
    "0 2 * * 0",
    "30 1,2 * * SUN",
    "30 2 * * 7",
    "0 0 * * 1-5",
    "15 0 * * FRI-SUN",
    "0 12 1 * *",
    "30 2 8-14 * *",
    "0 1 */2 * *",
    "30 2 13 * 5",
    "0 2 */2 * 0",
    "0 0 1-7 * */7",
    "30 2 * 3,10,11 *",
    "0 3 31 * *",
    "0 0 30 12 *",
    "*/30 * 30,31 12 *",
    "0 4 29 2 1",
]


def offset(zone: ZoneInfo, minute: int) -> int:
    ahead = datetime.fromtimestamp(minute * 60, zone).utcoffset()
    return ahead // timedelta(minutes=1)


def moves(zone: ZoneInfo, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield the minute of each move of the clock, and the offsets before and after."""
    new = offset(zone, start)
    for noon in range(start, end, LOOK_EVERY):
        old, new = new, offset(zone, noon + LOOK_EVERY)
        if old != new:
            low, high = noon, noon + LOOK_EVERY
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if offset(zone, middle) == old else (low, middle)
            yield high, old, new


def moment(minute: int) -> datetime:
    return EPOCH + timedelta(minutes=minute)


def minute_of(year: int) -> int:
    return (datetime(year, 1, 1, 12, tzinfo=UTC) - EPOCH) // timedelta(minutes=1)


def histories(first: int, last: int) -> dict[tuple[object, ...], str]:
    """Return one zone for each different history of its clock in these years."""
    start, end = minute_of(first), minute_of(last + 1)
    found: dict[tuple[object, ...], str] = {}
    for name in sorted(cron.zone_names()):
        zone = ZoneInfo(name)
        found.setdefault((offset(zone, start), *moves(zone, start, end)), name)
    return found


def mismatch(expression: str, timezone: str, window: Window) -> str:
    """Return what differs between the walk and the oracle, or nothing."""
    schedule = cron.parse(expression, timezone)
    before = moment(window.start) - timedelta(seconds=1)
    until = moment(window.end) - timedelta(seconds=1)
    expected = [moment(minute) for minute in window.fires(rule_of(expression))]
    found = list(cron.fires_between(schedule, before, until))
    newest = cron.newest_fires(schedule, before, until, count=3)
    first = cron.next_fires(schedule, before, count=min(2, len(expected)))
    same = (
        found == expected
        and cron.count_fires(schedule, before, until) == len(expected)
        and newest == (tuple(expected[-3:]), max(0, len(expected) - 3))
        and list(first) == expected[:2]
    )
    return "" if same else f"{expression} in {timezone} from {before} to {until}"


def mismatches(timezone: str, window: Window, expressions: list[str] = EXPRESSIONS) -> list[str]:
    return [found for one in expressions if (found := mismatch(one, timezone, window))]


# A quarter for each move, in turn; everything when asked: a minute or two of one core.
STRIDE = 1 if os.environ.get("CLOACA_WHOLE_ORACLE") else 4


@pytest.mark.slow
def test_every_move_of_every_clock_from_2020_to_2030_agrees_with_the_oracle():
    found, windows = [], 0
    known = histories(2020, 2030)
    for (_, *shifts), timezone in known.items():
        for at, _, _ in shifts:
            window = Window(ZoneInfo(timezone), at - HALF_WIDTH, at + HALF_WIDTH)
            windows += 1
            found += mismatches(timezone, window, EXPRESSIONS[windows % STRIDE :: STRIDE])
    assert found == []
    assert len(known) > 50
    assert windows > 500


@pytest.mark.parametrize(
    ("timezone", "date"),
    [
        ("America/New_York", "2027-03-14"),
        ("America/New_York", "2027-11-07"),
        ("Europe/Berlin", "2027-03-28"),
        ("Europe/Berlin", "2027-10-31"),
        ("Australia/Lord_Howe", "2027-04-04"),
        ("Australia/Lord_Howe", "2027-10-03"),
        ("Antarctica/Troll", "2027-03-28"),
        ("Africa/Casablanca", "2027-02-07"),
        ("Africa/Casablanca", "2027-03-14"),
        ("America/Sao_Paulo", "2018-11-04"),
        ("America/Sao_Paulo", "2018-02-18"),
        ("Asia/Beirut", "2027-03-28"),
        ("Pacific/Apia", "2011-12-30"),
        ("Pacific/Kwajalein", "1993-08-21"),
        ("Asia/Pyongyang", "2015-08-15"),
        ("America/Caracas", "2007-12-09"),
        ("Europe/Moscow", "2014-10-26"),
        ("Asia/Kathmandu", "1986-01-01"),
    ],
)
def test_well_known_moves_agree_with_the_oracle(timezone, date):
    noon = (datetime.fromisoformat(f"{date}T12:00+00:00") - EPOCH) // timedelta(minutes=1)
    window = Window(ZoneInfo(timezone), noon - HALF_WIDTH, noon + HALF_WIDTH)
    assert len({offset(ZoneInfo(timezone), at) for at in (window.start, window.end)}) == 2
    assert mismatches(timezone, window) == []


def items(low: int, high: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[str]:
    number = st.integers(low, high).map(str)
    span = st.tuples(st.integers(low, high), st.integers(low, high)).map(
        lambda pair: f"{min(pair)}-{max(pair)}"
    )
    step = st.integers(1, high - low + (low > 0)).map(str)
    plain = st.one_of(number, span, st.just("*"), st.sampled_from(names or (str(low),)))
    stepped = st.tuples(st.one_of(number, span, st.just("*")), step).map("/".join)
    return st.lists(plain | stepped, min_size=1, max_size=3).map(",".join)


months = tuple(name for name in NAMES if name in {"JAN", "FEB", "MAR", "NOV"})
weekdays = ("SUN", "mon", "FRI-SUN", "tue-Thu", "7", "5-7", "0-7")
expressions = st.tuples(
    items(0, 59), items(0, 23), items(1, 31), items(1, 12, months), items(0, 6, weekdays)
).map(" ".join)
# Since 1973 every zone is whole minutes away from UTC.
minutes = st.integers(minute_of(1973), minute_of(2199))


def accepted(expression: str) -> bool:
    try:
        return bool(cron.parse(expression))
    except ValueError:
        return False


@settings(max_examples=200)
@given(expressions.filter(accepted), st.sampled_from(sorted(cron.zone_names())), minutes)
def test_any_expression_in_any_zone_at_any_time_agrees_with_the_oracle(expression, timezone, at):
    window = Window(ZoneInfo(timezone), at, at + DAY)
    if not moved_within(ZoneInfo(timezone), at - 3 * DAY, at):
        assert mismatch(expression, timezone, window) == ""


@settings(max_examples=200)
@given(
    expressions.filter(accepted),
    st.sampled_from(["America/New_York", "Australia/Lord_Howe", "Asia/Gaza", "Africa/Casablanca"]),
    st.integers(2020, 2037),
    st.data(),
)
def test_any_expression_at_a_move_of_the_clock_agrees_with_the_oracle(
    expression, timezone, year, data
):
    zone = ZoneInfo(timezone)
    at, _, _ = data.draw(st.sampled_from(list(moves(zone, minute_of(year), minute_of(year + 1)))))
    window = Window(zone, at - DAY, at + DAY)
    assert mismatch(expression, timezone, window) == ""


def moved_within(zone: ZoneInfo, start: int, end: int) -> bool:
    """Whether the oracle would have to begin before its window."""
    return offset(zone, start) != offset(zone, end)
