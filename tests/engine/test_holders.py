"""Who holds a slot and how many are parked, when many threads come and go at once."""

from __future__ import annotations

import sys
import threading
from types import SimpleNamespace

import pytest

from cloaca_django.engine.holders import Holders
from cloaca_django.engine.slots import Slots

THREADS = 16


@pytest.fixture
def holders():
    """Holders whose slots start nothing, while threads take turns as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield SlowCount(Slots(THREADS, run=lambda job: None), post=lambda message: None)
    sys.setswitchinterval(interval)


class Waiting:
    """What holders ask of a job."""

    def __init__(self):
        self.waits = 0
        self.task = SimpleNamespace(is_async=False)


def at_once(act):
    """Call ``act`` with a job of its own on each of many threads, released together."""
    barrier = threading.Barrier(THREADS)
    found = []

    def run():
        job = Waiting()
        barrier.wait(10)
        found.append((job, act(job)))

    threads = [threading.Thread(target=run) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(found) == THREADS
    return found


class SlowCount(Holders):
    """Holders whose count takes long to read, as that of a busy process may."""

    @property
    def _parked(self):
        threading.Event().wait(0.001)
        return self.count

    @_parked.setter
    def _parked(self, count):
        self.count = count


def test_no_more_jobs_are_parked_than_allowed_however_many_ask_at_once(holders, settings):
    settings.CLOACA = {"MAX_PARKED_THREADS": 3}
    asked = at_once(holders.park)
    assert sum(is_parked for _, is_parked in asked) == 3
    assert holders.count == 3


def test_the_count_is_nought_when_all_have_come_back(holders):
    def wait_and_return(job):
        holders.slots.reacquire()
        holders.add(job)
        for _ in range(3):
            assert holders.park(job)
            holders.unpark(job)
        holders.give_back(job)

    at_once(wait_and_return)
    assert holders.count == 0
    assert holders.slots.load == 0


def test_a_slot_is_given_back_once_whoever_comes_first(holders):
    job = Waiting()
    for _ in range(2):
        holders.slots.reacquire()
    holders.add(job)
    at_once(lambda _: holders.give_back(job))
    assert holders.slots.load == 1
    holders.slots.release()
