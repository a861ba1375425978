"""Stage 2: a claimed task belongs to one worker, and to one claim of it."""

from __future__ import annotations

import warnings

from cloaca_django.core import registry
from cloaca_django.core.states import TaskStatus
from cloaca_django.engine import claiming
from cloaca_django.models import TaskExecution
from tests import workflows


def claim(world, room=4):
    """Claim as a turn does, and return what was claimed."""
    claimer = world.turn.claimer
    claimer.renew(room)
    return claiming.claim(world.at_now(), claimer)


def test_a_claim_writes_owner_token_and_moment(world):
    workflows.single("w")
    run_id = world.enqueue("w")
    (claimed,) = claim(world)
    row = world.tasks(run_id)["a"]
    assert (row.status, row.worker_id) == (TaskStatus.RUNNING, world.id)
    assert row.claim_token == world.turn.claimer.token
    assert row.claimed_at == world.time.now
    assert (claimed.task_id, claimed.run_id, claimed.attempt) == (row.pk, run_id, 1)


def test_each_turn_has_a_token_of_its_own(world):
    workflows.single("w")
    tokens = set()
    for _ in range(5):
        world.enqueue("w")
        claim(world)
        tokens.add(world.turn.claimer.token)
    assert len(tokens) == 5
    assert TaskExecution.objects.values("claim_token").distinct().count() == 5


def test_a_claimed_task_is_not_claimed_again(make_world):
    workflows.fan("w", 3)
    one, other = make_world(), make_world()
    for _ in range(5):
        one.enqueue("w")
    first, second = claim(one, room=3), claim(other, room=9)
    assert (len(first), len(second)) == (3, 2)
    assert not {c.task_id for c in first} & {c.task_id for c in second}
    assert claim(one) == claim(other) == []


def test_no_more_is_claimed_than_there_is_room_for(make_world):
    workflows.single("w")
    world = make_world(slots=3)
    for _ in range(10):
        world.enqueue("w")
    world.step()
    assert len(world.slots.jobs) == 3
    assert TaskExecution.objects.running().count() == 3
    assert claim(world, room=0) == []


def test_only_ready_tasks_are_claimed(world):
    workflows.diamond("d")
    world.enqueue("d")
    assert len(claim(world)) == 1
    statuses = set(TaskExecution.objects.values_list("status", flat=True))
    assert statuses == {TaskStatus.RUNNING, TaskStatus.PENDING}


def test_a_turn_that_drives_its_own_runs_leaves_others_alone(make_world):
    workflows.single("w")
    world = make_world(claims_only_own=True)
    foreign = world.enqueue("w")
    done = world.ask("w", {"mine": True})
    world.drain()
    assert done.result(0).final_context.to_dict() == {"mine": True}
    assert world.statuses(foreign) == {"a": TaskStatus.READY}


def test_a_retry_of_an_own_run_is_claimed_too(make_world):
    calls = []

    def body(context):
        calls.append(1)
        if len(calls) < 3:
            raise ValueError("boom")

    workflows.single("w", body, retry_delay_ms=0)
    world = make_world(claims_only_own=True)
    done = world.ask("w")
    world.drain()
    assert done.result(0).status == "Completed"


def test_the_job_of_a_task_sees_what_its_ancestors_wrote(world):
    workflows.define(
        "w",
        ("a", workflows.writes("a", 1), {}),
        ("b", workflows.writes("b", 2), {}),
        ("c", workflows.nothing, {"dependencies": ["a"]}),
    )
    world.enqueue("w", {"i": 0})
    world.step()
    for job in world.take():
        world.perform(job)
    world.step()
    (job,) = world.take()
    assert (job.task.name, job.seen) == ("c", {"i": 0, "a": 1})


def test_a_task_whose_code_is_missing_is_given_back_and_left_alone(world):
    workflows.chain("w", workflows.nothing, workflows.nothing)
    run_id = world.enqueue("w")
    world.step()
    (job,) = world.take()
    with registry.isolated():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            workflows.single("w")
        world.perform(job)
        for _ in range(3):
            world.step()
        row = world.tasks(run_id)["b"]
        assert (row.status, row.worker_id, row.attempt) == (TaskStatus.READY, None, 1)
        assert world.take() == []


def test_claims_of_short_tasks_run_a_little_ahead_of_the_slots(make_world):
    workflows.single("w")
    world = make_world(slots=2)
    for _ in range(40):
        world.enqueue("w")
    world.step()
    jobs = world.take()
    assert len(jobs) == 2
    for job in jobs:
        outcome = job.outcome(TaskStatus.COMPLETED)
        # Both at once.
        job.started, outcome.seconds = 1.0, 0.01
        world.finish(job, outcome)
    world.step()
    assert len(world.slots.jobs) == 2 + 10


def test_what_was_claimed_ahead_goes_back_when_tasks_turn_long(make_world):
    workflows.single("w")
    world = make_world(slots=2)
    for _ in range(40):
        world.enqueue("w")
    world.step()
    for job in world.take():
        outcome = job.outcome(TaskStatus.COMPLETED)
        outcome.seconds = 0.01
        world.finish(job, outcome)
    world.step()
    assert len(world.slots.jobs) > 2
    for _ in range(3):
        world.pass_by(1.1)
        world.tick()
    assert len(world.slots.jobs) == 2
    assert TaskExecution.objects.running().count() == 2
