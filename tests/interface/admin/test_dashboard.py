"""The first page."""

from __future__ import annotations

import pytest
from django.db import connection
from django.urls import reverse

from cloaca_django.admin import standing
from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.dialect import history
from cloaca_django.models import CronSchedule, WorkflowControl
from tests import workflows
from tests.interface.admin import scenes
from tests.interface.admin.conftest import logged_in, person
from tests.interface.admin.test_run_page import MOST_QUERIES

INDEX = ("admin:app_list", ["cloaca_django"])


@pytest.fixture(autouse=True)
def _registered(workflows_of_test):
    workflows.chain("invoice_pipeline", workflows.nothing, workflows.nothing)


def shown(client):
    answer = client.get(reverse(INDEX[0], args=INDEX[1]))
    assert answer.status_code == 200
    return answer.content.decode()


def schedule(name, seconds, **facts):
    return CronSchedule.objects.create(
        name=name, workflow_name="invoice_pipeline", cron_expression="0 * * * *",
        next_run_at=scenes.moment(-seconds), created_at=scenes.moment(0),
        updated_at=scenes.moment(0), **facts,
    )  # fmt: skip


def test_a_new_site_is_taught_the_first_steps(boss):
    text = shown(boss)
    assert "Nothing has run here yet" in text
    assert "python manage.py cloaca_worker" in text
    assert "Run invoice_pipeline now" in text
    assert "No worker is running" in text


def test_a_busy_site_in_one_page(operator):
    scenes.busy_run()
    scenes.failed_run()
    scenes.run(age=500)
    scenes.run("held", RunStatus.PAUSED, paused_at=scenes.moment(5))
    schedule("hourly", 600)
    schedule("overdue", -400)
    schedule("broken", 400, parked_at=scenes.moment(60), error_message="no such workflow")
    WorkflowControl.objects.create(
        name="etl", paused_at=scenes.moment(60), paused_by="ana", pause_reason="moving"
    )
    text = shown(operator)
    for words in (
        "1 paused", "50.0%", "2 runs ended in the last 24 hours", "gateway did not answer",
        "Retry…", "on dedupe for", "in 10 m", "no worker has fired it", "no such workflow",
        "by ana: moving", "1 of 8 slots", "median 41 s", "Every hour", " Late",
        " Parked",
    ):  # fmt: skip
        assert words in text, words
    for words in ("Scheduled", "Held"):
        assert words not in text, words
    assert "No worker is running" not in text


def test_a_run_that_was_repeated_needs_nobody(operator):
    failed = scenes.failed_run()
    scenes.run("invoice_pipeline", parent=failed, age=10)
    assert "Retry…" not in shown(operator)


def test_hours_are_those_of_the_clock_where_a_zone_is_half_an_hour_off(operator, settings):
    settings.TIME_ZONE = "Asia/Kolkata"
    scenes.run(age=500)
    board = operator.get(reverse(INDEX[0], args=INDEX[1])).content.decode()
    assert ":30: 1 completed, 0 not" in board


def test_what_the_engine_is_like_stands_in_a_line(operator):
    text = shown(operator)
    for words in ("Workers: none", "Schedules: nobody fires them", "Recovery: 0 orphans"):
        assert words in text, words
    scenes.worker()
    silent = scenes.worker(age=40, pid=2)
    run = scenes.run(status=RunStatus.RUNNING)
    scenes.task(run, "a", TaskStatus.RUNNING, worker_id=silent.pk)
    text = shown(operator)
    for words in (
        "Workers: 1 of 2 heard of", "Schedules: app-1:4711, heard of", "Recovery: 1 orphan",
        "Database: SQLite 3." if connection.vendor == "sqlite" else "Database: PostgreSQL 1",
        "?state=late", "?status=open",
    ):  # fmt: skip
        assert words in text, words
    assert ("Embedded mode" in text) == (connection.vendor == "sqlite")
    assert "?state=late" not in shown(logged_in(person("nina", "view_pipelineexecution")))


def test_figures_stop_at_what_is_counted_at_most(operator, monkeypatch):
    monkeypatch.setattr(standing, "MAX_COUNTED", 3)
    for at in range(6):
        scenes.task(scenes.run(age=900 - at), "a", TaskStatus.COMPLETED)
        scenes.task(scenes.run(status=RunStatus.PENDING, age=5), "a", TaskStatus.READY)
    text = shown(operator)
    assert "The newest 3 runs that ended" in text
    assert "<b>3+</b>" in text


@pytest.mark.parametrize("count", [1, 30])
def test_the_page_costs_the_same_with_few_and_many_rows(
    operator, count, django_assert_max_num_queries
):
    for at in range(count):
        scenes.failed_run()
        made = scenes.run(status=RunStatus.RUNNING)
        scenes.task(made, "a", TaskStatus.RUNNING)
        scenes.worker(pid=at)
        schedule(f"s{at}", 100)
        WorkflowControl.objects.create(name=f"w{at}", paused_at=scenes.moment(60))
    with django_assert_max_num_queries(MOST_QUERIES):
        shown(operator)


def test_a_site_where_all_is_paused_and_no_worker_lives_costs_no_more(
    operator, django_assert_max_num_queries
):
    run = scenes.run(status=RunStatus.PENDING, age=900)
    scenes.task(run, "a", TaskStatus.READY)
    WorkflowControl.objects.create(name="etl", paused_at=scenes.moment(60), paused_by="ana")
    with django_assert_max_num_queries(MOST_QUERIES):
        assert "by ana" in shown(operator)


def test_the_usual_duration_is_that_of_the_runs_of_a_day_that_completed(transactional_db):
    for took in (10, 20, 30, 40, 1000):
        scenes.run(age=5000, took=took)
    for _ in range(2):
        scenes.run(age=5000, took=1, status=RunStatus.FAILED)
        scenes.run(age=3 * 86_400, took=1)
    assert history.glance("default", most=9).median == pytest.approx(30)


def test_who_may_not_see_runs_sees_no_figures(transactional_db):
    scenes.failed_run()
    text = shown(logged_in(person("nina", "view_worker")))
    assert "gateway did not answer" not in text
    assert "Needs attention" not in text


def test_attacks_stay_text(operator):
    nasty = scenes.NASTY
    scenes.run(nasty, RunStatus.FAILED, error_message=nasty)
    schedule(nasty[:100], 100, timezone=nasty[:60])
    scenes.worker(hostname=nasty)
    text = shown(operator)
    assert "<script>document" not in text
    assert "<img src=x" not in text
