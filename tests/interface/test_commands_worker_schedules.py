"""cloaca_worker and schedules: what is due when it starts, when it ends, and what code declares."""

from __future__ import annotations

import pytest

from cloaca_django import WorkflowBuilder, schedule, task
from cloaca_django.models import CronExecution, CronSchedule, PipelineExecution
from tests import workflows
from tests.interface.commands import run
from tests.interface.schedules import NIGHTLY, just_missed, overdue

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def site(make_runner):
    workflows.chain("two", workflows.nothing, workflows.nothing)
    return make_runner(using="default")


@pytest.fixture
def due(site):
    """A schedule that is due and will not be again for a year."""
    expression, moment = just_missed()
    id = site.register_cron_workflow("two", expression)
    overdue(id)
    return id, moment


def statuses():
    return [run.status for run in PipelineExecution.objects.all()]


def test_burst_fires_what_is_due_runs_it_and_ends(site, due):
    site.register_cron_workflow("two", "* * * * *")  # its next time is no reason to stay
    ran = run("cloaca_worker", "--burst")
    assert ran.code == 0
    assert statuses() == ["Completed"]
    id, moment = due
    fire = CronExecution.objects.get()
    assert (str(fire.schedule_id), fire.scheduled_time) == (id, moment)


def test_once_fires_what_is_due_and_runs_what_was_ready(site, due):
    ran = run("cloaca_worker", "--once")
    assert ran.code == 0
    assert CronExecution.objects.count() == 1
    (row,) = PipelineExecution.objects.all()
    assert [task.status for task in row.tasks.order_by("position")] == ["Completed", "Ready"]


def test_without_schedules_it_fires_nothing(site, due):
    assert run("cloaca_worker", "--burst", "--no-schedules").code == 0
    assert not CronExecution.objects.exists()


def test_the_settings_bound_what_is_made_up_for(site, settings):
    settings.CLOACA = {"CRON_MAX_CATCHUP_EXECUTIONS": 0}
    site.register_cron_workflow("two", NIGHTLY)
    CronSchedule.objects.update(next_run_at="2020-01-01T02:00:00+00:00")
    assert run("cloaca_worker", "--burst").code == 0
    assert CronExecution.objects.count() <= 1  # one if it is two o'clock
    assert CronSchedule.objects.get().skipped_count > 2_000


def test_what_code_declares_is_there_when_it_has_started(site):
    schedule(NIGHTLY, name="nightly", priority=4)(_a_task)
    assert run("cloaca_worker", "--burst").code == 0
    row = CronSchedule.objects.get()
    assert (row.name, row.workflow_name, row.priority) == ("nightly", "_a_task", 4)
    assert run("cloaca_worker", "--burst").code == 0
    assert CronSchedule.objects.count() == 1


def test_without_schedules_nothing_declared_is_written(site):
    schedule(NIGHTLY)(_a_task)
    assert run("cloaca_worker", "--burst", "--no-schedules").code == 0
    assert not CronSchedule.objects.exists()


def _a_task(context):
    pass


def test_two_workflows_that_declare_one_name_are_refused(site):
    for name in ("one", "other"):
        with WorkflowBuilder(name) as builder:
            builder.schedule(NIGHTLY, name="nightly")
            task(id="a")(workflows.nothing)
    ran = run("cloaca_worker", "--burst")
    assert ran.code != 0
    assert "schedule name 'nightly' is declared by the workflows one, other" in ran.err
    assert not CronSchedule.objects.exists()


def test_a_declared_context_that_its_workflow_refuses_is_told_in_one_line(site):
    with WorkflowBuilder("strict", params={"day": str}) as builder:
        builder.schedule(NIGHTLY)
        task(id="a")(workflows.nothing)
    ran = run("cloaca_worker", "--burst")
    assert ran.code != 0
    assert "day: is required" in ran.err
    assert len(ran.err.splitlines()) == 1
