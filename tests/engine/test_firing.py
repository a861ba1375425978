"""Off the path: a due time of a schedule becomes one run, in one transaction."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from cloaca_django import clock
from cloaca_django.core.context import decode
from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.engine import operations
from cloaca_django.engine.firing import STILL_OPEN
from cloaca_django.models import CronExecution, PipelineExecution
from tests import workflows
from tests.engine.schedules import (
    fired,
    firing_world,
    make_many,
    make_schedule,
    now_of,
    runs_of,
)
from tests.engine.world import START

MINUTE = timedelta(minutes=1)
DAY = 86_400.0


@pytest.fixture
def world(make_world):
    """A worker that fires, and knows the workflow ``w``."""
    workflows.single("w", workflows.writes("x", 1))
    return firing_world(make_world)


def test_a_due_schedule_fires_once_and_its_run_completes(world):
    schedule = make_schedule()
    assert world.tick()
    world.drain()
    (run,) = runs_of(schedule)
    assert run.status == RunStatus.COMPLETED
    assert fired(schedule) == [START]
    assert now_of(schedule).next_run_at == START + MINUTE


def test_its_root_starts_in_the_turn_that_fires_it(world):
    make_schedule()
    world.tick()
    (job,) = world.take()
    assert job.task.name == "a"
    assert world.tasks(job.run_id)["a"].status == TaskStatus.RUNNING


def test_the_run_knows_which_time_of_which_schedule_it_is(world):
    schedule = make_schedule(
        context='{"report":"daily","schedule_id":"mine"}',
        cron_expression="0 7 * * *",
        timezone="America/New_York",
    )
    world.tick()
    (job,) = world.take()
    assert job.seen == {
        "report": "daily",
        "scheduled_time": "2026-01-05T12:00:00+00:00",
        "schedule_id": str(schedule.pk),
        "schedule_timezone": "America/New_York",
        "schedule_expression": "0 7 * * *",
    }


def test_the_row_of_the_run_says_where_it_came_from(make_world):
    workflows.single("w")
    schedule = make_schedule(queue="reports", priority=7)
    world = firing_world(make_world, run_timeout_seconds=60.0)
    world.tick()
    (run,) = runs_of(schedule)
    assert (run.origin, run.queue, run.priority) == ("schedule", "reports", 7)
    assert run.deadline_at == START + MINUTE
    assert (run.created_by, run.reason) == ("", "")
    assert world.take() == []
    fire = CronExecution.objects.get()
    assert (fire.schedule_id, fire.run_id, fire.reason) == (schedule.pk, run.pk, "")
    assert (fire.scheduled_time, fire.claimed_at) == (START, START)


def test_without_a_limit_its_runs_have_no_deadline(make_world):
    workflows.single("w")
    schedule = make_schedule()
    firing_world(make_world, run_timeout_seconds=None).tick()
    assert runs_of(schedule)[0].deadline_at is None


def test_nothing_fires_before_it_is_due(world):
    schedule = make_schedule(next_run_at=START + MINUTE)
    world.tick()
    world.pass_by(59.9)
    assert not world.tick()
    assert fired(schedule) == []
    world.pass_by(0.1)
    assert world.tick()
    assert fired(schedule) == [START + MINUTE]


def test_it_says_when_it_fired_last(world):
    schedule = make_schedule()
    world.pass_by(3.5)
    world.tick()
    assert now_of(schedule).last_run_at == START + timedelta(seconds=3.5)
    assert fired(schedule) == [START]


def test_the_plan_goes_on_from_what_is_stored(world):
    """Times are those of the expression, however late the worker comes."""
    schedule = make_schedule(cron_expression="*/5 * * * *")
    for late in (0.0, 299.0, 2.0, 330.0, 269.0):
        world.pass_by(late)
        world.tick()
    assert fired(schedule) == [START + timedelta(minutes=5 * n) for n in range(4)]
    assert now_of(schedule).next_run_at == START + timedelta(minutes=20)


def test_a_time_that_was_fired_before_is_not_fired_again(world):
    schedule = make_schedule()
    world.tick()
    before = now_of(schedule).last_run_at
    type(schedule).objects.update(next_run_at=START)
    world.pass_by(30.0)
    world.turn.schedules.look_soon()
    world.tick()
    assert len(runs_of(schedule)) == 1
    assert CronExecution.objects.count() == 1
    assert now_of(schedule).next_run_at == START + MINUTE
    assert now_of(schedule).last_run_at == before


@pytest.mark.parametrize(
    "facts",
    [
        {"enabled": False},
        {"parked_at": START, "error_message": "cannot be planned", "workflow_name": "other"},
        {"next_run_at": None},
    ],
    ids=["disabled", "parked", "at its end"],
)
def test_what_is_not_planned_does_not_fire(world, facts):
    schedule = make_schedule(**facts)
    for _ in range(3):
        world.tick()
        world.pass_by(40.0)
    assert fired(schedule) == []


class TestCatchUp:
    """Ten days of downtime."""

    TIMES = 10 * 24 * 60 + 1

    @pytest.mark.parametrize(
        ("policy", "cap", "expected"),
        [("all", 100, 100), ("all", 7, 7), ("all", 0, 1), ("latest", 100, 1), ("skip", 100, 1)],
    )
    def test_of_a_schedule_of_every_minute(self, make_world, policy, cap, expected, caplog):
        workflows.single("w")
        schedule = make_schedule(catchup_policy=policy)
        world = firing_world(make_world, max_catchup=cap)
        world.pass_by(10 * DAY + 20.0)
        with caplog.at_level(logging.WARNING, "cloaca_django.schedule"):
            world.tick()
        newest = START + timedelta(days=10)
        assert fired(schedule) == [newest - n * MINUTE for n in reversed(range(expected))]
        assert CronExecution.objects.count() == expected
        assert [decode(run.context)["scheduled_time"] for run in runs_of(schedule)] == [
            time.isoformat() for time in fired(schedule)
        ]
        row = now_of(schedule)
        assert (row.skipped_count, row.next_run_at) == (self.TIMES - expected, newest + MINUTE)
        (record,) = caplog.records
        assert record.message == f"schedule passed over {self.TIMES - expected} of its times"
        assert (record.schedule_id, record.count) == (str(schedule.pk), self.TIMES - expected)

    @pytest.mark.parametrize(("policy", "expected"), [("all", 10), ("latest", 1), ("skip", 0)])
    def test_of_a_daily_schedule(self, make_world, policy, expected):
        workflows.single("w")
        schedule = make_schedule(cron_expression="0 12 * * *", catchup_policy=policy)
        world = firing_world(make_world)
        world.pass_by(10 * DAY - 3600.0)
        world.tick()
        assert len(fired(schedule)) == expected
        row = now_of(schedule)
        assert row.skipped_count == 10 - expected
        assert row.next_run_at == START + timedelta(days=10)
        assert row.last_run_at == (world.time.now if expected else None)

    def test_it_goes_on_in_time_afterwards(self, world):
        schedule = make_schedule(catchup_policy="skip")
        world.pass_by(DAY)
        world.tick()
        before = len(fired(schedule))
        for _ in range(3):
            world.pass_by(60.0)
            world.tick()
        assert len(fired(schedule)) == before + 3

    def test_nothing_fires_later_than_its_deadline(self, world):
        schedule = make_schedule(deadline_seconds=150)
        world.pass_by(600.0)
        world.tick()
        assert fired(schedule) == [START + n * MINUTE for n in (8, 9, 10)]
        assert now_of(schedule).skipped_count == 8

    def test_the_runs_are_started_oldest_first(self, make_world):
        workflows.single("w")
        make_schedule()
        world = firing_world(make_world, world={"slots": 20})
        world.pass_by(600.0)
        world.tick()
        times = [job.seen["scheduled_time"] for job in world.take()]
        assert len(times) == 11
        assert times == sorted(times)


class TestOverlap:
    """What a schedule does while a run of it is open."""

    def test_it_starts_another_one_unless_it_is_told_not_to(self, world):
        schedule = make_schedule()
        world.tick()
        world.pass_by(60.0)
        world.tick()
        assert len(runs_of(schedule)) == 2

    def test_a_time_is_passed_over_and_recorded_with_the_reason(self, world, caplog):
        schedule = make_schedule(overlap_policy="skip")
        world.tick()
        world.pass_by(60.0)
        with caplog.at_level(logging.WARNING, "cloaca_django.schedule"):
            world.tick()
        assert len(runs_of(schedule)) == 1
        row = CronExecution.objects.get(run=None)
        assert (row.scheduled_time, row.reason) == (START + MINUTE, STILL_OPEN)
        assert now_of(schedule).skipped_count == 1
        assert now_of(schedule).last_run_at == START
        assert [record.message for record in caplog.records] == [
            "schedule passed over 1 of its times"
        ]

    def test_it_fires_again_once_that_run_has_ended(self, world):
        schedule = make_schedule(overlap_policy="skip")
        world.tick()
        world.pass_by(60.0)
        world.tick()
        world.drain()
        world.pass_by(60.0)
        world.tick()
        assert fired(schedule) == [START, START + 2 * MINUTE]

    def test_of_several_missed_times_it_starts_the_oldest(self, world):
        schedule = make_schedule(overlap_policy="skip")
        world.pass_by(180.0)
        world.tick()
        assert fired(schedule) == [START]
        assert CronExecution.objects.filter(reason=STILL_OPEN).count() == 3
        assert now_of(schedule).skipped_count == 3

    def test_runs_of_other_schedules_do_not_count(self, world):
        make_schedule(name="other")
        schedule = make_schedule(overlap_policy="skip", next_run_at=START + MINUTE)
        world.tick()
        world.pass_by(60.0)
        world.tick()
        assert fired(schedule) == [START + MINUTE]

    def test_a_run_that_waits_for_a_retry_is_open(self, make_world):
        workflows.single("w", workflows.boom, retry_delay_ms=3_600_000)
        world = firing_world(make_world)
        schedule = make_schedule(overlap_policy="skip")
        world.drain()
        world.pass_by(60.0)
        world.tick()
        assert fired(schedule) == [START]


def test_the_last_time_is_that_of_the_end_date(world):
    schedule = make_schedule(end_date=START + 2 * MINUTE)
    for _ in range(5):
        world.tick()
        world.pass_by(60.0)
    assert fired(schedule) == [START, START + MINUTE, START + 2 * MINUTE]
    assert now_of(schedule).next_run_at is None
    assert now_of(schedule).enabled


def test_a_time_after_the_end_date_is_not_made_up_for(world):
    schedule = make_schedule(end_date=START + 2 * MINUTE)
    world.pass_by(3600.0)
    world.tick()
    assert len(fired(schedule)) == 3
    assert now_of(schedule).skipped_count == 0


@pytest.mark.parametrize("hours", [-2, 2])
def test_a_workers_own_clock_decides_nothing(world, monkeypatch, hours):
    """The database's clock says what is due; this process's may be wrong by hours, or jump."""
    wrong = START + timedelta(hours=hours)
    monkeypatch.setattr(clock, "utc_now", lambda: wrong)
    monkeypatch.setattr(clock, "milliseconds", lambda: int(wrong.timestamp() * 1000))
    schedule = make_schedule()
    future = make_schedule(next_run_at=START + timedelta(hours=1))
    world.tick()
    wrong -= timedelta(hours=2 * hours)
    world.pass_by(60.0)
    world.tick()
    assert fired(schedule) == [START, START + MINUTE]
    assert fired(future) == []
    assert [fire.claimed_at for fire in CronExecution.objects.order_by("claimed_at")] == [
        START,
        START + MINUTE,
    ]
    assert now_of(schedule).next_run_at == START + 2 * MINUTE


def test_a_paused_workflow_gets_its_runs_and_starts_none(world):
    operations.pause_workflow(world.at_now(), "w")
    schedule = make_schedule()
    world.tick()
    (run,) = runs_of(schedule)
    assert world.take() == []
    assert world.statuses(run.pk) == {"a": TaskStatus.HELD}
    operations.resume_workflow(world.at_now(), "w")
    world.drain()
    assert world.run(run.pk).status == RunStatus.COMPLETED


def test_runs_of_a_limited_workflow_wait_for_their_place(make_world):
    workflows.single("w", builder={"max_running": 1})
    world = firing_world(make_world)
    schedule = make_schedule()
    world.pass_by(180.0)
    world.tick()
    first, *others = runs_of(schedule)
    world.step()
    (job,) = world.take()
    assert job.run_id == first.pk
    assert {world.run(run.pk).is_waiting for run in others} == {True}
    world.perform(job)
    world.drain()
    assert {run.status for run in runs_of(schedule)} == {RunStatus.COMPLETED}


def test_a_run_whose_tasks_are_all_skipped_has_ended_when_it_is_fired(make_world):
    workflows.single("w", trigger_rules={"type": "Any", "conditions": []})
    schedule = make_schedule(overlap_policy="skip")
    world = firing_world(make_world)
    world.tick()
    world.pass_by(60.0)
    world.tick()
    assert {run.status for run in runs_of(schedule)} == {RunStatus.COMPLETED}
    assert len(runs_of(schedule)) == 2


def test_many_schedules_of_many_workflows_fire_in_one_turn(make_world):
    workflows.many(["a", "b", "c"])
    world = firing_world(make_world, world={"slots": 100})
    schedules = [one for name in "abc" for one in make_many(30, name)]
    world.tick()
    assert PipelineExecution.objects.count() == len(schedules) == len(world.take())
    assert {row.next_run_at for row in type(schedules[0]).objects.all()} == {START + MINUTE}
