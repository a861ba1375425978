"""The list of runs, and what one may do to many of them."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin import site
from django.contrib.admin.models import LogEntry
from django.urls import reverse

from cloaca_django import clock
from cloaca_django.admin import run_list
from cloaca_django.core.states import Origin, RunStatus, TaskStatus
from cloaca_django.engine import timetable
from cloaca_django.models import CronExecution, PipelineExecution
from tests import workflows
from tests.interface.admin import scenes
from tests.interface.admin.test_run_page import MOST_QUERIES

LIST = "admin:cloaca_django_pipelineexecution_changelist"


@pytest.fixture
def registered(workflows_of_test):
    workflows.chain("invoice_pipeline", workflows.nothing, workflows.nothing)


def shown(client, query=""):
    answer = client.get(f"{reverse(LIST)}{query}")
    assert answer.status_code == 200, answer.get("Location")
    return [row.workflow_name for row in answer.context["cl"].result_list]


@pytest.mark.parametrize("count", [2, 50])
def test_a_page_costs_the_same_for_few_and_many_rows(
    operator, count, django_assert_max_num_queries
):
    for _ in range(count):
        scenes.task(scenes.run(), "a")
    with django_assert_max_num_queries(MOST_QUERIES):
        assert len(shown(operator)) == count


def test_the_newest_run_comes_first_and_each_says_what_happened(operator):
    scenes.failed_run()
    scenes.busy_run()
    answer = operator.get(reverse(LIST))
    assert [row.workflow_name for row in answer.context["cl"].result_list] == [
        "customer_etl",
        "invoice_pipeline",
    ]
    text = answer.content.decode()
    assert "on dedupe for 5 m" in text
    assert "Task &#x27;charge_card&#x27; failed: TimeoutError" in text
    assert "1 failed · 1 running · 4 completed" in text


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("?status=Failed", ["invoice_pipeline"]),
        ("?status=Running", ["customer_etl", "begun"]),
        ("?status=Pending", ["waiting"]),
        ("?status=nonsense", ["customer_etl", "begun", "waiting", "invoice_pipeline"]),
        ("?origin=retry", ["waiting"]),
        ("?finished=hour", ["invoice_pipeline"]),
        ("?workflow=begun", ["begun"]),
        ("?q=inv", ["invoice_pipeline"]),
        ("?q=%25", []),
        ("?q=%00", ["customer_etl", "begun", "waiting", "invoice_pipeline"]),
    ],
)
def test_filters_and_search(operator, query, names):
    scenes.failed_run()
    scenes.run("waiting", RunStatus.PENDING, age=600, origin="retry")
    scenes.task(scenes.run("begun", RunStatus.PENDING, age=500), "a", TaskStatus.RUNNING)
    scenes.busy_run()
    assert shown(operator, query) == names


def test_search_by_the_start_of_an_id(operator):
    run = scenes.run("wanted", id=uuid.UUID("01900000-1111-7000-8000-000000000000"))
    scenes.run("other", id=uuid.UUID("01900000-2222-7000-8000-000000000000"))
    assert shown(operator, "?q=01900000-1111") == ["wanted"]
    assert shown(operator, f"?q={run.pk}") == ["wanted"]


def test_what_is_new_or_ended_is_counted_and_not_shown(operator):
    run = scenes.run()
    open_run = scenes.run(status=RunStatus.RUNNING, age=601)
    url = reverse("admin:cloaca_django_pipelineexecution_changes")
    at = scenes.moment(0).isoformat().replace("+", "%2B")
    asked = f"{url}?since={run.pk}&at={at}"
    assert operator.get(asked).json() == {"new": 0, "ended": 0, "text": ""}
    scenes.run(age=1)
    assert operator.get(asked).json() == {"new": 1, "ended": 0, "text": "1 new run"}
    ended = {"status": RunStatus.COMPLETED, "finished_at": scenes.moment(-1)}
    PipelineExecution.objects.filter(pk=open_run.pk).update(**ended)
    assert operator.get(asked).json()["text"] == "1 new run, 1 ended"
    assert operator.get(f"{url}?since=junk&at=junk").json()["new"] == 3
    assert operator.get(f"{url}?since={run.pk}&at=2026-99-99T00:00").json()["ended"] == 0


def test_rows_beyond_the_count_are_behind_a_link(operator, monkeypatch):
    monkeypatch.setattr(run_list, "MAX_COUNTED", 4)
    monkeypatch.setattr(site.get_model_admin(PipelineExecution), "list_per_page", 2)
    for at in range(5):
        scenes.run(f"w{at}", age=100 - at)
    answer = operator.get(f"{reverse(LIST)}?p=2")
    assert "These are the newest 4." in answer.content.decode()
    older = answer.context["cl"].older
    assert shown(operator, older) == ["w0"]


def choose(client, action, runs, **facts):
    data = {"action": action, "_selected_action": [str(run.pk) for run in runs], **facts}
    return client.post(reverse(LIST), data)


def test_the_runs_of_a_month_and_the_months_around(operator, settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    first = datetime(2026, 3, 31, 15, 0, tzinfo=UTC)  # midnight in Tokyo
    for name, moment in (
        ("before", first - timedelta(seconds=1)), ("first", first),
        ("last", first + timedelta(days=30, seconds=-1)), ("after", first + timedelta(days=30)),
    ):  # fmt: skip
        scenes.run(name, age=(clock.utc_now() - moment).total_seconds())

    def asked(query):
        found = operator.get(f"{reverse(LIST)}{query}").context["cl"]
        return {row.workflow_name for row in found.result_list}, found.months

    names, months = asked("?month=2026-04")
    assert names == {"first", "last"}
    assert (months.label, months.before, months.after, months.every) == (
        "April 2026", "?month=2026-03", "?month=2026-05", "?",
    )  # fmt: skip
    assert asked("?month=2026-04&workflow=last")[0] == {"last"}
    assert asked("?month=2026-04&workflow=last")[1].before == "?month=2026-03&workflow=last"
    for junk in (
        "?month=2026-13",
        "?month=0000-01",
        "?month=x",
        "?month=9999-12",
        "?month=\N{DEVANAGARI DIGIT ONE}999-01",
    ):
        assert asked(junk)[0] == {"before", "first", "last", "after"}, junk
    this = asked("")[1].before
    assert asked(this)[1].after == ""


def test_a_late_run_of_a_schedule_says_when_it_was_due(
    operator, settings, django_assert_max_num_queries
):
    settings.TIME_ZONE = "UTC"
    schedule = timetable.register("default", "a", {"cron_expression": "30 2 * * *"})
    due = datetime(2026, 3, 31, 2, 30, tzinfo=UTC)
    run = scenes.run("a", RunStatus.PENDING, age=300, schedule=schedule, origin=Origin.SCHEDULE)
    scenes.task(run, "a", TaskStatus.READY)
    CronExecution.objects.create(schedule=schedule, run=run, scheduled_time=due, claimed_at=due)
    with django_assert_max_num_queries(MOST_QUERIES):
        text = operator.get(reverse(LIST)).content.decode()
    assert "due Tue 2026-03-31 02:30 UTC" in text


def test_many_are_cancelled_after_a_question_that_says_which(operator):
    open_runs = [scenes.run(status=RunStatus.PENDING) for _ in range(3)]
    ended = scenes.failed_run()
    answer = choose(operator, "cancel", [*open_runs, ended])
    text = answer.content.decode()
    assert "It can be done for 3 of the chosen runs." in text
    assert "This run has ended: failed." in text
    assert PipelineExecution.objects.unfinished().count() == 3
    url = reverse("admin:cloaca_django_pipelineexecution_bulk_cancel")
    ids = ",".join(str(run.pk) for run in [*open_runs, ended])
    after = operator.post(url, {"ids": ids, "reason": "wrong input"}, follow=True)
    assert "Done for 3 runs. 1 was left alone." in after.content.decode()
    assert PipelineExecution.objects.unfinished().count() == 0
    assert LogEntry.objects.count() == 3
    assert PipelineExecution.objects.get(pk=open_runs[0].pk).error_message == (
        "Cancelled by otto: wrong input"
    )


@pytest.mark.usefixtures("registered")
def test_many_are_retried_from_failure(operator):
    ended = [scenes.failed_run(), scenes.failed_run()]
    url = reverse("admin:cloaca_django_pipelineexecution_bulk_retry")
    operator.post(url, {"ids": ",".join(str(run.pk) for run in ended), "reason": ""})
    made = PipelineExecution.objects.filter(parent__in=ended)
    assert {(run.origin, run.created_by) for run in made} == {("retry", "otto")}
    assert made.count() == 2


def test_who_may_only_look_is_offered_no_action(viewer):
    run = scenes.run(status=RunStatus.PENDING)
    answer = viewer.get(reverse(LIST))
    assert 'name="action"' not in answer.content.decode()
    choose(viewer, "cancel", [run])
    url = reverse("admin:cloaca_django_pipelineexecution_bulk_cancel")
    assert viewer.post(url, {"ids": str(run.pk)}).status_code == 403
    assert PipelineExecution.objects.unfinished().count() == 1


def test_an_empty_list_says_what_to_do(operator):
    assert "Nothing has run yet." in operator.get(reverse(LIST)).content.decode()
    scenes.run()
    assert "No runs match." in operator.get(f"{reverse(LIST)}?q=zzz").content.decode()
