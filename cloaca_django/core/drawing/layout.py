"""Where the nodes of a graph go: layers from left to right, few crossings, straight edges.

Sugiyama's method: layer by longest path, bend long edges at every layer they pass, order each layer
by the mean place of its neighbours, then place as near to the neighbours as the order allows.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cloaca_django.core import graph

# Beyond this many bends an edge is drawn straight through whatever is in its way.
MAX_BENDS = 4_000
MAX_ORDERED = 2_000
SWEEPS = 8


@dataclass(frozen=True, slots=True)
class Spot:
    """One entry of a layer: a node, or the place where a long edge passes."""

    name: str
    target: str = ""
    layer: int = 0

    @property
    def is_bend(self) -> bool:
        """Whether an edge passes here, on its way to ``target``."""
        return bool(self.target)


@dataclass(frozen=True, slots=True)
class Layout:
    """Layers from left to right, each from top to bottom; ``heights`` are the spots' middles."""

    layers: list[list[Spot]]
    heights: dict[Spot, float]
    paths: dict[tuple[str, str], list[Spot]]


def place(
    edges: Mapping[str, Sequence[str]], *, node_gap: float = 1.0, bend_gap: float = 0.5
) -> Layout:
    """Return where everything goes.

    ``edges`` maps nodes, in topological order, to their dependencies. The gaps are the least
    distances between the middles of neighbours.
    """
    layers, paths = _layered(edges)
    links = _links(paths)
    if sum(map(len, layers)) <= MAX_ORDERED:
        layers = _ordered(layers, links)
    heights = _heights(layers, links, node_gap=node_gap, bend_gap=bend_gap)
    return Layout(layers, heights, paths)


Links = dict[Spot, tuple[list[Spot], list[Spot]]]


def _layered(
    edges: Mapping[str, Sequence[str]],
) -> tuple[list[list[Spot]], dict[tuple[str, str], list[Spot]]]:
    levels = graph.levels(edges)
    depth = {name: at for at, level in enumerate(levels) for name in level}
    layers = [[Spot(name, layer=at) for name in level] for at, level in enumerate(levels)]
    spots = {spot.name: spot for layer in layers for spot in layer}
    pairs = [(d, name) for name in edges for d in dict.fromkeys(edges[name])]
    bends = sum(depth[name] - depth[d] - 1 for d, name in pairs)
    paths = {}
    for dependency, name in pairs:
        passed = range(depth[dependency] + 1, depth[name]) if bends <= MAX_BENDS else ()
        path = [Spot(dependency, name, at) for at in passed]
        for bend in path:
            layers[bend.layer].append(bend)
        paths[dependency, name] = [spots[dependency], *path, spots[name]]
    return layers, paths


def _links(paths: Mapping[tuple[str, str], list[Spot]]) -> Links:
    """Map each spot to its neighbours on the left and on the right."""
    links: Links = {}
    for path in paths.values():
        for left, right in itertools.pairwise(path):
            links.setdefault(left, ([], []))[1].append(right)
            links.setdefault(right, ([], []))[0].append(left)
    return links


def _ordered(layers: list[list[Spot]], links: Links) -> list[list[Spot]]:
    """Return the layers in the order with the fewest crossings that sweeping to and fro found."""
    best, fewest = layers, _crossings(layers, links)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        layers = _swept(layers, links, from_left=sweep % 2 == 0)
        count = _crossings(layers, links)
        if count < fewest:
            best, fewest = layers, count
    return best


def _swept(layers: list[list[Spot]], links: Links, *, from_left: bool) -> list[list[Spot]]:
    """Sort each layer by the mean place of its neighbours in the layer that was sorted before."""
    side = 0 if from_left else 1
    result = list(layers)
    steps = range(1, len(layers)) if from_left else range(len(layers) - 2, -1, -1)
    for at in steps:
        fixed = {spot: place for place, spot in enumerate(result[at - 1 if from_left else at + 1])}
        keys = {}
        for place, spot in enumerate(result[at]):
            known = [fixed[n] for n in links.get(spot, ([], []))[side] if n in fixed]
            # Who has no neighbour there stays where it is.
            keys[spot] = (sum(known) / len(known) if known else float(place), place)
        result[at] = sorted(result[at], key=keys.__getitem__)
    return result


def _crossings(layers: list[list[Spot]], links: Links) -> int:
    return sum(_between(left, right, links) for left, right in itertools.pairwise(layers))


def _between(left: list[Spot], right: list[Spot], links: Links) -> int:
    """Count the crossings between two layers: the inversions among the ends of the edges."""
    places = {spot: at for at, spot in enumerate(right)}
    seen: list[int] = []
    count = 0
    for spot in left:
        ends = sorted(places[n] for n in links.get(spot, ([], []))[1] if n in places)
        count += sum(len(seen) - bisect_right(seen, end) for end in ends)
        for end in ends:
            insort(seen, end)
    return count


def _heights(
    layers: list[list[Spot]], links: Links, *, node_gap: float, bend_gap: float
) -> dict[Spot, float]:
    """Move every spot towards its neighbours, keeping each layer's order and gaps."""
    offsets = [_offsets(layer, node_gap, bend_gap) for layer in layers]
    tallest = max(offset[-1] for offset in offsets)
    heights = {
        spot: y + (tallest - offset[-1]) / 2
        for layer, offset in zip(layers, offsets, strict=True)
        for spot, y in zip(layer, offset, strict=True)
    }
    for sweep in range(SWEEPS):
        order = range(len(layers)) if sweep % 2 == 0 else range(len(layers) - 1, -1, -1)
        for at in order:
            wanted = [_wanted(spot, links, heights, sweep) for spot in layers[at]]
            placed = _spread(wanted, [4.0 if s.is_bend else 1.0 for s in layers[at]], offsets[at])
            heights.update(zip(layers[at], placed, strict=True))
    top = min(heights.values())
    return {spot: y - top for spot, y in heights.items()}


def _offsets(layer: list[Spot], node_gap: float, bend_gap: float) -> list[float]:
    """Return the places of a layer packed as tightly as the gaps allow."""
    result = [0.0]
    for one, other in itertools.pairwise(layer):
        gaps = [bend_gap if spot.is_bend else node_gap for spot in (one, other)]
        result.append(result[-1] + sum(gaps) / 2)
    return result


def _wanted(spot: Spot, links: Links, heights: dict[Spot, float], sweep: int) -> float:
    left, right = links.get(spot, ([], []))
    # The last two sweeps look at both sides, so that what lies between ends up in the middle.
    near = [*left, *right] if sweep >= SWEEPS - 2 else (left, right)[sweep % 2] or [*left, *right]
    return sum(heights[n] for n in near) / len(near) if near else heights[spot]


def _spread(wanted: list[float], weights: list[float], offsets: list[float]) -> list[float]:
    """Return the places nearest to the wanted ones, in least squares, that keep the gaps.

    With the gaps taken out it is isotonic regression; pooling adjacent violators solves it.
    """
    blocks: list[tuple[float, float, int]] = []
    for want, weight, offset in zip(wanted, weights, offsets, strict=True):
        mean, mass, size = want - offset, weight, 1
        while blocks and blocks[-1][0] > mean:
            before, its_mass, its_size = blocks.pop()
            mean = (mean * mass + before * its_mass) / (mass + its_mass)
            mass, size = mass + its_mass, size + its_size
        blocks.append((mean, mass, size))
    flat = [mean for mean, _, size in blocks for _ in range(size)]
    return [mean + offset for mean, offset in zip(flat, offsets, strict=True)]
