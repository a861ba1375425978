"""Schedules that code declares, in a program whose runner is the whole engine."""

from __future__ import annotations

import threading

import pytest

from cloaca_django import WorkflowBuilder, schedule, task
from cloaca_django.errors import DuplicateSchedule, InvalidParams
from cloaca_django.models import CronSchedule
from tests import workflows
from tests.interface.conftest import until
from tests.interface.schedules import NIGHTLY, just_missed, overdue


def nightly(context):
    """Do what a scheduled function does."""
    context["done"] = True


def test_a_whole_runner_brings_them_in_and_fires_them(make_runner):
    expression, _ = just_missed()
    schedule(expression, name="declared")(nightly)
    # A site's runner leaves that to cloaca_worker.
    assert make_runner(using="default").list_cron_schedules() == []
    runner = make_runner()
    (row,) = runner.list_cron_schedules()
    assert (row["name"], row["workflow_name"]) == ("declared", "nightly")
    overdue(row["id"])
    runner.set_cron_schedule_enabled(row["id"], True)
    until(lambda: runner.get_cron_schedule(row["id"])["last_result"] == "Completed")


def test_without_cron_scheduling_it_brings_in_nothing(make_runner):
    schedule(NIGHTLY)(nightly)
    make_runner(enable_cron_scheduling=False)
    assert not CronSchedule.objects.exists()


def test_a_second_runner_changes_nothing(make_runner):
    schedule(NIGHTLY)(nightly)
    make_runner()
    before = CronSchedule.objects.values().get()
    make_runner()
    assert CronSchedule.objects.values().get() == before


@pytest.mark.parametrize("kind", [DuplicateSchedule, InvalidParams])
def test_a_declaration_that_is_refused_makes_no_runner_and_leaves_no_thread(make_runner, kind):
    for name in ("one", "other"):
        params = {"day": str} if kind is InvalidParams else None
        with WorkflowBuilder(name, params=params) as builder:
            builder.schedule(NIGHTLY, name="same" if kind is DuplicateSchedule else None)
            task(id="a")(workflows.nothing)
    before = set(threading.enumerate())
    with pytest.raises(kind):
        make_runner()
    assert set(threading.enumerate()) == before
    assert not CronSchedule.objects.exists()
    make_runner(enable_cron_scheduling=False)
