"""Pictures as text: for a terminal, for Graphviz, and for pages that know Mermaid."""

from __future__ import annotations

from cloaca_django.core import graph
from cloaca_django.core.drawing.picture import Node, Picture
from cloaca_django.core.states import TaskStatus
from cloaca_django.errors import listed

# Light fills under dark text, readable on a white and on a black page alike.
FILLS = {
    TaskStatus.RUNNING: "#cfe3ff",
    TaskStatus.COMPLETED: "#cdeed5",
    TaskStatus.FAILED: "#ffd3d0",
    TaskStatus.SKIPPED: "#e4e4e4",
    TaskStatus.CANCELLED: "#e4e4e4",
    TaskStatus.HELD: "#fde9b8",
    TaskStatus.SCHEDULED: "#fde9b8",
}
PLAIN = "#f4f4f4"
INK = "#1c2733"


def to_text(picture: Picture) -> str:
    """Return a table for a terminal: the level at which each task may start, and why."""
    nodes = {node.name: node for node in picture.nodes}
    rows = [
        (str(depth), name, nodes[name].state, _after(nodes[name]), nodes[name].detail)
        for depth, level in enumerate(graph.levels(picture.graph), 1)
        for name in level
    ]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [f"{picture.title}  {picture.subtitle}".rstrip(), ""]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True) if width]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return "\n".join(lines) + "\n"


def _after(node: Node) -> str:
    return f"after {listed(node.dependencies, limit=8)}" if node.dependencies else ""


def to_dot(picture: Picture) -> str:
    """Return a graph for Graphviz."""
    lines = [
        f"digraph {_dot(picture.title)} {{",
        "  rankdir=LR;",
        f'  node [shape=box, style="rounded,filled", fillcolor="{PLAIN}", fontcolor="{INK}",'
        ' fontname="Helvetica"];',
    ]
    for node in picture.nodes:
        label = "\\n".join(_dot(part)[1:-1] for part in _label(node))
        lines.append(f'  {_dot(node.name)} [label="{label}"{_dot_fill(node)}];')
    for node in picture.nodes:
        for dependency in node.dependencies:
            lines.append(f"  {_dot(dependency)} -> {_dot(node.name)};")
    return "\n".join([*lines, "}"]) + "\n"


def _label(node: Node) -> list[str]:
    return [part for part in (node.name, node.state, node.detail) if part]


def _dot(text: str) -> str:
    flat = " ".join(text.split())
    escaped = flat.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _dot_fill(node: Node) -> str:
    return f', fillcolor="{_fill(node)}"' if node.state else ""


def _fill(node: Node) -> str:
    return FILLS.get(TaskStatus(node.state), PLAIN) if node.state else PLAIN


def to_mermaid(picture: Picture) -> str:
    """Return a flowchart for Mermaid."""
    ids = {node.name: f"t{at}" for at, node in enumerate(picture.nodes)}
    lines = ["flowchart LR"]
    for node in picture.nodes:
        label = "<br/>".join(_mermaid(part) for part in _label(node))
        lines.append(f'  {ids[node.name]}["{label}"]')
    for node in picture.nodes:
        for dependency in node.dependencies:
            lines.append(f"  {ids[dependency]} --> {ids[node.name]}")
    for node in picture.nodes:
        if node.state:
            lines.append(f"  style {ids[node.name]} fill:{_fill(node)},color:{INK}")
    return "\n".join(lines) + "\n"


def _mermaid(text: str) -> str:
    # Mermaid's own escapes: #35; is a hash, which must go first.
    for sign, escape in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;")):
        text = text.replace(sign, escape)
    return " ".join(text.split())
