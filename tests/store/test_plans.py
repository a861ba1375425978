"""No statement of the engine reads a whole table of runs, tasks, schedules and what is theirs."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.db import connection

from cloaca_django import Context
from cloaca_django.core.states import RunStatus, TaskStatus
from cloaca_django.engine import (
    backfill,
    operations,
    recovery,
    results,
    retention,
    submission,
)
from cloaca_django.engine.firing import is_any_due
from tests import workflows
from tests.engine.schedules import firing_world, make_many, make_schedule
from tests.store.rows import IS_FILE, fires_of, plan_of, refresh_statistics, runs_of

# SQLite calls a walk along an index a scan too, and names a table by its alias.
WHOLE = re.compile(
    r"^SCAN (?!.*USING )(?:t|c|r|s|f|cloaca_(?:run|task|attempt|log|schedule|fire))$"
    if IS_FILE
    else r"Seq Scan on cloaca_(?:run|task|attempt|log|schedule|fire)\b.*",
    re.MULTILINE,
)


def whole_reads(text, plan):
    """Return the lines of a plan that read a whole table; a subquery's alias is no table."""
    found = WHOLE.findall(plan)
    stand_ins = {f"SCAN {name}" for name in re.findall(r"(?:\) AS|\bchild) (\w+)\b", text)}
    return [line for line in found if line not in stand_ins]


def work_through_everything(world):
    """Do once whatever workers, callers and operators do."""
    workflows.diamond("d", left=workflows.boom, retry_attempts=2, retry_delay_ms=0)
    workflows.single("w")
    workflows.single("limited", builder={"max_running": 1})
    world.register()
    session = world.at_now()
    failed = world.enqueue("d", idempotency_key="k")
    world.enqueue("w", start_at=world.time.now)
    world.enqueue("limited")
    world.enqueue("limited")
    world.ask("w", timeout_seconds=1.0)
    world.drain()
    world.pass_by(2.0)
    world.drain()
    results.read_result(session, failed)
    session.run_for_key("k")
    waiting = world.enqueue("w")
    for act in (operations.pause, operations.resume, operations.pause, operations.cancel):
        act(session, waiting)
    operations.replay(session, failed)
    operations.pause_workflow(session, "w")
    world.enqueue("w")
    operations.resume_workflow(session, "w")
    world.drain()
    claim_and_lose(world)
    fire_and_fill(world)
    for step in (world.at_now().look, world.at_now().clock):
        step()
    while retention.Pruner(days=0.0001).step(world.at_now()):
        pass


def claim_and_lose(world):
    """Claim a task and let its worker die."""
    session = world.at_now()
    world.enqueue("w")
    world.step()
    world.take()
    recovery.renew(session, world.id)
    recovery.reconcile(session, world.id, {}, grace=10.0)
    world.pass_by(3600.0)
    recovery.sweep(world.at_now(), max_crashes=0)


def fire_and_fill(world):
    """Do once whatever happens to schedules."""
    make_schedule(next_run_at=world.time.now)
    skipping = make_schedule(overlap_policy="skip", next_run_at=world.time.now)
    make_schedule(timezone="Mars/X", next_run_at=world.time.now)
    make_schedule("nobody", next_run_at=world.time.now)
    for _ in range(3):
        world.turn.schedules.look_soon()
        world.tick()
        world.pass_by(70.0)
    is_any_due(world.at_now())
    start = world.time.now - timedelta(minutes=5)
    backfill.backfill(world.at_now(), skipping, start=start, end=world.time.now)
    backfill.trigger(world.at_now(), skipping)
    workflows.single("nobody")
    world.tick()
    world.drain()


@pytest.fixture
def statements(make_world):
    """Every distinct statement of that work, with the parameters it had."""
    world = firing_world(make_world, poll_seconds=60.0)
    sent = {}
    for session in (world.session, world.turn._connected()):
        _record(session, sent)
    work_through_everything(world)
    return world, list(sent.items())


def _record(session, sent):
    execute = session.transport.execute

    def recording(text, params):
        sent[text] = params
        return execute(text, params)

    session.transport.execute = recording


@pytest.mark.parametrize("knows_statistics", [False, True])
def test_no_statement_reads_a_whole_table(statements, knows_statistics):
    world, sent = statements
    assert len(sent) > 30
    runs_of("history", 3_000, TaskStatus.COMPLETED)
    fires_of(make_many(3_000, "history", next_run_at=None), 1)
    if knows_statistics:
        refresh_statistics()
    found = {}
    for text, params in sent:
        if re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", text) and "pg_notify" not in text:
            bad = whole_reads(text, plan_of(world.session, [(text, params)]))
            if bad:
                found[" ".join(text.split())[:200]] = bad
    assert found == {}


def test_the_callers_own_statements_do_not_either(transactional_db, make_world):
    """``enqueue`` writes on the site's connection, whose planner is not told what to avoid."""
    workflows.single("w")
    runs_of("history", 3_000, TaskStatus.COMPLETED)
    refresh_statistics()
    world = make_world()
    asked = submission.prepare(workflows.single("v"), Context())
    sent = {}
    _record(world.session, sent)
    with world.session.transaction():
        submission.submit(world.session, [asked])
    kind = "EXPLAIN QUERY PLAN " if IS_FILE else "EXPLAIN "
    with connection.cursor() as cursor:
        for text, params in sent.items():
            cursor.execute(kind + text, dict(params))
            plan = "\n".join(str(row[-1]) for row in cursor.fetchall())
            assert whole_reads(text, plan) == []
    assert world.run(asked.id).status == RunStatus.PENDING
