"""The merge by example: who replaces whom, and what unites."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from cloaca_django.core.merge import REMOVED, Contribution, Write, apply, diff, fold

from .json_values import exact


def task(position: int, *writes: Write, after: tuple[int, ...] = ()) -> Contribution:
    return Contribution(position, writes, frozenset(after))


def wrote(value: Any, *path: str) -> Write:
    return Write(path, value)


def removed(*path: str) -> Write:
    return Write(path, REMOVED)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {}, []),
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": True}, [wrote(True, "a")]),
        ({"a": 1}, {"a": 1.0}, [wrote(1.0, "a")]),
        ({"a": 0.0}, {"a": -0.0}, [wrote(-0.0, "a")]),
        ({"a": [1]}, {"a": [True]}, [wrote([True], "a")]),
        ({"a": [{"x": 1, "y": 2}]}, {"a": [{"y": 2, "x": 1}]}, []),
        ({"a": 1}, {"a": None}, [wrote(None, "a")]),
        ({"a": 1}, {}, [removed("a")]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, [wrote(3, "a", "c")]),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 2}}, [removed("a", "b")]),
        ({"a": {"b": 1}}, {"a": {}}, [wrote({}, "a")]),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {}}}, [wrote({}, "a", "b")]),
        ({"a": {}}, {"a": {"b": 1}}, [wrote(1, "a", "b")]),
        ({"a": 1}, {"a": {"b": 1}}, [wrote({"b": 1}, "a")]),
        ({"a": {"b": 1}}, {"a": [1]}, [wrote([1], "a")]),
        ({}, {"a": {"b": {}}}, [wrote({"b": {}}, "a")]),
    ],
)
def test_a_difference_is_a_list_of_paths(before: Any, after: Any, expected: list[Write]) -> None:
    assert exact([write.value for write in diff(before, after)]) == exact(
        [write.value for write in expected]
    )
    assert [write.path for write in diff(before, after)] == [write.path for write in expected]
    assert exact(apply(before, diff(before, after))) == exact(after)


def test_parallel_lists_unite_without_their_common_start() -> None:
    branches = [task(0, wrote(["s", "a"], "l")), task(1, wrote(["s", "b"], "l"))]
    assert fold({"l": ["s"]}, branches) == {"l": ["s", "a", "b"]}


def test_parallel_objects_merge_path_by_path() -> None:
    branches = [task(0, wrote({"a": 1}, "m")), task(1, wrote({"b": 2}, "m"))]
    assert fold({}, branches) == {"m": {"a": 1, "b": 2}}


def test_of_parallel_values_the_later_in_topological_order_wins() -> None:
    branches = [task(0, wrote(1, "n")), task(1, wrote("x", "n")), task(2, wrote(None, "n"))]
    assert fold({"n": 0}, branches) == {"n": None}


def test_a_stale_copy_never_overwrites_a_fresh_value() -> None:
    changed = task(0, wrote("fresh", "k"))
    untouched = task(1, wrote(1, "other"))
    assert fold({"k": "stale"}, [changed, untouched]) == {"k": "fresh", "other": 1}


def test_a_set_beats_a_parallel_removal() -> None:
    assert fold({"k": 1}, [task(0, wrote(2, "k")), task(1, removed("k"))]) == {"k": 2}
    assert fold({"k": 1}, [task(0, removed("k")), task(1, wrote(2, "k"))]) == {"k": 2}
    branches = [task(0, wrote(2, "m", "b")), task(1, removed("m"))]
    assert fold({"m": {"a": 1}}, branches) == {"m": {"b": 2}}


def test_a_removal_by_a_successor_holds() -> None:
    assert fold({}, [task(0, wrote(1, "k")), task(1, removed("k"), after=(0,))]) == {}


def test_what_a_successor_replaced_does_not_unite() -> None:
    chain = [
        task(0, wrote([1], "l")),
        task(1, wrote([2], "l"), after=(0,)),
        task(2, wrote([3], "l")),
    ]
    assert fold({"l": [0]}, chain) == {"l": [2, 3]}


def test_the_initial_list_does_not_unite_with_a_new_one() -> None:
    assert fold({"l": [0]}, [task(0, wrote([1], "l")), task(1, wrote(1, "x"))])["l"] == [1]
    assert fold({"l": [0]}, [task(0, wrote([1], "l")), task(1, wrote([2], "l"))])["l"] == [1, 2]


def test_a_successor_that_makes_an_object_voids_the_scalar_it_saw() -> None:
    run = [
        task(0, wrote(2, "m", "b")),
        task(1, wrote(5, "m")),
        task(2, wrote({"a": 1}, "m"), after=(1,)),
    ]
    assert fold({"m": {}}, run) == {"m": {"a": 1, "b": 2}}


def test_two_removals_of_different_keys_leave_an_empty_object() -> None:
    branches = [task(0, removed("m", "a")), task(1, removed("m", "b"))]
    assert fold({"m": {"a": 1, "b": 1}}, branches) == {"m": {}}


def test_a_part_of_a_new_object_can_be_replaced_and_removed() -> None:
    run = [
        task(0, wrote({"a": [1], "b": 1}, "m")),
        task(1, wrote([2], "m", "a"), after=(0,)),
        task(2, removed("m", "b"), after=(0,)),
    ]
    assert fold({}, run) == {"m": {"a": [2]}}


def test_union_tells_numbers_and_booleans_apart_and_keeps_the_first_as_it_is() -> None:
    branches = [task(0, wrote([1, 1], "l")), task(1, wrote([True, 1, 1.0, "1", {}, {}], "l"))]
    united = fold({}, branches)["l"]
    assert exact(united) == exact([1, 1, True, 1.0, "1", {}])


def test_untouched_values_are_shared_and_inputs_kept() -> None:
    big = {"x": [1]}
    initial = {"big": big, "m": {"a": 1}}
    result = fold(initial, [task(0, wrote(2, "m", "a")), task(1, wrote(3, "m", "b"))])
    assert result == {"big": big, "m": {"a": 2, "b": 3}}
    assert result["big"] is big
    assert initial == {"big": {"x": [1]}, "m": {"a": 1}}


def test_removed_survives_a_pickle() -> None:
    write = removed("a")
    assert pickle.loads(pickle.dumps(write)) == write
    assert repr(REMOVED) == "REMOVED"
