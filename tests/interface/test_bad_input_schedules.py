"""What callers say of schedules by mistake: expressions, zones, ids, pages, moments.

One line each, its error and the words that matter. Nothing is written for any of them.
"""

from __future__ import annotations

import functools
import time
import uuid
from datetime import UTC, date, datetime

import pytest

from cloaca_django import Context
from cloaca_django.errors import (
    InvalidCronExpression,
    InvalidIdentifier,
    InvalidIdentifierType,
    InvalidOption,
    InvalidOptionType,
    InvalidPage,
    InvalidPageType,
    InvalidTimestamp,
    InvalidTimezone,
    ScheduleNotFound,
)
from tests import workflows
from tests.interface.refusals import assert_all_refused
from tests.interface.schedules import NIGHTLY, now

SURROGATE = "a\ud800"


@pytest.fixture
def site(make_runner):
    """A site's runner, which fires nothing."""
    workflows.single("w", workflows.writes("x", 1))
    return make_runner(using="default")


@pytest.fixture
def schedule(site):
    """The id of a schedule."""
    return site.register_cron_workflow("w", NIGHTLY, "UTC")


BAD_EXPRESSIONS = [
    ("", "empty; give 5 fields"),
    ("   ", "empty; give 5 fields"),
    ("invalid cron", "needs 5 fields"),
    ("* * * *", "needs 5 fields (minute hour day month weekday), got 4"),
    ("* * * * * *", "got 6; seconds and a year field are not supported"),
    ("* * * * * * *", "got 7"),
    ("0 0 1 1 * 2099", "a year field are not supported"),
    ("60 * * * *", "minute: 60 is out of range (0-59)"),
    ("* 24 * * *", "hour: 24 is out of range (0-23)"),
    ("* * 0 * *", "day: 0 is out of range (1-31)"),
    ("* * 32 * *", "day: 32 is out of range (1-31)"),
    ("* * * 0 *", "month: 0 is out of range (1-12)"),
    ("* * * 13 *", "month: 13 is out of range (1-12)"),
    ("* * * * 8", "weekday: 8 is out of range (0-7)"),
    ("*/0 * * * *", "minute: step must be >= 1"),
    ("*/61 * * * *", "minute: step 61 is larger than the field"),
    ("*/1000000000000 * * * *", "is larger than the field"),
    ("30-10 * * * *", "minute: range start after end in 30-10; write 30-59,0-10"),
    ("5-1/2 * * * *", "range start after end"),
    ("0 0 * * SUN-MON", "write SUN,MON"),
    ("0 0 30 2 *", "can never fire"),
    ("0 0 31 4,6,9,11 *", "can never fire"),
    ("0 0 L * *", "L (the last one) is not supported"),
    ("0 0 15W * *", "W (the nearest weekday) is not supported"),
    ("0 0 * * 5L", "L (the last one) is not supported"),
    ("0 0 * * 1#2", "# (the nth weekday of a month) is not supported"),
    ("? * * * *", "? is not supported"),
    ("H * * * *", "H (a hashed value) is not supported"),
    ("0 0 R * *", "R (a random value) is not supported"),
    ("@reboot", "@reboot is not supported; use @hourly"),
    ("@every 5m", "@every is not supported"),
    ("0 0 * * *\n0", "one line of plain text only"),
    ("0 0\x00 * * *", "one line of plain text only"),
    ("\u0663 * * * *", "ASCII only"),
    ("\uff0a * * * *", "ASCII only"),
    (SURROGATE + " * * * *", "ASCII only"),
    ("0," * 100_000 + "0 * * * *", "longer than 128 characters"),
    ("MON * * * *", "minute: the name MON is not valid in this field"),
    ("* * * MON *", "month: the name MON is not valid in this field"),
]
BAD_ZONES = [
    ("Mars/Phobos", "Invalid timezone: 'Mars/Phobos' is not a zone"),
    ("", "Invalid timezone: ''"),
    (" ", "Invalid timezone: ' '"),
    ("utc", "did you mean 'UTC'?"),
    ("europe/berlin", "did you mean 'Europe/Berlin'?"),
    ("+03:00", "offsets are not supported, but Etc/GMT-3 is a zone"),
    ("UTC+3", "offsets are not supported"),
    ("GMT+5", "offsets are not supported"),
    ("EST5", "offsets are not supported"),
    ("../../../etc/passwd", "is not a zone"),
    ("/etc/passwd", "is not a zone"),
    ("UTC\x00", "'UTC\\x00' is not a zone"),
    ("America", "'America' is not a zone"),
    ("x" * 300, "..."),
    ("tzdata.zi", "is not a zone"),
    ("zone.tab", "is not a zone"),
    ("US/Pacific-New", "is not a zone"),
    (SURROGATE, "'a\\ud800' is not a zone"),
]
NO_TEXT = [None, 5, 1.5, True, b"0 2 * * *", ["0 2 * * *"]]


def ways(site, schedule):
    """Every call that takes an expression and a zone."""
    return {
        "register": lambda *given: site.register_cron_workflow("w", *given),
        "register by name": lambda *given: site.register_cron_workflow("w", *given, name="n"),
        "instance": lambda *given: site.register_workflow_instance("w", "i", *given, Context()),
        "update": lambda *given: site.update_cron_schedule(schedule, *given),
    }


def test_a_bad_expression(site, schedule):
    assert_all_refused(
        (
            (way, given),
            lambda call=call, given=given: call(given, "UTC"),
            InvalidCronExpression,
            words,
        )
        for way, call in ways(site, schedule).items()
        for given, words in BAD_EXPRESSIONS
    )
    assert site.get_cron_schedule(schedule)["cron_expression"] == NIGHTLY


def test_an_expression_that_is_no_text(site, schedule):
    assert_all_refused(
        (
            (way, given),
            lambda call=call, given=given: call(given, "UTC"),
            TypeError,
            "must be a str",
        )
        for way, call in ways(site, schedule).items()
        for given in NO_TEXT
        if (way, given) != ("update", None)  # there it stays as it is
    )


def test_a_huge_expression_is_refused_in_no_time(site):
    begun = time.perf_counter()
    with pytest.raises(InvalidCronExpression):
        site.register_cron_workflow("w", "0," * 100_000 + "0 * * * *")
    assert time.perf_counter() - begun < 0.2


def test_a_bad_zone(site, schedule):
    assert_all_refused(
        ((way, given), lambda call=call, given=given: call(NIGHTLY, given), InvalidTimezone, words)
        for way, call in ways(site, schedule).items()
        for given, words in BAD_ZONES
    )
    assert_all_refused(
        ((way, given), lambda call=call, given=given: call(NIGHTLY, given), TypeError, "zone")
        for way, call in ways(site, schedule).items()
        for given in NO_TEXT
        if (way, given) != ("update", None)
    )
    assert site.get_cron_schedule(schedule)["timezone"] == "UTC"


@pytest.mark.parametrize(
    ("expression", "zone"),
    [
        ("0 0 29 2 *", "UTC"),
        ("0 0 29 2 1", "UTC"),
        ("0 0 31 2 1", "UTC"),
        ("@DAILY", "UTC"),
        ("  0\t0  * *   * \n", "Etc/GMT-3"),
        ("0 0 * JAN-mar sun", "US/Pacific"),
        ("0 0 * * 7", "Asia/Kathmandu"),
    ],
)
def test_an_unusual_expression_that_is_fine(site, expression, zone):
    id = site.register_cron_workflow("w", expression, zone)
    found = site.get_cron_schedule(id)
    assert found["cron_expression"] == " ".join(expression.split())
    assert datetime.fromisoformat(found["next_run_at"]) > now()


LAUGHS = functools.reduce(lambda inner, _: [inner] * 10, range(10), [0])
NO_INSTANCES = [
    ((["w"], "i"), InvalidOptionType, "workflow_name must be a str, not ['w']"),
    # Ten billion numbers, were it put into the name.
    ((LAUGHS, "i"), InvalidOptionType, "workflow_name must be a str, not [[["),
    (("", "i"), InvalidOption, "workflow_name must have 1 to 255 characters"),
    (("w", None), InvalidOptionType, "instance_name must be a str, not None"),
    (("w", ""), InvalidOption, "instance_name must have 1 to 255 characters"),
    (("w", "x" * 254), InvalidOption, "name must have 1 to 255 characters"),
]


def test_a_bad_workflow_or_name_of_an_instance(site):
    assert_all_refused(
        (
            words,
            lambda names=names: site.register_workflow_instance(*names, NIGHTLY, "UTC", Context()),
            kind,
            f"register_workflow_instance(): {words}",
        )
        for names, kind, words in NO_INSTANCES
    )


UUID_TEXT = "01234567-89ab-7cde-8f01-23456789abcd"
BAD_IDS = [
    ("", InvalidIdentifier, "Invalid schedule ID: ''; give the UUID as text"),
    ("zz", InvalidIdentifier, "Invalid schedule ID: 'zz'"),
    ("not-a-uuid", InvalidIdentifier, "Invalid schedule ID: 'not-a-uuid'"),
    (f"{UUID_TEXT}\n", InvalidIdentifier, "\\n"),
    (f"{UUID_TEXT}' OR 1=1", InvalidIdentifier, "OR 1=1"),
    (f"{{{UUID_TEXT}}}", InvalidIdentifier, "give the UUID"),
    (SURROGATE, InvalidIdentifier, "\\ud800"),
    ("x" * 10_000, InvalidIdentifier, "..."),
    (None, InvalidIdentifierType, "Invalid schedule ID: None"),
    (123, InvalidIdentifierType, "Invalid schedule ID: 123"),
    (UUID_TEXT.encode(), InvalidIdentifierType, "Invalid schedule ID: b'"),
]
BY_ID = {
    "get": (lambda site, id: site.get_cron_schedule(id), "get cron schedule"),
    "update": (lambda site, id: site.update_cron_schedule(id, NIGHTLY), "update cron schedule"),
    "enable": (
        lambda site, id: site.set_cron_schedule_enabled(id, True),
        "update cron schedule",
    ),
    "delete": (lambda site, id: site.delete_cron_schedule(id), "delete cron schedule"),
    "history": (
        lambda site, id: site.get_cron_execution_history(id),
        "get cron execution history",
    ),
    "trigger": (lambda site, id: site.trigger_cron_schedule(id), "get cron schedule"),
    "backfill": (
        lambda site, id: site.backfill(id, "2026-01-01", "2026-01-02"),
        "get cron schedule",
    ),
}


def test_a_bad_schedule_id(site):
    assert_all_refused(
        ((name, given), lambda ask=ask, given=given: ask(site, given), kind, words)
        for name, (ask, _) in BY_ID.items()
        for given, kind, words in BAD_IDS
    )


def test_a_schedule_id_that_nobody_has(site):
    nobody = uuid.uuid4()
    assert_all_refused(
        (
            (name, given),
            lambda ask=ask, given=given: ask(site, given),
            ScheduleNotFound,
            f"Failed to {doing}: Record not found: schedule {nobody}",
        )
        for name, (ask, doing) in BY_ID.items()
        for given in (nobody, str(nobody), str(nobody).upper(), nobody.hex)
    )


@pytest.mark.parametrize("spelling", [str, uuid.UUID, lambda id: uuid.UUID(id).hex.upper()])
def test_a_schedule_id_in_any_spelling_of_it(site, schedule, spelling):
    given = spelling(schedule)
    assert site.get_cron_schedule(given)["id"] == schedule
    assert site.get_cron_execution_history(given) == []
    site.set_cron_schedule_enabled(given, False)
    site.delete_cron_schedule(given)


PAGES = {
    "list": lambda site, schedule, page: site.list_cron_schedules(**page),
    "history": lambda site, schedule, page: site.get_cron_execution_history(schedule, **page),
}
LIMIT, OFFSET = "must be an integer 0-1000, or None", "must be an integer 0-1000000000, or None"
BAD_PAGES = [
    ({"limit": -1}, InvalidPage, f"Invalid limit -1: {LIMIT}"),
    ({"limit": 1_001}, InvalidPage, LIMIT),
    ({"limit": 10**9}, InvalidPage, LIMIT),
    ({"limit": 2**70}, InvalidPage, LIMIT),
    ({"limit": True}, InvalidPageType, f"Invalid limit True: {LIMIT}"),
    ({"limit": 1.5}, InvalidPageType, LIMIT),
    ({"limit": "10"}, InvalidPageType, f"Invalid limit '10': {LIMIT}"),
    ({"offset": -1}, InvalidPage, f"Invalid offset -1: {OFFSET}"),
    ({"offset": 2**63}, InvalidPage, OFFSET),
    ({"offset": False}, InvalidPageType, OFFSET),
    ({"offset": "0"}, InvalidPageType, OFFSET),
]


def test_a_bad_page(site, schedule):
    assert_all_refused(
        ((way, page), lambda ask=ask, page=page: ask(site, schedule, page), kind, words)
        for way, ask in PAGES.items()
        for page, kind, words in BAD_PAGES
    )
    for ask in PAGES.values():
        assert ask(site, schedule, {"offset": 10**8}) == []


def test_a_switch_that_is_none(site, schedule):
    assert_all_refused(
        (
            given,
            lambda given=given: site.list_cron_schedules(enabled_only=given),
            InvalidOptionType,
            "list_cron_schedules(): enabled_only must be a bool",
        )
        for given in ("false", "", 0, 1, [])
    )
    assert_all_refused(
        (
            given,
            lambda given=given: site.set_cron_schedule_enabled(schedule, given),
            InvalidOptionType,
            "set_cron_schedule_enabled(): enabled must be a bool",
        )
        for given in ("no", "", 0, 1, None)
    )
    assert site.get_cron_schedule(schedule)["enabled"]


def test_a_bad_moment(site, schedule):
    texts = ["yesterday", "garbage", "", "2025-13-01", "2025-02-30T00:00:00",
             "2025-01-31T12:00:00+25:00", "2016-12-31T23:59:60Z", SURROGATE, "\x00"]  # fmt: skip
    asks = {
        "stats": site.get_cron_execution_stats,
        "start": lambda given: site.backfill(schedule, given, "2026-01-02"),
        "end": lambda given: site.backfill(schedule, "2026-01-02", given),
    }
    assert_all_refused(
        (
            (way, given),
            lambda ask=ask, given=given: ask(given),
            InvalidTimestamp,
            "Invalid datetime format",
        )
        for way, ask in asks.items()
        for given in texts
    )
    assert_all_refused(
        (
            (way, given),
            lambda ask=ask, given=given: ask(given),
            TypeError,
            "must be ISO 8601 text, a datetime or a date",
        )
        for way, ask in asks.items()
        for given in (1_700_000_000, None, b"2026-01-01", True)
    )


@pytest.mark.parametrize(
    "since",
    ["2025-01-31T12:00:00Z", "2025-01-31T12:00:00+14:00", "2025-01-31", "9998-01-01T00:00:00Z",
     "0001-01-02T00:00:00Z", datetime(2025, 1, 31, tzinfo=UTC), date(2025, 1, 31)],
)  # fmt: skip
def test_an_unusual_moment_that_is_fine(site, since):
    stats = site.get_cron_execution_stats(since)
    assert (stats["total_executions"], stats["success_rate"]) == (0, 0.0)
