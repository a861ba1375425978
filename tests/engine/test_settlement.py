"""Stage 4: outcomes are written while their claim holds, and their runs move on."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pytest
from django.db import connection

from cloaca_django.core.states import AttemptOutcome, RunStatus, TaskStatus
from cloaca_django.engine import operations
from cloaca_django.engine.settlement import Failure
from cloaca_django.models import TaskAttempt, TaskExecution, TaskLog
from tests import workflows


def claimed(world, name="w", data=None):
    """Enqueue a run and return the job of its first task."""
    world.enqueue(name, data)
    world.step()
    (job,) = world.take()
    return job


def complete(world, job, **facts):
    world.finish(job, job.outcome(TaskStatus.COMPLETED, **facts))


def test_an_outcome_ends_its_task_and_releases_the_next_in_one_turn(world):
    workflows.chain("w", workflows.writes("x", 1), workflows.nothing)
    job = claimed(world)
    world.pass_by(3)
    world.perform(job)
    world.tick()
    first, second = world.tasks(job.run_id).values()
    assert (first.status, first.changes, first.finished_at) == (
        TaskStatus.COMPLETED,
        '[[["x"],1]]',
        world.time.now,
    )
    # The successor was claimed in the same transaction.
    assert (second.status, second.worker_id) == (TaskStatus.RUNNING, world.id)
    run = world.run(job.run_id)
    assert (run.status, run.started_at) == (RunStatus.RUNNING, world.time.now)


def test_a_final_row_keeps_its_token(world):
    workflows.single("w")
    job = claimed(world)
    complete(world, job)
    world.tick()
    row = world.tasks(job.run_id)["a"]
    assert (row.claim_token, row.worker_id) == (job.token, world.id)


def test_the_end_of_a_run_is_written_with_its_last_outcome(world):
    workflows.single("w")
    job = claimed(world)
    world.pass_by(3)
    complete(world, job)
    world.tick()
    run = world.run(job.run_id)
    assert (run.status, run.finished_at) == (RunStatus.COMPLETED, world.time.now)
    (effects,) = [one for one in world.published if one.settled.finished]
    assert effects.settled.finished[0][0].id == job.run_id


def test_a_revision_changes_with_every_move_and_not_with_a_retry(world):
    workflows.chain("w", workflows.boom, workflows.nothing, retry_attempts=2, retry_delay_ms=0)
    run_id = world.enqueue("w")
    revisions = [world.run(run_id).revision]
    for _ in range(2):
        world.step()
        for job in world.take():
            world.perform(job)
        world.tick()
        revisions.append(world.run(run_id).revision)
    assert revisions[0] == revisions[1] != revisions[2]


@pytest.mark.parametrize("way", ["another token", "requeued", "claimed anew", "run cancelled"])
def test_an_outcome_whose_claim_no_longer_holds_is_refused(world, make_world, way, caplog):
    workflows.single("w", workflows.writes("x", 1))
    job = claimed(world)
    row = TaskExecution.objects.filter(pk=job.task_id)
    if way == "another token":
        row.update(claim_token=uuid.uuid4())
    elif way == "run cancelled":
        operations.cancel(world.at_now(), job.run_id)
    else:
        row.update(status=TaskStatus.READY, claim_token=None, worker_id=None)
    if way == "claimed anew":
        other = make_world()
        other.step()
        assert other.take()
    before = row.get()
    world.perform(job)
    world.tick()
    after = row.get()
    assert (after.status, after.claim_token, after.changes) == (
        before.status,
        before.claim_token,
        None,
    )
    assert "was refused: its claim no longer holds" in caplog.text
    assert world.turn.running == {}


def test_a_failed_attempt_is_kept_and_tried_again_when_it_is_due(world):
    workflows.single("w", workflows.boom, retry_delay_ms=5_000, retry_jitter=False)
    job = claimed(world)
    world.perform(job)
    world.tick()
    row = world.tasks(job.run_id)["a"]
    assert (row.status, row.attempt, row.claim_token) == (TaskStatus.SCHEDULED, 2, None)
    assert (row.due_at - world.time.now).total_seconds() == 5
    kept = TaskAttempt.objects.get()
    assert (kept.attempt, kept.outcome, kept.worker_id) == (1, AttemptOutcome.FAILED, world.id)
    world.pass_by(4.9)
    world.step()
    assert world.take() == []
    world.pass_by(0.2)
    world.step()
    world.step()
    (again,) = world.take()
    assert again.attempt == 2


def test_attempts_are_counted_to_the_limit_of_the_row(world):
    workflows.single("w", workflows.boom, retry_attempts=4, retry_delay_ms=0)
    run_id = world.enqueue("w")
    world.drain()
    row = world.tasks(run_id)["a"]
    assert (row.status, row.attempt, row.max_attempts) == (TaskStatus.FAILED, 4, 4)
    assert list(TaskAttempt.objects.order_by("attempt").values_list("attempt", flat=True)) == [
        1,
        2,
        3,
        4,
    ]


def test_a_retry_keeps_the_policy_of_its_row_though_the_code_changed(world):
    workflows.single("w", workflows.boom, retry_attempts=2, retry_delay_ms=0)
    run_id = world.enqueue("w")
    world.step()
    for job in world.take():
        world.perform(job)
    with pytest.warns(UserWarning, match="replaces"):
        workflows.single("w", workflows.boom, retry_attempts=9, retry_delay_ms=0)
    world.drain()
    assert world.tasks(run_id)["a"].attempt == 2


def test_the_log_of_an_attempt_is_written_with_its_outcome(world):
    workflows.single("w")
    job = claimed(world)
    outcome = job.outcome(TaskStatus.COMPLETED)
    outcome.log = "said"
    world.finish(job, outcome)
    world.tick()
    log = TaskLog.objects.get()
    assert (log.task_id, log.attempt, log.text) == (job.task_id, 1, "said")


def test_a_join_is_released_by_whichever_sibling_ends_last(make_world):
    workflows.fan("w", 6)
    one, other = make_world(slots=3), make_world(slots=3)
    run_id = one.enqueue("w")
    one.step()
    (root,) = one.take()
    one.perform(root)
    one.tick()
    other.step()
    jobs = [(one, job) for job in one.take()] + [(other, job) for job in other.take()]
    assert len(jobs) == 6
    for world, job in jobs:
        assert one.statuses(run_id)["join"] == TaskStatus.PENDING
        world.perform(job)
        world.tick()
    assert one.statuses(run_id)["join"] == TaskStatus.RUNNING
    assert len(one.take() + other.take()) == 1


def test_a_worker_reads_the_run_again_when_another_moved_it(make_world):
    workflows.define(
        "w",
        ("a", workflows.writes("a", 1), {}),
        ("b", workflows.writes("b", 2), {}),
        ("c", workflows.nothing, {"dependencies": ["a", "b"]}),
    )
    one, other = make_world(slots=1), make_world(slots=1)
    run_id = one.enqueue("w")
    for world in (one, other):
        world.step()
    (first,), (second,) = one.take(), other.take()
    one.perform(first)
    one.tick()
    other.perform(second)
    other.tick()
    (join,) = other.take()
    assert (join.task.name, join.seen) == ("c", {"a": 1, "b": 2})
    assert one.statuses(run_id)["c"] == TaskStatus.RUNNING


def test_outcomes_of_a_paused_run_are_kept_and_nothing_follows(world):
    workflows.chain("w", workflows.nothing, workflows.nothing)
    job = claimed(world)
    operations.pause(world.at_now(), job.run_id)
    complete(world, job)
    world.tick()
    assert world.statuses(job.run_id) == {"a": TaskStatus.COMPLETED, "b": TaskStatus.HELD}
    assert world.run(job.run_id).status == RunStatus.PAUSED


def test_a_failed_task_of_a_paused_run_waits_held_for_its_next_attempt(world):
    workflows.single("w", workflows.boom, retry_delay_ms=1_000)
    job = claimed(world)
    operations.pause(world.at_now(), job.run_id)
    world.perform(job)
    world.tick()
    row = world.tasks(job.run_id)["a"]
    assert (row.status, row.attempt) == (TaskStatus.HELD, 2)
    operations.resume(world.at_now(), job.run_id)
    world.pass_by(5)
    world.step()
    world.step()
    assert [again.attempt for again in world.take()] == [2]


def test_the_first_failure_is_the_runs_error(world):
    workflows.define(
        "w",
        ("a", workflows.nothing, {}),
        ("b", workflows.nothing, {}),
    )
    run_id = world.enqueue("w")
    world.step()
    first, second = world.take()
    for job, word in ((second, "early"), (first, "late")):
        failure = Failure("E", f"E: {word}")
        world.finish(job, job.outcome(TaskStatus.FAILED, failure=failure))
        world.tick()
    run = world.run(run_id)
    assert (run.status, run.error_message) == (RunStatus.FAILED, "Task 'b' failed: E: early")


def test_a_poisoned_outcome_does_not_take_its_batch_with_it(make_world):
    """One of 64 cannot be stored; its task fails and says why, the others are settled."""
    workflows.single("w")
    world = make_world(slots=64)
    ids = [world.enqueue("w", {"n": n}) for n in range(64)]
    world.step()
    jobs = sorted(world.take(), key=lambda job: job.seen["n"])
    for job in jobs:
        outcome = job.outcome(TaskStatus.COMPLETED)
        if job.seen["n"] == 17:
            outcome = replace(
                outcome, changes="\x00" if connection.vendor != "sqlite" else object()
            )
        world.finish(job, outcome)
    world.tick()
    world.step()
    statuses = [world.run(run_id).status for run_id in ids]
    assert statuses.count(RunStatus.COMPLETED) == 63
    assert statuses[17] == RunStatus.FAILED
    assert "could not be stored" in world.run(ids[17]).error_message


def test_an_outcome_of_a_locked_run_waits_and_the_others_do_not(make_world):
    if connection.vendor == "sqlite":
        pytest.skip("a file has one writer: no run is locked alone")
    workflows.single("w")
    world, other = make_world(), make_world()
    stuck, free = world.enqueue("w"), world.enqueue("w")
    world.step()
    jobs = {job.run_id: job for job in world.take()}
    session = other.at_now()
    with session.transaction():
        session.lock_runs([stuck])
        for job in jobs.values():
            complete(world, job)
        world.tick()
        assert world.run(free).status == RunStatus.COMPLETED
        assert world.run(stuck).status == RunStatus.PENDING
        assert world.turn.seconds_to_next() <= 0.01
    world.tick()
    assert world.run(stuck).status == RunStatus.COMPLETED
    assert world.turn.running == {}
