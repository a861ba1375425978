"""What an expression may say, and the words in which the rest is refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloaca_django.core import cron
from cloaca_django.errors import InvalidCronExpression

START = datetime(2024, 1, 15, 10, 7, 30, tzinfo=UTC)
COLUMNS = "minute hour day month weekday"


def following(expression: str, timezone: str = "UTC") -> str:
    (found,) = cron.next_fires(cron.parse(expression, timezone), START)
    return f"{found:%Y-%m-%d %H:%M}"


def work_of(function: Callable[[], object]) -> int:
    """Return how many Python functions and generators a call enters: work, not time."""
    entered = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal entered
        entered += event == "call"

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return entered


@pytest.mark.parametrize(
    ("expression", "next_fire"),
    [
        ("*/15 * * * *", "2024-01-15 10:15"),
        ("0 9-17 * * 1-5", "2024-01-15 11:00"),
        ("0 0 * * *", "2024-01-16 00:00"),
        ("0 2 * * 1", "2024-01-22 02:00"),
        ("0 0 13 * 5", "2024-01-19 00:00"),
        ("0 0 29 2 *", "2024-02-29 00:00"),
        ("0 0 29 2 1", "2024-02-05 00:00"),
        ("0 0 31 2 1", "2024-02-05 00:00"),
        ("@hourly", "2024-01-15 11:00"),
        ("@daily", "2024-01-16 00:00"),
        ("@DAILY", "2024-01-16 00:00"),
        ("@midnight", "2024-01-16 00:00"),
        ("@weekly", "2024-01-21 00:00"),
        ("@monthly", "2024-02-01 00:00"),
        ("@yearly", "2025-01-01 00:00"),
        ("@annually", "2025-01-01 00:00"),
        ("0 0 * * 0", "2024-01-21 00:00"),
        ("0 0 * * 7", "2024-01-21 00:00"),
        ("0 0 * * SUN", "2024-01-21 00:00"),
        ("0 0 * * 5-7", "2024-01-19 00:00"),
        ("0 0 * * fri-Sun", "2024-01-19 00:00"),
        ("0 0 * mar TUE", "2024-03-05 00:00"),
        ("0 0 1 FEB-apr *", "2024-02-01 00:00"),
        ("5/10 * * * *", "2024-01-15 10:15"),
        ("59/15 * * * *", "2024-01-15 10:59"),
        ("7-7 * * * *", "2024-01-15 11:07"),
        ("0 0 5-5 * *", "2024-02-05 00:00"),
        ("0 0 * * 2-2", "2024-01-16 00:00"),
        ("*/60 * * * *", "2024-01-15 11:00"),
        ("0 */24 * * *", "2024-01-16 00:00"),
        ("05 04 * * *", "2024-01-16 04:05"),
        ("50,10-20/5,* * * * *", "2024-01-15 10:08"),
        ("0 0 * * 1-6/2", "2024-01-17 00:00"),
        ("0 0 * * SUN/2", "2024-01-16 00:00"),
        ("0 0 * * 7/2", "2024-01-21 00:00"),
        # A day field with a star in it narrows: every other day, if that is a Monday.
        ("0 0 */2 * 1", "2024-01-29 00:00"),
        ("0 0 1-31/2 * 1", "2024-01-17 00:00"),
        # 29 February and a Sunday.
        ("0 0 29 2 */7", "2032-02-29 00:00"),
    ],
)
def test_expressions_fire_next(expression, next_fire):
    assert following(expression) == next_fire


@pytest.mark.parametrize("text", ["0 0 * * *\n", "\t0 0 * * *", " 0  0\t* *   * \r\n", "0 0 * * *"])
def test_needless_blanks_are_dropped(text):
    assert cron.parse(text).expression == "0 0 * * *"


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("", f"empty; give 5 fields: {COLUMNS}"),
        ("   ", "empty"),
        ("* * * *", f"needs 5 fields ({COLUMNS}), got 4"),
        ("daily", "needs 5 fields"),
        ("*/10 * * * * *", "got 6; seconds and a year field are not supported"),
        ("0 0 1 1 * 2099", "a year field are not supported"),
        ("* * * * * * *", "got 7"),
        ("* * * * * * * *", "got 8"),
        ("60 * * * *", "minute: 60 is out of range (0-59)"),
        ("* 24 * * *", "hour: 24 is out of range (0-23)"),
        ("* * 0 * *", "day: 0 is out of range (1-31)"),
        ("* * 32 * *", "day: 32 is out of range (1-31)"),
        ("* * * 0 *", "month: 0 is out of range (1-12)"),
        ("* * * 13 *", "month: 13 is out of range (1-12)"),
        ("* * * * 8", "weekday: 8 is out of range (0-7)"),
        ("0-60 * * * *", "minute: 60 is out of range"),
        ("9" * 100 + " * * * *", "is out of range (0-59)"),
        ("*/0 * * * *", "minute: step must be >= 1"),
        ("*/00 * * * *", "minute: step must be >= 1"),
        ("*/61 * * * *", "minute: step 61 is larger than the field (1-60)"),
        ("*/1000000000000 * * * *", "larger than the field"),
        ("* */25 * * *", "hour: step 25 is larger"),
        ("* * * * */8", "weekday: step 8 is larger"),
        ("*/ * * * *", "minute: step must be a number, not ''"),
        ("*/x * * * *", "minute: step must be a number, not 'X'"),
        ("30-10 * * * *", "minute: range start after end in 30-10; write 30-59,0-10"),
        ("7-5 * * * *", "write 7-59,0-5"),
        ("5-1/2 * * * *", "range start after end"),
        ("0 0 * NOV-FEB *", "write NOV-DEC,JAN-FEB"),
        ("0 0 * * FRI-MON", "write FRI-SUN,MON"),
        ("0 0 * * SUN-MON", "write SUN,MON"),
        ("0 0 * * SUN-THU", "write SUN,MON-THU"),
        ("0 0 * * 6-0", "write 6,0"),
        ("0 0 * * 7-1", "write 7,0-1"),
        ("0 0 30 2 *", "can never fire: no such date"),
        ("0 0 31 4,6,9,11 *", "can never fire"),
        ("0 0 30,31 FEB *", "can never fire"),
        ("0 0 31 2 */2", "can never fire"),
        ("0 0 L * *", "day: L (the last one) is not supported"),
        ("0 0 LW * *", "day: W (the nearest weekday) is not supported"),
        ("0 0 15W * *", "day: W (the nearest weekday) is not supported"),
        ("0 0 * * 5L", "weekday: L (the last one)"),
        ("0 0 * * 1#2", "weekday: # (the nth weekday of a month) is not supported"),
        ("? * * * *", "minute: ? is not supported; write *"),
        ("0 0 ? * 1", "day: ? is not supported; write *"),
        ("R R * * *", "minute: R (a random value) is not supported"),
        ("0~30 * * * *", "minute: ~ (a random value) is not supported"),
        ("H H * * *", "minute: H (a hashed value) is not supported"),
        ("H(0-5)/2 * * * *", "minute: H (a hashed value)"),
        ("@reboot", "@reboot is not supported; use @hourly, @daily"),
        ("@every 5m", "@every is not supported"),
        ("@daily 5", "@daily is not supported"),
        ("@", "@ is not supported"),
        ("0 0 * *\n*", "one line of plain text only"),
        ("0 0 * *\x00*", "one line of plain text only"),
        ("0 0 * * *\x0b", "one line of plain text only"),
        ("\u0663 * * * *", "ASCII only"),
        ("\uff0a * * * *", "ASCII only"),
        ("0 0 *\u00a0* *", "ASCII only"),
        ("\ud800 * * * *", "ASCII only"),
        ("0," * 100_000, "longer than 128 characters"),
        ("MON * * * *", "minute: the name MON is not valid in this field"),
        ("* * * MON *", "month: the name MON is not valid in this field"),
        ("* * * * JAN", "weekday: the name JAN is not valid in this field"),
        ("* * * FOO *", "month: 'FOO' is not understood; write *, numbers"),
        ("1,,2 * * * *", "minute: empty item in a list; remove the comma"),
        (", * * * *", "minute: empty item"),
        ("-5 * * * *", "minute: '-5' is not understood"),
        ("1- * * * *", "minute: '1-' is not understood"),
        ("*-5 * * * *", "minute: '*-5' is not understood"),
        ("1.5 * * * *", "minute: '1.5' is not understood"),
        ("+5 * * * *", "minute: '+5' is not understood"),
        ("1/2/3 * * * *", "minute: '1/2/3' is not understood"),
        ("1-2-3 * * * *", "minute: '1-2-3' is not understood"),
        ("** * * * *", "minute: '**' is not understood"),
    ],
)
def test_other_expressions_are_refused_by_name(expression, problem):
    with pytest.raises(InvalidCronExpression) as refusal:
        cron.parse(expression)
    text = str(refusal.value)
    assert problem in text
    assert text.isprintable()
    assert len(text) < 450


@pytest.mark.parametrize("value", [None, 5, b"* * * * *", ["* * * * *"], START])
def test_what_is_no_text_is_a_type_error(value):
    with pytest.raises(TypeError, match="a cron expression must be a str, not"):
        cron.parse(value)


signs = st.text("0123456789*/,-@?#LWRHmonJAN \t\n", max_size=40)
fields = st.lists(st.text("0123456789*/,-LWmonJAN", min_size=1, max_size=6), min_size=5, max_size=5)


@given(signs | fields.map(" ".join) | st.text(max_size=140))
def test_any_text_is_accepted_or_refused_at_little_cost(text):
    def read() -> None:
        with suppress(InvalidCronExpression):
            cron.next_fires(cron.parse(text), START, count=3)

    assert work_of(read) < 5_000


def test_a_long_text_is_refused_before_it_is_looked_at():
    def read() -> None:
        with pytest.raises(InvalidCronExpression):
            cron.parse("0," * 100_000)

    assert work_of(read) < 500


def test_the_longest_accepted_text_is_cheap():
    text = ",".join(f"{at}" for at in range(10, 50))[:115] + " * * * *"
    assert len(text) <= cron.MAX_LENGTH
    assert work_of(lambda: cron.parse(text)) < 3_000


def test_a_pair_is_read_once():
    first = cron.parse("3 4 * * *", "Europe/Berlin")
    assert cron.parse(" 3  4 * * *", "Europe/Berlin") is first
    assert work_of(lambda: cron.parse("3 4 * * *", "Europe/Berlin")) < 20
