"""What rows of django-celery-beat mean here."""

from __future__ import annotations

from typing import Any

import pytest

from cloaca_django.core import beat
from cloaca_django.core.beat import Row, Untranslatable
from cloaca_django.errors import InvalidCronExpression, InvalidTimezone

COLUMNS = ("minute", "hour", "day_of_month", "month_of_year", "day_of_week")


def with_crontab(fields: str, timezone: str = "UTC", **facts: Any) -> Row:
    crontab = dict(zip(COLUMNS, fields.split(), strict=True)) | {"id": 1, "timezone": timezone}
    task = {"name": "row", "task": "t", "enabled": True, "crontab_id": 1, **facts}
    return Row(task, crontab=crontab)


def with_interval(every: int, period: str, **facts: Any) -> Row:
    task = {"name": "row", "task": "t", "enabled": True, "interval_id": 1, **facts}
    return Row(task, interval={"id": 1, "every": every, "period": period})


def expression_of(row: Row) -> str:
    return str(beat.translated(row).facts["cron_expression"])


def refusal_of(row: Row) -> str:
    with pytest.raises(Untranslatable) as refused:
        beat.translated(row)
    return str(refused.value)


def test_a_crontab_becomes_its_five_fields_in_the_order_of_cron_and_its_zone():
    facts = beat.translated(with_crontab("30 2 1 */3 *", "Europe/Berlin")).facts
    assert facts["cron_expression"] == "30 2 1 */3 *"
    assert facts["timezone"] == "Europe/Berlin"


def test_blanks_empty_fields_and_whole_names_are_spelled_as_cron_has_them():
    row = with_crontab("0 2 * january monday")
    row = Row(row.task, crontab={**row.crontab, "minute": "0, 30", "hour": ""})
    assert expression_of(row) == "0,30 * * jan mon"


def test_a_row_says_where_its_run_goes_and_what_it_gets():
    row = with_crontab("0 2 * * *", kwargs='{"a": [1]}', queue="mail", priority=3, enabled=False)
    found = beat.translated(row)
    assert {name: found.facts[name] for name in ("context", "queue", "priority", "enabled")} == {
        "context": {"a": [1]}, "queue": "mail", "priority": 3, "enabled": False,
    }  # fmt: skip
    assert "Redis" in found.notes[0]


def test_missed_times_are_made_up_for_once_as_beat_does():
    assert beat.translated(with_crontab("0 2 * * *")).facts["catchup_policy"] == "latest"


@pytest.mark.parametrize(
    ("every", "period", "expression"),
    [
        (1, "minutes", "* * * * *"),
        (60, "seconds", "* * * * *"),
        (15, "minutes", "*/15 * * * *"),
        (600, "seconds", "*/10 * * * *"),
        (60, "minutes", "0 * * * *"),
        (1, "hours", "0 * * * *"),
        (6, "hours", "0 */6 * * *"),
        (24, "hours", "0 0 * * *"),
        (1, "days", "0 0 * * *"),
    ],
)
def test_an_interval_that_divides_an_hour_or_a_day_becomes_steps(every, period, expression):
    found = beat.translated(with_interval(every, period))
    assert (found.facts["cron_expression"], found.facts["timezone"]) == (expression, "UTC")
    assert "even times of the clock" in found.notes[0]


@pytest.mark.parametrize(
    ("every", "period"),
    [
        (10, "seconds"), (90, "seconds"), (7, "minutes"), (90, "minutes"), (5, "hours"),
        (2, "days"), (1, "microseconds"), (0, "minutes"), (-5, "minutes"), (1, "weeks"),
    ],
)  # fmt: skip
def test_any_other_interval_is_refused(every, period):
    assert f"interval of {every} {period} divides neither" in refusal_of(
        with_interval(every, period)
    )


def test_both_day_fields_mean_another_thing_to_celery_and_are_refused():
    assert "cron when either does" in refusal_of(with_crontab("0 2 1 * 1"))


@pytest.mark.parametrize("fields", ["0 2 */2 * 1", "0 2 1 * *", "0 2 * * 1", "0 2 1-7 * */2"])
def test_day_fields_that_mean_the_same_to_both_are_taken(fields):
    assert expression_of(with_crontab(fields)) == fields


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        ({"args": "[1]"}, "positional arguments"),
        ({"args": "nonsense"}, "its args are no JSON"),
        ({"kwargs": "[1]"}, "no JSON object"),
        ({"kwargs": "{"}, "its kwargs are no JSON"),
        ({"kwargs": "[" * 100_000}, "its kwargs are no JSON"),
        ({"one_off": True}, "start_at"),
        ({"crontab_id": None, "clocked_id": 1, "one_off": True}, "start_at"),
        ({"crontab_id": None, "solar_id": 1}, "sun"),
        ({"crontab_id": None}, "one schedule that exists"),
        ({"interval_id": 2}, "one schedule that exists"),
    ],
)
def test_what_has_no_meaning_here_is_refused_with_the_reason(facts, says):
    assert says in refusal_of(with_crontab("0 2 * * *", **facts))


def test_a_row_whose_schedule_is_gone_is_refused():
    row = with_crontab("0 2 * * *")
    assert "that exists" in refusal_of(Row(row.task))


def test_a_wrong_expression_or_zone_is_the_error_it_always_is():
    with pytest.raises(InvalidCronExpression, match="write 22-23,0-2"):
        beat.translated(with_crontab("0 22-2 * * *"))
    with pytest.raises(InvalidTimezone):
        beat.translated(with_crontab("0 2 * * *", "Mars/Olympus"))


def test_what_is_left_out_is_said():
    row = with_crontab("0 2 * * *", routing_key="x", expire_seconds=5, headers='{"a": 1}')
    assert beat.translated(row).notes == ("without its routing_key, expire_seconds, headers",)


def test_columns_that_an_older_version_does_not_have_are_not_missed():
    row = with_crontab("0 2 * * *")
    crontab = {name: value for name, value in row.crontab.items() if name != "timezone"}
    assert beat.translated(Row(row.task, crontab=crontab)).facts["timezone"] == "UTC"
