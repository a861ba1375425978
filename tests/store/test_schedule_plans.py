"""Ten thousand schedules cost a worker nothing while they rest, and the due ones little."""

from __future__ import annotations

from datetime import timedelta

import pytest

from cloaca_django.dialect import sql_schedules
from cloaca_django.engine import firing, schedule_reads
from cloaca_django.engine.firing import FiringOptions
from cloaca_django.engine.retention import Pruner
from cloaca_django.models import CronExecution, CronSchedule
from tests import workflows
from tests.engine.schedules import fired, firing_world, make_many, make_schedule
from tests.engine.world import START
from tests.store.rows import (
    IS_FILE,
    cost_of,
    fires_of,
    plan_of,
    recorded,
    refresh_statistics,
    schedules_of,
)
from tests.store.test_statement_counts import sent_by, whole_rate

MANY = 10_000
LATER = START + timedelta(hours=5)


@pytest.fixture
def world(make_world):
    """A worker that fires and knows the workflow ``w``."""
    workflows.single("w")
    return firing_world(make_world)


def due(session, room=firing.ROOM):
    return session.due_schedules([("w",)], room=room)


QUESTIONS = {
    "due": due,
    "next": lambda session: session.run(sql_schedules.seconds_to_next_fire, [("w",)]),
    "strangers": lambda session: session.run(
        sql_schedules.overdue_strangers, [("w",)], patience=60.0
    ),
    "unpark": lambda session: session.run(sql_schedules.unpark_schedules, [("w",)]),
}


@pytest.mark.parametrize("knows_statistics", [False, True])
@pytest.mark.parametrize("question", ["due", "next", "strangers"])
def test_they_are_found_by_the_partial_index(world, question, knows_statistics):
    schedules_of("w", MANY, next_run_at=LATER)
    make_many(3)
    if knows_statistics:
        refresh_statistics()
    session = world.at_now()
    with recorded(session) as recorder, session.transaction():
        QUESTIONS[question](session)
    plan = plan_of(session, recorder.statements)
    assert "cloaca_schedule_due" in plan
    assert "Seq Scan on cloaca_schedule" not in plan
    assert not any(line == "SCAN s" for line in plan.splitlines())


@pytest.mark.parametrize("question", sorted(QUESTIONS))
def test_schedules_that_rest_cost_nothing(world, question):
    make_many(3)
    session = world.at_now()

    def ask():
        with session.transaction():
            QUESTIONS[question](session)

    ask()
    before = cost_of(session, ask)
    schedules_of("w", MANY, next_run_at=LATER)
    schedules_of("w", MANY, enabled=False)
    schedules_of("v", MANY, parked_at=START)
    refresh_statistics()
    ask()
    assert cost_of(session, ask) <= 2 * before + 20


def test_a_long_history_costs_a_fire_nothing(world):
    schedules = make_many(5, overlap_policy="skip", next_run_at=LATER)
    session = world.at_now()
    CronSchedule.objects.update(next_run_at=START)
    before = cost_of(session, lambda: due(session))
    fires_of(schedules, 4_000)
    refresh_statistics()
    due(session)
    assert cost_of(session, lambda: due(session)) <= 2 * before + 20
    assert len(due(session)) == 5


def counted_fire(make_world, schedules, *, minutes=0):
    """Return what the turn sends that fires some schedules, each for some times."""
    quiet = {"slots": 300, "poll_seconds": 1e6}
    world = firing_world(make_world, poll_seconds=1e6, world=quiet)
    world.drain()
    made = make_many(schedules, next_run_at=world.time.now)
    world.pass_by(60.0 * minutes)
    world.turn.schedules.look_soon()
    sent = sent_by(world, world.tick)
    assert {len(fired(one)) for one in made} == {minutes + 1}
    CronSchedule.objects.all().delete()
    world.turn.is_draining = True
    return sent


def test_a_turn_that_fires_200_schedules_sends_as_many_statements_as_with_one(make_world):
    workflows.single("w")
    counts = {n: len(counted_fire(make_world, n)) for n in (1, 200)}
    assert counts[200] <= counts[1]
    assert counts[1] < 20


def test_sixty_times_of_a_schedule_cost_as_many_statements_as_one(make_world):
    workflows.single("w")
    counts = {n: len(counted_fire(make_world, 3, minutes=n)) for n in (0, 59)}
    assert counts[59] <= counts[0]


def test_passing_over_costs_no_more_statements_than_firing(make_world):
    workflows.single("w")
    world = firing_world(make_world)
    make_many(50, overlap_policy="skip")
    fires = len(sent_by(world, world.tick))
    world.pass_by(60.0)
    assert len(sent_by(world, world.tick)) <= fires
    assert CronExecution.objects.filter(run=None).count() == 50


def test_parking_many_costs_one_statement(world):
    make_many(50, timezone="Mars/X")
    world.turn.schedules.look_soon()
    sent = sent_by(world, world.tick)
    assert sum("parked_at" in text and "UPDATE" in text and "o_error" in text for text in sent) == 1
    assert CronSchedule.objects.parked().count() == 50


def test_an_idle_worker_sends_as_much_with_ten_thousand_schedules_as_with_none(make_world):
    workflows.single("w")
    rates = {}
    for count in (0, MANY):
        if count:
            schedules_of("w", count, next_run_at=LATER)
        world = firing_world(make_world)
        world.register(lease=1e6)
        world.drain()
        rates[count] = whole_rate(world)
        world.turn.is_draining = True
    assert rates[MANY] <= rates[0]
    assert rates[MANY] < 2


def test_what_schedules_add_to_an_idle_worker_is_three_statements_a_poll(make_world):
    workflows.single("w")
    rates = []
    for make in (make_world, lambda: firing_world(make_world)):
        world = make()
        world.register(lease=1e6)
        world.drain()
        rates.append(whole_rate(world))
        world.turn.is_draining = True
    assert rates[1] - rates[0] <= 3 / FiringOptions().poll_seconds


def test_the_history_of_one_schedule_is_read_by_index(world):
    schedules = make_many(20)
    fires_of(schedules, 500)
    refresh_statistics()
    assert len(schedule_reads.history("default", schedules[0].pk, limit=10)) == 10
    rows = CronExecution.objects.filter(schedule=schedules[0]).newest_first()[:10]
    plan = rows.explain()
    assert "cloaca_fire_once_per_time" in plan or (IS_FILE and "USING INDEX" in plan)
    assert "Seq Scan" not in plan


def test_retention_finds_old_fires_without_a_run_by_index(world):
    schedule = make_schedule(next_run_at=LATER)
    fires_of([schedule], 3_000, reason="passed over")
    refresh_statistics()
    session = world.at_now()
    with recorded(session) as recorder:
        Pruner(days=1.0, batch_size=10).step(session)
    deletes = [one for one in recorder.statements if "DELETE FROM cloaca_fire" in one[0]]
    assert "cloaca_fire_claimed" in plan_of(session, deletes)
