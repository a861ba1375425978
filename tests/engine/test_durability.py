"""Which commits wait for the disk: counted turn by turn, and what the database makes of it."""

from __future__ import annotations

import os

import pytest
from django.db import connection

from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.engine import operations
from tests import workflows
from tests.store.rows import recorded

IS_FILE = connection.vendor == "sqlite"
WRITES = ("INSERT INTO", "UPDATE cloaca")


def commits_of(world, work):
    """Return, of each commit of some work, whether it waits for the disk."""
    with recorded(world.turn._connected()) as recorder:
        work()
    found, is_open = [], False
    for text, params in recorder.statements:
        if text == "BEGIN":
            found.append(params["durable"])
            is_open = True
        elif text == "INSIST":
            found[-1] = True
        elif text == "COMMIT":
            is_open = False
        elif not is_open and any(word in text for word in WRITES):
            found.append(not params.get("relaxed"))
    return found


def carried_out(world):
    """Return what ``execute`` of a chain of three commits."""

    def work():
        world.tick()
        for _ in range(3):
            (job,) = world.take()
            world.perform(job)
            world.tick()

    # The definition is kept, and nothing is known to be ready.
    world.tick()
    done = world.ask("w")
    commits = commits_of(world, work)
    assert done.result(0).status == RunStatus.COMPLETED
    return commits


def three(**builder):
    workflows.define(
        "w",
        ("a", workflows.nothing, {}),
        ("b", workflows.nothing, {"dependencies": ["a"]}),
        ("c", workflows.nothing, {"dependencies": ["b"]}),
        **builder,
    )


def test_a_chain_of_three_waits_four_times_in_full(world):
    three()
    assert carried_out(world) == [True] * 4


RELAXED = {
    "by the workflow": ({"durability": "relaxed"}, {}),
    "by the runner": ({}, {"durability": "relaxed"}),
}


@pytest.mark.parametrize("how", sorted(RELAXED))
def test_a_relaxed_one_waits_when_it_is_submitted_and_when_it_ends(make_world, how):
    builder, facts = RELAXED[how]
    three(**builder)
    assert carried_out(make_world(**facts)) == [True, False, False, True]


@pytest.mark.parametrize("how", sorted(RELAXED))
def test_so_does_one_that_memory_does_not_hold(make_world, how):
    builder, facts = RELAXED[how]
    three(**builder)
    assert carried_out(make_world(memory=0, **facts)) == [True, False, False, True]


def test_a_workflow_that_asks_for_full_has_it_in_a_relaxed_runner(make_world):
    three(durability="full")
    assert carried_out(make_world(durability="relaxed")) == [True] * 4


@pytest.mark.parametrize("strictest", ["full", "relaxed"])
def test_a_mixed_batch_commits_at_its_strictest_run(make_world, strictest):
    world = make_world()
    for name, durability in (("relaxed", "relaxed"), ("other", strictest)):
        workflows.define(
            name,
            ("a", workflows.nothing, {}),
            ("b", workflows.nothing, {"dependencies": ["a"]}),
            durability=durability,
        )
        world.enqueue(name)
    world.step()
    for job in world.take():
        world.perform(job)
    waited = commits_of(world, world.tick)
    assert waited[0] is (strictest == "full")


def test_a_batch_in_which_one_relaxed_run_ends_waits(make_world):
    world = make_world(durability="relaxed")
    workflows.single("short")
    workflows.chain("long", workflows.nothing, workflows.nothing)
    world.enqueue("short")
    world.enqueue("long")
    world.step()
    for job in world.take():
        world.perform(job)
    assert commits_of(world, world.tick)[0] is True


def test_a_retry_of_a_relaxed_run_does_not_wait_and_its_failure_does(make_world):
    world = make_world(durability="relaxed")
    workflows.single("w", workflows.boom, retry_attempts=2, retry_delay_ms=0)
    run_id = world.enqueue("w")
    world.step()
    waited = []
    for _ in range(2):
        (job,) = world.take()
        world.perform(job)
        waited.append(commits_of(world, world.tick)[0])
        world.step()
    assert waited == [False, True]
    assert world.run(run_id).status == RunStatus.FAILED


def test_a_cancel_waits_however_relaxed_the_run_is(make_world):
    world = make_world(durability="relaxed")
    three(durability="relaxed")
    run_id = world.enqueue("w")
    session = world.at_now()
    with recorded(session) as recorder:
        operations.cancel(session, run_id)
    assert [p["durable"] for text, p in recorder.statements if text == "BEGIN"] == [True]


def level(session):
    """Return whether the open transaction would wait for the disk, as the database says it."""
    if IS_FILE:
        return session.transport.execute("PRAGMA synchronous", {})[0][0] == 2
    return session.transport.execute("SHOW synchronous_commit", {})[0][0] == "on"


def test_the_database_does_what_the_transaction_says(world):
    session = world.at_now()
    with session.transaction():
        assert level(session)
    with session.transaction(durable=False):
        assert not level(session)
    assert level(session)


def test_one_who_insists_in_a_relaxed_transaction_has_it_on_disk(world, monkeypatch):
    session, synced = world.at_now(), []
    if IS_FILE:
        sync = os.fsync
        monkeypatch.setattr(os, "fsync", lambda file: synced.append(sync(file)))
    workflows.single("w")
    run_id = world.enqueue("w")
    with session.transaction(durable=False):
        session.transport.execute(
            "UPDATE cloaca_task SET reason = 'x' WHERE run_id = %(id)s", {"id": session.key(run_id)}
        )
        session.insist()
        # A file is written out after the commit: the level cannot change before.
        assert IS_FILE or level(session)
    assert len(synced) == IS_FILE
    assert world.tasks(run_id)["a"].reason == "x"
    assert world.statuses(run_id) == {"a": TaskStatus.READY}


def test_a_relaxed_transaction_that_breaks_leaves_the_level_as_it_was(world):
    session = world.at_now()
    with pytest.raises(RuntimeError, match="broken"), session.transaction(durable=False):
        raise RuntimeError("broken")
    assert level(session)
