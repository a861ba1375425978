"""A schedule is changed while it is due and being fired: who has its row first goes first.

Firing leaves a locked schedule alone and comes again; a person's change waits for a firing under
way, which takes milliseconds. So there are two outcomes, and ``OUTCOMES`` has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.db import connection, transaction

import cloaca_django as cloaca
from cloaca_django.core import registry
from cloaca_django.core.context import decode
from cloaca_django.engine import timetable
from cloaca_django.models import CronExecution, CronSchedule, PipelineExecution
from tests.concurrency.races import FIRES, ONE_WRITER, Beside, Halt
from tests.crash.faults import COMMIT
from tests.crash.fires import times_of
from tests.crash.graphs import Node
from tests.crash.schedule_scenarios import make
from tests.crash.world import ALIAS


@dataclass(frozen=True)
class Outcome:
    """What a change that meets a due time comes to: in words, and in figures.

    ``runs`` for the due time, the ``given`` its run sees, minutes until the ``next`` time; None:
    there is no next time.
    """

    words: str
    runs: int
    next: int | None
    given: int = 1


# What is done to a schedule that is due since two minutes, and every hour: what it comes to if
# the change has the schedule's row first, and if the firing worker has it.
OUTCOMES: dict[str, tuple[Outcome, Outcome]] = {
    "new times": (
        Outcome("the due time is dropped; the new times count from the change on", 0, 10),
        Outcome("the due time has its run; the new times count from the change on", 1, 10),
    ),
    "a new context": (
        Outcome("the due time has its run, with the new context", 1, 60, given=2),
        Outcome("the due time has its run, with the old context", 1, 60),
    ),
    "disabled": (
        Outcome("the due time is dropped, and every other until it is enabled", 0, None),
        Outcome("the due time has its run; no other until it is enabled", 1, None),
    ),
    "disabled and enabled": (
        Outcome("the due time is dropped; the next one fires", 0, 60),
        Outcome("the due time has its run; the next one fires", 1, 60),
    ),
    "an end before now": (
        Outcome("the due time is dropped, and it fires no more", 0, None),
        Outcome("the due time has its run, and it fires no more", 1, None),
    ),
    "deleted": (
        Outcome("the due time is dropped", 0, None),
        Outcome("the due time has its run, which goes on; its history is gone", 1, None),
    ),
}


def _update(**facts):
    return lambda world, schedule: timetable.update(ALIAS, schedule, facts)


def _enable(enabled):
    return lambda world, schedule: timetable.set_enabled(ALIAS, schedule, enabled=enabled)


def _disable_and_enable(world, schedule):
    _enable(False)(world, schedule)
    _enable(True)(world, schedule)


def _end_before_now(world, schedule):
    timetable.update(ALIAS, schedule, {"end_date": world.now - timedelta(minutes=1)})


CHANGES = {
    "new times": _update(cron_expression="*/10 * * * *"),
    "a new context": _update(context=cloaca.Context({"given": 2})),
    "disabled": _enable(False),
    "disabled and enabled": _disable_and_enable,
    "an end before now": _end_before_now,
    "deleted": lambda world, schedule: timetable.delete(ALIAS, schedule),
}


@pytest.fixture
def due(site):
    """A schedule that is due since two and a half minutes."""
    schedule = make(site, context=cloaca.Context({"given": 1}))
    site.advance(3600.0)
    return schedule


def _outcome_is(world, schedule, outcome):
    row = CronSchedule.objects.filter(pk=schedule).first()
    runs = PipelineExecution.objects.filter(workflow_name="tick")
    assert runs.count() == outcome.runs
    assert {decode(run.context)["given"] for run in runs} <= {outcome.given}
    is_planned = row is not None and row.enabled and row.next_run_at is not None
    assert is_planned == (outcome.next is not None)
    if is_planned:
        hour = world.now.replace(minute=0, second=0, microsecond=0)
        assert row.next_run_at == hour + timedelta(minutes=outcome.next)


def _goes_on(world, schedule, outcome):
    """What comes after is fired as if nothing had been."""
    world.advance(3600.0)
    world.drain()
    fired = len(times_of(schedule))
    if outcome.next is None:
        assert PipelineExecution.objects.filter(workflow_name="tick").count() == outcome.runs
    else:
        assert fired == outcome.runs + 60 // outcome.next
    assert world.violations() == []


@pytest.mark.parametrize("what", OUTCOMES)
def test_a_change_that_has_the_row_first_decides(site, what):
    due = make(site, context=cloaca.Context({"given": 1}))
    other = make(site, workflow="tock")
    site.advance(3600.0)
    worker, halt = site.worker(), Halt()

    def change():
        with transaction.atomic():
            CHANGES[what](site, due)
            halt.here()

    with Beside(change) as changing:
        halt.await_arrival()
        with Beside(worker.settle_down) as firing:
            if connection.vendor == "postgresql":
                # It does not wait for this one, and fires the other.
                firing.await_end()
                assert len(times_of(other)) == 1
                assert not times_of(due)
            halt.go_on()
            firing.await_end()
        changing.await_end()
    site.advance(0.3)
    worker.settle_down()
    outcome = OUTCOMES[what][0]
    _outcome_is(site, due, outcome)
    _goes_on(site, due, outcome)


@pytest.mark.parametrize("what", OUTCOMES)
def test_a_fire_that_has_the_row_first_decides(site, due, what):
    worker, halt = site.worker(), Halt()
    halt.catch(worker, COMMIT, after=FIRES)
    with Beside(worker.settle_down) as firing:
        halt.await_arrival()
        with Beside(lambda: CHANGES[what](site, due)) as changing:
            assert not changing.has_ended_within(0.2)
            halt.go_on()
            changing.await_end()
        firing.await_end()
    outcome = OUTCOMES[what][1]
    _outcome_is(site, due, outcome)
    _goes_on(site, due, outcome)


@pytest.mark.parametrize("what", OUTCOMES)
def test_whoever_is_first_it_is_one_of_the_two(site, together, what):
    """No barrier within: two workers and a person, at the same moment, several times."""
    for _ in range(5):
        site.reset()
        schedule = make(site, context=cloaca.Context({"given": 1}))
        site.advance(3600.0)
        workers = [site.worker(), site.worker()]
        steps = [worker.settle_down for worker in workers]
        found = together(*steps, lambda s=schedule: CHANGES[what](site, s))
        assert not [one for one in found if isinstance(one, BaseException)], found
        site.advance(0.3)
        workers[0].settle_down()
        outcomes = OUTCOMES[what]
        runs = PipelineExecution.objects.count()
        given = {decode(run.context)["given"] for run in PipelineExecution.objects.all()} or {1}
        assert any(runs == one.runs and given == {one.given} for one in outcomes)
        site.drain()
        assert site.violations() == []
        assert site.loop_errors == []


def test_two_people_edit_one_schedule_at_the_same_moment(site, due, together):
    """Both edits are kept, one after the other."""
    together(
        lambda: CHANGES["new times"](site, due),
        lambda: CHANGES["a new context"](site, due),
        lambda: timetable.update(ALIAS, due, {"priority": 7}),
    )
    row = CronSchedule.objects.get()
    assert (row.cron_expression, row.priority) == ("*/10 * * * *", 7)
    assert decode(row.context) == {"given": 2}
    assert not CronExecution.objects.exists()


@ONE_WRITER
def test_a_run_that_began_after_the_lock_was_taken_counts_as_open(site):
    """Else a schedule without overlap would start a run beside it."""
    schedule = make(site, overlap_policy="skip")
    site.advance(3600.0)
    worker, halt = site.worker(), Halt()
    halt.catch(worker, "SELECT cloaca_run")
    with Beside(worker.settle_down) as firing:
        halt.await_arrival()
        site.submit("tick", schedule_id=schedule)
        halt.go_on()
        firing.await_end()
    assert PipelineExecution.objects.count() == 1
    assert "still open" in CronExecution.objects.get().reason


# -- schedules of code that not every worker has

# A worker asks who has code for what, before it parks.
MUSTER = "SELECT cloaca_worker"


def _stranger(site):
    """A schedule that is overdue, and whose workflow no worker has code for."""
    with registry.isolated():
        site.define("new", {"only": Node()})
        schedule = make(site, workflow="new")
    worker = site.worker()
    site.advance(3600.0)
    worker.beat()
    return schedule, worker


def _newcomer(site):
    """Start a worker that has the code, and let it fire what is due."""
    with registry.isolated():
        site.define("new", {"only": Node()})
        worker = site.worker()
        worker.settle_down()
        worker.run_all()
        worker.settle_down()


def _is_fired_and_planned(schedule):
    row = CronSchedule.objects.get(pk=schedule)
    assert (row.parked_at, row.error_message) == (None, "")
    assert len(times_of(schedule, only_run=True)) == 1


@pytest.mark.parametrize("point", [MUSTER, "UPDATE cloaca_schedule", COMMIT])
def test_whoever_brings_the_code_is_not_overtaken_by_a_park(site, point):
    """It looks whether the workflow is known; the newcomer registers and fires meanwhile."""
    schedule, worker = _stranger(site)
    halt = Halt()
    halt.catch(worker, point, after="" if point == MUSTER else MUSTER)
    with Beside(worker.step) as parking:
        halt.await_arrival()
        with Beside(lambda: _newcomer(site)) as coming:
            coming.has_ended_within(0.5)
            halt.go_on()
            coming.await_end()
        parking.await_end()
    assert site.loop_errors == []
    _is_fired_and_planned(schedule)


def test_what_was_parked_for_want_of_code_fires_once_the_code_is_there(site):
    schedule, worker = _stranger(site)
    worker.settle_down()
    assert CronSchedule.objects.get(pk=schedule).parked_at is not None
    _newcomer(site)
    _is_fired_and_planned(schedule)
