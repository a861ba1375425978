"""Old runs that have ended are deleted with all their rows; nothing else is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cloaca_django import clock
from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.engine import operations
from cloaca_django.engine.retention import Keeper, Pruner, delete_run
from cloaca_django.errors import InvalidTransition, RunNotFound
from cloaca_django.models import (
    CronExecution,
    CronSchedule,
    PipelineExecution,
    TaskAttempt,
    TaskExecution,
    TaskLog,
)
from tests import workflows
from tests.engine.schedules import make_schedule
from tests.engine.world import START

DAY = 86_400.0


@pytest.fixture
def aged(world, monkeypatch):
    """A worker whose run ids carry the manual clock, as its database does."""
    monkeypatch.setattr(clock, "milliseconds", lambda: int(world.time.now.timestamp() * 1000))
    return world


def ended(world, *, body=workflows.nothing, name="w"):
    workflows.single(name, body, retry_attempts=1)
    run_id = world.enqueue(name)
    world.drain()
    return run_id


def prune(world, **facts):
    """Walk to the end and return how many runs were deleted."""
    pruner = Pruner(**{"days": 90, **facts})
    total = 0
    while step := pruner.step(world.at_now()):
        total += step.runs
    return total


def test_a_run_is_deleted_when_it_is_old_enough(aged):
    run_id = ended(aged)
    aged.pass_by(89 * DAY)
    assert prune(aged) == 0
    aged.pass_by(2 * DAY)
    assert prune(aged) == 1
    assert not PipelineExecution.objects.filter(pk=run_id).exists()
    assert not TaskExecution.objects.exists()


def test_attempts_and_logs_go_with_their_run(aged):
    workflows.single("w")
    aged.enqueue("w")
    aged.step()
    (job,) = aged.take()
    aged.pass_by(1)
    outcome = job.outcome(TaskStatus.COMPLETED)
    outcome.log = "said"
    aged.finish(job, outcome)
    aged.tick()
    ended(aged, body=workflows.boom, name="failing")
    assert TaskAttempt.objects.count() == TaskLog.objects.count() == 1
    aged.pass_by(91 * DAY)
    assert prune(aged) == 2
    assert TaskAttempt.objects.count() == TaskLog.objects.count() == 0


def test_age_counts_from_the_end_and_open_runs_are_never_touched(aged):
    workflows.single("w")
    open_run = aged.enqueue("w", queue="elsewhere")
    paused = aged.enqueue("w", queue="elsewhere")
    operations.pause(aged.at_now(), paused)
    aged.pass_by(500 * DAY)
    assert prune(aged) == 0
    late = aged.enqueue("w", queue="elsewhere")
    operations.cancel(aged.at_now(), open_run)
    assert prune(aged) == 0
    assert {open_run, paused, late} == set(PipelineExecution.objects.values_list("pk", flat=True))


def test_a_step_is_one_small_transaction(aged):
    workflows.single("w")
    for _ in range(10):
        aged.enqueue("w")
    aged.drain()
    aged.pass_by(91 * DAY)
    pruner = Pruner(days=90, batch_size=4)
    assert pruner.count(aged.at_now()) == {RunStatus.COMPLETED: 10}
    steps = [pruner.step(aged.at_now()) for _ in range(4)]
    assert [step and step.runs for step in steps] == [4, 4, 2, None]


def test_statuses_can_be_chosen_and_open_ones_never(aged):
    ended(aged)
    failed = ended(aged, body=workflows.boom, name="failing")
    aged.pass_by(91 * DAY)
    assert prune(aged, statuses=[RunStatus.PENDING, RunStatus.RUNNING]) == 0
    assert prune(aged, statuses=[RunStatus.COMPLETED]) == 1
    assert PipelineExecution.objects.get().pk == failed


def test_children_and_repeats_outlive_a_deleted_run(aged):
    old = ended(aged, body=workflows.boom)
    aged.pass_by(91 * DAY)
    new = operations.replay(aged.at_now(), old)
    assert prune(aged) == 1
    assert aged.run(new).parent_id is None


@pytest.mark.parametrize(("days", "left"), [(90, 0), (None, 1), (1000, 1)])
def test_a_worker_keeps_what_the_setting_says(aged, settings, days, left):
    settings.CLOACA = {"RETENTION_DAYS": days}
    ended(aged)
    aged.pass_by(91 * DAY)
    keeper = Keeper()
    keeper.tend(aged.at_now())
    assert PipelineExecution.objects.count() == left


def test_a_worker_begins_a_walk_once_an_hour(aged, settings):
    settings.CLOACA = {"RETENTION_DAYS": 90}
    keeper = Keeper()
    keeper.tend(aged.at_now())
    ended(aged)
    aged.pass_by(100.0)
    PipelineExecution.objects.update(finished_at=aged.time.now.replace(year=2020))
    assert keeper.tend(aged.at_now()) == 0


def fire(schedule, at, *, run=None, reason="passed over"):
    """Insert a fire of a moment, without a run if none is given."""
    return CronExecution.objects.create(
        schedule=schedule, scheduled_time=at, claimed_at=at, run_id=run, reason=reason
    )


class TestFires:
    """What schedules fired goes with its run; what they passed over goes by itself."""

    def test_a_fire_goes_with_its_run(self, aged):
        schedule = make_schedule(next_run_at=None)
        fire(schedule, START, run=ended(aged), reason="")
        aged.pass_by(89 * DAY)
        prune(aged)
        assert CronExecution.objects.exists()
        aged.pass_by(2 * DAY)
        prune(aged)
        assert not CronExecution.objects.exists()
        assert CronSchedule.objects.exists()

    def test_a_time_that_was_passed_over_goes_when_it_is_old_enough(self, aged):
        schedule = make_schedule(next_run_at=None)
        old = fire(schedule, START)
        young = fire(schedule, START + timedelta(days=5))
        aged.pass_by(91 * DAY)
        assert Pruner(days=90).count_fires(aged.at_now()) == 1
        prune(aged)
        assert CronExecution.objects.get() == young
        assert old.pk != young.pk

    def test_the_fire_of_an_open_run_stays(self, aged):
        workflows.single("w")
        schedule = make_schedule(next_run_at=None)
        fire(schedule, START, run=aged.enqueue("w", queue="elsewhere"), reason="")
        aged.pass_by(500 * DAY)
        prune(aged)
        assert CronExecution.objects.count() == 1

    def test_a_fire_whose_run_was_deleted_by_hand_goes_too(self, aged):
        schedule = make_schedule(next_run_at=None)
        fire(schedule, START, reason="")
        aged.pass_by(91 * DAY)
        prune(aged)
        assert not CronExecution.objects.exists()

    def test_they_go_in_batches_after_the_runs(self, aged):
        schedule = make_schedule(next_run_at=None)
        for n in range(9):
            fire(schedule, START - timedelta(minutes=n))
        ended(aged)
        aged.pass_by(91 * DAY)
        pruner = Pruner(days=90, batch_size=4)
        steps = [pruner.step(aged.at_now()) for _ in range(5)]
        assert [step and (step.runs, step.fires) for step in steps] == [
            (1, 0), (0, 4), (0, 4), (0, 1), None,
        ]  # fmt: skip

    def test_a_walk_over_some_statuses_leaves_them(self, aged):
        fire(make_schedule(next_run_at=None), START)
        aged.pass_by(91 * DAY)
        prune(aged, statuses=[RunStatus.COMPLETED])
        assert Pruner(days=90, statuses=[RunStatus.COMPLETED]).count_fires(aged.at_now()) == 0
        assert CronExecution.objects.exists()

    def test_a_worker_keeps_what_the_setting_says(self, aged, settings):
        settings.CLOACA = {"RETENTION_DAYS": 90}
        fire(make_schedule(next_run_at=None), START)
        aged.pass_by(91 * DAY)
        assert Keeper().tend(aged.at_now()) == 0
        assert not CronExecution.objects.exists()


def test_one_run_is_deleted_by_hand_and_open_ones_are_not(aged):
    run_id = ended(aged)
    kept = aged.enqueue("w")
    with pytest.raises(InvalidTransition, match="cannot become deleted"):
        delete_run(aged.at_now(), kept)
    delete_run(aged.at_now(), run_id, by="ana")
    assert PipelineExecution.objects.get().pk == kept
    assert not TaskExecution.objects.filter(run=run_id).exists()
    with pytest.raises(RunNotFound):
        delete_run(aged.at_now(), run_id)


def test_a_time_whose_run_is_deleted_by_hand_stays_used_up(aged):
    run_id = ended(aged)
    schedule = make_schedule("w")
    CronExecution.objects.create(
        schedule=schedule, run_id=run_id, scheduled_time=START, claimed_at=START
    )
    delete_run(aged.at_now(), run_id)
    fire = CronExecution.objects.get()
    assert (fire.run_id, fire.scheduled_time, fire.reason) == (None, START, "")
