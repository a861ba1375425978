"""What schedules did and will do: their last runs, runs for the past, a week's calendar, a file."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.test import Client

from cloaca_django.admin import schedule_backfill, schedule_history
from cloaca_django.core.states import Origin, RunStatus
from cloaca_django.engine import timetable
from cloaca_django.models import CronExecution, CronSchedule, PipelineExecution
from tests.interface.admin import scenes
from tests.interface.admin.conftest import VIEWER, logged_in, person
from tests.interface.admin.test_schedule_pages import MOST_QUERIES, made, page, url

DAY = {"start": "2026-01-01T00:00:00", "end": "2026-01-03T00:00:00", "reason": "the disk was full"}


@pytest.fixture(autouse=True)
def _registered(workflows_of_test):
    scenes.define_workflows()


# The last runs


def test_a_line_draws_the_last_twenty_runs_and_each_leads_to_its_page(viewer):
    row, other = made(), made("other")
    runs = [scenes.run(schedule=row, age=9000 - 100 * at) for at in range(25)]
    failed = scenes.run(schedule=row, status=RunStatus.FAILED, age=10)
    text = page(viewer, "changelist")
    assert text.count('<rect class="cloaca-good"') == 19
    assert text.count('<rect class="cloaca-bad"') == 1
    assert "19 of the last 20 runs completed" in text
    assert f"/{failed.pk}/change/" in text
    assert f"/{runs[6].pk}/change/" in text
    assert f"/{runs[5].pk}/change/" not in text
    assert not PipelineExecution.objects.filter(schedule=other).exists()


@pytest.mark.parametrize("history", [1, 40])
def test_long_histories_of_many_schedules_cost_no_more(
    planner, history, django_assert_max_num_queries
):
    for at in range(25):
        row = made(f"s{at}")
        scenes.run(schedule=row)
    for at in range(history):
        scenes.run(schedule=row, age=at)
    with django_assert_max_num_queries(MOST_QUERIES):
        planner.get(url("changelist"))


def test_the_last_runs_are_looked_up_by_the_index_of_a_schedules_runs(transactional_db):
    rows = [made(f"s{at}") for at in range(3)]
    for row in rows:
        for at in range(25):
            scenes.run(schedule=row, age=at)
    rows += [made(f"new{at}") for at in range(8)]
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    plan = schedule_history._last_runs("default", [row.pk for row in rows]).explain()
    if connection.vendor == "sqlite":  # on so few rows PostgreSQL rightly reads them all
        assert "cloaca_run_of_schedule" in plan
        assert "SCAN" not in plan


def test_who_may_not_see_runs_sees_no_record_of_them(transactional_db):
    scenes.run(schedule=made())
    client = logged_in(person("bo", "view_cronschedule"))
    assert "<rect" not in page(client, "changelist")


def test_the_next_run_is_told_on_both_clocks(viewer, settings):
    settings.TIME_ZONE = "UTC"
    row = made()
    text = page(viewer, "changelist")
    at = row.next_run_at
    assert f"{at + timedelta(hours=9):%a %H:%M} JST</bdi>" in text
    assert f"{at:%a %H:%M} UTC</bdi>" in text
    CronSchedule.objects.update(timezone="Etc/UTC")
    assert page(viewer, "changelist").count(f"{at:%H:%M} UTC</bdi>") == 1


def test_an_empty_list_leads_to_the_form_for_who_may_add(planner, viewer):
    button = f'<a class="cloaca-button cloaca-main" href="{url("add")}">'
    assert button in page(planner, "changelist")
    assert button not in page(viewer, "changelist")


# Runs for the past


def ask(client: Client, row: CronSchedule, **typed: Any) -> Any:
    return client.post(url("backfill", row.pk), {**DAY, **typed})


def test_the_runs_of_a_range_are_counted_and_then_started(planner):
    row = made(cron_expression="0 */6 * * *", timezone="Europe/Berlin", queue="q")
    assert "Backfill…" in page(planner, "change", row.pk)
    text = ask(planner, row).content.decode()
    assert "Yes, start 9 runs" in text
    assert "Thu 2026-01-01 00:00 CET" in text
    assert not PipelineExecution.objects.exists()
    answer = planner.post(url("backfill", row.pk), {**DAY, "confirmed": "9"}, follow=True)
    assert "9 runs were started." in answer.content.decode()
    runs = PipelineExecution.objects.filter(schedule=row)
    assert {(run.queue, run.created_by, run.reason) for run in runs} == {
        ("q", "petra", "the disk was full")
    }
    assert CronExecution.objects.count() == runs.count() == 9
    assert {run.origin for run in runs} == {Origin.SCHEDULE}
    assert LogEntry.objects.get().get_change_message() == (
        "Started 9 runs from 2026-01-01T00:00:00+01:00 to 2026-01-03T00:00:00+01:00:"
        " the disk was full"
    )
    again = ask(planner, row).content.decode()
    assert "Every time in the range has its run already." in again
    more = ask(planner, row, end="2026-01-03T06:00:00").content.decode()
    assert "Yes, start 1 run<" in more
    assert "9 times have their runs already" in more


def test_a_yes_to_another_number_starts_nothing(planner):
    row = made()
    for confirmed in ("7", "", "all"):
        answer = ask(planner, row, end="2026-01-05T00:00:00", confirmed=confirmed)
        assert "Yes, start 4 runs" in answer.content.decode()
    assert not PipelineExecution.objects.exists()


def test_more_than_a_hand_can_mean_is_left_to_the_command(planner, monkeypatch):
    monkeypatch.setattr(schedule_backfill, "MAX_RUNS", 3)
    row = made()
    answer = ask(planner, row, end="2026-01-05T00:00:00", confirmed="4")
    text = answer.content.decode()
    assert "These are 4 times; here at most 3 runs are started at once." in text
    assert "Yes, start" not in text
    CronSchedule.objects.update(cron_expression="* * * * *")
    text = ask(planner, row, start="1980-01-01T00:00:00").content.decode()
    assert "cloaca_schedules backfill" in text
    assert not PipelineExecution.objects.exists()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("end", "2999-01-01T00:00:00", "It has not passed yet."),
        ("end", "2025-01-01T00:00:00", "It ends before it starts."),
        ("start", "1969-01-01T00:00:00", "Give a date of the years"),
        ("start", "0001-01-01T00:00:00", "Give a date of the years"),
        ("end", "9999-12-31T23:59:00", "Give a date of the years"),
        ("start", "yesterday", "Enter a valid date/time."),
        ("end", "", "This field is required."),
    ],
)
def test_a_range_that_cannot_be_is_refused_at_its_field(planner, field, value, words):
    answer = ask(planner, made(), **{field: value})
    assert words in " ".join(answer.context["form"].errors[field])
    assert answer.context["plan"] is None


def test_a_backfill_needs_the_permission_to_run_and_the_code(viewer, operator):
    row = made()
    assert "Backfill…" not in page(viewer, "change", row.pk)
    for method in (viewer.get, viewer.post):
        assert method(url("backfill", row.pk), DAY).status_code == 403
    gone, stuck = made("gone", workflow_name="long_gone"), made("stuck")
    CronSchedule.objects.filter(pk=stuck.pk).update(timezone="Mars/Olympus")
    for one, words in ((gone, "No workflow of this name"), (stuck, "It cannot be planned.")):
        answer = operator.post(url("backfill", one.pk), {**DAY, "confirmed": "2"}, follow=True)
        assert words in answer.content.decode()
    assert operator.get(f"{url('changelist')}junk/backfill/").status_code == 302
    assert operator.get(url("backfill", row.pk), DAY).status_code == 200
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = operator.cookies
    assert ask(strict, row, confirmed="2").status_code == 403
    assert not PipelineExecution.objects.exists()


# A week


def test_a_week_shows_what_each_schedule_starts(viewer, settings):
    settings.TIME_ZONE = "UTC"
    made("nightly"), made("minutely", cron_expression="* * * * *", timezone="UTC")
    made("bounded", cron_expression="0 0 * * *", timezone="UTC",
         start_date=datetime(2027, 1, 6, tzinfo=UTC),
         end_date=datetime(2027, 1, 7, tzinfo=UTC))  # fmt: skip
    timetable.set_enabled("default", made("off").pk, enabled=False)
    answer = viewer.get(url("calendar"), {"week": "2027-01-06"})
    lanes = {lane.name: lane for lane in answer.context["lanes"]}
    assert {name: lane.count for name, lane in lanes.items()} == {
        "nightly": 7, "minutely": 7 * 1440, "bounded": 2,
    }  # fmt: skip
    assert [mark.title for mark in lanes["bounded"].marks] == ["Wed 00:00 UTC", "Thu 00:00 UTC"]
    assert len(lanes["minutely"].marks) == 1
    assert "10080 runs" in lanes["minutely"].marks[0].title
    assert answer.context["busiest"] == 61
    text = answer.content.decode()
    # The weeks beside it, and those that begin the months beside it.
    for words in ("Mon 4<span", "?week=2026-12-28", "?week=2027-01-11", "January 2027",
                  "?week=2026-12-03", "?week=2027-02-04",
                  "1 schedule is disabled, parked or ended"):  # fmt: skip
        assert words in text, words
    assert url("change", lanes["nightly"].schedule) in text


@pytest.mark.parametrize(
    ("monday", "zone", "count"),
    [
        ("2027-03-22", "Europe/Berlin", 167), ("2027-10-25", "Europe/Berlin", 169),
        ("2027-01-04", "Asia/Kolkata", 168),
    ],
)  # fmt: skip
def test_a_week_in_which_the_clock_is_moved_has_all_its_hours(
    viewer, settings, monday, zone, count
):
    settings.TIME_ZONE = zone
    made(cron_expression="0 * * * *", timezone=zone)
    lane = viewer.get(url("calendar"), {"week": monday}).context["lanes"][0]
    assert lane.count == count
    assert all(mark.x >= 0 and mark.x + mark.width <= 2016 for mark in lane.marks)


@pytest.mark.parametrize("week", ["", "junk", "0001-01-01", "9999-12-31", "2026-02-30", "%00"])
def test_any_other_week_is_this_one(viewer, week):
    made()
    answer = viewer.get(url("calendar"), {"week": week})
    assert answer.context["present"] is not None
    assert answer.context["lanes"][0].count in {6, 7, 8}


def test_the_calendar_asks_little_and_tells_only_who_may_look(
    viewer, transactional_db, django_assert_max_num_queries
):
    for at in range(30):
        made(f"s{at}", cron_expression=f"{at} * * * *")
    with django_assert_max_num_queries(MOST_QUERIES):
        assert len(viewer.get(url("calendar")).context["lanes"]) == 30
    assert logged_in(person("nina")).get(url("calendar")).status_code == 403


def test_names_in_the_calendar_are_text(viewer):
    made(scenes.NASTY)
    assert "<script>document" not in page(viewer, "calendar")


# A file


def export(client: Client, *rows: CronSchedule) -> Any:
    chosen = {"action": "export_json", "_selected_action": [str(row.pk) for row in rows]}
    return client.post(url("changelist"), chosen)


def test_chosen_schedules_are_exported_without_their_secrets(operator):
    row = made(context={"password": "hush", "size": 7})
    made("other")
    answer = export(operator, row)
    assert answer["Content-Disposition"] == 'attachment; filename="schedules.json"'
    assert b"hush" not in answer.content
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.get_change_message()) == (str(row.pk), "Exported as JSON.")
    data = json.loads(answer.content)
    assert data["total"] == 1
    item = data["items"][0]
    assert item["context"] == {"password": "***", "size": 7}
    assert (item["name"], item["cron_expression"], item["timezone"], item["sentence"]) == (
        "nightly", "30 2 * * *", "Asia/Tokyo", "At 02:30",
    )  # fmt: skip


def test_who_may_not_see_contexts_exports_none(transactional_db):
    row = made(context={"size": 7})
    client = logged_in(person("vera", *VIEWER))
    assert json.loads(export(client, row).content)["items"][0]["context"] is None
    assert not LogEntry.objects.exists()
