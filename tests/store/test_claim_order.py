"""Who is claimed first, and who is left alone."""

from __future__ import annotations

import math

import pytest
from django.db import connection

from cloaca_django.core import registry
from cloaca_django.core.states import TaskStatus
from cloaca_django.engine import claiming, operations, submission
from tests import workflows
from tests.store.rows import skip_ids


def started(world):
    """Turn once and return what was started, in order."""
    world.step()
    return [job.workflow_name if job.seen == {} else job.seen["n"] for job in world.take()]


def test_the_higher_priority_comes_first_then_the_earlier_submission(make_world):
    workflows.many(["v", "w"])
    world = make_world(slots=8)
    for n, (name, priority) in enumerate(
        [("w", 0), ("v", 5), ("w", 5), ("v", -1), ("w", 32767), ("v", -32768), ("v", 0)]
    ):
        world.enqueue(name, {"n": n}, priority=priority)
    assert started(world) == [4, 1, 2, 0, 6, 3, 5]


def test_a_small_room_takes_the_best_over_all_lanes(make_world):
    workflows.many(["u", "v", "w"])
    world = make_world(slots=2)
    for n, (name, priority) in enumerate([("u", 0), ("u", 1), ("v", 9), ("w", 3), ("w", 2)]):
        world.enqueue(name, {"n": n}, priority=priority)
    assert started(world) == [2, 3]
    assert started(world) == [4, 1]
    assert started(world) == [0]


@pytest.mark.parametrize(("ordinary", "urgent", "learns"), [(0, 5, 0), (-5, 0, 2)])
def test_what_waited_behind_urgent_tasks_is_not_passed_by(
    make_world, monkeypatch, ordinary, urgent, learns
):
    """Urgent tasks are claimed first though they are newer, so their ids are no mark to go by."""
    monkeypatch.setattr(claiming, "LOW_MARGIN", 0)
    workflows.single("w")
    world = make_world(slots=2)
    waves = [(range(4), ordinary), (range(10, 14), urgent), (range(4, 8), ordinary)]
    for n, priority in ((n, priority) for wave, priority in waves for n in wave):
        world.enqueue("w", {"n": n}, priority=priority)
    assert started(world) == [10, 11]
    world.turn.claimer.next_full_scan = math.inf
    assert started(world) == [12, 13]
    calm = [n for _ in range(4) for n in started(world)]
    assert sorted(calm) == [*range(8)]
    # Who is less urgent than by default comes to light with the first batch at the latest.
    assert calm[learns:] == sorted(calm[learns:])


def test_the_mark_follows_urgent_tasks_when_for_long_there_were_no_others(make_world, monkeypatch):
    monkeypatch.setattr(claiming, "LOW_MARGIN", 0)
    workflows.single("w")
    world = make_world(slots=2)
    claimer = world.turn.claimer
    for n in range(4):
        world.enqueue("w", {"n": n}, priority=5)
    assert started(world) == [0, 1]
    assert claimer.low == 0
    claimer.floor_until = 0.0
    assert started(world) == [2, 3]
    assert (claimer.floor, claimer.low > 0) == (5, True)


def test_a_worker_takes_from_its_queues_only(make_world):
    workflows.single("w")
    world = make_world(claimer={"queues": ("reports", "mail")})
    for n, queue in enumerate(["default", "reports", "mail", "other"]):
        world.enqueue("w", {"n": n}, queue=queue)
    assert started(world) == [1, 2]
    assert started(world) == []


def test_a_worker_takes_the_workflows_it_was_asked_to_serve(make_world):
    workflows.many(["v", "w"])
    world = make_world(claimer={"only": frozenset({"v"})})
    world.enqueue("w", {"n": 0})
    world.enqueue("v", {"n": 1})
    assert started(world) == [1]


def test_a_worker_leaves_workflows_alone_that_it_has_no_code_for(world):
    with registry.isolated():
        workflows.single("gone")
        world.enqueue("gone", {"n": 0})
    workflows.single("w")
    world.enqueue("w", {"n": 1})
    assert started(world) == [1]
    assert started(world) == []


def test_a_paused_lane_is_passed_over(make_world):
    workflows.many(["v", "w"])
    world = make_world()
    held = world.enqueue("v", {"n": 0}, priority=9)
    # The pause alone, before anything is held: the claim must see it by itself.
    operations.pause_workflow(world.at_now(), "v")
    late = world.enqueue("v", {"n": 1}, priority=9)
    world.enqueue("w", {"n": 2})
    assert started(world) == [2]
    assert world.statuses(held) == world.statuses(late) == {"a": TaskStatus.HELD}


@pytest.mark.parametrize("lanes", [1, 40])
def test_many_lanes_are_all_served(make_world, lanes):
    names = [f"w{at:03}" for at in range(lanes)]
    workflows.many(names)
    world = make_world(slots=500)
    for at, name in enumerate(names):
        world.enqueue(name, {"n": at})
    assert started(world) == list(range(lanes))


def test_a_room_of_one_still_prefers_the_urgent_lane_among_hundreds(make_world):
    names = [f"w{at:03}" for at in range(230)]
    workflows.many(names)
    world = make_world(slots=1)
    for name in names[:-1]:
        world.enqueue(name, {"n": 0})
    world.enqueue(names[-1], {"n": 1}, priority=9)
    assert started(world) == [1]


def test_a_worker_that_drains_claims_nothing(world):
    workflows.single("w")
    world.enqueue("w")
    world.turn.is_draining = True
    assert started(world) == []


class TestLowWater:
    """Claims begin a little below the newest ids; what comes back late is found all the same."""

    @pytest.fixture
    def busy(self, world):
        """A worker that has claimed ids far above those of its first run."""
        workflows.many(["early", "w"])
        self.early = world.prepared("early", {"n": "early"})
        early = self.write(world)
        self.hold(world, early)
        for _ in range(2):
            skip_ids(20_000)
            world.enqueue("w", {"n": "late"})
            assert started(world) == ["late"]
        assert world.turn.claimer.low > 10_000
        self.release(world, early)
        return world

    def write(self, world):
        session = world.at_now()
        with session.transaction():
            submission.submit(session, [self.early])
        return self.early.id

    def hold(self, world, run_id):
        operations.pause(world.at_now(), run_id)

    def release(self, world, run_id):
        operations.resume(world.at_now(), run_id)

    def test_what_was_resumed_is_found_within_a_second_when_idle(self, busy):
        busy.pass_by(1.0)
        assert started(busy) == ["early"]

    def test_and_within_ten_seconds_under_load(self, busy):
        for _ in range(12):
            for _ in range(4):
                busy.enqueue("w", {"n": "load"})
            busy.pass_by(1.0)
            if "early" in started(busy):
                return
        raise AssertionError("starved")

    def test_a_retry_far_below_is_found(self, world):
        workflows.single("flaky", workflows.boom, retry_attempts=2, retry_delay_ms=0)
        workflows.single("w")
        world.enqueue("flaky", {"n": "flaky"})
        world.step()
        (job,) = world.take()
        skip_ids(40_000)
        world.enqueue("w", {"n": "w"})
        assert started(world) == ["w"]
        world.perform(job)
        assert started(world) in ([], ["flaky"])
        world.pass_by(1.0)
        world.step()
        assert world.statuses(job.run_id)["a"] == TaskStatus.RUNNING


def test_a_run_committed_long_after_its_insert_starts_within_the_poll(make_world):
    if connection.vendor == "sqlite":
        pytest.skip("a file has one writer: nobody else inserts meanwhile")
    workflows.many(["slow", "w"])
    caller, world = make_world(), make_world()
    asked = caller.prepared("slow", {"n": "slow"})
    session = caller.at_now()
    with session.transaction():
        submission.submit(session, [asked])
        skip_ids(30_000)
        world.enqueue("w", {"n": 1})
        assert started(world) == [1]
        skip_ids(30_000)
        world.enqueue("w", {"n": 2})
        world.pass_by(5.0)
        assert started(world) == [2]
    world.pass_by(1.0)
    assert world.tick() in (True, False)
    world.pass_by(0.1)
    world.step()
    assert [job.seen["n"] for job in world.take()] == ["slow"]
