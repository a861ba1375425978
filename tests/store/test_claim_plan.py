"""The claim is served by the small index of ready tasks, however much history there is."""

from __future__ import annotations

import math
import re

import pytest
from django.db import connection

from cloaca_django.core.states import TaskStatus
from cloaca_django.dialect import postgresql, sql
from cloaca_django.engine import claiming, recovery
from cloaca_django.engine.retention import Pruner
from cloaca_django.models import TaskExecution
from tests import workflows
from tests.engine.world import START
from tests.store.rows import (
    IS_FILE,
    cost_of,
    one_run,
    plan_of,
    recorded,
    refresh_statistics,
    runs_of,
    tasks_of,
)

MANY = 20_000
# Full reads of a table; SQLite calls the walk through an index a scan too.
WHOLE = re.compile(
    r"^SCAN (?!.*USING )(t|c|r|cloaca_\w+)\b.*"
    if IS_FILE
    else r"Seq Scan on cloaca_(run|task)\b.*",
    re.MULTILINE,
)


@pytest.fixture
def old(make_world):
    """A worker on a database with a long history and two ready tasks."""
    workflows.single("w")
    world = make_world()
    world.enqueue("w")
    world.enqueue("w")
    runs_of("w_before", MANY, TaskStatus.COMPLETED)
    refresh_statistics()
    return world


def claimer_of(world, room=8):
    claimer = world.turn.claimer
    claimer.renew(room)
    return claimer


def statements_of(world, work):
    with recorded(world.at_now()) as recorder:
        work(world.session)
    return recorder.statements


def test_the_claim_reads_the_partial_index_and_no_table(old):
    sent = statements_of(old, lambda session: claiming.claim(session, claimer_of(old)))
    plan = plan_of(old.session, sent)
    assert "cloaca_task_ready" in plan
    assert WHOLE.findall(plan) == []


def test_the_look_reads_the_ends_of_partial_indexes(old):
    sent = statements_of(old, lambda session: session.look())
    plan = plan_of(old.session, sent)
    for index in ("cloaca_task_ready", "cloaca_task_due", "cloaca_run_waiting"):
        assert index in plan
    assert WHOLE.findall(plan) == []


def test_recovery_reads_what_runs_and_no_history(old):
    def tend(session):
        recovery.renew(session, old.id)
        recovery.reconcile(session, old.id, {}, grace=10.0)
        recovery.sweep(session, max_crashes=3)

    plan = plan_of(old.session, statements_of(old, tend))
    assert "cloaca_task_running" in plan
    assert "cloaca_run_deadline" not in plan
    assert WHOLE.findall(plan) == []


HOUSEKEEPING = {
    "claim": lambda world, session: claiming.claim(session, claimer_of(world)),
    "look": lambda world, session: session.look(),
    "sweep": lambda world, session: recovery.sweep(session, max_crashes=3),
    "heartbeat": lambda world, session: recovery.reconcile(session, world.id, {}, grace=10.0),
    "retention of what is not old": lambda world, session: Pruner(days=90).step(session),
}


@pytest.mark.parametrize("work", sorted(HOUSEKEEPING))
def test_a_long_history_costs_nothing(make_world, work):
    workflows.single("w")
    world = make_world()
    session = world.at_now()

    def act():
        HOUSEKEEPING[work](world, session)

    for _ in range(8):
        world.enqueue("w")
    act()
    before = cost_of(session, act)
    runs_of("w_before", MANY, TaskStatus.COMPLETED)
    refresh_statistics()
    act()
    assert cost_of(session, act) <= 2 * before + 20


BACKLOGS = {
    "of unknown code": (TaskStatus.READY, "nobody_knows_it"),
    "scheduled for later": (TaskStatus.SCHEDULED, "w"),
    "held": (TaskStatus.HELD, "w"),
    "pending": (TaskStatus.PENDING, "w"),
}


def claim_cost(world, *, at_once=8):
    """Enqueue some tasks and return what their claim costs."""
    for _ in range(at_once):
        world.enqueue("w")
    session = world.at_now()
    found = []

    def act():
        found.extend(claiming.claim(session, claimer_of(world)))

    cost = cost_of(session, act)
    assert len(found) >= at_once
    return cost


@pytest.mark.parametrize("backlog", sorted(BACKLOGS))
def test_a_backlog_that_cannot_be_claimed_makes_the_claim_at_most_twice_as_dear(
    make_world, backlog
):
    status, name = BACKLOGS[backlog]
    workflows.single("w")
    world = make_world()
    claim_cost(world)
    before = claim_cost(world)
    tasks_of(one_run(name), MANY, status, name=name)
    refresh_statistics()
    claim_cost(world)
    assert claim_cost(world) <= 2 * before


def test_all_the_backlogs_together_do_not_either(make_world):
    workflows.single("w")
    world = make_world()
    claim_cost(world)
    before = claim_cost(world)
    for status, name in BACKLOGS.values():
        tasks_of(one_run(name), MANY // 4, status, name=name)
    refresh_statistics()
    claim_cost(world)
    assert claim_cost(world) <= 2 * before


def test_a_backlog_that_can_be_claimed_does_not_make_one_claim_dearer(make_world):
    workflows.single("w")
    world = make_world()
    claim_cost(world)
    before = claim_cost(world)
    runs_of("w", MANY, TaskStatus.READY)
    refresh_statistics()
    claim_cost(world)
    assert claim_cost(world) <= 2 * before


@pytest.mark.skipif(IS_FILE, reason="no snapshot keeps what is dead in the index of a file")
def test_what_an_old_snapshot_keeps_in_the_index_does_not_make_the_claim_dearer(
    make_world, monkeypatch
):
    monkeypatch.setattr(claiming, "LOW_MARGIN", 0)
    workflows.single("w")
    world = make_world()
    claim_cost(world)
    before = claim_cost(world)
    with postgresql.connect(connection.get_connection_params()) as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM cloaca_task")
        # As minutes of work leave them, in one go: entries that no vacuum may take away.
        runs_of("w", MANY, TaskStatus.READY)
        ready = TaskExecution.objects.filter(status=TaskStatus.READY)
        assert ready.update(status=TaskStatus.COMPLETED, finished_at=START) == MANY
        refresh_statistics()
        world.turn.claimer.next_full_scan = 0.0
        # A look at everything is what they make dear, and it is rare.
        assert claim_cost(world) > 4 * before
        world.turn.claimer.next_full_scan = math.inf
        claim_cost(world)
        assert claim_cost(world) <= 2 * before
        reader.execute("COMMIT")


def test_promotion_takes_what_is_due_and_not_the_rest(make_world):
    workflows.single("w")
    world = make_world()
    session = world.at_now()

    def promote():
        session.run(sql.promote_due)

    promote()
    before = cost_of(session, promote)
    tasks_of(one_run("w"), MANY, TaskStatus.SCHEDULED, name="w")
    refresh_statistics()
    promote()
    assert cost_of(session, promote) <= 2 * before + 20
