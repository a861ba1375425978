"""When a turn must look again, and how far ahead of its slots it claims."""

from __future__ import annotations

import pytest

from cloaca_django import clock
from cloaca_django.dialect.rows import Look
from cloaca_django.engine.agenda import (
    CROWD_SECONDS,
    MAX_PREFETCH,
    NEVER,
    PREFETCH_SECONDS,
    Agenda,
    Crowd,
    Pace,
)
from cloaca_django.engine.messages import WAKE
from tests import workflows

QUIET = Look(has_ready=False, has_waiting=False, seconds_to_due=None, seconds_to_deadline=None)


@pytest.fixture
def agenda(time):
    agenda = Agenda(poll_seconds=1.0)
    agenda.take_look(QUIET)
    agenda.may_be_ready = False
    return agenda


def test_it_begins_by_looking(time):
    agenda = Agenda(poll_seconds=1.0)
    assert agenda.may_be_ready
    assert agenda.is_look_due()


def test_a_look_is_due_after_the_poll(agenda, time):
    assert not agenda.is_look_due()
    time.pass_by(0.9)
    assert not agenda.is_look_due()
    time.pass_by(0.2)
    assert agenda.is_look_due()


def test_a_wake_up_is_remembered_until_it_is_answered(agenda, time):
    agenda.wake()
    time.pass_by(100)
    agenda.take_look(QUIET)
    assert agenda.may_be_ready


def test_a_due_task_is_due_when_its_seconds_are_over(agenda, time):
    agenda.expect_due(5.0)
    agenda.expect_due(9.0)
    time.pass_by(4.9)
    assert not agenda.is_something_due()
    time.pass_by(0.2)
    assert agenda.is_something_due()


@pytest.mark.parametrize("part", ["seconds_to_due", "seconds_to_deadline"])
def test_what_a_look_found_sets_the_next_moment(agenda, time, part):
    found = {"seconds_to_due": None, "seconds_to_deadline": None, part: 0.25}
    agenda.take_look(Look(has_ready=False, has_waiting=False, **found))
    assert agenda.next_moment == time.ticks + 0.25
    time.pass_by(0.3)
    assert agenda.is_something_due()


def test_what_is_long_overdue_does_not_make_the_loop_spin(agenda, time):
    agenda.take_look(Look(False, False, -500.0, None))
    agenda.take_promotion()
    agenda.take_look(Look(False, False, -500.0, None))
    assert agenda.next_moment > time.ticks
    time.pass_by(1.0)
    assert agenda.is_something_due()


def test_nothing_is_due_when_nothing_was_found(agenda, time):
    time.pass_by(1e6)
    assert not agenda.is_something_due()
    assert agenda.next_due == agenda.next_deadline == NEVER


def test_nothing_is_claimed_ahead_before_a_task_was_measured():
    assert Pace(4).prefetch() == 0


def test_short_tasks_are_claimed_ahead_and_long_ones_are_not():
    pace = Pace(4)
    for _ in range(4):
        pace.note(PREFETCH_SECONDS / 8, started=1.0)
    assert pace.prefetch() in (31, 32)  # the fourth part of their time, and its decay
    for _ in range(50):
        pace.note(10.0)
    assert pace.prefetch() == 0


def test_tasks_that_compute_are_not_claimed_for_slots_that_wait_for_them():
    """Each has the interpreter for itself, one after the other, however many slots there are."""
    pace, seconds = Pace(64), PREFETCH_SECONDS / 6
    for at in range(100):
        pace.note(seconds, started=at * seconds)
    assert pace.prefetch() in (5, 6)


def test_tasks_that_wait_for_others_are_claimed_for_every_slot():
    pace, seconds = Pace(64), PREFETCH_SECONDS / 2
    for at in range(640):
        pace.note(seconds, started=at // 64 * seconds)
    assert pace.prefetch() in range(100, 129)


def test_a_task_that_ends_after_one_that_began_later_counts_once():
    pace = Pace(4)
    pace.note(0.001, started=1.004)
    pace.note(0.010, started=1.000)
    assert pace.prefetch() == int(1.98 * PREFETCH_SECONDS / 0.0101)  # the first a little decayed


def test_a_prefetch_is_bounded():
    pace = Pace(512)
    pace.note(0.0)
    assert pace.prefetch() == MAX_PREFETCH


def test_a_task_that_never_began_says_nothing_about_the_pace():
    pace = Pace(4)
    pace.note(None)
    assert pace.prefetch() == 0


def test_a_pace_without_ends_has_stalled_and_is_forgotten():
    pace = Pace(4)
    pace.note(0.001)
    assert not pace.has_stalled()
    assert pace.prefetch() > 0
    assert pace.has_stalled()
    assert pace.prefetch() == 0


def test_an_outcome_that_comes_very_late_costs_its_own_time_only():
    pace = Pace(4)
    pace.note(0.001, started=10.0)
    pace.note(0.001, started=1.0)
    assert pace.prefetch() == int(1.98 * PREFETCH_SECONDS / 0.00198)


class TestLoop:
    """How long a turn rests, as its thread would ask."""

    def test_it_rests_until_the_next_look_when_idle(self, world):
        world.step()
        assert 0.9 < world.turn.seconds_to_next() <= 1.0

    def test_it_does_not_rest_while_there_may_be_something_to_claim(self, world):
        workflows_of_test(world)
        world.turn.post(object())
        world.tick()
        world.turn.agenda.wake()
        assert world.turn.seconds_to_next() == 0

    def test_it_rests_while_every_slot_is_taken(self, make_world):
        world = make_world(slots=1)
        workflows_of_test(world)
        world.enqueue("w")
        world.enqueue("w")
        world.step()
        assert len(world.slots.jobs) == 1
        assert world.turn.seconds_to_next() > 0.5

    def test_it_wakes_for_a_retry_when_it_is_due(self, world):
        workflows.single("w", workflows.boom, retry_delay_ms=300, retry_jitter=False)
        world.enqueue("w")
        world.step()
        for job in world.take():
            world.perform(job)
        world.tick()
        assert 0.2 < world.turn.seconds_to_next() <= 0.3

    def test_it_wakes_for_a_time_limit(self, make_world):
        world = make_world(task_timeout=0.4)
        workflows_of_test(world)
        world.enqueue("w")
        world.step()
        for job in world.slots.jobs:
            job.started = world.time.ticks
        world.tick()
        assert world.turn.seconds_to_next() <= 0.4

    def test_it_rests_a_little_longer_after_each_failure(self, world):
        world.turn.failures = 1
        first = world.turn.seconds_to_next()
        world.turn.failures = 4
        assert first < world.turn.seconds_to_next() <= 5.0
        world.turn.failures = 40
        assert world.turn.seconds_to_next() == 5.0


def workflows_of_test(world):
    workflows.single("w")


def announced(crowd, count, *, found_waiting):
    for _ in range(count):
        crowd.note(found_waiting=found_waiting)


def test_a_turn_waits_for_nobody_at_first(time):
    crowd = Crowd()
    assert [crowd.rest() for _ in range(5)] == [0.0] * 5


def test_nor_for_callers_who_come_when_it_is_at_rest(time):
    """Each may wait for its run before it submits the next."""
    crowd = Crowd()
    announced(crowd, 100, found_waiting=False)
    crowd.rest()
    assert crowd.rest() == 0.0


def test_where_runs_come_in_while_it_works_turns_keep_their_distance(time):
    crowd = Crowd()
    announced(crowd, 10, found_waiting=True)
    crowd.rest()
    time.pass_by(CROWD_SECONDS / 4)
    assert crowd.rest() == pytest.approx(CROWD_SECONDS * 3 / 4)
    time.pass_by(CROWD_SECONDS * 2)
    assert crowd.rest() == 0.0


def test_turns_come_at_once_again_when_the_crowd_is_gone(time):
    crowd = Crowd()
    announced(crowd, 100, found_waiting=True)
    announced(crowd, 15, found_waiting=False)
    crowd.rest()
    assert crowd.rest() == 0.0


class Pauses:
    """What the turn's thread sleeps, by the clock."""

    def __init__(self, time, monkeypatch):
        self.taken = []
        self._time = time
        monkeypatch.setattr(clock, "sleep", self.sleep)

    def sleep(self, seconds):
        self.taken.append(seconds)
        self._time.pass_by(seconds)


@pytest.fixture
def crowded(world, time, monkeypatch):
    """A turn that was told of runs while it worked, and what its thread sleeps."""
    pauses = Pauses(time, monkeypatch)
    for _ in range(10):
        world.turn.post(WAKE)
    world.tick()
    world.turn.wait(0.0)
    world.tick()
    return world, pauses


def test_the_loop_rests_in_a_crowd(crowded):
    world, pauses = crowded
    pauses.taken.clear()
    world.turn.post(WAKE)
    world.turn.wait(0.0)
    assert pauses.taken == [pytest.approx(CROWD_SECONDS)]


def test_it_does_not_while_somebody_waits_for_a_run(crowded):
    workflows.single("w")
    world, pauses = crowded
    pauses.taken.clear()
    world.ask("w")
    world.tick()
    world.turn.post(WAKE)
    world.turn.wait(0.0)
    assert pauses.taken == []


def test_nor_beside_other_writers_of_a_file_unless_it_must_wait_for_them(world, time, monkeypatch):
    """Nobody announces anything there: a crowd is who writes whenever the turn wants to."""
    pauses = Pauses(time, monkeypatch)
    for has_company in (False, True):
        monkeypatch.setattr(type(world.session), "had_company", lambda _, said=has_company: said)
        pauses.taken.clear()
        for _ in range(10):
            world.turn.agenda.wake()
            world.tick()
        world.turn.wait(0.0)
        world.turn.wait(0.0)
        assert bool(pauses.taken) is has_company
