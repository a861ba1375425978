"""Runs are deleted by hand where the site allows it, once they ended, by who may."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import DELETION, LogEntry
from django.urls import reverse

from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.models import (
    CronExecution,
    CronSchedule,
    PipelineExecution,
    TaskAttempt,
    TaskExecution,
    TaskLog,
)
from tests.interface.admin import scenes
from tests.interface.admin.conftest import OPERATOR, VIEWER, logged_in, person

LIST = "admin:cloaca_django_pipelineexecution_changelist"


@pytest.fixture
def allowed(settings):
    settings.CLOACA = {"ADMIN_DELETE_RUNS": True}


@pytest.fixture
def keeper(transactional_db):
    return logged_in(person("kim", *VIEWER, "delete_pipelineexecution"))


def url(name, *args):
    return reverse(f"admin:cloaca_django_pipelineexecution_{name}", args=args)


def full_run():
    """Return an ended run with rows of every kind, that a schedule started and led to another."""
    run = scenes.failed_run()
    scenes.attempt(run.tasks.get(position=1), 4, log="a line")
    schedule = CronSchedule.objects.create(
        name="nightly", workflow_name="w", cron_expression="0 0 * * *", created_at=run.created_at,
        updated_at=run.created_at,
    )  # fmt: skip
    CronExecution.objects.create(
        schedule=schedule, scheduled_time=run.created_at, claimed_at=run.created_at, run=run
    )
    return run, scenes.run(parent=run)


@pytest.mark.usefixtures("allowed")
def test_a_run_goes_with_all_its_rows_after_a_question_and_that_is_logged(keeper):
    run, child = full_run()
    page = keeper.get(url("delete", run.pk)).content.decode()
    assert "It goes for good" in page
    assert PipelineExecution.objects.count() == 2
    assert url("delete", run.pk) in keeper.get(url("change", run.pk)).content.decode()
    answer = keeper.post(url("delete", run.pk), {"reason": "a customer asked"}, follow=True)
    assert answer.redirect_chain[-1][0] == reverse(LIST)
    assert "The run was deleted." in answer.content.decode()
    left = PipelineExecution.objects.get()
    assert (left.pk, left.parent_id) == (child.pk, None)
    assert not TaskExecution.objects.exists()
    assert not TaskAttempt.objects.exists()
    assert not TaskLog.objects.exists()
    # The time of the schedule has been, and is not to be filled again.
    assert CronExecution.objects.get().run_id is None
    entry = LogEntry.objects.get()
    assert (entry.action_flag, entry.object_id) == (DELETION, str(run.pk))
    assert entry.get_change_message() == "Deleted: a customer asked"


def test_without_the_setting_nobody_deletes(boss):
    run = scenes.failed_run()
    assert url("delete", run.pk) not in boss.get(url("change", run.pk)).content.decode()
    assert "settings do not allow it" in boss.get(url("delete", run.pk)).content.decode()
    boss.post(url("delete", run.pk), {"reason": ""})
    choose(boss, [run])
    boss.post(url("bulk_delete"), {"ids": str(run.pk), "reason": ""})
    assert PipelineExecution.objects.count() == 1
    assert 'value="delete"' not in boss.get(reverse(LIST)).content.decode()


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize("status", [RunStatus.PENDING, RunStatus.RUNNING, RunStatus.PAUSED])
def test_a_run_that_has_not_ended_stays(keeper, status):
    run = scenes.run(status=status)
    scenes.task(run, "a", TaskStatus.PENDING)
    answer = keeper.post(url("delete", run.pk), {"reason": ""}, follow=True)
    assert "only runs that ended are deleted" in answer.content.decode()
    assert PipelineExecution.objects.count() == 1
    assert not LogEntry.objects.exists()


@pytest.mark.usefixtures("allowed")
def test_a_run_that_an_open_one_waits_for_stays(keeper):
    parent = scenes.run(status=RunStatus.RUNNING)
    task = scenes.task(parent, "a", TaskStatus.RUNNING)
    child = scenes.run(parent=parent, parent_task_id=task.pk)
    answer = keeper.post(url("delete", child.pk), {"reason": ""}, follow=True)
    assert "awaited by the run that started it" in answer.content.decode()
    assert PipelineExecution.objects.count() == 2


@pytest.mark.usefixtures("allowed")
def test_deleting_needs_its_own_permission(operator):
    run = scenes.failed_run()
    assert "delete_pipelineexecution" not in OPERATOR
    assert url("delete", run.pk) not in operator.get(url("change", run.pk)).content.decode()
    for place in (url("delete", run.pk), url("bulk_delete")):
        assert operator.post(place, {"ids": str(run.pk), "reason": ""}).status_code == 403
    assert PipelineExecution.objects.count() == 1


@pytest.mark.usefixtures("allowed")
def test_many_are_deleted_and_open_ones_are_left_alone(keeper):
    ended, still_open = scenes.failed_run(), scenes.run(status=RunStatus.RUNNING)
    text = choose(keeper, [ended, still_open]).content.decode()
    assert "It can be done for 1 of the chosen runs." in text
    ids = f"{ended.pk},{still_open.pk}"
    answer = keeper.post(url("bulk_delete"), {"ids": ids, "reason": ""}, follow=True)
    assert "Done for 1 run. 1 was left alone." in answer.content.decode()
    assert PipelineExecution.objects.get().pk == still_open.pk


@pytest.mark.usefixtures("allowed")
def test_deleting_twice_is_a_message_and_no_error(keeper):
    run = scenes.failed_run()
    keeper.post(url("delete", run.pk), {"reason": ""})
    again = keeper.post(url("delete", run.pk), {"reason": ""}, follow=True)
    assert "There is no run with the id" in again.content.decode()
    assert LogEntry.objects.count() == 1


@pytest.mark.usefixtures("allowed")
def test_django_s_own_way_to_delete_is_not_offered(boss):
    scenes.failed_run()
    assert "delete_selected" not in boss.get(reverse(LIST)).content.decode()


def choose(client, runs):
    data = {"action": "delete", "_selected_action": [str(run.pk) for run in runs]}
    return client.post(reverse(LIST), data)
