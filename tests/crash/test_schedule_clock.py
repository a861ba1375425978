"""Schedules after a long downtime, and while clocks jump: what is fired is what the oracle says."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta
from unittest import mock

import pytest

from cloaca_django import clock
from cloaca_django.engine import timetable
from cloaca_django.engine.firing import FiringOptions
from cloaca_django.models import CronExecution, CronSchedule
from tests.crash import oracle, schedule_scenarios
from tests.crash.fires import times_of
from tests.crash.schedule_scenarios import make
from tests.crash.world import ALIAS

HOUR = 3600.0
TEN_DAYS = timedelta(days=10)
EVERY_MINUTE = "* * * * *"
CAP = 100


@pytest.fixture
def site(world):
    """A world whose workers fire schedules."""
    world.firing = FiringOptions(max_catchup=CAP)
    world.reset()
    schedule_scenarios.define(world)
    return world


# The policy, how late a time may be, and how many of 14,400 times are fired.
DOWNTIMES = [
    ("all", None, CAP), ("all", 3600, 60), ("latest", None, 1), ("latest", 10, 0),
    ("skip", None, 1), ("skip", 10, 0),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "deadline", "count"), DOWNTIMES)
def test_ten_days_of_downtime(site, policy, deadline, count):
    """A time of the last minute has not been missed yet, so even "skip" fires it."""
    start = site.now
    schedule = make(site, EVERY_MINUTE, catchup_policy=policy, deadline_seconds=deadline)
    site.advance(TEN_DAYS.total_seconds())
    due = oracle.times_in(EVERY_MINUTE, start, site.now)
    assert len(due) == 14_400
    worker = site.worker()
    worker.settle_down()
    patience = deadline and timedelta(seconds=deadline)
    wanted = oracle.wanted(due, policy, cap=CAP, patience=patience, now=site.now)
    assert times_of(schedule) == sorted(wanted)
    assert len(wanted) == count
    row = CronSchedule.objects.get()
    assert row.skipped_count == len(due) - count
    assert row.next_run_at == due[-1] + timedelta(minutes=1)
    worker.work()
    assert site.violations() == []


def test_what_is_missed_in_one_downtime_is_counted_and_logged(site, caplog):
    make(site, EVERY_MINUTE)
    site.advance(TEN_DAYS.total_seconds())
    with caplog.at_level(logging.WARNING, "cloaca_django.schedule"):
        site.worker().settle_down()
    assert "passed over 14300 of its times" in caplog.text


@pytest.mark.parametrize("hours", [-2.0, 2.0])
def test_the_clocks_of_a_workers_process_decide_nothing(site, hours):
    """They jump, both of them, and what is fired is the same: the database's clock decides.

    A monotonic clock that goes back, as none does, delays the next look; a hint comes before it.
    """
    schedule = make(site, "*/10 * * * *")
    worker, started = site.worker(), site.now
    for _ in range(3):
        site.advance(600.0)
        worker.beat()
        worker.work()
    jump, monotonic, utc_now = hours * HOUR, clock.monotonic, clock.utc_now

    def moved_monotonic():
        return monotonic() + jump

    def moved_now():
        return utc_now() + timedelta(hours=hours)

    with (
        mock.patch.object(clock, "monotonic", moved_monotonic),
        mock.patch.object(clock, "utc_now", moved_now),
    ):
        for _ in range(9):
            site.advance(600.0)
            worker.turn.schedules.look_soon()
            worker.beat()
            worker.work()
    assert times_of(schedule) == oracle.times_in("*/10 * * * *", started, site.now)
    assert CronSchedule.objects.get().next_run_at > site.now
    assert site.violations() == []


@pytest.mark.parametrize("hours", [-2.0, 2.0])
def test_a_jump_of_the_databases_clock_fires_nothing_twice(site, hours):
    """Forward, what lies between is made up for; back, nothing is due until it is later again."""
    schedule = make(site, "*/10 * * * *", "tick")
    worker, started = site.worker(), site.now
    latest = started
    for step in (600.0, 600.0, hours * HOUR, 600.0, 600.0, -hours * HOUR, 600.0, 600.0):
        site.advance(step)
        worker.beat()
        worker.settle_down()
        worker.work()
        latest = max(latest, site.now)
    assert times_of(schedule) == oracle.times_in("*/10 * * * *", started, latest)
    assert site.violations() == []


def test_an_edit_after_a_jump_back_does_not_repeat_what_was_fired(site):
    """It plans anew from the earlier moment; the times that have a run are left out."""
    schedule = make(site, "*/10 * * * *")
    worker = site.worker()
    site.advance(2 * HOUR)
    worker.beat()
    worker.work()
    fired = times_of(schedule)
    site.advance(-HOUR)
    timetable.update(ALIAS, schedule, {"cron_expression": "*/5 * * * *"})
    site.advance(HOUR)
    worker.beat()
    worker.turn.schedules.look_soon()
    worker.settle_down()
    worker.work()
    assert set(fired) < set(times_of(schedule))
    assert CronExecution.objects.filter(run=None).count() == 0
    assert site.violations() == []


def test_a_clock_set_back_while_a_schedule_is_read_leaves_its_plan(site):
    """PostgreSQL reads its clock anew for each column of a row."""
    schedule = make(site, "*/10 * * * *")
    before = CronSchedule.objects.get().next_run_at
    site.advance(600.0)
    worker = site.worker()
    early = type(site.operator)._due

    def set_back(self, row):
        return replace(early(self, row), now=before - timedelta(hours=1))

    with mock.patch.object(type(site.operator), "_due", set_back):
        worker.step()
    assert times_of(schedule) == []
    assert CronSchedule.objects.get().next_run_at == before
    site.advance(1.0)
    worker.settle_down()
    assert times_of(schedule) == [before]
