"""Which names are time zones, and where their clocks move."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloaca_django.core import cron
from cloaca_django.core.cron.zones import stretches
from cloaca_django.errors import InvalidTimezone
from tests.core.test_cron_dialect import work_of


@pytest.mark.parametrize(
    "name", ["UTC", "GMT", "EST", "US/Pacific", "Etc/GMT+5", "Etc/GMT-3", "Europe/Paris"]
)
def test_names_of_the_zone_database_are_accepted(name):
    assert cron.parse("* * * * *", name).timezone == name


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Mars/Phobos", "is not a zone such as 'UTC' or 'Europe/Berlin'"),
        ("Europe/Berln", "did you mean 'Europe/Berlin'?"),
        ("Asia/Calcuta", "did you mean 'Asia/Calcutta'?"),
        ("europe/berlin", "did you mean 'Europe/Berlin'?"),
        ("utc", "did you mean 'UTC'?"),
        ("New York", "did you mean 'America/New_York'?"),
        ("", "'' is not a zone"),
        (" ", "' ' is not a zone"),
        (" UTC", "is not a zone"),
        ("Z", "is not a zone"),
        ("PST", "is not a zone"),
        ("+03:00", "offsets are not supported, but Etc/GMT-3 is a zone"),
        ("UTC+3", "offsets are not supported"),
        ("GMT+5", "offsets are not supported"),
        ("EST5", "offsets are not supported"),
        ("-0330", "offsets are not supported"),
        ("../../../etc/passwd", "is not a zone"),
        ("/etc/passwd", "is not a zone"),
        ("UTC\x00", "is not a zone"),
        ("America", "is not a zone"),
        ("x" * 300, "is not a zone"),
        ("tzdata.zi", "is not a zone"),
        ("zone.tab", "is not a zone"),
        ("posixrules", "is not a zone"),
        # The zone of whatever machine asks.
        ("localtime", "is not a zone"),
        ("US/Pacific-New", "did you mean 'US/Pacific'?"),
        ("Europe/Berlin\ud800", "is not a zone"),
    ],
)
def test_other_names_are_refused(name, hint):
    with pytest.raises(InvalidTimezone) as refusal:
        cron.parse("* * * * *", name)
    assert "Invalid timezone: " in str(refusal.value)
    assert hint in str(refusal.value)
    assert str(refusal.value).isprintable()


@pytest.mark.parametrize("name", [None, 5, b"UTC", ZoneInfo("UTC")])
def test_what_is_no_name_is_a_type_error(name):
    with pytest.raises(TypeError, match="a time zone must be a str such as 'UTC', not"):
        cron.parse("* * * * *", name)


@given(st.text(max_size=300) | st.text("abcEUropen/_+-0123.", max_size=120))
def test_any_other_text_is_refused_at_little_cost(name):
    if name not in cron.zone_names():

        def read() -> None:
            with pytest.raises(InvalidTimezone):
                cron.parse("* * * * *", name)

        assert work_of(read) < 30_000


def moves(name: str, year: int) -> list[tuple[str, int]]:
    found = stretches(ZoneInfo(name), year)
    return [
        (f"{datetime.fromtimestamp(one.start, UTC):%m-%dT%H:%M:%S}", one.offset) for one in found
    ]


@pytest.mark.parametrize(
    ("name", "year", "expected"),
    [
        ("UTC", 2027, []),
        ("Europe/Berlin", 2027, [("03-28T01:00:00", 7200), ("10-31T01:00:00", 3600)]),
        ("Australia/Lord_Howe", 2027, [("04-03T15:00:00", 37800), ("10-02T15:30:00", 39600)]),
        (
            "Pacific/Apia",
            2011,
            [("04-02T14:00:00", -39600), ("09-24T14:00:00", -36000), ("12-30T10:00:00", 50400)],
        ),
        ("Africa/Monrovia", 1972, [("01-07T00:44:30", 0)]),
        # A week of summer time, and a move at a moment that the search looks at.
        (
            "America/Recife",
            2000,
            [("02-27T02:00:00", -10800), ("10-08T03:00:00", -7200), ("10-15T02:00:00", -10800)],
        ),
        ("Asia/Gaza", 2026, [("03-28T00:00:00", 10800), ("10-23T23:00:00", 7200)]),
    ],
)
def test_the_moves_of_a_clock_are_found_to_the_second(name, year, expected):
    assert moves(name, year)[1:] == expected


@given(st.sampled_from(sorted(cron.zone_names())), st.integers(1970, 2199))
def test_stretches_fill_a_year_and_agree_with_zoneinfo(name, year):
    zone = ZoneInfo(name)
    found = stretches(zone, year)
    assert found[0].start == datetime(year, 1, 1, tzinfo=UTC).timestamp()
    assert found[-1].end == datetime(year + 1, 1, 1, tzinfo=UTC).timestamp()
    assert [one.end for one in found[:-1]] == [one.start for one in found[1:]]
    for one in found:
        for at in (one.start, (one.start + one.end) // 2, one.end - 1):
            assert datetime.fromtimestamp(at, zone).utcoffset().total_seconds() == one.offset
