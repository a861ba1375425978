"""Ids are unique, and ordered by when they were made."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import count, pairwise

import pytest

from cloaca_django import clock, ids


@pytest.mark.parametrize("step", [0, -1], ids=["one moment", "a clock that runs back"])
def test_later_run_ids_are_greater(monkeypatch, step):
    moments = count(1_700_000_001_000, step)
    monkeypatch.setattr(clock, "milliseconds", lambda: next(moments))
    monkeypatch.setattr(ids, "_last", (0, 0))
    made = [ids.new_run_id() for _ in range(ids.BACKWARD_MS)]
    assert all(first < second for first, second in pairwise(made))
    assert {(one.version, one.variant) for one in made} == {(7, made[0].variant)}
    assert {one.int >> 80 for one in made} == {made[0].int >> 80}


def test_threads_never_make_the_same_run_id():
    with ThreadPoolExecutor(8) as pool:
        made = [one for some in pool.map(_many, range(8)) for one in some]
    assert len(set(made)) == 8 * 2_000


def _many(_):
    return [ids.new_run_id() for _ in range(2_000)]


@pytest.mark.parametrize("later", [6, 5 + 90_000, 5 - ids.BACKWARD_MS - 1])
def test_a_clock_that_moves_is_followed(monkeypatch, later):
    start = 1_700_000_000_000
    monkeypatch.setattr(ids, "_last", (0, 0))
    for moment in (start + 5, start + later):
        monkeypatch.setattr(clock, "milliseconds", lambda moment=moment: moment)
        assert ids.new_run_id().int >> 80 == moment
