"""Crash-point enumeration: every operation, crashed at every statement and COMMIT it sends.

The points come from the statements of a real run of the operation, not from a list. After each
crash a second worker recovers and drains, and the invariants are checked over the tables.
"""

from __future__ import annotations

import contextlib
import sqlite3

import psycopg
import pytest
from django.db import Error as DjangoError
from django.db import connection

from cloaca_django.engine.firing import FiringOptions
from cloaca_django.models import TaskExecution
from tests.crash import (
    operator_scenarios,
    schedule_scenarios,
    turn_scenarios,
    worker_scenarios,
)
from tests.crash.account import ACCOUNT, Points
from tests.crash.faults import Crash, Killed, Plan, crashes_at
from tests.crash.scenarios import Scenario, Stage
from tests.crash.world import World

SCENARIOS = [
    *turn_scenarios.SCENARIOS, *worker_scenarios.SCENARIOS, *operator_scenarios.SCENARIOS,
    *schedule_scenarios.SCENARIOS,
]  # fmt: skip

# What a survivor's caller may see of a broken connection; anything else is a failure.
LOUD = (psycopg.Error, sqlite3.Error, DjangoError)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_no_crash_at_any_point_breaks_a_promise(world, scenario):
    turn_scenarios.define(world)
    operator_scenarios.define(world)
    schedule_scenarios.define(world)
    recorded = _perform(world, scenario, Plan()).points
    endings = _endings()
    assert recorded, "the operation sends nothing"
    account = ACCOUNT[str(scenario)] = Points(recorded)
    for at, point in enumerate(recorded):
        for crash in crashes_at(point):
            account.existing += 1
            plan = _perform(world, scenario, Plan(at, crash))
            assert plan.has_fired, f"{point} was not reached again"
            assert plan.points == recorded[: at + 1], "the operation took another way"
            assert not scenario.ends_alike or _endings() <= endings, (point, crash.value)
            account.covered += 1
    assert account.covered == account.existing


def _perform(world: World, scenario: Scenario, plan: Plan) -> Plan:
    """Play a scenario with the plan's crash in it, recover, drain and check."""
    world.firing = FiringOptions() if scenario.fires else None
    world.reset()
    stage = Stage(world, plan, world.worker(plan=plan))
    scenario.prepare(stage)
    plan.is_armed = True
    survives = (Killed, *LOUD) if plan.crash else ()
    with contextlib.suppress(*survives):
        scenario.operate(stage)
    plan.is_armed = False
    if plan.is_dead:
        stage.victim.die()
    elif plan.crash in (None, Crash.KILLED_BEFORE, Crash.KILLED_AFTER):
        assert plan.crash is None, "the plan's point was not reached"
    world.worker()
    world.tick()
    scenario.retry(stage)
    world.drain()
    scenario.check(stage)
    where = f"{scenario}: {plan.crash and plan.crash.value} {plan.points[-1:]} {plan.at}"
    assert world.violations() == [], where
    # A survivor meets its broken connection once; nothing else may fail.
    met = [*world.loop_errors, *world.heart_errors]
    assert len(met) <= (plan.crash in (Crash.DROPPED_AFTER, Crash.REPLY_LOST)), where
    assert all(isinstance(error, LOUD) for error in met), where
    assert not connection.in_atomic_block
    return plan


def _endings() -> set[tuple[str, str, str]]:
    """Return how the tasks of each workflow ended."""
    return set(TaskExecution.objects.values_list("workflow_name", "name", "status"))
