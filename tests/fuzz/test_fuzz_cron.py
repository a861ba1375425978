"""Cron expressions and time zones that nobody would write, and the fires of those that are fine."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from cloaca_django.core import cron
from tests.fuzz.hostile import judged, mixed, things

SIGNS = [
    "*", "?", "L", "W", "#", "/", "-", ",", "0", "5", "7", "8", "13", "24", "29", "31", "32", "59",
    "60", "9" * 20, "MON", "sun", "FEB", "5L", "1#2", "15W", "H", "R", "~", "@daily", "@DAILY",
    "@reboot", "@every 5m", " ", "\t", "\n", "\x00", "\u0663", "*/", "*/7", "0-59/13", "SUN-MON",
    "30-10", "-1", "+1", ".", "_", "0x1", "1e3",
]  # fmt: skip
ZONE_PIECES = [
    "Europe/", "Berlin", "UTC", "Etc/GMT", "America", "Argentina/", "+", "-", "3", "03:00", "..",
    "/", "\\", "etc/passwd", "tzdata.zi", "zone.tab", "posix/", "right/", "localtime", "EST5EDT",
    ":", " ", "\x00", "\n", "\ud800", "x" * 300, "Factory", "posixrules",
]  # fmt: skip
moments = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=st.just(UTC))  # noqa: DTZ001
zones = st.sampled_from(sorted(cron.zone_names()))


def _item(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    ends = st.tuples(number, number).map(sorted)
    step = st.integers(1, high - low + 1)
    return st.one_of(
        st.just("*"),
        number.map(str),
        step.map("*/{}".format),
        ends.map(lambda two: "{}-{}".format(*two)),
        st.tuples(number, step).map(lambda two: "{}/{}".format(*two)),
        st.tuples(ends, step).map(lambda both: "{}-{}/{}".format(*both[0], both[1])),
    )


fields = [
    st.lists(_item(*bounds), min_size=1, max_size=3).map(",".join)
    for bounds in ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
]
expressions = st.tuples(*fields).map(" ".join)


@given(mixed(SIGNS, most=14) | st.lists(mixed(SIGNS, most=3), max_size=7).map(" ".join))
def test_any_text(text):
    judged(lambda: cron.parse(text))


@given(mixed(ZONE_PIECES, most=4))
def test_any_zone(name):
    if judged(lambda: cron.parse("@daily", name)):
        assert name in cron.zone_names()


@given(things)
def test_anything(thing):
    judged(lambda: cron.parse(thing))
    judged(lambda: cron.parse("@daily", thing))


@given(expressions, zones, moments)
def test_what_is_read_has_fires_in_no_time(expression, zone, now):
    read = []
    judged(lambda: read.append(cron.parse(expression, zone)))
    for schedule in read:
        fires: list[datetime] = []
        # Twice: the first time the moves of a zone's clock are looked for.
        assert judged(lambda found=fires, one=schedule: found.extend(cron.next_fires(one, now)))
        assert all(at > now for at in fires)
        assert len(fires) == 1 or now.year > 2160 or now.year < 1970
        assert judged(lambda one=schedule: cron.warnings_of(one, now))
        assert judged(lambda one=schedule: cron.describe(one, language="de"))
        start = now - timedelta(days=3_650) if now.year > 12 else now
        newest = cron.newest_fires(schedule, start, now, count=3)
        assert list(newest.fires) == sorted(newest.fires)
