"""What a worker remembers of runs: bounded, and never more than a commit made true."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import contextmanager

import psycopg
import pytest
from django.db import connection

from cloaca_django.core.progress import RunState, shape_of
from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.engine.memory import Memory
from tests import workflows


def state(size=100):
    return RunState(
        id=uuid.uuid4(), workflow_name="w", revision=uuid.uuid4(), status=RunStatus.PENDING,
        initial={}, shape=shape_of(()), tasks=[], size=size,
    )  # fmt: skip


def test_a_state_is_given_out_while_its_revision_holds():
    memory, one = Memory(1000), state()
    memory.keep(one)
    assert memory.current(one.id, one.revision) is one
    assert memory.current(one.id, uuid.uuid4()) is None
    # A revision that did not hold once will not hold again.
    assert memory.current(one.id, one.revision) is None


def test_the_least_recently_kept_goes_first_when_it_gets_full():
    memory = Memory(250)
    one, two, three = state(), state(), state()
    for each in (one, two, three):
        memory.keep(each)
    assert [memory.current(s.id, s.revision) for s in (one, two, three)] == [None, two, three]


def test_keeping_again_makes_young_again_and_counts_once():
    memory = Memory(250)
    one, two, three = state(), state(), state()
    for each in (one, two, one, one, three):
        memory.keep(each)
    assert memory.current(one.id, one.revision) is one
    assert memory.current(two.id, two.revision) is None


@pytest.mark.parametrize("limit", [0, 50])
def test_what_is_larger_than_the_limit_is_not_kept(limit):
    memory, large = Memory(limit), state(size=100)
    memory.keep(large)
    assert len(memory) == 0


def test_a_state_that_grew_is_counted_with_what_it_grew_by():
    memory, one, two = Memory(250), state(), state()
    memory.keep(one)
    memory.keep(two)
    one.size = 200
    memory.keep(one)
    assert len(memory) == 1
    memory.forget([one.id, two.id])
    for _ in range(2):
        memory.keep(state())
    assert len(memory) == 2


def test_everything_can_be_forgotten():
    memory = Memory(1000)
    for _ in range(5):
        memory.keep(state())
    memory.clear()
    assert len(memory) == 0


def test_a_run_that_ended_is_forgotten(world):
    workflows.chain("w", workflows.nothing, workflows.nothing)
    world.ask("w")
    world.tick()
    assert len(world.turn.memory) == 1
    world.drain()
    assert len(world.turn.memory) == 0


def test_a_failed_turn_forgets_the_runs_it_touched(world):
    workflows.chain("w", workflows.nothing, workflows.nothing)
    world.ask("w")
    world.tick()
    (job,) = world.take()
    world.perform(job)
    fail_once(world)
    world.tick()
    assert len(world.turn.memory) == 0
    world.tick()
    assert world.statuses(job.run_id)["a"] == TaskStatus.COMPLETED


def fail_once(world):
    """Let the turn's next COMMIT fail as a busy database would, or the statement that commits."""
    transport = world.turn._connected().transport
    transaction, execute = transport.transaction, transport.execute

    @contextmanager
    def failing(**facts):
        transport.transaction, transport.execute = transaction, execute
        with transaction(**facts):
            yield
            raise BUSY

    def failing_alone(text, params):
        with failing(durable=True):
            return transport.execute(text, params)

    transport.transaction, transport.execute = failing, failing_alone


if connection.vendor == "sqlite":
    BUSY = sqlite3.OperationalError("database is locked")
    BUSY.sqlite_errorcode = sqlite3.SQLITE_BUSY
else:
    BUSY = psycopg.errors.DeadlockDetected("deadlock detected")


def test_a_copied_schema_does_not_see_the_runs_of_the_one_it_was_copied_from():
    memory, one = Memory(1000), state()
    a, b = memory.of_tenant("a"), memory.of_tenant("b")
    a.keep(one)
    assert a.current(one.id, one.revision) is one
    assert b.current(one.id, one.revision) is None
    b.forget([one.id])
    b.clear()
    assert a.current(one.id, one.revision) is one
    a.clear()
    assert len(memory) == 0


def test_tenants_share_the_bounds_of_one_memory():
    memory = Memory(250)
    a, b = memory.of_tenant("a"), memory.of_tenant("b")
    first, second, third = state(), state(), state()
    for part, one in ((a, first), (b, second), (b, third)):
        part.keep(one)
    assert len(memory) == 2
    assert a.current(first.id, first.revision) is None
