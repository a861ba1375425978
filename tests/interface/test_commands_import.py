"""cloaca_schedules import: the plan of a takeover from django-celery-beat, and what it writes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cloaca_django import DefaultRunner
from cloaca_django.core.context import decode
from cloaca_django.engine import takeover
from cloaca_django.errors import ScheduleExists
from cloaca_django.models import CronSchedule
from tests import workflows
from tests.interface import beat_tables
from tests.interface.beat_tables import PeriodicTask, crontab, interval
from tests.interface.commands import Ran, run

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def beat(transactional_db, workflows_of_test):
    """The tables of beat, and a workflow ``report`` for its rows to start."""
    workflows.single("report")
    with beat_tables.tables():
        yield


def imported(*arguments: str) -> Ran:
    return run("cloaca_schedules", "import", "--from", "django_celery_beat", *arguments)


def plan(*arguments: str) -> dict[str, dict]:
    entries = imported("--dry-run", "--format", "json", *arguments).data
    return {entry["name"]: entry for entry in entries}


def test_a_row_becomes_a_schedule_with_all_its_facts(beat):
    crontab(
        "nightly", "report", "30 2 * * *", timezone="Europe/Berlin", kwargs='{"region": "eu"}',
        queue="mail", priority=3, start_time=datetime(2026, 1, 1, tzinfo=UTC),
        expires=datetime(2099, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    ran = imported()
    assert ran.code == 0
    row = CronSchedule.objects.get()
    assert (row.name, row.workflow_name) == ("nightly", "report")
    assert (row.cron_expression, row.timezone) == ("30 2 * * *", "Europe/Berlin")
    assert decode(row.context) == {"region": "eu"}
    assert (row.queue, row.priority, row.enabled) == ("mail", 3, True)
    assert (row.start_date, row.end_date) == (
        datetime(2026, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    assert row.next_run_at is not None
    assert "Took over 1 schedule; 0 there already, 0 not taken over" in ran.out


def test_it_reminds_of_the_rows_that_beat_still_runs(beat):
    crontab("nightly", "report")
    crontab("off", "report", enabled=False)
    ran = imported()
    assert "Disable there: nightly" in ran.err
    assert "off" not in ran.err
    assert CronSchedule.objects.get(name="off").enabled is False
    assert "Disable there: nightly" in imported().err


def test_a_dry_run_prints_the_plan_and_writes_nothing(beat):
    crontab("nightly", "report", kwargs='{"password": "hidden"}')
    ran = imported("--dry-run")
    assert ran.out.splitlines() == [
        "nightly  (report): taken over",
        "  runs report at 0 2 * * * UTC",
        "  queue default, priority 0, enabled, context {'password': '***'}",
        "Would take over 1 schedule; 0 there already, 0 not taken over",
    ]
    assert ran.err == ""
    assert not CronSchedule.objects.exists()


def test_a_second_import_changes_nothing_not_even_what_was_edited_since(beat):
    crontab("nightly", "report")
    imported()
    CronSchedule.objects.update(cron_expression="0 5 * * *")
    before = CronSchedule.objects.values().get()
    ran = imported()
    assert "nightly  (report): left as it is: a schedule of this name is there already" in ran.out
    assert CronSchedule.objects.values().get() == before


def test_a_task_finds_its_workflow_by_its_name_or_by_the_map(beat):
    crontab("a", "report")
    crontab("b", "proj.tasks.report")
    crontab("c", "proj.tasks.other")
    assert [plan()[name]["fate"] for name in "abc"] == ["taken", "refused", "refused"]
    found = plan("--map", "proj.tasks.report=report", "--map", "proj.tasks.other=report")
    assert [found[name]["workflow"] for name in "abc"] == ["report", "report", "report"]


def test_a_task_without_a_workflow_names_the_option_that_helps(beat):
    crontab("a", "proj.tasks.report")
    assert "--map proj.tasks.report=WORKFLOW" in plan()["a"]["why"]


@pytest.mark.parametrize(
    ("mapped", "says"),
    [
        ("proj.nix=report", "must name a task of a row; they have: report"),
        ("report=nix", "Workflow not found in registry: nix"),
        ("report", "must be TASK=WORKFLOW"),
        ("=report", "must be TASK=WORKFLOW"),
    ],
)
def test_a_wrong_map_is_a_usage_error_and_nothing_is_written(beat, mapped, says):
    crontab("a", "report")
    ran = imported("--map", mapped)
    assert ran.code == 2
    assert says in ran.err
    assert not CronSchedule.objects.exists()


def test_good_rows_are_taken_over_beside_refused_ones(beat):
    interval("a good interval", "report", 15, "minutes")
    interval("a bad interval", "report", 7, "minutes")
    crontab("both days", "report", "0 2 1 * 1")
    crontab("bad zone", "report", timezone="Mars/Olympus")
    crontab("bad queue", "report", queue="two words")
    crontab("bad value", "report", kwargs='{"a": NaN}')
    crontab("solar", "report", solar_id=1)
    ran = imported()
    assert ran.code == 0
    assert [row.name for row in CronSchedule.objects.all()] == ["a good interval"]
    assert "Took over 1 schedule; 0 there already, 6 not taken over" in ran.out
    assert "either does" in ran.out


def test_inputs_that_do_not_fit_the_workflow_are_found_before_anything_is_written(beat):
    workflows.single("strict", builder={"params": {"order_id": int}})
    crontab("a", "strict")
    assert "order_id" in plan()["a"]["why"]


def test_a_name_that_is_taken_meanwhile_leaves_nothing_of_the_import_behind(beat):
    crontab("a", "report")
    crontab("b", "report")
    entries = takeover.plan("default", workflows={})
    DefaultRunner().register_cron_workflow("report", "0 5 * * *", name="b")
    with pytest.raises(ScheduleExists):
        takeover.carry_out("default", entries)
    assert [row.name for row in CronSchedule.objects.all()] == ["b"]


def test_a_database_without_the_tables_says_so(transactional_db):
    ran = imported()
    assert ran.code == 2
    assert "has no table django_celery_beat_periodictask" in ran.err


def test_the_rows_of_beat_are_left_as_they_are(beat):
    crontab("nightly", "report")
    before = list(PeriodicTask.objects.values())
    imported()
    assert list(PeriodicTask.objects.values()) == before
