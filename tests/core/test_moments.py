"""Moments as people write them: ISO 8601, a datetime or a date; nothing else."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from cloaca_django.core.moments import read_moment
from cloaca_django.errors import InvalidTimestamp

NOON = datetime(2025, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
def new_york(monkeypatch):
    """Let this process's local time be New York's."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    "value",
    [
        "2025-01-31T12:00:00Z",
        "2025-01-31T12:00:00+00:00",
        "2025-01-31 12:00:00+00:00",
        "2025-01-31T12:00:00.000000+00:00",
        "2025-02-01T02:00:00+14:00",
        "2025-01-31T00:00:00-12:00",
        "20250131T120000Z",
        NOON,
        NOON.astimezone(timezone(timedelta(hours=5, minutes=45))),
    ],
)
def test_one_moment_in_many_spellings(value):
    found = read_moment(value)
    assert found == NOON
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "yesterday", "", " ", "2025-13-01", "2025-02-30T00:00:00", "2025-01-31T12:00:00+25:00",
        "2016-12-31T23:59:60Z", "2025-01-31T24:30:00Z", "12:00:00", "1700000000.5", "now()",
        "2025-01-31T12:00:00+00:00\n", "2025-01-31\x00", "\ud800", "x" * 100_000,
        "\uff12\uff10\uff12\uff15-01-31T12:00:00Z",
    ],
)  # fmt: skip
def test_what_is_no_iso_8601_is_refused(text):
    with pytest.raises(InvalidTimestamp, match="Invalid datetime format") as caught:
        read_moment(text)
    assert isinstance(caught.value, ValueError)
    assert "'2026-01-31T12:00:00+00:00'" in str(caught.value)
    assert len(str(caught.value)) < 250
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("value", [1_700_000_000, 1.5, True, None, b"2025-01-31", ["2025-01-31"]])
def test_what_is_no_moment_at_all_is_a_type_error(value):
    with pytest.raises(TypeError, match="start must be ISO 8601 text, a datetime or a date"):
        read_moment(value, "start")


@pytest.mark.parametrize(
    "value",
    [
        datetime.max.replace(tzinfo=timezone(timedelta(hours=-12))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=12))),
        "0001-01-01T00:00:00+12:00",
        "9999-12-31T23:59:59-12:00",
    ],
)
def test_a_moment_that_no_clock_can_show_is_refused(value):
    with pytest.raises(InvalidTimestamp):
        read_moment(value)


def test_without_an_offset_it_is_local_time(new_york):
    expected = datetime(2025, 1, 31, 17, tzinfo=UTC)
    assert read_moment("2025-01-31T12:00:00") == expected
    assert read_moment(datetime(2025, 1, 31, 12)) == expected  # noqa: DTZ001


def test_a_date_is_its_midnight(new_york):
    expected = datetime(2025, 1, 31, 5, tzinfo=UTC)
    assert read_moment(date(2025, 1, 31)) == expected
    assert read_moment("2025-01-31") == expected


def test_a_local_time_that_occurs_twice_is_the_first_one(new_york):
    assert read_moment("2025-11-02T01:30:00") == datetime(2025, 11, 2, 5, 30, tzinfo=UTC)


def test_a_local_time_that_does_not_exist_is_what_astimezone_makes_of_it(new_york):
    naive = datetime(2025, 3, 9, 2, 30)  # noqa: DTZ001
    found = read_moment("2025-03-09T02:30:00")
    assert found == naive.astimezone()
    # Python 3.13 reads it an hour later than the versions before.
    assert found.replace(tzinfo=None) in {datetime(2025, 3, 9, hour, 30) for hour in (6, 7)}  # noqa: DTZ001
