"""Settling by one statement: only what is as memory knows it moves, and all of it or nothing."""

from __future__ import annotations

import re

import pytest
from django.db import connection

from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.engine import express, operations
from tests import workflows
from tests.store.rows import plan_of, recorded

SCAN = re.compile(r"Scan.* on cloaca_(task|run)\b")
COND = re.compile(r"(Index|Recheck) Cond")

pytestmark = pytest.mark.skipif(
    connection.vendor == "sqlite", reason="on a file round trips cost nothing: there is no such way"
)


def started(world, count=1, name="w"):
    """Submit runs and return their first jobs."""
    for _ in range(count):
        world.ask(name)
    world.tick()
    jobs = world.take()
    assert len(jobs) == count
    return jobs


def sent_by_tick(world):
    with recorded(world.turn._connected()) as recorder:
        world.tick()
    return [text for text, _ in recorder.statements]


def ways(texts):
    """Return by which way each settle went."""
    return ["express" if "o_known" in text else "long" for text in texts if "written AS" in text]


@pytest.fixture
def chain():
    return workflows.chain("w", workflows.nothing, workflows.nothing)


def test_a_step_of_a_chain_is_one_statement_without_a_transaction(world, chain):
    world.tick()
    (job,) = started(world)
    world.perform(job)
    texts = sent_by_tick(world)
    assert ways(texts) == ["express"]
    assert len(texts) == 1
    (second,) = world.take()
    assert (second.task.name, second.token) == ("b", world.tasks(job.run_id)["b"].claim_token)


def test_a_run_that_somebody_moved_is_settled_the_long_way_in_the_same_turn(world, chain):
    jobs = started(world, 2)
    session = world.at_now()
    session.transport.execute(
        "UPDATE cloaca_run SET revision = gen_random_uuid() WHERE id = %(id)s",
        {"id": jobs[0].run_id},
    )
    for job in jobs:
        world.perform(job)
    assert ways(sent_by_tick(world)) == ["express", "long"]
    for job in jobs:
        assert world.statuses(job.run_id) == {"a": TaskStatus.COMPLETED, "b": TaskStatus.RUNNING}
    assert len(world.take()) == 2
    assert len([o for effects in world.published for o in effects.settled.accepted]) == 2


def test_nothing_of_a_refused_outcome_is_written_and_nobody_starts_what_follows(world, chain):
    kept, gone = started(world, 2)
    operations.cancel(world.at_now(), gone.run_id)
    for job in (kept, gone):
        world.perform(job)
    world.tick()
    assert world.run(gone.run_id).status == RunStatus.CANCELLED
    assert set(world.statuses(gone.run_id).values()) == {TaskStatus.CANCELLED}
    assert [job.run_id for job in world.take()] == [kept.run_id]
    assert [o.run_id for effects in world.published for o in effects.settled.fenced] == [
        gone.run_id
    ]


def test_what_a_paused_run_releases_is_held(world, chain):
    (job,) = started(world)
    operations.pause(world.at_now(), job.run_id)
    world.perform(job)
    world.tick()
    assert world.statuses(job.run_id) == {"a": TaskStatus.COMPLETED, "b": TaskStatus.HELD}
    assert world.take() == []


def test_so_is_what_a_run_of_a_paused_workflow_releases(world, chain):
    (job,) = started(world)
    operations.pause_workflow(world.at_now(), "w")
    world.perform(job)
    world.tick()
    assert world.statuses(job.run_id) == {"a": TaskStatus.COMPLETED, "b": TaskStatus.HELD}


LONG = {
    "a failure": (workflows.boom, {"retry_attempts": 1}, {}),
    "a retry": (workflows.boom, {"retry_delay_ms": 5_000}, {}),
    "a limit of runs": (workflows.nothing, {}, {"max_running": 5}),
}


@pytest.mark.parametrize("kind", sorted(LONG))
def test_what_takes_more_than_a_statement_goes_the_long_way(world, kind):
    body, facts, builder = LONG[kind]
    workflows.single("w", body, builder=builder, **facts)
    world.enqueue("w")
    world.drain()
    world.enqueue("w")
    world.step()
    world.step()
    (job,) = world.take()
    world.perform(job)
    assert ways(sent_by_tick(world)) == ["long"]


def test_so_does_a_run_whose_other_tasks_somebody_else_may_claim(make_world):
    workflows.fan("w", 4)
    world = make_world()
    # No more than the root and two of the leaves.
    world.turn.budget = 3
    (root,) = started(world)
    world.perform(root)
    world.tick()
    jobs = world.take()
    state = world.turn.memory.known(root.run_id)
    assert TaskStatus.READY in {task.status for task in state.tasks}
    outcome = world.perform(jobs[0])
    assert express.known_states(world.session, [outcome], world.turn.memory) is None


def test_two_outcomes_of_one_run_are_settled_together(world):
    workflows.fan("w", 2)
    (root,) = started(world)
    world.perform(root)
    world.tick()
    for job in world.take():
        world.perform(job)
    assert ways(sent_by_tick(world)) == ["long"]
    assert world.statuses(root.run_id)["join"] == TaskStatus.RUNNING


@pytest.fixture
def never_analysed(db):
    """Forget what was counted for other tests: a count outlives the rollback of its transaction."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE cloaca_run, cloaca_task CASCADE")


def test_every_row_is_looked_up_by_a_plan_that_was_made_for_empty_tables(
    never_analysed, world, chain
):
    """Such a plan is kept: one that walks a table would cost more with every run there ever was."""
    world.tick()
    (job,) = started(world)
    world.perform(job)
    with recorded(world.turn._connected()) as recorder:
        world.tick()
    settles = [pair for pair in recorder.statements if "written AS" in pair[0]]
    lines = [line.strip() for line in plan_of(world.session, settles).splitlines()]
    scans = [at for at, line in enumerate(lines) if SCAN.search(line)]
    assert len(scans) >= 4
    # Which index it is depends on what was counted before; that it is asked for a row does not.
    assert [lines[at] for at in scans if not COND.match(lines[at + 1])] == []
