"""Backfill: a run for every time of a range that has none yet, and for no other."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection

from cloaca_django import Context, RunHandle
from cloaca_django.core.states import RunStatus
from cloaca_django.dialect import open_session
from cloaca_django.engine import backfill
from cloaca_django.models import CronExecution, CronSchedule, PipelineExecution
from tests import workflows
from tests.interface.schedules import now

FIRST = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
def site(make_runner):
    """A site's runner, which fires nothing."""
    workflows.single("w", workflows.writes("x", 1))
    return make_runner(using="default")


@pytest.fixture
def hourly(site):
    """The id of an hourly schedule."""
    return site.register_cron_workflow("w", "0 * * * *", context=Context({"a": 1}), queue="past")


def times():
    rows = CronExecution.objects.order_by("scheduled_time")
    return [(row.scheduled_time - FIRST) / timedelta(hours=1) for row in rows]


def test_both_ends_of_the_range_count(site, hourly):
    handles = site.backfill(hourly, FIRST, FIRST + timedelta(hours=3))
    assert times() == [0, 1, 2, 3]
    assert all(isinstance(handle, RunHandle) for handle in handles)
    runs = [PipelineExecution.objects.get(pk=handle.id) for handle in handles]
    contexts = [Context.from_json(run.context) for run in runs]
    assert [context["scheduled_time"] for context in contexts] == [
        (FIRST + timedelta(hours=at)).isoformat() for at in range(4)
    ]
    assert {context["a"] for context in contexts} == {1}
    assert {(run.origin, run.queue, str(run.schedule_id)) for run in runs} == {
        ("schedule", "past", hourly)
    }
    assert {(run.created_by, run.reason) for run in runs} == {("", "backfill")}


def test_who_and_why_are_kept(site, hourly):
    site.backfill(hourly, FIRST, FIRST, by="ann", reason="bad data")
    run = PipelineExecution.objects.get()
    assert (run.created_by, run.reason) == ("ann", "bad data")


def test_moments_are_read_as_everywhere(site, hourly):
    site.backfill(hourly, "2026-01-05T02:00:00+02:00", "2026-01-05 01:30:00Z")
    assert times() == [0, 1]


def test_a_range_without_a_time_starts_nothing(site, hourly):
    begin = FIRST + timedelta(minutes=1)
    assert site.backfill(hourly, begin, begin + timedelta(minutes=58)) == []


def test_the_plan_of_the_schedule_is_not_touched(site, hourly):
    before = site.get_cron_schedule(hourly)
    site.backfill(hourly, FIRST, FIRST + timedelta(hours=3))
    after = site.get_cron_schedule(hourly)
    assert {name for name in after if after[name] != before[name]} == {
        "last_run_id",
        "last_result",
    }


def test_times_that_have_a_run_are_left_out(site, hourly):
    site.backfill(hourly, FIRST + timedelta(hours=1), FIRST + timedelta(hours=2))
    handles = site.backfill(hourly, FIRST, FIRST + timedelta(hours=4))
    assert len(handles) == 3
    assert times() == [0, 1, 2, 3, 4]
    assert site.backfill(hourly, FIRST, FIRST + timedelta(hours=4)) == []
    assert PipelineExecution.objects.count() == 5


def test_a_time_whose_run_was_deleted_is_left_out_too(site, hourly):
    (handle,) = site.backfill(hourly, FIRST, FIRST)
    PipelineExecution.objects.get(pk=handle.id).delete()
    assert site.backfill(hourly, FIRST, FIRST) == []


def test_a_time_that_was_passed_over_gets_its_run(site, hourly):
    CronExecution.objects.create(
        schedule_id=hourly, scheduled_time=FIRST, claimed_at=FIRST, reason="still open"
    )
    (handle,) = site.backfill(hourly, FIRST, FIRST)
    fire = CronExecution.objects.get()
    assert (fire.run_id, fire.reason) == (handle.id, "")
    assert fire.claimed_at > FIRST


def test_a_disabled_schedule_can_be_filled(site, hourly):
    site.set_cron_schedule_enabled(hourly, False)
    assert len(site.backfill(hourly, FIRST, FIRST + timedelta(hours=1))) == 2


def test_one_of_unknown_code_cannot(site):
    id = site.register_cron_workflow("elsewhere", "0 * * * *")
    with pytest.raises(ValueError, match="Workflow not found in registry: elsewhere"):
        site.backfill(id, FIRST, FIRST)
    assert times() == []


def test_other_schedules_of_the_workflow_do_not_count(site, hourly):
    other = site.register_cron_workflow("w", "0 * * * *")
    site.backfill(hourly, FIRST, FIRST)
    assert len(site.backfill(other, FIRST, FIRST)) == 1


def test_times_are_those_of_the_zone(site):
    """Half past two does not exist on the eighth of March, and on the first of November twice."""
    id = site.register_cron_workflow("w", "30 2 * * *", "America/New_York")
    site.backfill(id, "2026-03-07T12:00:00Z", "2026-03-09T12:00:00Z")
    found = CronExecution.objects.order_by("scheduled_time").values_list(
        "scheduled_time", flat=True
    )
    assert [moment.strftime("%d %H:%M") for moment in found] == ["08 07:00", "09 06:30"]


def test_many_go_in_several_transactions_and_keep_their_order(site):
    id = site.register_cron_workflow("w", "* * * * *")
    count = 2 * backfill.BATCH + 7
    handles = site.backfill(id, FIRST, FIRST + timedelta(minutes=count - 1))
    assert len(handles) == count == CronExecution.objects.count()
    rows = PipelineExecution.objects.in_bulk()
    moments = [Context.from_json(rows[one.id].context)["scheduled_time"] for one in handles]
    assert moments == sorted(moments)


def test_after_a_failure_half_way_the_same_call_does_the_rest(site):
    """The first batch was committed; whoever asks again gets what is missing and nothing twice."""
    id = site.register_cron_workflow("w", "* * * * *")
    count = 2 * backfill.BATCH
    end = FIRST + timedelta(minutes=count - 1)
    session = open_session("default")
    try:
        session.transport = Breaking(session.transport, after=1)
        with pytest.raises(RuntimeError, match="gone"):
            backfill.backfill(session, CronSchedule.objects.get(pk=id), start=FIRST, end=end)
    finally:
        session.close()
    assert CronExecution.objects.count() == PipelineExecution.objects.count() == backfill.BATCH
    assert len(site.backfill(id, FIRST, end)) == backfill.BATCH
    assert CronExecution.objects.count() == PipelineExecution.objects.count() == count


class Breaking:
    """A connection that is gone after some transactions."""

    def __init__(self, transport, *, after):
        self._transport = transport
        self._left = after

    def __getattr__(self, name):
        return getattr(self._transport, name)

    def transaction(self, *, durable):
        if self._left == 0:
            raise RuntimeError("gone")
        self._left -= 1
        return self._transport.transaction(durable=durable)


def test_what_is_due_and_not_fired_yet_is_fired_once(make_runner, site):
    """A worker that comes later finds the time taken."""
    expression = f"{now().minute} * * * *"
    id = site.register_cron_workflow("w", expression)
    moment = now().replace(second=0, microsecond=0)
    (handle,) = site.backfill(id, moment, now())
    CronSchedule.objects.filter(pk=id).update(next_run_at=moment)
    make_runner()
    assert handle.wait(20).status == "Completed"
    assert PipelineExecution.objects.count() == 1


def test_the_runs_are_run(runner):
    workflows.single("w", workflows.writes("x", 1))
    id = runner.register_cron_workflow("w", "0 * * * *")
    handles = runner.backfill(id, FIRST, FIRST + timedelta(hours=5))
    assert {handle.wait(20).status for handle in handles} == {"Completed"}
    assert {one["status"] for one in runner.get_cron_execution_history(id)} == {RunStatus.COMPLETED}


@pytest.mark.skipif(connection.vendor == "sqlite", reason="a file has one writer at a time")
def test_two_at_once_start_each_time_once(site, hourly, together):
    def fill():
        return len(site.backfill(hourly, FIRST, FIRST + timedelta(hours=99)))

    assert sum(together(*[fill] * 4)) == 100
    assert CronExecution.objects.count() == PipelineExecution.objects.count() == 100
