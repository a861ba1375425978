"""The figures as bars, one picture for a light page and one for a dark one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.figures import Better

WIDTH_INCHES = 10.0
BAR_INCHES = 0.30
HEADING_INCHES = 0.62


@dataclass(frozen=True)
class Colours:
    page: str
    text: str
    own: str
    peer: str


@dataclass(frozen=True)
class Bar:
    name: str
    value: float
    is_own: bool


@dataclass(frozen=True)
class Panel:
    """One figure of one kind of database."""

    title: str
    better: Better
    bars: Sequence[Bar]


COLOURS = {
    "light": Colours("#ffffff", "#1f2328", "#0969da", "#9aa4af"),
    "dark": Colours("#0d1117", "#e6edf3", "#4493f8", "#656d76"),
}


def draw(panels: Sequence[Panel], beside: Path) -> dict[str, str]:
    """Write the pictures beside the page; their names by the kind of page. None without bars."""
    if not any(panel.bars for panel in panels):
        return {}
    names = {}
    for kind, colours in COLOURS.items():
        path = beside.with_name(f"{beside.stem}-{kind}.svg")
        _draw(panels, colours, path)
        names[kind] = path.name
    return names


def _draw(panels: Sequence[Panel], colours: Colours, path: Path) -> None:
    import matplotlib as mpl  # noqa: PLC0415 - only the harness has it
    from matplotlib.figure import Figure  # noqa: PLC0415

    style = {"svg.fonttype": "none", "svg.hashsalt": "benchmarks", "text.color": colours.text}
    rows = [panels[i : i + 2] for i in range(0, len(panels), 2)]
    most = [max(1, *(len(panel.bars) for panel in row)) for row in rows]
    heights = [HEADING_INCHES + BAR_INCHES * count for count in most]
    with mpl.rc_context({**style, "font.family": "sans-serif", "font.size": 9}):
        figure = Figure(figsize=(WIDTH_INCHES, sum(heights)), facecolor=colours.page)
        axes = figure.subplots(len(rows), 2, squeeze=False, height_ratios=heights)
        for row, bars, pair in zip(axes, most, rows, strict=True):
            for axis, panel in zip(row, pair, strict=True):
                _panel(axis, panel, bars, colours)
        figure.tight_layout()
        figure.savefig(
            path, format="svg", facecolor=colours.page, metadata={"Date": None, "Creator": None}
        )


def _panel(axis: Any, panel: Panel, places: int, colours: Colours) -> None:
    """Best first; the value is written behind its bar, so no axis is needed."""
    axis.set_facecolor(colours.page)
    axis.set_axis_off()
    if not panel.bars:
        return
    bars = sorted(panel.bars, key=lambda bar: bar.value, reverse=panel.better == "more")
    longest = max(bar.value for bar in bars)
    best = "more" if panel.better == "more" else "less"
    axis.set_title(f"{panel.title} ({best} is better)", loc="left", fontsize=10, color=colours.text)
    axis.set_ylim(places - 0.5, -0.5)
    axis.set_xlim(-0.42 * longest, 1.18 * longest)
    for place, bar in enumerate(bars):
        colour = colours.own if bar.is_own else colours.peer
        axis.barh(place, bar.value, height=0.66, color=colour)
        weight = "bold" if bar.is_own else "normal"
        axis.text(-0.015 * longest, place, bar.name, ha="right", va="center", fontweight=weight)
        shown = f"{bar.value:,.0f}" if bar.value >= 100 else f"{bar.value:.3g}"
        axis.text(bar.value + 0.015 * longest, place, shown, va="center", fontweight=weight)
