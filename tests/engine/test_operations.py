"""Off the path: what an operator may do, as one short transaction each."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cloaca_django.core.states import Origin, RunStatus, TaskStatus
from cloaca_django.engine import operations
from cloaca_django.errors import InvalidTransition, RunNotFound
from cloaca_django.ids import new_run_id
from cloaca_django.models import PipelineExecution, TaskExecution, WorkflowControl
from tests import workflows


def test_a_cancel_ends_a_run_at_once(world):
    workflows.diamond("d")
    run_id = world.enqueue("d")
    world.step()
    world.take()
    world.pass_by(2)
    ended = operations.cancel(world.at_now(), run_id, by="ann", reason="enough")
    run = world.run(run_id)
    assert [one.id for one in ended] == [run_id]
    assert (run.status, run.finished_at) == (RunStatus.CANCELLED, world.time.now)
    assert run.error_message == "Cancelled by ann: enough"
    assert set(world.statuses(run_id).values()) == {TaskStatus.CANCELLED}


def test_completed_tasks_of_a_cancelled_run_stay_so(world):
    workflows.chain("w", workflows.writes("x", 1), workflows.nothing)
    run_id = world.enqueue("w")
    world.step()
    for job in world.take():
        world.perform(job)
    world.tick()
    operations.cancel(world.at_now(), run_id)
    assert world.statuses(run_id) == {"a": TaskStatus.COMPLETED, "b": TaskStatus.CANCELLED}


def test_a_cancel_takes_children_and_their_children_along(world):
    workflows.single("w")
    parent = world.enqueue("w")
    task = world.tasks(parent)["a"].pk
    child = world.enqueue("w", parent_id=parent, parent_task_id=task, origin=Origin.TASK)
    grandchild = world.enqueue("w", parent_id=child, parent_task_id=task, origin=Origin.TASK)
    repeated = world.enqueue("w", parent_id=parent, origin=Origin.RETRY)
    ended = operations.cancel(world.at_now(), parent)
    assert {one.id for one in ended} == {parent, child, grandchild}
    assert world.run(repeated).status == RunStatus.PENDING


def test_children_that_have_ended_stay_as_they_ended(world):
    workflows.single("w")
    parent = world.enqueue("w", {"parent": True}, queue="elsewhere")
    task = world.tasks(parent)["a"].pk
    child = world.enqueue("w", parent_id=parent, parent_task_id=task)
    world.drain()
    operations.cancel(world.at_now(), parent)
    assert world.run(child).status == RunStatus.COMPLETED


ACTS = {
    "cancel": operations.cancel,
    "pause": operations.pause,
    "resume": operations.resume,
    "replay": operations.replay,
}


@pytest.mark.parametrize("act", sorted(ACTS))
def test_a_run_that_does_not_exist_is_named(world, act):
    nobody = new_run_id()
    with pytest.raises(RunNotFound, match=str(nobody)):
        ACTS[act](world.at_now(), nobody)


@pytest.mark.parametrize("act", ["cancel", "pause", "resume"])
def test_an_ended_run_stays_as_it_ended(world, act):
    workflows.single("w")
    run_id = world.enqueue("w")
    world.drain()
    before = PipelineExecution.objects.filter(pk=run_id).values().get()
    with pytest.raises(InvalidTransition):
        ACTS[act](world.at_now(), run_id)
    assert PipelineExecution.objects.filter(pk=run_id).values().get() == before


def test_a_pause_holds_what_could_start_and_a_resume_lets_it(world):
    workflows.define(
        "w",
        ("a", workflows.nothing, {}),
        ("b", workflows.nothing, {"dependencies": ["a"]}),
    )
    run_id = world.enqueue("w")
    operations.pause(world.at_now(), run_id, by="ann", reason="look")
    assert world.statuses(run_id) == {"a": TaskStatus.HELD, "b": TaskStatus.PENDING}
    assert world.run(run_id).paused_at == world.time.now
    operations.resume(world.at_now(), run_id)
    assert world.statuses(run_id) == {"a": TaskStatus.READY, "b": TaskStatus.PENDING}
    assert world.run(run_id).status == RunStatus.PENDING


def test_a_resumed_run_that_had_begun_is_running(world):
    workflows.chain("w", workflows.nothing, workflows.nothing)
    run_id = world.enqueue("w")
    world.step()
    for job in world.take():
        world.perform(job)
    world.tick()
    operations.pause(world.at_now(), run_id)
    operations.resume(world.at_now(), run_id)
    assert world.run(run_id).status == RunStatus.RUNNING


def test_a_retry_that_was_not_due_is_scheduled_again_after_the_pause(world):
    workflows.single("w", workflows.boom, retry_delay_ms=60_000, retry_jitter=False)
    run_id = world.enqueue("w")
    world.step()
    for job in world.take():
        world.perform(job)
    world.tick()
    operations.pause(world.at_now(), run_id)
    world.pass_by(10)
    operations.resume(world.at_now(), run_id)
    row = world.tasks(run_id)["a"]
    assert (row.status, (row.due_at - world.time.now).total_seconds()) == (
        TaskStatus.SCHEDULED,
        50,
    )


def test_a_deadline_passes_over_a_paused_run_too(world):
    workflows.single("w")
    run_id = world.enqueue("w", timeout_seconds=60.0)
    operations.pause(world.at_now(), run_id)
    world.step()
    world.pass_by(61)
    world.step()
    assert world.run(run_id).status == RunStatus.FAILED


def test_an_overdue_run_fails_and_names_its_limit(world):
    workflows.chain("w", workflows.nothing, workflows.nothing)
    run_id = world.enqueue("w", timeout_seconds=60.0)
    world.step()
    (job,) = world.take()
    world.pass_by(59)
    world.step()
    assert world.run(run_id).status == RunStatus.PENDING
    world.pass_by(2)
    world.tick()
    run = world.run(run_id)
    assert run.status == RunStatus.FAILED
    assert run.error_message.startswith("Pipeline timeout after 60s")
    assert set(world.statuses(run_id).values()) == {TaskStatus.CANCELLED}
    assert world.abandoned == [job]
    assert job.cancelled.is_set()


def test_who_waits_for_an_overdue_run_is_told(world):
    workflows.single("w")
    done = world.ask("w", timeout_seconds=60.0)
    world.tick()
    world.take()
    world.pass_by(61)
    for _ in range(3):
        world.tick()
    assert done.result(0).status == "Failed"


def test_a_pause_of_a_workflow_reaches_its_runs_and_no_others(world):
    workflows.many(["v", "w"])
    first, other = world.enqueue("v"), world.enqueue("w")
    operations.pause_workflow(world.at_now(), "v", by="ann", reason="bad data")
    assert world.statuses(first) == {"a": TaskStatus.HELD}
    assert world.statuses(other) == {"a": TaskStatus.READY}
    control = WorkflowControl.objects.get(name="v")
    assert (control.paused_by, control.paused_at) == ("ann", world.time.now)
    operations.resume_workflow(world.at_now(), "v")
    assert world.statuses(first) == {"a": TaskStatus.READY}


def test_a_pause_of_a_workflow_is_written_before_anything_is_held(world):
    """A claim that comes between sees the pause by itself: see tests/store."""
    workflows.single("w")
    for _ in range(3):
        operations.pause_workflow(world.at_now(), "w")
    assert WorkflowControl.objects.filter(paused_at__isnull=False).count() == 1
    operations.resume_workflow(world.at_now(), "w")
    operations.resume_workflow(world.at_now(), "w")
    assert not WorkflowControl.objects.filter(paused_at__isnull=False).exists()


def test_the_limit_of_a_definition_survives_a_pause(world):
    workflows.single("w", builder={"max_running": 3})
    world.step()
    operations.pause_workflow(world.at_now(), "w")
    operations.resume_workflow(world.at_now(), "w")
    assert WorkflowControl.objects.get(name="w").max_running == 3


def test_a_limit_that_was_raised_lets_more_in(world):
    workflows.single("w", builder={"max_running": 1})
    ids = [world.enqueue("w") for _ in range(3)]
    world.step()
    world.step()
    assert len(world.take()) == 1
    with pytest.warns(UserWarning, match="replaces"):
        workflows.single("w", workflows.nothing, builder={"max_running": 2}, timeout_seconds=9)
    for _ in range(3):
        world.pass_by(1.1)
        world.step()
    waiting = [world.run(run_id).is_waiting for run_id in ids]
    assert waiting.count(True) == 1


def test_a_delayed_run_takes_no_place_before_its_time(world):
    workflows.single("w", builder={"max_running": 1})
    late = world.enqueue("w", start_at=world.time.now + timedelta(hours=1))
    now = world.enqueue("w")
    for _ in range(3):
        world.step()
    assert [job.run_id for job in world.take()] == [now]
    assert world.run(late).is_waiting


def test_a_replay_takes_over_what_was_completed(world):
    workflows.define(
        "w",
        ("a", workflows.writes("a", 1), {}),
        ("b", workflows.boom, {"dependencies": ["a"], "retry_attempts": 1}),
        ("c", workflows.nothing, {"dependencies": ["b"]}),
    )
    old = world.enqueue("w", {"i": 0}, queue="default", priority=3)
    world.drain()
    new = operations.replay(world.at_now(), old)
    rows = world.tasks(new)
    assert world.statuses(new) == {
        "a": TaskStatus.COMPLETED,
        "b": TaskStatus.READY,
        "c": TaskStatus.PENDING,
    }
    assert (rows["a"].changes, rows["a"].finished_at) == ('[[["a"],1]]', world.time.now)
    run = world.run(new)
    assert (run.parent_id, run.origin, run.context, run.priority) == (
        old,
        Origin.RETRY,
        '{"i":0}',
        3,
    )
    world.step()
    (job,) = world.take()
    assert (job.task.name, job.seen) == ("b", {"i": 0, "a": 1})


def test_a_replay_runs_tasks_that_the_definition_has_gained(world):
    workflows.chain("w", workflows.writes("a", 1), workflows.boom, retry_attempts=1)
    old = world.enqueue("w")
    world.drain()
    with pytest.warns(UserWarning, match="replaces"):
        workflows.define(
            "w",
            ("a", workflows.writes("a", 1), {}),
            ("new", workflows.writes("new", 1), {"dependencies": ["a"]}),
            ("b", workflows.nothing, {"dependencies": ["new"]}),
        )
    new = operations.replay(world.at_now(), old)
    world.drain()
    assert world.run(new).status == RunStatus.COMPLETED
    assert set(world.statuses(new)) == {"a", "new", "b"}


def test_a_replay_of_a_completed_run_is_complete_at_once(world):
    workflows.single("w", workflows.writes("x", 1))
    old = world.enqueue("w")
    world.drain()
    new = operations.replay(world.at_now(), old)
    assert world.run(new).status == RunStatus.COMPLETED
    assert world.tasks(new)["a"].changes == '[[["x"],1]]'
    again = operations.replay(world.at_now(), old, from_start=True)
    assert world.statuses(again) == {"a": TaskStatus.READY}


def test_no_act_leaves_a_lock_behind(world):
    workflows.single("w")
    run_id = world.enqueue("w")
    operations.pause(world.at_now(), run_id)
    TaskExecution.objects.filter(run_id=run_id).update(reason="written by another connection")
    PipelineExecution.objects.filter(pk=run_id).update(reason="so is this")
