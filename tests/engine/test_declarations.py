"""Schedules that code declares: brought into the database again and again, without surprises."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from cloaca_django import Context, WorkflowBuilder, task
from cloaca_django.engine import declarations, timetable
from cloaca_django.engine.declarations import GONE, Action, Synced
from cloaca_django.errors import DuplicateSchedule, InvalidParams
from cloaca_django.models import CronSchedule
from tests import workflows
from tests.engine.world import START

NIGHTLY = "0 2 * * *"


@pytest.fixture(autouse=True)
def _database(transactional_db):
    """Every test here writes."""


def define(workflow_name="w", *schedules, **facts):
    """Register a workflow that declares schedules, given as ``(name, expression)``."""
    with WorkflowBuilder(workflow_name) as builder:
        for name, expression in schedules:
            builder.schedule(expression, name=name, **facts)
        task(id="a")(workflows.nothing)


def sync(**options):
    return {one.name: one.action for one in declarations.sync("default", **options)}


def row(name="n"):
    return CronSchedule.objects.get(name=name)


def edit(name="n", **facts):
    timetable.update("default", row(name).pk, facts)


def test_a_declared_schedule_is_created():
    define("w", ("n", NIGHTLY), timezone="Asia/Tokyo", context=Context({"a": 1}), priority=3)
    assert declarations.sync("default") == [Synced("n", "w", Action.CREATED)]
    made = row()
    assert (made.workflow_name, made.cron_expression, made.timezone) == ("w", NIGHTLY, "Asia/Tokyo")
    assert (made.context, made.priority, made.enabled) == ('{"a":1}', 3, True)
    assert made.next_run_at is not None
    assert not declarations.is_edited(made)


def test_a_second_sync_does_nothing():
    start = START + timedelta(days=3000)
    define(
        "w", ("n", NIGHTLY), context=Context({"b": 1, "a": {"c": [1.5, None]}}),
        start_date=start, end_date=start + timedelta(days=1, microseconds=7), deadline_seconds=60,
    )  # fmt: skip
    sync()
    before = CronSchedule.objects.values().get()
    assert sync() == {"n": Action.UNCHANGED}
    assert CronSchedule.objects.values().get() == before


def test_what_code_changes_is_changed_and_planned_anew():
    define("w", ("n", NIGHTLY))
    sync()
    id = row().pk
    define("w", ("n", "0 3 * * *"), catchup_policy="skip")
    assert sync() == {"n": Action.CHANGED}
    assert (row().pk, row().cron_expression, row().catchup_policy) == (id, "0 3 * * *", "skip")
    assert row().next_run_at.hour == 3
    assert sync() == {"n": Action.UNCHANGED}


def test_a_fact_that_code_no_longer_gives_has_its_default_again():
    define("w", ("n", NIGHTLY), priority=9, context=Context({"a": 1}))
    sync()
    define("w", ("n", NIGHTLY))
    assert sync() == {"n": Action.CHANGED}
    assert (row().priority, row().context) == (0, "{}")


def test_a_schedule_may_move_to_another_workflow():
    define("w", ("n", NIGHTLY))
    sync()
    define("w")
    define("v", ("n", NIGHTLY))
    assert declarations.sync("default") == [Synced("n", "v", Action.CHANGED)]
    assert row().workflow_name == "v"


def test_what_a_person_edited_stays_and_says_so(caplog):
    define("w", ("n", NIGHTLY))
    sync()
    edit(cron_expression="0 5 * * *")
    assert declarations.is_edited(row())
    with caplog.at_level(logging.INFO, "cloaca_django.schedule"):
        assert sync() == {"n": Action.KEPT}
    assert "schedule 'n' of 'w': edited by hand, left as it is" in caplog.messages
    assert row().cron_expression == "0 5 * * *"


def test_an_edit_stays_when_the_code_changes_too():
    define("w", ("n", NIGHTLY))
    sync()
    edit(priority=5)
    define("w", ("n", "0 3 * * *"))
    assert sync() == {"n": Action.KEPT}
    assert (row().priority, row().cron_expression) == (5, NIGHTLY)


def test_an_edit_that_is_taken_back_by_hand_follows_the_code_again():
    define("w", ("n", NIGHTLY))
    sync()
    edit(priority=5)
    edit(priority=0)
    define("w", ("n", "0 3 * * *"))
    assert sync() == {"n": Action.CHANGED}


def test_reset_gives_an_edited_schedule_back_to_the_code():
    define("w", ("n", NIGHTLY))
    sync()
    edit(cron_expression="0 5 * * *", priority=5)
    assert sync(reset=True) == {"n": Action.CHANGED}
    assert (row().cron_expression, row().priority) == (NIGHTLY, 0)
    assert not declarations.is_edited(row())
    assert sync(reset=True) == {"n": Action.UNCHANGED}


def test_a_schedule_made_by_hand_keeps_its_name():
    timetable.register("default", "w", {"cron_expression": "0 5 * * *", "name": "n"})
    define("w", ("n", NIGHTLY))
    assert sync() == {"n": Action.TAKEN}
    assert row().cron_expression == "0 5 * * *"
    assert sync(reset=True) == {"n": Action.CHANGED}
    assert row().cron_expression == NIGHTLY
    assert sync() == {"n": Action.UNCHANGED}


@pytest.mark.parametrize("reset", [False, True])
def test_whether_it_is_enabled_is_a_persons_business(reset):
    define("w", ("n", NIGHTLY))
    sync()
    timetable.set_enabled("default", row().pk, enabled=False, by="ann", reason="holiday")
    assert not declarations.is_edited(row())
    define("w", ("n", "0 3 * * *"))
    assert sync(reset=reset) == {"n": Action.CHANGED}
    assert (row().enabled, row().disabled_by, row().disabled_reason) == (False, "ann", "holiday")


def test_code_may_declare_it_disabled_at_first():
    define("w", ("n", NIGHTLY), enabled=False)
    sync()
    assert not row().enabled
    timetable.set_enabled("default", row().pk, enabled=True)
    assert sync() == {"n": Action.UNCHANGED}
    assert row().enabled


def test_what_code_declares_no_more_is_told_and_left():
    define("w", ("n", NIGHTLY), ("m", NIGHTLY))
    sync()
    define("w", ("m", NIGHTLY))
    assert sync() == {"m": Action.UNCHANGED, "n": Action.UNDECLARED}
    assert row().enabled


def test_prune_disables_it_and_keeps_it():
    define("w", ("n", NIGHTLY), ("m", NIGHTLY))
    timetable.register("default", "w", {"cron_expression": NIGHTLY, "name": "by hand"})
    sync()
    define("w", ("m", NIGHTLY))
    assert sync(prune=True) == {"m": Action.UNCHANGED, "n": Action.DISABLED}
    assert (row().enabled, row().disabled_reason) == (False, GONE)
    assert row("m").enabled
    assert row("by hand").enabled
    assert sync(prune=True) == {"m": Action.UNCHANGED}


def test_several_workflows_in_the_order_of_the_names():
    define("v", ("b", NIGHTLY))
    define("w", ("c", NIGHTLY), ("a", NIGHTLY))
    assert [one.name for one in declarations.sync("default")] == ["a", "b", "c"]


def test_one_name_of_two_workflows_is_refused_and_nothing_is_written():
    define("v", ("n", NIGHTLY))
    define("w", ("n", "0 3 * * *"), ("m", NIGHTLY))
    with pytest.raises(DuplicateSchedule, match="'n' is declared by the workflows v, w"):
        sync()
    assert not CronSchedule.objects.exists()


def test_a_context_that_its_workflow_refuses_is_an_error():
    with WorkflowBuilder("w", params={"day": str}) as builder:
        builder.schedule(NIGHTLY)
        task(id="a")(workflows.nothing)
    with pytest.raises(InvalidParams, match="day"):
        sync()
    assert not CronSchedule.objects.exists()


def test_a_row_that_cannot_be_planned_is_mended_by_the_code():
    define("w", ("n", NIGHTLY))
    sync()
    CronSchedule.objects.update(parked_at=START, error_message="zone gone", timezone="Mars/X")
    assert sync(reset=True) == {"n": Action.CHANGED}
    assert (row().parked_at, row().timezone) == (None, "UTC")


def test_two_syncs_at_once_create_each_schedule_once(together):
    define("w", *((f"n{at}", NIGHTLY) for at in range(5)))
    found = together(*[lambda: sorted(sync().values(), key=str)] * 4)
    assert all(isinstance(one, list) for one in found), found
    assert CronSchedule.objects.count() == 5
    assert all(not declarations.is_edited(one) for one in CronSchedule.objects.all())
    assert sync() == {f"n{at}": Action.UNCHANGED for at in range(5)}
