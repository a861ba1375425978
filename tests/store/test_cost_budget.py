"""What a workload may cost: statements, commits and bytes of the write-ahead log.

None of it depends on how busy the machine is, so a change that makes the engine dearer fails here
and not in a benchmark. A budget is what was measured and some room; one that is lowered is kept.
"""

from __future__ import annotations

import os
import random
from contextlib import nullcontext
from dataclasses import dataclass

import pytest
from django.db import connection

from cloaca_django import Context
from cloaca_django.core import registry
from cloaca_django.core.states import RunStatus
from cloaca_django.dialect import sql_postgresql
from cloaca_django.engine import bulk, submission
from tests import workflows
from tests.store.rows import IS_FILE, recorded

# A first write to a page since a checkpoint, or to a page that is full, is dearer than the next.
PASSES = 3
CONTEXT_BYTES = 1_000_000
TASKS = 20


@dataclass(frozen=True)
class Cost:
    """What something may cost at most, or did. BEGIN and COMMIT are no statements here."""

    statements: float
    commits: float
    durable: float
    wal: float

    def of_each(self, count: int) -> Cost:
        return Cost(*(value / count for value in vars(self).values()))

    def over(self, budget: Cost) -> dict[str, tuple[float, float]]:
        """Return what is over a budget, with what it may be."""
        limits = vars(budget)
        return {k: (v, limits[k]) for k, v in vars(self).items() if v > limits[k]}


def spent(world, work):
    """Return what some work costs on the turn's connection and on the submitter's."""
    turn = world.turn._connected()
    before = wal_of(world)
    with recorded(turn) as first, recorded(world.at_now()) as second:
        work()
    wal = wal_of(world) - before
    commits = [*commits_of(first.statements), *commits_of(second.statements)]
    sent = [t for t, _ in (*first.statements, *second.statements) if t not in MARKS]
    return Cost(len(sent), len(commits), sum(commits), wal)


MARKS = {"BEGIN", "COMMIT", "INSIST"}
WRITES = ("INSERT INTO", "UPDATE cloaca")


def commits_of(statements):
    """Return, of each commit, whether it waits for the disk."""
    found, is_open = [], False
    for text, params in statements:
        if text == "BEGIN":
            found.append(params["durable"])
            is_open = True
        elif text == "COMMIT":
            is_open = False
        elif not is_open and any(word in text for word in WRITES):
            found.append(not params.get("relaxed"))
    return found


def wal_of(world):
    """Return how many bytes of log the two connections have written so far."""
    if IS_FILE:
        path = f"{connection.settings_dict['NAME']}-wal"
        # Nothing takes the log in meanwhile, so its size tells what was written.
        for session in (world.turn._connected(), world.session):
            session.transport.execute("PRAGMA wal_autocheckpoint = 0", {})
        return os.stat(path).st_size
    if world.session.transport.connection.info.server_version < 180_000:
        # Of the whole server: what else writes at the same time counts, so tests run one by one.
        row = world.session.transport.execute("SELECT pg_current_wal_insert_lsn() - '0/0'", {})[0]
        return int(row[0])
    total = 0
    for session in (world.turn._connected(), world.session):
        pid = session.transport.connection.info.backend_pid
        session.transport.execute("SELECT pg_stat_force_next_flush()", {})
        with connection.cursor() as cursor:
            cursor.execute("SELECT wal_bytes FROM pg_stat_get_backend_wal(%s)", [pid])
            total += int(cursor.fetchone()[0])
    return total


def cheapest(world, work):
    """Return the least that some work costs, figure by figure."""
    costs = [spent(world, work) for _ in range(PASSES)]
    return Cost(*(min(vars(cost)[name] for cost in costs) for name in vars(costs[0])))


def budgets(**of):
    return Cost(*of["file" if IS_FILE else "server"])


def enqueued(world, name):
    """Submit as ``enqueue`` does, in a transaction of its own."""
    session = world.at_now()
    with nullcontext() if session.submits_at_once else session.transaction():
        submission.submit(session, [world.prepared(name, {"n": 1})], announces=True)


def performed(world):
    jobs = world.take()
    for job in jobs:
        world.perform(job)
    return jobs


@pytest.fixture
def ready(make_world):
    """Return a function that makes a worker which has done everything there is to do once."""

    def make(name, **facts):
        world = make_world(**facts)
        world.ask(name)
        world.drain()
        world.tick()
        return world

    return make


def test_a_run_of_one_task_that_is_enqueued_by_itself(ready):
    workflows.single("w", workflows.writes("x", 1))
    world = ready("w")

    def work():
        enqueued(world, "w")
        world.step()
        assert len(performed(world)) == 1
        world.tick()

    budget = budgets(server=(3, 3, 2, 2_400), file=(8, 3, 2, 73_000))
    assert cheapest(world, work).over(budget) == {}


def test_runs_of_one_task_in_bulk(ready):
    workflows.single("w", workflows.writes("x", 1))
    world, count = ready("w", slots=100), 200

    def work():
        session = world.at_now()
        if session.repeats_runs:
            contexts = (Context({"n": n}) for n in range(count))
            bulk.submit(session, registry.find("w"), contexts, submission.Options())
        else:
            with session.transaction():
                asked = [world.prepared("w", {"n": n}) for n in range(count)]
                submission.submit(session, asked, announces=True)
        world.step()
        while performed(world):
            world.tick()

    budget = budgets(server=(0.05, 0.02, 0.01, 2_600), file=(0.05, 0.02, 0.01, 2_100))
    assert cheapest(world, work).of_each(count).over(budget) == {}


def test_a_chain_of_three_through_execute(ready):
    workflows.chain("w", *[workflows.writes("x", 1)] * 3)
    world = ready("w")

    def work():
        done = world.ask("w")
        world.tick()
        for _ in range(3):
            assert len(performed(world)) == 1
            world.tick()
        assert done.result(0).status == RunStatus.COMPLETED

    budget = budgets(server=(4, 4, 4, 4_700), file=(13, 4, 4, 95_000))
    assert cheapest(world, work).over(budget) == {}


def test_a_fan_of_a_hundred(ready):
    workflows.fan("w", 100)
    world = ready("w", slots=100)

    def work():
        done = world.ask("w")
        for _ in range(3):
            world.tick()
            assert performed(world)
        world.tick()
        assert done.result(0).status == RunStatus.COMPLETED

    budget = budgets(server=(6, 4, 4, 145_000), file=(13, 4, 4, 220_000))
    assert cheapest(world, work).over(budget) == {}


def test_a_large_context_is_stored_once_and_not_once_a_task(ready):
    """A server writes an eighth at most of what a context per task would take.

    A file writes a row anew whose size has changed: when its run starts and when it ends.
    """
    workflows.chain("w", *[workflows.writes(f"k{n}", n) for n in range(TASKS)])
    world = ready("w")
    text = random.Random(7).randbytes(CONTEXT_BYTES // 2).hex()

    def work():
        done = world.ask("w", {"text": text})
        world.drain()
        assert done.result(0).final_context["k19"] == 19

    assert cheapest(world, work).wal <= TASKS * CONTEXT_BYTES / (3.5 if IS_FILE else 8)


def test_the_server_is_sent_no_statement_that_the_driver_parses_at_every_call():
    builders = (
        sql_postgresql.insert_statement,
        sql_postgresql.settle_known_statement,
        sql_postgresql.claim_statement,
    )
    for build in builders:
        # psycopg keeps what it has parsed of statements up to this length.
        assert len(" ".join(build(sql_postgresql.FRAGMENTS).split())) <= 4_096
