"""How many run at once, on which threads, and who is next."""

from __future__ import annotations

import threading

import pytest

from cloaca_django.engine.slots import Slots

DEADLINE = 10.0


class Work:
    """An item that says when it starts and ends when it is told to."""

    def __init__(self, name=""):
        self.name = name
        self.started = threading.Event()
        self.may_end = threading.Event()
        self.thread = None


@pytest.fixture
def make_slots():
    made = []

    def make(limit, run=None, **facts):
        slots = Slots(limit, run or (lambda work: serve(slots, work)), **facts)
        made.append(slots)
        return slots

    yield make
    for slots in made:
        slots.close()


def serve(slots, work):
    work.thread = threading.current_thread()
    work.started.set()
    assert work.may_end.wait(DEADLINE)
    slots.release()


def started(work):
    return work.started.wait(DEADLINE)


def test_no_more_run_than_there_are_slots(make_slots):
    slots = make_slots(2)
    works = [Work() for _ in range(3)]
    for work in works:
        slots.submit(work)
    assert started(works[0])
    assert started(works[1])
    assert slots.load == 3
    assert not works[2].started.wait(0.1)
    works[0].may_end.set()
    assert started(works[2])
    for work in works:
        work.may_end.set()


def test_who_came_first_is_served_first(make_slots):
    order = []

    def run(work):
        order.append(work.name)
        serve(slots, work)

    slots = make_slots(1, run)
    works = [Work(name) for name in range(5)]
    for work in works:
        work.may_end.set()
        slots.submit(work)
    assert started(works[-1])
    assert order == [0, 1, 2, 3, 4]


def test_a_thread_that_became_idle_is_used_again(make_slots):
    slots = make_slots(1)
    threads = set()
    for _ in range(5):
        work = Work()
        work.may_end.set()
        slots.submit(work)
        assert started(work)
        threads.add(work.thread)
        assert until(lambda: slots.load == 0)
    assert len(threads) <= 2


def until(condition):
    pause = threading.Event()
    for _ in range(1000):
        if condition():
            return True
        pause.wait(0.005)
    return False


def test_a_thread_that_parks_gives_its_slot_on_and_waits_for_another(make_slots):
    wants_back, back = threading.Event(), threading.Event()

    def run(work):
        work.started.set()
        if work.name == "parks":
            slots.release()
            assert wants_back.wait(DEADLINE)
            slots.reacquire()
            back.set()
        assert work.may_end.wait(DEADLINE)
        slots.release()

    slots = make_slots(1, run)
    parks, other = Work("parks"), Work("other")
    slots.submit(parks)
    assert started(parks)
    slots.submit(other)
    assert started(other)
    wants_back.set()
    assert not back.wait(0.1)
    other.may_end.set()
    assert back.wait(DEADLINE)
    parks.may_end.set()


def test_a_parked_thread_goes_before_work_that_never_had_a_slot(make_slots):
    order = []

    def run(work):
        work.started.set()
        if work.name == "parks":
            slots.release()
            assert work.may_end.wait(DEADLINE)
            slots.reacquire()
        else:
            assert work.may_end.wait(DEADLINE)
        order.append(work.name)
        slots.release()

    slots = make_slots(1, run)
    parks, holds, waits = Work("parks"), Work("holds"), Work("waits")
    slots.submit(parks)
    assert started(parks)
    slots.submit(holds)
    assert started(holds)
    slots.submit(waits)
    parks.may_end.set()
    waits.may_end.set()
    assert until(lambda: slots.load == 3)
    holds.may_end.set()
    assert until(lambda: len(order) == 3)
    assert order == ["holds", "parks", "waits"]


def test_parked_threads_come_back_in_the_order_they_asked(make_slots):
    slots = make_slots(1, lambda work: None)
    slots.submit(object())
    order, threads = [], []
    for name in range(3):
        thread = threading.Thread(target=lambda name=name: (slots.reacquire(), order.append(name)))
        threads.append(thread)
        thread.start()
        assert until(lambda name=name: slots.load == 2 + name)
    for count in range(3):
        slots.release()
        assert until(lambda count=count: len(order) == count + 1)
    for thread in threads:
        thread.join(DEADLINE)
    assert order == [0, 1, 2]


def test_what_has_not_started_can_be_taken_back(make_slots):
    slots = make_slots(1)
    runs, waits = Work(), [Work(), Work()]
    slots.submit(runs)
    assert started(runs)
    for work in waits:
        slots.submit(work)
    assert slots.withdraw(lambda work: work is waits[1]) == waits[1:]
    assert slots.withdraw() == waits[:1]
    assert slots.withdraw() == []
    assert slots.load == 1
    runs.may_end.set()


def test_a_slot_that_was_given_on_is_not_given_twice(make_slots):
    """An abandoned body's slot serves another; its own end releases nothing then."""
    slots = make_slots(1, lambda work: work.started.set())
    first, second, third = Work(), Work(), Work()
    slots.submit(first)
    assert started(first)
    slots.release()
    slots.submit(second)
    assert started(second)
    slots.submit(third)
    assert not third.started.wait(0.1)
    assert slots.load == 2


def test_closing_ends_idle_threads_and_lets_busy_ones_finish(make_slots):
    slots = make_slots(2, name="closing")
    busy, done = Work(), Work()
    done.may_end.set()
    slots.submit(busy)
    slots.submit(done)
    assert started(busy)
    assert started(done)
    slots.close()
    busy.may_end.set()
    assert until(
        lambda: not any(thread.name.startswith("closing") for thread in threading.enumerate())
    )


def test_threads_are_named_after_what_they_are(make_slots):
    slots = make_slots(1)
    work = Work()
    work.may_end.set()
    slots.submit(work)
    assert started(work)
    assert work.thread.name.startswith("cloaca-task-")
    assert work.thread.daemon
