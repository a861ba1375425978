"""What a worker counts: each thing once, after its commit, by labels that stay few."""

from __future__ import annotations

import json

import pytest

from cloaca_django.core.measures import BUCKETS, MAX_SERIES, OTHER, bounded
from cloaca_django.engine import gauges, meter, notices, operations, recovery
from cloaca_django.engine.messages import HandBack
from tests import workflows


@pytest.fixture
def counts():
    """The meter of this process, switched on."""
    yield meter.switch_on()
    meter.switch_off()


def publish(world):
    """Tell what the turns of a world driven by hand have committed, as a worker's do."""
    for effects in world.published:
        notices.publish(effects)


def values(counts, measure):
    """Return what was counted by labels, without the schema, which no test here has."""
    return {
        one.labels[:-1] if "schema" in measure.labels else one.labels: list(one.values)
        for one in counts.series()
        if one.measure is measure and any(one.values)
    }


def test_nothing_is_counted_until_somebody_wants_to_know(world):
    meter.switch_off()
    workflows.single("w")
    world.enqueue("w")
    world.drain()
    publish(world)
    assert not meter.is_on()
    assert list(meter.taken()) == []


def test_completed_tasks_and_runs_are_counted_with_their_times(world, counts):
    workflows.chain("w", workflows.nothing, workflows.nothing)
    world.enqueue("w")
    world.enqueue("w")
    world.drain()
    publish(world)
    attempts = values(counts, meter.ATTEMPTS)
    assert attempts == {("w", "a", "Completed"): [2.0], ("w", "b", "Completed"): [2.0]}
    assert values(counts, meter.RUNS) == {("w", "Completed"): [2.0]}
    times = values(counts, meter.TASK_SECONDS)
    assert {labels: sum(found[:-1]) for labels, found in times.items()} == {
        ("w", "a"): 2.0,
        ("w", "b"): 2.0,
    }
    assert sum(values(counts, meter.RUN_SECONDS)[("w",)][:-1]) == 2.0
    assert values(counts, meter.RETRIES) == {}


def test_failed_attempts_are_counted_and_those_that_come_again_as_retries(world, counts):
    workflows.single("w", workflows.boom, retry_attempts=3, retry_delay_ms=0)
    world.enqueue("w")
    world.drain()
    publish(world)
    assert values(counts, meter.ATTEMPTS) == {("w", "a", "Failed"): [3.0]}
    assert values(counts, meter.RETRIES) == {("w", "a"): [2.0]}
    assert values(counts, meter.RUNS) == {("w", "Failed"): [1.0]}


def test_a_cancelled_run_is_counted(world, counts):
    workflows.single("w")
    operations.cancel(world.at_now(), world.enqueue("w"))
    assert values(counts, meter.RUNS) == {("w", "Cancelled"): [1.0]}


def test_tasks_of_a_lost_worker_are_counted_when_they_come_back(world, counts):
    workflows.single("w")
    world.register()
    world.enqueue("w")
    world.step()
    assert len(world.take()) == 1
    world.pass_by(3600.0)
    assert values(counts, meter.RECOVERED) == {}
    recovery.sweep(world.at_now(), max_crashes=3)
    assert values(counts, meter.RECOVERED) == {(): [1.0]}
    recovery.sweep(world.at_now(), max_crashes=3)
    assert values(counts, meter.RECOVERED) == {(): [1.0]}


def test_a_refused_outcome_is_counted(world, counts):
    workflows.single("w")
    run_id = world.enqueue("w")
    world.step()
    (job,) = world.take()
    operations.cancel(world.at_now(), run_id)
    world.perform(job)
    world.tick()
    publish(world)
    assert values(counts, meter.REFUSED) == {(): [1.0]}
    assert values(counts, meter.ATTEMPTS) == {}


def test_a_task_that_is_handed_back_unstarted_had_no_attempt(world, counts):
    workflows.single("w")
    world.enqueue("w")
    world.step()
    assert len(world.take()) == 1
    world.turn.post(HandBack(running_too=True))
    world.tick()
    publish(world)
    assert [
        len(effects.settled.accepted) for effects in world.published if effects.settled.accepted
    ]
    assert values(counts, meter.ATTEMPTS) == {}
    assert values(counts, meter.TASK_SECONDS) == {}


@pytest.mark.parametrize(
    ("seconds", "at"), [(0.0, 0), (0.005, 0), (0.0051, 1), (3600.0, 15), (3600.1, 16)]
)
def test_a_time_is_put_into_the_first_bucket_that_holds_it(counts, seconds, at):
    meter.time(meter.RUN_SECONDS, seconds, "w")
    *buckets, total = values(counts, meter.RUN_SECONDS)[("w",)]
    assert len(buckets) == len(BUCKETS) + 1
    assert [place for place, count in enumerate(buckets) if count] == [at]
    assert total == seconds


def test_rates_of_rare_things_have_a_zero_to_rise_from(counts):
    there = {one.measure: list(one.values) for one in counts.series()}
    for measure in (meter.RECOVERED, meter.REFUSED, meter.PASSED_OVER, meter.PARKED):
        assert there[measure] == [0.0]


def test_labels_beyond_the_limit_share_one_series(counts):
    for number in range(MAX_SERIES + 500):
        meter.count(meter.RUNS, f"w{number}", "Completed", "")
    found = values(counts, meter.RUNS)
    assert len(found) == MAX_SERIES
    assert found[(OTHER, OTHER)] == [501.0]


def test_gauges_beyond_the_limit_share_one_series_which_has_the_sum_or_the_greatest_age():
    def many(measure):
        labels = [(f"q{number}", "w", "") for number in range(MAX_SERIES + 9)]
        ages = range(1, MAX_SERIES + 10)
        return [
            gauges.Series(measure, one, [float(age)]) for one, age in zip(labels, ages, strict=True)
        ]

    for measure, wanted in ((gauges.UNSERVED, sum(range(1, 11))), (gauges.OLDEST, 10)):
        found = bounded(many(measure))
        assert len(found) == MAX_SERIES
        assert found[-1].labels == (OTHER, OTHER, OTHER)
        assert found[-1].values == [wanted]


def test_what_a_process_counted_is_added_to_what_its_supervisor_has(counts):
    def work():
        meter.count(meter.RUNS, "w", "Failed", "", by=2)
        meter.time(meter.RUN_SECONDS, 0.2, "w")

    work()
    portions = json.loads(json.dumps(list(meter.taken())))
    assert list(meter.taken()) == []
    work()
    for portion in portions:
        meter.put(portion)
    assert values(counts, meter.RUNS) == {("w", "Failed"): [4.0]}
    assert sum(values(counts, meter.RUN_SECONDS)[("w",)][:-1]) == 2.0


def test_what_is_handed_over_goes_in_messages_that_are_read_at_once(counts):
    for number in range(200):
        meter.time(meter.TASK_SECONDS, 1e-9 / 3, "w" * 255, f"{number:0>255}")
    portions = list(meter.taken())
    assert sum(map(len, portions)) == 200
    assert max(len(json.dumps(portion)) for portion in portions) < 1 << 16
