"""Graphs of names: random ones sort consistently, planted cycles are named."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cloaca_django.core import graph


@st.composite
def acyclic(draw: Any) -> dict[str, list[str]]:
    """Draw a graph without cycles, declared in any order."""
    count = draw(st.integers(0, 12))
    edges = {
        f"n{i}": [f"n{j}" for j in sorted(draw(st.sets(st.integers(0, i - 1), max_size=4)))]
        if i
        else []
        for i in range(count)
    }
    return {name: edges[name] for name in draw(st.permutations(sorted(edges)))}


@st.composite
def cyclic(draw: Any) -> tuple[dict[str, list[str]], list[str]]:
    """Draw a graph and plant one cycle in it."""
    edges = {name: list(names) for name, names in draw(acyclic()).items()}
    others = st.lists(st.sampled_from(sorted(edges)), max_size=2) if edges else st.just([])
    ring = [f"ring{i}" for i in range(draw(st.integers(1, 4)))]
    for name, following in zip(ring, ring[1:] + ring[:1], strict=True):
        edges[name] = draw(st.permutations([following, *draw(others)]))
    names = sorted(edges)
    behind = {f"behind{i}": [draw(st.sampled_from(names))] for i in range(draw(st.integers(0, 2)))}
    order = draw(st.permutations(sorted({**edges, **behind})))
    return {name: {**edges, **behind}[name] for name in order}, ring


@given(acyclic())
def test_every_name_comes_after_its_dependencies(edges: dict[str, list[str]]) -> None:
    order = graph.topological_order(edges)
    assert sorted(order) == sorted(edges)
    place = {name: at for at, name in enumerate(order)}
    assert all(place[one] < place[name] for name in edges for one in edges[name])
    assert graph.find_cycle(edges) is None


@given(acyclic())
def test_ties_are_as_declared(edges: dict[str, list[str]]) -> None:
    """At each step the first declared of the names that are free comes next."""
    placed: list[str] = []
    for name in graph.topological_order(edges):
        free = [one for one in edges if one not in placed and set(edges[one]) <= set(placed)]
        assert name == free[0]
        placed.append(name)


@given(cyclic())
def test_a_planted_cycle_is_named(planted: tuple[dict[str, list[str]], list[str]]) -> None:
    edges, ring = planted
    cycle = graph.find_cycle(edges)
    assert cycle is not None
    assert cycle[0] == cycle[-1]
    assert set(cycle) == set(ring)
    assert all(later in edges[name] for name, later in pairwise(cycle))


@given(acyclic())
def test_levels_are_as_low_as_they_can_be(edges: dict[str, list[str]]) -> None:
    level = {name: at for at, names in enumerate(graph.levels(edges)) for name in names}
    assert set(level) == set(edges)
    for name, dependencies in edges.items():
        assert level[name] == max((level[one] + 1 for one in dependencies), default=0)


@given(acyclic())
def test_ancestors_are_what_levels_lie_below(edges: dict[str, list[str]]) -> None:
    found = {name: graph.ancestors_of(edges, name) for name in edges}
    for name, dependencies in edges.items():
        assert found[name] == set(dependencies).union(*(found[one] for one in dependencies))


@given(acyclic())
def test_roots_and_leaves(edges: dict[str, list[str]]) -> None:
    assert graph.roots(edges) == [name for name in edges if not edges[name]]
    wanted = {one for names in edges.values() for one in names}
    assert graph.leaves(edges) == [name for name in edges if name not in wanted]


def test_a_dependency_named_twice_counts_once() -> None:
    assert graph.topological_order({"b": ["a", "a"], "a": []}) == ["a", "b"]


def test_missing_edges_are_listed() -> None:
    assert list(graph.missing_edges({"a": ["x"], "b": ["a", "y"]})) == [("a", "x"), ("b", "y")]


def test_a_very_long_chain_needs_no_stack() -> None:
    edges = {f"n{i}": [f"n{i + 1}"] for i in range(50_000)} | {"n50000": []}
    assert len(graph.topological_order(edges)) == 50_001
    assert len(graph.ancestors_of(edges, "n0")) == 50_000
    edges["n50000"] = ["n0"]
    cycle = graph.find_cycle(edges)
    assert cycle is not None
    assert len(cycle) == 50_002
