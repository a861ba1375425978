"""The merge against a naive reference, and the promises that need no reference."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from cloaca_django.core.context import decode_writes, encode_writes
from cloaca_django.core.merge import REMOVED, Contribution, Write, apply, diff, fold

from .json_values import contexts, exact, fresh, meeting_contexts, meeting_keys, meeting_values


class Graph(NamedTuple):
    """A run that ended: what each task contributed, and what it left."""

    initial: dict[str, Any]
    contributions: list[Contribution]
    left: list[dict[str, Any]]


def edited(data: dict[str, Any], draw: Any) -> dict[str, Any]:
    """Return a copy of ``data`` after a few random edits, some of them deep."""
    result: dict[str, Any] = fresh(data)
    for _ in range(draw(st.integers(0, 3))):
        holder, key = result, draw(meeting_keys)
        while isinstance(holder.get(key), dict) and draw(st.booleans()):
            holder, key = holder[key], draw(meeting_keys)
        if draw(st.booleans()):
            holder[key] = fresh(draw(meeting_values))
        else:
            holder.pop(key, None)
    return result


@st.composite
def graphs(draw: Any, *, most: int = 8) -> Graph:
    """Draw a graph in topological order, run it and keep what came of it."""
    initial = draw(meeting_contexts)
    contributions: list[Contribution] = []
    left: list[dict[str, Any]] = []
    for position in range(draw(st.integers(1, most))):
        parents = draw(st.sets(st.integers(0, position - 1))) if position else set()
        ancestors = frozenset(parents).union(*(contributions[one].ancestors for one in parents))
        seen = fold(initial, [contributions[one] for one in sorted(ancestors)])
        after = edited(seen, draw)
        contributions.append(Contribution(position, diff(seen, after), ancestors))
        left.append(after)
    return Graph(initial, contributions, left)


@st.composite
def fans(draw: Any) -> Graph:
    """Draw five to eight branches behind one root, each two tasks long."""
    initial = draw(meeting_contexts)
    root = edited(initial, draw)
    contributions = [Contribution(0, diff(initial, root), frozenset())]
    for branch in range(draw(st.integers(5, 8))):
        first = Contribution(2 * branch + 1, diff(root, edited(root, draw)), frozenset({0}))
        seen = fold(initial, [contributions[0], first])
        ancestors = frozenset({0, first.position})
        second = Contribution(first.position + 1, diff(seen, edited(seen, draw)), ancestors)
        contributions += [first, second]
    return Graph(initial, contributions, [])


def leaf_writes(write: Write) -> list[Write]:
    """Return a write as single values: an object is one empty object and then what it holds."""
    if not isinstance(write.value, dict):
        return [write]
    parts = [Write((*write.path, key), value) for key, value in write.value.items()]
    return [Write(write.path, {}), *(leaf for part in parts for leaf in leaf_writes(part))]


def naive_fold(initial: dict[str, Any], contributions: list[Contribution]) -> dict[str, Any]:
    """The rule, word by word, on deep copies."""
    result: dict[str, Any] = fresh(initial)
    everything = [
        (one, leaf) for one in contributions for write in one.writes for leaf in leaf_writes(write)
    ]
    for _, leaf in everything:
        naive_remove(result, leaf.path)
    for one, leaf in everything:
        superseded = any(
            one.position in other.ancestors and leaf.path[: len(later.path)] == later.path
            for other, later in everything
        )
        if leaf.value is not REMOVED and not superseded:
            naive_set(result, leaf.path, fresh(leaf.value))
    return result


def naive_remove(data: dict[str, Any], path: tuple[str, ...]) -> None:
    for key in path[:-1]:
        if not isinstance(data.get(key), dict):
            return
        data = data[key]
    data.pop(path[-1], None)


def naive_set(data: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        if not isinstance(data.get(key), dict):
            data[key] = {}
        data = data[key]
    present = data.get(path[-1])
    if isinstance(present, list) and isinstance(value, list):
        for item in value:
            if exact(item) not in [exact(one) for one in present]:
                present.append(item)
    elif not (isinstance(present, dict) and value == {}):
        data[path[-1]] = value


@given(graphs())
@settings(max_examples=300)
def test_the_merge_agrees_with_the_naive_reference(graph: Graph) -> None:
    expected = naive_fold(graph.initial, graph.contributions)
    assert exact(fold(graph.initial, graph.contributions)) == exact(expected)


@given(fans())
@settings(max_examples=200)
def test_five_and_more_branches_agree_with_the_naive_reference(graph: Graph) -> None:
    expected = naive_fold(graph.initial, graph.contributions)
    assert exact(fold(graph.initial, graph.contributions)) == exact(expected)


@given(graphs())
@settings(max_examples=300)
def test_what_a_task_left_is_what_its_only_successor_gets(graph: Graph) -> None:
    for one in graph.contributions:
        seen = [graph.contributions[other] for other in sorted(one.ancestors)]
        assert exact(fold(graph.initial, [*seen, one])) == exact(graph.left[one.position])


@given(graphs())
def test_inputs_stay_as_they_are(graph: Graph) -> None:
    before = copy.deepcopy((graph.initial, graph.contributions))
    fold(graph.initial, graph.contributions)
    assert (graph.initial, graph.contributions) == before


@given(graphs())
def test_a_task_that_changed_nothing_changes_nothing(graph: Graph) -> None:
    idle = Contribution(len(graph.contributions), (), frozenset())
    expected = fold(graph.initial, graph.contributions)
    assert fold(graph.initial, [*graph.contributions, idle]) == expected


@given(meeting_contexts, meeting_contexts)
def test_applying_a_difference_gives_the_second_context(
    before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert exact(apply(before, diff(before, after))) == exact(after)


@given(contexts, contexts)
def test_writes_survive_their_text(before: dict[str, Any], after: dict[str, Any]) -> None:
    writes = diff(before, after)
    assert exact(apply(before, decode_writes(encode_writes(writes)))) == exact(after)


@given(contexts)
def test_equal_contexts_have_no_difference(data: dict[str, Any]) -> None:
    assert diff(data, copy.deepcopy(data)) == ()
