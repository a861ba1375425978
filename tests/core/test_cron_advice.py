"""What the author of a schedule is told: the remarks, and the sentence."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloaca_django.core import cron
from tests.core.test_cron_oracle import accepted, expressions

NOW = datetime(2027, 1, 1, tzinfo=UTC)
NEW_YORK = "America/New_York"
FORWARD = f"On 2027-03-14 02:00 the clock in {NEW_YORK} goes to 03:00: "
BACK = f"On 2027-11-07 02:00 the clock in {NEW_YORK} goes to 01:00: "


def remarks(expression: str, timezone: str = "UTC", now: datetime = NOW) -> dict[str, str]:
    found = cron.warnings_of(cron.parse(expression, timezone), now)
    return {one.code: one.text for one in found}


@pytest.mark.parametrize(
    ("expression", "code", "text"),
    [
        ("0 0 31 2 1", "day_never", "Day 31 never comes in FEB."),
        ("0 0 15,31 4,6 *", "day_never", "Day 31 never comes in APR, JUN."),
        ("0 0 31 2,3 *", "day_missing", "Day 31 does not come in FEB."),
        ("0 0 31 * *", "day_missing", "Day 31 does not come in FEB, APR, JUN, SEP, NOV."),
        ("0 0 29 2 *", "leap_day", "February has a day 29 in leap years only."),
        (
            "0 0 13 * 5",
            "either_day",
            "Runs when either matches: the day of the month or the weekday.",
        ),
        (
            "0 0 */2 * 1",
            "both_days",
            "Runs when both match, the day of the month and the weekday: "
            "a day field with * in it narrows the other.",
        ),
        (
            "*/7 * * * *",
            "uneven_step",
            "*/7 starts over every hour: the last interval is 4 minutes.",
        ),
        ("0 */5 * * *", "uneven_step", "*/5 starts over every day: the last interval is 4 hours."),
        (
            "0 0 */2 * *",
            "uneven_step",
            "*/2 starts over on day 1 of every month, whatever its length.",
        ),
        (
            "0 0 1 */5 *",
            "uneven_step",
            "*/5 starts over every January: the last interval is 2 months.",
        ),
        (
            "0 0 * * */2",
            "uneven_step",
            "*/2 starts over every Sunday: the last interval is 1 day.",
        ),
        ("59/15 * * * *", "single_value", "59/15 means minute 59 only."),
        ("0 0 30-31/2 * *", "single_value", "30-31/2 means day 30 only."),
        ("*/4 * * * *", "many", "Runs 360 times a day."),
        ("* * * * *", "many", "Runs 1440 times a day."),
    ],
)
def test_expressions_that_may_surprise(expression, code, text):
    assert remarks(expression)[code] == text


@pytest.mark.parametrize(
    "expression",
    [
        "*/5 * * * *",
        "0 */6 * * *",
        "0 0 * * *",
        "0 0 28 * *",
        "0 9 * * MON-FRI",
        "@monthly",
        "*/60 * * * *",
        "5/10 * * * *",
    ],
)
def test_expressions_that_surprise_nobody(expression):
    assert remarks(expression) == {}


@pytest.mark.parametrize(
    ("expression", "code", "move", "text"),
    [
        (
            "30 2 * * *",
            "clock_forward",
            FORWARD,
            "02:30 does not exist; one run at 03:00 makes up for it.",
        ),
        (
            "*/10 2 * * *",
            "clock_forward",
            FORWARD,
            "6 times from 02:00 on do not exist; one run at 03:00 makes up for it.",
        ),
        (
            "30 * * * *",
            "clock_forward",
            FORWARD,
            "02:30 does not exist; nothing is made up, as the next hour follows at once.",
        ),
        ("30 1 * * *", "clock_back", BACK, "01:30 comes twice and runs the first time only."),
        (
            "*/30 1 * * *",
            "clock_back",
            BACK,
            "2 times from 01:00 on come twice and run the first time only.",
        ),
        ("30 * * * *", "clock_back", BACK, "01:30 comes twice and runs both times."),
    ],
)
def test_the_next_move_of_the_clock_that_a_schedule_meets(expression, code, move, text):
    assert remarks(expression, NEW_YORK)[code] == move + text


def test_a_move_that_the_schedule_does_not_meet_is_not_mentioned():
    assert remarks("0 12 * * *", NEW_YORK) == {}
    assert remarks("30 2 * 7 *", NEW_YORK) == {}
    assert remarks("30 2 * * *", "Asia/Tokyo") == {}


def test_a_day_that_is_jumped_over():
    found = remarks("0 5 * * *", "Pacific/Apia", datetime(2011, 11, 1, tzinfo=UTC))
    assert found["clock_forward"] == (
        "On 2011-12-30 00:00 the clock in Pacific/Apia goes to 2011-12-31 00:00: "
        "05:00 does not exist; one run at 2011-12-31 00:00 makes up for it."
    )


@given(expressions.filter(accepted), st.sampled_from(sorted(cron.zone_names())))
def test_every_accepted_schedule_has_remarks_and_a_sentence(expression, timezone):
    schedule = cron.parse(expression, timezone)
    assert all(one.text.endswith(".") for one in cron.warnings_of(schedule, NOW))
    assert cron.describe(schedule)


@pytest.mark.parametrize(
    ("expression", "sentence"),
    [
        ("30 2 * * *", "At 02:30"),
        ("@daily", "At 00:00"),
        ("* * * * *", "Every minute"),
        ("*,5 * * * *", "Every minute"),
        ("0 9 * * MON-FRI", "At 09:00, Monday through Friday"),
        ("0 0 * * 5-7", "At 00:00, Friday through Sunday"),
        ("0 0 * * 7", "At 00:00, only on Sunday"),
        ("59/15 * * * *", "At 59 minutes past the hour"),
        ("0 0 13 * 5", "At 00:00, on day 13 of the month, or on Friday"),
        # The library would say "or".
        ("0 0 */2 * 1", "0 0 */2 * 1"),
    ],
)
def test_a_schedule_as_a_sentence(expression, sentence):
    assert cron.describe(cron.parse(expression)) == sentence


@pytest.mark.parametrize(
    ("language", "sentence"),
    [
        ("de", "Um 02:30"),
        ("de-at", "Um 02:30"),
        ("PT_pt", "Às 02:30"),
        ("en", "At 02:30"),
        ("tlh", "At 02:30"),
        ("../../etc", "At 02:30"),
        ("", "At 02:30"),
    ],
)
def test_a_sentence_in_another_language(language, sentence):
    assert cron.describe(cron.parse("30 2 * * *"), language=language) == sentence


def test_what_cannot_be_said_is_shown_as_it_was_written():
    assert cron.describe(cron.parse("30 2 * * *"), language=None) == "30 2 * * *"
