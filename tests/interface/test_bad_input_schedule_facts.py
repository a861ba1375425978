"""What callers say of schedules by mistake besides times: facts, names, words, ranges."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cloaca_django import Context
from cloaca_django.errors import (
    ContextTooLarge,
    InvalidContextType,
    InvalidOption,
    InvalidOptionType,
    OptionOutOfRange,
    UnknownChoice,
    UnknownOption,
)
from cloaca_django.models import CronSchedule
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


TOO_LARGE = {"a": "x" * 2_000_000}
BAD_FACTS = [
    ({"name": ""}, InvalidOption, "name must have 1 to 255 characters"),
    ({"name": "x" * 256}, InvalidOption, "name must have 1 to 255 characters"),
    ({"name": 7}, InvalidOptionType, "name must be a str"),
    ({"catchup_policy": "run_all"}, UnknownChoice, "catchup_policy"),
    ({"overlap_policy": None}, InvalidOptionType, "overlap_policy"),
    ({"deadline_seconds": 0}, OptionOutOfRange, "deadline_seconds must be an integer"),
    ({"context": [1]}, InvalidContextType, "context must be a Context, not list"),
    ({"context": TOO_LARGE}, ContextTooLarge, "limit"),
    ({"queue": "two words"}, InvalidOption, "queue must be"),
    ({"priority": 10**6}, OptionOutOfRange, "priority must be an integer"),
    ({"enabled": "yes"}, InvalidOptionType, "enabled must be a bool"),
    ({"start_date": "2026-01-01"}, InvalidOptionType, "start_date must be an aware datetime"),
    ({"end_date": datetime(2026, 1, 1)}, InvalidOption, "end_date must be an aware"),  # noqa: DTZ001
    (
        {
            "start_date": datetime(2030, 1, 2, tzinfo=UTC),
            "end_date": datetime(2030, 1, 1, tzinfo=UTC),
        },
        InvalidOption,
        "end_date must not be before start_date",
    ),
    ({"catchup": "all"}, UnknownOption, "did you mean 'catchup_policy'"),
    ({"next_run_at": None}, UnknownOption, "unexpected argument 'next_run_at'"),
    ({"workflow_name": "v"}, TypeError, "workflow_name"),
]


def test_a_bad_fact(site, schedule):
    assert_all_refused(
        (
            facts,
            lambda facts=facts: site.register_cron_workflow("w", NIGHTLY, **facts),
            kind,
            words,
        )
        for facts, kind, words in BAD_FACTS
    )
    assert_all_refused(
        (facts, lambda facts=facts: site.update_cron_schedule(schedule, **facts), kind, words)
        for facts, kind, words in BAD_FACTS
        if kind is not TypeError
    )


def test_a_bad_name_of_a_workflow_or_an_instance(site):
    assert_all_refused(
        (given, lambda given=given: site.register_cron_workflow(given, NIGHTLY), kind, words)
        for given, kind, words in (
            ("", InvalidOption, "workflow_name must have 1 to 255 characters"),
            ("x" * 256, InvalidOption, "workflow_name must have 1 to 255 characters"),
            ("a\x00", InvalidOption, "must not contain NUL or surrogates"),
            (None, InvalidOptionType, "workflow_name must be a str"),
            (["w"], InvalidOptionType, "workflow_name must be a str"),
        )
    )
    assert_all_refused(
        (
            given,
            lambda given=given: site.register_workflow_instance(
                "w", given, NIGHTLY, "UTC", Context()
            ),
            kind,
            words,
        )
        for given, kind, words in (
            ("", InvalidOption, "instance_name must have 1 to 255 characters"),
            ("x" * 255, InvalidOption, "name must have 1 to 255 characters"),
            (None, InvalidOptionType, "instance_name must be a str"),
            (7, InvalidOptionType, "instance_name must be a str"),
        )
    )
    assert_all_refused(
        (
            given,
            lambda given=given: site.register_workflow_instance("w", "i", NIGHTLY, "UTC", given),
            InvalidContextType,
            "params must be a Context",
        )
        for given in (None, {"a": 1}, [1], "{}")
    )


def test_a_bad_word_of_an_operator(site, schedule):
    acts = {
        "set_cron_schedule_enabled()": lambda **words: site.set_cron_schedule_enabled(
            schedule, False, **words
        ),
        "trigger_cron_schedule()": lambda **words: site.trigger_cron_schedule(schedule, **words),
        "backfill()": lambda **words: site.backfill(schedule, "2026-01-01", "2026-01-02", **words),
    }
    assert_all_refused(
        ((call, name, text), lambda act=act, n=name, text=text: act(**{n: text}), kind, words)
        for call, act in acts.items()
        for name, most in (("by", 255), ("reason", 10_000))
        for text, kind, words in (
            ("a\x00b", InvalidOption, f"{call}: {name} must not contain NUL or surrogates"),
            (SURROGATE, InvalidOption, f"{call}: {name} must not contain NUL or surrogates"),
            ("x" * (most + 1), InvalidOption, f"{call}: {name} must have at most {most}"),
            (7, InvalidOptionType, f"{call}: {name} must be a str, not 7"),
            (None, InvalidOptionType, f"{call}: {name} must be a str, not None"),
        )
    )


def test_a_bad_range_of_a_backfill(site, schedule):
    minutely = site.register_cron_workflow("w", "* * * * *")
    later = now() + timedelta(hours=1)
    assert_all_refused(
        (label, lambda given=given: site.backfill(*given), InvalidOption, words)
        for label, given, words in (
            ("future", (schedule, "2026-01-01", later), "backfill(): end must have passed"),
            ("turned", (schedule, "2026-01-02", "2026-01-01"), "start must not be after the end"),
            ("ancient", (schedule, "0001-01-01T00:00:00Z", "2026-01-01"), "of 1970 or later"),
            ("1969", (schedule, "1969-12-31T23:59:59Z", "2026-01-01"), "of 1970 or later"),
            (
                "large",
                (minutely, "2026-01-01T00:00:00Z", "2026-01-07T22:40:00Z"),
                "must leave at most 10000 times, not 10001; take the range in parts",
            ),
            ("all", (minutely, "1970-01-01T00:00:00Z", "2026-01-01T00:00:00Z"), "at most 10000"),
        )
    )
    assert CronSchedule.objects.count() == 2
