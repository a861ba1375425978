"""A schedule that cannot be planned is parked with the reason, and never stops the others."""

from __future__ import annotations

import json
import logging
import uuid

import pytest

from cloaca_django import signals
from cloaca_django.core import registry
from cloaca_django.core.states import RunStatus, TaskStatus, WorkerState
from cloaca_django.dialect.rows import WorkerRow
from cloaca_django.engine import recovery, timetable
from cloaca_django.engine.firing import STRANGER_SECONDS
from tests import workflows
from tests.engine.schedules import (
    await_signals,
    breaking,
    fired,
    firing_world,
    make_many,
    make_schedule,
    now_of,
    runs_of,
)
from tests.engine.world import START


@pytest.fixture
def world(make_world):
    """A worker that fires, and knows the workflow ``w``."""
    workflows.single("w", workflows.writes("x", 1))
    return firing_world(make_world, poll_seconds=10.0)


@pytest.fixture
def heard():
    """What ``schedule_parked`` said: sender, id and error."""
    found = []

    def receive(sender, schedule_id, error, **rest):
        found.append((sender, schedule_id, error))

    signals.schedule_parked.connect(receive)
    yield found
    signals.schedule_parked.disconnect(receive)
    await_signals()


CANNOT_BE_PLANNED = {
    "zone gone": ({"timezone": "Mars/Phobos"}, "Invalid timezone: 'Mars/Phobos'"),
    "expression not valid": ({"cron_expression": "0 0 0 * * *"}, "Invalid cron expression"),
    "expression that never fires": ({"cron_expression": "0 0 30 2 *"}, "can never fire"),
    "unreadable context": ({"context": "{nope"}, "stored context is not valid"),
    "context that is no object": ({"context": "[1]"}, "stored context is not valid"),
    "params changed": ({"workflow_name": "strict"}, "day: is required"),
}


@pytest.mark.parametrize("case", sorted(CANNOT_BE_PLANNED))
def test_what_cannot_be_planned_is_parked_and_the_others_fire(world, heard, caplog, case):
    facts, words = CANNOT_BE_PLANNED[case]
    workflows.single("strict", builder={"params": {"day": str}})
    good = make_many(3)
    bad = make_schedule(**facts)
    with caplog.at_level(logging.ERROR, "cloaca_django.schedule"):
        world.tick()
    assert [fired(one) for one in good] == [[START]] * 3
    row = now_of(bad)
    assert runs_of(bad) == []
    assert words in row.error_message
    assert (row.parked_at, row.enabled, row.next_run_at) == (START, True, START)
    assert type(row).objects.parked().get() == row
    (record,) = caplog.records
    assert (record.levelname, record.schedule_id) == ("ERROR", str(bad.pk))
    assert record.message == f"schedule parked: {row.error_message}"
    await_signals()
    assert heard == [(str(bad.pk), bad.pk, row.error_message)]


def test_a_parked_schedule_is_not_looked_at_again(world, caplog):
    bad = make_schedule(timezone="Mars/Phobos")
    world.tick()
    before = now_of(bad).parked_at
    caplog.clear()
    for _ in range(20):
        world.pass_by(60.0)
        world.tick()
    assert now_of(bad).parked_at == before
    assert [record for record in caplog.records if record.name == "cloaca_django.schedule"] == []


def test_a_schedule_that_is_mended_is_planned_from_then_on(world):
    bad = make_schedule(cron_expression="0 12 * * *", timezone="Mars/Phobos")
    world.tick()
    timetable.update("default", bad.pk, {"timezone": "UTC"})
    row = now_of(bad)
    assert (row.parked_at, row.error_message) == (None, "")
    assert row.next_run_at > START


def test_a_schedule_that_cannot_be_planned_can_be_disabled_and_deleted(world):
    bad = make_schedule(timezone="Mars/Phobos")
    world.tick()
    timetable.set_enabled("default", bad.pk, enabled=False, by="ann")
    row = now_of(bad)
    assert (row.enabled, row.disabled_by) == (False, "ann")
    assert "Mars/Phobos" in row.error_message
    with pytest.raises(ValueError, match="Mars/Phobos"):
        timetable.set_enabled("default", bad.pk, enabled=True)
    assert not now_of(bad).enabled
    timetable.delete("default", bad.pk)
    assert not type(bad).objects.exists()


class TestStrangers:
    """Schedules of workflows that this worker has no code for."""

    def elsewhere(self, world, *names):
        """Register another living worker that knows some workflows."""
        worker = uuid.uuid4()
        row = WorkerRow(worker, "worker", "h", 1, 4, "", json.dumps(names), "", 1e6)
        recovery.register(world.at_now(), row)
        return worker

    def wait(self, world, seconds):
        for _ in range(int(seconds / 10)):
            world.pass_by(10.0)
            world.tick()

    def test_they_are_left_to_whoever_has_the_code(self, world):
        self.elsewhere(world, "far", "other")
        schedule = make_schedule("far")
        self.wait(world, 600)
        row = now_of(schedule)
        assert (row.parked_at, row.next_run_at, fired(schedule)) == (None, START, [])

    def test_they_are_parked_when_nobody_has_it(self, world, heard, caplog):
        self.elsewhere(world, "other")
        schedule = make_schedule("far")
        with caplog.at_level(logging.ERROR, "cloaca_django.schedule"):
            self.wait(world, STRANGER_SECONDS - 10)
            assert now_of(schedule).parked_at is None
            self.wait(world, 30)
        row = now_of(schedule)
        assert row.parked_at is not None
        assert "Workflow not found in registry: far" in row.error_message
        assert len(caplog.records) == 1
        await_signals()
        assert [facts[1] for facts in heard] == [schedule.pk]

    def test_nobody_means_no_living_worker(self, world):
        gone = self.elsewhere(world, "far")
        recovery.say_state(world.at_now(), gone, WorkerState.STOPPED)
        schedule = make_schedule("far")
        self.wait(world, 120)
        assert now_of(schedule).parked_at is not None

    def test_what_is_not_overdue_is_not_parked(self, world):
        schedule = make_schedule("far", next_run_at=START.replace(year=2027))
        self.wait(world, 300)
        assert now_of(schedule).parked_at is None

    def test_others_fire_meanwhile(self, world):
        make_many(300, "far")
        schedule = make_schedule()
        world.tick()
        assert fired(schedule) == [START]

    def test_when_the_code_comes_back_they_catch_up(self, world):
        schedule = make_schedule("far")
        self.wait(world, 180)
        assert now_of(schedule).parked_at is not None
        workflows.single("far")
        self.wait(world, 20)
        row = now_of(schedule)
        assert (row.parked_at, row.error_message) == (None, "")
        assert len(fired(schedule)) == 4
        assert fired(schedule)[0] == START

    def test_a_worker_that_starts_with_the_code_catches_up_too(self, world, make_world):
        schedule = make_schedule("far")
        self.wait(world, 180)
        workflows.single("far")
        firing_world(make_world).tick()
        assert len(fired(schedule)) == 4

    def test_a_workflow_that_is_registered_later_fires_without_other_work(self, world):
        """Nothing else is to be done, and nobody announces what one process learns."""
        world.drain()
        schedule = make_schedule("late")
        world.tick()
        workflows.single("late")
        assert world.turn.seconds_to_next() <= 1.0
        world.pass_by(world.turn.seconds_to_next())
        world.tick()
        assert fired(schedule) == [START]


class TestBrokenTransaction:
    """The database itself refuses what one schedule writes."""

    def turn_until_quiet(self, world):
        for _ in range(100):
            world.tick()
            if world.turn.seconds_to_next() > 0 or world.slots.jobs:
                break
        for _ in range(20):
            world.tick()

    def test_it_is_parked_alone(self, world, heard, caplog):
        good = make_many(5)
        bad = make_schedule()
        good += make_many(5)
        with breaking(bad), caplog.at_level(logging.ERROR, "cloaca_django.schedule"):
            self.turn_until_quiet(world)
        assert [fired(one) for one in good] == [[START]] * 10
        row = now_of(bad)
        assert fired(bad) == []
        assert "this run cannot be stored" in row.error_message
        assert (row.parked_at, row.next_run_at) == (START, START)
        assert len(caplog.records) == 1
        await_signals()
        assert [facts[1] for facts in heard] == [bad.pk]

    def test_an_outcome_in_the_same_turn_is_settled(self, world):
        run_id = world.enqueue("w")
        world.step()
        (job,) = world.take()
        bad = make_schedule()
        world.turn.schedules.look_soon()
        with breaking(bad):
            world.perform(job)
            world.tick()
        assert world.run(run_id).status == RunStatus.COMPLETED
        assert world.turn.failures == 0

    def test_what_an_execute_asked_for_in_the_same_turn_is_written(self, world):
        bad = make_schedule()
        with breaking(bad):
            world.ask("w")
            world.tick()
        (job,) = world.take()
        assert world.tasks(job.run_id)["a"].status == TaskStatus.RUNNING

    def test_two_of_them_are_both_found(self, world):
        workflows.single("strict", builder={"params": {"day": str}})
        broken, unplannable, good = make_schedule(), make_schedule("strict"), make_schedule()
        with breaking(broken):
            self.turn_until_quiet(world)
        assert now_of(broken).parked_at is not None
        assert now_of(unplannable).parked_at is not None
        assert fired(good) == [START]

    def test_afterwards_many_are_fired_at_once_again(self, world):
        bad = make_schedule()
        with breaking(bad):
            self.turn_until_quiet(world)
        schedules = make_many(30)
        world.turn.schedules.look_soon()
        world.tick()
        assert {len(fired(one)) for one in schedules} == {1}

    def test_mended_and_enabled_it_fires_again(self, world):
        bad = make_schedule()
        with breaking(bad):
            self.turn_until_quiet(world)
        timetable.set_enabled("default", bad.pk, enabled=True)
        assert now_of(bad).parked_at is None


def test_a_worker_without_any_workflow_fires_nothing_and_fails_at_nothing(make_world):
    with registry.isolated():
        world = firing_world(make_world, poll_seconds=10.0)
        schedule = make_schedule("far")
        for _ in range(5):
            world.tick()
            world.pass_by(5.0)
        assert world.turn.failures == 0
        assert fired(schedule) == []
