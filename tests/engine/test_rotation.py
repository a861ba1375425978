"""Whose turn is next: nobody waits longer than a round, and who was told of is not forgotten."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cloaca_django.engine.rotation import NEVER, Rotation

names = st.sampled_from("abcdef")


def served(rotation: Rotation, now: float = 0.0) -> list[str]:
    found = []
    while (one := rotation.take(now)) is not None:
        found.append(one)
    return found


def test_who_comes_first_is_served_first_and_once():
    rotation = Rotation()
    for one in "abacb":
        rotation.call(one)
    assert served(rotation) == ["a", "b", "c"]
    assert rotation.take(0.0) is None


def test_who_was_served_goes_to_the_end_of_the_line():
    rotation = Rotation()
    for one in "abc":
        rotation.call(one)
    assert rotation.take(0.0) == "a"
    rotation.call("a")
    assert served(rotation) == ["b", "c", "a"]


@given(st.lists(names, unique=True, min_size=1), st.lists(names, max_size=30))
def test_nobody_waits_longer_than_one_round_whoever_else_comes_back(waiting, others):
    rotation = Rotation()
    for one in waiting:
        rotation.call(one)
    seen = []
    for other in others:
        if (one := rotation.take(0.0)) is not None:
            seen.append(one)
            rotation.call(one)
        rotation.call(other)
    seen += served(rotation)
    assert set(seen[: len(waiting)]) == set(waiting)


@given(st.dictionaries(names, st.floats(0, 100)), st.floats(0, 100))
def test_a_moment_brings_its_tenant_and_no_other(moments, now):
    rotation = Rotation()
    for one, moment in moments.items():
        rotation.expect(one, moment)
    assert rotation.next_moment() == min(moments.values(), default=NEVER)
    due = [one for one, moment in moments.items() if moment <= now]
    assert sorted(served(rotation, now)) == sorted(due)
    later = [moment for moment in moments.values() if moment > now]
    assert rotation.next_moment() == min(later, default=NEVER)


def test_a_later_moment_takes_the_place_of_an_earlier_one():
    rotation = Rotation()
    rotation.expect("a", 1.0)
    rotation.expect("a", 5.0)
    assert rotation.next_moment() == 5.0
    assert rotation.take(4.0) is None
    rotation.expect("a", NEVER)
    assert rotation.next_moment() == NEVER
    assert rotation.take(9.0) is None


def test_who_is_called_waits_for_no_moment_and_for_no_slot_any_more():
    rotation = Rotation()
    rotation.expect("a", 1.0)
    rotation.starve("a")
    rotation.call("a")
    assert list(rotation.hungry()) == []
    assert served(rotation, 2.0) == ["a"]
    assert rotation.next_moment() == NEVER


def test_who_waits_for_a_slot_keeps_its_place_among_those_who_do():
    rotation = Rotation()
    for one in "abca":
        rotation.starve(one)
    assert list(rotation.hungry()) == ["a", "b", "c"]
    assert rotation.hungry_besides("b") == 2
    assert rotation.hungry_besides("d") == 3
    rotation.sate("a")
    assert list(rotation.hungry()) == ["b", "c"]


def test_others_are_all_who_wait_for_a_turn_or_for_a_slot():
    rotation = Rotation()
    rotation.call("a")
    rotation.call("b")
    rotation.starve("c")
    assert set(rotation.others("a")) == {"b", "c"}


def test_who_is_forgotten_is_nowhere():
    rotation = Rotation()
    rotation.call("a")
    rotation.starve("b")
    rotation.expect("c", 1.0)
    for one in "abc":
        rotation.forget(one)
    assert served(rotation, 2.0) == []
    assert list(rotation.hungry()) == []
    assert rotation.next_moment() == NEVER
