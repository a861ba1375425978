"""What may be said of a schedule: each fact is checked by one place, whoever says it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from types import SimpleNamespace

import pytest

from cloaca_django import Context
from cloaca_django.core.schedule_facts import YEAR, checked, declared, extended, run_context
from cloaca_django.errors import (
    InvalidContext,
    InvalidContextType,
    InvalidCronExpression,
    InvalidOption,
    InvalidOptionType,
    InvalidTimezone,
    OptionOutOfRange,
    UnknownChoice,
    UnknownOption,
)

START = datetime(2026, 1, 5, tzinfo=UTC)
NAME = "name must have 1 to 255 characters"
DATE = "must be an aware datetime of the years 1970 to 9998, or None"
DEADLINE = "deadline_seconds must be an integer 1-31622400"
BAD = [
    ({"name": ""}, InvalidOption, NAME),
    ({"name": "x" * 256}, InvalidOption, NAME),
    ({"name": "a\x00b"}, InvalidOption, "name must not contain NUL or surrogates"),
    ({"name": "a\ud800"}, InvalidOption, "name must not contain NUL or surrogates"),
    ({"name": 7}, InvalidOptionType, "name must be a str, not 7"),
    ({"enabled": "no"}, InvalidOptionType, "enabled must be a bool, not 'no'"),
    ({"enabled": 1}, InvalidOptionType, "enabled must be a bool, not 1"),
    ({"enabled": None}, InvalidOptionType, "enabled must be a bool, not None"),
    ({"catchup_policy": "run_all"}, UnknownChoice, "catchup_policy"),
    ({"catchup_policy": "ALL"}, UnknownChoice, "expected one of"),
    ({"catchup_policy": None}, InvalidOptionType, "catchup_policy must be one of"),
    ({"overlap_policy": "queue"}, UnknownChoice, "overlap_policy"),
    ({"overlap_policy": False}, InvalidOptionType, "overlap_policy must be one of"),
    ({"deadline_seconds": 0}, OptionOutOfRange, DEADLINE),
    ({"deadline_seconds": -5}, OptionOutOfRange, DEADLINE),
    ({"deadline_seconds": YEAR + 1}, OptionOutOfRange, DEADLINE),
    ({"deadline_seconds": 1.5}, InvalidOptionType, DEADLINE),
    ({"deadline_seconds": True}, InvalidOptionType, DEADLINE),
    ({"deadline_seconds": timedelta(hours=1)}, InvalidOptionType, DEADLINE),
    ({"context": [1]}, InvalidContextType, "context must be a Context, not list"),
    ({"context": "{}"}, InvalidContextType, "context must be a Context, not str"),
    ({"context": {"a": {1, 2}}}, InvalidContextType, "$.a"),
    ({"context": {"a": float("nan")}}, InvalidContext, "$.a"),
    ({"queue": "two words"}, InvalidOption, "queue must be 1 to 64 letters"),
    ({"queue": None}, InvalidOptionType, "queue must be 1 to 64 letters"),
    ({"priority": 32_768}, OptionOutOfRange, "priority must be an integer"),
    ({"priority": "high"}, InvalidOptionType, "priority must be an integer"),
    ({"start_date": "2026-01-05"}, InvalidOptionType, f"start_date {DATE}"),
    ({"start_date": date(2026, 1, 5)}, InvalidOptionType, f"start_date {DATE}"),
    ({"start_date": START.replace(tzinfo=None)}, InvalidOption, f"start_date {DATE}"),
    ({"start_date": datetime(1969, 12, 31, tzinfo=UTC)}, InvalidOption, f"start_date {DATE}"),
    ({"end_date": datetime(9999, 1, 1, tzinfo=UTC)}, InvalidOption, f"end_date {DATE}"),
    ({"end_date": 1_700_000_000}, InvalidOptionType, f"end_date {DATE}"),
    (
        {"start_date": START, "end_date": START - timedelta(seconds=1)},
        InvalidOption,
        "end_date must not be before start_date, 2026-01-05 00:00:00+00:00",
    ),
    ({"cron_expression": "nope"}, InvalidCronExpression, "Invalid cron expression"),
    ({"cron_expression": "* * * * *", "timezone": "Mars"}, InvalidTimezone, "Invalid timezone"),
    ({"policy": "all"}, UnknownOption, "unexpected argument 'policy'"),
    ({"catch_up_policy": "all"}, UnknownOption, "did you mean 'catchup_policy'"),
    ({"next_run_at": START}, UnknownOption, "unexpected argument 'next_run_at'"),
    ({"disabled_by": "ann"}, UnknownOption, "unexpected argument 'disabled_by'"),
]


@pytest.mark.parametrize(("facts", "kind", "words"), BAD, ids=[str(line[0])[:50] for line in BAD])
def test_a_bad_fact_is_refused_by_name(facts, kind, words):
    with pytest.raises(kind) as caught:
        checked("owner()", facts)
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_facts_come_back_as_a_row_holds_them():
    zone = timezone(timedelta(hours=2))
    values = checked(
        "owner()",
        {
            "cron_expression": "  @Daily ",
            "timezone": "Europe/Berlin",
            "context": {"a": 1},
            "start_date": START.astimezone(zone),
            "end_date": None,
            "name": None,
            "deadline_seconds": None,
            "priority": -5,
        },
    )
    assert values["timezone"] == "Europe/Berlin"
    assert values["cron_expression"].strip() == values["cron_expression"]
    assert values["context"] == Context({"a": 1})
    assert (values["start_date"], values["start_date"].tzinfo) == (START, UTC)
    assert (values["name"], values["end_date"], values["deadline_seconds"]) == (None, None, None)


def test_only_what_is_given_comes_back():
    assert checked("owner()", {}) == {}
    assert checked("owner()", {"priority": 3}) == {"priority": 3}


def test_a_start_may_be_the_end():
    assert checked("owner()", {"start_date": START, "end_date": START})["end_date"] == START


def test_a_context_is_a_copy_of_what_was_given():
    mine = {"a": [1]}
    values = checked("owner()", {"context": mine})
    mine["a"].append(2)
    assert values["context"] == Context({"a": [1]})


def test_what_a_run_is_told_of_its_schedule_is_nothing_that_a_context_can_say():
    schedule = SimpleNamespace(id=7, timezone="UTC", cron_expression="@daily", context="{}")
    said = dict.fromkeys(
        ("scheduled_time", "schedule_id", "schedule_timezone", "schedule_expression"), "a lie"
    )
    assert run_context(schedule, START, {**said, "a": 1}) == {
        "a": 1, "scheduled_time": START.isoformat(), "schedule_id": "7",
        "schedule_timezone": "UTC", "schedule_expression": "@daily",
    }  # fmt: skip


def test_a_declaration_is_complete_and_named_after_its_workflow():
    one = declared("w", {"cron_expression": "0 2 * * *"})
    assert one.name == "w"
    assert dict(one.facts) == {
        "cron_expression": "0 2 * * *",
        "timezone": "UTC",
        "name": "w",
        "enabled": True,
        "catchup_policy": "all",
        "overlap_policy": "start",
        "deadline_seconds": None,
        "context": Context(),
        "queue": "default",
        "priority": 0,
        "start_date": None,
        "end_date": None,
    }
    assert declared("w", {"cron_expression": "0 2 * * *", "name": "nightly"}).name == "nightly"


def test_a_declaration_needs_an_expression():
    with pytest.raises((TypeError, ValueError)):
        declared("w", {"cron_expression": None})


def test_two_declarations_of_a_workflow_need_two_names():
    one = declared("w", {"cron_expression": "0 2 * * *"})
    two = declared("w", {"cron_expression": "0 3 * * *", "name": "later"})
    assert extended("w", (one,), two) == (one, two)
    with pytest.raises(InvalidOption, match="name must be given and differ"):
        extended("w", (one, two), declared("w", {"cron_expression": "0 4 * * *"}))
