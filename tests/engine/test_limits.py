"""Time limits of running bodies, on the clock of this process."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cloaca_django.core.states import TaskStatus
from cloaca_django.engine.limits import FEW, Limits
from cloaca_django.models import TaskAttempt
from tests import workflows


def running(world, **facts):
    """Claim a one-task workflow and begin its body."""
    workflows.single("w", **facts)
    world.enqueue("w")
    world.step()
    (job,) = world.take()
    job.started = world.time.ticks
    return job


def test_a_body_over_its_limit_is_settled_as_timed_out(world):
    job = running(world, timeout_seconds=5, retry_attempts=2, retry_delay_ms=0)
    world.pass_by(4.9)
    world.tick()
    assert world.abandoned == []
    world.pass_by(0.2)
    world.tick()
    assert world.abandoned == [job]
    assert job.cancelled.is_set()
    row = world.tasks(job.run_id)["a"]
    assert (row.attempt, row.error_message) == (
        2,
        "TimeoutError: Task execution timeout after 5s",
    )
    assert TaskAttempt.objects.get().outcome == "Timed out"


def test_its_late_outcome_is_dropped(world):
    job = running(world, body=workflows.writes("late", 1), timeout_seconds=5, retry_attempts=1)
    world.pass_by(6)
    world.tick()
    world.perform(job)
    world.tick()
    row = world.tasks(job.run_id)["a"]
    assert (row.status, row.changes) == (TaskStatus.FAILED, None)


def test_an_outcome_that_came_in_time_counts_though_the_turn_is_late(world):
    job = running(world, timeout_seconds=5, retry_attempts=1)
    world.perform(job)
    world.pass_by(60)
    world.tick()
    assert world.tasks(job.run_id)["a"].status == TaskStatus.COMPLETED
    assert world.abandoned == []


@pytest.mark.parametrize(("own", "default", "limit"), [(None, 7.0, 7.0), (9, 7.0, 9), (9, None, 9)])
def test_a_tasks_own_limit_wins(make_world, own, default, limit):
    world = make_world(task_timeout=default)
    job = running(world, retry_attempts=1, **({"timeout_seconds": own} if own else {}))
    world.pass_by(limit - 0.1)
    world.tick()
    assert world.abandoned == []
    world.pass_by(0.2)
    world.tick()
    assert world.abandoned == [job]


def test_without_a_limit_a_body_may_take_for_ever(make_world):
    world = make_world(task_timeout=None)
    job = running(world)
    world.pass_by(1e7)
    world.tick()
    assert world.abandoned == []
    assert job.is_over is False


def test_the_time_in_the_line_for_a_slot_does_not_count(world):
    workflows.single("w", timeout_seconds=5, retry_attempts=1)
    world.enqueue("w")
    world.step()
    (job,) = world.take()
    world.pass_by(100)
    world.tick()
    assert world.abandoned == []
    job.started = world.time.ticks
    world.pass_by(4)
    world.tick()
    assert world.abandoned == []
    for _ in range(3):
        world.pass_by(2)
        world.tick()
    assert world.abandoned == [job]


def test_bodies_that_are_over_are_let_go_long_before_their_limit():
    limits, running = Limits(300.0), []
    for _ in range(10 * FEW):
        job = SimpleNamespace(policy=SimpleNamespace(timeout_seconds=None), is_over=False)
        limits.add(job)
        running.append(job)
        if len(running) > 8:
            running.pop(0).is_over = True
    assert len(limits) <= FEW
    left = [job for _, _, job in limits._heap if not job.is_over]
    assert sorted(map(id, left)) == sorted(map(id, running))
