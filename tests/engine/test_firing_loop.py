"""When a worker that fires looks, rests and fires next; on the manual clock."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cloaca_django.engine import timetable
from cloaca_django.engine.firing import AGAIN_SECONDS, ROOM, is_any_due
from cloaca_django.engine.messages import HINT
from cloaca_django.models import CronExecution, CronSchedule, PipelineExecution
from tests import workflows
from tests.engine.schedules import fired, firing_world, make_many, make_schedule, now_of
from tests.engine.world import START

MINUTE = timedelta(minutes=1)


@pytest.fixture
def world(make_world):
    """A worker that fires, knows the workflow ``w`` and polls for nothing else."""
    workflows.single("w")
    world = firing_world(make_world, poll_seconds=30.0, world={"poll_seconds": 3600.0})
    world.drain()
    return world


def rest(world):
    """Return how long the loop would rest, and let that time pass."""
    seconds = world.turn.seconds_to_next()
    world.pass_by(seconds)
    return seconds


def live(world, seconds):
    """Run the loop for some time as its thread would."""
    end = world.time.ticks + seconds
    turns = 0
    while world.time.ticks < end:
        world.pass_by(min(world.turn.seconds_to_next(), end - world.time.ticks))
        world.tick()
        for job in world.take():
            world.perform(job)
        turns += 1
        assert turns < 100 * seconds + 100, "the loop spins"
    return turns


def test_it_rests_until_the_next_due_time(world):
    make_schedule(next_run_at=START + timedelta(seconds=12.5))
    world.turn.schedules.look_soon()
    world.tick()
    assert abs(world.turn.seconds_to_next() - 12.5) < 0.01


def test_it_rests_no_longer_than_the_poll(world):
    make_schedule(next_run_at=START + timedelta(hours=5))
    world.turn.schedules.look_soon()
    world.tick()
    assert 29 < world.turn.seconds_to_next() <= 30


def test_it_wakes_when_the_time_has_come_and_not_every_moment_before(world):
    schedule = make_schedule(next_run_at=START + 3 * MINUTE)
    turns = live(world, 181.0)
    assert fired(schedule) == [START + 3 * MINUTE]
    assert turns < 30


def test_every_minute_for_an_hour_is_sixty_runs_in_time(world):
    schedule = make_schedule(next_run_at=START + MINUTE)
    live(world, 3600.5)
    assert fired(schedule) == [START + n * MINUTE for n in range(1, 61)]
    lateness = [
        (fire.claimed_at - fire.scheduled_time).total_seconds()
        for fire in CronExecution.objects.all()
    ]
    assert max(lateness) <= AGAIN_SECONDS + 0.01


def test_what_was_made_behind_everyones_back_is_found_after_the_poll(world):
    world.tick()
    schedule = make_schedule()
    live(world, 29.0)
    assert fired(schedule) == []
    live(world, 1.5)
    assert fired(schedule) == [START]


@pytest.mark.parametrize("poll", [5.0, 120.0])
def test_the_poll_is_a_setting(make_world, poll):
    workflows.single("w")
    world = firing_world(make_world, poll_seconds=poll, world={"poll_seconds": 3600.0})
    world.drain()
    schedule = make_schedule()
    live(world, poll - 1.0)
    assert fired(schedule) == []
    live(world, 1.5)
    assert fired(schedule)[0] == START


def test_what_was_announced_is_found_at_once(world):
    world.tick()
    schedule = make_schedule()
    world.turn.post(HINT)
    world.tick()
    assert fired(schedule) == [START]


def test_a_schedule_that_moves_closer_is_noticed_when_it_is_announced(world):
    schedule = make_schedule(next_run_at=START + timedelta(hours=1))
    world.turn.post(HINT)
    world.tick()
    CronSchedule.objects.update(next_run_at=START)
    assert world.turn.seconds_to_next() > 20
    world.turn.post(HINT)
    world.tick()
    assert fired(schedule) == [START]


def test_a_schedule_that_is_deleted_before_its_time_costs_a_look(world):
    schedule = make_schedule(next_run_at=START + timedelta(seconds=5))
    world.turn.schedules.look_soon()
    world.tick()
    schedule.delete()
    live(world, 20.0)
    assert not PipelineExecution.objects.exists()
    assert world.turn.seconds_to_next() > 1.0


def test_more_than_fit_into_one_transaction_are_fired_without_a_rest(world):
    make_many(2 * ROOM + 30)
    world.turn.schedules.look_soon()
    counts = []
    for _ in range(4):
        world.tick()
        counts.append(PipelineExecution.objects.count())
        if len(counts) < 3:
            assert world.turn.seconds_to_next() == 0
    assert counts == [ROOM, 2 * ROOM, 2 * ROOM + 30, 2 * ROOM + 30]
    assert set(CronSchedule.objects.values_list("next_run_at", flat=True)) == {START + MINUTE}


def test_the_most_overdue_are_fired_first(world):
    make_many(ROOM, next_run_at=START)
    late = make_schedule(next_run_at=START - timedelta(hours=1), catchup_policy="latest")
    world.turn.schedules.look_soon()
    world.tick()
    assert len(fired(late)) == 1


def test_exactly_as_many_as_fit_end_with_a_rest(world):
    make_many(ROOM)
    world.turn.schedules.look_soon()
    world.tick()
    world.tick()
    assert PipelineExecution.objects.count() == ROOM
    live(world, 2.0)
    assert world.turn.seconds_to_next() > 1.0


def test_a_worker_that_drains_fires_nothing_and_does_not_wake_for_it(world):
    schedule = make_schedule(next_run_at=START + timedelta(seconds=5))
    world.turn.schedules.look_soon()
    world.tick()
    world.turn.is_draining = True
    assert world.turn.seconds_to_next() > 60
    world.pass_by(600.0)
    world.tick()
    assert fired(schedule) == []
    assert now_of(schedule).next_run_at == START + timedelta(seconds=5)


def test_a_worker_without_schedules_fires_nothing(make_world):
    workflows.single("w")
    schedule = make_schedule()
    world = make_world()
    live(world, 60.0)
    assert fired(schedule) == []


def test_two_workers_share_the_times_between_them(make_world):
    workflows.single("w")
    one, two = firing_world(make_world), firing_world(make_world)
    schedules = make_many(20)
    for world in (one, two, one, two):
        world.tick()
    assert {len(fired(schedule)) for schedule in schedules} == {1}
    assert CronExecution.objects.count() == 20


def test_whether_anything_is_due_can_be_asked(world):
    assert not is_any_due(world.at_now())
    make_schedule(next_run_at=START + MINUTE)
    make_schedule("unknown")
    assert not is_any_due(world.at_now())
    world.pass_by(60.0)
    assert is_any_due(world.at_now())
    live(world, 1.0)
    assert not is_any_due(world.at_now())


def test_a_change_on_the_callers_connection_wakes_the_workers_at_its_commit(world):
    """Between a change and its announcement lies the caller's commit, and nothing else."""
    schedule = make_schedule(enabled=False)
    world.turn.post(HINT)
    world.tick()
    timetable.set_enabled("default", schedule.pk, enabled=True)
    world.turn.post(HINT)
    world.tick()
    assert now_of(schedule).next_run_at > START
    assert fired(schedule) == []
