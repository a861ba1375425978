"""Stage 5: what a caller receives, from memory and from rows alike."""

from __future__ import annotations

import pytest

from cloaca_django import clock
from cloaca_django.core.states import TaskStatus
from cloaca_django.engine import operations, results
from cloaca_django.errors import RunnerClosed, RunNotFound, WaitTimeout
from cloaca_django.ids import new_run_id
from cloaca_django.models import PipelineExecution
from tests import workflows


def finished(world):
    workflows.define(
        "w",
        ("a", workflows.writes("a", [1]), {}),
        ("b", workflows.boom, {"dependencies": ["a"], "retry_attempts": 2, "retry_delay_ms": 0}),
        ("c", workflows.nothing, {"dependencies": ["b"]}),
    )
    done = world.ask("w", {"i": 0})
    world.drain()
    return done.result(0)


def facts(result):
    names = ("status", "workflow_name", "execution_id", "start_time", "end_time", "error_message")
    return [getattr(result, name) for name in names] + [
        result.final_context.to_dict(),
        result.task_results,
        result.duration,
    ]


def test_the_driver_of_a_run_and_a_later_reader_get_the_same_result(world):
    driven = finished(world)
    read = results.read_result(world.at_now(), PipelineExecution.objects.get().pk)
    assert facts(driven) == facts(read)
    assert [(task.name, task.status, task.attempts, task.error) for task in read.task_results] == [
        ("a", TaskStatus.COMPLETED, 1, None),
        ("b", TaskStatus.FAILED, 2, "ValueError: boom"),
        ("c", TaskStatus.SKIPPED, 0, None),
    ]


def test_an_open_run_has_no_result(world):
    workflows.single("w")
    run_id = world.enqueue("w")
    assert results.read_result(world.at_now(), run_id) is None
    with pytest.raises(RunNotFound):
        results.read_result(world.at_now(), new_run_id())


def test_the_result_of_a_cancelled_run_holds_what_completed(world):
    workflows.chain("w", workflows.writes("a", 1), workflows.nothing)
    run_id = world.enqueue("w", {"i": 0})
    world.step()
    for job in world.take():
        world.perform(job)
    world.tick()
    operations.cancel(world.at_now(), run_id, reason="no")
    result = results.read_result(world.at_now(), run_id)
    assert (result.status, result.error_message) == ("Cancelled", "Cancelled: no")
    assert result.final_context.to_dict() == {"i": 0, "a": 1}


def test_a_task_that_was_cancelled_before_it_began_has_no_attempts(world):
    workflows.chain("w", workflows.nothing, workflows.nothing)
    run_id = world.enqueue("w")
    world.step()
    assert len(world.take()) == 1
    operations.cancel(world.at_now(), run_id)
    read = results.read_result(world.at_now(), run_id)
    assert [(task.name, task.status, task.attempts) for task in read.task_results] == [
        ("a", TaskStatus.CANCELLED, 1),
        ("b", TaskStatus.CANCELLED, 0),
    ]


def test_who_waits_is_told_when_another_worker_ends_the_run(make_world):
    workflows.single("w", workflows.writes("x", 1))
    waiting, working = make_world(slots=0), make_world()
    done = waiting.ask("w")
    waiting.tick()
    working.drain()
    assert not done.done()
    waiting.pass_by(1.0)
    waiting.tick()
    assert done.result(0).final_context.to_dict() == {"x": 1}


def test_who_waits_for_a_run_that_is_deleted_is_told(make_world):
    workflows.single("w")
    world = make_world(slots=0)
    done = world.ask("w")
    world.tick()
    PipelineExecution.objects.all().delete()
    world.pass_by(1.0)
    world.tick()
    with pytest.raises(RunNotFound):
        done.result(0)


def test_several_may_wait_for_one_run(world):
    workflows.single("w", workflows.writes("x", 1))
    first, second = (world.ask("w", idempotency_key="k") for _ in range(2))
    world.drain()
    assert first.result(0).execution_id == second.result(0).execution_id


def test_when_the_loop_has_ended_everybody_hears_of_it(world):
    workflows.single("w")
    written = world.ask("w")
    world.tick()
    unread = world.ask("w")
    world.turn.dismiss()
    late = world.ask("w")
    for done in (written, unread, late):
        with pytest.raises(RunnerClosed):
            done.result(0)


def test_who_gave_up_waiting_disturbs_nobody(world):
    workflows.single("w")
    first, second = world.ask("w"), world.ask("w")
    assert first.cancel()
    world.drain()
    assert second.result(0).status == "Completed"


def test_a_wait_that_is_too_short_says_so(world, monkeypatch):
    workflows.single("w")
    run_id = world.enqueue("w")
    monkeypatch.setattr(clock, "sleep", world.pass_by)
    with pytest.raises(WaitTimeout, match=f"{run_id} has not ended: timeout after 3s"):
        results.wait_for(world.at_now(), run_id, timeout=3.0, poll_seconds=0.1)


def test_a_wait_looks_less_and_less_often(world, monkeypatch):
    workflows.single("w")
    run_id = world.enqueue("w")
    pauses = []

    def sleep(seconds):
        pauses.append(seconds)
        world.pass_by(seconds)

    monkeypatch.setattr(clock, "sleep", sleep)
    with pytest.raises(WaitTimeout):
        results.wait_for(world.at_now(), run_id, timeout=10.0, poll_seconds=0.5)
    assert pauses[0] <= 0.01
    assert pauses[:-1] == sorted(pauses[:-1])
    assert pauses[-2] == 0.5


def test_a_run_that_ends_just_before_the_timeout_is_seen(world, monkeypatch):
    workflows.single("w", workflows.writes("x", 1))
    run_id = world.enqueue("w")
    passed = []

    def sleep(seconds):
        passed.append(seconds)
        world.pass_by(seconds)
        if sum(passed) > 2.95:
            world.drain()

    monkeypatch.setattr(clock, "sleep", sleep)
    found = results.wait_for(world.at_now(), run_id, timeout=3.0, poll_seconds=1.0)
    assert found.final_context.to_dict() == {"x": 1}
    assert sum(passed) == pytest.approx(3.0)
