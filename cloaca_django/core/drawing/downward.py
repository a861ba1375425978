"""The same picture turned: layers from top to bottom, for graphs that are longer than wide."""

from __future__ import annotations

from collections.abc import Mapping

from cloaca_django.core.drawing.geometry import MARGIN, NODE_HEIGHT, Box, Edge, Plan
from cloaca_django.core.drawing.layout import Spot, place

NODE_GAP = 20.0
BEND_GAP = 24.0
LAYER_GAP = 36.0
STEP = NODE_HEIGHT + LAYER_GAP


def plan_down(edges: Mapping[str, tuple[str, ...]], widths: Mapping[str, float]) -> Plan:
    """Lay a graph out from top to bottom; all boxes are as wide as the widest.

    ``edges`` maps nodes, in topological order, to their dependencies.
    """
    wide = max(widths[name] for name in edges)
    # A line passes a box at half its width and a gap, as two boxes pass each other.
    layout = place(edges, node_gap=wide + NODE_GAP, bend_gap=wide / 2 + BEND_GAP)
    left = min(layout.heights.values())
    middles = {spot: MARGIN + wide / 2 + at - left for spot, at in layout.heights.items()}
    boxes = {
        spot.name: Box(spot.name, middles[spot] - wide / 2, _top(spot), wide)
        for layer in layout.layers
        for spot in layer
        if not spot.is_bend
    }
    return Plan(
        max(middles.values()) + wide / 2 + MARGIN,
        2 * MARGIN + STEP * len(layout.layers) - LAYER_GAP,
        boxes,
        tuple(_edge(pair, path, middles) for pair, path in layout.paths.items()),
    )


def _top(spot: Spot) -> float:
    return MARGIN + STEP * spot.layer


def _edge(pair: tuple[str, str], path: list[Spot], middles: Mapping[Spot, float]) -> Edge:
    """Lead an edge straight through every row it passes, curved between two rows."""
    x, y = middles[path[0]], _top(path[0]) + NODE_HEIGHT
    steps = [f"M{x:.1f} {y:.1f}"]
    for spot in path[1:]:
        end, level = middles[spot], _top(spot) - (0 if spot.is_bend else 7)
        bend = (y + level) / 2
        steps.append(f"C{x:.1f} {bend:.1f} {end:.1f} {bend:.1f} {end:.1f} {level:.1f}")
        x, y = end, _top(spot) + NODE_HEIGHT
        if spot.is_bend:
            steps.append(f"V{y:.1f}")
    tip = _top(path[-1]) - 1
    head = f"M{x - 4:.1f} {tip - 7:.1f}L{x:.1f} {tip:.1f}L{x + 4:.1f} {tip - 7:.1f}Z"
    return Edge(*pair, "".join(steps), head)
