"""The database server itself crashes and loses commits that did not wait for the disk.

``durability="relaxed"`` lets the middle of a run do so: then tasks run again and nothing else.
"""

from __future__ import annotations

from collections import Counter

import pytest
from django.db import connection, connections

from cloaca_django import databases
from cloaca_django.core.states import RunStatus, TaskStatus
from tests import workflows
from tests.crash.server import CrashingServer
from tests.engine.world import Time, World, install

pytestmark = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="a file has no server that could crash"
)

bodies: Counter[str] = Counter()


def counting(name):
    """Return a body that counts its calls."""

    def body(context):
        bodies[name] += 1
        context.set(name, bodies[name])

    return body


@pytest.fixture(scope="module")
def server():
    with CrashingServer() as server:
        yield server


@pytest.fixture
def make_world(server, monkeypatch, django_db_blocker):
    """Return a function that makes a worker on the server that will crash."""
    bodies.clear()
    time = Time()
    install(time, monkeypatch)
    worlds = []
    with django_db_blocker.unblock():
        database = databases.open_url(server.url, pool_size=None)

        def make(**facts):
            world = World(time, alias=database.alias, **facts)
            worlds.append(world)
            world.register(lease=1e6)
            return world

        yield make
        for world in worlds:
            world.turn.close()
            world.close()
        connections[database.alias].close()
        database.release()


def crash(server, world):
    """Crash the server and start it again; the test reads on a connection of after that."""
    server.crash()
    connections[world.alias].close()
    server.start()
    # A claim of this very moment would count as one whose reply is on its way.
    world.pass_by(1.0)


def driven_to_b(server, world):
    """Submit a chain and settle its first task, of whose commit nothing but itself writes out."""
    workflows.chain("w", counting("a"), counting("b"), counting("c"))
    server.hold_back()
    done = world.ask("w")
    world.tick()
    (first,) = world.take()
    world.perform(first)
    world.tick()
    (second,) = world.take()
    assert second.task.name == "b"
    return done, second


def test_a_relaxed_run_runs_tasks_again_and_ends_as_it_should(server, make_world):
    world = make_world(durability="relaxed")
    done, second = driven_to_b(server, world)
    crash(server, world)
    # The outcome of "a" was never written out: otherwise this test tests nothing.
    assert world.statuses(second.run_id)["a"] != TaskStatus.COMPLETED
    world.perform(second)
    world.drain()
    assert done.result(0).status == RunStatus.COMPLETED
    assert bodies == {"a": 2, "b": 2, "c": 1}
    # What follows is made of what the tasks left when they ran again.
    assert done.result(0).final_context.to_dict() == {"a": 2, "b": 2, "c": 1}
    tasks = world.tasks(second.run_id).values()
    # Nobody is charged for what the server lost.
    assert {(task.status, task.attempt, task.crashes) for task in tasks} == {
        (TaskStatus.COMPLETED, 1, 0)
    }


def test_a_run_in_full_keeps_every_outcome(server, make_world):
    world = make_world()
    done, second = driven_to_b(server, world)
    crash(server, world)
    assert world.statuses(second.run_id)["a"] == TaskStatus.COMPLETED
    world.perform(second)
    world.drain()
    assert done.result(0).status == RunStatus.COMPLETED
    assert bodies == {"a": 1, "b": 1, "c": 1}


def test_a_relaxed_run_that_has_ended_stays_as_it_ended(server, make_world):
    """Its last commit waits for the disk, and takes along whatever was written before it."""
    world = make_world(durability="relaxed")
    done, second = driven_to_b(server, world)
    world.perform(second)
    world.drain()
    assert done.result(0).status == RunStatus.COMPLETED
    crash(server, world)
    assert world.run(second.run_id).status == RunStatus.COMPLETED
    assert set(world.statuses(second.run_id).values()) == {TaskStatus.COMPLETED}
    assert bodies == {"a": 1, "b": 1, "c": 1}
