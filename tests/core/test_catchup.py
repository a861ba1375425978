"""Which missed times are made up for: by example, and beside a naive enumeration of all times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cloaca_django.core import cron
from cloaca_django.core.catchup import PUNCTUAL, Missed, next_fire, plan
from cloaca_django.core.states import CatchupPolicy

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
EVERY_MINUTE = cron.parse("* * * * *")
HOURLY = cron.parse("0 * * * *")


def at(day, hour=0, minute=0, second=0):
    return datetime(2026, 1, day, hour, minute, second, tzinfo=UTC)


def hours(planned):
    return [time.hour for time in planned.times]


def test_a_time_is_fired_at_its_own_moment():
    planned = plan(HOURLY, since=at(5, 12), now=at(5, 12), missed=Missed())
    assert (planned.times, planned.passed_over) == ((at(5, 12),), 0)
    assert planned.next_at == at(5, 13)


def test_all_makes_up_for_every_time_oldest_first():
    planned = plan(HOURLY, since=at(5, 8), now=at(5, 12, 30), missed=Missed())
    assert (hours(planned), planned.passed_over) == ([8, 9, 10, 11, 12], 0)


def test_all_is_bounded_by_the_cap_and_keeps_the_newest():
    planned = plan(HOURLY, since=at(5, 0), now=at(5, 12, 30), missed=Missed(cap=3))
    assert (hours(planned), planned.passed_over) == ([10, 11, 12], 10)


def test_latest_fires_the_newest_only():
    missed = Missed(CatchupPolicy.LATEST)
    planned = plan(HOURLY, since=at(5, 8), now=at(5, 12, 30), missed=missed)
    assert (hours(planned), planned.passed_over) == ([12], 4)


@pytest.mark.parametrize("missed", [Missed(CatchupPolicy.SKIP), Missed(cap=0)])
def test_skip_fires_what_is_not_late_and_nothing_else(missed):
    late = plan(HOURLY, since=at(5, 8), now=at(5, 12, 30), missed=missed)
    assert (late.times, late.passed_over, late.next_at) == ((), 5, at(5, 13))
    punctual = plan(HOURLY, since=at(5, 8), now=at(5, 12) + PUNCTUAL, missed=missed)
    assert (hours(punctual), punctual.passed_over) == ([12], 4)
    over = plan(HOURLY, since=at(5, 12), now=at(5, 12) + PUNCTUAL + MINUTE / 60, missed=missed)
    assert (over.times, over.passed_over) == ((), 1)


@pytest.mark.parametrize(
    ("policy", "expected", "over"),
    [
        (CatchupPolicy.ALL, [11, 12], 3),
        (CatchupPolicy.LATEST, [12], 4),
        (CatchupPolicy.SKIP, [12], 4),
    ],
)
def test_nothing_is_fired_later_than_its_deadline(policy, expected, over):
    missed = Missed(policy, deadline=timedelta(minutes=90))
    planned = plan(HOURLY, since=at(5, 8), now=at(5, 12, 30), missed=missed)
    assert (hours(planned), planned.passed_over) == (expected, over)
    soon = Missed(policy, deadline=timedelta(seconds=10))
    assert plan(HOURLY, since=at(5, 8), now=at(5, 12, 30), missed=soon).times == ()


def test_the_end_is_the_last_moment_that_may_fire():
    missed = Missed(end=at(5, 11))
    planned = plan(HOURLY, since=at(5, 8), now=at(5, 12, 30), missed=missed)
    assert (hours(planned), planned.passed_over, planned.next_at) == ([8, 9, 10, 11], 0, None)
    before = plan(HOURLY, since=at(5, 8), now=at(5, 10), missed=missed)
    assert before.next_at == at(5, 11)


def test_a_schedule_whose_end_was_moved_before_its_plan_fires_nothing_more():
    planned = plan(HOURLY, since=at(5, 12), now=at(5, 12, 30), missed=Missed(end=at(5, 11)))
    assert (planned.times, planned.passed_over, planned.next_at) == ((), 0, None)


def test_the_next_fire_is_later_than_the_moment_itself():
    assert next_fire(HOURLY, after=at(5, 12)) == at(5, 13)
    assert next_fire(HOURLY, after=at(5, 12) - timedelta(microseconds=1)) == at(5, 12)


def test_the_next_fire_lies_between_start_and_end_both_included():
    assert next_fire(HOURLY, after=at(5), start=at(9, 3)) == at(9, 3)
    assert next_fire(HOURLY, after=at(5), start=at(9, 3, 0, 1)) == at(9, 4)
    assert next_fire(HOURLY, after=at(12), start=at(9, 3)) == at(12, 1)
    assert next_fire(HOURLY, after=at(5), end=at(5, 1)) == at(5, 1)
    assert next_fire(HOURLY, after=at(5), end=at(5, 0, 59)) is None


def test_there_is_no_next_fire_after_the_years_that_cron_knows():
    assert next_fire(HOURLY, after=datetime(2200, 1, 1, tzinfo=UTC)) is None


def test_ten_days_of_minutes_cost_no_list_of_all_of_them():
    planned = plan(EVERY_MINUTE, since=at(1), now=at(11), missed=Missed(cap=100))
    assert len(planned.times) == 100
    assert planned.passed_over == 10 * 24 * 60 + 1 - 100
    assert planned.times[-1] == at(11)


EXPRESSIONS = [
    "* * * * *",
    "*/7 * * * *",
    "0 * * * *",
    "30 2 * * *",
    "15 1,13 * * 1-5",
    "0 0 29 2 *",
]
ZONES = ["UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
STEPS = st.lists(st.integers(1, 3 * 86_400), min_size=1, max_size=6)
# A clock of New York goes forward, and one of Lord Howe back, within a few weeks of these.
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


@st.composite
def situations(draw):
    schedule = cron.parse(draw(st.sampled_from(EXPRESSIONS)), draw(st.sampled_from(ZONES)))
    since = BEGIN + timedelta(seconds=draw(st.integers(0, 45 * 86_400)))
    end = draw(st.none() | st.integers(0, 6 * 86_400))
    limit = draw(st.none() | st.integers(1, 200_000))
    missed = Missed(
        draw(st.sampled_from(CatchupPolicy.values)),
        cap=draw(st.sampled_from([0, 1, 3, 100])),
        deadline=None if limit is None else timedelta(seconds=limit),
        end=None if end is None else since + timedelta(seconds=end),
    )
    first = next_fire(schedule, after=since, end=missed.end)
    assume(first is not None)
    return schedule, first, missed


def naive(schedule, since, now, missed):
    """Enumerate every time and decide one by one, as the docs tell it to people."""
    times = cron.fires_between(schedule, since - timedelta(microseconds=1), now)
    times = [time for time in times if missed.end is None or time <= missed.end]
    if missed.policy == CatchupPolicy.ALL and missed.cap > 0:
        chosen, patience = times[-missed.cap :], missed.deadline
    elif missed.policy == CatchupPolicy.LATEST:
        chosen, patience = times[-1:], missed.deadline
    else:
        chosen, patience = times[-1:], missed.deadline or PUNCTUAL
    kept = [time for time in chosen if patience is None or now - time <= patience]
    return tuple(kept), len(times) - len(kept)


@given(situations(), st.integers(0, 6 * 86_400))
def test_a_plan_is_what_an_enumeration_gives(situation, seconds):
    schedule, since, missed = situation
    now = since + timedelta(seconds=seconds)
    planned = plan(schedule, since=since, now=now, missed=missed)
    assert (planned.times, planned.passed_over) == naive(schedule, since, now, missed)


@given(situations(), st.integers(0, 6 * 86_400))
def test_the_next_time_is_later_than_now_and_nothing_lies_between(situation, seconds):
    schedule, since, missed = situation
    now = since + timedelta(seconds=seconds)
    planned = plan(schedule, since=since, now=now, missed=missed)
    if planned.next_at is None:
        (found,) = cron.next_fires(schedule, now)
        assert missed.end is not None
        assert found > missed.end
    else:
        assert planned.next_at > now
        assert cron.fires_between(schedule, now, planned.next_at) == (planned.next_at,)


@given(situations(), STEPS)
def test_over_many_plans_every_time_is_fired_once_or_passed_over_once(situation, steps):
    schedule, first, missed = situation
    since, now, fired, over = first, first, [], 0
    for seconds in steps:
        now += timedelta(seconds=seconds)
        if since is None or since > now:
            continue
        planned = plan(schedule, since=since, now=now, missed=missed)
        fired += planned.times
        over += planned.passed_over
        since = planned.next_at
    until = now if missed.end is None else min(now, missed.end)
    all_times = cron.fires_between(schedule, first - timedelta(microseconds=1), until)
    assert all(one < other for one, other in pairwise(fired))
    assert set(fired) <= set(all_times)
    assert len(fired) + over == len(all_times)
