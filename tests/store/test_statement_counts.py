"""How many statements are sent: independent of the batch, and few when there is nothing to do."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cloaca_django.core import registry
from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.engine import operations, recovery
from cloaca_django.engine.upkeep import Upkeep
from tests import workflows
from tests.store.rows import one_run, recorded, tasks_of


def sent_by(world, work):
    """Return the statements that the turn sends during some work."""
    with recorded(world.turn._connected()) as recorder:
        work()
    return [text for text, _ in recorder.statements]


def settled(make_world, name, count):
    """Return what a turn sends that carries ``count`` outcomes, each of a run of its own."""
    world = make_world(slots=count)
    ids = [world.enqueue(name, {"n": n}) for n in range(count)]
    world.step()
    jobs = world.take()
    assert len(jobs) == count
    for job in jobs:
        world.perform(job)
    return world, ids, sent_by(world, world.tick)


SHAPES = {
    "runs that end": lambda: workflows.single("w", workflows.writes("x", 1)),
    "runs that go on": lambda: workflows.chain("w", workflows.writes("x", 1), workflows.nothing),
    "fan-out": lambda: workflows.fan("w", 10),
    "failures": lambda: workflows.single("w", workflows.boom, retry_attempts=1),
    "retries": lambda: workflows.single("w", workflows.boom, retry_delay_ms=5_000),
    "a limited workflow": lambda: workflows.single("w", builder={"max_running": 1_000}),
}


@pytest.mark.parametrize("memory", [1 << 24, 0])
@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_a_turn_with_64_outcomes_sends_as_many_statements_as_with_two(make_world, shape, memory):
    SHAPES[shape]()
    counts = {}
    # Two and not one: the run touched last is kept whatever the limit.
    for count in (2, 64):
        world, _, sent = settled(lambda **facts: make_world(memory=memory, **facts), "w", count)
        counts[count] = len(sent)
        world.turn.is_draining = True
    assert counts[64] <= counts[2]


def test_outcomes_of_one_run_cost_no_more_either(make_world):
    counts = {}
    # Two and not one: a single outcome may be settled by a shorter way.
    for width in (2, 64):
        workflows.fan(f"w{width}", width)
        world = make_world(slots=width)
        world.enqueue(f"w{width}")
        world.step()
        for job in world.take():
            world.perform(job)
        world.step()
        for job in world.take():
            world.perform(job)
        counts[width] = len(sent_by(world, world.tick))
    assert counts[64] <= counts[2]


def test_submitting_64_runs_costs_as_much_as_one(make_world):
    workflows.fan("w", 5)
    counts = {}
    for count in (1, 64):
        world = make_world(slots=count)
        world.step()
        for _ in range(count):
            world.ask("w")
        counts[count] = len(sent_by(world, world.tick))
        assert len(world.take()) == count
    assert counts[64] <= counts[1]


def test_a_chain_is_driven_without_reading_what_is_known(world):
    workflows.chain("w", *[workflows.nothing] * 4)
    world.ask("w")
    world.tick()
    for _ in range(3):
        (job,) = world.take()
        world.perform(job)
        sent = sent_by(world, world.tick)
        assert not any("json_agg" in text or "json_group_array" in text for text in sent)
        assert len([text for text in sent if text not in {"BEGIN", "COMMIT"}]) <= 5


def test_an_idle_turn_sends_one_look_a_second(world):
    workflows.single("w")
    world.enqueue("w")
    world.drain()
    assert rate(world, seconds=60) <= 1.2


def rate(world, *, seconds):
    """Return how many statements a second the loop sends, resting as long as it wants to."""
    end = world.time.ticks + seconds

    def loop():
        while world.time.ticks < end:
            rest = world.turn.seconds_to_next()
            world.pass_by(min(max(rest, 0.001), 60.0))
            world.tick()

    return len(sent_by(world, loop)) / seconds


def whole_rate(world, *, seconds=120.0):
    """As ``rate``, with the heartbeats and the upkeep that stand beside the turn."""
    upkeep = Upkeep()
    session = world.at_now()
    with recorded(session) as recorder:
        for _ in range(int(seconds / 5)):
            world.pass_by(5.0)
            world.at_now()
            recovery.renew(session, world.id)
            recovery.reconcile(session, world.id, {}, grace=10.0)
            upkeep.tend(session)
    return rate(world, seconds=seconds) + len(recorder.statements) / seconds


def test_an_idle_worker_sends_fewer_than_two_statements_a_second(world):
    world.register(lease=1e6)
    workflows.single("w")
    world.enqueue("w")
    world.drain()
    assert whole_rate(world) < 2


WAITING = {
    "scheduled far ahead": {"start_at": 3_600.0},
    "of unknown code": {"name": "unknown"},
    "in another queue": {"queue": "elsewhere"},
    "paused": {"pause": True},
    "under a deadline": {"timeout_seconds": 36_000.0, "queue": "elsewhere"},
}


@pytest.mark.parametrize("kind", sorted(WAITING))
def test_nor_does_one_with_work_that_must_wait(world, kind):
    facts = dict(WAITING[kind])
    name, pause = facts.pop("name", "w"), facts.pop("pause", False)
    if "start_at" in facts:
        facts["start_at"] = world.time.now + timedelta(seconds=facts["start_at"])
    with registry.isolated():
        workflows.single(name)
        run_id = world.enqueue(name, **facts)
    if pause:
        operations.pause(world.at_now(), run_id)
    workflows.single("w")
    world.register(lease=1e6)
    world.drain()
    assert world.run(run_id).status in {RunStatus.PENDING, RunStatus.PAUSED}
    # What is ready for others is looked at and asked for once a second.
    unclaimable = {"of unknown code", "in another queue", "under a deadline"}
    assert whole_rate(world) < (4 if kind in unclaimable else 2)


def test_a_busy_worker_that_waits_for_its_tasks_is_as_quiet(world):
    workflows.fan("w", 4)
    world.register(lease=1e6)
    world.enqueue("w")
    world.step()
    assert len(world.take()) == 1
    assert rate(world, seconds=60) < 2


def test_a_site_runner_without_runs_of_its_own_sends_nothing(make_world):
    workflows.single("w")
    world = make_world(claims_only_own=True)
    world.enqueue("w")
    assert rate(world, seconds=60) == 0


def test_a_heartbeat_costs_two_statements_however_much_it_owns(make_world):
    workflows.fan("w", 64)
    counts = []
    for slots in (1, 65):
        world = make_world(slots=slots)
        world.register()
        world.enqueue("w")
        for _ in range(2):
            world.step()
            for job in world.take()[:1]:
                if job.task.name == "root":
                    world.perform(job)
        world.pass_by(20.0)
        session = world.at_now()
        with recorded(session) as recorder:
            live = {id: job.token for id, job in world.turn.running.items()}
            assert recovery.renew(session, world.id)
            assert not recovery.reconcile(session, world.id, live, grace=10.0).requeued
        counts.append(len(recorder.statements))
        world.turn.is_draining = True
    assert counts == [2, 2]


def test_a_thousand_due_tasks_are_promoted_by_one_statement(make_world):
    workflows.single("w")
    world = make_world()
    tasks_of(one_run("other"), 900, TaskStatus.SCHEDULED, name="nobody")
    world.tick()
    world.pass_by(400 * 86_400.0)
    sent = sent_by(world, world.tick)
    assert sum("due_at = NULL" in text for text in sent) == 1
    assert world.at_now().look().has_ready


def durability_of(world):
    """Return whether the transactions of the next turn wait for the disk."""
    with recorded(world.turn._connected()) as recorder:
        world.tick()
    return [params["durable"] for text, params in recorder.statements if text == "BEGIN"]


def test_a_turn_that_ends_a_run_at_its_deadline_waits_for_the_disk(world):
    """It signals the end, and answers who waits: a crash of the server must not take it back."""
    workflows.single("w")
    run_id = world.enqueue("w", timeout_seconds=10.0, queue="elsewhere")
    world.drain()
    world.pass_by(1.0)
    world.tick()
    world.pass_by(10.0)
    assert durability_of(world) == [True]
    assert world.run(run_id).status == RunStatus.FAILED
    assert [run.id for effects in world.published for run in effects.ended] == [run_id]


def test_a_turn_that_only_promotes_does_not(world):
    workflows.single("w", workflows.boom, retry_delay_ms=5_000, retry_jitter=False)
    world.enqueue("w")
    world.drain()
    world.pass_by(6.0)
    assert durability_of(world) == [False]
