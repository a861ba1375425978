"""Runs that people ask for and schedules that code declares, beside firing and each other."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection

import cloaca_django as cloaca
from cloaca_django.engine import backfill, declarations, timetable
from cloaca_django.errors import ScheduleNotFound
from cloaca_django.models import CronExecution, CronSchedule, PipelineExecution
from tests.concurrency.races import FIRES, PATIENCE, Beside, Halt
from tests.crash.faults import COMMIT
from tests.crash.fires import TRIGGERED, times_of
from tests.crash.schedule_scenarios import make
from tests.crash.world import ALIAS

EVERY_TEN = "*/10 * * * *"


@pytest.fixture
def due(site):
    """A schedule with six due times."""
    schedule = CronSchedule.objects.get(pk=make(site, EVERY_TEN))
    site.advance(3600.0)
    return schedule


def _backfill(site, schedule, plan=None):
    """Ask for the same six times, and six from before the schedule was made."""
    session = site.session(plan)
    start = site.now - timedelta(hours=2)
    return backfill.backfill(session, schedule, start=start, end=site.now)


def _each_time_has_one_run(site, schedule):
    site.advance(0.3)
    site.drain()
    assert len(times_of(schedule.pk, only_run=True)) == 12
    assert PipelineExecution.objects.count() == 12
    assert site.violations() == []


@pytest.mark.parametrize("first", ["the backfill", "the fire"])
def test_a_time_that_is_backfilled_and_fired_has_one_run(site, due, first):
    """The second one leaves out what the first has committed. A worker does not wait for that."""
    worker, halt = site.worker(), Halt()
    if first == "the fire":
        halt.catch(worker, COMMIT, after=FIRES)
        acts = [worker.settle_down, lambda: _backfill(site, due)]
    else:
        acts = [lambda: _backfill(site, due, halt.before(COMMIT)), worker.settle_down]
    with Beside(acts[0]) as one:
        halt.await_arrival()
        with Beside(acts[1]) as other:
            waits = connection.vendor == "sqlite" or first == "the fire"
            assert other.has_ended_within(0.2 if waits else PATIENCE) != waits
            halt.go_on()
            other.await_end()
        one.await_end()
    assert site.loop_errors == []
    _each_time_has_one_run(site, due)


def test_backfills_and_workers_at_the_same_moment_start_each_time_once(site, due, together):
    workers = [site.worker() for _ in range(2)]
    found = together(
        *(worker.settle_down for worker in workers),
        *(lambda: len(_backfill(site, due)) for _ in range(2)),
    )
    assert not [one for one in found if isinstance(one, BaseException)]
    _each_time_has_one_run(site, due)


def test_a_backfill_of_a_schedule_that_is_deleted_says_so(site, due):
    site.worker()
    timetable.delete(ALIAS, due.pk)
    with pytest.raises(ScheduleNotFound):
        _backfill(site, due)
    assert not PipelineExecution.objects.exists()


def test_a_trigger_of_a_schedule_that_is_deleted_says_so(site, due):
    timetable.delete(ALIAS, due.pk)
    with pytest.raises(ScheduleNotFound):
        backfill.trigger(site.operator, due)
    assert not PipelineExecution.objects.exists()


def test_a_delete_waits_for_a_backfill_under_way_and_keeps_its_runs(site, due):
    halt = Halt()
    site.worker()
    with Beside(lambda: _backfill(site, due, halt.before(COMMIT))) as filling:
        halt.await_arrival()
        with Beside(lambda: timetable.delete(ALIAS, due.pk)) as deleting:
            assert not deleting.has_ended_within(0.2)
            halt.go_on()
            deleting.await_end()
        filling.await_end()
    assert not CronExecution.objects.exists()
    assert PipelineExecution.objects.filter(schedule=None).count() == 12
    site.drain()
    assert site.violations() == []


def test_a_trigger_beside_a_fire_starts_a_run_of_its_own(site, due, together):
    worker = site.worker()
    together(worker.settle_down, lambda: backfill.trigger(site.session(), due, reason=TRIGGERED))
    site.advance(0.3)
    worker.settle_down()
    assert Counter(PipelineExecution.objects.values_list("reason", flat=True)) == {
        "": 6, TRIGGERED: 1,
    }  # fmt: skip
    site.drain()
    assert site.violations() == []


def test_while_a_triggered_run_is_open_a_schedule_without_overlap_starts_none(site):
    schedule = make(site, EVERY_TEN, overlap_policy="skip")
    worker = site.worker()
    row = CronSchedule.objects.get(pk=schedule)
    backfill.trigger(site.operator, row, reason=TRIGGERED)
    site.advance(600.0)
    worker.settle_down()
    assert not times_of(schedule, only_run=True)
    assert len(times_of(schedule)) == 1
    worker.work()
    site.advance(600.0)
    worker.beat()
    worker.work()
    assert len(times_of(schedule, only_run=True)) == 1
    assert site.violations() == []


# -- what code declares


def _declare(*names):
    with cloaca.WorkflowBuilder("declaring") as builder:
        for name in names:
            builder.schedule("0 * * * *", name=name)

        @cloaca.task(id="only", dependencies=[])
        def only(context): ...


def test_syncs_at_the_same_moment_make_each_schedule_once(site, together):
    names = [f"s{n}" for n in range(6)]
    _declare(*names)
    found = together(*(lambda: declarations.sync(ALIAS) for _ in range(4)))
    assert not [one for one in found if isinstance(one, BaseException)], found
    rows = CronSchedule.objects.order_by("name")
    assert [row.name for row in rows] == names
    assert all(row.declared and not declarations.is_edited(row) for row in rows)
    again = declarations.sync(ALIAS)
    assert {one.action for one in again} == {declarations.Action.UNCHANGED}


def test_a_sync_beside_a_fire_that_is_due_loses_no_time(site, together):
    """What code says of a schedule has not changed, so a sync does not plan it anew."""
    _declare("one")
    declarations.sync(ALIAS)
    site.advance(3600.0)
    worker = site.worker()
    together(worker.settle_down, lambda: declarations.sync(ALIAS))
    site.advance(0.3)
    worker.settle_down()
    assert CronExecution.objects.count() == 1
