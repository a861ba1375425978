"""Where a picture's boxes and edges are drawn: numbers only, so that any page may paint them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cloaca_django.core.drawing.layout import Layout, Spot, place

NODE_HEIGHT = 44.0
ROW_GAP = 16.0
BEND_GAP = 14.0
COLUMN_GAP = 56.0
MARGIN = 20.0


@dataclass(frozen=True, slots=True)
class Box:
    """Where a node is drawn."""

    name: str
    x: float
    y: float
    width: float


@dataclass(frozen=True, slots=True)
class Edge:
    """A line from a node to one that waits for it: ``path`` and ``head`` are SVG path data."""

    source: str
    target: str
    path: str
    head: str


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole drawing. Boxes are by name, in the order of the layers."""

    width: float
    height: float
    boxes: Mapping[str, Box]
    edges: tuple[Edge, ...]


def plan(
    edges: Mapping[str, tuple[str, ...]], widths: Mapping[str, float], *, top: float = 0.0
) -> Plan:
    """Lay a graph out; nothing is drawn above ``top``.

    ``edges`` maps nodes, in topological order, to their dependencies.
    """
    layout = place(edges, node_gap=NODE_HEIGHT + ROW_GAP, bend_gap=BEND_GAP + ROW_GAP / 2)
    columns = _columns(layout, widths)
    boxes = _boxes(layout, columns, top)
    return Plan(
        columns[-1][0] + columns[-1][1] + MARGIN,
        top + max(layout.heights.values()) + NODE_HEIGHT + 2 * MARGIN,
        boxes,
        tuple(
            _edge(pair, path, layout, columns, boxes, top=top)
            for pair, path in layout.paths.items()
        ),
    )


def _columns(layout: Layout, widths: Mapping[str, float]) -> list[tuple[float, float]]:
    """Return the left edge and the width of each layer."""
    result: list[tuple[float, float]] = []
    x = MARGIN
    for layer in layout.layers:
        width = max(widths[spot.name] for spot in layer if not spot.is_bend)
        result.append((x, width))
        x += width + COLUMN_GAP
    return result


def _boxes(layout: Layout, columns: list[tuple[float, float]], top: float) -> dict[str, Box]:
    return {
        spot.name: Box(
            spot.name, columns[at][0], _y(layout, spot, top) - NODE_HEIGHT / 2, columns[at][1]
        )
        for at, layer in enumerate(layout.layers)
        for spot in layer
        if not spot.is_bend
    }


def _y(layout: Layout, spot: Spot, top: float) -> float:
    return top + MARGIN + NODE_HEIGHT / 2 + layout.heights[spot]


def _edge(
    pair: tuple[str, str],
    path: list[Spot],
    layout: Layout,
    columns: list[tuple[float, float]],
    boxes: Mapping[str, Box],
    *,
    top: float,
) -> Edge:
    """Lead an edge level through every column it passes, curved between two columns."""
    first, last = path[0], path[-1]
    x = columns[first.layer][0] + boxes[first.name].width
    y = _y(layout, first, top)
    steps = [f"M{x:.1f} {y:.1f}"]
    for spot in path[1:]:
        left, width = columns[spot.layer]
        end, level = (left - 7 if spot is last else left), _y(layout, spot, top)
        bend = (x + end) / 2
        steps.append(f"C{bend:.1f} {y:.1f} {bend:.1f} {level:.1f} {end:.1f} {level:.1f}")
        if spot.is_bend:
            steps.append(f"H{left + width:.1f}")
        x, y = left + width, level
    tip = columns[last.layer][0] - 1
    head = f"M{tip - 7:.1f} {y - 4:.1f}L{tip:.1f} {y:.1f}L{tip - 7:.1f} {y + 4:.1f}Z"
    return Edge(*pair, "".join(steps), head)
