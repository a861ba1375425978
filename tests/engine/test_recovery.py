"""A dead worker's tasks come back, each once, and nobody who lives loses one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import OperationalError

from cloaca_django.core.states import AttemptOutcome, RunStatus, TaskStatus, WorkerState
from cloaca_django.engine import operations, recovery
from cloaca_django.engine.upkeep import Contact, Sweep
from cloaca_django.models import TaskAttempt, TaskExecution, Worker
from tests import workflows

LEASE = 30.0


@pytest.fixture
def pair(make_world):
    """A worker with a claimed task, and another that may recover it."""
    workflows.single("w", workflows.writes("x", 1))
    one, other = make_world(), make_world()
    one.register(lease=LEASE)
    other.register(lease=LEASE * 1000)
    one.enqueue("w")
    one.step()
    (job,) = one.take()
    return one, other, job


def row(job):
    return TaskExecution.objects.get(pk=job.task_id)


def sweep(world, max_crashes=3):
    return recovery.sweep(world.at_now(), max_crashes=max_crashes)


def test_a_lease_is_renewed_by_the_heartbeat(pair):
    one, other, job = pair
    for _ in range(10):
        one.pass_by(LEASE * 0.9)
        assert recovery.renew(one.at_now(), one.id)
        sweep(other)
    assert row(job).status == TaskStatus.RUNNING
    assert Worker.objects.get(pk=one.id).state == WorkerState.ALIVE


def test_a_heartbeat_says_what_the_worker_did_since_it_registered(make_world):
    workflows.single("good", workflows.nothing)
    workflows.single("bad", workflows.boom, retry_attempts=2, retry_delay_ms=0)
    world = make_world()
    world.register()
    for name in ("good", "good", "bad"):
        world.enqueue(name)
    world.drain()
    recovery.renew(world.at_now(), world.id, world.turn.tally())
    found = Worker.objects.get(pk=world.id)
    assert (found.completed_count, found.failed_count) == (2, 1)
    # One that is late, or knows nothing, takes nothing back.
    recovery.renew(world.at_now(), world.id)
    world.turn.begin_tally()
    assert world.turn.tally() == (0, 0)
    world.enqueue("good")
    world.drain()
    assert world.turn.tally() == (1, 0)
    recovery.say_state(world.at_now(), world.id, WorkerState.STOPPED, world.turn.tally())
    found.refresh_from_db()
    assert (found.completed_count, found.failed_count) == (2, 1)
    assert found.state == WorkerState.STOPPED


def test_the_tasks_of_a_silent_worker_are_ready_again_and_charged_as_a_crash(pair):
    one, other, job = pair
    one.pass_by(LEASE + 1)
    sweep(other)
    found = row(job)
    assert (found.status, found.claim_token, found.worker_id) == (TaskStatus.READY, None, None)
    assert (found.crashes, found.attempt) == (1, 1)
    assert Worker.objects.get(pk=one.id).state == WorkerState.DEAD
    kept = TaskAttempt.objects.get()
    assert (kept.outcome, kept.error_type) == (AttemptOutcome.LOST, "WorkerLost")


def test_not_a_moment_before_the_lease_ends(pair):
    one, other, job = pair
    one.pass_by(LEASE - 1)
    sweep(other)
    assert row(job).status == TaskStatus.RUNNING


def test_a_second_sweep_finds_nothing_to_do(pair):
    one, other, job = pair
    one.pass_by(LEASE + 1)
    for _ in range(3):
        sweep(other)
    assert row(job).crashes == 1
    assert TaskAttempt.objects.count() == 1


def test_the_late_outcome_of_the_dead_is_refused(pair):
    one, other, job = pair
    one.pass_by(LEASE + 1)
    sweep(other)
    other.step()
    (again,) = other.take()
    one.perform(job)
    one.tick()
    assert row(job).status == TaskStatus.RUNNING
    other.perform(again)
    other.tick()
    found = row(job)
    assert (found.status, found.claim_token) == (TaskStatus.COMPLETED, again.token)


def test_a_dead_worker_cannot_renew_its_lease(pair):
    one, other, _ = pair
    one.pass_by(LEASE + 1)
    sweep(other)
    assert not recovery.renew(one.at_now(), one.id)
    recovery.say_state(one.at_now(), one.id, WorkerState.STOPPED)
    assert Worker.objects.get(pk=one.id).state == WorkerState.DEAD


def test_a_task_that_takes_worker_after_worker_with_it_fails(make_world):
    workflows.chain("w", workflows.nothing, workflows.nothing)
    sweeper = make_world()
    run_id = sweeper.enqueue("w")
    for crash in range(4):
        victim = make_world()
        victim.register(lease=LEASE)
        victim.step()
        assert [job.task.name for job in victim.take()] == ["a"]
        victim.pass_by(LEASE + 1)
        swept = sweep(sweeper, max_crashes=3)
        assert sweeper.tasks(run_id)["a"].crashes == min(crash + 1, 3)
    assert swept.finished
    run = sweeper.run(run_id)
    assert run.status == RunStatus.FAILED
    assert "ABANDONED: its worker was lost 4 times" in run.error_message
    assert sweeper.statuses(run_id) == {"a": TaskStatus.FAILED, "b": TaskStatus.SKIPPED}
    assert TaskAttempt.objects.filter(outcome=AttemptOutcome.LOST).count() == 4


def test_crashes_are_counted_apart_from_attempts(make_world):
    workflows.single("w", workflows.boom, retry_attempts=2, retry_delay_ms=0)
    sweeper, victim = make_world(), make_world()
    run_id = sweeper.enqueue("w")
    victim.register(lease=LEASE)
    victim.step()
    victim.take()
    victim.pass_by(LEASE + 1)
    sweep(sweeper)
    sweeper.drain()
    found = sweeper.tasks(run_id)["a"]
    assert (found.status, found.attempt, found.crashes) == (TaskStatus.FAILED, 2, 1)


def test_a_deferred_task_of_a_lost_worker_is_not_charged(pair):
    one, other, job = pair
    TaskExecution.objects.filter(pk=job.task_id).update(is_deferred=True)
    for _ in range(5):
        one.pass_by(LEASE + 1)
        sweep(other, max_crashes=0)
    found = row(job)
    assert (found.status, found.crashes, found.is_deferred) == (TaskStatus.READY, 0, False)
    assert not TaskAttempt.objects.exists()


def test_the_tasks_of_a_paused_run_come_back_held(pair):
    one, other, job = pair
    operations.pause(other.at_now(), job.run_id)
    one.pass_by(LEASE + 1)
    sweep(other)
    assert row(job).status == TaskStatus.HELD
    operations.resume(other.at_now(), job.run_id)
    assert row(job).status == TaskStatus.READY


def test_a_worker_without_a_row_is_as_good_as_dead(make_world):
    workflows.single("w")
    ghost, sweeper = make_world(), make_world()
    run_id = ghost.enqueue("w")
    ghost.step()
    assert ghost.take()
    sweep(sweeper)
    assert sweeper.statuses(run_id) == {"a": TaskStatus.READY}


def test_a_stopped_workers_tasks_come_back_without_waiting_for_the_lease(pair):
    one, other, job = pair
    recovery.say_state(one.at_now(), one.id, WorkerState.STOPPED)
    sweep(other)
    assert row(job).status == TaskStatus.READY


def test_a_lease_that_a_clock_set_back_left_far_ahead_is_cut(pair):
    one, other, _job = pair
    ahead = one.time.now + timedelta(days=300)
    Worker.objects.filter(pk=one.id).update(lease_until=ahead)
    sweep(other)
    lease = Worker.objects.get(pk=one.id).lease_until
    assert lease <= one.time.now + timedelta(seconds=1.5 * LEASE)


class TestReconcile:
    """A heartbeat compares what the worker owns with what it runs."""

    def reconcile(self, world, live, grace=10.0):
        return recovery.reconcile(world.at_now(), world.id, live, grace=grace)

    def test_a_claim_whose_reply_was_lost_comes_back_uncharged(self, pair):
        one, _, job = pair
        one.pass_by(11)
        done = self.reconcile(one, {})
        assert done.requeued == 1
        found = row(job)
        assert (found.status, found.attempt, found.crashes) == (TaskStatus.READY, 1, 0)
        assert not TaskAttempt.objects.exists()

    def test_a_claim_that_is_on_its_way_is_left_alone(self, pair):
        one, _, job = pair
        one.pass_by(9)
        assert self.reconcile(one, {}).requeued == 0
        assert row(job).status == TaskStatus.RUNNING

    def test_what_runs_is_left_alone(self, pair):
        one, _, job = pair
        one.pass_by(1000)
        done = self.reconcile(one, {job.task_id: job.token})
        assert (done.requeued, done.lost) == (0, frozenset())

    def test_a_task_run_under_an_old_claim_is_lost_and_the_new_one_kept(self, pair):
        one, _, job = pair
        one.pass_by(1000)
        done = self.reconcile(one, {job.task_id: one.turn.claimer.worker})
        assert done.lost == {job.task_id}

    def test_what_others_own_is_left_alone(self, pair):
        one, other, job = pair
        one.pass_by(1000)
        assert self.reconcile(other, {}).requeued == 0
        assert row(job).status == TaskStatus.RUNNING

    def test_a_task_that_was_taken_away_is_reported(self, pair):
        one, _, job = pair
        operations.cancel(one.at_now(), job.run_id)
        done = self.reconcile(one, {job.task_id: job.token})
        assert done.lost == {job.task_id}


def test_old_workers_are_forgotten_and_owners_are_not(pair):
    one, other, _job = pair
    recovery.say_state(other.at_now(), other.id, WorkerState.STOPPED)
    Worker.objects.filter(pk=one.id).update(state=WorkerState.DEAD)
    one.pass_by(90_000)
    recovery.forget_workers(one.at_now())
    assert set(Worker.objects.values_list("pk", flat=True)) == {one.id}


def test_one_worker_is_forgotten_by_hand_once_it_ended_and_owns_nothing(pair):
    one, other, _job = pair
    assert not operations.forget(one.at_now(), other.id)
    recovery.say_state(other.at_now(), other.id, WorkerState.STOPPED)
    Worker.objects.filter(pk=one.id).update(state=WorkerState.DEAD)
    assert not operations.forget(one.at_now(), one.id)
    assert operations.forget(one.at_now(), other.id, by="ana")
    assert set(Worker.objects.values_list("pk", flat=True)) == {one.id}
    recovery.give_up(one.at_now(), one.id, charge=True, max_crashes=3)
    assert operations.forget(one.at_now(), one.id)


def test_a_worker_known_to_be_dead_is_given_up_at_once(pair):
    one, other, job = pair
    assert recovery.give_up(other.at_now(), one.id, charge=True, max_crashes=3) == 1
    assert (row(job).status, row(job).crashes) == (TaskStatus.READY, 1)
    assert Worker.objects.get(pk=one.id).state == WorkerState.DEAD


def test_held_tasks_that_nothing_holds_are_found(world):
    workflows.single("w")
    run_id = world.enqueue("w")
    TaskExecution.objects.filter(run_id=run_id).update(status=TaskStatus.HELD)
    sweep(world)
    assert world.statuses(run_id) == {"a": TaskStatus.READY}


def test_a_sweep_that_failed_is_due_until_one_succeeds(pair, settings, monkeypatch):
    settings.CLOACA = {"SWEEP_SECONDS": 10}
    _, other, job = pair
    due = Sweep()
    other.pass_by(LEASE + 10)
    with monkeypatch.context() as patch:
        patch.setattr(recovery, "sweep", broken)
        with pytest.raises(OperationalError):
            due.carry_out(other.at_now())
    assert due.is_due()
    due.carry_out(other.at_now())
    assert row(job).status == TaskStatus.READY
    assert due.seconds_to_next() == 10


def test_the_first_sweep_leaves_the_others_the_time_of_a_beat(world, settings):
    """One that dies again and again would never come to a later one."""
    settings.CLOACA = {"HEARTBEAT_SECONDS": 5, "SWEEP_SECONDS": 10}
    due = Sweep()
    assert due.seconds_to_next() == 5
    world.pass_by(5)
    assert due.is_due()
    settings.CLOACA = {"HEARTBEAT_SECONDS": 5, "SWEEP_SECONDS": 2}
    assert Sweep().seconds_to_next() == 2


def broken(*_, **__):
    raise OperationalError("database is locked")


def test_contact_is_lost_when_heartbeats_fail_for_half_a_lease(world, settings):
    settings.CLOACA = {"HEARTBEAT_SECONDS": 5, "LEASE_SECONDS": 30}
    contact = Contact()
    world.pass_by(10)
    assert not contact.was_lost, "one that fails is made up for by the next"
    contact.keep()
    world.pass_by(16)
    assert contact.was_lost
    contact.keep()
    assert not contact.was_lost
