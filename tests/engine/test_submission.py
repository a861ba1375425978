"""Stage 1: a run and all its tasks are written at once, or nothing is."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.engine import operations, submission
from cloaca_django.errors import IdempotencyConflict, InvalidParams
from cloaca_django.models import PipelineExecution, TaskExecution, WorkflowDefinition
from tests import workflows

NEVER = {"type": "Any", "conditions": []}


def test_a_run_and_its_tasks_are_written_together(world):
    workflows.diamond("d")
    run_id = world.enqueue("d", {"i": 1})
    run = world.run(run_id)
    assert (run.status, run.context, run.workflow_name) == (RunStatus.PENDING, '{"i":1}', "d")
    assert (run.created_at, run.started_at, run.finished_at) == (world.time.now, None, None)
    assert world.statuses(run_id) == {
        "top": TaskStatus.READY,
        "left": TaskStatus.PENDING,
        "right": TaskStatus.PENDING,
        "join": TaskStatus.PENDING,
    }


def test_each_task_row_holds_what_the_definition_said(world):
    workflows.define(
        "w",
        ("a", workflows.nothing, {}),
        ("b", workflows.nothing, {"dependencies": ["a"], "retry_attempts": 7, "atomic": True,
                                  "timeout_seconds": 9, "trigger_rules": {"type": "Always"}}),
    )  # fmt: skip
    row = world.tasks(world.enqueue("w", priority=5, queue="q"))["b"]
    assert (row.dependencies, row.trigger_rules) == ('["a"]', '{"type":"Always"}')
    assert '"timeout":9' in row.policy
    assert '"atomic":true' in row.policy
    assert (row.max_attempts, row.attempt, row.position) == (7, 1, 1)
    assert (row.priority, row.queue, row.workflow_name) == (5, "q", "w")


def test_a_definition_is_kept_by_the_engine_and_not_by_the_caller(world):
    workflows.single("w")
    world.enqueue("w")
    assert not WorkflowDefinition.objects.exists()
    world.step()
    row = WorkflowDefinition.objects.get()
    assert (row.name, row.version) == ("w", PipelineExecution.objects.get().workflow_version)


def test_what_execute_asks_for_starts_in_the_turn_that_writes_it(world):
    workflows.diamond("d")
    world.ask("d", {"i": 1})
    world.tick()
    (job,) = world.take()
    assert (job.task.name, job.seen, job.attempt) == ("top", {"i": 1}, 1)
    row = world.tasks(job.run_id)["top"]
    assert (row.status, row.claim_token, row.worker_id) == (
        TaskStatus.RUNNING,
        job.token,
        world.id,
    )
    assert row.claimed_at == world.time.now


def test_roots_beyond_the_room_stay_ready(make_world):
    workflows.define("w", *((f"r{at}", workflows.nothing, {}) for at in range(5)))
    world = make_world(slots=2)
    world.ask("w")
    world.tick()
    jobs = world.take()
    assert [job.task.name for job in jobs] == ["r0", "r1"]
    assert (
        list(world.statuses(jobs[0].run_id).values())
        == [TaskStatus.RUNNING] * 2 + [TaskStatus.READY] * 3
    )


def test_a_rule_decides_about_a_root_at_once(world):
    workflows.define(
        "w",
        ("a", workflows.boom, {"trigger_rules": NEVER}),
        ("b", workflows.boom, {"dependencies": ["a"]}),
        ("c", workflows.nothing, {"trigger_rules": {"type": "Always"}, "dependencies": ["b"]}),
    )
    run_id = world.enqueue("w")
    assert world.statuses(run_id) == {
        "a": TaskStatus.SKIPPED,
        "b": TaskStatus.SKIPPED,
        "c": TaskStatus.READY,
    }
    assert world.tasks(run_id)["a"].finished_at == world.time.now


def test_a_run_that_has_nothing_to_do_is_ended_at_its_birth(world):
    workflows.single("w", trigger_rules=NEVER)
    done = world.ask("w", {"i": 1})
    world.tick()
    world.step()
    assert done.result(0).status == "Completed"
    assert done.result(0).final_context.to_dict() == {"i": 1}
    run = PipelineExecution.objects.get()
    assert (run.status, run.finished_at) == (RunStatus.COMPLETED, world.time.now)


def test_a_later_start_makes_the_roots_scheduled(world):
    workflows.diamond("d")
    start = world.time.now + timedelta(seconds=30)
    run_id = world.enqueue("d", start_at=start, timeout_seconds=60.0)
    row = world.tasks(run_id)["top"]
    assert (row.status, row.due_at) == (TaskStatus.SCHEDULED, start)
    assert world.run(run_id).deadline_at == start + timedelta(seconds=60)
    world.step()
    assert world.take() == []
    world.pass_by(31)
    world.step()
    assert [job.task.name for job in world.take()] == ["top"]


def test_a_start_in_the_past_is_now(world):
    workflows.single("w")
    run_id = world.enqueue("w", start_at=world.time.now - timedelta(days=9), timeout_seconds=60.0)
    assert world.statuses(run_id) == {"a": TaskStatus.READY}
    assert world.run(run_id).deadline_at == world.time.now + timedelta(seconds=60)


def test_a_run_of_a_paused_workflow_is_held(world):
    workflows.diamond("d")
    operations.pause_workflow(world.at_now(), "d")
    run_id = world.enqueue("d")
    world.ask("d")
    world.step()
    assert world.take() == []
    assert world.run(run_id).status == RunStatus.PENDING
    assert set(TaskExecution.objects.filter(name="top").values_list("status", flat=True)) == {
        TaskStatus.HELD
    }


def test_a_run_of_a_limited_workflow_waits_for_its_place(world):
    workflows.single("w", builder={"max_running": 1})
    first, second = world.enqueue("w"), world.enqueue("w")
    assert world.run(first).is_waiting
    assert world.statuses(first) == {"a": TaskStatus.HELD}
    world.step()
    world.step()
    assert [job.run_id for job in world.take()] == [first]
    assert not world.run(first).is_waiting
    assert world.run(second).is_waiting


def test_the_same_submission_written_twice_is_one_run(world):
    """A caller that lost the reply to its COMMIT submits the same id again."""
    workflows.single("w")
    asked = world.prepared("w")
    session = world.at_now()
    for _ in range(2):
        with session.transaction():
            submission.submit(session, [asked])
    assert PipelineExecution.objects.count() == TaskExecution.objects.count() == 1


def test_a_key_that_is_held_returns_its_run(world):
    workflows.single("w")
    first = world.enqueue("w", {"n": 1}, idempotency_key="k")
    assert world.enqueue("w", {"n": 1}, idempotency_key="k") == first
    with pytest.raises(IdempotencyConflict):
        world.enqueue("w", {"n": 2}, idempotency_key="k")
    assert PipelineExecution.objects.count() == TaskExecution.objects.count() == 1


def test_a_key_keeps_its_meaning_when_the_order_of_the_context_differs(world):
    workflows.single("w")
    first = world.enqueue("w", {"a": 1, "b": 2}, idempotency_key="k")
    assert world.enqueue("w", {"b": 2, "a": 1}, idempotency_key="k") == first


def test_a_batch_with_one_refused_run_writes_none(world):
    workflows.single("w")
    world.enqueue("w", {"n": 1}, idempotency_key="k")
    good = world.prepared("w", {"n": 5})
    bad = world.prepared("w", {"n": 2}, idempotency_key="k")
    session = world.at_now()
    with pytest.raises(IdempotencyConflict), session.transaction():
        submission.submit(session, [good, bad])
    assert PipelineExecution.objects.count() == 1


def test_inputs_are_checked_before_anything_is_written(world):
    workflows.single("w", builder={"params": {"day": str}})
    with pytest.raises(InvalidParams, match="day"):
        world.enqueue("w")
    assert not PipelineExecution.objects.exists()


def test_many_runs_of_one_turn_get_ids_in_the_order_they_came(make_world):
    workflows.single("w")
    world = make_world(slots=50)
    for n in range(50):
        world.ask("w", {"n": n})
    world.tick()
    jobs = world.take()
    assert [job.seen["n"] for job in sorted(jobs, key=lambda job: job.task_id)] == list(range(50))


def test_run_ids_are_ordered_by_time_and_chosen_before_the_insert(world):
    workflows.single("w")
    asked = [world.prepared("w") for _ in range(3)]
    assert all(one.id.version == 7 for one in asked)
