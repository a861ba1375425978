"""When schedules fire: the moves of the clock by name, windows, catch-up and the work it takes."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloaca_django.core import cron
from tests.core.test_cron_dialect import work_of


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def between(expression: str, timezone: str, start: str, end: str) -> list[str]:
    found = cron.fires_between(cron.parse(expression, timezone), at(start), at(end))
    return [f"{one:%dT%H:%M:%S}".removesuffix(":00") for one in found]


NEW_YORK, BERLIN, LORD_HOWE = "America/New_York", "Europe/Berlin", "Australia/Lord_Howe"
APIA, SAO_PAULO, CASABLANCA = "Pacific/Apia", "America/Sao_Paulo", "Africa/Casablanca"


@pytest.mark.parametrize(
    ("expression", "timezone", "start", "end", "fires"),
    [
        # New York, spring: 02:00 to 03:00 on the 14th does not exist; it ends at 07:00 UTC.
        ("30 2 * * *", NEW_YORK, "2027-03-13", "2027-03-16", ["13T07:30", "14T07:00", "15T06:30"]),
        ("0,30 2 * * *", NEW_YORK, "2027-03-14", "2027-03-15", ["14T07:00"]),
        ("0 2,3 * * *", NEW_YORK, "2027-03-14", "2027-03-15", ["14T07:00"]),
        ("30 2,3 * * *", NEW_YORK, "2027-03-14", "2027-03-15", ["14T07:00", "14T07:30"]),
        ("* 2 * * *", NEW_YORK, "2027-03-14", "2027-03-15", ["14T07:00"]),
        (
            "30 */2 * * *",
            NEW_YORK,
            "2027-03-14T05",
            "2027-03-14T09",
            ["14T05:30", "14T07:00", "14T08:30"],
        ),
        (
            "30 * * * *",
            NEW_YORK,
            "2027-03-14T05",
            "2027-03-14T08",
            ["14T05:30", "14T06:30", "14T07:30"],
        ),
        ("0 2 * * 0", NEW_YORK, "2027-03-14", "2027-03-15", ["14T07:00"]),
        # New York, autumn: 01:00 to 02:00 on the 7th comes twice, from 05:00 and from 06:00 UTC.
        ("30 1 * * *", NEW_YORK, "2027-11-06T12", "2027-11-08T12", ["07T05:30", "08T06:30"]),
        ("*/30 1 * * *", NEW_YORK, "2027-11-07", "2027-11-08", ["07T05:00", "07T05:30"]),
        (
            "30 0-23 * * *",
            NEW_YORK,
            "2027-11-07T04",
            "2027-11-07T08",
            ["07T04:30", "07T05:30", "07T07:30"],
        ),
        (
            "30 * * * *",
            NEW_YORK,
            "2027-11-07T04",
            "2027-11-07T08",
            ["07T04:30", "07T05:30", "07T06:30", "07T07:30"],
        ),
        # Berlin: 02:00 does not exist in March, comes twice in October.
        ("30 2 * * *", BERLIN, "2027-03-28", "2027-03-29T12", ["28T01:00", "29T00:30"]),
        ("30 2 * * *", BERLIN, "2027-10-31", "2027-11-01T12", ["31T00:30", "01T01:30"]),
        (
            "30 */2 * * *",
            BERLIN,
            "2027-10-30T23",
            "2027-10-31T04",
            ["31T00:30", "31T01:30", "31T03:30"],
        ),
        # Lord Howe moves by half an hour: 02:00 to 02:30, and back to 01:30.
        ("15 2 * * *", LORD_HOWE, "2027-10-02T12", "2027-10-03T00", ["02T15:30"]),
        ("45 1 * * *", LORD_HOWE, "2027-04-03T12", "2027-04-04T00", ["03T14:45"]),
        (
            "45 * * * *",
            LORD_HOWE,
            "2027-04-03T14",
            "2027-04-03T16:30",
            ["03T14:45", "03T15:15", "03T16:15"],
        ),
        # Apia had no 30 December 2011: the clock went from the 29th, 24:00, to the 31st, 00:00.
        ("0 0 * * *", APIA, "2011-12-29", "2011-12-31T12", ["29T10:00", "30T10:00", "31T10:00"]),
        ("0 12 * * *", APIA, "2011-12-29", "2011-12-31T12", ["29T22:00", "30T10:00", "30T22:00"]),
        ("0 0,6,12 30 12 *", APIA, "2011-12-29", "2012-01-02", ["30T10:00"]),
        ("0 0 * * 5", APIA, "2011-12-29", "2012-01-02", ["30T10:00"]),
        ("0 */6 30 12 *", APIA, "2011-12-29", "2012-01-02", ["30T10:00"]),
        ("0 * 30 12 *", APIA, "2011-12-29", "2012-01-02", []),
        # Sao Paulo: midnight of 4 November 2018 does not exist.
        (
            "0 0 * * *",
            SAO_PAULO,
            "2018-11-03",
            "2018-11-05T12",
            ["03T03:00", "04T03:00", "05T02:00"],
        ),
        ("30 0 4 11 *", SAO_PAULO, "2018-11-03", "2018-11-05T12", ["04T03:00"]),
        ("30 23 * * *", SAO_PAULO, "2018-02-17T12", "2018-02-19", ["18T01:30"]),
        # Casablanca puts its clock back for Ramadan and forward after it.
        ("30 2 * * *", CASABLANCA, "2027-02-06T12", "2027-02-08T12", ["07T01:30", "08T02:30"]),
        ("30 2 * * *", CASABLANCA, "2027-03-13T12", "2027-03-15T12", ["14T02:00", "15T01:30"]),
        # Monrovia was 44:30 behind, and jumped to UTC.
        (
            "0 0 * * *",
            "Africa/Monrovia",
            "1972-01-05T12",
            "1972-01-08T12",
            ["06T00:44:30", "07T00:44:30", "08T00:00"],
        ),
        (
            "*/20 * * * *",
            "Africa/Monrovia",
            "1972-01-07T00:20",
            "1972-01-07T01:20",
            ["07T00:24:30", "07T01:00", "07T01:20"],
        ),
    ],
)
def test_moves_of_the_clock(expression, timezone, start, end, fires):
    assert between(expression, timezone, start, end) == fires


def zone_of(first: int, *moves: tuple[str, int]) -> ZoneInfo:
    """Return a made-up zone: its offset in seconds, then when it has which other one."""
    offsets = [first, *(offset for _, offset in moves)]
    counts = struct.pack(">6l", 0, 0, 0, len(moves), len(offsets), 4)
    times = b"".join(struct.pack(">l", int(at(text).timestamp())) for text, _ in moves)
    kinds = b"".join(struct.pack(">lbb", offset, 0, 0) for offset in offsets)
    content = (
        b"TZif" + bytes(16) + counts + times + bytes(range(1, len(offsets))) + kinds + b"XXX\0"
    )
    return ZoneInfo.from_file(io.BytesIO(content), key="Test/Zone")


@pytest.mark.parametrize(
    ("zone", "expression", "fires"),
    [
        # Back by an hour, half an hour before the year of UTC ends.
        (zone_of(7200, ("2026-12-31T23:30", 3600)), "0 1 1 1 *", ["2026-12-31T23"]),
        (
            zone_of(7200, ("2026-12-31T23:30", 3600)),
            "0 */1 1 1 *",
            ["2026-12-31T22", "2026-12-31T23", "2027-01-01T00"],
        ),
        # Forward, and back, in the moment in which the year of UTC begins.
        (zone_of(0, ("2027-01-01T00:00", 3600)), "30 0 1 1 *", ["2027-01-01T00"]),
        (zone_of(3600, ("2027-01-01T00:00", 0)), "30 0 1 1 *", ["2026-12-31T23:30"]),
        # Back by a day.
        (zone_of(50400, ("2026-12-31T10:00", -36000)), "0 12 31 12 *", ["2026-12-30T22"]),
    ],
)
def test_a_clock_that_moves_around_the_new_year_of_utc(zone, expression, fires):
    schedule = replace(cron.parse(expression), zone=zone)
    start, end = at("2026-12-30T12"), at("2027-01-01T00:59")
    found = cron.fires_between(schedule, start, end)
    assert list(found) == [at(text) for text in fires]
    assert cron.count_fires(schedule, start, end) == len(found)


@pytest.mark.parametrize(
    ("expression", "timezone", "following"),
    [
        # A date that few years have, on a wall that is in another year than UTC.
        ("0 0 1 1 */7", "Pacific/Kiritimati", "2033-12-31T10"),
        ("0 23 31 12 */7", NEW_YORK, "2035-01-01T04"),
    ],
)
def test_a_rare_date_in_another_year_than_that_of_utc(expression, timezone, following):
    schedule = cron.parse(expression, timezone)
    assert cron.next_fires(schedule, at("2029-01-02")) == (at(following),)


@pytest.mark.parametrize(("start", "hours"), [("2027-03-13T18", 24), ("2027-11-06T18", 24)])
@pytest.mark.parametrize("minutes", [1, 5, 15, 30])
def test_every_so_many_minutes_means_real_minutes_whatever_the_clock_does(start, hours, minutes):
    schedule = cron.parse(f"*/{minutes} * * * *", NEW_YORK)
    fires = cron.fires_between(schedule, at(start), at(start) + timedelta(hours=hours))
    assert len(fires) == hours * 60 // minutes
    assert {b - a for a, b in pairwise(fires)} == {timedelta(minutes=minutes)}


def test_a_window_leaves_out_its_start_and_holds_its_end():
    assert between("0 * * * *", "UTC", "2027-01-01T01", "2027-01-01T03") == ["01T02:00", "01T03:00"]
    assert between("0 * * * *", "UTC", "2027-01-01T03", "2027-01-01T01") == []
    hourly = cron.parse("0 * * * *")
    assert cron.fires_between(hourly, at("2027-01-01"), at("2027-01-02"), limit=0) == ()
    assert len(cron.fires_between(hourly, at("2027-01-01"), at("2027-01-02"), limit=5)) == 5


def test_fires_are_strictly_later_even_by_a_microsecond():
    hourly = cron.parse("0 * * * *")
    for moment, following in (
        ("2027-01-01T02:59:59.999999", "2027-01-01T03"),
        ("2027-01-01T03:00:00", "2027-01-01T04"),
        ("2027-01-01T03:00:00.000001", "2027-01-01T04"),
    ):
        assert cron.next_fires(hourly, at(moment)) == (at(following),)
    tokyo = datetime(2027, 1, 1, 12, tzinfo=timezone(timedelta(hours=9)))
    assert cron.next_fires(hourly, tokyo) == (at("2027-01-01T04"),)


def test_fires_are_aware_and_in_utc():
    (fire,) = cron.next_fires(cron.parse("0 0 * * *", NEW_YORK), at("2027-01-01"))
    assert fire.tzinfo is UTC


def test_a_moment_without_a_zone_is_a_type_error():
    with pytest.raises(TypeError, match="offset-naive"):
        cron.next_fires(cron.parse("* * * * *"), at("2027-01-01").replace(tzinfo=None))


def test_beyond_the_last_year_there_are_fewer_fires_than_asked():
    yearly = cron.parse("@yearly")
    assert cron.next_fires(yearly, at("2197-06-01"), count=9) == (
        at("2198-01-01"),
        at("2199-01-01"),
    )
    assert cron.next_fires(yearly, at("2199-06-01")) == ()
    assert cron.next_fires(yearly, datetime.max.replace(tzinfo=UTC)) == ()
    assert cron.next_fires(yearly, datetime.min.replace(tzinfo=UTC)) == (at("1970-01-01"),)
    assert cron.count_fires(yearly, at("2250-01-01"), at("2300-01-01")) == 0


@pytest.mark.parametrize(
    ("start", "following"),
    [("2096-03-01", "2104-02-29"), ("2027-01-01", "2028-02-29"), ("1970-01-01", "1972-02-29")],
)
def test_a_leap_day_is_found_across_2100(start, following):
    assert cron.next_fires(cron.parse("0 0 29 2 *"), at(start)) == (at(following),)


def test_ten_days_down_with_a_schedule_of_minutes_keep_the_newest():
    newest = cron.newest_fires(
        cron.parse("* * * * *", NEW_YORK), at("2027-03-10"), at("2027-03-20"), count=100
    )
    assert newest.skipped == 10 * 24 * 60 - 100
    assert newest.fires[-1] == at("2027-03-20")
    assert newest.fires[0] == at("2027-03-20") - timedelta(minutes=99)
    assert len(newest.fires) == 100


@pytest.mark.parametrize(
    ("expression", "count", "kept", "skipped"),
    [
        ("0 0 * * *", 100, 10, 0),
        ("0 0 * * *", 10, 10, 0),
        ("0 0 * * *", 9, 9, 1),
        ("0 0 * * *", 1, 1, 9),
        ("0 0 * * *", 0, 0, 10),
        ("0 0 1 1 *", 5, 0, 0),
    ],
)
def test_the_newest_are_kept_and_the_others_counted(expression, count, kept, skipped):
    schedule = cron.parse(expression)
    newest = cron.newest_fires(schedule, at("2027-03-10"), at("2027-03-20T12"), count=count)
    assert (len(newest.fires), newest.skipped) == (kept, skipped)


@given(
    st.sampled_from(["* * * * *", "*/7 */5 * * *", "30 2 * * *", "0 0 31 * *", "* * 1 1 *"]),
    st.sampled_from([NEW_YORK, LORD_HOWE, APIA, "UTC"]),
    st.datetimes(datetime(2010, 12, 1), datetime(2012, 2, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.timedeltas(timedelta(0), timedelta(days=40)),
    st.integers(0, 200),
)
def test_newest_is_the_tail_of_the_whole(expression, timezone, start, length, count):
    schedule = cron.parse(expression, timezone)
    whole = cron.fires_between(schedule, start, start + length)
    newest = cron.newest_fires(schedule, start, start + length, count=count)
    assert newest.fires == whole[max(0, len(whole) - count) :]
    assert newest.skipped == len(whole) - len(newest.fires)
    assert cron.count_fires(schedule, start, start + length) == len(whole)


@pytest.mark.parametrize("expression", ["* * * * *", "* * * 1 *", "30 2 * * *", "0 0 29 2 */7"])
@pytest.mark.parametrize("years", [1, 10, 60])
def test_catching_up_on_years_is_little_work(expression, years):
    schedule = cron.parse(expression, NEW_YORK)
    start, end = at("2027-02-01"), at(f"{2027 + years}-12-31")
    cron.count_fires(schedule, start, end)  # the moves of the clock are searched for once
    work = work_of(lambda: cron.newest_fires(schedule, start, end, count=100))
    assert work < 3_000 + 1_000 * years


@pytest.mark.parametrize(
    "expression",
    ["* * * * *", "0 0 29 2 *", "0 0 29 2 */7", "59 23 31 12 *", "0 0 31 2 1", "0 0 31 */11 */5"],
)
@pytest.mark.parametrize("name", [NEW_YORK, APIA, CASABLANCA, "UTC"])
@pytest.mark.parametrize("start", ["1970-01-01", "2072-03-01", "2096-03-01", "2199-03-01"])
def test_the_next_fire_is_little_work_whenever_it_is(expression, name, start):
    schedule = cron.parse(expression, name)
    # The first look at a year of a zone searches for its moves; no more than two years are met.
    assert work_of(lambda: cron.next_fires(schedule, at(start))) < 2_500
    assert work_of(lambda: cron.next_fires(schedule, at(start))) < 1_500


def test_a_typical_next_fire_is_a_few_steps():
    schedule = cron.parse("30 2 * * 1-5", NEW_YORK)
    now = at("2027-06-01")
    cron.next_fires(schedule, now)
    assert work_of(lambda: cron.next_fires(schedule, now)) < 60
