"""Ids are unique, and ordered by when they were made."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise, repeat

import pytest

from cloaca_django import clock, ids

MOMENTS = {
    "one moment": repeat(1_700_000_000_000),
    "a clock that runs back": iter(range(1_700_000_001_000, 0, -1)),
}


@pytest.mark.parametrize("moments", MOMENTS, ids=str)
def test_later_run_ids_are_greater(monkeypatch, moments):
    now = MOMENTS[moments]
    monkeypatch.setattr(clock, "milliseconds", lambda: next(now))
    monkeypatch.setattr(ids, "_last", (0, 0))
    made = [ids.new_run_id() for _ in range(10_000)]
    assert all(first < second for first, second in pairwise(made))
    assert {(one.version, one.variant) for one in made} == {(7, made[0].variant)}
    assert {one.int >> 80 for one in made} == {made[0].int >> 80}


def test_threads_never_make_the_same_run_id():
    with ThreadPoolExecutor(8) as pool:
        made = [one for some in pool.map(_many, range(8)) for one in some]
    assert len(set(made)) == 8 * 2_000


def _many(_):
    return [ids.new_run_id() for _ in range(2_000)]


def test_the_clock_moves_ids_on(monkeypatch):
    monkeypatch.setattr(ids, "_last", (0, 0))
    monkeypatch.setattr(clock, "milliseconds", lambda: 5)
    before = ids.new_run_id()
    monkeypatch.setattr(clock, "milliseconds", lambda: 6)
    after = ids.new_run_id()
    assert (before.int >> 80, after.int >> 80) == (5, 6)
