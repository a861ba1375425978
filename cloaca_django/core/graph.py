"""Directed graphs of names: order, levels, ancestors, cycles. Nothing here knows tasks.

A graph maps each name, in the order of declaration, to the names it depends on; every one of
those is a key too. Nothing recurses, so a chain may be of any length.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

Graph: TypeAlias = Mapping[str, Sequence[str]]


def topological_order(graph: Graph) -> list[str]:
    """Return every name after its dependencies, ties as declared.

    Names on a cycle, and those behind one, are missing from the result.
    """
    index = {name: position for position, name in enumerate(graph)}
    names = list(graph)
    open_edges = {name: len(set(dependencies)) for name, dependencies in graph.items()}
    successors = successors_of(graph)
    ready = [index[name] for name, count in open_edges.items() if not count]
    order = []
    while ready:
        name = names[heapq.heappop(ready)]
        order.append(name)
        for successor in successors[name]:
            open_edges[successor] -= 1
            if not open_edges[successor]:
                heapq.heappush(ready, index[successor])
    return order


def successors_of(graph: Graph) -> dict[str, list[str]]:
    """Return for each name those that depend on it, in the order of declaration."""
    result: dict[str, list[str]] = {name: [] for name in graph}
    for name, dependencies in graph.items():
        for dependency in dict.fromkeys(dependencies):
            result[dependency].append(name)
    return result


def find_cycle(graph: Graph) -> list[str] | None:
    """Return one cycle along "depends on", its first name repeated at its end; None if acyclic."""
    rest = set(graph).difference(topological_order(graph))
    if not rest:
        return None
    # Everything left waits for something that is left, so walking on must come back.
    path: dict[str, None] = {}
    name = next(one for one in graph if one in rest)
    while name not in path:
        path[name] = None
        name = next(one for one in graph[name] if one in rest)
    steps = list(path)
    return [*steps[steps.index(name) :], name]


def levels(graph: Graph) -> list[list[str]]:
    """Return the names that may start together, level by level. The graph has no cycle."""
    depth: dict[str, int] = {}
    result: list[list[str]] = []
    for name in topological_order(graph):
        depth[name] = 1 + max((depth[dependency] for dependency in graph[name]), default=-1)
        if depth[name] == len(result):
            result.append([])
        result[depth[name]].append(name)
    return result


def roots(graph: Graph) -> list[str]:
    """Return the names that depend on nothing."""
    return [name for name, dependencies in graph.items() if not dependencies]


def leaves(graph: Graph) -> list[str]:
    """Return the names that nothing depends on."""
    return [name for name, successors in successors_of(graph).items() if not successors]


def ancestors_of(graph: Graph, name: str) -> set[str]:
    """Return everything that ``name`` depends on, directly or not."""
    seen: set[str] = set()
    open_names: list[str] = list(graph[name])
    while open_names:
        dependency = open_names.pop()
        if dependency not in seen:
            seen.add(dependency)
            open_names.extend(graph[dependency])
    return seen


def missing_edges(graph: Graph) -> Iterable[tuple[str, str]]:
    """Yield (name, dependency) wherever the dependency is no name of the graph."""
    for name, dependencies in graph.items():
        for dependency in dependencies:
            if dependency not in graph:
                yield name, dependency
