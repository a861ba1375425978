"""Charts as numbers: where every mark goes. A template draws them, in the colours of the page."""

from __future__ import annotations

import calendar
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

MONTHS = 12
WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 12, 32


@dataclass(frozen=True, slots=True)
class Tick:
    """A label at a place on an axis."""

    at: float
    label: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A month's bar and what it says when pointed at."""

    x: float
    y: float
    width: float
    height: float
    says: str


@dataclass(frozen=True, slots=True)
class Line:
    """A line over the year, and where its name stands: colour alone would not do."""

    name: str
    points: str
    x: float
    y: float


@dataclass(frozen=True, slots=True)
class Chart:
    """All that a template needs. ``rows`` is the same as a table, for who cannot see it."""

    id: str
    title: str
    description: str
    unit: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    bars: tuple[Bar, ...]
    band: str
    lines: tuple[Line, ...]
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    width = WIDTH
    height = HEIGHT
    left = LEFT
    right = WIDTH - RIGHT
    bottom = HEIGHT - BOTTOM
    label_y = HEIGHT - 10


@dataclass(frozen=True, slots=True)
class Scale:
    """From values to places: values grow upwards, places downwards."""

    low: float
    high: float
    step: float

    @classmethod
    def around(cls, values: Sequence[float]) -> Scale:
        """Return a scale with round steps that holds all values, and zero."""
        low, high = min(0.0, *values), max(0.0, *values)
        rough = (high - low or 1.0) / 5
        size = 10 ** math.floor(math.log10(rough))
        step = next(size * factor for factor in (1, 2, 2.5, 5, 10) if size * factor >= rough)
        return cls(math.floor(low / step) * step, math.ceil(high / step) * step or step, step)

    def y(self, value: float) -> float:
        """Return how far from the top a value is."""
        share = (value - self.low) / (self.high - self.low)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    def ticks(self) -> tuple[Tick, ...]:
        """Return the labels of the axis."""
        count = round((self.high - self.low) / self.step)
        values = [self.low + number * self.step for number in range(count + 1)]
        return tuple(Tick(self.y(value), f"{value:g}") for value in values)


def temperatures(months: Sequence[dict[str, Any]]) -> Chart:
    """Draw mean highs and lows of each month, and the band between them."""
    highs = [month["temp_max"] for month in months]
    lows = [month["temp_min"] for month in months]
    scale = Scale.around([*highs, *lows])
    upper = [_point(month, scale.y(month["temp_max"])) for month in months]
    lower = [_point(month, scale.y(month["temp_min"])) for month in months]
    warmest = max(months, key=lambda month: float(month["temp_max"]))
    return Chart(
        id="temperatures",
        title="Temperature",
        description=(
            f"Mean highest and lowest temperature of the day, by month. {_name(warmest)} is the"
            f" warmest month with highs of {warmest['temp_max']} degrees."
        ),
        unit="°C",
        x_ticks=_month_ticks(months),
        y_ticks=scale.ticks(),
        bars=(),
        band=" ".join([*upper, *reversed(lower)]),
        lines=(_line("high", months, upper, scale), _line("low", months, lower, scale)),
        headings=("Month", "High, °C", "Low, °C"),
        rows=tuple((_name(m), f"{m['temp_max']:.1f}", f"{m['temp_min']:.1f}") for m in months),
    )


def precipitation(months: Sequence[dict[str, Any]]) -> Chart:
    """Draw the mean sum of each month as a bar."""
    scale = Scale.around([month["precipitation"] for month in months])
    wettest = max(months, key=lambda month: float(month["precipitation"]))
    return Chart(
        id="precipitation",
        title="Precipitation",
        description=(
            f"Mean sum of the month. {_name(wettest)} is the wettest month with"
            f" {wettest['precipitation']:.0f} millimetres."
        ),
        unit="mm",
        x_ticks=_month_ticks(months),
        y_ticks=scale.ticks(),
        bars=tuple(_bar(month, scale) for month in months),
        band="",
        lines=(),
        headings=("Month", "Precipitation, mm"),
        rows=tuple((_name(month), f"{month['precipitation']:.0f}") for month in months),
    )


def _line(name: str, months: Sequence[dict[str, Any]], points: Sequence[str], scale: Scale) -> Line:
    """Return a line whose name stands above its middle."""
    month = months[len(months) // 2]
    y = scale.y(month["temp_max" if name == "high" else "temp_min"]) - 8
    return Line(name, " ".join(points), _middle(month), round(y, 1))


def _name(month: dict[str, Any]) -> str:
    return str(calendar.month_name[month["month"]])


def _slot() -> float:
    return (WIDTH - LEFT - RIGHT) / MONTHS


def _middle(month: dict[str, Any]) -> float:
    number: int = month["month"]
    return round(LEFT + (number - 0.5) * _slot(), 1)


def _point(month: dict[str, Any], y: float) -> str:
    return f"{_middle(month)},{y}"


def _month_ticks(months: Sequence[dict[str, Any]]) -> tuple[Tick, ...]:
    return tuple(Tick(_middle(month), _name(month)[:3]) for month in months)


def _bar(month: dict[str, Any], scale: Scale) -> Bar:
    y = scale.y(month["precipitation"])
    width = round(_slot() * 0.62, 1)
    return Bar(
        x=round(_middle(month) - width / 2, 1),
        y=y,
        width=width,
        height=round(scale.y(0) - y, 1),
        says=f"{_name(month)}: {month['precipitation']:.0f} mm",
    )
